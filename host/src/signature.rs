//! What a device carries already, by the marks that formats leave at fixed places.
//!
//! Asked before something is overwritten, so it prefers to recognise too much: a mark is enough,
//! the rest of the structure need not be whole. Only marks too short to mean anything by
//! themselves (two bytes of ext4 or MBR, four of md) are believed together with a plausible
//! neighbour. A GPT header must have its checksum right.
//!
//! Pure: bytes come from a closure, so it works on files, devices, arrays and test vectors. About
//! twenty reads, the largest of 128 KiB, each beginning and ending at a multiple of 4 KiB or at
//! the end of the device.
//!
//! Sources of the offsets: util-linux `libblkid/src/{superblocks,partitions}` and each format's own
//! headers.

use std::fmt;
use std::io;

/// A format that leaves a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// An md superblock of version 0.90.
    Md090,
    /// An md superblock of version 1.0, near the end.
    Md10,
    /// An md superblock of version 1.1, at the start.
    Md11,
    /// An md superblock of version 1.2, 4 KiB from the start.
    Md12,
    /// Intel Matrix firmware RAID.
    Imsm,
    /// SNIA DDF firmware RAID.
    Ddf,
    /// An ext2 filesystem.
    Ext2,
    /// An ext3 filesystem.
    Ext3,
    /// An ext4 filesystem.
    Ext4,
    /// The external journal of an ext3 or ext4 filesystem.
    ExtJournal,
    /// An XFS filesystem.
    Xfs,
    /// A btrfs filesystem.
    Btrfs,
    /// Linux swap space.
    Swap,
    /// An LVM2 physical volume.
    LvmPv,
    /// A LUKS encrypted volume.
    Luks,
    /// A GUID partition table (its main header).
    Gpt,
    /// The backup header of a GUID partition table.
    GptBackup,
    /// A DOS partition table.
    Mbr,
    /// An NTFS filesystem.
    Ntfs,
    /// An exFAT filesystem.
    ExFat,
    /// A FAT filesystem.
    Fat,
    /// A squashfs filesystem.
    Squashfs,
    /// A member of a ZFS pool.
    Zfs,
    /// A bcache backing or cache device.
    Bcache,
    /// A bcachefs filesystem.
    Bcachefs,
}

impl What {
    /// The name people know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md090 => "md superblock 0.90",
            Self::Md10 => "md superblock 1.0",
            Self::Md11 => "md superblock 1.1",
            Self::Md12 => "md superblock 1.2",
            Self::Imsm => "Intel Matrix RAID metadata",
            Self::Ddf => "DDF RAID metadata",
            Self::Ext2 => "ext2 filesystem",
            Self::Ext3 => "ext3 filesystem",
            Self::Ext4 => "ext4 filesystem",
            Self::ExtJournal => "ext external journal",
            Self::Xfs => "XFS filesystem",
            Self::Btrfs => "btrfs filesystem",
            Self::Swap => "swap space",
            Self::LvmPv => "LVM physical volume",
            Self::Luks => "LUKS encrypted volume",
            Self::Gpt => "GPT partition table",
            Self::GptBackup => "GPT backup header",
            Self::Mbr => "DOS partition table",
            Self::Ntfs => "NTFS filesystem",
            Self::ExFat => "exFAT filesystem",
            Self::Fat => "FAT filesystem",
            Self::Squashfs => "squashfs filesystem",
            Self::Zfs => "ZFS pool member",
            Self::Bcache => "bcache device",
            Self::Bcachefs => "bcachefs filesystem",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A mark found on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// Whose mark it is.
    pub what: What,
    /// Where it is, in bytes.
    pub offset: u64,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

/// Finds the marks on a device of `bytes`, in order of their offsets.
///
/// `read` fills a slice from an offset; both are whole blocks of 4 KiB, except at the end of the
/// device. Its first error ends the search: a device that cannot be read cannot be called empty.
pub fn find<R>(bytes: u64, read: R) -> io::Result<Vec<Signature>>
where
    R: FnMut(u64, &mut [u8]) -> io::Result<()>,
{
    let mut search = Search { device: Device { bytes, read }, found: Vec::new() };
    search.fixed_marks()?;
    search.md()?;
    search.firmware_raid()?;
    search.ext()?;
    search.swap()?;
    search.lvm()?;
    search.boot_sector()?;
    search.gpt()?;
    search.zfs()?;
    search.found.sort_unstable_by_key(|found| (found.offset, found.what));
    Ok(search.found)
}

/// Marks long enough to be believed on their own: where, what is there, whose it is, and where
/// the structure that carries it begins.
#[rustfmt::skip]
const FIXED_MARKS: [(u64, &[u8], What, u64); 9] = [
    (0,             b"XFSB",           What::Xfs,      0),
    (0,             b"LUKS\xBA\xBE",   What::Luks,     0),
    // The second header of LUKS2, which outlives a damaged first one.
    (0x4000,        b"SKUL\xBA\xBE",   What::Luks,     0x4000),
    (0,             b"hsqs",           What::Squashfs, 0),
    (3,             b"NTFS    ",       What::Ntfs,     0),
    (3,             b"EXFAT   ",       What::ExFat,    0),
    (0x1_0040,      b"_BHRfS_M",       What::Btrfs,    0x1_0000),
    // bcachefs began with the magic of bcache; from before its own it is known as bcache.
    (0x1018,        &BCACHE_MAGIC,     What::Bcache,   0x1000),
    (0x1018,        &BCACHEFS_MAGIC,   What::Bcachefs, 0x1000),
];

const BCACHE_MAGIC: [u8; 16] = *b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81";
const BCACHEFS_MAGIC: [u8; 16] =
    *b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF";

const KIB: u64 = 1024;
const SECTOR: u64 = 512;
const MD_MAGIC: u32 = 0xA92B_4EFC;

/// The device's bytes, with reads rounded out to whole blocks.
struct Device<R> {
    bytes: u64,
    read: R,
}

impl<R: FnMut(u64, &mut [u8]) -> io::Result<()>> Device<R> {
    const BLOCK: u64 = 4 * KIB;

