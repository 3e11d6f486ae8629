//! The RAID homework of *Operating Systems: Three Easy Pieces*: which disks does a request touch,
//! and how long does a workload take?
//!
//! The book's simulator `raid.py` poses the problems; here the same options give the same answers,
//! worked out by holdfast's own layouts. The book's level 1 (striped mirrors) is md's raid10 in two
//! near copies, the other levels are md's own. Words are the book's: a *block* is 4 KiB, a *disk*
//! is 100 tracks of 100 blocks, a *phase* is a set of accesses that need not wait for each other.
//!
//! Its disk is simple. A request next to the one before costs 0.1 ms for each block of distance, as
//! long as both lie on one track or less than a track apart; any other costs a seek of 10 ms and
//! 0.1 ms. Disks work side by side; the workload takes as long as the busiest one.
//!
//! Chunks of any number of blocks are allowed, also where md wants a power of two: the layout is
//! asked about chunks, and blocks are counted within.

use std::collections::BTreeSet;

use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, LayoutError, Place, Shape};
use rand_mt::Mt;

/// Bytes in a block.
pub const BLOCK_BYTES: u64 = 4096;

const BLOCKS_PER_TRACK: u64 = 100;
const BLOCKS_PER_DISK: u64 = 100 * BLOCKS_PER_TRACK;
const SEEK_MS: f64 = 10.0;
const TRANSFER_MS: f64 = 0.1;
/// The layout's chunk, which stands for one chunk of the problem.
const UNIT_SECTORS: u64 = 8;

/// How data and parity lie on the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Level 0.
    Stripes,
    /// Level 1, the book's: pairs of disks, chunks striped over the pairs.
    Mirrors,
    /// Level 4.
    ParityDisk,
    /// Level 5, data going on where the parity is.
    LeftSymmetric,
    /// Level 5, data from the first disk on.
    LeftAsymmetric,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Each behind the one before.
    Sequential,
    /// Anywhere in the first so many blocks.
    Random(u64),
}

/// A problem of the homework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Seeds the book's random numbers (Python's).
    pub seed: u32,
    /// Disks.
    pub disks: u32,
    /// Blocks in a chunk.
    pub chunk_blocks: u64,
    /// How many requests.
    pub requests: u32,
    /// Blocks in a request.
    pub request_blocks: u64,
    /// Where they go.
    pub workload: Workload,
    /// How many of a hundred requests are writes, on average.
    pub write_percent: u32,
    /// How data lies.
    pub scheme: Scheme,
}

/// Why a problem has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProblemError {
    /// The book's mirrors are pairs.
    #[error("{0} disks make no pairs: level 1 takes an even number")]
    Odd(u32),
    /// A chunk of no block.
    #[error("a chunk has at least one block")]
    NoChunk,
    /// A request for nothing.
    #[error("a request has at least one block")]
    NoRequest,
    /// The layout refuses.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A request reaches beyond the disks.
    #[error(
        "a request at block {address} of {blocks} blocks ends beyond the disks' {BLOCKS_PER_DISK} blocks each"
    )]
    Beyond {
        /// First block.
        address: u64,
        /// Blocks asked for.
        blocks: u64,
    },
}

/// What is asked of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Logical {
    /// A write, not a read.
    pub write: bool,
    /// First block.
    pub address: u64,
    /// Blocks.
    pub blocks: u64,
}

/// What is asked of a disk: one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Physical {
    /// A write, not a read.
    pub write: bool,
    /// The disk.
    pub disk: u32,
    /// The block on it.
    pub offset: u64,
}

/// One request and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// The request.
    pub logical: Logical,
    /// The accesses, in groups that belong together: copies of a block, reads before writes.
    pub phases: Vec<Vec<Physical>>,
}

/// What a disk has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct DiskTally {
    /// Accesses.
    pub ios: u64,
    /// Of them: to a neighbouring block.
    pub sequential: u64,
    /// Of them: near the one before.
    pub nearly: u64,
    /// Of them: after a seek.
    pub random: u64,
    /// How long it was busy, in milliseconds.
    pub busy_ms: f64,
}

/// A problem being worked through, request by request.
#[derive(Debug)]
pub struct Solver {
    problem: Problem,
    layout: Layout,
    rng: PythonRandom,
    left: u32,
    next_address: u64,
    disks: Vec<Disk>,
}

