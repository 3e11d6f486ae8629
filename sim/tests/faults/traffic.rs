//! Many requests at once: queues, memory, order, and arrays of arrays.

use super::*;
use holdfast_core::block::{BlockDevice, Op, conformance};
use holdfast_core::buf::Buf;
use holdfast_raid::Assembled;
use holdfast_sim::decor::Kind;

const SPREAD: Latency = Latency::between(Duration::ZERO, Duration::from_millis(20));

fn every_level() -> Vec<Recipe> {
    let flat = [(Level::Linear, 2), (Level::Raid0, 3)].map(|(level, n)| Recipe::of(level, n));
    redundant().into_iter().chain(flat).collect()
}

#[test]
fn an_array_over_reordering_disks_meets_the_examiner() {
    for recipe in every_level() {
        for bitmap in [None, Some(4096)] {
            let recipe = Recipe { bitmap, ..recipe.clone() };
            if bitmap.is_some() && !recipe.level.is_redundant() {
                continue;
            }
            let config = Config { queue_depth: 32, ..Config::default() };
            let mut rig = open(recipe.disks(), config).unwrap();
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            let mut clock = rig.clock();
            conformance::examine(rig.array_mut(), &mut clock);
            rig.settle();
            assert!(!recipe.level.is_redundant() || rig.check() == 0, "{recipe:?}");
        }
    }
}

#[test]
fn a_full_queue_hands_requests_back_and_loses_none() {
    for recipe in every_level() {
        let config = Config { queue_depth: 4, ..Config::default() };
        let (mut rig, data) = filled_with(&recipe, config);
        let mut waiting: Vec<u64> = (0..40).rev().collect();
        let mut tags = Vec::new();
        let mut handed_back = 0;
        while let Some(at) = waiting.pop() {
            match rig.try_begin(at, Op::Read(Buf::zeroed(512))) {
                Ok(tag) => tags.push((at, tag)),
                Err(op) => {
                    assert_eq!(op.bytes(), 512);
                    handed_back += 1;
                    waiting.push(at);
                    let (at, tag) = tags.remove(0);
                    let Op::Read(buf) = rig.finish(tag).op else { panic!("a read") };
                    assert!(*buf == data[at as usize * 512..][..512], "{recipe:?}");
                }
            }
        }
        assert!(handed_back >= 9, "{recipe:?}: {handed_back}");
    }
}

/// The most bytes that were at the members at once.
fn most_in_flight(rig: &mut Rig<Disk>, tag: holdfast_core::block::Tag) -> u64 {
    let members = rig.array().status().members.len();
    let mut most = 0;
    for _ in 0..1_000_000 {
        rig.poll();
        let open = |rig: &mut Rig<Disk>, m: usize| {
            let waiting = rig.device(m).trace().iter().filter(|e| e.answer.is_none());
            waiting.map(|e| e.sectors * 512).sum::<u64>()
        };
        most = most.max((0..members).map(|m| open(rig, m)).sum());
        if rig.answer(tag).is_some_and(|done| done.result == Ok(())) {
            return most;
        }
        let due = rig.array().poll_at().expect("goes on");
        rig.pass(due - rig.now());
    }
    panic!("never answered")
}

#[test]
fn a_huge_request_does_not_take_more_memory_than_allowed() {
    for recipe in every_level() {
        let recipe = recipe.sectors(8192);
        let config = Config { cache_bytes: 256 << 10, ..Config::default() };
        let mut rig = open(recipe.disks(), config).unwrap();
        for index in 0..recipe.members.len() {
            set_latency(&mut rig, index, Latency::fixed(Duration::from_millis(1)));
        }
        let size = rig.size();
        let tag = rig.begin_write(0, &noise(1, size));
        let most = most_in_flight(&mut rig, tag);
        // The budget, one unit beyond it, and each byte on as many members as hold it.
        let bound = (256 << 10) * 4 + (4 << 20);
        assert!(most <= bound, "{recipe:?}: {most} bytes in flight of {size}");
        let tag = rig.begin_read(0, size);
        let most = most_in_flight(&mut rig, tag);
        assert!(most <= bound, "{recipe:?}: {most} bytes in flight of {size}");
    }
}

