//! raid0: stripes over members that may differ in size.
//!
//! Where the members end at different sectors the array is cut into *zones*. Zone 0 stripes over
//! all members up to the end of the smallest; the next zone over those that go on, up to the end
//! of the next smallest; and so forth. Sizes 2, 5, 5 (in chunks) and the alternate layout:
//!
//! ```text
//!   slot 0  slot 1  slot 2
//!     0       1       2     zone 0: three members, starts at member chunk 0
//!     3       4       5
//!             6       7     zone 1: two members, starts at member chunk 2
//!             8       9
//!            10      11
//! ```
//!
//! Linux before 3.14 picked the member of a later zone from the chunk's number in the whole array
//! (layout 1, *original*), Linux 3.14 to 5.3 from its number in the zone (layout 2, *alternate*).
//! The two differ only from the second zone on, and only if that zone has more than one member;
//! then the number must be stated. Layout 0 says "nobody wrote it down".
//!
//! Chunks need not be powers of two.
//!
//! Source: `raid0.c`, `create_strip_zones`, `find_zone`, `map_sector`, `raid0_make_request`.

use super::linear::rounded_sizes;
use super::{LayoutError, Place, Shape, slot_number};

/// Layout number: the member follows from the chunk's number in the whole array.
const ORIGINAL: u32 = 1;
/// Layout number: the member follows from the chunk's number in its zone.
const ALTERNATE: u32 = 2;

/// The zones of a raid0 array, in array order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raid0 {
    chunk: u64,
    zones: Vec<Zone>,
    /// Rounded data size per slot.
    extents: Vec<u64>,
}

/// A run of array sectors striped over the same members.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Zone {
    /// First array sector.
    start: u64,
    /// First array sector after the zone.
    end: u64,
    /// First member sector, the same on every member of the zone.
    member_start: u64,
    /// Slots striped over, ascending.
    slots: Vec<u32>,
    /// By how many places the stripe is turned: chunk `c` of the zone is on member
    /// `(c + turn) mod slots`. Always 0 in the alternate layout.
    turn: u64,
}

impl Raid0 {
    pub(super) fn new(shape: &Shape, sizes: &[u64]) -> Result<Self, LayoutError> {
        let Shape { level, layout, chunk_sectors, .. } = *shape;
        if chunk_sectors == 0 {
            return Err(LayoutError::ZeroChunk { level });
        }
        if layout > ALTERNATE {
            return Err(LayoutError::BadLayout { level, layout });
        }
        let extents = rounded_sizes(shape, sizes)?;
        let chunk = u64::from(chunk_sectors);
        let zones = cut_zones(&extents, chunk, layout);
        let ambiguous = zones.get(1).is_some_and(|zone| zone.slots.len() > 1);
        if layout == 0 && ambiguous {
            return Err(LayoutError::AmbiguousZones);
        }
        Ok(Self { chunk, zones, extents })
    }

    pub(super) fn array_sectors(&self) -> u64 {
        self.zones.last().map_or(0, |zone| zone.end)
    }

    /// Where the sector is, and how many follow it in the same chunk.
    pub(super) fn map(&self, sector: u64) -> (Place, u64) {
        let zone = &self.zones[self.zones.partition_point(|zone| zone.end <= sector)];
        let width = zone.slots.len() as u64;
        let number = (sector - zone.start) / self.chunk;
        let within = (sector - zone.start) % self.chunk;
        let place = Place {
            slot: zone.slots[((number + zone.turn) % width) as usize],
            sector: zone.member_start + number / width * self.chunk + within,
        };
        (place, self.chunk - within)
    }

    /// The array sector at a place inside the member, and how many follow it in the same chunk.
    pub(super) fn array_sector_of(&self, slot: u32, sector: u64) -> (Option<u64>, u64) {
        let after = self.zones.partition_point(|zone| zone.member_start <= sector);
        let zone = &self.zones[after - 1];
        let width = zone.slots.len() as u64;
        let row = (sector - zone.member_start) / self.chunk;
        let within = (sector - zone.member_start) % self.chunk;
        let member = zone.slots.partition_point(|&other| other < slot) as u64;
        let column = (member + width - zone.turn) % width;
        let found = zone.start + (row * width + column) * self.chunk + within;
        (Some(found), self.chunk - within)
    }

    pub(super) fn member_extent(&self, slot: u32) -> u64 {
        self.extents[slot as usize]
    }
}

/// Cuts the array at every distinct member size. The sum of the sizes fits a `u64`, so every
/// product here, being a part of that sum, does too.
fn cut_zones(extents: &[u64], chunk: u64, layout: u32) -> Vec<Zone> {
    let mut member_ends = extents.to_vec();
    member_ends.sort_unstable();
    member_ends.dedup();

    let mut zones = Vec::with_capacity(member_ends.len());
    let (mut start, mut member_start) = (0, 0);
    for member_end in member_ends {
        let reaching = (0..extents.len()).filter(|&slot| extents[slot] > member_start);
        let slots: Vec<u32> = reaching.map(|slot| slot_number(slot as u64)).collect();
        let width = slots.len() as u64;
        let end = start + (member_end - member_start) * width;
        let turn = if layout == ORIGINAL { start / chunk % width } else { 0 };
        zones.push(Zone { start, end, member_start, slots, turn });
        (start, member_start) = (end, member_end);
    }
    zones
}
