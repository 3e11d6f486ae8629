//! The vector unit of 64-bit ARM: NEON, 16 bytes.
//!
//! Multiplying by g is a shift and a masked XOR, by other constants two table look-ups (`tbl`, whose
//! tables of 16 bytes are what [`NIBBLES`] holds). NEON has no stores past the cache worth having.
//!
//! This is a room with unsafe code, of the same kinds and sound for the same reasons as those of
//! `x86_64.rs`: a [`Neon`] is proof of its instructions, pointers come from slices whose length has
//! been checked, and loads and stores want no alignment.

#![allow(unsafe_code, reason = "vector instructions; see above")]

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::constants::NIBBLES;
use super::gf;
use super::vector::{Counted, Kernel, Native, Unit};

/// 16 bytes.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The unit, if this CPU has it.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl Native for Neon {
    const COUNTED: Counted = Counted::NEVER;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn run<K: Kernel>(unit: Neon, kernel: K) -> K::Output {
            kernel.run(unit)
        }
        // SAFETY: `self` proves that the CPU has NEON.
        unsafe { run(self, kernel) }
    }
}

/// Defines methods whose bodies are instructions of the unit.
macro_rules! instructions {
    ($(fn $name:ident($self:ident $(, $arg:ident: $type:ty)*) -> $out:ty $body:block)*) => { $(
        #[inline(always)]
        fn $name($self $(, $arg: $type)*) -> $out {
            // SAFETY: `self` proves that the CPU has these instructions, and none touches memory
            // but through a reference.
            unsafe { $body }
        }
    )* };
}

impl Unit for Neon {
    type V = uint8x16_t;
    type Factor = [uint8x16_t; 2];
    const WIDTH: usize = 16;

    #[inline(always)]
    fn load(self, from: &[u8]) -> uint8x16_t {
        let from = from[..Self::WIDTH].as_ptr();
        // SAFETY: 16 bytes from here are in the slice; `self` proves the instruction.
        unsafe { vld1q_u8(from) }
    }

    #[inline(always)]
    fn store(self, v: uint8x16_t, to: &mut [u8]) {
        let to = to[..Self::WIDTH].as_mut_ptr();
        // SAFETY: 16 bytes from here are in the slice; `self` proves the instruction.
        unsafe { vst1q_u8(to, v) }
    }

    instructions! {
        fn zero(self) -> uint8x16_t { vdupq_n_u8(0) }
        fn xor(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t { veorq_u8(a, b) }
        fn or(self, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t { vorrq_u8(a, b) }
        fn is_zero(self, v: uint8x16_t) -> bool { vmaxvq_u8(v) == 0 }
        fn double(self, v: uint8x16_t) -> uint8x16_t {
            let top = vcltzq_s8(vreinterpretq_s8_u8(v));
            veorq_u8(vshlq_n_u8::<1>(v), vandq_u8(top, vdupq_n_u8(gf::REDUCTION)))
        }
        fn factor(self, element: u8) -> [uint8x16_t; 2] {
            let [low, high] = &NIBBLES[usize::from(element)];
            [vld1q_u8(low.as_ptr()), vld1q_u8(high.as_ptr())]
        }
        fn times(self, v: uint8x16_t, factor: [uint8x16_t; 2]) -> uint8x16_t {
            let low = vqtbl1q_u8(factor[0], vandq_u8(v, vdupq_n_u8(15)));
            veorq_u8(low, vqtbl1q_u8(factor[1], vshrq_n_u8::<4>(v)))
        }
    }
}
