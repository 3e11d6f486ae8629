//! What the array says of itself.

use std::collections::BTreeSet;

use super::leg::{Leg, Owner};
use super::plan::{How, Plan};
use super::{Array, Defects, Io, State, Unit};
use crate::status::{Activity, Health, MemberStatus, Status, WriteWays};

impl<X: Defects> Array<X> {
    /// The whole state of the array now.
    pub fn status(&self) -> Status {
        let shape = *self.layout.shape();
        Status {
            uuid: self.identity.uuid,
            name: self.identity.name,
            level: shape.level,
            layout: shape.layout,
            chunk_sectors: shape.chunk_sectors,
            array_sectors: self.layout.array_sectors(),
            member_sectors: if shape.level.is_redundant() { shape.member_sectors } else { 0 },
            raid_disks: shape.raid_disks,
            events: self.meta.events(),
            health: self.health(),
            clean: self.meta.is_clean(),
            resync_from: self.resync_from,
            at_risk_bytes: self.at_risk_bytes,
            sync: self.pass.as_ref().map(super::pass::Pass::status),
            members: (0..self.members.len()).map(|index| self.member_status(index)).collect(),
            bitmap: self.intent.as_ref().map(super::Intent::status),
            ppl: self.logs.is_some(),
        }
    }

    /// How the rows of parity stripes have been written since the start.
    pub const fn write_ways(&self) -> WriteWays {
        self.ways
    }

    /// Whether partial parity logs of an unclean stop are being carried out: until that is over parity
    /// of what was in flight is in doubt, and no request is begun.
    pub fn is_replaying(&self) -> bool {
        !self.replay.is_over()
    }

    /// How much redundancy is left.
    pub fn health(&self) -> Health {
        let present = self.present();
        match () {
            () if !present.contains(&false) => Health::Optimal,
            () if self.layout.survives(&present) => Health::Degraded,
            () => Health::Failed,
        }
    }

    fn member_status(&self, index: usize) -> MemberStatus {
        let member = &self.members[index];
        let superblock = member.superblock.as_ref();
        let slot = match member.state {
            State::Faulty { slot } | State::Stale { slot } => slot,
            _ => member.slot(),
        };
        let recovery_offset = member.filled();
        MemberStatus {
            slot,
            dev_number: superblock.map_or(u32::MAX, |sb| sb.dev_number),
            state: member.public_state(),
            events: superblock.map_or(0, |sb| sb.events),
            data_offset: superblock.map_or(0, |sb| sb.data_offset),
            recovery_offset,
            device_uuid: superblock.map(|sb| sb.device_uuid).unwrap_or_default(),
            write_mostly: member.write_mostly(),
            corrected_reads: superblock.map_or(0, |sb| sb.corrected_reads),
            bad_sectors: member.bad.sectors(),
            why: match (member.lost, &member.why) {
                (true, None) => Some("does not answer".to_owned()),
                (_, why) => why.clone(),
            },
        }
    }

    /// What is under way at this moment, each kind once.
    pub fn activities(&self) -> BTreeSet<Activity> {
        let gate = (!self.gated.is_empty()).then_some(Activity::Gate);
        self.ios.iter().map(|(_, io)| self.activity(io)).chain(gate).collect()
    }

    fn activity(&self, io: &Io) -> Activity {
        let writes = |band| self.bands.get(band).is_some_and(super::band::Band::is_write);
        match io.owner {
            Owner::Leg(Leg::Window(..)) if io.is_read => Activity::PassRead,
            Owner::Leg(Leg::Window(..) | Leg::Twin(Unit::Window(_))) => Activity::PassWrite,
            Owner::Leg(Leg::Band(band, _)) if io.is_read && writes(band) => Activity::ReadForParity,
            Owner::Leg(_) if io.is_read => Activity::Read,
            Owner::Leg(_) => Activity::Write,
            Owner::Narrow(_) => Activity::Retry,
            Owner::Flush(_) => Activity::Flush,
            Owner::Meta => Activity::Superblocks,
            Owner::Intent => Activity::Bitmap,
            Owner::Log(_) => Activity::Log,
            Owner::Replay => Activity::Replay,
        }
    }

    /// Whether the members' metadata say all there is to say, durably.
    pub const fn is_recorded(&self) -> bool {
        self.meta.is_idle()
    }

    /// Whether nothing is in flight and nothing is due but timers.
    pub fn is_quiet(&self) -> bool {
        self.no_units()
            && self.ops.is_empty()
            && self.pass.is_none()
            && self.meta.is_idle()
            && self.ios.is_empty()
            && self.out.is_empty()
            && self.replay.is_over()
    }

    /// Whether no unit of work exists.
    pub(super) fn no_units(&self) -> bool {
        self.pieces.is_empty()
            && self.bands.is_empty()
            && self.windows.is_empty()
            && self.gathered.is_empty()
    }

    /// Whether no write is under way.
    pub(super) fn no_writes(&self) -> bool {
        self.windows.is_empty() && self.writes == 0
    }
}

impl WriteWays {
    pub(super) fn count(&mut self, plan: &Plan) {
        let way = match plan.how {
            _ if plan.reads.is_empty() => &mut self.without_reading,
            How::ReadModifyWrite => &mut self.read_modify_write,
            How::Reconstruct | How::DataOnly => &mut self.reconstruct,
            How::Rebuild => &mut self.rebuild,
        };
        *way += 1;
    }
}
