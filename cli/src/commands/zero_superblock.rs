//! `holdfast zero-superblock`: a device forgets that it was a member.
//!
//! Data stays where it is; only md's superblocks are overwritten, all that are found. A device
//! without one stops the verb before anything is written, unless `--force`.

use holdfast_core::block::BlockDevice;
use holdfast_host::member::Access;
use holdfast_raid::superblock::Minor;
use serde::Serialize;

use crate::config::Zero;
use crate::erase;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::World;
use crate::metadata;
use crate::overlay::{self, Use};
use crate::report::{Report, confirm};
use crate::undo::Undo;

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    members: Vec<Erased>,
}

#[derive(Debug, Serialize)]
struct Erased {
    path: String,
    superblocks: Vec<String>,
}

/// Erases the superblocks.
pub(super) fn run(config: &Zero, report: &Report) -> Outcome {
    let mut world = World::new()?;
    let dry_run = config.caution.dry_run;
    let spares = config.way.spares_members(config.force);
    let access = match (dry_run, spares) {
        (true, _) => Access::Read,
        (false, true) => Access::Steady,
        (false, false) => Access::Write,
    };
    let mut opened = world.open(&config.members, access, report)?;
    if spares && (!dry_run || config.way.overlay.is_some()) {
        let using = if dry_run { Use::Look } else { Use::Change };
        opened = overlay::put_over(opened, &config.way, None, using, &mut world, report)?;
    }
    let mut found: Vec<Vec<(Minor, u64)>> = Vec::new();
    for member in &mut opened {
        let places = erase::find(&mut member.disk, &mut world.clock)
            .map_err(|fault| Failure::error(format!("{}: {fault}", member.path.display())))?;
        if places.is_empty() && !config.force {
            let path = member.path.display();
            return Err(Failure::error(format!("{path}: no md superblock; nothing was written"))
                .hint("leave it out, or --force passes it over"));
        }
        found.push(places);
    }
    if !config.caution.dry_run {
        confirm("Erase the md superblocks of these devices?", config.caution.yes)?;
    }
    let devices = opened.iter_mut().map(|member| {
        let places = metadata::places(member.disk.geometry().sectors);
        (member.path.as_path(), &mut member.disk, places)
    });
    let undo = match dry_run || spares {
        true => None,
        false => Undo::begin(&config.undo, devices, &mut world.clock)?,
    };
    let verb = if config.caution.dry_run { "would erase" } else { "erased" };
    let mut members = Vec::new();
    for (member, places) in opened.iter_mut().zip(found) {
        let path = member.path.display().to_string();
        for (minor, sector) in &places {
            if !config.caution.dry_run {
                erase::erase(&mut member.disk, &mut world.clock, *sector)
                    .map_err(|fault| Failure::error(format!("{path}: sector {sector}: {fault}")))?;
            }
            report.line(format_args!("{path}: {verb} superblock {minor} at sector {sector}"));
        }
        let superblocks = places.iter().map(|(minor, _)| minor.to_string()).collect();
        members.push(Erased { path, superblocks });
    }
    if let Some(undo) = undo {
        undo.finish(report);
    }
    report.answer(&Answer { dry_run: config.caution.dry_run, members });
    Ok(Exit::Good)
}
