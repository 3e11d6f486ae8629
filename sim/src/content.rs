//! Contents that say who wrote them.
//!
//! Every sector a run writes tells which write of which run it came from and where it belongs, and
//! is filled to its last byte with words that follow from that. Whatever comes back can therefore
//! be traced: to its write, to another place, or to nothing, as the XOR of things that do not
//! belong together.

use std::fmt;

use holdfast_core::buf::is_zero;

use crate::disk::mix;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// A sector nobody has written to.
pub const ZEROS: [u8; SECTOR] = [0; SECTOR];

const WORDS: usize = SECTOR / 8;
const MAGIC: u64 = 0x686f_6c64_6661_7374;

/// What a sector holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(u64);

impl Value {
    /// Zeros.
    pub const ZERO: Self = Self(0);

    /// What write number `version` (from 1) puts there.
    pub const fn written(version: u32) -> Self {
        Self(version as u64)
    }

    /// The write it came from, unless it is zeros or nothing that was ever written there.
    pub const fn version(self) -> Option<u32> {
        if self.0 == 0 || self.0 >> 63 == 1 { None } else { Some(self.0 as u32) }
    }

    /// Whether no write ever put that there.
    pub const fn is_invented(self) -> bool {
        self.0 >> 63 == 1
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            Some(version) => write!(f, "write {version}"),
            None if *self == Self::ZERO => f.write_str("zeros"),
            None => write!(f, "something nobody wrote there ({:#x})", self.0 & (u64::MAX >> 1)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[inline]
fn words(seed: u64, sector: u64, version: u32) -> [u64; WORDS] {
    let base = mix(seed ^ mix(u64::from(version) << 32 ^ sector));
    let mut words = [0; WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = base.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    words[0] = MAGIC;
    words[1] = u64::from(version) << 32 | sector;
    words
}

/// Fills `bytes`, whole sectors from `sector` on, with the contents of write `version`.
pub fn fill(seed: u64, sector: u64, version: u32, bytes: &mut [u8]) {
    for (index, part) in bytes.chunks_exact_mut(SECTOR).enumerate() {
        let words = words(seed, sector + index as u64, version);
        for (to, word) in part.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
    }
}

/// Fills `bytes` with what nobody has ever written, and differs from place to place.
pub fn noise(seed: u64, place: u64, bytes: &mut [u8]) {
    let mut word = mix(seed ^ mix(place | 1 << 63));
    for to in bytes.chunks_exact_mut(8) {
        word = (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        to.copy_from_slice(&word.to_le_bytes());
    }
}

/// What a sector that should be `sector` holds.
pub fn decode(seed: u64, sector: u64, bytes: &[u8]) -> Value {
    let word = |index: usize| {
        let bytes = bytes[index * 8..index * 8 + 8].try_into();
        u64::from_le_bytes(bytes.expect("eight bytes"))
    };
    if is_zero(bytes) {
        return Value::ZERO;
    }
    let version = (word(1) >> 32) as u32;
    let claims = word(0) == MAGIC && word(1) & u64::from(u32::MAX) == sector;
    if claims && version > 0 {
        let wanted = words(seed, sector, version);
        if (0..WORDS).all(|index| word(index) == wanted[index]) {
            return Value::written(version);
        }
    }
    let digest = (0..WORDS).fold(0, |sum, index| mix(sum ^ word(index)));
    Value(digest | 1 << 63)
}

/// Where contents that do not belong where they are come from, in words.
pub fn provenance(seed: u64, bytes: &[u8]) -> String {
    let word = |index: usize| {
        let bytes = bytes[index * 8..index * 8 + 8].try_into();
        u64::from_le_bytes(bytes.expect("eight bytes"))
    };
    let (version, sector) = ((word(1) >> 32) as u32, word(1) & u64::from(u32::MAX));
    match decode(seed, sector, bytes) {
        value if value.version().is_some() => format!("sector {sector} of write {version}"),
        Value::ZERO => "zeros".to_owned(),
        _ => "no single write".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_name_their_write_and_nothing_else() {
        let mut bytes = [0; 2 * SECTOR];
        fill(7, 100, 3, &mut bytes);
        assert_eq!(decode(7, 101, &bytes[SECTOR..]), Value::written(3));
        assert!(decode(7, 100, &bytes[SECTOR..]).is_invented(), "another place");
        assert!(decode(8, 101, &bytes[SECTOR..]).is_invented(), "another run");
        assert_eq!(provenance(7, &bytes[SECTOR..]), "sector 101 of write 3");
        bytes[700] ^= 1;
        assert!(decode(7, 101, &bytes[SECTOR..]).is_invented());
        assert_eq!(decode(7, 5, &[0; SECTOR]), Value::ZERO);
    }

    #[test]
    fn sums_of_contents_are_nobody_s() {
        let mut sum = [0; SECTOR];
        for (sector, version) in [(1, 1), (2, 2), (3, 3)] {
            let mut part = [0; SECTOR];
            fill(7, sector, version, &mut part);
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum ^= part);
        }
        assert!((0..4).all(|sector| decode(7, sector, &sum).is_invented()));
    }
}
