//! The second half of a band's life: recovering, computing parity, writing, judging.

use std::ops::Range;

use holdfast_core::block::{Durability, Fault};
use holdfast_core::buf::{Buf, Payload, is_blank};
use holdfast_core::slab::Key;

use super::band::{Cell, CellState, ReadPhase, Work, WritePhase};
use super::leg::Leg;
use super::plan::How;
use super::{Array, Defects, State};
use crate::defects::Defect;
use crate::event::Event;
use crate::layout::Roles;
use crate::parity::{self, Blocks, DataBlock, Lost};

/// The new contents of one slot.
pub(super) type Update = (u32, Payload);

impl<X: Defects> Array<X> {
    /// Everything a lost data member's rows can be recovered from has been read.
    pub(super) fn recovered_read(&mut self, key: Key) {
        let Work::Read { op, d, at, .. } = self.bands[key].work else { unreachable!("a read") };
        let roles = self.roles(self.bands[key].stripe);
        let k = self.parity().data_members();
        let bytes = self.bands[key].bytes();
        recover_data(&mut self.bands[key].cells, &roles, k, bytes);
        let slot = roles.data_slot(d) as usize;
        let wanted = self.bands[key].cells[slot].buf.take().expect("recovered");
        let mend = self.members_to_mend(key, &roles, |slot| slot != roles.data_slot(d));
        let own = match self.may_mend(key, slot as u32) {
            true => Some((slot as u32, Payload::from_slice(&wanted))),
            false => None,
        };
        self.deliver_band(op, at, wanted);
        let updates: Vec<Update> = mend.into_iter().chain(own).collect();
        if updates.is_empty() {
            return self.finish_band(key, Ok(()));
        }
        let Work::Read { phase, .. } = &mut self.bands[key].work else { unreachable!("a read") };
        *phase = ReadPhase::Mending;
        self.write_cells(key, updates, Durability::Cached);
    }

    /// Whether a slot's unreadable rows should be written again with what was recovered.
    fn may_mend(&self, key: Key, slot: u32) -> bool {
        let band = &self.bands[key];
        let Some(member) = self.member_on(slot).filter(|_| !self.config.read_only) else {
            return false;
        };
        let member = &self.members[member];
        let medium = matches!(
            band.cells[slot as usize].state,
            CellState::Unread(Fault::Medium | Fault::Corrupt)
        );
        let listed = !member.can_read(band.member_sector(), band.sectors());
        matches!(member.state, State::InSync { .. }) && (medium || listed)
    }

    /// Recovered data of slots that could not be read, to be written back.
    fn members_to_mend(
        &mut self,
        key: Key,
        roles: &Roles,
        wanted: impl Fn(u32) -> bool,
    ) -> Vec<Update> {
        let slots: Vec<u32> = (0..self.slots.len() as u32)
            .filter(|&slot| wanted(slot) && roles.data_index(slot).is_some())
            .filter(|&slot| self.may_mend(key, slot))
            .collect();
        let cells = &mut self.bands[key].cells;
        slots
            .into_iter()
            .filter_map(|slot| {
                let buf = cells[slot as usize].buf.as_ref()?;
                Some((slot, Payload::from_slice(buf)))
            })
            .collect()
    }

    /// All that the plan wanted has been read: compute parity and write.
    pub(super) fn compute_band(&mut self, key: Key, how: How) {
        let band = &mut self.bands[key];
        let Work::Write { data, phase, durability, .. } = &mut band.work else {
            unreachable!("a write")
        };
        *phase = WritePhase::Writing;
        let (data, durability) = (data.clone(), *durability);
        let roles = self.roles(self.bands[key].stripe);
        let k = self.parity().data_members();
        let bytes = self.bands[key].bytes();
        let takes = |array: &Self, slot: u32| {
            array.member_on(slot).is_some_and(|m| {
                let forgotten = array.defects.has(Defect::RebuildMissesWrites)
                    && matches!(array.members[m].state, State::Rebuilding { .. });
                array.members[m].is_writable() && !forgotten
            })
        };
        let wants_p = takes(self, roles.p);
        let wants_q = roles.q.is_some_and(|q| takes(self, q));

        let mut updates: Vec<Update> = Vec::new();
        if how == How::Rebuild {
            recover_data(&mut self.bands[key].cells, &roles, k, bytes);
            let unwritten =
                |slot: u32| roles.data_index(slot).is_some_and(|d| data[d as usize].is_none());
            updates = self.members_to_mend(key, &roles, unwritten);
        }
        let cells = &mut self.bands[key].cells;
        let (p, q) = match how {
            How::DataOnly => (None, None),
            How::ReadModifyWrite => modified_parity(cells, &roles, &data, wants_p, wants_q),
            How::Reconstruct | How::Rebuild => {
                new_parity(cells, &roles, &data, bytes, wants_p, wants_q)
            }
        };
        let leaves_q = how == How::ReadModifyWrite && self.defects.has(Defect::QNotModified);
        let q = q.filter(|_| !leaves_q);
        let leaves_p = how == How::Reconstruct && self.defects.has(Defect::ParityNotWritten);
        let p = p.filter(|_| !leaves_p);
        for (d, new) in data.into_iter().enumerate() {
            let slot = roles.data_slot(d as u32);
            if let Some(new) = new.filter(|_| takes(self, slot)) {
                updates.push((slot, new));
            }
        }
        updates.extend(p.map(|buf| (roles.p, buf.into())));
        updates.extend(q.map(|buf| (roles.q.expect("Q was computed"), buf.into())));
        if updates.is_empty() {
            return self.judge_band(key);
        }
        self.log_and_write(key, updates, durability);
    }

