//! Valid structures, small ones of every kind.

use holdfast_host::blocklog::format::{Frame, Header, Word};
use holdfast_host::blocklog::{Kind, MemberFacts};
use holdfast_raid::layout::{Layout, Parity, Shape};
use holdfast_raid::level::Level;
use holdfast_raid::ppl::{self, Entry, signature};
use holdfast_raid::superblock::{
    BadBlocks, BitmapHeader, BitmapWish, Minor, Name, NewArray, NewMember, Ppl, Reshape, Role,
    Superblock, Timestamp, Uuid, plan,
};

/// Sectors of the device superblocks are parsed for.
pub(crate) const DEVICE: u64 = 64 << 11;

/// Where the older superblock is on it.
pub(crate) const V090_PLACE: u64 = DEVICE - 128;

fn member(number: usize) -> NewMember {
    NewMember::new(DEVICE, Uuid([number as u8 + 1; 16]))
}

/// Superblocks of every level and place, and some in the middle of things.
fn blocks() -> Vec<Superblock> {
    let mut blocks = Vec::new();
    let shapes = [
        (Level::Linear, 0, 0, 2),
        (Level::Raid0, 1, 64, 2),
        (Level::Raid1, 0, 0, 2),
        (Level::Raid4, 0, 128, 3),
        (Level::Raid5, 2, 128, 3),
        (Level::Raid6, 2, 128, 4),
        (Level::Raid10, 0x102, 128, 4),
    ];
    for (level, layout, chunk_sectors, slots) in shapes {
        for minor in Minor::WRITTEN {
            let array = NewArray {
                level,
                layout,
                chunk_sectors,
                minor,
                bitmap: match level.is_redundant() {
                    true => BitmapWish::Internal { chunk_bytes: Some(1 << 16) },
                    false => BitmapWish::None,
                },
                ppl: false,
                size: None,
                data_offset: None,
                name: Name::new("lab:fuzz").expect("it fits"),
                set_uuid: Uuid([7; 16]),
                now: Timestamp::new(1 << 30, 5),
                members: (0..slots).map(|slot| Some(member(slot))).collect(),
                spares: Vec::new(),
                assume_clean: true,
            };
            let plan = plan(&array).expect("a plain array");
            blocks.extend(plan.superblocks().into_iter().take(1));
        }
    }
    blocks
}

/// The bytes of superblocks, in 4096.
pub(crate) fn superblocks() -> Vec<Vec<u8>> {
    let mut blocks = blocks();
    for index in 0..blocks.len() {
        let mut block = blocks[index].clone();
        if block.level().is_some_and(Level::has_parity) {
            block.reshape = Some(Reshape {
                position: 4096,
                delta_disks: 1,
                new_level: block.level_number,
                new_layout: block.layout,
                new_chunk_sectors: 128,
                new_offset: Some(-8),
                backwards: false,
            });
            blocks.push(block.clone());
            block.reshape = None;
            block.bitmap_offset = None;
            block.bad_blocks = None;
            block.ppl = Some(Ppl { offset: 8, sectors: 64, multiple: index % 2 == 0 });
            blocks.push(block.clone());
        }
        block.bad_blocks_recorded = block.bad_blocks.is_some();
        block.recovery_offset = Some(1024);
        block.replacement = true;
        block.set_role(block.dev_number, Role::Active(1));
        blocks.push(block);
    }
    let whole = |block: Superblock| {
        let mut bytes = block.emit();
        bytes.resize(4096, 0);
        bytes
    };
    blocks.into_iter().map(whole).collect()
}

