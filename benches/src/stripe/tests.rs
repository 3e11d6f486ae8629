//! The model's counts are exact, its runs repeat to the last digit, and advice follows the numbers.

use holdfast_core::block::{Blocking, Op};
use holdfast_core::buf::Buf;
use holdfast_raid::layout::{self, Layout, names};

use super::*;
use crate::ground::Imagined;
use crate::model::Model;

const CHUNK: u32 = 64 << 10;

fn ground(model: Model, members: u32) -> Imagined<'static> {
    Imagined { model, members, stop: &|| false }
}

fn sweep(level: Level, pattern: Pattern, request_bytes: u32) -> Sweep {
    let limit = Limit { requests: 60, time: None };
    Sweep {
        levels: vec![level],
        chunks_bytes: vec![CHUNK],
        requests_bytes: vec![request_bytes],
        patterns: vec![pattern],
        depths: vec![1],
        lost: 0,
        seed: 1,
        runs: 1,
        limit,
        warm_up: Limit { requests: 6, time: None },
    }
}

fn cells(sweep: &Sweep, model: Model, members: u32) -> Vec<Cell> {
    let mut cells = Vec::new();
    sweep.run(&mut ground(model, members), &mut |cell| cells.push(cell)).unwrap();
    cells
}

#[test]
fn a_small_write_costs_what_the_level_asks() {
    // Reconstruct-write where it reads less than old data and old parity: raid5 of 3, raid6 of 4
    // and 5.
    for (level, members, ios) in [
        (Level::Raid0, 4, 1.0),
        (Level::Raid1, 2, 2.0),
        (Level::Raid10, 4, 2.0),
        (Level::Raid4, 5, 4.0),
        (Level::Raid5, 3, 3.0),
        (Level::Raid5, 4, 4.0),
        (Level::Raid5, 8, 4.0),
        (Level::Raid6, 4, 4.0),
        (Level::Raid6, 5, 5.0),
        (Level::Raid6, 6, 6.0),
        (Level::Raid6, 10, 6.0),
    ] {
        let cell = &cells(&sweep(level, Pattern::RandWrite, 4096), Model::Nvme, members)[0];
        assert_eq!(cell.member_ios_per_io, ios, "{level} of {members}");
        assert_eq!(cell.member_bytes_per_byte, ios, "{level} of {members}");
        let read = &cells(&sweep(level, Pattern::RandRead, 4096), Model::Nvme, members)[0];
        assert_eq!(read.member_ios_per_io, 1.0, "{level} of {members}");
    }
}

#[test]
fn the_share_of_read_modify_write_is_told() {
    let cell = &cells(&sweep(Level::Raid5, Pattern::RandWrite, 4096), Model::Nvme, 8)[0];
    assert_eq!((cell.rmw_percent, cell.full_percent), (Some(100.0), Some(0.0)));
    let cell = &cells(&sweep(Level::Raid5, Pattern::RandWrite, 4096), Model::Nvme, 3)[0];
    assert_eq!((cell.rmw_percent, cell.full_percent), (Some(0.0), Some(0.0)), "reconstructed");
    let cell = &cells(&sweep(Level::Raid5, Pattern::SeqWrite, 3 * CHUNK), Model::Nvme, 4)[0];
    assert_eq!((cell.rmw_percent, cell.full_percent), (Some(0.0), Some(100.0)));
    let cell = &cells(&sweep(Level::Raid0, Pattern::SeqWrite, CHUNK), Model::Nvme, 4)[0];
    assert_eq!((cell.rmw_percent, cell.full_percent), (None, None));
    assert_eq!(cell.cpu_ns_per_byte, None, "a processor is not modelled");
}

/// Bytes each member moved for a load of whole rotations of stripes.
fn moved(level: Level, members: u32, pattern: Pattern) -> (u64, Vec<Tally>) {
    let data = members - level.parity_members();
    let sweep = Sweep {
        // As many requests as slots: parity has been everywhere equally often.
        limit: Limit { requests: 2 * u64::from(members), time: None },
        ..sweep(level, pattern, data * CHUNK)
    };
    let mut ground = ground(Model::Hdd, members);
    let mut bench = Bench::start(&sweep, sweep.places()[0], &mut ground).unwrap();
    let load = Load { pattern, request_bytes: data * CHUNK, depth: 4, seed: 1 };
    let run = bench.run(load, sweep.limit, &ground).unwrap();
    let tally = |index| bench.array.device(index).tally();
    (run.bytes(), (0..members as usize).map(tally).collect())
}

