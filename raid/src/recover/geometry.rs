//! One way the array may have been laid out, and the checks it passes or fails.
//!
//! A [`Geometry`] is everything but the order of the members: level, layout, chunk, slots and data
//! offset. It turns an address of the array into places (slot, byte of the device). What was found
//! at those places, member by member, is kept in [`Checks`], whatever found it.

use super::votes::{Seats, Votes};
use crate::layout::{Layout, Roles, Shape};
use crate::level::Level;

const SECTOR: u64 = 512;

/// Level, layout, chunk, slots and data offset.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) layout: Layout,
    /// Where data begins on every device, in bytes.
    pub(super) offset: u64,
}

impl Geometry {
    /// `None` if md makes no such array.
    pub(super) fn new(shape: Shape, offset: u64) -> Option<Self> {
        let sizes = vec![shape.member_sectors; shape.raid_disks as usize];
        Some(Self { layout: Layout::new(&shape, &sizes).ok()?, offset })
    }

    pub(super) fn slots(&self) -> usize {
        self.layout.shape().raid_disks as usize
    }

    /// Every place of the array's byte `address`: slot, and byte of the device.
    pub(super) fn places(&self, address: u64, places: &mut Vec<(usize, u64)>) {
        places.clear();
        let (sector, within) = (address / SECTOR, address % SECTOR);
        if sector >= self.layout.array_sectors() {
            return;
        }
        match &self.layout {
            Layout::Parity(parity) => {
                let (stripe, d, in_chunk) = parity.locate(sector);
                let slot = parity.stripe(stripe).data_slot(d);
                let row = stripe * u64::from(parity.chunk_sectors()) + in_chunk;
                places.push((slot as usize, self.offset + row * SECTOR + within));
            }
            Layout::Mapped(mapped) => {
                let mut copies = Vec::with_capacity(mapped.copies() as usize);
                mapped.map(sector, 1, &mut copies);
                let place = |copy: &crate::layout::Place| {
                    (copy.slot as usize, self.offset + copy.sector * SECTOR + within)
                };
                places.extend(copies.iter().map(place));
            }
        }
    }

    /// Who does what in the stripe at byte `at` of the devices.
    pub(super) fn roles_at(&self, at: u64) -> Option<Roles> {
        let Layout::Parity(parity) = &self.layout else { return None };
        let row = at.checked_sub(self.offset)? / SECTOR;
        (row < parity.member_extent())
            .then(|| parity.stripe(row / u64::from(parity.chunk_sectors())))
    }

    pub(super) fn level(&self) -> Level {
        self.layout.shape().level
    }
}

/// One question put to all devices at once: is this the block that belongs here?
#[derive(Clone, Copy, Debug)]
struct Check {
    slot: usize,
    /// A bit for each device on which the answer was yes.
    yes: u64,
    weight: u32,
}

/// Most devices a search takes: a bit for each.
pub(super) const MAX_DEVICES: usize = 64;

/// Weight of a block that carries its own address or checksum.
pub(super) const STRONG: u32 = 4;

/// Weight of a block that only looks right.
pub(super) const WEAK: u32 = 1;

/// The checks made of one geometry.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    all: Vec<Check>,
    /// Weight of blocks found where the geometry has no place for them.
    strays: u64,
}

impl Checks {
    /// Records an answer.
    pub(super) fn add(&mut self, slot: usize, yes: u64, weight: u32) {
        self.all.push(Check { slot, yes, weight });
    }

    /// Records a block that is nowhere near where it should be.
    pub(super) fn stray(&mut self, weight: u32) {
        self.strays += u64::from(weight);
    }

    /// Checks made, and those somebody answered with yes.
    pub(super) fn answered(&self) -> (usize, usize) {
        (self.all.len(), self.all.iter().filter(|check| check.yes != 0).count())
    }

    pub(super) fn votes(&self, slots: usize, devices: usize) -> Votes {
        let mut votes = Votes::new(slots, devices);
        for check in &self.all {
            let yes = (0..devices).filter(|device| check.yes >> device & 1 == 1);
            yes.for_each(|device| votes.add(check.slot, device, check.weight));
        }
        votes
    }

    /// What an order of the devices passes and fails.
    pub(super) fn tally(&self, seats: &Seats) -> Tally {
        let mut tally = Tally { strays: self.strays, ..Tally::default() };
        for check in &self.all {
            let Some(device) = seats.seats[check.slot] else { continue };
            if check.yes >> device & 1 == 1 {
                tally.passed += 1;
                tally.passed_weight += u64::from(check.weight);
            } else {
                tally.failed += 1;
                tally.failed_weight += u64::from(check.weight);
            }
        }
        tally
    }
}

/// What was passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) passed_weight: u64,
    pub(super) failed_weight: u64,
    pub(super) strays: u64,
}

impl Tally {
    /// What speaks for the order, less what speaks against it.
    pub(super) fn score(&self) -> i64 {
        let against = self.failed_weight + self.strays;
        i64::try_from(self.passed_weight).unwrap_or(i64::MAX)
            - i64::try_from(against).unwrap_or(i64::MAX)
    }
}
