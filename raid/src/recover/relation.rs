//! What the members' bytes say of each other: linear relations over GF(2^8).
//!
//! A *cell* is the same 4 KiB of every member. Redundancy makes its blocks depend on each other,
//! and every such dependence is a vector x with Σ x·block = 0, whatever the blocks are called and
//! in whatever order they came:
//!
//! | array | relations of a cell |
//! | --- | --- |
//! | raid4, raid5 | one: 1 for every member |
//! | raid6 | two: 1 for all but Q; and 1 for Q, g^e for each data block, 0 for P |
//! | raid6 less a member | one, a mixture of those two in which that member is 0 |
//! | mirrors | one for each pair of equal blocks |
//! | raid0 | none |
//!
//! A stranger is 0 in all of them. So the null space of a cell names the level and the members,
//! and on raid6 who is P, who is Q and in which order the data counts: the order of the members
//! is read off, not guessed.
//!
//! Blocks that hold little (zeros, one byte repeated) satisfy relations by accident. A cell is
//! believed only if its null space is as small as redundancy allows.

use super::device::is_zero;
use crate::parity::gf;

/// Bytes of one member in a cell.
pub(super) const CELL: usize = 4096;

/// Byte positions a relation is computed from; it must then hold at all others.
const COLUMNS: usize = 128;

/// Steps between those positions: odd, so that patterns that repeat are met at every phase.
const STEP: usize = 43;

/// One dependence: a coefficient for each member.
pub(super) type Relation = Vec<u8>;

/// A basis of all relations between the blocks of a cell.
pub(super) fn relations(blocks: &[&[u8]]) -> Vec<Relation> {
    let count = blocks.len();
    // Each row is a member: its sampled bytes, then the unit vector that remembers it.
    let mut rows: Vec<Vec<u8>> = (0..count)
        .map(|index| {
            let sampled = (0..COLUMNS).map(|column| blocks[index][column * STEP % CELL]);
            sampled.chain((0..count).map(|other| u8::from(other == index))).collect()
        })
        .collect();
    let mut done = 0;
    for column in 0..COLUMNS {
        let Some(pivot) = (done..count).find(|row| rows[*row][column] != 0) else { continue };
        rows.swap(done, pivot);
        let (above, below) = rows.split_at_mut(done + 1);
        let pivot = &above[done];
        for row in below.iter_mut().filter(|row| row[column] != 0) {
            let factor = gf::div(row[column], pivot[column]);
            add_multiple(row, pivot, factor);
        }
        done += 1;
        if done == count {
            return Vec::new();
        }
    }
    let found = rows.split_off(done).into_iter().map(|mut row| row.split_off(COLUMNS));
    found.filter(|relation| holds(relation, blocks)).collect()
}

/// Whether a relation holds at every byte.
fn holds(relation: &[u8], blocks: &[&[u8]]) -> bool {
    let mut sum = [0; CELL];
    for (block, factor) in blocks.iter().zip(relation).filter(|(_, factor)| **factor != 0) {
        add_multiple(&mut sum, block, *factor);
    }
    sum.iter().all(|byte| *byte == 0)
}

fn add_multiple(into: &mut [u8], from: &[u8], factor: u8) {
    if factor == 1 {
        into.iter_mut().zip(from).for_each(|(into, from)| *into ^= from);
        return;
    }
    let table: Vec<u8> = (0..=255).map(|byte| gf::mul(factor, byte)).collect();
    into.iter_mut().zip(from).for_each(|(into, from)| *into ^= table[usize::from(*from)]);
}

/// What a member is in one cell of a raid6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The XOR of the data.
    P,
    /// The weighted sum.
    Q,
    /// Data with this exponent in Q.
    Data(u32),
}

/// What a cell tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing: blocks too poor to tell.
    None,
    /// Rich blocks, and none depends on the others.
    Unrelated,
    /// These members XOR to zero.
    Xor(Vec<usize>),
    /// One relation between these members, which can be read in more than one way.
    Ambiguous(Vec<usize>),
    /// Every member's part in a raid6 stripe; `None` for a member that has none.
    Syndrome(Vec<Option<Part>>),
    /// The same with one member of the stripe missing, as far as one relation can tell it.
    Partial(Vec<Option<Part>>),
}

/// Reads a cell. Blocks of zeros say nothing and take no part.
pub(super) fn read(blocks: &[&[u8]]) -> Reading {
    let full: Vec<usize> = (0..blocks.len()).filter(|index| !is_zero(blocks[*index])).collect();
    let rich: Vec<&[u8]> = full.iter().map(|index| blocks[*index]).collect();
    match read_rich(&rich) {
        Reading::Xor(members) => Reading::Xor(members.iter().map(|index| full[*index]).collect()),
        Reading::Ambiguous(members) => {
            Reading::Ambiguous(members.iter().map(|index| full[*index]).collect())
        }
        Reading::Syndrome(parts) => Reading::Syndrome(spread(&parts, &full, blocks.len())),
        Reading::Partial(parts) => Reading::Partial(spread(&parts, &full, blocks.len())),
        other => other,
    }
}

