//! Devices on trial: a toy with a bug, the real engine with and without, arrays over arrays.

use holdfast_core::block::{BlockDevice, MemDisk};
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::{
    Assembled, Config, Defect, Defects, Level, Options, Sound, assemble_with, scan,
};
use holdfast_sim::decor::{Latency, Slow};
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rig::Rig;
use holdfast_sim::run::Oracle;
use holdfast_sim::trial::{Bounds, Promise, SharedDisk, Trial};
use holdfast_sim::world::VirtualClock;

#[expect(dead_code, reason = "an example has a main of its own")]
#[path = "../examples/toy_mirror.rs"]
mod toy_mirror;

#[test]
fn the_bug_in_the_toy_mirror_is_found_and_told_in_a_few_lines() {
    let found = toy_mirror::find().expect("a copy that missed a write is read sooner or later");
    assert!(matches!(found.violation.oracle, Oracle::Durability | Oracle::Stability), "{found}");
    assert!(found.history.len() <= 8, "{found}");
    let source = include_str!("../examples/toy_mirror.rs");
    assert!(source.lines().count() < 50, "the example has grown");
}

type Built<D, X> = Result<Assembled<D, X>, String>;

/// An array from what the devices hold.
fn array<D: BlockDevice, X: Defects>(
    mut devices: Vec<D>,
    clock: &mut VirtualClock,
    defects: X,
) -> Built<D, X> {
    let probes = scan(&mut devices, clock);
    let config = Config { max_read_errors: u32::MAX, ..Config::default() };
    let array = assemble_with(probes, config, &Options::default(), defects);
    Ok(Assembled::new(array.map_err(|error| error.to_string())?, devices))
}

fn images(disks: &[MemDisk]) -> Vec<Vec<u8>> {
    disks.iter().map(|disk| disk.bytes().to_vec()).collect()
}

fn promise(images: &[Vec<u8>], tolerance: usize) -> Promise {
    Promise { disks: images.len(), disk_sectors: images[0].len() as u64 / 512, tolerance }
}

/// What a level bears: power cuts with disks missing leave parity a write hole, so there crashes
/// and losses come one without the other.
fn bounds(level: Level) -> Vec<Bounds> {
    let usual = Bounds::default();
    match level {
        Level::Raid5 | Level::Raid6 => {
            vec![Bounds { crashes: 0, ..usual }, Bounds { faults: 0, crashes: 2, ..usual }]
        }
        _ => vec![usual],
    }
}

#[test]
fn arrays_keep_their_promises_as_any_other_device() {
    for (level, members, tolerance) in
        [(Level::Raid1, 2, 1), (Level::Raid5, 3, 1), (Level::Raid6, 4, 2), (Level::Raid10, 4, 1)]
    {
        let images = images(&Recipe::of(level, members).disks());
        for bounds in bounds(level) {
            let trial =
                Trial::new(promise(&images, tolerance), |disks, clock| array(disks, clock, Sound));
            let found = trial.on(images.clone()).within(bounds).search(0..60);
            assert!(found.is_none(), "{level}: {}", found.unwrap());
        }
    }
}

#[test]
fn planted_defects_are_found_in_arrays_as_in_any_other_device() {
    for defect in [Defect::AckBeforeFlush, Defect::WriteErrorSwallowed, Defect::ResyncForgotten] {
        let images = images(&Recipe::of(Level::Raid1, 2).disks());
        let trial = Trial::new(promise(&images, 1), |disks, clock| array(disks, clock, defect));
        let found = trial.on(images).search(0..3000);
        assert!(found.is_some(), "{defect} goes unnoticed");
    }
}

/// Beyond its promise a device may answer with errors, and never with wrong data.
#[test]
fn beyond_their_promise_arrays_are_honest() {
    let images = images(&Recipe::of(Level::Raid1, 3).disks());
    let bounds = Bounds { faults: 6, ..Bounds::default() };
    let trial = Trial::new(promise(&images, 1), |disks, clock| array(disks, clock, Sound));
    let found = trial.on(images).within(bounds).beyond().search(0..60);
    assert!(found.is_none(), "{}", found.unwrap());
}

/// Sectors of data on the disks of an inner mirror.
const INNER: u64 = 512;

