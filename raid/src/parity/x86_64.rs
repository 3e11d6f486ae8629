//! The vector units of x86-64.
//!
//! | unit | bytes | adds three by | multiplies by |
//! | --- | --- | --- | --- |
//! | [`Avx512Gfni`] | 64 | `vpternlog` | `vgf2p8affineqb`: any product in one instruction |
//! | [`Avx512`] | 64 | `vpternlog` | a mask of the top bits for g, shuffles for others |
//! | [`Avx2Gfni`] | 32 | two XORs | `vgf2p8affineqb` |
//! | [`Avx2`] | 32 | two XORs | a comparison for g, shuffles for others |
//! | [`Ssse3`] | 16 | two XORs | the same |
//!
//! This is the room with the unsafe code of parity. There are three kinds of it, and each is sound
//! for one reason:
//!
//! - *Executing an instruction* of a unit: its methods take `self`, its only field is private to
//!   this file, and only `detect` makes one, when the CPU has said it can.
//! - *Loading and storing* through a pointer: the pointer comes from a slice whose length has just
//!   been checked, and unaligned or masked instructions are used. (Streaming wants alignment, which
//!   is checked as well.)
//! - *Running a kernel* in a function compiled for the unit: as the first.

#![allow(unsafe_code, reason = "vector instructions; see above")]

use std::arch::x86_64::*;

use super::constants::{MATRIX, NIBBLES, matrix};
use super::gf;
use super::vector::{Counted, Kernel, Native, Unit};

/// g and g² as bit matrices.
const BY_G: i64 = matrix(2) as i64;
const BY_G_SQUARED: i64 = matrix(4) as i64;
const REDUCTION: i8 = gf::REDUCTION as i8;

/// The truth table of a ^ b ^ c, for `vpternlog`.
const XOR3: i32 = 0x96;

/// Up to this many bytes, a stripe stays in a core's first cache, and the time to find the sources
/// shows. Beyond, one loop over all sources reads them at least as fast: the prefetchers of some
/// CPUs are confused by many loads that take turns. Without `vgf2p8affineqb` and with 16 registers,
/// though, P and Q need every instruction and every register for themselves at any size: finding
/// the sources costs AVX2 a fifth of its speed.
const NEAR: Counted = Counted { p: 96 << 10, pq: 96 << 10 };

