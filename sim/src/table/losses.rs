//! Which sets of disks take data with them: every set, of eight disks, tried on the engine.
//!
//! For each array and number of lost disks all subsets are taken away in turn; the array is
//! assembled from the rest and read. Closed forms say how many sets are fatal: with pairs of copies
//! (near) a set of `k` survives if it has at most one of each pair, C(4,k)·2^k of C(8,k); with
//! copies on neighbours in a ring (far, offset) if it has no two neighbours, 8/(8−k)·C(8−k,k).

use holdfast_core::block::{BlockDevice, MemDisk};
use holdfast_raid::{Assembled, Config, Level, Options, assemble, scan};

use crate::recipe::Recipe;
use crate::rig::{Contents, Rig};
use crate::world::VirtualClock;

/// Disks of each array.
const DISKS: usize = 8;

/// The smallest and the largest number of lost disks.
const LOST: std::ops::RangeInclusive<u32> = 2..=5;

/// An array, and how many sets of 2, 3, 4 and 5 of its disks are fatal.
struct Row {
    name: &'static str,
    disks: fn() -> Vec<MemDisk>,
    is_lost: fn(Vec<MemDisk>) -> bool,
    expected: [u32; 4],
}

const ROWS: [Row; 6] = [
    Row {
        name: "raid10 near",
        disks: || filled(&Recipe::of(Level::Raid10, DISKS).layout(0x102)),
        is_lost,
        expected: [4, 24, 54, 56],
    },
    Row {
        name: "raid10 far",
        disks: || filled(&Recipe::of(Level::Raid10, DISKS).layout(0x201)),
        is_lost,
        expected: [8, 40, 68, 56],
    },
    Row {
        name: "raid10 offset",
        disks: || filled(&Recipe::of(Level::Raid10, DISKS).layout(0x1_0201)),
        is_lost,
        expected: [8, 40, 68, 56],
    },
    // Each half dies with its first disk.
    Row {
        name: "raid1 over raid0",
        disks: halves,
        is_lost: both_halves_lost,
        expected: [16, 48, 68, 56],
    },
    Row {
        name: "raid5",
        disks: || filled(&Recipe::of(Level::Raid5, DISKS)),
        is_lost,
        expected: [28, 56, 70, 56],
    },
    Row {
        name: "raid6",
        disks: || filled(&Recipe::of(Level::Raid6, DISKS)),
        is_lost,
        expected: [0, 56, 70, 56],
    },
];

/// A cell: of so many sets of lost disks, so many are fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The array.
    pub array: &'static str,
    /// How many disks are lost.
    pub lost: u32,
    /// Sets there are.
    pub sets: u32,
    /// Sets that took data with them.
    pub fatal: u32,
    /// Sets that should.
    pub expected: u32,
}

/// Tries every set, row by row.
pub fn fill() -> Vec<Cell> {
    ROWS.iter().flat_map(cells).collect()
}

fn cells(row: &Row) -> Vec<Cell> {
    let disks = (row.disks)();
    let cell = |(lost, expected)| {
        let sets = (0u32..1 << DISKS).filter(|set| set.count_ones() == lost);
        let fatal = sets.clone().filter(|set| (row.is_lost)(without(&disks, *set)));
        let (sets, fatal) = (sets.count() as u32, fatal.count() as u32);
        Cell { array: row.name, lost, sets, fatal, expected }
    };
    LOST.zip(row.expected).map(cell).collect()
}

/// Copies of the disks that are not in a set; for the others an empty disk in their place.
fn without(disks: &[MemDisk], set: u32) -> Vec<MemDisk> {
    let disk = |(number, disk): (usize, &MemDisk)| match set >> number & 1 {
        0 => disk.copy(),
        _ => MemDisk::new(disk.geometry().sectors),
    };
    disks.iter().enumerate().map(disk).collect()
}

fn byte(at: usize) -> u8 {
    (at / 512 * 31 + 7) as u8
}

fn contents(bytes: usize) -> Vec<u8> {
    (0..bytes).map(byte).collect()
}

/// An array full of known contents, stopped in good order.
fn filled(recipe: &Recipe) -> Vec<MemDisk> {
    let mut rig = Rig::start(recipe.disks());
    let all = contents(rig.size());
    rig.write(0, &all).expect("a healthy array takes writes");
    rig.stop()
}

/// Nothing is written while what is left is looked at.
fn config() -> Config {
    Config { auto_sync: false, read_only: true, ..Config::default() }
}

fn open<D: BlockDevice>(mut devices: Vec<D>) -> Option<Assembled<D>> {
    let probes = scan(&mut devices, &mut VirtualClock::default());
    let array = assemble(probes, config(), &Options::default()).ok()?;
    Some(Assembled::new(array, devices))
}

/// Whether some data cannot be had from these disks any more.
///
/// # Panics
/// If it can be had, and is wrong.
fn is_lost<D: BlockDevice>(disks: Vec<D>) -> bool {
    let clock = VirtualClock::default();
    let Ok(mut rig) = Rig::open_in(disks, config(), &Options::default(), clock) else {
        return true;
    };
    let Ok(all) = rig.read_all() else { return true };
    assert!(all == contents(all.len()), "what is left of an array is wrong");
    false
}

/// Two raid0 of four disks each, and a raid1 over them.
fn halves() -> Vec<MemDisk> {
    let half = Recipe::of(Level::Raid0, DISKS / 2).sectors(128);
    let outer = Recipe::of(Level::Raid1, 2);
    let outer = outer.clone().sectors(half.sectors_in_all() - outer.data_offset);
    let mut disks = Vec::new();
    for member in filled(&outer) {
        let mut rig = Rig::start(half.disks());
        rig.write(0, member.bytes()).expect("a healthy array takes writes");
        disks.extend(rig.stop());
    }
    disks
}

fn both_halves_lost(disks: Vec<MemDisk>) -> bool {
    let (one, other) = disks.split_at(DISKS / 2);
    let halves = [one, other].map(|half| open(half.iter().map(Contents::copy).collect()));
    is_lost(halves.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sets_are_fatal_as_the_closed_forms_say() {
        let wrong: Vec<Cell> =
            fill().into_iter().filter(|cell| cell.fatal != cell.expected).collect();
        assert_eq!(wrong, []);
    }
}
