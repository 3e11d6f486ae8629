//! How a request can fail, and who should act on it.
//!
//! The class of a fault decides the responder: a medium error is for redundancy to heal, a lost
//! path for multipath to route around, a full disk for a person.

use std::fmt;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The medium could not read or write these blocks; others may be fine.
    Medium,
    /// The way to the device failed; the device may be fine.
    Transport,
    /// No answer in time; whether a write happened is unknown.
    Timeout,
    /// The device is no longer there.
    Gone,
    /// No room for the data (`ENOSPC`, `EDQUOT`); nothing is wrong with the device.
    Full,
    /// The device takes no writes.
    ReadOnly,
    /// A check above the medium found the contents to be wrong.
    Corrupt,
    /// The request lies outside the device.
    OutOfRange,
    /// The device does not do this kind of request, or not in this state.
    Refused,
}

/// Who should act on a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Responder {
    /// RAID: take the range from redundancy and write it again.
    Redundancy,
    /// Multipath: try another path; without one the device is as good as lost.
    Paths,
    /// A person: make room.
    Operator,
    /// The caller: the request itself was wrong.
    Caller,
}

impl Fault {
    /// Every class, for tables.
    pub const ALL: [Self; 9] = [
        Self::Medium,
        Self::Transport,
        Self::Timeout,
        Self::Gone,
        Self::Full,
        Self::ReadOnly,
        Self::Corrupt,
        Self::OutOfRange,
        Self::Refused,
    ];

    /// Who should act on this fault first.
    pub const fn responder(self) -> Responder {
        match self {
            Self::Medium | Self::Corrupt => Responder::Redundancy,
            Self::Transport | Self::Timeout | Self::Gone => Responder::Paths,
            Self::Full => Responder::Operator,
            Self::ReadOnly | Self::OutOfRange | Self::Refused => Responder::Caller,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Medium => "medium error",
            Self::Transport => "transport error",
            Self::Timeout => "no answer in time",
            Self::Gone => "device is gone",
            Self::Full => "no space left",
            Self::ReadOnly => "device is read-only",
            Self::Corrupt => "contents fail their check",
            Self::OutOfRange => "outside the device",
            Self::Refused => "refused",
        })
    }
}

impl std::error::Error for Fault {}
