//! Requests and their answers.

use super::Fault;
use crate::buf::{Buf, Payload};
use crate::size::SECTOR_BYTES;

/// The requester's name for a request; comes back with its completion. A device never looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Once the device has taken it; a flush makes it durable.
    Cached,
    /// Once it is durable (force unit access).
    Fua,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Fill the buffer.
    Read(Buf),
    /// Write the bytes.
    Write(Payload, Durability),
    /// Make completed writes durable. The request's sector means nothing.
    Flush,
    /// Forget this many sectors.
    Discard(u64),
    /// Write zeros to this many sectors.
    Zero(u64),
}

impl Op {
    /// Bytes the operation covers on the device.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Read(buf) => buf.len() as u64,
            Self::Write(data, _) => data.len() as u64,
            Self::Flush => 0,
            Self::Discard(sectors) | Self::Zero(sectors) => sectors.saturating_mul(SECTOR_BYTES),
        }
    }

    /// Sectors the operation covers on the device.
    pub fn sectors(&self) -> u64 {
        self.bytes() / SECTOR_BYTES
    }

    /// Whether the operation changes the device's contents.
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Discard(_) | Self::Zero(_))
    }
}

/// One thing asked of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the completion.
    pub tag: Tag,
    /// First sector.
    pub sector: u64,
    /// What to do there.
    pub op: Op,
}

impl Request {
    /// A request.
    pub const fn new(tag: Tag, sector: u64, op: Op) -> Self {
        Self { tag, sector, op }
    }

    /// This request, answered.
    pub fn complete(self, result: Result<(), Fault>) -> Completion {
        Completion { tag: self.tag, op: self.op, result }
    }
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Completion {
    /// The request's tag.
    pub tag: Tag,
    /// The request's operation: buffers come home.
    pub op: Op,
    /// How it went. After an error nothing is known of the range.
    pub result: Result<(), Fault>,
}
