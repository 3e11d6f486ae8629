//! Discarding on parity levels: whole stripes, and only where every member promises zeros.
//!
//! Zeros are their own parity, so a stripe that every member forgets stays true. What is less than
//! a stripe is accepted and has no effect, as in md.

use holdfast_core::slab::Key;

use super::band::{Band, Work};
use super::leg::{Change, Leg};
use super::locks::Mode;
use super::{Array, Defects, Unit};
use crate::defects::Defect;

impl<X: Defects> Array<X> {
    /// Cuts the next whole stripe off a discard; what is less than a stripe has no effect.
    pub(super) fn cut_discard(&mut self, key: Key) {
        let parity = self.parity();
        let chunk = u64::from(parity.chunk_sectors());
        let width = chunk * u64::from(parity.data_members());
        let op = &self.ops[key];
        let at = op.sector + op.issued;
        let skip = at.next_multiple_of(width) - at;
        if skip + width > op.sectors - op.issued {
            self.ops[key].issued = self.ops[key].sectors;
            return;
        }
        let stripe = (at + skip) / width;
        self.dispatch(stripe);
        let op = &mut self.ops[key];
        op.issued += skip + width;
        op.left += 1;
        let work = Work::Discard { op: key, gated: false };
        let band = self.bands.insert(Band::new(stripe, 0..chunk, work, 0));
        let start = stripe * chunk;
        self.lock(start, start + chunk, Mode::Exclusive, Unit::Band(band));
    }

    pub(super) fn discard_stripe(&mut self, key: Key) {
        self.make_cells(key);
        let all_there = (0..self.slots.len() as u32).all(|slot| self.member_on(slot).is_some());
        if !all_there || !self.log_discard(key) {
            self.discard_members(key);
        }
    }

    pub(super) fn discard_members(&mut self, key: Key) {
        let (first, sectors) = (self.bands[key].first, self.bands[key].sectors());
        let members: Vec<(u32, usize)> = (0..self.slots.len() as u32)
            .filter_map(|slot| Some((slot, self.member_on(slot)?)))
            .collect();
        if members.len() < self.slots.len() {
            // A member went since: let the stripe be.
            self.end_write_of(key);
            return self.finish_band(key, Ok(()));
        }
        let leaves_parity = self.defects.has(Defect::DiscardBreaksParity);
        let roles = self.roles(self.bands[key].stripe);
        let members: Vec<(u32, usize)> = members
            .into_iter()
            .filter(|(slot, _)| !leaves_parity || roles.data_index(*slot).is_some())
            .collect();
        self.bands[key].left = members.len() as u32;
        for (slot, member) in members {
            self.change_leg(member, first, Change::Discard(sectors), Leg::Band(key, slot));
        }
    }
}
