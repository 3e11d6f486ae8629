//! `holdfast overlay`: what an overlay file holds: shown, written to the members, or dropped.
//!
//! A commit writes data first and the places of superblocks last, each durably before the next, and
//! notes in the file that it has begun. Interrupted, it leaves members that are neither old nor new;
//! the file still holds everything, reads through it are right, and the same command finishes it:
//! writing the same blocks again changes nothing.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use holdfast_core::block::{BlockDevice, Durability, Fault, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::blocklog::{Extent, Kind, Log, Phase, Place};
use holdfast_host::member::Access;
use serde::Serialize;

use crate::config::OverlayChange;
use crate::disk::Disk;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{Member, World};
use crate::metadata;
use crate::overlay::{cannot, is_as_before, refused};
use crate::report::{Report, confirm};
use crate::stream::Stream;
use crate::{row, table};

/// Bytes written at once.
const PIECE_SECTORS: u64 = 2048;

#[derive(Debug, Serialize)]
struct Answer {
    file: String,
    state: &'static str,
    file_bytes: u64,
    /// Bytes at the end of the file that are no whole frame: a write that was interrupted.
    torn_bytes: u64,
    members: Vec<Held>,
}

#[derive(Debug, Serialize)]
struct Held {
    path: String,
    ranges: u64,
    bytes: u64,
    zero_bytes: u64,
    superblock_bytes: u64,
    /// First and last sector held.
    first_sector: Option<u64>,
    last_sector: Option<u64>,
}

fn open(file: &Path, write: bool) -> Result<Log, Failure> {
    let log = Log::open(file, write).map_err(refused)?;
    if log.header().kind != Kind::Overlay {
        let name = file.display();
        return Err(Failure::error(format!("{name}: is a copy of metadata, not an overlay"))
            .hint(format!("holdfast restore {name} brings it back")));
    }
    Ok(log)
}

fn names(log: &Log) -> Vec<PathBuf> {
    log.members().iter().map(|facts| OsStr::from_bytes(&facts.name).into()).collect()
}

