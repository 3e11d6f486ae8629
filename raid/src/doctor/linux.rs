//! Why Linux would refuse a member, and which versions would.
//!
//! Linux says "does not have a valid v1.x superblock" for a dozen reasons and names none. Here each
//! is named, with the versions it is a reason for, and with the change that takes it away, where
//! there is one that costs nothing.
//!
//! Sources: Linux `md.c` (`super_1_load`), `badblocks.c`, `raid0.c` (`create_strip_zones`),
//! `md-llbitmap.c`, and the history of each.

use crate::level::Level;
use crate::scan::{Probe, ProbeError};
use crate::superblock::v1::feature;
use crate::superblock::{BitmapVersion, Superblock, Unsupported};

/// The versions of Linux a reason holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Every one.
    All,
    /// Those up to this one.
    UpTo(&'static str),
    /// Those from this one on.
    From(&'static str),
    /// Those between these two, both included.
    Between(&'static str, &'static str),
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("every Linux"),
            Self::UpTo(last) => write!(f, "Linux up to {last}"),
            Self::From(first) => write!(f, "Linux from {first} on"),
            Self::Between(first, last) => write!(f, "Linux {first} to {last}"),
        }
    }
}

/// A change to a superblock that takes a reason away and loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Write no logical block size: 512 is what older kernels assume.
    LogicalBlockSize,
    /// Take the flag back that announces a bad-block log which was never there.
    BadBlockFlag,
}

impl Fix {
    /// What it would do, as the end of "would".
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::LogicalBlockSize => "clear logical_block_size, which is the usual 512 anyway",
            Self::BadBlockFlag => "clear the bad-block flag, whose log was never written",
        }
    }

    /// Does it. Whether it changed anything.
    pub fn apply(self, block: &mut Superblock) -> bool {
        match self {
            Self::LogicalBlockSize if block.logical_block_size == 512 => {
                block.logical_block_size = 0;
                true
            }
            Self::BadBlockFlag if block.bad_blocks_recorded => {
                block.bad_blocks_recorded = false;
                true
            }
            _ => false,
        }
    }
}

/// A reason to refuse a member or the array it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Which versions have it.
    pub versions: Versions,
    /// The reason: the field or fact, and what is wrong with it.
    pub why: String,
    /// What takes it away.
    pub fix: Option<Fix>,
}

impl Objection {
    fn new(versions: Versions, why: impl Into<String>) -> Self {
        Self { versions, why: why.into(), fix: None }
    }
}

/// Every reason to refuse one member, whatever the others say.
pub fn objections(probe: &Probe) -> Vec<Objection> {
    let block = match &probe.superblock {
        Ok(block) => block,
        Err(ProbeError::NotFound) => {
            return vec![Objection::new(Versions::All, "there is no md superblock")];
        }
        Err(error) => return vec![Objection::new(Versions::All, error.to_string())],
    };
    let mut found = Vec::new();
    found.extend(logical_block_size(block));
    found.extend(bad_blocks(probe));
    found.extend(unknown(block));
    found.extend(bitmap(probe));
    found.extend(level(block));
    found
}

/// Announced by no feature bit: kernels that do not know it find padding that is not zero.
fn logical_block_size(block: &Superblock) -> Option<Objection> {
    let bytes = block.logical_block_size;
    if bytes == 0 {
        return None;
    }
    let why = format!(
        "logical_block_size {bytes} (byte 224 of the superblock) is padding to them and must be zero; \
         the checksum is right, and they say \"does not have a valid v1.x superblock\""
    );
    let fix = (bytes == 512).then_some(Fix::LogicalBlockSize);
    Some(Objection { fix, ..Objection::new(Versions::UpTo("6.18"), why) })
}

fn bad_blocks(probe: &Probe) -> Option<Objection> {
    match probe.bad_blocks.as_ref()? {
        Ok(log) if log.flaws.is_sound() => None,
        Ok(log) if log.flaws.is_uninitialised() => {
            let why = "the superblock announces bad blocks (feature bit 8), but the log is all zeros: \
                       mdadm before 4.5 copied the flag to members it added";
            let fix = Some(Fix::BadBlockFlag);
            Some(Objection { fix, ..Objection::new(Versions::From("6.7"), why) })
        }
        Ok(log) => {
            let why = format!("{} bad-block entries have length zero", log.flaws.empty);
            Some(Objection::new(Versions::From("6.7"), why))
        }
        Err(problem) => Some(Objection::new(Versions::All, problem.to_string())),
    }
}

fn unknown(block: &Superblock) -> Vec<Objection> {
    let mut found = Vec::new();
    match block.refuses_writing() {
        Some(reason @ (Unsupported::Features(_) | Unsupported::Padding)) => {
            let why = format!("{reason}; only the kernel that knows it takes the member");
            found.push(Objection::new(Versions::All, why));
        }
        Some(Unsupported::Level(number)) if number != -4 && number != -5 => {
            found.push(Objection::new(Versions::All, format!("level {number} means nothing")));
        }
        _ => {}
    }
    if block.other_features & feature::RAID0_LAYOUT != 0 {
        let why = "the RAID0 layout is announced (feature bit 4096), which they do not know";
        found.push(Objection::new(Versions::UpTo("5.3"), why));
    }
    found
}

fn bitmap(probe: &Probe) -> Option<Objection> {
    match probe.bitmap.as_ref()? {
        Ok(bitmap) if bitmap.header.version == BitmapVersion::Lockless => {
            Some(Objection::new(Versions::UpTo("6.17"), "the bitmap is lockless (version 6)"))
        }
        Ok(_) => None,
        Err(problem) => Some(Objection::new(Versions::All, problem.to_string())),
    }
}

fn level(block: &Superblock) -> Option<Objection> {
    match block.level()? {
        Level::Linear => {
            let why = "md's linear level had been taken out";
            Some(Objection::new(Versions::Between("6.8", "6.13"), why))
        }
        _ => None,
    }
}
