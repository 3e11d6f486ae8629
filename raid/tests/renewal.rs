//! Members that come back, and members that are replaced while they serve.

mod common;

use common::{Array, New, open, open_with, settle, stop};
use holdfast_core::block::MemDisk;
use holdfast_core::rng::Rng;
use holdfast_core::time::StepClock;
use holdfast_raid::array::AddMember;
use holdfast_raid::status::{Health, MemberState};
use holdfast_raid::superblock::{Role, Superblock, Uuid};
use holdfast_raid::{Config, Level, Options, Refusal, Return, Whole, scan};

/// Every level with redundancy, with the layouts whose rows differ most.
fn shapes() -> Vec<New> {
    use Level::{Raid1, Raid4, Raid5, Raid6, Raid10};
    let plain = [(Raid1, 2), (Raid1, 3), (Raid4, 3), (Raid5, 4), (Raid6, 5), (Raid10, 4)];
    let mut all: Vec<New> = plain.map(|(level, n)| New::of(level, n)).into();
    for layout in [0x201, 0x1_0201, 0x103] {
        all.push(New { layout, ..New::of(Raid10, 5) });
    }
    all.into_iter().map(|new| New { bitmap: Some(65536), ..new }).collect()
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

fn states(array: &Array) -> Vec<(Option<u32>, MemberState)> {
    array.device().status().members.iter().map(|m| (m.slot, m.state)).collect()
}

fn add(array: &mut Array) -> usize {
    let new = AddMember { device_uuid: Uuid([0x77; 16]), write_mostly: false };
    array.device_mut().add_member(MemDisk::new(8192), new).unwrap()
}

fn copy(disk: &MemDisk) -> MemDisk {
    MemDisk::from_bytes(disk.bytes().to_vec())
}

fn superblock(disk: &mut MemDisk) -> Superblock {
    let mut found = scan(std::slice::from_mut(disk), &mut StepClock::default());
    found.remove(0).superblock.unwrap()
}

/// No pass begins by itself.
fn by_hand() -> Config {
    Config { auto_sync: false, ..Config::default() }
}

fn open_by_hand(disks: Vec<MemDisk>) -> Array {
    open_with(disks, by_hand(), &Options::default()).unwrap()
}

#[test]
fn a_replacement_takes_over_when_it_has_everything() {
    for new in shapes() {
        let mut array = new.start();
        let mut data = noise(1, array.size() as usize);
        array.write_at(0, &data).unwrap();
        settle(&mut array);
        let (n, old) = (new.members.len(), 1);
        let with = add(&mut array);
        assert_eq!(with, n);
        array.device_mut().replace_member(old, with).unwrap();
        assert_eq!(states(&array)[with], (Some(1), MemberState::Replacing), "{new:?}");
        assert_eq!(array.device().status().health, Health::Optimal, "the old one serves");
        // What is written meanwhile goes to both.
        for (index, block) in data.chunks_mut(4096).enumerate().step_by(7) {
            Rng::new(index as u64).fill(block);
            array.write_at(index as u64 * 4096, block).unwrap();
        }
        settle(&mut array);
        assert_eq!(states(&array)[old], (Some(1), MemberState::Faulty));
        assert_eq!(states(&array)[with], (Some(1), MemberState::InSync));
        assert_eq!(read_all(&mut array), data, "{new:?}");
        let mut disks = stop(array);
        let block = superblock(&mut disks[with]);
        assert!(!block.replacement && block.recovery_offset.is_none(), "{block:?}");
        assert_eq!((block.role(), block.role_of(old as u32)), (Role::Active(1), Role::Faulty));
        // The old one is not asked: it may be gone, or hold anything.
        disks[old] = MemDisk::new(8192);
        let mut array = open(disks).unwrap();
        assert_eq!(read_all(&mut array), data, "{new:?}");
        array.device_mut().start(holdfast_raid::Action::Check { locate: false }).unwrap();
        let mismatches = |array: &mut Array| {
            settle(array);
            let events = array.device_mut().take_events();
            events.iter().any(|e| matches!(e, holdfast_raid::Event::Mismatch { .. }))
        };
        assert!(!mismatches(&mut array), "{new:?}");
    }
}

#[test]
fn a_replacement_begun_is_on_record_and_goes_on_after_a_stop() {
    for new in shapes() {
        let mut array = open_by_hand(new.disks());
        let data = noise(2, array.size() as usize);
        array.write_at(0, &data).unwrap();
        let with = add(&mut array);
        array.device_mut().replace_member(0, with).unwrap();
        settle(&mut array);
        let mut disks = stop(array);
        let (one, two) = (superblock(&mut disks[0]), superblock(&mut disks[with]));
        assert_eq!((one.role(), two.role()), (Role::Active(0), Role::Active(0)));
        assert!(two.replacement && !one.replacement, "only the new one says so");
        assert_eq!((one.recovery_offset, two.recovery_offset), (None, Some(0)));
        let mut array = open_by_hand(disks);
        assert_eq!(states(&array)[with], (Some(0), MemberState::Replacing));
        assert!(array.device_mut().start_pending());
        settle(&mut array);
        assert_eq!(states(&array)[with], (Some(0), MemberState::InSync));
        assert_eq!(read_all(&mut array), data, "{new:?}");
    }
}

#[test]
fn whichever_of_the_two_fails_the_other_goes_on() {
    for new in shapes() {
        for old_fails in [true, false] {
            let mut array = open_by_hand(new.disks());
            let data = noise(3, array.size() as usize);
            array.write_at(0, &data).unwrap();
            let with = add(&mut array);
            array.device_mut().replace_member(0, with).unwrap();
            settle(&mut array);
            let (fails, stays) = if old_fails { (0, with) } else { (with, 0) };
            array.device_mut().fail_member(fails).unwrap();
            settle(&mut array);
            let state = if old_fails { MemberState::Rebuilding } else { MemberState::InSync };
            assert_eq!(states(&array)[stays], (Some(0), state), "{new:?}");
            assert_eq!(read_all(&mut array), data);
            array.device_mut().start_pending();
            settle(&mut array);
            assert_eq!(states(&array)[stays], (Some(0), MemberState::InSync));
            assert_eq!(array.device().status().health, Health::Optimal);
            assert_eq!(read_all(&mut array), data, "{new:?}");
            let mut disks = stop(array);
            assert!(!superblock(&mut disks[stays]).replacement);
        }
    }
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let mut array = open_by_hand(New { bitmap: None, ..New::of(Level::Raid5, 3) }.disks());
    let array = array.device_mut();
    assert_eq!(array.replace_member(0, 1), Err(Refusal::NotSpare { member: 1 }));
    assert_eq!(array.replace_member(9, 1), Err(Refusal::NoSuchMember { member: 9 }));
    let new = AddMember { device_uuid: Uuid([0x77; 16]), write_mostly: false };
    let with = array.add_member(MemDisk::new(8192), new).unwrap();
    assert_eq!(array.replace_member(with, with), Err(Refusal::NotServing { member: with }));
    array.replace_member(0, with).unwrap();
    let refusal = Refusal::BeingReplaced { member: 0, by: with };
    assert_eq!(array.replace_member(0, with), Err(refusal));
}

/// An array that has run without its member 1, from which what was there is returned; its data.
fn without_one(new: &New) -> (Vec<MemDisk>, MemDisk, Vec<u8>) {
    let mut array = new.start();
    let mut data = noise(4, array.size() as usize);
    array.write_at(0, &data).unwrap();
    settle(&mut array);
    let mut disks = stop(array);
    let away = std::mem::replace(&mut disks[1], MemDisk::new(8192));
    let mut array = open_by_hand(disks);
    let at = array.size() / 2 / 4096 * 4096;
    let block = noise(5, 8192);
    array.write_at(at, &block).unwrap();
    data[at as usize..at as usize + block.len()].copy_from_slice(&block);
    (stop(array), away, data)
}

#[test]
fn a_member_that_was_away_is_given_what_the_bitmap_marks_and_no_more() {
    for new in shapes() {
        let (mut disks, mut away, data) = without_one(&new);
        // A byte far from what was written: nobody must copy, and nobody read, what is there yet.
        let spot = superblock(&mut away).data_offset as usize * 512 + 5;
        away.bytes_mut()[spot] ^= 0xff;
        let spoilt = away.bytes_mut()[spot];
        disks[1] = away;
        let mut array = open_by_hand(disks);
        assert_eq!(states(&array)[1], (Some(1), MemberState::Stale));
        let mut clock = StepClock::default();
        let back = array.device_mut().readd_member(1, &mut clock).unwrap();
        assert!(matches!(back, Return::Marked { slot: 1, sectors } if sectors <= 256), "{back:?}");
        assert_eq!(read_all(&mut array), data, "{new:?}: read before it was copied");
        // Stopped before anything is copied, it goes on where it was, and by the bitmap.
        settle(&mut array);
        let mut disks = stop(array);
        let block = superblock(&mut disks[1]);
        assert_eq!((block.recovery_offset, block.recovery_bitmap), (Some(0), true));
        let mut array = open_by_hand(disks);
        assert!(array.device_mut().start_pending());
        settle(&mut array);
        assert_eq!(states(&array)[1], (Some(1), MemberState::InSync));
        let mut disks = stop(array);
        assert_eq!(disks[1].bytes_mut()[spot], spoilt, "{new:?}: a clean region was copied");
        assert!(!superblock(&mut disks[1]).recovery_bitmap);
        disks[1].bytes_mut()[spot] ^= 0xff;
        let mut array = open(disks).unwrap();
        assert_eq!(read_all(&mut array), data, "{new:?}");
    }
}

#[test]
fn without_a_bitmap_that_knows_it_is_a_spare() {
    let new = New { bitmap: None, ..New::of(Level::Raid5, 3) };
    let (mut disks, away, data) = without_one(&new);
    disks[1] = away;
    let mut array = open_by_hand(disks);
    let mut clock = StepClock::default();
    let back = array.device_mut().readd_member(1, &mut clock);
    assert_eq!(back, Ok(Return::Whole(Whole::NoBitmap)));
    assert_eq!(states(&array)[1], (None, MemberState::Spare));
    assert!(array.device_mut().start_pending());
    settle(&mut array);
    assert_eq!(array.device().status().health, Health::Optimal);
    assert_eq!(read_all(&mut array), data);
}

#[test]
fn once_the_array_was_whole_without_it_the_bitmap_knows_nothing_of_it() {
    let new = New { bitmap: Some(65536), ..New::of(Level::Raid1, 2) };
    let (disks, away, data) = without_one(&new);
    let mut array = open(disks).unwrap();
    let spare = add(&mut array);
    settle(&mut array);
    // Whole again, so the stop clears what is marked.
    let mut array = open_by_hand(stop(array));
    array.device_mut().fail_member(spare).unwrap();
    settle(&mut array);
    let mut disks = stop(array);
    disks.push(away);
    let away = disks.len() - 1;
    let mut array = open_by_hand(disks);
    let mut clock = StepClock::default();
    let back = array.device_mut().readd_member(away, &mut clock);
    assert!(matches!(back, Ok(Return::Whole(Whole::Cleared { .. }))), "{back:?}");
    array.device_mut().start_pending();
    settle(&mut array);
    assert_eq!(read_all(&mut array), data);
}

#[test]
fn two_halves_that_ran_apart_do_not_merge() {
    let new = New { bitmap: Some(65536), ..New::of(Level::Raid1, 2) };
    let disks = stop(new.start());
    // Each writes once or several times: whichever has come further.
    for (ours, theirs) in [(1, 1), (1, 4), (4, 1)] {
        let run_alone = |slot: usize, writes: usize| {
            let mut alone: Vec<MemDisk> = disks.iter().map(copy).collect();
            alone[1 - slot] = MemDisk::new(8192);
            for turn in 0..writes {
                let mut array = open_by_hand(alone);
                array.write_at(0, &noise(turn as u64, 4096)).unwrap();
                alone = stop(array);
            }
            alone
        };
        let (mut here, there) = (run_alone(0, ours), run_alone(1, theirs));
        let mut array = open_by_hand(here.iter().map(copy).collect());
        let other = array.device_mut().introduce(copy(&there[1]));
        let refusal = array.device_mut().readd_member(other, &mut StepClock::default());
        assert!(matches!(refusal, Err(Refusal::SplitHistory { .. })), "{refusal:?}");
        // Nor does the assembly take both.
        here[1] = copy(&there[1]);
        if let Ok(array) = open(here) {
            let serving = states(&array).iter().filter(|s| s.1 == MemberState::InSync).count();
            assert_eq!(serving, 1);
        }
    }
}

#[test]
fn what_is_no_member_of_the_array_does_not_come_back() {
    let new = New { bitmap: Some(65536), ..New::of(Level::Raid1, 2) };
    let mut array = open_by_hand(new.disks());
    let mut clock = StepClock::default();
    let array = array.device_mut();
    assert_eq!(array.readd_member(0, &mut clock), Err(Refusal::AlreadyIn { member: 0 }));
    let blank = array.introduce(MemDisk::new(8192));
    assert!(matches!(array.readd_member(blank, &mut clock), Err(Refusal::Unreadable(_))));
    let foreign = New { chunk_sectors: 8, ..New::of(Level::Raid5, 3) }.disks().remove(0);
    let foreign = array.introduce(foreign);
    assert!(matches!(array.readd_member(foreign, &mut clock), Err(Refusal::Stranger(_))));
    let twice = copy(array.device(0));
    let twice = array.introduce(twice);
    assert_eq!(array.readd_member(twice, &mut clock), Err(Refusal::AlreadyIn { member: 0 }));
}
