//! mdadm's names for layouts, and the numbers behind them.
//!
//! The number is what the superblock holds; the names are for people. Several names may mean one
//! number (`la`, `left-asymmetric` and, on raid5, `ddf-N-restart`); the first row of a table that
//! has the number is the name shown.
//!
//! raid10 has no table but a grammar: `n2`, `f3`, `o2` when given, `near=2, far=3` when shown.
//! Both are understood, as is any plain number, decimal or hexadecimal. A name's number need not
//! suit the array: that is for [`super::Layout::new`] to say.
//!
//! Source: mdadm `maps.c` (`r0layout`, `r5layout`, `r6layout`), `util.c` (`parse_layout_10`),
//! `super1.c` (`examine_super1`).

use crate::level::Level;

type Table = &'static [(&'static str, u32)];

const RAID0: Table = &[("original", 1), ("alternate", 2), ("dangerous", 0)];

const RAID5: Table = &[
    ("left-asymmetric", 0),
    ("right-asymmetric", 1),
    ("left-symmetric", 2),
    ("right-symmetric", 3),
    ("parity-first", 4),
    ("parity-last", 5),
    ("la", 0),
    ("ra", 1),
    ("ls", 2),
    ("rs", 3),
    ("ddf-N-restart", 0),
    ("ddf-zero-restart", 1),
    ("ddf-N-continue", 2),
    ("default", 2),
];

const RAID6: Table = &[
    ("left-asymmetric", 0),
    ("right-asymmetric", 1),
    ("left-symmetric", 2),
    ("right-symmetric", 3),
    ("parity-first", 4),
    ("parity-last", 5),
    ("ddf-zero-restart", 8),
    ("ddf-N-restart", 9),
    ("ddf-N-continue", 10),
    ("left-asymmetric-6", 16),
    ("right-asymmetric-6", 17),
    ("left-symmetric-6", 18),
    ("right-symmetric-6", 19),
    ("parity-first-6", 20),
    ("parity-last-6", 5),
    ("la", 0),
    ("ra", 1),
    ("ls", 2),
    ("rs", 3),
    ("default", 2),
];

/// The offset bit of a raid10 layout.
const OFFSET: u32 = 1 << 16;

/// A word that names no layout of the level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown layout {word:?} for {level} with {raid_disks} members")]
pub struct UnknownLayout {
    /// The level it was meant for.
    pub level: Level,
    /// The members it was meant for.
    pub raid_disks: u32,
    /// The word.
    pub word: String,
}

/// The number of a layout given by name or as a number (`2`, `0x102`).
pub fn parse(level: Level, word: &str, raid_disks: u32) -> Result<u32, UnknownLayout> {
    let named = match level {
        Level::Raid10 => parse_raid10(word, raid_disks),
        _ => number_of(table(level), word),
    };
    named.or_else(|| parse_number(word)).ok_or_else(|| UnknownLayout {
        level,
        raid_disks,
        word: word.to_owned(),
    })
}

/// The name `mdadm --examine` prints, if it prints one. For raid10 it says nothing of far sets.
pub fn name(level: Level, layout: u32) -> Option<String> {
    match level {
        Level::Raid10 => Some(raid10_name(layout)),
        _ => name_of(table(level), layout).map(str::to_owned),
    }
}

/// The shortest word that [`parse`] turns back into this number: `ls`, `n2`, or a plain number
/// where there is no name.
pub fn short_name(level: Level, layout: u32) -> String {
    if level == Level::Raid10 {
        return raid10_short_name(layout);
    }
    let table = table(level);
    let abbreviation = table.iter().find(|(word, number)| *number == layout && word.len() == 2);
    match abbreviation.map(|(word, _)| *word).or_else(|| name_of(table, layout)) {
        Some(word) => word.to_owned(),
        None => layout.to_string(),
    }
}

/// The layout a new array gets if nothing is said: left-symmetric, or two near copies.
pub const fn default(level: Level) -> u32 {
    match level {
        Level::Raid5 | Level::Raid6 => 2,
        Level::Raid10 => 0x102,
        Level::Linear | Level::Raid0 | Level::Raid1 | Level::Raid4 => 0,
    }
}

fn table(level: Level) -> Table {
    match level {
        Level::Raid0 => RAID0,
        Level::Raid5 => RAID5,
        Level::Raid6 => RAID6,
        Level::Linear | Level::Raid1 | Level::Raid4 | Level::Raid10 => &[],
    }
}

fn number_of(table: Table, word: &str) -> Option<u32> {
    table.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

fn name_of(table: Table, number: u32) -> Option<&'static str> {
    table.iter().find(|(_, other)| *other == number).map(|(name, _)| *name)
}

