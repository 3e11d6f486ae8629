//! Every kernel, by some vector unit: which version of it a call gets.
//!
//! - Few sources are an array, so that the compiler knows their number; see `walk.rs`.
//! - Where every exponent has its block, Q takes the fastest form of Horner's rule.
//! - A result is streamed past the cache if the caller says that nobody will read it soon, or if the
//!   stripe is larger than any cache. Streaming everything would cost more than half the speed where
//!   stripes fit a core's own cache, and a third where they fit the one that cores share; never
//!   doing it costs up to a third where nothing is in a cache.
//!
//! Each version is compiled by itself, for the unit ([`Native::run`]).

use super::Mismatch;
use super::change::{SolveOne, SolveOneAndP, SolveTwo, UpdatePq, UpdateQ};
use super::pq::{Dense, Pq, PqMismatch, Q, Sparse};
use super::vector::Native;
use super::walk::{Many, Streaming, Term, few};
use super::xor::{Xor, XorInto, XorMismatch};

/// Past this many bytes touched, a stripe pushes itself out of every cache before it is done.
const CACHE: usize = 64 << 20;

/// Evaluates an expression with `$few` standing for the sources: an array if they are few, and no
/// more bytes than the limit.
macro_rules! by_count {
    ($limit:expr, $sources:expr, $length:expr, |$few:ident| $body:expr) => {
        by_count!($limit, $sources, $length, |$few| $body, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
    };
    ($limit:expr, $sources:expr, $length:expr, |$few:ident| $body:expr, $($n:literal)*) => {
        // Decided by the compiler: a unit that does not want arrays does not get them.
        if $limit == 0 {
            let $few = Many($sources);
            $body
        } else {
            let near = $sources.len() * $length <= $limit;
            match if near { $sources.len() } else { 0 } {
                $($n => {
                    let $few = few::<$n, _>($sources);
                    $body
                })*
                _ => {
                    let $few = Many($sources);
                    $body
                }
            }
        }
    };
}

/// All that is asked of an engine. Lengths and exponents have been checked.
pub(super) trait Kernels: Send + Sync {
    fn xor(&self, dst: &mut [u8], sources: &[&[u8]]);
    fn xor_streamed(&self, dst: &mut [u8], sources: &[&[u8]]);
    fn xor_into(&self, dst: &mut [u8], sources: &[&[u8]]);
    fn xor_mismatch(&self, p: &[u8], sources: &[&[u8]]) -> Option<usize>;
    fn pq(&self, p: &mut [u8], q: &mut [u8], blocks: &[Option<&[u8]>]);
    fn pq_streamed(&self, p: &mut [u8], q: &mut [u8], blocks: &[Option<&[u8]>]);
    fn q_only(&self, q: &mut [u8], blocks: &[Option<&[u8]>]);
    fn pq_mismatch(&self, p: &[u8], q: &[u8], blocks: &[Option<&[u8]>]) -> Mismatch;
    fn update_q(&self, q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]);
    fn update_pq(&self, p: &mut [u8], q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]);
    fn solve_one(&self, x: &mut [u8], q: &[u8], terms: &[Term<'_>], coefficient: u8);
    fn solve_one_and_p(&self, xp: [&mut [u8]; 2], q: &[u8], terms: &[Term<'_>], coefficient: u8);
    fn solve_two(&self, xy: [&mut [u8]; 2], pq: [&[u8]; 2], terms: &[Term<'_>], ab: [u8; 2]);
}

impl<U: Native> Kernels for U {
    fn xor(&self, dst: &mut [u8], sources: &[&[u8]]) {
        if outgrows_cache(dst.len(), sources.len(), 1) {
            self.xor_streamed(dst, sources);
        } else {
            by_count!(U::COUNTED.p, sources, dst.len(), |sources| self.run(Xor { dst, sources }));
        }
    }

    fn xor_streamed(&self, dst: &mut [u8], sources: &[&[u8]]) {
        self.run(Streaming(Xor { dst, sources: Many(sources) }));
    }

    fn xor_into(&self, dst: &mut [u8], sources: &[&[u8]]) {
        match *sources {
            [one] => self.run(XorInto { dst, sources: [one] }),
            [one, two] => self.run(XorInto { dst, sources: [one, two] }),
            _ => self.run(XorInto { dst, sources: Many(sources) }),
        }
    }

    fn xor_mismatch(&self, p: &[u8], sources: &[&[u8]]) -> Option<usize> {
        by_count!(U::COUNTED.p, sources, p.len(), |sources| self.run(XorMismatch { p, sources }))
    }

    fn pq(&self, p: &mut [u8], q: &mut [u8], blocks: &[Option<&[u8]>]) {
        if outgrows_cache(p.len(), blocks.len(), 2) {
            self.pq_streamed(p, q, blocks);
        } else if has_gaps(blocks) {
            self.run(Pq { p, q, data: Sparse::from(&*terms(blocks)) });
        } else {
            by_count!(U::COUNTED.pq, blocks, p.len(), |blocks| self.run(Pq {
                p,
                q,
                data: Dense(blocks)
            }));
        }
    }

    fn pq_streamed(&self, p: &mut [u8], q: &mut [u8], blocks: &[Option<&[u8]>]) {
        if has_gaps(blocks) {
            self.run(Streaming(Pq { p, q, data: Sparse::from(&*terms(blocks)) }));
        } else {
            self.run(Streaming(Pq { p, q, data: Dense(Many(blocks)) }));
        }
    }

    fn q_only(&self, q: &mut [u8], blocks: &[Option<&[u8]>]) {
        if has_gaps(blocks) {
            self.run(Q { q, data: Sparse::from(&*terms(blocks)) });
        } else {
            self.run(Q { q, data: Dense(Many(blocks)) });
        }
    }

    fn pq_mismatch(&self, p: &[u8], q: &[u8], blocks: &[Option<&[u8]>]) -> Mismatch {
        if has_gaps(blocks) {
            self.run(PqMismatch { p, q, data: Sparse::from(&*terms(blocks)) })
        } else {
            by_count!(U::COUNTED.pq, blocks, p.len(), |blocks| self.run(PqMismatch {
                p,
                q,
                data: Dense(blocks)
            }))
        }
    }

    fn update_q(&self, q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]) {
        self.run(UpdateQ { q, coefficient, old, new });
    }

    fn update_pq(&self, p: &mut [u8], q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]) {
        self.run(UpdatePq { p, q, coefficient, old, new });
    }

    fn solve_one(&self, x: &mut [u8], q: &[u8], terms: &[Term<'_>], coefficient: u8) {
        self.run(SolveOne { x, q, data: Sparse::from(terms), coefficient });
    }

    fn solve_one_and_p(&self, xp: [&mut [u8]; 2], q: &[u8], terms: &[Term<'_>], coefficient: u8) {
        let [x, p] = xp;
        by_count!(U::COUNTED.pq, terms, p.len(), |sources| {
            self.run(SolveOneAndP { x, p, q, data: Sparse { terms, sources }, coefficient });
        });
    }

    fn solve_two(&self, xy: [&mut [u8]; 2], pq: [&[u8]; 2], terms: &[Term<'_>], ab: [u8; 2]) {
        let ([x, y], [p, q]) = (xy, pq);
        by_count!(U::COUNTED.pq, terms, p.len(), |sources| {
            let data = Sparse { terms, sources };
            self.run(SolveTwo { x, y, p, q, data, coefficients: ab });
        });
    }
}

/// Whether results are streamed unasked: so many, computed from so many blocks.
const fn outgrows_cache(length: usize, sources: usize, results: usize) -> bool {
    length.saturating_mul(sources.saturating_add(results)) > CACHE
}

fn has_gaps(blocks: &[Option<&[u8]>]) -> bool {
    blocks.iter().any(Option::is_none)
}

/// The blocks there are, from the highest exponent down.
fn terms<'a>(blocks: &[Option<&'a [u8]>]) -> Vec<Term<'a>> {
    let terms = (0..).zip(blocks).filter_map(|(exponent, block)| Some((exponent, (*block)?)));
    let mut terms: Vec<_> = terms.collect();
    terms.reverse();
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_the_largest_caches_is_streamed() {
        assert!(!outgrows_cache(8 << 20, 7, 1), "64 MiB in all");
        assert!(!outgrows_cache(8 << 20, 6, 2));
        assert!(outgrows_cache((8 << 20) + 1, 7, 1));
        assert!(outgrows_cache(8 << 20, 7, 2));
        assert!(!outgrows_cache(0, 255, 2));
        assert!(outgrows_cache(usize::MAX, usize::MAX, 2));
    }

    #[test]
    fn a_gap_is_a_block_that_is_not_there() {
        let block: &[u8] = &[1];
        assert!(!has_gaps(&[]));
        assert!(!has_gaps(&[Some(block); 3]));
        assert!(has_gaps(&[Some(block), None]));
        assert_eq!(terms(&[Some(block), None, Some(block)]), [(2, block), (0, block)]);
    }
}
