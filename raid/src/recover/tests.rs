//! The search over arrays laid out here, by the layouts' own arithmetic.

use holdfast_core::rng::Rng;

use super::*;
use crate::layout::{Layout, Shape};
use crate::parity::pq;

const SECTOR: usize = 512;

/// An array without metadata: what every member holds, by slot, and what the array holds.
struct Made {
    members: Vec<Vec<u8>>,
    content: Vec<u8>,
}

/// Fills an array with random bytes, `offset` sectors into its members.
fn made(
    level: Level,
    layout: u32,
    slots: u32,
    chunk_sectors: u32,
    stripes: u64,
    offset: u64,
) -> Made {
    let member_sectors = stripes * u64::from(chunk_sectors.max(8));
    let shape = Shape { level, layout, raid_disks: slots, chunk_sectors, member_sectors };
    let layout = Layout::new(&shape, &vec![member_sectors; slots as usize]).unwrap();
    let mut content = vec![0; layout.array_sectors() as usize * SECTOR];
    Rng::new(u64::from(slots)).fill(&mut content);
    let length = (offset + member_sectors) as usize * SECTOR;
    let mut members = vec![vec![0; length]; slots as usize];
    let at = |sector: u64| (offset + sector) as usize * SECTOR;
    match &layout {
        Layout::Mapped(mapped) => {
            let (mut sector, mut copies) = (0, Vec::new());
            while sector < mapped.array_sectors() {
                let run = mapped.map(sector, mapped.array_sectors() - sector, &mut copies);
                let bytes = &content[sector as usize * SECTOR..][..run as usize * SECTOR];
                for copy in &copies {
                    let start = at(copy.sector);
                    members[copy.slot as usize][start..start + bytes.len()].copy_from_slice(bytes);
                }
                sector += run;
            }
        }
        Layout::Parity(parity) => {
            let chunk = parity.chunk_sectors() as usize * SECTOR;
            for stripe in 0..parity.stripes() {
                let roles = parity.stripe(stripe);
                let start = at(stripe * u64::from(parity.chunk_sectors()));
                let data = |d: u32| {
                    let sector = parity.array_sector(stripe, d, 0) as usize;
                    &content[sector * SECTOR..][..chunk]
                };
                let mut sources: Vec<Option<&[u8]>> = vec![None; slots as usize];
                for d in 0..parity.data_members() {
                    let slot = roles.data_slot(d) as usize;
                    members[slot][start..start + chunk].copy_from_slice(data(d));
                    sources[roles.exponent(d) as usize] = Some(data(d));
                }
                let (mut p, mut q) = (vec![0; chunk], vec![0; chunk]);
                pq(&mut p, &mut q, &sources);
                members[roles.p as usize][start..start + chunk].copy_from_slice(&p);
                if let Some(slot) = roles.q {
                    members[slot as usize][start..start + chunk].copy_from_slice(&q);
                }
            }
        }
    }
    Made { members, content }
}

/// The members in another order, and where each slot's member went.
fn shuffled(made: &Made, order: &[usize]) -> (Vec<Vec<u8>>, Vec<Option<usize>>) {
    let members = order.iter().map(|slot| made.members[*slot].clone()).collect();
    let seat = |slot: usize| order.iter().position(|one| *one == slot);
    (members, (0..made.members.len()).map(seat).collect())
}

fn views(members: &[Vec<u8>]) -> Vec<&[u8]> {
    members.iter().map(Vec::as_slice).collect()
}

#[test]
fn every_rotating_raid6_layout_of_random_bytes_gives_order_chunk_and_offset() {
    for layout in [0, 1, 2, 3, 8, 9, 10, 16, 17, 18, 19] {
        let made = made(Level::Raid6, layout, 5, 32, 40, 136);
        let (members, seats) = shuffled(&made, &[3, 0, 4, 2, 1]);
        let found = search(&views(&members));
        let equal = found.equal_candidates();
        let truth = equal.iter().find(|one| one.layout == layout);
        let truth = truth.unwrap_or_else(|| panic!("layout {layout}: {equal:?}"));
        assert_eq!(truth.seats, seats, "layout {layout}");
        assert_eq!((truth.chunk_sectors, truth.data_offset), (32, 136), "layout {layout}");
        assert!(truth.is_decided() && equal.len() <= 2, "layout {layout}: {equal:?}");
    }
}

#[test]
fn what_parity_cannot_tell_of_a_raid6_is_put_first_by_convention_only() {
    for (layout, verdict) in
        [(2, Verdict::FirstByConvention), (0, Verdict::FirstByConvention), (1, Verdict::Equal(2))]
    {
        let made = made(Level::Raid6, layout, 6, 16, 48, 16);
        let found = search(&views(&made.members));
        assert_eq!(found.verdict(), verdict, "layout {layout}: {:?}", found.candidates.first());
    }
}