/// Defines a unit: whether it wants [`Native::COUNTED`] versions, the features it needs, and how to
/// find out and run.
macro_rules! unit {
    ($(#[$doc:meta])* $unit:ident ($counted:expr): $($feature:tt)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $unit(());

        impl $unit {
            /// The unit, if this CPU has it.
            pub(super) fn detect() -> Option<Self> {
                let found = true $(&& is_x86_feature_detected!($feature))*;
                found.then_some(Self(()))
            }
        }

        impl Native for $unit {
            const COUNTED: Counted = $counted;

            fn run<K: Kernel>(self, kernel: K) -> K::Output {
                $(#[target_feature(enable = $feature)])*
                fn run<K: Kernel>(unit: $unit, kernel: K) -> K::Output {
                    kernel.run(unit)
                }
                // SAFETY: `self` proves that the CPU has these features.
                unsafe { run(self, kernel) }
            }
        }
    };
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

unit!(
    /// 64 bytes, and multiplication by bit matrices.
    Avx512Gfni (NEAR): "avx512f" "avx512bw" "gfni"
);
unit!(
    /// 64 bytes.
    Avx512 (NEAR): "avx512f" "avx512bw"
);
unit!(
    /// 32 bytes, and multiplication by bit matrices.
    Avx2Gfni (NEAR): "avx2" "gfni"
);
unit!(
    /// 32 bytes.
    Avx2 (Counted { pq: usize::MAX, ..NEAR }): "avx2"
);
unit!(
    /// 16 bytes.
    Ssse3 (Counted::NEVER): "ssse3"
);

/// What 512-bit units have in common.
macro_rules! zmm {
    () => {
        type V = __m512i;
        const WIDTH: usize = 64;

        #[inline(always)]
        fn load(self, from: &[u8]) -> __m512i {
            let from = from[..Self::WIDTH].as_ptr();
            // SAFETY: 64 bytes from here are in the slice; `self` proves the instruction.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        fn load_part(self, from: &[u8]) -> __m512i {
            let mask = (1 << from.len()) - 1;
            // SAFETY: the mask leaves out what is not in the slice; `self` proves the instruction.
            unsafe { _mm512_maskz_loadu_epi8(mask, from.as_ptr().cast()) }
        }

        #[inline(always)]
        fn store(self, v: __m512i, to: &mut [u8]) {
            let to = to[..Self::WIDTH].as_mut_ptr();
            // SAFETY: 64 bytes from here are in the slice; `self` proves the instruction.
            unsafe { _mm512_storeu_si512(to.cast(), v) }
        }

        #[inline(always)]
        fn store_part(self, v: __m512i, to: &mut [u8]) {
            let mask = (1 << to.len()) - 1;
            // SAFETY: the mask leaves out what is not in the slice; `self` proves the instruction.
            unsafe { _mm512_mask_storeu_epi8(to.as_mut_ptr().cast(), mask, v) }
        }

        #[inline(always)]
        fn stream(self, v: __m512i, to: &mut [u8]) {
            let to = to[..Self::WIDTH].as_mut_ptr().cast::<__m512i>();
            if to.is_aligned() {
                // SAFETY: 64 aligned bytes are in the slice; `self` proves the instruction.
                unsafe { _mm512_stream_si512(to, v) }
            } else {
                // SAFETY: 64 bytes are in the slice; `self` proves the instruction.
                unsafe { _mm512_storeu_si512(to, v) }
            }
        }

        instructions! {
            fn zero(self) -> __m512i { _mm512_setzero_si512() }
            fn fence(self) -> () { _mm_sfence() }
            fn xor(self, a: __m512i, b: __m512i) -> __m512i { _mm512_xor_si512(a, b) }
            fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
                _mm512_ternarylogic_epi64::<XOR3>(a, b, c)
            }
            fn or(self, a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
            fn is_zero(self, v: __m512i) -> bool { _mm512_test_epi64_mask(v, v) == 0 }
        }
    };
}

impl Unit for Avx512Gfni {
    zmm!();
    type Factor = __m512i;

    instructions! {
        fn double(self, v: __m512i) -> __m512i {
            _mm512_gf2p8affine_epi64_epi8::<0>(v, _mm512_set1_epi64(BY_G))
        }
        fn horner2(self, q: __m512i, d1: __m512i, d0: __m512i) -> __m512i {
            let q = _mm512_gf2p8affine_epi64_epi8::<0>(q, _mm512_set1_epi64(BY_G_SQUARED));
            let d1 = _mm512_gf2p8affine_epi64_epi8::<0>(d1, _mm512_set1_epi64(BY_G));
            _mm512_ternarylogic_epi64::<XOR3>(q, d1, d0)
        }
        fn factor(self, element: u8) -> __m512i {
            _mm512_set1_epi64(MATRIX[usize::from(element)] as i64)
        }
        fn times(self, v: __m512i, factor: __m512i) -> __m512i {
            _mm512_gf2p8affine_epi64_epi8::<0>(v, factor)
        }
    }
}

impl Unit for Avx512 {
    zmm!();
    type Factor = [__m512i; 2];

    instructions! {
        fn double(self, v: __m512i) -> __m512i {
            let carried = _mm512_maskz_mov_epi8(_mm512_movepi8_mask(v), _mm512_set1_epi8(REDUCTION));
            _mm512_xor_si512(_mm512_add_epi8(v, v), carried)
        }
        fn horner(self, q: __m512i, d: __m512i) -> __m512i {
            let carried = _mm512_maskz_mov_epi8(_mm512_movepi8_mask(q), _mm512_set1_epi8(REDUCTION));
            _mm512_ternarylogic_epi64::<XOR3>(_mm512_add_epi8(q, q), carried, d)
        }
        fn factor(self, element: u8) -> [__m512i; 2] {
            let [low, high] = &NIBBLES[usize::from(element)];
            let low = _mm_loadu_si128(low.as_ptr().cast());
            let high = _mm_loadu_si128(high.as_ptr().cast());
            [_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high)]
        }
        fn times(self, v: __m512i, factor: [__m512i; 2]) -> __m512i {
            let mask = _mm512_set1_epi8(15);
            let low = _mm512_and_si512(v, mask);
            let high = _mm512_and_si512(_mm512_srli_epi64::<4>(v), mask);
            let low = _mm512_shuffle_epi8(factor[0], low);
            _mm512_xor_si512(low, _mm512_shuffle_epi8(factor[1], high))
        }
    }
}

/// What narrower units have in common, given the names of their instructions.
macro_rules! narrow {
    ($v:ident, $width:literal: $load:ident $store:ident $stream:ident $zero:ident $xor:ident $or:ident
     $equal:ident $bytes:ident) => {
        type V = $v;
        const WIDTH: usize = $width;

        #[inline(always)]
        fn load(self, from: &[u8]) -> $v {
            let from = from[..Self::WIDTH].as_ptr();
            // SAFETY: a vector from here is in the slice; `self` proves the instruction.
            unsafe { $load(from.cast()) }
        }

        #[inline(always)]
        fn store(self, v: $v, to: &mut [u8]) {
            let to = to[..Self::WIDTH].as_mut_ptr();
            // SAFETY: a vector from here is in the slice; `self` proves the instruction.
            unsafe { $store(to.cast(), v) }
        }

        #[inline(always)]
        fn stream(self, v: $v, to: &mut [u8]) {
            let to = to[..Self::WIDTH].as_mut_ptr().cast::<$v>();
            if to.is_aligned() {
                // SAFETY: an aligned vector is in the slice; `self` proves the instruction.
                unsafe { $stream(to, v) }
            } else {
                // SAFETY: a vector is in the slice; `self` proves the instruction.
                unsafe { $store(to, v) }
            }
        }

        instructions! {
            fn zero(self) -> $v { $zero() }
            fn fence(self) -> () { _mm_sfence() }
            fn xor(self, a: $v, b: $v) -> $v { $xor(a, b) }
            fn or(self, a: $v, b: $v) -> $v { $or(a, b) }
            fn is_zero(self, v: $v) -> bool { $bytes($equal(v, $zero())) == (u32::MAX >> (32 - $width)) as i32 }
        }
    };
}

macro_rules! ymm {
    () => {
        narrow!(__m256i, 32: _mm256_loadu_si256 _mm256_storeu_si256 _mm256_stream_si256
            _mm256_setzero_si256 _mm256_xor_si256 _mm256_or_si256 _mm256_cmpeq_epi8
            _mm256_movemask_epi8);
    };
}

impl Unit for Avx2Gfni {
    ymm!();
    type Factor = __m256i;

    instructions! {
        fn double(self, v: __m256i) -> __m256i {
            _mm256_gf2p8affine_epi64_epi8::<0>(v, _mm256_set1_epi64x(BY_G))
        }
        fn horner2(self, q: __m256i, d1: __m256i, d0: __m256i) -> __m256i {
            let q = _mm256_gf2p8affine_epi64_epi8::<0>(q, _mm256_set1_epi64x(BY_G_SQUARED));
            let d1 = _mm256_gf2p8affine_epi64_epi8::<0>(d1, _mm256_set1_epi64x(BY_G));
            _mm256_xor_si256(q, _mm256_xor_si256(d1, d0))
        }
        fn factor(self, element: u8) -> __m256i {
            _mm256_set1_epi64x(MATRIX[usize::from(element)] as i64)
        }
        fn times(self, v: __m256i, factor: __m256i) -> __m256i {
            _mm256_gf2p8affine_epi64_epi8::<0>(v, factor)
        }
    }
}

impl Unit for Avx2 {
    ymm!();
    type Factor = [__m256i; 2];

    instructions! {
        fn double(self, v: __m256i) -> __m256i {
            let top = _mm256_cmpgt_epi8(_mm256_setzero_si256(), v);
            let carried = _mm256_and_si256(top, _mm256_set1_epi8(REDUCTION));
            _mm256_xor_si256(_mm256_add_epi8(v, v), carried)
        }
        fn factor(self, element: u8) -> [__m256i; 2] {
            let [low, high] = &NIBBLES[usize::from(element)];
            let low = _mm_loadu_si128(low.as_ptr().cast());
            let high = _mm_loadu_si128(high.as_ptr().cast());
            [_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high)]
        }
        fn times(self, v: __m256i, factor: [__m256i; 2]) -> __m256i {
            let mask = _mm256_set1_epi8(15);
            let low = _mm256_and_si256(v, mask);
            let high = _mm256_and_si256(_mm256_srli_epi64::<4>(v), mask);
            let low = _mm256_shuffle_epi8(factor[0], low);
            _mm256_xor_si256(low, _mm256_shuffle_epi8(factor[1], high))
        }
    }
}

impl Unit for Ssse3 {
    narrow!(__m128i, 16: _mm_loadu_si128 _mm_storeu_si128 _mm_stream_si128
        _mm_setzero_si128 _mm_xor_si128 _mm_or_si128 _mm_cmpeq_epi8 _mm_movemask_epi8);
    type Factor = [__m128i; 2];

    instructions! {
        fn double(self, v: __m128i) -> __m128i {
            let top = _mm_cmpgt_epi8(_mm_setzero_si128(), v);
            let carried = _mm_and_si128(top, _mm_set1_epi8(REDUCTION));
            _mm_xor_si128(_mm_add_epi8(v, v), carried)
        }
        fn factor(self, element: u8) -> [__m128i; 2] {
            let [low, high] = &NIBBLES[usize::from(element)];
            [_mm_loadu_si128(low.as_ptr().cast()), _mm_loadu_si128(high.as_ptr().cast())]
        }
        fn times(self, v: __m128i, factor: [__m128i; 2]) -> __m128i {
            let mask = _mm_set1_epi8(15);
            let low = _mm_and_si128(v, mask);
            let high = _mm_and_si128(_mm_srli_epi64::<4>(v), mask);
            let low = _mm_shuffle_epi8(factor[0], low);
            _mm_xor_si128(low, _mm_shuffle_epi8(factor[1], high))
        }
    }
}
