//! Writes and flushes that fail.

use super::*;
use holdfast_core::block::Op;
use holdfast_raid::superblock::Role;
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

fn medium(range: std::ops::Range<u64>) -> Rule {
    Rule::new(Kinds::WRITE, Effect::Fail(Fault::Medium)).at(range)
}

#[test]
fn a_write_error_is_narrowed_to_its_sectors_and_the_member_stays() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).add(medium(DATA + 2..DATA + 3));
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 1), MemberState::InSync, "{recipe:?}");
        assert_eq!(member(&rig, 1).bad_sectors, 1, "{recipe:?}");
        let bad = Event::BadBlocks { member: 1, sector: DATA + 2, sectors: 1 };
        assert!(rig.take_events().contains(&bad), "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}: from redundancy");
    }
}

#[test]
fn bad_blocks_are_in_the_log_on_disk_before_the_write_is_answered() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).add(medium(DATA + 2..DATA + 3));
        rig.write(0, &noise(8, 8192)).unwrap();
        assert_eq!(listed(&mut rig, 1), [(DATA + 2, 1)], "{recipe:?}");
    }
}

#[test]
fn a_listed_block_is_a_hole_when_the_others_are_gone() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2));
    let data = noise(8, rig.size());
    faults(&mut rig, 1).add(medium(DATA + 2..DATA + 3));
    rig.write(0, &data).unwrap();
    rig.array_mut().fail_member(0).unwrap();
    assert_eq!(rig.read(1024, 512), MEDIUM, "not the old data that is still there");
    assert_eq!(rig.read(0, 1024).unwrap(), data[..1024]);
    assert_eq!(rig.read(1536, 8192).unwrap(), data[1536..9728]);
}

#[test]
fn a_good_write_takes_sectors_off_the_log() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).add(medium(DATA + 2..DATA + 4));
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(member(&rig, 1).bad_sectors, 2, "{recipe:?}");
        faults(&mut rig, 1).clear();
        rig.write(0, &data).unwrap();
        assert_eq!(member(&rig, 1).bad_sectors, 0, "{recipe:?}");
        rig.settle();
        assert_eq!(listed(&mut rig, 1), [], "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn zeroing_is_narrowed_like_any_write() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).add(medium(DATA + 2..DATA + 3));
        let sectors = rig.size() as u64 / 512;
        assert_eq!(rig.execute(0, Op::Zero(sectors)).result, Ok(()), "{recipe:?}");
        assert_eq!(state(&rig, 1), MemberState::InSync, "{recipe:?}");
        assert!(rig.read_all().unwrap().iter().all(|&b| b == 0), "{recipe:?}");
    }
}

#[test]
fn without_a_log_a_write_error_fails_the_member() {
    for recipe in redundant() {
        let recipe = Recipe { data_offset: 16, ..recipe };
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).add(medium(18..19));
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 1), MemberState::Faulty, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn when_the_log_is_full_the_member_fails() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2).sectors(2048));
    for sector in 0..512 {
        faults(&mut rig, 1).add(medium(DATA + 2 * sector..DATA + 2 * sector + 1));
    }
    let data = noise(8, rig.size());
    rig.write(0, &data).unwrap();
    assert_eq!(state(&rig, 1), MemberState::InSync, "512 entries fit");
    assert_eq!(member(&rig, 1).bad_sectors, 512);
    faults(&mut rig, 1).add(medium(DATA + 2000..DATA + 2001));
    rig.write(0, &data).unwrap();
    assert_eq!(state(&rig, 1), MemberState::Faulty);
    assert_eq!(rig.read_all().unwrap(), data);
}

#[test]
fn a_bad_block_on_the_only_member_left_is_an_honest_error() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid0, 2));
    faults(&mut rig, 0).add(medium(DATA..DATA + 1));
    assert_eq!(rig.write(0, &[1; 4096]), Err(Fault::Medium));
    assert_eq!(rig.read(0, 512), MEDIUM, "listed: it could be old or new");
    assert_eq!(state(&rig, 0), MemberState::InSync);
}

#[test]
fn a_full_device_never_fails_and_its_stripe_stays_marked() {
    for recipe in redundant() {
        let (mut rig, before) = filled(&recipe);
        faults(&mut rig, 0).set_full(true);
        let data = noise(8, rig.size());
        assert_eq!(rig.write(0, &data), Err(Fault::Full), "{recipe:?}");
        let no_space = |e: &Event| matches!(e, Event::NoSpace { member: 0, .. });
        assert!(rig.take_events().iter().any(no_space), "{recipe:?}: says why");
        rig.pass(Duration::from_secs(2));
        let status = rig.array().status();
        let in_sync = |m: &MemberStatus| m.state == MemberState::InSync;
        assert!(status.members.iter().all(in_sync), "{recipe:?}: {status:?}");
        // Where the others could be made to agree with the full one, that has happened.
        let marked = status.resync_from.is_some();
        assert!(marked || rig.check() == 0, "{recipe:?}: neither marked nor in sync");
        let seen = rig.read_all().unwrap();
        let old_or_new = |(at, s): (usize, &[u8])| {
            let range = at * 512..at * 512 + 512;
            *s == before[range.clone()] || *s == data[range]
        };
        assert!(seen.chunks(512).enumerate().all(old_or_new), "{recipe:?}");
        faults(&mut rig, 0).set_full(false);
        rig.array_mut().start_pending();
        rig.settle();
        assert_eq!(rig.array().status().resync_from, None, "{recipe:?}: room again");
        assert_eq!(rig.check(), 0, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), seen, "{recipe:?}: nothing changes unwritten");
    }
}