#[test]
fn full_stripes_move_the_data_and_its_parity_once() {
    for (level, members) in
        [(Level::Raid4, 4), (Level::Raid5, 4), (Level::Raid5, 5), (Level::Raid6, 6)]
    {
        let data = u64::from(members - level.parity_members());
        let (bytes, tallies) = moved(level, members, Pattern::SeqWrite);
        for tally in &tallies {
            assert_eq!(tally.written_bytes, bytes / data, "{level} of {members}: {tallies:?}");
            assert_eq!(tally.read_bytes, 0, "{level} of {members}");
        }
    }
}

/// In each stripe the data members read the request's bytes ÷ (n−1) or ÷ (n−2) each and parity is
/// left alone; a rotation spreads that evenly, and a parity disk (raid4) reads nothing.
#[test]
fn large_reads_move_each_byte_once() {
    for (level, members) in
        [(Level::Raid4, 4), (Level::Raid5, 4), (Level::Raid5, 5), (Level::Raid6, 6)]
    {
        let data = u64::from(members - level.parity_members());
        let (bytes, tallies) = moved(level, members, Pattern::SeqRead);
        assert_eq!(tallies.iter().map(|tally| tally.read_bytes).sum::<u64>(), bytes);
        for (slot, tally) in (0u32..).zip(&tallies) {
            let share = match level {
                Level::Raid4 if slot == members - 1 => 0,
                Level::Raid4 => bytes / data,
                // In the stripes in which it holds data, which are `data` of every `members`.
                _ => bytes / data * data / u64::from(members),
            };
            assert_eq!(tally.read_bytes, share, "{level} of {members}: {tallies:?}");
        }
    }
}

#[test]
fn a_degraded_read_asks_everybody_only_for_what_is_lost() {
    for (level, members) in [(Level::Raid5, 5), (Level::Raid6, 6)] {
        let sweep = Sweep { lost: 1, ..sweep(level, Pattern::RandRead, 4096) };
        let mut ground = ground(Model::Ssd, members);
        let bench = Bench::start(&sweep, sweep.places()[0], &mut ground).unwrap();
        let status = bench.array.status();
        let shape = layout::Shape {
            level,
            layout: names::default(level),
            raid_disks: members,
            chunk_sectors: CHUNK / 512,
            member_sectors: status.member_sectors,
        };
        let Ok(Layout::Parity(parity)) = Layout::new(&shape, &[]) else { panic!("a parity level") };
        let tallied = |array: &Assembled<Counted<_>>| {
            (0..members as usize).map(|index| array.device(index).tally().reads).sum::<u64>()
        };
        let mut array = Blocking::new(bench.array, bench.clock);
        let mut lost_chunks = 0;
        for chunk in 0..3 * u64::from(members * members) {
            let sector = chunk * u64::from(CHUNK / 512) + 8;
            let (stripe, d, _) = parity.locate(sector);
            let lost = parity.stripe(stripe).data_slot(d) == 0;
            let before = tallied(array.device());
            assert!(array.execute(sector, Op::Read(Buf::zeroed(4096))).result.is_ok());
            // raid6 reads the data that is left and P: one member less than are left.
            let all = u64::from(members - 1) - u64::from(level == Level::Raid6);
            let expected = if lost { all } else { 1 };
            assert_eq!(tallied(array.device()) - before, expected, "{level}: chunk {chunk}");
            lost_chunks += u64::from(lost);
        }
        assert!(lost_chunks > 0);
    }
}

#[test]
fn two_runs_agree_to_the_last_digit() {
    for model in [Model::Hdd, Model::Ssd, Model::Nvme] {
        let sweep = Sweep {
            levels: vec![Level::Raid1, Level::Raid5, Level::Raid6],
            chunks_bytes: vec![4096, 64 << 10],
            requests_bytes: vec![4096, 32 << 10],
            patterns: Pattern::ALL.to_vec(),
            depths: vec![1, 16],
            runs: 2,
            limit: Limit { requests: 25, time: None },
            ..sweep(Level::Raid5, Pattern::Mixed, 4096)
        };
        let (first, second) = (cells(&sweep, model, 4), cells(&sweep, model, 4));
        assert_eq!(first.len(), sweep.cells());
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "{model:?}");
        let other = Sweep { seed: 2, ..sweep };
        assert_ne!(format!("{first:?}"), format!("{:?}", cells(&other, model, 4)));
    }
}

