//! Whether what stands in for each other is the same, straight from the disks: copies, and parity by
//! another computation than the engine's.

use holdfast_raid::layout::{Place, Roles};

use crate::disk::{PAGE, SimDisk};

/// Sectors of a page: what is compared at a time.
const STEP: u64 = PAGE as u64 / 512;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// A page of a member's data; `None` if it holds zeros. Data begins on a page, on every disk.
fn page(member: (&SimDisk, u64), sector: u64) -> Option<&[u8; PAGE]> {
    member.0.page(member.1 + sector)
}

/// The first sector from `sector` on, of the `run` from there on, that is not the same in both.
fn first_difference(
    one: (&SimDisk, u64),
    one_sector: u64,
    other: (&SimDisk, u64),
    other_sector: u64,
    run: u64,
) -> Option<u64> {
    (0..run).step_by(STEP as usize).find_map(|at| {
        let (one, other) = (page(one, one_sector + at), page(other, other_sector + at));
        let (one, other) = match (one, other) {
            (None, None) => return None,
            (one, other) => (one.unwrap_or(&ZEROS), other.unwrap_or(&ZEROS)),
        };
        let mut sectors = one.chunks(512).zip(other.chunks(512));
        let within = sectors.position(|(one, other)| one != other)? as u64;
        (at + within < run).then_some(at + within)
    })
}

/// The first difference between copies of a run of array sectors.
pub(super) fn copies_difference(
    sector: u64,
    run: u64,
    copies: &[Place],
    members: &[Option<(&SimDisk, u64)>],
) -> Option<String> {
    let mut there = copies.iter().filter_map(|copy| Some((copy, members[copy.slot as usize]?)));
    let (first, member) = there.next()?;
    for (copy, other) in there {
        if let Some(at) = first_difference(member, first.sector, other, copy.sector, run) {
            return Some(format!(
                "array sector {}: slots {} and {} hold different copies",
                sector + at,
                first.slot,
                copy.slot
            ));
        }
    }
    None
}

/// The first difference between a stripe's parity and what its data says.
pub(super) fn stripe_difference(
    roles: &Roles,
    data_members: u32,
    stripe: u64,
    chunk: u64,
    members: &[Option<(&SimDisk, u64)>],
) -> Option<String> {
    let mut by_exponent: Vec<Option<(&SimDisk, u64)>> = Vec::new();
    for d in 0..data_members {
        let exponent = roles.exponent(d) as usize;
        by_exponent.resize(by_exponent.len().max(exponent + 1), None);
        by_exponent[exponent] = Some(members[roles.data_slot(d) as usize]?);
    }
    let p = (members[roles.p as usize], "P", (|sum| sum) as fn(u64) -> u64);
    let q = (roles.q.and_then(|slot| members[slot as usize]), "Q", twice as fn(u64) -> u64);
    for row in (stripe * chunk..(stripe + 1) * chunk).step_by(STEP as usize) {
        let data: Vec<_> = by_exponent.iter().map(|m| m.and_then(|m| page(m, row))).collect();
        for (member, which, times) in [p, q] {
            let Some(member) = member else { continue };
            if let Some(at) = page_difference(&data, page(member, row), times) {
                let row = row + at;
                return Some(format!(
                    "stripe {stripe}, row {row}: {which} is not what the data says"
                ));
            }
        }
    }
    None
}

/// The first sector of a page of parity that is not what data says, by Horner's rule.
fn page_difference(
    data: &[Option<&[u8; PAGE]>],
    parity: Option<&[u8; PAGE]>,
    times: fn(u64) -> u64,
) -> Option<u64> {
    if parity.is_none() && data.iter().all(Option::is_none) {
        return None;
    }
    let mut sum = [0u64; PAGE / 8];
    for source in data.iter().rev() {
        sum.iter_mut().for_each(|sum| *sum = times(*sum));
        if let Some(bytes) = source {
            let words = bytes.chunks_exact(8);
            for (sum, word) in sum.iter_mut().zip(words) {
                *sum ^= u64::from_le_bytes(word.try_into().expect("8"));
            }
        }
    }
    let found = parity.unwrap_or(&ZEROS).chunks_exact(8);
    let found = found.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8")));
    let at = found.zip(&sum).position(|(found, wanted)| found != *wanted)?;
    Some(at as u64 / 64)
}

/// Each byte times the generator of the field: Q by Horner's rule, unlike the engine's tables.
const fn twice(word: u64) -> u64 {
    let high = (word >> 7) & 0x0101_0101_0101_0101;
    ((word << 1) & 0xfefe_fefe_fefe_fefe) ^ (high * 0x1d)
}

#[cfg(test)]
mod tests {
    use holdfast_raid::parity::reference;

    use super::*;

    #[test]
    fn twice_is_multiplication_by_the_generator() {
        for byte in 0..=255u8 {
            let word = u64::from_le_bytes([byte; 8]);
            assert_eq!(twice(word).to_le_bytes(), [reference::mul(byte, 2); 8]);
        }
    }
}
