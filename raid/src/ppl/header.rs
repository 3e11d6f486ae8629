//! A log's header, and the one that counts in an area of several.
//!
//! 4096 bytes: 512 of ones, signature, generation, number of entries, checksum, then up to 148
//! entries of 24 bytes. The partial parity of the entries follows the header in their order.

use std::ops::Range;

use crate::superblock::Uuid;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 4096;
/// Entries a header holds.
pub const MAX_ENTRIES: u32 = 148;
/// Bytes of partial parity in one log of a ring, at most.
pub const RING_LOG_BYTES: u64 = 128 << 10;
/// Areas of so many bytes are rings: two logs of full length fit.
pub const RING_BYTES: u64 = 2 * (RING_LOG_BYTES + HEADER_BYTES as u64);
/// Bytes of one row of a stripe: what md writes at once on a member.
pub const ROW_BYTES: u32 = 4096;

/// Why bytes are no header of this array's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PplError {
    /// Fewer than 4096 bytes.
    #[error("a header has 4096 bytes, {0} were read")]
    Short(usize),
    /// Of another array, or nothing.
    #[error("signature {stored:#x}, this array's is {expected:#x}")]
    Signature {
        /// In the header.
        stored: u32,
        /// Of the array.
        expected: u32,
    },
    /// Changed, or written in part.
    #[error("checksum {stored:#x}, the bytes give {expected:#x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of its bytes.
        expected: u32,
    },
    /// More entries than there is room for.
    #[error("{0} entries do not fit a header")]
    Entries(u32),
    /// An entry that cannot be true.
    #[error("entry {index}: {why}")]
    Entry {
        /// Which.
        index: usize,
        /// What speaks against it.
        why: &'static str,
    },
}

/// What one write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Array sector of the first byte written.
    pub data_sector: u64,
    /// Bytes of partial parity; 0 where whole stripes were written.
    pub partial_bytes: u32,
    /// Bytes written, all members together.
    pub data_bytes: u32,
    /// The slot of parity: the one this log lies on.
    pub parity_slot: u32,
    /// CRC-32C of the partial parity.
    pub checksum: u32,
}

/// A log's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Grows with every log written.
    pub generation: u64,
    /// The writes it covers.
    pub entries: Vec<Entry>,
}

/// What marks the logs of an array: CRC-32C of its uuid.
pub fn signature(set_uuid: Uuid) -> u32 {
    crc32c::crc32c(&set_uuid.0)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// CRC-32C of a header, its own field counted as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&bytes[..532]);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    crc32c::crc32c_append(sum, &bytes[536..HEADER_BYTES])
}

impl Header {
    /// The header at the start of `bytes`, if it is one of the array with this signature.
    ///
    /// # Errors
    /// See [`PplError`].
    pub fn parse(bytes: &[u8], signature: u32) -> Result<Self, PplError> {
        let whole = bytes.get(..HEADER_BYTES).ok_or(PplError::Short(bytes.len()))?;
        let stored = le32(whole, 512);
        if stored != signature {
            return Err(PplError::Signature { stored, expected: signature });
        }
        let (stored, expected) = (le32(whole, 532), checksum(whole));
        if stored != expected {
            return Err(PplError::Checksum { stored, expected });
        }
        let count = le32(whole, 528);
        if count > MAX_ENTRIES {
            return Err(PplError::Entries(count));
        }
        let entries =
            (0..count as usize).map(|index| entry(whole, index)).collect::<Result<_, _>>()?;
        Ok(Self { generation: le64(whole, 520), entries })
    }

    /// The header's bytes.
    ///
    /// # Panics
    /// If there are more than [`MAX_ENTRIES`] entries: ours to know.
    pub fn emit(&self, signature: u32) -> Vec<u8> {
        assert!(self.entries.len() <= MAX_ENTRIES as usize, "{} entries", self.entries.len());
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..512].fill(0xff);
        bytes[512..516].copy_from_slice(&signature.to_le_bytes());
        bytes[520..528].copy_from_slice(&self.generation.to_le_bytes());
        bytes[528..532].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (entry, place) in self.entries.iter().zip(bytes[536..].chunks_exact_mut(24)) {
            place[..8].copy_from_slice(&entry.data_sector.to_le_bytes());
            place[8..12].copy_from_slice(&entry.partial_bytes.to_le_bytes());
            place[12..16].copy_from_slice(&entry.data_bytes.to_le_bytes());
            place[16..20].copy_from_slice(&entry.parity_slot.to_le_bytes());
            place[20..24].copy_from_slice(&entry.checksum.to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[532..536].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Bytes of partial parity behind the header.
    pub fn partial_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.partial_bytes)).sum()
    }

    /// Bytes of header and partial parity.
    pub fn bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.partial_bytes()
    }
}

fn entry(bytes: &[u8], index: usize) -> Result<Entry, PplError> {
    let at = 536 + 24 * index;
    let entry = Entry {
        data_sector: le64(bytes, at),
        partial_bytes: le32(bytes, at + 8),
        data_bytes: le32(bytes, at + 12),
        parity_slot: le32(bytes, at + 16),
        checksum: le32(bytes, at + 20),
    };
    let wrong = |why| Err(PplError::Entry { index, why });
    match entry {
        Entry { data_bytes: 0, .. } => wrong("it covers nothing"),
        Entry { partial_bytes, data_bytes, .. }
            if partial_bytes % 512 != 0 || data_bytes % 512 != 0 =>
        {
            wrong("sizes are whole sectors")
        }
        Entry { partial_bytes, data_bytes, .. }
            if partial_bytes != 0 && data_bytes % partial_bytes != 0 =>
        {
            wrong("the data is no multiple of the partial parity")
        }
        _ => Ok(entry),
    }
}

/// The log that counts in a member's area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its header.
    pub header: Header,
    /// Where its header begins in the area, in bytes.
    pub offset: usize,
}

impl Area {
    /// Finds it: in the single form the header at the start; in the multiple form logs follow one
    /// another with growing generations, and the last of the row counts.
    ///
    /// # Errors
    /// Why there is none at the very start.
    pub fn find(area: &[u8], multiple: bool, signature: u32) -> Result<Self, PplError> {
        let mut found = Self { header: Header::parse(area, signature)?, offset: 0 };
        if multiple {
            while let Some(next) = found.next(area, signature) {
                found = next;
            }
        }
        Ok(found)
    }

    /// The log right behind this one, if it is a later one.
    fn next(&self, area: &[u8], signature: u32) -> Option<Self> {
        let offset = self.offset + self.header.bytes() as usize;
        let header = Header::parse(area.get(offset..)?, signature).ok()?;
        (header.generation >= self.header.generation).then_some(Self { header, offset })
    }

    /// Where an entry's partial parity lies in the area, in bytes.
    pub fn partial(&self, index: usize) -> Range<usize> {
        let before: usize =
            self.header.entries[..index].iter().map(|entry| entry.partial_bytes as usize).sum();
        let start = self.offset + HEADER_BYTES + before;
        start..start + self.header.entries[index].partial_bytes as usize
    }

    /// Whether an entry's partial parity is what was written.
    pub fn is_sound(&self, area: &[u8], index: usize) -> bool {
        let entry = &self.header.entries[index];
        let bytes = area.get(self.partial(index));
        bytes.is_some_and(|bytes| bytes.is_empty() || crc32c::crc32c(bytes) == entry.checksum)
    }
}
