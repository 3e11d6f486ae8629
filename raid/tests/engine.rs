//! The engine over memory: every level answers like a plain disk, loses nothing it should keep,
//! and leaves metadata that says what happened.

mod common;

use common::{Array, New, open, open_with, settle, stop};
use holdfast_core::block::{Fault, MemDisk, conformance};
use holdfast_core::rng::Rng;
use holdfast_core::time::StepClock;
use holdfast_raid::status::MemberState;
use holdfast_raid::superblock::{Resync, Role};
use holdfast_raid::{Action, AssembleError, Config, Event, FailReason, Level, Options};

fn every_level() -> Vec<New> {
    use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};
    let mut all: Vec<New> = [
        (Linear, 3),
        (Raid0, 3),
        (Raid1, 2),
        (Raid1, 3),
        (Raid4, 3),
        (Raid5, 3),
        (Raid5, 5),
        (Raid6, 4),
        (Raid6, 6),
        (Raid10, 4),
        (Raid10, 3),
    ]
    .map(|(level, n)| New::of(level, n))
    .into();
    all.push(New { ppl: true, ..New::of(Raid5, 4) });
    for layout in [0x201, 0x1_0201, 0x103] {
        all.push(New { layout, ..New::of(Raid10, 5) });
    }
    all
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(seed).fill(&mut data);
    data
}

fn read_all(array: &mut Array) -> Vec<u8> {
    let mut bytes = vec![0; array.size() as usize];
    array.read_at(0, &mut bytes).expect("all of it can be read");
    bytes
}

#[test]
fn an_array_meets_the_examiner_every_device_meets() {
    for new in every_level() {
        for bitmap in [None, Some(65536)] {
            if bitmap.is_some() && (new.ppl || !new.level.is_redundant()) {
                continue;
            }
            let array = New { bitmap, ..new.clone() }.start();
            let (mut device, mut clock) = array.into_inner();
            conformance::examine(&mut device, &mut clock);
        }
    }
}

#[test]
fn what_is_written_is_there_after_a_stop_and_a_start() {
    for new in every_level() {
        let mut array = new.start();
        let data = noise(1, array.size() as usize);
        array.write_at(0, &data).unwrap();
        let disks = stop(array);
        let mut array = open(disks).unwrap();
        assert!(array.device().status().resync_from.is_none(), "{:?}: stopped clean", new.level);
        assert_eq!(read_all(&mut array), data, "{:?}", new);
    }
}

#[test]
fn parity_and_mirrors_are_right_after_writes_of_every_shape() {
    for new in every_level().into_iter().filter(|new| new.level.is_redundant()) {
        let mut array = new.start();
        let size = array.size();
        let mut rng = Rng::new(3);
        let mut model = vec![0u8; size as usize];
        for step in 0..200 {
            let at = rng.below(size / 512) * 512;
            let len = (512 * (1 + rng.below(64))).min(size - at);
            let data = noise(step, len as usize);
            array.write_at(at, &data).unwrap();
            model[at as usize..(at + len) as usize].copy_from_slice(&data);
        }
        array.device_mut().start(Action::Check { locate: false }).unwrap();
        settle(&mut array);
        let mismatches: Vec<Event> = array
            .device_mut()
            .take_events()
            .into_iter()
            .filter(|event| matches!(event, Event::Mismatch { .. }))
            .collect();
        assert!(mismatches.is_empty(), "{new:?}: {mismatches:?}");
        assert_eq!(read_all(&mut array), model, "{new:?}");
    }
}

