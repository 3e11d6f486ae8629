//! Every crash image of up to ten unflushed blocks, and every interleaving of two overlapping
//! writes with a failure at every step, on each level that promises to survive them.

use holdfast_raid::{Defect, Level};
use holdfast_sim::exhaustive::duel::{Duel, Leaves};
use holdfast_sim::exhaustive::images::{CrashCase, Tally};
use holdfast_sim::recipe::Recipe;

fn case(level: Level, members: usize, writes: &[(u64, u64)]) -> CrashCase {
    CrashCase { recipe: Recipe::of(level, members), writes: writes.to_vec() }
}

/// Images of a case, and how many of them have members in agreement.
fn agreeing(case: &CrashCase) -> (usize, usize) {
    let Tally { images, disagreeing } = case.recover_every_image().unwrap();
    (images, images - disagreeing)
}

/// Each write is on both copies or on none: 2 of 4 images agree, five times over.
#[test]
fn a_mirror_recovers_from_every_image_of_five_writes() {
    let writes = [(0, 1), (3, 1), (8, 1), (9, 1), (40, 1)];
    assert_eq!(agreeing(&case(Level::Raid1, 2, &writes)), (1024, 32));
}

#[test]
fn a_raid10_recovers_from_every_image_of_five_writes() {
    let writes = [(0, 1), (9, 1), (17, 1), (26, 1), (33, 1)];
    assert_eq!(agreeing(&case(Level::Raid10, 4, &writes)), (1024, 32));
}

/// Each write in a stripe of its own: data and P both old or both new.
#[test]
fn a_raid5_recovers_from_every_image_of_five_writes() {
    let writes = [(0, 1), (17, 1), (34, 1), (48, 1), (65, 1)];
    assert_eq!(agreeing(&case(Level::Raid5, 3, &writes)), (1024, 32));
}

#[test]
fn a_raid6_recovers_from_every_image_of_three_writes() {
    let writes = [(0, 1), (17, 1), (34, 1)];
    assert_eq!(agreeing(&case(Level::Raid6, 4, &writes)), (512, 8));
}

/// One block written three times over has four contents.
#[test]
fn what_is_written_again_may_be_left_in_between() {
    let case = CrashCase { writes: vec![(0, 1); 3], ..case(Level::Raid1, 2, &[]) };
    assert_eq!(case.recover_every_image(), Ok(Tally { images: 16, disagreeing: 12 }));
}

fn duel(level: Level, members: usize, second: (u64, u64)) -> Duel {
    Duel { recipe: Recipe::of(level, members), first: (0, 8), second, deaths: true }
}

fn fought(duel: &Duel) -> Leaves {
    duel.fight().unwrap()
}

/// Two copies, two orders for each write; the second never overtakes the first.
#[test]
fn a_mirror_keeps_the_order_of_two_writes_whatever_fails_when() {
    let leaves = fought(&duel(Level::Raid1, 2, (4, 8)));
    assert_eq!(leaves.quiet, 4);
    assert!(leaves.deaths > leaves.quiet && leaves.cuts > leaves.quiet, "{leaves:?}");
}

#[test]
fn a_raid10_keeps_the_order_of_two_writes_whatever_fails_when() {
    let leaves = fought(&duel(Level::Raid10, 4, (4, 4)));
    assert_eq!(leaves.quiet, 4);
    assert!(leaves.deaths > leaves.quiet && leaves.cuts > leaves.quiet, "{leaves:?}");
}

/// One member is read for new parity, then data and parity go out in either order.
#[test]
fn a_raid5_keeps_the_order_of_two_writes_whatever_fails_when() {
    let leaves = fought(&duel(Level::Raid5, 3, (4, 4)));
    assert_eq!(leaves.quiet, 4);
    assert!(leaves.deaths > leaves.quiet && leaves.cuts > leaves.quiet, "{leaves:?}");
}

#[test]
fn a_raid6_keeps_the_order_of_two_writes_whatever_fails_when() {
    let leaves = fought(&duel(Level::Raid6, 4, (4, 4)));
    assert_eq!(leaves.quiet, 36);
    assert!(leaves.deaths > leaves.quiet && leaves.cuts > leaves.quiet, "{leaves:?}");
}

#[test]
fn every_order_finds_writers_that_do_not_exclude_each_other() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid10, 4)] {
        let duel = Duel { deaths: false, ..duel(level, members, (4, 4)) };
        let found = duel.fight_with(Defect::WritesUnordered);
        assert!(found.is_err(), "{level}: {found:?}");
    }
}

#[test]
fn every_leaf_is_judged() {
    for (level, members, defect) in [
        (Level::Raid1, 2, Defect::CopyOnWrongDisk),
        (Level::Raid5, 3, Defect::ParityNotWritten),
        (Level::Raid6, 4, Defect::ParityNotWritten),
    ] {
        let duel = Duel { deaths: false, ..duel(level, members, (4, 4)) };
        let found = duel.fight_with(defect);
        assert!(found.is_err(), "{level}, {defect}: {found:?}");
    }
}
