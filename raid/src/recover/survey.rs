//! What sampled cells say of the members as a set.

use std::collections::BTreeMap;

use super::device::is_zero;
use super::relation::{self, CELL, Part, Reading};
use super::{Known, Twins};

/// Cells that are kept, and positions tried to find them.
const KEPT: usize = 768;
const TRIED: u64 = 6144;

/// Cells that must speak for a set of members before it is believed.
pub(super) const FEW: u64 = 4;

/// How far into the members their data is looked for.
const REACH: u64 = 1 << 30;

static NOTHING: [u8; CELL] = [0; CELL];

/// A sampled cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) at: u64,
    pub(super) reading: Reading,
}

/// All cells, read.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    pub(super) cells: Vec<Cell>,
    pub(super) known: Known,
}

/// The same cell of every member; one that is too short holds zeros.
pub(super) fn blocks_at<'a>(members: &[&'a [u8]], at: u64) -> Vec<&'a [u8]> {
    let at = at as usize;
    members.iter().map(|member| member.get(at..at + CELL).unwrap_or(&NOTHING)).collect()
}

pub(super) fn survey(members: &[&[u8]]) -> Survey {
    let cells = sample(members);
    let mut known = Known { cells: cells.len() as u64, ..Known::default() };
    let (mut xor, mut syndrome, mut partial) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut unrelated = 0;
    for cell in &cells {
        match &cell.reading {
            Reading::Xor(set) if set.len() > 2 => *xor.entry(set.clone()).or_insert(0) += 1,
            Reading::Syndrome(parts) => *syndrome.entry(cast(parts)).or_insert(0) += 1,
            Reading::Partial(parts) => *partial.entry(cast(parts)).or_insert(0) += 1,
            Reading::Unrelated => unrelated += 1,
            Reading::Xor(_) | Reading::Ambiguous(_) | Reading::None => {}
        }
    }
    // Poor cells are related by accident now and then; a set is known only if enough speak of it.
    let credible = |sets| most(sets).filter(|(_, cells)| *cells >= FEW && cells * 8 >= unrelated);
    known.xor = credible(xor);
    known.syndrome = credible(syndrome);
    known.partial = credible(partial);
    if let (Some((whole, cells)), Some((rest, others))) = (&known.syndrome, &known.partial)
        && rest.len() >= whole.len()
    {
        // Either this many members and one missing, or fewer and none: the more cells are right.
        if others > cells { known.syndrome = None } else { known.partial = None }
    }
    known.twins = twins(members, &cells);
    let is_blank = |member: &usize| {
        let member = members[*member];
        cells.iter().all(|cell| {
            let at = cell.at as usize;
            member.get(at..at + CELL).is_none_or(is_zero)
        })
    };
    known.blank = (0..members.len()).filter(is_blank).collect();
    Survey { cells, known }
}

fn cast(parts: &[Option<Part>]) -> Vec<usize> {
    let members = parts.iter().enumerate();
    members.filter(|(_, part)| part.is_some()).map(|(index, _)| index).collect()
}

/// The set most cells speak of; the larger one if as many do.
fn most(sets: BTreeMap<Vec<usize>, u64>) -> Option<(Vec<usize>, u64)> {
    sets.into_iter().max_by_key(|(set, count)| (*count, set.len()))
}

/// Positions all over the members, in an order that resonates with no chunk.
fn positions(cells: u64) -> impl Iterator<Item = u64> {
    let tried = cells.min(TRIED);
    let spread = cells / tried.max(1);
    (0..tried).map(move |index| {
        let jitter = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (index * spread + jitter % spread.max(1)) * CELL as u64
    })
}

fn sample(members: &[&[u8]]) -> Vec<Cell> {
    let longest = members.iter().map(|member| member.len()).max().unwrap_or(0);
    let full = |at: &u64| {
        let blocks = blocks_at(members, *at);
        blocks.iter().filter(|block| !is_zero(block)).count() >= 2
    };
    let mut kept: Vec<u64> = positions(longest as u64 / CELL as u64).filter(full).collect();
    if kept.len() > KEPT {
        let step = kept.len().div_ceil(KEPT);
        kept = kept.into_iter().step_by(step).collect();
    }
    super::search::in_parallel(&kept, |at| Cell {
        at: *at,
        reading: relation::read(&blocks_at(members, *at)),
    })
}

fn twins(members: &[&[u8]], cells: &[Cell]) -> Vec<Twins> {
    let mut found = Vec::new();
    for first in 0..members.len() {
        for second in first + 1..members.len() {
            let mut twins = Twins { pair: (first, second), equal: 0, cells: 0 };
            for cell in cells {
                let blocks = blocks_at(&[members[first], members[second]], cell.at);
                if blocks.iter().all(|block| is_zero(block)) {
                    continue;
                }
                twins.cells += 1;
                twins.equal += u64::from(blocks[0] == blocks[1]);
            }
            if twins.equal * 8 > twins.cells {
                found.push(twins);
            }
        }
    }
    found
}

/// The first cell in which all of `set` hold something and are related as a set.
pub(super) fn data_start(members: &[&[u8]], set: &[usize]) -> Option<u64> {
    let own: Vec<&[u8]> = set.iter().map(|index| members[*index]).collect();
    let end = own.iter().map(|member| member.len() as u64).min()?.min(REACH);
    let mut at = 0;
    while at + CELL as u64 <= end {
        let blocks = blocks_at(&own, at);
        if !blocks.iter().any(|block| is_zero(block)) {
            match relation::read(&blocks) {
                Reading::Xor(related) if related.len() + 1 >= set.len() => return Some(at),
                Reading::Ambiguous(related) if related.len() == set.len() => return Some(at),
                Reading::Syndrome(_) | Reading::Partial(_) => return Some(at),
                Reading::Xor(_) | Reading::Ambiguous(_) | Reading::None | Reading::Unrelated => {}
            }
        }
        at += CELL as u64;
    }
    None
}
