//! ext2, ext3 and ext4 as witnesses of where array addresses are.
//!
//! A superblock names its group, so each copy says which byte of the array it is. From there on
//! addresses lead to blocks that can be checked wherever they are found: group descriptors,
//! bitmaps and inodes carry checksums over their own number, directories begin with their own
//! inode, and behind the end of a file's last block there are zeros. A walk asks for those blocks
//! under one geometry and notes on which device each is good.
//!
//! Sources: Linux `fs/ext4/ext4.h`, `Documentation/filesystems/ext4`.

use std::collections::{BTreeSet, VecDeque};

use super::Anchor;
use super::device::{Device, Fields, is_zero};
use super::geometry::{Checks, Geometry, STRONG, WEAK};

/// Where the superblock is in the file system and in its own copy of block 0.
const SUPER_AT: u64 = 1024;

const METADATA_CSUM: u32 = 0x400;
const CSUM_SEED: u32 = 0x2000;
const META_BG: u32 = 0x10;
const BITS_64: u32 = 0x80;
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// Checks after which a walk ends, and after which a hopeless one does.
const ENOUGH: usize = 3000;
const HOPELESS: usize = 48;

/// Groups, inode table blocks of a group and blocks of a directory that are looked at.
const MAX_GROUPS: u64 = 512;
const MAX_TABLE_BLOCKS: u64 = 64;
const MAX_DIRECTORY_BLOCKS: u64 = 8;

/// The facts of a superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) uuid: [u8; 16],
    block_bytes: u64,
    blocks: u64,
    first_data_block: u64,
    blocks_per_group: u64,
    inodes_per_group: u64,
    inode_bytes: usize,
    descriptor_bytes: usize,
    group: u64,
    /// Seed of the checksums, if there are any.
    seed: Option<u32>,
    meta_bg: bool,
}

/// ext4's checksum: CRC-32C as a bare register, without the inversion at either end.
fn crc(register: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!register, bytes)
}

impl Superblock {
    /// Reads 1024 bytes.
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        if block.len() < 1024 || block.le16(56)? != 0xef53 {
            return None;
        }
        let log_block = block.le32(24)?;
        let (incompat, ro_compat) = (block.le32(96)?, block.le32(100)?);
        let wide = incompat & BITS_64 != 0;
        let high = if wide { u64::from(block.le32(0x150)?) << 32 } else { 0 };
        let uuid: [u8; 16] = block[104..120].try_into().ok()?;
        let seed = (ro_compat & METADATA_CSUM != 0).then(|| match incompat & CSUM_SEED {
            0 => Some(crc(!0, &uuid)),
            _ => block.le32(0x270),
        });
        if seed.is_some() && block.le32(0x3fc)? != crc(!0, &block[..0x3fc]) {
            return None;
        }
        let found = Self {
            uuid,
            block_bytes: 1024u64.checked_shl(log_block).filter(|bytes| *bytes <= 4096)?,
            blocks: u64::from(block.le32(4)?) | high,
            first_data_block: block.le32(20)?.into(),
            blocks_per_group: block.le32(32)?.into(),
            inodes_per_group: block.le32(40)?.into(),
            inode_bytes: if block.le32(76)? == 0 { 128 } else { block.le16(88)?.into() },
            descriptor_bytes: if wide { block.le16(0xfe)?.into() } else { 32 },
            group: block.le16(90)?.into(),
            seed: seed.flatten(),
            meta_bg: incompat & META_BG != 0,
        };
        found.is_sane().then_some(found)
    }

    fn is_sane(&self) -> bool {
        let block = self.block_bytes;
        (1..=block * 8).contains(&self.blocks_per_group)
            && (1..=block * 8).contains(&self.inodes_per_group)
            && self.inode_bytes.is_power_of_two()
            && (128..=block as usize).contains(&self.inode_bytes)
            && [32, 64].contains(&self.descriptor_bytes)
            && self.first_data_block <= 1
            && self.blocks > self.first_data_block
            && self.blocks < 1 << 48
            && self.group < self.groups()
    }

    fn groups(&self) -> u64 {
        (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    /// Bytes of the file system.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks * self.block_bytes
    }

    /// The address of this copy.
    pub(super) fn address(&self) -> u64 {
        match self.group {
            0 => SUPER_AT,
            group => (group * self.blocks_per_group + self.first_data_block) * self.block_bytes,
        }
    }

    /// Checksums of an inode and of its blocks start from here.
    fn inode_seed(&self, inode: u64, generation: u32) -> Option<u32> {
        let seed = crc(self.seed?, &(inode as u32).to_le_bytes());
        Some(crc(seed, &generation.to_le_bytes()))
    }
}

/// A file system, and where its superblocks are.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) superblock: Superblock,
    pub(super) anchors: Vec<Anchor>,
}

