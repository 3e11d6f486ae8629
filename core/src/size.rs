//! Sizes as people write them and as disks count them.
//!
//! The unit of addresses and lengths everywhere in holdfast is the 512-byte *sector*, as in md;
//! names carry it (`sector` for a place, `sectors` for a length, `bytes` where bytes are meant).

use std::fmt;

/// Bytes in a sector.
pub const SECTOR_BYTES: u64 = 512;

/// Sectors in a 4 KiB block.
pub const BLOCK_SECTORS: u64 = 8;

/// Why a word is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No digits, an unknown unit or stray characters.
    #[error("{0:?} is not a size: write a number and a unit, as 64K, 1.5TiB or 128s (sectors)")]
    Malformed(String),
    /// More than 2^64 − 1 bytes.
    #[error("{0:?} is more than 16 EiB")]
    TooLarge(String),
    /// The fraction does not come out as whole bytes.
    #[error("{0:?} is not a whole number of bytes")]
    Fraction(String),
}

/// Reads a size in bytes: `4096`, `64K`, `64KiB`, `1.5TiB`, `2MB`, `128s`.
///
/// K, M, G, T, P and E are powers of 1024, with or without `iB`; `KB`, `MB`, … are powers of 1000;
/// `s` counts sectors; a bare number is multiplied by `bare_unit` (mdadm reads bare sizes as KiB,
/// most other places as bytes).
pub fn parse_bytes(word: &str, bare_unit: u64) -> Result<u64, SizeError> {
    let malformed = || SizeError::Malformed(word.to_owned());
    let text = word.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit = unit_bytes(unit.trim_start(), bare_unit).ok_or_else(malformed)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(malformed());
    }
    let too_large = || SizeError::TooLarge(word.to_owned());
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let bytes = whole.checked_mul(unit).ok_or_else(too_large)?;
    if fraction.is_empty() {
        return Ok(bytes);
    }
    if fraction.len() > 15 {
        return Err(malformed());
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let part: u128 = fraction.parse().map_err(|_| malformed())?;
    let scaled = part * u128::from(unit);
    if !scaled.is_multiple_of(scale) {
        return Err(SizeError::Fraction(word.to_owned()));
    }
    bytes.checked_add((scaled / scale) as u64).ok_or_else(too_large)
}

fn unit_bytes(unit: &str, bare_unit: u64) -> Option<u64> {
    if unit.is_empty() {
        return Some(bare_unit);
    }
    let lower = unit.to_ascii_lowercase();
    match lower.as_str() {
        "s" | "sectors" => return Some(SECTOR_BYTES),
        "b" | "bytes" => return Some(1),
        _ => {}
    }
    let power = "kmgtpe".find(lower.chars().next()?)? as u32 + 1;
    match &lower[1..] {
        "" | "i" | "ib" => 1024u64.checked_pow(power),
        "b" => 1000u64.checked_pow(power),
        _ => None,
    }
}

/// A byte count for people: `19.0 MiB`, `512 B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut unit = 0;
        while unit + 1 < UNITS.len() && self.0 >> (10 * (unit + 1)) != 0 {
            unit += 1;
        }
        if unit == 0 {
            return f.pad(&format!("{} B", self.0));
        }
        let scale = 1u64 << (10 * unit);
        let text = if self.0.is_multiple_of(scale) {
            format!("{} {}", self.0 / scale, UNITS[unit])
        } else {
            let tenths = (u128::from(self.0) * 10 + u128::from(scale) / 2) / u128::from(scale);
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (word, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("64k", 65536),
            ("64KiB", 65536),
            ("64 KiB", 65536),
            ("2MB", 2_000_000),
            ("1.5TiB", 1_649_267_441_664),
            ("0.5K", 512),
            ("128s", 65536),
            ("15E", 15 << 60),
        ] {
            assert_eq!(parse_bytes(word, 1), Ok(bytes), "{word}");
        }
        assert_eq!(parse_bytes("64", 1024), Ok(65536));
        for word in
            ["", "K", "64Q", "1.2.3M", "1.", ".5M", "-1", "1e9", "64KiBs", "1.0000000000000001K"]
        {
            assert!(matches!(parse_bytes(word, 1), Err(SizeError::Malformed(_))), "{word}");
        }
        assert!(matches!(parse_bytes("16E", 1), Err(SizeError::TooLarge(_))));
        assert!(matches!(parse_bytes("99999999999999999999", 1), Err(SizeError::TooLarge(_))));
        assert!(matches!(parse_bytes("0.3s", 1), Err(SizeError::Fraction(_))));
    }

    #[test]
    fn people_read_sizes_in_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (65536, "64 KiB"),
            (1536, "1.5 KiB"),
            (39_845_888, "38 MiB"),
            (19_922_944, "19 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Human(bytes).to_string(), text);
        }
    }
}
