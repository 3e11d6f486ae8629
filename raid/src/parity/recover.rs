//! Rebuilding lost blocks of a stripe from the rest.
//!
//! The stripe lends its buffers; those lost are overwritten with what they should hold, in place.
//! With D the sum over surviving data, and a, b the exponents of lost data x, y:
//!
//! | lost | used | solution |
//! | --- | --- | --- |
//! | x | P | x = P + ΣD |
//! | x, Q | P | as above, then Q anew |
//! | x, P | Q | x = (Q + Σg^e·D) / g^a, P = x + ΣD |
//! | x, no P kept | Q | x = (Q + Σg^e·D) / g^a |
//! | x, y | P, Q | x + y = P + ΣD, g^a·x + g^b·y = Q + Σg^e·D |
//! | P, Q or both | data | anew |
//!
//! Lost data takes one pass, and P with it: sums and solution are computed together (see the kernels in
//! `change.rs`). Linux makes the sums in the lost buffers and goes over those again
//! (`lib/raid6/recov.c`, `raid6_2data_recov_intx1`, `raid6_datap_recov_intx1`), which touches more
//! memory for the same answer.

use super::walk::Term;
use super::{Engine, by_exponent, check_exponents, gf};

/// One data block of a stripe.
#[derive(Debug)]
pub struct DataBlock<'a> {
    /// The power of g this block has in Q. Means nothing where there is no Q.
    pub exponent: u32,
    /// Its bytes.
    pub bytes: &'a mut [u8],
}

/// The blocks of a stripe, all of one length, that the caller lends.
///
/// A parity of `None` can neither help nor be rebuilt: raid5 has no Q, and a caller who cannot
/// store a lost parity need not bring a buffer for it.
#[derive(Debug)]
pub struct Blocks<'a, 'd> {
    /// Every data block, in any order. Exponents must differ if there is a Q; exponents without a
    /// block stand for zeros.
    pub data: &'a mut [DataBlock<'d>],
    /// The XOR of the data.
    pub p: Option<&'a mut [u8]>,
    /// The sum of g^exponent · data.
    pub q: Option<&'a mut [u8]>,
}

/// A block whose content is not to be used, and is to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// The data block at this index of [`Blocks::data`].
    Data(usize),
    /// P.
    P,
    /// Q.
    Q,
}

/// More data blocks are lost than there is parity left to solve for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{data} data blocks are lost and {parity} parity blocks are left")]
pub struct TooManyLost {
    /// Data blocks lost.
    pub data: usize,
    /// Parity blocks there are and that are not lost.
    pub parity: usize,
}

impl Engine {
    /// As [`super::recover`].
    pub fn recover(&self, blocks: &mut Blocks<'_, '_>, lost: &[Lost]) -> Result<(), TooManyLost> {
        check(blocks);
        let (mut p_lost, q_lost) = (lost.contains(&Lost::P), lost.contains(&Lost::Q));
        let Blocks { data, p, q } = blocks;
        let (p_kept, q_kept) = (p.is_some() && !p_lost, q.as_deref().filter(|_| !q_lost));
        match (LostData::among(lost, data.len()), p.as_deref_mut(), q_kept) {
            (LostData::None, ..) => {}
            (LostData::One(x), Some(p), _) if p_kept => self.recover_from_p(data, x, p),
            (LostData::One(x), p, Some(q)) => {
                self.recover_from_q(data, x, p, q);
                p_lost = false;
            }
            (LostData::Two(x, y), Some(p), Some(q)) if p_kept => {
                self.recover_two(data, [x, y], p, q);
            }
            (lost_data, ..) => {
                let parity = usize::from(p_kept) + usize::from(q_kept.is_some());
                return Err(TooManyLost { data: lost_data.count(), parity });
            }
        }
        self.recompute_parity(blocks, p_lost, q_lost);
        Ok(())
    }

