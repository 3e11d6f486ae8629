//! Randomness from a seed: ChaCha8, whose stream is stable by contract.
//!
//! Probabilities are integer [`Ratio`]s, so that no float decides an order.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A seeded stream of random numbers. The same seed gives the same stream on every machine.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A stream of its own for purpose number `stream` of the same seed: what one purpose draws
    /// never shifts what another one gets.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, each equally likely.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        // Widening multiplication; redraw in the small biased zone (Lemire 2019).
        let zone = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.bits()) * u128::from(bound);
            let low = (wide & u128::from(u64::MAX)) as u64;
            if low >= zone {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A number in `range`, each equally likely.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True with probability `ratio`.
    pub fn chance(&mut self, ratio: Ratio) -> bool {
        self.below(u64::from(ratio.of)) < u64::from(ratio.hits)
    }

    /// One of `choices`, each equally likely.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Fills `bytes` with random bits.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// A probability: `hits` out of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    hits: u32,
    of: u32,
}

impl Ratio {
    /// Never.
    pub const NEVER: Self = Self { hits: 0, of: 1 };

    /// `hits` out of `of`.
    ///
    /// # Panics
    /// If `of` is 0 or smaller than `hits`.
    pub const fn new(hits: u32, of: u32) -> Self {
        assert!(of > 0 && hits <= of);
        Self { hits, of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut rng = Rng::new(7);
        let first: Vec<u64> = (0..4).map(|_| rng.below(1000)).collect();
        let mut again = Rng::new(7);
        assert_eq!(first, (0..4).map(|_| again.below(1000)).collect::<Vec<_>>());
        assert_ne!(Rng::stream(7, 1).bits(), Rng::stream(7, 2).bits());
    }

    #[test]
    fn below_reaches_every_number_about_equally() {
        let mut rng = Rng::new(1);
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[rng.below(6) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn chance_respects_its_ends() {
        let mut rng = Rng::new(3);
        assert!((0..100).all(|_| !rng.chance(Ratio::NEVER)));
        assert!((0..100).all(|_| rng.chance(Ratio::new(1, 1))));
    }
}
