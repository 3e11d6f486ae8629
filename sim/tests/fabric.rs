//! Multipath under seeds: one disk behind several paths and two controllers.
//!
//! `HOLDFAST_FABRIC_SEEDS=100000` runs that many instead of a few hundred.

use holdfast_multipath::{Defect, Sound};
use holdfast_sim::fabric::{run, run_with};
use rayon::prelude::*;

fn seeds() -> u64 {
    let asked = std::env::var("HOLDFAST_FABRIC_SEEDS").ok();
    asked.map_or(400, |text| text.parse().expect("HOLDFAST_FABRIC_SEEDS is a number"))
}

#[test]
fn no_seed_breaks_a_promise() {
    let broken: Vec<String> = (0..seeds())
        .into_par_iter()
        .filter_map(|seed| Some(format!("seed {seed}: {}", run(seed).breach?)))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// What a seed found: a write that had left before another one was refused was answered late, and
/// taken for proof that the path takes writes again.
#[test]
fn an_answer_that_comes_after_a_refusal_proves_nothing() {
    assert_eq!(run(62_845).breach, None);
}

#[test]
fn a_seed_has_one_history() {
    for seed in 0..20 {
        assert_eq!(run(seed), run_with(seed, Sound), "seed {seed}");
    }
}

/// What the runs are made of: a swarm in which nothing is ever late proves nothing.
#[test]
fn the_swarm_meets_what_it_is_for() {
    let verdicts: Vec<_> = (0..60).map(run).collect();
    let sum = |of: fn(&holdfast_sim::fabric::Verdict) -> u64| verdicts.iter().map(of).sum::<u64>();
    assert!(sum(|v| v.held_back) > 100, "writes are held back by older ones");
    assert!(sum(|v| v.late) > 20, "answers are late");
    assert!(sum(|v| v.errors) > 100, "beyond redundancy there are errors");
    assert!(sum(|v| v.answers) > 5000);
}

/// Each defect, the first seed that shows it, and what is seen.
const KILLS: [(Defect, u64, &str); Defect::ALL.len()] = [
    (Defect::NaiveFailover, 33, "was replaced before the read began"),
    (Defect::GivenUpIsResolved, 11, "was replaced before the read began"),
    (Defect::ErrorIsAnAnswer, 76, "was replaced before the read began"),
    (Defect::FenceCoversNewSession, 6327, "was replaced before the read began"),
    (Defect::QueueForgottenAtFailover, 1, "is never answered"),
    (Defect::LateAnswerToAnybody, 49, "nobody wrote 4"),
    (Defect::CheckerTrustedOverData, 28, "known to be gray"),
    (Defect::FlushOnePathOnly, 17, "after a power cut, but a newer one was flushed"),
    (Defect::UnreachableCacheForgotten, 1, "after a power cut, but a newer one was flushed"),
    (Defect::FailbackFlaps, 247, "known to be gray"),
    (Defect::IdentityNotRechecked, 3, "a write reached another disk"),
    (Defect::NoPathNeverEnds, 45, "took"),
    (Defect::NeighboursDisturbed, 1, "nothing was ever wrong with it"),
    (Defect::DeadlineForgottenOnRetry, 3938, "took"),
];

#[test]
fn every_planted_defect_is_seen_and_the_sound_map_is_not_accused() {
    KILLS.par_iter().for_each(|(defect, seed, words)| {
        let breach = run_with(*seed, *defect).breach;
        let breach = breach.unwrap_or_else(|| panic!("{defect} goes unnoticed with seed {seed}"));
        assert!(breach.what.contains(words), "{defect}: {breach}");
        assert_eq!(run(*seed).breach, None, "the sound map, seed {seed}");
    });
}

/// The ghost write: given up on one path, acknowledged by another, replaced by newer data, and back
/// again. A map that does what everybody does loses the newer data; the sound one does not.
#[test]
fn naive_failover_lets_an_old_write_come_back_and_the_rule_does_not() {
    let breach = run_with(33, Defect::NaiveFailover).breach.expect("the ghost write");
    assert!(breach.what.contains("was replaced before the read began"), "{breach}");
    let sound = run(33);
    assert_eq!(sound.breach, None);
    assert!(sound.held_back > 0, "it was the rule that prevented it");
}
