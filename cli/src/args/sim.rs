//! What was typed after `holdfast sim`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_raid::Defect;
use holdfast_sim::campaign::Shard;

/// What to do with the simulator.
#[derive(Debug, Subcommand)]
pub(crate) enum SimVerb {
    /// Run seeds and judge them
    Run(SimRunArgs),
    /// Carry out a script again, and tell what happens
    Replay(SimReplayArgs),
    /// Make a failing script as small as it can be
    Shrink(SimShrinkArgs),
    /// Fill the tables of the fault model in by running the engine, and compare
    Table(SimTableArgs),
    /// Put the results of all shards of a campaign together
    Merge(SimMergeArgs),
    /// Plant known defects into the engine and see each of them found
    Mutants(SimMutantsArgs),
    /// Run seeds and tell which situations faults have met
    Coverage(SimCoverageArgs),
    /// Run seeds of bonds in a network that fails, and judge them
    Bond(SimArenaArgs),
    /// Run seeds of multipath maps over paths that fail, and judge them
    Multipath(SimArenaArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    pub(crate) verb: SimVerb,
}

#[derive(Debug, Args)]
pub(crate) struct SimRunArgs {
    /// What to draw runs from, in TOML [default: everything]
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// How large runs are [default: the plan's, or small]
    #[arg(long, value_enum)]
    pub(crate) profile: Option<ProfileWord>,
    /// Whether faults stay within what arrays bear [default: the plan's, or within]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeWord>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// Begin with no further seed after so many seconds
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["shard", "out"])]
    pub(crate) seconds: Option<u64>,
    /// Only the I-th of M equal parts, from 1
    #[arg(long, value_name = "I/M")]
    pub(crate) shard: Option<Shard>,
    /// Run every seed twice and compare the histories
    #[arg(long)]
    pub(crate) twice: bool,
    /// Leave the shard's result and the scripts of failures in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SimReplayArgs {
    /// Tell everything that happens, not only the end of what went wrong
    #[arg(long)]
    pub(crate) timeline: bool,
    /// The script
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SimShrinkArgs {
    /// Give up after so many runs
    #[arg(long, value_name = "RUNS", default_value_t = 5000)]
    pub(crate) budget: u32,
    /// Where to put the small script; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// The script
    #[arg(value_name = "TRACE")]
    pub(crate) trace: PathBuf,
}

// Without options all tables.
#[derive(Debug, Args)]
pub(crate) struct SimTableArgs {
    /// What each level makes of each fault
    #[arg(long)]
    pub(crate) faults: bool,
    /// What one partial fault does under each integrity scheme
    #[arg(long)]
    pub(crate) schemes: bool,
    /// Which sets of disks take data with them
    #[arg(long)]
    pub(crate) losses: bool,
    /// What a power cut can leave of a write
    #[arg(long)]
    pub(crate) images: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SimMergeArgs {
    /// How many shards there must be
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) expect: u32,
    /// Leave the merged result in this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Where the shards' results are
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SimMutantsArgs {
    /// How large runs are
    #[arg(long, value_enum, default_value = "small")]
    pub(crate) profile: ProfileWord,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds a defect may survive
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// How long a defect may survive
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Say what the defects are, and hunt none
    #[arg(long)]
    pub(crate) list: bool,
    /// Leave the shrunk scripts in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Only these [default: all]
    #[arg(value_name = "DEFECT")]
    pub(crate) defects: Vec<Defect>,
}

#[derive(Debug, Args)]
pub(crate) struct SimCoverageArgs {
    /// How large runs are
    #[arg(long, value_enum, default_value = "small")]
    pub(crate) profile: ProfileWord,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// Name every cell of the grid that was met, not only the sums
    #[arg(long)]
    pub(crate) cells: bool,
}

// What bonds and maps share: they have no plans, and their seeds are cheap.
#[derive(Debug, Args)]
pub(crate) struct SimArenaArgs {
    /// Only runs of this kind: a bond's mode, or how far a map's faults go
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// Begin with no further seed, and hunt no further defect, after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) seconds: Option<u64>,
    /// Run every seed twice and compare the histories
    #[arg(long, conflicts_with = "mutants")]
    pub(crate) twice: bool,
    /// Plant known defects, all or those named, and see each of them found
    #[arg(long, value_name = "DEFECT", num_args = 0..)]
    pub(crate) mutants: Option<Vec<String>>,
    /// Say what the defects are, and run nothing
    #[arg(long, conflicts_with_all = ["mutants", "twice"])]
    pub(crate) list: bool,
}

/// How large runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileWord {
    /// At most 6 disks of 64 chunks, 200 requests, 3 faults and one crash.
    Small,
    /// At most 12 disks of 4,096 chunks, 2,000 requests, 8 faults and 4 crashes.
    Medium,
}

/// Whether faults stay within what arrays bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeWord {
    /// They do: nothing may be lost, everything must recover.
    Within,
    /// They do not: what cannot be had is an error, never invented.
    Beyond,
}
