//! How much is kept beside a block to recognise it by.

use std::fmt;
use std::str::FromStr;

/// A way to protect blocks against faults that no error tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Scheme {
    /// Nothing: the layer hands everything through.
    #[default]
    None,
    /// A checksum in the block's own write.
    Checksum,
    /// A checksum, and whose block it is.
    Identity,
    /// A checksum, and every write is read back and compared.
    WriteVerify,
    /// A checksum, whose block it is, and every write is read back.
    VerifyIdentity,
    /// A checksum, whose block it is, and its version, of which the blocks written beside it on
    /// other members (parity among them) carry a copy.
    Version,
    /// A checksum in another place, written by a write of its own.
    Elsewhere,
}

impl Scheme {
    /// Every one, the weakest first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Checksum,
        Self::Identity,
        Self::WriteVerify,
        Self::VerifyIdentity,
        Self::Version,
        Self::Elsewhere,
    ];

    /// Its name in scripts and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Checksum => "checksum",
            Self::Identity => "identity",
            Self::WriteVerify => "write-verify",
            Self::VerifyIdentity => "write-verify-identity",
            Self::Version => "version",
            Self::Elsewhere => "elsewhere",
        }
    }

    /// Whether a block's member and place are compared.
    pub(super) const fn identifies(self) -> bool {
        matches!(self, Self::Identity | Self::VerifyIdentity | Self::Version)
    }

    /// Whether writes are read back.
    pub(super) const fn reads_back(self) -> bool {
        matches!(self, Self::WriteVerify | Self::VerifyIdentity)
    }

    /// Whether versions are compared with what other members carry.
    pub(super) const fn mirrors_versions(self) -> bool {
        matches!(self, Self::Version)
    }

    /// Whether seals lie apart from their blocks.
    pub const fn is_apart(self) -> bool {
        matches!(self, Self::Elsewhere)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no integrity scheme is called {0:?}")]
pub struct UnknownScheme(pub String);

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(word: &str) -> Result<Self, UnknownScheme> {
        let named = Self::ALL.into_iter().find(|scheme| scheme.name() == word);
        named.ok_or_else(|| UnknownScheme(word.to_owned()))
    }
}
