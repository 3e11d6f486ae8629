//! A piece: one contiguous range of a mirror or stripe, on each of its copies.
//!
//! linear and raid0 have one copy, raid1 and raid10 several; one machine serves them all.
//!
//! - A *read* goes to one copy. When that fails, another answers, and what was read is written
//!   back where it could not be read. When no copy can give the whole range, it is cut into
//!   blocks, and those into sectors, and each tries all copies: two copies bad in different
//!   places lose nothing.
//! - A *write* goes to every copy that takes writes, the ones being rebuilt included. It is done
//!   when each copy is written, recorded as bad there, or failed, and some copy that is in sync
//!   holds each block.

use holdfast_core::block::{Durability, Fault};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::slab::Key;

use super::leg::{Change, Leg, Written};
use super::locks::Mode;
use super::{Array, BLOCK_SECTORS, Defects, Kind, State, Unit};
use crate::defects::Defect;
use crate::event::Event;
use crate::layout::{Layout, Place};

/// The longest piece, in sectors.
const PIECE_SECTORS: u64 = 2048;

/// A range of a request with all its copies.
#[derive(Debug)]
pub(super) struct Piece {
    op: Key,
    sector: u64,
    sectors: u64,
    lock: Option<Key>,
    reserved: u64,
    copies: Vec<Copy>,
    left: u32,
    work: Work,
    fault: Option<Fault>,
    /// Nobody else has it: late members are waited for.
    patient: bool,
    /// Read errors of the array that had been healed when members were asked.
    heals: u64,
    /// Part of a block whose read errors have been counted.
    fragment: bool,
}

impl Piece {
    /// It has its lock.
    pub(super) const fn start(&mut self, lock: Key, heals: u64) {
        (self.lock, self.heals) = (Some(lock), heals);
    }

    /// The replacement of a slot's member has been written as well.
    pub(super) fn heir_has(&mut self, slot: u32, member: usize) {
        let of_slot = self.copies.iter_mut().filter(|copy| copy.place.slot == slot);
        of_slot.for_each(|copy| copy.heir = Some(member));
    }
}

#[derive(Debug)]
struct Copy {
    place: Place,
    state: CopyState,
    /// Who could not give it.
    failed_by: Option<usize>,
    /// The replacement that has been written the same.
    heir: Option<usize>,
}

impl Copy {
    const fn idle(place: Place) -> Self {
        Self { place, state: CopyState::Idle, failed_by: None, heir: None }
    }
}

/// How far one copy of a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CopyState {
    /// Nothing asked of it.
    Idle,
    /// Asked.
    Flying,
    /// Read or written.
    Done,
    /// Written but for these device sectors.
    Bad(Vec<std::ops::Range<u64>>),
    /// Could not be read or written.
    Failed(Fault),
}

#[derive(Debug)]
enum Work {
    Read,
    /// The answer is given; unreadable copies are being rewritten.
    Mend,
    Write {
        what: What,
        gated: bool,
    },
}

#[derive(Clone, Debug)]
enum What {
    Data(Payload, Durability),
    Discard,
    Zero,
}

