//! Which stripe size? A sweep of levels, chunks and loads, and what each cost.
//!
//! A *cell* is one point of the sweep. It is run several times after a warm-up, each run with a
//! seed of its own, and reported by the run of the median rate; the spread says how far the others
//! lay apart. Beside speed and latency each cell carries what explains them: how many requests and
//! bytes the members saw for each of the array's, and how many bands of a parity level had to be
//! read before they could be written. Over modelled members these counts are exact.

use std::collections::BTreeMap;

use holdfast_core::block::BlockDevice;
use holdfast_core::time::{Clock, Duration};
use holdfast_raid::status::WriteWays;
use holdfast_raid::{Assembled, Config, Level};
use serde::Serialize;

use crate::arrays::{self, Shape, StartError};
use crate::counted::{Counted, Tally};
use crate::load::{self, Limit, Load, Pattern, Run, RunError};

/// What to sweep over: every combination is a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Levels.
    pub levels: Vec<Level>,
    /// Chunks in bytes; a level without chunks is run once.
    pub chunks_bytes: Vec<u32>,
    /// Request sizes in bytes.
    pub requests_bytes: Vec<u32>,
    /// Patterns.
    pub patterns: Vec<Pattern>,
    /// Requests in flight.
    pub depths: Vec<u32>,
    /// Members taken away before anything is measured.
    pub lost: u32,
    /// Seed of everything.
    pub seed: u64,
    /// Runs of each cell.
    pub runs: u32,
    /// How long a run is.
    pub limit: Limit,
    /// How long the warm-up is.
    pub warm_up: Limit,
}

/// An array of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Level.
    pub level: Level,
    /// Chunk in bytes; 0 where there is none.
    pub chunk_bytes: u32,
}

/// One point of the sweep, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Level, as md names it.
    pub level: &'static str,
    /// Members, lost ones included.
    pub members: u32,
    /// Chunk; 0 where the level has none.
    pub chunk_bytes: u32,
    /// Bytes of a request.
    pub request_bytes: u32,
    /// Pattern.
    pub pattern: &'static str,
    /// Requests in flight.
    pub depth: u32,
    /// Requests of the median run.
    pub requests: u64,
    /// Millions of bytes a second.
    pub mb_per_s: f64,
    /// Requests a second.
    pub iops: f64,
    /// Median latency.
    pub p50_us: f64,
    /// Latency of the slowest hundredth.
    pub p99_us: f64,
    /// Latency of the slowest thousandth.
    pub p999_us: f64,
    /// Fastest run over slowest, in percent above 100.
    pub spread_percent: f64,
    /// Requests for data that members saw, for each of the array's.
    pub member_ios_per_io: f64,
    /// Bytes that members moved, for each of the array's.
    pub member_bytes_per_byte: f64,
    /// Bands written by reading old data and old parity, of all bands, in percent.
    pub rmw_percent: Option<f64>,
    /// Bands that needed no reading (whole stripes), in percent.
    pub full_percent: Option<f64>,
    /// Processor time for each byte, where time is real.
    pub cpu_ns_per_byte: Option<f64>,
}

/// Why a sweep stopped.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// An array could not be made.
    #[error("{level} in chunks of {chunk_bytes} bytes: {error}")]
    Start {
        /// The level.
        level: Level,
        /// Its chunk.
        chunk_bytes: u32,
        /// Why.
        error: StartError,
    },
    /// A load could not be run.
    #[error("{level} in chunks of {chunk_bytes} bytes, {}: {error}", pattern.name())]
    Run {
        /// The level.
        level: Level,
        /// Its chunk.
        chunk_bytes: u32,
        /// The pattern.
        pattern: Pattern,
        /// Why.
        error: RunError,
    },
    /// No device could be had.
    #[error("{0}")]
    Devices(String),
    /// Somebody said stop.
    #[error("stopped")]
    Stopped,
}

/// Where a sweep gets its members and its time.
pub trait Ground {
    /// A member.
    type Device: BlockDevice;
    /// What tells the time.
    type Clock: Clock;