const fn sectors(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// Shows what the file holds.
pub(super) fn diff(file: &Path, report: &Report) -> Outcome {
    let log = open(file, false)?;
    let state = match log.phase() {
        Phase::Open => "open",
        Phase::Committing => "committing",
        Phase::Committed => "committed",
    };
    let (file_bytes, torn_bytes) = log.bytes();
    let names = names(&log);
    let members: Vec<Held> = (0..)
        .zip(log.members().iter().zip(&names))
        .map(|(number, (facts, name))| held(&log.extents(number), facts.sectors, name))
        .collect();
    let mut rows = vec![row!["member", "ranges", "held", "zeros", "superblocks", "sectors"]];
    for member in &members {
        let span = member.first_sector.zip(member.last_sector);
        rows.push(row![
            member.path,
            member.ranges,
            Human(member.bytes),
            Human(member.zero_bytes),
            Human(member.superblock_bytes),
            span.map_or_else(|| "-".to_owned(), |(first, last)| format!("{first}..{last}"))
        ]);
    }
    table::lay_out(&rows).into_iter().for_each(|line| report.line(line));
    let name = file.display();
    report.line(match log.phase() {
        Phase::Open => format!("holdfast overlay commit {name} writes it to the members"),
        Phase::Committing => format!("a commit was begun; holdfast overlay commit {name} goes on"),
        Phase::Committed => "committed: the members hold it all".to_owned(),
    });
    if torn_bytes > 0 {
        report.note(format_args!(
            "the last {torn_bytes} bytes of {name} are no whole frame: they were being written and \
             had not been flushed"
        ));
    }
    let file = file.display().to_string();
    report.answer(&Answer { file, state, file_bytes, torn_bytes, members });
    Ok(Exit::Good)
}

fn held(extents: &[Extent], device_sectors: u64, name: &Path) -> Held {
    let places = metadata::places(device_sectors);
    let within = |range: &Range<u64>| -> u64 {
        let overlap =
            |p: &Range<u64>| p.end.min(range.end).saturating_sub(p.start.max(range.start));
        places.iter().map(overlap).sum()
    };
    let count = |wanted: fn(&Extent) -> bool| -> u64 {
        extents.iter().filter(|extent| wanted(extent)).map(|e| sectors(&e.sectors)).sum()
    };
    Held {
        path: name.display().to_string(),
        ranges: extents.len() as u64,
        bytes: count(|_| true) * SECTOR_BYTES,
        zero_bytes: count(|extent| extent.place == Place::Zeros) * SECTOR_BYTES,
        superblock_bytes: extents.iter().map(|e| within(&e.sectors)).sum::<u64>() * SECTOR_BYTES,
        first_sector: extents.first().map(|extent| extent.sectors.start),
        last_sector: extents.last().map(|extent| extent.sectors.end - 1),
    }
}

#[derive(Debug, Serialize)]
struct Done {
    file: String,
    dry_run: bool,
    bytes: u64,
}

/// Writes what the file holds to the members.
pub(super) fn commit(config: &OverlayChange, report: &Report) -> Outcome {
    let (file, dry_run) = (&config.file, config.caution.dry_run);
    let log = open(file, !dry_run)?;
    let name = file.display();
    if log.phase() == Phase::Committed {
        return Err(Failure::error(format!("{name}: has been committed already"))
            .hint("the file can be removed"));
    }
    let mut world = World::new()?;
    let access = if dry_run { Access::Read } else { Access::Write };
    let mut opened = world.open(&names(&log), access, report)?;
    for (facts, member) in log.members().iter().zip(&mut opened) {
        let path = member.path.display().to_string();
        let moved = member.disk.geometry().sectors != facts.sectors;
        // Once a commit has begun the members are what it has made of them.
        let same = log.phase() == Phase::Committing
            || is_as_before(facts, &mut member.disk, &mut world.clock)
                .map_err(|fault| metadata::unreadable(&member.path, fault))?;
        if moved || !same {
            let why = if moved { "its size has changed" } else { "its metadata has changed" };
            return Err(Failure::error(format!("{path}: {why} since {name} was begun"))
                .hint("the overlay was meant for what was there before; nothing was written"));
        }
    }
    let held = |number: usize| log.extents(number as u32).into_iter().map(|e| sectors(&e.sectors));
    let bytes = (0..opened.len()).flat_map(held).sum::<u64>() * SECTOR_BYTES;
    let human = Human(bytes);
    if dry_run {
        report.line(format_args!("would write {bytes} bytes ({human}) to the members"));
        report.answer(&Done { file: name.to_string(), dry_run, bytes });
        return Ok(Exit::Good);
    }
    confirm(&format!("Write {human} to the members? There is no way back."), config.caution.yes)?;
    log.begin_commit().map_err(|fault| cannot(file, fault))?;
    carry_out(&log, &mut opened, &mut world)?;
    log.end_commit().map_err(|fault| cannot(file, fault))?;
    report.line(format_args!("{bytes} bytes ({human}) are on the members; {name} can be removed"));
    report.answer(&Done { file: name.to_string(), dry_run, bytes });
    Ok(Exit::Good)
}

/// Data of all members, durably; then their superblocks.
fn carry_out(log: &Log, opened: &mut [Member], world: &mut World) -> Result<(), Failure> {
    for superblocks in [false, true] {
        for (number, member) in (0..).zip(&mut *opened) {
            let failed = |fault| {
                let path = member.path.display();
                Failure::error(format!("{path}: {fault}; the commit is not finished"))
                    .hint("the same command goes on where it was")
            };
            let places = metadata::places(member.disk.geometry().sectors);
            for extent in parts(log.extents(number), &places, superblocks) {
                put(log, extent, &mut member.disk, world).map_err(failed)?;
            }
            metadata::flush(&mut member.disk, &mut world.clock).map_err(failed)?;
        }
    }
    Ok(())
}

/// The parts of what is held that lie in the places of superblocks, or those that do not.
fn parts(extents: Vec<Extent>, places: &[Range<u64>], superblocks: bool) -> Vec<Extent> {
    let mut sorted = places.to_vec();
    sorted.sort_by_key(|place| place.start);
    let mut parts = Vec::new();
    for extent in extents {
        let mut from = extent.sectors.start;
        let mut take = |range: Range<u64>, inside: bool| {
            if inside == superblocks && range.start < range.end {
                let skipped = range.start - extent.sectors.start;
                let place = match extent.place {
                    Place::Log(offset) => Place::Log(offset + skipped * SECTOR_BYTES),
                    Place::Zeros => Place::Zeros,
                };
                parts.push(Extent { sectors: range, place });
            }
        };
        for place in &sorted {
            let (start, end) = (place.start.max(from), place.end.min(extent.sectors.end));
            if start < end {
                take(from..start, false);
                take(start..end, true);
                from = end;
            }
        }
        take(from..extent.sectors.end, false);
    }
    parts
}

fn put(log: &Log, extent: Extent, disk: &mut Disk, world: &mut World) -> Result<(), Fault> {
    let Range { start, end } = extent.sectors;
    if extent.place == Place::Zeros {
        return Stream::default().now(disk, &mut world.clock, start, Op::Zero(end - start)).result;
    }
    let Place::Log(offset) = extent.place else { unreachable!("zeros are done") };
    let mut stream = Stream::default();
    let mut pieces = (start..end).step_by(PIECE_SECTORS as usize).peekable();
    loop {
        while stream.has_room()
            && let Some(piece) = pieces.next()
        {
            let length = PIECE_SECTORS.min(end - piece) * SECTOR_BYTES;
            let mut buf = Buf::zeroed(length as usize);
            log.read(Place::Log(offset + (piece - start) * SECTOR_BYTES), &mut buf)?;
            stream.push(disk, piece, Op::Write(buf.into(), Durability::Cached));
        }
        match stream.take(disk, &mut world.clock) {
            Some((_, done)) => done.result?,
            None if pieces.peek().is_none() => return Ok(()),
            None => {}
        }
    }
}

/// Removes the file.
pub(super) fn discard(config: &OverlayChange, report: &Report) -> Outcome {
    let (file, dry_run) = (&config.file, config.caution.dry_run);
    let log = open(file, true)?;
    let name = file.display().to_string();
    if log.phase() == Phase::Committing {
        return Err(Failure::error(format!("{name}: its commit was begun and not finished"))
            .hint("the members hold part of it; holdfast overlay commit finishes it"));
    }
    let held = |number: usize| log.extents(number as u32).into_iter().map(|e| sectors(&e.sectors));
    let bytes = (0..log.members().len()).flat_map(held).sum::<u64>() * SECTOR_BYTES;
    let human = Human(bytes);
    if !dry_run {
        confirm(&format!("Remove {name} and the {human} it holds?"), config.caution.yes)?;
        std::fs::remove_file(file).map_err(|e| Failure::error(format!("{name}: {e}")))?;
    }
    let would = if dry_run { "would be" } else { "is" };
    report.line(format_args!("{name} {would} gone, with the {human} it held"));
    report.answer(&Done { file: name, dry_run, bytes });
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_are_told_from_data_and_nothing_is_lost() {
        let extents = vec![
            Extent { sectors: 0..24, place: Place::Log(1000) },
            Extent { sectors: 40..44, place: Place::Zeros },
            Extent { sectors: 60..80, place: Place::Log(90_000) },
        ];
        let places = [64..72, 8..16, 0..8];
        let pick = |superblocks| parts(extents.clone(), &places, superblocks);
        let log = |sectors: Range<u64>, offset| Extent { sectors, place: Place::Log(offset) };
        let inside = [log(0..8, 1000), log(8..16, 5096), log(64..72, 92_048)];
        let outside = [
            log(16..24, 9192),
            Extent { sectors: 40..44, place: Place::Zeros },
            log(60..64, 90_000),
            log(72..80, 96_144),
        ];
        assert_eq!((pick(true), pick(false)), (inside.to_vec(), outside.to_vec()));
    }
}
