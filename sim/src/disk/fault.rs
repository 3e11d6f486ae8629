//! The ways in which a disk is broken at the moment.
//!
//! *Detected* faults come with an error: the device is gone, full or read-only, or some of its
//! blocks cannot be read (*latent*, healed by rewriting) or neither read nor written (*dead*).
//! *Silent* faults come with a success: a write that never lands, lands in part or lands
//! elsewhere, a flush that does nothing. Corruption of what is on the medium is done to it
//! directly, see [`SimDisk::corrupt`](super::SimDisk::corrupt).

use std::collections::BTreeSet;
use std::ops::Range;

use holdfast_core::block::{Fault, Op};

/// What the next write to the data of a disk does instead of landing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silent {
    /// Nothing.
    Lost,
    /// Some of its blocks land.
    Torn,
    /// It lands this many sectors further on.
    Misdirected(u64),
}

/// The state of a disk's defects.
#[derive(Debug, Default)]
pub(super) struct Defects {
    /// Answers everything with [`Fault::Gone`].
    pub(super) gone: bool,
    pub(super) read_only: bool,
    pub(super) full: bool,
    /// Flushes succeed and do nothing.
    pub(super) lying: bool,
    /// This many of the next requests are not answered until released.
    pub(super) sticky: u32,
    /// Latencies are multiplied by this.
    pub(super) slowness: u32,
    pub(super) silent: Option<Silent>,
    pub(super) latent: BTreeSet<u64>,
    pub(super) dead: BTreeSet<u64>,
    /// Dead sectors that missed a write, until one lands.
    pub(super) stale: BTreeSet<u64>,
    /// Sectors that hold what nobody meant to be there, until they are written.
    pub(super) unsound: BTreeSet<u64>,
    /// The same, also those that have been written since.
    pub(super) once_unsound: BTreeSet<u64>,
    /// Those that silent faults have struck since somebody asked.
    pub(super) struck: BTreeSet<u64>,
}

impl Defects {
    /// The error a request meets before it can do anything, if any.
    pub(super) fn refuses(&self, op: &Op) -> Option<Fault> {
        match () {
            () if self.gone => Some(Fault::Gone),
            () if self.read_only && op.is_write() => Some(Fault::ReadOnly),
            () if self.full && op.is_write() => Some(Fault::Full),
            () => None,
        }
    }

    /// Whether all these sectors can be read.
    pub(super) fn readable(&self, range: Range<u64>) -> bool {
        self.latent.range(range.clone()).next().is_none() && self.dead.range(range).next().is_none()
    }

    /// These sectors hold what nobody meant to be there.
    pub(super) fn spoil(&mut self, range: Range<u64>) {
        self.unsound.extend(range.clone());
        self.once_unsound.extend(range.clone());
        self.struck.extend(range);
    }

    /// Sectors that were written can be read again, and are what was meant.
    pub(super) fn heal(&mut self, range: Range<u64>) {
        if !self.unsound.is_empty() {
            self.unsound.retain(|sector| !range.contains(sector));
        }
        for set in [&mut self.latent, &mut self.stale] {
            if !set.is_empty() {
                set.retain(|sector| !range.contains(sector));
            }
        }
    }
}
