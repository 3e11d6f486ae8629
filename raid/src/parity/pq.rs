//! The kernels of P and Q: making and checking them.
//!
//! All visit memory once. At every place they load from all sources, compute in registers, and
//! store the results. What is computed:
//!
//! - *Q* is Horner's rule: Σ g^e·D_e = D_0 + g·(D_1 + g·(D_2 + …)), from the highest exponent down.
//!   It needs one constant, g, whatever the number of blocks. [`Unit::horner2`] takes two steps
//!   together: q·g² + D_1·g + D_0 is two products that do not wait for each other, and one sum of
//!   three. P falls off along the way.
//! - *Q with gaps* between the exponents, which is what lost blocks leave, is Horner's rule again,
//!   multiplying by g^gap.
//! - *A check* adds the parity too and asks whether the sum is zero.
//!
//! For how kernels are built, see `xor.rs`.

use super::vector::{Kernel, Unit};
use super::walk::{Many, Place, Sources, Step, Streaming, Term, walk, walk_streaming};
use super::{Mismatch, gf};

/// What P and Q are to be computed from, as a caller names it.
pub(super) trait Data {
    /// The number of sources, if the compiler knows.
    const COUNT: Option<usize>;

    type Sums<F: Copy>: Sums<F>;

    fn count(&self) -> usize;

    /// Must be `#[inline(always)]`.
    fn prepare<U: Unit>(self, unit: U, length: usize) -> Self::Sums<U::Factor>;
}

/// Something that P and Q can be computed from. `F` is the unit's [`Unit::Factor`].
pub(super) trait Sums<F> {
    /// Σ D and Σ g^e·D at a place.
    fn sums<U: Unit<Factor = F>>(&self, unit: U, place: impl Place) -> (U::V, U::V);
}

/// Sources whose index is their exponent.
pub(super) struct Dense<S>(pub(super) S);

impl<S: Sources> Data for Dense<S> {
    const COUNT: Option<usize> = S::COUNT;

    type Sums<F: Copy> = Self;

    #[inline(always)]
    fn count(&self) -> usize {
        self.0.count()
    }

    #[inline(always)]
    fn prepare<U: Unit>(self, _: U, length: usize) -> Self {
        Self(self.0.cut(length))
    }
}

impl<S: Sources, F> Sums<F> for Dense<S> {
    #[inline(always)]
    fn sums<U: Unit<Factor = F>>(&self, unit: U, place: impl Place) -> (U::V, U::V) {
        let sources = &self.0;
        let mut left = sources.count();
        if left == 0 {
            return (unit.zero(), unit.zero());
        }
        left -= 1;
        let mut p = place.load(unit, sources.get(left));
        let mut q = p;
        // In pairs where the sources are known to the compiler. Elsewhere the second cache is the
        // limit, and one load at a time from each source in turn proved the fastest.
        let pairs = if S::COUNT.is_some() { left / 2 } else { 0 };
        while left > 2 * pairs {
            left -= 1;
            let data = place.load(unit, sources.get(left));
            p = unit.xor(p, data);
            q = unit.horner(q, data);
        }
        while left > 0 {
            left -= 2;
            let d1 = place.load(unit, sources.get(left + 1));
            let d0 = place.load(unit, sources.get(left));
            p = unit.xor3(p, d1, d0);
            q = unit.horner2(q, d1, d0);
        }
        (p, q)
    }
}

/// Sources under descending exponents, with gaps.
pub(super) struct Sparse<'a, S> {
    pub(super) terms: &'a [Term<'a>],
    /// The blocks of the terms.
    pub(super) sources: S,
}

/// The same, prepared.
pub(super) struct Gapped<S, G> {
    sources: S,
    /// For each source, g to the distance from its exponent to the next, or to 0.
    gaps: G,
}

impl<S: Sources> Data for Sparse<'_, S> {
    const COUNT: Option<usize> = S::COUNT;

    type Sums<F: Copy> = Gapped<S, S::Each<F>>;

    #[inline(always)]
    fn count(&self) -> usize {
        self.terms.len()
    }

    #[inline(always)]
    fn prepare<U: Unit>(self, unit: U, length: usize) -> Gapped<S, S::Each<U::Factor>> {
        let mut gaps = self.sources.each(unit.factor(0));
        for (i, gap) in gaps.as_mut().iter_mut().enumerate() {
            let next = self.terms.get(i + 1).map_or(0, |(exponent, _)| *exponent);
            *gap = unit.factor(gf::exp(self.terms[i].0 - next));
        }
        Gapped { sources: self.sources.cut(length), gaps }
    }
}

impl<'a> From<&'a [Term<'a>]> for Sparse<'a, Many<'a, Term<'a>>> {
    fn from(terms: &'a [Term<'a>]) -> Self {
        Self { terms, sources: Many(terms) }
    }
}

impl<S: Sources, G: AsRef<[F]>, F: Copy> Sums<F> for Gapped<S, G> {
    #[inline(always)]
    fn sums<U: Unit<Factor = F>>(&self, unit: U, place: impl Place) -> (U::V, U::V) {
        let (mut p, mut q) = (unit.zero(), unit.zero());
        for (i, gap) in self.gaps.as_ref().iter().enumerate() {
            let data = place.load(unit, self.sources.get(i));
            p = unit.xor(p, data);
            q = unit.times(unit.xor(q, data), *gap);
        }
        (p, q)
    }
}

