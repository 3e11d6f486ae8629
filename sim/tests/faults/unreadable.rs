//! Reads that fail.

use super::*;
use holdfast_sim::decor::{Effect, Kind, Kinds, Rule};

#[test]
fn a_read_error_is_answered_from_redundancy_written_again_and_counted() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        let home = home(&recipe);
        faults(&mut rig, home).add(Rule::latent(DATA..DATA + 8));
        assert_eq!(rig.read(0, 4096).unwrap(), data[..4096], "{recipe:?}");
        rig.settle();
        let tally = faults(&mut rig, home).tally();
        assert!(tally.failed > 0, "{recipe:?}: the error was met");
        assert_eq!(tally.healed_sectors, 8, "{recipe:?}");
        assert_eq!(member(&rig, home).corrected_reads, 1, "{recipe:?}");
        assert_eq!(state(&rig, home), MemberState::InSync);
        let corrected =
            |e: &Event| matches!(e, Event::ReadCorrected { member, .. } if *member == home);
        assert!(rig.take_events().iter().any(corrected), "{recipe:?}");
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn corrected_reads_are_remembered_across_a_stop() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2));
    faults(&mut rig, 0).add(Rule::latent(DATA..DATA + 8));
    rig.read_all().unwrap();
    rig.write(0, &[1; 512]).unwrap();
    let rig = open(at_rest(rig), Config::default()).unwrap();
    assert_eq!(member(&rig, 0).corrected_reads, 1);
}

#[test]
fn without_redundancy_a_read_error_is_an_error_of_that_block_only() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid0, 2));
    faults(&mut rig, 1).add(Rule::latent(DATA..DATA + 1));
    assert_eq!(rig.read(4096, 512), MEDIUM);
    assert_eq!(rig.read(0, 4096).unwrap(), data[..4096]);
    assert_eq!(rig.read(8192, 8192).unwrap(), data[8192..16384]);
    let names = |e: &Event| matches!(e, Event::RangeFailed { slots, .. } if *slots == [1]);
    assert!(rig.take_events().iter().any(names));
    assert_eq!(state(&rig, 1), MemberState::InSync);
}

#[test]
fn copies_bad_in_different_blocks_lose_nothing() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid1, 2));
    faults(&mut rig, 0).add(Rule::latent(DATA + 3..DATA + 5));
    faults(&mut rig, 1).add(Rule::latent(DATA + 16..DATA + 17));
    assert_eq!(rig.read(0, 32768).unwrap(), data[..32768]);
    assert!(faults(&mut rig, 0).rules().next().is_none(), "what was met is healed");
}

#[test]
fn parity_members_bad_in_different_rows_lose_nothing() {
    let mut recipe = Recipe::of(Level::Raid5, 3);
    recipe.chunk_sectors = 64;
    let (mut rig, data) = filled(&recipe);
    faults(&mut rig, 0).add(Rule::latent(DATA..DATA + 1));
    faults(&mut rig, 1).add(Rule::latent(DATA + 8..DATA + 9));
    faults(&mut rig, 2).add(Rule::latent(DATA + 16..DATA + 17));
    assert_eq!(rig.read(0, 65536).unwrap(), data[..65536]);
}

#[test]
fn members_bad_in_different_sectors_of_one_block_lose_nothing() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        for index in 0..recipe.members.len() as u64 {
            faults(&mut rig, index as usize).add(Rule::latent(DATA + index..DATA + index + 1));
        }
        for at in [0, 512, 1024, 1536] {
            assert_eq!(rig.read(at, 512).unwrap(), data[at..at + 512], "{recipe:?}: {at}");
        }
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        rig.check();
        assert_eq!(rig.check(), 0, "{recipe:?}");
    }
}

#[test]
fn a_row_beyond_saving_takes_no_neighbour_with_it() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid5, 3));
    for index in 0..2 {
        faults(&mut rig, index).add(Rule::latent(DATA + 3..DATA + 4));
    }
    for sector in 0..8 {
        let at = sector * 512;
        match rig.read(at, 512) {
            Ok(bytes) => assert_eq!(bytes, data[at..at + 512], "sector {sector}"),
            Err(fault) => assert_eq!((sector, fault), (3, Fault::Medium)),
        }
    }
    assert_eq!(rig.read(0, 4096), MEDIUM);
}

#[test]
fn two_bad_members_in_one_row_are_an_error_there_and_nowhere_else() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid5, 4));
    faults(&mut rig, 0).add(Rule::latent(DATA..DATA + 1));
    faults(&mut rig, 1).add(Rule::latent(DATA..DATA + 1));
    assert_eq!(rig.read(0, 4096), MEDIUM);
    assert_eq!(rig.read(8192, 4096).unwrap(), data[8192..12288]);
    assert_eq!(rig.read(12288, 12288).unwrap(), data[12288..24576], "the next stripe");
    assert_eq!(state(&rig, 0), MemberState::InSync);
}