#[test]
fn overlapping_requests_are_carried_out_in_their_order() {
    for recipe in every_level() {
        for seed in 0..10 {
            let (mut rig, mut data) = filled(&recipe);
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            let mut rng = Rng::stream(seed, 1);
            let sectors = data.len() as u64 / 512;
            let mut reads = Vec::new();
            let mut writes = Vec::new();
            for step in 0..40 {
                let len = rng.within(1..30);
                let at = 512 * rng.below(sectors / 4 - len) as usize;
                let range = at..at + 512 * len as usize;
                if rng.below(2) == 0 {
                    let new = noise(seed << 8 | step, range.len());
                    writes.push(rig.begin_write(at, &new));
                    data[range].copy_from_slice(&new);
                } else {
                    let tag = rig.begin_read(at, range.len());
                    reads.push((tag, data[range].to_vec()));
                }
                if rng.below(4) == 0 {
                    rig.pass(Duration::from_millis(rng.below(10)));
                }
            }
            for (tag, expected) in reads {
                let Op::Read(buf) = rig.finish(tag).op else { panic!("a read") };
                assert!(*buf == expected[..], "{recipe:?}, seed {seed}");
            }
            for tag in writes {
                assert_eq!(rig.finish(tag).result, Ok(()));
            }
            assert!(rig.read_all().unwrap() == data, "{recipe:?}, seed {seed}");
            rig.settle();
            assert!(!recipe.level.is_redundant() || rig.check() == 0, "{recipe:?}, seed {seed}");
        }
    }
}

#[test]
fn requests_are_answered_while_a_member_dies_under_them() {
    for recipe in redundant() {
        for seed in 0..10 {
            let (mut rig, mut data) = filled(&recipe);
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            let mut rng = Rng::stream(seed, 2);
            let mut tags = Vec::new();
            for step in 0..30 {
                let len = rng.within(1..40) as usize * 512;
                let at = 512 * rng.below((data.len() - len) as u64 / 512) as usize;
                let new = noise(seed << 8 | step, len);
                tags.push(rig.begin_write(at, &new));
                data[at..at + len].copy_from_slice(&new);
                rig.pass(Duration::from_millis(rng.below(6)));
                if step == 15 {
                    faults(&mut rig, seed as usize % recipe.members.len()).kill();
                }
            }
            for tag in tags {
                assert_eq!(rig.finish(tag).result, Ok(()), "{recipe:?}, seed {seed}");
            }
            assert!(rig.read_all().unwrap() == data, "{recipe:?}, seed {seed}");
            rig.settle();
            assert_eq!(rig.check(), 0, "{recipe:?}, seed {seed}");
        }
    }
}

/// An array whose members are arrays of the inner recipe.
fn nested(outer: Recipe, inner: &Recipe) -> Rig<Assembled<Disk>> {
    let world = World::new(1);
    let inner_sectors = inner.plan().unwrap().array_sectors;
    let outer = outer.sectors(inner_sectors - DATA);
    let arrays = outer.disks().into_iter().map(|image| {
        let disks = inner.disks().into_iter().enumerate();
        let disks = disks.map(|(index, disk)| wrap(&world, index, disk)).collect();
        let options = Options::default();
        let mut rig = Rig::open_in(disks, Config::default(), &options, world.clock()).unwrap();
        rig.write(0, image.bytes()).unwrap();
        rig.into_array()
    });
    let arrays = arrays.collect();
    Rig::open_in(arrays, Config::default(), &Options::default(), world.clock()).unwrap()
}

#[test]
fn arrays_nest() {
    let mirrors = Recipe::of(Level::Raid1, 2).sectors(1024);
    let stripes = Recipe::of(Level::Raid5, 3).sectors(512);
    for (outer, inner) in
        [(Recipe::of(Level::Raid0, 2), mirrors), (Recipe::of(Level::Raid1, 2), stripes)]
    {
        let mut rig = nested(outer, &inner);
        let mut clock = rig.clock();
        conformance::examine(rig.array_mut(), &mut clock);
        let data = noise(1, rig.size());
        rig.write(0, &data).unwrap();
        rig.device(0).device_mut(1).inner_mut().kill();
        rig.device(1).device_mut(0).inner_mut().kill();
        assert!(rig.read_all().unwrap() == data);
        let data = noise(2, rig.size());
        rig.write(0, &data).unwrap();
        assert!(rig.read_all().unwrap() == data);
        rig.flush().unwrap();
        let flushed = rig.device(0).device_mut(0).of(Kind::Flush).count();
        assert!(flushed > 0, "a flush goes all the way down");
        let states = rig.array().status().members;
        assert!(states.iter().all(|m| m.state == MemberState::InSync), "seen from outside");
    }
}
