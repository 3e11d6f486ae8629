//! What a guarded device says of itself.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::Scheme;

const MAGIC: [u8; 8] = *b"hf-guard";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Raw {
    magic: [u8; 8],
    /// Checksum of everything below.
    check: U32,
    /// The scheme's place in [`Scheme::ALL`]; seals of another scheme lie elsewhere.
    scheme: U32,
    /// Which member of the set; seals name it.
    member: U32,
    zero: U32,
    /// Grows each time the device is opened; the upper half of every version.
    epoch: U64,
    rest: [u8; 480],
}

const _: () = assert!(size_of::<Raw>() == 512);

const UNCHECKED: usize = 12;

/// The header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) scheme: Scheme,
    pub(super) member: u32,
    pub(super) epoch: u32,
}

impl Header {
    pub(super) const fn new(scheme: Scheme, member: u32) -> Self {
        Self { scheme, member, epoch: 0 }
    }

    pub(super) fn emit(self) -> [u8; 512] {
        let mut raw = Raw::new_zeroed();
        raw.magic = MAGIC;
        raw.scheme = (self.scheme as u32).into();
        raw.member = self.member.into();
        raw.epoch = u64::from(self.epoch).into();
        raw.check = crc32fast::hash(&raw.as_bytes()[UNCHECKED..]).into();
        zerocopy::transmute!(raw)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let raw = Raw::ref_from_bytes(bytes).ok()?;
        let check = crc32fast::hash(&bytes[UNCHECKED..]);
        if raw.magic != MAGIC || raw.check.get() != check {
            return None;
        }
        let scheme = *Scheme::ALL.get(raw.scheme.get() as usize)?;
        let epoch = u32::try_from(raw.epoch.get()).ok()?;
        Some(Self { scheme, member: raw.member.get(), epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_nothing_else_does() {
        for scheme in Scheme::ALL {
            let header = Header { scheme, member: 5, epoch: 77 };
            let mut bytes = header.emit();
            assert_eq!(Header::parse(&bytes), Some(header));
            bytes[300] ^= 1;
            assert_eq!(Header::parse(&bytes), None);
        }
        assert_eq!(Header::parse(&[0; 512]), None);
        assert_eq!(Header::parse(&[0; 100]), None);
    }
}
