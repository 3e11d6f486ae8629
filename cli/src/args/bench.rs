//! What was typed after `holdfast bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_benches::load::Pattern;
use holdfast_benches::model::Model;
use holdfast_benches::ostep::BLOCK_BYTES;
use holdfast_benches::parity::Op;
use holdfast_raid::level::Level;
use holdfast_raid::parity::{Engine, engines};

use super::{bytes, kib};

/// Measure, and learn what to expect
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchVerb,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchVerb {
    /// Compare chunk sizes: level, chunk, request, pattern and depth, each with each
    Stripe(Box<StripeArgs>),
    /// Compare parity engines: operation, members and block size, each with each
    Parity(ParityArgs),
    /// Solve the RAID homework of the OSTEP book, with its own options
    Ostep(OstepArgs),
}

/// What to compare, and on what. Lists are separated by commas.
#[derive(Debug, Args)]
pub(crate) struct StripeArgs {
    /// RAID levels
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', default_value = "5")]
    pub(crate) level: Vec<Level>,
    /// Chunk sizes
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = kib,
        default_value = "4K,16K,64K,256K,1M")]
    pub(crate) chunk: Vec<u64>,
    /// Request sizes
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = bytes,
        default_value = "4K,64K,1M")]
    pub(crate) request: Vec<u64>,
    /// Where requests go and what they do [default: all]
    #[arg(short, long, value_enum, value_name = "LIST", value_delimiter = ',')]
    pub(crate) pattern: Vec<PatternWord>,
    /// Requests in flight
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', default_value = "1,32")]
    pub(crate) depth: Vec<u32>,
    /// Members taken away first
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) lost: u32,
    /// Seed of places and patterns
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs of each combination; the median is told, and the spread
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) runs: u32,
    /// Requests of a run [default: by size; over real members until the time is up]
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<u64>,
    /// Milliseconds a run over real members lasts
    #[arg(long, value_name = "MS", default_value_t = 300)]
    pub(crate) time: u64,
    /// Modelled members under virtual time
    #[arg(long, value_enum, conflicts_with = "dir")]
    pub(crate) model: Option<ModelWord>,
    /// Make members in this directory, and remove them afterwards
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Members to model or make
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4)]
    pub(crate) members: u32,
    /// Size of each member made
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "256M")]
    pub(crate) member_size: u64,
    /// Write every number to this file, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a page of charts to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Use members that carry something
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Files or block devices to measure on; what they hold is lost
    #[arg(value_name = "MEMBER", conflicts_with_all = ["dir", "model", "members"],
        required_unless_present_any = ["dir", "model"])]
    pub(crate) paths: Vec<PathBuf>,
}

/// Where requests go and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatternWord {
    /// One behind the other, reading
    SeqRead,
    /// One behind the other, writing
    SeqWrite,
    /// Anywhere, reading
    RandRead,
    /// Anywhere, writing
    RandWrite,
    /// Anywhere, seven reads to three writes
    Mixed,
}

impl From<PatternWord> for Pattern {
    fn from(word: PatternWord) -> Self {
        match word {
            PatternWord::SeqRead => Self::SeqRead,
            PatternWord::SeqWrite => Self::SeqWrite,
            PatternWord::RandRead => Self::RandRead,
            PatternWord::RandWrite => Self::RandWrite,
            PatternWord::Mixed => Self::Mixed,
        }
    }
}

/// What members are modelled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelWord {
    /// A disk: seek, rotation, transfer
    Hdd,
    /// A SATA SSD: ways side by side, one bus
    Ssd,
    /// An NVMe drive: more of both
    Nvme,
}

impl From<ModelWord> for Model {
    fn from(word: ModelWord) -> Self {
        match word {
            ModelWord::Hdd => Self::Hdd,
            ModelWord::Ssd => Self::Ssd,
            ModelWord::Nvme => Self::Nvme,
        }
    }
}