#[test]
fn a_spare_takes_over_at_once_and_the_metadata_says_so() {
    for new in every_level().into_iter().filter(|new| new.level.is_redundant()) {
        let new = New { spares: vec![8192], ..new };
        let mut array = new.start();
        let data = noise(9, array.size() as usize);
        array.write_at(0, &data).unwrap();
        array.device_mut().fail_member(1).unwrap();
        settle(&mut array);
        let events = array.device_mut().take_events();
        assert!(
            events.iter().any(|e| matches!(e, Event::MemberInSync { slot: 1, .. })),
            "{new:?}: {events:?}"
        );
        assert_eq!(read_all(&mut array), data, "{new:?}");
        let mut disks = stop(array);
        // The failed member is ignored when it comes back.
        let mut array = open(disks.clone_all()).unwrap();
        assert_eq!(read_all(&mut array), data);
        assert!(
            array.device().status().members[1].slot != Some(1)
                || array.device().status().members[1].why.is_some()
        );
        // And the spare alone holds slot 1 now.
        disks.remove(1);
        let mut array = open(disks).unwrap();
        assert_eq!(read_all(&mut array), data, "{new:?} without the failed member");
    }
}

#[test]
fn a_dirty_degraded_parity_array_needs_force() {
    let new = New { clean: false, ..New::of(Level::Raid5, 3) };
    let mut disks = new.disks();
    disks.remove(0);
    let error = open(disks.clone_all()).unwrap_err();
    assert!(matches!(error, AssembleError::DirtyDegraded { ref missing, .. } if missing == &[0]));
    let forced = Options { force: true, set: None };
    assert!(open_with(disks, Config::default(), &forced).is_ok());
}

#[test]
fn a_resync_makes_members_agree_and_the_array_clean() {
    for new in every_level().into_iter().filter(|new| new.level.is_redundant()) {
        for bitmap in [None, Some(65536)] {
            if bitmap.is_some() && new.ppl {
                continue;
            }
            let new = New { clean: false, bitmap, ..new.clone() };
            let mut disks = new.disks();
            for (seed, disk) in disks.iter_mut().enumerate() {
                let data = noise(seed as u64, 2 << 20);
                disk.bytes_mut()[2 << 20..4 << 20].copy_from_slice(&data);
            }
            let mut array = open(disks).unwrap();
            settle(&mut array);
            array.device_mut().take_events();
            array.device_mut().start(Action::Check { locate: false }).unwrap();
            settle(&mut array);
            let events = array.device_mut().take_events();
            assert!(!events.iter().any(|e| matches!(e, Event::Mismatch { .. })), "{new:?}");
            let array = open(stop(array)).unwrap();
            assert_eq!(array.device().status().resync_from, None);
        }
    }
}

#[test]
fn failure_is_on_disk_before_the_write_is_answered() {
    let new = New::of(Level::Raid1, 2);
    let mut array = new.start();
    array.device_mut().fail_member(0).unwrap();
    array.write_at(0, &noise(1, 4096)).unwrap();
    // No stop: as if the machine had died right after the answer.
    let disks = array.into_inner().0.into_devices();
    let mut probe = disks.clone_all();
    let probes = holdfast_raid::scan(&mut probe, &mut StepClock::default());
    let survivor = probes[1].superblock.as_ref().unwrap();
    assert_eq!(survivor.role_of(0), Role::Faulty);
    assert_eq!(survivor.resync, Resync::From(0), "a write may still be in flight");
}

#[test]
fn beyond_tolerance_the_answer_is_an_error_and_never_invented_data() {
    let mut array = New::of(Level::Raid5, 3).start();
    array.write_at(0, &noise(1, 65536)).unwrap();
    array.device_mut().fail_member(0).unwrap();
    assert!(array.device_mut().fail_member(1).is_err(), "the array cannot spare it");
    let mut disks = stop(array);
    disks.truncate(1);
    assert!(matches!(open(disks), Err(AssembleError::TooFewMembers { .. })));
    let _ = Fault::Gone;
}