impl Problem {
    /// Begins to solve it.
    pub fn solve(self) -> Result<Solver, ProblemError> {
        if self.chunk_blocks == 0 {
            return Err(ProblemError::NoChunk);
        }
        if self.request_blocks == 0 {
            return Err(ProblemError::NoRequest);
        }
        if self.scheme == Scheme::Mirrors && !self.disks.is_multiple_of(2) {
            return Err(ProblemError::Odd(self.disks));
        }
        let layout = self.layout()?;
        Ok(Solver {
            problem: self,
            layout,
            rng: PythonRandom::new(self.seed),
            left: self.requests,
            next_address: 0,
            disks: vec![Disk::default(); self.disks as usize],
        })
    }

    fn layout(&self) -> Result<Layout, LayoutError> {
        // raid10: two near copies. raid5: md's numbers for left-symmetric and left-asymmetric.
        let (level, layout) = match self.scheme {
            Scheme::Stripes => (Level::Raid0, 0),
            Scheme::Mirrors => (Level::Raid10, 0x102),
            Scheme::ParityDisk => (Level::Raid4, 0),
            Scheme::LeftSymmetric => (Level::Raid5, 2),
            Scheme::LeftAsymmetric => (Level::Raid5, 0),
        };
        let member_sectors = BLOCKS_PER_DISK * UNIT_SECTORS;
        let shape = Shape {
            level,
            layout,
            raid_disks: self.disks,
            chunk_sectors: UNIT_SECTORS as u32,
            member_sectors,
        };
        Layout::new(&shape, &vec![member_sectors; self.disks.min(level.max_members()) as usize])
    }
}

impl Solver {
    /// What each disk has done so far.
    pub fn tallies(&self) -> impl Iterator<Item = DiskTally> {
        self.disks.iter().map(|disk| disk.tally)
    }

