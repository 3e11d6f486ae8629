//! What an integrity layer changes in a run.
//!
//! A silent fault that the scheme sees is a loss like an unreadable sector: the row bears it or
//! is exceeded, and is never allowed to be wrong. Where a region was open when the layer went down
//! it believes what it finds, so rows that were hit since the last assembly are *wild* from the
//! next one on: that is the layer's own limit, and it is predicted, not excused.

use std::ops::Range;

use holdfast_core::block::BlockDevice;
use holdfast_raid::Defects;
use holdfast_raid::integrity::{BLOCK_SECTORS, Guarded, Scheme};
use holdfast_raid::layout::Place;
use holdfast_raid::status::MemberState;

use super::Run;
use crate::damage::{Blow, Claims};
use crate::disk::SimDisk;
use crate::script::Act;
use crate::table::schemes::{Partial, Verdict, expected};

impl<X: Defects> Run<'_, X> {
    pub(super) const fn scheme(&self) -> Scheme {
        self.script.setup.integrity
    }

    pub(super) fn disk_mut(&mut self, disk: usize) -> &mut SimDisk {
        self.array().device_mut(disk).inner_mut()
    }

    /// Whether the scheme sees this silent fault, wherever it strikes.
    pub(super) fn is_seen(&self, act: &Act) -> bool {
        let sees =
            |fault| self.scheme() != Scheme::None && expected(self.scheme(), fault) == Verdict::Ok;
        match act {
            Act::Corrupt { .. } => sees(Partial::Corruption),
            // A write of many blocks can be torn between two of them, and is then lost for one.
            Act::Silent { .. } => {
                [Partial::Torn, Partial::Lost, Partial::Misdirected].into_iter().all(sees)
            }
            _ => false,
        }
    }

    /// A silent fault that is seen; what it hits is lost until it is written again.
    pub(super) fn break_noticeably(&mut self, act: &Act) -> super::Step {
        match *act {
            Act::Corrupt { disk, sector, sectors } => {
                self.spoil(disk, sector, sectors, |disk, range| disk.corrupt(range))
            }
            Act::Silent { disk, silent } if !self.within() => {
                let disk = disk % self.disks();
                // Read errors are counted, and twenty of them are a reason.
                self.excused[disk] = true;
                self.lurking = true;
                self.disk_mut(disk).set_silent(silent);
                Ok(())
            }
            // Nobody knows beforehand which row it will hit.
            _ => {
                self.marks.meet(super::Mark::FaultSpared);
                Ok(())
            }
        }
    }

    /// Silent faults strike when something is written; what is lost has to be looked at then, by
    /// what the array held before and by what it holds now: it may have gone on without a pause.
    pub(super) fn notice_silent_faults(&mut self, before: &Claims) {
        self.struck = 0;
        let mut blows = Vec::new();
        for disk in 0..self.disks() {
            let sectors = self.disk_mut(disk).take_struck();
            self.struck += usize::from(!sectors.is_empty());
            let member = self.array().device(disk);
            blows.extend(sectors.into_iter().filter_map(|sector| Blow::at(disk, member, sector)));
        }
        let fooled: Vec<Blow> = blows.iter().filter(|blow| self.is_fooled(blow)).cloned().collect();
        for Blow { disk, sectors } in fooled {
            self.make_wild(disk, sectors);
        }
        if self.struck > 0 {
            self.missing = before.missing().max(self.claims().missing());
            let array = self.array.as_ref().expect("an array runs");
            // Some may have been healed since, from what then stood in their rows.
            self.damage.assess(before, &blows, array);
            self.reassess();
        }
    }

    /// Whether a block and the checksum kept elsewhere have both missed what was meant for them: they
    /// may agree with each other, about what was there before.
    fn is_fooled(&self, blow: &Blow) -> bool {
        let member = self.array.as_ref().expect("an array runs").device(blow.disk);
        let (disk, shape) = (member.inner(), member.shape());
        let block = blow.sectors.start / BLOCK_SECTORS;
        let unsound = |sectors: Range<u64>| disk.unsound_sectors().any(|at| sectors.contains(&at));
        let (data, seal) = (shape.data_sector(block), shape.seal_sector(block));
        self.scheme().is_apart() && unsound(data..data + BLOCK_SECTORS) && unsound(seal..seal + 1)
    }

    /// Rows that live in these sectors of a disk may hold anything.
    fn make_wild(&mut self, disk: usize, sectors: Range<u64>) {
        let member = self.array().status().members[disk].clone();
        // A member that failed just now may be back: its failure is not on record yet.
        let Some(slot) = member.slot.filter(|_| member.state != MemberState::Stale) else { return };
        for sector in sectors.filter_map(|sector| sector.checked_sub(member.data_offset)) {
            let row = self.rows.at(Place { slot, sector });
            if let Some(row) = row.filter(|row| *row < self.rows.count()) {
                self.damage.make_wild(row);
            }
        }
    }

    /// Whether what has been struck just now, with what is missing, is more than rows bear.
    pub(super) fn is_struck_too_hard(&self) -> bool {
        self.struck > 0 && self.struck + self.missing > self.rows.tolerance() as usize
    }

    /// The layer goes down. Rows hit by a silent fault since it came up may be believed as they
    /// stand when it comes up again.
    pub(super) fn layer_goes_down(&mut self) {
        if self.scheme() == Scheme::None {
            return;
        }
        for disk in 0..self.disks() {
            let shape = self.array().device_mut(disk).shape();
            let sectors = self.disk_mut(disk).take_once_unsound();
            for block in sectors.into_iter().filter_map(|sector| shape.block_at(sector)) {
                self.make_wild(disk, block * BLOCK_SECTORS..(block + 1) * BLOCK_SECTORS);
            }
        }
    }

    /// A range of the array in whole blocks, which is what guarded members take.
    pub(super) fn in_blocks(&self, sector: u64, sectors: u64) -> (u64, u64) {
        if self.scheme() == Scheme::None {
            return (sector, sectors);
        }
        let all = self.rows.array_sectors() / BLOCK_SECTORS * BLOCK_SECTORS;
        let start = (sector / BLOCK_SECTORS * BLOCK_SECTORS).min(all - BLOCK_SECTORS);
        let end = (sector + sectors).next_multiple_of(BLOCK_SECTORS).min(all);
        (start, (end - start).max(BLOCK_SECTORS))
    }

    /// The members' blocks as they are, without their seals.
    pub(super) fn plain_disk(&self, disk: usize) -> SimDisk {
        let member: &Guarded<SimDisk> = self.array.as_ref().expect("an array runs").device(disk);
        let (shape, sectors) = (member.shape(), member.geometry().sectors);
        let mut plain = super::world::disk(self.script, disk, sectors, &self.clock, &self.pulse);
        for block in 0..shape.blocks() {
            if let Some(bytes) = member.inner().peek(shape.data_sector(block), BLOCK_SECTORS) {
                plain.put(block * BLOCK_SECTORS, &bytes);
            }
        }
        plain
    }
}
