//! The write hole, with a partial parity log: a power cut in a degraded array touches nothing that
//! nobody has written to, whatever of the writes is left and whichever disk does not come back.

use holdfast_core::block::{BlockDevice, Durability, MemDisk, Op};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::time::Clock;
use holdfast_raid::ppl::Found;
use holdfast_raid::superblock::{Minor, Resync};
use holdfast_raid::{AssembleError, Config, Level, Options};
use holdfast_sim::disk::{Latency, Pulse, SimDisk};
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rig::Rig;
use holdfast_sim::world::World;
use std::rc::Rc;

const SECTOR: usize = 512;

/// RAID5 of `n` with two chunks' worth of 8 KiB and room for one log, or for a ring of them.
fn recipe(n: usize, ring: bool) -> Recipe {
    Recipe {
        chunk_sectors: 16,
        data_offset: if ring { 640 } else { 128 },
        ..Recipe::of(Level::Raid5, n).sectors(64).ppl()
    }
}

fn sim_disks(images: &[Vec<u8>], world: &World) -> Vec<SimDisk> {
    let pulse = Rc::<Pulse>::default();
    let disk = |(id, bytes): (u64, &Vec<u8>)| {
        let sectors = (bytes.len() / SECTOR) as u64;
        let (clock, rng) = (world.clock(), world.rng(id));
        let latency = Latency { least: 1, most: 9 };
        let mut disk = SimDisk::new(id, sectors, latency, clock, Rc::clone(&pulse), rng);
        disk.put(0, bytes);
        disk
    };
    (0..).zip(images).map(disk).collect()
}

/// What every sector may hold.
struct Ledger {
    /// Answered and flushed last, or never written.
    durable: Vec<u8>,
    /// Since then, answered or not.
    open: Vec<Vec<u8>>,
}

impl Ledger {
    fn write(&mut self, sector: usize, byte: u8, sectors: usize) {
        self.open[sector..sector + sectors].iter_mut().for_each(|open| open.push(byte));
    }

    fn flushed(&mut self) {
        for (durable, open) in self.durable.iter_mut().zip(&mut self.open) {
            *durable = open.pop().unwrap_or(*durable);
            open.clear();
        }
    }
}

fn fill(sector: usize, byte: u8, sectors: usize) -> Vec<u8> {
    (sector..sector + sectors).flat_map(|s| [byte ^ (s as u8).wrapping_mul(31); SECTOR]).collect()
}

/// A run that ends with a power cut: the images, and what may be in them. `lost` is missing from the
/// beginning.
fn cut(recipe: &Recipe, seed: u64, lost: Option<usize>) -> (Vec<Vec<u8>>, Ledger) {
    let mut rng = Rng::new(seed);
    let world = World::new(seed);
    let made: Vec<Vec<u8>> = recipe.disks().iter().map(|disk| disk.bytes().to_vec()).collect();
    let disks = sim_disks(&made, &world);
    let config = Config { auto_sync: false, ..Config::default() };
    let mut rig = Rig::open_in(disks, config, &Options::default(), world.clock()).unwrap();
    let all = rig.size() / SECTOR;
    rig.write(0, &fill(0, 7, all)).unwrap();
    rig.flush().unwrap();
    let mut ledger = Ledger { durable: vec![7; all], open: vec![Vec::new(); all] };
    if let Some(lost) = lost {
        rig.array_mut().fail_member(lost).unwrap();
    }
    let mut begun = Vec::new();
    let mut steps = rng.below(220);
    'run: for number in 0..60 {
        let most = if rng.below(4) == 0 { 48 } else { 12 };
        let sectors = 1 + rng.below(most) as usize;
        let sector = rng.below((all - sectors) as u64 + 1) as usize;
        let byte = 8 + number as u8;
        let fua = if rng.below(5) == 0 { Durability::Fua } else { Durability::Cached };
        // Overlapping requests in flight would need an order; one writer a sector keeps it simple.
        if ledger.open[sector..sector + sectors].iter().any(|open| !open.is_empty()) {
            while let Some(tag) = begun.pop() {
                rig.finish(tag).result.unwrap();
            }
            rig.flush().unwrap();
            ledger.flushed();
        }
        ledger.write(sector, byte, sectors);
        let data = Payload::from_slice(&fill(sector, byte, sectors));
        begun.push(rig.begin(sector as u64, Op::Write(data, fua)));
        for _ in 0..rng.below(7) {
            if steps == 0 {
                break 'run;
            }
            steps -= 1;
            rig.poll();
            if let Some(due) = rig.array().poll_at() {
                rig.clock().wait(Some(due));
            }
        }
    }
    let mut disks = rig.crash();
    disks.iter_mut().for_each(|disk| disk.power_cut(&mut rng));
    (disks.iter().map(SimDisk::image).collect(), ledger)
}