    pub(super) fn write_cells(&mut self, key: Key, updates: Vec<Update>, durability: Durability) {
        let first = self.bands[key].member_sector();
        let roles = self.roles(self.bands[key].stripe);
        self.bands[key].left = updates.len() as u32;
        for (slot, data) in updates {
            let member = self.member_on(slot).expect("writable slots have a member");
            let lax = roles.data_index(slot).is_none() && self.defects.has(Defect::FuaNotForParity);
            let durability = if lax { Durability::Cached } else { durability };
            self.write_leg(member, first, data, durability, Leg::Band(key, slot));
        }
    }

    /// Every member has answered: does the level hold what was written?
    pub(super) fn judge_band(&mut self, key: Key) {
        for slot in 0..self.bands[key].cells.len() {
            if self.is_inherited(slot as u32, self.bands[key].cells[slot].heir) {
                self.bands[key].cells[slot].state = CellState::Written;
            }
        }
        let band = &self.bands[key];
        let (first, sectors) = (band.member_sector(), band.sectors());
        let settled =
            |cell: &Cell| !matches!(cell.state, CellState::Bad(_) | CellState::Unwritten(_));
        let unrecorded = self.a_lost_member_missed_it(key);
        let faultless = !unrecorded && band.cells.iter().all(settled);
        let full = band.cells.iter().any(|c| c.state == CellState::Unwritten(Fault::Full));
        let holds = faultless || self.level_holds(key);
        // Where the others have all of it, what missed it is told apart from them, and parity goes
        // on to stand in for whatever else cannot be read. Where they have not, parity is wrong;
        // as long as every data member is there itself that harms nobody until the resync.
        let lists = !faultless && (holds || self.leans_on_parity(key));
        let listed = lists && self.list_missed_rows(key);
        let result = match () {
            () if full => Err(Fault::Full),
            () if unrecorded => Err(self.unwritten_fault(key)),
            () if faultless || holds && listed => Ok(()),
            () => Err(self.unwritten_fault(key)),
        };
        // What a missing member missed must be on record before the answer.
        let missed = self.slots.iter().any(Option::is_none);
        let gate = match missed || !faultless {
            true => self.meta.wanted(),
            false => self.meta.failure_generation(),
        };
        if gate > self.meta.durable() {
            for op in self.bands[key].ops() {
                self.ops[op].gate = gate;
            }
        }
        if let Err(fault) = result {
            self.stain(first, first + sectors);
            if !listed {
                self.distrust_parity(first, first + sectors);
            }
            let slots = (0..self.slots.len() as u32)
                .filter(|&slot| !settled(&self.bands[key].cells[slot as usize]))
                .collect();
            let (sector, sectors) = self.array_range(key);
            let event = Event::RangeFailed { sector, sectors, write: true, fault, slots };
            self.events.push_back(event);
        }
        self.end_write_of(key);
        self.finish_band(key, result);
    }

    /// A member that counts as lost is in no metadata: should it come back, nothing tells that it has
    /// not got this.
    fn a_lost_member_missed_it(&self, key: Key) -> bool {
        let band = &self.bands[key];
        let roles = self.roles(band.stripe);
        let lost =
            |slot: u32| self.slots[slot as usize].is_some_and(|member| self.members[member].lost);
        let changes = |slot: u32| match (&band.work, roles.data_index(slot)) {
            (Work::Write { data, .. }, Some(d)) => data[d as usize].is_some(),
            _ => true,
        };
        let written = |slot: u32| matches!(band.cells[slot as usize].state, CellState::Written);
        let slots = 0..self.slots.len() as u32;
        slots.into_iter().any(|slot| lost(slot) && changes(slot) && !written(slot))
    }

