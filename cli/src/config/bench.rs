//! What the words after `holdfast bench` mean.

use std::collections::BTreeSet;
use std::path::PathBuf;

use holdfast_benches::load::{Limit, Pattern};
use holdfast_benches::model::Model;
use holdfast_benches::ostep::{Problem, Scheme, Workload};
use holdfast_benches::parity;
use holdfast_benches::stripe::Sweep;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_core::time::Duration;
use holdfast_raid::level::Level;
use holdfast_raid::parity::engines;

use super::Stream;
use crate::args::bench::{
    BenchArgs, BenchVerb, OstepArgs, ParityArgs, Raid5Word, StripeArgs, WorkloadWord,
};
use crate::exit::Failure;

/// What to measure, understood.
#[derive(Debug)]
pub(crate) enum Bench {
    Stripe(Box<Stripe>),
    Parity(Parity),
    Ostep(Ostep),
}

/// A comparison of parity engines.
#[derive(Debug)]
pub(crate) struct Parity {
    pub(crate) sweep: parity::Sweep,
    pub(crate) csv: Option<Stream>,
}

/// A comparison of chunk sizes.
#[derive(Debug)]
pub(crate) struct Stripe {
    pub(crate) sweep: Sweep,
    pub(crate) ground: Ground,
    pub(crate) csv: Option<Stream>,
    pub(crate) html: Option<PathBuf>,
}

/// What to measure on.
#[derive(Debug)]
pub(crate) enum Ground {
    /// Members under virtual time.
    Model { model: Model, members: u32 },
    /// Files made for the purpose.
    Directory { parent: PathBuf, members: u32, bytes: u64 },
    /// What the user named.
    Members { paths: Vec<PathBuf>, force: bool, yes: bool },
}

/// A problem of the homework, and how to pose it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ostep {
    pub(crate) problem: Problem,
    /// Show the disks' side and ask for the request.
    pub(crate) reverse: bool,
    /// Ask for times instead of places.
    pub(crate) timing: bool,
    /// Show the answers.
    pub(crate) compute: bool,
}

/// The most requests of one problem: all of them are kept for the answer in JSON.
const MAX_REQUESTS: u32 = 100_000;

impl TryFrom<BenchArgs> for Bench {
    type Error = Failure;

    fn try_from(args: BenchArgs) -> Result<Self, Failure> {
        match args.what {
            BenchVerb::Stripe(stripe) => stripe_job(*stripe).map(|job| Self::Stripe(Box::new(job))),
            BenchVerb::Parity(parity) => parity_job(parity).map(Self::Parity),
            BenchVerb::Ostep(ostep) => ostep_job(&ostep).map(Self::Ostep),
        }
    }
}

/// Nobody has members without end, and each is a file or a table of times.
const MAX_MEMBERS: u32 = 384;
/// The largest chunk and request: md knows larger ones, but a bench holds many at once.
const MAX_BYTES: u64 = 64 << 20;
const MAX_DEPTH: u32 = 1024;
/// Members made are at least so large: a few stripes of the largest usual chunk.
const MIN_MEMBER_BYTES: u64 = 16 << 20;

fn stripe_job(args: StripeArgs) -> Result<Stripe, Failure> {
    let ground = match (args.model, args.dir) {
        (Some(model), _) => Ground::Model { model: model.into(), members: args.members },
        (None, Some(parent)) => {
            if args.member_size < MIN_MEMBER_BYTES {
                let least = Human(MIN_MEMBER_BYTES);
                return Err(Failure::usage(format!("--member-size: at least {least}")));
            }
            Ground::Directory { parent, members: args.members, bytes: args.member_size }
        }
        (None, None) => Ground::Members { paths: args.paths, force: args.force, yes: args.yes },
    };
    let members = match &ground {
        Ground::Model { members, .. } | Ground::Directory { members, .. } => *members,
        Ground::Members { paths, .. } => u32::try_from(paths.len()).unwrap_or(u32::MAX),
    };
    check_members(&args.level, members, args.lost)?;
    let is_model = matches!(ground, Ground::Model { .. });
    let requests_bytes = sizes("--request", &args.request)?;
    let largest = requests_bytes.last().copied().unwrap_or(4096);
    // Enough for percentiles, few enough that virtual time costs seconds.
    let by_size = ((128 << 20) / u64::from(largest)).clamp(200, 2000);
    let limit = match (is_model, args.requests) {
        (true, requests) => Limit { requests: requests.unwrap_or(by_size), time: None },
        (false, Some(requests)) => Limit { requests, time: None },
        (false, None) => {
            Limit { requests: 10_000_000, time: Some(Duration::from_millis(args.time)) }
        }
    };
    if limit.requests == 0 || limit.requests > 10_000_000 || args.runs == 0 || args.runs > 1000 {
        return Err(Failure::usage("--requests: 1 to 10000000, --runs: 1 to 1000"));
    }
    let depths: Vec<u32> =
        args.depth.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();
    if let Some(depth) = depths.iter().find(|depth| !(1..=MAX_DEPTH).contains(*depth)) {
        return Err(Failure::usage(format!("--depth {depth}: 1 to {MAX_DEPTH}")));
    }
    let mut levels: Vec<Level> = args.level;
    levels.sort_unstable();
    levels.dedup();
    let patterns: Vec<Pattern> = match args.pattern.is_empty() {
        true => Pattern::ALL.to_vec(),
        false => args
            .pattern
            .into_iter()
            .map(Pattern::from)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    };
    let warm_up = Limit { requests: limit.requests.div_ceil(5), time: limit.time.map(|t| t / 3) };
    let sweep = Sweep {
        levels,
        chunks_bytes: chunks(&args.chunk)?,
        requests_bytes,
        patterns,
        depths,
        lost: args.lost,
        seed: args.seed,
        runs: args.runs,
        limit,
        warm_up,
    };
    Ok(Stripe { sweep, ground, csv: args.csv.map(Stream::from), html: args.html })
}