/// A block whose address is known, and what should be in it.
#[derive(Clone, Debug)]
enum Task {
    Descriptors { first_group: u64 },
    Bitmap { bytes: usize, sum: u32, sum_mask: u32 },
    Inodes { first: u64 },
    Extents { owner: Owner },
    Directory { owner: Owner, first: bool },
    Tail { bytes: usize },
}

/// The inode a block belongs to.
#[derive(Clone, Copy, Debug)]
struct Owner {
    inode: u64,
    generation: u32,
    size: u64,
    directory: bool,
}

/// What a block looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Good,
    Bad,
    /// Neither one nor the other.
    Unknown,
}

impl Volume {
    /// Asks for the file system's blocks under a geometry.
    pub(super) fn walk(&self, geometry: &Geometry, devices: &[Device<'_>], checks: &mut Checks) {
        let mut walk = Walk {
            fs: &self.superblock,
            geometry,
            devices,
            queue: VecDeque::new(),
            seen: BTreeSet::new(),
        };
        for anchor in &self.anchors {
            walk.anchor(anchor, checks);
        }
        if self.superblock.meta_bg {
            return;
        }
        walk.start();
        let (before, _) = checks.answered();
        while let Some((address, task)) = walk.queue.pop_front() {
            walk.ask(address, &task, checks);
            let (made, answered) = checks.answered();
            if made - before > ENOUGH || (made - before > HOPELESS && answered * 8 < made) {
                break;
            }
        }
    }
}

struct Walk<'a> {
    fs: &'a Superblock,
    geometry: &'a Geometry,
    devices: &'a [Device<'a>],
    queue: VecDeque<(u64, Task)>,
    seen: BTreeSet<u64>,
}

