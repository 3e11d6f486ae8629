use holdfast_core::rng::Rng;

use super::header::{HEADER_BYTES, MAX_ENTRIES};
use super::replay::{Misfit, parity};
use super::*;
use crate::layout::Parity;
use crate::layout::{Layout, Shape};
use crate::level::Level;
use crate::superblock::Uuid;

const UUID: &str = "00112233:44556677:8899aabb:ccddeeff";

fn set() -> u32 {
    signature(UUID.parse::<Uuid>().unwrap())
}

fn entry(data_sector: u64, partial_bytes: u32, data_bytes: u32, parity_slot: u32) -> Entry {
    Entry { data_sector, partial_bytes, data_bytes, parity_slot, checksum: 0 }
}

fn layout(layout: u32) -> Parity {
    let shape = Shape {
        level: Level::Raid5,
        layout,
        raid_disks: 4,
        chunk_sectors: 16,
        member_sectors: 160,
    };
    match Layout::new(&shape, &[]).unwrap() {
        Layout::Parity(parity) => parity,
        _ => unreachable!("raid5 has parity"),
    }
}

#[test]
fn the_signature_is_the_one_linux_writes() {
    assert_eq!(set(), 0x48df_e982);
}

#[test]
fn headers_come_back_and_what_is_wrong_is_named() {
    let header =
        Header { generation: 9, entries: vec![entry(8, 4096, 8192, 3), entry(64, 0, 24_576, 2)] };
    let bytes = header.emit(set());
    assert_eq!(Header::parse(&bytes, set()), Ok(header.clone()));
    assert_eq!(header.bytes(), 8192);
    assert_eq!(Header::parse(&bytes[..4095], set()), Err(PplError::Short(4095)));
    let other = Header::parse(&bytes, 1).unwrap_err();
    assert!(matches!(other, PplError::Signature { expected: 1, .. }));
    for at in [0, 100, 516, 520, 528, 536, 600, 4095] {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        assert!(matches!(Header::parse(&bent, set()), Err(PplError::Checksum { .. })), "{at}");
    }
    let wrong = |one: Entry| Header { generation: 1, entries: vec![one] }.emit(set());
    for (one, why) in [
        (entry(0, 4096, 0, 0), "covers nothing"),
        (entry(0, 100, 4096, 0), "whole sectors"),
        (entry(0, 4096, 6144, 0), "multiple"),
    ] {
        let error = Header::parse(&wrong(one), set()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let mut many = bytes;
    many[528..532].copy_from_slice(&(MAX_ENTRIES + 1).to_le_bytes());
    let sum = {
        many[532..536].fill(0);
        crc32c::crc32c(&many)
    };
    many[532..536].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Header::parse(&many, set()), Err(PplError::Entries(149)));
}

#[test]
fn in_a_ring_the_last_of_the_row_counts() {
    let log = |generation, partial: u8| {
        let mut one = entry(8, 4096, 4096, 3);
        one.checksum = crc32c::crc32c(&[partial; 4096]);
        let header = Header { generation, entries: vec![one] }.emit(set());
        [header, vec![partial; 4096]].concat()
    };
    let area = [log(5, 1), log(6, 2), log(3, 3), vec![0; 4096]].concat();
    let found = Area::find(&area, true, set()).unwrap();
    assert_eq!((found.header.generation, found.offset), (6, 2 * HEADER_BYTES));
    assert_eq!(area[found.partial(0)], [2; 4096]);
    assert!(found.is_sound(&area, 0));
    assert_eq!(Area::find(&area, false, set()).unwrap().header.generation, 5);
    // A torn header ends the row; torn partial parity is seen.
    let mut torn = area.clone();
    torn[2 * HEADER_BYTES + 700] ^= 1;
    assert_eq!(Area::find(&torn, true, set()).unwrap().header.generation, 5);
    let mut torn = area;
    torn[3 * HEADER_BYTES + 9] ^= 1;
    let found = Area::find(&torn, true, set()).unwrap();
    assert!(found.header.generation == 6 && !found.is_sound(&torn, 0));
    assert!(Area::find(&[0; 8192], true, set()).is_err());
}

/// Members' blocks, one byte a sector: slot → sector → value.
type Disks = Vec<Vec<u8>>;

/// What parity should be at a sector of a stripe: the XOR of all data there.
fn true_parity(disks: &Disks, p: u32, sector: u64) -> u8 {
    let others = disks.iter().enumerate().filter(|(slot, _)| *slot as u32 != p);
    others.fold(0, |sum, (_, disk)| sum ^ disk[sector as usize])
}

/// Writes of every shape, cut at every place, over every layout: parity is right afterwards, and
/// blocks of members that were not written have not been read.
#[test]
fn parity_is_right_after_any_part_of_a_write() {
    let mut rng = Rng::new(11);
    for number in 0..6 {
        let layout = layout(number);
        for _ in 0..400 {
            let mut disks: Disks =
                (0..4).map(|_| (0..160).map(|_| rng.bits() as u8).collect()).collect();
            let stripe = rng.below(10);
            let roles = layout.stripe(stripe);
            for within in 0..16 {
                let sector = stripe * 16 + within;
                disks[roles.p as usize][sector as usize] = true_parity(&disks, roles.p, sector);
            }
            // Members `from..to` of the stripe, rows `start..start + depth` of the chunk.
            let (from, to) = *rng.pick(&[(0, 1), (1, 2), (2, 3), (0, 2), (1, 3), (0, 3)]);
            let depth = *rng.pick(&[8, 16]);
            let start = if depth == 8 { *rng.pick(&[0, 8]) } else { 0 };
            let whole = (from, to) == (0, 3) && depth == 16;
            let written: Vec<u32> = (from..to).map(|d| roles.data_slot(d)).collect();
            let partial: Vec<u8> = (0..depth)
                .map(|row| {
                    let sector = (stripe * 16 + start + row) as usize;
                    let others = (0..3).filter(|d| !(from..to).contains(d));
                    others.fold(0, |sum, d| sum ^ disks[roles.data_slot(d) as usize][sector])
                })
                .collect();
            let partial_sectors = if whole { 0 } else { depth };
            let one = entry(
                layout.array_sector(stripe, from, start),
                partial_sectors as u32 * 512,
                (u64::from(to - from) * depth * 512) as u32,
                roles.p,
            );
            // Any part of the write arrives, and any part of the parity.
            for slot in written.iter().chain([&roles.p]) {
                for row in 0..depth {
                    if rng.below(2) == 0 {
                        disks[*slot as usize][(stripe * 16 + start + row) as usize] =
                            rng.bits() as u8;
                    }
                }
            }
            let rows = rows(&one, &layout).unwrap();
            assert_eq!(rows.iter().map(|row| row.sectors).sum::<u64>(), depth);
            for row in rows {
                assert_eq!((row.parity_slot, &row.read), (roles.p, &written));
                let range = row.sector as usize..(row.sector + row.sectors) as usize;
                let blocks: Vec<&[u8]> =
                    row.read.iter().map(|slot| &disks[*slot as usize][range.clone()]).collect();
                let partial = row.partial.map(|bytes| &partial[bytes.start / 512..bytes.end / 512]);
                assert_eq!(partial.is_none(), whole);
                let new = parity(&blocks, partial);
                disks[roles.p as usize][range].copy_from_slice(&new);
            }
            for within in start..start + depth {
                let sector = stripe * 16 + within;
                let now = disks[roles.p as usize][sector as usize];
                assert_eq!(now, true_parity(&disks, roles.p, sector));
            }
        }
    }
}

#[test]
fn entries_of_another_array_are_refused() {
    let layout = layout(2);
    let p = layout.stripe(0).p;
    assert_eq!(rows(&entry(0, 4096, 4096, (p + 1) % 4), &layout), Err(Misfit::Parity(p)));
    assert_eq!(rows(&entry(0, 4096, 4 * 4096, p), &layout), Err(Misfit::Members));
    assert_eq!(rows(&entry(480, 4096, 4096, p), &layout), Err(Misfit::Beyond));
    assert_eq!(rows(&entry(u64::MAX - 7, 4096, 4096, p), &layout), Err(Misfit::Beyond));
    // Two members from the last of a stripe on would lie in two stripes.
    let last = layout.array_sector(0, 2, 0);
    assert_eq!(rows(&entry(last, 4096, 8192, p), &layout), Err(Misfit::Members));
}