    /// How long the requests so far take, in milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.tallies().map(|tally| tally.busy_ms).fold(0.0, f64::max)
    }

    fn draw(&mut self) -> Logical {
        let blocks = self.problem.request_blocks;
        let address = match self.problem.workload {
            Workload::Sequential => {
                let address = self.next_address;
                self.next_address = address.saturating_add(blocks);
                address
            }
            Workload::Random(range) => (self.rng.fraction() * range as f64) as u64,
        };
        let write = self.rng.fraction() < f64::from(self.problem.write_percent) / 100.0;
        Logical { write, address, blocks }
    }

    fn answer(&mut self, logical: Logical) -> Result<Step, ProblemError> {
        let Logical { write, address, blocks } = logical;
        let beyond = ProblemError::Beyond { address, blocks };
        let chunks = self.layout.array_sectors() / UNIT_SECTORS;
        let most = chunks.saturating_mul(self.problem.chunk_blocks);
        let Some(end) = address.checked_add(blocks).filter(|end| *end <= most) else {
            return Err(beyond);
        };
        let phases = match (&self.layout, write) {
            (Layout::Parity(_), true) => self.parity_writes(address, end),
            (Layout::Parity(_), false) => vec![self.data(address..end, false)],
            (Layout::Mapped(_), _) => (address..end).map(|at| self.copies(at, write)).collect(),
        };
        if phases.iter().flatten().any(|access| access.offset >= BLOCKS_PER_DISK) {
            return Err(beyond);
        }
        for access in phases.iter().flatten() {
            self.disks[access.disk as usize].access(access.offset);
        }
        Ok(Step { logical, phases })
    }

    /// The chunk a block is in, and its place there.
    const fn split(&self, block: u64) -> (u64, u64) {
        (block / self.problem.chunk_blocks, block % self.problem.chunk_blocks)
    }

    /// A block of the problem on the disk, from the layout's place of its chunk.
    fn physical(&self, write: bool, place: Place, within: u64) -> Physical {
        let offset = place.sector / UNIT_SECTORS * self.problem.chunk_blocks + within;
        Physical { write, disk: place.slot, offset }
    }

    /// Stripes and mirrors: every copy is written; even blocks of a pair are read from its first
    /// disk, odd ones from its second.
    fn copies(&self, block: u64, write: bool) -> Vec<Physical> {
        let Layout::Mapped(mapped) = &self.layout else { unreachable!("asked of mapped levels") };
        let (chunk, within) = self.split(block);
        let mut places = Vec::new();
        mapped.map(chunk * UNIT_SECTORS, UNIT_SECTORS, &mut places);
        let all: Vec<Physical> =
            places.into_iter().map(|place| self.physical(write, place, within)).collect();
        if write {
            return all;
        }
        let chosen = all[0].offset as usize % all.len();
        vec![all[chosen]]
    }

    /// The data blocks of a range, on a parity level.
    fn data(&self, blocks: std::ops::Range<u64>, write: bool) -> Vec<Physical> {
        let Layout::Parity(parity) = &self.layout else { unreachable!("asked of parity levels") };
        let at = |block| {
            let (chunk, within) = self.split(block);
            let (stripe, d, _) = parity.locate(chunk * UNIT_SECTORS);
            let slot = parity.stripe(stripe).data_slot(d);
            self.physical(write, Place { slot, sector: stripe * UNIT_SECTORS }, within)
        };
        blocks.map(at).collect()
    }

    /// Writes on a parity level, stripe by stripe: read what the new parity needs, then write.
    fn parity_writes(&self, from: u64, to: u64) -> Vec<Vec<Physical>> {
        let Layout::Parity(parity) = &self.layout else { unreachable!("asked of parity levels") };
        let stripe_blocks = u64::from(parity.data_members()) * self.problem.chunk_blocks;
        let mut phases = Vec::new();
        let mut begin = from;
        while begin < to {
            let stripe = begin / stripe_blocks;
            let (first, last) = (stripe * stripe_blocks, (stripe + 1) * stripe_blocks);
            let end = to.min(last);
            let mut writes = self.data(begin..end, true);
            let p = parity.stripe(stripe).p;
            let mut seen = BTreeSet::new();
            let rows: Vec<u64> =
                writes.iter().map(|write| write.offset).filter(|&at| seen.insert(at)).collect();
            let p_at = |write| rows.iter().map(move |&offset| Physical { write, disk: p, offset });
            let written = end - begin;
            // Subtractive where it reads no more than additive would, by the book's count, which
            // takes one parity block whatever the rows.
            let reads: Vec<Physical> = if written < stripe_blocks - written {
                self.data(begin..end, false).into_iter().chain(p_at(false)).collect()
            } else {
                let mut others = self.data(first..begin, false);
                others.extend(self.data(end..last, false));
                others
            };
            if !reads.is_empty() {
                phases.push(reads);
            }
            writes.extend(p_at(true));
            phases.push(writes);
            begin = end;
        }
        phases
    }
}

impl Iterator for Solver {
    type Item = Result<Step, ProblemError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let logical = self.draw();
        let step = self.answer(logical);
        if step.is_err() {
            self.left = 0;
        }
        Some(step)
    }
}

/// A disk of the book.
#[derive(Clone, Copy, Debug, Default)]
struct Disk {
    at: Option<u64>,
    tally: DiskTally,
}

impl Disk {
    fn access(&mut self, offset: u64) {
        let tally = &mut self.tally;
        tally.ios += 1;
        let near = self.at.filter(|&at| {
            at / BLOCKS_PER_TRACK == offset / BLOCKS_PER_TRACK
                || at.abs_diff(offset) < BLOCKS_PER_TRACK
        });
        match near {
            Some(at) => {
                let distance = at.abs_diff(offset);
                if distance == 1 {
                    tally.sequential += 1;
                } else {
                    tally.nearly += 1;
                }
                tally.busy_ms += distance as f64 * TRANSFER_MS;
            }
            None => {
                tally.random += 1;
                tally.busy_ms += SEEK_MS + TRANSFER_MS;
            }
        }
        self.at = Some(offset);
    }
}

/// Python's `random` after `seed(n)`: a Mersenne Twister keyed with the number, 53 bits a fraction.
#[derive(Debug)]
struct PythonRandom(Mt);

impl PythonRandom {
    fn new(seed: u32) -> Self {
        Self(Mt::new_with_key([seed]))
    }

    /// From 0 up to, not including, 1.
    fn fraction(&mut self) -> f64 {
        let (high, low) = (self.0.next_u32() >> 5, self.0.next_u32() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests;
