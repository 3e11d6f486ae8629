//! Regions of the bitmap that nobody writes to, and which of them could be cleared.
//!
//! The question "whose bit is ripe?" is asked at every turn, and on a large array nearly every
//! region may be idle. So idle regions whose redundancy is good are kept in the order in which they
//! become ripe; those that need a resync are not in that order until the resync has been there.

use std::collections::{BTreeMap, BTreeSet};

use bitvec::prelude::{BitSlice, BitVec, Lsb0};
use holdfast_core::time::Instant;

/// What is known of regions without writes.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    /// Regions without writes since then.
    since: BTreeMap<usize, Instant>,
    /// Those of them that need no resync, longest first.
    ripening: BTreeSet<(Instant, usize)>,
    /// Regions whose redundancy is not known good, idle or not.
    needed: BitVec<u8, Lsb0>,
}

impl Idle {
    /// These regions are idle for ever; these need a resync.
    pub(super) fn new(idle: impl Iterator<Item = usize>, needed: BitVec<u8, Lsb0>) -> Self {
        let since: BTreeMap<_, _> = idle.map(|region| (region, Instant::ZERO)).collect();
        let good = since.keys().filter(|region| !needed[**region]);
        let ripening = good.map(|region| (Instant::ZERO, *region)).collect();
        Self { since, ripening, needed }
    }

    /// A region's last write has ended.
    pub(super) fn rest(&mut self, region: usize, now: Instant) {
        self.stir(region);
        self.since.insert(region, now);
        if !self.needed[region] {
            self.ripening.insert((now, region));
        }
    }

    /// A region is idle no more, or is forgotten.
    pub(super) fn stir(&mut self, region: usize) {
        if let Some(since) = self.since.remove(&region) {
            self.ripening.remove(&(since, region));
        }
    }

    /// A region's redundancy is in doubt, or known good.
    pub(super) fn set_needed(&mut self, region: usize, needed: bool) {
        self.needed.set(region, needed);
        if let Some(&since) = self.since.get(&region) {
            match needed {
                true => self.ripening.remove(&(since, region)),
                false => self.ripening.insert((since, region)),
            };
        }
    }

    /// Whether a region counts as idle.
    pub(super) fn contains(&self, region: usize) -> bool {
        self.since.contains_key(&region)
    }

    /// Regions whose redundancy is not known good.
    pub(super) fn needed(&self) -> &BitSlice<u8, Lsb0> {
        &self.needed
    }

    /// Good regions that have been idle for so long that it is enough.
    pub(super) fn ripe(&self, enough: impl Fn(Instant) -> bool) -> BTreeSet<usize> {
        let ripe = self.ripening.iter().take_while(|(since, _)| enough(*since));
        ripe.map(|(_, region)| *region).collect()
    }

    /// Since when the good region that is idle longest is so.
    pub(super) fn longest(&self) -> Option<Instant> {
        self.ripening.first().map(|(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_ripen_in_order_and_only_while_they_are_good_and_idle() {
        let at = Instant::from_millis;
        let before = |millis| move |since| since <= at(millis);
        let mut idle = Idle::new([0, 3].into_iter(), BitVec::repeat(false, 8));
        idle.rest(1, at(5));
        idle.rest(2, at(3));
        idle.rest(3, at(4));
        assert_eq!((idle.longest(), idle.ripe(before(3))), (Some(at(0)), [0, 2].into()));
        idle.set_needed(2, true);
        idle.stir(0);
        assert_eq!((idle.longest(), idle.ripe(before(4))), (Some(at(4)), [3].into()));
        idle.set_needed(2, false);
        assert_eq!(idle.ripe(|_| true), [1, 2, 3].into());
        idle.set_needed(4, true);
        idle.rest(4, at(9));
        assert_eq!(idle.ripe(|_| true), [1, 2, 3].into(), "what needs a resync is not ripe");
    }
}
