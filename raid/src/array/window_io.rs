//! What a window finds out, and what it mends.
//!
//! Mismatches are counted in md's unit: the sectors of what is compared at once, not of the
//! difference. Parity levels compare rows of 4 KiB (8 sectors), mirrors whole windows.

use holdfast_core::block::Fault;
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::rows::{Part, Rows};
use super::{Array, Defects, State};
use crate::defects::Defect;
use crate::event::Event;
use crate::sync::Action;

/// A cell's new contents, from so many sectors into the window.
pub(super) type Update = (u32, u64, Payload);

impl<X: Defects> Array<X> {
    pub(super) fn action(&self) -> Option<Action> {
        self.pass.as_ref().map(super::pass::Pass::action)
    }

    /// Every readable member of a parity level's window has been read.
    pub(super) fn judge_rows(&mut self, key: Key) {
        let missing = self.missing_cells(key);
        let mut held = self.held_for_others(key);
        let parts = self.stripe_parts(&self.windows[key].range);
        let cells = self.windows[key].cells.iter_mut();
        let mut bufs: Vec<Option<Buf>> = cells.map(|cell| cell.buf.take()).collect();
        let targets = self.targets();
        if !parts.iter().all(|part| self.recover_part(part, &missing, &mut bufs)) {
            return self.window_is_lost(key, &targets, &missing, held);
        }
        let mended: Vec<u32> = missing
            .iter()
            .copied()
            .filter(|slot| targets.contains(slot) || self.window_may_mend(key, *slot))
            .collect();
        // Whoever was too slow to be read need not be written, but its replacement has to be.
        let blank = || Buf::zeroed(Self::bytes_of(self.windows[key].sectors()));
        let awaited =
            missing.iter().filter(|slot| self.is_replaced(**slot) && !mended.contains(*slot));
        let mut owed: Vec<(u32, Buf)> = awaited.map(|slot| (*slot, blank())).collect();
        let checks = !matches!(self.action(), Some(Action::Recover) | None);
        let mut updates: Vec<Update> = Vec::new();
        for part in &parts {
            let rows = Rows::of(part, &missing, &bufs);
            for &slot in &mended {
                let forgotten =
                    part.holds_parity(slot) && self.defects.has(Defect::RebuildForgetsParity);
                let contents = rows.contents(slot).filter(|_| !forgotten);
                updates.extend(contents.map(|bytes| (slot, part.skip, Payload::from_slice(bytes))));
            }
            for (slot, buf) in &mut owed {
                if let Some(bytes) = rows.contents(*slot) {
                    buf.put((part.skip * SECTOR_BYTES) as usize, bytes);
                }
            }
            if checks {
                updates.extend(self.compare_rows(&rows));
            }
        }
        held.append(&mut owed);
        self.write_window(key, joined(updates), held);
    }

    /// Slots of a window without contents.
    fn missing_cells(&self, key: Key) -> Vec<u32> {
        let cells = self.windows[key].cells.iter();
        cells.filter(|cell| cell.buf.is_none()).map(|cell| cell.slot).collect()
    }

    /// Whether a cell that could not be read should get what was recovered for it.
    fn window_may_mend(&self, key: Key, slot: u32) -> bool {
        let window = &self.windows[key];
        let cell = window.cells.iter().find(|cell| cell.slot == slot).expect("a slot has a cell");
        let Some(member) = self.member_on(slot) else {
            return false;
        };
        let medium = matches!(cell.unread, Some(Fault::Medium | Fault::Corrupt));
        let listed = !self.members[member].can_read(cell.sector, window.sectors());
        matches!(self.members[member].state, State::InSync { .. }) && (medium || listed)
    }

    /// Recovers the data that missing slots hold in a stripe, in place; false if too much is lost.
    fn recover_part(&self, part: &Part, missing: &[u32], bufs: &mut [Option<Buf>]) -> bool {
        let stained = self.stained.first_overlap(part.member_range()).is_some();
        if stained && missing.iter().any(|&slot| !part.holds_parity(slot)) {
            return false;
        }
        let guesses = matches!(self.action(), Some(Action::Check { .. }))
            && self.defects.has(Defect::ScrubTakesHolesForZeros);
        part.recover(missing, bufs, guesses)
    }

