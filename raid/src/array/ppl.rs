//! The partial parity log while the array runs: what a stripe's write would take along if it were
//! cut off is on the stripe's parity member, durably, before data and parity are on their way.
//!
//! ```text
//!           ┌───────────────────────── nobody waits ─────────────────────────┐
//!           ▼                                                                │
//!  idle ─ somebody waits, nobody is covered ─► flushing ─► writing ─► data and parity go out
//!   ▲                                        (what was covered             (covered)
//!   └──────────────── the last one ended ──────────── is durable) ◄──────────┘
//! ```
//!
//! One such wheel turns for each slot, for the stripes whose parity lies there. What waits while it
//! turns goes into the next log together. Always true:
//!
//! 1. A band's data and parity are sent to members only when the log that counts on its parity member
//!    has its entry.
//! 2. A log is overwritten only when what it covered has ended *and is durable*. So whatever a crash
//!    leaves, the log that counts covers all that may be there in part, and a log that is itself there
//!    in part (*torn*) covers nothing that had begun.
//! 3. An entry's partial parity is the XOR of the data that the band leaves alone, the part of a
//!    missing member included, and the members it does write are neighbours: an entry is a range.
//! 4. Data of a stripe whose parity member is in sync changes in no other way. So carrying out an entry
//!    that was done long ago changes nothing.
//! 5. Where redundancy is not known good and no member is missing, a log would promise what is not true
//!    (a crash followed by the loss of a member would be taken for harmless). There the area is *void*:
//!    zeros, durably, before the array is marked dirty; and it becomes a log again when the resync is
//!    over and nothing unlogged is under way.
//!
//! Where parity is not written, or lies on a member that has yet to be rebuilt there, no log is
//! kept: all data of such a stripe is on its own members (`raid5-ppl.c ppl_write_stripe`).
//!
//! The first write of a run has every area zeroed and an empty log put into it: what is left of an
//! earlier one must not look like the continuation of ours (`ppl_write_empty_header`). In areas that
//! have room for two full logs they are written one behind the other, in a ring.
//!
//! Sources: Linux `raid5-ppl.c` (`ppl_log_stripe`, `ppl_submit_iounit`, `ppl_do_flush`,
//! `ppl_init_child_log`), `raid5.c` (`add_stripe_bio`).

use std::collections::{BTreeSet, VecDeque};

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::slab::Key;

use super::band::{CellState, Work};
use super::band_io::Update;
use super::leg::Owner;
use super::{Array, Defects, Member, State, Unit};
use crate::event::{Event, FailReason};
use crate::parity;
use crate::ppl::header::{HEADER_BYTES, MAX_ENTRIES, RING_BYTES, RING_LOG_BYTES};
use crate::ppl::{Entry, Header, signature};
use crate::superblock::Uuid;
use crate::sync::Action;

/// The logs of a running array.
#[derive(Debug)]
pub(crate) struct Logs {
    signature: u32,
    generation: u64,
    /// Bytes of partial parity that fit every member's log.
    room: u64,
    slots: Vec<SlotLog>,
    /// Members whose area holds nothing of an earlier run.
    fresh: BTreeSet<usize>,
    /// Nothing is written to any area before somebody wants to write to the array.
    woken: bool,
    /// Writes that have not begun because some area does not say yet what it should.
    held: Vec<Unit>,
}

/// The log of the stripes whose parity lies on one slot.
#[derive(Debug, Default)]
struct SlotLog {
    phase: Phase,
    /// What the area says: a log, or that there is none. Unknown before the first write.
    kept: Option<bool>,
    /// Where in the area the next log goes, in bytes.
    next: u64,
    waiting: VecDeque<Waiting>,
    /// Going into the log that is being written.
    batch: Vec<Waiting>,
    /// Bands that the log in force covers.
    covered: u32,
    /// Members that covered bands have written to.
    touched: BTreeSet<usize>,
    /// There was no room for the last attempt: not tried again until somebody asks.
    stuck: bool,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Flushing {
        left: u32,
    },
    Writing {
        left: u32,
        bytes: u64,
        log: bool,
    },
}

/// A band that goes on when its entry is in force.
#[derive(Debug)]
struct Waiting {
    band: Key,
    entry: Entry,
    partial: Buf,
    /// What to write then; none for a discard.
    updates: Option<(Vec<Update>, Durability)>,
}

