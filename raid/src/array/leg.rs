//! One member's part in a unit: reading a leg, writing a leg, and what a failure means.
//!
//! A failed *write* of several blocks is narrowed: each block is written again by itself, and the
//! ones that fail enter the member's bad-block log (`raid1.c narrow_write_error`). A member whose
//! log cannot take them fails. A *full* device never fails: it is somebody's file system that ran
//! out of room.

use std::ops::Range;

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::{Array, Defects, Io, State, Unit};
use crate::defects::Defect;
use crate::event::{Event, FailReason};

/// Who waits for a member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A unit's leg.
    Leg(Leg),
    /// A block of a failed write, tried by itself.
    Narrow(Key),
    /// A request to flush the array.
    Flush(Key),
    /// The metadata update.
    Meta,
    /// The bitmap's writer.
    Intent,
    /// The partial parity log of a slot.
    Log(u32),
    /// A log left by an unclean stop, being carried out.
    Replay,
}

/// A leg of a unit: which copy of a piece, which slot of a band or window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    /// Copy number.
    Piece(Key, u32),
    /// Slot.
    Band(Key, u32),
    /// Slot.
    Window(Key, u32),
    /// What a unit writes to a member that is to replace the one it wrote the same to. The unit
    /// waits for it and asks no more: a replacement that does not take a write is given up.
    Twin(Unit),
}

/// A change to a member's data. Sectors are counted by the payload or here.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(Payload, Durability),
    Zero(u64),
    Discard(u64),
}

impl Change {
    fn into_op(self) -> Op {
        match self {
            Self::Write(data, durability) => Op::Write(data, durability),
            Self::Zero(sectors) => Op::Zero(sectors),
            Self::Discard(sectors) => Op::Discard(sectors),
        }
    }
}

/// How the write of a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it is there.
    Ok,
    /// These device sectors are not, and are recorded as bad; the rest is.
    Bad(Vec<Range<u64>>),
    /// Nothing is known; the member failed, or could not be failed.
    Failed(Fault),
    /// The member had no room.
    Full,
}

/// A failed write being tried again block by block.
#[derive(Debug)]
pub(super) struct Narrow {
    leg: Leg,
    member: usize,
    /// Device sector of the whole write.
    sector: u64,
    data: Payload,
    durability: Durability,
    /// Bytes tried.
    tried: usize,
    bad: Vec<Range<u64>>,
}

impl<X: Defects> Array<X> {
    /// Reads `sectors` of a slot's member from its data sector `sector`.
    pub(super) fn read_leg(&mut self, member: usize, sector: u64, buf: Buf, leg: Leg) {
        let hasty = self.defects.has(Defect::ReplacementReadEarly);
        let member = self.twin_of(member).filter(|_| hasty).unwrap_or(member);
        let at = self.members[member].data_offset() + sector;
        let key = self.issue(member, at, Op::Read(buf), Owner::Leg(leg));
        let patient = match leg {
            Leg::Piece(piece, _) => self.piece_is_patient(piece),
            Leg::Band(band, _) => self.bands[band].patient,
            Leg::Window(window, _) => self.windows[window].patient,
            Leg::Twin(_) => unreachable!("a replacement is never read"),
        };
        if let Some(at) = self.ios[key].deadline.filter(|_| patient) {
            self.deadlines.clear(at, key);
        }
    }

    /// Writes a slot's member at its data sector `sector`, and the one that is to replace it.
    pub(super) fn write_leg(
        &mut self,
        member: usize,
        sector: u64,
        data: Payload,
        durability: Durability,
        leg: Leg,
    ) {
        self.change_leg(member, sector, Change::Write(data, durability), leg);
    }

