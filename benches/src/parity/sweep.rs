//! Every engine, operation and shape that was asked for.

use std::time::Duration;

use holdfast_raid::parity::Engine;
use serde::Serialize;

use super::contest::{Cell, Contestant, Pace, contest};
use super::limits::{Level, Limits};
use super::op::Op;
use super::ours::Ours;

/// What to measure: each of these with each.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Engines, which take turns.
    pub engines: Vec<&'static Engine>,
    /// Operations.
    pub ops: Vec<Op>,
    /// Data blocks of a stripe.
    pub members: Vec<usize>,
    /// Bytes of a block.
    pub blocks_bytes: Vec<usize>,
    /// How many threads do it at once.
    pub threads: Vec<usize>,
    /// Bytes of stripes to go round in, per thread; 0 for one stripe, over and over.
    pub pool_bytes: usize,
    /// How long.
    pub pace: Pace,
}

/// One figure of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which engine.
    pub engine: &'static str,
    /// Which operation.
    pub op: &'static str,
    /// Data blocks of a stripe.
    pub members: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// How many threads did it at once.
    pub threads: usize,
    /// Of the best round, 1e9 bytes of source data (for an update: of new data) per second.
    pub gb_per_s: f64,
    /// Of the median round.
    pub median_gb_per_s: f64,
    /// The nearest level of the memory that the blocks of all threads fit.
    pub level: &'static str,
}

/// How fast one core reads, 1e9 bytes per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reading {
    /// From its first cache.
    pub l1_read_gb_per_s: f64,
    /// From its second.
    pub l2_read_gb_per_s: f64,
    /// From the one that cores share.
    pub l3_read_gb_per_s: f64,
    /// From what lies behind.
    pub dram_read_gb_per_s: f64,
}

impl From<&Limits> for Reading {
    fn from(limits: &Limits) -> Self {
        Self {
            l1_read_gb_per_s: limits.read(Level::L1),
            l2_read_gb_per_s: limits.read(Level::L2),
            l3_read_gb_per_s: limits.read(Level::L3),
            dram_read_gb_per_s: limits.read(Level::Dram),
        }
    }
}

impl Sweep {
    /// How many shapes there are; each is measured for all engines in turns.
    pub fn cells(&self) -> usize {
        self.ops.len() * self.members.len() * self.blocks_bytes.len() * self.threads.len()
    }

    /// Bytes of stripes of the largest shape, all threads together.
    pub fn footprint(&self) -> usize {
        let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap_or(0);
        // Data, P, Q and the new contents of a changed block.
        let stripe = (most(&self.members) + 3).saturating_mul(most(&self.blocks_bytes));
        stripe.max(self.pool_bytes).saturating_mul(most(&self.threads))
    }

    /// Measures shape after shape and hands each shape's rows out. `go_on` is asked before each.
    ///
    /// The limits of reading are measured first, again after every operation, and the best stands.
    /// Returns them, and whether everything was measured.
    pub fn run(&self, go_on: &dyn Fn() -> bool, each: &mut dyn FnMut(Vec<Row>)) -> (Limits, bool) {
        let hurried = self.pace.turn == Duration::ZERO;
        let mut limits = Limits::measure(hurried);
        for &op in &self.ops {
            for cell in self.shapes(op) {
                if !go_on() {
                    return (limits, false);
                }
                each(self.measure(cell, &limits));
            }
            limits.again(hurried);
        }
        (limits, true)
    }

    fn shapes(&self, op: Op) -> impl Iterator<Item = Cell> {
        let pool_bytes = self.pool_bytes;
        self.blocks_bytes.iter().flat_map(move |&block_bytes| {
            self.threads.iter().flat_map(move |&threads| {
                self.members.iter().map(move |&members| Cell {
                    op,
                    members,
                    block_bytes,
                    threads,
                    pool_bytes,
                })
            })
        })
    }

    fn measure(&self, cell: Cell, limits: &Limits) -> Vec<Row> {
        // Nothing that is cold will be read again soon.
        let contestant = if cell.pool_bytes > 0 { Ours::streamed } else { Ours::cached };
        let ours: Vec<Ours> = self.engines.iter().map(|engine| contestant(engine)).collect();
        let contestants: Vec<&dyn Contestant> =
            ours.iter().map(|ours| ours as &dyn Contestant).collect();
        let rates = contest(&contestants, cell, self.pace);
        let level = limits.level_of(cell.footprint().max(cell.pool_bytes));
        let row = |(engine, rates): (&&'static Engine, super::Rates)| Row {
            engine: engine.name(),
            op: cell.op.name(),
            members: cell.members,
            block_bytes: cell.block_bytes,
            threads: cell.threads,
            gb_per_s: rates.best(),
            median_gb_per_s: rates.median(),
            level: level.name(),
        };
        self.engines.iter().zip(rates).map(row).collect()
    }
}
