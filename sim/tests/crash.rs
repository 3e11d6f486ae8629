//! Every image a power cut can leave, counted.
//!
//! A write is answered and nothing has been flushed: each block on each disk is old or new. For
//! every combination the disks are looked at directly: do they agree, and would a chunk nobody has
//! written come out right if it had to be recovered from parity?

use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::time::Clock;
use holdfast_raid::layout::{Layout, Shape};
use holdfast_raid::{Assembled, Config, Level, Options, assemble, scan};
use holdfast_sim::disk::{Latency, Pulse, SimDisk};
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rows::Rows;
use holdfast_sim::world::World;

/// First data sector of every member.
const DATA: u64 = 128;

type Array = Assembled<SimDisk>;

/// A case: an array, and the sectors that are written together.
#[derive(Clone, Copy)]
struct Case {
    level: Level,
    members: usize,
    written: &'static [u64],
    /// A slot whose data chunk of the first row is not written.
    untouched: u32,
}

/// What all images of a case come to.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    images: usize,
    consistent: usize,
    wrongly_recovered: usize,
}

#[test]
fn a_mirror_leaves_four_images() {
    let case = Case { level: Level::Raid1, members: 2, written: &[0], untouched: 0 };
    assert_eq!(count(case), Count { images: 4, consistent: 2, wrongly_recovered: 0 });
}

#[test]
fn a_raid5_that_modifies_parity_leaves_four_images() {
    let case = Case { level: Level::Raid5, members: 4, written: &[0], untouched: 2 };
    assert_eq!(count(case), Count { images: 4, consistent: 2, wrongly_recovered: 2 });
}

#[test]
fn two_chunks_and_parity_leave_eight_images() {
    let case = Case { level: Level::Raid5, members: 4, written: &[0, 8], untouched: 2 };
    assert_eq!(count(case), Count { images: 8, consistent: 2, wrongly_recovered: 6 });
}

#[test]
fn a_raid6_that_modifies_both_parities_leaves_eight_images() {
    let case = Case { level: Level::Raid6, members: 6, written: &[0], untouched: 3 };
    assert_eq!(count(case), Count { images: 8, consistent: 2, wrongly_recovered: 4 });
}

/// Ten writes in flight: every one of their images is seen, each once.
#[test]
fn ten_independent_writes_leave_a_thousand_and_twenty_four_images() {
    const TEN: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let case = Case { level: Level::Raid0, members: 2, written: &TEN, untouched: 0 };
    let disks = crashed(case);
    let all: usize = choices(&disks).iter().map(|(_, _, choices)| choices).product();
    assert_eq!(all, 1 << 10);
}

fn count(case: Case) -> Count {
    let rows = rows(case);
    let open = choices(&crashed(case));
    let all: usize = open.iter().map(|(_, _, choices)| choices).product();
    let mut seen = Vec::new();
    let (mut consistent, mut wrongly_recovered) = (0, 0);
    for image in 0..all {
        // The same history again, up to the moment at which the power fails.
        let mut disks = crashed(case);
        let mut left = image;
        for (disk, block, choices) in &open {
            let choice = left % choices;
            left /= choices;
            let last = choices - 1;
            disks[*disk].power_cut_one(*block, choice.min(last));
        }
        let bytes: Vec<Vec<u8>> = disks.iter().map(|disk| disk.image().to_vec()).collect();
        let members: Vec<_> = disks.iter().map(|disk| Some((disk, DATA))).collect();
        consistent += usize::from(rows.difference(&members).is_none());
        wrongly_recovered += usize::from(!recovers(case, &rows, &bytes));
        seen.push(bytes);
    }
    seen.sort();
    seen.dedup();
    Count { images: seen.len(), consistent, wrongly_recovered }
}

/// Blocks that are open on each disk: disk, block, how many contents it may have.
fn choices(disks: &[SimDisk]) -> Vec<(usize, u64, usize)> {
    let of = |(disk, it): (usize, &SimDisk)| {
        it.crash_choices().into_iter().map(move |(block, choices)| (disk, block, choices))
    };
    disks.iter().enumerate().flat_map(of).collect()
}

/// Whether the untouched chunk's first sector is what P and the others say.
fn recovers(case: Case, rows: &Rows, disks: &[Vec<u8>]) -> bool {
    let Layout::Parity(parity) = rows.layout() else { return true };
    let roles = parity.stripe(0);
    let at = DATA as usize * 512;
    let sector = |slot: u32| &disks[slot as usize][at..at + 512];
    let mut sum = sector(roles.p).to_vec();
    for slot in (0..parity.data_members()).map(|d| roles.data_slot(d)) {
        if slot != case.untouched {
            sum.iter_mut().zip(sector(slot)).for_each(|(sum, byte)| *sum ^= byte);
        }
    }
    assert!(roles.data_index(case.untouched).is_some(), "a data chunk");
    sum == sector(case.untouched)
}

fn recipe(case: Case) -> Recipe {
    Recipe::of(case.level, case.members)
}

fn rows(case: Case) -> Rows {
    let recipe = recipe(case);
    let shape = Shape {
        level: case.level,
        layout: recipe.layout,
        raid_disks: case.members as u32,
        chunk_sectors: recipe.chunk_sectors,
        member_sectors: recipe.plan().unwrap().size,
    };
    Rows::new(Layout::new(&shape, &vec![128; case.members]).unwrap())
}

/// The disks when the writes have been answered and nothing has been flushed since.
fn crashed(case: Case) -> Vec<SimDisk> {
    let world = World::new(7);
    let pulse = Rc::<Pulse>::default();
    let latency = Latency { least: 1, most: 5 };
    let made = recipe(case).disks();
    let mut disks: Vec<SimDisk> = (0..)
        .zip(made)
        .map(|(id, made)| {
            let sectors = made.geometry().sectors;
            let (clock, pulse) = (world.clock(), Rc::clone(&pulse));
            let mut disk = SimDisk::new(id, sectors, latency, clock, pulse, world.rng(id));
            disk.put(0, made.bytes());
            disk
        })
        .collect();
    let mut clock = world.clock();
    let probes = scan(&mut disks, &mut clock);
    let array = assemble(probes, Config::default(), &Options::default()).unwrap();
    let mut array = Array::new(array, disks);
    let everything = noise(1, (array.geometry().sectors * 512) as usize);
    execute(&mut array, &mut clock, vec![(0, everything)]);
    flush(&mut array, &mut clock);
    let writes = case.written.iter().map(|&sector| (sector, noise(sector + 2, 512)));
    execute(&mut array, &mut clock, writes.collect());
    array.into_devices()
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(seed).fill(&mut data);
    data
}

fn execute(array: &mut Array, clock: &mut impl Clock, writes: Vec<(u64, Vec<u8>)>) {
    let count = writes.len();
    for (tag, (sector, data)) in (0..).zip(writes) {
        let op = Op::Write(Payload::from_slice(&data), Durability::Cached);
        array.submit(Request::new(Tag(tag), sector, op)).unwrap();
    }
    wait(array, clock, count);
}

fn flush(array: &mut Array, clock: &mut impl Clock) {
    array.submit(Request::new(Tag(0), 0, Op::Flush)).unwrap();
    wait(array, clock, 1);
}

fn wait(array: &mut Array, clock: &mut impl Clock, count: usize) {
    let mut finished = Vec::new();
    loop {
        array.poll(clock.now(), &mut finished);
        if finished.len() == count {
            return assert!(finished.iter().all(|done| done.result.is_ok()));
        }
        clock.wait(array.poll_at());
    }
}