    /// Changes what a slot's member holds from its data sector `sector` on, and the one that is to
    /// replace it.
    pub(super) fn change_leg(&mut self, member: usize, sector: u64, change: Change, leg: Leg) {
        let twin = self.twin_of(member);
        if let Some(twin) = twin.filter(|_| !self.defects.has(Defect::ReplacementMissesWrites)) {
            let unit = match leg {
                Leg::Piece(key, _) => Unit::Piece(key),
                Leg::Band(key, _) => Unit::Band(key),
                Leg::Window(key, _) => Unit::Window(key),
                Leg::Twin(_) => unreachable!("a replacement has none itself"),
            };
            match unit {
                Unit::Piece(key) => self.piece_waits_for_one_more(key),
                Unit::Band(key) => self.bands[key].left += 1,
                Unit::Window(key) => self.windows[key].left += 1,
            }
            self.change_twin(twin, sector, change.clone(), unit);
        }
        self.change_one(member, sector, change, leg);
    }

    /// Changes what one member holds, and nobody else.
    pub(super) fn change_one(&mut self, member: usize, sector: u64, change: Change, leg: Leg) {
        let at = self.members[member].data_offset() + sector;
        self.issue(member, at, change.into_op(), Owner::Leg(leg));
    }

    /// Changes what a replacement holds; the unit counts on an answer.
    pub(super) fn change_twin(&mut self, twin: usize, sector: u64, change: Change, unit: Unit) {
        let at = self.members[twin].data_offset() + sector;
        self.issue(twin, at, change.into_op(), Owner::Leg(Leg::Twin(unit)));
    }

    /// A member has answered.
    pub(super) fn answered(&mut self, io: Io, op: Op, result: Result<(), Fault>) {
        match io.owner {
            Owner::Leg(Leg::Twin(unit)) => self.twin_answered(&io, unit, &op, result),
            Owner::Leg(leg) => match op {
                Op::Read(buf) => {
                    let buf = self.patched(io.member, io.sector, buf);
                    self.leg_read(io.member, leg, result.map(|()| buf));
                }
                op => self.leg_write_answered(&io, leg, op, result),
            },
            Owner::Narrow(key) => self.narrow_answered(key, result),
            Owner::Flush(key) => self.flushed(key, io.member, result),
            Owner::Meta => self.meta_answered(io.member, result),
            Owner::Intent => self.intent_answered(io.member, result),
            Owner::Log(slot) => self.log_answered(slot, io.member, result),
            Owner::Replay => self.replay_answered(io.member, op, result),
        }
    }

    /// Counts a failed read against its member, then tells the unit.
    fn leg_read(&mut self, member: usize, leg: Leg, result: Result<Buf, Fault>) {
        if let Err(fault) = result {
            match fault {
                Fault::Medium | Fault::Corrupt if self.is_fragment(leg) => {}
                Fault::Medium | Fault::Corrupt => {
                    let limit = self.config.max_read_errors;
                    let now = self.now;
                    if self.members[member].count_read_error(now, limit) {
                        self.fail(member, FailReason::TooManyReadErrors);
                    }
                }
                Fault::Full | Fault::Timeout if self.deadline_read(fault) => {}
                _ => {
                    self.fail(member, FailReason::Read(fault));
                }
            }
        }
        self.leg_was_read(member, leg, result);
    }

    /// Whether what is read is part of a block that failed as a whole: one error, not many.
    fn is_fragment(&self, leg: Leg) -> bool {
        match leg {
            Leg::Piece(key, _) => self.piece_is_fragment(key),
            Leg::Band(key, _) => self.bands[key].fragment,
            Leg::Window(key, _) => self.windows[key].fragment,
            Leg::Twin(_) => false,
        }
    }

    /// With a deadline set, a read that took too long says nothing about the member's health.
    const fn deadline_read(&self, fault: Fault) -> bool {
        matches!(fault, Fault::Full)
            || (matches!(fault, Fault::Timeout) && self.config.member_deadline.is_some())
    }

    fn leg_was_read(&mut self, member: usize, leg: Leg, result: Result<Buf, Fault>) {
        match leg {
            Leg::Piece(key, copy) => self.piece_read(key, copy, member, result),
            Leg::Band(key, slot) => self.band_read(key, slot, member, result),
            Leg::Window(key, slot) => self.window_read(key, slot, member, result),
            Leg::Twin(_) => unreachable!("a replacement is never read"),
        }
    }

