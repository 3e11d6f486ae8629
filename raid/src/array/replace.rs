//! Replacing a member that still serves its slot.
//!
//! The new one is a *twin* of the old: whatever is written to the old goes to it as well, and a
//! recovery copies the rest, from the old where that can be read and from the others where not. The
//! twin is never read, so the array loses nothing by having it: one that fails is dropped, and one
//! whose old member fails is a member being rebuilt, as far as it had come (`raid5.c
//! raid5_spare_active`, `raid5_remove_disk`; `raid10.c` likewise).
//!
//! When it has everything it takes the slot and the old one is faulty, in one update of the
//! metadata that every write waits for from then on. Where an unclean stop has left members in
//! doubt about each other the twin may differ from the old one too: the slot changes hands only
//! after the resync, which writes to both.

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Payload;
use holdfast_core::time::Instant;

use super::leg::Change;
use super::{Array, Defects, Io, Refusal, State, Unit};
use crate::defects::Defect;
use crate::event::{Event, FailReason};
use crate::superblock::Role;
use crate::sync::Action;

impl<X: Defects> Array<X> {
    /// Has a spare take over the slot of a member that goes on serving it until the spare has
    /// everything. The metadata say so at once, or as soon as the pass that runs is over; a recovery
    /// fills it, see [`Array::start_pending`].
    pub fn replace_member(
        &mut self,
        now: Instant,
        member: usize,
        with: usize,
    ) -> Result<(), Refusal> {
        self.advance(now);
        let slot = self.check_replacement(member, with)?;
        self.members[with].replaces = Some(slot);
        self.sync_held = false;
        if self.pass.is_none() {
            self.begin_replacements();
        }
        Ok(())
    }

    /// What [`Array::replace_member`] would refuse, without doing it; the slot it is about.
    pub fn check_replacement(&self, member: usize, with: usize) -> Result<u32, Refusal> {
        let slot = self.check_replaced(member)?;
        let new = self.members.get(with).ok_or(Refusal::NoSuchMember { member: with })?;
        if new.state != State::Spare {
            return Err(Refusal::NotSpare { member: with });
        }
        let needs = new.data_offset() + self.layout.shape().member_sectors;
        match new.geometry.sectors {
            has if has < needs => Err(Refusal::TooSmall { has, needs }),
            _ => Ok(slot),
        }
    }

    /// Whether a member could be replaced, if there were a spare; its slot.
    pub fn check_replaced(&self, member: usize) -> Result<u32, Refusal> {
        self.check_running()?;
        let level = self.layout.shape().level;
        if !level.is_redundant() {
            return Err(Refusal::NoRedundancy { level: level.name() });
        }
        let old = self.members.get(member).ok_or(Refusal::NoSuchMember { member })?;
        let State::InSync { slot } = old.state else {
            return Err(Refusal::NotServing { member });
        };
        if self.broken || old.lost {
            return Err(Refusal::NotRunning);
        }
        let waits = |m: &super::Member| m.state == State::Spare && m.replaces == Some(slot);
        let waiting = || self.members.iter().position(waits);
        match self.twins[slot as usize].or_else(waiting) {
            Some(by) => Err(Refusal::BeingReplaced { member, by }),
            None => Ok(slot),
        }
    }

    /// The member that is to replace this one.
    pub(super) fn twin_of(&self, member: usize) -> Option<usize> {
        let State::InSync { slot } = self.members[member].state else { return None };
        self.twins[slot as usize]
    }

    /// Slots whose member is being replaced.
    pub(super) fn replaced(&self) -> Vec<u32> {
        (0..self.twins.len() as u32).filter(|&slot| self.twins[slot as usize].is_some()).collect()
    }

    /// Who is being given the data of a slot.
    pub(super) fn receiver(&self, slot: u32) -> Option<usize> {
        let rebuilding = |m: &usize| matches!(self.members[*m].state, State::Rebuilding { .. });
        self.twins[slot as usize].or_else(|| self.member_on(slot).filter(rebuilding))
    }

    /// Spares that wait to replace somebody begin.
    pub(super) fn begin_replacements(&mut self) {
        for with in 0..self.members.len() {
            let Some(slot) = self.members[with].replaces else { continue };
            let old =
                self.slots[slot as usize].filter(|_| self.is_served(self.slots[slot as usize]));
            let (Some(old), State::Spare) = (old, self.members[with].state) else {
                self.members[with].replaces = None;
                continue;
            };
            let new = &mut self.members[with];
            new.replaces = None;
            new.state = State::Replacing { slot, done: 0 };
            let number = new.superblock().dev_number;
            self.twins[slot as usize] = Some(with);
            self.set_role(number, Role::Active(slot as u16));
            self.events.push_back(Event::ReplacementStarted { member: old, with, slot });
            self.meta.request();
        }
    }

    /// Whether a recovery has something to do for a replacement.
    pub(super) fn replacement_is_due(&self) -> bool {
        let end = self.space(Action::Recover);
        self.twins.iter().flatten().any(|&twin| self.members[twin].filled() < Some(end))
    }

