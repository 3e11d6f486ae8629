//! Who may write where: the ghost-write rule as a table.
//!
//! A *claim* is the range of one write, from its start until none of its attempts can still land.
//! Claims never overlap: that is the rule. One look finds who is in the way.

use std::collections::BTreeMap;
use std::ops::Range;

use holdfast_core::slab::Key;

use super::unflushed::Contents;

/// The range of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) end: u64,
    /// Tells it from every other claim there ever was.
    pub(super) id: u64,
    /// Attempts that may still land.
    pub(super) open: u32,
    /// The write, while its user waits for it.
    pub(super) job: Option<Key>,
    /// What it has written, if that matters to whoever identifies the disk.
    pub(super) print: Option<Contents>,
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_start: BTreeMap<u64, Claim>,
    next_id: u64,
}

impl Claims {
    /// The claim in the way of a write to this range, by its start.
    pub(super) fn conflict(&self, range: &Range<u64>) -> Option<u64> {
        let (start, claim) = self.by_start.range(..range.end).next_back()?;
        (claim.end > range.start).then_some(*start)
    }

    /// Takes a range that nobody has.
    pub(super) fn take(&mut self, range: &Range<u64>, job: Key) {
        debug_assert!(self.conflict(range).is_none(), "claims never overlap");
        self.next_id += 1;
        let claim =
            Claim { end: range.end, id: self.next_id, open: 0, job: Some(job), print: None };
        self.by_start.insert(range.start, claim);
    }

    /// Takes a range without regard to others, as a map does that knows no rule.
    pub(super) fn seize(&mut self, range: &Range<u64>, job: Key) {
        self.by_start.retain(|start, claim| *start >= range.end || claim.end <= range.start);
        self.take(range, job);
    }

    pub(super) fn get(&self, start: u64) -> Option<&Claim> {
        self.by_start.get(&start)
    }

    pub(super) fn get_mut(&mut self, start: u64) -> Option<&mut Claim> {
        self.by_start.get_mut(&start)
    }

    /// Lets go of a claim that neither a user nor an attempt holds, and hands it back if it went.
    pub(super) fn settle(&mut self, start: u64) -> Option<Claim> {
        let claim = self.by_start.get(&start)?;
        let over = claim.open == 0 && claim.job.is_none();
        if over { self.by_start.remove(&start) } else { None }
    }

    pub(super) fn len(&self) -> usize {
        self.by_start.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::slab::Slab;

    #[test]
    fn whoever_overlaps_is_found_whoever_touches_is_not() {
        let key = Slab::new().insert(());
        let mut claims = Claims::default();
        claims.take(&(10..20), key);
        claims.take(&(30..40), key);
        for (range, found) in [
            (0..10, None),
            (0..11, Some(10)),
            (19..20, Some(10)),
            (20..30, None),
            (5..100, Some(30)),
            (39..50, Some(30)),
            (40..50, None),
        ] {
            assert_eq!(claims.conflict(&range), found, "{range:?}");
        }
        assert_eq!(claims.settle(10), None, "its user waits");
        claims.get_mut(10).unwrap().job = None;
        claims.get_mut(10).unwrap().open = 1;
        assert_eq!(claims.settle(10), None, "it may still land");
        claims.get_mut(10).unwrap().open = 0;
        assert!(claims.settle(10).is_some() && claims.conflict(&(0..20)).is_none());
        assert_eq!(claims.len(), 1);
    }
}
