//! Unclean stops, bitmaps, checks and repairs.

use super::*;
use holdfast_raid::superblock::Resync;
use holdfast_raid::{Action, AssembleError};
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

pub(super) const MANUAL: Config = Config {
    queue_depth: 128,
    cache_bytes: 32 << 20,
    max_read_errors: 20,
    safe_mode_delay: Duration::from_millis(200),
    sync_speed_min: 1000 << 10,
    sync_speed_max: 200_000 << 10,
    sync_window_bytes: 4 << 20,
    member_deadline: None,
    late_write: holdfast_raid::config::LateWrite::Wait,
    auto_sync: false,
    read_only: false,
    epoch_secs: 0,
};

#[test]
fn manual_differs_from_the_default_in_one_thing() {
    let expected = Config { auto_sync: false, ..Config::default() };
    assert_eq!(format!("{MANUAL:?}"), format!("{expected:?}"));
}

/// Sectors of a disk's data area that were read.
fn data_reads(rig: &mut Rig<Disk>, index: usize) -> Vec<std::ops::Range<u64>> {
    let reads = rig.device(index).of(Kind::Read);
    reads
        .filter(|r| r.sector >= DATA)
        .map(|r| r.sector - DATA..r.sector - DATA + r.sectors)
        .collect()
}

#[test]
fn with_a_bitmap_only_what_was_being_written_is_resynced() {
    for recipe in redundant() {
        let recipe = recipe.sectors(2048).bitmap(64 << 10);
        let (mut rig, _) = filled(&recipe);
        let at = rig.size() / 2;
        rig.write(at, &noise(1, 4096)).unwrap();
        let dirty = rig.array().status().bitmap.unwrap().dirty;
        assert_eq!(dirty, 1, "{recipe:?}");
        let mut rig = open(power_cut(rig, 1), Config::default()).unwrap();
        rig.settle();
        assert_eq!(rig.array().status().resync_from, None, "{recipe:?}");
        let mut all = 0;
        for index in 0..recipe.members.len() {
            all += data_reads(&mut rig, index).iter().map(|r| r.end - r.start).sum::<u64>();
        }
        let region = 128 * recipe.members.len() as u64;
        assert!((1..=region).contains(&all), "{recipe:?}: {all} sectors read");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn without_a_bitmap_everything_is_resynced() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.write(0, &noise(1, 4096)).unwrap();
        let mut rig = open(power_cut(rig, 1), Config::default()).unwrap();
        rig.settle();
        for index in 0..recipe.members.len() {
            let read: u64 = data_reads(&mut rig, index).iter().map(|r| r.end - r.start).sum();
            assert!(read >= 120, "{recipe:?}: {read}");
        }
    }
}

#[test]
fn a_bit_stays_on_disk_as_long_as_a_write_is_under_way() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe.clone().bitmap(4096));
        let rule = Rule::new(Kinds::WRITE, Effect::Stuck).at(DATA..u64::MAX).times(1);
        faults(&mut rig, 1).add(rule);
        let size = rig.size();
        rig.begin_write(0, &noise(1, size));
        rig.pass(Duration::from_secs(60));
        assert!(rig.array().status().bitmap.unwrap().dirty > 0, "{recipe:?}");
        let mut rig = open(power_cut(rig, 1), Config::default()).unwrap();
        rig.settle();
        assert_eq!(rig.check(), 0, "{recipe:?}: the stuck write's region was resynced");
    }
}

#[test]
fn a_write_that_has_ended_does_not_clear_the_bit_of_one_that_has_not() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe.clone().bitmap(64 << 10));
        for index in 0..recipe.members.len() {
            let rule = Rule::new(Kinds::WRITE, Effect::Stuck).at(DATA..DATA + 1);
            faults(&mut rig, index).add(rule);
        }
        let stuck = rig.begin_write(0, &[1; 512]);
        rig.poll();
        rig.write(32768, &[2; 512]).unwrap();
        rig.pass(Duration::from_secs(60));
        assert!(rig.answer(stuck).is_none());
        assert!(rig.array().status().bitmap.unwrap().dirty > 0, "{recipe:?}");
    }
}

