//! Managing an array: failing, removing and adding members, starting passes, stopping.

use holdfast_core::block::Geometry;
use holdfast_core::time::Instant;

use super::{Array, Defects, Member, State};
use crate::event::FailReason;
use crate::superblock::{Role, Superblock, Uuid};
use crate::sync::Action;

/// Why something asked of an array was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such device.
    #[error("there is no device {member} in this array")]
    NoSuchMember {
        /// Device index.
        member: usize,
    },
    /// Failing it would lose data that is still there.
    #[error("the array cannot spare slot {slot}: data would be lost")]
    CannotSpare {
        /// Its slot.
        slot: u32,
    },
    /// It is in use; only faulty members and spares can be removed.
    #[error("device {member} is in use (slot {slot}): fail it first")]
    InUse {
        /// Device index.
        member: usize,
        /// Its slot.
        slot: u32,
    },
    /// The device is too small.
    #[error("the device has {has} sectors, the array needs {needs}")]
    TooSmall {
        /// Sectors it has.
        has: u64,
        /// Sectors needed.
        needs: u64,
    },
    /// The device takes no writes, or its blocks are larger than the array's.
    #[error("the device cannot be a member: {0}")]
    Unsuitable(&'static str),
    /// The level has no redundancy, so there is nothing to do.
    #[error("{level} has no redundancy")]
    NoRedundancy {
        /// The level's name.
        level: &'static str,
    },
    /// A pass is running already.
    #[error("a {0} is running")]
    Busy(Action),
    /// Nothing may be written.
    #[error("the array is read-only")]
    ReadOnly,
    /// The array has lost too much, or is stopping.
    #[error("the array is not in service")]
    NotRunning,
    /// It does not hold its slot's data, so there is nothing to copy from it.
    #[error("device {member} does not serve a slot in full: let a spare be rebuilt in its place")]
    NotServing {
        /// Device index.
        member: usize,
    },
    /// Another device is to replace it already.
    #[error("device {member} is being replaced by device {by} already")]
    BeingReplaced {
        /// Device index.
        member: usize,
        /// The other one's.
        by: usize,
    },
    /// It is not a spare.
    #[error("device {member} is not a spare")]
    NotSpare {
        /// Device index.
        member: usize,
    },
    /// It is in service, or a spare: it need not come back.
    #[error("device {member} is a member already")]
    AlreadyIn {
        /// Device index.
        member: usize,
    },
    /// Requests sent to it are still on their way, and could land on what it is given now.
    #[error("device {member} has not answered {requests} requests yet")]
    Outstanding {
        /// Device index.
        member: usize,
        /// How many.
        requests: u32,
    },
    /// The metadata do not say yet that it left. Were they to say at once that it is back, a power cut
    /// in between would make it one that was never away.
    #[error("it is not on record yet that device {member} left: try again")]
    Unrecorded {
        /// Device index.
        member: usize,
    },
    /// It never was a member of this array, or of an earlier one under its name.
    #[error("it {0}")]
    Stranger(#[from] crate::superblock::Stranger),
    /// It says nothing that can be believed.
    #[error(transparent)]
    Unreadable(#[from] crate::scan::ProbeError),
    /// It ran apart from the members the array has now, and holds writes that they lack.
    #[error(
        "it went on without the members that are here, up to event {events} (they are at \
         {array_events}): each side holds writes that the other lacks"
    )]
    SplitHistory {
        /// Its events.
        events: u64,
        /// The array's.
        array_events: u64,
    },
    /// There is nothing to rebuild and no spare to rebuild onto.
    #[error("nothing to do: no member is missing, or no spare is there")]
    NothingToDo,
    /// The role table is full.
    #[error("the superblock has no room for another device")]
    NoDeviceNumber,
}

/// What a device that joins an array brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddMember {
    /// Its new identity.
    pub device_uuid: Uuid,
    /// Read from it only if nothing else can answer.
    pub write_mostly: bool,
}

impl<X: Defects> Array<X> {
    pub(super) fn check_running(&self) -> Result<(), Refusal> {
        match () {
            () if self.config.read_only => Err(Refusal::ReadOnly),
            () if self.stopping => Err(Refusal::NotRunning),
            () => Ok(()),
        }
    }

    /// Takes a member out of service, as if it had failed. What was asked of it is not waited for any
    /// more: what it can still answer is made up from the others, and nobody else waits for it.
    ///
    /// A member that is out of service already may be failed again: what it still owes is given up.
    pub fn fail_member(&mut self, now: Instant, member: usize) -> Result<(), Refusal> {
        self.advance(now);
        self.check_running()?;
        let device = self.members.get(member).ok_or(Refusal::NoSuchMember { member })?;
        let slot = device.slot();
        if matches!(device.state, State::Stale { .. } | State::Foreign) {
            return Err(Refusal::NoSuchMember { member });
        }
        if self.fail(member, FailReason::Requested) {
            self.give_up(member);
            return Ok(());
        }
        Err(Refusal::CannotSpare { slot: slot.unwrap_or(0) })
    }

    /// Takes a member out of service whose device is known to be gone, though nothing was asked of
    /// it. One that the array cannot do without counts as lost.
    pub fn member_gone(&mut self, now: Instant, member: usize) {
        self.advance(now);
        let takes_part = |device: &Member| {
            !matches!(device.state, State::Stale { .. } | State::Foreign | State::Faulty { .. })
        };
        if self.check_running().is_ok() && self.members.get(member).is_some_and(takes_part) {
            self.fail(member, FailReason::Gone);
        }
    }

