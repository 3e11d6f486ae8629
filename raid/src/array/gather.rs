//! Writes to parity stripes, held a moment so that neighbours merge.
//!
//! A write to part of a stripe costs reads; a write of the whole stripe costs none. So what is
//! submitted together is collected by stripe first, and a stripe with writes in flight goes on
//! collecting until they are done. Then the collected segments are cut into *bands*: ranges of
//! rows in which every data member is written whole or not at all.

use std::collections::BTreeSet;
use std::ops::Range;

use holdfast_core::block::Durability;
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;

use super::band::{Band, Part};
use super::locks::Mode;
use super::{Array, Defects, Kind, Unit};
use crate::layout::Layout;

/// The most bytes all members' share of one band may come to.
const BAND_BYTES: u64 = 4 << 20;

/// Rows of one data member, written by one request.
#[derive(Debug)]
struct Segment {
    op: Key,
    d: u32,
    lo: u64,
    hi: u64,
    data: Payload,
    durability: Durability,
}

/// What waits for one stripe, oldest first. No two segments overlap.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    segments: Vec<Segment>,
    reserved: u64,
}

impl Gathered {
    fn overlaps(&self, d: u32, lo: u64, hi: u64) -> bool {
        self.segments.iter().any(|s| s.d == d && s.lo < hi && lo < s.hi)
    }
}

impl<X: Defects> Array<X> {
    /// Cuts the next chunk's worth off a request to a parity level.
    pub(super) fn cut_band(&mut self, key: Key) {
        let Layout::Parity(parity) = &self.layout else { unreachable!("only parity has bands") };
        let (chunk, members) = (u64::from(parity.chunk_sectors()), u64::from(parity.members()));
        let op = &self.ops[key];
        let (stripe, d, lo) = parity.locate(op.sector + op.issued);
        // Rows are cut so that even the widest stripe's share fits into memory.
        let rows = (BAND_BYTES / (members * SECTOR_BYTES)).max(8) / 8 * 8;
        let rows = self.logs.as_ref().map_or(rows, |logs| rows.min(logs.rows()));
        let limit = (lo / rows + 1) * rows;
        let hi = chunk.min(limit).min(lo + op.sectors - op.issued);
        let bytes = Self::bytes_of(op.issued)..Self::bytes_of(op.issued + hi - lo);
        if matches!(op.kind, Kind::Read(_)) {
            self.dispatch(stripe);
            let op = &mut self.ops[key];
            op.issued += hi - lo;
            op.left += 1;
            return self.read_band(key, (stripe, d), lo..hi, bytes.start);
        }
        let (data, durability) = match &op.kind {
            Kind::Write(data, durability) => (data.slice(bytes), *durability),
            // Zeros are a write like any other: parity stays true.
            _ => (Payload::zeroed(bytes.len()), Durability::Cached),
        };
        if self.gathered.get(&stripe).is_some_and(|g| g.overlaps(d, lo, hi)) {
            self.dispatch(stripe);
        }
        let share = if self.is_degraded() { members } else { 3 } + u64::from(self.logs.is_some());
        let reserved = (hi - lo) * SECTOR_BYTES * share;
        self.reserved += reserved;
        let op = &mut self.ops[key];
        op.issued += hi - lo;
        op.left += 1;
        let gathered = self.gathered.entry(stripe).or_default();
        gathered.reserved += reserved;
        gathered.segments.push(Segment { op: key, d, lo, hi, data, durability });
    }

    /// Sends out what was gathered for stripes with nothing in flight.
    pub(super) fn dispatch_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let idle: Vec<u64> =
            self.gathered.keys().copied().filter(|s| !self.busy.contains_key(s)).collect();
        for stripe in idle {
            self.dispatch(stripe);
        }
    }

    /// The data members that a write of these rows may change at once. An entry of the partial parity
    /// log is a range of the array, so it covers neighbours only (`raid5.c add_stripe_bio`); and where a
    /// member is missing its new data goes by itself, for parity alone then tells old from new.
    fn logged_apart(&self, stripe: u64, segments: &[Segment], lo: u64, hi: u64) -> Vec<Range<u32>> {
        let k = self.parity().data_members();
        if self.logs.is_none() {
            return std::iter::once(0..k).collect();
        }
        let written = |d: &u32| segments.iter().any(|s| s.d == *d && s.lo < hi && lo < s.hi);
        let written: Vec<u32> = (0..k).filter(written).collect();
        let roles = self.roles(stripe);
        let missing = |d: u32| !self.is_served(self.slots[roles.data_slot(d) as usize]);
        neighbours(&written, missing)
    }

    /// Sends out what was gathered for a stripe.
    pub(super) fn dispatch(&mut self, stripe: u64) {
        let Some(gathered) = self.gathered.remove(&stripe) else {
            return;
        };
        let Layout::Parity(parity) = &self.layout else { unreachable!("only parity gathers") };
        let (k, chunk) = (parity.data_members(), u64::from(parity.chunk_sectors()));
        let mut reserved = gathered.reserved;
        let most = self.logs.as_ref().map_or(u64::MAX, super::Logs::rows);
        for (lo, hi) in cut(&gathered.segments, most) {
            for members in self.logged_apart(stripe, &gathered.segments, lo, hi) {
                let (data, parts, durability) = fill(&gathered.segments, k, &members, lo, hi);
                for part in &parts {
                    self.ops[part.op].left += 1;
                }
                let band = Band::write(stripe, lo..hi, data, parts, durability, reserved);
                reserved = 0;
                *self.busy.entry(stripe).or_default() += 1;
                let key = self.bands.insert(band);
                let start = stripe * chunk;
                self.lock(start + lo, start + hi, Mode::Exclusive, Unit::Band(key));
            }
        }
        for segment in &gathered.segments {
            // The bands stand for the segment now.
            self.ops[segment.op].left -= 1;
        }
    }
}

