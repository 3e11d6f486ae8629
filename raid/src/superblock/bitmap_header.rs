//! The header of the internal write-intent bitmap, and the arithmetic of its bits.
//!
//! The bitmap sits at `super_offset + bitmap_offset` on every member: 256 bytes of header, then
//! one bit per chunk, lowest bit of the first byte first. A set bit says that the members may
//! differ in that region. For RAID1 and parity arrays a region is a range of *member* sectors, for
//! RAID10 of *array* sectors. There is no checksum; the uuid and the ranges of the fields are all
//! that speaks for a header.
//!
//! Versions: 3 and 4 are plain bitmaps, 5 belongs to clusters, 6 is lockless and holds a byte per
//! chunk behind 1024 bytes. The last two are recognised and left alone.
//!
//! Sources: Linux `md-bitmap.h` (`struct bitmap_super_s`), `md-bitmap.c` (`md_bitmap_read_sb`),
//! `md-llbitmap.c`, mdadm `super1.c` (`write_bitmap1`).

use std::mem::{offset_of, size_of};

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::block::Superblock;
use super::uuid::Uuid;

/// The bytes `bitm`.
pub const BITMAP_MAGIC: u32 = 0x6d74_6962;
/// Size of the header in bytes; the bits follow directly.
pub const HEADER_BYTES: u64 = 256;
/// mdadm's and Linux's interval between passes that clear bits, in seconds.
pub const DEFAULT_DAEMON_SLEEP_SECONDS: u32 = 5;
/// Counters of writes in flight behind a write-mostly member have 14 bits.
const MAX_WRITE_BEHIND: u32 = 16_383;
/// More nodes than mdadm lets a cluster have; keeps the arithmetic small.
const MAX_NODES: u32 = 255;

/// Bits of `state`.
pub mod state {
    /// The bitmap missed updates; every bit counts as set.
    pub const STALE: u32 = 1 << 1;
    /// Writing the bitmap failed.
    pub const WRITE_ERROR: u32 = 1 << 2;
    /// Bits in the byte order of the machine that wrote them (version 3).
    pub const HOST_ENDIAN: u32 = 1 << 15;
}

/// The header as bytes. Sectors are 512 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
struct RawHeader {
    magic: U32,
    version: U32,
    uuid: [u8; 16],
    events: U64,
    events_cleared: U64,
    sync_size: U64,
    state: U32,
    chunksize: U32,
    daemon_sleep: U32,
    write_behind: U32,
    sectors_reserved: U32,
    nodes: U32,
    cluster_name: [u8; 64],
    pad: [u8; 120],
}

const _: () = assert!(size_of::<RawHeader>() as u64 == HEADER_BYTES);
const _: () = assert!(offset_of!(RawHeader, events) == 4 + 4 + 16);
const _: () = assert!(offset_of!(RawHeader, state) == 24 + 3 * 8);
const _: () = assert!(offset_of!(RawHeader, cluster_name) == 48 + 6 * 4);
const _: () = assert!(offset_of!(RawHeader, pad) == 72 + 64);

/// What kind of bitmap follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapVersion {
    /// 3: bits in host order, which on little-endian machines is the order of version 4.
    HostEndian,
    /// 4: the usual one.
    LittleEndian,
    /// 5: one bitmap per cluster node.
    Clustered,
    /// 6: a byte per chunk.
    Lockless,
}

impl BitmapVersion {
    /// The stored number.
    pub const fn number(self) -> u32 {
        match self {
            Self::HostEndian => 3,
            Self::LittleEndian => 4,
            Self::Clustered => 5,
            Self::Lockless => 6,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::HostEndian, Self::LittleEndian, Self::Clustered, Self::Lockless]
            .into_iter()
            .find(|version| version.number() == number)
    }
}

