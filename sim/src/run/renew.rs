//! Operators bring a disk back that was away, or have a new one take over from an old one.

use holdfast_raid::integrity::Scheme;
use holdfast_raid::status::MemberState;
use holdfast_raid::{Defects, Return};

use super::{Mark, Run, Step};

impl<X: Defects> Run<'_, X> {
    /// A disk that is out of service comes back, seen to by a technician. It is whole again as far
    /// as the array says that it has given it what it missed.
    pub(super) fn re_add(&mut self, disk: usize) -> Step {
        let disk = disk % self.disks();
        let state = self.array().status().members[disk].state;
        let out = matches!(state, MemberState::Faulty | MemberState::Stale | MemberState::Foreign);
        // Behind a guard a device that was away is none of the set any more.
        if !out || self.disk(disk).is_gone() || self.scheme() != Scheme::None {
            return Ok(());
        }
        if self.array().outstanding(disk) > 0 {
            return Ok(());
        }
        self.stuck.remove(&disk);
        self.disk_mut(disk).repair();
        // A crash while its superblock is read is a crash before it.
        let fuse = self.pulse.restore();
        let mut clock = self.clock.clone();
        let back = self.array().readd_member(disk, &mut clock);
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
        self.tell(|| format!("  {back:?}"));
        match back {
            Ok(Return::Marked { .. }) => self.marks.meet(Mark::Returned),
            Ok(Return::Whole(_)) => self.marks.meet(Mark::ReturnedWhole),
            Err(_) => return Ok(()),
        }
        self.returning.push(disk);
        self.reassess();
        Ok(())
    }

    /// A new disk is to take over from a member.
    pub(super) fn replace(&mut self, disk: usize) -> Step {
        let (disk, new) = (disk % self.disks(), self.disks());
        self.add_disk()?;
        if self.disks() > new {
            let begun = self.array().replace_member(disk, new);
            self.tell(|| format!("  {begun:?}"));
        }
        Ok(())
    }

    /// What operators have changed is on record: what has been replaced misses writes from now on,
    /// and what has come back is known to have missed some.
    pub(super) fn renewed(&mut self) {
        for disk in std::mem::take(&mut self.retiring) {
            self.retire(disk);
        }
        for disk in std::mem::take(&mut self.returning) {
            self.damage.regain(disk);
        }
    }

    /// Some of that was on its way to the record when everything stopped: what came of it shows in
    /// who is in the array now.
    pub(super) fn renewed_before_crash(&mut self) {
        let status = self.array().status();
        let out = |disk: usize| {
            let state = status.members[disk].state;
            matches!(state, MemberState::Faulty | MemberState::Stale | MemberState::Foreign)
        };
        for disk in std::mem::take(&mut self.retiring) {
            if out(disk) {
                self.retire(disk);
            }
        }
        for disk in std::mem::take(&mut self.returning) {
            if !out(disk) {
                self.damage.regain(disk);
            }
        }
    }

    fn retire(&mut self, disk: usize) {
        self.excused[disk] = true;
        self.damage.lose(disk);
    }
}
