//! Which regions of a member are being written: what a power cut may tear.
//!
//! Before the first write into a region its bit is set on the device, durably; when a flush has
//! covered every write into it the bit goes. After an unclean end the set bits say where blocks
//! and seals may disagree for an innocent reason. Where seals speak of other members' blocks, a bit
//! stays until those are written as well: their own bit may not have been set. One sector holds all bits, so that the map
//! itself lands whole or not at all; only one write of it is ever on its way.

use std::ops::Range;

const MAGIC: [u8; 8] = *b"hf-opens";
const WORDS: usize = 62;

/// Bits of a map.
const BITS: u64 = WORDS as u64 * 64;

/// The bits as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Bits {
    const fn has(&self, bit: u64) -> bool {
        self.0[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    const fn set(&mut self, bit: u64) {
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }

    const fn clear(&mut self, bit: u64) {
        self.0[bit as usize / 64] &= !(1 << (bit % 64));
    }

    /// Those that are set.
    fn iter(self) -> impl Iterator<Item = u64> {
        let some = |word: u64| (word != 0).then_some(word);
        let of_word = move |(at, word): (u64, u64)| {
            let rest = std::iter::successors(some(word), move |word| some(word & (word - 1)));
            rest.map(move |word| at * 64 + u64::from(word.trailing_zeros()))
        };
        (0..).zip(self.0).flat_map(of_word)
    }

    fn common(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    pub(super) fn emit(&self) -> [u8; 512] {
        let mut bytes = [0; 512];
        bytes[..8].copy_from_slice(&MAGIC);
        for (to, word) in bytes[16..].chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let check = crc32fast::hash(&bytes[16..]);
        bytes[8..12].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The bits, if this is a map.
    pub(super) fn parse(bytes: &[u8; 512]) -> Option<Self> {
        let check = crc32fast::hash(&bytes[16..]).to_le_bytes();
        if bytes[..8] != MAGIC || bytes[8..12] != check {
            return None;
        }
        let word = |at: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|byte| bytes[16 + at * 8 + byte]);
            u64::from_le_bytes(bytes)
        };
        Some(Self(std::array::from_fn(word)))
    }
}

/// What is going on in a region.
#[derive(Clone, Copy, Debug, Default)]
struct Region {
    /// Writes on their way.
    writes: u32,
    /// When the last one ended.
    last: u64,
}

/// The map of a member that is in use.
#[derive(Debug)]
pub(super) struct Regions {
    blocks_each: u64,
    /// On the device for certain.
    durable: Bits,
    /// On its way to the device.
    writing: Option<Bits>,
    wanted: Bits,
    regions: Vec<Region>,
    /// Counts ends of writes.
    time: u64,
    /// Writes that ended until then are durable.
    covered: u64,
    /// Some region could be closed but for what is on its way elsewhere.
    held: bool,
}

impl Regions {
    /// A map of so many blocks, none open.
    pub(super) fn new(blocks: u64) -> Self {
        let blocks_each = blocks.div_ceil(BITS).max(1);
        let regions = vec![Region::default(); blocks.div_ceil(blocks_each) as usize];
        let none = Bits::default();
        let (durable, writing, wanted) = (none, None, none);
        Self { blocks_each, durable, writing, wanted, regions, time: 0, covered: 0, held: false }
    }

    /// These were left open and could not be closed: the next flush will.
    pub(super) const fn keep_open(&mut self, bits: Bits) {
        (self.durable, self.wanted) = (bits, bits);
    }

    /// Blocks of the regions that are open in `bits`.
    pub(super) fn open_blocks(bits: &Bits, blocks: u64) -> impl Iterator<Item = u64> {
        let each = blocks.div_ceil(BITS).max(1);
        (0..blocks).filter(move |block| bits.has(block / each))
    }

    fn of(&self, blocks: &Range<u64>) -> Range<u64> {
        blocks.start / self.blocks_each..(blocks.end - 1) / self.blocks_each + 1
    }

    /// A write of these blocks begins; their regions have to be open before it may land.
    pub(super) fn begin(&mut self, blocks: &Range<u64>) {
        for region in self.of(blocks) {
            self.regions[region as usize].writes += 1;
            self.wanted.set(region);
        }
    }

    /// Whether these blocks may be written.
    pub(super) fn are_open(&self, blocks: &Range<u64>) -> bool {
        let open = |region| {
            self.durable.has(region) && self.writing.is_none_or(|writing| writing.has(region))
        };
        self.of(blocks).all(open)
    }

    /// A write of these blocks has ended, one way or the other.
    pub(super) fn end(&mut self, blocks: &Range<u64>) {
        self.time += 1;
        for region in self.of(blocks) {
            let region = &mut self.regions[region as usize];
            region.writes -= 1;
            region.last = self.time;
        }
    }

    /// The moment, for a flush that is submitted now.
    pub(super) const fn time(&self) -> u64 {
        self.time
    }

    /// A flush submitted at `time` has ended well: regions quiet since then can be closed, unless
    /// they are `busy` elsewhere.
    pub(super) fn flushed(&mut self, time: u64, busy: impl Fn(Range<u64>) -> bool) {
        self.covered = self.covered.max(time);
        self.close(busy);
    }

    /// Whether some region waits for what is on its way elsewhere.
    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    /// Closes what a flush has covered and is no longer `busy` elsewhere.
    pub(super) fn close(&mut self, busy: impl Fn(Range<u64>) -> bool) {
        self.held = false;
        for number in self.wanted.iter() {
            let region = &self.regions[number as usize];
            if region.writes > 0 || region.last > self.covered {
                continue;
            }
            if busy(number * self.blocks_each..(number + 1) * self.blocks_each) {
                self.held = true;
            } else {
                self.wanted.clear(number);
            }
        }
    }

    /// The map to be written now, if any.
    pub(super) fn write(&mut self) -> Option<Bits> {
        if self.writing.is_some() || self.wanted == self.durable {
            return None;
        }
        self.writing = Some(self.wanted);
        self.writing
    }

    /// The map has been written, or not.
    pub(super) fn written(&mut self, ok: bool) {
        let written = self.writing.take().expect("a map was on its way");
        if ok {
            self.durable = written;
        } else {
            self.durable = self.durable.common(&written);
            self.wanted = self.durable;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_reads_back_and_a_damaged_one_does_not() {
        let mut bits = Bits::default();
        bits.set(0);
        bits.set(BITS - 1);
        let mut bytes = bits.emit();
        assert_eq!(Bits::parse(&bytes), Some(bits));
        bytes[511] ^= 0x80;
        assert_eq!(Bits::parse(&bytes), None);
    }

    #[test]
    fn a_region_closes_when_a_flush_has_covered_its_last_write() {
        let mut regions = Regions::new(100);
        regions.begin(&(3..5));
        assert!(!regions.are_open(&(3..5)));
        assert!(regions.write().is_some() && regions.write().is_none(), "one at a time");
        regions.written(true);
        assert!(regions.are_open(&(3..5)));
        assert!(regions.wanted.iter().eq([3, 4]) && Bits([u64::MAX; WORDS]).iter().eq(0..BITS));
        let early = regions.time();
        regions.end(&(3..5));
        regions.flushed(early, |_| false);
        assert_eq!(regions.write(), None, "the flush came before the write had ended");
        regions.flushed(regions.time(), |_| false);
        assert_eq!(regions.write(), Some(Bits::default()));
        assert!(!regions.are_open(&(3..5)), "a map without them is on its way");
    }

    #[test]
    fn a_region_stays_open_while_others_write_beside_it() {
        let mut regions = Regions::new(100);
        regions.begin(&(3..5));
        regions.write();
        regions.written(true);
        regions.end(&(3..5));
        regions.flushed(regions.time(), |blocks| blocks.contains(&4));
        assert!(regions.is_held() && regions.are_open(&(4..5)));
        assert!(regions.write().is_some(), "block 3 is nobody's business any more");
        regions.written(true);
        regions.close(|_| false);
        assert!(!regions.is_held());
        assert_eq!(regions.write(), Some(Bits::default()), "no second flush is needed");
    }

    #[test]
    fn a_map_that_could_not_be_written_opens_nothing() {
        let mut regions = Regions::new(100);
        regions.begin(&(0..1));
        regions.write();
        regions.written(false);
        assert!(!regions.are_open(&(0..1)));
        assert_eq!(regions.write(), None);
    }
}