impl<X: Defects> Array<X> {
    /// Cuts the next piece off a request.
    pub(super) fn cut_piece(&mut self, key: Key) {
        let Layout::Mapped(mapped) = &self.layout else { unreachable!("a parity level has bands") };
        let op = &mut self.ops[key];
        let sector = op.sector + op.issued;
        let most = (op.sectors - op.issued).min(PIECE_SECTORS);
        let mut places = Vec::new();
        let sectors = mapped.map(sector, most, &mut places);
        if self.defects.has(Defect::CopyOnWrongDisk)
            && let [_, second, ..] = &mut places[..]
        {
            second.slot = (second.slot + 1) % mapped.shape().raid_disks;
        }
        let bytes = Self::bytes_of(op.issued)..Self::bytes_of(op.issued + sectors);
        let write = |what| Work::Write { what, gated: false };
        let (work, mode) = match &op.kind {
            Kind::Read(_) => (Work::Read, Mode::Shared),
            Kind::Write(data, durability) => {
                (write(What::Data(data.slice(bytes), *durability)), Mode::Exclusive)
            }
            Kind::Discard => (write(What::Discard), Mode::Exclusive),
            Kind::Zero => (write(What::Zero), Mode::Exclusive),
            Kind::Flush => unreachable!("a flush has no range"),
        };
        op.issued += sectors;
        op.left += 1;
        let copies = places.into_iter().map(Copy::idle).collect();
        let reserved = Self::bytes_of(sectors) as u64;
        self.reserved += reserved;
        let piece = Piece {
            op: key,
            sector,
            sectors,
            lock: None,
            reserved,
            copies,
            left: 0,
            work,
            fault: None,
            patient: false,
            heals: 0,
            fragment: false,
        };
        let piece = self.pieces.insert(piece);
        self.lock(sector, sector + sectors, mode, Unit::Piece(piece));
    }

    pub(super) fn run_piece(&mut self, key: Key) {
        match &self.pieces[key].work {
            Work::Read => self.read_piece(key),
            Work::Write { gated, .. } => {
                let (start, gated) = (self.pieces[key].sector, *gated);
                let end = start + self.pieces[key].sectors;
                if let Work::Write { gated, .. } = &mut self.pieces[key].work {
                    *gated = true;
                }
                if gated || self.pass_gate(Unit::Piece(key), start, end) {
                    self.write_piece(key);
                }
            }
            Work::Mend => unreachable!("a piece being mended waits for its members only"),
        }
    }

    /// Sends a read to the copy that suits best; cuts the piece where no copy has all of it.
    fn read_piece(&mut self, key: Key) {
        while self.copies_could_flip(key)
            && let Some(grain) = self.finer_piece(key)
        {
            self.shatter_piece(key, grain);
        }
        let Some((copy, sectors)) = self.choose_copy(key) else {
            return self.no_copy_left(key);
        };
        if sectors < self.pieces[key].sectors {
            self.split_piece(key, sectors);
        }
        let piece = &mut self.pieces[key];
        piece.copies[copy].state = CopyState::Flying;
        piece.left = 1;
        let place = piece.copies[copy].place;
        let member = self.slots[place.slot as usize].expect("chosen copies have a member");
        let buf = self.read_buffer(key);
        self.read_leg(member, place.sector, buf, Leg::Piece(key, copy as u32));
    }

    /// The request's own buffer when one piece covers it, else one for the piece.
    fn read_buffer(&mut self, key: Key) -> Buf {
        let piece = &self.pieces[key];
        let op = &mut self.ops[piece.op];
        let Kind::Read(buf) = &mut op.kind else { unreachable!("a read has a buffer") };
        if piece.sectors == op.sectors {
            std::mem::replace(buf, Buf::zeroed(0))
        } else {
            Buf::zeroed(Self::bytes_of(piece.sectors))
        }
    }

    /// The best copy not tried yet, and how many of the piece's sectors it has.
    ///
    /// Where copies may differ all readers use the lowest slot, so that nobody sees a block change
    /// without a write. Elsewhere a sequential reader stays on its member, others go to the one
    /// with the least to do (`raid1.c read_balance`); write-mostly members come last.
    fn choose_copy(&self, key: Key) -> Option<(usize, u64)> {
        let piece = &self.pieces[key];
        let settled = self.trusted(piece.sector, piece.sector + piece.sectors)
            || self.defects.has(Defect::ReadsSpreadInDoubt);
        let candidates = piece.copies.iter().enumerate().filter(|(_, copy)| {
            copy.state == CopyState::Idle && self.slots[copy.place.slot as usize].is_some()
        });
        let ranked = candidates.filter_map(|(index, copy)| {
            let member = &self.members[self.slots[copy.place.slot as usize]?];
            let sectors = match member.state {
                State::Rebuilding { .. } if self.defects.has(Defect::ReadFromRebuilding) => {
                    piece.sectors
                }
                _ => member.readable_sectors(copy.place.sector, piece.sectors),
            };
            let at = member.data_offset() + copy.place.sector;
            let (far, load) = match settled {
                true => (member.stream_end != at, member.in_flight),
                false => (false, 0),
            };
            // A long read must not choose otherwise than a short one would.
            let missing = if settled { piece.sectors - sectors } else { 0 };
            let rank = (missing, member.write_mostly(), far, load, copy.place.slot);
            (sectors > 0).then_some((rank, index, sectors))
        });
        ranked.min().map(|(_, index, sectors)| (index, sectors))
    }