/// Superblocks of version 0.90 in both byte orders.
pub(crate) fn superblocks_v090() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (level, chunk, minor, flags) in
        [(1u32, 0u32, 90u32, 1u32), (5, 65_536, 90, 0x101), (5, 65_536, 91, 0), (0, 65_536, 90, 1)]
    {
        for big_endian in [false, true] {
            let mut words = vec![0u32; 1024];
            let facts = [
                (0, 0xa92b_4efc),
                (2, minor),
                (5, 0x1122_3344),
                (6, 1 << 30),
                (7, level),
                (8, 16_384),
                (9, 3),
                (10, 3),
                (32, 1 << 30),
                (33, flags),
                (39, 7),
                (46, level),
                (47, 1),
                (49, chunk),
                (64, 2),
                (65, chunk),
            ];
            facts.iter().for_each(|(at, word)| words[*at] = *word);
            for (number, state) in [(0, 6), (1, 6), (2, 1), (3, 0)] {
                let at = 128 + 32 * number as usize;
                words[at..at + 5].copy_from_slice(&[number, 8, number, number, state]);
            }
            words.copy_within(128..160, 992);
            let order = |word: &u32| match big_endian {
                true => word.to_be_bytes(),
                false => word.to_le_bytes(),
            };
            let mut bytes: Vec<u8> = words.iter().flat_map(order).collect();
            seal_v090(&mut bytes);
            seeds.push(bytes);
        }
    }
    seeds
}

/// Makes the additive sum of a 0.90 block right in the order its magic has.
pub(crate) fn seal_v090(bytes: &mut [u8]) {
    let Some(whole) = bytes.get_mut(..4096) else { return };
    let big_endian = whole.starts_with(&0xa92b_4efcu32.to_be_bytes());
    whole[152..156].fill(0);
    let (words, _) = whole.as_chunks::<4>();
    let word = |bytes: &[u8; 4]| match big_endian {
        true => u32::from_be_bytes(*bytes),
        false => u32::from_le_bytes(*bytes),
    };
    let sum: u64 = words.iter().map(|bytes| u64::from(word(bytes))).sum();
    let sum = (sum as u32).wrapping_add((sum >> 32) as u32);
    let bytes = if big_endian { sum.to_be_bytes() } else { sum.to_le_bytes() };
    whole[152..156].copy_from_slice(&bytes);
}

/// Bitmap headers with the first of their bits.
pub(crate) fn bitmaps() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for version in [3u8, 4, 5, 6] {
        let header = BitmapHeader::new(Uuid([7; 16]), 1 << 20, 1 << 16);
        let mut bytes = header.emit().to_vec();
        bytes[4] = version;
        bytes[68] = u8::from(version == 5);
        bytes.resize(512, 0xff);
        seeds.push(bytes);
    }
    seeds
}

/// Bad-block logs, the first byte their shift.
pub(crate) fn bad_blocks() -> Vec<Vec<u8>> {
    let mut bad = BadBlocks::new();
    bad.add(100..108);
    bad.add(6000..6600);
    let logs = [bad.emit(0, 8), bad.emit(3, 1), BadBlocks::new().emit(0, 8)];
    let mut seeds: Vec<Vec<u8>> = logs
        .into_iter()
        .zip([0, 3, 0])
        .map(|(log, shift)| [vec![shift], log.expect("there is room")].concat())
        .collect();
    seeds.push(vec![0; 4097]);
    seeds
}

/// The array of the partial parity logs.
pub(crate) fn raid5() -> Parity {
    let shape = Shape {
        level: Level::Raid5,
        layout: 2,
        raid_disks: 4,
        chunk_sectors: 16,
        member_sectors: 160,
    };
    match Layout::new(&shape, &[]) {
        Ok(Layout::Parity(parity)) => parity,
        other => panic!("a plain raid5: {other:?}"),
    }
}

pub(crate) fn ppl_signature() -> u32 {
    signature(Uuid([7; 16]))
}

