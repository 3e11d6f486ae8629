//! Chance from the operating system, for what must differ from everything else in the world.
//!
//! Simulations and property tests never come here: they use `holdfast_core::rng` with a seed.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Sixteen random bytes for a UUID.
///
/// The version and variant bits of RFC 4122 (version 4) are set. md asks for no particular form,
/// but other tools that print these bytes as a UUID then print a well-formed one.
pub fn uuid_bytes() -> [u8; 16] {
    let mut bytes = random_bytes();
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    bytes
}

/// A seed for `holdfast_core::rng`.
pub fn seed() -> u64 {
    u64::from_le_bytes(random_bytes())
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => panic!("the kernel has randomness (Linux 3.17 or later): {errno}"),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_well_formed_and_differ() {
        let (a, b) = (uuid_bytes(), uuid_bytes());
        assert_ne!(a, b);
        for uuid in [a, b] {
            assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 0b10));
        }
        assert_ne!(seed(), seed());
    }
}