fn spread(parts: &[Option<Part>], full: &[usize], count: usize) -> Vec<Option<Part>> {
    let mut all = vec![None; count];
    parts.iter().zip(full).for_each(|(part, index)| all[*index] = *part);
    all
}

fn read_rich(blocks: &[&[u8]]) -> Reading {
    if blocks.len() < 2 {
        return Reading::None;
    }
    let basis = relations(blocks);
    match basis.as_slice() {
        [] => Reading::Unrelated,
        [only] => one_relation(only),
        [first, second] => two_relations(first, second).unwrap_or(Reading::None),
        _ => Reading::None,
    }
}

fn support(relation: &[u8]) -> Vec<usize> {
    let members = relation.iter().enumerate();
    members.filter(|(_, factor)| **factor != 0).map(|(index, _)| index).collect()
}

fn one_relation(relation: &[u8]) -> Reading {
    let members = support(relation);
    if members.len() < 2 {
        return Reading::None;
    }
    let first = relation[members[0]];
    if members.iter().all(|index| relation[*index] == first) {
        return Reading::Xor(members);
    }
    let mut readings = partial_readings(relation, &members);
    match (readings.pop(), readings.is_empty()) {
        (Some(parts), true) => Reading::Partial(parts),
        (Some(_), false) => Reading::Ambiguous(members),
        (None, _) => Reading::None,
    }
}

/// The combination of two relations in which `index` is 0.
fn without(first: &[u8], second: &[u8], index: usize) -> Relation {
    let (a, b) = (second[index], first[index]);
    first.iter().zip(second).map(|(x, y)| gf::mul(a, *x) ^ gf::mul(b, *y)).collect()
}

fn scaled(relation: &[u8], to_one: usize) -> Relation {
    relation.iter().map(|factor| gf::div(*factor, relation[to_one])).collect()
}

fn two_relations(first: &[u8], second: &[u8]) -> Option<Reading> {
    let members: Vec<usize> =
        (0..first.len()).filter(|index| first[*index] != 0 || second[*index] != 0).collect();
    if members.len() < 4 {
        return None;
    }
    // Q is the one without which all others XOR to zero.
    let is_q = |q: &&usize| {
        let p_relation = without(first, second, **q);
        let mut others =
            members.iter().filter(|index| *index != *q).map(|index| p_relation[*index]);
        let lead = others.next().unwrap_or(0);
        lead != 0 && others.all(|factor| factor == lead)
    };
    let q = *members.iter().find(is_q)?;
    let mut readings = members.iter().filter(|p| **p != q).filter_map(|p| {
        let q_relation = without(first, second, *p);
        if q_relation[q] == 0 {
            return None;
        }
        let factors = scaled(&q_relation, q);
        let mut parts = vec![None; first.len()];
        let data = members.iter().filter(|index| **index != q && *index != p);
        parts[q] = Some(Part::Q);
        parts[*p] = Some(Part::P);
        for index in data {
            parts[*index] = Some(Part::Data(gf::log(factors[*index])?));
        }
        plausible(&parts, members.len()).then_some(parts)
    });
    let parts = readings.next()?;
    readings.next().is_none().then_some(Reading::Syndrome(parts))
}

/// Every way to read one relation of a raid6 that lacks a member: its P, or data.
fn partial_readings(relation: &[u8], members: &[usize]) -> Vec<Vec<Option<Part>>> {
    let slots = members.len() + 1;
    let mut readings = Vec::new();
    for q in members {
        let factors = scaled(relation, *q);
        let others = || members.iter().filter(|index| *index != q);
        // P is missing: the factors are powers of g.
        let mut parts = vec![None; relation.len()];
        parts[*q] = Some(Part::Q);
        others().for_each(|index| parts[*index] = gf::log(factors[*index]).map(Part::Data));
        readings.push(parts);
        // Data is missing: P stands in for it, with its factor, in every other.
        for p in others() {
            let missing = factors[*p];
            let mut parts = vec![None; relation.len()];
            parts[*q] = Some(Part::Q);
            parts[*p] = Some(Part::P);
            for index in others().filter(|index| *index != p) {
                parts[*index] = gf::log(factors[*index] ^ missing).map(Part::Data);
            }
            let told = members.iter().all(|index| parts[*index].is_some());
            let exponent = gf::log(missing);
            let taken = parts.contains(&exponent.map(Part::Data));
            if told && !taken && exponent.is_some_and(|exponent| (exponent as usize) < slots) {
                readings.push(parts);
            }
        }
    }
    readings.retain(|parts| {
        members.iter().all(|index| parts[*index].is_some()) && plausible(parts, slots)
    });
    readings.dedup();
    readings
}