#[test]
fn bits_are_cleared_when_a_region_has_been_idle_and_is_durable() {
    let spread = Latency::between(Duration::ZERO, Duration::from_millis(50));
    for recipe in redundant() {
        for seed in 0..6 {
            // Never called clean in between, so that the flush is the bitmap's own.
            let config = Config { safe_mode_delay: Duration::from_secs(1 << 30), ..MANUAL };
            let mut rig = open(recipe.clone().bitmap(4096).disks(), config).unwrap();
            for index in 0..recipe.members.len() {
                set_latency(&mut rig, index, spread);
            }
            let data = noise(seed, rig.size());
            rig.write(0, &data).unwrap();
            rig.pass(Duration::from_secs(4));
            assert!(rig.array().status().bitmap.unwrap().dirty > 0, "{recipe:?}: lazily");
            while rig.array().status().bitmap.unwrap().dirty > 0 {
                rig.pass(Duration::from_millis(10));
                assert!(rig.now().as_nanos() < 60_000_000_000, "{recipe:?}: in time");
            }
            rig.pass(Duration::from_millis(100));
            let mut rig = open(power_cut(rig, seed), MANUAL).unwrap();
            assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}: a cleared bit is a promise");
            assert_eq!(rig.check(), 0, "{recipe:?}, seed {seed}");
        }
    }
}

#[test]
fn bits_stay_while_a_member_is_missing() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe.clone().bitmap(4096));
        rig.array_mut().fail_member(1).unwrap();
        rig.write(0, &noise(1, 4096)).unwrap();
        rig.pass(Duration::from_secs(300));
        assert!(rig.array().status().bitmap.unwrap().dirty > 0, "{recipe:?}");
    }
}

#[test]
fn dirty_and_degraded_parity_is_refused_with_what_is_at_risk() {
    for (level, n) in [(Level::Raid4, 4), (Level::Raid5, 4), (Level::Raid6, 5)] {
        for (bitmap, at_risk) in [(None, 128 * 512 * 3), (Some(4096), 4096 * 3)] {
            let recipe = Recipe { bitmap, ..Recipe::of(level, n) };
            let (mut rig, _) = filled(&recipe);
            rig.write(0, &noise(1, 512)).unwrap();
            let mut disks = power_cut(rig, 1);
            disks.remove(1);
            let error = open(disks, Config::default()).map(drop).unwrap_err();
            let expected =
                AssembleError::DirtyDegraded { missing: vec![1], at_risk_bytes: at_risk };
            assert_eq!(error, expected, "{recipe:?}");
        }
    }
}

#[test]
fn a_dirty_degraded_array_starts_when_forced() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid5, 3));
    rig.write(0, &data[..512]).unwrap();
    rig.flush().unwrap();
    let mut disks = power_cut(rig, 1);
    disks.remove(1);
    let mut rig = Rig::open(disks, Config::default(), true).unwrap();
    assert_eq!(rig.read_all().unwrap(), data, "nothing was torn this time");
}

#[test]
fn unclean_mirrors_show_the_lowest_slot_before_and_after_the_resync() {
    for (level, n) in [(Level::Raid1, 3), (Level::Raid10, 4)] {
        let mut disks = Recipe::of(level, n).unsynced().disks();
        for (index, disk) in disks.iter_mut().enumerate() {
            let bytes = disk.bytes_mut();
            let area = &mut bytes[DATA as usize * 512..];
            let len = area.len();
            area.copy_from_slice(&noise(index as u64, len));
        }
        let mut rig = open(disks, MANUAL).unwrap();
        let seen = rig.read_all().unwrap();
        assert_eq!(seen[..512], noise(0, 512), "{level}: the first copy");
        let mut rng = Rng::new(2);
        for _ in 0..100 {
            let at = 512 * rng.below(seen.len() as u64 / 512 - 8) as usize;
            assert!(rig.read(at, 4096).unwrap() == seen[at..at + 4096], "{level}: stable");
        }
        assert!(rig.array_mut().start_pending());
        rig.settle();
        assert!(rig.read_all().unwrap() == seen, "{level}: stable across the resync");
        assert_eq!(rig.check(), 0);
    }
}