/// Assembles without force what is left without `lost`, and judges every sector. In flight on a disk
/// that is gone as well may be anything if `torn`.
fn judge(
    recipe: &Recipe,
    images: &[Vec<u8>],
    ledger: &Ledger,
    lost: Option<usize>,
    config: &Config,
    torn: bool,
) -> Result<(), String> {
    let there = (0..images.len()).filter(|disk| Some(*disk) != lost);
    let disks: Vec<MemDisk> = there.map(|disk| MemDisk::from_bytes(images[disk].clone())).collect();
    let mut rig = Rig::open(disks, config.clone(), false).map_err(|error| error.to_string())?;
    let holdfast_raid::layout::Layout::Parity(parity) = recipe.geometry().unwrap() else {
        unreachable!("raid5")
    };
    for again in 0..2 {
        let seen = rig.read_all().map_err(|fault| format!("cannot be read: {fault}"))?;
        for (sector, bytes) in seen.chunks_exact(SECTOR).enumerate() {
            let legal = ledger.open[sector].iter().chain([&ledger.durable[sector]]);
            let legal = legal.map(|byte| fill(sector, *byte, 1));
            let (stripe, d, _) = parity.locate(sector as u64);
            let gone = lost == Some(parity.stripe(stripe).data_slot(d) as usize);
            if torn && gone && !ledger.open[sector].is_empty() {
                continue;
            }
            if !legal.into_iter().any(|legal| legal == bytes) {
                let open = &ledger.open[sector];
                return Err(format!("sector {sector}, in flight {open:?}, read {again}: wrong"));
            }
        }
        rig.settle();
    }
    if lost.is_none() && !config.read_only {
        let wrong = rig.check();
        if wrong > 0 {
            return Err(format!("{wrong} sectors of parity are wrong"));
        }
    }
    Ok(())
}

#[test]
fn what_nobody_wrote_survives_a_power_cut_and_the_loss_of_a_disk() {
    let read_only = Config { read_only: true, ..Config::default() };
    for seed in 0..240 {
        let recipe = recipe(3 + seed as usize % 3, seed % 2 == 0);
        let (images, ledger) = cut(&recipe, seed, None);
        for lost in (0..images.len()).map(Some).chain([None]) {
            for config in [Config::default(), read_only.clone()] {
                judge(&recipe, &images, &ledger, lost, &config, true)
                    .unwrap_or_else(|what| panic!("seed {seed}, lost {lost:?}: {what}"));
            }
        }
    }
}

#[test]
fn a_degraded_array_holds_old_or_new_after_a_power_cut() {
    for seed in 0..240 {
        let recipe = recipe(3 + seed as usize % 3, seed % 2 == 0);
        let lost = seed as usize % recipe.members.len();
        let (images, ledger) = cut(&recipe, seed, Some(lost));
        judge(&recipe, &images, &ledger, Some(lost), &Config::default(), false)
            .unwrap_or_else(|what| panic!("seed {seed}, lost {lost}: {what}"));
    }
}