#[test]
fn a_device_that_is_known_to_be_gone_is_out_without_being_asked() {
    let gone = |array: &mut Array, member| {
        array.device_mut().member_gone(member);
        settle(array);
        array.device_mut().take_events()
    };
    let mut array = New { spares: vec![8192], ..New::of(Level::Raid5, 3) }.start();
    let data = noise(1, 65536);
    array.write_at(0, &data).unwrap();
    let reason = FailReason::Gone;
    let events = gone(&mut array, 3);
    assert_eq!(events, [Event::MemberFailed { member: 3, slot: None, reason }], "a spare");
    let events = gone(&mut array, 0);
    assert_eq!(events, [Event::MemberFailed { member: 0, slot: Some(0), reason }]);
    assert_eq!(gone(&mut array, 0), [], "it is known");
    let mut bytes = vec![0; data.len()];
    array.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, data);
    // One that cannot be spared counts as lost, and nothing more is written.
    let events = gone(&mut array, 1);
    assert_eq!(events, [Event::MemberLost { member: 1, slot: 1, reason }, Event::Broken]);
    assert!(array.write_at(0, &data).is_err());
}

#[test]
fn a_member_absent_at_the_start_is_on_record_before_the_first_write() {
    for (level, n) in [(Level::Raid1, 2), (Level::Raid5, 3), (Level::Raid10, 4)] {
        let mut array = New::of(level, n).start();
        array.write_at(0, &noise(1, 65536)).unwrap();
        let mut disks = stop(array);
        let absent = disks.remove(0);
        let mut array = open(disks).unwrap();
        array.write_at(0, &noise(2, 65536)).unwrap();
        // The machine dies right after the answer; then the absentee is back.
        let mut disks = array.into_inner().0.into_devices();
        disks.insert(0, absent);
        let forced = Options { force: true, set: None };
        let mut array = open_with(disks, Config::default(), &forced).unwrap();
        assert_ne!(array.device().status().members[0].state, MemberState::InSync, "{level}");
        let mut bytes = vec![0; 65536];
        array.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, noise(2, 65536), "{level}");
    }
}

#[test]
fn an_old_copy_of_a_spare_never_becomes_a_member_by_itself() {
    let manual = Config { auto_sync: false, ..Config::default() };
    let mut disks = New { spares: vec![8192], ..New::of(Level::Raid5, 3) }.disks();
    let old_spare = MemDisk::from_bytes(disks[3].bytes().to_vec());
    disks.remove(1);
    let mut array = open(disks).unwrap();
    let data = noise(3, array.size() as usize);
    array.write_at(0, &data).unwrap();
    settle(&mut array);
    let mut disks = stop(array);
    // Disks 0, 2 and the rebuilt spare; now the spare as it was long ago takes its place.
    disks[2] = old_spare;
    let mut array = open_with(disks, manual.clone(), &Options::default()).unwrap();
    array.write_at(0, &data[..4096]).unwrap();
    let mut array = open_with(stop(array), manual, &Options::default()).unwrap();
    assert_eq!(array.device().status().members[2].state, MemberState::Spare);
    assert_eq!(read_all(&mut array), data);
}

#[test]
fn what_force_took_in_stays_in() {
    let mut array = New::of(Level::Raid5, 3).start();
    array.write_at(0, &noise(1, 65536)).unwrap();
    array.device_mut().fail_member(1).unwrap();
    for step in 0..3 {
        array.write_at(0, &noise(step, 65536)).unwrap();
        array = open(stop(array)).unwrap();
    }
    let mut disks = stop(array);
    disks.truncate(2);
    assert!(matches!(open(disks.clone_all()), Err(AssembleError::TooFewMembers { .. })));
    let forced = Options { force: true, set: None };
    let mut array = open_with(disks, Config::default(), &forced).unwrap();
    array.write_at(4096, &noise(7, 65536)).unwrap();
    let mut array = open(stop(array)).expect("no force needed any more");
    let mut bytes = vec![0; 65536];
    array.read_at(4096, &mut bytes).unwrap();
    assert_eq!(bytes, noise(7, 65536));
}

trait CloneAll {
    fn clone_all(&self) -> Vec<MemDisk>;
}

impl CloneAll for Vec<MemDisk> {
    fn clone_all(&self) -> Vec<MemDisk> {
        self.iter().map(|disk| MemDisk::from_bytes(disk.bytes().to_vec())).collect()
    }
}
