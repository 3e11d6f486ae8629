//! How much of each row is lost, judged from what was done to the disks.
//!
//! The ledger of faults: it knows which disks were taken away, which sectors cannot be read, and
//! where a crash or a failed write left the members of a row in disagreement (*at risk*). The
//! array is not asked what it believes to have lost. What it claims to have *regained* (a member
//! rebuilt, a resync finished) is taken at its word, which makes the judge stricter, never milder.
//!
//! A row that has lost more than its tolerance is *exceeded* from then on: errors are in order, and
//! correct data too. A parity row that is at risk and has lost a member is *wild*: what is
//! computed from it may be anything, and nothing in the array could know. That is the write hole.

use std::collections::BTreeSet;
use std::iter;
use std::ops::Range;

use holdfast_raid::integrity::{BLOCK_SECTORS, Guarded, Shape};
use holdfast_raid::status::{MemberState, Status};
use holdfast_raid::{Assembled, Defects};

use crate::disk::SimDisk;
use crate::rows::{RowSet, Rows};

/// What may be expected of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expect {
    /// Right data, no error.
    MustOk,
    /// Right data or an error.
    MayError,
    /// Anything: wrong data nobody could notice.
    PredictedSilent,
}

/// What serves a slot, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The disk.
    pub disk: usize,
    /// First sector of its data.
    pub data_offset: u64,
    /// It holds its slot's data below this sector.
    pub until: u64,
}

/// What an array claims to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// By slot.
    pub servers: Vec<Option<Server>>,
    /// Rows below this one agree; none means all of them.
    pub in_doubt_from: Option<u64>,
}

impl Claims {
    /// What a status says.
    pub fn of(status: &Status) -> Self {
        let mut servers = vec![None; status.raid_disks as usize];
        for (disk, member) in status.members.iter().enumerate() {
            let until = match (member.state, member.recovery_offset) {
                (MemberState::InSync, _) => u64::MAX,
                (MemberState::Rebuilding, Some(offset)) => offset,
                _ => continue,
            };
            if let Some(slot) = member.slot {
                let data_offset = member.data_offset;
                servers[slot as usize] = Some(Server { disk, data_offset, until });
            }
        }
        Self { servers, in_doubt_from: status.resync_from }
    }

    /// Slots that nothing serves.
    pub fn missing(&self) -> usize {
        self.servers.iter().filter(|server| server.is_none()).count()
    }

    /// What is sure to be claimed after a crash now: how far a rebuild has come, and that a `fresh`
    /// disk has been rebuilt to its end, is on record now and then only.
    #[must_use]
    pub fn on_record(&self, fresh: &BTreeSet<usize>) -> Self {
        let mut claims = self.clone();
        for server in claims.servers.iter_mut().flatten() {
            if server.until != u64::MAX || fresh.contains(&server.disk) {
                server.until = 0;
            }
        }
        claims
    }
}

/// Sectors of a disk that are about to be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// The disk.
    pub disk: usize,
    /// Its sectors, counted from its first.
    pub sectors: Range<u64>,
}

impl Blow {
    /// The whole disk.
    pub const fn whole(disk: usize) -> Self {
        Self { disk, sectors: 0..u64::MAX }
    }

    /// What a silent fault at a sector of a disk costs its member, if a guard tells of it.
    pub fn at(disk: usize, member: &Guarded<SimDisk>, sector: u64) -> Option<Self> {
        let sectors = member.is_guarded().then(|| beneath(member.shape(), sector))??;
        Some(Self { disk, sectors })
    }
}