impl Logs {
    pub(super) fn new(set: Uuid, slots: usize, members: &[Member], generation: u64) -> Self {
        let areas = members.iter().filter_map(area_bytes);
        let room = areas.map(room_for).min().unwrap_or(RING_LOG_BYTES);
        Self {
            signature: signature(set),
            generation,
            room,
            slots: std::iter::repeat_with(SlotLog::default).take(slots).collect(),
            fresh: BTreeSet::new(),
            woken: false,
            held: Vec::new(),
        }
    }

    /// Rows of a band, in sectors, whose partial parity fits a log.
    pub(super) const fn rows(&self) -> u64 {
        self.room / 512
    }

    /// A member leaves: what its area holds is not kept up to date any more.
    pub(super) fn forget(&mut self, member: usize) {
        self.fresh.remove(&member);
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.phase == Phase::Idle)
    }
}

/// Bytes of a member's area, in whole blocks.
fn area_bytes(member: &Member) -> Option<u64> {
    Some(u64::from(member.superblock.as_ref()?.ppl?.sectors) / 8 * 4096)
}

/// Bytes of partial parity that one log in an area may have.
const fn room_for(area: u64) -> u64 {
    match area {
        RING_BYTES.. => RING_LOG_BYTES,
        _ => area.saturating_sub(HEADER_BYTES as u64),
    }
}

impl<X: Defects> Array<X> {
    /// Whether the areas are to hold logs, rather than to say that there are none.
    fn keeps_logs(&self) -> bool {
        self.unsettled_from().is_none() || self.is_degraded()
    }

    /// Who holds a slot's log: its member, and the one that is to replace it.
    fn log_holders(&self, slot: u32) -> Vec<usize> {
        let Some(member) = self.member_on(slot) else { return Vec::new() };
        let twin = self.twins[slot as usize].filter(|&twin| self.members[twin].is_writable());
        let takes = |m: &usize| area_bytes(&self.members[*m]).is_some();
        std::iter::once(member).chain(twin).filter(takes).collect()
    }

    /// Whether a write may begin; otherwise it is run again when it may.
    pub(super) fn log_lets(&mut self, unit: Unit) -> bool {
        if self.logs.is_none() || self.logs_are_set() {
            return true;
        }
        let Some(logs) = &mut self.logs else { return true };
        logs.woken = true;
        logs.held.push(unit);
        logs.slots.iter_mut().for_each(|log| log.stuck = false);
        self.step_logs();
        false
    }

    /// Whether every area says what it should.
    fn logs_are_set(&self) -> bool {
        let keeps = self.keeps_logs();
        (0..self.slots.len() as u32).all(|slot| self.log_is_set(slot, keeps)) || self.broken
    }

    fn log_is_set(&self, slot: u32, keeps: bool) -> bool {
        let Some(logs) = &self.logs else { return true };
        let holders = self.log_holders(slot);
        let fresh = holders.iter().all(|member| logs.fresh.contains(member));
        holders.is_empty() || fresh && logs.slots[slot as usize].kept == Some(keeps)
    }

    /// Whether a recovery may go on: nothing old is left in the areas of those it fills.
    pub(super) fn logs_allow_recovery(&self) -> bool {
        let Some(logs) = &self.logs else { return true };
        (0..self.slots.len() as u32).all(|slot| {
            let stuck = logs.slots[slot as usize].stuck;
            stuck || self.log_holders(slot).iter().all(|member| logs.fresh.contains(member))
        })
    }

    /// Whether no log is being written or made ready for.
    pub(super) fn logs_are_idle(&self) -> bool {
        self.logs.as_ref().is_none_or(Logs::is_idle)
    }

    /// Sees to it that the areas say what they should.
    pub(super) fn step_logs(&mut self) {
        let recovers = self.action() == Some(Action::Recover);
        let Some(logs) = &mut self.logs else { return };
        if self.config.read_only {
            return;
        }
        logs.woken |= recovers;
        for slot in 0..self.slots.len() as u32 {
            self.step_log(slot);
        }
        if self.logs_are_set()
            && let Some(logs) = &mut self.logs
        {
            self.ready.extend(logs.held.drain(..));
        }
    }

    fn log_mut(&mut self, slot: u32) -> &mut SlotLog {
        &mut self.logs.as_mut().expect("the array has logs").slots[slot as usize]
    }