    pub(super) fn leg_written(&mut self, member: usize, leg: Leg, written: Written) {
        match leg {
            Leg::Piece(key, copy) => self.piece_written(key, copy, member, written),
            Leg::Band(key, slot) => self.band_written(key, slot, written),
            Leg::Window(key, slot) => self.window_written(key, slot, written),
            Leg::Twin(unit) => self.one_answered(unit),
        }
    }

    fn leg_write_answered(&mut self, io: &Io, leg: Leg, op: Op, result: Result<(), Fault>) {
        let (member, sector, sectors) = (io.member, io.sector, op.sectors());
        let fault = match result {
            Ok(()) => {
                self.mended(member, sector, sectors);
                return self.leg_written(member, leg, Written::Ok);
            }
            Err(fault) => fault,
        };
        // A range that cannot be zeroed, or forgotten, as a whole is written with zeros, block by
        // block: only members that promise zeros are asked to forget.
        let op = match (fault, op) {
            (Fault::Medium | Fault::Corrupt | Fault::Refused, Op::Zero(_))
            | (Fault::Medium | Fault::Corrupt, Op::Discard(_)) => {
                let zeros = Payload::zeroed(Self::bytes_of(sectors));
                return self.narrow(member, sector, leg, zeros, Durability::Cached);
            }
            (_, op) => op,
        };
        match (fault, op) {
            (Fault::Medium | Fault::Corrupt, Op::Write(data, durability)) => {
                self.narrow(member, sector, leg, data, durability);
            }
            (Fault::Full, _) => {
                self.events.push_back(Event::NoSpace { member, sector, sectors });
                self.leg_written(member, leg, Written::Full);
            }
            (Fault::Refused, Op::Discard(_)) => self.leg_written(member, leg, Written::Ok),
            _ if self.defects.has(Defect::WriteErrorSwallowed) => {
                self.leg_written(member, leg, Written::Ok);
            }
            (fault, _) => {
                self.fail(member, FailReason::Write(fault));
                self.leg_written(member, leg, Written::Failed(fault));
            }
        }
    }

    /// Writes block by block what could not be written as a whole.
    fn narrow(
        &mut self,
        member: usize,
        sector: u64,
        leg: Leg,
        data: Payload,
        durability: Durability,
    ) {
        let block = self.members[member].geometry.block_bytes as usize;
        if data.len() <= block {
            let sectors = data.len() as u64 / SECTOR_BYTES;
            let whole = sector..sector + sectors;
            return self.narrowed(member, leg, std::iter::once(whole).collect());
        }
        let (tried, bad) = (0, Vec::new());
        let narrow = Narrow { leg, member, sector, data, durability, tried, bad };
        let key = self.narrows.insert(narrow);
        self.narrow_next(key);
    }

    fn narrow_next(&mut self, key: Key) {
        let narrow = &self.narrows[key];
        let member = narrow.member;
        let block = self.members[member].geometry.block_bytes as usize;
        let part = narrow.data.slice(narrow.tried..(narrow.tried + block).min(narrow.data.len()));
        let at = narrow.sector + narrow.tried as u64 / SECTOR_BYTES;
        let durability = narrow.durability;
        self.issue(member, at, Op::Write(part, durability), Owner::Narrow(key));
    }

