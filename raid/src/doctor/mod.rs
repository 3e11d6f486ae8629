//! What is the matter with an array, and what each way out would cost.
//!
//! Pure: probes in, findings out. Three questions are answered: who is current ([`mod@choose`] decides,
//! here it is only kept), what would be at risk if an out-of-date member were used all the same
//! ([`Forcing`]), and why Linux, from which version to which, would refuse a member
//! ([`Objection`]).
//!
//! # What a member missed
//!
//! While a member is away md clears no bit of the write-intent bitmap, so the bits set on the
//! members that stayed cover everything written meanwhile, and more. That holds for a member that
//! left no earlier than the bitmap's `events_cleared`; one that left before may have missed regions
//! whose bits are gone again. Without a bitmap, or with one that is not current, anything may have
//! changed.
//!
//! Source of that rule: Linux `md.c` (`super_1_validate`), `md-bitmap.c` (`md_bitmap_endwrite`).

mod linux;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use linux::{Fix, Objection, Versions, objections};

use crate::level::Level;
use crate::scan::{Bitmap, Probe};
use crate::superblock::geometry::array_sectors;
use crate::superblock::{Choice, ChooseError, Superblock, Verdict, choose};

/// What is known of one array.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The probes that belong to it, by index.
    pub members: Vec<usize>,
    /// Who is current, one verdict for each of `members`; or why nobody can tell.
    pub choice: Result<Choice, ChooseError>,
    /// Slots without a current member.
    pub missing: Vec<u32>,
    /// What using each out-of-date member would put at risk.
    pub forcings: Vec<Forcing>,
}

/// What using an out-of-date member would put at risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forcing {
    /// The probe.
    pub probe: usize,
    /// Its slot.
    pub slot: u16,
    /// Updates it missed.
    pub behind: u64,
    /// How far it can be told what it missed.
    pub bound: Bound,
    /// Bytes of the member that may be old, at most.
    pub member_bytes: u64,
    /// Bytes of the array that may be wrong, at most: what lies on the member there, and what would
    /// be computed from it for slots that stay missing.
    pub array_bytes: u64,
    /// Whether the array starts with it and does not without it.
    pub helps: bool,
}

/// How far it can be told what a member missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Regions the bitmap marks.
    Bitmap {
        /// Marked.
        regions: u64,
        /// In all.
        of: u64,
        /// Bytes of one.
        region_bytes: u64,
    },
    /// Not at all: there is no bitmap that can be read.
    NoBitmap,
    /// Not at all: the bitmap is older than the array.
    StaleBitmap,
    /// Not at all: bits have been cleared since it left.
    LeftBefore {
        /// The member's events.
        events: u64,
        /// Events of the array when a bit was last cleared with everybody there.
        cleared: u64,
    },
}

/// Looks at the members of one array: those probes whose superblock carries its uuid.
pub fn diagnose(probes: &[Probe], members: &[usize]) -> Diagnosis {
    let blocks: Vec<Superblock> =
        members.iter().filter_map(|index| probes[*index].superblock.clone().ok()).collect();
    let choice = choose(&blocks, false);
    let (missing, forcings) = match &choice {
        Ok(choice) => {
            let missing = missing(&blocks, choice);
            let forcings = forcings(probes, members, &blocks, choice, &missing);
            (missing, forcings)
        }
        Err(_) => (Vec::new(), Vec::new()),
    };
    Diagnosis { members: members.to_vec(), choice, missing, forcings }
}

fn missing(blocks: &[Superblock], choice: &Choice) -> Vec<u32> {
    let served: BTreeSet<u32> =
        choice.verdicts.iter().filter_map(Verdict::serving_slot).map(u32::from).collect();
    let slots = blocks[choice.freshest].raid_disks;
    (0..slots).filter(|slot| !served.contains(slot)).collect()
}

