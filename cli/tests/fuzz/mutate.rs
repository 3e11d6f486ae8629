//! Changes to a valid structure, and sums made right again.

use holdfast_core::rng::Rng;

use crate::parsers::Parser;

/// A changed copy of one of the pool.
pub(crate) fn mutate(pool: &[Vec<u8>], parser: &Parser, rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.pick(pool).clone();
    for _ in 0..1 + rng.below(4) {
        change(&mut input, pool, parser, rng);
    }
    // Behind a wrong sum nothing is reached; without a wrong one the check itself is not.
    if rng.below(16) != 0 {
        (parser.seal)(&mut input);
    }
    input
}

fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], parser: &Parser, rng: &mut Rng) {
    if input.is_empty() {
        return;
    }
    match rng.below(16) {
        0 => flip(input, rng),
        1 => exchange(input, rng.pick::<Vec<u8>>(pool), rng),
        2 if parser.may_be_cut => input.truncate(rng.below(input.len() as u64 + 1) as usize),
        3 => {
            let at = rng.below(input.len() as u64) as usize;
            input[at] = rng.bits() as u8;
        }
        _ => {
            let (at, width) = *rng.pick(parser.fields);
            set(input, at, width, rng);
        }
    }
}

fn flip(input: &mut [u8], rng: &mut Rng) {
    let bit = rng.below(input.len() as u64 * 8) as usize;
    input[bit / 8] ^= 1 << (bit % 8);
}

/// Takes a stretch of another input, from the same place.
fn exchange(input: &mut [u8], other: &[u8], rng: &mut Rng) {
    let end = input.len().min(other.len());
    let from = rng.below(end.max(1) as u64) as usize;
    let to = (from + 1 + rng.below(64) as usize).min(end);
    if from < to {
        input[from..to].copy_from_slice(&other[from..to]);
    }
}

/// Sets a little-endian field to something of interest.
fn set(input: &mut [u8], at: usize, width: usize, rng: &mut Rng) {
    let Some(field) = input.get_mut(at..at + width) else { return };
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(field);
    let now = u64::from_le_bytes(bytes);
    let value = match rng.below(10) {
        0 => 0,
        1 => u64::MAX,
        2 => 1,
        3 => now.wrapping_add(1),
        4 => now.wrapping_sub(1),
        5 => 1 << rng.below(width as u64 * 8),
        6 => (1u64 << rng.below(width as u64 * 8)).wrapping_neg(),
        7 => rng.below(256),
        8 => rng.below(1 << 17),
        _ => rng.bits(),
    };
    field.copy_from_slice(&value.to_le_bytes()[..width]);
}
