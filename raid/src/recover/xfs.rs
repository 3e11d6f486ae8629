//! XFS as a witness of where array addresses are.
//!
//! Version 5 of the format writes its own place into nearly everything: B-tree and directory
//! blocks hold their disk address, inodes their number, allocation group headers the number of
//! their group, and each the UUID of the file system. They are found by looking at every sector
//! once; a geometry then only has to put them where they say they are. Inodes also lead to the
//! last blocks of files, behind whose end there are zeros.
//!
//! Sources: Linux `fs/xfs/libxfs/xfs_format.h`, `xfs_da_format.h`.

use super::Anchor;
use super::device::{Device, Fields};
use super::ext4::tail_is_good;
use super::geometry::{Checks, Geometry, STRONG, WEAK};

/// Basic blocks, the unit of disk addresses.
const BASIC: u64 = 512;

/// Witnesses kept of one file system.
const MAX_ANCHORS: usize = 8000;
const MAX_TAILS: usize = 2000;

/// The facts of a superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// The UUID that metadata carries.
    pub(super) uuid: [u8; 16],
    block_bytes: u64,
    blocks: u64,
    group_blocks: u64,
    groups: u64,
    inode_bytes: u64,
    inodes_per_block_log: u32,
    group_blocks_log: u32,
}

impl Superblock {
    /// Reads one sector. Only version 5 says enough.
    pub(super) fn read(sector: &[u8]) -> Option<Self> {
        if sector.get(..4)? != b"XFSB" || sector.be16(100)? & 0xf != 5 {
            return None;
        }
        // The UUID of metadata outlives a change of the visible one.
        let separate = sector.be32(216)? & 4 != 0;
        let uuid = if separate { &sector[248..264] } else { &sector[32..48] };
        let found = Self {
            uuid: uuid.try_into().ok()?,
            block_bytes: sector.be32(4)?.into(),
            blocks: sector.be64(8)?,
            group_blocks: sector.be32(84)?.into(),
            groups: sector.be32(88)?.into(),
            inode_bytes: sector.be16(104)?.into(),
            inodes_per_block_log: sector[123].into(),
            group_blocks_log: sector[124].into(),
        };
        let sane = [1024, 2048, 4096].contains(&found.block_bytes)
            && [256, 512, 1024, 2048].contains(&found.inode_bytes)
            && found.block_bytes >> found.inodes_per_block_log.min(63) == found.inode_bytes
            && found.group_blocks_log < 32
            && (1..=1 << found.group_blocks_log).contains(&found.group_blocks)
            && (found.blocks.div_ceil(found.group_blocks)) == found.groups
            && found.blocks < 1 << 48;
        sane.then_some(found)
    }

    /// Bytes of the file system.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks * self.block_bytes
    }

    /// The address of a block given as group and block in it, packed.
    fn block_address(&self, packed: u64) -> Option<u64> {
        let (group, block) =
            (packed >> self.group_blocks_log, packed & ((1 << self.group_blocks_log) - 1));
        (group < self.groups && block < self.group_blocks)
            .then(|| (group * self.group_blocks + block) * self.block_bytes)
    }

    fn address(&self, mark: &Mark) -> Option<u64> {
        let address = match mark.place {
            Place::Basic(block) => block.checked_mul(BASIC)?,
            Place::Group { group, sector } => {
                if group >= self.groups {
                    return None;
                }
                group * self.group_blocks * self.block_bytes + sector * BASIC
            }
            Place::Inode(number) => {
                let block = self.block_address(number >> self.inodes_per_block_log)?;
                let index = number & ((1 << self.inodes_per_block_log) - 1);
                block + index * self.inode_bytes
            }
        };
        (address < self.bytes()).then_some(address)
    }
}

/// Where a structure says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This basic block.
    Basic(u64),
    /// A header of this group.
    Group { group: u64, sector: u64 },
    /// The inode with this number.
    Inode(u64),
}

/// A structure met on a device.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    uuid: [u8; 16],
    place: Place,
    /// Runs of an inode's blocks: file offset, packed block, length; and the size of the file.
    runs: Vec<(u64, u64, u64)>,
    size: u64,
}