/// Exponents differ and are small: md counts data, DDF counts slots.
fn plausible(parts: &[Option<Part>], slots: usize) -> bool {
    let mut seen = vec![false; slots];
    parts.iter().flatten().all(|part| match part {
        Part::Data(exponent) => {
            seen.get_mut(*exponent as usize).is_some_and(|seen| !std::mem::replace(seen, true))
        }
        Part::P | Part::Q => true,
    })
}

#[cfg(test)]
mod tests {
    use holdfast_core::rng::Rng;

    use super::*;
    use crate::parity::{pq, xor};

    fn random_blocks(count: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut rng = Rng::new(seed);
        let mut blocks = vec![vec![0; CELL]; count];
        blocks.iter_mut().for_each(|block| rng.fill(block));
        blocks
    }

    fn views(blocks: &[Vec<u8>]) -> Vec<&[u8]> {
        blocks.iter().map(Vec::as_slice).collect()
    }

    /// Data with exponents 0, 1, …, then P, then Q.
    fn raid6_cell(data: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut blocks = random_blocks(data, seed);
        let (mut p, mut q) = (vec![0; CELL], vec![0; CELL]);
        let sources: Vec<Option<&[u8]>> = blocks.iter().map(|block| Some(&block[..])).collect();
        pq(&mut p, &mut q, &sources);
        blocks.extend([p, q]);
        blocks
    }

    #[test]
    fn unrelated_blocks_have_no_relation() {
        assert_eq!(read(&views(&random_blocks(6, 1))), Reading::Unrelated);
        assert!(relations(&views(&random_blocks(6, 1))).is_empty());
    }

    #[test]
    fn xor_names_its_members_and_leaves_the_stranger_out() {
        let mut blocks = random_blocks(4, 2);
        let mut p = vec![0; CELL];
        xor(&mut p, &[&blocks[0], &blocks[2], &blocks[3]]);
        blocks.push(p);
        assert_eq!(read(&views(&blocks)), Reading::Xor(vec![0, 2, 3, 4]));
    }

    #[test]
    fn a_raid6_cell_tells_every_part_in_any_order() {
        for data in 2..8u32 {
            let cell = raid6_cell(data as usize, 3);
            let mut parts: Vec<Part> = (0..data).map(Part::Data).collect();
            parts.extend([Part::P, Part::Q]);
            for turn in 0..cell.len() {
                let mut turned = cell.clone();
                turned.rotate_left(turn);
                let mut expected: Vec<Option<Part>> = parts.iter().copied().map(Some).collect();
                expected.rotate_left(turn);
                turned.push(random_blocks(1, 4).remove(0));
                expected.push(None);
                let reading = read(&views(&turned));
                // With two data members P and data can be told apart only by their exponents.
                if data > 2 {
                    assert_eq!(reading, Reading::Syndrome(expected), "{data} data, turned {turn}");
                }
            }
        }
    }

    #[test]
    fn a_raid6_cell_less_a_member_still_tells_the_others() {
        let data = 5;
        let cell = raid6_cell(data, 5);
        for missing in 0..cell.len() {
            let mut rest = cell.clone();
            rest.remove(missing);
            let mut parts: Vec<Option<Part>> = (0..data as u32).map(Part::Data).map(Some).collect();
            parts.extend([Some(Part::P), Some(Part::Q)]);
            parts.remove(missing);
            match read(&views(&rest)) {
                // Without Q, what is left is a raid5.
                Reading::Xor(members) => assert_eq!((missing, members.len()), (data + 1, data + 1)),
                Reading::Partial(read) => assert_eq!(read, parts, "without {missing}"),
                // Without the data block of g^0, P and Q play the same part; without P, that
                // data block and Q do.
                Reading::Ambiguous(_) => {
                    assert!(missing == 0 || missing == data, "without {missing}")
                }
                other => panic!("without {missing}: {other:?}"),
            }
        }
    }

    #[test]
    fn poor_blocks_tell_nothing() {
        let mut cell = raid6_cell(4, 6);
        cell.iter_mut().for_each(|block| block[1..].fill(0));
        assert_eq!(read(&views(&cell)), Reading::None);
        assert_eq!(read(&[&[0; CELL], &[0; CELL], &[0; CELL]]), Reading::None);
    }
}
