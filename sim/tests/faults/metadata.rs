//! What the metadata says, and when.

use super::*;
use holdfast_raid::superblock::{Resync, Role};
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

const SPREAD: Latency = Latency::between(Duration::ZERO, Duration::from_millis(20));

/// Whether every disk but `lost` durably calls it faulty.
fn all_know(rig: &mut Rig<Disk>, lost: usize) -> bool {
    let others = rig.probe().into_iter().enumerate().filter(|(index, _)| *index != lost);
    let told = |role: Role| role == Role::Faulty;
    others.into_iter().all(|(_, p)| told(p.superblock.unwrap().role_of(lost as u32)))
}

#[test]
fn a_failure_is_on_every_disk_before_a_write_that_missed_it_is_answered() {
    for recipe in redundant() {
        for seed in 0..20 {
            let (mut rig, _) = filled(&recipe);
            // A write marks the array dirty, so that the next one waits for nothing but this.
            rig.write(0, &noise(seed, 512)).unwrap();
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            match seed % 2 {
                0 => rig.array_mut().fail_member(1).unwrap(),
                _ => faults(&mut rig, 1).kill(),
            }
            let size = rig.size();
            let tags = [0, 4096, 8192, 12288].map(|at| rig.begin_write(at % size, &[3; 4096]));
            for tag in tags {
                assert_eq!(rig.finish(tag).result, Ok(()));
                if state(&rig, 1) == MemberState::Faulty {
                    assert!(all_know(&mut rig, 1), "{recipe:?}, seed {seed}");
                }
            }
        }
    }
}

#[test]
fn a_failure_is_on_every_disk_before_a_flush_is_answered() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.write(0, &noise(1, 512)).unwrap();
        for index in 0..recipe.members.len() {
            set_latency(&mut rig, index, SPREAD);
        }
        rig.array_mut().fail_member(1).unwrap();
        rig.flush().unwrap();
        assert!(all_know(&mut rig, 1), "{recipe:?}");
    }
}

#[test]
fn an_array_is_called_dirty_before_the_first_write_reaches_a_member() {
    for recipe in redundant() {
        for bitmap in [None, Some(4096)] {
            let recipe = Recipe { bitmap, ..recipe.clone() };
            let (mut rig, _) = filled(&recipe);
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            rig.write(0, &noise(1, 512)).unwrap();
            for index in 0..recipe.members.len() {
                let writes: Vec<_> = rig.device(index).of(Kind::Write).copied().collect();
                let Some(first) = writes.iter().position(|write| write.sector >= DATA) else {
                    continue;
                };
                let before = |sector| writes[..first].iter().any(|w| w.sector == sector && w.fua);
                assert!(before(8), "{recipe:?}: the superblock");
                assert!(bitmap.is_none() || before(16), "{recipe:?}: the bitmap");
            }
        }
    }
}

#[test]
fn an_idle_array_is_called_clean() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.write(0, &[1; 512]).unwrap();
        let resync = |rig: &mut Rig<Disk>| rig.probe()[0].superblock.clone().unwrap().resync;
        assert_eq!(resync(&mut rig), Resync::From(0), "{recipe:?}");
        rig.pass(Duration::from_millis(150));
        assert_eq!(resync(&mut rig), Resync::From(0), "{recipe:?}");
        rig.pass(Duration::from_millis(100));
        assert_eq!(resync(&mut rig), Resync::Clean, "{recipe:?}");
    }
}

#[test]
fn what_is_called_clean_is_durable() {
    for recipe in redundant() {
        for seed in 0..10 {
            let (mut rig, _) = filled(&recipe);
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, SPREAD);
            }
            let data = noise(seed, rig.size());
            rig.write(0, &data).unwrap();
            for _ in 0..100 {
                if rig
                    .probe()
                    .iter()
                    .any(|p| p.superblock.as_ref().unwrap().resync == Resync::Clean)
                {
                    break;
                }
                rig.pass(Duration::from_millis(10));
            }
            let config = Config { auto_sync: false, ..Config::default() };
            let mut rig = open(power_cut(rig, seed), config).unwrap();
            assert_eq!(rig.array().status().resync_from, None, "{recipe:?}");
            assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}, seed {seed}");
            assert_eq!(rig.check(), 0, "{recipe:?}, seed {seed}");
        }
    }
}

