//! What a window has of one stripe: its rows on every member, their data and their parity.
//!
//! A window may span several stripes. Each member is read once for all of them, but in every stripe
//! somebody else holds parity, so each is recovered and compared for itself.

use std::ops::Range;

use holdfast_core::buf::{Buf, Payload, is_blank};
use holdfast_core::size::SECTOR_BYTES;

use super::band_io::{are_zeros, parity_of};
use super::window_io::Update;
use super::{Array, Defects};
use crate::layout::Roles;
use crate::parity::{self, Blocks, Culprit, DataBlock, Lost};

/// Bytes of a compared row.
const ROW_BYTES: usize = 4096;

/// The part of a window that lies in one stripe.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stripe: u64,
    roles: Roles,
    /// Data members.
    k: u32,
    /// First sector in each member's data.
    pub(super) first: u64,
    /// Sectors of the window before it.
    pub(super) skip: u64,
    /// Bytes of the window.
    bytes: Range<usize>,
    /// How many the whole window has.
    window: usize,
}

/// A stripe's rows with all their data.
#[derive(Debug)]
pub(super) struct Rows<'w> {
    pub(super) part: &'w Part,
    data: Vec<&'w [u8]>,
    /// Parity as read, where it still proves something.
    read_p: Option<&'w [u8]>,
    read_q: Option<&'w [u8]>,
    /// Parity as the data says.
    new_p: Buf,
    new_q: Option<Buf>,
    /// Data members that had to be recovered.
    spent: usize,
}

/// A row whose parity is not what the data says.
#[derive(Debug)]
pub(super) struct WrongRow {
    /// Bytes of the part.
    pub(super) bytes: Range<usize>,
    /// Sectors (within the part) that agree on a culprit slot.
    culprits: Vec<(Range<usize>, Option<u32>)>,
}

impl<X: Defects> Array<X> {
    /// Cuts a range of rows at the borders of stripes.
    pub(super) fn stripe_parts(&self, range: &Range<u64>) -> Vec<Part> {
        let chunk = u64::from(self.parity().chunk_sectors());
        let k = self.parity().data_members();
        let stripes = range.start / chunk..range.end.div_ceil(chunk);
        let window = Self::bytes_of(range.end - range.start);
        let part = |stripe: u64| {
            let first = (stripe * chunk).max(range.start);
            let end = ((stripe + 1) * chunk).min(range.end);
            let skip = first - range.start;
            let bytes = Self::bytes_of(skip)..Self::bytes_of(end - range.start);
            Part { stripe, roles: self.roles(stripe), k, first, skip, bytes, window }
        };
        stripes.map(part).collect()
    }
}

impl Part {
    /// Sectors in each member's data.
    pub(super) const fn member_range(&self) -> Range<u64> {
        self.first..self.first + self.sectors()
    }

    pub(super) const fn sectors(&self) -> u64 {
        (self.bytes.end - self.bytes.start) as u64 / SECTOR_BYTES
    }

    pub(super) fn holds_parity(&self, slot: u32) -> bool {
        self.roles.data_index(slot).is_none()
    }

    /// Which data the slots hold here.
    pub(super) fn data_of(&self, slots: &[u32]) -> impl Iterator<Item = u32> {
        slots.iter().filter_map(|&slot| self.roles.data_index(slot))
    }

    /// Recovers the data of missing slots, in place; false if too much is lost. A `guess` is that
    /// it was zeros.
    pub(super) fn recover(&self, missing: &[u32], bufs: &mut [Option<Buf>], guess: bool) -> bool {
        let lost: Vec<u32> = self.data_of(missing).collect();
        for &d in &lost {
            let slot = self.roles.data_slot(d) as usize;
            bufs[slot].get_or_insert_with(|| Buf::zeroed(self.window));
        }
        let parity: Vec<u32> = std::iter::once(self.roles.p)
            .chain(self.roles.q)
            .filter(|slot| !missing.contains(slot))
            .collect();
        if lost.len() > parity.len() {
            return guess;
        }
        let data = (0..self.k).map(|d| self.roles.data_slot(d));
        let blocks = data.chain(parity).map(|slot| self.of(bufs, slot));
        lost.is_empty() || guess || are_zeros(blocks) || self.solve(&lost, missing, bufs)
    }