/// What a sector says of itself.
pub(super) fn mark(block: &[u8]) -> Option<Mark> {
    let plain = |uuid_at: usize, place: Place| -> Option<Mark> {
        let uuid = block.get(uuid_at..uuid_at + 16)?.try_into().ok()?;
        Some(Mark { uuid, place, runs: Vec::new(), size: 0 })
    };
    match block.get(..4)? {
        b"XAGF" => plain(64, Place::Group { group: block.be32(8)?.into(), sector: 1 }),
        b"XAGI" => plain(296, Place::Group { group: block.be32(8)?.into(), sector: 2 }),
        b"XAFL" => plain(8, Place::Group { group: block.be32(4)?.into(), sector: 3 }),
        b"AB3B" | b"AB3C" | b"IAB3" | b"FIB3" | b"RMB3" | b"R3FC" => {
            plain(32, Place::Basic(block.be64(16)?))
        }
        b"BMA3" => plain(40, Place::Basic(block.be64(24)?)),
        b"XDB3" | b"XDD3" | b"XDF3" => plain(24, Place::Basic(block.be64(8)?)),
        b"XSLM" => plain(16, Place::Basic(block.be64(40)?)),
        [b'I', b'N', ..] if block.get(4) == Some(&3) => inode(block),
        _ => match block.be16(8)? {
            0x3df1 | 0x3dff | 0x3ebe | 0x3bee if block.be16(10)? == 0 => {
                plain(32, Place::Basic(block.be64(16)?))
            }
            _ => None,
        },
    }
}

fn inode(block: &[u8]) -> Option<Mark> {
    let mut mark = Mark {
        uuid: block.get(160..176)?.try_into().ok()?,
        place: Place::Inode(block.be64(152)?),
        runs: Vec::new(),
        size: block.be64(56)?,
    };
    // Extents in the inode itself, of a regular file.
    if block.be16(2)? >> 12 == 8 && block[5] == 2 {
        let wide = block.be64(120)? & 16 != 0;
        let count = if wide { block.be64(24)? } else { block.be32(76)?.into() };
        let records = block.get(176..)?.chunks_exact(16).take(count.min(20) as usize);
        for record in records {
            let (high, low) = (record.be64(0)?, record.be64(8)?);
            // Allocated, never written.
            if high >> 63 == 1 {
                continue;
            }
            let offset = high >> 9 & ((1 << 54) - 1);
            let start = (high & 0x1ff) << 43 | low >> 21;
            mark.runs.push((offset, start, low & 0x1f_ffff));
        }
    }
    Some(mark)
}

/// A file system, what was found of it, and the ends of its files.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) superblock: Superblock,
    pub(super) anchors: Vec<Anchor>,
    /// Address of a file's last block, and bytes of the file in it.
    tails: Vec<(u64, usize)>,
}

impl Volume {
    /// Gathers the marks of one file system: `(device, byte, mark)`.
    pub(super) fn new(superblock: Superblock, marks: &[(usize, u64, &Mark)]) -> Self {
        let own = || marks.iter().filter(|(_, _, mark)| mark.uuid == superblock.uuid);
        let anchor = |(device, at, mark): &(usize, u64, &Mark)| {
            let address = superblock.address(mark)?;
            Some(Anchor { devices: 1 << device, at: *at, address })
        };
        let mut anchors = Anchor::merge(own().filter_map(anchor).collect());
        thin(&mut anchors, MAX_ANCHORS);
        let mut tails: Vec<(u64, usize)> =
            own().filter_map(|(_, _, mark)| tail(&superblock, mark)).collect();
        tails.sort_unstable();
        tails.dedup();
        thin(&mut tails, MAX_TAILS);
        Self { superblock, anchors, tails }
    }

    /// Puts every witness to the question under a geometry.
    pub(super) fn walk(&self, geometry: &Geometry, devices: &[Device<'_>], checks: &mut Checks) {
        self.anchors.iter().for_each(|anchor| anchor.check(geometry, checks, STRONG));
        let (made, answered) = checks.answered();
        if answered < made / 4 || answered < self.anchors.len() / 8 {
            return;
        }
        let (mut places, mut scratch) = (Vec::new(), Vec::new());
        for (address, bytes) in &self.tails {
            geometry.places(*address, &mut places);
            for (slot, at) in &places {
                let (mut yes, mut unknown) = (0u64, false);
                for (index, device) in devices.iter().enumerate() {
                    let length = self.superblock.block_bytes as usize;
                    let Some(block) = device.view(*at, length, &mut scratch) else { continue };
                    match tail_is_good(*bytes, block) {
                        Some(good) => yes |= u64::from(good) << index,
                        None => unknown = true,
                    }
                }
                if yes != 0 || !unknown {
                    checks.add(*slot, yes, WEAK);
                }
            }
        }
    }
}

fn tail(superblock: &Superblock, mark: &Mark) -> Option<(u64, usize)> {
    let (last, rest) = (mark.size / superblock.block_bytes, mark.size % superblock.block_bytes);
    let (offset, start, _) =
        mark.runs.iter().find(|(offset, _, length)| last >= *offset && last - offset < *length)?;
    let address = superblock.block_address(start + (last - offset))?;
    (rest != 0).then_some((address, rest as usize))
}

/// Keeps at most `most`, evenly.
fn thin<T: Clone>(list: &mut Vec<T>, most: usize) {
    if list.len() > most {
        let step = list.len().div_ceil(most);
        *list = list.iter().step_by(step).cloned().collect();
    }
}