    /// A write has computed what goes to the members: into the log with it first, if it needs one.
    pub(super) fn log_and_write(&mut self, key: Key, updates: Vec<Update>, durability: Durability) {
        let p = self.roles(self.bands[key].stripe).p;
        let parity = updates.iter().find(|(slot, _)| *slot == p).map(|(_, parity)| parity);
        match parity {
            Some(parity) if self.wants_entry(key) => {
                let (entry, partial) = self.make_entry(key, parity);
                let updates = Some((updates, durability));
                self.log_wait(p, Waiting { band: key, entry, partial, updates });
            }
            _ => self.write_cells(key, updates, durability),
        }
    }

    /// A discard of a whole stripe: true if it waits for its entry, which goes on with it.
    pub(super) fn log_discard(&mut self, key: Key) -> bool {
        if !self.wants_entry(key) {
            return false;
        }
        let p = self.roles(self.bands[key].stripe).p;
        let (entry, partial) = self.make_entry(key, &Payload::zeroed(0));
        self.log_wait(p, Waiting { band: key, entry, partial, updates: None });
        true
    }

    /// Whether somebody keeps the parity of a band. Where it is only being rebuilt an entry is of no use
    /// yet, but a write that has none leaves those of earlier writes of its rows behind it, and they
    /// would be believed once the rebuild is over.
    fn wants_entry(&self, key: Key) -> bool {
        let band = &self.bands[key];
        let p = self.roles(band.stripe).p;
        let Some(member) = self.logs.as_ref().and_then(|_| self.log_holders(p).first().copied())
        else {
            return false;
        };
        matches!(self.members[member].state, State::InSync { .. } | State::Rebuilding { .. })
    }

    /// The entry of a band and the partial parity it comes with.
    fn make_entry(&self, key: Key, parity: &Payload) -> (Entry, Buf) {
        let band = &self.bands[key];
        let layout = self.parity();
        let k = layout.data_members();
        let (new, first): (Vec<&[u8]>, u32) = match &band.work {
            Work::Write { data, .. } => {
                let first = data.iter().position(Option::is_some).unwrap_or(0) as u32;
                (data.iter().flatten().map(|new| &**new).collect(), first)
            }
            _ => (Vec::new(), 0),
        };
        let whole = new.is_empty() || new.len() == k as usize;
        let partial = match whole {
            true => Buf::zeroed(0),
            false => {
                // What parity holds besides the new data is the data that stays.
                let mut partial = Buf::from_slice(parity);
                parity::xor_into(&mut partial, &new);
                partial
            }
        };
        let written = if whole { k } else { new.len() as u32 };
        let checksum = if whole { 0 } else { crc32c::crc32c(&partial) };
        let entry = Entry {
            data_sector: layout.array_sector(band.stripe, first, band.rows.start),
            partial_bytes: partial.len() as u32,
            data_bytes: band.bytes() as u32 * written,
            parity_slot: self.roles(band.stripe).p,
            checksum,
        };
        (entry, partial)
    }

    fn log_wait(&mut self, slot: u32, waiting: Waiting) {
        let log = self.log_mut(slot);
        log.stuck = false;
        log.waiting.push_back(waiting);
        self.step_log(slot);
    }

    /// Goes on with a slot's log if nothing it asked for is under way.
    fn step_log(&mut self, slot: u32) {
        let Some(logs) = self.logs.as_ref().filter(|logs| logs.woken) else { return };
        let log = &logs.slots[slot as usize];
        if log.phase != Phase::Idle {
            return;
        }
        self.let_go_unlogged(slot);
        let keeps = self.keeps_logs();
        let set = self.log_is_set(slot, keeps);
        let log = self.log_mut(slot);
        if set && !keeps {
            for waiting in std::mem::take(&mut log.waiting) {
                self.go(slot, waiting);
            }
            return;
        }
        if log.covered > 0 || set && log.waiting.is_empty() || log.stuck || self.broken {
            return;
        }
        self.flush_before_log(slot);
    }

