//! Each parser: what it is fed, how its sums are made right, and every outcome it can have.

use std::io;

use holdfast_host::blocklog::MemberFacts;
use holdfast_host::blocklog::format::{Frame, Header, HeaderError, Word};
use holdfast_host::partition::{self, Scheme};
use holdfast_raid::ppl::replay::Misfit;
use holdfast_raid::ppl::{Area, PplError, rows};
use holdfast_raid::superblock::v1::checksum;
use holdfast_raid::superblock::{BadBlocks, BadBlocksError, BitmapError, BitmapHeader};
use holdfast_raid::superblock::{Minor, Superblock, SuperblockError};
use holdfast_sim::inject::orders;

use crate::seeds::{self, DEVICE, V090_PLACE};

/// A parser and what is known of it.
pub(crate) struct Parser {
    pub(crate) name: &'static str,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Offset and width of the fields.
    pub(crate) fields: &'static [(usize, usize)],
    /// Makes sums right again.
    pub(crate) seal: fn(&mut [u8]),
    /// Whether the input may be shorter than the structure.
    pub(crate) may_be_cut: bool,
    /// Parses; the outcome in words that do not depend on numbers.
    pub(crate) parse: fn(&[u8]) -> String,
    /// Parts of outcomes that must be seen.
    pub(crate) outcomes: &'static [&'static str],
}

/// All of them.
pub(crate) const PARSERS: &[Parser] = &[
    SUPERBLOCK,
    SUPERBLOCK_V090,
    BITMAP,
    BAD_BLOCKS,
    PPL,
    PARTITIONS,
    LOG_HEADER,
    LOG_FRAME,
    LOG_MEMBER,
    FAULT_PLAN,
];

