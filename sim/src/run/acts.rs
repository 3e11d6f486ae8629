//! The acts of a script, one by one.

use std::collections::BTreeSet;

use holdfast_core::block::BlockDevice;
use holdfast_core::time::Clock;
use holdfast_raid::array::AddMember;
use holdfast_raid::integrity::{self, Guarded, Scheme};
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{Action, Defects};

use super::{Mark, Run, Step, world};
use crate::damage::Blow;
use crate::disk::SimDisk;
use crate::rows::RowSet;
use crate::script::Act;

impl<X: Defects> Run<'_, X> {
    pub(super) fn perform(&mut self, act: &Act) -> Step {
        match *act {
            Act::Write { sector, sectors, fua } => self.write(sector, sectors, fua),
            Act::Read { sector, sectors } => self.read(sector, sectors),
            Act::Zero { sector, sectors } => self.zero(sector, sectors, false),
            Act::Discard { sector, sectors } => self.zero(sector, sectors, true),
            Act::Flush => self.flush(),
            Act::Drain => self.drain(),
            Act::Settle => {
                self.drain()?;
                self.settle()
            }
            Act::Restart => self.restart(),
            Act::Check => self.pass(Action::Check { locate: false }),
            Act::Repair => self.pass(Action::Repair { locate: false }),
            Act::AddDisk => self.add_disk(),
            Act::ReAdd { disk } => self.re_add(disk),
            Act::Replace { disk } => self.replace(disk),
            Act::Cut { steps, crash, seed } => {
                if self.cut.is_some() {
                    self.crash()?;
                }
                self.cut = Some((crash, seed));
                self.pulse.light_fuse(steps.max(1));
                Ok(())
            }
            _ => self.break_and_note(act),
        }
    }

    fn restart(&mut self) -> Step {
        self.drain()?;
        let life = self.life;
        self.array().stop();
        self.pump_while("stopping", |run| run.life == life && !run.array().is_stopped())?;
        if self.life != life {
            self.marks.meet(Mark::CutInStop);
            return Ok(());
        }
        self.layer_goes_down();
        // A member without room could not make durable what it took: the array says so.
        let kept_marked = self.room_is_short && !self.array().status().clean;
        let array = self.array.take().expect("it has just stopped");
        let mut disks: Vec<SimDisk> =
            array.into_devices().into_iter().map(Guarded::into_inner).collect();
        self.let_strays_land(&mut disks);
        if !self.may_have_given_up() && !kept_marked {
            self.ledger.flushed_all();
        }
        self.life += 1;
        self.assemble(disks)
    }

    /// What the array had given up may still be on its way: whoever opens the disks next finds them
    /// idle.
    fn let_strays_land(&mut self, disks: &mut [SimDisk]) {
        let fuse = self.pulse.restore();
        let mut strays = Vec::new();
        for disk in disks {
            while let Some(at) = disk.poll_at() {
                self.clock.wait(Some(at));
                disk.poll(self.clock.time(), &mut strays);
            }
        }
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
    }

    /// Starts a pass over everything; one that is running already goes on.
    pub(super) fn pass(&mut self, action: Action) -> Step {
        let _ = self.array().start(action);
        Ok(())
    }

    pub(super) fn add_disk(&mut self) -> Step {
        let (id, script) = (self.disks(), self.script);
        let sectors = world::recipe(&script.setup).disk_sectors(script.setup.disk_sectors);
        let mut disk = world::disk(script, id, sectors, &self.clock, &self.pulse);
        match self.scheme() {
            Scheme::None => disk.set_data_offset(128),
            _ => disk = world::sealed_disk(script, id, &disk, 128, &self.clock, &self.pulse),
        }
        // A crash meanwhile is a crash before it.
        let fuse = self.pulse.restore();
        let mut clock = self.clock.clone();
        let beside = self.array.as_mut().expect("an array runs").device_mut(0);
        let disk = integrity::join(disk, id as u32, beside, &mut clock);
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
        let device_uuid = Uuid([id as u8 + 1; 16]);
        let new = AddMember { device_uuid, write_mostly: false };
        if self.array().add_member(disk, new).is_ok() {
            self.damage.add_disk();
            self.excused.push(false);
        }
        Ok(())
    }

    pub(super) fn release_all(&mut self) {
        for disk in std::mem::take(&mut self.stuck) {
            self.disk_mut(disk).release();
        }
    }

    pub(super) fn break_something(&mut self, act: &Act) -> Step {
        self.believe();
        match *act {
            Act::Vanish { disk } => {
                let disk = disk % self.disks();
                if !self.disk(disk).is_gone() && !self.damage.is_lost(disk) {
                    self.whole_when_it_went.insert(disk);
                }
                self.lose(disk, SimDisk::vanish)
            }
            Act::ReadOnly { disk } => self.lose(disk, |disk| disk.set_read_only(true)),
            Act::FailMember { disk } => {
                let disk = disk % self.disks();
                if self.spared(&[disk]) {
                    return Ok(());
                }
                self.excused[disk] = true;
                if self.array().fail_member(disk).is_ok() {
                    self.damage.lose(disk);
                }
                self.reassess();
                Ok(())
            }
            Act::ComeBack { disk } => {
                let disk = disk % self.disks();
                if self.disk(disk).is_gone() {
                    self.disk_mut(disk).come_back();
                    let whole = self.whole_when_it_went.remove(&disk);
                    if whole && !self.disk(disk).has_missed() && self.disk(disk).takes_writes() {
                        self.damage.regain(disk);
                    }
                }
                Ok(())
            }
            Act::Latent { disk, sector, sectors } => {
                self.spoil(disk, sector, sectors, |disk, range| disk.add_latent(range))
            }
            Act::Dead { disk, sector, sectors } => {
                self.spoil(disk, sector, sectors, |disk, range| disk.add_dead(range))
            }
            Act::Stick { disk, requests } => {
                let disk = disk % self.disks();
                self.delay(disk, |disk| disk.stick(requests));
                self.stuck.insert(disk);
                Ok(())
            }
            Act::Release { disk } => {
                let disk = disk % self.disks();
                self.stuck.remove(&disk);
                self.disk_mut(disk).release();
                Ok(())
            }
            Act::Slow { disk, times } => {
                let disk = disk % self.disks();
                self.delay(disk, |disk| disk.set_slowness(times.max(1)));
                Ok(())
            }
            Act::Full { disk, full } => {
                let disk = disk % self.disks();
                if full {
                    // Without room for its metadata a member cannot stay.
                    if self.spared(&[disk]) {
                        return Ok(());
                    }
                    self.excused[disk] = true;
                    self.damage.lose(disk);
                    self.room_is_short = true;
                }
                self.disk_mut(disk).set_full(full);
                self.reassess();
                Ok(())
            }
            _ => self.break_silently(act),
        }
    }

    /// Faults that no error tells of. Nothing within tolerance knows what to do about them.
    fn break_silently(&mut self, act: &Act) -> Step {
        if self.is_seen(act) {
            return self.break_noticeably(act);
        }
        if self.within() {
            self.marks.meet(Mark::FaultSpared);
            return Ok(());
        }
        self.silenced = true;
        self.damage.all_wild();
        match *act {
            Act::Corrupt { disk, sector, sectors } => {
                let disk = disk % self.disks();
                let (start, end) = self.spot(disk, sector, sectors);
                self.excused[disk] = true;
                let range = self.array().device_mut(disk).shape().device_range(start..end);
                self.disk_mut(disk).corrupt(range);
            }
            Act::Silent { disk, silent } => {
                let disk = disk % self.disks();
                // A guard, or a superblock that was hit, may notice after all.
                self.excused[disk] = true;
                self.disk_mut(disk).set_silent(silent);
            }
            Act::Lie { disk } => {
                let disk = disk % self.disks();
                self.excused[disk] = true;
                self.lying = true;
                self.disk_mut(disk).set_lying(true);
            }
            _ => unreachable!("every other act has been seen to"),
        }
        Ok(())
    }

    /// Device sectors of a spot in a disk's data.
    fn spot(&mut self, disk: usize, sector: u64, sectors: u64) -> (u64, u64) {
        let offset = self.array().status().members[disk].data_offset;
        let room = self.script.setup.disk_sectors;
        // Behind a guard the smallest thing that is lost is a block.
        let grain = match self.scheme() {
            Scheme::None => 1,
            _ => integrity::BLOCK_SECTORS,
        };
        let start = sector % room / grain * grain;
        let end = (sector % room + sectors.max(1)).next_multiple_of(grain).min(room);
        (offset + start, offset + end)
    }

    /// Whether losing these disks would be too much and must not happen.
    fn spared(&mut self, disks: &[usize]) -> bool {
        if !self.within() {
            return false;
        }
        // What is being rebuilt stands in for nobody whom the array could then spare.
        let claims = self.claims().on_record(&BTreeSet::new());
        let none = RowSet::none(self.rows.count());
        let blows: Vec<Blow> = disks.iter().map(|disk| Blow::whole(*disk)).collect();
        let spared = self.exceeds(&claims, &blows, &none);
        if spared {
            self.marks.meet(Mark::FaultSpared);
        }
        spared
    }

    /// A whole disk is lost.
    fn lose(&mut self, disk: usize, how: impl FnOnce(&mut SimDisk)) -> Step {
        let disk = disk % self.disks();
        if self.spared(&[disk]) {
            return Ok(());
        }
        self.excused[disk] = true;
        self.damage.lose(disk);
        how(self.disk_mut(disk));
        self.reassess();
        Ok(())
    }

    /// A disk becomes late. With a deadline that may cost it its membership.
    fn delay(&mut self, disk: usize, how: impl FnOnce(&mut SimDisk)) {
        if self.script.weather.deadline_ms > 0 {
            if self.spared(&[disk]) {
                return;
            }
            self.excused[disk] = true;
            self.damage.lose(disk);
        }
        how(self.disk_mut(disk));
        self.reassess();
    }

    /// Some sectors of a disk are lost.
    pub(super) fn spoil(
        &mut self,
        disk: usize,
        sector: u64,
        sectors: u64,
        how: impl FnOnce(&mut SimDisk, std::ops::Range<u64>),
    ) -> Step {
        let disk = disk % self.disks();
        let (start, end) = self.spot(disk, sector, sectors);
        if self.within() {
            let claims = self.claims();
            let none = RowSet::none(self.rows.count());
            if self.exceeds(&claims, &[Blow { disk, sectors: start..end }], &none) {
                self.marks.meet(Mark::FaultSpared);
                return Ok(());
            }
        }
        // Read errors are counted, and twenty of them are a reason.
        self.excused[disk] |= !self.within();
        let range = self.array().device_mut(disk).shape().device_range(start..end);
        how(self.disk_mut(disk), range);
        self.reassess();
        Ok(())
    }
}