#[test]
fn write_mostly_mirrors_do_not_change_across_a_resync_either() {
    let recipe = Recipe { write_mostly: vec![0], ..Recipe::of(Level::Raid1, 3).unsynced() };
    let mut disks = recipe.disks();
    for (index, disk) in disks.iter_mut().enumerate() {
        disk.bytes_mut()[DATA as usize * 512..].fill(index as u8);
    }
    let mut rig = open(disks, MANUAL).unwrap();
    let seen = rig.read_all().unwrap();
    rig.array_mut().start_pending();
    rig.settle();
    assert!(rig.read_all().unwrap() == seen);
}

#[test]
fn an_interrupted_resync_goes_on_where_it_was() {
    for recipe in redundant() {
        let slow =
            Config { sync_speed_max: 128 << 10, sync_speed_min: 128 << 10, ..Config::default() };
        let mut rig = open(recipe.clone().sectors(1024).unsynced().disks(), slow).unwrap();
        rig.pass(Duration::from_secs(2));
        let mut disks = at_rest(rig);
        let probes = holdfast_raid::scan(&mut disks, &mut World::new(1).clock());
        let resync = probes[0].superblock.as_ref().unwrap().resync;
        let Resync::From(from) = resync else { panic!("{recipe:?}: still to be done") };
        assert!(from > 0, "{recipe:?}");
        let mut rig = open(disks, Config::default()).unwrap();
        rig.settle();
        let resumed = Event::SyncStarted { action: Action::Resync, from };
        assert!(rig.take_events().contains(&resumed), "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn parity_that_is_not_in_sync_is_never_leaned_on() {
    for (level, n) in [(Level::Raid4, 6), (Level::Raid5, 6), (Level::Raid6, 8)] {
        let recipe = Recipe::of(level, n).unsynced();
        let mut disks = recipe.disks();
        for (index, disk) in disks.iter_mut().enumerate() {
            let area = &mut disk.bytes_mut()[DATA as usize * 512..];
            let len = area.len();
            area.copy_from_slice(&noise(index as u64, len));
        }
        let mut rig = open(disks, MANUAL).unwrap();
        let mut data = rig.read_all().unwrap();
        // One chunk of every stripe: reading what is overwritten and parity would be cheapest.
        let width = 4096 * (n - level.parity_members() as usize);
        for at in (0..data.len()).step_by(width) {
            rig.write(at, &[at as u8; 4096]).unwrap();
            data[at..at + 4096].fill(at as u8);
        }
        rig.array_mut().fail_member(n - 1).unwrap();
        assert!(rig.read_all().unwrap() == data, "{level}: written stripes have good parity");
    }
}

#[test]
fn mismatches_are_counted_in_units_of_what_is_compared() {
    let chunk_of_64k = |level, n| Recipe { chunk_sectors: 128, ..Recipe::of(level, n) };
    let table = [
        (Recipe::of(Level::Raid4, 3), 8),
        (Recipe::of(Level::Raid5, 3), 8),
        (Recipe::of(Level::Raid6, 4), 8),
        (chunk_of_64k(Level::Raid5, 3), 8),
        (Recipe::of(Level::Raid1, 2), 128),
        (chunk_of_64k(Level::Raid10, 4), 128),
        (Recipe::of(Level::Raid10, 4), 8),
    ];
    for (recipe, unit) in table {
        let recipe = recipe.sectors(512);
        let (rig, data) = filled(&recipe);
        let mut disks = at_rest(rig);
        corrupt(&mut disks, 1, DATA + 3);
        let mut rig = open(disks, Config::default()).unwrap();
        assert_eq!(rig.check(), unit, "{recipe:?}");
        assert_eq!(rig.check(), unit, "{recipe:?}: a check changes nothing");
        let repair = Action::Repair { locate: false };
        assert_eq!(rig.run(repair), unit, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}: a repair does");
        if !recipe.level.has_parity() {
            assert!(rig.read_all().unwrap() == data, "{recipe:?}: from the first slot");
        }
    }
}

#[test]
fn locating_names_the_member_and_repairing_there_brings_the_data_back() {
    let recipe = Recipe::of(Level::Raid6, 6);
    for slot in 0..6 {
        let (rig, data) = filled(&recipe);
        let mut disks = at_rest(rig);
        let whole = disks[slot].bytes().to_vec();
        corrupt(&mut disks, slot, DATA + 21);
        let mut rig = open(disks, Config::default()).unwrap();
        assert_eq!(rig.run(Action::Check { locate: true }), 8);
        let named = |e: &Event| match e {
            Event::Mismatch { culprit, .. } => *culprit == Some(slot as u32),
            _ => false,
        };
        assert!(rig.take_events().iter().any(named), "slot {slot}");
        rig.run(Action::Repair { locate: true });
        assert_eq!(rig.check(), 0);
        assert!(rig.read_all().unwrap() == data, "slot {slot}");
        let disks = at_rest(rig);
        let area = DATA as usize * 512..;
        assert!(disks[slot].bytes()[area.clone()] == whole[area], "slot {slot}");
    }
}

#[test]
fn a_sector_with_two_culprits_is_left_alone() {
    let (rig, _) = filled(&Recipe::of(Level::Raid6, 6));
    let mut disks = at_rest(rig);
    for slot in [1, 2] {
        corrupt(&mut disks, slot, DATA + 21);
        // Elsewhere in the sector, so that each byte alone would point at one member.
        disks[slot].bytes_mut()[(DATA as usize + 21) * 512 + 100 * slot] ^= 1;
    }
    let areas = |disks: &[MemDisk]| -> Vec<Vec<u8>> {
        disks.iter().map(|disk| disk.bytes()[DATA as usize * 512..].to_vec()).collect()
    };
    let before = areas(&disks);
    let mut rig = open(disks, Config::default()).unwrap();
    rig.run(Action::Repair { locate: true });
    assert!(areas(&at_rest(rig)) == before, "nothing is rewritten on a guess");
}

#[test]
fn a_check_heals_what_it_cannot_read() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        faults(&mut rig, 1).add(Rule::latent(DATA + 40..DATA + 41));
        assert_eq!(rig.check(), 0, "{recipe:?}");
        assert!(faults(&mut rig, 1).rules().next().is_none(), "{recipe:?}");
        assert!(member(&rig, 1).corrected_reads > 0, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_repair_write_error_hits_no_other_sector() {
    let recipe = Recipe { chunk_sectors: 128, ..Recipe::of(Level::Raid5, 3) };
    let (rig, _) = filled(&recipe);
    let mut disks = at_rest(rig);
    // Stripe 0 has its parity on slot 2.
    corrupt(&mut disks, 2, DATA + 67);
    let mut rig = open(disks, Config::default()).unwrap();
    let data = rig.read_all().unwrap();
    let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Medium)).at(DATA + 67..DATA + 68);
    faults(&mut rig, 2).add(rule);
    rig.run(Action::Repair { locate: false });
    assert_eq!(listed(&mut rig, 2), [(DATA + 67, 1)]);
    rig.array_mut().fail_member(0).unwrap();
    assert_eq!(rig.read(67 * 512, 512), MEDIUM, "that sector's parity is not there");
    for at in (0..65536).step_by(512).filter(|at| at / 512 != 67) {
        assert!(rig.read(at, 512).unwrap() == data[at..at + 512], "sector {}", at / 512);
    }
}
