//! A superblock for a device that joins an array: the array's facts, the device's own places.
//!
//! Source: mdadm `Manage.c` (`Manage_add`), `super1.c` (`add_to_super1`, `write_init_super1`).

use super::block::Superblock;
use super::uuid::Uuid;

impl Superblock {
    /// Turns a copy of a member's superblock into that of a spare on a device of `device_sectors`.
    ///
    /// Data starts where it does on the other member, so that the array's `size` fits if the device
    /// is large enough; else the sectors it would need are the error.
    pub fn become_spare(
        &mut self,
        dev_number: u32,
        device_uuid: Uuid,
        write_mostly: bool,
        device_sectors: u64,
    ) -> Result<(), u64> {
        let at_start = self.minor.is_at_start();
        // At the end of the device the log and bitmap precede the superblock.
        let reserve = self.super_offset.saturating_sub(self.data_offset + self.data_size);
        let needs = match at_start {
            true => self.data_offset + self.size,
            false => self.data_offset + self.size + reserve + 16,
        };
        let super_offset = self.minor.sector(device_sectors).ok_or(needs)?;
        let end = if at_start { device_sectors } else { super_offset.saturating_sub(reserve) };
        let data_size = end.saturating_sub(self.data_offset);
        if data_size < self.size {
            return Err(needs);
        }
        self.super_offset = super_offset;
        self.data_size = data_size;
        self.dev_number = dev_number;
        self.device_uuid = device_uuid;
        self.devflags = u8::from(write_mostly);
        self.recovery_offset = None;
        self.recovery_bitmap = false;
        self.replacement = false;
        self.journal_tail = None;
        self.corrected_reads = 0;
        self.bad_blocks_recorded = false;
        Ok(())
    }

    /// Makes the superblock of a member that was away speak for the array it comes back to: the
    /// array's facts, the device's own places and identity. It is to be rebuilt from the beginning,
    /// following the bitmap.
    pub fn rejoin(&mut self, array: &Self) {
        self.name = array.name;
        self.other_features = array.other_features;
        self.logical_block_size = array.logical_block_size;
        self.roles.clone_from(&array.roles);
        self.tail.clone_from(&array.tail);
        self.events = array.events;
        self.resync = array.resync;
        self.recovery_offset = Some(0);
        self.recovery_bitmap = true;
        self.replacement = false;
    }
}
