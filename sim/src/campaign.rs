//! Many seeds, on all processors.
//!
//! The only file that knows of threads. Every run lives on one of them and depends on its seed
//! alone; sums are added up in the order of seeds, so a summary does not depend on how the work was
//! shared out.

use rayon::prelude::*;

use crate::run::{Mark, Marks, Violation, run};
use crate::script::Mode;
use crate::swarm::{self, Profile};

/// A seed whose run broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promise.
    pub violation: Violation,
}

/// What a campaign found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed, in order.
    pub failures: Vec<Failure>,
    /// Runs that met each mark.
    pub marks: Marks,
    /// Answers of disks.
    pub steps: u64,
    /// The sum of all histories' hashes.
    pub hash: u64,
}

impl Summary {
    /// Marks no run has met.
    pub fn unmet(&self) -> Vec<Mark> {
        Mark::ALL.into_iter().filter(|mark| self.marks.count(*mark) == 0).collect()
    }

    /// Adds another part of the same campaign.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.marks.add_sums(&other.marks);
        self.steps += other.steps;
        self.hash = self.hash.wrapping_add(other.hash);
        self
    }
}

/// Runs one seed.
pub fn run_seed(profile: Profile, mode: Mode, seed: u64) -> Summary {
    let verdict = run(&swarm::script(profile, mode, seed));
    let mut marks = Marks::default();
    marks.add_run(&verdict.marks);
    let failure = verdict.violation.map(|violation| Failure { seed, violation });
    Summary {
        seeds: 1,
        failures: failure.into_iter().collect(),
        marks,
        steps: verdict.steps,
        hash: verdict.hash,
    }
}

/// Runs `count` seeds from `first_seed` on.
pub fn run_seeds(profile: Profile, mode: Mode, first_seed: u64, count: u64) -> Summary {
    (first_seed..first_seed + count)
        .into_par_iter()
        .map(|seed| run_seed(profile, mode, seed))
        .reduce(Summary::default, Summary::merge)
}
