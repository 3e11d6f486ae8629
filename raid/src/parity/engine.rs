//! The engines: everything parity can do, by each vector unit of this CPU.
//!
//! All engines give the same answers, so nothing but speed hangs on the choice. It is made once,
//! at the first use: the first of [`engines`], which lists the fastest first, or the one that the
//! environment variable `HOLDFAST_PARITY` names, if this CPU has it.
//!
//! Methods check what they are given. Blocks of unequal length and impossible exponents are faults
//! of the caller, and panic; nothing else does.

use std::fmt;
use std::sync::OnceLock;

use super::kernels::Kernels;
use super::portable::Portable;
use super::vector::Native;
use super::walk::Term;
use super::{Mismatch, check_lengths, check_sources, coefficient};

/// Names the engine to use.
pub const OVERRIDE: &str = "HOLDFAST_PARITY";

/// Parity computed by one vector unit.
#[derive(Clone, Copy)]
pub struct Engine {
    name: &'static str,
    pub(super) kernels: &'static dyn Kernels,
}

/// The engines of this CPU, fastest first. The last is `portable`, and is always there.
pub fn engines() -> impl Iterator<Item = &'static Engine> {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    ENGINES.get_or_init(detect).iter()
}

/// The engine that the functions of [`super`] use.
pub fn engine() -> &'static Engine {
    static CHOSEN: OnceLock<&'static Engine> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(std::env::var(OVERRIDE).ok().as_deref()))
}

/// What [`OVERRIDE`] asks for, if this CPU has no such engine. [`engine`] then takes the fastest; who
/// can talk to the user should say so first.
pub fn unknown_override() -> Option<String> {
    std::env::var_os(OVERRIDE).and_then(|wanted| unknown(&wanted.to_string_lossy()))
}

fn unknown(wanted: &str) -> Option<String> {
    (!engines().any(|engine| engine.name == wanted)).then(|| wanted.to_owned())
}

fn choose(wanted: Option<&str>) -> &'static Engine {
    let named = engines().find(|engine| Some(engine.name) == wanted);
    named.or_else(|| engines().next()).expect("portable is always there")
}

fn detect() -> Vec<Engine> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86_64::{Avx2, Avx2Gfni, Avx512, Avx512Gfni, Ssse3};
        found.extend(Avx512Gfni::detect().map(|unit| Engine::new("avx512-gfni", unit)));
        found.extend(Avx512::detect().map(|unit| Engine::new("avx512", unit)));
        found.extend(Avx2Gfni::detect().map(|unit| Engine::new("avx2-gfni", unit)));
        found.extend(Avx2::detect().map(|unit| Engine::new("avx2", unit)));
        found.extend(Ssse3::detect().map(|unit| Engine::new("ssse3", unit)));
    }
    #[cfg(target_arch = "aarch64")]
    found.extend(super::aarch64::Neon::detect().map(|unit| Engine::new("neon", unit)));
    found.push(Engine::new("portable", Portable));
    found
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.name).finish()
    }
}

impl Engine {
    fn new(name: &'static str, unit: impl Native) -> Self {
        // Once per unit and process; without a size, nothing is allocated.
        Self { name, kernels: Box::leak(Box::new(unit)) }
    }

    /// What [`OVERRIDE`] calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As [`super::xor`].
    pub fn xor(&self, dst: &mut [u8], sources: &[&[u8]]) {
        check_lengths(dst.len(), sources);
        self.kernels.xor(dst, sources);
    }

    /// As [`super::xor_streamed`].
    pub fn xor_streamed(&self, dst: &mut [u8], sources: &[&[u8]]) {
        check_lengths(dst.len(), sources);
        self.kernels.xor_streamed(dst, sources);
    }

    /// As [`super::xor_into`].
    pub fn xor_into(&self, dst: &mut [u8], sources: &[&[u8]]) {
        check_lengths(dst.len(), sources);
        self.kernels.xor_into(dst, sources);
    }