#[test]
fn after_a_power_cut_what_was_flushed_is_there_and_the_rest_old_or_new_for_good() {
    for recipe in redundant() {
        for seed in 0..10 {
            let (mut rig, before) = filled(&recipe);
            let half = rig.size() / 2;
            let data = noise(seed, rig.size());
            rig.write(0, &data[..half]).unwrap();
            rig.flush().unwrap();
            rig.write(half, &data[half..]).unwrap();
            let mut rig = open(power_cut(rig, seed), Config::default()).unwrap();
            let seen = rig.read_all().unwrap();
            assert!(seen[..half] == data[..half], "{recipe:?}, seed {seed}: flushed");
            let old_or_new = |at: usize| {
                let range = at..at + 512;
                seen[range.clone()] == before[range.clone()] || seen[range.clone()] == data[range]
            };
            assert!((half..data.len()).step_by(512).all(old_or_new), "{recipe:?}, seed {seed}");
            rig.settle();
            assert_eq!(rig.read_all().unwrap(), seen, "{recipe:?}, seed {seed}: stable");
            assert_eq!(rig.check(), 0, "{recipe:?}, seed {seed}");
        }
    }
}

#[test]
fn a_member_whose_metadata_cannot_be_written_fails() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Medium)).at(8..9);
        faults(&mut rig, 1).add(rule);
        let data = noise(3, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 1), MemberState::Faulty, "{recipe:?}");
        assert!(all_know(&mut rig, 1), "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data);
    }
}

#[test]
fn when_no_member_takes_metadata_no_write_is_acknowledged() {
    for recipe in redundant() {
        let (mut rig, before) = filled(&recipe);
        for index in 0..recipe.members.len() {
            let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Transport)).at(8..9);
            faults(&mut rig, index).add(rule);
        }
        assert!(rig.write(0, &noise(3, 4096)).is_err(), "{recipe:?}");
        let mut rig = open(power_cut(rig, 1), Config::default()).unwrap();
        assert_eq!(rig.read_all().unwrap(), before, "{recipe:?}: nothing was written either");
    }
}

#[test]
fn a_member_that_was_away_is_not_read_when_it_returns() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).kill();
        let data = noise(3, rig.size());
        rig.write(0, &data).unwrap();
        rig.flush().unwrap();
        rig.pass(Duration::from_secs(1));
        let mut rig = open(power_cut(rig, 1), Config::default()).unwrap();
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.device(1).count(Kind::Read, DATA..u64::MAX), 0, "{recipe:?}");
        assert_eq!(state(&rig, 1), MemberState::Stale, "{recipe:?}");
    }
}

#[test]
fn a_member_that_was_left_out_is_not_read_when_it_returns() {
    for recipe in redundant() {
        let (rig, _) = filled(&recipe);
        let mut disks = at_rest(rig);
        let left_out = disks.remove(1);
        let mut rig = open(disks, Config::default()).unwrap();
        let data = noise(3, rig.size());
        rig.write(0, &data).unwrap();
        let mut disks = at_rest(rig);
        disks.insert(1, left_out);
        let mut rig = open(disks, Config::default()).unwrap();
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.device(1).count(Kind::Read, DATA..u64::MAX), 0, "{recipe:?}");
    }
}

#[test]
fn two_power_cuts_in_a_row_leave_no_member_behind() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let size = rig.size();
        for cut in 0..3 {
            // The update that calls the array dirty reaches every member but one.
            let rule = Rule::new(Kinds::WRITE, Effect::Stuck).at(8..9);
            faults(&mut rig, 1).add(rule);
            rig.begin_write(0, &noise(cut, size));
            rig.pass(Duration::from_secs(1));
            rig = open(power_cut(rig, cut), resync::MANUAL).unwrap();
            let status = rig.array().status();
            let in_sync = |m: &MemberStatus| m.state == MemberState::InSync;
            assert!(status.members.iter().all(in_sync), "{recipe:?}, cut {cut}: {status:?}");
        }
    }
}