    /// Whether some data of the rows can only be had from parity. Where every data member is there
    /// itself, stale parity harms nobody until the resync that is due anyway.
    fn leans_on_parity(&self, key: Key) -> bool {
        let band = &self.bands[key];
        let roles = self.roles(band.stripe);
        (0..self.parity().data_members()).any(|d| {
            !self.member_on(roles.data_slot(d)).is_some_and(|member| {
                self.members[member].can_read(band.member_sector(), band.sectors())
            })
        })
    }

    /// What a member in service has missed, because it could not be spared or has no room, must not
    /// be read from it: it is recorded as bad. False if a log has no room for that.
    fn list_missed_rows(&mut self, key: Key) -> bool {
        let band = &self.bands[key];
        let (first, sectors) = (band.member_sector(), band.sectors());
        let missed = |slot: u32| match band.cells[slot as usize].state {
            CellState::Unwritten(fault) => Some((self.member_on(slot)?, fault)),
            _ => None,
        };
        let missed: Vec<(usize, Fault)> = (0..self.slots.len() as u32)
            .filter_map(missed)
            .filter(|(member, _)| matches!(self.members[*member].state, State::InSync { .. }))
            .collect();
        let mut listed = true;
        for (member, fault) in missed {
            let start = self.members[member].data_offset() + first;
            listed &= self.record_missed(member, start..start + sectors, fault);
        }
        listed
    }

    fn unwritten_fault(&self, key: Key) -> Fault {
        let fault = |cell: &Cell| match cell.state {
            CellState::Unwritten(fault) => Some(fault),
            CellState::Bad(_) => Some(Fault::Medium),
            _ => None,
        };
        self.bands[key].cells.iter().find_map(fault).unwrap_or(Fault::Gone)
    }

    /// Whether no sector of the rows misses more slots than the level has parity.
    fn level_holds(&self, key: Key) -> bool {
        let band = &self.bands[key];
        let (first, sectors) = (band.member_sector(), band.sectors());
        let holes: Vec<Vec<Range<u64>>> =
            (0..self.slots.len()).map(|slot| self.holes(key, slot)).collect();
        let parity = self.parity().parity_members() as usize;
        (first..first + sectors).all(|sector| {
            let lost = holes.iter().filter(|ranges| ranges.iter().any(|r| r.contains(&sector)));
            lost.count() <= parity
        })
    }

    /// Data sectors of a slot within the band's rows that cannot be relied upon.
    fn holes(&self, key: Key, slot: usize) -> Vec<Range<u64>> {
        let band = &self.bands[key];
        let (first, end) = (band.member_sector(), band.member_sector() + band.sectors());
        let whole = first..end;
        let Some(member) = self.member_on(slot as u32) else {
            return vec![whole];
        };
        let member = &self.members[member];
        if matches!(band.cells[slot].state, CellState::Unwritten(_)) {
            return vec![whole];
        }
        let mut holes = Vec::new();
        if let State::Rebuilding { done, .. } = member.state
            && done < end
        {
            holes.push(done.max(first)..end);
        }
        let offset = member.data_offset();
        let in_band = |r: &Range<u64>| r.end > offset + first && r.start < offset + end;
        holes.extend(
            member
                .bad
                .iter()
                .filter(in_band)
                .map(|r| r.start.saturating_sub(offset).max(first)..(r.end - offset).min(end)),
        );
        holes
    }
}

