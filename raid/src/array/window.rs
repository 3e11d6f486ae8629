//! A window of a pass: a range locked against everybody else, read from all members that can be
//! read, compared or recovered, and mended.
//!
//! A window in which some member cannot be read is shattered into blocks first, and a block that is
//! lost, or whose redundancy is not to be trusted, into sectors: one bad sector costs itself.
//!
//! A member that is too slow is left out where the others can answer for it: in a recovery and a
//! check. A resync or a repair exists because they cannot, and waits.

use std::ops::Range;

use holdfast_core::block::{Durability, Fault};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::leg::{Change, Leg, Written};
use super::locks::Mode;
use super::window_io::Update;
use super::{Array, BLOCK_SECTORS, Defects, State, Unit};
use crate::defects::Defect;
use crate::event::{Event, FailReason};
use crate::layout::Layout;
use crate::sync::Action;

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
    /// Slots to fill, on mirrors.
    pub(super) targets: Vec<u32>,
    /// On parity levels: only members that are being replaced are read, as long as they can be.
    pub(super) copying: bool,
    pub(super) left: u32,
    phase: Phase,
    /// Some member had no room for what the window wanted to write.
    spoiled: bool,
    /// Nobody else has it: late members are waited for.
    pub(super) patient: bool,
    /// Part of a block whose read errors have been counted.
    pub(super) fragment: bool,
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
    /// Who could not be read.
    failed_by: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Reading,
    Writing,
}