/// Areas of partial parity logs: one, and two in a row.
pub(crate) fn partial_parity() -> Vec<Vec<u8>> {
    let parity_slot = raid5().stripe(0).p;
    let entry = |data_sector, partial_bytes, data_bytes| Entry {
        data_sector,
        partial_bytes,
        data_bytes,
        parity_slot,
        checksum: 0,
    };
    let log = |generation, entries: Vec<Entry>| {
        let header = ppl::Header { generation, entries };
        let partial = vec![0x5a; header.partial_bytes() as usize];
        [header.emit(ppl_signature()), partial].concat()
    };
    let first = log(4, vec![entry(0, 4096, 8192), entry(0, 0, 3 * 4096)]);
    let second = log(5, vec![entry(16, 4096, 4096)]);
    vec![first.clone(), [first, second].concat(), log(1, Vec::new())]
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    static TABLE: std::sync::OnceLock<Vec<u32>> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| (0..256).map(|byte| (0..8).fold(byte, bit)).collect());
    !bytes.iter().fold(!0u32, |crc, byte| (crc >> 8) ^ table[(crc as u8 ^ byte) as usize])
}

/// Disks of 128 KiB with partition tables.
pub(crate) fn disks() -> Vec<Vec<u8>> {
    let mut seeds = vec![gpt(512), gpt(4096)];
    let mut mbr = vec![0; DISK];
    entries(&mut mbr, 0, &[(0xfd, 8, 16), (0x05, 64, 128), (0x83, 220, 36)]);
    entries(&mut mbr, 64, &[(0xfd, 2, 6), (0x05, 32, 20)]);
    entries(&mut mbr, 96, &[(0xfd, 2, 6)]);
    seeds.push(mbr);
    seeds
}

const DISK: usize = 128 << 10;

fn entries(disk: &mut [u8], sector: usize, entries: &[(u8, u32, u32)]) {
    let at = sector * 512;
    disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
    for (index, (kind, start, count)) in entries.iter().enumerate() {
        let row = at + 446 + 16 * index;
        disk[row + 4] = *kind;
        disk[row + 8..row + 12].copy_from_slice(&start.to_le_bytes());
        disk[row + 12..row + 16].copy_from_slice(&count.to_le_bytes());
    }
}

/// A GPT of four entries, at both ends.
fn gpt(block: usize) -> Vec<u8> {
    let mut disk = vec![0; DISK];
    entries(&mut disk, 0, &[(0xee, 1, u32::MAX)]);
    let last = (DISK / block - 1) as u64;
    let (first, second) = ((8u64, 15u64), (16u64, 20u64));
    for (lba, array) in [(1, 2), (last, last - 1)] {
        let at = array as usize * block;
        for (index, (from, to)) in [first, second].into_iter().enumerate() {
            let entry = at + index * 128;
            disk[entry] = 0xa1;
            disk[entry + 32..entry + 40].copy_from_slice(&from.to_le_bytes());
            disk[entry + 40..entry + 48].copy_from_slice(&to.to_le_bytes());
            disk[entry + 56] = b'p';
        }
        let header = lba as usize * block;
        let fields = [(8, 0x1_0000u64), (12, 92), (80, 4), (84, 128)];
        disk[header..header + 8].copy_from_slice(b"EFI PART");
        for (offset, value) in fields {
            disk[header + offset..][..4].copy_from_slice(&(value as u32).to_le_bytes());
        }
        for (offset, value) in [(24, lba), (40, 4), (48, last - 2), (72, array)] {
            disk[header + offset..][..8].copy_from_slice(&value.to_le_bytes());
        }
    }
    seal_gpt(&mut disk);
    disk
}

