//! Bonds in a network that fails: a short campaign, and every planted defect.

use holdfast_bond::Defect;
use holdfast_sim::arena::{Arena, Failure, Seeds};
use holdfast_sim::net::campaign::{Bonds, shrink};
use holdfast_sim::net::swarm::draw;
use holdfast_sim::net::world::{run, run_with};

/// Seeds that show a defect each. When the swarm draws otherwise than it did, `holdfast
/// sim bond --mutants` finds others.
const SHOWN: [(Defect, u64); Defect::ALL.len()] = [
    (Defect::ThresholdOffByOne, 13),
    (Defect::DownDelayIgnored, 8),
    (Defect::UpDelayWithNoneUp, 861),
    (Defect::ReplyOnWrongMember, 18),
    (Defect::AnyFrameValidates, 324),
    (Defect::NoAnnouncementOnFailback, 7),
    (Defect::OneAnnouncementShort, 1),
    (Defect::BothActive, 13),
    (Defect::BackupsHandUp, 1),
    (Defect::CarrierStays, 9),
    (Defect::HashOverAll, 8),
    (Defect::RateIgnored, 599),
    (Defect::ExpiredStillDistributes, 82),
    (Defect::PrimaryForgotten, 15),
];

fn tell(failure: &Failure) -> String {
    let script = Bonds::story(failure.seed, None).join("\n");
    format!("seed {}: {}\n{script}", failure.seed, failure.broken)
}

#[test]
fn a_campaign_breaks_no_promise() {
    let summary = Seeds::of(0..400).run::<Bonds>();
    assert!(summary.failures.is_empty(), "{}", tell(&summary.failures[0]));
    // It was not idle: service was demanded, and outages that no monitor sees were predicted.
    for (what, least) in [
        ("settled, and served", 1000),
        ("settled, and out as predicted", 50),
        ("changes of who carries traffic", 500),
    ] {
        assert!(summary.met(what) > least, "{what}: {summary:?}");
    }
}

/// Seeds that found something once: ports that carried traffic without a partner went on when they
/// had one that did not agree yet.
#[test]
fn seeds_that_broke_a_promise_once_keep_it_now() {
    for seed in [30_497, 33_264] {
        let summary = Seeds::of(seed..seed + 1).run::<Bonds>();
        assert!(summary.failures.is_empty(), "{}", tell(&summary.failures[0]));
    }
}

#[test]
fn a_run_is_the_same_again() {
    let seeds = Seeds { twice: true, ..Seeds::of(0..12) };
    assert_eq!(seeds.run::<Bonds>().failures, []);
}

#[test]
fn every_planted_defect_is_seen_and_the_sound_bond_is_not_accused() {
    assert_eq!(SHOWN.map(|(defect, _)| defect), Defect::ALL);
    for (defect, seed) in SHOWN {
        let script = draw(seed);
        assert!(run_with(&script, defect).violation.is_some(), "{defect} goes unnoticed");
        assert_eq!(run(&script).violation, None, "accused by the script of {defect}");
    }
}

#[test]
fn a_script_that_shows_a_defect_can_be_made_small() {
    let (defect, seed) = SHOWN[7];
    let script = draw(seed);
    let oracle = run_with(&script, defect).violation.expect("seen").oracle;
    let small = shrink(&script, defect, oracle);
    assert!(small.steps.len() <= script.steps.len());
    assert_eq!(run_with(&small, defect).violation.map(|found| found.oracle), Some(oracle));
}