    /// Bands that waited and need no log any more, since their parity member has gone; or that will
    /// not get one, since it could not be spared.
    fn let_go_unlogged(&mut self, slot: u32) {
        let broken = self.broken;
        for waiting in std::mem::take(&mut self.log_mut(slot).waiting) {
            match () {
                () if broken => self.refuse_band(waiting.band, Fault::Gone),
                () if self.wants_entry(waiting.band) => {
                    self.log_mut(slot).waiting.push_back(waiting);
                }
                () => self.go_on(waiting),
            }
        }
    }

    /// What the log in force covered must be durable before it is overwritten.
    fn flush_before_log(&mut self, slot: u32) {
        let all = self.log_mut(slot).kept.is_none();
        let touched = std::mem::take(&mut self.log_mut(slot).touched);
        let targets: Vec<usize> = (0..self.members.len())
            .filter(|member| all || touched.contains(member))
            .filter(|&member| self.members[member].is_writable())
            .filter(|&member| self.members[member].needs_flush())
            .collect();
        if targets.is_empty() {
            return self.write_log(slot);
        }
        let log = self.log_mut(slot);
        log.phase = Phase::Flushing { left: targets.len() as u32 };
        for member in targets {
            self.members[member].unflushed = false;
            self.issue(member, 0, Op::Flush, Owner::Log(slot));
        }
    }

    /// Writes a log of what waits, as far as it has room; or zeros where none is kept.
    fn write_log(&mut self, slot: u32) {
        let keeps = self.keeps_logs();
        let holders = self.log_holders(slot);
        let logs = self.logs.as_mut().expect("the array has logs");
        let log = &mut logs.slots[slot as usize];
        log.phase = Phase::Idle;
        if holders.is_empty() {
            log.kept = None;
            return self.step_log(slot);
        }
        let mut header = Header { generation: 0, entries: Vec::new() };
        let mut bytes = vec![0; HEADER_BYTES];
        if keeps {
            while let Some(next) = log.waiting.front() {
                let len = (bytes.len() - HEADER_BYTES + next.partial.len()) as u64;
                debug_assert!(next.partial.len() as u64 <= logs.room, "bands are cut to fit");
                if len > logs.room || header.entries.len() == MAX_ENTRIES as usize {
                    break;
                }
                let next = log.waiting.pop_front().expect("just seen");
                header.entries.push(next.entry);
                bytes.extend_from_slice(&next.partial);
                log.batch.push(next);
            }
            logs.generation += 1;
            header.generation = logs.generation;
            bytes[..HEADER_BYTES].copy_from_slice(&header.emit(logs.signature));
        }
        let areas = holders.iter().filter_map(|&member| area_bytes(&self.members[member]));
        let area = areas.min().unwrap_or(0);
        let renew = log.kept.is_none() || holders.iter().any(|m| !logs.fresh.contains(m));
        let fits = area >= RING_BYTES && log.next + bytes.len() as u64 <= area;
        if renew || !keeps || !fits {
            log.next = 0;
        }
        let at = log.next;
        let left = holders.len() as u32;
        log.phase = Phase::Writing { left, bytes: bytes.len() as u64, log: keeps };
        for member in holders {
            let mut bytes = bytes.clone();
            if renew || !keeps {
                bytes.resize(area_bytes(&self.members[member]).unwrap_or(0) as usize, 0);
            }
            let start = self.members[member].superblock().ppl_sector().expect("it has an area");
            let op = Op::Write(Payload::from_slice(&bytes), Durability::Fua);
            self.issue(member, start + at / 512, op, Owner::Log(slot));
        }
    }

    /// A member has answered what its slot's log asked for.
    pub(super) fn log_answered(&mut self, slot: u32, member: usize, result: Result<(), Fault>) {
        match self.log_mut(slot).phase {
            Phase::Idle => unreachable!("nobody asked"),
            Phase::Flushing { left } => {
                if let Err(fault) = result {
                    self.log_flush_failed(slot, member, fault);
                }
                self.log_mut(slot).phase = Phase::Flushing { left: left - 1 };
                if left == 1 {
                    self.log_is_flushed(slot);
                }
            }
            Phase::Writing { left, bytes, log } => {
                match result {
                    Ok(()) => {
                        let logs = self.logs.as_mut().expect("the array has logs");
                        logs.fresh.insert(member);
                    }
                    Err(fault) => self.log_write_failed(slot, member, fault),
                }
                self.log_mut(slot).phase = Phase::Writing { left: left - 1, bytes, log };
                if left == 1 {
                    self.log_is_written(slot, bytes, log);
                }
            }
        }
    }

