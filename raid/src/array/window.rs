//! A window of a pass: a range locked against everybody else, read from all members that can be
//! read, compared or recovered, and mended.
//!
//! A window in which some member cannot be read is shattered into blocks first, so that one bad
//! sector costs one block and not the window.

use std::ops::Range;

use holdfast_core::block::{Durability, Fault};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::leg::{Leg, Written};
use super::locks::Mode;
use super::{Array, Defects, State, Unit};
use crate::event::Event;
use crate::layout::Layout;
use crate::sync::Action;

/// The smallest range worth trying by itself, in sectors.
const BLOCK_SECTORS: u64 = 8;

/// A range being passed over.
#[derive(Debug)]
pub(super) struct Window {
    /// Where the pass counts this window: the start of the range it was handed out with.
    pass_start: u64,
    /// Lock space.
    pub(super) range: Range<u64>,
    pub(super) lock: Option<Key>,
    /// By slot on parity levels; by copy on mirrors.
    pub(super) cells: Vec<WindowCell>,
    /// Slots to rebuild, on mirrors.
    pub(super) targets: Vec<u32>,
    pub(super) left: u32,
    phase: Phase,
    /// Some member had no room for what the window wanted to write.
    spoiled: bool,
}

/// One member's share of a window.
#[derive(Debug)]
pub(super) struct WindowCell {
    pub(super) slot: u32,
    /// First sector in the member's data.
    pub(super) sector: u64,
    pub(super) buf: Option<Buf>,
    /// Why there are no contents, if it was tried.
    pub(super) unread: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Reading,
    Writing,
}

impl Window {
    pub(super) const fn sectors(&self) -> u64 {
        self.range.end - self.range.start
    }

    pub(super) const fn bytes(&self) -> usize {
        (self.sectors() * SECTOR_BYTES) as usize
    }
}

impl<X: Defects> Array<X> {
    /// Opens a window over rows of a parity level.
    pub(super) fn open_rows(&mut self, start: u64, len: u64) {
        let cells = (0..self.slots.len() as u32)
            .map(|slot| WindowCell { slot, sector: start, buf: None, unread: None })
            .collect();
        self.insert_window(start, start..start + len, cells, Vec::new());
    }

    /// Opens a window over an array range of a mirror and all its copies.
    pub(super) fn open_copies(
        &mut self,
        pass_start: u64,
        sector: u64,
        len: u64,
        targets: Vec<u32>,
    ) {
        let Layout::Mapped(mapped) = &self.layout else { unreachable!("a mirror") };
        let mut places = Vec::new();
        let mapped_len = mapped.map(sector, len, &mut places);
        assert_eq!(mapped_len, len, "windows do not cross chunks");
        // The first in-sync slot is the one the others are made to agree with.
        let resync = self.pass.as_ref().is_some_and(|pass| pass.action() == Action::Resync);
        places.sort_by_key(|place| {
            // After an unclean stop that is the one readers were given, see `choose_copy`.
            let last = resync
                && self
                    .member_on(place.slot)
                    .is_some_and(|member| self.members[member].write_mostly());
            (last, place.slot)
        });
        let cells = places
            .into_iter()
            .map(|p| WindowCell { slot: p.slot, sector: p.sector, buf: None, unread: None })
            .collect();
        self.insert_window(pass_start, sector..sector + len, cells, targets);
    }

    fn insert_window(
        &mut self,
        pass_start: u64,
        range: Range<u64>,
        cells: Vec<WindowCell>,
        targets: Vec<u32>,
    ) {
        let (start, end) = (range.start, range.end);
        let window = Window {
            pass_start,
            range,
            lock: None,
            cells,
            targets,
            left: 0,
            phase: Phase::New,
            spoiled: false,
        };
        let key = self.windows.insert(window);
        self.lock(start, end, Mode::Exclusive, Unit::Window(key));
    }

    pub(super) fn run_window(&mut self, key: Key) {
        match self.windows[key].phase {
            Phase::New => self.read_window(key),
            Phase::Reading => self.window_is_read(key),
            Phase::Writing => unreachable!("a writing window waits for its members only"),
        }
    }