    /// What a slot holds here.
    fn of<'w>(&self, bufs: &'w [Option<Buf>], slot: u32) -> &'w [u8] {
        let buf = bufs[slot as usize].as_ref().expect("read, or recovered");
        &buf[self.bytes.clone()]
    }

    fn solve(&self, lost: &[u32], missing: &[u32], bufs: &mut [Option<Buf>]) -> bool {
        let (mut p, mut q) = (None, None);
        let mut data: Vec<(u32, DataBlock<'_>)> = Vec::with_capacity(self.k as usize);
        for (slot, buf) in (0..).zip(bufs) {
            let Some(buf) = buf else { continue };
            match self.roles.data_index(slot) {
                Some(d) => {
                    let (exponent, bytes) = (self.roles.exponent(d), &mut buf[self.bytes.clone()]);
                    data.push((d, DataBlock { exponent, bytes }));
                }
                None if missing.contains(&slot) => {}
                None if slot == self.roles.p => p = Some(&mut buf[self.bytes.clone()]),
                None => q = Some(&mut buf[self.bytes.clone()]),
            }
        }
        data.sort_unstable_by_key(|(d, _)| *d);
        let mut data: Vec<DataBlock<'_>> = data.into_iter().map(|(_, block)| block).collect();
        let lost: Vec<Lost> = lost.iter().map(|&d| Lost::Data(d as usize)).collect();
        parity::recover(&mut Blocks { data: &mut data, p, q }, &lost).is_ok()
    }
}

impl<'w> Rows<'w> {
    /// The rows of a part whose data are all there, though not all of them by themselves.
    pub(super) fn of(part: &'w Part, missing: &[u32], bufs: &'w [Option<Buf>]) -> Self {
        let roles = &part.roles;
        let data: Vec<&[u8]> = (0..part.k).map(|d| part.of(bufs, roles.data_slot(d))).collect();
        let (new_p, new_q) = parity_of(&data, roles, part.bytes.len(), true, roles.q.is_some());
        let read = |slot: u32| (!missing.contains(&slot)).then(|| part.of(bufs, slot));
        let (p, q) = (read(roles.p), roles.q.and_then(read));
        let spent = part.data_of(missing).count();
        // What was spent on recovering data proves nothing about itself.
        let (read_p, read_q) = match spent {
            0 => (p, q),
            1 if p.is_some() => (None, q),
            _ => (None, None),
        };
        Self { part, data, read_p, read_q, new_p: new_p.expect("asked for"), new_q, spent }
    }

    /// What a slot should hold.
    pub(super) fn contents(&self, slot: u32) -> Option<&[u8]> {
        let roles = &self.part.roles;
        if slot == roles.p {
            return Some(&self.new_p);
        }
        if Some(slot) == roles.q {
            return self.new_q.as_deref();
        }
        roles.data_index(slot).map(|d| self.data[d as usize])
    }

    /// Rows whose parity is not what the data says.
    pub(super) fn wrong(&self, locate: bool) -> Vec<WrongRow> {
        let bytes = self.new_p.len();
        let pairs = [(self.read_p, Some(&self.new_p)), (self.read_q, self.new_q.as_ref())];
        let differs = |range: &Range<usize>| {
            pairs.iter().any(|pair| match pair {
                (Some(read), Some(new)) => !same(&read[range.clone()], &new[range.clone()]),
                _ => false,
            })
        };
        if !differs(&(0..bytes)) {
            return Vec::new();
        }
        let rows = (0..bytes).step_by(ROW_BYTES).map(|at| at..(at + ROW_BYTES).min(bytes));
        rows.filter(differs)
            .map(|bytes| {
                let culprits = if locate { self.locate(&bytes) } else { Vec::new() };
                WrongRow { bytes, culprits }
            })
            .collect()
    }

