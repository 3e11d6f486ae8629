//! Which member is asked for what, and how often.

use super::*;
use holdfast_core::block::{Durability, Op};
use holdfast_core::buf::Payload;
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

/// Reads and writes of data that all members were asked for.
fn data_io(rig: &mut Rig<Disk>) -> (usize, usize) {
    let members = 0..rig.array().status().members.len();
    let all = DATA..u64::MAX;
    members.fold((0, 0), |(reads, writes), index| {
        let device = rig.device(index);
        let more = (device.count(Kind::Read, all.clone()), device.count(Kind::Write, all.clone()));
        (reads + more.0, writes + more.1)
    })
}

#[test]
fn parity_is_updated_in_the_way_that_reads_less() {
    let table = [
        // level, members, chunks written at once, (reads, writes)
        (Level::Raid5, 5, 1, (2, 2)),
        (Level::Raid5, 5, 2, (2, 3)),
        (Level::Raid5, 5, 3, (1, 4)),
        (Level::Raid5, 5, 4, (0, 5)),
        (Level::Raid5, 3, 1, (1, 2)),
        (Level::Raid4, 8, 1, (2, 2)),
        (Level::Raid4, 8, 7, (0, 8)),
        (Level::Raid6, 8, 1, (3, 3)),
        (Level::Raid6, 8, 3, (3, 5)),
        (Level::Raid6, 8, 6, (0, 8)),
        (Level::Raid6, 4, 1, (1, 3)),
        (Level::Raid1, 3, 1, (0, 3)),
        (Level::Raid10, 4, 1, (0, 2)),
        (Level::Raid0, 4, 1, (0, 1)),
    ];
    for (level, n, chunks, expected) in table {
        let (mut rig, _) = filled(&Recipe::of(level, n));
        rig.write(0, &noise(1, 4096 * chunks)).unwrap();
        assert_eq!(data_io(&mut rig), expected, "{level} of {n}, {chunks} chunks");
    }
}

#[test]
fn neighbouring_writes_become_full_stripes() {
    for (level, n) in [(Level::Raid4, 5), (Level::Raid5, 5), (Level::Raid6, 6)] {
        let (mut rig, _) = filled(&Recipe::of(level, n));
        let data = noise(1, 16384);
        let pieces = data.chunks(1024).enumerate();
        let tags: Vec<_> = pieces.map(|(i, piece)| rig.begin_write(i * 1024, piece)).collect();
        for tag in tags {
            assert_eq!(rig.finish(tag).result, Ok(()));
        }
        assert_eq!(data_io(&mut rig), (0, n), "{level}: one stripe, nothing read");
        assert!(rig.read(0, 16384).unwrap() == data, "{level}");
    }
}

#[test]
fn write_mostly_members_are_not_read() {
    let recipe = Recipe { write_mostly: vec![0], ..Recipe::of(Level::Raid1, 2) };
    let (mut rig, data) = filled(&recipe);
    assert_eq!(rig.read_all().unwrap(), data);
    assert_eq!(rig.device(0).count(Kind::Read, DATA..u64::MAX), 0);
    faults(&mut rig, 1).kill();
    assert_eq!(rig.read_all().unwrap(), data, "unless nobody else is there");
}

#[test]
fn a_sequential_stream_stays_on_its_member_and_two_streams_use_two() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2).sectors(2048));
    let half = rig.size() / 2;
    for at in (0..half).step_by(8192) {
        let tags = [rig.begin_read(at, 8192), rig.begin_read(half + at, 8192)];
        for tag in tags {
            rig.finish(tag);
        }
    }
    let halves = [DATA..DATA + 1024, DATA + 1024..DATA + 2048];
    let counts = [0, 1].map(|m| halves.clone().map(|half| rig.device(m).count(Kind::Read, half)));
    let straight = [[64, 0], [0, 64]];
    let crossed = [[0, 64], [64, 0]];
    assert!(counts == straight || counts == crossed, "{counts:?}");
}

