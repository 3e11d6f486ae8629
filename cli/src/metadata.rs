//! Where a member keeps metadata, and copying it away and back.
//!
//! Metadata is every place a superblock can be at (also the empty ones: restoring must be able to
//! empty them again), the bitmap, the bad-block log and the partial parity log. Data is not.

use std::ops::Range;
use std::path::Path;

use holdfast_core::block::{BlockDevice, Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::{BLOCK_SECTORS, SECTOR_BYTES};
use holdfast_core::time::Clock;
use holdfast_host::blocklog::{Log, MemberFacts};
use holdfast_raid::scan::Probe;
use holdfast_raid::superblock::{BitmapHeader, Superblock, placement};
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::stream::Stream;

/// Sectors read or written at once.
const PIECE_SECTORS: u64 = 2048;

/// The places a superblock can be at, on a device of this size.
pub(crate) fn places(device_sectors: u64) -> Vec<Range<u64>> {
    placement::candidates(device_sectors)
        .into_iter()
        .map(|(_, sector)| sector..(sector + BLOCK_SECTORS).min(device_sectors))
        .collect()
}

/// What a superblock says is kept beside the data.
pub(crate) fn areas(
    superblock: &Superblock,
    bitmap: Option<&BitmapHeader>,
    device_sectors: u64,
) -> Vec<Range<u64>> {
    let mut areas = Vec::new();
    if let (Some(start), Some(offset)) = (superblock.bitmap_sector(), superblock.bitmap_offset) {
        let room = superblock.bitmap_room(device_sectors).unwrap_or(0);
        let needed = bitmap.map_or(BLOCK_SECTORS, |header| header.area_sectors(offset));
        areas.push(start..start.saturating_add(needed.min(room)));
    }
    if let (Some(start), Some(log)) = (superblock.bad_blocks_sector(), superblock.bad_blocks) {
        areas.push(start..start.saturating_add(log.sectors.into()));
    }
    if let Some(ppl) = superblock.ppl
        && let Some(start) = superblock.super_offset.checked_add_signed(ppl.offset.into())
    {
        areas.push(start..start.saturating_add(ppl.sectors.into()));
    }
    areas
}

/// Everything a probed member keeps beside its data.
pub(crate) fn of_probe(probe: &Probe) -> Vec<Range<u64>> {
    let sectors = probe.geometry.sectors;
    let mut regions = places(sectors);
    if let Ok(superblock) = &probe.superblock {
        let header = match &probe.bitmap {
            Some(Ok(bitmap)) => Some(&bitmap.header),
            _ => None,
        };
        regions.extend(areas(superblock, header, sectors));
    }
    regions
}

/// The same sectors as whole blocks of the device, in order, each once.
pub(crate) fn tidy(mut regions: Vec<Range<u64>>, disk: &impl BlockDevice) -> Vec<Range<u64>> {
    let (block, end) = (disk.geometry().block_sectors(), disk.geometry().sectors);
    regions.sort_by_key(|region| region.start);
    let mut tidy: Vec<Range<u64>> = Vec::new();
    for region in regions {
        let start = region.start / block * block;
        let stop = region.end.next_multiple_of(block).min(end / block * block);
        match tidy.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(stop),
            _ if start < stop => tidy.push(start..stop),
            _ => {}
        }
    }
    tidy
}

/// Reads a range.
pub(crate) fn read(
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
    sectors: Range<u64>,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    for start in sectors.clone().step_by(PIECE_SECTORS as usize) {
        let length = PIECE_SECTORS.min(sectors.end - start) * SECTOR_BYTES;
        let op = Op::Read(Buf::zeroed(length as usize));
        let done = Stream::default().now(disk, clock, start, op);
        match (done.result, done.op) {
            (Ok(()), Op::Read(buf)) => bytes.extend_from_slice(&buf),
            (Err(fault), _) => return Err(fault),
            (Ok(()), _) => unreachable!("a read answers a read"),
        }
    }
    Ok(bytes)
}