fn forcings(
    probes: &[Probe],
    members: &[usize],
    blocks: &[Superblock],
    choice: &Choice,
    missing: &[u32],
) -> Vec<Forcing> {
    let array = &blocks[choice.freshest];
    let bitmap = current_bitmap(probes, members, choice);
    let forcing = |(index, verdict): (usize, &Verdict)| {
        let (slot, behind) = match verdict {
            Verdict::Stale { slot: Some(slot), behind, .. }
            | Verdict::Diverged { slot, behind, .. } => (*slot, *behind),
            Verdict::DeclaredFaulty { slot } => {
                (*slot, array.events.saturating_sub(blocks[index].events))
            }
            _ => return None,
        };
        let bound = bound(bitmap, array, &blocks[index]);
        let left = missing.iter().filter(|other| **other != u32::from(slot)).count() as u64;
        let (member_bytes, array_bytes) = at_risk(array, &bound, left);
        let helps = !choice.enough && missing.contains(&slot.into()) && starts_with(blocks, index);
        let probe = members[index];
        Some(Forcing { probe, slot, behind, bound, member_bytes, array_bytes, helps })
    };
    choice.verdicts.iter().enumerate().filter_map(forcing).collect()
}

/// Whether force would take this member, and the array would start.
fn starts_with(blocks: &[Superblock], index: usize) -> bool {
    choose(blocks, true).is_ok_and(|choice| {
        choice.enough && matches!(choice.verdicts[index], Verdict::Forced { .. })
    })
}

/// The bitmap of a member that stayed.
fn current_bitmap<'a>(
    probes: &'a [Probe],
    members: &[usize],
    choice: &Choice,
) -> Option<&'a Bitmap> {
    let serves = |index: &usize| choice.verdicts[*index].serving_slot().is_some();
    (0..members.len()).filter(serves).find_map(|index| match &probes[members[index]].bitmap {
        Some(Ok(bitmap)) if bitmap.header.refuses_writing().is_none() => Some(bitmap),
        _ => None,
    })
}

fn bound(bitmap: Option<&Bitmap>, array: &Superblock, member: &Superblock) -> Bound {
    let Some(bitmap) = bitmap else { return Bound::NoBitmap };
    let header = &bitmap.header;
    if header.is_stale(array.events) {
        return Bound::StaleBitmap;
    }
    if member.events < header.events_cleared {
        return Bound::LeftBefore { events: member.events, cleared: header.events_cleared };
    }
    let map = bitmap.bytes.get(256..).unwrap_or_default();
    let of = header.bits();
    let is_set = |bit: &u64| {
        let byte = usize::try_from(bit / 8).ok().and_then(|byte| map.get(byte));
        byte.is_none_or(|byte| byte >> (bit % 8) & 1 != 0)
    };
    let regions = (0..of).filter(is_set).count() as u64;
    Bound::Bitmap { regions, of, region_bytes: header.chunk_bytes.into() }
}

/// Bytes of the member that may be old, and of the array that may be wrong; `left` slots stay
/// missing and would be computed from it.
fn at_risk(array: &Superblock, bound: &Bound, left: u64) -> (u64, u64) {
    let all = array.used_sectors().saturating_mul(512);
    let whole = array.level().map_or(0, |level| {
        let (layout, chunk) = (array.layout, array.chunk_sectors);
        array_sectors(level, layout, chunk, array.raid_disks, array.size, &[]).saturating_mul(512)
    });
    let Bound::Bitmap { regions, region_bytes, .. } = bound else {
        return (all, whole);
    };
    let marked = regions.saturating_mul(*region_bytes);
    match array.level() {
        // There a region is a range of the array.
        Some(Level::Raid10) => (marked.min(all), marked.min(whole)),
        Some(level) if level.has_parity() => {
            let member = marked.min(all);
            (member, member.saturating_mul(1 + left).min(whole))
        }
        _ => (marked.min(all), marked.min(whole)),
    }
}