#[test]
fn a_raid6_less_a_member_or_with_a_stranger_is_still_found() {
    let made = made(Level::Raid6, 2, 6, 16, 60, 2048);
    for missing in 0..6 {
        let order: Vec<usize> =
            [5, 2, 0, 4, 1, 3].into_iter().filter(|one| *one != missing).collect();
        let (mut members, seats) = shuffled(&made, &order);
        let mut stranger = vec![0; members[0].len()];
        Rng::new(99).fill(&mut stranger);
        for with_stranger in [false, true] {
            if with_stranger {
                members.push(stranger.clone());
            }
            let found = search(&views(&members));
            let first = &found.candidates[0];
            assert_eq!(first.seats, seats, "without {missing}: {:?}", found.known);
            assert_eq!((first.chunk_sectors, first.data_offset), (16, 2048), "without {missing}");
            let reader = Reader::new(first, &views(&members)).unwrap();
            let mut content = vec![0; made.content.len()];
            reader.read(0, &mut content).unwrap();
            assert!(content == made.content, "without {missing}: other bytes");
        }
        assert_eq!(search(&views(&members)).left_out, [LeftOut { member: 5, like: None }]);
    }
}

#[test]
fn a_stale_member_of_a_raid6_is_left_out_and_said_to_be_stale() {
    let made = made(Level::Raid6, 2, 5, 16, 60, 2048);
    let (mut members, mut seats) = shuffled(&made, &[1, 4, 0, 3, 2]);
    let length = members[3].len();
    // A quarter of it was written before the rest.
    Rng::new(5).fill(&mut members[3][length - length / 4..]);
    seats[3] = None;
    let found = search(&views(&members));
    assert_eq!(found.candidates[0].seats, seats, "{:?}", found.known);
    assert_eq!(found.left_out.len(), 1);
}

#[test]
fn random_bytes_on_a_raid5_tell_the_members_and_nothing_of_their_order() {
    let made = made(Level::Raid5, 2, 4, 16, 60, 2048);
    let mut members = made.members.clone();
    let mut stranger = vec![0; members[0].len()];
    Rng::new(98).fill(&mut stranger);
    members.insert(1, stranger);
    let found = search(&views(&members));
    assert_eq!(found.verdict(), Verdict::Nothing);
    let (set, cells) = found.known.xor.clone().unwrap();
    assert_eq!(set, [0, 2, 3, 4]);
    assert!(cells > 100);
    assert_eq!(found.known.data_start, Some(2048 * 512));
}

#[test]
fn mirrors_of_random_bytes_are_named_as_twins() {
    let made = made(Level::Raid10, 0x102, 4, 16, 60, 2048);
    let found = search(&views(&made.members));
    assert_eq!(found.verdict(), Verdict::Nothing);
    let pairs: Vec<(usize, usize)> = found.known.twins.iter().map(|twins| twins.pair).collect();
    assert_eq!(pairs, [(0, 1), (2, 3)]);
}

#[test]
fn a_reader_gives_back_every_level_whole_and_degraded() {
    for (level, layout, slots, lost) in [
        (Level::Raid0, 0, 3, 0),
        (Level::Raid1, 0, 3, 2),
        (Level::Raid10, 0x201, 4, 1),
        (Level::Raid10, 0x1_0201, 5, 1),
        (Level::Raid4, 0, 4, 1),
        (Level::Raid5, 3, 5, 1),
        (Level::Raid6, 10, 6, 2),
    ] {
        let chunk_sectors = if level == Level::Raid1 { 0 } else { 16 };
        let made = made(level, layout, slots, chunk_sectors, 24, 8);
        for gone in 0..slots as usize {
            let mut seats: Vec<Option<usize>> = (0..slots as usize).map(Some).collect();
            (gone..gone + lost).for_each(|slot| seats[slot % slots as usize] = None);
            let candidate = Candidate {
                level,
                layout,
                chunk_sectors,
                data_offset: 8,
                member_sectors: 24 * u64::from(chunk_sectors.max(8)),
                seats,
                interchangeable: Vec::new(),
                undecided: Vec::new(),
                evidence: Evidence::default(),
                score: 0,
            };
            let views = views(&made.members);
            let reader = Reader::new(&candidate, &views).unwrap();
            let mut content = vec![0; made.content.len()];
            reader.read(0, &mut content).unwrap();
            assert!(content == made.content, "{level} layout {layout} without {gone}");
        }
    }
}

#[test]
fn what_is_missing_for_good_is_named() {
    let made = made(Level::Raid0, 0, 2, 16, 24, 8);
    let candidate = Candidate {
        level: Level::Raid0,
        layout: 0,
        chunk_sectors: 16,
        data_offset: 8,
        member_sectors: 24 * 16,
        seats: vec![Some(0), None],
        interchangeable: Vec::new(),
        undecided: Vec::new(),
        evidence: Evidence::default(),
        score: 0,
    };
    let views = views(&made.members);
    let reader = Reader::new(&candidate, &views).unwrap();
    let mut content = vec![0; 64 * SECTOR];
    assert_eq!(reader.read(0, &mut content), Err(Unreadable { sector: 16, slot: 1 }));
}

#[test]
fn rubbish_is_answered_not_feared() {
    let empty: [&[u8]; 2] = [&[], &[]];
    assert_eq!(search(&empty).verdict(), Verdict::Nothing);
    let odd = [vec![7; 12345], vec![0; 3], vec![1; 512]];
    assert_eq!(search(&views(&odd)).verdict(), Verdict::Nothing);
    assert_eq!(search(&[]).verdict(), Verdict::Nothing);
}
