//! The kinds of passes over a whole array.

use std::fmt;

/// A pass over the whole array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make copies or parity agree after an unclean stop or on a new array.
    Resync,
    /// Rebuild members that are not in sync.
    Recover,
    /// Compare and count, change nothing but unreadable sectors.
    Check {
        /// RAID6: name the member a difference points at.
        locate: bool,
    },
    /// Compare and mend: copy from the first in-sync slot, or rewrite parity.
    Repair {
        /// RAID6: rewrite the member a difference points at, where a whole sector agrees on one.
        locate: bool,
    },
}

impl Action {
    /// md's word for it (`sync_action`, `/proc/mdstat`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Recover => "recovery",
            Self::Check { .. } => "check",
            Self::Repair { .. } => "repair",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