/// Recovers every data cell that has no contents, from the ones that have.
fn recover_data(cells: &mut [Cell], roles: &Roles, k: u32, bytes: usize) {
    let mut lost = Vec::new();
    let mut bufs: Vec<Buf> = (0..k)
        .map(|d| {
            let cell = &mut cells[roles.data_slot(d) as usize];
            cell.buf.take().unwrap_or_else(|| {
                lost.push(Lost::Data(d as usize));
                Buf::zeroed(bytes)
            })
        })
        .collect();
    let p = cells[roles.p as usize].buf.as_ref();
    let q = roles.q.and_then(|q| cells[q as usize].buf.as_ref());
    let parity = || p.into_iter().chain(q);
    let enough = lost.len() <= parity().count();
    let zeros = || enough && are_zeros(bufs.iter().chain(parity()).map(|buf| &**buf));
    if !lost.is_empty() && !zeros() {
        let mut p = cells[roles.p as usize].buf.take();
        let mut q = roles.q.and_then(|q| cells[q as usize].buf.take());
        let mut data: Vec<DataBlock<'_>> = bufs
            .iter_mut()
            .enumerate()
            .map(|(d, buf)| DataBlock { exponent: roles.exponent(d as u32), bytes: buf })
            .collect();
        let mut blocks = Blocks { data: &mut data, p: p.as_deref_mut(), q: q.as_deref_mut() };
        parity::recover(&mut blocks, &lost).expect("the plan read enough");
        cells[roles.p as usize].buf = p;
        if let Some(slot) = roles.q {
            cells[slot as usize].buf = q;
        }
    }
    for (d, buf) in bufs.into_iter().enumerate() {
        cells[roles.data_slot(d as u32) as usize].buf = Some(buf);
    }
}

/// Whether a stripe is known to be all zeros, from its parity and its data, with blank blocks in
/// the place of lost ones: then these are recovered as they stand.
pub(super) fn are_zeros<'a>(mut blocks: impl Iterator<Item = &'a [u8]>) -> bool {
    blocks.all(is_blank)
}

/// Parity changed by the difference between old and new data.
fn modified_parity(
    cells: &mut [Cell],
    roles: &Roles,
    data: &[Option<Payload>],
    wants_p: bool,
    wants_q: bool,
) -> (Option<Buf>, Option<Buf>) {
    let mut take = |slot: u32, wanted: bool| {
        wanted.then(|| cells[slot as usize].buf.take().expect("the plan read it"))
    };
    let mut p = take(roles.p, wants_p);
    let mut q = roles.q.and_then(|slot| take(slot, wants_q));
    for (d, new) in data.iter().enumerate() {
        let Some(new) = new else { continue };
        let slot = roles.data_slot(d as u32) as usize;
        let old = cells[slot].buf.as_ref().expect("the plan read it");
        let exponent = roles.exponent(d as u32);
        match (&mut p, &mut q) {
            (Some(p), Some(q)) => parity::update_pq(p, q, exponent, old, new),
            (Some(p), None) => parity::update_p(p, old, new),
            (None, Some(q)) => parity::update_q(q, exponent, old, new),
            (None, None) => {}
        }
    }
    (p, q)
}

/// Parity of all data, new where written and as read where not.
fn new_parity(
    cells: &[Cell],
    roles: &Roles,
    data: &[Option<Payload>],
    bytes: usize,
    wants_p: bool,
    wants_q: bool,
) -> (Option<Buf>, Option<Buf>) {
    let block = |d: usize| -> &[u8] {
        match &data[d] {
            Some(new) => new,
            None => {
                let slot = roles.data_slot(d as u32) as usize;
                cells[slot].buf.as_ref().expect("the plan read or recovered it")
            }
        }
    };
    let blocks: Vec<&[u8]> = (0..data.len()).map(block).collect();
    parity_of(&blocks, roles, bytes, wants_p, wants_q)
}

/// P and Q, as wanted, of data blocks in array order.
pub(super) fn parity_of(
    data: &[&[u8]],
    roles: &Roles,
    bytes: usize,
    wants_p: bool,
    wants_q: bool,
) -> (Option<Buf>, Option<Buf>) {
    let mut p = wants_p.then(|| Buf::zeroed(bytes));
    let mut q = wants_q.then(|| Buf::zeroed(bytes));
    if data.iter().all(|block| is_blank(block)) {
        // Zeros are their own parity.
        return (p, q);
    }
    match (&mut p, &mut q) {
        (Some(p), Some(q)) => parity::pq(p, q, &by_exponent(data, roles)),
        (Some(p), None) => parity::xor(p, data),
        (None, Some(q)) => parity::q_only(q, &by_exponent(data, roles)),
        (None, None) => {}
    }
    (p, q)
}

/// Data blocks at the place of their exponent; gaps stand for zeros.
pub(super) fn by_exponent<'a>(data: &[&'a [u8]], roles: &Roles) -> Vec<Option<&'a [u8]>> {
    let mut sources = vec![None; data.len()];
    for (d, block) in data.iter().enumerate() {
        let exponent = roles.exponent(d as u32) as usize;
        if exponent >= sources.len() {
            sources.resize(exponent + 1, None);
        }
        sources[exponent] = Some(*block).filter(|block| !is_blank(block));
    }
    sources
}