#[test]
fn a_disk_array_is_as_fast_as_its_heads() {
    let one = sweep(Level::Raid0, Pattern::RandRead, 4096);
    let deep = Sweep { depths: vec![32], ..one.clone() };
    let alone = &cells(&one, Model::Hdd, 4)[0];
    // Half a turn and the way there: between 60 and 120 a second, whoever builds disks.
    assert!((60.0..120.0).contains(&alone.iops), "{alone:?}");
    let many = &cells(&deep, Model::Hdd, 4)[0];
    assert!(many.iops > 3.5 * alone.iops, "four heads and a queue: {many:?}");
    assert!(many.p99_us > alone.p99_us && many.p999_us >= many.p99_us);
    let seq = &cells(&sweep(Level::Raid0, Pattern::SeqRead, 1 << 20), Model::Hdd, 4)[0];
    assert!((500.0..860.0).contains(&seq.mb_per_s), "{seq:?}");
}

#[test]
fn a_sweep_stops_when_told_and_keeps_what_it_has() {
    let stop_at = std::cell::Cell::new(0);
    let stop = || stop_at.get() > 0;
    let sweep = Sweep { depths: vec![1, 2, 4], ..sweep(Level::Raid5, Pattern::RandRead, 4096) };
    let mut ground = Imagined { model: Model::Ssd, members: 4, stop: &stop };
    let mut seen = 0;
    let result = sweep.run(&mut ground, &mut |_| {
        seen += 1;
        stop_at.set(1);
    });
    assert!(matches!(result, Err(SweepError::Stopped)));
    assert_eq!(seen, 1);
}

#[test]
fn what_cannot_be_an_array_is_named() {
    let small = sweep(Level::Raid6, Pattern::RandRead, 4096);
    let error = small.run(&mut ground(Model::Ssd, 3), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("raid6"), "{error}");
    let lost = Sweep { lost: 2, ..sweep(Level::Raid5, Pattern::RandRead, 4096) };
    let error = lost.run(&mut ground(Model::Ssd, 4), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("member 1 cannot be taken away"), "{error}");
}

fn made_up(chunk_bytes: u32, pattern: &'static str, mb_per_s: f64) -> Cell {
    Cell {
        level: "raid5",
        members: 5,
        chunk_bytes,
        request_bytes: 4096,
        pattern,
        depth: 1,
        requests: 1,
        mb_per_s,
        iops: 1.0,
        p50_us: 1.0,
        p99_us: 1.0,
        p999_us: 1.0,
        spread_percent: 0.0,
        member_ios_per_io: 1.0,
        member_bytes_per_byte: 1.0,
        rmw_percent: None,
        full_percent: None,
        cpu_ns_per_byte: None,
    }
}

#[test]
fn advice_follows_the_numbers() {
    let (small, large) = (16 << 10, 256 << 10);
    let cells = [
        made_up(small, "seq-read", 100.0),
        made_up(large, "seq-read", 400.0),
        made_up(small, "rand-write", 30.0),
        made_up(large, "rand-write", 20.0),
        // Only one chunk came to this one before somebody said stop.
        made_up(small, "mixed", 1e9),
    ];
    let advice = &advise(&cells)[0];
    assert_eq!(advice.chunk_bytes, large);
    // √(1 × ⅔) and √(¼ × 1).
    assert_eq!(advice.scores.iter().map(|s| s.1.round()).collect::<Vec<_>>(), [50.0, 82.0]);
    assert!(advice.sentence.starts_with("raid5 of 5: take 256 KiB chunks"), "{}", advice.sentence);
    assert!(advice.sentence.contains("rand-write of 4 KiB at depth 1"), "{}", advice.sentence);
    assert_eq!(advice.mkfs_ext4, "mkfs.ext4 -E stride=64,stripe_width=256");
    assert_eq!(advice.mkfs_xfs, "mkfs.xfs -d su=256k,sw=4");
    let tie = [made_up(small, "mixed", 100.0), made_up(large, "mixed", 101.0)];
    assert!(advise(&tie)[0].sentence.contains("hardly matters"));
    assert!(advise(&tie[..1]).is_empty(), "one chunk is no choice");
}