#[test]
fn raid6_heals_two_bad_members_in_one_row() {
    let config = Config { max_read_errors: 1000, ..Config::default() };
    let (mut rig, data) = filled_with(&Recipe::of(Level::Raid6, 5), config);
    for slot in 0..2 {
        faults(&mut rig, slot).add(Rule::latent(DATA..DATA + 128));
    }
    assert_eq!(rig.read_all().unwrap(), data);
    assert_eq!(rig.check(), 0);
    assert!((0..2).all(|slot| faults(&mut rig, slot).rules().next().is_none()));
}

/// Meets the given number of read errors on member 0, one sector each.
fn meet_errors(rig: &mut Rig<Disk>, sectors: std::ops::Range<u64>) {
    for sector in sectors {
        faults(rig, 0).add(Rule::latent(DATA + sector..DATA + sector + 1));
        rig.read(sector as usize * 512, 512).expect("there is another copy");
    }
}

#[test]
fn more_than_twenty_read_errors_in_an_hour_fail_the_member() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2));
    meet_errors(&mut rig, 0..20);
    assert_eq!(state(&rig, 0), MemberState::InSync);
    meet_errors(&mut rig, 20..21);
    assert_eq!(state(&rig, 0), MemberState::Faulty);
    assert!(failed(&rig.take_events(), 0));
}

#[test]
fn read_errors_are_half_forgotten_every_hour() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid1, 2));
    meet_errors(&mut rig, 0..20);
    rig.pass(Duration::from_secs(3600));
    meet_errors(&mut rig, 20..30);
    assert_eq!(state(&rig, 0), MemberState::InSync, "20 became 10, and 10 more are 20");
    meet_errors(&mut rig, 30..31);
    assert_eq!(state(&rig, 0), MemberState::Faulty);
}

#[test]
fn the_sectors_of_a_bad_block_are_not_counted_one_by_one() {
    let (mut rig, _) = filled(&Recipe::of(Level::Raid6, 4));
    rig.array_mut().fail_member(3).unwrap();
    for index in [1, 2] {
        faults(&mut rig, index).add(Rule::latent(DATA..DATA + 8));
    }
    for _ in 0..5 {
        assert_eq!(rig.read(0, 4096), MEDIUM);
    }
    assert_eq!(state(&rig, 1), MemberState::InSync);
}

#[test]
fn the_limit_of_read_errors_can_be_set() {
    let config = Config { max_read_errors: 2, ..Config::default() };
    let (mut rig, _) = filled_with(&Recipe::of(Level::Raid1, 2), config);
    meet_errors(&mut rig, 0..3);
    assert_eq!(state(&rig, 0), MemberState::Faulty);
}

#[test]
fn read_errors_never_take_the_last_copy_out_of_service() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid1, 2));
    rig.array_mut().fail_member(1).unwrap();
    faults(&mut rig, 0).add(Rule::latent(DATA..DATA + 64));
    for sector in 0..64 {
        assert_eq!(rig.read(sector * 512, 512), MEDIUM);
    }
    assert_eq!(state(&rig, 0), MemberState::InSync);
    assert_eq!(rig.read(32768, 512).unwrap(), data[32768..33280]);
    rig.write(0, &data[..32768]).unwrap();
    assert_eq!(rig.read_all().unwrap(), data, "rewriting heals");
}

#[test]
fn a_path_that_fails_a_read_fails_its_member() {
    for recipe in redundant() {
        let (mut rig, data) = filled(&recipe);
        let rule = Rule::new(Kinds::READ, Effect::Fail(Fault::Transport));
        faults(&mut rig, 0).add(rule);
        assert_eq!(rig.read_all().unwrap(), data, "{recipe:?}");
        assert_eq!(state(&rig, 0), MemberState::Faulty);
    }
}

#[test]
fn a_block_that_cannot_be_rewritten_enters_the_log() {
    let (mut rig, data) = filled(&Recipe::of(Level::Raid1, 2));
    let broken = Kinds::of(&[Kind::Read, Kind::Write]);
    let medium = Effect::Fail(Fault::Medium);
    faults(&mut rig, 0).add(Rule::new(broken, medium).at(DATA + 2..DATA + 3));
    assert_eq!(rig.read(0, 4096).unwrap(), data[..4096]);
    rig.settle();
    assert_eq!((state(&rig, 0), member(&rig, 0).bad_sectors), (MemberState::InSync, 1));
    rig.device(0).clear();
    assert_eq!(rig.read(1024, 512).unwrap(), data[1024..1536]);
    assert_eq!(rig.device(0).count(Kind::Read, 0..u64::MAX), 0, "what is listed is not read");
}
