//! Stripes in memory, all of one shape.
//!
//! Blocks of a power of two bytes, one behind the other, would fight for the same sets of the first
//! cache, and the contest would be about that. So each begins 512 bytes later than the last one
//! would have it: enough to spread them, and still aligned as direct I/O wants.

use holdfast_core::rng::Rng;
use holdfast_raid::parity::{self, DataBlock};

use memmap2::{Advice, MmapMut};

use super::op::Op;

/// What spreads blocks over the sets of a cache.
const COLOUR: usize = 512;

/// What huge pages are multiples of.
const HUGE_PAGE: usize = 2 << 20;

/// P, Q, and new contents for a block.
const EXTRA: usize = 3;

/// The memory of some stripes.
#[derive(Debug)]
pub struct Pool {
    memory: MmapMut,
    stripes: usize,
    members: usize,
    block_bytes: usize,
}

impl Pool {
    /// As many stripes of `members` data blocks as fit `bytes`, but at least one. All hold the same
    /// noise, with the right P and Q.
    pub fn new(members: usize, block_bytes: usize, bytes: usize) -> Self {
        let stride = block_bytes + COLOUR;
        let stripe_bytes = stride * (members + EXTRA);
        let stripes = (bytes / stripe_bytes).max(1);
        let mut memory = in_huge_pages(stripes * stripe_bytes);
        let (first, others) = memory[..stripes * stripe_bytes].split_at_mut(stripe_bytes);
        Rng::new(1).fill(first);
        let (data, extra) = first.split_at_mut(members * stride);
        let sources: Vec<Option<&[u8]>> =
            data.chunks(stride).map(|block| Some(&block[..block_bytes])).collect();
        let (p, q) = extra.split_at_mut(stride);
        parity::pq(&mut p[..block_bytes], &mut q[..block_bytes], &sources);
        others.chunks_mut(stripe_bytes).for_each(|other| other.copy_from_slice(first));
        Self { memory, stripes, members, block_bytes }
    }

    /// The stripes, ready for an operation.
    pub fn stripes(&mut self, op: Op) -> Vec<Stripe<'_>> {
        let (members, block_bytes) = (self.members, self.block_bytes);
        let stripe_bytes = (block_bytes + COLOUR) * (members + EXTRA);
        let stripes = self.memory.chunks_exact_mut(stripe_bytes).take(self.stripes);
        stripes.map(|bytes| Stripe::new(bytes, op, members, block_bytes)).collect()
    }
}

/// Zeroed memory, in huge pages where the system has them: the second cache goes by physical
/// addresses, and small pages scattered over memory would make each process another contest.
fn in_huge_pages(bytes: usize) -> MmapMut {
    let memory = MmapMut::map_anon(bytes.next_multiple_of(HUGE_PAGE)).expect("memory for stripes");
    // Advice: where it is not taken, figures spread more.
    let _ = memory.advise(Advice::HugePage);
    memory
}

/// One stripe, in the forms in which its blocks are asked for, so that no contestant has to make
/// them while it is timed.
#[derive(Debug)]
pub struct Stripe<'a> {
    /// The data, unless it is to be rebuilt.
    pub sources: Vec<&'a [u8]>,
    /// The same, by exponent.
    pub by_exponent: Vec<Option<&'a [u8]>>,
    /// The same, with their exponents.
    pub with_exponents: Vec<(u32, &'a [u8])>,
    /// The data, if some is to be rebuilt.
    pub blocks: Vec<DataBlock<'a>>,
    /// The XOR of the data.
    pub p: &'a mut [u8],
    /// The sum of g^exponent · data.
    pub q: &'a mut [u8],
    /// What one block is to become.
    pub new: &'a [u8],
}

impl<'a> Stripe<'a> {
    fn new(bytes: &'a mut [u8], op: Op, members: usize, block_bytes: usize) -> Self {
        let mut blocks = bytes.chunks_mut(block_bytes + COLOUR).map(|b| &mut b[..block_bytes]);
        let data: Vec<&mut [u8]> = blocks.by_ref().take(members).collect();
        let mut next = || blocks.next().expect("the pool has room for P, Q and new contents");
        let (p, q, new) = (next(), next(), &*next());
        let mut stripe = Self {
            sources: Vec::new(),
            by_exponent: Vec::new(),
            with_exponents: Vec::new(),
            blocks: Vec::new(),
            p,
            q,
            new,
        };
        if op.rebuilds() {
            let blocks = (0..).zip(data).map(|(exponent, bytes)| DataBlock { exponent, bytes });
            stripe.blocks = blocks.collect();
        } else {
            stripe.sources = data.into_iter().map(|block| &*block).collect();
            stripe.by_exponent = stripe.sources.iter().copied().map(Some).collect();
            stripe.with_exponents = (0..).zip(stripe.sources.iter().copied()).collect();
        }
        stripe
    }

    /// Which data blocks are lost, where some are: not the outermost.
    pub fn lost(&self) -> [usize; 2] {
        [1, self.blocks.len() / 2 + 1]
    }

    /// Which data block changes, where one does.
    pub fn changed(&self) -> usize {
        self.sources.len() / 2
    }
}
