//! Walking over a stripe: every byte once, in steps as wide as pays, to the last odd byte.
//!
//! ```text
//!  length  ├────────────────┬────────────────┬─────┬─────┬──┤
//!  steps     unit × N         unit × N        unit  unit  rest
//! ```
//!
//! A [`Step`] says what to do with the bytes at one [`Place`] of all blocks, and does not know
//! which of these three it is at.
//!
//! [`Sources`] are the blocks read. Where their number is a constant, the compiler keeps every
//! pointer in a register, unrolls the loop over them and proves its bounds; that is worth up to a
//! half for blocks of 4 KiB, and nothing for those that do not fit the first cache.

use super::vector::{Abreast, Unit};

/// What to do at each place. `F` is the unit's [`Unit::Factor`].
pub(super) trait Step<F> {
    /// Returns whether to go on.
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool;
}

/// Where a step is.
pub(super) trait Place: Copy {
    /// Of the first byte, from the start of the blocks.
    fn offset(self) -> usize;
    fn load<U: Unit>(self, unit: U, from: &[u8]) -> U::V;
    fn store<U: Unit>(self, unit: U, v: U::V, to: &mut [u8]);
}

/// A whole vector from this offset.
#[derive(Clone, Copy)]
struct Whole(usize);

/// The same; what is stored is not wanted in the cache.
#[derive(Clone, Copy)]
struct Streamed(usize);

/// Less than a vector, from this offset to the end.
#[derive(Clone, Copy)]
struct Rest(usize);

impl Place for Whole {
    #[inline(always)]
    fn offset(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn load<U: Unit>(self, unit: U, from: &[u8]) -> U::V {
        unit.load(&from[self.0..self.0 + U::WIDTH])
    }

    #[inline(always)]
    fn store<U: Unit>(self, unit: U, v: U::V, to: &mut [u8]) {
        unit.store(v, &mut to[self.0..self.0 + U::WIDTH]);
    }
}

impl Place for Streamed {
    #[inline(always)]
    fn offset(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn load<U: Unit>(self, unit: U, from: &[u8]) -> U::V {
        Whole(self.0).load(unit, from)
    }

    #[inline(always)]
    fn store<U: Unit>(self, unit: U, v: U::V, to: &mut [u8]) {
        unit.stream(v, &mut to[self.0..self.0 + U::WIDTH]);
    }
}

impl Place for Rest {
    #[inline(always)]
    fn offset(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn load<U: Unit>(self, unit: U, from: &[u8]) -> U::V {
        unit.load_part(&from[self.0..])
    }

    #[inline(always)]
    fn store<U: Unit>(self, unit: U, v: U::V, to: &mut [u8]) {
        unit.store_part(v, &mut to[self.0..]);
    }
}

/// A kernel whose results are to be streamed.
pub(super) struct Streaming<K>(pub(super) K);

/// Walks over `length` bytes, `N` vectors at a time. Returns whether no step said to stop.
#[inline(always)]
pub(super) fn walk<const N: usize, U: Unit>(
    unit: U,
    length: usize,
    mut step: impl Step<U::Factor>,
) -> bool {
    let mut at = 0;
    while length - at >= N * U::WIDTH {
        if !step.step(Abreast::<U, N>(unit), Whole(at)) {
            return false;
        }
        at += N * U::WIDTH;
    }
    walk_rest(unit, at, length, step)
}

/// As [`walk`], storing past the cache.
#[inline(always)]
pub(super) fn walk_streaming<const N: usize, U: Unit>(
    unit: U,
    length: usize,
    mut step: impl Step<U::Factor>,
) {
    let mut at = 0;
    while length - at >= N * U::WIDTH {
        step.step(Abreast::<U, N>(unit), Streamed(at));
        at += N * U::WIDTH;
    }
    unit.fence();
    walk_rest(unit, at, length, step);
}

#[inline(always)]
fn walk_rest<U: Unit>(
    unit: U,
    mut at: usize,
    length: usize,
    mut step: impl Step<U::Factor>,
) -> bool {
    while length - at >= U::WIDTH {
        if !step.step(unit, Whole(at)) {
            return false;
        }
        at += U::WIDTH;
    }
    at == length || step.step(unit, Rest(at))
}

/// One source, however the caller names it.
pub(super) trait Source: Copy {
    fn bytes(&self) -> &[u8];
}

impl Source for &[u8] {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// Where no exponent lacks its block.
impl Source for Option<&[u8]> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.unwrap_or_default()
    }
}

/// A data block and its exponent.
pub(super) type Term<'a> = (u32, &'a [u8]);

impl Source for Term<'_> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.1
    }
}

/// The sources of a step.
pub(super) trait Sources: Copy {
    /// How many there are, if the compiler knows.
    const COUNT: Option<usize>;

    /// Room for one value per source.
    type Each<T: Copy>: AsRef<[T]> + AsMut<[T]>;

    fn count(&self) -> usize;
    fn get(&self, index: usize) -> &[u8];
    fn each<T: Copy>(&self, value: T) -> Self::Each<T>;

    /// The sources, cut to one length, which the compiler can then see is the same for all.
    fn cut(self, length: usize) -> Self;
}

impl<const N: usize> Sources for [&[u8]; N] {
    const COUNT: Option<usize> = Some(N);

    type Each<T: Copy> = [T; N];

    #[inline(always)]
    fn count(&self) -> usize {
        N
    }

    #[inline(always)]
    fn get(&self, index: usize) -> &[u8] {
        self[index]
    }

    #[inline(always)]
    fn each<T: Copy>(&self, value: T) -> [T; N] {
        [value; N]
    }

    #[inline(always)]
    fn cut(mut self, length: usize) -> Self {
        for source in &mut self {
            *source = &source[..length];
        }
        self
    }
}

/// Any number of sources.
#[derive(Clone, Copy)]
pub(super) struct Many<'a, T>(pub(super) &'a [T]);

impl<S: Source> Sources for Many<'_, S> {
    const COUNT: Option<usize> = None;

    type Each<T: Copy> = Vec<T>;

    #[inline(always)]
    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn get(&self, index: usize) -> &[u8] {
        self.0[index].bytes()
    }

    #[inline(always)]
    fn each<T: Copy>(&self, value: T) -> Vec<T> {
        vec![value; self.0.len()]
    }

    #[inline(always)]
    fn cut(self, _: usize) -> Self {
        self
    }
}

/// The first `N` sources.
#[inline(always)]
pub(super) fn few<const N: usize, S: Source>(sources: &[S]) -> [&[u8]; N] {
    let mut few = [Default::default(); N];
    for (few, source) in few.iter_mut().zip(sources) {
        *few = source.bytes();
    }
    few
}
