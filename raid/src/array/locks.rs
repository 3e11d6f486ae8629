//! Ordered range locks: who may touch which sectors now.
//!
//! Ranges live in one space per array (array sectors for mirrors and stripes without parity,
//! member rows for parity levels, where all data of a row shares one parity). Readers share,
//! writers exclude, and nobody overtakes an earlier waiter it conflicts with: overlapping requests
//! are carried out in the order they came.
//!
//! Locks in force are many (a long read takes one per chunk), so what excludes others is kept in
//! order of place: those ranges never overlap, and one look finds who is in the way. Waiters are
//! few and scanned; a release looks only at those that overlap what was released.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use holdfast_core::slab::{Key, Slab};

/// What a lock allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Others may read too.
    Shared,
    /// Nobody else.
    Exclusive,
}

#[derive(Debug)]
struct Held {
    range: Range<u64>,
    mode: Mode,
    holders: u32,
}

#[derive(Debug)]
struct Waiter<W> {
    range: Range<u64>,
    mode: Mode,
    who: W,
}

/// The lock table; `W` names a waiter.
#[derive(Debug)]
pub(crate) struct Locks<W> {
    held: Slab<Held>,
    /// Exclusive ranges in force, their ends by their starts.
    exclusive: BTreeMap<u64, u64>,
    waiting: VecDeque<Waiter<W>>,
}

impl<W> Locks<W> {
    pub(crate) const fn new() -> Self {
        Self { held: Slab::new(), exclusive: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Takes the lock, or queues `who` for it.
    pub(crate) fn acquire(&mut self, range: Range<u64>, mode: Mode, who: W) -> Option<(Key, W)> {
        let blocked = self.conflicts_with_held(&range, mode)
            || self.waiting.iter().any(|w| conflict(&w.range, w.mode, &range, mode));
        if blocked {
            self.waiting.push_back(Waiter { range, mode, who });
            return None;
        }
        Some((self.hold(range, mode), who))
    }

    fn hold(&mut self, range: Range<u64>, mode: Mode) -> Key {
        if mode == Mode::Exclusive {
            self.exclusive.insert(range.start, range.end);
        }
        self.held.insert(Held { range, mode, holders: 1 })
    }

    /// Adds `more` holders to a lock; each releases it once.
    pub(crate) fn share(&mut self, lock: Key, more: u32) {
        self.held[lock].holders += more;
    }

    /// Gives up one hold and appends those who now hold what they waited for.
    pub(crate) fn release(&mut self, lock: Key, granted: &mut Vec<(Key, W)>) {
        let held = &mut self.held[lock];
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let Held { range: freed, mode, .. } = self.held.remove(lock).expect("just seen");
        if mode == Mode::Exclusive {
            self.exclusive.remove(&freed.start);
        }
        let mut index = 0;
        while index < self.waiting.len() {
            let waiter = &self.waiting[index];
            let mine = (waiter.range.clone(), waiter.mode);
            if !overlap(&mine.0, &freed)
                || self.conflicts_with_held(&mine.0, mine.1)
                || self.earlier_waiter_conflicts(index)
            {
                index += 1;
                continue;
            }
            let waiter = self.waiting.remove(index).expect("in range");
            let key = self.hold(waiter.range, waiter.mode);
            granted.push((key, waiter.who));
        }
    }

    /// Whether nothing is held or waited for.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.waiting.is_empty()
    }

    fn conflicts_with_held(&self, range: &Range<u64>, mode: Mode) -> bool {
        let last = self.exclusive.range(..range.end).next_back();
        let excluded = last.is_some_and(|(_, end)| *end > range.start);
        let shared = || self.held.len() > self.exclusive.len();
        let disturbs = || self.held.iter().any(|(_, held)| overlap(&held.range, range));
        excluded || mode == Mode::Exclusive && shared() && disturbs()
    }

    fn earlier_waiter_conflicts(&self, index: usize) -> bool {
        let me = &self.waiting[index];
        self.waiting.iter().take(index).any(|w| conflict(&w.range, w.mode, &me.range, me.mode))
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn conflict(a: &Range<u64>, a_mode: Mode, b: &Range<u64>, b_mode: Mode) -> bool {
    (a_mode == Mode::Exclusive || b_mode == Mode::Exclusive) && overlap(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(locks: &mut Locks<char>, lock: Key) -> Vec<(Key, char)> {
        let mut granted = Vec::new();
        locks.release(lock, &mut granted);
        granted
    }

    #[test]
    fn readers_share_and_writers_exclude() {
        let mut locks = Locks::new();
        let (a, _) = locks.acquire(0..8, Mode::Shared, 'a').unwrap();
        let (b, _) = locks.acquire(4..12, Mode::Shared, 'b').unwrap();
        assert!(locks.acquire(8..9, Mode::Exclusive, 'w').is_none());
        assert!(release(&mut locks, a).is_empty());
        let granted = release(&mut locks, b);
        assert_eq!(granted[0].1, 'w');
        assert!(release(&mut locks, granted[0].0).is_empty());
        assert!(locks.is_empty());
    }

    #[test]
    fn nobody_overtakes_an_earlier_waiter() {
        let mut locks = Locks::new();
        let (a, _) = locks.acquire(0..8, Mode::Shared, 'a').unwrap();
        assert!(locks.acquire(4..12, Mode::Exclusive, 'w').is_none());
        assert!(locks.acquire(10..11, Mode::Shared, 'r').is_none(), "would overtake w");
        assert!(locks.acquire(20..21, Mode::Shared, 'x').is_some(), "is in nobody's way");
        let granted = release(&mut locks, a);
        assert_eq!(granted.len(), 1);
        assert_eq!(granted[0].1, 'w');
        assert_eq!(release(&mut locks, granted[0].0)[0].1, 'r');
    }

    #[test]
    fn a_shared_hold_is_released_by_its_last_holder() {
        let mut locks = Locks::new();
        let (a, _) = locks.acquire(0..8, Mode::Exclusive, 'a').unwrap();
        locks.share(a, 2);
        assert!(locks.acquire(0..1, Mode::Exclusive, 'b').is_none());
        assert!(release(&mut locks, a).is_empty());
        assert!(release(&mut locks, a).is_empty());
        assert_eq!(release(&mut locks, a)[0].1, 'b');
    }
}
