//! `holdfast restore`: brings metadata back.
//!
//! From the undo of a verb, from what `holdfast dump` made, or from a directory of sparse files as
//! mdadm --dump makes them. An undo knows what its verb left behind: if a member's metadata is not
//! that any more, the array has moved on, older claims would come over newer data, and the verb
//! refuses without `--force`. What it replaces is kept as an undo of its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use holdfast_core::block::{BlockDevice, Fault};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::blocklog::{Kind, Log};
use holdfast_host::member::Access;
use holdfast_raid::scan::scan;
use serde::Serialize;

use crate::config::Restore;
use crate::disk::Disk;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{World, copy_name, file_name};
use crate::metadata;
use crate::overlay::{self, Use, refused};
use crate::report::{Report, confirm};
use crate::undo::Undo;

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    members: Vec<Restored>,
}

#[derive(Debug, Serialize)]
struct Restored {
    path: String,
    changed_bytes: u64,
}

/// Sectors and what they held.
type Region = (Range<u64>, Vec<u8>);

/// What one member's metadata was.
struct Copy {
    name: PathBuf,
    sectors: u64,
    /// Whole regions and what they held.
    regions: Vec<Region>,
    /// What the verb left in them, if this is the undo of one that was finished.
    after: Option<u64>,
}

/// Brings the metadata back.
pub(super) fn run(config: &Restore, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let mut world = World::new()?;
    let copies = copies(config, &mut world, report)?;
    let paths: Vec<PathBuf> = copies.iter().map(|copy| copy.name.clone()).collect();
    let spares = config.way.spares_members(config.force);
    let access = match (dry_run, spares) {
        (true, _) => Access::Read,
        (false, true) => Access::Steady,
        (false, false) => Access::Write,
    };
    let mut opened = world.open(&paths, access, report)?;
    if spares && (!dry_run || config.way.overlay.is_some()) {
        let using = if dry_run { Use::Look } else { Use::Change };
        opened = overlay::put_over(opened, &config.way, None, using, &mut world, report)?;
    }
    for (copy, member) in copies.iter().zip(&mut opened) {
        check(copy, &mut member.disk, &mut world, config)?;
    }
    if !dry_run {
        confirm("Overwrite the metadata of these members?", config.caution.yes)?;
    }
    let devices = copies.iter().zip(&mut opened).map(|(copy, member)| {
        let regions = copy.regions.iter().map(|(region, _)| region.clone()).collect();
        (member.path.as_path(), &mut member.disk, regions)
    });
    let undo = match dry_run || spares {
        true => None,
        false => Undo::begin(&config.undo, devices, &mut world.clock)?,
    };
    let mut members = Vec::new();
    for (copy, member) in copies.iter().zip(&mut opened) {
        let path = member.path.display().to_string();
        let changed = put_back(copy, &mut member.disk, &mut world, dry_run)
            .map_err(|fault| Failure::error(format!("{path}: {fault}")))?;
        let said = match (changed, dry_run) {
            (0, _) => "is as it was".to_owned(),
            (bytes, true) => format!("would get {bytes} bytes of metadata back"),
            (bytes, false) => format!("{bytes} bytes of metadata are back"),
        };
        report.line(format_args!("{path}: {said}"));
        members.push(Restored { path, changed_bytes: changed });
    }
    drop(opened);
    if let Some(undo) = undo {
        undo.finish(report);
    }
    report.answer(&Answer { dry_run, members });
    Ok(Exit::Good)
}

/// What is to be brought back, each with the member it goes to.
fn copies(config: &Restore, world: &mut World, report: &Report) -> Result<Vec<Copy>, Failure> {
    if config.source.is_dir() {
        return from_directory(config, world, report);
    }
    let log = Log::open(&config.source, false).map_err(refused)?;
    if log.header().kind != Kind::Dump {
        let source = config.source.display();
        return Err(Failure::error(format!("{source}: is an overlay, not a copy of metadata"))
            .hint(format!("holdfast overlay commit {source} writes it to the members")));
    }
    let known = log.members();
    let names: Vec<PathBuf> =
        known.iter().map(|facts| OsStr::from_bytes(&facts.name).into()).collect();
    let chosen: Vec<(usize, PathBuf)> = match config.members.is_empty() {
        true => names.iter().cloned().enumerate().collect(),
        false => {
            let choose = |path: &PathBuf| Ok((which(&names, path)?, path.clone()));
            config.members.iter().map(choose).collect::<Result<_, Failure>>()?
        }
    };
    let mut twice = BTreeSet::new();
    if let Some((number, _)) = chosen.iter().find(|(number, _)| !twice.insert(*number)) {
        let name = names[*number].display();
        return Err(Failure::usage(format!("{name} would be brought back twice")));
    }
    let remarks = log.remarks();
    let after = |number: usize| {
        let about = remarks.iter().rfind(|(member, _)| *member as usize == number)?;
        about.1.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    };
    chosen
        .into_iter()
        .map(|(number, name)| {
            let regions = regions_of(&log, number as u32)
                .map_err(|fault| overlay::cannot(&config.source, fault))?;
            Ok(Copy { name, sectors: known[number].sectors, regions, after: after(number) })
        })
        .collect()
}

