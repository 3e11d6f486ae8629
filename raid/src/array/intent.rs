//! The write-intent bitmap while the array runs.
//!
//! A region's bit is durable on every member before the first write to it is issued, and is
//! cleared lazily: two passes of the daemon's interval after the last write to it ended, after a
//! flush, and never while the array is degraded (`md-bitmap.c md_bitmap_daemon_work`).
//!
//! The on-disk bits are a little-endian bit slice after a 256-byte header; counters exist only for
//! regions with writes in flight, so memory follows the bitmap's own size and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bitvec::prelude::{BitSlice, BitVec, Lsb0};
use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Payload;
use holdfast_core::time::{Duration, Instant};

use super::idle::Idle;
use super::leg::Owner;
use super::{Array, Defects};
use crate::defects::Defect;
use crate::event::{Event, FailReason};
use crate::status::BitmapStatus;
use crate::superblock::BitmapHeader;

/// Bytes before the first bit.
const HEADER_BYTES: usize = 256;

/// Bytes written at once.
const PAGE_BYTES: usize = 4096;

/// Where fields lie in the header (`bitmap_super_t`).
const EVENTS_AT: usize = 24;
const EVENTS_CLEARED_AT: usize = 32;

/// An array's write-intent bitmap.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Header and bits as they shall be on every member, padded to whole pages.
    image: Vec<u8>,
    bits: usize,
    /// Sectors covered.
    sectors: u64,
    chunk_sectors: u64,
    sleep: Duration,
    /// Writes in flight by region.
    active: BTreeMap<usize, u32>,
    /// Regions without writes, and those whose redundancy is not known good.
    idle: Idle,
    /// Pages newer in memory than on disk.
    dirty: BTreeSet<usize>,
    phase: Phase,
    /// Writes are numbered: wanted, being written, durable.
    wanted: u64,
    durable: u64,
    /// The last write that some member had no room for.
    refused: u64,
    /// Not tried again until somebody wants it.
    held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Members make data durable before these regions' bits are cleared.
    Flushing {
        left: u32,
        clearing: BTreeSet<usize>,
    },
    Writing {
        left: u32,
        number: u64,
        pages: Vec<usize>,
        /// Some member had no room.
        full: bool,
    },
}

impl Intent {
    /// A bitmap from its on-disk image (header included). `needed`: whether set bits mean that
    /// redundancy is not to be trusted (an unclean array) or merely linger.
    pub(crate) fn new(header: &BitmapHeader, mut image: Vec<u8>, needed: bool) -> Self {
        let bits = header.bits() as usize;
        image.resize((HEADER_BYTES + bits.div_ceil(8)).next_multiple_of(PAGE_BYTES), 0xff);
        let set = BitSlice::<u8, Lsb0>::from_slice(&image[HEADER_BYTES..])[..bits].to_bitvec();
        let doubtful = if needed { set.clone() } else { BitVec::repeat(false, bits) };
        let idle = Idle::new(set.iter_ones(), doubtful);
        Self {
            image,
            bits,
            sectors: header.sync_size,
            chunk_sectors: u64::from(header.chunk_bytes) / 512,
            sleep: Duration::from_secs(u64::from(header.daemon_sleep_seconds.max(1))),
            active: BTreeMap::new(),
            idle,
            dirty: BTreeSet::new(),
            phase: Phase::Idle,
            wanted: 0,
            durable: 0,
            refused: 0,
            held: false,
        }
    }

    /// Sets every bit: the bitmap on disk missed updates and says nothing. `needed` as in
    /// [`Intent::new`].
    pub(crate) fn distrust(&mut self, needed: bool) {
        self.slice_mut().fill(true);
        self.idle = Idle::new(0..self.bits, BitVec::repeat(needed, self.bits));
        self.rewrite();
    }

    /// Writes the whole bitmap with the next update: a device has joined.
    pub(super) fn rewrite(&mut self) {
        self.dirty = (0..self.image.len() / PAGE_BYTES).collect();
        self.wanted += 1;
    }

