//! Where a guarded member keeps its blocks, its seals and what it knows of itself.
//!
//! ```text
//! sector 0  1     8
//!        ┌──┬───┬─┬─────────┬─┬─────────┬─┬────
//! beside │H │map│ │ block 0 │s│ block 1 │s│ …      a block and its seal are one write
//!        ├──┼───┼─┼─────────┼─┴───────┬─┴─┴┬─┬─┬─
//! apart  │H │map│ │ block 0 │ block 1 │ …  │s│s│… seals have a region of their own
//!        └──┴───┴─┴─────────┴─────────┴────┴─┴─┴─
//! ```
//!
//! Either way a block of 8 sectors costs nine.

use std::ops::Range;

use holdfast_core::buf::is_zero;

use super::Scheme;
use super::seal::{SEAL_BYTES, Seal};

/// Sectors of a block, as the array sees it.
pub const BLOCK_SECTORS: u64 = holdfast_core::size::BLOCK_SECTORS;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 4096;

/// Sectors of a block and its seal.
const UNIT_SECTORS: u64 = BLOCK_SECTORS + 1;

/// Sectors before the first block.
const FRONT_SECTORS: u64 = 8;

/// Where the header is.
pub(super) const HEADER_SECTOR: u64 = 0;

/// Where the map of open regions is.
pub(super) const MAP_SECTOR: u64 = 1;

/// The arithmetic of a guarded member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    scheme: Scheme,
    blocks: u64,
}

impl Shape {
    /// A member on a device of so many sectors.
    pub const fn of(scheme: Scheme, device_sectors: u64) -> Self {
        let blocks = match scheme {
            Scheme::None => device_sectors / BLOCK_SECTORS,
            _ => device_sectors.saturating_sub(FRONT_SECTORS) / UNIT_SECTORS,
        };
        Self { scheme, blocks }
    }

    /// Sectors a device needs to offer so many, whole blocks, to the array.
    pub const fn device_sectors(scheme: Scheme, sectors: u64) -> u64 {
        match scheme {
            Scheme::None => sectors,
            _ => FRONT_SECTORS + sectors.div_ceil(BLOCK_SECTORS) * UNIT_SECTORS,
        }
    }

    /// Blocks the member has.
    pub const fn blocks(self) -> u64 {
        self.blocks
    }

    /// The device sectors that hold a range of the member's sectors and, where they lie beside
    /// them, their seals. The range is widened to whole blocks.
    pub fn device_range(self, sectors: Range<u64>) -> Range<u64> {
        if self.scheme == Scheme::None {
            return sectors;
        }
        let blocks = sectors.start / BLOCK_SECTORS..sectors.end.div_ceil(BLOCK_SECTORS);
        match self.scheme.is_apart() {
            true => self.data_sector(blocks.start)..self.data_sector(blocks.end),
            false => {
                FRONT_SECTORS + blocks.start * UNIT_SECTORS
                    ..FRONT_SECTORS + blocks.end * UNIT_SECTORS
            }
        }
    }

    /// The block that a device sector belongs to, by itself or by its seal.
    pub fn block_at(self, device_sector: u64) -> Option<u64> {
        let past = match self.scheme {
            Scheme::None => device_sector,
            _ => device_sector.checked_sub(FRONT_SECTORS)?,
        };
        let seals = self.blocks * BLOCK_SECTORS;
        let block = match self.scheme {
            Scheme::None => past / BLOCK_SECTORS,
            scheme if !scheme.is_apart() => past / UNIT_SECTORS,
            _ if past < seals => past / BLOCK_SECTORS,
            _ => past - seals,
        };
        (block < self.blocks).then_some(block)
    }

    /// The first device sector of a block.
    pub const fn data_sector(self, block: u64) -> u64 {
        let per_block = if self.scheme.is_apart() { BLOCK_SECTORS } else { UNIT_SECTORS };
        FRONT_SECTORS + block * per_block
    }

