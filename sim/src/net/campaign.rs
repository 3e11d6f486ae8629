//! Many seeds, on all processors; hunts for planted defects.

use std::ops::Range;

use holdfast_bond::{Defect, Defects, Sound};
use holdfast_core::time::Duration;
use rayon::prelude::*;

use super::oracle::{Oracle, Violation};
use super::script::Script;
use super::swarm::draw;
use super::world::{Verdict, run, run_with};

/// A seed whose run broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promise.
    pub violation: Violation,
}

/// What a campaign found. Sums do not depend on the order of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed, in order.
    pub failures: Vec<Failure>,
    /// Virtual time.
    pub lasted: Duration,
    /// Changes of the active member or aggregator.
    pub switches: u64,
    /// Times service was demanded and there.
    pub served: u64,
    /// Times it was out as predicted.
    pub predicted: u64,
    /// The sum of all runs' hashes.
    pub hash: u64,
}

impl Summary {
    fn of(seed: u64, verdict: Verdict) -> Self {
        let failure = verdict.violation.map(|violation| Failure { seed, violation });
        Self {
            seeds: 1,
            failures: failure.into_iter().collect(),
            lasted: verdict.lasted,
            switches: verdict.switches,
            served: verdict.served,
            predicted: verdict.predicted,
            hash: verdict.hash,
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.lasted += other.lasted;
        self.switches += other.switches;
        self.served += other.served;
        self.predicted += other.predicted;
        self.hash = self.hash.wrapping_add(other.hash);
        self
    }
}

/// Runs one seed, `twice` to see whether it is the same again.
pub fn run_seed(seed: u64, twice: bool) -> Summary {
    let script = draw(seed);
    let mut verdict = run(&script);
    if twice && verdict.violation.is_none() && run(&script) != verdict {
        let at = holdfast_core::time::Instant::ZERO + verdict.lasted;
        let detail = "another run, another history".to_owned();
        verdict.violation = Some(Violation { oracle: Oracle::Determinism, at, detail });
    }
    Summary::of(seed, verdict)
}

/// Runs many seeds.
pub fn run_seeds(seeds: Range<u64>, twice: bool) -> Summary {
    seeds.into_par_iter().map(|seed| run_seed(seed, twice)).reduce(Summary::default, Summary::merge)
}

/// The first of these seeds that shows a defect, and how.
pub fn hunt(defect: Defect, seeds: Range<u64>) -> Option<Failure> {
    let shows = |seed: u64| {
        let violation = run_with(&draw(seed), defect).violation?;
        Some(Failure { seed, violation })
    };
    seeds.into_par_iter().find_map_first(shows)
}

/// The smallest part of a script's steps that breaks the same promise.
pub fn shrink<D: Defects>(script: &Script, defects: D, oracle: Oracle) -> Script {
    let fails = |script: &Script| {
        run_with(script, defects).violation.is_some_and(|found| found.oracle == oracle)
    };
    let mut best = script.clone();
    let mut at = 0;
    while at < best.steps.len() {
        let mut smaller = best.clone();
        smaller.steps.remove(at);
        if fails(&smaller) {
            best = smaller;
        } else {
            at += 1;
        }
    }
    best
}

/// The same for a sound bond.
pub fn shrink_sound(script: &Script, oracle: Oracle) -> Script {
    shrink(script, Sound, oracle)
}