    fn slice(&self) -> &BitSlice<u8, Lsb0> {
        &BitSlice::from_slice(&self.image[HEADER_BYTES..])[..self.bits]
    }

    fn slice_mut(&mut self) -> &mut BitSlice<u8, Lsb0> {
        let bits = self.bits;
        &mut BitSlice::from_slice_mut(&mut self.image[HEADER_BYTES..])[..bits]
    }

    fn regions(&self, range: &Range<u64>) -> Range<usize> {
        let first = (range.start / self.chunk_sectors) as usize;
        let end = (range.end.div_ceil(self.chunk_sectors) as usize).min(self.bits);
        first.min(end)..end
    }

    fn set(&mut self, region: usize, value: bool) {
        self.slice_mut().set(region, value);
        self.dirty.insert((HEADER_BYTES + region / 8) / PAGE_BYTES);
    }

    /// A write begins; the number of the bitmap write that must be durable first.
    pub(super) fn begin(&mut self, range: Range<u64>) -> u64 {
        let mut ticket = 0;
        for region in self.regions(&range) {
            *self.active.entry(region).or_default() += 1;
            self.idle.stir(region);
            if let Phase::Flushing { clearing, .. } = &mut self.phase {
                clearing.remove(&region);
            }
            if !self.slice()[region] {
                self.set(region, true);
                self.wanted += 1;
            }
            let page = (HEADER_BYTES + region / 8) / PAGE_BYTES;
            if self.dirty.contains(&page) {
                if self.held {
                    // There may be room by now.
                    self.held = false;
                    self.wanted += 1;
                }
                ticket = self.wanted;
            } else if let Phase::Writing { number, .. } = self.phase {
                // The page may be on its way right now.
                ticket = ticket.max(number);
            }
        }
        ticket
    }

    /// A write has ended, well or not.
    pub(super) fn end(&mut self, range: Range<u64>, now: Instant) {
        for region in self.regions(&range) {
            let count = self.active.get_mut(&region).expect("a write ends after it began");
            *count -= 1;
            if *count == 0 {
                self.active.remove(&region);
                self.idle.rest(region, now);
            }
        }
    }

    /// Members differ in this range: keep its bits until a resync has been over it.
    pub(super) fn pin(&mut self, range: Range<u64>) {
        for region in self.regions(&range) {
            self.idle.set_needed(region, true);
            if !self.slice()[region] {
                self.set(region, true);
                self.wanted += 1;
            }
            if !self.idle.contains(region) {
                self.idle.rest(region, Instant::ZERO);
            }
        }
    }

    /// Every region whose bit is set is in need of a resync; where the first one begins.
    pub(super) fn pin_all_set(&mut self) -> Option<u64> {
        let set = self.slice().to_bitvec();
        set.iter_ones().for_each(|region| self.idle.set_needed(region, true));
        self.next_needed(0)
    }

    /// A resync has made this range agree.
    pub(super) fn synced(&mut self, range: Range<u64>) {
        // Only regions that lie wholly inside; the last one may end with the array.
        let first = range.start.div_ceil(self.chunk_sectors) as usize;
        let last = match range.end >= self.sectors {
            true => self.bits,
            false => (range.end / self.chunk_sectors) as usize,
        };
        for region in first..last.max(first).min(self.bits) {
            self.idle.set_needed(region, false);
        }
    }

    /// Whether some region of the range needs a resync.
    pub(super) fn needs_sync(&self, range: Range<u64>) -> bool {
        self.idle.needed()[self.regions(&range)].any()
    }

    /// The first sector at or after `sector` that needs a resync.
    pub(super) fn next_needed(&self, sector: u64) -> Option<u64> {
        let from = (sector / self.chunk_sectors) as usize;
        let region = from + self.idle.needed().get(from..)?.first_one()?;
        Some(sector.max(region as u64 * self.chunk_sectors))
    }

    /// The start of the region a sector lies in.
    pub(super) const fn region_start(&self, sector: u64) -> u64 {
        sector / self.chunk_sectors * self.chunk_sectors
    }

