//! What goes wrong with which requests, and for how long.
//!
//! A [`Rule`] says *where* (a range of sectors), *what* (kinds of operation), *how* ([`Effect`])
//! and *for how long* ([`Lasts`]). Rules are plain values; [`Faulty`](super::Faulty) obeys them.

use std::ops::Range;

use holdfast_core::block::{Fault, Request};

use super::Kind;

/// A set of kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Reads.
    pub const READ: Self = Self::of(&[Kind::Read]);
    /// Whatever changes contents.
    pub const WRITE: Self = Self::of(&[Kind::Write, Kind::Zero, Kind::Discard]);
    /// Flushes.
    pub const FLUSH: Self = Self::of(&[Kind::Flush]);
    /// Discards alone.
    pub const DISCARD: Self = Self::of(&[Kind::Discard]);
    /// Everything.
    pub const ALL: Self =
        Self::of(&[Kind::Read, Kind::Write, Kind::Flush, Kind::Discard, Kind::Zero]);

    /// These kinds.
    pub const fn of(kinds: &[Kind]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `kind` is among them.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done; this is the answer.
    Fail(Fault),
    /// A write lands in part: a random subset of its blocks. This is the answer.
    Torn(Result<(), Fault>),
    /// Nothing is done, and success is claimed.
    Lost,
    /// A write lands so many sectors further on, around the rule's range, and success is claimed.
    Misdirected(u64),
    /// A read answers with bits flipped in the rule's range, and success is claimed.
    Corrupt,
    /// No answer, and nothing done, until [`Faulty::release`](super::Faulty::release).
    Stuck,
}

/// For how long a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Until it is taken back.
    Always,
    /// For so many requests.
    Times(u32),
    /// Sector by sector, until a write covers it: a latent sector error, or flipped bits.
    UntilRewritten,
}

/// One way in which a device fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Sectors; a flush is everywhere.
    pub range: Range<u64>,
    /// Operations.
    pub kinds: Kinds,
    /// What happens.
    pub effect: Effect,
    /// For how long.
    pub lasts: Lasts,
}

impl Rule {
    /// A rule for some kinds of operation, anywhere, always.
    pub const fn new(kinds: Kinds, effect: Effect) -> Self {
        Self { range: 0..u64::MAX, kinds, effect, lasts: Lasts::Always }
    }

    /// Sectors that cannot be read until they are written.
    pub const fn latent(range: Range<u64>) -> Self {
        Self {
            range,
            kinds: Kinds::READ,
            effect: Effect::Fail(Fault::Medium),
            lasts: Lasts::UntilRewritten,
        }
    }

    /// Sectors that are read with flipped bits until they are written.
    pub const fn corrupt(range: Range<u64>) -> Self {
        Self { range, kinds: Kinds::READ, effect: Effect::Corrupt, lasts: Lasts::UntilRewritten }
    }

    /// The same in this range only.
    #[must_use]
    pub const fn at(self, range: Range<u64>) -> Self {
        Self { range, kinds: self.kinds, effect: self.effect, lasts: self.lasts }
    }

    /// The same for so many requests only.
    #[must_use]
    pub const fn times(self, times: u32) -> Self {
        Self {
            range: self.range,
            kinds: self.kinds,
            effect: self.effect,
            lasts: Lasts::Times(times),
        }
    }

    pub(super) fn applies(&self, request: &Request) -> bool {
        let kind = Kind::of(&request.op);
        let end = request.sector.saturating_add(request.op.sectors());
        let here = request.sector < self.range.end && self.range.start < end;
        self.kinds.contains(kind) && (here || kind == Kind::Flush)
    }
}
