//! What a map reports.

use std::fmt;

use holdfast_core::block::Fault;
use holdfast_core::time::Duration;

use crate::identity::WrongDisk;
use crate::path::Why;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A read.
    Read,
    /// A write, a discard or a zeroing.
    Write,
    /// A flush.
    Flush,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Flush];

    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
        })
    }
}

/// Something happened. Paths are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The map knows now whose disk it is.
    Identified {
        /// The disk's wwid or name.
        wwid: String,
    },
    /// A path is not used any more.
    PathFailed {
        /// Which.
        path: usize,
        /// Why.
        why: Why,
    },
    /// A path is used again.
    PathReinstated {
        /// Which.
        path: usize,
        /// Whether it still owes a success of the kind that failed.
        on_probation: bool,
    },
    /// A path leads to another disk.
    WrongDisk {
        /// Which.
        path: usize,
        /// How it is known.
        why: WrongDisk,
    },
    /// A path fails too often and is used last from now on, or is well again.
    Marginal {
        /// Which.
        path: usize,
        /// Whether it is marginal now.
        now: bool,
    },
    /// Another group is used.
    GroupSwitched {
        /// The group before, if any.
        from: Option<usize>,
        /// The group now.
        to: usize,
        /// Whether because a better one is there, not because the old one failed.
        failback: bool,
    },
    /// No path is good for a kind of request; they wait, or fail.
    NoPath {
        /// The kind.
        kind: Kind,
        /// How long they wait; `None` for as long as it takes.
        patience: Option<Duration>,
    },
    /// Patience is at an end: requests of this kind fail.
    QueueTimedOut {
        /// The kind.
        kind: Kind,
    },
    /// There is a path again.
    PathsAgain {
        /// The kind.
        kind: Kind,
    },
    /// An attempt was given up; its answer may still come.
    GivenUp {
        /// On which path.
        path: usize,
        /// What.
        kind: Kind,
        /// First sector.
        sector: u64,
        /// Sectors.
        sectors: u64,
    },
    /// The answer to an attempt that was given up has come.
    LateAnswer {
        /// On which path.
        path: usize,
        /// What.
        kind: Kind,
        /// First sector.
        sector: u64,
        /// How late.
        late: Duration,
        /// How it ended.
        result: Result<(), Fault>,
    },
    /// A write is held back by an older one.
    HeldBack {
        /// First sector.
        sector: u64,
        /// Sectors.
        sectors: u64,
    },
    /// Writes of a path that were given up can no longer land: it was proven.
    Fenced {
        /// Which path.
        path: usize,
        /// How many were.
        writes: usize,
    },
    /// Writes that were given up are held for past, by the clock alone.
    QuarantineEnded {
        /// Which path.
        path: usize,
        /// First sector.
        sector: u64,
    },
    /// A write succeeded after it was proven that it could not: the fence is none.
    FenceBroken {
        /// Which path.
        path: usize,
        /// First sector.
        sector: u64,
    },
    /// Writes that another path's flush cannot reach are written again.
    Replayed {
        /// The path whose cache is out of reach.
        path: usize,
        /// Bytes.
        bytes: u64,
    },
    /// A path was there too long without a link and is gone.
    PathRemoved {
        /// Which.
        path: usize,
    },
}
