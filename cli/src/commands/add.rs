//! `holdfast add`: gives the array another device, as a spare.
//!
//! Nothing is rebuilt here: `rebuild` does that, in the foreground. A device that carries
//! something, an old md superblock included, is refused unless `--force`; then the old superblocks
//! are taken off first, lest one of them be believed later. A device the array cannot take is left
//! as it is.

use std::path::Path;

use holdfast_core::block::{BlockDevice, Geometry};
use holdfast_raid::AddMember;
use holdfast_raid::level::Level;

use super::change::{self, Changed};
use crate::config::Add;
use crate::disk::Disk;
use crate::erase;
use crate::exit::{Failure, Outcome};
use crate::members::{self, Member};
use crate::metadata;
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// Adds the device.
pub(super) fn run(config: &Add, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Rehearse } else { Purpose::Change };
    let (mut session, new) =
        Session::open_beside(&config.group, Some(&config.device), purpose, report)?;
    let Some(Member { path, mut disk, .. }) = new else {
        unreachable!("what was asked for beside the members is open")
    };
    let status = session.status();
    if config.write_mostly && status.level != Level::Raid1 {
        let level = status.level;
        return Err(Failure::error(format!("--write-mostly: only raid1 can choose, not {level}")));
    }
    if !status.level.is_redundant() {
        let level = status.level;
        return Err(Failure::error(format!("{level} has no redundancy and takes no spares")));
    }
    if !config.group.force {
        let marks = members::signatures(&mut disk, &mut session.clock, &path)?;
        members::refuse_carriers(&[(path.clone(), marks)])?;
    }
    let name = path.display().to_string();
    let refused = |refusal| Failure::error(format!("{name} cannot be added: {refusal}"));
    // Before anything is taken off it.
    let opened = disk.geometry();
    let geometry = Geometry { read_only: opened.read_only && !dry_run, ..opened };
    session.array.check_new_member(geometry).map_err(refused)?;
    if !dry_run {
        keep_what_it_carries(&mut session, &mut disk, &path)?;
        if config.group.force {
            confirm(&format!("Overwrite what {name} carries?"), config.caution.yes)?;
            take_off_superblocks(&mut disk, &mut session, &name)?;
        }
        let seed =
            AddMember { device_uuid: members::new_uuid(), write_mostly: config.write_mostly };
        session.array.add_member(disk, seed).map_err(refused)?;
        session.paths.push(path);
        session.superblocks.push(None);
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    let sentence = format!("{name} is a spare of the array");
    let changed = Changed { action: "add", path: name, slot: None, sentence, note: None };
    Ok(change::answer(changed, dry_run, &session, report))
}

/// The new device's part of the undo: where superblocks can be, and where its own metadata will be.
fn keep_what_it_carries(
    session: &mut Session,
    disk: &mut Disk,
    path: &Path,
) -> Result<(), Failure> {
    let sectors = disk.geometry().sectors;
    let mut regions = metadata::places(sectors);
    for member in session.superblocks.iter().flatten() {
        let mut spare = member.clone();
        if spare.become_spare(0, members::new_uuid(), false, sectors).is_ok() {
            // The bitmap's size is not at hand; all its room is.
            let room = spare.bitmap_room(sectors).unwrap_or(0).min(MOST_BITMAP_SECTORS);
            let start = spare.bitmap_sector().unwrap_or(0);
            regions.push(start..start + room);
            regions.extend(metadata::areas(&spare, None, sectors));
        }
    }
    match session.undo.as_mut() {
        Some(undo) => undo.include(path, disk, &mut session.clock, regions),
        None => Ok(()),
    }
}

/// The room mdadm leaves for the largest bitmap.
const MOST_BITMAP_SECTORS: u64 = 256;

fn take_off_superblocks(disk: &mut Disk, session: &mut Session, name: &str) -> Result<(), Failure> {
    let failed = |fault| Failure::error(format!("{name}: {fault}; it was not added"));
    for (_, sector) in erase::find(disk, &mut session.clock).map_err(failed)? {
        erase::erase(disk, &mut session.clock, sector).map_err(failed)?;
    }
    Ok(())
}