    /// Fresh members for one array, and a clock they answer to.
    fn prepare(&mut self) -> Result<(Vec<Self::Device>, Self::Clock), String>;

    /// Processor time used so far, where that is worth telling.
    fn cpu_time(&self) -> Option<Duration>;

    /// Whether to stop.
    fn stopped(&self) -> bool;
}

impl Sweep {
    /// The arrays of the sweep.
    pub fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for &level in &self.levels {
            if level.is_striped() {
                let chunk = |&chunk_bytes: &u32| Place { level, chunk_bytes };
                places.extend(self.chunks_bytes.iter().map(chunk));
            } else {
                places.push(Place { level, chunk_bytes: 0 });
            }
        }
        places
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        let loads = self.requests_bytes.len() * self.patterns.len() * self.depths.len();
        self.places().len() * loads
    }

    /// Measures every cell and hands each on.
    ///
    /// # Errors
    /// The first thing that goes wrong. What was handed on before stands.
    pub fn run<G: Ground>(
        &self,
        ground: &mut G,
        done: &mut dyn FnMut(Cell),
    ) -> Result<(), SweepError> {
        for place in self.places() {
            let mut bench = Bench::start(self, place, ground)?;
            for &pattern in &self.patterns {
                for &request_bytes in &self.requests_bytes {
                    for &depth in &self.depths {
                        let load = Load { pattern, request_bytes, depth, seed: self.seed };
                        done(bench.cell(self, load, ground)?);
                    }
                }
            }
        }
        Ok(())
    }

    fn config(&self) -> Config {
        let deepest = self.depths.iter().copied().max().unwrap_or(1);
        let largest = self.requests_bytes.iter().copied().max().unwrap_or(0);
        let default = Config::default();
        // Room for what is asked at once and its parity, so that depth means what it says.
        let wanted = 2 * u64::from(deepest) * u64::from(largest);
        Config {
            queue_depth: deepest.max(default.queue_depth),
            cache_bytes: wanted.max(default.cache_bytes),
            ..default
        }
    }
}

/// An array being measured.
struct Bench<G: Ground> {
    place: Place,
    array: Assembled<Counted<G::Device>>,
    clock: G::Clock,
    members: u32,
}

/// What the members and the engine have done so far.
#[derive(Clone, Copy, Default)]
struct Spent {
    members: Tally,
    ways: WriteWays,
    cpu: Option<Duration>,
}

impl<G: Ground> Bench<G> {
    fn start(sweep: &Sweep, place: Place, ground: &mut G) -> Result<Self, SweepError> {
        let Place { level, chunk_bytes } = place;
        let (devices, mut clock) = ground.prepare().map_err(SweepError::Devices)?;
        let devices: Vec<_> = devices.into_iter().map(Counted::new).collect();
        let members = devices.len() as u32;
        let shape = Shape { level, chunk_sectors: chunk_bytes / 512, bitmap: false };
        let mut array = arrays::try_start(shape, devices, &mut clock, sweep.config())
            .map_err(|error| SweepError::Start { level, chunk_bytes, error })?;
        for (index, member) in array.status().members.iter().enumerate() {
            array.device_mut(index).set_data_from(member.data_offset);
        }
        for lost in 0..sweep.lost.min(members) {
            array.fail_member(lost as usize).map_err(|refusal| {
                SweepError::Devices(format!("member {lost} cannot be taken away: {refusal}"))
            })?;
        }
        Ok(Self { place, array, clock, members })
    }

    fn spent(&self, ground: &G) -> Spent {
        let tallies = (0..self.members).map(|index| self.array.device(index as usize).tally());
        Spent {
            members: tallies.fold(Tally::default(), |all, one| all.plus(&one)),
            ways: self.array.array().write_ways(),
            cpu: ground.cpu_time(),
        }
    }

    fn run(&mut self, load: Load, limit: Limit, ground: &G) -> Result<Run, SweepError> {
        let Place { level, chunk_bytes } = self.place;
        let stopped = || ground.stopped();
        load::run(&mut self.array, &mut self.clock, load, limit, &stopped).map_err(|error| {
            match error {
                RunError::Stopped => SweepError::Stopped,
                error => SweepError::Run { level, chunk_bytes, pattern: load.pattern, error },
            }
        })
    }