fn superblock_outcome(parsed: Result<Superblock, SuperblockError>) -> String {
    match parsed {
        Ok(block) => {
            let mut words = vec![format!("read {}", block.minor)];
            let facts = [
                (block.bitmap_offset.is_some(), "bitmap"),
                (block.ppl.is_some(), "ppl"),
                (block.reshape.is_some(), "reshape"),
                (block.bad_blocks.is_some(), "log"),
                (block.recovery_offset.is_some(), "rebuilding"),
                (block.refuses_writing().is_some(), "read-only"),
            ];
            words.extend(facts.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
            // What was read can be asked everything.
            let _ = (block.bitmap_room(DEVICE), block.recovered_sectors(), block.role());
            words.join(" ")
        }
        Err(SuperblockError::NotFound { .. }) => "not found".to_owned(),
        Err(SuperblockError::Short { .. }) => "short".to_owned(),
        Err(SuperblockError::Checksum { .. }) => "checksum".to_owned(),
        Err(SuperblockError::Field { field, why, .. }) => format!("{field}: {why}"),
    }
}

const SUPERBLOCK: Parser = Parser {
    name: "superblock",
    seeds: seeds::superblocks,
    fields: &[
        (0, 4),
        (4, 4),
        (8, 4),
        (8, 2),
        (12, 4),
        (64, 8),
        (72, 4),
        (76, 4),
        (80, 8),
        (88, 4),
        (92, 4),
        (96, 4),
        (96, 2),
        (98, 2),
        (100, 4),
        (104, 8),
        (112, 4),
        (116, 4),
        (120, 4),
        (124, 4),
        (128, 8),
        (136, 8),
        (144, 8),
        (152, 8),
        (160, 4),
        (184, 1),
        (185, 1),
        (186, 2),
        (188, 4),
        (200, 8),
        (208, 8),
        (220, 4),
        (224, 4),
        (228, 4),
        (256, 2),
        (258, 2),
        (260, 2),
    ],
    seal: |bytes| {
        let Some(count) = bytes.get(220..224) else { return };
        let count = u32::from_le_bytes(count.try_into().expect("four bytes")) as usize;
        let Some(used) = count.checked_mul(2).and_then(|n| bytes.get(..256 + n)) else { return };
        let sum = checksum(used);
        bytes[216..220].copy_from_slice(&sum.to_le_bytes());
    },
    may_be_cut: true,
    parse: |bytes| {
        let stored = bytes
            .get(144..152)
            .map_or(0, |at| u64::from_le_bytes(at.try_into().expect("eight bytes")));
        // Where it says it was found, or else at the usual place.
        let known = Minor::at(stored, DEVICE).is_some();
        let at = if known { stored } else { 8 };
        let unverified = Superblock::parse_unverified(bytes, at, DEVICE);
        let parsed = Superblock::parse(bytes, at, DEVICE);
        assert!(
            parsed.is_err() || unverified.is_ok(),
            "the laxer reading takes what the strict takes"
        );
        if let Ok(block) = &parsed {
            let again =
                Superblock::parse(&block.emit(), at, DEVICE).expect("what was read is written");
            assert_eq!(again.roles, block.roles);
        }
        superblock_outcome(parsed)
    },
    outcomes: &[
        "not found",
        "short",
        "checksum",
        "major_version: only 1",
        "super_offset: the block is a misplaced",
        "max_dev: the table",
        "feature_map: two kinds",
        "feature_map: a partial parity log and a bitmap",
        "feature_map: a partial parity log and a journal",
        "feature_map: a RAID0 layout",
        "feature_map: reshape details",
        "raid_disks: expected",
        "dev_number: a superblock",
        "logical_block_size: expected",
        "chunksize: larger",
        "chunksize: a striped",
        "chunksize: this level",
        "data_offset: beyond",
        "data_offset: data would start",
        "data_size: too small",
        "data_size: larger",
        "size: larger than data_size",
        "size: data would reach",
        "delta_disks: no such",
        "new_chunk: ",
        "new_offset: the new data",
        "new_offset: data would start",
        "bitmap_offset: the area",
        "ppl.size: too small",
        "ppl.offset: the area",
        "bblog_size: bad blocks without",
        "bblog_size: more than",
        "bblog_shift: no disk",
        "bblog_offset: the area",
        "read 1.0",
        "read 1.1",
        "read 1.2",
        " bitmap",
        " ppl",
        " reshape",
        " log",
        " rebuilding",
        " read-only",
    ],
};

const SUPERBLOCK_V090: Parser = Parser {
    name: "superblock-0.90",
    seeds: seeds::superblocks_v090,
    fields: &[
        (0, 4),
        (4, 4),
        (8, 4),
        (28, 4),
        (32, 4),
        (36, 4),
        (40, 4),
        (132, 4),
        (156, 4),
        (160, 4),
        (164, 4),
        (168, 4),
        (172, 4),
        (176, 4),
        (184, 4),
        (188, 4),
        (192, 4),
        (196, 4),
        (256, 4),
        (260, 4),
        (524, 4),
        (528, 4),
        (3968, 4),
        (3980, 4),
        (3984, 4),
    ],
    seal: seeds::seal_v090,
    may_be_cut: true,
    parse: |bytes| superblock_outcome(Superblock::parse(bytes, V090_PLACE, DEVICE)),
    outcomes: &[
        "not found",
        "short",
        "checksum",
        "minor_version: expected",
        "raid_disks: expected 1 to 27",
        "this_disk.number: ",
        "size: larger",
        "chunk_size: a striped",
        "chunk_size: this level",
        "read 0.90 read-only",
        "read 0.90 bitmap",
        "read 0.90 reshape",
    ],
};

const BITMAP: Parser = Parser {
    name: "bitmap",
    seeds: seeds::bitmaps,
    fields: &[
        (0, 4),
        (4, 4),
        (8, 8),
        (24, 8),
        (32, 8),
        (40, 8),
        (48, 4),
        (52, 4),
        (56, 4),
        (60, 4),
        (64, 4),
        (68, 4),
    ],
    seal: |_| {},
    may_be_cut: true,
    parse: |bytes| match BitmapHeader::parse(bytes) {
        Ok(header) => {
            let _ = (header.bits(), header.bytes(), header.area_sectors(8), header.is_stale(7));
            format!("read version {}", header.version.number())
        }
        Err(BitmapError::NotFound(_)) => "not found".to_owned(),
        Err(BitmapError::Short(_)) => "short".to_owned(),
        Err(BitmapError::Field { field, .. }) => field.to_owned(),
        Err(other) => panic!("parsing alone does not say {other}"),
    },
    outcomes: &[
        "not found",
        "short",
        "version",
        "chunksize",
        "daemon_sleep",
        "write_behind",
        "nodes",
        "sync_size",
        "read version 3",
        "read version 4",
        "read version 5",
        "read version 6",
    ],
};

const BAD_BLOCKS: Parser = Parser {
    name: "bad-blocks",
    seeds: seeds::bad_blocks,
    fields: &[(0, 1), (1, 8), (9, 8), (17, 8), (1, 2), (9, 2), (25, 8)],
    seal: |_| {},
    may_be_cut: true,
    parse: |bytes| {
        let Some((shift, log)) = bytes.split_first() else { return "empty".to_owned() };
        match BadBlocks::parse(log, *shift) {
            Ok(log) if log.flaws.is_uninitialised() => "read, never initialised".to_owned(),
            Ok(log) if !log.flaws.is_sound() => "read, with empty entries".to_owned(),
            Ok(log) if log.bad.is_empty() => "read, empty".to_owned(),
            Ok(_) => "read".to_owned(),
            Err(BadBlocksError::OutOfRange { .. }) => "out of range".to_owned(),
        }
    },
    outcomes: &["read", "read, never", "read, with empty", "read, empty", "out of range"],
};

const PPL: Parser = Parser {
    name: "ppl",
    seeds: seeds::partial_parity,
    fields: &[
        (512, 4),
        (516, 4),
        (520, 8),
        (528, 4),
        (532, 4),
        (536, 8),
        (544, 4),
        (548, 4),
        (552, 4),
        (556, 4),
        (560, 8),
        (568, 4),
        (572, 4),
        (576, 4),
        (544, 2),
        (548, 2),
    ],
    seal: |bytes| {
        if let Some(whole) = bytes.get_mut(..4096) {
            whole[532..536].fill(0);
            let sum = seeds::crc32c(whole);
            whole[532..536].copy_from_slice(&sum.to_le_bytes());
        }
    },
    may_be_cut: true,
    parse: |bytes| match Area::find(bytes, true, seeds::ppl_signature()) {
        Err(PplError::Short(_)) => "short".to_owned(),
        Err(PplError::Signature { .. }) => "signature".to_owned(),
        Err(PplError::Checksum { .. }) => "checksum".to_owned(),
        Err(PplError::Entries(_)) => "entries".to_owned(),
        Err(PplError::Entry { why, .. }) => why.to_owned(),
        Ok(area) => {
            let layout = seeds::raid5();
            let mut words = vec![if area.offset == 0 { "read" } else { "read, a later one" }];
            for (index, entry) in area.header.entries.iter().enumerate() {
                let _ = area.is_sound(bytes, index);
                words.push(match rows(entry, &layout) {
                    Ok(_) => "rows",
                    Err(Misfit::Beyond) => "beyond",
                    Err(Misfit::Parity(_)) => "parity elsewhere",
                    Err(Misfit::Members) => "members",
                });
            }
            words.dedup();
            words.join(" ")
        }
    },
    outcomes: &[
        "short",
        "signature",
        "checksum",
        "entries",
        "covers nothing",
        "whole sectors",
        "no multiple",
        "read",
        "read, a later one",
        " rows",
        " beyond",
        " parity elsewhere",
        " members",
    ],
};

const PARTITIONS: Parser = Parser {
    name: "partitions",
    seeds: seeds::disks,
    fields: &[
        (450, 1),
        (454, 4),
        (458, 4),
        (466, 1),
        (470, 4),
        (474, 4),
        (510, 2),
        (446, 1),
        (512, 8),
        (524, 4),
        (536, 8),
        (552, 8),
        (560, 8),
        (584, 8),
        (592, 4),
        (596, 4),
        (1056, 8),
        (1064, 8),
        (1184, 8),
        (1192, 8),
        (1024, 8),
        (4096, 8),
        (4108, 4),
        (4120, 8),
        (4168, 8),
        (4176, 4),
        (4180, 4),
        (64 * 512 + 450, 1),
        (64 * 512 + 454, 4),
        (64 * 512 + 466, 1),
        (64 * 512 + 470, 4),
        (64 * 512 + 510, 2),
        (130_560, 8),
        (130_584, 8),
        (130_632, 8),
    ],
    seal: seeds::seal_gpt,
    may_be_cut: false,
    parse: |bytes| {
        let read = |offset: u64, into: &mut [u8]| {
            let from = usize::try_from(offset).map_err(io::Error::other)?;
            let part = from.checked_add(into.len()).and_then(|to| bytes.get(from..to));
            into.copy_from_slice(part.expect("nothing outside the disk is asked for"));
            Ok(())
        };
        let table = partition::find(bytes.len() as u64, read).expect("reads do not fail");
        let Some(table) = table else { return "no table".to_owned() };
        for partition in &table.partitions {
            let sectors = &partition.sectors;
            assert!(sectors.start < sectors.end && sectors.end <= bytes.len() as u64 / 512);
        }
        let scheme = if table.scheme == Scheme::Gpt { "GPT" } else { "MBR" };
        // The words of the first flaw without its numbers.
        let flaw = table.flaws.first().map_or("", String::as_str);
        let words = flaw.split(' ').filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        format!("{scheme} {}", words.collect::<Vec<_>>().join(" "))
    },
    outcomes: &[
        "no table",
        "GPT ",
        "MBR ",
        "GPT there is no protective",
        "GPT the primary GPT header",
        "GPT the backup GPT at the end",
        "GPT the primary GPT: ",
        "GPT partition ",
        "MBR partition",
        "MBR partitions",
        "MBR the chain of logical partitions turns",
        "MBR the chain of logical partitions leaves",
        "MBR no logical partition table",
    ],
};

const LOG_HEADER: Parser = Parser {
    name: "log-header",
    seeds: seeds::log_headers,
    fields: &[(0, 8), (8, 4), (12, 4), (16, 8), (32, 8), (44, 4), (48, 8)],
    seal: |bytes| {
        if let Some(whole) = bytes.get_mut(..4096) {
            whole[44..48].fill(0);
            let sum = seeds::crc32(whole);
            whole[44..48].copy_from_slice(&sum.to_le_bytes());
        }
    },
    may_be_cut: true,
    parse: |bytes| match Header::parse(bytes) {
        Ok(header) => format!("read {:?}", header.kind),
        Err(HeaderError::NotFound) => "not found".to_owned(),
        Err(HeaderError::Short(_)) => "short".to_owned(),
        Err(HeaderError::Version(_)) => "version".to_owned(),
        Err(HeaderError::Checksum { .. }) => "checksum".to_owned(),
        Err(HeaderError::Kind(_)) => "kind".to_owned(),
    },
    outcomes: &["read Overlay", "read Dump", "not found", "short", "version", "checksum", "kind"],
};

const LOG_FRAME: Parser = Parser {
    name: "log-frame",
    seeds: seeds::frames,
    fields: &[
        (0, 4),
        (4, 2),
        (8, 8),
        (16, 4),
        (20, 4),
        (24, 8),
        (32, 8),
        (40, 4),
        (44, 8),
        (52, 8),
        (60, 4),
    ],
    seal: |bytes| {
        if bytes.len() >= 64 {
            let sum = seeds::crc32(&bytes[..60]);
            bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        }
    },
    may_be_cut: true,
    parse: |bytes| match Frame::parse(bytes, &[7; 16]) {
        None => "none".to_owned(),
        Some(frame) => {
            assert!(frame.sector.checked_add(frame.sectors).is_some() && frame.bytes() <= 2 << 20);
            match frame.word {
                Word::Durable(_) => "read Durable".to_owned(),
                word => format!("read {word:?}"),
            }
        }
    },
    outcomes: &[
        "none",
        "read Member",
        "read Data",
        "read Zeros",
        "read Durable",
        "read Committing",
        "read Committed",
        "read Remark",
    ],
};

const LOG_MEMBER: Parser = Parser {
    name: "log-member",
    seeds: seeds::facts,
    fields: &[(0, 8), (8, 4), (12, 4), (16, 8)],
    seal: |_| {},
    may_be_cut: true,
    parse: |bytes| MemberFacts::parse(bytes).map_or("none", |_| "read").to_owned(),
    outcomes: &["none", "read"],
};

const FAULT_PLAN: Parser = Parser {
    name: "fault-plan",
    seeds: seeds::fault_plans,
    fields: &[
        (0, 1),
        (7, 1),
        (12, 1),
        (20, 2),
        (31, 1),
        (40, 4),
        (53, 1),
        (66, 1),
        (79, 8),
        (95, 1),
    ],
    seal: |_| {},
    may_be_cut: true,
    parse: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let error = match orders(text) {
            Ok(plan) if plan.orders.is_empty() => return "read, empty".to_owned(),
            Ok(_) => return "read".to_owned(),
            Err(error) => error,
        };
        let kind = PLAN_OUTCOMES[..8].iter().find(|kind| error.contains(**kind));
        kind.map_or_else(|| "another error".to_owned(), |kind| (*kind).to_owned())
    },
    outcomes: &PLAN_OUTCOMES,
};

/// First the errors, by a part of what they say.
const PLAN_OUTCOMES: [&str; 12] = [
    "parse error",
    " needs ",
    " takes no ",
    "would be nothing",
    "not whole sectors",
    "waits for one of them",
    "is not a time",
    "no power of two",
    "another error",
    "read, empty",
    "read",
    "no text",
];
