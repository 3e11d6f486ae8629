//! Spares, and what happens while they are being rebuilt.

use super::*;
use holdfast_raid::status::Health;
use holdfast_raid::{Action, Refusal};
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

/// Members large enough for a rebuild to take many windows.
const SECTORS: u64 = 1024;

fn large() -> Vec<Recipe> {
    redundant().into_iter().map(|recipe| recipe.sectors(SECTORS)).collect()
}

/// A rebuild at this many bytes a second, in windows of 16 sectors where windows are cut small.
fn throttled(speed: u64) -> Config {
    Config { sync_speed_min: speed, sync_speed_max: speed, ..Config::default() }
}

/// An array in which spare number `n` is about a third rebuilt in place of member 1.
fn half_rebuilt(recipe: &Recipe) -> (Rig<Disk>, Vec<u8>, usize) {
    let recipe = recipe.clone().spares(1);
    let (mut rig, data) = filled_with(&recipe, throttled(128 << 10));
    let spare = recipe.members.len();
    rig.array_mut().fail_member(1).unwrap();
    rig.pass(Duration::from_millis(1500));
    let done = member(&rig, spare).recovery_offset.expect("being rebuilt");
    assert!((1..SECTORS).contains(&done), "{recipe:?}: {done}");
    (rig, data, spare)
}

