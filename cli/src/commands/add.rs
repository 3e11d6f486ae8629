//! `holdfast add`: gives the array another device, as a spare.
//!
//! Nothing is rebuilt here: `rebuild` does that, in the foreground. A device that carries
//! something, an old md superblock included, is refused unless `--force`; then the old superblocks
//! are taken off first, lest one of them be believed later. A device the array cannot take is left
//! as it is. A member that was away and has missed only what the bitmap marks is brought back as by
//! `re-add`.

use std::path::Path;

use holdfast_core::block::{BlockDevice, Geometry};
use holdfast_raid::level::Level;
use holdfast_raid::{AddMember, Refusal, Return};

use super::arrival::Arrival;
use super::change::{self, Changed};
use super::re_add;
use crate::config::{Add, Caution};
use crate::disk::Disk;
use crate::erase;
use crate::exit::{Failure, Outcome};
use crate::members;
use crate::metadata;
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// Adds the device.
pub(super) fn run(config: &Add, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Rehearse } else { Purpose::Change };
    let (mut session, new) =
        Session::open_beside(&config.group, Some(&config.device), purpose, report)?;
    let new = new.expect("what was asked for beside the members is open");
    let arrival = Arrival::look(new, !config.group.force, &mut session.clock)?;
    let force = config.group.force;
    let terms = Terms { write_mostly: config.write_mostly, force, caution: config.caution };
    let changed = take_in(&mut session, arrival, terms)?;
    if !dry_run {
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    Ok(change::answer(changed, dry_run, &session, report))
}

/// How a device is taken in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) write_mostly: bool,
    /// What it carries goes.
    pub(crate) force: bool,
    pub(crate) caution: Caution,
}

/// Takes a device in: as the member it was, if the bitmap knows what it has missed, else as a spare.
/// What the others record is under way when this returns.
pub(crate) fn take_in(
    session: &mut Session,
    arrival: Arrival,
    terms: Terms,
) -> Result<Changed, Failure> {
    let name = arrival.path.display().to_string();
    if !terms.force {
        match session.array.array().how_it_returns(&arrival.probe) {
            Ok(Return::Marked { .. }) => {
                // One that was away, and of which the bitmap knows what it missed, is no stranger.
                let (member, probe) = re_add::introduce(session, arrival)?;
                return re_add::bring_back(session, member, probe, "add", terms.caution.dry_run);
            }
            Err(refusal @ Refusal::SplitHistory { .. }) => {
                return Err(re_add::refused(session, &name, &refusal));
            }
            _ => {}
        }
    }
    let level = session.status().level;
    if terms.write_mostly && level != Level::Raid1 {
        return Err(Failure::error(format!("--write-mostly: only raid1 can choose, not {level}")));
    }
    if !level.is_redundant() {
        return Err(Failure::error(format!("{level} has no redundancy and takes no spares")));
    }
    admit(session, arrival, terms)?;
    let sentence = format!("{name} is a spare of the array");
    Ok(Changed { action: "add", path: name, slot: None, sentence, note: None })
}

/// Takes a device in as a spare; its index, unless it is a dry run.
pub(crate) fn admit(
    session: &mut Session,
    arrival: Arrival,
    terms: Terms,
) -> Result<Option<usize>, Failure> {
    let Arrival { path, mut disk, marks, .. } = arrival;
    let Terms { write_mostly, force, caution } = terms;
    if !force {
        members::refuse_carriers(&[(path.clone(), marks)])?;
    }
    let name = path.display().to_string();
    let refused = |refusal| Failure::error(format!("{name} cannot be added: {refusal}"));
    // Before anything is taken off it.
    let opened = disk.geometry();
    let geometry = Geometry { read_only: opened.read_only && !caution.dry_run, ..opened };
    session.array.check_new_member(geometry).map_err(refused)?;
    if caution.dry_run {
        return Ok(None);
    }
    keep_what_it_carries(session, &mut disk, &path)?;
    if force {
        confirm(&format!("Overwrite what {name} carries?"), caution.yes)?;
        take_off_superblocks(&mut disk, session, &name)?;
    }
    let seed = AddMember { device_uuid: members::new_uuid(), write_mostly };
    let member = session.array.add_member(disk, seed).map_err(refused)?;
    session.paths.push(path);
    session.superblocks.push(None);
    Ok(Some(member))
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