/// Writes a range, durable once [`flush`] has been done.
pub(crate) fn write(
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
    sector: u64,
    bytes: &[u8],
) -> Result<(), Fault> {
    for (piece, data) in (0..).zip(bytes.chunks((PIECE_SECTORS * SECTOR_BYTES) as usize)) {
        let op = Op::Write(Payload::from_slice(data), Durability::Cached);
        Stream::default().now(disk, clock, sector + piece * PIECE_SECTORS, op).result?;
    }
    Ok(())
}

/// Makes what was written durable.
pub(crate) fn flush(disk: &mut impl BlockDevice, clock: &mut impl Clock) -> Result<(), Fault> {
    Stream::default().now(disk, clock, 0, Op::Flush).result
}

/// What a log writes down of a device.
pub(crate) fn facts(
    name: &Path,
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
) -> Result<MemberFacts, Failure> {
    let geometry = disk.geometry();
    let fingerprint = fingerprint(disk, clock).map_err(|fault| unreadable(name, fault))?;
    Ok(MemberFacts {
        name: absolute(name).as_os_str().as_encoded_bytes().to_vec(),
        sectors: geometry.sectors,
        block_bytes: geometry.block_bytes,
        fingerprint,
    })
}

/// A name that is good wherever the command is run.
pub(crate) fn absolute(name: &Path) -> std::path::PathBuf {
    let spec = crate::parts::Spec::of(name);
    let base = spec.base.canonicalize().unwrap_or(spec.base);
    spec.number.map_or_else(|| base.clone(), |number| crate::parts::name(&base, number))
}

/// Tells a device from what it was before somebody wrote metadata to it: all places of superblocks
/// in one number. Every update of an array changes one of them.
pub(crate) fn fingerprint(
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
) -> Result<u64, Fault> {
    let regions = tidy(places(disk.geometry().sectors), disk);
    digest(disk, clock, &regions)
}

/// The contents of regions in one number.
pub(crate) fn digest(
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
    regions: &[Range<u64>],
) -> Result<u64, Fault> {
    let mut hasher = Sha256::new();
    for region in regions {
        hasher.update(region.start.to_le_bytes());
        hasher.update(read(disk, clock, region.clone())?);
    }
    let digest = hasher.finalize();
    Ok(digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// Copies regions of a device into a log; runs of zeros take no room there.
pub(crate) fn copy(
    log: &Log,
    member: u32,
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
    regions: &[Range<u64>],
) -> Result<(), Fault> {
    for region in regions {
        let bytes = read(disk, clock, region.clone())?;
        let blocks = bytes.chunks((BLOCK_SECTORS * SECTOR_BYTES) as usize);
        for (block, data) in (0..).zip(blocks) {
            let sector = region.start + block * BLOCK_SECTORS;
            if data.iter().all(|byte| *byte == 0) {
                log.zero(member, sector..sector + data.len() as u64 / SECTOR_BYTES)?;
            } else {
                log.write(member, sector, data)?;
            }
        }
    }
    Ok(())
}

/// A device whose metadata cannot be read.
pub(crate) fn unreadable(name: &Path, fault: Fault) -> Failure {
    Failure::error(format!("{}: its metadata cannot be read: {fault}", name.display()))
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::{Geometry, MemDisk};

    use super::*;

    #[test]
    fn regions_become_whole_blocks_each_once() {
        let disk =
            |block_bytes| MemDisk::with_geometry(Geometry { block_bytes, ..Geometry::new(100) });
        #[expect(clippy::single_range_in_vec_init, reason = "a region is a range")]
        let rows = [
            (512, vec![8..16, 0..8, 20..21], vec![0..16, 20..21]),
            (4096, vec![9..10, 20..21], vec![8..24]),
            (4096, vec![90..200], vec![88..96]),
            (512, vec![5..5, 99..120], vec![99..100]),
            (512, vec![0..10, 2..4], vec![0..10]),
        ];
        for (block_bytes, regions, expected) in rows {
            assert_eq!(tidy(regions, &disk(block_bytes)), expected);
        }
    }
}