fn parse_number(word: &str) -> Option<u32> {
    let (digits, radix) = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    // from_str_radix would also take a sign.
    let plain = digits.starts_with(|c: char| c.is_digit(radix));
    plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

/// `n2`, `f2`, `o2`, or one or two of `near=2`, `far=2`, `offset=2`.
fn parse_raid10(word: &str, raid_disks: u32) -> Option<u32> {
    let (mut near, mut far) = (None, None);
    for part in word.split(',') {
        let (kind, count) = split_copies(part.trim())?;
        let count = parse_number(count).filter(|count| (2..=255).contains(count))?;
        let before = match kind {
            'n' => near.replace(count),
            'o' => far.replace((count << 8) | OFFSET),
            _ => far.replace(count << 8),
        };
        if before.is_some() {
            return None;
        }
    }
    let layout = near.unwrap_or(1) | far.unwrap_or(1 << 8);
    (copies(layout) <= raid_disks).then_some(layout)
}

/// `n2` or `near=2` as ('n', "2").
fn split_copies(part: &str) -> Option<(char, &str)> {
    let kinds = [("near=", 'n'), ("far=", 'f'), ("offset=", 'o')];
    let kinds = kinds.into_iter().chain([("n", 'n'), ("f", 'f'), ("o", 'o')]);
    let mut found = kinds.filter_map(|(prefix, kind)| Some((kind, part.strip_prefix(prefix)?)));
    found.next()
}

const fn copies(layout: u32) -> u32 {
    (layout & 0xff) * ((layout >> 8) & 0xff)
}

fn raid10_name(layout: u32) -> String {
    let (near, far) = (layout & 0xff, (layout >> 8) & 0xff);
    let kind = if layout & OFFSET == 0 { "far" } else { "offset" };
    match (near, far) {
        (1, 1) => "NO REDUNDANCY".to_owned(),
        (_, 1) => format!("near={near}"),
        (1, _) => format!("{kind}={far}"),
        _ => format!("near={near}, {kind}={far}"),
    }
}

fn raid10_short_name(layout: u32) -> String {
    let (near, far, rest) = (layout & 0xff, (layout >> 8) & 0xff, layout >> 16);
    match (near, far, rest) {
        (2.., 1, 0) => format!("n{near}"),
        (1, 2.., 0) => format!("f{far}"),
        (1, 2.., 1) => format!("o{far}"),
        _ => format!("{layout:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};

    #[test]
    fn words_of_mdadm_have_their_numbers() {
        for (level, word, number) in [
            (Raid0, "original", 1),
            (Raid0, "alternate", 2),
            (Raid0, "dangerous", 0),
            (Raid5, "left-symmetric", 2),
            (Raid5, "ls", 2),
            (Raid5, "la", 0),
            (Raid5, "ra", 1),
            (Raid5, "rs", 3),
            (Raid5, "parity-first", 4),
            (Raid5, "parity-last", 5),
            (Raid5, "ddf-zero-restart", 1),
            (Raid5, "ddf-N-restart", 0),
            (Raid5, "ddf-N-continue", 2),
            (Raid6, "ddf-zero-restart", 8),
            (Raid6, "ddf-N-restart", 9),
            (Raid6, "ddf-N-continue", 10),
            (Raid6, "left-asymmetric-6", 16),
            (Raid6, "right-symmetric-6", 19),
            (Raid6, "parity-first-6", 20),
            (Raid6, "parity-last-6", 5),
            (Raid10, "n2", 0x102),
            (Raid10, "n3", 0x103),
            (Raid10, "f2", 0x201),
            (Raid10, "o2", 0x10201),
            (Raid10, "near=2", 0x102),
            (Raid10, "near=2, far=2", 0x202),
            (Raid10, "near=2,offset=2", 0x10202),
            (Raid10, "0x40201", 0x40201),
            (Raid5, "2", 2),
            (Linear, "0", 0),
            (Raid1, "0", 0),
            (Raid4, "0", 0),
        ] {
            assert_eq!(parse(level, word, 4), Ok(number), "{level} {word}");
        }
    }

    #[test]
    fn other_words_have_none() {
        for (level, word) in [
            (Raid5, "left"),
            (Raid5, "left-symmetric-6"),
            (Raid5, "n2"),
            (Raid5, ""),
            (Raid5, "+2"),
            (Raid5, "0x"),
            (Raid5, "-1"),
            (Raid5, "4294967296"),
            (Raid1, "ls"),
            (Raid10, "n1"),
            (Raid10, "n5"),
            (Raid10, "n"),
            (Raid10, "n2,n2"),
            (Raid10, "f2,o2"),
            (Raid10, "n2,f3"),
            (Raid10, "n256"),
            (Raid10, "near2"),
            (Raid10, "n0x"),
        ] {
            assert!(parse(level, word, 4).is_err(), "{level} {word:?}");
        }
    }

    #[test]
    fn shown_names_are_those_of_examine() {
        for (level, number, shown, short) in [
            (Raid0, 1, Some("original"), "original"),
            (Raid0, 7, None, "7"),
            (Raid5, 2, Some("left-symmetric"), "ls"),
            (Raid5, 0, Some("left-asymmetric"), "la"),
            (Raid5, 6, None, "6"),
            (Raid6, 5, Some("parity-last"), "parity-last"),
            (Raid6, 10, Some("ddf-N-continue"), "ddf-N-continue"),
            (Raid10, 0x102, Some("near=2"), "n2"),
            (Raid10, 0x201, Some("far=2"), "f2"),
            (Raid10, 0x10201, Some("offset=2"), "o2"),
            (Raid10, 0x202, Some("near=2, far=2"), "0x202"),
            (Raid10, 0x40201, Some("far=2"), "0x40201"),
            (Raid10, 0x101, Some("NO REDUNDANCY"), "0x101"),
            (Raid1, 0, None, "0"),
        ] {
            assert_eq!(name(level, number).as_deref(), shown, "{level} {number:#x}");
            assert_eq!(short_name(level, number), short, "{level} {number:#x}");
        }
    }

    #[test]
    fn short_names_lead_back_to_their_number() {
        for level in Level::ALL {
            for layout in (0..0x400).chain(0x10000..0x10400).chain([0x20201, 0x40201, u32::MAX]) {
                let short = short_name(level, layout);
                assert_eq!(parse(level, &short, 255), Ok(layout), "{level} {short}");
            }
        }
    }

    #[test]
    fn every_default_is_a_known_layout() {
        for level in [Raid0, Raid5, Raid6, Raid10] {
            assert!(name(level, default(level)).is_some(), "{level}");
        }
    }
}