    /// `len` bytes from `offset`; `None` if the device ends before.
    fn get(&mut self, offset: u64, len: u64) -> io::Result<Option<Vec<u8>>> {
        let end = offset.saturating_add(len);
        if end > self.bytes {
            return Ok(None);
        }
        let from = offset - offset % Self::BLOCK;
        let to = end.next_multiple_of(Self::BLOCK).min(self.bytes);
        let mut block = vec![0; (to - from) as usize];
        (self.read)(from, &mut block)?;
        block.truncate((end - from) as usize);
        Ok(Some(block.split_off((offset - from) as usize)))
    }
}

struct Search<R> {
    device: Device<R>,
    found: Vec<Signature>,
}

impl<R: FnMut(u64, &mut [u8]) -> io::Result<()>> Search<R> {
    fn add(&mut self, what: What, offset: u64) {
        self.found.push(Signature { what, offset });
    }

    fn fixed_marks(&mut self) -> io::Result<()> {
        for (at, mark, what, offset) in FIXED_MARKS {
            let bytes = self.device.get(at, mark.len() as u64)?;
            if bytes.is_some_and(|bytes| bytes == mark) {
                self.add(what, offset);
            }
        }
        Ok(())
    }

    fn md(&mut self) -> io::Result<()> {
        let sectors = self.device.bytes / SECTOR;
        let near_end = (sectors.saturating_sub(16) & !7) * SECTOR;
        let places = [(What::Md11, 0), (What::Md12, 4 * KIB), (What::Md10, near_end)];
        for (what, offset) in places {
            let Some(head) = self.device.get(offset, 8)? else {
                continue;
            };
            // A device of 12 to 20 KiB has the places of 1.0 and 1.2 (or 1.1) at one offset.
            let known = self.found.iter().any(|found| found.offset == offset && is_md1(found.what));
            if le32(&head, 0) == MD_MAGIC && le32(&head, 4) == 1 && !known {
                self.add(what, offset);
            }
        }
        // 0.90 is in the byte order of the machine that wrote it.
        let reserved = 64 * KIB;
        let Some(offset) = (self.device.bytes & !(reserved - 1)).checked_sub(reserved) else {
            return Ok(());
        };
        if let Some(head) = self.device.get(offset, 8)? {
            let magic = [le32(&head, 0), be32(&head, 0)].contains(&MD_MAGIC);
            if magic && le32(&head, 4) == 0 {
                self.add(What::Md090, offset);
            }
        }
        Ok(())
    }

    fn firmware_raid(&mut self) -> io::Result<()> {
        let sectors = self.device.bytes / SECTOR;
        for (from_end, mark, what) in
            [(2, &b"Intel Raid ISM Cfg Sig. "[..], What::Imsm), (1, b"\xDE\x11\xDE\x11", What::Ddf)]
        {
            let Some(offset) = sectors.checked_sub(from_end).map(|sector| sector * SECTOR) else {
                continue;
            };
            let bytes = self.device.get(offset, mark.len() as u64)?;
            if bytes.is_some_and(|bytes| bytes == mark) {
                self.add(what, offset);
            }
        }
        Ok(())
    }

    /// The two bytes of magic are believed with a block size and an inode count that can be.
    fn ext(&mut self) -> io::Result<()> {
        let Some(sb) = self.device.get(KIB, KIB)? else {
            return Ok(());
        };
        let (inodes, block_shift) = (le32(&sb, 0), le32(&sb, 0x18));
        let [compatible, incompatible, read_only] = [0x5C, 0x60, 0x64].map(|at| le32(&sb, at));
        if sb[0x38..0x3A] != [0x53, 0xEF] || block_shift > 6 {
            return Ok(());
        }
        // ext3 knows filetype, recover and meta_bg; sparse_super, large_file and btree_dir. Anything
        // beyond that is ext4.
        let what = if incompatible & 0x8 != 0 {
            What::ExtJournal
        } else if incompatible & !0x16 != 0 || read_only & !0x7 != 0 {
            What::Ext4
        } else if compatible & 0x4 != 0 {
            What::Ext3
        } else {
            What::Ext2
        };
        if inodes > 0 || what == What::ExtJournal {
            self.add(what, KIB);
        }
        Ok(())
    }