    fn recover_from_p(&self, data: &mut [DataBlock<'_>], x: usize, p: &[u8]) {
        let mut sources = Vec::with_capacity(data.len());
        let [lost] = split(data, [x], |_, bytes| sources.push(bytes));
        sources.push(p);
        self.xor(lost, &sources);
    }

    /// With P, if there is one: it is lost too.
    fn recover_from_q(&self, data: &mut [DataBlock<'_>], x: usize, p: Option<&mut [u8]>, q: &[u8]) {
        let coefficient = gf::exp(data[x].exponent);
        let ([x], survivors) = terms(data, [x]);
        match p {
            Some(p) => self.solve_one_and_p([x, p], q, &survivors, coefficient),
            None => self.solve_one(x, q, &survivors, coefficient),
        }
    }

    fn recover_two(&self, data: &mut [DataBlock<'_>], lost: [usize; 2], p: &[u8], q: &[u8]) {
        let coefficients = lost.map(|index| gf::exp(data[index].exponent));
        let (lost, survivors) = terms(data, lost);
        self.solve_two(lost, [p, q], &survivors, coefficients);
    }

    fn recompute_parity(&self, blocks: &mut Blocks<'_, '_>, p_lost: bool, q_lost: bool) {
        let p = blocks.p.as_deref_mut().filter(|_| p_lost);
        let q = blocks.q.as_deref_mut().filter(|_| q_lost);
        let data = blocks.data.iter().map(|block| (block.exponent, &*block.bytes));
        match (p, q) {
            (None, None) => {}
            (Some(p), None) => self.xor(p, &data.map(|(_, bytes)| bytes).collect::<Vec<_>>()),
            (None, Some(q)) => self.q_only(q, &by_exponent(data)),
            (Some(p), Some(q)) => self.pq(p, q, &by_exponent(data)),
        }
    }
}

fn check(blocks: &Blocks<'_, '_>) {
    let parities = [blocks.p.as_deref(), blocks.q.as_deref()];
    let all = parities.into_iter().flatten().chain(blocks.data.iter().map(|block| &*block.bytes));
    let mut lengths = all.map(<[u8]>::len);
    if let Some(first) = lengths.next() {
        assert!(lengths.all(|length| length == first), "blocks of a stripe differ in length");
    }
    if blocks.q.is_some() {
        check_exponents(blocks.data.iter().map(|block| block.exponent));
    }
}

/// Which data blocks are lost, in ascending order.
#[derive(Clone, Copy)]
enum LostData {
    None,
    One(usize),
    Two(usize, usize),
    /// So many, which is more than any parity solves.
    More(usize),
}

impl LostData {
    /// A block named twice is lost once.
    fn among(lost: &[Lost], data_blocks: usize) -> Self {
        let mut found = Self::None;
        for (i, block) in lost.iter().enumerate() {
            let Lost::Data(index) = *block else { continue };
            assert!(index < data_blocks, "data block {index} of {data_blocks} is lost");
            if lost[..i].contains(block) {
                continue;
            }
            found = match found {
                Self::None => Self::One(index),
                Self::One(first) => Self::Two(first.min(index), first.max(index)),
                Self::Two(..) => Self::More(3),
                Self::More(count) => Self::More(count + 1),
            };
        }
        found
    }

    fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Two(..) => 2,
            Self::More(count) => count,
        }
    }
}

/// The lost buffers, and the survivors as terms of Horner's rule. `lost` is ascending.
fn terms<'s, const N: usize>(
    data: &'s mut [DataBlock<'_>],
    lost: [usize; N],
) -> ([&'s mut [u8]; N], Vec<Term<'s>>) {
    let mut survivors = Vec::with_capacity(data.len());
    let lost = split(data, lost, |exponent, bytes| survivors.push((exponent, bytes)));
    // Data mostly lies in the order of its exponents: then nothing is left to sort.
    survivors.reverse();
    survivors.sort_unstable_by_key(|&(exponent, _)| std::cmp::Reverse(exponent));
    (lost, survivors)
}

/// The lost buffers, to be written; the others, which can be relied on, go to `survivor` with their
/// exponents. `lost` is ascending.
fn split<'s, const N: usize>(
    data: &'s mut [DataBlock<'_>],
    lost: [usize; N],
    mut survivor: impl FnMut(u32, &'s [u8]),
) -> [&'s mut [u8]; N] {
    let mut buffers: [&mut [u8]; N] = std::array::from_fn(|_| Default::default());
    for (index, block) in data.iter_mut().enumerate() {
        match lost.iter().position(|&lost| lost == index) {
            Some(n) => buffers[n] = &mut *block.bytes,
            None => survivor(block.exponent, &*block.bytes),
        }
    }
    buffers
}
