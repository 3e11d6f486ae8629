//! Parity in safe, portable code, several bytes at a time.
//!
//! Everything here walks over its slices in blocks of [`BLOCK`] bytes held as eight `u64` words,
//! and visits memory once: for each block it loads from every source, computes in registers, and
//! stores each result. The compiler turns the words into vector registers where there are any.
//!
//! Two tricks carry all of it:
//!
//! - *Doubling packed bytes* ([`Block::double`]): all bytes of a word are multiplied by g at once.
//!   A shift moves each byte's bits left; bytes whose top bit fell out get XOR 0x1d, through a mask
//!   that is 0xff for them and 0 for the rest.
//! - *Horner's rule*: Σ g^e · D_e = D_0 + g·(D_1 + g·(D_2 + …)). Starting at the highest exponent,
//!   a doubling and an XOR per source give Q without any table. Multiplying by a constant is the
//!   same rule over the constant's bits.
//!
//! The last block may be partial; it is padded with zeros when loaded and cut when stored, and
//! zeros stay zeros under everything done here.
//!
//! The functions trust their arguments: the front door (`parity/mod.rs`) has checked that all
//! slices are equally long. Another engine would offer the same functions.

use super::gf;

/// Bytes per step.
const BLOCK: usize = 64;
const WORD: usize = size_of::<u64>();
const WORDS: usize = BLOCK / WORD;

/// A byte in each byte of a word.
const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// [`BLOCK`] bytes of a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Block([u64; WORDS]);

impl Block {
    const ZERO: Self = Self([0; WORDS]);

    #[inline(always)]
    fn load(bytes: &[u8], at: usize) -> Self {
        match bytes[at..].first_chunk() {
            Some(whole) => Self::from_bytes(whole),
            None => Self::load_tail(&bytes[at..]),
        }
    }

    #[cold]
    fn load_tail(tail: &[u8]) -> Self {
        let mut padded = [0; BLOCK];
        padded[..tail.len()].copy_from_slice(tail);
        Self::from_bytes(&padded)
    }

    #[inline(always)]
    fn from_bytes(bytes: &[u8; BLOCK]) -> Self {
        let (words, _) = bytes.as_chunks::<WORD>();
        Self(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8], at: usize) {
        let mut stored = [0; BLOCK];
        for (to, word) in stored.as_chunks_mut::<WORD>().0.iter_mut().zip(self.0) {
            *to = word.to_le_bytes();
        }
        match bytes[at..].first_chunk_mut::<BLOCK>() {
            Some(whole) => *whole = stored,
            None => {
                let tail = &mut bytes[at..];
                tail.copy_from_slice(&stored[..tail.len()]);
            }
        }
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// Every byte times g.
    #[inline(always)]
    fn double(self) -> Self {
        Self(self.0.map(|word| {
            let top = word & spread(0x80);
            // Per byte: 0x100 - 1 where the top bit was set. The borrow of one byte meets the 1
            // that the shift left in it, so bytes do not disturb each other.
            let mask = (top << 1).wrapping_sub(top >> 7);
            ((word & spread(0x7f)) << 1) ^ (mask & spread(gf::REDUCTION))
        }))
    }

    /// Every byte times `coefficient`.
    #[inline(always)]
    fn times(self, coefficient: u8) -> Self {
        let mut product = Self::ZERO;
        for bit in (0..u8::BITS - coefficient.leading_zeros()).rev() {
            product = product.double();
            if coefficient & (1 << bit) != 0 {
                product = product.xor(self);
            }
        }
        product
    }
}

/// Where the blocks of a slice start.
fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    (0..bytes.len()).step_by(BLOCK)
}

#[inline(always)]
fn sum(first: Block, sources: &[&[u8]], at: usize) -> Block {
    sources.iter().fold(first, |sum, source| sum.xor(Block::load(source, at)))
}

/// Q alone of one block.
#[inline(always)]
fn q_sum(sources: &[Option<&[u8]>], at: usize) -> Block {
    let mut q = Block::ZERO;
    for source in sources.iter().rev() {
        q = q.double();
        if let Some(source) = source {
            q = q.xor(Block::load(source, at));
        }
    }
    q
}

