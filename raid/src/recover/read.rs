//! The array as one candidate has it: bytes by array sector, missing members computed.

use super::Candidate;
use crate::layout::{Layout, LayoutError, Parity, Roles, Shape};
use crate::parity::{Blocks, DataBlock, Lost, recover};

const SECTOR: u64 = 512;

/// A range no member that is here can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("array sector {sector}: slot {slot} is missing, and the others cannot make up for it")]
pub struct Unreadable {
    /// The first array sector of it.
    pub sector: u64,
    /// The slot that holds it.
    pub slot: u32,
}

/// Reads the array of a candidate.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    layout: Layout,
    data_offset: u64,
    /// By slot.
    members: Vec<Option<&'a [u8]>>,
}

impl<'a> Reader<'a> {
    /// Members as they were given to the search.
    pub fn new(candidate: &Candidate, members: &[&'a [u8]]) -> Result<Self, LayoutError> {
        let raid_disks = candidate.seats.len() as u32;
        let shape = Shape {
            level: candidate.level,
            layout: candidate.layout,
            raid_disks,
            chunk_sectors: candidate.chunk_sectors,
            member_sectors: candidate.member_sectors,
        };
        let layout = Layout::new(&shape, &vec![candidate.member_sectors; candidate.seats.len()])?;
        let seated = |seat: &Option<usize>| seat.and_then(|member| members.get(member).copied());
        let members = candidate.seats.iter().map(seated).collect();
        Ok(Self { layout, data_offset: candidate.data_offset, members })
    }

    /// Size of the array in sectors.
    pub fn sectors(&self) -> u64 {
        self.layout.array_sectors()
    }

    /// Fills `into` (whole sectors) from an array sector on.
    ///
    /// # Panics
    ///
    /// If the range does not lie in the array or is no whole number of sectors.
    pub fn read(&self, sector: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        assert!((into.len() as u64).is_multiple_of(SECTOR), "whole sectors");
        let (mut sector, mut rest) = (sector, into);
        while !rest.is_empty() {
            let most = rest.len() as u64 / SECTOR;
            let run = self.read_run(sector, most, rest)?;
            rest = &mut rest[(run * SECTOR) as usize..];
            sector += run;
        }
        Ok(())
    }

    /// Reads what lies in one piece; how many sectors that were.
    fn read_run(&self, sector: u64, most: u64, into: &mut [u8]) -> Result<u64, Unreadable> {
        match &self.layout {
            Layout::Mapped(mapped) => {
                let mut copies = Vec::new();
                let run = mapped.map(sector, most, &mut copies);
                let bytes = (run * SECTOR) as usize;
                let found = copies
                    .iter()
                    .find_map(|copy| self.member_bytes(copy.slot, copy.sector, bytes))
                    .ok_or(Unreadable { sector, slot: copies[0].slot })?;
                into[..bytes].copy_from_slice(found);
                Ok(run)
            }
            Layout::Parity(parity) => {
                let (stripe, d, within) = parity.locate(sector);
                let run = most.min(u64::from(parity.chunk_sectors()) - within);
                let into = &mut into[..(run * SECTOR) as usize];
                let row = stripe * u64::from(parity.chunk_sectors()) + within;
                let roles = parity.stripe(stripe);
                match self.member_bytes(roles.data_slot(d), row, into.len()) {
                    Some(found) => into.copy_from_slice(found),
                    None => self
                        .rebuild(parity, &roles, d, row, into)
                        .ok_or_else(|| Unreadable { sector, slot: roles.data_slot(d) })?,
                }
                Ok(run)
            }
        }
    }

    fn member_bytes(&self, slot: u32, sector: u64, bytes: usize) -> Option<&'a [u8]> {
        let member = self.members[slot as usize]?;
        let at = usize::try_from((self.data_offset + sector) * SECTOR).ok()?;
        member.get(at..at.checked_add(bytes)?)
    }

    /// Computes data chunk `d` of a row from the others and parity.
    fn rebuild(
        &self,
        parity: &Parity,
        roles: &Roles,
        d: u32,
        row: u64,
        into: &mut [u8],
    ) -> Option<()> {
        let length = into.len();
        let fetch = |slot: u32| self.member_bytes(slot, row, length).map(<[u8]>::to_vec);
        let mut data: Vec<Option<Vec<u8>>> =
            (0..parity.data_members()).map(|d| fetch(roles.data_slot(d))).collect();
        let (mut p, mut q) = (fetch(roles.p), roles.q.and_then(fetch));
        let mut lost: Vec<Lost> =
            (0..data.len()).filter(|index| data[*index].is_none()).map(Lost::Data).collect();
        let blank = || vec![0; length];
        data.iter_mut().for_each(|block| _ = block.get_or_insert_with(blank));
        if p.is_none() {
            lost.push(Lost::P);
        }
        if roles.q.is_some() && q.is_none() {
            lost.push(Lost::Q);
        }
        let p = p.get_or_insert_with(blank);
        let q = roles.q.is_some().then(|| q.get_or_insert_with(blank).as_mut_slice());
        let mut blocks: Vec<DataBlock<'_>> = (0..)
            .zip(data.iter_mut().flatten())
            .map(|(d, bytes)| DataBlock { exponent: roles.exponent(d), bytes })
            .collect();
        recover(&mut Blocks { data: &mut blocks, p: Some(p), q }, &lost).ok()?;
        into.copy_from_slice(data[d as usize].as_deref()?);
        Some(())
    }

    /// Whether redundancy holds in one cell of the devices, where all of it is here.
    pub(super) fn agrees_at(&self, at: u64, cell: usize) -> Option<bool> {
        let row = (at / SECTOR).checked_sub(self.data_offset)?;
        if row + cell as u64 / SECTOR > self.layout.member_extent(0) {
            return None;
        }
        match &self.layout {
            Layout::Parity(parity) => {
                let roles = parity.stripe(row / u64::from(parity.chunk_sectors()));
                let fetch = |slot: u32| self.member_bytes(slot, row, cell);
                let data: Vec<(u32, &[u8])> = (0..parity.data_members())
                    .map(|d| Some((roles.exponent(d), fetch(roles.data_slot(d))?)))
                    .collect::<Option<_>>()?;
                let p = fetch(roles.p)?;
                match roles.q {
                    None => {
                        let sources: Vec<&[u8]> = data.iter().map(|(_, bytes)| *bytes).collect();
                        Some(crate::parity::xor_mismatch(p, &sources).is_none())
                    }
                    Some(q) => {
                        let q = fetch(q)?;
                        Some(crate::parity::locate(&data, p, q) == crate::parity::Culprit::None)
                    }
                }
            }
            Layout::Mapped(mapped) if mapped.copies() > 1 => {
                let (sector, run) = mapped.array_sector_of(0, row, cell as u64 / SECTOR);
                let bytes = (run * SECTOR) as usize;
                let mut copies = Vec::new();
                mapped.map(sector?, run, &mut copies);
                let found: Vec<&[u8]> = copies
                    .iter()
                    .map(|copy| self.member_bytes(copy.slot, copy.sector, bytes))
                    .collect::<Option<_>>()?;
                Some(found.windows(2).all(|pair| pair[0] == pair[1]))
            }
            Layout::Mapped(_) => None,
        }
    }
}