/// The disks of an array whose members are mirrors of two.
fn over_mirrors(outer: &Recipe) -> Vec<Vec<u8>> {
    let outer = outer.clone().sectors(INNER - outer.data_offset);
    let mut all = Vec::new();
    for member in outer.disks() {
        let mut mirror = Rig::start(Recipe::of(Level::Raid1, 2).sectors(INNER).disks());
        mirror.write(0, member.bytes()).expect("a healthy mirror takes writes");
        all.extend(images(&mirror.stop()));
    }
    all
}

type Nested<X> = Assembled<Assembled<SharedDisk, X>, X>;

fn nested<X: Defects>(
    disks: Vec<SharedDisk>,
    clock: &mut VirtualClock,
    defects: X,
) -> Result<Nested<X>, String> {
    let mirrors: Result<Vec<_>, String> =
        disks.chunks(2).map(|pair| array(pair.to_vec(), clock, defects)).collect();
    array(mirrors?, clock, defects)
}

#[test]
fn arrays_over_arrays_keep_their_promises() {
    for (level, members) in [(Level::Raid0, 2), (Level::Raid5, 3)] {
        let images = over_mirrors(&Recipe::of(level, members));
        let trial = Trial::new(promise(&images, 1), |disks, clock| nested(disks, clock, Sound));
        let found = trial.on(images).search(0..40);
        assert!(found.is_none(), "{level} over mirrors: {}", found.unwrap());
    }
}

#[test]
fn a_defect_in_the_middle_of_a_stack_is_found_from_above() {
    let images = over_mirrors(&Recipe::of(Level::Raid0, 2));
    let defect = Defect::AckBeforeFlush;
    let trial = Trial::new(promise(&images, 1), |disks, clock| nested(disks, clock, defect));
    assert!(trial.on(images).search(0..400).is_some());
}

/// A decorator between array and disks changes when things happen, not what is promised.
#[test]
fn arrays_over_decorators_keep_their_promises() {
    let images = images(&Recipe::of(Level::Raid1, 2).disks());
    let trial = Trial::new(promise(&images, 1), |disks: Vec<SharedDisk>, clock| {
        let latency = Latency::between(Duration::ZERO, Duration::from_millis(2));
        let slow =
            (0..).zip(disks).map(|(number, disk)| Slow::new(disk, latency, Rng::stream(9, number)));
        let slow: Vec<_> = slow.collect();
        array(slow, clock, Sound)
    });
    let found = trial.on(images).search(0..40);
    assert!(found.is_none(), "{}", found.unwrap());
}

#[test]
fn a_seed_is_one_history() {
    let promise = Promise { disks: 2, disk_sectors: 64, tolerance: 1 };
    let bounds = Bounds { silent: true, ..Bounds::default() };
    for seed in 0..20 {
        assert_eq!(bounds.draw(&promise, 64, seed), bounds.draw(&promise, 64, seed));
    }
    assert_ne!(bounds.draw(&promise, 64, 1), bounds.draw(&promise, 64, 2));
}

mod strategies {
    use super::*;
    use holdfast_sim::script::Act;
    use holdfast_sim::trial::strategy::{faults, histories};
    use proptest::prelude::*;
    use proptest::test_runner::{TestError, TestRunner};

    const DISK: Promise = Promise { disks: 2, disk_sectors: 256, tolerance: 1 };

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_mirror_bears_whatever_proptest_thinks_of(history in histories(Bounds::default(), &DISK, 128)) {
            let images = images(&Recipe::of(Level::Raid1, 2).disks());
            let trial = Trial::new(promise(&images, 1), |disks, clock| array(disks, clock, Sound));
            prop_assert_eq!(trial.on(images).run(1, &history), None);
        }

        #[test]
        fn fault_plans_keep_to_their_bounds(plan in faults(Bounds { faults: 4, ..Bounds::default() }, &DISK)) {
            prop_assert!(plan.len() <= 4 && plan.iter().all(Act::is_fault));
        }
    }

    #[test]
    fn proptest_shrinks_what_shows_a_defect() {
        let images = images(&Recipe::of(Level::Raid1, 2).disks());
        let trial = Trial::new(promise(&images, 1), |disks, clock| {
            array(disks, clock, Defect::AckBeforeFlush)
        })
        .on(images);
        let config =
            ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        let strategy = histories(Bounds::default(), &DISK, 128);
        let found = runner.run(&strategy, |history| match trial.run(1, &history) {
            None => Ok(()),
            Some(violation) => Err(TestCaseError::fail(violation.to_string())),
        });
        let Err(TestError::Fail(_, history)) = found else { panic!("never found: {found:?}") };
        assert!(history.len() <= 6, "{history:?}");
    }
}
