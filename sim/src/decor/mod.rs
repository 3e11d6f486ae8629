//! Devices around devices: a fault, a delay, a record.
//!
//! Each decorator is a block device over any other, meets the same examiner, and can be stacked:
//! `Recorded<Faulty<Slow<MemDisk>>>` is a disk that is slow, breaks as told, and remembers what it
//! was asked.

mod faulty;
mod recorded;
mod rule;
mod slow;
mod volatile;

pub use faulty::{Faulty, RuleId, Tally};
pub use recorded::{Entry, Recorded};
pub use rule::{Effect, Kinds, Lasts, Rule};
pub use slow::{Latency, Slow};
pub use volatile::Volatile;

use holdfast_core::block::Op;

/// The kind of an operation, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A flush.
    Flush,
    /// A discard.
    Discard,
    /// A write of zeros that carries none.
    Zero,
}

impl Kind {
    /// The kind of `op`.
    pub const fn of(op: &Op) -> Self {
        match op {
            Op::Read(_) => Self::Read,
            Op::Write(..) => Self::Write,
            Op::Flush => Self::Flush,
            Op::Discard(_) => Self::Discard,
            Op::Zero(_) => Self::Zero,
        }
    }
}