/// Why the bytes are no usable bitmap header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitmapError {
    /// Another magic.
    #[error("no bitmap (magic {0:#010x})")]
    NotFound(u32),
    /// Fewer than 256 bytes.
    #[error("a bitmap header needs 256 bytes, {0} were read")]
    Short(usize),
    /// A field cannot be true.
    #[error("bitmap {field} {value}: {why}")]
    Field {
        /// Its name in `md-bitmap.h`.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What speaks against it.
        why: &'static str,
    },
    /// The bitmap of another array.
    #[error("bitmap uuid {bitmap} is not that of the array, {array}")]
    Uuid {
        /// In the bitmap header.
        bitmap: Uuid,
        /// In the superblock.
        array: Uuid,
    },
    /// The bits would reach into what follows the bitmap.
    #[error("a bitmap of {bits} bits needs {need} sectors, there are {room}")]
    NoRoom {
        /// Bits in use.
        bits: u64,
        /// Sectors for header and bits.
        need: u64,
        /// Sectors before the next thing on the member.
        room: u64,
    },
}

/// Why a bitmap may be looked at but not maintained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedBitmap {
    /// Version 5.
    #[error("a clustered bitmap (version 5)")]
    Clustered,
    /// Version 6.
    #[error("a lockless bitmap (version 6)")]
    Lockless,
}

/// The header of a write-intent bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitmapHeader {
    /// What kind of bitmap follows.
    pub version: BitmapVersion,
    /// The array's uuid.
    pub uuid: Uuid,
    /// Events of the array when the header was written.
    pub events: u64,
    /// Events of the array when a bit was last cleared with all members present: a member that
    /// left later can come back by copying marked regions only.
    pub events_cleared: u64,
    /// Sectors covered: of a member, or for RAID10 of the array.
    pub sync_size: u64,
    /// Bits of [`state`].
    pub state: u32,
    /// Bytes one bit covers; a power of two.
    pub chunk_bytes: u32,
    /// Seconds between passes that clear bits.
    pub daemon_sleep_seconds: u32,
    /// Writes that may be in flight to write-mostly members; 0 means none are delayed.
    pub write_behind: u32,
    /// Sectors set aside for the bitmap; 0 if unknown.
    pub sectors_reserved: u32,
    /// Cluster nodes, else 0.
    pub nodes: u32,
    /// Cluster name, NUL-padded.
    pub cluster_name: [u8; 64],
    /// What follows the named fields, kept as found.
    pad: [u8; 120],
}

fn demand(
    holds: bool,
    field: &'static str,
    value: u64,
    why: &'static str,
) -> Result<(), BitmapError> {
    if holds { Ok(()) } else { Err(BitmapError::Field { field, value, why }) }
}

impl BitmapHeader {
    /// The header of a new bitmap, its bits not yet written.
    pub fn new(uuid: Uuid, sync_size: u64, chunk_bytes: u32) -> Self {
        Self {
            version: BitmapVersion::LittleEndian,
            uuid,
            events: 0,
            events_cleared: 0,
            sync_size,
            state: 0,
            chunk_bytes,
            daemon_sleep_seconds: DEFAULT_DAEMON_SLEEP_SECONDS,
            write_behind: 0,
            sectors_reserved: 0,
            nodes: 0,
            cluster_name: [0; 64],
            pad: [0; 120],
        }
    }

