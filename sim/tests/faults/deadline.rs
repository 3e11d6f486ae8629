//! Members that take too long.

use super::*;
use holdfast_core::block::Op;
use holdfast_raid::Action;
use holdfast_raid::config::LateWrite;
use holdfast_sim::decor::{Effect, Kinds, Rule};

fn impatient(late_write: LateWrite) -> Config {
    Config { member_deadline: Some(Duration::from_millis(100)), late_write, ..Config::default() }
}

fn stick(kinds: Kinds) -> Rule {
    Rule::new(kinds, Effect::Stuck).at(DATA..u64::MAX).times(1)
}

fn slow_events(events: &[Event], index: usize) -> usize {
    let is = |e: &&Event| matches!(e, Event::MemberSlow { member } if *member == index);
    events.iter().filter(is).count()
}

#[test]
fn a_read_past_its_deadline_is_answered_from_redundancy() {
    for recipe in redundant() {
        let (mut rig, data) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, home(&recipe)).add(stick(Kinds::READ));
        let began = rig.now();
        assert_eq!(rig.read(0, 4096).unwrap(), data[..4096], "{recipe:?}");
        assert_eq!(rig.now() - began, Duration::from_millis(100), "{recipe:?}");
        assert_eq!(state(&rig, home(&recipe)), MemberState::InSync, "{recipe:?}: slow is not dead");
        assert_eq!(slow_events(&rig.take_events(), home(&recipe)), 1, "{recipe:?}");
        faults(&mut rig, home(&recipe)).release();
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}: late answers do no harm");
    }
}

#[test]
fn without_a_deadline_a_read_waits() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid1, 2));
    faults(&mut rig, 0).add(stick(Kinds::READ));
    let tag = rig.begin_read(0, 4096);
    rig.pass(Duration::from_secs(3600));
    assert!(rig.answer(tag).is_none());
    faults(&mut rig, 0).release();
    assert_eq!(rig.finish(tag).result, Ok(()));
    assert_eq!(rig.read_all().unwrap(), data);
}

#[test]
fn the_only_copy_is_waited_for() {
    let (mut rig, _) = filled_with(&Recipe::of(Level::Raid0, 2), impatient(LateWrite::Wait));
    faults(&mut rig, 0).add(stick(Kinds::READ));
    let tag = rig.begin_read(0, 4096);
    rig.pass(Duration::from_secs(10));
    assert!(rig.answer(tag).is_none());
    faults(&mut rig, 0).release();
    assert_eq!(rig.finish(tag).result, Ok(()));
}

#[test]
fn the_last_good_copy_is_waited_for_when_the_quick_one_is_bad() {
    let (mut rig, data) = filled_with(&Recipe::of(Level::Raid1, 2), impatient(LateWrite::Wait));
    faults(&mut rig, 0).add(stick(Kinds::READ));
    faults(&mut rig, 1).add(Rule::latent(DATA..DATA + 8));
    let tag = rig.begin_read(0, 4096);
    rig.pass(Duration::from_secs(1));
    faults(&mut rig, 0).release();
    let done = rig.finish(tag);
    assert_eq!(done.result, Ok(()), "the slow copy had it all along");
    assert_eq!(rig.read(0, 4096).unwrap(), data[..4096]);
}

