//! Campaigns over what a seed alone describes: bonds in a network, maps over a fabric.
//!
//! Like [`campaign`](crate::campaign) for arrays: seeds run on all processors, sums do not depend on
//! the order, and a panic is a broken promise.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdfast_core::defects::Planted;
use holdfast_core::time::Duration;
use rayon::prelude::*;

/// Something that runs, and is judged, as a seed says.
pub trait Arena {
    /// The mistakes that can be planted into it.
    type Defect: Planted;

    /// The kinds of runs there are, by name.
    const KINDS: &'static [&'static str];

    /// Of which kind a seed's run is.
    fn kind(seed: u64) -> &'static str;

    /// Runs a seed, with a mistake planted or as it should be.
    fn play(seed: u64, defect: Option<Self::Defect>) -> Played;

    /// What happens in a run that breaks a promise, for people: as little as shows it.
    fn story(seed: u64, defect: Option<Self::Defect>) -> Vec<String>;
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// The first promise that was broken, and how.
    pub broken: Option<String>,
    /// How long it was, in virtual time.
    pub lasted: Duration,
    /// A hash of what happened.
    pub hash: u64,
    /// What it met, and how often.
    pub met: Vec<(&'static str, u64)>,
}

/// A seed whose run broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promise, and how it was broken.
    pub broken: String,
}

/// What a campaign found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed, in order.
    pub failures: Vec<Failure>,
    /// Virtual time.
    pub lasted: Duration,
    /// The sum of all runs' hashes.
    pub hash: u64,
    /// What runs met, and how often.
    pub met: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn of(seed: u64, played: Played) -> Self {
        let failure = played.broken.map(|broken| Failure { seed, broken });
        Self {
            seeds: 1,
            failures: failure.into_iter().collect(),
            lasted: played.lasted,
            hash: played.hash,
            met: played.met.into_iter().collect(),
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.lasted += other.lasted;
        self.hash = self.hash.wrapping_add(other.hash);
        for (what, times) in other.met {
            *self.met.entry(what).or_default() += times;
        }
        self
    }

    /// How often something was met.
    pub fn met(&self, what: &str) -> u64 {
        self.met.get(what).copied().unwrap_or(0)
    }
}

/// Seeds to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// Which.
    pub range: Range<u64>,
    /// Only those of one kind.
    pub kind: Option<&'static str>,
    /// Every one is run twice and must have the same history.
    pub twice: bool,
}

impl Seeds {
    /// These, each once.
    pub const fn of(range: Range<u64>) -> Self {
        Self { range, kind: None, twice: false }
    }

    fn wants<A: Arena>(&self, seed: u64) -> bool {
        self.kind.is_none_or(|kind| A::kind(seed) == kind)
    }

    /// Runs them.
    pub fn run<A: Arena>(&self) -> Summary {
        self.run_while::<A>(|| true, |_| {})
    }

    /// Runs them, beginning with no further one once `go_on` says no; `each` hears of every one, from
    /// whatever thread ran it, and whether it failed.
    pub fn run_while<A: Arena>(
        &self,
        go_on: impl Fn() -> bool + Sync,
        each: impl Fn(bool) + Sync,
    ) -> Summary {
        let one = |seed| {
            if !go_on() {
                return Summary::default();
            }
            let summary = match self.wants::<A>(seed) {
                true => Summary::of(seed, guarded::<A>(seed, None, self.twice)),
                false => Summary::default(),
            };
            each(!summary.failures.is_empty());
            summary
        };
        self.range.clone().into_par_iter().map(one).reduce(Summary::default, Summary::merge)
    }

    /// The first of them that shows a defect and does not accuse what is sound.
    pub fn hunt<A: Arena>(&self, defect: A::Defect) -> Option<Failure> {
        self.range.clone().into_par_iter().find_map_first(|seed| {
            let broken = self.wants::<A>(seed).then(|| accuse::<A>(seed, Some(defect)))??;
            accuse::<A>(seed, None).is_none().then_some(Failure { seed, broken })
        })
    }
}

/// The promise that a seed's run breaks.
pub fn accuse<A: Arena>(seed: u64, defect: Option<A::Defect>) -> Option<String> {
    guarded::<A>(seed, defect, false).broken
}

fn guarded<A: Arena>(seed: u64, defect: Option<A::Defect>, twice: bool) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut played = A::play(seed, defect);
        if twice && played.broken.is_none() && A::play(seed, defect) != played {
            played.broken = Some("Determinism: another run, another history".to_owned());
        }
        played
    }));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let broken = Some(format!("panic: {}", text.unwrap_or("without a word")));
        Played { broken, ..Played::default() }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    mod planted {
        holdfast_core::defects! {
            Sevens "sevens" "Sevens are taken for wrong.", "sevens are right.";
        }
    }

    use planted::Defect;

    /// Breaks at 3, panics at 5, is another one at every look at 9; accuses everybody at 14.
    struct Toy;

    static LOOKS: AtomicU64 = AtomicU64::new(0);

    impl Arena for Toy {
        type Defect = Defect;
        const KINDS: &'static [&'static str] = &["even", "odd"];

        fn kind(seed: u64) -> &'static str {
            Self::KINDS[(seed % 2) as usize]
        }

        fn play(seed: u64, defect: Option<Defect>) -> Played {
            assert!(seed != 5, "five");
            let wrong = matches!(seed, 3 | 14) || defect.is_some() && seed.is_multiple_of(7);
            let hash = if seed == 9 { LOOKS.fetch_add(1, Ordering::Relaxed) } else { seed };
            let (broken, lasted) = (wrong.then(|| "wrong".to_owned()), Duration::from_secs(1));
            Played { broken, lasted, hash, met: vec![("seeds", 1)] }
        }

        fn story(_: u64, _: Option<Defect>) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_campaign_names_each_seed_that_fails_and_why() {
        let mut seeds = Seeds { twice: true, ..Seeds::of(0..13) };
        let found = seeds.run::<Toy>();
        assert_eq!(
            (found.seeds, found.lasted, found.met("seeds")),
            (13, Duration::from_secs(12), 12)
        );
        let failed: Vec<_> = found.failures.iter().map(|f| (f.seed, &f.broken[..])).collect();
        assert_eq!(failed[..2], [(3, "wrong"), (5, "panic: five")]);
        assert!(failed[2].0 == 9 && failed[2].1.starts_with("Determinism"), "{failed:?}");
        seeds.kind = Some("even");
        let found = seeds.run::<Toy>();
        assert_eq!((found.seeds, found.failures.len()), (7, 0));
    }

    #[test]
    fn a_defect_is_shown_by_a_seed_that_does_not_accuse_what_is_sound() {
        let hunt = |range| Seeds::of(range).hunt::<Toy>(Defect::Sevens).map(|found| found.seed);
        assert_eq!((hunt(1..30), hunt(8..30), hunt(8..21)), (Some(7), Some(21), None));
    }
}
