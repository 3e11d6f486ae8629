//! What the words after `holdfast sim` mean.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_raid::Defect;
use holdfast_sim::campaign::Shard;
use holdfast_sim::script::Mode;
use holdfast_sim::swarm::Profile;

use super::Stream;
use crate::args::{
    ModeWord, ProfileWord, SimArenaArgs, SimCoverageArgs, SimMergeArgs, SimMutantsArgs,
    SimReplayArgs, SimRunArgs, SimShrinkArgs, SimTableArgs, SimVerb,
};

/// What to do with the simulator.
#[derive(Debug)]
pub(crate) enum Sim {
    Run(SimRun),
    Replay(SimReplay),
    Shrink(SimShrink),
    Table(SimTable),
    Merge(SimMerge),
    Mutants(SimMutants),
    Coverage(SimCoverage),
    Bond(SimArena),
    Multipath(SimArena),
}

/// A campaign, or a shard of one.
#[derive(Debug)]
pub(crate) struct SimRun {
    pub(crate) plan: Option<PathBuf>,
    /// Instead of the plan's.
    pub(crate) profile: Option<Profile>,
    /// Instead of the plan's.
    pub(crate) mode: Option<Mode>,
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    /// Nothing is begun after so much time.
    pub(crate) limit: Option<Duration>,
    pub(crate) shard: Shard,
    pub(crate) twice: bool,
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct SimReplay {
    pub(crate) trace: PathBuf,
    pub(crate) timeline: bool,
}

#[derive(Debug)]
pub(crate) struct SimShrink {
    pub(crate) trace: PathBuf,
    pub(crate) output: Stream,
    pub(crate) budget: u32,
}

/// Which tables to fill in.
#[derive(Debug)]
pub(crate) struct SimTable {
    pub(crate) faults: bool,
    pub(crate) schemes: bool,
    pub(crate) losses: bool,
    pub(crate) images: bool,
}

#[derive(Debug)]
pub(crate) struct SimMerge {
    pub(crate) directory: PathBuf,
    pub(crate) expect: u32,
    pub(crate) output: Option<PathBuf>,
}

/// Defects to hunt.
#[derive(Debug)]
pub(crate) struct SimMutants {
    pub(crate) profile: Profile,
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    pub(crate) seconds: u64,
    /// Only say what they are.
    pub(crate) list: bool,
    pub(crate) out: Option<PathBuf>,
    pub(crate) defects: Vec<Defect>,
}

/// A campaign for the sake of what it meets.
#[derive(Debug)]
pub(crate) struct SimCoverage {
    pub(crate) profile: Profile,
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    pub(crate) cells: bool,
}

/// A campaign of bonds or maps, or a hunt in them.
#[derive(Debug)]
pub(crate) struct SimArena {
    pub(crate) mode: Option<String>,
    pub(crate) first_seed: u64,
    pub(crate) seeds: u64,
    pub(crate) limit: Option<Duration>,
    pub(crate) task: ArenaTask,
}

/// What to do with the seeds.
#[derive(Debug)]
pub(crate) enum ArenaTask {
    /// Judge each, run twice or once.
    Judge { twice: bool },
    /// Hunt these defects; none named: all.
    Hunt(Vec<String>),
    /// Say what defects there are.
    List,
}

impl From<SimArenaArgs> for SimArena {
    fn from(args: SimArenaArgs) -> Self {
        let task = match args.mutants {
            _ if args.list => ArenaTask::List,
            Some(names) => ArenaTask::Hunt(names),
            None => ArenaTask::Judge { twice: args.twice },
        };
        Self {
            mode: args.mode,
            first_seed: args.seed,
            seeds: args.seeds,
            limit: args.seconds.map(Duration::from_secs),
            task,
        }
    }
}

impl From<ProfileWord> for Profile {
    fn from(word: ProfileWord) -> Self {
        match word {
            ProfileWord::Small => Self::Small,
            ProfileWord::Medium => Self::Medium,
        }
    }
}

impl From<SimVerb> for Sim {
    fn from(verb: SimVerb) -> Self {
        match verb {
            SimVerb::Run(run) => Self::Run(run.into()),
            SimVerb::Replay(SimReplayArgs { trace, timeline }) => {
                Self::Replay(SimReplay { trace, timeline })
            }
            SimVerb::Shrink(SimShrinkArgs { trace, output, budget }) => {
                Self::Shrink(SimShrink { trace, output: output.into(), budget })
            }
            SimVerb::Table(SimTableArgs { faults, schemes, losses, images }) => {
                let all = ![faults, schemes, losses, images].contains(&true);
                Self::Table(SimTable {
                    faults: faults || all,
                    schemes: schemes || all,
                    losses: losses || all,
                    images: images || all,
                })
            }
            SimVerb::Merge(SimMergeArgs { directory, expect, output }) => {
                Self::Merge(SimMerge { directory, expect, output })
            }
            SimVerb::Mutants(mutants) => Self::Mutants(mutants.into()),
            SimVerb::Coverage(SimCoverageArgs { profile, seed, seeds, cells }) => {
                let profile = profile.into();
                Self::Coverage(SimCoverage { profile, first_seed: seed, seeds, cells })
            }
            SimVerb::Bond(args) => Self::Bond(args.into()),
            SimVerb::Multipath(args) => Self::Multipath(args.into()),
        }
    }
}

impl From<SimMutantsArgs> for SimMutants {
    fn from(args: SimMutantsArgs) -> Self {
        let mut defects = args.defects;
        if defects.is_empty() {
            defects.extend(Defect::ALL);
        }
        Self {
            profile: args.profile.into(),
            first_seed: args.seed,
            seeds: args.seeds,
            seconds: args.seconds,
            list: args.list,
            out: args.out,
            defects,
        }
    }
}

impl From<SimRunArgs> for SimRun {
    fn from(run: SimRunArgs) -> Self {
        Self {
            plan: run.plan,
            profile: run.profile.map(Profile::from),
            mode: run.mode.map(|word| match word {
                ModeWord::Within => Mode::Within,
                ModeWord::Beyond => Mode::Beyond,
            }),
            first_seed: run.seed,
            seeds: run.seeds,
            limit: run.seconds.map(Duration::from_secs),
            shard: run.shard.unwrap_or(Shard::WHOLE),
            twice: run.twice,
            out: run.out,
        }
    }
}
