//! Any block device under this world.
//!
//! Whoever builds storage on [`BlockDevice`]s can have it judged here without an array of ours: a
//! [`Trial`] makes simulated disks, has a closure build the device on them, sends it requests,
//! breaks the disks as a seed says, cuts the power at any answer of any disk and builds the device
//! again from what is left. The ledger of [`crate::ledger`] judges every answer:
//!
//! - data is what was written; what was flushed, or written with FUA, survives;
//! - what was read does not change without a write;
//! - there is no error while no more disks are damaged than the device promises to bear;
//! - every request is answered, once, and nothing panics.
//!
//! A disk is *damaged* while it is gone, or back after something was asked of it meanwhile, or
//! has sectors that cannot be read. Faults that would damage more than is promised are *spared*,
//! unless the trial goes [beyond](Trial::beyond); then errors are in order, and wrong data is not.
//! Which sectors stand in for each other is for the device alone to know, so a trial counts whole
//! disks where the simulator of arrays counts rows.
//!
//! ```
//! use holdfast_sim::trial::{Promise, Trial};
//!
//! // A disk by itself promises little, and keeps it.
//! let promise = Promise { disks: 1, disk_sectors: 64, tolerance: 0 };
//! let trial = Trial::new(promise, |mut disks, _| Ok(disks.remove(0)));
//! assert!(trial.search(0..50).is_none());
//! ```
//!
//! `examples/toy_mirror.rs` finds a bug in a mirror of thirty lines.

mod carry_out;
mod history;
mod shared;

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use holdfast_core::block::BlockDevice;

use crate::disk::Latency;
use crate::run::{Oracle, Violation};
use crate::script::Line;
use crate::shrink::{smaller, smallest};
use crate::world::VirtualClock;

use carry_out::{Court, Stop};

pub use history::Bounds;
#[cfg(feature = "strategy")]
pub use history::strategy;
pub use shared::SharedDisk;

/// What the device on trial gets, and what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// How many disks it is built on.
    pub disks: usize,
    /// Sectors of 512 bytes of each.
    pub disk_sectors: u64,
    /// How many of them may be damaged without anybody above noticing.
    pub tolerance: usize,
}

/// A device on trial: how it is built, and what it is to bear.
#[derive(Clone, Debug)]
pub struct Trial<B> {
    promise: Promise,
    build: B,
    bounds: Bounds,
    images: Vec<Vec<u8>>,
    latency: Latency,
    beyond: bool,
}

/// A history that shows a broken promise, as short as it could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The seed that showed it.
    pub seed: u64,
    /// What happened, shrunk.
    pub history: Vec<Line>,
    /// What was broken; its line is one of the history's.
    pub violation: Violation,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        self.history.iter().try_for_each(|Line { after_us, act }| writeln!(f, "+{after_us} {act}"))
    }
}

/// Runs spent on making a history short.
const SHRINK_BUDGET: u32 = 2000;

impl<B, D> Trial<B>
where
    B: Fn(Vec<SharedDisk>, &mut VirtualClock) -> Result<D, String>,
    D: BlockDevice,
{
    /// A trial of what `build` makes of the disks, at first and after every crash. The clock is
    /// for what has to wait for the disks while it is built.
    ///
    /// An error of `build` counts as a needless one while the promise holds.
    pub fn new(promise: Promise, build: B) -> Self {
        let latency = Latency { least: 1, most: 9 };
        let bounds = Bounds::default();
        Self { promise, build, bounds, images: Vec::new(), latency, beyond: false }
    }

    /// The same with so much happening at most.
    #[must_use]
    pub const fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The same with disks that hold these bytes at first, instead of zeros. The device has to
    /// read as zeros all the same.
    #[must_use]
    pub fn on(mut self, images: Vec<Vec<u8>>) -> Self {
        self.images = images;
        self
    }

    /// The same with faults that exceed the promise: errors are in order then.
    #[must_use]
    pub const fn beyond(mut self) -> Self {
        self.beyond = true;
        self
    }

    /// What the trial is to bear.
    pub const fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Sectors of the device.
    ///
    /// # Panics
    /// If it cannot be built on disks that are whole.
    pub fn sectors(&self) -> u64 {
        Court::open(self, 0).sectors()
    }

    /// Carries one history out; the promise it breaks, if any. `seed` decides latencies and
    /// contents. A panic of the device is a broken promise too.
    pub fn run(&self, seed: u64, history: &[Line]) -> Option<Violation> {
        let mut line = 0;
        let held =
            catch_unwind(AssertUnwindSafe(|| Court::open(self, seed).hear(history, &mut line)));
        match held {
            Ok(Ok(()) | Err(Stop::Over)) => None,
            Ok(Err(Stop::Broken(oracle, detail))) => Some(Violation { oracle, detail, line }),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let detail = format!("panic: {}", text.unwrap_or("without a word"));
                Some(Violation { oracle: Oracle::Honesty, detail, line })
            }
        }
    }

    /// Looks for a seed whose history breaks a promise, and shrinks it.
    pub fn search(&self, seeds: Range<u64>) -> Option<Found> {
        let sectors = self.sectors();
        seeds.into_iter().find_map(|seed| {
            let history = self.bounds.draw(&self.promise, sectors, seed);
            let violation = self.run(seed, &history)?;
            Some(self.shrink(Found { seed, history, violation }))
        })
    }

    /// Makes a history short while the same oracle speaks.
    fn shrink(&self, mut found: Found) -> Found {
        let mut budget = SHRINK_BUDGET;
        loop {
            let before = found.history.clone();
            let mut run = found.history.len().div_ceil(2);
            while run > 0 {
                let mut at = 0;
                while at < found.history.len() {
                    let mut shorter = found.history.clone();
                    shorter.drain(at..(at + run).min(found.history.len()));
                    if !self.consider(&mut found, shorter, &mut budget) {
                        at += run;
                    }
                }
                run /= 2;
            }
            for at in 0..found.history.len() {
                for change in [
                    (|line| line.after_us = 0) as fn(&mut Line),
                    |line| smallest(&mut line.act),
                    |line| smaller(&mut line.act),
                ] {
                    let mut simpler = found.history.clone();
                    change(&mut simpler[at]);
                    self.consider(&mut found, simpler, &mut budget);
                }
            }
            if found.history == before || budget == 0 {
                return found;
            }
        }
    }

    fn consider(&self, found: &mut Found, history: Vec<Line>, budget: &mut u32) -> bool {
        if *budget == 0 || history == found.history {
            return false;
        }
        *budget -= 1;
        match self.run(found.seed, &history) {
            Some(violation) if violation.oracle == found.violation.oracle => {
                (found.history, found.violation) = (history, violation);
                true
            }
            _ => false,
        }
    }
}
