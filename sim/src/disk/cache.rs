//! What a disk has taken but not made durable.
//!
//! The disk's medium is what readers see. For every write since it was last durable the cache keeps
//! the *older contents*, numbered in the order in which the writes completed: a power cut then
//! leaves any one of them, or the newest, block by block. Older contents that were zeros take no
//! memory.

use std::ops::Range;

use holdfast_core::buf::Buf;
use holdfast_core::rng::Rng;

use super::medium::Medium;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// Older contents of blocks that are not durable.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// One entry per write, or per part of it that is not durable, in the order of completion.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    blocks: Range<u64>,
    /// What was there before; `None` for zeros.
    old: Option<Buf>,
}

impl Entry {
    /// What a block held before.
    fn old(&self, block: u64) -> Option<&[u8]> {
        let at = (block - self.blocks.start) as usize * BLOCK;
        Some(&self.old.as_ref()?[at..at + BLOCK])
    }

    /// The part of it in a range.
    fn part(&self, blocks: Range<u64>) -> Option<Self> {
        let first = blocks.start.max(self.blocks.start);
        let blocks = first..blocks.end.min(self.blocks.end);
        if blocks.is_empty() {
            return None;
        }
        let at = (first - self.blocks.start) as usize * BLOCK;
        let bytes = at..at + (blocks.end - first) as usize * BLOCK;
        let old = self.old.as_ref().map(|old| Buf::from_slice(&old[bytes]));
        Some(Self { number: self.number, blocks, old })
    }
}

impl Cache {
    /// Whether everything is durable.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Write `number` is about to replace what is in these blocks.
    pub(super) fn note(&mut self, number: u64, blocks: Range<u64>, medium: &Medium) {
        let old = medium.copy(blocks.start, blocks.end - blocks.start);
        self.entries.push(Entry { number, blocks, old });
    }

    /// Writes up to this number are durable.
    pub(super) fn flushed(&mut self, number: u64) {
        self.entries.retain(|entry| entry.number > number);
    }

    /// These blocks have become durable as they are.
    pub(super) fn settled(&mut self, blocks: Range<u64>) {
        let touches =
            |entry: &Entry| entry.blocks.start < blocks.end && blocks.start < entry.blocks.end;
        if !self.entries.iter().any(touches) {
            return;
        }
        let mut kept = Vec::with_capacity(self.entries.len() + 1);
        for entry in self.entries.drain(..) {
            if touches(&entry) {
                kept.extend(entry.part(0..blocks.start));
                kept.extend(entry.part(blocks.end..u64::MAX));
            } else {
                kept.push(entry);
            }
        }
        self.entries = kept;
    }

    /// Blocks that are not durable, and how many contents each could be left with.
    pub(super) fn choices(&self) -> Vec<(u64, usize)> {
        self.by_block().into_iter().map(|(block, entries)| (block, entries.len() + 1)).collect()
    }

    fn by_block(&self) -> Vec<(u64, Vec<usize>)> {
        let entries = self.entries.iter().enumerate();
        let mut order: Vec<(u64, usize)> = entries
            .flat_map(|(index, entry)| entry.blocks.clone().map(move |block| (block, index)))
            .collect();
        order.sort_unstable();
        let mut blocks: Vec<(u64, Vec<usize>)> = Vec::new();
        for (block, index) in order {
            match blocks.last_mut() {
                Some((last, entries)) if *last == block => entries.push(index),
                _ => blocks.push((block, vec![index])),
            }
        }
        blocks
    }

    /// The power fails: each block keeps the contents numbered `choose(block, choices)`, oldest
    /// first; the last choice is the newest contents.
    pub(super) fn cut(&mut self, medium: &mut Medium, choose: impl FnMut(u64, usize) -> usize) {
        self.leave_all(medium, choose);
        self.entries.clear();
    }

    /// Makes of a medium what [`Cache::cut`] would.
    pub(super) fn leave_all(
        &self,
        medium: &mut Medium,
        mut choose: impl FnMut(u64, usize) -> usize,
    ) {
        for (block, entries) in self.by_block() {
            let choice = choose(block, entries.len() + 1);
            if let Some(&entry) = entries.get(choice) {
                leave(medium, block, &self.entries[entry]);
            }
        }
    }

    /// One block is left with the contents numbered `choice`, and is durable so.
    pub(super) fn cut_one(&mut self, medium: &mut Medium, block: u64, choice: usize) {
        let mut entries = self.entries.iter().filter(|entry| entry.blocks.contains(&block));
        if let Some(entry) = entries.nth(choice) {
            leave(medium, block, entry);
        }
        self.settled(block..block + 1);
    }

    /// As [`Cache::cut`], by the dice.
    pub(super) fn cut_at_random(&mut self, medium: &mut Medium, rng: &mut Rng) {
        self.cut(medium, |_, choices| rng.below(choices as u64) as usize);
    }
}

/// A block holds again what it held before a write.
fn leave(medium: &mut Medium, block: u64, entry: &Entry) {
    match entry.old(block) {
        Some(old) => medium.write(block, old),
        None => medium.zero(block, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(cache: &mut Cache, medium: &mut Medium, number: u64, block: u64, byte: u8) {
        cache.note(number, block..block + 1, medium);
        medium.write(block, &[byte; BLOCK]);
    }

    fn byte(medium: &Medium, block: u64) -> u8 {
        medium.bytes()[block as usize * BLOCK]
    }

    #[test]
    fn two_writes_to_one_block_leave_three_mediums() {
        let mut seen = Vec::new();
        for choice in 0..3 {
            let (mut cache, mut medium) = (Cache::default(), Medium::zeroed(2));
            write(&mut cache, &mut medium, 1, 1, 1);
            write(&mut cache, &mut medium, 2, 1, 2);
            assert_eq!(cache.choices(), [(1, 3)]);
            cache.cut(&mut medium, |_, _| choice);
            seen.push(byte(&medium, 1));
        }
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn what_is_flushed_or_settled_cannot_be_lost() {
        let (mut cache, mut medium) = (Cache::default(), Medium::zeroed(3));
        write(&mut cache, &mut medium, 1, 0, 1);
        write(&mut cache, &mut medium, 2, 1, 2);
        write(&mut cache, &mut medium, 3, 0, 3);
        cache.flushed(1);
        cache.settled(1..2);
        assert_eq!(cache.choices(), [(0, 2)]);
        cache.cut(&mut medium, |_, _| 0);
        assert_eq!((byte(&medium, 0), byte(&medium, 1)), (1, 2));
    }

    #[test]
    fn a_write_may_become_durable_in_part() {
        let (mut cache, mut medium) = (Cache::default(), Medium::zeroed(5));
        medium.write(0, &[7; 5 * BLOCK]);
        cache.note(1, 0..5, &medium);
        medium.write(0, &[8; 5 * BLOCK]);
        cache.settled(2..3);
        assert_eq!(cache.choices(), [(0, 2), (1, 2), (3, 2), (4, 2)]);
        cache.cut(&mut medium, |_, _| 0);
        let bytes = (0..5).map(|block| byte(&medium, block));
        assert_eq!(bytes.collect::<Vec<_>>(), [7, 7, 8, 7, 7]);
    }
}
