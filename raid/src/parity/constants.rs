//! Multiplication by a constant, in the forms instructions want it.
//!
//! Multiplying by a constant c is linear: c·(a + b) = c·a + c·b. So it is decided by what c does to
//! the eight single bits, and there are two ways to let a vector unit do it:
//!
//! - *A bit matrix* ([`MATRIX`]), for `gf2p8affineqb`, which multiplies an 8×8 bit matrix with
//!   every byte. Column `j` is c·x^j. The instruction wants row `i`, which makes bit `i` of the
//!   product, in byte `7 - i`. (Its sister `gf2p8mulb` is of no use: its field is that of AES,
//!   modulo 0x11b.)
//! - *Two tables of 16* ([`NIBBLES`]), for byte shuffles: c·a is c times the low half of a plus c
//!   times the high half, each looked up.

use super::gf;

/// For every element, multiplying by it as a bit matrix.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) static MATRIX: [u64; 256] = matrices();

/// For every element, its products with 0x00 … 0x0f, then with 0x00, 0x10 … 0xf0.
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) static NIBBLES: [[[u8; 16]; 2]; 256] = nibbles();

/// The bit matrix of multiplying by an element.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) const fn matrix(element: u8) -> u64 {
    let mut matrix = 0;
    let mut column = 0;
    while column < u8::BITS {
        let product = gf::mul(element, 1 << column);
        let mut row = 0;
        while row < u8::BITS {
            let bit = (product >> row & 1) as u64;
            matrix |= bit << ((7 - row) * 8 + column);
            row += 1;
        }
        column += 1;
    }
    matrix
}

#[cfg(any(test, target_arch = "x86_64"))]
const fn matrices() -> [u64; 256] {
    let mut all = [0; 256];
    let mut element = 0;
    while element < all.len() {
        all[element] = matrix(element as u8);
        element += 1;
    }
    all
}

#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
const fn nibbles() -> [[[u8; 16]; 2]; 256] {
    let mut all = [[[0; 16]; 2]; 256];
    let mut element = 0;
    while element < all.len() {
        let mut nibble = 0;
        while nibble < 16 {
            all[element][0][nibble] = gf::mul(element as u8, nibble as u8);
            all[element][1][nibble] = gf::mul(element as u8, (nibble << 4) as u8);
            nibble += 1;
        }
        element += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    /// What `gf2p8affineqb` does to a byte, by Intel's description of it.
    fn affine(byte: u8, matrix: u64) -> u8 {
        let rows = matrix.to_le_bytes();
        (0..8).map(|i| ((rows[7 - i] & byte).count_ones() as u8 & 1) << i).sum()
    }

    #[test]
    fn every_product_is_right_in_both_forms() {
        for element in 0..=255 {
            for byte in 0..=255 {
                let expected = reference::mul(element, byte);
                let [low, high] = NIBBLES[usize::from(element)];
                let looked_up = low[usize::from(byte & 15)] ^ high[usize::from(byte >> 4)];
                assert_eq!(looked_up, expected, "{element} · {byte}");
                let matrix = MATRIX[usize::from(element)];
                assert_eq!(affine(byte, matrix), expected, "{element} · {byte}");
            }
        }
    }
}