    fn log_flush_failed(&mut self, slot: u32, member: usize, fault: Fault) {
        self.members[member].unflushed = true;
        self.log_mut(slot).touched.insert(member);
        if fault == Fault::Full {
            self.cannot_flush(member);
        } else if self.fail(member, FailReason::Flush(fault)) {
            return;
        }
        self.log_mut(slot).fault.get_or_insert(fault);
    }

    fn log_write_failed(&mut self, slot: u32, member: usize, fault: Fault) {
        let logs = self.logs.as_mut().expect("the array has logs");
        // Part of it may be there.
        logs.fresh.remove(&member);
        let serves = matches!(self.members[member].state, State::InSync { .. });
        if fault == Fault::Full && serves {
            self.events.push_back(Event::NoSpace { member, sector: 0, sectors: 0 });
        } else if self.fail(member, FailReason::Metadata(fault)) {
            return;
        }
        self.log_mut(slot).fault.get_or_insert(fault);
    }

    fn log_is_flushed(&mut self, slot: u32) {
        let log = self.log_mut(slot);
        log.phase = Phase::Idle;
        match log.fault.take() {
            None => self.write_log(slot),
            Some(fault) => {
                log.batch = std::mem::take(&mut log.waiting).into();
                self.log_refused(slot, fault);
            }
        }
    }

    fn log_is_written(&mut self, slot: u32, bytes: u64, kept: bool) {
        let log = self.log_mut(slot);
        log.phase = Phase::Idle;
        if let Some(fault) = log.fault.take() {
            return self.log_refused(slot, fault);
        }
        log.kept = Some(kept);
        // Where there was none, the first begins at the beginning.
        log.next = if kept { log.next + bytes } else { 0 };
        for waiting in std::mem::take(&mut log.batch) {
            self.go(slot, waiting);
        }
        self.step_logs();
    }

    /// No log, no write.
    fn log_refused(&mut self, slot: u32, fault: Fault) {
        let log = self.log_mut(slot);
        (log.stuck, log.kept) = (true, log.kept.filter(|_| false));
        // Those that came meanwhile, too: nobody would wake them.
        let refused: Vec<Unit> = std::mem::take(&mut log.batch)
            .into_iter()
            .chain(std::mem::take(&mut log.waiting))
            .map(|waiting| Unit::Band(waiting.band))
            .chain(std::mem::take(&mut self.logs.as_mut().expect("the array has logs").held))
            .collect();
        for unit in refused {
            self.refuse(unit, fault);
        }
    }

    /// A band goes on, covered by what its slot's area says now.
    fn go(&mut self, slot: u32, waiting: Waiting) {
        self.bands[waiting.band].log = Some(slot);
        let roles = self.roles(self.bands[waiting.band].stripe);
        let updates = waiting.updates.as_ref().map(|(updates, _)| updates);
        let written = |slot: u32| match updates {
            Some(updates) => updates.iter().any(|(other, _)| *other == slot),
            None => true,
        };
        debug_assert_eq!(roles.p, slot, "the log of a stripe lies with its parity");
        let touched: Vec<usize> = (0..self.slots.len() as u32)
            .filter(|slot| written(*slot))
            .filter_map(|slot| self.member_on(slot))
            .collect();
        let log = self.log_mut(slot);
        log.covered += 1;
        log.touched.extend(touched);
        self.go_on(waiting);
    }

    fn go_on(&mut self, waiting: Waiting) {
        let Some((updates, durability)) = waiting.updates else {
            return self.discard_members(waiting.band);
        };
        // Members may have gone while it waited.
        let (there, gone): (Vec<Update>, Vec<Update>) =
            updates.into_iter().partition(|(slot, _)| self.member_on(*slot).is_some());
        for (slot, _) in gone {
            let cell = &mut self.bands[waiting.band].cells[slot as usize];
            cell.state = CellState::Unwritten(Fault::Gone);
        }
        match there.is_empty() {
            true => self.judge_band(waiting.band),
            false => self.write_cells(waiting.band, there, durability),
        }
    }

    /// A band that a log covers has ended.
    pub(super) fn log_released(&mut self, slot: u32) {
        self.log_mut(slot).covered -= 1;
        self.step_log(slot);
    }
}