    /// Forgets a faulty member or a spare: its number in the role table becomes free.
    ///
    /// The device's own superblock is left as it is.
    pub fn remove_member(&mut self, now: Instant, member: usize) -> Result<(), Refusal> {
        self.advance(now);
        self.check_running()?;
        let device = self.members.get(member).ok_or(Refusal::NoSuchMember { member })?;
        if let Some(slot) = device.slot() {
            return Err(Refusal::InUse { member, slot });
        }
        let number = match &device.superblock {
            Some(superblock) if device.state != State::Foreign => superblock.dev_number,
            _ => return Err(Refusal::NoSuchMember { member }),
        };
        let device = &mut self.members[member];
        device.state = State::Foreign;
        device.why = Some("removed".to_owned());
        let in_use = |m: &Member| m.is_current() && m.superblock().dev_number == number;
        if !self.members.iter().any(in_use) {
            self.set_role(number, Role::Spare);
        }
        self.meta.request();
        Ok(())
    }

    /// What [`Array::add_member`] would refuse a device for, without taking it.
    pub fn check_new_member(&self, geometry: &Geometry) -> Result<(), Refusal> {
        let new = AddMember { device_uuid: Uuid::default(), write_mostly: false };
        self.spare_superblock(geometry, new).map(drop)
    }

    /// Takes a device in as a spare. Its metadata is written with the next update.
    pub fn add_member(
        &mut self,
        now: Instant,
        geometry: Geometry,
        new: AddMember,
    ) -> Result<usize, Refusal> {
        self.advance(now);
        let superblock = self.spare_superblock(&geometry, new)?;
        let member = self.introduce(now, geometry);
        self.take_spare(member, superblock);
        Ok(member)
    }

    /// The superblock a device would join with.
    pub(super) fn spare_superblock(
        &self,
        geometry: &Geometry,
        new: AddMember,
    ) -> Result<Superblock, Refusal> {
        self.check_running()?;
        let level = self.layout.shape().level;
        if !level.is_redundant() {
            return Err(Refusal::NoRedundancy { level: level.name() });
        }
        if geometry.read_only {
            return Err(Refusal::Unsuitable("it is read-only"));
        }
        if geometry.block_bytes > self.identity.block_bytes {
            return Err(Refusal::Unsuitable("its logical blocks are larger than the array's"));
        }
        let model = self.model()?.clone();
        let number = self.free_number(&model).ok_or(Refusal::NoDeviceNumber)?;
        let mut superblock = model;
        superblock
            .become_spare(number, new.device_uuid, new.write_mostly, geometry.sectors)
            .map_err(|needs| Refusal::TooSmall { has: geometry.sectors, needs })?;
        Ok(superblock)
    }

    /// The lowest number no device has and the role table does not remember as faulty.
    fn free_number(&self, model: &Superblock) -> Option<u32> {
        let taken = |number: u32| {
            let ours = |m: &Member| m.is_current() || matches!(m.state, State::Faulty { .. });
            self.members
                .iter()
                .any(|m| ours(m) && m.superblock.as_ref().is_some_and(|sb| sb.dev_number == number))
                || model.role_of(number) != Role::Spare
        };
        (0..crate::superblock::MAX_DEV).find(|&number| !taken(number))
    }

    /// Begins a pass. A check needs nothing but redundancy; a repair writes.
    pub fn start(&mut self, now: Instant, action: Action) -> Result<(), Refusal> {
        self.advance(now);
        let level = self.layout.shape().level;
        if !level.is_redundant() {
            return Err(Refusal::NoRedundancy { level: level.name() });
        }
        if self.stopping || self.broken {
            return Err(Refusal::NotRunning);
        }
        if let Some(pass) = &self.pass {
            return Err(Refusal::Busy(pass.action()));
        }
        if !matches!(action, Action::Check { .. }) {
            self.check_running()?;
        }
        match action {
            Action::Recover | Action::Resync => {
                let wanted = action;
                if !self.begin_pending() {
                    return Err(Refusal::NothingToDo);
                }
                let begun = self.pass.as_ref().map(super::pass::Pass::action);
                if begun == Some(wanted) {
                    Ok(())
                } else {
                    Err(Refusal::Busy(begun.unwrap_or(wanted)))
                }
            }
            Action::Check { .. } | Action::Repair { .. } => {
                self.begin_pass(action);
                Ok(())
            }
        }
    }

    /// Starts recovery or resync if one is due; whether it did. Members that had no room are tried
    /// again.
    pub fn start_pending(&mut self, now: Instant) -> bool {
        self.advance(now);
        self.members.iter_mut().for_each(|member| member.clogged = false);
        self.begin_pending()
    }

    /// Sets how fast passes go from now on, in bytes a second: at least, while others use the array,
    /// and at most; see [`Config::sync_speed_min`](crate::config::Config::sync_speed_min).
    pub const fn set_sync_speed(&mut self, least: u64, most: u64) {
        self.config.sync_speed_min = least;
        self.config.sync_speed_max = most;
    }

    /// How fast passes go, as [`Array::set_sync_speed`] sets it.
    pub const fn sync_speed(&self) -> (u64, u64) {
        (self.config.sync_speed_min, self.config.sync_speed_max)
    }

    /// Interrupts the running pass; its progress is kept.
    pub fn interrupt(&mut self, now: Instant) {
        self.advance(now);
        self.end_pass();
    }

    /// Finishes what is in flight, marks the array clean and stops. New requests are refused.
    pub fn stop(&mut self, now: Instant) {
        self.advance(now);
        self.members.iter_mut().for_each(|member| member.clogged = false);
        self.stopping = true;
    }

    /// Whether a stop has come to its end.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }
}