/// The same sectors in ranges that ascend and do not meet.
fn apart(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The damage done so far.
#[derive(Debug)]
pub struct Damage {
    rows: Rows,
    /// Disks that are gone, or were and came back stale, or refuse writes.
    lost: Vec<bool>,
    /// Rows whose members may disagree after a crash.
    at_risk: RowSet,
    /// Rows that were at risk at some time since the last assembly: what has made them agree may
    /// not be durable yet.
    was_at_risk: RowSet,
    /// The same after a failed write; only a whole resync ends that.
    stained: RowSet,
    exceeded: RowSet,
    wild: RowSet,
    /// Rows in which members may disagree and one is missing.
    torn: RowSet,
}

impl Damage {
    /// None yet, to an array on so many disks.
    pub fn none(rows: Rows, disks: usize) -> Self {
        let none = RowSet::none(rows.count());
        Self {
            rows,
            lost: vec![false; disks],
            at_risk: none.clone(),
            was_at_risk: none.clone(),
            stained: none.clone(),
            exceeded: none.clone(),
            wild: none.clone(),
            torn: none,
        }
    }

    /// A disk joins.
    pub fn add_disk(&mut self) {
        self.lost.push(false);
    }

    /// Whether a disk's contents count no more.
    pub fn is_lost(&self, disk: usize) -> bool {
        self.lost[disk]
    }

    /// A disk's contents count no more.
    pub fn lose(&mut self, disk: usize) {
        self.lost[disk] = true;
    }

    /// A disk was away and has missed nothing.
    pub fn regain(&mut self, disk: usize) {
        self.lost[disk] = false;
    }

    /// Members may disagree in these rows.
    pub fn put_at_risk(&mut self, rows: &RowSet) {
        self.at_risk.extend(rows);
        self.was_at_risk.extend(rows);
    }

    /// Rows whose members may disagree.
    pub const fn at_risk(&self) -> &RowSet {
        &self.at_risk
    }

    /// Rows that a crash would put at risk again, whatever has been made of them since.
    pub const fn was_at_risk(&self) -> &RowSet {
        &self.was_at_risk
    }

    /// An array has been assembled: what it says now it says from its disks.
    pub fn believe_disks(&mut self, claims: &Claims) {
        self.believe(claims);
        self.was_at_risk = self.at_risk.clone();
    }

    /// Rows in which members may disagree until the next whole resync.
    pub fn stained(&mut self) -> &mut RowSet {
        &mut self.stained
    }

    /// Every row may hold anything: a device broke its contract.
    pub fn all_wild(&mut self) {
        self.wild.insert_range(0..self.rows.count());
    }

    /// A row may hold anything.
    pub fn make_wild(&mut self, row: u64) {
        self.wild.insert(row);
    }

    /// What may be expected of a row.
    pub fn expect(&self, row: u64) -> Expect {
        match () {
            () if self.wild.contains(row) => Expect::PredictedSilent,
            () if self.exceeded.contains(row) => Expect::MayError,
            () => Expect::MustOk,
        }
    }

    /// Whether no row may hold anything: every sector has a right answer.
    pub const fn is_tame(&self) -> bool {
        self.wild.is_empty()
    }

    /// Whether any row has lost more than it bears.
    pub const fn is_exceeded(&self) -> bool {
        !self.exceeded.is_empty() || !self.wild.is_empty()
    }

    /// Whether what is read in a row may change with the member it is read from, because which
    /// members can be read there is not settled.
    pub fn is_torn(&self, row: u64) -> bool {
        self.torn.contains(row) && self.disagrees(row)
    }

    /// Whether members may disagree in a row.
    pub fn disagrees(&self, row: u64) -> bool {
        self.at_risk.contains(row) || self.stained.contains(row)
    }

    /// Takes the array at its word where it claims to have made members agree.
    pub fn believe(&mut self, claims: &Claims) {
        self.at_risk.remove_below(claims.in_doubt_from.unwrap_or(u64::MAX));
        if claims.in_doubt_from.is_none() {
            self.stained.remove_below(u64::MAX);
        }
    }

    /// What each slot has lost of its data: ranges, ascending and apart.
    fn lost_ranges<X: Defects>(
        &self,
        claims: &Claims,
        more: &[Blow],
        array: &Assembled<Guarded<SimDisk>, X>,
    ) -> Vec<Vec<Range<u64>>> {
        let everything = || iter::once(0..u64::MAX).collect::<Vec<_>>();
        let of_slot = |server: &Option<Server>| {
            let Some(server) = server.filter(|server| !self.lost[server.disk]) else {
                return everything();
            };
            let member = array.device(server.disk);
            if member.inner().is_gone() {
                return everything();
            }
            let data = |sector: u64| sector.saturating_sub(server.data_offset);
            let bad = unusable(member).map(|range| data(range.start)..data(range.end));
            let mut ranges: Vec<Range<u64>> = bad.collect();
            let blows = more.iter().filter(|blow| blow.disk == server.disk);
            ranges.extend(blows.map(|blow| data(blow.sectors.start)..data(blow.sectors.end)));
            ranges.push(server.until..u64::MAX);
            apart(ranges)
        };
        claims.servers.iter().map(of_slot).collect()
    }

    /// Looks at every row, as things are and after these blows, and notes what is exceeded, wild and
    /// torn; the torn ones.
    pub fn assess<X: Defects>(
        &mut self,
        claims: &Claims,
        more: &[Blow],
        array: &Assembled<Guarded<SimDisk>, X>,
    ) -> &RowSet {
        self.torn = RowSet::none(self.rows.count());
        if more.is_empty() && !self.may_have_losses(claims, array) {
            return &self.torn;
        }
        let (tolerance, parity) = (self.rows.tolerance(), self.rows.has_parity());
        let lost = self.lost_ranges(claims, more, array);
        for (rows, losses) in self.rows.losses(&lost) {
            if losses > tolerance {
                self.exceeded.insert_range(rows.clone());
            }
            if losses > 0 {
                self.torn.insert_common(rows.clone(), &self.at_risk);
                self.torn.insert_common(rows, &self.stained);
            }
        }
        if parity {
            self.wild.extend(&self.torn);
        }
        &self.torn
    }

    /// Whether a row, as things are and after these blows, has lost more than it bears or could
    /// hold anything.
    pub fn would_exceed<X: Defects>(
        &self,
        claims: &Claims,
        array: &Assembled<Guarded<SimDisk>, X>,
        more: &[Blow],
        in_doubt: &RowSet,
    ) -> bool {
        let (tolerance, parity) = (self.rows.tolerance(), self.rows.has_parity());
        let lost = self.lost_ranges(claims, more, array);
        let doubt = [&self.at_risk, &self.stained, in_doubt];
        self.rows.losses(&lost).into_iter().any(|(rows, losses)| {
            let in_doubt = || doubt.iter().any(|set| set.meets(rows.clone()));
            losses > tolerance || parity && losses > 0 && in_doubt()
        })
    }

    fn may_have_losses<X: Defects>(
        &self,
        claims: &Claims,
        array: &Assembled<Guarded<SimDisk>, X>,
    ) -> bool {
        claims.servers.iter().any(|server| {
            server.is_none_or(|server| {
                let disk = array.device(server.disk).inner();
                let defective =
                    disk.is_gone() || disk.has_bad_sectors() || disk.has_unsound_sectors();
                server.until != u64::MAX || self.lost[server.disk] || defective
            })
        })
    }
}

/// Sectors of a member that it cannot hand on; behind a guard, their whole blocks of 4 KiB. What no
/// error tells of counts as a loss only where a guard tells; without one it is written down as wild.
fn unusable(member: &Guarded<SimDisk>) -> impl Iterator<Item = Range<u64>> {
    let (disk, guard) = (member.inner(), member.is_guarded().then(|| member.shape()));
    let unsound = disk.unsound_sectors().filter(move |_| guard.is_some());
    disk.bad_sectors().chain(unsound).filter_map(move |sector| match guard {
        None => Some(sector..sector + 1),
        Some(shape) => beneath(shape, sector),
    })
}

/// The member's block that a device sector carries, or whose seal lies there, wherever that is.
fn beneath(shape: Shape, device_sector: u64) -> Option<Range<u64>> {
    let sector = shape.block_at(device_sector)? * BLOCK_SECTORS;
    Some(sector..sector + BLOCK_SECTORS)
}
