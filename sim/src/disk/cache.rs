//! What a disk has taken but not made durable.
//!
//! The disk's image is what readers see. For every block written since it was last durable the
//! cache keeps the *older contents*, numbered in the order in which the writes completed: a power
//! cut then leaves any one of them, or the newest, block by block. Flat vectors, no allocation per
//! write.

use std::ops::Range;

use holdfast_core::rng::Rng;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// Older contents of blocks that are not durable.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// One entry per block and write, in the order of completion.
    entries: Vec<Entry>,
    /// The contents before each entry's write, one block each.
    old: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    block: u64,
}

impl Cache {
    /// Whether everything is durable.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Write `number` is about to replace these contents of blocks from `block` on.
    pub(super) fn note(&mut self, number: u64, block: u64, old: &[u8]) {
        self.old.extend_from_slice(old);
        let blocks = (old.len() / BLOCK) as u64;
        self.entries.extend((block..block + blocks).map(|block| Entry { number, block }));
    }

    /// Writes up to this number are durable.
    pub(super) fn flushed(&mut self, number: u64) {
        self.retain(|entry| entry.number > number);
    }

    /// These blocks have become durable as they are.
    pub(super) fn settled(&mut self, blocks: Range<u64>) {
        if !self.entries.is_empty() {
            self.retain(|entry| !blocks.contains(&entry.block));
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        let mut kept = 0;
        for index in 0..self.entries.len() {
            if !keep(&self.entries[index]) {
                continue;
            }
            if kept != index {
                self.entries[kept] = self.entries[index];
                self.old.copy_within(index * BLOCK..(index + 1) * BLOCK, kept * BLOCK);
            }
            kept += 1;
        }
        self.entries.truncate(kept);
        self.old.truncate(kept * BLOCK);
    }

    /// Blocks that are not durable, and how many contents each could be left with.
    pub(super) fn choices(&self) -> Vec<(u64, usize)> {
        self.by_block().into_iter().map(|(block, entries)| (block, entries.len() + 1)).collect()
    }

    fn by_block(&self) -> Vec<(u64, Vec<usize>)> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&index| (self.entries[index].block, index));
        let mut blocks: Vec<(u64, Vec<usize>)> = Vec::new();
        for index in order {
            let block = self.entries[index].block;
            match blocks.last_mut() {
                Some((last, entries)) if *last == block => entries.push(index),
                _ => blocks.push((block, vec![index])),
            }
        }
        blocks
    }

    /// The power fails: each block keeps the contents numbered `choose(block, choices)`, oldest
    /// first; the last choice is the newest contents.
    pub(super) fn cut(&mut self, image: &mut [u8], mut choose: impl FnMut(u64, usize) -> usize) {
        for (block, entries) in self.by_block() {
            let choice = choose(block, entries.len() + 1);
            if let Some(&entry) = entries.get(choice) {
                let at = block as usize * BLOCK;
                image[at..at + BLOCK].copy_from_slice(&self.old[entry * BLOCK..][..BLOCK]);
            }
        }
        self.entries.clear();
        self.old.clear();
    }

    /// One block is left with the contents numbered `choice`, and is durable so.
    pub(super) fn cut_one(&mut self, image: &mut [u8], block: u64, choice: usize) {
        let mut entries = self.entries.iter().enumerate().filter(|(_, entry)| entry.block == block);
        if let Some((entry, _)) = entries.nth(choice) {
            let at = block as usize * BLOCK;
            image[at..at + BLOCK].copy_from_slice(&self.old[entry * BLOCK..][..BLOCK]);
        }
        self.settled(block..block + 1);
    }

    /// As [`Cache::cut`], by the dice.
    pub(super) fn cut_at_random(&mut self, image: &mut [u8], rng: &mut Rng) {
        self.cut(image, |_, choices| rng.below(choices as u64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(cache: &mut Cache, image: &mut [u8], number: u64, block: u64, byte: u8) {
        let at = block as usize * BLOCK;
        cache.note(number, block, &image[at..at + BLOCK]);
        image[at..at + BLOCK].fill(byte);
    }

    #[test]
    fn two_writes_to_one_block_leave_three_images() {
        let mut seen = Vec::new();
        for choice in 0..3 {
            let (mut cache, mut image) = (Cache::default(), vec![0; 2 * BLOCK]);
            write(&mut cache, &mut image, 1, 1, 1);
            write(&mut cache, &mut image, 2, 1, 2);
            assert_eq!(cache.choices(), [(1, 3)]);
            cache.cut(&mut image, |_, _| choice);
            seen.push(image[BLOCK]);
        }
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn what_is_flushed_or_settled_cannot_be_lost() {
        let (mut cache, mut image) = (Cache::default(), vec![0; 3 * BLOCK]);
        write(&mut cache, &mut image, 1, 0, 1);
        write(&mut cache, &mut image, 2, 1, 2);
        write(&mut cache, &mut image, 3, 0, 3);
        cache.flushed(1);
        cache.settled(1..2);
        assert_eq!(cache.choices(), [(0, 2)]);
        cache.cut(&mut image, |_, _| 0);
        assert_eq!((image[0], image[BLOCK]), (1, 2));
    }
}