    fn cell(&mut self, sweep: &Sweep, load: Load, ground: &G) -> Result<Cell, SweepError> {
        self.run(load, sweep.warm_up, ground)?;
        let mut runs: Vec<(Run, Spent, Spent)> = Vec::new();
        for number in 0..sweep.runs.max(1) {
            let seed = load.seed.wrapping_add(1 + u64::from(number));
            let before = self.spent(ground);
            let run = self.run(Load { seed, ..load }, sweep.limit, ground)?;
            runs.push((run, before, self.spent(ground)));
        }
        // Rates are compared as whole numbers, so no float decides an order.
        let rate =
            |run: &Run| u128::from(run.bytes()) * 1_000_000_000 / u128::from(run.elapsed_ns.max(1));
        runs.sort_by_key(|(run, ..)| rate(run));
        let slowest = rate(&runs[0].0).max(1);
        let fastest = rate(&runs[runs.len() - 1].0);
        let spread_percent = fastest as f64 * 100.0 / slowest as f64 - 100.0;
        let (run, before, after) = runs.swap_remove((runs.len() - 1) / 2);
        Ok(self.report(load, &run, &before, &after, spread_percent))
    }

    fn report(&self, load: Load, run: &Run, before: &Spent, after: &Spent, spread: f64) -> Cell {
        let seconds = run.elapsed_ns.max(1) as f64 / 1e9;
        let members = after.members.since(&before.members);
        let per = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let micros = |permille| run.percentile_ns(permille) as f64 / 1000.0;
        let (a, b) = (&after.ways, &before.ways);
        let full = a.without_reading - b.without_reading;
        let rmw = a.read_modify_write - b.read_modify_write;
        let others = a.reconstruct - b.reconstruct + a.rebuild - b.rebuild;
        let bands = full + rmw + others;
        let percent = |part: u64| (bands > 0).then(|| per(part * 100, bands));
        let cpu = after.cpu.zip(before.cpu).map(|(after, before)| after - before);
        Cell {
            level: self.place.level.name(),
            members: self.members,
            chunk_bytes: self.place.chunk_bytes,
            request_bytes: load.request_bytes,
            pattern: load.pattern.name(),
            depth: load.depth,
            requests: run.requests(),
            mb_per_s: run.bytes() as f64 / 1e6 / seconds,
            iops: run.requests() as f64 / seconds,
            p50_us: micros(500),
            p99_us: micros(990),
            p999_us: micros(999),
            spread_percent: spread,
            member_ios_per_io: per(members.ios(), run.requests()),
            member_bytes_per_byte: per(members.bytes(), run.bytes()),
            rmw_percent: percent(rmw),
            full_percent: percent(full),
            cpu_ns_per_byte: cpu.map(|cpu| per(cpu.as_nanos() as u64, run.bytes())),
        }
    }
}

/// What the cells say about chunks, for one level.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Level.
    pub level: &'static str,
    /// The chunk to take.
    pub chunk_bytes: u32,
    /// How each chunk does over all loads: 100 is as good as the best chunk at every one of them.
    pub scores: Vec<(u32, f64)>,
    /// The advice in words.
    pub sentence: String,
    /// For ext4.
    pub mkfs_ext4: String,
    /// For XFS.
    pub mkfs_xfs: String,
}

/// Chunks closer than this, in percent, are as good as each other.
const TIE_PERCENT: f64 = 3.0;

/// Advice for each striped level of which at least two chunks were measured under the same loads.
pub fn advise(cells: &[Cell]) -> Vec<Advice> {
    let mut levels: Vec<&str> = cells.iter().map(|cell| cell.level).collect();
    levels.dedup();
    levels.into_iter().filter_map(|level| advise_level(cells, level)).collect()
}