#[test]
fn a_late_write_is_waited_for_by_default() {
    for recipe in redundant() {
        let (mut rig, _) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, 0).add(stick(Kinds::WRITE));
        let data = noise(8, 4096);
        let tag = rig.begin_write(0, &data);
        rig.pass(Duration::from_secs(10));
        assert!(rig.answer(tag).is_none(), "{recipe:?}");
        assert_eq!(slow_events(&rig.take_events(), 0), 1, "{recipe:?}");
        faults(&mut rig, 0).release();
        assert_eq!(rig.finish(tag).result, Ok(()));
        assert_eq!(rig.read(0, 4096).unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_late_write_fails_its_member_if_so_wished() {
    for recipe in redundant() {
        let (mut rig, _) = filled_with(&recipe, impatient(LateWrite::FailMember));
        faults(&mut rig, 0).add(stick(Kinds::WRITE));
        let data = noise(8, 4096);
        let began = rig.now();
        rig.write(0, &data).unwrap();
        assert_eq!(rig.now() - began, Duration::from_millis(100), "{recipe:?}");
        assert_eq!(state(&rig, 0), MemberState::Faulty, "{recipe:?}");
        assert_eq!(rig.read(0, 4096).unwrap(), data, "{recipe:?}");
    }
}

/// Somebody declares a member faulty that is stuck, whatever it is stuck in: nobody waits for it.
#[test]
fn a_stuck_member_can_be_failed_and_nobody_waits_for_it() {
    for recipe in redundant() {
        for kinds in [Kinds::READ, Kinds::WRITE, Kinds::FLUSH] {
            let what = format!("{recipe:?} {kinds:?}");
            let (mut rig, mut data) = filled(&recipe);
            let stuck = home(&recipe);
            faults(&mut rig, stuck).add(Rule::new(kinds, Effect::Stuck));
            let newer = noise(8, 4096);
            data[..4096].copy_from_slice(&newer);
            let mut waiting = vec![rig.begin_read(0, 4096), rig.begin_write(0, &newer)];
            rig.pass(Duration::from_secs(10));
            waiting.push(rig.begin(0, Op::Flush));
            rig.pass(Duration::from_secs(10));
            assert!(waiting.iter().any(|tag| rig.answer(*tag).is_none()), "{what}: it is stuck");
            rig.array_mut().fail_member(stuck).unwrap();
            rig.pass(Duration::from_millis(100));
            assert!(rig.array().is_recorded(), "{what}");
            assert_eq!(state(&rig, stuck), MemberState::Faulty, "{what}");
            assert_eq!(rig.read_all().unwrap(), data, "{what}");
            faults(&mut rig, stuck).clear();
            faults(&mut rig, stuck).release();
            rig.pass(Duration::from_secs(10));
            assert_eq!(rig.read_all().unwrap(), data, "{what}: late answers do no harm");
            let mut rig = open(at_rest(rig), Config::default()).unwrap();
            assert_eq!(rig.read_all().unwrap(), data, "{what}: nor on the disk they came from");
        }
    }
}

#[test]
fn a_late_write_never_overwrites_newer_data() {
    for recipe in redundant() {
        let (mut rig, _) = filled_with(&recipe, impatient(LateWrite::FailMember));
        faults(&mut rig, 0).add(stick(Kinds::WRITE));
        rig.write(0, &noise(8, 4096)).unwrap();
        let newer = noise(9, 4096);
        rig.write(0, &newer).unwrap();
        faults(&mut rig, 0).release();
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.read(0, 4096).unwrap(), newer, "{recipe:?}");
        // Not even when the failed member is there again.
        let mut rig = open(at_rest(rig), Config::default()).unwrap();
        assert_eq!(rig.read(0, 4096).unwrap(), newer, "{recipe:?}");
    }
}

#[test]
fn a_late_read_never_brings_back_older_data() {
    for recipe in redundant() {
        let (mut rig, _) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, home(&recipe)).add(stick(Kinds::READ));
        rig.read(0, 4096).unwrap();
        let newer = noise(9, 4096);
        rig.write(0, &newer).unwrap();
        faults(&mut rig, home(&recipe)).release();
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.read(0, 4096).unwrap(), newer, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_straggling_member_costs_time_and_nothing_else() {
    for recipe in redundant() {
        let (mut rig, data) = filled_with(&recipe, impatient(LateWrite::Wait));
        let late = Latency::fixed(Duration::from_millis(250));
        set_latency(&mut rig, 0, late);
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 0), MemberState::InSync, "{recipe:?}");
    }
}

/// Whether a pass that was told to begin has come to its end.
fn has_ended(rig: &mut Rig<Disk>, within: Duration) -> bool {
    rig.pass(within);
    rig.array().status().sync.is_none()
}

#[test]
fn a_check_does_without_a_member_that_is_stuck() {
    for recipe in redundant() {
        let (mut rig, data) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, 1).add(stick(Kinds::READ));
        rig.array_mut().start(Action::Check { locate: false }).unwrap();
        assert!(has_ended(&mut rig, Duration::from_secs(60)), "{recipe:?}");
        assert_eq!(slow_events(&rig.take_events(), 1), 1, "{recipe:?}");
        faults(&mut rig, 1).release();
        assert_eq!(rig.check(), 0, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_rebuild_reads_elsewhere_when_a_survivor_is_stuck() {
    for (level, members) in [(Level::Raid1, 3), (Level::Raid6, 5)] {
        let recipe = Recipe::of(level, members).spares(1);
        let (mut rig, data) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, 0).add(stick(Kinds::READ));
        rig.array_mut().fail_member(2).unwrap();
        assert!(has_ended(&mut rig, Duration::from_secs(60)), "{level}");
        assert_eq!(state(&rig, members), MemberState::InSync, "{level}");
        faults(&mut rig, 0).release();
        assert_eq!(rig.read_all().unwrap(), data, "{level}");
        assert_eq!(rig.check(), 0, "{level}");
    }
}

#[test]
fn a_rebuild_waits_for_the_only_survivor() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid5, 3)] {
        let recipe = Recipe::of(level, members).spares(1);
        let (mut rig, data) = filled_with(&recipe, impatient(LateWrite::Wait));
        faults(&mut rig, 0).add(stick(Kinds::READ));
        rig.array_mut().fail_member(1).unwrap();
        assert!(!has_ended(&mut rig, Duration::from_secs(60)), "{level}");
        faults(&mut rig, 0).release();
        assert!(has_ended(&mut rig, Duration::from_secs(60)), "{level}");
        assert_eq!(member(&rig, members).bad_sectors, 0, "{level}: late is not lost");
        assert_eq!(rig.read_all().unwrap(), data, "{level}");
        assert_eq!(rig.check(), 0, "{level}");
    }
}

#[test]
fn a_resync_waits_because_nobody_can_answer_for_a_member_in_doubt() {
    for recipe in redundant() {
        let (mut rig, _) = filled_with(&recipe, impatient(LateWrite::Wait));
        rig.write(0, &noise(8, 4096)).unwrap();
        let disks = power_cut(rig, 3);
        let mut rig = open(disks, impatient(LateWrite::Wait)).unwrap();
        faults(&mut rig, 1).add(stick(Kinds::READ));
        assert!(!has_ended(&mut rig, Duration::from_secs(60)), "{recipe:?}");
        faults(&mut rig, 1).release();
        assert!(has_ended(&mut rig, Duration::from_secs(60)), "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}: members agree");
    }
}