/// Makes the sums of every header right that is where a header can be.
pub(crate) fn seal_gpt(disk: &mut [u8]) {
    for block in [512, 4096] {
        for lba in [1, (disk.len() / block).saturating_sub(1)] {
            let at = lba * block;
            if disk.get(at..at + 8) != Some(b"EFI PART") || at + 512 > disk.len() {
                continue;
            }
            let word = |disk: &[u8], offset: usize| {
                u32::from_le_bytes(disk[at + offset..][..4].try_into().expect("four bytes"))
            };
            let array = u64::from_le_bytes(disk[at + 72..][..8].try_into().expect("eight bytes"));
            let bytes = u64::from(word(disk, 80)) * u64::from(word(disk, 84));
            let from = array.saturating_mul(block as u64) as usize;
            let to = from.saturating_add(bytes as usize);
            if bytes <= 1 << 20
                && let Some(entries) = disk.get(from..to)
            {
                let sum = crc32(entries);
                disk[at + 88..][..4].copy_from_slice(&sum.to_le_bytes());
            }
            let size = (word(disk, 12) as usize).clamp(92, block.min(disk.len() - at));
            disk[at + 16..][..4].fill(0);
            let sum = crc32(&disk[at..at + size]);
            disk[at + 16..][..4].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Frames of a log, each in a sector of its own, then a member's facts.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let words = [
        Word::Member,
        Word::Data,
        Word::Zeros,
        Word::Durable(4096),
        Word::Committing,
        Word::Committed,
        Word::Remark,
    ];
    let mut seeds = Vec::new();
    for word in words {
        let payload_bytes = match word {
            Word::Data => 4096,
            Word::Member | Word::Remark => 30,
            _ => 0,
        };
        let frame = Frame {
            word,
            sequence: 3,
            member: 1,
            sector: 8,
            sectors: if matches!(word, Word::Data | Word::Zeros) { 8 } else { 0 },
            payload_bytes,
            payload_crc: 0,
        };
        seeds.push(frame.emit(&[7; 16]));
    }
    seeds
}

/// Headers of logs.
pub(crate) fn log_headers() -> Vec<Vec<u8>> {
    let header = |kind| Header { kind, id: [7; 16], created_seconds: 5 }.emit();
    vec![header(Kind::Overlay), header(Kind::Dump)]
}

/// What logs say of members.
pub(crate) fn facts() -> Vec<Vec<u8>> {
    let facts = |name: &str, block_bytes| MemberFacts {
        name: name.into(),
        sectors: 1 << 20,
        block_bytes,
        fingerprint: 9,
    };
    vec![facts("/dev/disk", 512).emit(), facts("", 4096).emit()]
}

/// CRC-32 as GPT and the logs use it, bit by bit: independent of the one under test.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let table = |byte: u32| (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)));
    static TABLE: std::sync::OnceLock<Vec<u32>> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| (0..256).map(table).collect());
    !bytes.iter().fold(!0u32, |crc, byte| (crc >> 8) ^ table[(crc as u8 ^ byte) as usize])
}

/// Fault plans: every key, and every way to make no sense.
pub(crate) fn fault_plans() -> Vec<Vec<u8>> {
    let plans = [
        "",
        "seed = 7\natomic = \"512\"\n",
        "atomic = \"3K\"",
        "[[fault]]\nfault = \"vanish\"\nmember = \"slot:1\"\nafter-requests = 10\nfor = \"1.5s\"\n",
        "[[fault]]\nfault = \"latent\"\nmember = \"d1\"\nfrom = \"1MiB\"\nlength = \"64K\"\n",
        "[[fault]]\nfault = \"stuck\"\nmember = \"d1\"\non = [\"read\", \"flush\"]\ntimes = 3\n",
        "[[fault]]\nfault = \"slow\"\nmember = \"d1\"\ndelay = \"5ms\"\nwhen = \"Fail\"\n",
        "[[fault]]\nfault = \"misdirected\"\nmember = \"d1\"\nby = \"4K\"\n",
        "[[fault]]\nfault = \"power-cut\"\nafter = \"2m\"\n",
        "[[fault]]\nfault = \"power-cut\"\nafter = \"2m\"\nwhen = \"Fail\"\n",
        "[[fault]]\nfault = \"lie\"\nmember = \"d1\"\nlength = \"4K\"\n",
        "[[fault]]\nfault = \"dead\"\nmember = \"d1\"\n",
        "[[fault]]\nfault = \"lost\"\nmember = \"d1\"\ntimes = 0\n",
        "[[fault]]\nfault = \"torn\"\nmember = \"d1\"\nlength = \"100\"\n",
        "[[fault]]\nfault = \"error\"\nmember = \"d1\"\nfor = \"soon\"\n",
        "[[fault]]\nfault = \"error\"\nmember = \"d1\"\nfrom = \"much\"\n",
    ];
    plans.map(|plan| plan.as_bytes().to_vec()).into()
}
