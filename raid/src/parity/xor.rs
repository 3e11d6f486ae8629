//! The kernels of P alone: making it, adding to it, checking it.
//!
//! P is a sum, and nothing but loading limits it. Where the sources are counted, units that add
//! three vectors at once ([`Unit::xor3`]) fold in two blocks at a time. Elsewhere the second-level
//! cache is the limit, and one load at a time from each source in turn proved the fastest.
//!
//! A kernel is a struct of its arguments. Told to run, it prepares itself and walks; at each place
//! the walk takes its [`Step`]. The arguments are trusted: the front door has checked that all
//! slices of a call are equally long. (If they were not, a slice index would panic.)

use super::vector::{Kernel, Unit};
use super::walk::{Place, Sources, Step, Streaming, walk, walk_streaming};

/// Σ of the sources at a place.
#[inline(always)]
fn sum<U: Unit, S: Sources>(unit: U, place: impl Place, sources: &S) -> U::V {
    let count = sources.count();
    if count == 0 {
        return unit.zero();
    }
    let mut left = count - 1;
    let mut sum = place.load(unit, sources.get(left));
    let pairs = if S::COUNT.is_some() { left / 2 } else { 0 };
    while left > 2 * pairs {
        left -= 1;
        sum = unit.xor(sum, place.load(unit, sources.get(left)));
    }
    while left > 0 {
        left -= 2;
        let second = place.load(unit, sources.get(left + 1));
        sum = unit.xor3(sum, second, place.load(unit, sources.get(left)));
    }
    sum
}

/// Vectors abreast. Where the second cache is the limit, what is fastest there is a matter of how
/// many streams its prefetchers follow: measured, not derived.
#[inline(always)]
fn walk_sum<S: Sources, U: Unit>(
    unit: U,
    length: usize,
    sources: usize,
    step: impl Step<U::Factor>,
) -> bool {
    match abreast(U::WIDTH, S::COUNT, sources) {
        4 => walk::<4, _>(unit, length, step),
        1 => walk::<1, _>(unit, length, step),
        _ => walk::<2, _>(unit, length, step),
    }
}

/// How many vectors of so many bytes, where so many sources are known to the compiler, or to the
/// caller alone.
#[inline(always)]
const fn abreast(width: usize, known: Option<usize>, sources: usize) -> usize {
    match (known, sources) {
        (None, _) if width < 64 => 4,
        (None, ..5 | 12..) => 1,
        _ => 2,
    }
}

/// dst = Σ sources.
pub(super) struct Xor<'a, S> {
    pub(super) dst: &'a mut [u8],
    pub(super) sources: S,
}

impl<S: Sources> Kernel for Xor<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let (length, sources) = (self.dst.len(), self.sources.cut(self.dst.len()));
        walk_sum::<S, _>(unit, length, sources.count(), Xor { dst: self.dst, sources });
    }
}

impl<S: Sources> Kernel for Streaming<Xor<'_, S>> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        walk_streaming::<4, _>(unit, self.0.dst.len(), self.0);
    }
}

impl<S: Sources, F> Step<F> for Xor<'_, S> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        place.store(unit, sum(unit, place, &self.sources), self.dst);
        true
    }
}

/// dst += Σ sources.
pub(super) struct XorInto<'a, S> {
    pub(super) dst: &'a mut [u8],
    pub(super) sources: S,
}

impl<S: Sources> Kernel for XorInto<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let (length, sources) = (self.dst.len(), self.sources.cut(self.dst.len()));
        walk_sum::<S, _>(unit, length, sources.count(), XorInto { dst: self.dst, sources });
    }
}

impl<S: Sources, F> Step<F> for XorInto<'_, S> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let before = place.load(unit, self.dst);
        let after = unit.xor(before, sum(unit, place, &self.sources));
        place.store(unit, after, self.dst);
        true
    }
}

/// Where p is not Σ sources, first.
pub(super) struct XorMismatch<'a, S> {
    pub(super) p: &'a [u8],
    pub(super) sources: S,
}

impl<S: Sources> Kernel for XorMismatch<'_, S> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) -> Option<usize> {
        let (length, sources) = (self.p.len(), self.sources.cut(self.p.len()));
        let mut first = None;
        let step = XorCheck { stripe: XorMismatch { p: self.p, sources }, first: &mut first };
        walk_sum::<S, _>(unit, length, sources.count(), step);
        first
    }
}

/// A check under way.
struct XorCheck<'a, S> {
    stripe: XorMismatch<'a, S>,
    first: &'a mut Option<usize>,
}

impl<S: Sources, F> Step<F> for XorCheck<'_, S> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let p = place.load(unit, self.stripe.p);
        let wrong = unit.xor(p, sum(unit, place, &self.stripe.sources));
        if unit.is_zero(wrong) {
            return true;
        }
        *self.first = unit.first_nonzero(wrong).map(|at| place.offset() + at);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::abreast;

    #[test]
    fn vectors_abreast_are_as_many_as_measured_fastest() {
        for (width, known, sources, vectors) in [
            (64, None, 4, 1),
            (64, None, 5, 2),
            (64, None, 11, 2),
            (64, None, 12, 1),
            (64, Some(4), 4, 2),
            (32, None, 4, 4),
            (32, None, 12, 4),
            (32, Some(12), 12, 2),
        ] {
            assert_eq!(abreast(width, known, sources), vectors, "{width} {known:?} {sources}");
        }
    }
}
