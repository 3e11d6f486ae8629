//! [`Superblock`] to bytes: the inverse of [`parse`](super::parse).
//!
//! What was read and not understood goes back unchanged: padding, leftovers of a finished reshape,
//! a log place under a clear bit, the rest of the last sector. What has a meaning is written from
//! the fields, feature bits included, and the checksum is computed last.
//!
//! Source: Linux `md.c` (`super_1_sync`), mdadm `super1.c` (`store_super1`).

use zerocopy::IntoBytes;

use super::block::Superblock;
use super::v1::{MAGIC, MAX_DEV, RawV1, checksum, feature};

impl Superblock {
    /// The bytes to write at `super_offset`: fixed part, role table, rounded up to whole sectors.
    ///
    /// # Panics
    ///
    /// If the role table is larger than a superblock holds, which no parsed or planned one is.
    pub fn emit(&self) -> Vec<u8> {
        assert!(self.roles.len() <= MAX_DEV as usize, "role table of {}", self.roles.len());
        let mut bytes = Vec::with_capacity(self.sectors() as usize * 512);
        bytes.extend_from_slice(self.fixed().as_bytes());
        for role in &self.roles {
            bytes.extend_from_slice(&role.number().to_le_bytes());
        }
        let sum = checksum(&bytes);
        bytes[216..220].copy_from_slice(&sum.to_le_bytes());
        let whole = bytes.len().next_multiple_of(512);
        if self.tail.len() == whole - bytes.len() {
            bytes.extend_from_slice(&self.tail);
        }
        bytes.resize(whole, 0xff);
        bytes
    }

    /// The checksum [`emit`](Self::emit) stores.
    pub fn checksum(&self) -> u32 {
        let bytes = self.emit();
        checksum(&bytes[..self.bytes()])
    }

    fn fixed(&self) -> RawV1 {
        let mut raw = self.raw;
        raw.magic.set(MAGIC);
        raw.major_version.set(1);
        raw.feature_map.set(self.feature_map());
        self.fill_array_facts(&mut raw);
        self.fill_optional(&mut raw);
        self.fill_member_facts(&mut raw);
        raw.utime.set(self.utime.0);
        raw.events.set(self.events);
        raw.resync_offset.set(self.resync.number());
        raw.max_dev.set(self.roles.len() as u32);
        raw.logical_block_size.set(self.logical_block_size);
        raw
    }

    fn fill_array_facts(&self, raw: &mut RawV1) {
        raw.set_uuid = self.set_uuid.0;
        raw.set_name = self.name.0;
        raw.ctime.set(self.ctime.0);
        raw.level.set(self.level_number);
        raw.layout.set(self.layout);
        raw.size.set(self.size);
        raw.chunksize.set(self.chunk_sectors);
        raw.raid_disks.set(self.raid_disks);
    }

    fn fill_member_facts(&self, raw: &mut RawV1) {
        raw.data_offset.set(self.data_offset);
        raw.data_size.set(self.data_size);
        raw.super_offset.set(self.super_offset);
        raw.recovery_offset.set(self.recovery_number());
        raw.dev_number.set(self.dev_number);
        raw.cnt_corrected_read.set(self.corrected_reads);
        raw.device_uuid = self.device_uuid.0;
        raw.devflags = self.devflags;
    }

    /// `recovery_offset` or `journal_tail`, which share their bytes. A rebuild that ended leaves
    /// zero, as in Linux; leftovers that were there under a clear bit stay.
    fn recovery_number(&self) -> u64 {
        let was_rebuilding = self.raw.feature_map.get() & feature::RECOVERY_OFFSET != 0;
        let leftover = if was_rebuilding { 0 } else { self.raw.recovery_offset.get() };
        self.recovery_offset.or(self.journal_tail).unwrap_or(leftover)
    }

    fn fill_optional(&self, raw: &mut RawV1) {
        if let Some(offset) = self.bitmap_offset {
            raw.bitmap_offset.set(offset);
        }
        if let Some(ppl) = self.ppl {
            let ([a, b], [c, d]) = (ppl.offset.to_le_bytes(), ppl.sectors.to_le_bytes());
            raw.bitmap_offset.set(i32::from_le_bytes([a, b, c, d]));
        }
        if let Some(reshape) = self.reshape {
            raw.reshape_position.set(reshape.position);
            raw.delta_disks.set(reshape.delta_disks);
            raw.new_level.set(reshape.new_level);
            raw.new_layout.set(reshape.new_layout);
            raw.new_chunk.set(reshape.new_chunk_sectors);
            if let Some(offset) = reshape.new_offset {
                raw.new_offset.set(offset);
            }
        }
        if let Some(log) = self.bad_blocks {
            raw.bblog_offset.set(log.offset);
            raw.bblog_size.set(log.sectors);
            raw.bblog_shift = log.shift;
        }
    }
}
