//! The end of a run: faults stop, everything becomes whole, and every byte is read again.
//!
//! 1. What time or a technician can mend is mended: stuck requests go on, full devices have room.
//!    What is lost stays lost; disks that are gone are replaced.
//! 2. The array must become idle: nothing unanswered, no pass pending, marked clean.
//! 3. Within tolerance it must be optimal, and its members must agree, judged from their images.
//! 4. Everything is read. Then the array is stopped, the power fails, it is assembled again, and
//!    everything is read once more.

use holdfast_core::block::BlockDevice;
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::integrity::{Guarded, Scheme};
use holdfast_raid::status::{Health, MemberState, MemberStatus};
use holdfast_raid::{Action, Defects};

use super::{Mark, Oracle, Run, Step};
use crate::content::SECTOR;
use crate::disk::SimDisk;
use crate::ledger::Crash;
use crate::rows::RowSet;

/// Sectors read at once.
const STRIDE: u64 = 128;

/// Virtual time in which an array must be marked clean and have nothing left to do, beside the time
/// that a throttled pass takes.
const IDLE_WITHIN: Duration = Duration::from_secs(60);

impl<X: Defects> Run<'_, X> {
    pub(super) fn finish(&mut self) -> Step {
        if self.cut.is_some() {
            self.crash()?;
        }
        self.mend()?;
        self.become_whole()?;
        self.become_idle()?;
        self.judge_members()?;
        self.read_everything()?;
        self.stop_and_read_again()?;
        if !self.damage.is_exceeded() {
            self.marks.meet(Mark::Clean);
        }
        Ok(())
    }

    fn mend(&mut self) -> Step {
        // What becomes readable again may be older than what was read in its place.
        self.reassess();
        for disk in 0..self.disks() {
            self.disk_mut(disk).repair();
        }
        self.stuck.clear();
        for disk in 0..self.disks() {
            if self.disk(disk).is_gone() {
                // An operator tells the array what it may not have noticed yet.
                let _ = self.array().fail_member(disk);
            }
        }
        self.drain()?;
        // Late answers still tell of disks that had no room.
        self.settle()?;
        self.room_is_short = false;
        self.array().start_pending();
        self.settle()
    }

    fn become_whole(&mut self) -> Step {
        let redundant = self.script.setup.level.is_redundant();
        for _ in 0..self.script.setup.members {
            let missing = self.claims().missing();
            if missing == 0 || !redundant {
                break;
            }
            // An array that has given up uses no spare; it is not to be buried in them.
            let spare = |m: &&MemberStatus| m.state == MemberState::Spare;
            let spares = self.array().status().members.iter().filter(spare).count();
            for _ in spares..missing {
                self.add_disk()?;
            }
            self.settle()?;
            self.array().start_pending();
            self.settle()?;
        }
        // A pass over everything finds what cannot be read and writes it again.
        if redundant {
            self.check_everything()?;
        }
        Ok(())
    }

    /// A check at rest. Where nothing was unreadable it leaves every member as it was, also where
    /// it finds differences: which half is right is not for it to decide.
    fn check_everything(&mut self) -> Step {
        let filled =
            |m: &MemberStatus| matches!(m.state, MemberState::Rebuilding | MemberState::Replacing);
        let bad = |m: &MemberStatus| m.bad_sectors > 0 || filled(m);
        let unreadable = (0..self.disks()).any(|disk| self.disk(disk).has_bad_sectors());
        let intact = !unreadable && !self.array().status().members.iter().any(bad);
        // Where nothing silent was done there are no differences, which is seen elsewhere.
        let watched = intact && self.silenced && self.scheme() == Scheme::None;
        // On a disk that is out of service late writes may still land.
        let serving: Vec<usize> =
            self.claims().servers.iter().flatten().map(|server| server.disk).collect();
        let before = if watched { self.data_of(&serving) } else { Vec::new() };
        self.pass(Action::Check { locate: false })?;
        self.settle()?;
        if watched && before != self.data_of(&serving) {
            let detail = "a check has changed what members hold".to_owned();
            return self.violation(Oracle::Untouched, detail);
        }
        Ok(())
    }

    /// What the data areas of these disks hold.
    fn data_of(&mut self, disks: &[usize]) -> Vec<Vec<u8>> {
        let sectors = self.script.setup.disk_sectors;
        let members = self.array().status().members;
        let data = |&disk: &usize| {
            let first = members[disk].data_offset as usize * SECTOR;
            let image = self.disk(disk).image();
            let end = (first + sectors as usize * SECTOR).min(image.len());
            image[first.min(end)..end].to_vec()
        };
        disks.iter().map(data).collect()
    }

    fn become_idle(&mut self) -> Step {
        let end = self.clock.time() + IDLE_WITHIN + self.slowest_pass();
        self.pump_until(end)?;
        let status = self.array().status();
        let idle = status.sync.is_none() && self.array().is_quiet();
        if !idle {
            let detail = format!("busy although nothing happens: {status:?}");
            return self.violation(Oracle::Honesty, detail);
        }
        if !self.within() {
            return Ok(());
        }
        let redundant = self.script.setup.level.is_redundant();
        let whole = status.health == Health::Optimal && status.resync_from.is_none();
        let tidy = status.clean && status.bitmap.is_none_or(|bitmap| bitmap.dirty == 0);
        let serves = |m: &MemberStatus| m.state == MemberState::InSync;
        let bad = status.members.iter().any(|m| serves(m) && m.bad_sectors > 0);
        if redundant && !(whole && tidy && !bad) {
            let detail =
                format!("not clean and in sync {IDLE_WITHIN:?} after the last fault: {status:?}");
            return self.violation(Oracle::Needless, detail);
        }
        Ok(())
    }

    /// How long a pass over everything takes while somebody uses the array.
    fn slowest_pass(&self) -> Duration {
        let kib = self.script.setup.disk_sectors * self.script.setup.members as u64 / 2;
        Duration::from_secs(kib / u64::from(self.script.weather.pace.busy))
    }

    fn judge_members(&mut self) -> Step {
        if self.may_have_given_up() || self.silenced {
            return Ok(());
        }
        let claims = self.claims();
        let guarded = self.scheme() != Scheme::None;
        let plain: Vec<SimDisk> =
            (0..self.disks()).filter(|_| guarded).map(|disk| self.plain_disk(disk)).collect();
        let members: Vec<_> = claims
            .servers
            .iter()
            .map(|server| {
                let server = server.filter(|server| server.until == u64::MAX)?;
                let disk = plain.get(server.disk);
                Some((disk.unwrap_or_else(|| self.disk(server.disk)), server.data_offset))
            })
            .collect();
        match self.rows.difference(&members) {
            Some(difference) => self.violation(Oracle::Redundancy, difference),
            None => Ok(()),
        }
    }

    fn read_everything(&mut self) -> Step {
        let sectors = self.rows.array_sectors();
        for sector in (0..sectors).step_by(STRIDE as usize) {
            self.read(sector, STRIDE)?;
        }
        self.drain()
    }

    fn stop_and_read_again(&mut self) -> Step {
        self.array().stop();
        self.pump_while("stopping at the end", |run| !run.array().is_stopped())?;
        self.layer_goes_down();
        let array = self.array.take().expect("it has just stopped");
        let mut disks: Vec<SimDisk> =
            array.into_devices().into_iter().map(Guarded::into_inner).collect();
        if self.may_have_given_up() {
            // An array that has given up flushes nothing: what was in flight is so once more.
            let mut doubt = RowSet::none(self.rows.count());
            self.ledger.rows_in_doubt(&self.rows, Crash::PowerCut, &mut doubt);
            doubt.extend(self.damage.was_at_risk());
            self.damage.put_at_risk(&doubt);
        } else {
            self.ledger.flushed_all();
        }
        let mut rng = Rng::new(self.pulse.hash());
        for disk in &mut disks {
            disk.power_cut(&mut rng);
        }
        self.ledger.crash(Crash::PowerCut);
        self.assemble(disks)?;
        let status = self.array().status();
        if self.within() && status.resync_from.is_some() {
            let detail = "unclean after a stop in good order".to_owned();
            return self.violation(Oracle::Needless, detail);
        }
        debug_assert!(self.array().geometry().sectors == self.rows.array_sectors());
        self.read_everything()
    }
}