impl Walk<'_> {
    fn anchor(&self, anchor: &Anchor, checks: &mut Checks) {
        anchor.check(self.geometry, checks, STRONG);
    }

    fn push(&mut self, block: u64, task: Task) {
        if block > self.fs.first_data_block && block < self.fs.blocks && self.seen.insert(block) {
            self.queue.push_back((block * self.fs.block_bytes, task));
        }
    }

    fn start(&mut self) {
        let per_block = self.fs.block_bytes / self.fs.descriptor_bytes as u64;
        let blocks = self.fs.groups().min(MAX_GROUPS).div_ceil(per_block);
        for index in 0..blocks {
            let task = Task::Descriptors { first_group: index * per_block };
            self.push(self.fs.first_data_block + 1 + index, task);
        }
    }

    /// Looks at a block on every device, notes where it is good and goes on from there.
    fn ask(&mut self, address: u64, task: &Task, checks: &mut Checks) {
        let (mut places, mut scratch) = (Vec::new(), Vec::new());
        let devices = self.devices;
        self.geometry.places(address, &mut places);
        for (slot, at) in places {
            let (mut yes, mut unknown) = (0u64, false);
            for (index, device) in devices.iter().enumerate() {
                let length = self.fs.block_bytes as usize;
                let Some(block) = device.view(at, length, &mut scratch) else { continue };
                match self.look(task, block) {
                    Look::Good => {
                        yes |= 1 << index;
                        self.follow(task, block);
                    }
                    Look::Bad => {}
                    Look::Unknown => unknown = true,
                }
            }
            if yes != 0 || !unknown {
                let strong = !matches!(task, Task::Tail { .. });
                checks.add(slot, yes, if strong { STRONG } else { WEAK });
            }
        }
    }

    fn look(&self, task: &Task, block: &[u8]) -> Look {
        match task {
            Task::Descriptors { first_group } => self.look_at_descriptors(*first_group, block),
            Task::Bitmap { bytes, sum, sum_mask } => {
                let Some(seed) = self.fs.seed else { return Look::Unknown };
                let found = block.get(..*bytes).map(|bits| crc(seed, bits) & sum_mask);
                if found == Some(*sum) { Look::Good } else { Look::Bad }
            }
            Task::Inodes { first } => self.look_at_inodes(*first, block),
            Task::Extents { .. } => {
                let entries = block.le16(2).zip(block.le16(4));
                let sane = entries.is_some_and(|(used, room)| used > 0 && used <= room);
                if block.le16(0) == Some(0xf30a) && sane { Look::Good } else { Look::Bad }
            }
            Task::Directory { owner, first } => self.look_at_directory(*owner, *first, block),
            Task::Tail { bytes } => look_at_tail(*bytes, block),
        }
    }

    fn look_at_descriptors(&self, first_group: u64, block: &[u8]) -> Look {
        let mut good = false;
        for (index, descriptor) in block.chunks_exact(self.fs.descriptor_bytes).enumerate() {
            let group = first_group + index as u64;
            if group >= self.fs.groups() {
                break;
            }
            match self.descriptor_is_good(group, descriptor) {
                Some(true) => good = true,
                _ => return Look::Bad,
            }
        }
        if good { Look::Good } else { Look::Bad }
    }

    fn descriptor_is_good(&self, group: u64, descriptor: &[u8]) -> Option<bool> {
        let table = u64::from(descriptor.le32(8)?);
        if self.fs.descriptor_bytes == 32 && table >= self.fs.blocks {
            return Some(false);
        }
        let Some(seed) = self.fs.seed else {
            return Some(table > 0 && descriptor.le32(0)? > 0 && descriptor.le32(4)? > 0);
        };
        let mut sum = crc(crc(seed, &(group as u32).to_le_bytes()), &descriptor[..30]);
        sum = crc(sum, &[0, 0]);
        sum = crc(sum, &descriptor[32..]);
        Some(sum as u16 == descriptor.le16(30)?)
    }

    fn look_at_inodes(&self, first: u64, block: &[u8]) -> Look {
        let (mut good, mut bad) = (0, 0);
        for (number, inode) in (first..).zip(block.chunks_exact(self.fs.inode_bytes)) {
            if is_zero(inode) {
                continue;
            }
            match self.inode_is_good(number, inode) {
                Some(true) => good += 1,
                _ => bad += 1,
            }
        }
        match (good, bad) {
            (0, 0) => Look::Unknown,
            _ if good > bad => Look::Good,
            _ => Look::Bad,
        }
    }

    fn inode_is_good(&self, number: u64, inode: &[u8]) -> Option<bool> {
        let Some(seed) = self.fs.inode_seed(number, inode.le32(0x64)?) else {
            let kind = inode.le16(0)? >> 12;
            return Some([0, 1, 2, 4, 6, 8, 10, 12].contains(&kind) && inode.le16(26)? < 0x4000);
        };
        let wide = inode.len() > 128 && inode.le16(0x80)? >= 4;
        let mut bytes = inode.to_vec();
        bytes[0x7c..0x7e].fill(0);
        if wide {
            bytes[0x82..0x84].fill(0);
        }
        let sum = crc(seed, &bytes);
        let low = inode.le16(0x7c)? == sum as u16;
        Some(low && (!wide || inode.le16(0x82)? == (sum >> 16) as u16))
    }

    fn look_at_directory(&self, owner: Owner, first: bool, block: &[u8]) -> Look {
        let dots = || -> Option<bool> {
            let own = block.le32(0)? == owner.inode as u32 && block.le16(4)? == 12;
            Some(own && block[6] == 1 && block[8] == b'.' && &block[20..22] == b"..")
        };
        if first {
            return if dots() == Some(true) { Look::Good } else { Look::Bad };
        }
        // An inner node of a hashed directory: one empty entry over the whole block.
        if block.le32(0) == Some(0) && block.le16(4).map(usize::from) == Some(block.len()) {
            return Look::Unknown;
        }
        let tail = block.len() - 12;
        match self.fs.inode_seed(owner.inode, owner.generation) {
            Some(seed) if block.le32(tail + 8) == Some(crc(seed, &block[..tail])) => Look::Good,
            Some(_) => Look::Bad,
            None if entries_are_sane(block) => Look::Good,
            None => Look::Bad,
        }
    }

    /// Queues what a good block leads to.
    fn follow(&mut self, task: &Task, block: &[u8]) {
        match task {
            Task::Descriptors { first_group } => {
                for (index, descriptor) in block.chunks_exact(self.fs.descriptor_bytes).enumerate()
                {
                    let group = first_group + index as u64;
                    if group < self.fs.groups().min(MAX_GROUPS) {
                        let _ = self.follow_descriptor(group, descriptor);
                    }
                }
            }
            Task::Inodes { first } => {
                for (number, inode) in (*first..).zip(block.chunks_exact(self.fs.inode_bytes)) {
                    if self.inode_is_good(number, inode) == Some(true) {
                        let _ = self.follow_inode(number, inode);
                    }
                }
            }
            Task::Extents { owner } => {
                let _ = self.follow_extents(*owner, block);
            }
            Task::Bitmap { .. } | Task::Directory { .. } | Task::Tail { .. } => {}
        }
    }

    fn follow_descriptor(&mut self, group: u64, descriptor: &[u8]) -> Option<()> {
        let wide = self.fs.descriptor_bytes >= 64;
        let block = |at: usize| -> Option<u64> {
            let high = if wide { descriptor.le32(at + 32)? } else { 0 };
            Some(u64::from(descriptor.le32(at)?) | u64::from(high) << 32)
        };
        let sum = |at: usize, high: usize| -> Option<(u32, u32)> {
            let low = u32::from(descriptor.le16(at)?);
            if wide {
                return Some((low | u32::from(descriptor.le16(high)?) << 16, !0));
            }
            Some((low, 0xffff))
        };
        let flags = descriptor.le16(18)?;
        if flags & BLOCK_UNINIT == 0 {
            let (sum, sum_mask) = sum(24, 0x38)?;
            let bytes = (self.fs.blocks_per_group / 8) as usize;
            self.push(block(0)?, Task::Bitmap { bytes, sum, sum_mask });
        }
        if flags & INODE_UNINIT == 0 {
            let (sum, sum_mask) = sum(26, 0x3a)?;
            let bytes = (self.fs.inodes_per_group / 8) as usize;
            self.push(block(4)?, Task::Bitmap { bytes, sum, sum_mask });
            let unused = u64::from(descriptor.le16(28)?);
            let used = self.fs.inodes_per_group.saturating_sub(unused);
            let per_block = self.fs.block_bytes / self.fs.inode_bytes as u64;
            let first_inode = group * self.fs.inodes_per_group + 1;
            for index in 0..used.div_ceil(per_block).min(MAX_TABLE_BLOCKS) {
                let task = Task::Inodes { first: first_inode + index * per_block };
                self.push(block(8)? + index, task);
            }
        }
        Some(())
    }

    fn follow_inode(&mut self, number: u64, inode: &[u8]) -> Option<()> {
        let (kind, flags) = (inode.le16(0)? >> 12, inode.le32(32)?);
        let high = u64::from(inode.le32(108)?) << 32;
        let owner = Owner {
            inode: number,
            generation: inode.le32(0x64)?,
            size: u64::from(inode.le32(4)?) | high,
            directory: kind == 4,
        };
        if ![4, 8].contains(&kind) || inode.le16(26)? == 0 || flags & INLINE_DATA != 0 {
            return None;
        }
        let map = inode.get(40..100)?;
        if flags & EXTENTS != 0 {
            return self.follow_extents(owner, map);
        }
        for logical in 0..12 {
            let block = u64::from(map.le32(logical * 4)?);
            self.follow_run(owner, logical as u64, block, u64::from(block != 0));
        }
        Some(())
    }

    fn follow_extents(&mut self, owner: Owner, node: &[u8]) -> Option<()> {
        if node.le16(0)? != 0xf30a {
            return None;
        }
        let (entries, depth) = (usize::from(node.le16(2)?), node.le16(6)?);
        for entry in node.get(12..)?.chunks_exact(12).take(entries) {
            if depth > 0 {
                let leaf = u64::from(entry.le32(4)?) | u64::from(entry.le16(8)?) << 32;
                self.push(leaf, Task::Extents { owner });
                continue;
            }
            let length = u64::from(entry.le16(4)?);
            let block = u64::from(entry.le32(8)?) | u64::from(entry.le16(6)?) << 32;
            // Longer ones are allocated and never written.
            if length <= 0x8000 {
                self.follow_run(owner, entry.le32(0)?.into(), block, length);
            }
        }
        Some(())
    }

    /// A run of a file's blocks.
    fn follow_run(&mut self, owner: Owner, logical: u64, block: u64, length: u64) {
        if owner.directory {
            for index in 0..length.min(MAX_DIRECTORY_BLOCKS) {
                let task = Task::Directory { owner, first: logical + index == 0 };
                self.push(block + index, task);
            }
            return;
        }
        let (last, tail) = (owner.size / self.fs.block_bytes, owner.size % self.fs.block_bytes);
        if tail != 0 && last >= logical && last - logical < length {
            self.push(block + last - logical, Task::Tail { bytes: tail as usize });
        }
    }
}

/// Zeros follow the end of a file.
fn look_at_tail(bytes: usize, block: &[u8]) -> Look {
    let (file, behind) = block.split_at(bytes.min(block.len()));
    match (file.last(), is_zero(behind)) {
        (_, false) => Look::Bad,
        (Some(0) | None, true) => Look::Unknown,
        (Some(_), true) => Look::Good,
    }
}

pub(super) fn tail_is_good(bytes: usize, block: &[u8]) -> Option<bool> {
    match look_at_tail(bytes, block) {
        Look::Good => Some(true),
        Look::Bad => Some(false),
        Look::Unknown => None,
    }
}

/// Entries of a directory without checksum: a chain that ends where the block does.
fn entries_are_sane(block: &[u8]) -> bool {
    let mut at = 0;
    while at < block.len() {
        let (Some(length), Some(name)) = (block.le16(at + 4), block.get(at + 6)) else {
            return false;
        };
        let length = usize::from(length);
        if length < 12 || !length.is_multiple_of(4) || usize::from(*name) + 8 > length {
            return false;
        }
        at += length;
    }
    at == block.len()
}
