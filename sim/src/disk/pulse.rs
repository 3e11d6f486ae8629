//! What all disks of a world share: the count of steps, the hash of the history, the fuse.
//!
//! A *step* is one answer of one disk. Every step is folded into a 64-bit hash, so two runs that
//! differ anywhere differ in their last number. A power cut is aimed at a step, not at a moment:
//! when the *fuse* has burnt down nothing answers any more, in the middle of whatever the array
//! was doing.

use std::cell::Cell;

/// The shared heartbeat of a world's disks.
#[derive(Debug, Default)]
pub struct Pulse {
    hash: Cell<u64>,
    steps: Cell<u64>,
    fuse: Cell<Option<u64>>,
}

impl Pulse {
    /// Folds a word into the hash of the history.
    pub fn fold(&self, word: u64) {
        self.hash.set(mix(self.hash.get() ^ word));
    }

    /// The history as a number.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Answers given so far.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// The power goes out when so many more answers have been given.
    pub fn light_fuse(&self, steps: u64) {
        self.fuse.set(Some(steps));
    }

    /// Power is back, or was never to go; what was left of the fuse.
    pub fn restore(&self) -> Option<u64> {
        self.fuse.take()
    }

    /// Whether a fuse is burning or has burnt down.
    pub fn is_lit(&self) -> bool {
        self.fuse.get().is_some()
    }

    /// Whether the power is out.
    pub fn is_out(&self) -> bool {
        self.fuse.get() == Some(0)
    }

    /// A disk gives an answer, described by `word`.
    pub(super) fn step(&self, word: u64) {
        self.steps.set(self.steps.get() + 1);
        if let Some(left) = self.fuse.get() {
            self.fuse.set(Some(left.saturating_sub(1)));
        }
        self.fold(word);
    }
}

/// A bijection that spreads every bit over all (splitmix64's finisher).
pub(crate) const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_burns_one_step_at_a_time() {
        let pulse = Pulse::default();
        pulse.step(1);
        assert!(!pulse.is_lit());
        pulse.light_fuse(2);
        pulse.step(2);
        assert!(pulse.is_lit() && !pulse.is_out());
        pulse.step(3);
        assert!(pulse.is_out());
        pulse.restore();
        assert_eq!((pulse.is_lit(), pulse.steps()), (false, 3));
    }

    #[test]
    fn the_hash_depends_on_the_order() {
        let (one, other) = (Pulse::default(), Pulse::default());
        one.fold(1);
        one.fold(2);
        other.fold(2);
        other.fold(1);
        assert_ne!(one.hash(), other.hash());
    }
}