    /// Whether copies may differ and some are bad in places: then each sector is read by itself, from
    /// the copy that any other reader of it would choose.
    fn copies_could_flip(&self, key: Key) -> bool {
        let piece = &self.pieces[key];
        let bad = |copy: &Copy| {
            self.member_on(copy.place.slot).is_some_and(|member| {
                !self.members[member].can_read(copy.place.sector, piece.sectors)
            })
        };
        !self.trusted(piece.sector, piece.sector + piece.sectors) && piece.copies.iter().any(bad)
    }

    /// Cuts a piece and lets each part try the copy again that failed as a whole.
    fn shatter_and_retry(&mut self, key: Key, copy: usize) {
        if let Some(grain) = self.finer_piece(key) {
            self.pieces[key].copies[copy].state = CopyState::Idle;
            self.shatter_piece(key, grain);
        }
    }

    fn finer_piece(&self, key: Key) -> Option<u64> {
        let piece = &self.pieces[key];
        self.finer_grain(&(piece.sector..piece.sector + piece.sectors))
    }

    /// Cuts a piece at every multiple of so many sectors.
    fn shatter_piece(&mut self, mut key: Key, grain: u64) {
        self.pieces[key].fragment |= grain < BLOCK_SECTORS;
        loop {
            let piece = &self.pieces[key];
            let first = grain - piece.sector % grain;
            if piece.sectors <= first {
                return;
            }
            key = self.split_piece(key, first);
        }
    }

    /// Cuts a piece after `sectors`; the rest becomes a piece of its own under the same lock.
    fn split_piece(&mut self, key: Key, sectors: u64) -> Key {
        let piece = &mut self.pieces[key];
        let rest = Piece {
            op: piece.op,
            sector: piece.sector + sectors,
            sectors: piece.sectors - sectors,
            lock: piece.lock,
            reserved: 0,
            copies: piece
                .copies
                .iter()
                .map(|copy| {
                    let sector = copy.place.sector + sectors;
                    Copy::idle(Place { sector, ..copy.place })
                })
                .collect(),
            left: 0,
            work: Work::Read,
            fault: piece.fault,
            patient: piece.patient,
            heals: piece.heals,
            fragment: piece.fragment,
        };
        piece.sectors = sectors;
        self.ops[rest.op].left += 1;
        self.locks.share(rest.lock.expect("a running piece has its lock"), 1);
        let rest = self.pieces.insert(rest);
        self.ready.push_back(Unit::Piece(rest));
        rest
    }

