//! Finding an array whose superblocks are gone.
//!
//! The question is which order of the members, which level, layout, chunk and data offset made the
//! bytes that are still there. Nothing is written and nothing is assembled: [`search()`] is a pure
//! function over the members' bytes. It does not try all n! orders:
//!
//! 1. a `survey` reads linear relations off sampled cells (`relation`): which members belong
//!    together, by which level, who is a stranger; on raid6 also who plays which part in a stripe;
//! 2. file systems are found by what they say of themselves (`ext4`, `xfs`): blocks that know
//!    which byte of the array they are;
//! 3. every `geometry` (level, layout, chunk, slots, data offset) is put to the same witnesses.
//!    What they answer fills a matrix slots × members, and `votes` finds its best order at once.
//!
//! A candidate is as good as the witnesses it explains. What no witness can tell apart is equal,
//! and is reported as such, with what would decide ([`Known`], [`Candidate::undecided`]).
//! [`Reader`] then reads the array as one candidate has it.

mod device;
mod ext4;
mod geometry;
mod kin;
mod read;
mod relation;
mod scan;
mod search;
mod survey;
mod votes;
mod xfs;

#[cfg(test)]
mod tests;

pub use read::{Reader, Unreadable};
pub use search::search;

use crate::layout::names;
use crate::level::Level;
use geometry::{Checks, Geometry};

/// What the bytes have to say.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Geometries put to the witnesses; each stands for all orders of the members.
    pub geometries: u64,
    /// What holds whatever the order.
    pub known: Known,
    /// Best first. Those that explain equally much stand side by side.
    pub candidates: Vec<Candidate>,
    /// Members that have no seat in the first candidate.
    pub left_out: Vec<LeftOut>,
}

/// How far the candidates are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The first candidate explains more than every other.
    First,
    /// As [`Verdict::First`] but for the layout: the one mdadm makes by default was put first, others
    /// explain the bytes as well.
    FirstByConvention,
    /// So many candidates explain the bytes equally well, or orders of them.
    Equal(usize),
    /// No candidate explains anything.
    Nothing,
}

impl Findings {
    /// Candidates that explain as much as the first, itself included.
    pub fn equal_candidates(&self) -> &[Candidate] {
        let best = self.candidates.first().map(|first| first.score);
        let equal = self.candidates.iter().take_while(|one| Some(one.score) == best);
        &self.candidates[..equal.count()]
    }

    /// Whether there is a first, and by what right.
    pub fn verdict(&self) -> Verdict {
        let equal = self.equal_candidates();
        let Some(first) = equal.first() else { return Verdict::Nothing };
        if !first.is_decided() {
            return Verdict::Equal(equal.len());
        }
        let differs_in_layout_alone = |other: &Candidate| {
            (first.level, first.chunk_sectors, first.data_offset, &first.seats)
                == (other.level, other.chunk_sectors, other.data_offset, &other.seats)
        };
        match equal {
            [_] => Verdict::First,
            _ if first.layout == names::default(first.level)
                && equal.iter().all(differs_in_layout_alone) =>
            {
                Verdict::FirstByConvention
            }
            _ => Verdict::Equal(equal.len()),
        }
    }
}

/// A member without a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The member.
    pub member: usize,
    /// The slot whose content is most like its own, in how many cells they agree, and how many
    /// were compared. A stale member agrees in many, a stranger in none.
    pub like: Option<(u32, u64, u64)>,
}