    /// Whether pages are on their way to the members.
    pub(super) const fn is_writing(&self) -> bool {
        matches!(self.phase, Phase::Writing { .. })
    }

    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether what a ticket waits for was refused: some member had no room for the bits.
    pub(super) const fn has_refused(&self, ticket: u64) -> bool {
        ticket > self.durable && ticket <= self.refused
    }

    pub(super) fn status(&self) -> BitmapStatus {
        BitmapStatus {
            dirty: self.slice().count_ones() as u64,
            total: self.bits as u64,
            chunk_bytes: self.chunk_sectors * 512,
        }
    }

    /// Sectors whose redundancy is in doubt.
    pub(crate) fn doubtful_sectors(&self) -> u64 {
        self.idle.needed().count_ones() as u64 * self.chunk_sectors
    }

    /// The header's events, as they shall be written next.
    pub(super) fn set_events(&mut self, events: u64, cleared: bool) {
        self.image[EVENTS_AT..EVENTS_AT + 8].copy_from_slice(&events.to_le_bytes());
        if cleared {
            self.image[EVENTS_CLEARED_AT..EVENTS_CLEARED_AT + 8]
                .copy_from_slice(&events.to_le_bytes());
        }
        self.dirty.insert(0);
    }

    /// The events count at which bits were last cleared: whoever left later has missed only what is
    /// marked.
    pub(super) fn events_cleared(&self) -> u64 {
        let bytes = &self.image[EVENTS_CLEARED_AT..EVENTS_CLEARED_AT + 8];
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// Whether some region of the range is marked, for whatever reason.
    pub(super) fn is_marked(&self, range: Range<u64>) -> bool {
        self.slice()[self.regions(&range)].any()
    }

    /// The first sector at or after `sector` that is marked.
    pub(super) fn next_marked(&self, sector: u64) -> Option<u64> {
        let from = (sector / self.chunk_sectors) as usize;
        let region = from + self.slice().get(from..)?.first_one()?;
        Some(sector.max(region as u64 * self.chunk_sectors))
    }

    /// Sectors of marked regions.
    pub(super) fn marked_sectors(&self) -> u64 {
        let marked = self.slice().count_ones() as u64 * self.chunk_sectors;
        marked.min(self.sectors)
    }

    /// The first page, header included.
    pub(super) fn header_page(&self) -> Payload {
        Payload::from_slice(&self.image[..PAGE_BYTES])
    }

    /// Regions whose bits may be cleared: idle for two passes, or at all when `now` is the end.
    fn clearable(&self, now: Option<Instant>) -> BTreeSet<usize> {
        self.idle.ripe(|since| now.is_none_or(|now| now >= since + self.sleep * 2))
    }

    /// When the oldest idle region is ripe.
    fn due(&self) -> Option<Instant> {
        self.idle.longest().map(|since| since + self.sleep * 2)
    }
}

impl<X: Defects> Array<X> {
    /// When bits could be cleared.
    pub(super) fn intent_due(&self) -> Option<Instant> {
        let intent = self.intent.as_ref()?;
        let able = !self.config.read_only && !self.broken && !self.keeps_bits();
        let able = able && !self.is_clogged();
        // While the metadata update has the first page, its answer is what is waited for.
        let may = intent.phase == Phase::Idle && able && !self.meta.writes_header();
        if may && !self.stopping { intent.due() } else { None }
    }

    /// Whether somebody is missing who would miss what a cleared bit had marked.
    fn keeps_bits(&self) -> bool {
        self.is_degraded() && !self.defects.has(Defect::BitsClearedWhileDegraded)
    }

    /// Starts a bitmap write if one is wanted and none is under way.
    pub(super) fn step_intent(&mut self) {
        let degraded = self.keeps_bits();
        let (stopping, idle, clogged) = (self.stopping, self.no_units(), self.is_clogged());
        if self.meta.writes_header() {
            return;
        }
        let Some(intent) = &mut self.intent else {
            return;
        };
        if intent.phase != Phase::Idle || self.config.read_only {
            return;
        }
        if intent.wanted > intent.durable && !intent.held {
            return self.write_intent();
        }
        if degraded || clogged || self.broken {
            return;
        }
        if self.defects.has(Defect::BitClearedTooEarly) {
            intent.phase = Phase::Flushing { left: 0, clearing: intent.clearable(None) };
            return self.clear_bits();
        }
        let clearing = match stopping {
            true if idle => intent.clearable(None),
            true => return,
            false => intent.clearable(Some(self.now)),
        };
        if !clearing.is_empty() {
            self.flush_before_clearing(clearing);
        }
    }