    /// As [`super::xor_mismatch`].
    pub fn xor_mismatch(&self, p: &[u8], sources: &[&[u8]]) -> Option<usize> {
        check_lengths(p.len(), sources);
        self.kernels.xor_mismatch(p, sources)
    }

    /// As [`super::pq`].
    pub fn pq(&self, p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
        check_lengths(p.len(), &[q]);
        check_sources(p.len(), sources);
        self.kernels.pq(p, q, sources);
    }

    /// As [`super::pq_streamed`].
    pub fn pq_streamed(&self, p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
        check_lengths(p.len(), &[q]);
        check_sources(p.len(), sources);
        self.kernels.pq_streamed(p, q, sources);
    }

    /// As [`super::q_only`].
    pub fn q_only(&self, q: &mut [u8], sources: &[Option<&[u8]>]) {
        check_sources(q.len(), sources);
        self.kernels.q_only(q, sources);
    }

    /// As [`super::pq_mismatch`].
    pub fn pq_mismatch(&self, p: &[u8], q: &[u8], sources: &[Option<&[u8]>]) -> Mismatch {
        check_lengths(p.len(), &[q]);
        check_sources(p.len(), sources);
        self.kernels.pq_mismatch(p, q, sources)
    }

    /// As [`super::update_q`].
    pub fn update_q(&self, q: &mut [u8], exponent: u32, old: &[u8], new: &[u8]) {
        check_lengths(q.len(), &[old, new]);
        self.kernels.update_q(q, coefficient(exponent), old, new);
    }

    /// As [`super::update_pq`].
    pub fn update_pq(&self, p: &mut [u8], q: &mut [u8], exponent: u32, old: &[u8], new: &[u8]) {
        check_lengths(p.len(), &[q, old, new]);
        self.kernels.update_pq(p, q, coefficient(exponent), old, new);
    }

    /// x = (q + Σ g^e·D) / a. Terms descend by exponent.
    pub(super) fn solve_one(&self, x: &mut [u8], q: &[u8], terms: &[Term<'_>], a: u8) {
        self.kernels.solve_one(x, q, terms, a);
    }

    /// x = (q + Σ g^e·D) / a, p = x + Σ D. Terms descend by exponent.
    pub(super) fn solve_one_and_p(
        &self,
        lost: [&mut [u8]; 2],
        q: &[u8],
        terms: &[Term<'_>],
        a: u8,
    ) {
        self.kernels.solve_one_and_p(lost, q, terms, a);
    }

    /// Solves x + y = p + Σ D, a·x + b·y = q + Σ g^e·D. Terms descend by exponent.
    pub(super) fn solve_two(
        &self,
        lost: [&mut [u8]; 2],
        parity: [&[u8]; 2],
        terms: &[Term<'_>],
        coefficients: [u8; 2],
    ) {
        self.kernels.solve_two(lost, parity, terms, coefficients);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_engine_is_chosen_and_an_unknown_one_is_not() {
        let fastest = engines().next().map(Engine::name);
        for engine in engines() {
            assert_eq!(choose(Some(engine.name)).name(), engine.name);
        }
        for wanted in [None, Some(""), Some("abacus")] {
            assert_eq!(Some(choose(wanted).name()), fastest);
        }
        assert_eq!(engines().last().map(Engine::name), Some("portable"));
    }

    #[test]
    fn an_engine_is_known_by_its_name_alone() {
        for engine in engines() {
            assert_eq!(unknown(engine.name), None);
            assert_eq!(format!("{engine:?}"), format!("Engine({:?})", engine.name));
        }
        for nobody in ["", "Portable", "abacus"] {
            assert_eq!(unknown(nobody), Some(nobody.to_owned()));
        }
    }

    #[test]
    fn who_asks_for_nothing_asks_for_nothing_unknown() {
        if std::env::var_os(OVERRIDE).is_none() {
            assert_eq!(unknown_override(), None);
        }
    }
}
