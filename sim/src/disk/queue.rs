//! Requests on their way, and which of them is answered next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use holdfast_core::block::Request;
use holdfast_core::slab::{Key, Slab};
use holdfast_core::time::Instant;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) due: Instant,
    /// Of those that are due together the first to come is the first to go.
    pub(super) order: u64,
    pub(super) request: Request,
    pub(super) fate: Fate,
    /// For a flush: writes up to this number had completed when it was submitted.
    pub(super) covers: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Answered when due.
    Normal,
    /// Not answered until released.
    Held,
    /// The device went away: answered with an error.
    Severed,
}

/// The requests of one disk.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Slab<Waiting>,
    /// All of them, in the order in which a crash looks at them: as they came, but that the last
    /// takes the place of one that leaves.
    line: Vec<Key>,
    /// Those that will be answered, soonest first.
    turns: BinaryHeap<Reverse<(Instant, u64, Key)>>,
}

#[derive(Debug)]
struct Waiting {
    pending: Pending,
    /// Its place in the line.
    at: usize,
}

impl Queue {
    pub(super) const fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn push(&mut self, pending: Pending) {
        let (due, order, held) = (pending.due, pending.order, pending.fate == Fate::Held);
        let key = self.pending.insert(Waiting { pending, at: self.line.len() });
        self.line.push(key);
        if !held {
            self.turns.push(Reverse((due, order, key)));
        }
    }

    /// When the next one is answered, if any is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.turns.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes out the next one if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Pending> {
        self.next().filter(|due| *due <= now)?;
        let Reverse((.., key)) = self.turns.pop()?;
        let Waiting { pending, at } = self.pending.remove(key)?;
        self.line.swap_remove(at);
        if let Some(moved) = self.line.get(at) {
            self.pending[*moved].at = at;
        }
        Some(pending)
    }

    /// One of them, by its place in the line.
    pub(super) fn at(&self, place: usize) -> &Pending {
        &self.pending[self.line[place]].pending
    }

    /// Changes when, and whether, they are answered.
    pub(super) fn change(&mut self, change: impl Fn(&mut Pending)) {
        self.turns.clear();
        for key in &self.line {
            let pending = &mut self.pending[*key].pending;
            change(pending);
            if pending.fate != Fate::Held {
                self.turns.push(Reverse((pending.due, pending.order, *key)));
            }
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::block::{Op, Tag};

    fn pending(due: u64, order: u64, fate: Fate) -> Pending {
        let request = Request::new(Tag(order), 0, Op::Flush);
        Pending { due: Instant::from_nanos(due), order, request, fate, covers: 0 }
    }

    fn line(queue: &Queue) -> Vec<u64> {
        (0..queue.len()).map(|place| queue.at(place).order).collect()
    }

    #[test]
    fn who_is_due_first_goes_first_and_the_last_takes_its_place() {
        let mut queue = Queue::default();
        for (order, due) in [30, 10, 20, 10].into_iter().enumerate() {
            queue.push(pending(due, order as u64, Fate::Normal));
        }
        let now = Instant::from_nanos(20);
        let mut take = || queue.take_due(now).map(|pending| (pending.order, line(&queue)));
        assert_eq!(take(), Some((1, vec![0, 3, 2])));
        assert_eq!(take(), Some((3, vec![0, 2])));
        assert_eq!(take(), Some((2, vec![0])));
        assert_eq!(take(), None);
        assert_eq!(queue.next(), Some(Instant::from_nanos(30)));
    }

    #[test]
    fn what_is_held_waits_for_a_change() {
        let mut queue = Queue::default();
        queue.push(pending(10, 0, Fate::Held));
        assert_eq!((queue.next(), queue.len()), (None, 1));
        queue.change(|pending| pending.fate = Fate::Severed);
        assert_eq!(queue.take_due(Instant::from_nanos(10)).map(|p| p.order), Some(0));
        assert!(queue.is_empty());
    }
}