    /// The mark is at the end of the first page, whatever a page was.
    fn swap(&mut self) -> io::Result<()> {
        for page in [4, 8, 16, 32, 64].map(|kib| kib * KIB) {
            let bytes = self.device.get(page - 10, 10)?;
            if bytes.is_some_and(|mark| mark == b"SWAPSPACE2" || mark == b"SWAP-SPACE") {
                self.add(What::Swap, 0);
                break;
            }
        }
        Ok(())
    }

    /// The label is in one of the first four sectors.
    fn lvm(&mut self) -> io::Result<()> {
        for offset in [0, 1, 2, 3].map(|sector| sector * SECTOR) {
            let Some(label) = self.device.get(offset, 32)? else {
                continue;
            };
            if label.starts_with(b"LABELONE") && label.ends_with(b"LVM2 001") {
                self.add(What::LvmPv, offset);
            }
        }
        Ok(())
    }

    /// FAT and the DOS partition table share a sector and its last two bytes.
    fn boot_sector(&mut self) -> io::Result<()> {
        let Some(sector) = self.device.get(0, SECTOR)? else {
            return Ok(());
        };
        if sector[510..] != [0x55, 0xAA] {
            return Ok(());
        }
        let jumps = sector[0] == 0xEB || sector[0] == 0xE9;
        let named = &sector[54..57] == b"FAT" || &sector[82..87] == b"FAT32";
        if jumps && named {
            self.add(What::Fat, 0);
        }
        // The boot code of a filesystem lies where the table would be.
        let filesystem = [What::Fat, What::Ntfs, What::ExFat];
        let is_filesystem = self.found.iter().any(|found| filesystem.contains(&found.what));
        let table = &sector[446..510];
        if !is_filesystem && is_partition_table(table, self.device.bytes / SECTOR) {
            self.add(What::Mbr, 0);
        }
        Ok(())
    }

    /// The main header is in the second block, the backup in the last; blocks are 512 bytes or 4 KiB.
    fn gpt(&mut self) -> io::Result<()> {
        for block in [SECTOR, 4 * KIB] {
            let last = (self.device.bytes / block).saturating_sub(1);
            for (what, number) in [(What::Gpt, 1), (What::GptBackup, last)] {
                let Some(header) = self.device.get(number * block, SECTOR)? else {
                    continue;
                };
                // On a device of two blocks the two are one.
                let backup_of_itself = what == What::GptBackup && number < 2;
                if !backup_of_itself && is_gpt_header(&header, number) {
                    self.add(what, number * block);
                }
            }
        }
        Ok(())
    }

    /// Four labels of 256 KiB, two at each end; the second half of each is a ring of uberblocks.
    fn zfs(&mut self) -> io::Result<()> {
        let label = 256 * KIB;
        let end = self.device.bytes - self.device.bytes % label;
        let last = end.saturating_sub(label);
        let starts = [0, label, last.saturating_sub(label), last];
        for (index, &start) in starts.iter().enumerate() {
            if starts[..index].contains(&start) {
                continue;
            }
            let Some(ring) = self.device.get(start + label / 2, label / 2)? else {
                continue;
            };
            if ring.chunks(KIB as usize).any(is_uberblock) {
                self.add(What::Zfs, start);
            }
        }
        Ok(())
    }
}

const fn is_md1(what: What) -> bool {
    matches!(what, What::Md10 | What::Md11 | What::Md12)
}

/// In the byte order of the machine that wrote it.
fn is_uberblock(bytes: &[u8]) -> bool {
    const MAGIC: u64 = 0x00BA_B10C;
    bytes.len() >= 8 && (le64(bytes, 0) == MAGIC || le64(bytes, 0).swap_bytes() == MAGIC)
}

/// Whether four entries of 16 bytes are a partition table: each is inactive or bootable, and at
/// least one names a type and a range that begins on the device.
fn is_partition_table(table: &[u8], sectors: u64) -> bool {
    let mut entries = table.chunks_exact(16);
    let plausible = |entry: &[u8]| {
        let (kind, start, len) = (entry[4], le32(entry, 8), le32(entry, 12));
        kind != 0 && start != 0 && len != 0 && u64::from(start) < sectors
    };
    entries.clone().all(|entry| entry[0] & 0x7F == 0) && entries.any(plausible)
}

/// Whether this is the GPT header of block `number`, with its checksum right.
fn is_gpt_header(block: &[u8], number: u64) -> bool {
    let len = le32(block, 12) as usize;
    if !block.starts_with(b"EFI PART") || !(92..=block.len()).contains(&len) {
        return false;
    }
    // The checksum is taken with its own field zero.
    let mut header = block[..len].to_vec();
    header[16..20].fill(0);
    crc32fast::hash(&header) == le32(block, 16) && le64(block, 24) == number
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    le32(bytes, at).swap_bytes()
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