/// Until parity is known good no log may speak for it: a member lost then is refused as ever.
#[test]
fn a_log_does_not_speak_for_parity_that_was_never_right() {
    let recipe = recipe(4, true).unsynced();
    let config = Config { auto_sync: false, ..Config::default() };
    let mut rig = Rig::open(recipe.disks(), config, false).unwrap();
    rig.write(0, &[1; 4096]).unwrap();
    let mut disks = rig.crash();
    disks.remove(1);
    let refused = Rig::open(disks, Config::default(), false).unwrap_err();
    assert!(matches!(refused, AssembleError::DirtyDegraded { .. }), "{refused}");
    // With all there the resync makes it right, and from then on the log counts.
    let mut rig = Rig::open(recipe.disks(), Config::default(), false).unwrap();
    rig.write(0, &[1; 4096]).unwrap();
    rig.settle();
    rig.write(65536 / 2, &[2; 4096]).unwrap();
    let probes = rig.probe();
    assert!(probes.iter().all(|probe| matches!(probe.ppl, Some(Ok(Found::Log(_))))));
    let mut disks = rig.crash();
    disks.remove(1);
    let mut rig = Rig::open(disks, Config::default(), false).unwrap();
    assert_eq!(rig.read(65536 / 2, 4096), Ok(vec![2; 4096]));
    assert_eq!(rig.read(0, 4096), Ok(vec![1; 4096]));
}

#[test]
fn a_clean_end_leaves_nothing_to_do() {
    for minor in [Minor::V1_0, Minor::V1_1, Minor::V1_2] {
        let recipe = Recipe { minor, ..recipe(4, false).sectors(4096) };
        let mut rig = Rig::start(recipe.disks());
        rig.write(512 * 3, &[9; 512 * 70]).unwrap();
        let disks = rig.stop();
        let mut rig = Rig::start(disks);
        assert_eq!(rig.array().status().resync_from, None);
        assert!(rig.probe().iter().all(|p| p.superblock.as_ref().unwrap().resync == Resync::Clean));
        assert_eq!(rig.read(512 * 3, 512 * 70), Ok(vec![9; 512 * 70]));
        assert_eq!(rig.check(), 0);
    }
}

/// What is left of an earlier run must not look like the continuation of this one's log.
#[test]
fn logs_of_an_earlier_run_are_gone_before_the_first_of_this_one() {
    let recipe = recipe(4, true).sectors(4096);
    let mut rig = Rig::start(recipe.disks());
    for stripe in 0..12 {
        rig.write(stripe * 3 * 16 * SECTOR, &[stripe as u8; 4096]).unwrap();
    }
    let mut disks = rig.stop();
    for disk in &mut disks {
        // The first header of each area is torn, so nobody knows how far they had counted.
        disk.bytes_mut()[16 * SECTOR + 600] ^= 1;
    }
    let mut rig = Rig::start(disks);
    assert!(rig.probe().iter().all(|probe| probe.ppl == Some(Ok(Found::Torn))));
    rig.write(0, &[1; 4096]).unwrap();
    let entries = |found: &Found| match found {
        Found::Log(log) => log.header.entries.len(),
        _ => panic!("{found:?}"),
    };
    let probes = rig.probe();
    let logs = probes.iter().map(|probe| entries(probe.ppl.as_ref().unwrap().as_ref().unwrap()));
    assert_eq!(logs.sum::<usize>(), 1, "{:?}", probes.iter().map(|p| &p.ppl).collect::<Vec<_>>());
}

/// Chunks larger than a log has room for.
#[test]
fn large_chunks_go_through_many_logs() {
    for lost in [None, Some(0), Some(2)] {
        let recipe = Recipe { chunk_sectors: 1024, ..recipe(3, true).sectors(8192) };
        let recipe = Recipe { data_offset: 4096, ..recipe };
        let mut rig = Rig::start(recipe.disks());
        if let Some(lost) = lost {
            rig.array_mut().fail_member(lost).unwrap();
        }
        let data = fill(0, 3, rig.size() / SECTOR);
        rig.write(512 * 3, &data[512 * 3..512 * 5000]).unwrap();
        assert_eq!(rig.read(512 * 3, 512 * 4997).unwrap(), data[512 * 3..512 * 5000]);
        let mut disks = rig.crash();
        disks.remove(lost.unwrap_or(1));
        let mut rig = Rig::start(disks);
        assert_eq!(rig.read(512 * 3, 512 * 4997).unwrap(), data[512 * 3..512 * 5000]);
    }
}