#[test]
fn random_reads_are_shared_among_mirrors() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2).sectors(2048));
    for index in 0..2 {
        set_latency(&mut rig, index, Latency::fixed(Duration::from_millis(1)));
    }
    let mut rng = Rng::new(3);
    for _ in 0..50 {
        let at = |rng: &mut Rng| 4096 * rng.below(250) as usize;
        let tags = [0; 8].map(|_| rig.begin_read(at(&mut rng), 4096));
        for tag in tags {
            rig.finish(tag);
        }
    }
    let reads = [0, 1].map(|m| rig.device(m).count(Kind::Read, DATA..u64::MAX));
    assert!(reads.iter().all(|reads| (150..=250).contains(reads)), "{reads:?}");
}

#[test]
fn a_flush_reaches_the_members_that_took_writes_and_no_others() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid0, 3));
    rig.write(4096, &[1; 4096]).unwrap();
    rig.flush().unwrap();
    let flushes = |rig: &mut Rig<Disk>| [0, 1, 2].map(|m| rig.device(m).of(Kind::Flush).count());
    assert_eq!(flushes(&mut rig), [0, 1, 0]);
    rig.flush().unwrap();
    assert_eq!(flushes(&mut rig), [0, 1, 0], "nothing new");
}

#[test]
fn a_flush_does_not_overtake_one_that_is_under_way() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.write(0, &noise(1, 32768)).unwrap();
        for index in 0..recipe.members.len() {
            set_latency(&mut rig, index, Latency::fixed(Duration::from_millis(100)));
        }
        rig.begin(0, Op::Flush);
        rig.pass(Duration::from_millis(50));
        let began = rig.now();
        rig.flush().unwrap();
        // Durable with the first one, 50 ms from here, at the earliest.
        assert!(rig.now() - began >= Duration::from_millis(50), "{recipe:?}");
        let mut rig = open(power_cut(rig, 2), Config::default()).unwrap();
        assert!(rig.read(0, 32768).unwrap() == noise(1, 32768), "{recipe:?}");
    }
}

#[test]
fn a_write_that_ends_after_a_flush_is_covered_by_the_next() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.write(0, &noise(1, 512)).unwrap();
        let rule = Rule::new(Kinds::WRITE, Effect::Stuck).at(DATA..u64::MAX).times(1);
        faults(&mut rig, 1).add(rule);
        let data = noise(2, 32768);
        let write = rig.begin_write(0, &data);
        rig.poll();
        rig.flush().unwrap();
        faults(&mut rig, 1).release();
        assert_eq!(rig.finish(write).result, Ok(()));
        rig.flush().unwrap();
        let mut rig = open(power_cut(rig, 3), Config::default()).unwrap();
        assert!(rig.read(0, 32768).unwrap() == data, "{recipe:?}");
        rig.settle();
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_fua_write_is_durable_with_its_parity_and_its_copies() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let data = noise(2, 4096);
        let op = Op::Write(Payload::from_slice(&data), Durability::Fua);
        assert_eq!(rig.execute(0, op).result, Ok(()));
        let members = recipe.members.len();
        for index in 0..members {
            let writes = rig.device(index).of(Kind::Write).filter(|w| w.sector >= DATA);
            assert!(writes.into_iter().all(|w| w.fua), "{recipe:?}: member {index}");
        }
        // Clean, so that the disk that is taken away may be made up for.
        let mut rig = open(power_cut(rig, 3), resync::MANUAL).unwrap();
        assert!(rig.read(0, 4096).unwrap() == data, "{recipe:?}");
        rig.array_mut().fail_member(home(&recipe)).unwrap();
        assert!(rig.read(0, 4096).unwrap() == data, "{recipe:?}: from the others");
    }
}

#[test]
fn a_discard_is_done_where_it_leaves_zeros_and_forgotten_elsewhere() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        let sectors = rig.size() as u64 / 512;
        assert_eq!(rig.execute(3, Op::Discard(sectors - 7)).result, Ok(()), "{recipe:?}");
        let seen = rig.read_all().unwrap();
        for (at, sector) in seen.chunks(512).enumerate() {
            let same = *sector == data[at * 512..at * 512 + 512];
            assert!(same || sector.iter().all(|&b| b == 0), "{recipe:?}: sector {at}");
        }
        assert!(seen[..1536] == data[..1536], "{recipe:?}: neighbours are left alone");
        assert_eq!(rig.check(), 0, "{recipe:?}");
        rig.array_mut().fail_member(1).unwrap();
        assert!(rig.read_all().unwrap() == seen, "{recipe:?}: parity followed");
    }
}