    /// Which member each differing sector of a row points at (RAID6 with all members read).
    fn locate(&self, row: &Range<usize>) -> Vec<(Range<usize>, Option<u32>)> {
        let (Some(p), Some(q), 0) = (self.read_p, self.read_q, self.spent) else {
            return Vec::new();
        };
        let roles = &self.part.roles;
        let mut found = Vec::new();
        for at in row.clone().step_by(SECTOR_BYTES as usize) {
            let sector = at..(at + SECTOR_BYTES as usize).min(row.end);
            let data: Vec<(u32, &[u8])> = self
                .data
                .iter()
                .enumerate()
                .map(|(d, buf)| (roles.exponent(d as u32), &buf[sector.clone()]))
                .collect();
            let culprit = match parity::locate(&data, &p[sector.clone()], &q[sector.clone()]) {
                Culprit::None => continue,
                Culprit::Data(index) => Some(roles.data_slot(index as u32)),
                Culprit::P => Some(roles.p),
                Culprit::Q => roles.q,
                Culprit::Many => None,
            };
            found.push((sector, culprit));
        }
        found
    }

    /// The parity that the row's data calls for.
    pub(super) fn new_parity(&self, row: &WrongRow) -> Vec<Update> {
        let roles = &self.part.roles;
        let skip = self.part.skip + row.bytes.start as u64 / SECTOR_BYTES;
        let piece = |buf: &Buf| Payload::from_slice(&buf[row.bytes.clone()]);
        let p = self.read_p.is_some().then(|| (roles.p, skip, piece(&self.new_p)));
        let q = match (&self.read_q, &self.new_q, roles.q) {
            (Some(_), Some(new), Some(slot)) => Some((slot, skip, piece(new))),
            _ => None,
        };
        p.into_iter().chain(q).collect()
    }

    /// The contents the located members should have; sectors without one culprit stay.
    pub(super) fn mend_located(&self, row: &WrongRow) -> Vec<Update> {
        let mut updates = Vec::new();
        for (sector, culprit) in &row.culprits {
            let Some(slot) = *culprit else { continue };
            let skip = self.part.skip + sector.start as u64 / SECTOR_BYTES;
            let bytes = match self.part.roles.data_index(slot) {
                None => self.contents(slot).map(|bytes| bytes[sector.clone()].to_vec()),
                Some(d) => self.solved_by_p(d as usize, sector),
            };
            updates.extend(bytes.map(|bytes| (slot, skip, Payload::from_slice(&bytes))));
        }
        updates
    }

    /// A data sector as P and the other data say it should be.
    fn solved_by_p(&self, d: usize, sector: &Range<usize>) -> Option<Vec<u8>> {
        let p = self.read_p?;
        let others = self.data.iter().enumerate().filter(|(other, _)| *other != d);
        let sources: Vec<&[u8]> = others
            .map(|(_, buf)| &buf[sector.clone()])
            .chain(std::iter::once(&p[sector.clone()]))
            .collect();
        let mut bytes = vec![0; sector.len()];
        parity::xor(&mut bytes, &sources);
        Some(bytes)
    }
}

impl WrongRow {
    /// The slot every differing sector of the row points at.
    pub(super) fn one_culprit(&self) -> Option<u32> {
        let (_, first) = self.culprits.first()?;
        self.culprits.iter().all(|(_, culprit)| culprit == first).then_some(*first)?
    }
}

/// Whether two blocks hold the same. Zeros that nobody has written are not looked at.
fn same(one: &[u8], other: &[u8]) -> bool {
    is_blank(one) && is_blank(other) || one == other
}
