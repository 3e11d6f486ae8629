//! A member that was away comes back.
//!
//! While the array is degraded no bit of the bitmap is cleared, so the bitmap marks all that
//! whoever left then has missed, as long as it left after the last bits were cleared (its events
//! count is not below the bitmap's `events_cleared`; `md.c super_1_validate`). Then it takes its
//! slot as a member being rebuilt, from the beginning, and the recovery skips what is not marked;
//! its superblock says so (`RECOVERY_OFFSET` and `RECOVERY_BITMAP`), so an interrupted one goes on,
//! here and under Linux. Nothing is read from it before the recovery has been there.
//!
//! Otherwise it is a spare like any other. One that *went on by itself* is neither: both sides hold
//! writes that the other lacks, and somebody must say whose are wanted.

use holdfast_core::block::Geometry;
use holdfast_core::time::Instant;

use super::{Array, Defects, Member, Refusal, State};
use crate::defects::Defect;
use crate::event::Event;
use crate::scan::Probe;
use crate::superblock::{BadBlocks, Role, Superblock};

/// How a member comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Into its slot; only what the bitmap marks is copied.
    Marked {
        /// The slot.
        slot: u32,
        /// Sectors of what the bitmap covers that it marks.
        sectors: u64,
    },
    /// As a spare; everything is copied.
    Whole(Whole),
}

/// Why a member that comes back must be given everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Whole {
    /// It says itself that it held no slot.
    #[error("it held no slot when it left")]
    NoSlot,
    /// Somebody else serves its slot.
    #[error("slot {slot} is served by another member")]
    SlotServed {
        /// The slot.
        slot: u32,
    },
    /// It was being built, and not from the bitmap.
    #[error("it was being rebuilt when it left")]
    Unfinished,
    /// The array has no bitmap, or had none then.
    #[error("no write-intent bitmap tells what it has missed")]
    NoBitmap,
    /// Bits have been cleared since.
    #[error(
        "the bitmap was cleared at event {cleared}, after it left at {events}: it does not tell \
         any more what it has missed"
    )]
    Cleared {
        /// Its events.
        events: u64,
        /// The bitmap's `events_cleared`.
        cleared: u64,
    },
    /// Its metadata lie elsewhere than the array's, or its log cannot be read.
    #[error("its metadata are not laid out as the array's now are")]
    Elsewhere,
}

impl<X: Defects> Array<X> {
    /// Takes note of a device that was not among those the array was assembled from. It is no
    /// member until [`Array::readd_member`] makes it one.
    pub fn introduce(&mut self, now: Instant, geometry: Geometry) -> usize {
        self.advance(now);
        let why = Some("is not a member".to_owned());
        let device = Member::new(geometry, None, State::Foreign, BadBlocks::default(), why);
        self.members.push(device);
        self.members.len() - 1
    }

    /// How a device would come back, by what it says of itself now. It must be out of service.
    pub fn check_return(&self, member: usize, probe: &Probe) -> Result<Return, Refusal> {
        self.check_running()?;
        let device = self.members.get(member).ok_or(Refusal::NoSuchMember { member })?;
        if device.slot().is_some() || device.state == State::Spare {
            return Err(Refusal::AlreadyIn { member });
        }
        if device.in_flight > 0 {
            // What is late could undo what it is given now.
            let requests = device.in_flight;
            return Err(Refusal::Outstanding { member, requests });
        }
        if self.broken {
            return Err(Refusal::NotRunning);
        }
        if !self.meta.is_idle() {
            return Err(Refusal::Unrecorded { member });
        }
        self.how_it_returns(probe)
    }

    /// How a device that is none of the array's now would come back, by what it says of itself.
    pub fn how_it_returns(&self, probe: &Probe) -> Result<Return, Refusal> {
        let own = probe.superblock.as_ref().map_err(Clone::clone)?;
        let array = self.model()?;
        if let Some(stranger) = own.differs_from(array) {
            return Err(stranger.into());
        }
        let known = |m: &Member| m.is_current() && m.superblock().device_uuid == own.device_uuid;
        if let Some(member) = self.members.iter().position(known) {
            return Err(Refusal::AlreadyIn { member });
        }
        self.refuse_another_history(own)?;
        Ok(self.way_back(own, array, probe))
    }