/// Vectors abreast: where finding a source takes time, each is to give more, but few sources leave
/// the second cache behind; see `xor.rs`.
#[inline(always)]
pub(super) fn walk_data<D: Data, U: Unit>(
    unit: U,
    length: usize,
    sources: usize,
    step: impl Step<U::Factor>,
) {
    match abreast(U::WIDTH, D::COUNT, sources) {
        4 => walk::<4, _>(unit, length, step),
        3 => walk::<3, _>(unit, length, step),
        _ => walk::<2, _>(unit, length, step),
    };
}

/// How many vectors of so many bytes, where so many sources are known to the compiler, or to the
/// caller alone.
#[inline(always)]
const fn abreast(width: usize, known: Option<usize>, sources: usize) -> usize {
    match (known, sources) {
        // Narrow vectors, many pointers: the latter are found anew for each step.
        (Some(12..), _) if width < 64 => 3,
        (None, _) if width < 64 => 4,
        (Some(_), _) | (None, ..5) => 2,
        (None, _) => 3,
    }
}

/// p = Σ D, q = Σ g^e·D, where e is the index of D.
pub(super) struct Pq<'a, D> {
    pub(super) p: &'a mut [u8],
    pub(super) q: &'a mut [u8],
    pub(super) data: D,
}

impl<D: Data> Kernel for Pq<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let (length, p, sources) = (self.p.len(), self.p, self.data.count());
        let (q, data) = (&mut self.q[..length], self.data.prepare(unit, length));
        walk_data::<D, _>(unit, length, sources, Pq { p, q, data });
    }
}

impl<D: Data> Kernel for Streaming<Pq<'_, D>> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let Pq { p, q, data } = self.0;
        let (length, data) = (p.len(), data.prepare(unit, p.len()));
        walk_streaming::<2, _>(unit, length, Pq { p, q, data });
    }
}

impl<D: Sums<F>, F> Step<F> for Pq<'_, D> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (p, q) = self.data.sums(unit, place);
        place.store(unit, p, self.p);
        place.store(unit, q, self.q);
        true
    }
}

/// q = Σ g^e·D, where e is the index of D.
pub(super) struct Q<'a, D> {
    pub(super) q: &'a mut [u8],
    pub(super) data: D,
}

impl<D: Data> Kernel for Q<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let (length, sources) = (self.q.len(), self.data.count());
        let data = self.data.prepare(unit, length);
        walk_data::<D, _>(unit, length, sources, Q { q: self.q, data });
    }
}

impl<D: Sums<F>, F> Step<F> for Q<'_, D> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (_, q) = self.data.sums(unit, place);
        place.store(unit, q, self.q);
        true
    }
}

/// Where p is not Σ D, first, and where q is not Σ g^e·D, where e is the index of D.
pub(super) struct PqMismatch<'a, D> {
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    pub(super) data: D,
}

impl<D: Data> Kernel for PqMismatch<'_, D> {
    type Output = Mismatch;

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) -> Mismatch {
        let (length, p, sources) = (self.p.len(), self.p, self.data.count());
        let (q, data) = (&self.q[..length], self.data.prepare(unit, length));
        let mut found = Mismatch::default();
        let stripe = PqMismatch { p, q, data };
        walk_data::<D, _>(unit, length, sources, PqCheck { stripe, found: &mut found });
        found
    }
}

/// A check under way.
struct PqCheck<'a, D> {
    stripe: PqMismatch<'a, D>,
    found: &'a mut Mismatch,
}

impl<D: Sums<F>, F> Step<F> for PqCheck<'_, D> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (p, q) = self.stripe.data.sums(unit, place);
        let p = unit.xor(p, place.load(unit, self.stripe.p));
        let q = unit.xor(q, place.load(unit, self.stripe.q));
        if unit.is_zero(unit.or(p, q)) {
            return true;
        }
        let Mismatch { p: first_p, q: first_q } = &mut *self.found;
        note(first_p, unit, place, p);
        note(first_q, unit, place, q);
        first_p.is_none() || first_q.is_none()
    }
}

/// Keeps the first place at which something differs.
#[inline(always)]
fn note<U: Unit>(first: &mut Option<usize>, unit: U, place: impl Place, wrong: U::V) {
    if first.is_none() {
        *first = unit.first_nonzero(wrong).map(|at| place.offset() + at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_abreast_are_as_many_as_measured_fastest() {
        for (width, known, sources, vectors) in [
            (64, None, 4, 2),
            (64, None, 5, 3),
            (64, Some(4), 4, 2),
            (64, Some(16), 16, 2),
            (32, None, 4, 4),
            (32, None, 20, 4),
            (32, Some(11), 11, 2),
            (32, Some(12), 12, 3),
        ] {
            assert_eq!(abreast(width, known, sources), vectors, "{width} {known:?} {sources}");
        }
    }

    #[test]
    fn sources_are_as_many_as_there_are() {
        let block: &[u8] = &[0];
        let terms: [Term<'_>; 3] = [(7, block), (2, block), (0, block)];
        assert_eq!(Dense(Many(&terms)).count(), 3);
        assert_eq!(Sparse::from(&terms[..]).count(), 3);
    }
}