#[test]
fn a_full_device_in_a_degraded_stripe_never_shows_wrong_data() {
    let (mut rig, before) = filled(&Recipe::of(Level::Raid5, 3));
    rig.array_mut().fail_member(0).unwrap();
    rig.settle();
    // Stripe 0: slots 0 and 1 hold data, 2 parity. What slot 0 held is known from both.
    faults(&mut rig, 1).set_full(true);
    assert!(rig.write(4096, &[9; 4096]).is_err());
    match rig.read(0, 4096) {
        Ok(bytes) => assert!(bytes == before[..4096], "never written, yet changed"),
        Err(fault) => assert_eq!(fault, Fault::Medium),
    }
}

#[test]
fn a_failed_flush_fails_the_member_and_is_on_disk_before_the_answer() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        let rule = Rule::new(Kinds::FLUSH, Effect::Fail(Fault::Transport));
        faults(&mut rig, 1).add(rule);
        assert_eq!(rig.flush(), Ok(()), "{recipe:?}: the others hold it");
        assert_eq!(state(&rig, 1), MemberState::Faulty, "{recipe:?}");
        for (index, probe) in rig.probe().iter().enumerate() {
            let superblock = probe.superblock.as_ref().unwrap();
            let told = superblock.role_of(1) == Role::Faulty;
            assert_eq!(told, index != 1, "{recipe:?}: member {index}");
        }
        assert_eq!(rig.read_all().unwrap(), data);
    }
}

fn no_room_to_flush() -> Rule {
    Rule::new(Kinds::FLUSH, Effect::Fail(Fault::Full))
}

#[test]
fn a_flush_without_room_is_an_error_that_fails_nobody_and_leaves_the_writes_marked() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        faults(&mut rig, 1).add(no_room_to_flush());
        assert_eq!(rig.flush(), Err(Fault::Full), "{recipe:?}");
        let no_space = |e: &Event| matches!(e, Event::NoSpace { member: 1, .. });
        assert!(rig.take_events().iter().any(no_space), "{recipe:?}: says why");
        rig.pass(Duration::from_secs(60));
        let status = rig.array().status();
        assert_eq!(status.members[1].state, MemberState::InSync, "{recipe:?}");
        assert!(status.resync_from.is_some() && !status.clean, "{recipe:?}: {status:?}");
        assert_eq!(
            rig.flush(),
            Err(Fault::Full),
            "{recipe:?}: what was refused is still not there"
        );
        faults(&mut rig, 1).clear();
        assert_eq!(rig.flush(), Ok(()), "{recipe:?}");
        rig.array_mut().start_pending();
        rig.pass(Duration::from_secs(60));
        let status = rig.array().status();
        assert!(status.resync_from.is_none() && status.clean, "{recipe:?}: {status:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn an_array_that_cannot_flush_is_not_called_clean_and_stops_all_the_same() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        faults(&mut rig, 1).add(no_room_to_flush());
        rig.pass(Duration::from_secs(60));
        assert!(!rig.array().status().clean, "{recipe:?}");
        assert_eq!(state(&rig, 1), MemberState::InSync, "{recipe:?}");
        let rig = open(at_rest(rig), Config::default()).unwrap();
        assert!(rig.array().status().resync_from.is_some(), "{recipe:?}: unclean");
    }
}