#[test]
fn a_spare_takes_over_at_once() {
    for recipe in redundant() {
        let recipe = recipe.spares(1);
        let spare = recipe.members.len();
        let (mut rig, data) = filled(&recipe);
        faults(&mut rig, 1).kill();
        rig.read_all().unwrap();
        rig.write(0, &data).unwrap();
        rig.settle();
        let events = rig.take_events();
        let activated = Event::SpareActivated { member: spare, slot: 1 };
        assert!(events.contains(&activated), "{recipe:?}: {events:?}");
        assert!(events.contains(&Event::MemberInSync { member: spare, slot: 1 }), "{recipe:?}");
        assert_eq!(rig.array().status().health, Health::Optimal, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_rebuild_reads_nothing_from_its_target() {
    for recipe in large() {
        let (mut rig, data, spare) = half_rebuilt(&recipe);
        rig.settle();
        assert_eq!(rig.device(spare).count(Kind::Read, DATA..u64::MAX), 0, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn an_idle_array_rebuilds_at_the_maximum_and_a_busy_one_at_the_minimum() {
    let config =
        Config { sync_speed_min: 64 << 10, sync_speed_max: 512 << 10, ..Config::default() };
    let recipe = Recipe::of(Level::Raid5, 3).sectors(SECTORS).spares(1);
    let seconds = |busy: bool| {
        let (mut rig, _) = filled_with(&recipe, config.clone());
        let began = rig.now();
        rig.array_mut().fail_member(1).unwrap();
        while rig.array().status().health != Health::Optimal {
            if busy {
                rig.read(0, 512).unwrap();
            }
            rig.pass(Duration::from_millis(50));
        }
        (rig.now() - began).as_secs_f64()
    };
    // 512 KiB at 512 and at 64 KiB a second, in windows of 64 KiB; nobody waits after the last one.
    assert!((0.9..1.3).contains(&seconds(false)), "{}", seconds(false));
    assert!((7.0..9.0).contains(&seconds(true)), "{}", seconds(true));
}

#[test]
fn progress_is_recorded_and_a_stopped_rebuild_goes_on_from_there() {
    for recipe in large() {
        let (rig, data, spare) = half_rebuilt(&recipe);
        let mut disks = at_rest(rig);
        let probes = holdfast_raid::scan(&mut disks, &mut World::new(1).clock());
        let recorded = probes[spare].superblock.as_ref().unwrap().recovery_offset;
        let recorded = recorded.expect("being rebuilt");
        assert!((1..SECTORS).contains(&recorded), "{recipe:?}");
        let mut rig = open(disks, Config::default()).unwrap();
        rig.settle();
        let resumed = |event: &Event| match event {
            Event::SyncStarted { action: Action::Recover, from } => *from == recorded,
            _ => false,
        };
        assert!(rig.take_events().iter().any(resumed), "{recipe:?}");
        let again = rig.device(spare).count(Kind::Write, DATA..DATA + recorded);
        assert_eq!(again, 0, "{recipe:?}: what is rebuilt is not rebuilt again");
        assert_eq!(rig.array().status().health, Health::Optimal, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn recorded_progress_is_durable_whenever_the_power_fails() {
    let spread = Latency::between(Duration::ZERO, Duration::from_millis(30));
    for recipe in large() {
        let recipe = recipe.spares(1);
        for seed in 0..12 {
            let (mut rig, data) = filled_with(&recipe, throttled(2 << 20));
            for index in 0..=recipe.members.len() {
                set_latency(&mut rig, index, spread);
            }
            rig.array_mut().fail_member(1).unwrap();
            rig.pass(Duration::from_millis(100 + 25 * seed));
            let mut rig = open(power_cut(rig, seed), Config::default()).unwrap();
            assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}, seed {seed}");
            rig.settle();
            assert_eq!(rig.check(), 0, "{recipe:?}, seed {seed}");
        }
    }
}

#[test]
fn writes_on_both_sides_of_the_rebuild_are_kept() {
    let spread = Latency::between(Duration::ZERO, Duration::from_millis(10));
    for recipe in large() {
        let (mut rig, mut data, _) = half_rebuilt(&recipe);
        for index in 0..=recipe.members.len() {
            set_latency(&mut rig, index, spread);
        }
        let mut rng = Rng::new(5);
        for step in 0..100 {
            let len = 512 * rng.within(1..40) as usize;
            let at = 512 * rng.below((data.len() - len) as u64 / 512) as usize;
            let new = noise(step, len);
            rig.write(at, &new).unwrap();
            data[at..at + len].copy_from_slice(&new);
            let range = at.saturating_sub(512)..at + len;
            assert!(rig.read(range.start, range.len()).unwrap() == data[range], "{recipe:?}");
        }
        rig.settle();
        assert_eq!(rig.array().status().health, Health::Optimal, "{recipe:?}");
        assert!(rig.read_all().unwrap() == data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_latent_error_on_a_survivor_costs_those_sectors_only() {
    for level in [Level::Raid1, Level::Raid5, Level::Raid10] {
        let n = if level == Level::Raid10 { 4 } else { level.min_members().max(2) as usize };
        let n = if level == Level::Raid5 { 3 } else { n };
        let recipe = Recipe::of(level, n).sectors(SECTORS).spares(1);
        let (mut rig, data) = filled(&recipe);
        let spare = recipe.members.len();
        faults(&mut rig, 0).add(Rule::latent(DATA + 18..DATA + 20));
        rig.array_mut().fail_member(1).unwrap();
        rig.settle();
        assert_eq!(state(&rig, spare), MemberState::InSync, "{recipe:?}: the rebuild went on");
        assert_eq!(listed(&mut rig, spare), [(DATA + 18, 2)], "{recipe:?}");
        let mut lost = 0;
        for at in (0..data.len()).step_by(512) {
            match rig.read(at, 512) {
                Ok(bytes) => assert!(bytes == data[at..at + 512], "{recipe:?}: {at}"),
                Err(fault) => {
                    assert_eq!(fault, Fault::Medium);
                    lost += 1;
                }
            }
        }
        // Mirrors: what is bad on the survivor is gone. RAID5: its own two sectors, and as many of
        // the member that was rebuilt, where that held data.
        assert!((2..=4).contains(&lost), "{recipe:?}: {lost} sectors lost");
        rig.write(0, &data).unwrap();
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}: rewriting heals");
        assert_eq!(member(&rig, spare).bad_sectors, 0, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn raid6_rebuilds_over_a_latent_error_without_loss() {
    let recipe = Recipe::of(Level::Raid6, 5).sectors(SECTORS).spares(1);
    let (mut rig, data) = filled(&recipe);
    faults(&mut rig, 0).add(Rule::latent(DATA + 18..DATA + 20));
    rig.array_mut().fail_member(1).unwrap();
    rig.settle();
    assert_eq!(member(&rig, 5).bad_sectors, 0);
    assert_eq!(rig.read_all().unwrap(), data);
    assert_eq!(rig.check(), 0);
}

#[test]
fn a_second_failure_during_a_rebuild_is_borne_where_the_level_can() {
    let recipe = Recipe::of(Level::Raid6, 5).sectors(SECTORS);
    let (mut rig, data, spare) = half_rebuilt(&recipe);
    faults(&mut rig, 3).kill();
    assert_eq!(rig.read_all().unwrap(), data);
    rig.settle();
    assert_eq!(state(&rig, spare), MemberState::InSync);
    assert_eq!(state(&rig, 3), MemberState::Faulty);
    assert_eq!(rig.read_all().unwrap(), data);
}

#[test]
fn a_second_failure_beyond_the_level_is_an_error_and_undone_when_the_member_returns() {
    for recipe in [Recipe::of(Level::Raid5, 3), Recipe::of(Level::Raid1, 2)] {
        let (mut rig, data, spare) = half_rebuilt(&recipe.sectors(SECTORS));
        faults(&mut rig, 0).kill();
        for at in (0..data.len()).step_by(4096) {
            if let Ok(bytes) = rig.read(at, 4096) {
                assert!(bytes == data[at..at + 4096], "never wrong data");
            }
        }
        rig.pass(Duration::from_secs(20));
        assert_eq!(rig.array().status().health, Health::Failed);
        assert!(rig.write(0, &[1; 512]).is_err());
        assert_eq!(member(&rig, spare).bad_sectors, 0, "the block is not bad, a member is gone");
        let mut rig = open(at_rest(rig), Config::default()).unwrap();
        rig.settle();
        assert_eq!(rig.array().status().health, Health::Optimal);
        assert_eq!(rig.read_all().unwrap(), data);
        assert_eq!(rig.check(), 0);
    }
}

#[test]
fn when_a_spare_dies_the_next_one_is_taken() {
    for recipe in large() {
        let recipe = recipe.spares(2);
        let (mut rig, data) = filled_with(&recipe, throttled(128 << 10));
        let n = recipe.members.len();
        rig.array_mut().fail_member(1).unwrap();
        rig.pass(Duration::from_millis(500));
        faults(&mut rig, n).kill();
        rig.settle();
        assert_eq!(state(&rig, n), MemberState::Faulty, "{recipe:?}");
        assert_eq!(state(&rig, n + 1), MemberState::InSync, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn when_the_only_spare_dies_the_array_stays_degraded_and_right() {
    for recipe in large() {
        let (mut rig, data, spare) = half_rebuilt(&recipe);
        faults(&mut rig, spare).kill();
        rig.settle();
        assert_eq!(rig.array().status().health, Health::Degraded, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_write_error_on_the_target_enters_its_log() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe.clone().spares(1));
        let spare = recipe.members.len();
        let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Medium)).at(DATA + 9..DATA + 10);
        faults(&mut rig, spare).add(rule);
        rig.array_mut().fail_member(1).unwrap();
        rig.settle();
        assert_eq!(state(&rig, spare), MemberState::InSync, "{recipe:?}");
        assert_eq!(member(&rig, spare).bad_sectors, 1, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_full_target_waits_for_room_and_is_never_read_beyond_what_it_has() {
    for recipe in large() {
        let (mut rig, data, spare) = half_rebuilt(&recipe);
        let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Full)).at(DATA..u64::MAX);
        faults(&mut rig, spare).add(rule);
        rig.pass(Duration::from_secs(60));
        assert_eq!(state(&rig, spare), MemberState::Rebuilding, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        faults(&mut rig, spare).clear();
        rig.array_mut().start_pending();
        rig.settle();
        assert_eq!(state(&rig, spare), MemberState::InSync, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_device_that_is_too_small_is_no_spare() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid5, 3).sectors(SECTORS));
    let small = wrap(&World::new(9), 9, MemDisk::new(DATA + SECTORS - 8));
    let new = AddMember { device_uuid: Uuid([9; 16]), write_mostly: false };
    let refusal = rig.array_mut().add_member(small, new).unwrap_err();
    assert!(matches!(refusal, Refusal::TooSmall { .. }), "{refusal:?}");
}

#[test]
fn a_spare_added_to_a_degraded_array_is_rebuilt() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        faults(&mut rig, 0).kill();
        rig.read_all().unwrap();
        rig.write(0, &data).unwrap();
        let spare = add_spare(&mut rig, recipe.blank_disk());
        rig.settle();
        assert_eq!(state(&rig, spare), MemberState::InSync, "{recipe:?}");
        let mut rig = open(at_rest(rig), Config::default()).unwrap();
        assert_eq!(rig.array().status().health, Health::Optimal, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}