/// The member of a file that a path means: the one of that name, else the only one whose last part
/// is the same (disks move).
fn which(names: &[PathBuf], path: &Path) -> Result<usize, Failure> {
    let whole = metadata::absolute(path);
    if let Some(number) = names.iter().position(|name| *name == whole) {
        return Ok(number);
    }
    let same = |number: &usize| file_name(&names[*number]) == file_name(path);
    let found: Vec<usize> = (0..names.len()).filter(same).collect();
    match found[..] {
        [number] => Ok(number),
        _ => {
            let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
            let path = path.display();
            Err(Failure::error(format!("{path}: the copy knows no one member of this name"))
                .hint(format!("it knows {}", names.join(", "))))
        }
    }
}

fn regions_of(log: &Log, number: u32) -> Result<Vec<Region>, Fault> {
    let mut regions: Vec<Region> = Vec::new();
    for extent in log.extents(number) {
        let Range { start, end } = extent.sectors;
        let mut bytes = vec![0; ((end - start) * SECTOR_BYTES) as usize];
        log.read(extent.place, &mut bytes)?;
        match regions.last_mut() {
            Some((region, held)) if region.end == start => {
                region.end = end;
                held.extend_from_slice(&bytes);
            }
            _ => regions.push((start..end, bytes)),
        }
    }
    Ok(regions)
}

/// Copies in a directory: for each member the file of its name. Which parts of it count its own
/// superblock says.
fn from_directory(
    config: &Restore,
    world: &mut World,
    report: &Report,
) -> Result<Vec<Copy>, Failure> {
    let directory = config.source.display();
    if config.members.is_empty() {
        return Err(Failure::usage(format!("{directory} is a directory: name the members")));
    }
    let copy = |path: &PathBuf| {
        let file = config.source.join(copy_name(path));
        let literal = std::slice::from_ref(&file);
        let opened = world.open(literal, Access::Read, report)?;
        let mut disks: Vec<Disk> = opened.into_iter().map(|member| member.disk).collect();
        let probe = scan(&mut disks, &mut world.clock).remove(0);
        if let Err(error) = &probe.superblock {
            return Err(Failure::error(format!("{}: {error}", file.display())));
        }
        let regions = metadata::tidy(metadata::of_probe(&probe), &disks[0]);
        let image = File::open(&file)
            .map_err(|error| Failure::error(format!("{}: {error}", file.display())))?;
        let read = |region: Range<u64>| {
            let mut bytes = vec![0; ((region.end - region.start) * SECTOR_BYTES) as usize];
            image
                .read_exact_at(&mut bytes, region.start * SECTOR_BYTES)
                .map_err(|error| Failure::error(format!("{}: {error}", file.display())))?;
            Ok((region, bytes))
        };
        let regions = regions.into_iter().map(read).collect::<Result<_, Failure>>()?;
        let sectors = probe.geometry.sectors;
        Ok(Copy { name: path.clone(), sectors, regions, after: None })
    };
    config.members.iter().map(copy).collect()
}

/// Whether a member may get this metadata back.
fn check(copy: &Copy, disk: &mut Disk, world: &mut World, config: &Restore) -> Result<(), Failure> {
    let (name, sectors) = (copy.name.display(), disk.geometry().sectors);
    if sectors != copy.sectors {
        let was = copy.sectors;
        return Err(Failure::error(format!("{name}: has {sectors} sectors, the copy is of {was}")));
    }
    let Some(after) = copy.after.filter(|_| !config.force) else { return Ok(()) };
    let regions: Vec<Range<u64>> = copy.regions.iter().map(|(region, _)| region.clone()).collect();
    let now = metadata::digest(disk, &mut world.clock, &regions)
        .map_err(|fault| metadata::unreadable(&copy.name, fault))?;
    if now == after || is_back(copy, disk, world)? {
        return Ok(());
    }
    Err(Failure::error(format!(
        "{name}: its metadata has changed since; going back would bring old claims over newer data"
    ))
    .hint("--force does it all the same, into an overlay; with --in-place on the member itself"))
}

/// Whether the metadata already is what it was.
fn is_back(copy: &Copy, disk: &mut Disk, world: &mut World) -> Result<bool, Failure> {
    for (region, bytes) in &copy.regions {
        let now = metadata::read(disk, &mut world.clock, region.clone())
            .map_err(|fault| metadata::unreadable(&copy.name, fault))?;
        if now != *bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes what differs; bytes of blocks that did.
///
/// Superblocks last: until then the member is what it was.
fn put_back(copy: &Copy, disk: &mut Disk, world: &mut World, dry_run: bool) -> Result<u64, Fault> {
    let places = metadata::places(copy.sectors);
    let is_place = |region: &Range<u64>| {
        places.iter().any(|place| place.start < region.end && region.start < place.end)
    };
    let mut changed = 0;
    for last in [false, true] {
        for (region, bytes) in copy.regions.iter().filter(|(region, _)| is_place(region) == last) {
            let now = metadata::read(disk, &mut world.clock, region.clone())?;
            let block = disk.geometry().block_bytes as usize;
            let pairs = (0..).zip(now.chunks(block).zip(bytes.chunks(block)));
            for (index, (_, then)) in pairs.filter(|(_, (now, then))| now != then) {
                changed += then.len() as u64;
                if !dry_run {
                    let sector = region.start + index * disk.geometry().block_sectors();
                    metadata::write(disk, &mut world.clock, sector, then)?;
                }
            }
        }
        if !dry_run {
            metadata::flush(disk, &mut world.clock)?;
        }
    }
    Ok(changed)
}
