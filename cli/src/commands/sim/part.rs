//! The result of a shard as a file, and what makes files parts of one campaign.
//!
//! A part names its campaign in full: the plan, the seeds, how they were cut, and the *engine*,
//! known by what it does: the sum of the histories of a few fixed seeds. Two programs that behave
//! differently anywhere in those differ there, whatever their version says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_sim::campaign::{Campaign, Failure as Failed, Shard, Summary, run_seeds};
use holdfast_sim::run::{Mark, Marks, Oracle, Violation};
use holdfast_sim::script::Mode;
use holdfast_sim::swarm::Profile;
use serde::{Deserialize, Serialize};

use super::write_text;
use crate::exit::Failure;
use crate::text;

const FORMAT: &str = "holdfast-sim/1";

/// Seeds by whose histories an engine is known.
const CANARIES: u64 = 8;

/// What all parts of a campaign have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    format: String,
    version: String,
    /// See the [module](self).
    engine: String,
    pub(super) plan: String,
    pub(super) first_seed: u64,
    /// Of the whole campaign.
    pub(super) seeds: u64,
    pub(super) twice: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sums {
    seeds: u64,
    disk_answers: u64,
    /// The sum of all histories, in hexadecimal.
    history: String,
    /// Runs by what they met.
    met: BTreeMap<String, u64>,
    failures: Vec<Found>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    seed: u64,
    oracle: u8,
    line: usize,
    detail: String,
}

/// A shard's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    #[serde(flatten)]
    pub(super) common: Common,
    shard: u32,
    shards: u32,
    found: Sums,
}

impl Common {
    /// Of a campaign with this program.
    pub(super) fn of(campaign: &Campaign) -> Self {
        let canaries = |mode| run_seeds(Profile::Small, mode, 0, CANARIES).hash;
        let engine = canaries(Mode::Within).wrapping_add(canaries(Mode::Beyond));
        Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: format!("{engine:016x}"),
            plan: campaign.plan.to_string(),
            first_seed: campaign.first_seed,
            seeds: campaign.seeds,
            twice: campaign.twice,
        }
    }
}

impl Part {
    /// What a shard came to.
    pub(super) fn new(campaign: &Campaign, shard: Shard, summary: &Summary) -> Self {
        let (index, count) = (shard.index(), shard.count());
        Self { common: Common::of(campaign), shard: index, shards: count, found: summary.into() }
    }

    /// Leaves it in a directory.
    pub(super) fn save(&self, directory: &Path) -> Result<PathBuf, Failure> {
        let name = format!("shard-{:05}-of-{:05}.json", self.shard, self.shards);
        let path = directory.join(name);
        let text = serde_json::to_string_pretty(self).expect("parts are plain structs");
        write_text(&path, &(text + "\n"))?;
        Ok(path)
    }

    /// Reads one back, and checks that it is what it says.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::error(format!("{}: {why}", path.display()));
        let part: Self = serde_json::from_str(&text::read(path)?)
            .map_err(|error| refuse(format!("no result of a shard: {error}")))?;
        if part.common.format != FORMAT {
            return Err(refuse(format!("its format is {:?}, not {FORMAT:?}", part.common.format)));
        }
        let shard = part.shard().ok_or_else(|| refuse("there is no such shard".to_owned()))?;
        let Common { first_seed, seeds, .. } = part.common;
        if first_seed.checked_add(seeds).is_none() {
            return Err(refuse("there are no such seeds".to_owned()));
        }
        let seeds = shard.of(first_seed, seeds);
        let whole = part.found.seeds == seeds.end - seeds.start;
        if !whole || !part.found.failures.iter().all(|found| seeds.contains(&found.seed)) {
            return Err(refuse(format!("shard {shard} has other seeds")));
        }
        Ok(part)
    }

    /// Which part it is.
    pub(super) fn shard(&self) -> Option<Shard> {
        Shard::new(self.shard, self.shards)
    }

    /// What was found.
    pub(super) fn summary(&self) -> Result<Summary, String> {
        Summary::try_from(&self.found)
    }
}

impl From<&Summary> for Sums {
    fn from(summary: &Summary) -> Self {
        let met = |mark: Mark| (mark.text().to_owned(), summary.marks.count(mark));
        let found = |failed: &Failed| Found {
            seed: failed.seed,
            oracle: failed.violation.oracle as u8,
            line: failed.violation.line,
            detail: failed.violation.detail.clone(),
        };
        Self {
            seeds: summary.seeds,
            disk_answers: summary.steps,
            history: format!("{:016x}", summary.hash),
            met: Mark::ALL.into_iter().map(met).collect(),
            failures: summary.failures.iter().map(found).collect(),
        }
    }
}

impl TryFrom<&Sums> for Summary {
    type Error = String;

    fn try_from(sums: &Sums) -> Result<Self, String> {
        let mut marks = Marks::default();
        for (name, runs) in &sums.met {
            let mark = Mark::ALL.into_iter().find(|mark| mark.text() == name);
            marks.add(mark.ok_or_else(|| format!("nothing is called {name:?}"))?, *runs);
        }
        let failure = |found: &Found| {
            let oracle = Oracle::from_number(found.oracle)
                .ok_or_else(|| format!("there is no oracle {}", found.oracle))?;
            let (detail, line) = (found.detail.clone(), found.line);
            Ok(Failed { seed: found.seed, violation: Violation { oracle, detail, line } })
        };
        Ok(Self {
            seeds: sums.seeds,
            failures: sums.failures.iter().map(failure).collect::<Result<_, String>>()?,
            marks,
            steps: sums.disk_answers,
            hash: u64::from_str_radix(&sums.history, 16)
                .map_err(|_| format!("{:?} is no history", sums.history))?,
        })
    }
}