impl WindowCell {
    /// The medium would not give it.
    const fn is_unreadable(&self) -> bool {
        matches!(self.unread, Some(Fault::Medium | Fault::Corrupt))
    }
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
            .map(|slot| WindowCell {
                slot,
                sector: start,
                buf: None,
                unread: None,
                failed_by: None,
            })
            .collect();
        let copying = self.action() == Some(Action::Recover) && self.targets().is_empty();
        self.insert_window(start, start..start + len, cells, Vec::new(), copying);
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
            .map(|p| WindowCell {
                slot: p.slot,
                sector: p.sector,
                buf: None,
                unread: None,
                failed_by: None,
            })
            .collect();
        self.insert_window(pass_start, sector..sector + len, cells, targets, false);
    }

    fn insert_window(
        &mut self,
        pass_start: u64,
        range: Range<u64>,
        cells: Vec<WindowCell>,
        targets: Vec<u32>,
        copying: bool,
    ) {
        let (start, mut end) = (range.start, range.end);
        if self.defects.has(Defect::PassWithoutLock) {
            end = start;
        }
        let window = Window {
            pass_start,
            range,
            lock: None,
            cells,
            targets,
            copying,
            left: 0,
            phase: Phase::New,
            spoiled: false,
            patient: false,
            fragment: false,
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
        if one_is_enough
            && self.some_cell_partly_bad(key)
            && !self.window_is_trusted(key)
            && let Some(grain) = self.finer_window(key)
        {
            return self.shatter_window(key, grain);
        }
        let mut reads = Vec::new();
        for index in self.reading_order(key) {
            let cell = &self.windows[key].cells[index];
            let wanted = cell.unread.is_none() && cell.buf.is_none();
            let Some(member) = self.member_on(cell.slot).filter(|_| wanted) else {
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

    /// The cells a window may read, in the order in which it should. A member that is replaced is
    /// copied before others are asked; one that is being rebuilt is not asked.
    fn reading_order(&self, key: Key) -> Vec<usize> {
        let window = &self.windows[key];
        let replaced = |index: &usize| self.is_replaced(window.cells[*index].slot);
        let target = |index: &usize| window.targets.contains(&window.cells[*index].slot);
        let cells = 0..window.cells.len();
        match (window.copying, window.targets.is_empty()) {
            (true, _) => cells.filter(replaced).collect(),
            (false, true) => cells.collect(),
            (false, false) => {
                let first = cells.clone().filter(|cell| target(cell) && replaced(cell));
                first.chain(cells.filter(|cell| !target(cell))).collect()
            }
        }
    }

    pub(super) fn is_replaced(&self, slot: u32) -> bool {
        self.twins[slot as usize].is_some()
    }

    pub(super) fn window_read(
        &mut self,
        key: Key,
        cell: u32,
        member: usize,
        result: Result<Buf, Fault>,
    ) {
        let window = &mut self.windows[key];
        window.left -= 1;
        let cell = &mut window.cells[cell as usize];
        match result {
            Ok(buf) => cell.buf = Some(buf),
            Err(fault) => (cell.unread, cell.failed_by) = (Some(fault), Some(member)),
        }
        if cell.unread.is_some() && self.defects.has(Defect::ReadErrorEndsRebuild) {
            self.end_pass();
        }
        if self.windows[key].left == 0 {
            self.ready.push_back(Unit::Window(key));
        }
    }

    fn window_is_read(&mut self, key: Key) {
        if self.windows[key].copying {
            return self.window_is_copied(key);
        }
        let window = &self.windows[key];
        let recovering = !window.targets.is_empty();
        let failed = window.cells.iter().any(WindowCell::is_unreadable);
        let got = window.cells.iter().any(|cell| cell.buf.is_some());
        let untrusted = !self.window_is_trusted(key);
        if failed
            && untrusted
            && !got
            && let Some(grain) = self.finer_window(key)
        {
            // Where copies may differ, only the bad sector itself may come from another.
            return self.shatter_window(key, grain);
        }
        if recovering && !got && window.cells.iter().any(|cell| self.untried(key, cell)) {
            // The source failed; another copy may do.
            return self.read_window(key);
        }
        if !self.window_has_enough(key) && self.asks_again(key) {
            return self.read_window(key);
        }
        if (failed || self.some_cell_partly_bad(key))
            && !(recovering && got)
            && !self.defects.has(Defect::ReadErrorCostsWindow)
            && let Some(grain) = self.finer_window(key)
            && (grain >= BLOCK_SECTORS || untrusted)
        {
            return self.shatter_window(key, grain);
        }
        match &self.layout {
            Layout::Parity(_) => self.judge_rows(key),
            Layout::Mapped(_) => self.judge_copies(key),
        }
    }

    /// The members that are being replaced have been read. Where one could not be, or has gone
    /// meanwhile, the others are read as well.
    fn window_is_copied(&mut self, key: Key) {
        let held = |slot: u32| self.windows[key].cells[slot as usize].buf.is_some();
        if self.targets().is_empty() && self.replaced().into_iter().all(held) {
            let held = self.held_for_others(key);
            return self.write_window(key, Vec::new(), held);
        }
        self.windows[key].copying = false;
        self.read_window(key);
    }

    /// What has been read of members whose place others are being given.
    pub(super) fn held_for_others(&self, key: Key) -> Vec<(u32, Buf)> {
        let window = &self.windows[key];
        let held = window.cells.iter().enumerate().filter_map(|(index, cell)| {
            let to = self.receiver(cell.slot)?;
            // Rebuilt that far already, and read itself.
            let own = self.member_on(cell.slot) == Some(to)
                && self.members[to].can_read(cell.sector, window.sectors());
            if own {
                return None;
            }
            Some((index as u32, Buf::from_slice(cell.buf.as_ref()?)))
        });
        held.collect()
    }

    /// Whether what has been read says what every member of the window should hold.
    fn window_has_enough(&self, key: Key) -> bool {
        let got = self.windows[key].cells.iter().filter(|cell| cell.buf.is_some()).count();
        got >= self.cells_needed()
    }

    fn cells_needed(&self) -> usize {
        match &self.layout {
            Layout::Parity(parity) => parity.data_members() as usize,
            Layout::Mapped(_) => 1,
        }
    }

    /// Members that were too slow are asked again, once, and waited for; and whoever has taken a slot
    /// over since its member failed. False if there are none.
    fn asks_again(&mut self, key: Key) -> bool {
        let window = &mut self.windows[key];
        let hasty = !std::mem::replace(&mut window.patient, true);
        let mut any = false;
        for cell in &mut window.cells {
            let slot = self.slots[cell.slot as usize];
            let again = match cell.unread {
                Some(_) if slot.is_some() && slot != cell.failed_by => true,
                Some(Fault::Timeout) => hasty,
                _ => false,
            };
            if again {
                (cell.unread, any) = (None, true);
            }
        }
        any
    }

    /// Whether a recovery or a check can do without a member that is too slow.
    pub(super) fn window_has_alternative(&self, key: Key, cell: u32) -> bool {
        let action = self.pass.as_ref().map(super::pass::Pass::action);
        if !matches!(action, Some(Action::Recover | Action::Check { .. }))
            || !self.window_is_trusted(key)
        {
            return false;
        }
        let others = self.windows[key].cells.iter().enumerate();
        let others = others.filter(|(index, _)| *index as u32 != cell);
        let give = |other: &WindowCell| other.buf.is_some() || self.untried(key, other);
        others.filter(|(_, other)| give(other)).count() >= self.cells_needed()
    }

    fn finer_window(&self, key: Key) -> Option<u64> {
        self.finer_grain(&self.windows[key].range)
    }

    fn window_is_trusted(&self, key: Key) -> bool {
        let range = &self.windows[key].range;
        self.trusted(range.start, range.end)
    }

    fn some_cell_partly_bad(&self, key: Key) -> bool {
        self.windows[key].cells.iter().any(|cell| self.partly_bad(key, cell))
    }

    fn untried(&self, key: Key, cell: &WindowCell) -> bool {
        let window = &self.windows[key];
        cell.unread.is_none()
            && (!window.targets.contains(&cell.slot) || self.is_replaced(cell.slot))
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

    /// Cuts a window into smaller ones under the same lock; each reads for itself.
    fn shatter_window(&mut self, key: Key, grain: u64) {
        let window = self.windows.remove(key).expect("a running window");
        let lock = window.lock.expect("a running window has its lock");
        let (first, end) = (window.range.start / grain, window.range.end.div_ceil(grain));
        let count = (end - first) as u32;
        self.locks.share(lock, count - 1);
        if let Some(pass) = &mut self.pass {
            pass.more_windows(window.pass_start, count - 1);
        }
        for part in first..end {
            let start = (part * grain).max(window.range.start);
            let skip = start - window.range.start;
            let block = Window {
                pass_start: window.pass_start,
                range: start..((part + 1) * grain).min(window.range.end),
                lock: Some(lock),
                cells: window
                    .cells
                    .iter()
                    .map(|cell| WindowCell {
                        slot: cell.slot,
                        sector: cell.sector + skip,
                        buf: None,
                        unread: None,
                        failed_by: None,
                    })
                    .collect(),
                targets: window.targets.clone(),
                copying: window.copying,
                left: 0,
                phase: Phase::New,
                spoiled: false,
                patient: window.patient,
                fragment: grain < BLOCK_SECTORS,
            };
            let block = self.windows.insert(block);
            self.ready.push_back(Unit::Window(block));
        }
    }

    /// Nobody has all of this range any more. Parts of it may be there; of the rest the targets must
    /// not pretend to have it.
    pub(super) fn window_is_lost(
        &mut self,
        key: Key,
        targets: &[u32],
        missing: &[u32],
        held: Vec<(u32, Buf)>,
    ) {
        if self.window_is_lost_in_parts(key)
            && let Some(grain) = self.finer_window(key)
        {
            return self.shatter_window(key, grain);
        }
        let window = &self.windows[key];
        let sectors = window.sectors();
        let fault = window.cells.iter().find_map(|c| c.unread).unwrap_or(Fault::Medium);
        let at = window.cells.iter().map(|c| (c.slot, c.sector)).collect::<Vec<_>>();
        for (sector, sectors) in self.lost_ranges(&window.range, missing) {
            let slots = missing.to_vec();
            let event = Event::RangeFailed { sector, sectors, write: false, fault, slots };
            self.events.push_back(event);
        }
        let unfilled = |slot: &u32| {
            targets.contains(slot) || missing.contains(slot) && self.is_replaced(*slot)
        };
        let unfilled: Vec<_> = at.into_iter().filter(|(slot, _)| unfilled(slot)).collect();
        for (slot, sector) in unfilled {
            let Some(member) = self.receiver(slot) else {
                continue;
            };
            let start = self.members[member].data_offset() + sector;
            if !self.record_bad(member, start..start + sectors) {
                self.fail(member, FailReason::Unlisted);
            }
        }
        self.write_window(key, Vec::new(), held);
    }

    /// Whether what spoils a lost window is something that may have spared some of its sectors.
    fn window_is_lost_in_parts(&self, key: Key) -> bool {
        let window = &self.windows[key];
        window.cells.iter().any(WindowCell::is_unreadable)
            || self.some_cell_partly_bad(key)
            || self.stained.first_overlap(window.range.clone()).is_some()
    }

    /// The array's ranges (first sector, sectors) that live on the missing slots in a window.
    fn lost_ranges(&self, range: &Range<u64>, missing: &[u32]) -> Vec<(u64, u64)> {
        let Layout::Parity(parity) = &self.layout else {
            return vec![(range.start, range.end - range.start)];
        };
        let chunk = u64::from(parity.chunk_sectors());
        let mut ranges = Vec::new();
        for part in self.stripe_parts(range) {
            let at = |d| parity.array_sector(part.stripe, d, part.first % chunk);
            ranges.extend(part.data_of(missing).map(|d| (at(d), part.sectors())));
        }
        ranges
    }

    /// Writes cells' new contents, then finishes. `held` is what was read of those whose place
    /// others are being given: they get it, updates included.
    pub(super) fn write_window(&mut self, key: Key, updates: Vec<Update>, held: Vec<(u32, Buf)>) {
        let copies = self.copies_of_window(key, &updates, held);
        let updates: Vec<(u32, usize, u64, Payload)> = updates
            .into_iter()
            .filter_map(|(cell, skip, data)| {
                let slot = self.windows[key].cells[cell as usize].slot;
                let member = self.member_on(slot).filter(|&m| self.members[m].is_writable())?;
                Some((cell, member, skip, data))
            })
            .collect();
        if updates.is_empty() && copies.is_empty() || self.config.read_only {
            return self.finish_window(key);
        }
        self.windows[key].phase = Phase::Writing;
        self.windows[key].left = (updates.len() + copies.len()) as u32;
        for (cell, member, skip, data) in updates {
            let sector = self.windows[key].cells[cell as usize].sector + skip;
            let change = Change::Write(data, Durability::Cached);
            self.change_one(member, sector, change, Leg::Window(key, cell));
        }
        for (twin, sector, data) in copies {
            let change = Change::Write(data.into(), Durability::Cached);
            self.change_twin(twin, sector, change, Unit::Window(key));
        }
    }

    /// What replacements get of a window: all that their old members will hold then. A check writes
    /// nothing but what it mends.
    fn copies_of_window(
        &self,
        key: Key,
        updates: &[Update],
        mut held: Vec<(u32, Buf)>,
    ) -> Vec<(usize, u64, Buf)> {
        let window = &self.windows[key];
        let updated = |cell: u32| updates.iter().filter(move |(other, ..)| *other == cell);
        if matches!(self.action(), Some(Action::Check { .. }) | None) {
            held.retain(|(cell, _)| updated(*cell).next().is_some());
        }
        for cell in 0..window.cells.len() as u32 {
            let slot = window.cells[cell as usize].slot;
            let unheld = self.is_replaced(slot) && held.iter().all(|(other, _)| *other != cell);
            if unheld && updated(cell).next().is_some() {
                held.push((cell, Buf::zeroed(window.bytes())));
            }
        }
        let copy = |(cell, mut buf): (u32, Buf)| {
            for (_, skip, data) in updated(cell) {
                buf.put((skip * SECTOR_BYTES) as usize, data);
            }
            let WindowCell { slot, sector, .. } = window.cells[cell as usize];
            // One that has its slot by now gets what is written to the slot.
            let to = self.receiver(slot)?;
            let twice = Some(to) == self.member_on(slot) && updated(cell).next().is_some();
            (!twice).then_some((to, sector, buf))
        };
        held.into_iter().filter_map(copy).collect()
    }

    /// One that has nothing to say to the window but that it is done.
    pub(super) fn window_one_done(&mut self, key: Key) {
        self.windows[key].left -= 1;
        if self.windows[key].left == 0 {
            self.finish_window(key);
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
        self.window_one_done(key);
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