/// A load, by which cells of different chunks are compared.
type LoadKey = (&'static str, u32, u32);

fn advise_level(cells: &[Cell], level: &str) -> Option<Advice> {
    let cells: Vec<&Cell> =
        cells.iter().filter(|cell| cell.level == level && cell.chunk_bytes > 0).collect();
    let mut loads: BTreeMap<LoadKey, BTreeMap<u32, f64>> = BTreeMap::new();
    for cell in &cells {
        let load = loads.entry((cell.pattern, cell.request_bytes, cell.depth)).or_default();
        load.insert(cell.chunk_bytes, cell.mb_per_s);
    }
    // A sweep that was stopped compares the chunks it came to, by the loads all of them had.
    let most = loads.values().map(BTreeMap::len).max()?;
    loads.retain(|_, by_chunk| by_chunk.len() == most && most > 1);
    let scores = scores(&loads);
    let &(chunk_bytes, best) = scores.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let &(worst, least) = scores.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let first = cells.first()?;
    let data = data_members(first)?;
    let chunk = |bytes: u32| holdfast_core::size::Human(bytes.into());
    let who = format!("{level} of {}", first.members);
    let sentence = if best - least < TIE_PERCENT {
        format!(
            "{who}: the chunk hardly matters; from {} to {} all are within {TIE_PERCENT} % over \
             {} loads. {} is as good as any.",
            chunk(scores.first()?.0),
            chunk(scores.last()?.0),
            loads.len(),
            chunk(chunk_bytes)
        )
    } else {
        format!(
            "{who}: take {} chunks; over {} loads they reach {best:.0} % of what the best chunk \
             for each load does, {} chunks {least:.0} %.{}",
            chunk(chunk_bytes),
            loads.len(),
            chunk(worst),
            exception(&loads, chunk_bytes)
        )
    };
    let stride = (chunk_bytes / 4096).max(1);
    Some(Advice {
        level: first.level,
        chunk_bytes,
        sentence,
        mkfs_ext4: format!("mkfs.ext4 -E stride={stride},stripe_width={}", stride * data),
        mkfs_xfs: format!("mkfs.xfs -d su={}k,sw={data}", chunk_bytes / 1024),
        scores,
    })
}

/// For each chunk the geometric mean, over the loads, of its rate as a share of the best one's.
fn scores(loads: &BTreeMap<LoadKey, BTreeMap<u32, f64>>) -> Vec<(u32, f64)> {
    let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
    for by_chunk in loads.values() {
        let best = by_chunk.values().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (&chunk, &rate) in by_chunk {
            *sums.entry(chunk).or_default() += (rate.max(f64::MIN_POSITIVE) / best).ln();
        }
    }
    let count = loads.len().max(1) as f64;
    sums.into_iter().map(|(chunk, sum)| (chunk, (sum / count).exp() * 100.0)).collect()
}

/// The load for which another chunk would do most better, if one would by a quarter.
fn exception(loads: &BTreeMap<LoadKey, BTreeMap<u32, f64>>, chosen: u32) -> String {
    let mut most = (1.25, None);
    for (&(pattern, request_bytes, depth), by_chunk) in loads {
        let Some(&own) = by_chunk.get(&chosen) else { continue };
        for (&chunk, &rate) in by_chunk {
            if own > 0.0 && rate / own > most.0 {
                most = (rate / own, Some((pattern, request_bytes, depth, chunk)));
            }
        }
    }
    let (times, Some((pattern, request_bytes, depth, chunk))) = most else {
        return String::new();
    };
    let human = |bytes: u32| holdfast_core::size::Human(bytes.into());
    format!(
        " The exception is {pattern} of {} at depth {depth}, where {} chunks are {times:.1} times as fast.",
        human(request_bytes),
        human(chunk)
    )
}

/// Members that hold data in each stripe; for raid10, different data.
fn data_members(cell: &Cell) -> Option<u32> {
    let level = Level::ALL.into_iter().find(|level| level.name() == cell.level)?;
    Some(match level {
        Level::Raid10 => (cell.members / 2).max(1),
        level => cell.members - level.parity_members(),
    })
}

#[cfg(test)]
mod tests;
