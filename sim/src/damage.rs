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

use holdfast_raid::integrity::Guarded;
use holdfast_raid::layout::Place;
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
    places: Vec<Place>,
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
            places: Vec::new(),
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
        for row in 0..self.rows.count() {
            self.wild.insert(row);
        }
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

    /// Places of a row that hold nothing usable.
    fn losses<X: Defects>(
        &mut self,
        row: u64,
        claims: &Claims,
        more: &dyn Fn(&Place) -> bool,
        array: &Assembled<Guarded<SimDisk>, X>,
    ) -> u32 {
        let mut places = std::mem::take(&mut self.places);
        self.rows.places(row, &mut places);
        let usable = |place: &&Place| {
            let Some(server) = claims.servers[place.slot as usize] else { return false };
            let at = server.data_offset + place.sector;
            place.sector < server.until
                && !self.lost[server.disk]
                && !more(place)
                && is_usable(array.device(server.disk), at)
        };
        let usable = places.iter().filter(usable).count();
        let losses = (places.len() - usable) as u32;
        self.places = places;
        losses
    }

    /// Looks at every row and notes what is exceeded, wild and torn; the torn ones.
    pub fn assess<X: Defects>(
        &mut self,
        claims: &Claims,
        array: &Assembled<Guarded<SimDisk>, X>,
    ) -> &RowSet {
        self.torn = RowSet::none(self.rows.count());
        if !self.may_have_losses(claims, array) {
            return &self.torn;
        }
        let (tolerance, parity) = (self.rows.tolerance(), self.rows.has_parity());
        for row in 0..self.rows.count() {
            let losses = self.losses(row, claims, &|_| false, array);
            if losses > tolerance {
                self.exceeded.insert(row);
            }
            if losses > 0 && self.disagrees(row) {
                self.torn.insert(row);
                if parity {
                    self.wild.insert(row);
                }
            }
        }
        &self.torn
    }

    /// Whether a row, as things are, has lost more than it bears or could hold anything.
    pub fn would_exceed<X: Defects>(
        &mut self,
        claims: &Claims,
        array: &Assembled<Guarded<SimDisk>, X>,
        more: &dyn Fn(&Place) -> bool,
        in_doubt: &RowSet,
    ) -> bool {
        let (tolerance, parity) = (self.rows.tolerance(), self.rows.has_parity());
        for row in 0..self.rows.count() {
            let losses = self.losses(row, claims, more, array);
            let doubt = self.disagrees(row) || in_doubt.contains(row);
            if losses > tolerance || parity && losses > 0 && doubt {
                return true;
            }
        }
        false
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

/// Whether a member can hand a sector on; behind a guard, its whole block of 4 KiB. What no error tells of counts as a loss only
/// where a guard tells; without one it is written down as wild.
fn is_usable(member: &Guarded<SimDisk>, sector: u64) -> bool {
    let range = member.shape().device_range(sector..sector + 1);
    match member.is_guarded() {
        true => member.inner().is_sound(range),
        false => member.inner().is_readable(range),
    }
}