    fn flush_before_clearing(&mut self, clearing: BTreeSet<usize>) {
        let targets: Vec<usize> = (0..self.members.len())
            .filter(|&m| self.members[m].is_writable() && self.members[m].needs_flush())
            .collect();
        let intent = self.intent.as_mut().expect("there is a bitmap");
        intent.phase = Phase::Flushing { left: targets.len() as u32, clearing };
        if targets.is_empty() {
            return self.clear_bits();
        }
        for member in targets {
            self.members[member].unflushed = false;
            self.issue(member, 0, Op::Flush, Owner::Intent);
        }
    }

    fn clear_bits(&mut self) {
        let (degraded, all_there) = (self.keeps_bits(), !self.is_degraded());
        let events = self.meta.events();
        let intent = self.intent.as_mut().expect("there is a bitmap");
        let Phase::Flushing { clearing, .. } = std::mem::replace(&mut intent.phase, Phase::Idle)
        else {
            unreachable!("bits are cleared after a flush")
        };
        if degraded || clearing.is_empty() {
            return;
        }
        for region in clearing {
            intent.idle.stir(region);
            intent.set(region, false);
        }
        intent.set_events(events, all_there);
        intent.wanted += 1;
        self.step_intent();
    }

    /// Writes the dirty pages to every member.
    fn write_intent(&mut self) {
        let targets: Vec<usize> =
            (0..self.members.len()).filter(|&m| self.members[m].is_current()).collect();
        let intent = self.intent.as_mut().expect("there is a bitmap");
        let pages: Vec<usize> = std::mem::take(&mut intent.dirty).into_iter().collect();
        let number = intent.wanted;
        let parts: Vec<(usize, Payload)> = pages
            .iter()
            .map(|&page| {
                let bytes = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
                (page, Payload::from_slice(&intent.image[bytes]))
            })
            .collect();
        let writes: Vec<(usize, u64, Payload)> = targets
            .iter()
            .filter_map(|&m| Some((m, self.members[m].superblock().bitmap_sector()?)))
            .flat_map(|(m, at)| parts.iter().map(move |(page, data)| (m, at, *page, data.clone())))
            .map(|(m, at, page, data)| (m, at + (page * PAGE_BYTES / 512) as u64, data))
            .collect();
        intent.phase = Phase::Writing { left: writes.len() as u32, number, pages, full: false };
        if writes.is_empty() {
            intent.phase = Phase::Idle;
            intent.durable = number;
            return;
        }
        for (member, sector, data) in writes {
            let data = self.fit_area(member, sector, data);
            self.issue(member, sector, Op::Write(data, Durability::Fua), Owner::Intent);
        }
    }

    /// A bitmap that does not end on a page must not write over what follows it.
    pub(super) fn fit_area(&self, member: usize, sector: u64, data: Payload) -> Payload {
        let device = &self.members[member];
        let superblock = device.superblock();
        let start = superblock.bitmap_sector().expect("the bitmap has a place");
        let room = superblock.bitmap_room(device.geometry.sectors).unwrap_or(0);
        let left = (start + room).saturating_sub(sector) * 512;
        let len = data.len().min(left as usize);
        data.slice(0..len)
    }

