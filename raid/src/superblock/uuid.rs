//! Sixteen bytes that name an array or a member.
//!
//! md prints them in stored order as four groups of eight hex digits joined by colons; everybody
//! else writes 8-4-4-4-12 with dashes. Both are read here, md's form is printed.
//!
//! Source: mdadm `super1.c` (`examine_super1`).

use std::fmt;
use std::str::FromStr;

/// Identity of an array (`set_uuid`) or of a member (`device_uuid`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index != 0 && index % 4 == 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

/// A word that is no uuid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no uuid: expected 32 hex digits, as 00112233:44556677:8899aabb:ccddeeff or with dashes"
)]
pub struct UuidError(pub String);

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(word: &str) -> Result<Self, UuidError> {
        let wrong = || UuidError(word.to_owned());
        let groups: &[usize] = match word.len() {
            32 => &[32],
            35 => &[8, 8, 8, 8],
            36 => &[8, 4, 4, 4, 12],
            _ => return Err(wrong()),
        };
        let joint = if word.len() == 36 { '-' } else { ':' };
        let parts: Vec<&str> = word.split(joint).collect();
        if !parts.iter().map(|part| part.len()).eq(groups.iter().copied()) {
            return Err(wrong());
        }
        let digits = parts.concat();
        let mut bytes = [0u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let [high, low] = [hex_digit(pair[0]), hex_digit(pair[1])];
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_spellings_name_the_same_array() {
        let text = "00112233:44556677:8899aabb:ccddeeff";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!("00112233-4455-6677-8899-AABBCCDDEEFF".parse(), Ok(uuid));
        assert_eq!("00112233445566778899aabbccddeeff".parse(), Ok(uuid));
    }

    #[test]
    fn anything_else_is_refused() {
        for word in [
            "",
            "00112233:44556677:8899aabb",
            "00112233:44556677:8899aabb:ccddeefg",
            "00112233-44556677-8899aabb-ccddeeff",
            "0011223:344556677:8899aabb:ccddeeff",
            "+0112233445566778899aabbccddeeff",
            "0011223344556677:8899aabb:ccddeef",
            "é0112233:44556677:8899aabb:ccddeef",
        ] {
            assert!(word.parse::<Uuid>().is_err(), "{word:?}");
        }
    }
}