    /// Counts rows whose parity is wrong; what to write about it.
    fn compare_rows(&mut self, rows: &Rows<'_>) -> Vec<Update> {
        let action = self.action().expect("a pass runs");
        let locate =
            matches!(action, Action::Check { locate: true } | Action::Repair { locate: true });
        let mut updates = Vec::new();
        for row in rows.wrong(locate) {
            let sectors = (row.bytes.len() as u64) / SECTOR_BYTES;
            if let Some(pass) = &mut self.pass {
                pass.mismatch_sectors += sectors;
            }
            let culprit = row.one_culprit();
            if action != Action::Resync {
                // In a resync differences are the rule, and there may be a great many.
                let sector = rows.part.first + row.bytes.start as u64 / SECTOR_BYTES;
                self.events.push_back(Event::Mismatch { sector, sectors, culprit });
            }
            match action {
                Action::Repair { locate: true } => updates.extend(rows.mend_located(&row)),
                Action::Repair { locate: false } | Action::Resync => {
                    updates.extend(rows.new_parity(&row));
                }
                Action::Check { .. } if self.defects.has(Defect::ScrubRewritesParity) => {
                    updates.extend(rows.new_parity(&row));
                }
                Action::Check { .. } | Action::Recover => {}
            }
        }
        updates
    }

    /// Every readable copy of a mirror's window has been read.
    pub(super) fn judge_copies(&mut self, key: Key) {
        let targets = self.windows[key].targets.clone();
        let window = &self.windows[key];
        let there = |cell: &super::window::WindowCell| cell.buf.is_some();
        let source = match self.defects.has(Defect::ResyncFromLastCopy) {
            true => window.cells.iter().rposition(there),
            false => window.cells.iter().position(there),
        };
        let Some(first) = source else {
            let missing = self.missing_cells(key);
            return self.window_is_lost(key, &targets, &missing, Vec::new());
        };
        let good = window.cells[first].buf.as_ref().expect("just found");
        let differs =
            |cell: &super::window::WindowCell| cell.buf.as_ref().is_some_and(|buf| buf != good);
        let different: Vec<u32> = (0..window.cells.len() as u32)
            .filter(|&cell| differs(&window.cells[cell as usize]))
            .collect();
        let unread: Vec<u32> = (0..window.cells.len() as u32)
            .filter(|&cell| self.window_may_mend(key, window.cells[cell as usize].slot))
            .filter(|&cell| window.cells[cell as usize].buf.is_none())
            .collect();
        let rebuilt = (0..window.cells.len() as u32).filter(|&cell| {
            let slot = window.cells[cell as usize].slot;
            targets.contains(&slot) && !self.is_replaced(slot) && self.receiver(slot).is_some()
        });
        let data = Payload::from_slice(good);
        let mut cells: Vec<u32> = unread.into_iter().chain(rebuilt).collect();
        let (sector, sectors) = (window.range.start, window.sectors());
        if !different.is_empty() {
            if let Some(pass) = &mut self.pass {
                pass.mismatch_sectors += sectors;
            }
            if self.action() != Some(Action::Resync) {
                self.events.push_back(Event::Mismatch { sector, sectors, culprit: None });
            }
            if matches!(self.action(), Some(Action::Resync | Action::Repair { .. })) {
                cells.extend(different);
            }
        }
        cells.sort_unstable();
        cells.dedup();
        let held = self.held_by_mirror(key, &targets, &data);
        let updates = cells.into_iter().map(|cell| (cell, 0, data.clone())).collect();
        self.write_window(key, updates, held);
    }

    /// What replacements on a mirror's window get: in a recovery those it was opened for, where
    /// copies are made to agree all of them, else those whose old member is mended.
    fn held_by_mirror(&self, key: Key, targets: &[u32], data: &Payload) -> Vec<(u32, Buf)> {
        let recovery = self.action() == Some(Action::Recover);
        let cells = self.windows[key].cells.iter().enumerate();
        let gets = |slot: u32| self.is_replaced(slot) && (!recovery || targets.contains(&slot));
        let held = cells.filter(|(_, cell)| gets(cell.slot));
        held.map(|(index, _)| (index as u32, Buf::from_slice(data))).collect()
    }
}

/// The same updates, those that follow upon each other in one cell as one.
fn joined(mut updates: Vec<Update>) -> Vec<Update> {
    updates.sort_by_key(|(cell, skip, _)| (*cell, *skip));
    let sectors = |data: &Payload| data.len() as u64 / SECTOR_BYTES;
    let runs = updates.chunk_by(|(cell, skip, data), (next, follows, _)| {
        cell == next && skip + sectors(data) == *follows
    });
    let join = |run: &[Update]| match run {
        [one] => one.clone(),
        _ => {
            let parts = run.iter().map(|(.., data)| &data[..]);
            let bytes = parts.clone().map(<[u8]>::len).sum();
            (run[0].0, run[0].1, Payload::concat(bytes, parts))
        }
    };
    runs.map(join).collect()
}
