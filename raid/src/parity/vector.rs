//! What the kernels ask of a CPU.
//!
//! Parity needs few operations on vectors of bytes: load, store, XOR, and multiplying every byte by
//! the same element of the field. [`Unit`] lists them; each instruction set implements it once, and
//! `kernels.rs` states each algorithm once, for any unit.
//!
//! A unit is a *proof*: a value of, say, `Avx512` can only be had by asking the CPU, so whoever
//! holds one may execute its instructions. Therefore the operations are safe functions, the kernels
//! are safe code with checked slices, and `unsafe` stays where the instructions are.
//!
//! One thing the type system does not see: the compiler emits a unit's instructions inline only
//! inside a function that is compiled for them. [`Native::run`] is that function, one per unit.
//! Everything below it is `#[inline(always)]`, and no closure may touch a vector, because the
//! attribute would stop there: such code would be right but slow.
//!
//! [`Abreast`] makes several vectors side by side a unit again. That is all there is to unrolling.

/// Bytes in the widest vectors: four of 64 bytes abreast.
const WIDEST: usize = 256;

/// The vector operations of one instruction set.
pub(super) trait Unit: Copy {
    /// A vector of bytes.
    type V: Copy;
    /// An element of the field, prepared for [`Unit::times`].
    type Factor: Copy;
    /// Bytes in a vector.
    const WIDTH: usize;

    fn zero(self) -> Self::V;

    /// The first [`Self::WIDTH`] bytes, which must be there; at any alignment.
    fn load(self, from: &[u8]) -> Self::V;

    /// All of `from`, which is shorter than a vector, and zeros.
    #[inline(always)]
    fn load_part(self, from: &[u8]) -> Self::V {
        let mut padded = [0; WIDEST];
        padded[..from.len()].copy_from_slice(from);
        self.load(&padded[..Self::WIDTH])
    }

    fn store(self, v: Self::V, to: &mut [u8]);

    /// As much of the vector as fits `to`, which is shorter than a vector.
    #[inline(always)]
    fn store_part(self, v: Self::V, to: &mut [u8]) {
        let mut whole = [0; WIDEST];
        self.store(v, &mut whole[..Self::WIDTH]);
        to.copy_from_slice(&whole[..to.len()]);
    }

    /// Stores past the cache if `to` is aligned. Ends with a [`Unit::fence`].
    #[inline(always)]
    fn stream(self, v: Self::V, to: &mut [u8]) {
        self.store(v, to);
    }

    /// Makes all that was streamed visible like any other store.
    #[inline(always)]
    fn fence(self) {}

    fn xor(self, a: Self::V, b: Self::V) -> Self::V;

    #[inline(always)]
    fn xor3(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        self.xor(self.xor(a, b), c)
    }

    fn or(self, a: Self::V, b: Self::V) -> Self::V;

    fn is_zero(self, v: Self::V) -> bool;

    /// Where the first byte is that is not zero. Slow: a check asks this once, when it has failed.
    #[inline(always)]
    fn first_nonzero(self, v: Self::V) -> Option<usize> {
        let mut bytes = [0; WIDEST];
        self.store(v, &mut bytes[..Self::WIDTH]);
        bytes.iter().position(|&byte| byte != 0)
    }

    /// Every byte times g.
    fn double(self, v: Self::V) -> Self::V;

    /// A step of Horner's rule: `q · g + d`.
    #[inline(always)]
    fn horner(self, q: Self::V, d: Self::V) -> Self::V {
        self.xor(self.double(q), d)
    }

    /// Two steps: `(q · g + d1) · g + d0`.
    #[inline(always)]
    fn horner2(self, q: Self::V, d1: Self::V, d0: Self::V) -> Self::V {
        self.horner(self.horner(q, d1), d0)
    }

    fn factor(self, element: u8) -> Self::Factor;

    /// Every byte times the factor.
    fn times(self, v: Self::V, factor: Self::Factor) -> Self::V;
}

/// Bytes of sources, by kind of kernel. 0 is never.
pub(super) struct Counted {
    /// For P alone.
    pub(super) p: usize,
    /// For P and Q.
    pub(super) pq: usize,
}

impl Counted {
    /// A unit whose arithmetic takes longer than finding the sources.
    pub(super) const NEVER: Self = Self { p: 0, pq: 0 };
}

