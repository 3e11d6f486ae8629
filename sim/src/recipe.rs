//! What array to make, and the disks it then consists of.
//!
//! Disks are small: a few stripes show everything an array does, and thousands of arrays fit into
//! a test.

use holdfast_core::block::MemDisk;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, Shape, names};
use holdfast_raid::superblock::{
    BitmapWish, CreateError, Minor, Name, NewArray, NewMember, Plan, Timestamp, Uuid, plan,
};

/// An array to be made. [`Recipe::of`] fills in what is usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Level.
    pub level: Level,
    /// md's layout number.
    pub layout: u32,
    /// Sectors per chunk; 0 for raid1.
    pub chunk_sectors: u32,
    /// Data sectors of each slot's disk; `None` for a slot left empty.
    pub members: Vec<Option<u64>>,
    /// Data sectors of each spare.
    pub spares: Vec<u64>,
    /// Bytes per bit of the bitmap, if there is to be one.
    pub bitmap: Option<u64>,
    /// Whether there is a partial parity log.
    pub ppl: bool,
    /// Where superblocks go.
    pub minor: Minor,
    /// Whether the array starts in sync.
    pub clean: bool,
    /// Slots to be read only if nothing else can be.
    pub write_mostly: Vec<usize>,
    /// First data sector (0 in effect for metadata 1.0). In less than the usual 128 a bad-block
    /// log finds no room.
    pub data_offset: u64,
}

impl Recipe {
    /// `n` members of 64 KiB each, chunks of 4 KiB, metadata 1.2, in sync.
    pub fn of(level: Level, n: usize) -> Self {
        Self {
            level,
            layout: names::default(level),
            chunk_sectors: if level == Level::Raid1 { 0 } else { 8 },
            members: vec![Some(128); n],
            spares: Vec::new(),
            bitmap: None,
            ppl: false,
            minor: Minor::V1_2,
            clean: true,
            write_mostly: Vec::new(),
            data_offset: 128,
        }
    }

    /// The same with another layout.
    #[must_use]
    pub fn layout(self, layout: u32) -> Self {
        Self { layout, ..self }
    }

    /// The same with so many data sectors on each member and spare.
    #[must_use]
    pub fn sectors(mut self, sectors: u64) -> Self {
        for member in self.members.iter_mut().flatten() {
            *member = sectors;
        }
        self.spares.fill(sectors);
        self
    }

    /// The same with so many spares, as large as the first member.
    #[must_use]
    pub fn spares(self, count: usize) -> Self {
        let sectors = self.members.iter().flatten().next().copied().unwrap_or(128);
        Self { spares: vec![sectors; count], ..self }
    }

    /// The same with a bitmap of so many bytes per bit.
    #[must_use]
    pub fn bitmap(self, chunk_bytes: u64) -> Self {
        Self { bitmap: Some(chunk_bytes), ..self }
    }

    /// The same with a partial parity log.
    #[must_use]
    pub fn ppl(self) -> Self {
        Self { ppl: true, ..self }
    }

    /// The same, not in sync.
    #[must_use]
    pub fn unsynced(self) -> Self {
        Self { clean: false, ..self }
    }

    /// Size in sectors of a disk with so many data sectors.
    pub fn disk_sectors(&self, data_sectors: u64) -> u64 {
        // With metadata 1.0 as much is needed behind the data.
        self.data_offset + data_sectors
    }

    /// Sectors of the array.
    ///
    /// # Panics
    /// If there is no such array.
    pub fn sectors_in_all(&self) -> u64 {
        self.plan().expect("an array that can be made").array_sectors
    }

    /// The array, worked out.
    pub fn plan(&self) -> Result<Plan, CreateError> {
        let slots = self.members.len();
        let device = |id: usize, sectors: u64| NewMember {
            write_mostly: self.write_mostly.contains(&id),
            ..NewMember::new(self.disk_sectors(sectors), Uuid([id as u8 + 1; 16]))
        };
        let members = self.members.iter().enumerate();
        let spares = self.spares.iter().enumerate();
        plan(&NewArray {
            level: self.level,
            layout: self.layout,
            chunk_sectors: self.chunk_sectors,
            minor: self.minor,
            bitmap: match self.bitmap {
                None => BitmapWish::None,
                chunk_bytes => BitmapWish::Internal { chunk_bytes },
            },
            ppl: self.ppl,
            size: None,
            data_offset: (self.minor != Minor::V1_0).then_some(self.data_offset),
            name: Name::new("sim:array").expect("a valid name"),
            set_uuid: Uuid([0xaa; 16]),
            now: Timestamp::new(1_700_000_000, 0),
            members: members.map(|(i, m)| m.map(|s| device(i, s))).collect(),
            spares: spares.map(|(i, &s)| device(slots + i, s)).collect(),
            assume_clean: self.clean,
        })
    }

    /// The arithmetic of where things are, if the engine knows this layout.
    ///
    /// # Panics
    /// If there is no such array.
    pub fn geometry(&self) -> Option<Layout> {
        let plan = self.plan().expect("an array that can be made");
        let sizes: Vec<u64> = plan.members.iter().map(|member| member.data_size).collect();
        let shape = Shape {
            level: self.level,
            layout: self.layout,
            raid_disks: self.members.len() as u32,
            chunk_sectors: self.chunk_sectors,
            member_sectors: plan.size,
        };
        Layout::new(&shape, &sizes).ok()
    }

    /// The disks as they are when the array has just been made, members in slot order, then
    /// spares.
    ///
    /// # Panics
    /// If there is no such array.
    pub fn disks(&self) -> Vec<MemDisk> {
        let plan = self.plan().expect("an array that can be made");
        let (bitmap, ppl) = (plan.bitmap(), plan.ppl());
        let disks = plan.members.iter().zip(plan.superblocks());
        disks
            .map(|(planned, superblock)| {
                let mut disk = MemDisk::new(planned.device.sectors);
                put(&mut disk, superblock.super_offset, &superblock.emit());
                if let (Some(bytes), Some(sector)) = (&bitmap, plan.bitmap_sector(planned)) {
                    put(&mut disk, sector, bytes);
                }
                if let (Some(bytes), Some(sector)) = (&ppl, plan.ppl_sector(planned)) {
                    put(&mut disk, sector, bytes);
                }
                disk
            })
            .collect()
    }

    /// An empty disk as large as the array's first member.
    pub fn blank_disk(&self) -> MemDisk {
        let sectors = self.members.iter().flatten().next().copied().unwrap_or(128);
        MemDisk::new(self.disk_sectors(sectors))
    }
}

fn put(disk: &mut MemDisk, sector: u64, bytes: &[u8]) {
    let at = (sector * SECTOR_BYTES) as usize;
    disk.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_the_data_area_asked_for() {
        for minor in [Minor::V1_0, Minor::V1_1, Minor::V1_2] {
            for bitmap in [None, Some(4096)] {
                let recipe = Recipe { minor, bitmap, ..Recipe::of(Level::Raid5, 3) };
                let plan = recipe.plan().unwrap();
                assert!(plan.size >= 128, "{minor:?} {bitmap:?}: {}", plan.size);
                assert!(plan.members.iter().all(|m| m.bad_blocks.is_some()));
                assert_eq!(recipe.disks().len(), 3);
            }
        }
    }
}
