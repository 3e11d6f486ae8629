//! A band: a range of rows of one parity stripe, being read or written.
//!
//! ```text
//!  read:   Direct ──ok──────────────────────────────► answer
//!            └─no─► Reading (survivors) ─► recover ─► answer ─► Mending ─► done
//!  write:  Gate ─► Reading (what the plan wants) ─► compute ─► Writing ─► judge ─► answer
//!                     ▲──── a read failed: plan again ────┘
//! ```
//!
//! A band whose rows cannot be served as a whole, but perhaps in parts (a member is bad in some of
//! its sectors only), is shattered into blocks that try by themselves.

use std::ops::Range;

use holdfast_core::block::{Durability, Fault};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::leg::{Leg, Written};
use super::locks::Mode;
use super::plan::{How, SlotView, plan_write, rebuild_reads};
use super::{Array, Defects, Kind, State, Unit};
use crate::defects::Defect;
use crate::event::Event;
use crate::layout::{Layout, Roles};

/// A request's share in a band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) op: Key,
}

/// Rows of a stripe being worked on.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) stripe: u64,
    /// Rows, in sectors from the start of the chunk.
    pub(super) rows: Range<u64>,
    /// First sector in each member's data.
    pub(super) first: u64,
    pub(super) lock: Option<Key>,
    pub(super) reserved: u64,
    pub(super) work: Work,
    /// By slot; empty until more than one member is needed.
    pub(super) cells: Vec<Cell>,
    pub(super) left: u32,
    /// Nobody else has it: late members are waited for.
    pub(super) patient: bool,
    /// Read errors of the array that had been healed when members were asked.
    pub(super) heals: u64,
    /// Part of a block whose read errors have been counted.
    pub(super) fragment: bool,
    /// The slot whose partial parity log covers it.
    pub(super) log: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Work {
    /// One data member's rows are wanted, at this byte of the request's buffer.
    Read { op: Key, d: u32, at: usize, phase: ReadPhase },
    Write {
        parts: Vec<Part>,
        data: Vec<Option<Payload>>,
        durability: Durability,
        phase: WritePhase,
    },
    /// The whole stripe is forgotten by every member: zeros are their own parity.
    Discard { op: Key, gated: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadPhase {
    /// From the member itself.
    Direct,
    /// From the others.
    Rebuild,
    /// The answer is given; what could not be read is written again.
    Mending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WritePhase {
    New,
    Gated,
    Reading,
    Writing,
}

/// What a band knows of one slot.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Contents before the write.
    pub(super) buf: Option<Buf>,
    pub(super) state: CellState,
    /// Who could not be read.
    pub(super) failed_by: Option<usize>,
    /// The replacement of the slot's member, which has been written the same.
    pub(super) heir: Option<usize>,
}

impl Cell {
    fn is_unread(&mut self, fault: Fault, by: usize) {
        (self.state, self.failed_by) = (CellState::Unread(fault), Some(by));
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum CellState {
    #[default]
    Idle,
    Flying,
    /// Could not be read.
    Unread(Fault),
    /// Written in full.
    Written,
    /// Written but for these device sectors.
    Bad(Vec<Range<u64>>),
    /// Not written.
    Unwritten(Fault),
}

impl Band {
    pub(super) fn new(stripe: u64, rows: Range<u64>, work: Work, reserved: u64) -> Self {
        Self {
            stripe,
            rows,
            first: 0,
            lock: None,
            reserved,
            work,
            cells: Vec::new(),
            left: 0,
            patient: false,
            heals: 0,
            fragment: false,
            log: None,
        }
    }

    /// It has its lock.
    pub(super) const fn start(&mut self, lock: Key, heals: u64) {
        (self.lock, self.heals) = (Some(lock), heals);
    }

    pub(super) fn write(
        stripe: u64,
        rows: Range<u64>,
        data: Vec<Option<Payload>>,
        parts: Vec<Part>,
        durability: Durability,
        reserved: u64,
    ) -> Self {
        let phase = WritePhase::New;
        Self::new(stripe, rows, Work::Write { parts, data, durability, phase }, reserved)
    }

    /// First sector of the rows in each member's data.
    pub(super) const fn member_sector(&self) -> u64 {
        self.first
    }

    pub(super) const fn sectors(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    pub(super) const fn bytes(&self) -> usize {
        (self.sectors() * SECTOR_BYTES) as usize
    }

    pub(super) const fn is_write(&self) -> bool {
        matches!(self.work, Work::Write { .. })
    }

    /// Whether it changes what members hold, and has not begun to.
    const fn is_new_write(&self) -> bool {
        matches!(
            self.work,
            Work::Write { phase: WritePhase::New, .. } | Work::Discard { gated: false, .. }
        )
    }

    /// The requests a band serves.
    pub(super) fn ops(&self) -> Vec<Key> {
        match &self.work {
            Work::Read { op, .. } | Work::Discard { op, .. } => vec![*op],
            Work::Write { parts, .. } => parts.iter().map(|part| part.op).collect(),
        }
    }
}

impl<X: Defects> Array<X> {
    pub(super) fn parity(&self) -> &crate::layout::Parity {
        let Layout::Parity(parity) = &self.layout else { unreachable!("a parity level") };
        parity
    }

    pub(super) fn roles(&self, stripe: u64) -> Roles {
        let ahead = u64::from(self.defects.has(Defect::ParityRotationOffByOne));
        self.parity().stripe(stripe + ahead)
    }

    /// Starts the read of rows of one data member.
    pub(super) fn read_band(
        &mut self,
        op: Key,
        (stripe, d): (u64, u32),
        rows: Range<u64>,
        at: usize,
    ) {
        let bytes = (rows.end - rows.start) * SECTOR_BYTES;
        let share = if self.is_degraded() { u64::from(self.parity().members()) } else { 1 };
        self.reserved += bytes * share;
        let work = Work::Read { op, d, at, phase: ReadPhase::Direct };
        let start = stripe * u64::from(self.parity().chunk_sectors());
        let range = start + rows.start..start + rows.end;
        let key = self.bands.insert(Band::new(stripe, rows, work, bytes * share));
        self.lock(range.start, range.end, Mode::Shared, Unit::Band(key));
    }

    pub(super) fn run_band(&mut self, key: Key) {
        if self.bands[key].is_new_write() && !self.log_lets(Unit::Band(key)) {
            return;
        }
        let chunk = u64::from(self.parity().chunk_sectors());
        let band = &mut self.bands[key];
        band.first = band.stripe * chunk + band.rows.start;
        let (first, end) = (band.first, band.first + band.sectors());
        match &mut band.work {
            Work::Read { d, phase: ReadPhase::Direct, .. } => {
                let d = *d;
                self.read_direct(key, d);
            }
            Work::Read { .. } => self.rebuild_read(key),
            Work::Discard { gated, .. } => {
                let passed = std::mem::replace(gated, true);
                if passed || self.pass_gate(Unit::Band(key), first, end) {
                    self.discard_stripe(key);
                }
            }
            Work::Write { phase, .. } => match phase {
                WritePhase::New => {
                    *phase = WritePhase::Gated;
                    if self.pass_gate(Unit::Band(key), first, end) {
                        self.plan_band(key);
                    }
                }
                WritePhase::Gated | WritePhase::Reading => self.plan_band(key),
                WritePhase::Writing => unreachable!("a writing band waits for its members only"),
            },
        }
    }

    /// What is known of each slot in a band's rows.
    pub(super) fn views(&self, key: Key) -> Vec<SlotView> {
        let band = &self.bands[key];
        let rows = band.first..band.first + band.sectors();
        let stained = self.stained.first_overlap(rows).is_some();
        let roles = self.roles(band.stripe);
        let view = |slot: usize| {
            // What was read under the lock is true also when its member has failed since.
            let held = band.cells.get(slot).is_some_and(|cell| cell.buf.is_some());
            let Some(member) = self.member_on(slot as u32) else {
                return SlotView { readable: held, writable: false };
            };
            let member = &self.members[member];
            let unread =
                band.cells.get(slot).is_some_and(|cell| matches!(cell.state, CellState::Unread(_)));
            // Parity that is known to be wrong must not stand in for data.
            let wrong = stained && roles.data_index(slot as u32).is_none();
            let there = !unread && !wrong && member.can_read(band.first, band.sectors());
            SlotView { readable: held || there, writable: member.is_writable() }
        };
        (0..self.slots.len()).map(view).collect()
    }

    fn read_direct(&mut self, key: Key, d: u32) {
        let band = &self.bands[key];
        let (first, sectors, bytes) = (band.first, band.sectors(), band.bytes());
        let slot = self.roles(band.stripe).data_slot(d);
        let Some(member) = self.member_on(slot) else {
            return self.rebuild_read(key);
        };
        if !self.members[member].can_read(first, sectors) {
            return self.rebuild_read(key);
        }
        let Work::Read { op, .. } = self.bands[key].work else { unreachable!("a read") };
        let op = &mut self.ops[op];
        let Kind::Read(buf) = &mut op.kind else { unreachable!("a read has a buffer") };
        let buf = match buf.len() == bytes {
            true => std::mem::replace(buf, Buf::zeroed(0)),
            false => Buf::zeroed(bytes),
        };
        self.bands[key].left = 1;
        self.read_leg(member, first, buf, Leg::Band(key, slot));
    }

    /// The member itself cannot give the rows: read what they can be recovered from.
    fn rebuild_read(&mut self, key: Key) {
        self.make_cells(key);
        let band = &mut self.bands[key];
        let Work::Read { op, phase, .. } = &mut band.work else { unreachable!("a read") };
        *phase = ReadPhase::Rebuild;
        let op = *op;
        self.restore_buffer(op);
        let roles = self.roles(self.bands[key].stripe);
        let k = self.parity().data_members();
        if self.parity_could_spoil(key) {
            return self.shatter_band(key);
        }
        match rebuild_reads(&roles, k, &self.views(key)) {
            Some(reads) => {
                if self.read_cells(key, &reads) {
                    self.recovered_read(key);
                }
            }
            None if self.ask_again(key) => self.rebuild_read(key),
            None if self.can_shatter(key) => self.shatter_band(key),
            None => self.fail_band(key),
        }
    }

    /// Members that were too slow are asked again, and waited for; those with a read error, if
    /// somebody has healed one meanwhile; and whoever has taken a slot over since its member failed.
    /// False if there are none.
    fn ask_again(&mut self, key: Key) -> bool {
        let band = &mut self.bands[key];
        let healed = std::mem::replace(&mut band.heals, self.heals) < self.heals;
        let patient = self.config.member_deadline.is_some() && !band.patient;
        band.patient |= patient;
        let mut any = false;
        for (cell, slot) in band.cells.iter_mut().zip(&self.slots) {
            let again = match cell.state {
                CellState::Unread(_) if slot.is_some() && *slot != cell.failed_by => true,
                CellState::Unread(Fault::Timeout) => patient,
                CellState::Unread(Fault::Medium | Fault::Corrupt) => healed,
                _ => false,
            };
            if again {
                (cell.state, any) = (CellState::Idle, true);
            }
        }
        any
    }

    /// Where parity is not to be trusted, rows that can still be read must not be recovered from it
    /// (and written over) for the sake of a bad sector next to them.
    fn parity_could_spoil(&self, key: Key) -> bool {
        let band = &self.bands[key];
        !self.trusted(band.first, band.first + band.sectors()) && self.can_shatter(key)
    }

    /// A request whose buffer is with a member that will not use it well gets another.
    fn restore_buffer(&mut self, op: Key) {
        let op = &mut self.ops[op];
        let bytes = Self::bytes_of(op.sectors);
        if let Kind::Read(buf) = &mut op.kind
            && buf.len() != bytes
        {
            *buf = Buf::zeroed(bytes);
        }
    }

    pub(super) fn make_cells(&mut self, key: Key) {
        let slots = self.slots.len();
        let band = &mut self.bands[key];
        if band.cells.is_empty() {
            band.cells.resize_with(slots, Cell::default);
        }
    }

    /// Reads those of the slots that are not there yet; true when all are.
    fn read_cells(&mut self, key: Key, reads: &[u32]) -> bool {
        let (first, bytes) = (self.bands[key].first, self.bands[key].bytes());
        for &slot in reads {
            let cell = &mut self.bands[key].cells[slot as usize];
            if cell.buf.is_some() {
                continue;
            }
            cell.state = CellState::Flying;
            self.bands[key].left += 1;
            let member = self.member_on(slot).expect("readable slots have a member");
            self.read_leg(member, first, Buf::zeroed(bytes), Leg::Band(key, slot));
        }
        self.bands[key].left == 0
    }

    /// Whether a late member's share can be had from the others. Where parity is in doubt it cannot:
    /// what would be computed from it is nobody's data.
    pub(super) fn band_has_alternative(&self, key: Key, slot: u32) -> bool {
        let band = &self.bands[key];
        if !self.trusted(band.first, band.first + band.sectors()) {
            return false;
        }
        let mut views = self.views(key);
        views[slot as usize].readable = false;
        let roles = self.roles(self.bands[key].stripe);
        rebuild_reads(&roles, self.parity().data_members(), &views).is_some()
    }

    pub(super) fn band_read(
        &mut self,
        key: Key,
        slot: u32,
        member: usize,
        result: Result<Buf, Fault>,
    ) {
        self.bands[key].left -= 1;
        if let Work::Read { op, at, phase: ReadPhase::Direct, .. } = self.bands[key].work {
            match result {
                Ok(buf) => {
                    self.deliver_band(op, at, buf);
                    return self.finish_band(key, Ok(()));
                }
                Err(fault) => {
                    self.make_cells(key);
                    self.bands[key].cells[slot as usize].is_unread(fault, member);
                }
            }
        } else {
            let cell = &mut self.bands[key].cells[slot as usize];
            match result {
                Ok(buf) => (cell.buf, cell.state) = (Some(buf), CellState::Idle),
                Err(fault) => cell.is_unread(fault, member),
            }
        }
        if self.bands[key].left == 0 {
            if let Work::Read { phase, .. } = &mut self.bands[key].work {
                *phase = ReadPhase::Rebuild;
            }
            self.ready.push_back(Unit::Band(key));
        }
    }

    pub(super) fn deliver_band(&mut self, op: Key, at: usize, from: Buf) {
        let op = &mut self.ops[op];
        let whole = Self::bytes_of(op.sectors);
        let Kind::Read(into) = &mut op.kind else { unreachable!("a read has a buffer") };
        if into.len() == whole {
            into.put(at, &from);
        } else {
            *into = from;
        }
    }

    /// Plans a write again with what is known now, and goes on with it.
    fn plan_band(&mut self, key: Key) {
        self.make_cells(key);
        let band = &mut self.bands[key];
        let (first, end, stripe) = (band.first, band.first + band.sectors(), band.stripe);
        let Work::Write { data, phase, .. } = &mut band.work else { unreachable!("a write") };
        *phase = WritePhase::Reading;
        let written: Vec<bool> = data.iter().map(Option::is_some).collect();
        if self.parity_could_spoil(key) {
            return self.shatter_band(key);
        }
        let (roles, k) = (self.roles(stripe), self.parity().data_members());
        let trusted = self.trusted(first, end);
        let views = self.views(key);
        let plan = plan_write(&roles, k, &views, &|d| written[d as usize], trusted);
        // Without parity to write, each written data member must be there itself.
        let holds = |how: How| {
            how != How::DataOnly
                || (0..k)
                    .all(|d| !written[d as usize] || views[roles.data_slot(d) as usize].writable)
        };
        match plan.filter(|plan| holds(plan.how)) {
            Some(plan) => {
                self.ways.count(&plan);
                if self.read_cells(key, &plan.reads) {
                    self.compute_band(key, plan.how);
                }
            }
            None if self.ask_again(key) => self.plan_band(key),
            None if self.can_shatter(key) => self.shatter_band(key),
            None => self.fail_band(key),
        }
    }

    /// The level has lost too much for these rows.
    fn fail_band(&mut self, key: Key) {
        let band = &self.bands[key];
        let write = band.is_write();
        let fault = band
            .cells
            .iter()
            .find_map(|cell| match cell.state {
                CellState::Unread(fault) => Some(fault),
                _ => None,
            })
            .unwrap_or_else(|| self.band_missing_fault(key));
        let views = self.views(key);
        let slots =
            (0..self.slots.len() as u32).filter(|&slot| !views[slot as usize].readable).collect();
        let (sector, sectors) = self.array_range(key);
        self.events.push_back(Event::RangeFailed { sector, sectors, write, fault, slots });
        if write {
            self.end_write_of(key);
        }
        self.finish_band(key, Err(fault));
    }

    fn band_missing_fault(&self, key: Key) -> Fault {
        let missing = (0..self.slots.len() as u32).filter(|&s| self.member_on(s).is_none()).count();
        let band = &self.bands[key];
        let rebuilt_past = |slot: u32| {
            self.member_on(slot).is_some_and(|member| {
                let member = &self.members[member];
                matches!(member.state, State::Rebuilding { done, .. } if band.first + band.sectors() > done)
            })
        };
        let rebuilding = (0..self.slots.len() as u32).filter(|&slot| rebuilt_past(slot)).count();
        let parity = self.parity().parity_members() as usize;
        if missing + rebuilding > parity { Fault::Gone } else { Fault::Medium }
    }

    /// The array range a band reads or writes; from its first to its last written member.
    pub(super) fn array_range(&self, key: Key) -> (u64, u64) {
        let band = &self.bands[key];
        let parity = self.parity();
        let at = |d: u32| parity.array_sector(band.stripe, d, band.rows.start);
        match &band.work {
            Work::Read { d, .. } => (at(*d), band.sectors()),
            Work::Discard { .. } => (at(0), band.sectors() * u64::from(parity.data_members())),
            Work::Write { data, .. } => {
                let written = |d: &u32| data[*d as usize].is_some();
                let all = 0..parity.data_members();
                let first = all.clone().find(written).unwrap_or(0);
                let last = all.rev().find(written).unwrap_or(0);
                (at(first), at(last) + band.sectors() - at(first))
            }
        }
    }

    /// There is no room to mark the region, so nothing is written.
    pub(super) fn refuse_band(&mut self, key: Key, fault: Fault) {
        let ((sector, sectors), slots) = (self.array_range(key), Vec::new());
        self.events.push_back(Event::RangeFailed { sector, sectors, write: true, fault, slots });
        self.end_write_of(key);
        self.finish_band(key, Err(fault));
    }

    pub(super) fn end_write_of(&mut self, key: Key) {
        let band = &self.bands[key];
        let (start, end) = (band.first, band.first + band.sectors());
        self.end_write(start, end);
    }

    pub(super) fn finish_band(&mut self, key: Key, result: Result<(), Fault>) {
        let band = self.bands.remove(key).expect("a band is finished once");
        self.release(band.lock.expect("a finished band had its lock"), band.reserved);
        if let Some(slot) = band.log {
            self.log_released(slot);
        }
        match band.work {
            Work::Read { op, .. } | Work::Discard { op, .. } => self.unit_done(op, result),
            Work::Write { parts, .. } => {
                let busy = self.busy.get_mut(&band.stripe).expect("a write keeps its stripe busy");
                *busy -= 1;
                if *busy == 0 {
                    self.busy.remove(&band.stripe);
                    self.dispatch(band.stripe);
                }
                for part in parts {
                    self.unit_done(part.op, result);
                }
            }
        }
    }

    pub(super) fn band_written(&mut self, key: Key, slot: u32, written: Written) {
        let (first, sectors) = (self.bands[key].first, self.bands[key].sectors());
        let band = &mut self.bands[key];
        band.left -= 1;
        let was_unread = matches!(band.cells[slot as usize].state, CellState::Unread(_));
        let ok = written == Written::Ok;
        band.cells[slot as usize].state = match written {
            Written::Ok => CellState::Written,
            Written::Bad(ranges) => CellState::Bad(ranges),
            Written::Failed(fault) => CellState::Unwritten(fault),
            Written::Full => CellState::Unwritten(Fault::Full),
        };
        if ok
            && was_unread
            && let Some(member) = self.member_on(slot)
        {
            self.corrected(member, first, sectors);
        }
        self.band_settled(key);
    }

    /// One that has nothing to say to the band but that it is done.
    pub(super) fn band_one_done(&mut self, key: Key) {
        self.bands[key].left -= 1;
        self.band_settled(key);
    }

    fn band_settled(&mut self, key: Key) {
        if self.bands[key].left == 0 {
            match self.bands[key].work {
                Work::Read { .. } => self.finish_band(key, Ok(())),
                Work::Write { .. } | Work::Discard { .. } => self.judge_band(key),
            }
        }
    }
}
