//! Contestants taking turns.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::op::Op;
use super::stripe::{Pool, Stripe};

/// Somebody who can carry out operations. It must be right: rates of wrong answers mean nothing.
pub trait Contestant: Sync {
    /// What tables call it.
    fn name(&self) -> &str;

    /// Whether it has the operation.
    fn takes(&self, op: Op) -> bool;

    /// Carries an operation out on a stripe, so many times.
    fn run(&self, op: Op, stripe: &mut Stripe<'_>, times: u32);
}

/// One operation on stripes of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is asked.
    pub op: Op,
    /// Data blocks of a stripe.
    pub members: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// How many threads do it at once, each with stripes of its own.
    pub threads: usize,
    /// Bytes of stripes to go round in, per thread; 0 for one stripe, over and over.
    pub pool_bytes: usize,
}

impl Cell {
    /// Bytes of source data per call.
    pub fn data_bytes(&self) -> usize {
        self.op.data_blocks(self.members) * self.block_bytes
    }

    /// Bytes a call comes by.
    pub fn footprint(&self) -> usize {
        self.op.footprint(self.members) * self.block_bytes
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rounds.
    pub rounds: usize,
    /// About how long a contestant's turn lasts.
    pub turn: Duration,
}

impl Pace {
    /// One short round: to see that everything runs.
    pub const SMOKE: Self = Self { rounds: 1, turn: Duration::ZERO };
}

/// What one contestant did: 1e9 bytes of source data per second, round by round.
#[derive(Clone, Debug, Default)]
pub struct Rates(pub Vec<f64>);

impl Rates {
    /// Of the best round.
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// The median over the rounds.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The median over the rounds of how many times as fast as `other` it was.
    pub fn over(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// The median, of an even number the lower middle; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Lets all contestants that have the cell's operation carry it out in turns. Those that have not
/// are left without rates.
pub fn contest(contestants: &[&dyn Contestant], cell: Cell, pace: Pace) -> Vec<Rates> {
    let new_pool = |_| Pool::new(cell.members, cell.block_bytes, cell.pool_bytes);
    let mut pools: Vec<Pool> = (0..cell.threads).map(new_pool).collect();
    let mut lanes: Vec<Lane<'_>> =
        pools.iter_mut().map(|pool| Lane { stripes: pool.stripes(cell.op), next: 0 }).collect();
    let mut rates = vec![Rates::default(); contestants.len()];
    let mut times = vec![1; contestants.len()];
    for round in 0..=pace.rounds {
        for (index, contestant) in contestants.iter().enumerate() {
            if !contestant.takes(cell.op) {
                continue;
            }
            let elapsed = turn(*contestant, cell.op, &mut lanes, times[index]);
            if round == 0 && pace.rounds > 1 {
                // The warm-up tells how often to ask. Only the first call can be slow.
                let again = turn(*contestant, cell.op, &mut lanes, 4) / 4;
                let wanted = pace.turn.as_nanos() / again.as_nanos().max(1);
                times[index] = wanted.clamp(1, 1_000_000) as u32;
            } else if round > 0 {
                let bytes = cell.data_bytes() * cell.threads * times[index] as usize;
                rates[index].0.push(bytes as f64 / elapsed.as_nanos().max(1) as f64);
            }
        }
    }
    rates
}

/// The stripes of one thread.
struct Lane<'a> {
    stripes: Vec<Stripe<'a>>,
    next: usize,
}

impl Lane<'_> {
    fn run(&mut self, contestant: &dyn Contestant, op: Op, times: u32) -> Duration {
        let start = Instant::now();
        if let [stripe] = self.stripes.as_mut_slice() {
            contestant.run(op, stripe, times);
        } else {
            for _ in 0..times {
                contestant.run(op, &mut self.stripes[self.next], 1);
                self.next = (self.next + 1) % self.stripes.len();
            }
        }
        start.elapsed()
    }
}

/// One contestant's turn, on all lanes at once; the time of the slowest.
fn turn(contestant: &dyn Contestant, op: Op, lanes: &mut [Lane<'_>], times: u32) -> Duration {
    if let [lane] = lanes {
        return lane.run(contestant, op, times);
    }
    let start = Barrier::new(lanes.len());
    std::thread::scope(|scope| {
        let run = |lane| {
            scope.spawn(|| {
                let lane: &mut Lane<'_> = lane;
                start.wait();
                lane.run(contestant, op, times)
            })
        };
        let threads: Vec<_> = lanes.iter_mut().map(run).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no kernel panics"));
        times.max().unwrap_or_default()
    })
}
