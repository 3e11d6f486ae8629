//! The vector unit of every machine: four `u64` words, in safe code.
//!
//! The compiler turns the words into vector registers where there are any. Multiplying all bytes of
//! a word by g at once is the one trick: a shift moves each byte's bits left; bytes whose top bit
//! fell out get XOR 0x1d, through a mask that is 0xff for them and 0 for the rest. Multiplying by
//! another constant is Horner's rule over its bits.

use super::gf;
use super::vector::{Counted, Kernel, Native, Unit};

const WORD: usize = size_of::<u64>();
const WORDS: usize = 4;

/// Safe code needs no proof.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// A byte in each byte of a word.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// Every byte of a word times g.
#[inline(always)]
fn double(word: u64) -> u64 {
    let top = word & spread(0x80);
    // Per byte: 0x100 - 1 where the top bit was set. The borrow of one byte meets the 1 that the
    // shift left in it, so bytes do not disturb each other.
    let mask = (top << 1).wrapping_sub(top >> 7);
    ((word & spread(0x7f)) << 1) ^ (mask & spread(gf::REDUCTION))
}

impl Native for Portable {
    const COUNTED: Counted = Counted::NEVER;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

impl Unit for Portable {
    type V = [u64; WORDS];
    type Factor = u8;
    const WIDTH: usize = WORD * WORDS;

    #[inline(always)]
    fn zero(self) -> Self::V {
        [0; WORDS]
    }

    #[inline(always)]
    fn load(self, from: &[u8]) -> Self::V {
        let (words, _) = from[..Self::WIDTH].as_chunks();
        std::array::from_fn(|i| u64::from_le_bytes(words[i]))
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [u8]) {
        let (words, _) = to[..Self::WIDTH].as_chunks_mut();
        for (to, word) in words.iter_mut().zip(v) {
            *to = word.to_le_bytes();
        }
    }

    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] ^ b[i])
    }

    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn is_zero(self, v: Self::V) -> bool {
        v == [0; WORDS]
    }

    #[inline(always)]
    fn double(self, v: Self::V) -> Self::V {
        v.map(double)
    }

    #[inline(always)]
    fn factor(self, element: u8) -> u8 {
        element
    }

    #[inline(always)]
    fn times(self, v: Self::V, factor: u8) -> Self::V {
        let Some(top) = factor.checked_ilog2() else { return self.zero() };
        let mut product = v;
        for bit in (0..top).rev() {
            product = self.double(product);
            if factor & (1 << bit) != 0 {
                product = self.xor(product, v);
            }
        }
        product
    }
}
