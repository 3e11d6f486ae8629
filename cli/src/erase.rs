//! Taking md superblocks off a device.
//!
//! A device may carry more than one: a stale 1.0 at the end from an earlier life survives the
//! creation of a 1.2 at the start. All places are looked at, that of 0.90 too, and only blocks that begin with
//! md's magic are touched.

use holdfast_core::block::{BlockDevice, Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::BLOCK_SECTORS;
use holdfast_core::time::Clock;
use holdfast_raid::superblock::Minor;
use holdfast_raid::superblock::placement::candidates;
use holdfast_raid::superblock::v1::{MAGIC, MAX_BYTES};

use crate::stream::Stream;

/// Where a device carries md superblocks: version and sector.
pub(crate) fn find(
    device: &mut impl BlockDevice,
    clock: &mut impl Clock,
) -> Result<Vec<(Minor, u64)>, Fault> {
    let mut found = Vec::new();
    for (minor, sector) in candidates(device.geometry().sectors) {
        let sectors = BLOCK_SECTORS.min(device.geometry().sectors - sector);
        let op = Op::Read(Buf::zeroed(sectors as usize * 512));
        let done = Stream::default().now(device, clock, sector, op);
        done.result?;
        // Version 0.90 is in the byte order of its writer.
        let orders: &[[u8; 4]] = match minor {
            Minor::V0_90 => &[MAGIC.to_le_bytes(), MAGIC.to_be_bytes()],
            _ => &[MAGIC.to_le_bytes()],
        };
        if matches!(&done.op, Op::Read(buf) if orders.iter().any(|magic| buf.starts_with(magic))) {
            found.push((minor, sector));
        }
    }
    Ok(found)
}

/// Writes zeros over a superblock, durably.
pub(crate) fn erase(
    device: &mut impl BlockDevice,
    clock: &mut impl Clock,
    sector: u64,
) -> Result<(), Fault> {
    let sectors = BLOCK_SECTORS.min(device.geometry().sectors.saturating_sub(sector));
    let bytes = MAX_BYTES.min(sectors as usize * 512);
    let zeros = Op::Write(Payload::zeroed(bytes), Durability::Fua);
    Stream::default().now(device, clock, sector, zeros).result
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::MemDisk;
    use holdfast_core::time::StepClock;

    use super::*;

    #[test]
    fn every_place_is_found_and_erased_and_nothing_else() {
        let mut disk = MemDisk::new(2048);
        let mut clock = StepClock::default();
        for sector in [0, 8, 16, 1920, 2032] {
            let mut block = Buf::zeroed(4096);
            block[..4].copy_from_slice(&MAGIC.to_le_bytes());
            let op = Op::Write(block.into(), Durability::Cached);
            Stream::default().now(&mut disk, &mut clock, sector, op).result.unwrap();
        }
        let found = find(&mut disk, &mut clock).unwrap();
        let places =
            [(Minor::V0_90, 1920), (Minor::V1_0, 2032), (Minor::V1_1, 0), (Minor::V1_2, 8)];
        assert_eq!(found, places);
        for (_, sector) in found {
            erase(&mut disk, &mut clock, sector).unwrap();
        }
        assert_eq!(find(&mut disk, &mut clock).unwrap(), []);
        let done = Stream::default().now(&mut disk, &mut clock, 16, Op::Read(Buf::zeroed(512)));
        assert!(matches!(done.op, Op::Read(buf) if buf.starts_with(&MAGIC.to_le_bytes())));
    }
}
