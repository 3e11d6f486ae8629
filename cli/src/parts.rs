//! Members inside whole-disk images: which part of a disk is meant.
//!
//! `disk.img` is the disk if it carries an md superblock itself. Otherwise, if it has a partition
//! table and exactly one of its partitions is a member, that one is meant; `disk.img#2` names
//! partition 2 whatever it carries. A file whose name really ends so is that file.
//!
//! Version 0.90 keeps its superblock near the end without saying of what: the block of a disk's
//! last partition can be where the whole disk's would be. Then the partition is meant.

use std::ops::Range;
use std::path::{Path, PathBuf};

use holdfast_core::block::{BlockDevice, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::clock::HostClock;
use holdfast_host::file::FileDisk;
use holdfast_host::partition::{self, Table};
use holdfast_host::window::Window;
use holdfast_raid::superblock::Minor;

use crate::erase;
use crate::exit::Failure;
use crate::export;
use crate::stream::Stream;

/// How to understand a name without a partition's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The file or device itself: it is to become a member, or what it carries does not matter.
    Literal,
    /// The member: a disk with one member among its partitions means that partition.
    Member,
}

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The file or device to open.
    pub(crate) base: PathBuf,
    /// The partition of it, if one was named.
    pub(crate) number: Option<u32>,
}

impl Spec {
    /// `disk.img#2` is partition 2 of `disk.img`, unless there is a file of that name. Exports have no
    /// parts here.
    pub(crate) fn of(path: &Path) -> Self {
        let whole = || Self { base: path.to_owned(), number: None };
        if path.exists() || export::is_one(path) {
            return whole();
        }
        let parts = path.to_str().and_then(|text| text.rsplit_once('#'));
        let Some((base, number)) = parts else { return whole() };
        match number.parse() {
            Ok(number) if number > 0 && !base.is_empty() => {
                Self { base: base.into(), number: Some(number) }
            }
            _ => whole(),
        }
    }
}

/// What partition `number` of a disk is called.
pub(crate) fn name(base: &Path, number: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!("#{number}"));
    name.into()
}

/// A part of a disk that is a member, or the whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: Option<u32>,
    pub(crate) sectors: Range<u64>,
    /// What was odd about the table it was found in.
    pub(crate) flaws: Vec<String>,
}

impl Part {
    pub(crate) fn whole(disk: &FileDisk) -> Self {
        Self { number: None, sectors: 0..disk.geometry().sectors, flaws: Vec::new() }
    }
}

/// The partition that was named.
pub(crate) fn named(
    disk: &mut FileDisk,
    clock: &mut HostClock,
    base: &Path,
    number: u32,
) -> Result<Part, Failure> {
    let path = base.display();
    let table = table(disk, clock)
        .ok_or_else(|| Failure::error(format!("{path}#{number}: {path} has no partition table")))?;
    let Some(partition) = table.get(number) else {
        let numbers: Vec<String> = table.partitions.iter().map(|p| p.number.to_string()).collect();
        return Err(Failure::error(format!("{path}#{number}: there is no such partition"))
            .hint(format!("{path} has partitions {}", numbers.join(", "))));
    };
    let sectors = partition.sectors.clone();
    Ok(Part { number: Some(number), sectors, flaws: table.flaws })
}

/// The members a disk holds: itself, or those of its partitions that carry an md superblock. A disk
/// without any is itself.
pub(crate) fn members(disk: &mut FileDisk, clock: &mut HostClock) -> Vec<Part> {
    let whole = vec![Part::whole(disk)];
    // What cannot be read is reported by whoever looks for the superblock next.
    let Ok(found) = erase::find(disk, clock) else { return whole };
    let ambiguous = found.iter().all(|(minor, _)| *minor == Minor::V0_90);
    if !ambiguous {
        return whole;
    }
    let Some(table) = table(disk, clock) else { return whole };
    let mut parts = Vec::new();
    for partition in &table.partitions {
        let sectors = partition.sectors.clone();
        let Ok(mut window) = Window::over(disk.sibling(), sectors.clone()) else { continue };
        let Ok(inside) = erase::find(&mut window, clock) else { continue };
        let shared = |(_, sector): &(Minor, u64)| {
            inside.iter().any(|(_, other)| other + sectors.start == *sector)
        };
        let is_member = !inside.is_empty() && found.iter().all(shared);
        if is_member {
            let flaws = table.flaws.clone();
            parts.push(Part { number: Some(partition.number), sectors, flaws });
        }
    }
    if parts.is_empty() { whole } else { parts }
}

fn table(disk: &mut FileDisk, clock: &mut HostClock) -> Option<Table> {
    let (bytes, block) = (disk.geometry().sectors * SECTOR_BYTES, disk.geometry().block_bytes);
    let read = |offset: u64, into: &mut [u8]| {
        // Whole blocks of the device around what is wanted.
        let block = u64::from(block);
        let from = offset / block * block;
        let to = (offset + into.len() as u64).next_multiple_of(block);
        let op = Op::Read(Buf::zeroed((to - from) as usize));
        let done = Stream::default().now(disk, clock, from / SECTOR_BYTES, op);
        match (done.result, done.op) {
            (Ok(()), Op::Read(buf)) => {
                into.copy_from_slice(&buf[(offset - from) as usize..][..into.len()]);
                Ok(())
            }
            (Err(fault), _) => Err(std::io::Error::other(fault)),
            (Ok(()), _) => unreachable!("a read answers a read"),
        }
    };
    partition::find(bytes, read).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_a_hash_is_a_partition_unless_a_file_is_called_so() {
        let whole = |text: &str| Spec { base: text.into(), number: None };
        for text in ["disk", "disk#", "disk#0", "disk#x", "#3", "disk#-1", "disk#99999999999"] {
            assert_eq!(Spec::of(Path::new(text)), whole(text));
        }
        let spec = Spec::of(Path::new("a#b/disk#12"));
        assert_eq!(spec, Spec { base: "a#b/disk".into(), number: Some(12) });
        assert_eq!(name(&spec.base, 12), Path::new("a#b/disk#12"));
        let real = std::env::temp_dir().join(format!("holdfast-part-{}#7", std::process::id()));
        std::fs::write(&real, "").unwrap();
        assert_eq!(Spec::of(&real), Spec { base: real.clone(), number: None });
        std::fs::remove_file(&real).unwrap();
    }
}