    fn narrow_answered(&mut self, key: Key, result: Result<(), Fault>) {
        let narrow = &mut self.narrows[key];
        let block = self.members[narrow.member].geometry.block_bytes as usize;
        let from = narrow.sector + narrow.tried as u64 / SECTOR_BYTES;
        narrow.tried = (narrow.tried + block).min(narrow.data.len());
        let until = narrow.sector + narrow.tried as u64 / SECTOR_BYTES;
        let member = narrow.member;
        match result {
            Ok(()) => self.mended(member, from, until - from),
            Err(Fault::Medium | Fault::Corrupt) => match narrow.bad.last_mut() {
                Some(last) if last.end == from => last.end = until,
                _ => narrow.bad.push(from..until),
            },
            Err(fault) => {
                let narrow = self.narrows.remove(key).expect("just seen");
                if fault == Fault::Full {
                    let (sector, sectors) = (from, until - from);
                    self.events.push_back(Event::NoSpace {
                        member: narrow.member,
                        sector,
                        sectors,
                    });
                    return self.leg_written(narrow.member, narrow.leg, Written::Full);
                }
                self.fail(narrow.member, FailReason::Write(fault));
                return self.leg_written(narrow.member, narrow.leg, Written::Failed(fault));
            }
        }
        let narrow = &self.narrows[key];
        if narrow.tried < narrow.data.len() {
            return self.narrow_next(key);
        }
        let narrow = self.narrows.remove(key).expect("just seen");
        self.narrowed(narrow.member, narrow.leg, narrow.bad);
    }

    /// The blocks of a write that failed are known: record them, or fail the member.
    fn narrowed(&mut self, member: usize, leg: Leg, bad: Vec<Range<u64>>) {
        if bad.is_empty() {
            return self.leg_written(member, leg, Written::Ok);
        }
        for range in &bad {
            if !self.record_bad(member, range.clone()) {
                self.fail(member, FailReason::Write(Fault::Medium));
                return self.leg_written(member, leg, Written::Failed(Fault::Medium));
            }
        }
        self.leg_written(member, leg, Written::Bad(bad));
    }

    /// Records device sectors as bad and asks for the metadata that says so.
    pub(super) fn record_bad(&mut self, member: usize, range: Range<u64>) -> bool {
        let recorded = self.list_bad(member, range);
        self.members[member].log_awaited |= recorded;
        recorded
    }

    /// Records device sectors that missed a write as bad. The caller of a write for which there was
    /// no room is told so, and nothing depends on the log then: a full device may keep an old one.
    pub(super) fn record_missed(&mut self, member: usize, range: Range<u64>, fault: Fault) -> bool {
        match fault {
            Fault::Full => self.list_bad(member, range),
            _ => self.record_bad(member, range),
        }
    }

    fn list_bad(&mut self, member: usize, range: Range<u64>) -> bool {
        let (sector, sectors) = (range.start, range.end - range.start);
        if self.defects.has(Defect::BadBlocksNotRecorded) {
            return true;
        }
        if self.config.read_only || !self.members[member].record_bad(range) {
            return false;
        }
        self.events.push_back(Event::BadBlocks { member, sector, sectors });
        self.meta.request();
        true
    }

    /// Device sectors were written: what was bad there is good now.
    pub(super) fn mended(&mut self, member: usize, sector: u64, sectors: u64) {
        if self.members[member].clear_bad(sector..sector + sectors) {
            self.meta.request();
        }
    }

    /// A read error was healed by rewriting.
    pub(super) fn corrected(&mut self, member: usize, sector: u64, sectors: u64) {
        let at = self.members[member].data_offset() + sector;
        self.heals += 1;
        let superblock = self.members[member].superblock_mut();
        superblock.corrected_reads = superblock.corrected_reads.saturating_add(1);
        self.events.push_back(Event::ReadCorrected { member, sector: at, sectors });
    }

    /// Takes a member out of service. False if it cannot be spared: then its metadata and that of
    /// the others stay as they are, and a device that does not answer any more counts as lost.
    pub(super) fn fail(&mut self, member: usize, reason: FailReason) -> bool {
        let device = &self.members[member];
        if matches!(device.state, State::Faulty { .. }) {
            return true;
        }
        if device.lost {
            return false;
        }
        let slot = device.slot();
        if let State::InSync { slot } = device.state {
            let mut present = self.present();
            present[slot as usize] = false;
            if !self.layout.survives(&present) {
                self.cannot_spare(member, slot, reason);
                return false;
            }
        }
        let device = &mut self.members[member];
        device.state = State::Faulty { slot };
        device.why = Some(format!("failed: {reason}"));
        let dev_number = device.superblock.as_ref().map(|sb| sb.dev_number);
        if let Some(number) = dev_number {
            self.set_role(number, crate::superblock::Role::Faulty);
        }
        self.events.push_back(Event::MemberFailed { member, slot, reason });
        if let Some(slot) = slot {
            self.vacate(slot, member);
        }
        self.meta.request_failure();
        self.pass_lost_member();
        true
    }