fn check_members(levels: &[Level], members: u32, lost: u32) -> Result<(), Failure> {
    for level in levels {
        let (least, most) = (level.min_members(), level.max_members().min(MAX_MEMBERS));
        if !(least..=most).contains(&members) {
            return Err(Failure::usage(format!(
                "{level} takes {least} to {most} members, not {members}"
            )));
        }
        if lost > 0 && !level.is_redundant() {
            return Err(Failure::usage(format!("--lost {lost}: {level} can spare no member")));
        }
    }
    Ok(())
}

fn chunks(bytes: &[u64]) -> Result<Vec<u32>, Failure> {
    let chunks = sizes("--chunk", bytes)?;
    match chunks.iter().find(|chunk| !chunk.is_power_of_two() || **chunk < 4096) {
        Some(chunk) => {
            let text = format!("--chunk: {chunk} bytes are no power of two from 4 KiB on");
            Err(Failure::usage(text))
        }
        None => Ok(chunks),
    }
}

/// Sizes in ascending order, each once.
fn sizes(flag: &str, bytes: &[u64]) -> Result<Vec<u32>, Failure> {
    let sizes: BTreeSet<u64> = bytes.iter().copied().collect();
    let fits = |size: u64| {
        let whole = size > 0 && size.is_multiple_of(SECTOR_BYTES) && size <= MAX_BYTES;
        u32::try_from(size).ok().filter(|_| whole).ok_or_else(|| {
            Failure::usage(format!(
                "{flag}: {size} bytes; whole sectors, up to {}",
                Human(MAX_BYTES)
            ))
        })
    };
    sizes.into_iter().map(fits).collect()
}

/// The most memory that stripes may take.
const MAX_STRIPES: usize = 8 << 30;
/// About how long an engine's turn lasts.
const TURN: Duration = Duration::from_micros(400);

fn parity_job(args: ParityArgs) -> Result<Parity, Failure> {
    let count = |number: &u64| usize::try_from(*number).expect("a few hundred at most");
    let ordered = |numbers: &[u64]| numbers.iter().map(count).collect::<BTreeSet<_>>();
    let blocks_bytes = sizes("--block", &args.block)?;
    let too_much = |bytes: u64| {
        let text = format!("{} of stripes; at most {}", Human(bytes), Human(MAX_STRIPES as u64));
        Failure::usage(text)
    };
    let cold = args.cold.unwrap_or(0);
    let sweep = parity::Sweep {
        engines: if args.engine.is_empty() { engines().collect() } else { args.engine },
        ops: if args.op.is_empty() { parity::Op::ALL.to_vec() } else { args.op },
        members: ordered(&args.members).into_iter().collect(),
        blocks_bytes: blocks_bytes.into_iter().map(|bytes| bytes as usize).collect(),
        threads: ordered(&args.threads).into_iter().collect(),
        pool_bytes: usize::try_from(cold).map_err(|_| too_much(cold))?,
        pace: parity::Pace { rounds: args.rounds as usize, turn: TURN },
    };
    if sweep.footprint() > MAX_STRIPES {
        return Err(too_much(sweep.footprint() as u64));
    }
    Ok(Parity { sweep, csv: args.csv.map(Stream::from) })
}

fn ostep_job(args: &OstepArgs) -> Result<Ostep, Failure> {
    let scheme = match (args.level, args.raid5) {
        (0, _) => Scheme::Stripes,
        (1, _) => Scheme::Mirrors,
        (4, _) => Scheme::ParityDisk,
        (5, Raid5Word::Symmetric) => Scheme::LeftSymmetric,
        (5, Raid5Word::Asymmetric) => Scheme::LeftAsymmetric,
        (level, _) => {
            return Err(Failure::usage(format!("--level {level}: the homework has 0, 1, 4 and 5")));
        }
    };
    if args.num_requests > MAX_REQUESTS {
        let asked = args.num_requests;
        let text = format!("--num-requests {asked}: at most {MAX_REQUESTS}");
        return Err(Failure::usage(text));
    }
    let problem = Problem {
        seed: args.seed,
        disks: args.num_disks,
        chunk_blocks: args.chunk_size,
        requests: args.num_requests,
        request_blocks: args.req_size,
        workload: match args.workload {
            WorkloadWord::Seq => Workload::Sequential,
            WorkloadWord::Rand => Workload::Random(args.rand_range),
        },
        write_percent: args.write_frac,
        scheme,
    };
    problem.solve().map_err(|error| Failure::usage(error.to_string()))?;
    let OstepArgs { reverse, timing, compute, .. } = *args;
    Ok(Ostep { problem, reverse, timing, compute })
}
