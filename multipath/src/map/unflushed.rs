//! Writes that are answered but not yet durable, and that only one path's flush reaches.
//!
//! While such a path is out of reach its cache is, too; then its writes are written again by
//! another path, and flushed there. Records never overlap: a newer write cuts what it covers out of
//! older ones once it is done.

use std::collections::BTreeMap;
use std::ops::Range;

use holdfast_core::buf::Payload;
use holdfast_core::size::SECTOR_BYTES;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Data(Payload),
    Zeros,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) end: u64,
    pub(super) contents: Contents,
    pub(super) path: usize,
    pub(super) session: u64,
    /// When it completed, among all writes.
    pub(super) number: u64,
    /// The claim it was written under.
    pub(super) claim: u64,
}

#[derive(Debug, Default)]
pub(super) struct Unflushed {
    by_start: BTreeMap<u64, Record>,
    bytes: u64,
}

impl Record {
    fn part(&self, start: u64, part: Range<u64>) -> Self {
        let contents = match &self.contents {
            Contents::Zeros => Contents::Zeros,
            Contents::Data(data) => {
                let byte = |sector: u64| ((sector - start) * SECTOR_BYTES) as usize;
                Contents::Data(data.slice(byte(part.start)..byte(part.end)))
            }
        };
        Self { end: part.end, contents, ..*self }
    }

    fn bytes(&self) -> u64 {
        match &self.contents {
            Contents::Data(data) => data.len() as u64,
            Contents::Zeros => 0,
        }
    }
}

impl Unflushed {
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    fn put(&mut self, start: u64, record: Record) {
        self.bytes += record.bytes();
        self.by_start.insert(start, record);
    }

    fn take(&mut self, start: u64) -> Option<Record> {
        let record = self.by_start.remove(&start)?;
        self.bytes -= record.bytes();
        Some(record)
    }

    /// Forgets what a newer write covers.
    pub(super) fn cut(&mut self, range: &Range<u64>) {
        while let Some((&start, record)) = self.by_start.range(..range.end).next_back() {
            if record.end <= range.start {
                return;
            }
            let Some(record) = self.take(start) else { return };
            if record.end > range.end {
                let tail = record.part(start, range.end..record.end);
                self.put(range.end, tail);
            }
            if start < range.start {
                let head = record.part(start, start..range.start);
                self.put(start, head);
            }
        }
    }

    /// Notes a write.
    pub(super) fn note(&mut self, start: u64, record: Record) {
        self.cut(&(start..record.end));
        self.put(start, record);
    }

    /// A flush on this path covers its writes up to `number`.
    pub(super) fn flushed(&mut self, path: usize, session: u64, number: u64) {
        let bytes = &mut self.bytes;
        self.by_start.retain(|_, record| {
            let covered =
                record.path == path && record.session == session && record.number <= number;
            if covered {
                *bytes -= record.bytes();
            }
            !covered
        });
    }

    /// Takes the records that `lost` says are out of reach.
    pub(super) fn take_lost(
        &mut self,
        mut lost: impl FnMut(u64, &Record) -> bool,
    ) -> Vec<(u64, Record)> {
        let starts: Vec<u64> = self
            .by_start
            .iter()
            .filter(|(start, record)| lost(**start, record))
            .map(|(start, _)| *start)
            .collect();
        starts.into_iter().filter_map(|start| Some((start, self.take(start)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(end: u64, fill: u8, sectors: u64, path: usize, number: u64) -> Record {
        let data = vec![fill; (sectors * SECTOR_BYTES) as usize];
        let contents = Contents::Data(Payload::from_slice(&data));
        Record { end, contents, path, session: 1, number, claim: number }
    }

    #[test]
    fn newer_writes_cut_older_ones_and_flushes_cover_what_came_before() {
        let mut unflushed = Unflushed::default();
        unflushed.note(0, record(10, 1, 10, 0, 1));
        unflushed.note(4, record(6, 2, 2, 1, 2));
        assert_eq!(unflushed.bytes(), 10 * SECTOR_BYTES);
        let kept: Vec<_> = unflushed.by_start.iter().map(|(s, r)| (*s, r.end, r.path)).collect();
        assert_eq!(kept, [(0, 4, 0), (4, 6, 1), (6, 10, 0)]);
        unflushed.flushed(0, 2, 9);
        unflushed.flushed(0, 1, 0);
        assert_eq!(unflushed.by_start.len(), 3, "another session; too early");
        unflushed.flushed(0, 1, 1);
        assert_eq!(unflushed.bytes(), 2 * SECTOR_BYTES);
        assert_eq!(unflushed.take_lost(|_, record| record.path == 0), []);
        assert_eq!(unflushed.take_lost(|_, record| record.path == 1).len(), 1);
        assert!(unflushed.is_empty() && unflushed.bytes() == 0);
    }

    #[test]
    fn a_cut_through_the_middle_keeps_both_ends_with_their_bytes() {
        let mut data = vec![0u8; 8 * SECTOR_BYTES as usize];
        for (sector, bytes) in data.chunks_mut(SECTOR_BYTES as usize).enumerate() {
            bytes.fill(sector as u8);
        }
        let contents = Contents::Data(Payload::from_slice(&data));
        let mut unflushed = Unflushed::default();
        unflushed
            .note(100, Record { end: 108, contents, path: 0, session: 1, number: 1, claim: 1 });
        unflushed.cut(&(103..105));
        let parts = unflushed.take_lost(|_, _| true);
        let first_bytes: Vec<(u64, u8)> = parts
            .iter()
            .map(|(start, record)| match &record.contents {
                Contents::Data(data) => (*start, data[0]),
                Contents::Zeros => panic!("it holds data"),
            })
            .collect();
        assert_eq!(first_bytes, [(100, 0), (105, 5)]);
    }
}