/// What to compare. Lists are separated by commas.
#[derive(Debug, Args)]
pub(crate) struct ParityArgs {
    /// Engines [default: all this CPU has]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = engine)]
    pub(crate) engine: Vec<&'static Engine>,
    /// Operations [default: all]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = op)]
    pub(crate) op: Vec<Op>,
    /// Data members of a stripe
    #[arg(short = 'n', long, value_name = "LIST", value_delimiter = ',', default_value = "4,8,16",
        value_parser = clap::value_parser!(u64).range(2..=253))]
    pub(crate) members: Vec<u64>,
    /// Block sizes
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', value_parser = bytes,
        default_value = "4K,64K,1M")]
    pub(crate) block: Vec<u64>,
    /// Threads at once
    #[arg(short, long, value_name = "LIST", value_delimiter = ',', default_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) threads: Vec<u64>,
    /// Rounds; the best is told, and the median
    #[arg(long, value_name = "N", default_value_t = 9,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Go round in so many bytes of stripes per thread, so that nothing is in a cache; results are
    /// stored past it [default: one stripe over and over]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) cold: Option<u64>,
    /// Write every number to this file, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

fn engine(name: &str) -> Result<&'static Engine, String> {
    engines().find(|engine| engine.name() == name).ok_or_else(|| {
        let known: Vec<&str> = engines().map(Engine::name).collect();
        format!("this CPU has {}", known.join(", "))
    })
}

fn op(name: &str) -> Result<Op, String> {
    Op::named(name).ok_or_else(|| format!("one of {}", Op::ALL.map(Op::name).join(", ")))
}

/// The options of the book's simulator, by its own names too.
#[derive(Debug, Args)]
pub(crate) struct OstepArgs {
    /// Seed of the random numbers
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u32,
    /// Disks in the array
    #[arg(short = 'D', long, alias = "numDisks", value_name = "N", default_value_t = 4)]
    pub(crate) num_disks: u32,
    /// Chunk size, whole blocks of 4 KiB
    #[arg(short = 'C', long, alias = "chunkSize", value_name = "SIZE", default_value = "4K",
        value_parser = blocks)]
    pub(crate) chunk_size: u64,
    /// Requests to make
    #[arg(short, long, alias = "numRequests", value_name = "N", default_value_t = 10)]
    pub(crate) num_requests: u32,
    /// Size of each request, whole blocks of 4 KiB
    #[arg(short = 'S', long, alias = "reqSize", value_name = "SIZE", default_value = "4K",
        value_parser = blocks)]
    pub(crate) req_size: u64,
    /// Where requests go
    #[arg(short = 'W', long, value_enum, default_value = "rand")]
    pub(crate) workload: WorkloadWord,
    /// Percentage of writes
    #[arg(short, long, alias = "writeFrac", value_name = "PERCENT", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) write_frac: u32,
    /// Random requests begin in the first N blocks
    #[arg(short = 'R', long, alias = "randRange", value_name = "N", default_value_t = 10_000)]
    pub(crate) rand_range: u64,
    /// RAID level: 0, 1 (striped mirrors), 4 or 5
    #[arg(short = 'L', long, value_name = "LEVEL", default_value_t = 0)]
    pub(crate) level: u32,
    /// Layout of level 5: left-symmetric or left-asymmetric
    #[arg(short = '5', long, value_enum, default_value = "LS")]
    pub(crate) raid5: Raid5Word,
    /// Show what the disks do and ask for the request
    #[arg(short, long, conflicts_with = "timing")]
    pub(crate) reverse: bool,
    /// Ask how long the requests take
    #[arg(short, long)]
    pub(crate) timing: bool,
    /// Show the answers
    #[arg(short, long)]
    pub(crate) compute: bool,
}

/// Where the homework's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkloadWord {
    /// Anywhere
    #[value(alias = "r", alias = "random")]
    Rand,
    /// One behind the other
    #[value(alias = "s", alias = "sequential")]
    Seq,
}

/// The homework's layouts of level 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Raid5Word {
    /// Left-symmetric
    #[value(name = "LS")]
    Symmetric,
    /// Left-asymmetric
    #[value(name = "LA")]
    Asymmetric,
}

/// A size in blocks of 4 KiB.
fn blocks(word: &str) -> Result<u64, String> {
    let bytes = bytes(word).map_err(|error| error.to_string())?;
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(format!("{bytes} bytes are not whole blocks of {BLOCK_BYTES} bytes"));
    }
    Ok(bytes / BLOCK_BYTES)
}
