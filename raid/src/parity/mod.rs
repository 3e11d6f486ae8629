//! P and Q: making them, checking them, and getting lost blocks back.
//!
//! Words used:
//!
//! - *block*: the bytes of one member taking part in one computation; all blocks of a call have the
//!   same length, and any length will do.
//! - *P*: the XOR of a stripe's data blocks (raid4, raid5, raid6).
//! - *Q*: the sum of g^e · D over the data blocks, in the field of [`gf`] (raid6).
//! - *exponent*: that e; which block has which is for the layout to say
//!   ([`crate::layout::Roles::exponent`]). Exponents need not be dense: one without a block stands
//!   for a block of zeros, written `None`.
//!
//! This file is the front door; it passes everything to the fastest [`Engine`] this CPU has. From
//! there down:
//!
//! ```text
//!  engine      checks arguments; which engines there are, and which is used
//!  kernels     which version of an algorithm a call gets
//!  xor, pq,    the algorithms, once, for any vector unit
//!    change
//!  walk        how kernels step over blocks of any length, and name their sources
//!  vector      what kernels ask of a vector unit
//!  portable,   the vector units
//!    x86_64,
//!    aarch64
//! ```
//!
//! [`mod@reference`] is the definition of it all, and judges every engine.
//!
//! Blocks of unequal length and impossible exponents are faults of the caller, and panic. Nothing
//! else does.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod change;
mod constants;
mod engine;
#[cfg(test)]
mod engine_tests;
pub mod gf;
mod kernels;
mod locate;
mod portable;
mod pq;
mod recover;
pub mod reference;
#[cfg(test)]
mod tests;
mod vector;
mod walk;
#[cfg(target_arch = "x86_64")]
mod x86_64;
mod xor;

pub use engine::{Engine, OVERRIDE, engine, engines, unknown_override};
pub use locate::Culprit;
pub use recover::{Blocks, DataBlock, Lost, TooManyLost};

/// Where stored P and Q first differ from what the data calls for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The first wrong byte of P.
    pub p: Option<usize>,
    /// The first wrong byte of Q.
    pub q: Option<usize>,
}

impl Mismatch {
    /// Neither is wrong anywhere.
    pub const NONE: Self = Self { p: None, q: None };
}

/// Sets `dst` to the XOR of all sources; to zeros if there are none.
pub fn xor(dst: &mut [u8], sources: &[&[u8]]) {
    engine().xor(dst, sources);
}

/// As [`xor`], for blocks that come from a device and a result that goes to one: nobody will read
/// it soon, so it is stored past the cache. Slower if the stripe is in the cache already.
pub fn xor_streamed(dst: &mut [u8], sources: &[&[u8]]) {
    engine().xor_streamed(dst, sources);
}

/// XORs all sources into `dst`.
pub fn xor_into(dst: &mut [u8], sources: &[&[u8]]) {
    engine().xor_into(dst, sources);
}

/// The first position at which `p` is not the XOR of all sources.
pub fn xor_mismatch(p: &[u8], sources: &[&[u8]]) -> Option<usize> {
    engine().xor_mismatch(p, sources)
}

/// Computes P and Q in one pass. `sources[e]` is the data block with exponent `e`; `None` is a
/// block of zeros.
pub fn pq(p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
    engine().pq(p, q, sources);
}

/// As [`pq`], storing past the cache; see [`xor_streamed`].
pub fn pq_streamed(p: &mut [u8], q: &mut [u8], sources: &[Option<&[u8]>]) {
    engine().pq_streamed(p, q, sources);
}

/// Computes Q alone, as [`pq`] does.
pub fn q_only(q: &mut [u8], sources: &[Option<&[u8]>]) {
    engine().q_only(q, sources);
}

/// What [`pq`] would write, compared instead.
pub fn pq_mismatch(p: &[u8], q: &[u8], sources: &[Option<&[u8]>]) -> Mismatch {
    engine().pq_mismatch(p, q, sources)
}

/// Carries the change of one data block over into P.
pub fn update_p(p: &mut [u8], old: &[u8], new: &[u8]) {
    xor_into(p, &[old, new]);
}

/// Carries the change of the data block with this exponent over into Q.
pub fn update_q(q: &mut [u8], exponent: u32, old: &[u8], new: &[u8]) {
    engine().update_q(q, exponent, old, new);
}

/// Carries the change of the data block with this exponent over into P and Q, in one pass.
pub fn update_pq(p: &mut [u8], q: &mut [u8], exponent: u32, old: &[u8], new: &[u8]) {
    engine().update_pq(p, q, exponent, old, new);
}

/// Rebuilds the lost blocks, in place, from the rest. Naming a block twice is naming it once.
///
/// On error nothing has been written.
///
/// # Panics
///
/// If blocks differ in length, a lost index does not exist, or there is a Q and an exponent is
/// used twice or is 255 or more.
pub fn recover(blocks: &mut Blocks<'_, '_>, lost: &[Lost]) -> Result<(), TooManyLost> {
    engine().recover(blocks, lost)
}

/// Looks for the one wrong block. `data` holds each data block with its exponent, in any order.
///
/// # Panics
///
/// If slices differ in length, or an exponent is used twice or is 255 or more.
pub fn locate(data: &[(u32, &[u8])], p: &[u8], q: &[u8]) -> Culprit {
    engine().locate(data, p, q)
}

fn coefficient(exponent: u32) -> u8 {
    check_exponents([exponent]);
    gf::exp(exponent)
}

fn check_lengths(length: usize, sources: &[&[u8]]) {
    for source in sources {
        assert_eq!(source.len(), length, "blocks of a stripe differ in length");
    }
}

fn check_sources(length: usize, sources: &[Option<&[u8]>]) {
    assert!(sources.len() <= gf::POWERS as usize, "{} powers of g in Q", sources.len());
    for source in sources.iter().flatten() {
        assert_eq!(source.len(), length, "blocks of a stripe differ in length");
    }
}

/// Two blocks under one power of g could not be told apart; nor could they 255 powers apart.
fn check_exponents(exponents: impl IntoIterator<Item = u32>) {
    let mut used = [0u64; gf::POWERS.div_ceil(u64::BITS) as usize];
    for exponent in exponents {
        assert!(exponent < gf::POWERS, "exponent {exponent} in Q");
        let (word, bit) = (&mut used[(exponent / u64::BITS) as usize], 1 << (exponent % u64::BITS));
        assert!(*word & bit == 0, "exponent {exponent} used twice in Q");
        *word |= bit;
    }
}

/// Blocks in any order, as the sources [`pq`] wants.
fn by_exponent<'a>(blocks: impl IntoIterator<Item = (u32, &'a [u8])>) -> Vec<Option<&'a [u8]>> {
    let mut sources = Vec::new();
    for (exponent, bytes) in blocks {
        assert!(exponent < gf::POWERS, "exponent {exponent} in Q");
        let place = exponent as usize;
        if sources.len() <= place {
            sources.resize(place + 1, None);
        }
        assert!(sources[place].is_none(), "exponent {exponent} used twice in Q");
        sources[place] = Some(bytes);
    }
    sources
}
