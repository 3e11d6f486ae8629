//! What a window finds out, and what it mends.
//!
//! Mismatches are counted in md's unit: the sectors of what is compared at once, not of the
//! difference. Parity levels compare rows of 4 KiB (8 sectors), mirrors whole windows.

use std::ops::Range;

use holdfast_core::block::Fault;
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::band_io::{are_zeros, parity_of};
use super::{Array, Defects, State};
use crate::defects::Defect;
use crate::event::Event;
use crate::layout::Roles;
use crate::parity::{self, Blocks, Culprit, DataBlock, Lost};
use crate::sync::Action;

/// Bytes of a compared row.
const ROW_BYTES: usize = 4096;

/// A cell's new contents, from so many sectors into the window.
type Update = (u32, u64, Payload);

/// A row whose parity is not what the data says.
#[derive(Debug)]
struct WrongRow {
    bytes: Range<usize>,
    /// Sectors (within the row) that agree on a culprit slot.
    culprits: Vec<(Range<usize>, Option<u32>)>,
}

impl<X: Defects> Array<X> {
    pub(super) fn action(&self) -> Option<Action> {
        self.pass.as_ref().map(super::pass::Pass::action)
    }

    /// Every readable member of a parity level's window has been read.
    pub(super) fn judge_rows(&mut self, key: Key) {
        let chunk = u64::from(self.parity().chunk_sectors());
        let roles = self.roles(self.windows[key].range.start / chunk);
        let targets = self.targets();
        let missing = self.missing_cells(key);
        let held = self.held_for_others(key);
        let stained = self.stained.first_overlap(self.windows[key].range.clone()).is_some();
        let leans = missing.iter().any(|&slot| roles.data_index(slot).is_some());
        let recovered = if stained && leans { None } else { self.recover_rows(key, &roles) };
        let Some(recovered) = recovered else {
            return self.window_is_lost(key, &targets, &missing, held);
        };
        let mut updates: Vec<Update> = Vec::new();
        for slot in missing {
            let target = targets.contains(&slot);
            if target || self.window_may_mend(key, slot) {
                let contents = recovered.contents(&roles, slot);
                let parity = roles.data_index(slot).is_none();
                let contents = contents
                    .filter(|_| !(parity && self.defects.has(Defect::RebuildForgetsParity)));
                updates.extend(contents.map(|bytes| (slot, 0, Payload::from_slice(bytes))));
            }
        }
        let checks = !matches!(self.action(), Some(Action::Recover) | None);
        if checks {
            updates.extend(self.compare_rows(key, &roles, &recovered));
        }
        self.write_window(key, updates, held);
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

    /// All data of the window, recovered where it had to be; `None` if too much is lost.
    fn recover_rows(&mut self, key: Key, roles: &Roles) -> Option<Rows> {
        let k = self.parity().data_members();
        let window = &mut self.windows[key];
        let bytes = window.bytes();
        let mut take = |slot: u32| window.cells[slot as usize].buf.take();
        let mut lost = Vec::new();
        let mut data: Vec<Buf> = Vec::with_capacity(k as usize);
        for d in 0..k {
            data.push(take(roles.data_slot(d)).unwrap_or_else(|| {
                lost.push(Lost::Data(d as usize));
                Buf::zeroed(bytes)
            }));
        }
        let mut p = take(roles.p);
        let mut q = roles.q.and_then(take);
        let spent = lost.len();
        let guesses = matches!(self.action(), Some(Action::Check { .. }))
            && self.defects.has(Defect::ScrubTakesHolesForZeros);
        if spent > 0 && !guesses && !are_zeros(&data, p.as_ref(), q.as_ref(), spent) {
            let mut blocks: Vec<DataBlock<'_>> = data
                .iter_mut()
                .enumerate()
                .map(|(d, buf)| DataBlock { exponent: roles.exponent(d as u32), bytes: buf })
                .collect();
            let mut stripe = Blocks { data: &mut blocks, p: p.as_deref_mut(), q: q.as_deref_mut() };
            parity::recover(&mut stripe, &lost).ok()?;
        }
        let views: Vec<&[u8]> = data.iter().map(|buf| &**buf).collect();
        let (new_p, new_q) = parity_of(&views, roles, bytes, true, roles.q.is_some());
        // What was spent on recovering data proves nothing about itself.
        let (read_p, read_q) = match spent {
            0 => (p, q),
            1 if p.is_some() => (None, q),
            _ => (None, None),
        };
        Some(Rows { data, read_p, read_q, new_p: new_p.expect("asked for"), new_q, spent })
    }

    /// Counts rows whose parity is wrong; what to write about it.
    fn compare_rows(&mut self, key: Key, roles: &Roles, rows: &Rows) -> Vec<Update> {
        let action = self.action().expect("a pass runs");
        let locate =
            matches!(action, Action::Check { locate: true } | Action::Repair { locate: true });
        let start = self.windows[key].range.start;
        let wrong = rows.wrong(roles, locate);
        let mut updates = Vec::new();
        for row in wrong {
            let sectors = (row.bytes.len() as u64) / SECTOR_BYTES;
            if let Some(pass) = &mut self.pass {
                pass.mismatch_sectors += sectors;
            }
            let culprit = row.one_culprit();
            let skip = row.bytes.start as u64 / SECTOR_BYTES;
            if action != Action::Resync {
                // In a resync differences are the rule, and there may be a great many.
                self.events.push_back(Event::Mismatch { sector: start + skip, sectors, culprit });
            }
            match action {
                Action::Repair { locate: true } => updates.extend(rows.mend_located(roles, &row)),
                Action::Repair { locate: false } | Action::Resync => {
                    updates.extend(rows.new_parity(roles, &row));
                }
                Action::Check { .. } if self.defects.has(Defect::ScrubRewritesParity) => {
                    updates.extend(rows.new_parity(roles, &row));
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

/// A parity window with all its data.
#[derive(Debug)]
struct Rows {
    data: Vec<Buf>,
    /// Parity as read, where it still proves something.
    read_p: Option<Buf>,
    read_q: Option<Buf>,
    /// Parity as the data says.
    new_p: Buf,
    new_q: Option<Buf>,
    /// Data members that had to be recovered.
    spent: usize,
}

impl Rows {
    /// What a slot should hold.
    fn contents(&self, roles: &Roles, slot: u32) -> Option<&[u8]> {
        if slot == roles.p {
            return Some(&self.new_p);
        }
        if Some(slot) == roles.q {
            return self.new_q.as_deref();
        }
        roles.data_index(slot).map(|d| &*self.data[d as usize])
    }

    fn wrong(&self, roles: &Roles, locate: bool) -> Vec<WrongRow> {
        let bytes = self.new_p.len();
        let same = |read: &Option<Buf>, new: Option<&Buf>| {
            read.is_none() || new.is_none() || read.as_ref() == new
        };
        if same(&self.read_p, Some(&self.new_p)) && same(&self.read_q, self.new_q.as_ref()) {
            return Vec::new();
        }
        let differ = |read: &Option<Buf>, new: Option<&Buf>, range: &Range<usize>| match (read, new)
        {
            (Some(read), Some(new)) => read[range.clone()] != new[range.clone()],
            _ => false,
        };
        let rows = (0..bytes).step_by(ROW_BYTES).map(|at| at..(at + ROW_BYTES).min(bytes));
        rows.filter(|range| {
            differ(&self.read_p, Some(&self.new_p), range)
                || differ(&self.read_q, self.new_q.as_ref(), range)
        })
        .map(|bytes| {
            let culprits = if locate { self.locate(roles, &bytes) } else { Vec::new() };
            WrongRow { bytes, culprits }
        })
        .collect()
    }

    /// Which member each differing sector of a row points at (RAID6 with all members read).
    fn locate(&self, roles: &Roles, row: &Range<usize>) -> Vec<(Range<usize>, Option<u32>)> {
        let (Some(p), Some(q), 0) = (&self.read_p, &self.read_q, self.spent) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for at in row.clone().step_by(SECTOR_BYTES as usize) {
            let sector = at..(at + SECTOR_BYTES as usize).min(row.end);
            let data: Vec<(u32, &[u8])> = self
                .data
                .iter()
                .enumerate()
                .map(|(d, buf)| (roles.exponent(d as u32), &buf[sector.clone()]))
                .collect();
            let culprit = match parity::locate(&data, &p[sector.clone()], &q[sector.clone()]) {
                Culprit::None => continue,
                Culprit::Data(index) => Some(roles.data_slot(index as u32)),
                Culprit::P => Some(roles.p),
                Culprit::Q => roles.q,
                Culprit::Many => None,
            };
            found.push((sector, culprit));
        }
        found
    }

    /// The parity that the row's data calls for.
    fn new_parity(&self, roles: &Roles, row: &WrongRow) -> Vec<Update> {
        let skip = row.bytes.start as u64 / SECTOR_BYTES;
        let piece = |buf: &Buf| Payload::from_slice(&buf[row.bytes.clone()]);
        let p = self.read_p.is_some().then(|| (roles.p, skip, piece(&self.new_p)));
        let q = match (&self.read_q, &self.new_q, roles.q) {
            (Some(_), Some(new), Some(slot)) => Some((slot, skip, piece(new))),
            _ => None,
        };
        p.into_iter().chain(q).collect()
    }

    /// The contents the located members should have; sectors without one culprit stay.
    fn mend_located(&self, roles: &Roles, row: &WrongRow) -> Vec<Update> {
        let mut updates = Vec::new();
        for (sector, culprit) in &row.culprits {
            let Some(slot) = *culprit else { continue };
            let skip = sector.start as u64 / SECTOR_BYTES;
            let bytes = match roles.data_index(slot) {
                None => self.contents(roles, slot).map(|bytes| bytes[sector.clone()].to_vec()),
                Some(d) => self.solved_by_p(d as usize, sector),
            };
            updates.extend(bytes.map(|bytes| (slot, skip, Payload::from_slice(&bytes))));
        }
        updates
    }

    /// A data sector as P and the other data say it should be.
    fn solved_by_p(&self, d: usize, sector: &Range<usize>) -> Option<Vec<u8>> {
        let p = self.read_p.as_ref()?;
        let others = self.data.iter().enumerate().filter(|(other, _)| *other != d);
        let sources: Vec<&[u8]> = others
            .map(|(_, buf)| &buf[sector.clone()])
            .chain(std::iter::once(&p[sector.clone()]))
            .collect();
        let mut bytes = vec![0; sector.len()];
        parity::xor(&mut bytes, &sources);
        Some(bytes)
    }
}

impl WrongRow {
    /// The slot every differing sector of the row points at.
    fn one_culprit(&self) -> Option<u32> {
        let (_, first) = self.culprits.first()?;
        self.culprits.iter().all(|(_, culprit)| culprit == first).then_some(*first)?
    }
}