    /// No copy could give the range as a whole: try smaller parts, or give up on a single one.
    fn no_copy_left(&mut self, key: Key) {
        if self.ask_copies_again(key) {
            return self.read_piece(key);
        }
        let partly_listed = self.some_copy_has_part(key);
        let finer = self.finer_piece(key);
        let piece = &mut self.pieces[key];
        let readable = |fault: &Fault| matches!(fault, Fault::Medium | Fault::Corrupt);
        let tried = piece
            .copies
            .iter()
            .any(|copy| matches!(&copy.state, CopyState::Failed(fault) if readable(fault)));
        if let Some(grain) = finer.filter(|_| tried || partly_listed) {
            for copy in &mut piece.copies {
                if matches!(copy.state, CopyState::Failed(Fault::Medium | Fault::Corrupt)) {
                    copy.state = CopyState::Idle;
                }
            }
            self.shatter_piece(key, grain);
            return self.read_piece(key);
        }
        let (sector, sectors) = (piece.sector, piece.sectors);
        let worst = piece.copies.iter().find_map(|copy| match copy.state {
            CopyState::Failed(fault) => Some(fault),
            _ => None,
        });
        let fault = worst.unwrap_or_else(|| self.missing_fault(key));
        let slots = self.pieces[key].copies.iter().map(|copy| copy.place.slot).collect();
        self.events.push_back(Event::RangeFailed { sector, sectors, write: false, fault, slots });
        self.finish_piece(key, Err(fault));
    }

    /// Members that were too slow are asked again, and waited for; those with a read error, if
    /// somebody has healed one meanwhile; and whoever has taken a slot over since its member failed.
    /// False if there are none.
    fn ask_copies_again(&mut self, key: Key) -> bool {
        let piece = &mut self.pieces[key];
        let healed = std::mem::replace(&mut piece.heals, self.heals) < self.heals;
        let patient = self.config.member_deadline.is_some() && !piece.patient;
        piece.patient |= patient;
        let mut any = false;
        for copy in &mut piece.copies {
            let slot = self.slots[copy.place.slot as usize];
            let again = match copy.state {
                CopyState::Failed(_) if slot.is_some() && slot != copy.failed_by => true,
                CopyState::Failed(Fault::Timeout) => patient,
                CopyState::Failed(Fault::Medium | Fault::Corrupt) => healed,
                _ => false,
            };
            if again {
                (copy.state, any) = (CopyState::Idle, true);
            }
        }
        any
    }

    /// Whether a member there holds some of the range and has the rest listed as bad.
    fn some_copy_has_part(&self, key: Key) -> bool {
        let piece = &self.pieces[key];
        piece.copies.iter().any(|copy| {
            self.member_on(copy.place.slot).is_some_and(|member| {
                let (start, end) = (copy.place.sector, copy.place.sector + piece.sectors);
                (start..end).any(|sector| self.members[member].can_read(sector, 1))
                    && !self.members[member].can_read(start, piece.sectors)
            })
        })
    }

    /// Why no copy could even be asked: bad blocks where a member is there, else it is gone.
    fn missing_fault(&self, key: Key) -> Fault {
        let there = |slot: u32| self.member_on(slot).is_some();
        let piece = &self.pieces[key];
        if piece.copies.iter().any(|copy| there(copy.place.slot)) {
            Fault::Medium
        } else {
            Fault::Gone
        }
    }

    pub(super) fn piece_is_fragment(&self, key: Key) -> bool {
        self.pieces[key].fragment
    }

    pub(super) fn piece_is_patient(&self, key: Key) -> bool {
        self.pieces[key].patient
    }

    /// Whether another copy can be read than the late member's. Where copies may differ all readers
    /// wait for the same one.
    pub(super) fn piece_has_alternative(&self, key: Key, member: usize) -> bool {
        let piece = &self.pieces[key];
        matches!(piece.work, Work::Read)
            && self.trusted(piece.sector, piece.sector + piece.sectors)
            && piece.copies.iter().any(|copy| {
                copy.state == CopyState::Idle
                    && self.member_on(copy.place.slot).is_some_and(|other| {
                        other != member
                            && self.members[other].readable_sectors(copy.place.sector, 1) > 0
                    })
            })
    }