    fn read_window(&mut self, key: Key) {
        self.windows[key].phase = Phase::Reading;
        let (sectors, bytes) = (self.windows[key].sectors(), self.windows[key].bytes());
        let one_is_enough = !self.windows[key].targets.is_empty();
        let mut reads = Vec::new();
        for (index, cell) in self.windows[key].cells.iter().enumerate() {
            if one_is_enough && self.windows[key].targets.contains(&cell.slot) {
                continue;
            }
            let Some(member) = self.member_on(cell.slot).filter(|_| cell.unread.is_none()) else {
                continue;
            };
            if self.members[member].can_read(cell.sector, sectors) {
                reads.push((index, member, cell.sector));
                if one_is_enough {
                    break;
                }
            }
        }
        self.windows[key].left = reads.len() as u32;
        if reads.is_empty() {
            return self.window_is_read(key);
        }
        for (index, member, sector) in reads {
            let leg = Leg::Window(key, index as u32);
            self.read_leg(member, sector, Buf::zeroed(bytes), leg);
        }
    }

    pub(super) fn window_read(&mut self, key: Key, cell: u32, result: Result<Buf, Fault>) {
        let window = &mut self.windows[key];
        window.left -= 1;
        let cell = &mut window.cells[cell as usize];
        match result {
            Ok(buf) => cell.buf = Some(buf),
            Err(fault) => cell.unread = Some(fault),
        }
        if window.left == 0 {
            self.ready.push_back(Unit::Window(key));
        }
    }

    fn window_is_read(&mut self, key: Key) {
        let window = &self.windows[key];
        let recovering = !window.targets.is_empty();
        let failed = window.cells.iter().any(|cell| cell.unread.is_some());
        let got = window.cells.iter().any(|cell| cell.buf.is_some());
        if recovering && !got && window.cells.iter().any(|cell| self.untried(key, cell)) {
            // The source failed; another copy may do.
            return self.read_window(key);
        }
        let partly_bad = window.cells.iter().any(|cell| self.partly_bad(key, cell));
        if (failed || partly_bad) && window.sectors() > BLOCK_SECTORS && !(recovering && got) {
            return self.shatter_window(key);
        }
        match &self.layout {
            Layout::Parity(_) => self.judge_rows(key),
            Layout::Mapped(_) => self.judge_copies(key),
        }
    }

    fn untried(&self, key: Key, cell: &WindowCell) -> bool {
        let window = &self.windows[key];
        cell.unread.is_none()
            && !window.targets.contains(&cell.slot)
            && self
                .member_on(cell.slot)
                .is_some_and(|m| self.members[m].can_read(cell.sector, window.sectors()))
    }

    /// Whether a member has the window in part only: some of it listed bad.
    fn partly_bad(&self, key: Key, cell: &WindowCell) -> bool {
        let Some(member) = self.member_on(cell.slot) else {
            return false;
        };
        let member = &self.members[member];
        matches!(member.state, State::InSync { .. })
            && !member.can_read(cell.sector, self.windows[key].sectors())
    }

    /// Cuts a window into blocks under the same lock; each reads for itself.
    fn shatter_window(&mut self, key: Key) {
        let window = self.windows.remove(key).expect("a running window");
        let lock = window.lock.expect("a running window has its lock");
        let count = window.sectors().div_ceil(BLOCK_SECTORS) as u32;
        self.locks.share(lock, count - 1);
        if let Some(pass) = &mut self.pass {
            pass.more_windows(window.pass_start, count - 1);
        }
        for index in 0..u64::from(count) {
            let skip = index * BLOCK_SECTORS;
            let start = window.range.start + skip;
            let block = Window {
                pass_start: window.pass_start,
                range: start..(start + BLOCK_SECTORS).min(window.range.end),
                lock: Some(lock),
                cells: window
                    .cells
                    .iter()
                    .map(|cell| WindowCell {
                        slot: cell.slot,
                        sector: cell.sector + skip,
                        buf: None,
                        unread: None,
                    })
                    .collect(),
                targets: window.targets.clone(),
                left: 0,
                phase: Phase::New,
                spoiled: false,
            };
            let block = self.windows.insert(block);
            self.ready.push_back(Unit::Window(block));
        }
    }

