use holdfast_core::block::Geometry;

use super::*;
use crate::scan::ProbeError;
use crate::superblock::{
    BitmapHeader, BitmapVersion, BitmapWish, Flaws, Log, Minor, Name, NewArray, NewMember, Role,
    Timestamp, Uuid, plan,
};

const DEVICE: u64 = 64 << 11;
const REGION: u32 = 1 << 20;

/// Members of a fresh array, all at 20 events.
fn array(level: Level, slots: usize, bitmap: bool) -> Vec<Probe> {
    let member = |number: usize| Some(NewMember::new(DEVICE, Uuid([number as u8 + 1; 16])));
    let array = NewArray {
        minor: Minor::V1_2,
        level,
        layout: if level == Level::Raid5 { 2 } else { 0 },
        chunk_sectors: if level == Level::Raid1 { 0 } else { 128 },
        members: (0..slots).map(member).collect(),
        spares: Vec::new(),
        size: None,
        data_offset: None,
        ppl: false,
        bitmap: if bitmap {
            BitmapWish::Internal { chunk_bytes: Some(REGION.into()) }
        } else {
            BitmapWish::None
        },
        name: Name::default(),
        set_uuid: Uuid([9; 16]),
        now: Timestamp::new(1000, 0),
        assume_clean: true,
    };
    let plan = plan(&array).unwrap();
    let bytes = plan.bitmap();
    plan.superblocks()
        .into_iter()
        .map(|mut block| {
            block.events = 20;
            let bitmap = bytes.clone().map(|mut bytes| {
                bytes[256..].fill(0);
                let mut header = BitmapHeader::parse(&bytes).unwrap();
                (header.events, header.events_cleared) = (20, 12);
                Ok(Bitmap { header, bytes })
            });
            Probe {
                geometry: Geometry::new(DEVICE),
                superblock: Ok(block),
                bitmap,
                bad_blocks: None,
                ppl: None,
            }
        })
        .collect()
}

fn block(probe: &mut Probe) -> &mut Superblock {
    probe.superblock.as_mut().unwrap()
}

/// Lets a member have missed everything since `events`; the others say that it is gone.
fn leave(probes: &mut [Probe], who: usize, events: u64) {
    let number = probes[who].superblock.as_ref().unwrap().dev_number;
    for (index, probe) in probes.iter_mut().enumerate() {
        if index == who {
            block(probe).events = events;
        } else {
            block(probe).set_role(number, Role::Faulty);
        }
    }
}

/// Sets bits of everybody's bitmap.
fn mark(probes: &mut [Probe], bits: &[usize]) {
    for probe in probes {
        if let Some(Ok(bitmap)) = &mut probe.bitmap {
            bits.iter().for_each(|bit| bitmap.bytes[256 + bit / 8] |= 1 << (bit % 8));
        }
    }
}

fn all(probes: &[Probe]) -> Diagnosis {
    diagnose(probes, &(0..probes.len()).collect::<Vec<_>>())
}

#[test]
fn a_whole_array_has_nothing_to_force() {
    let found = all(&array(Level::Raid5, 3, true));
    assert!(found.choice.unwrap().enough && found.missing.is_empty() && found.forcings.is_empty());
}

#[test]
fn what_a_member_missed_is_bounded_by_the_bitmap() {
    let mut probes = array(Level::Raid5, 4, true);
    leave(&mut probes, 1, 15);
    mark(&mut probes, &[0, 5, 6]);
    let of = match &probes[0].bitmap {
        Some(Ok(bitmap)) => bitmap.header.bits(),
        _ => unreachable!("there is a bitmap"),
    };
    let found = all(&probes);
    assert_eq!(found.missing, [1]);
    let mib = u64::from(REGION);
    let forcing = Forcing {
        probe: 1,
        slot: 1,
        behind: 5,
        bound: Bound::Bitmap { regions: 3, of, region_bytes: mib },
        member_bytes: 3 * mib,
        array_bytes: 3 * mib,
        helps: false,
    };
    assert_eq!(found.forcings, std::slice::from_ref(&forcing));
    // With another member gone for good, that one would be computed from old data, too.
    probes.remove(3);
    let found = all(&probes);
    assert_eq!(found.missing, [1, 3]);
    assert_eq!(found.forcings, [Forcing { array_bytes: 6 * mib, helps: true, ..forcing }]);
}