    /// The device sector of a block's seal.
    pub const fn seal_sector(self, block: u64) -> u64 {
        if self.scheme.is_apart() {
            FRONT_SECTORS + self.blocks * BLOCK_SECTORS + block
        } else {
            self.data_sector(block) + BLOCK_SECTORS
        }
    }

    /// A device's bytes with these blocks on it, sealed for member `member` of the set.
    ///
    /// # Panics
    /// If `plain` is not as long as the shape says.
    pub fn sealed(self, member: u32, plain: &[u8]) -> Vec<u8> {
        if self.scheme == Scheme::None {
            return plain.to_vec();
        }
        assert_eq!(plain.len() as u64, self.blocks * BLOCK_BYTES as u64);
        let sectors = Self::device_sectors(self.scheme, self.blocks * BLOCK_SECTORS);
        let mut device = vec![0; sectors as usize * 512];
        self.seal(member, (0..).zip(plain.chunks_exact(BLOCK_BYTES)), |sector, bytes| {
            device[sector as usize * 512..][..bytes.len()].copy_from_slice(bytes);
        });
        device
    }

    /// What has to be put on a device of zeros, sector by sector, to make it member `member` of a
    /// set with these blocks of 4 KiB on it; all others are zeros.
    ///
    /// # Panics
    /// If nothing guards the shape.
    pub fn seal<'a>(
        self,
        member: u32,
        blocks: impl Iterator<Item = (u64, &'a [u8])>,
        mut put: impl FnMut(u64, &[u8]),
    ) {
        assert_ne!(self.scheme, Scheme::None, "a scheme has seals");
        put(HEADER_SECTOR, &super::header::Header::new(self.scheme, member).emit());
        put(MAP_SECTOR, &super::regions::Bits::default().emit());
        for (block, data) in blocks {
            // Blocks of zeros need no seal.
            if !is_zero(data) {
                put(self.data_sector(block), data);
                let mut bytes = [0; SEAL_BYTES];
                Seal::of(data, member, block, 0, &[]).emit(&mut bytes);
                put(self.seal_sector(block), &bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_things_share_a_sector() {
        for scheme in [Scheme::Checksum, Scheme::Elsewhere] {
            for sectors in [64, 100, 1000] {
                let shape = Shape::of(scheme, sectors);
                let mut taken = vec![false; sectors as usize];
                taken[..FRONT_SECTORS as usize].fill(true);
                for block in 0..shape.blocks() {
                    let data = shape.data_sector(block);
                    for sector in (data..data + BLOCK_SECTORS).chain([shape.seal_sector(block)]) {
                        let before = std::mem::replace(&mut taken[sector as usize], true);
                        assert!(!before, "{scheme} {sectors}: sector {sector}");
                        assert_eq!(shape.block_at(sector), Some(block), "{scheme}: {sector}");
                    }
                }
                let left = taken.iter().filter(|taken| !**taken).count() as u64;
                assert!(left < UNIT_SECTORS, "{scheme}: {left} of {sectors} are wasted");
            }
        }
    }

    #[test]
    fn a_device_offers_what_it_was_made_for() {
        for scheme in Scheme::ALL {
            for blocks in [8, 64, 4096] {
                let device = Shape::device_sectors(scheme, blocks * BLOCK_SECTORS);
                assert_eq!(Shape::of(scheme, device).blocks(), blocks);
            }
        }
    }

    #[test]
    fn sealed_blocks_lie_where_they_should() {
        for scheme in Scheme::ALL {
            let mut plain = vec![0; 10 * BLOCK_BYTES];
            plain[5 * BLOCK_BYTES..].fill(7);
            let shape = Shape { scheme, blocks: 10 };
            let device = shape.sealed(3, &plain);
            for (block, data) in (0..).zip(plain.chunks(BLOCK_BYTES)) {
                let at = match scheme {
                    Scheme::None => block * BLOCK_SECTORS,
                    _ => shape.data_sector(block),
                };
                assert_eq!(device[at as usize * 512..][..BLOCK_BYTES], *data, "{scheme} {block}");
            }
        }
    }
}