    /// Brings a device back. It must be out of service; `probe` is what it says of itself now.
    pub fn readd_member(
        &mut self,
        now: Instant,
        member: usize,
        probe: Probe,
    ) -> Result<Return, Refusal> {
        self.advance(now);
        let way = self.check_return(member, &probe)?;
        if probe.geometry.read_only {
            return Err(Refusal::Unsuitable("it is read-only"));
        }
        let own = probe.superblock?;
        match way {
            Return::Marked { slot, .. } => {
                let mut superblock = own;
                superblock.rejoin(self.model()?);
                let bad = probe.bad_blocks.and_then(Result::ok).map(|log| log.bad);
                self.take_back(member, slot, superblock, bad.unwrap_or_default());
            }
            Return::Whole(_) => {
                let new = super::AddMember {
                    device_uuid: own.device_uuid,
                    write_mostly: own.write_mostly(),
                };
                let superblock = self.spare_superblock(&probe.geometry, new)?;
                self.take_spare(member, superblock);
            }
        }
        Ok(way)
    }

    /// Any member whose superblock speaks for the array.
    pub(super) fn model(&self) -> Result<&Superblock, Refusal> {
        let current = self.members.iter().find(|member| member.is_current());
        current.map(Member::superblock).ok_or(Refusal::NotRunning)
    }

    /// Members of one history know each other: a device whose role table has none of those that
    /// serve the array now in their places, or that has come further than they, ran without them.
    fn refuse_another_history(&self, own: &Superblock) -> Result<(), Refusal> {
        if own.role().slot().is_none() {
            return Ok(());
        }
        let knows = |m: &&Member| {
            let sb = m.superblock();
            own.role_of(sb.dev_number) == sb.role()
        };
        let serving = |m: &&Member| m.is_current() && matches!(m.state, State::InSync { .. });
        let (events, array_events) = (own.events, self.meta.events());
        if events <= array_events && self.members.iter().filter(serving).any(|m| knows(&m)) {
            return Ok(());
        }
        Err(Refusal::SplitHistory { events, array_events })
    }

    fn way_back(&self, own: &Superblock, array: &Superblock, probe: &Probe) -> Return {
        let Role::Active(slot) = own.role() else {
            return Return::Whole(Whole::NoSlot);
        };
        let slot = u32::from(slot);
        let whole = |why| Return::Whole(why);
        let number_taken = self
            .members
            .iter()
            .any(|m| m.is_current() && m.superblock().dev_number == own.dev_number);
        match self.slots.get(slot as usize) {
            Some(None) if !number_taken => {}
            _ => return whole(Whole::SlotServed { slot }),
        }
        if own.replacement || own.recovery_offset.is_some() && !own.recovery_bitmap {
            return whole(Whole::Unfinished);
        }
        let Some(intent) = self.intent.as_ref().filter(|_| own.bitmap_offset.is_some()) else {
            return whole(Whole::NoBitmap);
        };
        let (events, cleared) = (own.events, intent.events_cleared());
        if events < cleared {
            return whole(Whole::Cleared { events, cleared });
        }
        let unreadable = matches!(probe.bad_blocks, Some(Err(_)));
        let room = own.data_offset + self.layout.shape().member_sectors <= probe.geometry.sectors;
        let fits = probe.geometry.block_bytes <= self.identity.block_bytes;
        let same_places = own.bitmap_offset == array.bitmap_offset && own.minor == array.minor;
        if unreadable || !room || !fits || !same_places {
            return whole(Whole::Elsewhere);
        }
        Return::Marked { slot, sectors: intent.marked_sectors() }
    }

    fn take_back(&mut self, member: usize, slot: u32, superblock: Superblock, bad: BadBlocks) {
        let number = superblock.dev_number;
        let device = &mut self.members[member];
        let geometry = device.geometry;
        *device = Member::new(geometry, Some(superblock), State::Spare, bad, None);
        device.marked_only = true;
        device.state = match self.defects.has(Defect::ReturnedMemberRead) {
            true => State::Rebuilding { slot, done: u64::MAX },
            false => State::Rebuilding { slot, done: 0 },
        };
        self.slots[slot as usize] = Some(member);
        self.set_role(number, Role::Active(slot as u16));
        self.events.push_back(Event::MemberReturned { member, slot });
        self.joined();
    }

    /// Makes a device a spare.
    pub(super) fn take_spare(&mut self, member: usize, superblock: Superblock) {
        let number = superblock.dev_number;
        let device = &mut self.members[member];
        let geometry = device.geometry;
        *device = Member::new(geometry, Some(superblock), State::Spare, BadBlocks::default(), None);
        // An old log on the device must not outlive its old array.
        device.bad_changed = true;
        self.set_role(number, Role::Spare);
        self.joined();
    }

    fn joined(&mut self) {
        self.sync_held = false;
        if let Some(intent) = &mut self.intent {
            intent.rewrite();
        }
        self.meta.request();
    }
}