#[test]
fn where_the_bitmap_cannot_tell_everything_is_at_risk() {
    let whole = |probes: &[Probe]| {
        let forcing = all(probes).forcings.remove(0);
        let used = probes[0].superblock.as_ref().unwrap().size * 512;
        assert_eq!((forcing.member_bytes, forcing.array_bytes), (used, 3 * used));
        forcing.bound
    };
    let mut probes = array(Level::Raid5, 4, false);
    leave(&mut probes, 1, 15);
    assert_eq!(whole(&probes), Bound::NoBitmap);
    let mut probes = array(Level::Raid5, 4, true);
    leave(&mut probes, 1, 11);
    assert_eq!(whole(&probes), Bound::LeftBefore { events: 11, cleared: 12 });
    leave(&mut probes, 1, 12);
    assert!(matches!(all(&probes).forcings[0].bound, Bound::Bitmap { regions: 0, .. }));
    for probe in &mut probes {
        if let Some(Ok(bitmap)) = &mut probe.bitmap {
            bitmap.header.events = 19;
        }
    }
    assert_eq!(whole(&probes), Bound::StaleBitmap);
}

#[test]
fn a_mirror_risks_what_it_missed_once() {
    let mut probes = array(Level::Raid1, 2, true);
    leave(&mut probes, 0, 15);
    mark(&mut probes, &[1]);
    let forcing = all(&probes).forcings.remove(0);
    let mib = u64::from(REGION);
    assert_eq!((forcing.member_bytes, forcing.array_bytes), (mib, mib));
}

#[test]
fn linux_refuses_for_reasons_that_have_versions() {
    let mut probe = array(Level::Raid1, 2, true).remove(0);
    assert_eq!(objections(&probe), []);
    block(&mut probe).logical_block_size = 512;
    let found = objections(&probe);
    assert_eq!(found[0].versions, Versions::UpTo("6.18"));
    assert_eq!(found[0].fix, Some(Fix::LogicalBlockSize));
    assert!(Fix::LogicalBlockSize.apply(block(&mut probe)));
    assert_eq!(objections(&probe), []);
    // A larger one is not the usual one: clearing it would change what the array is.
    block(&mut probe).logical_block_size = 4096;
    assert_eq!(objections(&probe)[0].fix, None);
    assert!(!Fix::LogicalBlockSize.apply(block(&mut probe)));
    block(&mut probe).logical_block_size = 0;

    block(&mut probe).bad_blocks_recorded = true;
    let log = |entries, empty| Log { flaws: Flaws { entries, empty }, ..Log::default() };
    probe.bad_blocks = Some(Ok(log(512, 512)));
    let found = objections(&probe);
    assert_eq!((found[0].versions, found[0].fix), (Versions::From("6.7"), Some(Fix::BadBlockFlag)));
    // Where some entries count the flag must stay.
    probe.bad_blocks = Some(Ok(log(3, 1)));
    assert_eq!(objections(&probe)[0].fix, None);
    probe.bad_blocks = Some(Ok(log(3, 0)));
    assert_eq!(objections(&probe), []);

    if let Some(Ok(bitmap)) = &mut probe.bitmap {
        bitmap.header.version = BitmapVersion::Lockless;
    }
    assert_eq!(objections(&probe)[0].versions, Versions::UpTo("6.17"));
    let linear = array(Level::Linear, 2, false).remove(0);
    assert_eq!(objections(&linear)[0].versions, Versions::Between("6.8", "6.13"));
    probe.superblock = Err(ProbeError::NotFound);
    assert_eq!(objections(&probe)[0].versions, Versions::All);
}
