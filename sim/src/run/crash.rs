//! Crashes and what follows: the disks keep what they keep, and the array is assembled again.
//!
//! Force is used only where an administrator of Linux would have to use it as well, and what it
//! costs is noted: rows that were out of date or in doubt may then hold anything.

use holdfast_core::rng::Rng;
use holdfast_raid::integrity::{self, Guarded};
use holdfast_raid::{
    Action, Array, AssembleError, Assembled, Defects, Options, assemble_with, scan,
};

use super::{Mark, Oracle, Run, Step, Stop, world};
use crate::damage::Claims;
use crate::disk::SimDisk;
use crate::ledger::Crash;
use crate::rows::RowSet;

impl<X: Defects> Run<'_, X> {
    /// The fuse has burnt down.
    pub(super) fn crash(&mut self) -> Step {
        let (crash, seed) = self.cut.take().expect("a fuse burns for a reason");
        self.pulse.restore();
        let mut doubt = RowSet::none(self.rows.count());
        self.ledger.rows_in_doubt(&self.rows, crash, &mut doubt);
        doubt.extend(self.damage.was_at_risk());
        self.believe();
        let claims = self.claims();
        if self.within() && self.exceeds(&claims.on_record(&self.fresh), &[], &doubt) {
            self.marks.meet(Mark::CutSpared);
            return Ok(());
        }
        self.fresh.clear();
        self.note_crash(crash, &claims);
        self.note_situation(crash.into());
        self.tell(|| format!("! {crash:?}"));
        // What was read from a member that will not be taken back may change.
        self.reassess();
        self.layer_goes_down();
        let mut rng = Rng::new(seed);
        let array = self.array.take().expect("an array runs");
        let mut disks: Vec<SimDisk> =
            array.into_devices().into_iter().map(Guarded::into_inner).collect();
        for disk in &mut disks {
            match crash {
                Crash::Kill => disk.kill(),
                Crash::PowerCut => disk.power_cut(&mut rng),
            }
        }
        self.flying.clear();
        self.ledger.crash(crash);
        self.damage.put_at_risk(&doubt);
        if self.lying && crash == Crash::PowerCut {
            self.damage.all_wild();
        }
        self.life += 1;
        self.assemble(disks)?;
        self.look_at_choices()
    }

    pub(super) fn note_crash(&mut self, crash: Crash, claims: &Claims) {
        let status = self.array().status();
        self.marks.meet(if crash == Crash::Kill { Mark::Kill } else { Mark::PowerCut });
        match status.sync.map(|sync| sync.action) {
            Some(Action::Resync) => self.marks.meet(Mark::CutInResync),
            Some(Action::Recover) => self.marks.meet(Mark::CutInRecovery),
            _ => {}
        }
        if claims.servers.iter().any(Option::is_none) {
            self.marks.meet(Mark::CutDegraded);
        }
    }

    /// Reads what a crash has left open, so that it cannot change any more.
    pub(super) fn look_at_choices(&mut self) -> Step {
        let open = self.ledger.open_choices();
        if !open.is_empty() {
            self.marks.meet(Mark::Choices);
        }
        let life = self.life;
        for (sector, sectors) in open {
            if self.life == life {
                self.read(sector, sectors)?;
            }
        }
        Ok(())
    }

    pub(super) fn assemble(&mut self, mut disks: Vec<SimDisk>) -> Step {
        for disk in &mut disks {
            disk.release();
        }
        self.stuck.clear();
        // A crash while the layer comes up is a crash before it.
        let fuse = self.pulse.restore();
        let mut disks = integrity::open(disks, self.scheme(), &mut self.clock);
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
        let error = match self.try_assemble(&mut disks, false) {
            Ok(array) => return self.assembled(array, disks),
            Err(error) => error,
        };
        let lossless = (0..self.disks()).all(|disk| !self.excused[disk]);
        let dirty = matches!(error, AssembleError::DirtyDegraded { .. });
        if lossless || self.within() && !dirty {
            return self.violation(Oracle::Needless, format!("assembly refused: {error}"));
        }
        match self.try_assemble(&mut disks, true) {
            Ok(array) => {
                self.marks.meet(Mark::Forced);
                if !dirty {
                    // Out-of-date members were taken: what they missed is anybody's guess.
                    self.damage.all_wild();
                }
                self.assembled(array, disks)
            }
            Err(error) if self.within() => {
                self.violation(Oracle::Needless, format!("assembly refused with force: {error}"))
            }
            Err(_) => {
                self.marks.meet(Mark::Refused);
                Err(Stop::Over)
            }
        }
    }

    pub(super) fn try_assemble(
        &mut self,
        disks: &mut [Guarded<SimDisk>],
        force: bool,
    ) -> Result<Array<X>, AssembleError> {
        // A crash in the middle of reading superblocks is a crash before it.
        let fuse = self.pulse.restore();
        let probes = scan(disks, &mut self.clock);
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
        let options = Options { force, set: None };
        assemble_with(probes, world::config(self.script), &options, self.defects)
    }

    pub(super) fn assembled(&mut self, array: Array<X>, disks: Vec<Guarded<SimDisk>>) -> Step {
        self.tell(|| {
            let status = array.status();
            let members: Vec<_> =
                status.members.iter().map(|m| (m.slot, m.state, m.events)).collect();
            format!("= assembled: resync from {:?}, members {members:?}", status.resync_from)
        });
        self.array = Some(Assembled::new(array, disks));
        self.overdrawn = false;
        // What was hit while the layer came up may have been believed, too.
        self.layer_goes_down();
        let claims = self.claims();
        self.damage.believe_disks(&claims);
        if self.nobody_knows_better() {
            self.damage.all_wild();
        }
        self.renewed_before_crash();
        self.reassess();
        let unused = |claims: &Claims, disk: usize| {
            !claims.servers.iter().flatten().any(|server| server.disk == disk)
        };
        let claims = self.claims();
        let stale = (0..self.disks()).any(|disk| {
            self.damage.is_lost(disk) && unused(&claims, disk) && !self.disk(disk).is_gone()
        });
        if stale {
            self.marks.meet(Mark::StaleThere);
        }
        Ok(())
    }

    /// Whether the array has been assembled from members that missed something, and everybody who
    /// could have told it is gone.
    fn nobody_knows_better(&mut self) -> bool {
        let members = self.array().status().members;
        let knows = |disk: usize| !self.damage.is_lost(disk) && !self.disk(disk).is_gone();
        let witness = (0..self.disks()).any(|disk| members[disk].slot.is_some() && knows(disk));
        !witness && self.rows.tolerance() > 0
    }

    pub(super) fn disk(&self, disk: usize) -> &SimDisk {
        self.array.as_ref().expect("an array runs").device(disk).inner()
    }
}