    /// The header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BitmapError> {
        let (raw, _) =
            RawHeader::read_from_prefix(bytes).map_err(|_| BitmapError::Short(bytes.len()))?;
        if raw.magic.get() != BITMAP_MAGIC {
            return Err(BitmapError::NotFound(raw.magic.get()));
        }
        let number = raw.version.get();
        let version = BitmapVersion::from_number(number).ok_or_else(|| BitmapError::Field {
            field: "version",
            value: number.into(),
            why: "only 3 to 6 are known",
        })?;
        let header = Self {
            version,
            uuid: Uuid(raw.uuid),
            events: raw.events.get(),
            events_cleared: raw.events_cleared.get(),
            sync_size: raw.sync_size.get(),
            state: raw.state.get(),
            chunk_bytes: raw.chunksize.get(),
            daemon_sleep_seconds: raw.daemon_sleep.get(),
            write_behind: raw.write_behind.get(),
            sectors_reserved: raw.sectors_reserved.get(),
            nodes: raw.nodes.get(),
            cluster_name: raw.cluster_name,
            pad: raw.pad,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BitmapError> {
        let (chunk, sleep, behind) =
            (self.chunk_bytes, self.daemon_sleep_seconds, self.write_behind);
        // A lockless bitmap leaves the chunk to the kernel: zero until it has been started once.
        let unset = self.version == BitmapVersion::Lockless && chunk == 0;
        let chunk_ok = unset || chunk.is_power_of_two() && chunk >= 512;
        let why = "expected a power of two from 512 up";
        demand(chunk_ok, "chunksize", chunk.into(), why)?;
        let why = "expected 1 second or more";
        demand(sleep >= 1, "daemon_sleep", sleep.into(), why)?;
        let why = "expected at most 16383";
        demand(behind <= MAX_WRITE_BEHIND, "write_behind", behind.into(), why)?;
        let why = "expected at most 255";
        demand(self.nodes <= MAX_NODES, "nodes", self.nodes.into(), why)?;
        let why = "no array is that large";
        demand(self.sync_size < 1 << 54, "sync_size", self.sync_size, why)
    }

    /// Whether this can be the bitmap of the member `superblock` describes: right uuid, and bits
    /// that end before the next thing on the device.
    pub fn check_against(
        &self,
        superblock: &Superblock,
        device_sectors: u64,
    ) -> Result<(), BitmapError> {
        let array = superblock.bitmap_uuid();
        if self.uuid != array {
            return Err(BitmapError::Uuid { bitmap: self.uuid, array });
        }
        let room = superblock.bitmap_room(device_sectors).unwrap_or(0);
        let need = self.bytes().div_ceil(512);
        if need > room {
            return Err(BitmapError::NoRoom { bits: self.bits(), need, room });
        }
        Ok(())
    }

    /// Chunks covered, hence bits (lockless: bytes) in use.
    pub fn bits(&self) -> u64 {
        match u64::from(self.chunk_bytes) {
            0 => 0,
            chunk => (self.sync_size * 512).div_ceil(chunk),
        }
    }

    /// Bytes of header and bits, without rounding.
    pub fn bytes(&self) -> u64 {
        match self.version {
            BitmapVersion::Lockless => 1024 + self.bits(),
            BitmapVersion::Clustered => {
                let copy = HEADER_BYTES + self.bits().div_ceil(8);
                copy.next_multiple_of(4096) * u64::from(self.nodes.clamp(1, MAX_NODES))
            }
            _ => HEADER_BYTES + self.bits().div_ceil(8),
        }
    }

    /// Sectors of header and bits: whole blocks of 4 KiB, or of 512 bytes if the bitmap does not
    /// start on a 4 KiB boundary relative to the superblock.
    pub fn area_sectors(&self, bitmap_offset: i32) -> u64 {
        let step = if bitmap_offset % 8 == 0 { 4096 } else { 512 };
        self.bytes().next_multiple_of(step) / 512
    }

    /// Whether the bits are too old to be believed: every region counts as marked then.
    pub fn is_stale(&self, superblock_events: u64) -> bool {
        self.state & state::STALE != 0 || self.events < superblock_events
    }

    /// Why holdfast must not write the array, if so.
    pub fn refuses_writing(&self) -> Option<UnsupportedBitmap> {
        match self.version {
            BitmapVersion::HostEndian | BitmapVersion::LittleEndian => None,
            BitmapVersion::Clustered => Some(UnsupportedBitmap::Clustered),
            BitmapVersion::Lockless => Some(UnsupportedBitmap::Lockless),
        }
    }

    /// The 256 bytes of the header.
    pub fn emit(&self) -> [u8; HEADER_BYTES as usize] {
        let mut raw = RawHeader::new_zeroed();
        raw.magic.set(BITMAP_MAGIC);
        raw.version.set(self.version.number());
        raw.uuid = self.uuid.0;
        raw.events.set(self.events);
        raw.events_cleared.set(self.events_cleared);
        raw.sync_size.set(self.sync_size);
        raw.state.set(self.state);
        raw.chunksize.set(self.chunk_bytes);
        raw.daemon_sleep.set(self.daemon_sleep_seconds);
        raw.write_behind.set(self.write_behind);
        raw.sectors_reserved.set(self.sectors_reserved);
        raw.nodes.set(self.nodes);
        raw.cluster_name = self.cluster_name;
        raw.pad = self.pad;
        zerocopy::transmute!(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> BitmapHeader {
        BitmapHeader::new(Uuid([7; 16]), 6144, 131_072)
    }

    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut block = header().emit().to_vec();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        block
    }

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = header();
        assert_eq!(BitmapHeader::parse(&header.emit()), Ok(header.clone()));
        assert_eq!((header.bits(), header.bytes()), (24, 259));
        assert_eq!(header.area_sectors(8), 8);
        assert_eq!(header.area_sectors(2), 1);
    }

    #[test]
    fn bytes_nobody_names_are_kept() {
        let block = with(200, &[1, 2, 3]);
        assert_eq!(BitmapHeader::parse(&block).unwrap().emit().to_vec(), block);
    }

    #[test]
    fn broken_fields_are_named() {
        let rows: [(usize, &[u8], &str); 9] = [
            (4, &[2], "version"),
            (4, &[7], "version"),
            (40, &[0xff; 8], "sync_size"),
            (52, &[0; 4], "chunksize"),
            (52, &[0, 1, 0, 0], "chunksize"),
            (52, &[1, 0, 2, 0], "chunksize"),
            (56, &[0; 4], "daemon_sleep"),
            (60, &[0, 0x40], "write_behind"),
            (68, &[0, 1], "nodes"),
        ];
        for (at, bytes, name) in rows {
            let error = BitmapHeader::parse(&with(at, bytes)).unwrap_err();
            assert!(matches!(error, BitmapError::Field { field, .. } if field == name), "{error}");
        }
        assert_eq!(BitmapHeader::parse(&[0; 256]), Err(BitmapError::NotFound(0)));
        assert_eq!(BitmapHeader::parse(&[0; 255]), Err(BitmapError::Short(255)));
    }

    #[test]
    fn bits_must_end_before_what_follows() {
        let mut superblock = Superblock::blank(super::super::placement::Minor::V1_2);
        superblock.set_uuid = Uuid([7; 16]);
        (superblock.super_offset, superblock.data_offset) = (8, 2048);
        superblock.bitmap_offset = Some(8);
        let check = |superblock: &Superblock, header: &BitmapHeader| {
            header.check_against(superblock, 100_000)
        };
        assert_eq!(check(&superblock, &header()), Ok(()));
        let large = BitmapHeader::new(Uuid([7; 16]), 1 << 40, 4096);
        assert!(matches!(check(&superblock, &large), Err(BitmapError::NoRoom { room: 2032, .. })));
        let foreign = BitmapHeader::new(Uuid([8; 16]), 6144, 131_072);
        assert!(matches!(check(&superblock, &foreign), Err(BitmapError::Uuid { .. })));
        superblock.bitmap_offset = None;
        assert!(matches!(check(&superblock, &header()), Err(BitmapError::NoRoom { room: 0, .. })));
    }

    #[test]
    fn an_old_bitmap_marks_everything() {
        let mut header = header();
        header.events = 19;
        assert!(!header.is_stale(19) && !header.is_stale(18));
        assert!(header.is_stale(20));
        header.state = state::STALE;
        assert!(header.is_stale(19));
    }

    #[test]
    fn versions_and_who_may_write_them() {
        for (number, refusal) in [
            (3, None),
            (4, None),
            (5, Some(UnsupportedBitmap::Clustered)),
            (6, Some(UnsupportedBitmap::Lockless)),
        ] {
            let header = BitmapHeader::parse(&with(4, &[number])).unwrap();
            assert_eq!(header.refuses_writing(), refusal);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..300), version in 3u8..7, shift in 0u32..32) {
            if bytes.len() >= 64 {
                bytes[..8].copy_from_slice(&[0x62, 0x69, 0x74, 0x6d, version, 0, 0, 0]);
                bytes[46..48].fill(0);
                bytes[52..56].copy_from_slice(&(1u32 << shift).to_le_bytes());
                bytes[61..64].fill(0);
                bytes.get_mut(69..72).into_iter().for_each(|nodes| nodes.fill(0));
            }
            if let Ok(header) = BitmapHeader::parse(&bytes) {
                let _ = (header.bytes(), header.area_sectors(8), header.area_sectors(-7));
                prop_assert_eq!(&header.emit()[..], &bytes[..256]);
            }
        }
    }
}