    pub(super) fn piece_read(
        &mut self,
        key: Key,
        copy: u32,
        member: usize,
        result: Result<Buf, Fault>,
    ) {
        let piece = &mut self.pieces[key];
        piece.left = 0;
        match result {
            Err(fault) => {
                let failed = &mut piece.copies[copy as usize];
                (failed.state, failed.failed_by) = (CopyState::Failed(fault), Some(member));
                let (start, end) = (piece.sector, piece.sector + piece.sectors);
                self.give_back_buffer(key);
                if matches!(fault, Fault::Medium | Fault::Corrupt) && !self.trusted(start, end) {
                    // Where copies may differ, only the bad block itself may come from another.
                    self.shatter_and_retry(key, copy as usize);
                }
                self.ready.push_back(Unit::Piece(key));
            }
            Ok(buf) => {
                piece.copies[copy as usize].state = CopyState::Done;
                let mend = piece.copies.iter().any(|copy| {
                    matches!(copy.state, CopyState::Failed(Fault::Medium | Fault::Corrupt))
                });
                let mend = mend && !self.config.read_only;
                let data = mend.then(|| Payload::from_slice(&buf));
                self.deliver(key, buf);
                match data {
                    Some(data) => self.mend_piece(key, data),
                    None => self.finish_piece(key, Ok(())),
                }
            }
        }
    }

    /// After a failed read the request may have lost its buffer to the member: give it another.
    fn give_back_buffer(&mut self, key: Key) {
        let op = &mut self.ops[self.pieces[key].op];
        let bytes = Self::bytes_of(op.sectors);
        if let Kind::Read(buf) = &mut op.kind
            && buf.len() != bytes
        {
            *buf = Buf::zeroed(bytes);
        }
    }

    fn deliver(&mut self, key: Key, from: Buf) {
        let piece = &self.pieces[key];
        let op = &mut self.ops[piece.op];
        let Kind::Read(into) = &mut op.kind else { unreachable!("a read has a buffer") };
        if into.len() != Self::bytes_of(op.sectors) {
            *into = from;
        } else {
            let start = Self::bytes_of(piece.sector - op.sector);
            into.put(start, &from);
        }
    }

    /// Writes what was read to the copies that could not be read.
    fn mend_piece(&mut self, key: Key, data: Payload) {
        let mut legs = Vec::new();
        for (index, copy) in self.pieces[key].copies.iter().enumerate() {
            let unread = matches!(copy.state, CopyState::Failed(Fault::Medium | Fault::Corrupt));
            if let Some(member) = self.member_on(copy.place.slot).filter(|_| unread)
                && self.members[member].is_writable()
            {
                legs.push((index, member, copy.place.sector));
            }
        }
        if legs.is_empty() {
            return self.finish_piece(key, Ok(()));
        }
        let piece = &mut self.pieces[key];
        piece.left = legs.len() as u32;
        piece.work = Work::Mend;
        for (index, member, sector) in legs {
            let leg = Leg::Piece(key, index as u32);
            self.pieces[key].copies[index].state = CopyState::Flying;
            self.write_leg(member, sector, data.clone(), Durability::Cached, leg);
        }
    }

    fn write_piece(&mut self, key: Key) {
        let mut legs = Vec::new();
        let piece = &self.pieces[key];
        for (index, copy) in piece.copies.iter().enumerate() {
            if let Some(member) = self.member_on(copy.place.slot) {
                legs.push((index, member, copy.place.sector));
            }
        }
        if legs.is_empty() {
            return self.judge_write(key);
        }
        let sectors = piece.sectors;
        let Work::Write { what, .. } = &piece.work else { unreachable!("a write writes") };
        let what = what.clone();
        if matches!(what, What::Discard) && self.defects.has(Defect::DiscardMissesCopies) {
            self.pieces[key].copies[1..].iter_mut().for_each(|copy| copy.state = CopyState::Done);
            legs.retain(|(index, ..)| *index == 0);
        }
        self.pieces[key].left = legs.len() as u32;
        for (index, member, sector) in legs {
            self.pieces[key].copies[index].state = CopyState::Flying;
            let leg = Leg::Piece(key, index as u32);
            match &what {
                What::Data(data, durability) => {
                    let lax = self.defects.has(Defect::FuaNotForCopies);
                    let durability = if lax { Durability::Cached } else { *durability };
                    self.write_leg(member, sector, data.clone(), durability, leg);
                }
                What::Zero => self.change_leg(member, sector, Change::Zero(sectors), leg),
                What::Discard => self.change_leg(member, sector, Change::Discard(sectors), leg),
            }
        }
    }