    fn cannot_spare(&mut self, member: usize, slot: u32, reason: FailReason) {
        use FailReason::{
            Deadline, Flush, Gone, Metadata, Read, Requested, TooManyReadErrors, Unlisted, Write,
        };
        let gone = match reason {
            Requested | TooManyReadErrors | Deadline | Unlisted => false,
            Gone => true,
            Write(fault) | Read(fault) | Flush(fault) | Metadata(fault) => {
                matches!(fault, Fault::Gone | Fault::Transport | Fault::Timeout)
            }
        };
        if !gone {
            return;
        }
        self.members[member].lost = true;
        self.events.push_back(Event::MemberLost { member, slot, reason });
        self.break_array();
    }

    /// A request took longer than the deadline.
    pub(super) fn missed_deadline(&mut self, key: Key) {
        let Some(io) = self.ios.get_mut(key) else {
            return;
        };
        io.deadline = None;
        let (member, is_read, owner) = (io.member, io.is_read, io.owner);
        self.members[member].slow += 1;
        self.events.push_back(Event::MemberSlow { member });
        if is_read {
            let Owner::Leg(leg) = owner else { return };
            if self.has_alternative(leg, member) {
                self.ios.remove(key);
                self.leg_was_read(member, leg, Err(Fault::Timeout));
            }
        } else if let Owner::Leg(leg) = owner
            && self.defects.has(Defect::LateWriteTakenForDone)
        {
            self.ios.remove(key);
            self.leg_written(member, leg, Written::Ok);
        } else if self.config.late_write == crate::config::LateWrite::FailMember
            && self.fail(member, FailReason::Deadline)
        {
            self.give_up(member);
        }
    }

    /// Nothing sent to this member is waited for any more. It must have failed: writes that may land
    /// later, or never, make it differ from the others.
    pub(super) fn give_up(&mut self, member: usize) {
        let pending: Vec<Key> =
            self.ios.iter().filter(|(_, io)| io.member == member).map(|(key, _)| key).collect();
        for key in pending {
            let io = self.ios.remove(key).expect("just listed");
            if let Some(at) = io.deadline {
                self.deadlines.clear(at, key);
            }
            match io.owner {
                Owner::Leg(leg) if io.is_read => {
                    self.leg_was_read(member, leg, Err(Fault::Timeout));
                }
                Owner::Leg(leg) => self.leg_written(member, leg, Written::Failed(Fault::Timeout)),
                Owner::Narrow(narrow) => self.narrow_answered(narrow, Err(Fault::Timeout)),
                Owner::Flush(op) => self.flushed(op, member, Err(Fault::Timeout)),
                Owner::Meta => self.meta_answered(member, Err(Fault::Timeout)),
                Owner::Intent => self.intent_answered(member, Err(Fault::Timeout)),
                Owner::Log(slot) => self.log_answered(slot, member, Err(Fault::Timeout)),
                Owner::Replay => {
                    let op = if io.is_read { Op::Read(Buf::zeroed(0)) } else { Op::Flush };
                    self.replay_answered(member, op, Err(Fault::Timeout));
                }
            }
        }
    }

    /// Whether a slow read could be answered without this member.
    fn has_alternative(&self, leg: Leg, member: usize) -> bool {
        match leg {
            Leg::Piece(key, _) => self.piece_has_alternative(key, member),
            Leg::Band(key, slot) => self.band_has_alternative(key, slot),
            Leg::Window(key, cell) => self.window_has_alternative(key, cell),
            Leg::Twin(_) => false,
        }
    }
}