/// What is certain before any order is.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Cells sampled in which at least two members hold something.
    pub cells: u64,
    /// Members that XOR to zero (a raid4 or raid5, or two mirrors), and in how many cells.
    pub xor: Option<(Vec<usize>, u64)>,
    /// Members that make a raid6, and in how many cells.
    pub syndrome: Option<(Vec<usize>, u64)>,
    /// Members that make all but one of a raid6, and in how many cells. Beside `syndrome`: the
    /// member it has more is stale.
    pub partial: Option<(Vec<usize>, u64)>,
    /// Pairs of members that hold the same, and in how many of the cells where either holds
    /// something.
    pub twins: Vec<Twins>,
    /// The first byte at which redundancy holds and is not trivial.
    pub data_start: Option<u64>,
    /// Members that hold nothing at all.
    pub blank: Vec<usize>,
    /// File systems met.
    pub filesystems: Vec<Filesystem>,
}

/// Two members with the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twins {
    /// The members.
    pub pair: (usize, usize),
    /// Cells in which they agree.
    pub equal: u64,
    /// Cells looked at.
    pub cells: u64,
}

/// A file system that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// `ext4` (also for its forebears) or `xfs`.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
}

/// One way the array may have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The level.
    pub level: Level,
    /// md's number of the layout.
    pub layout: u32,
    /// Sectors per chunk; 0 for raid1.
    pub chunk_sectors: u32,
    /// Sector at which data begins on every member.
    pub data_offset: u64,
    /// Sectors of every member the array uses.
    pub member_sectors: u64,
    /// The member in each slot; `None` is missing.
    pub seats: Vec<Option<usize>>,
    /// Slots whose members hold the same bytes: in which order does not matter.
    pub interchangeable: Vec<Vec<u32>>,
    /// Slots whose members could trade places, or be another member, without any witness minding.
    pub undecided: Vec<Undecided>,
    /// What speaks for it.
    pub evidence: Evidence,
    /// What speaks for it less what speaks against it; comparable within one search.
    pub score: i64,
}

/// A choice the bytes leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The slots.
    pub slots: Vec<u32>,
    /// The members that fit there equally well.
    pub members: Vec<usize>,
}

/// What speaks for a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Blocks and stripes found where they belong.
    pub passed: u64,
    /// Those found to be something else.
    pub failed: u64,
    /// Cells in which the level's redundancy holds, of those in which it could be computed.
    pub parity: Option<(u64, u64)>,
    /// The file system that bears witness.
    pub filesystem: Option<Filesystem>,
    /// The least that any exchange of two members would lose.
    pub margin: i64,
}

impl Candidate {
    /// Members missing from the array.
    pub fn missing(&self) -> usize {
        self.seats.iter().filter(|seat| seat.is_none()).count()
    }

    /// Whether one order is better than every other.
    pub fn is_decided(&self) -> bool {
        self.undecided.is_empty()
    }

    /// How many orders explain the bytes as well as this one.
    pub fn equal_orders(&self) -> f64 {
        let choices = self.undecided.iter().map(|choice| {
            let (slots, members) =
                (choice.slots.len(), choice.members.len().max(choice.slots.len()));
            ((members - slots + 1)..=members).map(|count| count as f64).product::<f64>()
        });
        choices.product()
    }
}

/// A block that knows its address, and the devices it was found on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Anchor {
    /// The byte of the device.
    at: u64,
    /// The byte of the array.
    address: u64,
    /// A bit for each device.
    devices: u64,
}

impl Anchor {
    /// Joins what was found at the same place of several devices.
    fn merge(mut anchors: Vec<Self>) -> Vec<Self> {
        anchors.sort_unstable();
        anchors.dedup_by(|next, kept| {
            let same = (next.at, next.address) == (kept.at, kept.address);
            if same {
                kept.devices |= next.devices;
            }
            same
        });
        anchors
    }

    /// Asks whether a geometry has it where it is.
    fn check(&self, geometry: &Geometry, checks: &mut Checks, weight: u32) {
        let mut places = Vec::new();
        geometry.places(self.address, &mut places);
        let mut fits = false;
        for (slot, _) in places.iter().filter(|(_, at)| *at == self.at) {
            checks.add(*slot, self.devices, weight);
            fits = true;
        }
        if !fits {
            checks.stray(weight);
        }
    }
}
