//! Many seeds, on all processors.
//!
//! The only file, beside the tables, that knows of threads. Every run lives on one of them and depends on its seed
//! alone; sums are added up without regard to order, so a summary does not depend on how the work
//! was shared out: not on the number of threads, and not on how a campaign was cut into *shards*
//! that ran on different machines.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rayon::prelude::*;

use crate::plan::Plan;
use crate::run::{Mark, Marks, Oracle, Violation, run};
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

/// A campaign: what to draw runs from, and which seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// What runs are drawn from.
    pub plan: Plan,
    /// The first seed.
    pub first_seed: u64,
    /// How many there are.
    pub seeds: u64,
    /// Every run is run twice and must have the same history.
    pub twice: bool,
}

impl Campaign {
    /// Runs one seed.
    pub fn run_seed(&self, seed: u64) -> Summary {
        let script = swarm::planned(&self.plan, seed);
        let mut verdict = run(&script);
        if self.twice && verdict.violation.is_none() {
            let again = run(&script);
            if again != verdict {
                let detail = format!("history {:016x}, then {:016x}", verdict.hash, again.hash);
                let line = script.lines.len();
                verdict.violation = Some(Violation { oracle: Oracle::Determinism, detail, line });
            }
        }
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

    /// Runs a shard of the seeds; `each` hears of every one, from whatever thread ran it.
    pub fn run(&self, shard: Shard, each: impl Fn(&Summary) + Sync) -> Summary {
        self.run_while(shard, || true, each)
    }

    /// The same, beginning with no further seed once `go_on` says no: then the summary is that of
    /// those seeds that happened to be run.
    pub fn run_while(
        &self,
        shard: Shard,
        go_on: impl Fn() -> bool + Sync,
        each: impl Fn(&Summary) + Sync,
    ) -> Summary {
        let seeds = shard.of(self.first_seed, self.seeds);
        let one = |seed| {
            if !go_on() {
                return Summary::default();
            }
            let summary = self.run_seed(seed);
            each(&summary);
            summary
        };
        seeds.into_par_iter().map(one).reduce(Summary::default, Summary::merge)
    }
}

/// A part of a campaign: the `index`th of `count`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// The `index`th of `count`, from 1.
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index == 0 || index > count { None } else { Some(Self { index, count }) }
    }

    /// Which one, from 1.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Its seeds: all shards together have each of them once.
    pub fn of(self, first: u64, seeds: u64) -> Range<u64> {
        let at = |index: u32| {
            let before = u128::from(seeds) * u128::from(index) / u128::from(self.count);
            first + before as u64
        };
        at(self.index - 1)..at(self.index)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.parse().ok()?, count.parse().ok()?);
            Self::new(index, count)
        });
        numbers.ok_or_else(|| format!("{text:?} is no shard: the first of four is 1/4"))
    }
}

/// Runs one seed of the whole swarm.
pub fn run_seed(profile: Profile, mode: Mode, seed: u64) -> Summary {
    run_seeds(profile, mode, seed, 1)
}

/// Runs `count` seeds of the whole swarm from `first_seed` on.
pub fn run_seeds(profile: Profile, mode: Mode, first_seed: u64, count: u64) -> Summary {
    let plan = Plan::swarm(profile, mode);
    let campaign = Campaign { plan, first_seed, seeds: count, twice: false };
    campaign.run(Shard::WHOLE, |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_seeds_out_without_a_gap() {
        for count in 1..=9 {
            for seeds in [0, 1, 5, 100, u64::MAX - 7] {
                let mut next = 7;
                for index in 1..=count {
                    let part = Shard::new(index, count).unwrap().of(7, seeds);
                    assert_eq!(part.start, next);
                    next = part.end;
                }
                assert_eq!(next, 7 + seeds);
            }
        }
    }

    #[test]
    fn a_shard_is_counted_from_one() {
        assert_eq!("3/7".parse(), Ok(Shard::new(3, 7).unwrap()));
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_summary_does_not_depend_on_the_number_of_threads() {
        let campaign = Campaign { plan: Plan::default(), first_seed: 300, seeds: 24, twice: true };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| campaign.run(Shard::WHOLE, |_| {}))
        };
        assert_eq!(with(1), with(5));
    }
}