/// P and Q of one block.
#[inline(always)]
fn pq_sum(sources: &[Option<&[u8]>], at: usize) -> (Block, Block) {
    let (mut p, mut q) = (Block::ZERO, Block::ZERO);
    for source in sources.iter().rev() {
        q = q.double();
        if let Some(source) = source {
            let data = Block::load(source, at);
            p = p.xor(data);
            q = q.xor(data);
        }
    }
    (p, q)
}

/// dst = Σ sources.
pub(super) fn xor(dst: &mut [u8], sources: &[&[u8]]) {
    for at in starts(dst) {
        sum(Block::ZERO, sources, at).store(dst, at);
    }
}

/// dst += Σ sources.
pub(super) fn xor_into(dst: &mut [u8], sources: &[&[u8]]) {
    for at in starts(dst) {
        sum(Block::load(dst, at), sources, at).store(dst, at);
    }
}

/// p = Σ D, q = Σ g^e·D.
pub(super) fn pq(p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
    for at in starts(p) {
        let (p_sum, q_sum) = pq_sum(sources, at);
        p_sum.store(p, at);
        q_sum.store(q, at);
    }
}

/// q = Σ g^e·D.
pub(super) fn q_only(q: &mut [u8], sources: &[Option<&[u8]>]) {
    for at in starts(q) {
        q_sum(sources, at).store(q, at);
    }
}

/// Whether p = Σ sources.
pub(super) fn xor_matches(p: &[u8], sources: &[&[u8]]) -> bool {
    starts(p).all(|at| sum(Block::load(p, at), sources, at) == Block::ZERO)
}

/// Whether p = Σ D, and whether q = Σ g^e·D.
pub(super) fn pq_matches(p: &[u8], q: &[u8], sources: &[Option<&[u8]>]) -> (bool, bool) {
    let (mut p_right, mut q_right) = (true, true);
    for at in starts(p) {
        let (p_sum, q_sum) = pq_sum(sources, at);
        p_right &= p_sum == Block::load(p, at);
        q_right &= q_sum == Block::load(q, at);
        if !p_right && !q_right {
            break;
        }
    }
    (p_right, q_right)
}

/// q += coefficient · (old + new).
pub(super) fn update_q(q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]) {
    for at in starts(q) {
        let delta = Block::load(old, at).xor(Block::load(new, at));
        Block::load(q, at).xor(delta.times(coefficient)).store(q, at);
    }
}

/// p += old + new, q += coefficient · (old + new).
pub(super) fn update_pq(p: &mut [u8], q: &mut [u8], coefficient: u8, old: &[u8], new: &[u8]) {
    for at in starts(p) {
        let delta = Block::load(old, at).xor(Block::load(new, at));
        Block::load(p, at).xor(delta).store(p, at);
        Block::load(q, at).xor(delta.times(coefficient)).store(q, at);
    }
}

/// dst = coefficient · (dst + other): solves one equation for its one unknown.
pub(super) fn solve_one(dst: &mut [u8], other: &[u8], coefficient: u8) {
    for at in starts(dst) {
        let delta = Block::load(dst, at).xor(Block::load(other, at));
        delta.times(coefficient).store(dst, at);
    }
}

/// Solves x + y = dp, a·x + b·y = dq, where dp = x + p and dq = y + q at the start:
/// `x` and `y` hold the sums of what survives, and receive the solution.
///
/// y = (dq + a·dp) / (a + b), x = dp + y.
pub(super) fn solve_two(x: &mut [u8], y: &mut [u8], p: &[u8], q: &[u8], (a, b): (u8, u8)) {
    let inverse = gf::inv(a ^ b);
    let a_share = gf::mul(a, inverse);
    for at in starts(x) {
        let dp = Block::load(x, at).xor(Block::load(p, at));
        let dq = Block::load(y, at).xor(Block::load(q, at));
        let solved = dq.times(inverse).xor(dp.times(a_share));
        solved.store(y, at);
        dp.xor(solved).store(x, at);
    }
}