    /// Nobody has this block any more: the targets must not pretend to.
    pub(super) fn window_is_lost(&mut self, key: Key, targets: &[u32], missing: &[u32]) {
        let window = &self.windows[key];
        let sectors = window.sectors();
        let fault = window.cells.iter().find_map(|c| c.unread).unwrap_or(Fault::Medium);
        let at = window.cells.iter().map(|c| (c.slot, c.sector)).collect::<Vec<_>>();
        for sector in self.lost_sectors(window.range.start, missing) {
            let slots = missing.to_vec();
            let event = Event::RangeFailed { sector, sectors, write: false, fault, slots };
            self.events.push_back(event);
        }
        for &(slot, sector) in at.iter().filter(|(slot, _)| targets.contains(slot)) {
            let Some(member) = self.member_on(slot) else {
                continue;
            };
            let start = self.members[member].data_offset() + sector;
            if !self.record_bad(member, start..start + sectors) {
                self.fail(member, crate::event::FailReason::Write(Fault::Medium));
            }
        }
        self.finish_window(key);
    }

    /// The array sectors that live on the missing slots where a window starts.
    fn lost_sectors(&self, start: u64, missing: &[u32]) -> Vec<u64> {
        let Layout::Parity(parity) = &self.layout else { return vec![start] };
        let chunk = u64::from(parity.chunk_sectors());
        let (stripe, within) = (start / chunk, start % chunk);
        let roles = parity.stripe(stripe);
        let data = missing.iter().filter_map(|&slot| roles.data_index(slot));
        data.map(|d| parity.array_sector(stripe, d, within)).collect()
    }

    /// Writes cells' new contents, then finishes.
    pub(super) fn write_window(&mut self, key: Key, updates: Vec<(u32, u64, Payload)>) {
        let updates: Vec<(u32, usize, u64, Payload)> = updates
            .into_iter()
            .filter_map(|(cell, skip, data)| {
                let slot = self.windows[key].cells[cell as usize].slot;
                let member = self.member_on(slot).filter(|&m| self.members[m].is_writable())?;
                Some((cell, member, skip, data))
            })
            .collect();
        if updates.is_empty() || self.config.read_only {
            return self.finish_window(key);
        }
        self.windows[key].phase = Phase::Writing;
        self.windows[key].left = updates.len() as u32;
        for (cell, member, skip, data) in updates {
            let sector = self.windows[key].cells[cell as usize].sector + skip;
            self.write_leg(member, sector, data, Durability::Cached, Leg::Window(key, cell));
        }
    }

    pub(super) fn window_written(&mut self, key: Key, cell: u32, written: Written) {
        let sectors = self.windows[key].sectors();
        let (slot, sector) = {
            let cell = &self.windows[key].cells[cell as usize];
            (cell.slot, cell.sector)
        };
        let unread = self.windows[key].cells[cell as usize].unread.is_some();
        if let (Written::Ok, Some(member), true) = (&written, self.member_on(slot), unread) {
            self.corrected(member, sector, sectors);
        }
        if matches!(written, Written::Full) {
            self.windows[key].spoiled = true;
            let range = self.windows[key].range.clone();
            let pass_start = self.windows[key].pass_start;
            self.window_has_no_room(slot, pass_start, range);
        }
        self.windows[key].left -= 1;
        if self.windows[key].left == 0 {
            self.finish_window(key);
        }
    }

    /// A full device cannot be made to agree: a target stops being rebuilt, others stay stained.
    /// Trying again at once would find it as full.
    fn window_has_no_room(&mut self, slot: u32, pass_start: u64, range: Range<u64>) {
        let rebuilding = self
            .member_on(slot)
            .is_some_and(|member| matches!(self.members[member].state, State::Rebuilding { .. }));
        if rebuilding {
            self.end_pass_before(pass_start);
        } else {
            self.stain(range.start, range.end);
            self.sync_held = true;
        }
    }

    pub(super) fn finish_window(&mut self, key: Key) {
        let window = self.windows.remove(key).expect("a window is finished once");
        let mended = matches!(
            self.pass.as_ref().map(super::pass::Pass::action),
            Some(Action::Resync | Action::Repair { locate: false })
        );
        if mended && !window.spoiled {
            self.stained.clear(window.range.clone());
        }
        self.release(window.lock.expect("a finished window had its lock"), 0);
        self.window_finished(window.pass_start);
    }
}
