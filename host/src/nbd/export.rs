//! What is offered: the face of a device towards its clients.

use std::ops::Range;

use holdfast_core::block::BlockDevice;

use super::wire::transmission;

/// The largest request, in bytes.
pub const MAX_BLOCK_BYTES: u32 = 32 << 20;

/// The request size recommended to clients, in bytes.
pub const PREFERRED_BLOCK_BYTES: u32 = 4096;

/// An export: a name and the facts a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// What clients ask for; the empty name means it too.
    pub name: String,
    /// For people.
    pub description: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Requests are aligned to this, a power of two of at least 512.
    pub block_bytes: u32,
    /// Takes no writes.
    pub read_only: bool,
}

impl Export {
    /// Whether a client that asks for `name` means this export.
    pub fn answers_to(&self, name: &str) -> bool {
        name.is_empty() || name == self.name
    }

    /// What the export can do, as flags of [`transmission`].
    ///
    /// Several connections are always welcome: requests of all of them go to one device, whose
    /// flush covers whatever it has completed.
    pub const fn flags(&self) -> u16 {
        use transmission::{
            CAN_MULTI_CONN, HAS_FLAGS, READ_ONLY, SEND_CACHE, SEND_DF, SEND_FLUSH, SEND_FUA,
            SEND_TRIM, SEND_WRITE_ZEROES,
        };
        let reads = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_DF | SEND_CACHE | CAN_MULTI_CONN;
        reads | if self.read_only { READ_ONLY } else { SEND_TRIM | SEND_WRITE_ZEROES }
    }
}

/// A metadata context: what block status speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// `base:allocation`: holes and zeros.
    Allocation,
    /// `holdfast:health`: how much redundancy a range has.
    Health,
}

impl Context {
    /// Every context, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Allocation, Self::Health];

    /// Its name in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocation => "base:allocation",
            Self::Health => "holdfast:health",
        }
    }

    /// Its number in answers.
    pub const fn id(self) -> u32 {
        match self {
            Self::Allocation => 1,
            Self::Health => 2,
        }
    }
}

/// Flags of [`Context::Health`].
pub mod health {
    /// A slot of this range has no data in sync.
    pub const DEGRADED: u32 = 1 << 0;
    /// A rebuild or resync that will reach this range is under way.
    pub const REBUILDING: u32 = 1 << 1;
}

/// A run of bytes with the same flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its length, not 0.
    pub bytes: u64,
    /// Flags of the context.
    pub flags: u32,
}

/// A device that can say how its ranges are.
pub trait Offer: BlockDevice {
    /// Extents from the start of `bytes` on, covering at most that range, at least its first block
    /// and no more than `most` in number.
    fn describe(&self, context: Context, bytes: Range<u64>, most: usize) -> Vec<Extent>;
}