/// Neighbours among the members written: those for which `alone` holds are nobody's.
fn neighbours(written: &[u32], alone: impl Fn(u32) -> bool) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for &d in written {
        match runs.last_mut() {
            Some(run) if run.end == d && !alone(d) && !alone(d - 1) => run.end = d + 1,
            _ => runs.push(d..d + 1),
        }
    }
    runs
}

/// Cuts the rows that segments cover wherever the set of written members changes, and so that no
/// band has more than `most` rows.
fn cut(segments: &[Segment], most: u64) -> Vec<(u64, u64)> {
    let edges: BTreeSet<u64> = segments.iter().flat_map(|s| [s.lo, s.hi]).collect();
    let edges: Vec<u64> = edges.into_iter().collect();
    let written = |lo: u64, hi: u64| -> BTreeSet<u32> {
        segments.iter().filter(|s| s.lo <= lo && hi <= s.hi).map(|s| s.d).collect()
    };
    let mut bands: Vec<(u64, u64)> = Vec::new();
    let mut last = BTreeSet::new();
    for edge in edges.windows(2) {
        let (lo, hi) = (edge[0], edge[1]);
        let now = written(lo, hi);
        match bands.last_mut() {
            Some(band) if band.1 == lo && now == last && hi - band.0 <= most => band.1 = hi,
            _ if now.is_empty() => {}
            _ => bands.push((lo, hi)),
        }
        last = now;
    }
    bands
}

/// The new data of a band by data member, for these of `k`, and which requests it serves.
fn fill(
    segments: &[Segment],
    k: u32,
    members: &Range<u32>,
    lo: u64,
    hi: u64,
) -> (Vec<Option<Payload>>, Vec<Part>, Durability) {
    let mut data: Vec<Option<Payload>> = vec![None; k as usize];
    let mut ops: BTreeSet<Key> = BTreeSet::new();
    let mut durability = Durability::Cached;
    let bytes = |sectors: u64| (sectors * SECTOR_BYTES) as usize;
    for d in members.clone() {
        let mine: Vec<&Segment> =
            segments.iter().filter(|s| s.d == d && s.lo < hi && lo < s.hi).collect();
        for segment in &mine {
            ops.insert(segment.op);
            durability = durability.max(segment.durability);
        }
        data[d as usize] = match mine[..] {
            [] => None,
            [one] if one.lo <= lo && hi <= one.hi => {
                Some(one.data.slice(bytes(lo - one.lo)..bytes(hi - one.lo)))
            }
            _ => {
                let mut joined = Buf::zeroed(bytes(hi - lo));
                for s in mine {
                    let (from, until) = (s.lo.max(lo), s.hi.min(hi));
                    joined[bytes(from - lo)..bytes(until - lo)]
                        .copy_from_slice(&s.data[bytes(from - s.lo)..bytes(until - s.lo)]);
                }
                Some(joined.into())
            }
        };
    }
    (data, ops.into_iter().map(|op| Part { op }).collect(), durability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::slab::Slab;

    fn segment(slab: &mut Slab<u8>, d: u32, lo: u64, hi: u64, fill: u8) -> Segment {
        let data = Payload::from_slice(&vec![fill; ((hi - lo) * SECTOR_BYTES) as usize]);
        let durability = Durability::Cached;
        Segment { op: slab.insert(fill), d, lo, hi, data, durability }
    }

    #[test]
    fn rows_are_cut_where_the_written_members_change() {
        let mut slab = Slab::new();
        let mut cut_of = |parts: &[(u32, u64, u64)]| {
            let segments: Vec<Segment> =
                parts.iter().map(|&(d, lo, hi)| segment(&mut slab, d, lo, hi, 0)).collect();
            cut(&segments, 64)
        };
        assert_eq!(cut_of(&[(0, 0, 8)]), [(0, 8)]);
        // A request that starts inside chunk 0 and ends inside chunk 1.
        assert_eq!(cut_of(&[(0, 8, 16), (1, 0, 10)]), [(0, 8), (8, 10), (10, 16)]);
        // Neighbours on one member merge; a gap does not.
        assert_eq!(cut_of(&[(0, 0, 8), (0, 8, 16), (0, 24, 32)]), [(0, 16), (24, 32)]);
        // No more rows than a band may have.
        assert_eq!(cut_of(&[(0, 0, 40), (0, 40, 64), (0, 64, 72)]), [(0, 64), (64, 72)]);
        // Two members in full.
        assert_eq!(cut_of(&[(0, 0, 8), (1, 0, 8), (0, 8, 16), (1, 8, 16)]), [(0, 16)]);
    }

    #[test]
    fn merged_segments_keep_their_places() {
        let mut slab = Slab::new();
        let segments = [segment(&mut slab, 1, 8, 16, 2), segment(&mut slab, 1, 0, 8, 1)];
        let (data, parts, _) = fill(&segments, 2, &(0..2), 0, 16);
        assert_eq!(parts.len(), 2);
        assert!(data[0].is_none());
        let joined = data[1].as_ref().unwrap();
        assert!(joined[..4096].iter().all(|&b| b == 1) && joined[4096..].iter().all(|&b| b == 2));
    }
}
