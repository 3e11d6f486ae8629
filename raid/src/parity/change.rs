//! The kernels of P and Q that are about particular blocks: one that changed, or one or two that
//! are lost.
//!
//! - *An update* of the block with coefficient c adds its change Δ to P and c·Δ to Q; Δ never
//!   leaves the registers.
//! - *One lost data block* x with coefficient a, without P: x = (Q + Σ g^e·D) / a, the sum being
//!   over the survivors.
//!   P, if it is lost as well, is x + ΣD, and known at once.
//! - *Two lost data blocks* x, y with coefficients a, b: P + ΣD and Q + Σ g^e·D, called ΔP and ΔQ,
//!   are x + y and a·x + b·y. So y = (ΔQ + a·ΔP) / (a + b) and x = ΔP + y, and both are known
//!   before anything has been stored.
//!
//! For how kernels are built, see `xor.rs`.

use super::gf;
use super::pq::{Data, Sums, walk_data};
use super::vector::{Kernel, Unit};
use super::walk::{Place, Step, walk};

/// q += coefficient · (old + new).
pub(super) struct UpdateQ<'a, C> {
    pub(super) q: &'a mut [u8],
    pub(super) coefficient: C,
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
}

impl Kernel for UpdateQ<'_, u8> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let Self { q, coefficient, old, new } = self;
        let length = q.len();
        let coefficient = unit.factor(coefficient);
        let (old, new) = (&old[..length], &new[..length]);
        walk::<4, _>(unit, length, UpdateQ { q, coefficient, old, new });
    }
}

impl<F: Copy> Step<F> for UpdateQ<'_, F> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let delta = unit.xor(place.load(unit, self.old), place.load(unit, self.new));
        let q = place.load(unit, self.q);
        place.store(unit, unit.xor(q, unit.times(delta, self.coefficient)), self.q);
        true
    }
}

/// p += old + new, q += coefficient · (old + new).
pub(super) struct UpdatePq<'a, C> {
    pub(super) p: &'a mut [u8],
    pub(super) q: &'a mut [u8],
    pub(super) coefficient: C,
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
}

impl Kernel for UpdatePq<'_, u8> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let Self { p, q, coefficient, old, new } = self;
        let length = p.len();
        let coefficient = unit.factor(coefficient);
        let (q, old, new) = (&mut q[..length], &old[..length], &new[..length]);
        walk::<4, _>(unit, length, UpdatePq { p, q, coefficient, old, new });
    }
}

impl<F: Copy> Step<F> for UpdatePq<'_, F> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let delta = unit.xor(place.load(unit, self.old), place.load(unit, self.new));
        let p = place.load(unit, self.p);
        let q = place.load(unit, self.q);
        place.store(unit, unit.xor(p, delta), self.p);
        place.store(unit, unit.xor(q, unit.times(delta, self.coefficient)), self.q);
        true
    }
}

/// x = (q + Σ g^e·D) / a.
pub(super) struct SolveOne<'a, D, C> {
    pub(super) x: &'a mut [u8],
    pub(super) q: &'a [u8],
    /// What survives.
    pub(super) data: D,
    /// a, then 1 / a in the form of a factor.
    pub(super) coefficient: C,
}

impl<D: Data> Kernel for SolveOne<'_, D, u8> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let (length, x, q) = (self.x.len(), self.x, self.q);
        let coefficient = unit.factor(gf::inv(self.coefficient));
        let sources = self.data.count();
        let data = self.data.prepare(unit, length);
        walk_data::<D, _>(unit, length, sources, SolveOne { x, q, data, coefficient });
    }
}

impl<D: Sums<F>, F: Copy> Step<F> for SolveOne<'_, D, F> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (_, q) = self.data.sums(unit, place);
        let dq = unit.xor(q, place.load(unit, self.q));
        place.store(unit, unit.times(dq, self.coefficient), self.x);
        true
    }
}

/// x = (q + Σ g^e·D) / a, p = x + Σ D.
pub(super) struct SolveOneAndP<'a, D, C> {
    pub(super) x: &'a mut [u8],
    pub(super) p: &'a mut [u8],
    pub(super) q: &'a [u8],
    /// What survives.
    pub(super) data: D,
    /// a, then 1 / a in the form of a factor.
    pub(super) coefficient: C,
}

impl<D: Data> Kernel for SolveOneAndP<'_, D, u8> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let Self { x, p, q, .. } = self;
        let length = x.len();
        let (p, q) = (&mut p[..length], &q[..length]);
        let coefficient = unit.factor(gf::inv(self.coefficient));
        let sources = self.data.count();
        let data = self.data.prepare(unit, length);
        walk_data::<D, _>(unit, length, sources, SolveOneAndP { x, p, q, data, coefficient });
    }
}

impl<D: Sums<F>, F: Copy> Step<F> for SolveOneAndP<'_, D, F> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (p, q) = self.data.sums(unit, place);
        let dq = unit.xor(q, place.load(unit, self.q));
        let x = unit.times(dq, self.coefficient);
        place.store(unit, x, self.x);
        place.store(unit, unit.xor(p, x), self.p);
        true
    }
}

/// Solves x + y = p + Σ D, a·x + b·y = q + Σ g^e·D.
pub(super) struct SolveTwo<'a, D, C> {
    pub(super) x: &'a mut [u8],
    pub(super) y: &'a mut [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    /// What survives.
    pub(super) data: D,
    /// a and b, then the shares of ΔP and ΔQ in y: a / (a + b) and 1 / (a + b).
    pub(super) coefficients: [C; 2],
}

impl<D: Data> Kernel for SolveTwo<'_, D, u8> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self, unit: U) {
        let Self { x, y, p, q, .. } = self;
        let length = x.len();
        let (y, p, q) = (&mut y[..length], &p[..length], &q[..length]);
        let [a, b] = self.coefficients;
        let coefficients = [gf::div(a, a ^ b), gf::inv(a ^ b)];
        let coefficients = [unit.factor(coefficients[0]), unit.factor(coefficients[1])];
        let sources = self.data.count();
        let data = self.data.prepare(unit, length);
        walk_data::<D, _>(unit, length, sources, SolveTwo { x, y, p, q, data, coefficients });
    }
}

impl<D: Sums<F>, F: Copy> Step<F> for SolveTwo<'_, D, F> {
    #[inline(always)]
    fn step<U: Unit<Factor = F>, P: Place>(&mut self, unit: U, place: P) -> bool {
        let (p, q) = self.data.sums(unit, place);
        let dp = unit.xor(p, place.load(unit, self.p));
        let dq = unit.xor(q, place.load(unit, self.q));
        let [of_p, of_q] = self.coefficients;
        let y = unit.xor(unit.times(dp, of_p), unit.times(dq, of_q));
        place.store(unit, unit.xor(dp, y), self.x);
        place.store(unit, y, self.y);
        true
    }
}