    pub(super) fn piece_written(&mut self, key: Key, copy: u32, member: usize, written: Written) {
        let piece = &mut self.pieces[key];
        piece.left -= 1;
        let (place, sectors) = (piece.copies[copy as usize].place, piece.sectors);
        let mending = matches!(piece.work, Work::Mend);
        let ok = written == Written::Ok;
        piece.copies[copy as usize].state = match written {
            Written::Ok => CopyState::Done,
            Written::Bad(ranges) => CopyState::Bad(ranges),
            Written::Failed(fault) => CopyState::Failed(fault),
            Written::Full => CopyState::Failed(Fault::Full),
        };
        if ok && mending {
            self.corrected(member, place.sector, sectors);
        }
        self.piece_settled(key);
    }

    pub(super) fn piece_waits_for_one_more(&mut self, key: Key) {
        self.pieces[key].left += 1;
    }

    /// One that has nothing to say to the piece but that it is done.
    pub(super) fn piece_one_done(&mut self, key: Key) {
        self.pieces[key].left -= 1;
        self.piece_settled(key);
    }

    /// The request and the sectors of a piece.
    pub(super) fn piece_of(&self, key: Key) -> (Vec<Key>, std::ops::Range<u64>) {
        let piece = &self.pieces[key];
        (vec![piece.op], piece.sector..piece.sector + piece.sectors)
    }

    fn piece_settled(&mut self, key: Key) {
        let piece = &self.pieces[key];
        match piece.work {
            _ if piece.left > 0 => {}
            Work::Mend => self.finish_piece(key, Ok(())),
            _ => self.judge_write(key),
        }
    }

    /// Every copy has answered: does the array hold the write?
    fn judge_write(&mut self, key: Key) {
        for copy in 0..self.pieces[key].copies.len() {
            let Copy { place, heir, .. } = self.pieces[key].copies[copy];
            if self.is_inherited(place.slot, heir) {
                self.pieces[key].copies[copy].state = CopyState::Done;
            }
        }
        let piece = &self.pieces[key];
        let (start, end) = (piece.sector, piece.sector + piece.sectors);
        let full = piece.copies.iter().any(|c| c.state == CopyState::Failed(Fault::Full));
        let faultless = piece.copies.iter().all(|copy| copy.state == CopyState::Done);
        let held = self.holds(key)
            && (faultless || !self.a_lost_copy_missed_it(key) && self.list_missed_copies(key));
        let result = match () {
            () if full => Err(Fault::Full),
            () if held => Ok(()),
            () => Err(self.write_fault(key)),
        };
        if let Err(fault) = result {
            // Some copies may have it and others not: nobody can say what a reader will see.
            if self.layout.shape().level.is_redundant() {
                self.stain(start, end);
            }
            let slots = self.pieces[key].copies.iter().map(|copy| copy.place.slot).collect();
            let (sector, sectors) = (start, end - start);
            self.events.push_back(Event::RangeFailed {
                sector,
                sectors,
                write: true,
                fault,
                slots,
            });
        }
        let gate = match faultless {
            true => self.meta.failure_generation(),
            false => self.meta.wanted(),
        };
        if gate > self.meta.durable() {
            let op = self.pieces[key].op;
            self.ops[op].gate = gate;
        }
        self.end_write(start, end);
        self.finish_piece(key, result);
    }