    /// Gives the slot to whoever has all of it.
    pub(super) fn finish_replacements(&mut self) {
        if self.unsettled_from().is_some() || self.broken {
            return;
        }
        let all = self.space(Action::Recover);
        let enough = match self.defects.has(Defect::OldMemberDroppedEarly) {
            true => all / 2,
            false => all,
        };
        for slot in self.replaced() {
            let at = slot as usize;
            let (Some(old), Some(new)) = (self.slots[at], self.twins[at]) else { continue };
            if self.members[new].filled() < Some(enough) || enough == all && !self.is_whole(new) {
                continue;
            }
            self.twins[at] = None;
            self.slots[at] = Some(new);
            self.members[new].state = State::InSync { slot };
            self.members[new].whole_at = None;
            let device = &mut self.members[old];
            device.state = State::Faulty { slot: Some(slot) };
            device.why = Some("has been replaced".to_owned());
            let number = device.superblock().dev_number;
            self.set_role(number, Role::Faulty);
            self.events.push_back(Event::MemberInSync { member: new, slot });
            self.events.push_back(Event::Replaced { member: old, by: new, slot });
            // From now on the old one misses writes.
            self.meta.request_failure();
            if let Some(logs) = &mut self.logs {
                logs.forget(old);
            }
        }
    }

    /// Whether it is on record that a replacement has everything. It must be before the old member is
    /// called faulty: of the superblocks that are to say so a power cut may spare any.
    fn is_whole(&mut self, new: usize) -> bool {
        match self.members[new].whole_at {
            Some(update) => self.meta.is_on_record(update),
            None => {
                self.members[new].whole_at = Some(self.meta.request());
                false
            }
        }
    }

    /// A member is out of service: its slot is empty, or falls to the one that was to replace it.
    pub(super) fn vacate(&mut self, slot: u32, member: usize) {
        let at = slot as usize;
        if let Some(pass) = &mut self.pass {
            pass.gives_up(member);
        }
        if let Some(logs) = &mut self.logs {
            logs.forget(member);
        }
        if self.twins[at] == Some(member) {
            self.twins[at] = None;
            return;
        }
        self.slots[at] = None;
        let Some(heir) = self.twins[at].take() else { return };
        let done = self.members[heir].filled().unwrap_or(0);
        self.members[heir].state = State::Rebuilding { slot, done };
        self.members[heir].whole_at = None;
        self.slots[at] = Some(heir);
        self.events.push_back(Event::SpareActivated { member: heir, slot });
    }

    /// A replacement has answered a write. One that did not take it is given up: the old member has
    /// it (`raid5.c raid5_end_write_request`, `raid10.c raid10_end_write_request`).
    pub(super) fn twin_answered(
        &mut self,
        io: &Io,
        unit: Unit,
        op: &Op,
        result: Result<(), Fault>,
    ) {
        let (member, sector, sectors) = (io.member, io.sector, op.sectors());
        match (result, op) {
            (Ok(()), _) => {
                self.mended(member, sector, sectors);
                self.twin_has(member, unit);
            }
            (Err(Fault::Refused), Op::Discard(_)) => {}
            (Err(Fault::Medium | Fault::Corrupt | Fault::Refused), Op::Zero(_))
            | (Err(Fault::Medium | Fault::Corrupt), Op::Discard(_)) => {
                let zeros = Payload::zeroed(Self::bytes_of(sectors));
                let at = sector - self.members[member].data_offset();
                let change = Change::Write(zeros, Durability::Cached);
                return self.change_twin(member, at, change, unit);
            }
            (Err(fault), _) => {
                if !self.fail(member, FailReason::Write(fault)) {
                    // It has the slot by now, and the slot cannot be spared.
                    self.unit_missed(unit, fault);
                }
            }
        }
        self.one_answered(unit);
    }

    /// A replacement holds what a unit has written. Should it have the slot by the time the unit is
    /// judged, that counts, whatever became of its predecessor's share.
    fn twin_has(&mut self, member: usize, unit: Unit) {
        let Some(slot) = self.members[member].slot() else { return };
        match unit {
            Unit::Piece(key) => self.pieces[key].heir_has(slot, member),
            Unit::Band(key) => self.bands[key].cells[slot as usize].heir = Some(member),
            // A pass looks at members, not at answers.
            Unit::Window(_) => {}
        }
    }

    /// Whether a slot is served by this member, which replaced another one meanwhile.
    pub(super) fn is_inherited(&self, slot: u32, heir: Option<usize>) -> bool {
        heir.is_some() && self.member_on(slot) == heir
    }

    /// The member that has taken a slot over since does not hold what a unit has written.
    fn unit_missed(&mut self, unit: Unit, fault: Fault) {
        let (ops, range) = match unit {
            Unit::Piece(key) => self.piece_of(key),
            Unit::Band(key) => {
                let band = &self.bands[key];
                (band.ops(), band.first..band.first + band.sectors())
            }
            Unit::Window(key) => (Vec::new(), self.windows[key].range.clone()),
        };
        for op in ops {
            self.ops[op].fault.get_or_insert(fault);
        }
        self.stain(range.start, range.end);
    }

    /// A unit that waits for a replacement waits for one answer less.
    pub(super) fn one_answered(&mut self, unit: Unit) {
        match unit {
            Unit::Piece(key) => self.piece_one_done(key),
            Unit::Band(key) => self.band_one_done(key),
            Unit::Window(key) => self.window_one_done(key),
        }
    }
}
