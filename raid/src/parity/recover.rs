//! Rebuilding lost blocks of a stripe from the rest.
//!
//! The stripe lends its buffers; those lost are overwritten with what they should hold, in place.
//! With D the sum over surviving data, and a, b the exponents of lost data x, y:
//!
//! | lost | used | solution |
//! | --- | --- | --- |
//! | x | P | x = P + ΣD |
//! | x, Q | P | as above, then Q anew |
//! | x, P | Q | x = (Q + Σg^e·D) / g^a, then P anew |
//! | x, y | P, Q | x + y = P + ΣD, g^a·x + g^b·y = Q + Σg^e·D |
//! | P, Q or both | data | anew |
//!
//! Lost data takes one pass: sums and solution are computed together (see the kernels in
//! `change.rs`). Linux makes the sums in the lost buffers and goes over those again
//! (`lib/raid6/recov.c`, `raid6_2data_recov_intx1`, `raid6_datap_recov_intx1`), which touches more
//! memory for the same answer.

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
        let (p_lost, q_lost) = (lost.contains(&Lost::P), lost.contains(&Lost::Q));
        let p = blocks.p.as_deref().filter(|_| !p_lost);
        let q = blocks.q.as_deref().filter(|_| !q_lost);
        let lost_data = lost_data(lost, blocks.data.len());
        match (lost_data.as_slice(), p, q) {
            ([], _, _) => {}
            (&[x], Some(p), _) => self.recover_from_p(blocks.data, x, p),
            (&[x], None, Some(q)) => self.recover_from_q(blocks.data, x, q),
            (&[x, y], Some(p), Some(q)) => self.recover_two(blocks.data, [x, y], p, q),
            _ => {
                let parity = usize::from(p.is_some()) + usize::from(q.is_some());
                return Err(TooManyLost { data: lost_data.len(), parity });
            }
        }
        self.recompute_parity(blocks, p_lost, q_lost);
        Ok(())
    }

    fn recover_from_p(&self, data: &mut [DataBlock<'_>], x: usize, p: &[u8]) {
        let ([lost], survivors) = split(data, [x]);
        let mut sources: Vec<&[u8]> = survivors.into_iter().map(|(_, bytes)| bytes).collect();
        sources.push(p);
        self.xor(lost, &sources);
    }

    fn recover_from_q(&self, data: &mut [DataBlock<'_>], x: usize, q: &[u8]) {
        let coefficient = gf::exp(data[x].exponent);
        let ([x], survivors) = split(data, [x]);
        self.solve_one(x, q, &descending(survivors), coefficient);
    }

    fn recover_two(&self, data: &mut [DataBlock<'_>], lost: [usize; 2], p: &[u8], q: &[u8]) {
        let coefficients = lost.map(|index| gf::exp(data[index].exponent));
        let (lost, survivors) = split(data, lost);
        self.solve_two(lost, [p, q], &descending(survivors), coefficients);
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

/// The indices of lost data blocks, each once.
fn lost_data(lost: &[Lost], data_blocks: usize) -> Vec<usize> {
    let indices = lost.iter().filter_map(|lost| match *lost {
        Lost::Data(index) => Some(index),
        Lost::P | Lost::Q => None,
    });
    let mut indices: Vec<usize> = indices.collect();
    indices.sort_unstable();
    indices.dedup();
    if let Some(&last) = indices.last() {
        assert!(last < data_blocks, "data block {last} of {data_blocks} is lost");
    }
    indices
}

/// Survivors as terms of Horner's rule.
fn descending(mut survivors: Survivors<'_>) -> Survivors<'_> {
    survivors.sort_unstable_by_key(|&(exponent, _)| std::cmp::Reverse(exponent));
    survivors
}

/// Data blocks that can be relied on, with their exponents.
type Survivors<'s> = Vec<(u32, &'s [u8])>;

/// The lost buffers, to be written, and the others. `lost` is ascending.
fn split<'s, const N: usize>(
    data: &'s mut [DataBlock<'_>],
    lost: [usize; N],
) -> ([&'s mut [u8]; N], Survivors<'s>) {
    let mut buffers: [&mut [u8]; N] = std::array::from_fn(|_| Default::default());
    let mut survivors = Vec::with_capacity(data.len());
    for (index, block) in data.iter_mut().enumerate() {
        match lost.iter().position(|&lost| lost == index) {
            Some(n) => buffers[n] = &mut *block.bytes,
            None => survivors.push((block.exponent, &*block.bytes)),
        }
    }
    (buffers, survivors)
}