    /// A member that counts as lost is in no metadata: should it come back, nothing tells that it has
    /// not got this.
    fn a_lost_copy_missed_it(&self, key: Key) -> bool {
        let lost =
            |slot: u32| self.slots[slot as usize].is_some_and(|member| self.members[member].lost);
        let missed = |copy: &Copy| copy.state != CopyState::Done && lost(copy.place.slot);
        self.pieces[key].copies.iter().any(missed)
    }

    /// What a member in service has missed, because it could not be spared or has no room, must not
    /// be read from it: it is recorded as bad. False if a log has no room for that.
    fn list_missed_copies(&mut self, key: Key) -> bool {
        let piece = &self.pieces[key];
        let missed = |copy: &Copy| match copy.state {
            CopyState::Failed(fault) => {
                Some((self.member_on(copy.place.slot)?, copy.place.sector, fault))
            }
            _ => None,
        };
        let missed: Vec<(usize, u64, Fault)> = piece
            .copies
            .iter()
            .filter_map(missed)
            .filter(|(member, ..)| matches!(self.members[*member].state, State::InSync { .. }))
            .collect();
        let sectors = piece.sectors;
        let mut listed = true;
        for (member, sector, fault) in missed {
            let start = self.members[member].data_offset() + sector;
            listed &= self.record_missed(member, start..start + sectors, fault);
        }
        listed
    }

    /// The region cannot be marked, so nothing is written.
    pub(super) fn refuse_piece(&mut self, key: Key, fault: Fault) {
        let (sector, sectors) = (self.pieces[key].sector, self.pieces[key].sectors);
        let slots = Vec::new();
        self.events.push_back(Event::RangeFailed { sector, sectors, write: true, fault, slots });
        self.end_write(sector, sector + sectors);
        self.finish_piece(key, Err(fault));
    }

    fn write_fault(&self, key: Key) -> Fault {
        let failed = |copy: &Copy| match copy.state {
            CopyState::Failed(fault) => Some(fault),
            CopyState::Bad(_) => Some(Fault::Medium),
            _ => None,
        };
        self.pieces[key].copies.iter().find_map(failed).unwrap_or(Fault::Gone)
    }

    /// Whether each block of a written piece is on some copy that is in sync.
    fn holds(&self, key: Key) -> bool {
        let piece = &self.pieces[key];
        let mut missing: Option<Vec<(u64, u64)>> = None;
        for copy in &piece.copies {
            let Some(member) = self.member_on(copy.place.slot) else {
                continue;
            };
            let member = &self.members[member];
            let filled = match member.state {
                State::InSync { .. } => piece.sectors,
                State::Rebuilding { done, .. } => {
                    done.saturating_sub(copy.place.sector).min(piece.sectors)
                }
                _ => continue,
            };
            let base = member.data_offset() + copy.place.sector;
            let mut bad: Vec<(u64, u64)> = match &copy.state {
                CopyState::Done => Vec::new(),
                CopyState::Bad(ranges) => {
                    ranges.iter().map(|r| (r.start - base, r.end - base)).collect()
                }
                _ => continue,
            };
            bad.retain(|(start, _)| *start < filled);
            if let Some((_, end)) = bad.last_mut() {
                *end = filled.min(*end);
            }
            if filled < piece.sectors {
                bad.push((filled, piece.sectors));
            }
            missing = Some(match missing {
                None => bad,
                Some(others) => intersection(&others, &bad),
            });
        }
        missing.is_some_and(|ranges| ranges.is_empty())
    }

    fn finish_piece(&mut self, key: Key, result: Result<(), Fault>) {
        let piece = self.pieces.remove(key).expect("a piece is finished once");
        self.release(piece.lock.expect("a finished piece had its lock"), piece.reserved);
        self.unit_done(piece.op, result);
    }
}

/// What two sorted lists of ranges have in common.
fn intersection(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut common = Vec::new();
    for &(start, end) in a {
        for &(from, until) in b {
            let (low, high) = (start.max(from), end.min(until));
            if low < high {
                common.push((low, high));
            }
        }
    }
    common
}
