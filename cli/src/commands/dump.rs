//! `holdfast dump`: copies the members' metadata away.
//!
//! Into one file that holds all members, or into a directory with a sparse file per member, as big
//! as the member and with the metadata in its place: what mdadm --dump makes, and as good to attach
//! to a question. Nothing of a member's data is copied.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use holdfast_core::block::BlockDevice;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::blocklog::{Kind, Log};
use holdfast_host::member::Access;
use holdfast_raid::scan::{Probe, scan};
use serde::Serialize;

use crate::config::Dump;
use crate::disk::Disk;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{World, copy_name, now};
use crate::metadata;
use crate::overlay::{cannot, refused};
use crate::parts::Naming;
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Answer {
    target: String,
    members: Vec<Dumped>,
}

#[derive(Debug, Serialize)]
struct Dumped {
    path: String,
    /// The file in the directory, if it is one.
    file: Option<String>,
    metadata_bytes: u64,
    superblock: Option<String>,
}

/// Copies the metadata away.
pub(super) fn run(config: &Dump, report: &Report) -> Outcome {
    let mut world = World::new()?;
    let named: Vec<(&Path, Naming)> =
        config.members.iter().map(|path| (path.as_path(), Naming::Member)).collect();
    let opened = world.open_named(&named, Access::Read, report)?;
    let (names, mut disks): (Vec<PathBuf>, Vec<Disk>) =
        opened.into_iter().map(|member| (member.path, member.disk)).unzip();
    let probes = scan(&mut disks, &mut world.clock);
    let is_directory =
        config.target.is_dir() || config.target.as_os_str().as_encoded_bytes().ends_with(b"/");
    let members = if is_directory {
        into_directory(&config.target, &names, &mut disks, &probes, &mut world)?
    } else {
        into_file(&config.target, &names, &mut disks, &probes, &mut world)?
    };
    let target = config.target.display().to_string();
    for member in &members {
        let (path, size) = (&member.path, Human(member.metadata_bytes));
        let to = member.file.as_ref().unwrap_or(&target);
        let what = member
            .superblock
            .as_deref()
            .map_or_else(|| "no superblock".to_owned(), |version| format!("superblock {version}"));
        report.line(format_args!("{path}: {what}, {size} of metadata to {to}"));
    }
    report.answer(&Answer { target, members });
    Ok(Exit::Good)
}

fn dumped(name: &Path, file: Option<String>, probe: &Probe, disk: &Disk) -> Dumped {
    let regions = metadata::tidy(metadata::of_probe(probe), disk);
    let sectors: u64 = regions.iter().map(|region| region.end - region.start).sum();
    Dumped {
        path: name.display().to_string(),
        file,
        metadata_bytes: sectors * SECTOR_BYTES,
        superblock: probe.superblock.as_ref().ok().map(|block| block.minor.to_string()),
    }
}

fn into_file(
    target: &Path,
    names: &[PathBuf],
    disks: &mut [Disk],
    probes: &[Probe],
    world: &mut World,
) -> Result<Vec<Dumped>, Failure> {
    let mut facts = Vec::new();
    for (name, disk) in names.iter().zip(&mut *disks) {
        facts.push(metadata::facts(name, disk, &mut world.clock)?);
    }
    let log = Log::create(target, Kind::Dump, now().seconds(), &facts).map_err(refused)?;
    let mut members = Vec::new();
    for (number, ((name, disk), probe)) in (0..).zip(names.iter().zip(disks).zip(probes)) {
        let regions = metadata::tidy(metadata::of_probe(probe), disk);
        metadata::copy(&log, number, disk, &mut world.clock, &regions)
            .map_err(|fault| metadata::unreadable(name, fault))?;
        members.push(dumped(name, None, probe, disk));
    }
    log.sync().map_err(|fault| cannot(target, fault))?;
    Ok(members)
}

fn into_directory(
    target: &Path,
    names: &[PathBuf],
    disks: &mut [Disk],
    probes: &[Probe],
    world: &mut World,
) -> Result<Vec<Dumped>, Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| Failure::error(format!("{path}: {error}"))
    };
    if !target.is_dir() {
        fs::create_dir(target).map_err(failed(target))?;
    }
    let mut members = Vec::new();
    for ((name, disk), probe) in names.iter().zip(disks).zip(probes) {
        let path = target.join(copy_name(name));
        // Never over a member, nor over an earlier copy.
        let file = File::create_new(&path).map_err(failed(&path))?;
        file.set_len(disk.geometry().sectors * SECTOR_BYTES).map_err(failed(&path))?;
        for region in metadata::tidy(metadata::of_probe(probe), disk) {
            let bytes = metadata::read(disk, &mut world.clock, region.clone())
                .map_err(|fault| metadata::unreadable(name, fault))?;
            for (block, data) in (0..).zip(bytes.chunks(4096)) {
                if data.iter().any(|byte| *byte != 0) {
                    let at = region.start * SECTOR_BYTES + block * 4096;
                    file.write_all_at(data, at).map_err(failed(&path))?;
                }
            }
        }
        file.sync_all().map_err(failed(&path))?;
        members.push(dumped(name, Some(path.display().to_string()), probe, disk));
    }
    Ok(members)
}