#[test]
fn a_failure_is_put_on_record_although_another_member_cannot_flush() {
    for recipe in [Recipe::of(Level::Raid1, 3), Recipe::of(Level::Raid6, 5)] {
        let (mut rig, _) = filled(&recipe);
        let data = noise(8, rig.size());
        faults(&mut rig, 1).add(no_room_to_flush());
        faults(&mut rig, 0).add(Rule::new(Kinds::WRITE, Effect::Fail(Fault::Transport)));
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 0), MemberState::Faulty, "{recipe:?}");
        assert_eq!(state(&rig, 1), MemberState::InSync, "{recipe:?}");
        for probe in &rig.probe()[1..] {
            let superblock = probe.superblock.as_ref().unwrap();
            assert_eq!(superblock.role_of(0), Role::Faulty, "{recipe:?}");
        }
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_write_whose_region_cannot_be_marked_is_not_begun() {
    for recipe in redundant() {
        let recipe = Recipe { bitmap: Some(4096), ..recipe };
        let (mut rig, data) = filled(&recipe);
        let bitmap = rig.probe()[1].superblock.as_ref().unwrap().bitmap_sector().unwrap();
        forget(&mut rig);
        let rule = Rule::new(Kinds::WRITE, Effect::Fail(Fault::Full)).at(bitmap..bitmap + 8);
        faults(&mut rig, 1).add(rule);
        assert_eq!(rig.write(0, &noise(8, 4096)), Err(Fault::Full), "{recipe:?}");
        let refused = |e: &Event| {
            matches!(e, Event::RangeFailed { sector: 0, write: true, fault: Fault::Full, .. })
        };
        assert!(rig.take_events().iter().any(refused), "{recipe:?}: says so");
        for index in 0..recipe.members.len() {
            assert_eq!(rig.device(index).count(Kind::Write, DATA..u64::MAX), 0, "{recipe:?}");
            assert_eq!(state(&rig, index), MemberState::InSync, "{recipe:?}");
        }
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        faults(&mut rig, 1).clear();
        let new = noise(9, 4096);
        rig.write(0, &new).unwrap();
        assert_eq!(rig.read(0, 4096).unwrap(), new, "{recipe:?}: room again");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn what_a_full_member_missed_is_read_from_the_others() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let home = home(&recipe);
        faults(&mut rig, home).set_full(true);
        let data = noise(8, 4096);
        assert_eq!(rig.write(0, &data), Err(Fault::Full), "{recipe:?}");
        // Its old contents are no help, and no harm when they cannot be read either.
        faults(&mut rig, home).add(Rule::latent(DATA..DATA + 8));
        assert_eq!(rig.read(0, 4096).unwrap(), data, "{recipe:?}");
        faults(&mut rig, home).set_full(false);
        rig.array_mut().start_pending();
        rig.settle();
        assert_eq!(member(&rig, home).bad_sectors, 0, "{recipe:?}: written again");
        assert_eq!(rig.check(), 0, "{recipe:?}");
        assert_eq!(rig.read(0, 4096).unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn parity_that_missed_a_write_stands_in_for_nothing() {
    // Stripe 0: slots 0 and 1 hold data, 2 parity.
    let (mut rig, before) = filled(&Recipe::of(Level::Raid5, 3));
    for full in [0, 2] {
        faults(&mut rig, full).set_full(true);
    }
    let data = noise(8, 8192);
    assert_eq!(rig.write(0, &data), Err(Fault::Full));
    assert_eq!(rig.read(0, 4096).unwrap(), before[..4096], "each data member is there itself");
    assert_eq!(rig.read(4096, 4096).unwrap(), data[4096..]);
    faults(&mut rig, 1).add(Rule::latent(DATA..DATA + 8));
    assert_eq!(rig.read(4096, 4096), MEDIUM, "not what parity and slot 0 make of it");
    rig.write(4096, &data[4096..]).unwrap_err();
    for full in [0, 2] {
        faults(&mut rig, full).set_full(false);
    }
    rig.array_mut().start_pending();
    rig.settle();
    let seen = rig.read(0, 8192).unwrap();
    assert_eq!(seen[4096..], data[4096..], "written again by the write that met no room elsewhere");
    rig.array_mut().fail_member(1).unwrap();
    assert_eq!(rig.read(0, 8192).unwrap(), seen, "after the resync parity stands in again");
}

#[test]
fn without_redundancy_a_failed_flush_is_an_error() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid0, 2));
    rig.write(0, &[1; 8192]).unwrap();
    let rule = Rule::new(Kinds::FLUSH, Effect::Fail(Fault::Transport)).times(1);
    faults(&mut rig, 1).add(rule);
    assert!(rig.flush().is_err());
    assert!(rig.flush().is_err(), "what was not made durable then is still not");
}

#[test]
fn a_member_that_takes_no_writes_any_more_fails() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        faults(&mut rig, 1).set_read_only(true);
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(state(&rig, 1), MemberState::Faulty, "{recipe:?}");
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_write_torn_by_a_failing_member_is_whole_in_the_array() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let torn = Effect::Torn(Err(Fault::Transport));
        faults(&mut rig, 1).add(Rule::new(Kinds::WRITE, torn).at(DATA..u64::MAX));
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert!(faults(&mut rig, 1).tally().torn > 0);
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
    }
}

#[test]
fn a_lost_write_is_found_by_a_check() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        let lost = Rule::new(Kinds::WRITE, Effect::Lost).at(DATA..DATA + 8).times(1);
        faults(&mut rig, 1).add(lost);
        let data = noise(8, rig.size());
        rig.write(0, &data).unwrap();
        assert_eq!(faults(&mut rig, 1).tally().lost, 1, "{recipe:?}");
        assert!(rig.check() > 0, "{recipe:?}");
    }
}

#[test]
fn a_failed_member_is_asked_nothing_any_more() {
    for recipe in redundant() {
        let (mut rig, _) = filled(&recipe);
        rig.array_mut().fail_member(1).unwrap();
        rig.settle();
        rig.device(1).clear();
        rig.write(0, &noise(8, 32768)).unwrap();
        rig.read_all().unwrap();
        rig.flush().unwrap();
        let asked = [Kind::Read, Kind::Write, Kind::Flush];
        let asked = asked.map(|kind| rig.device(1).of(kind).count());
        assert_eq!(asked, [0; 3], "{recipe:?}");
    }
}