/// A unit that can run kernels by itself.
pub(super) trait Native: Unit + Send + Sync + 'static {
    /// Up to how many bytes of sources versions of kernels for particular numbers of sources pay.
    const COUNTED: Counted;

    /// Runs the kernel in a function compiled for this unit.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;
}

/// A computation, for any unit.
pub(super) trait Kernel {
    type Output;

    /// Must be `#[inline(always)]`.
    fn run<U: Unit>(self, unit: U) -> Self::Output;
}

/// `N` vectors of a unit, side by side.
#[derive(Clone, Copy)]
pub(super) struct Abreast<U, const N: usize>(pub(super) U);

impl<U: Unit, const N: usize> Unit for Abreast<U, N> {
    type V = [U::V; N];
    type Factor = U::Factor;
    const WIDTH: usize = N * U::WIDTH;

    #[inline(always)]
    fn zero(self) -> Self::V {
        [self.0.zero(); N]
    }

    #[inline(always)]
    fn load(self, from: &[u8]) -> Self::V {
        let from = &from[..Self::WIDTH];
        let mut v = self.zero();
        for (i, lane) in v.iter_mut().enumerate() {
            *lane = self.0.load(&from[i * U::WIDTH..]);
        }
        v
    }

    #[inline(always)]
    fn load_part(self, from: &[u8]) -> Self::V {
        let mut v = self.zero();
        for (lane, from) in v.iter_mut().zip(from.chunks(U::WIDTH)) {
            let whole = from.len() == U::WIDTH;
            *lane = if whole { self.0.load(from) } else { self.0.load_part(from) };
        }
        v
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [u8]) {
        let to = &mut to[..Self::WIDTH];
        for (i, lane) in v.into_iter().enumerate() {
            self.0.store(lane, &mut to[i * U::WIDTH..]);
        }
    }

    #[inline(always)]
    fn store_part(self, v: Self::V, to: &mut [u8]) {
        for (lane, to) in v.into_iter().zip(to.chunks_mut(U::WIDTH)) {
            let whole = to.len() == U::WIDTH;
            if whole { self.0.store(lane, to) } else { self.0.store_part(lane, to) }
        }
    }

    #[inline(always)]
    fn stream(self, v: Self::V, to: &mut [u8]) {
        let to = &mut to[..Self::WIDTH];
        for (i, lane) in v.into_iter().enumerate() {
            self.0.stream(lane, &mut to[i * U::WIDTH..]);
        }
    }

    #[inline(always)]
    fn fence(self) {
        self.0.fence();
    }

    #[inline(always)]
    fn xor(self, mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..N {
            a[i] = self.0.xor(a[i], b[i]);
        }
        a
    }

    #[inline(always)]
    fn xor3(self, mut a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        for i in 0..N {
            a[i] = self.0.xor3(a[i], b[i], c[i]);
        }
        a
    }

    #[inline(always)]
    fn or(self, mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..N {
            a[i] = self.0.or(a[i], b[i]);
        }
        a
    }

    #[inline(always)]
    fn is_zero(self, v: Self::V) -> bool {
        let mut any = v[0];
        for lane in &v[1..] {
            any = self.0.or(any, *lane);
        }
        self.0.is_zero(any)
    }

    #[inline(always)]
    fn double(self, mut v: Self::V) -> Self::V {
        for lane in &mut v {
            *lane = self.0.double(*lane);
        }
        v
    }

    #[inline(always)]
    fn horner(self, mut q: Self::V, d: Self::V) -> Self::V {
        for i in 0..N {
            q[i] = self.0.horner(q[i], d[i]);
        }
        q
    }

    #[inline(always)]
    fn horner2(self, mut q: Self::V, d1: Self::V, d0: Self::V) -> Self::V {
        for i in 0..N {
            q[i] = self.0.horner2(q[i], d1[i], d0[i]);
        }
        q
    }

    #[inline(always)]
    fn factor(self, element: u8) -> Self::Factor {
        self.0.factor(element)
    }

    #[inline(always)]
    fn times(self, mut v: Self::V, factor: Self::Factor) -> Self::V {
        for lane in &mut v {
            *lane = self.0.times(*lane, factor);
        }
        v
    }
}