    pub(super) fn intent_answered(&mut self, member: usize, result: Result<(), Fault>) {
        if let (Err(Fault::Full), Some(Intent { phase: Phase::Writing { full, .. }, .. })) =
            (result, &mut self.intent)
        {
            // A full file system is nobody's defect: the writes that wanted the bits are refused.
            *full = true;
            self.events.push_back(Event::NoSpace { member, sector: 0, sectors: 0 });
        } else if result == Err(Fault::Full) {
            self.cannot_flush(member);
            self.keep_bits();
        } else if let Err(fault) = result {
            self.members[member].unflushed = true;
            if !self.fail(member, FailReason::Metadata(fault)) && self.keep_bits() {
                self.break_array();
            }
        }
        let intent = self.intent.as_mut().expect("there is a bitmap");
        match &mut intent.phase {
            Phase::Flushing { left, .. } => {
                *left -= 1;
                if *left == 0 {
                    self.clear_bits();
                }
            }
            Phase::Writing { left, number, pages, full } => {
                *left -= 1;
                if *left > 0 {
                    return;
                }
                if *full {
                    intent.dirty.extend(pages.drain(..));
                    intent.refused = *number;
                    // A write that came meanwhile has its own bits to try.
                    intent.held = intent.wanted == *number;
                } else {
                    intent.durable = *number;
                }
                intent.phase = Phase::Idle;
            }
            Phase::Idle => unreachable!("nobody asked"),
        }
    }

    /// If it was a flush that failed on a member that stays, what was to be durable may not be.
    fn keep_bits(&mut self) -> bool {
        let intent = self.intent.as_mut().expect("there is a bitmap");
        let Phase::Flushing { clearing, .. } = &mut intent.phase else { return false };
        clearing.clear();
        true
    }

    /// Whether the bitmap has nothing left to do before a stop.
    pub(super) fn intent_settled(&self) -> bool {
        let Some(intent) = &self.intent else {
            return true;
        };
        let kept = self.is_degraded() || self.broken || self.is_clogged();
        let cleared = kept || intent.clearable(None).is_empty();
        intent.phase == Phase::Idle
            && (self.config.read_only || intent.held || intent.wanted <= intent.durable)
            && (self.config.read_only || cleared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regions of 8 sectors.
    fn intent(sectors: u64) -> Intent {
        let header = BitmapHeader::new(crate::superblock::Uuid([1; 16]), sectors, 4096);
        let mut image = header.emit().to_vec();
        image.resize(header.bytes() as usize, 0);
        Intent::new(&header, image, true)
    }

    #[test]
    fn a_write_waits_for_its_bit_and_a_second_one_does_not() {
        let mut intent = intent(800);
        let ticket = intent.begin(8..24);
        assert!(ticket > intent.durable());
        assert_eq!(intent.slice().iter_ones().collect::<Vec<_>>(), [1, 2]);
        intent.durable = ticket;
        intent.dirty.clear();
        assert_eq!(intent.begin(8..16), 0, "the bit is set already");
        intent.end(8..16, Instant::ZERO);
        intent.end(8..24, Instant::ZERO);
        assert!(intent.clearable(Some(Instant::from_millis(9_999))).is_empty());
        assert_eq!(intent.clearable(Some(Instant::from_millis(10_000))).len(), 2);
    }

    #[test]
    fn a_write_in_the_middle_of_clearing_keeps_its_bit() {
        let mut intent = intent(800);
        intent.begin(8..16);
        intent.durable = intent.wanted;
        intent.dirty.clear();
        intent.end(8..16, Instant::ZERO);
        intent.phase = Phase::Flushing { left: 1, clearing: [1].into() };
        intent.begin(8..16);
        assert_eq!(intent.phase, Phase::Flushing { left: 1, clearing: [].into() });
        assert!(intent.slice()[1]);
    }

    #[test]
    fn a_resync_frees_only_regions_it_has_covered_whole() {
        let mut intent = intent(77);
        intent.pin(0..77);
        intent.synced(4..20);
        assert!(intent.needs_sync(0..8), "half covered");
        assert!(!intent.needs_sync(8..16));
        assert!(intent.needs_sync(16..24));
        assert_eq!(intent.next_needed(8), Some(16));
        intent.synced(16..76);
        assert_eq!(intent.next_needed(16), Some(72), "one sector short of the end");
        intent.synced(72..77);
        assert_eq!(intent.next_needed(16), None, "the array may end inside its last region");
    }
}
