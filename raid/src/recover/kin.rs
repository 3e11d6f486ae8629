//! Members without a seat: strangers, or old states of a member that has one.

use super::device::is_zero;
use super::survey::{Survey, blocks_at};
use super::{Candidate, LeftOut};
use crate::level::Level;
use crate::parity::xor;

/// Every member the candidate has no seat for, and the slot it resembles most.
pub(super) fn left_out(candidate: &Candidate, members: &[&[u8]], survey: &Survey) -> Vec<LeftOut> {
    let idle = (0..members.len()).filter(|member| !candidate.seats.contains(&Some(*member)));
    let slots = 0..candidate.seats.len();
    idle.map(|member| {
        let kinship = slots.clone().filter_map(|slot| {
            let (equal, cells) = likeness(candidate, members, survey, slot, member)?;
            Some((slot as u32, equal, cells))
        });
        let like = kinship.max_by_key(|(slot, equal, _)| (*equal, std::cmp::Reverse(*slot)));
        LeftOut { member, like: like.filter(|(_, equal, _)| *equal > 0) }
    })
    .collect()
}

/// Cells in which the member holds what the slot holds, and cells compared.
fn likeness(
    candidate: &Candidate,
    members: &[&[u8]],
    survey: &Survey,
    slot: usize,
    member: usize,
) -> Option<(u64, u64)> {
    let seated: Vec<&[u8]> = match candidate.seats[slot] {
        Some(owner) => vec![members[owner]],
        None if matches!(candidate.level, Level::Raid4 | Level::Raid5) => {
            candidate.seats.iter().flatten().map(|owner| members[*owner]).collect()
        }
        None => return None,
    };
    let (mut equal, mut cells) = (0, 0);
    for cell in &survey.cells {
        let own = blocks_at(&[members[member]], cell.at)[0];
        let parts = blocks_at(&seated, cell.at);
        let mut content = vec![0; own.len()];
        xor(&mut content, &parts);
        if is_zero(own) && is_zero(&content) {
            continue;
        }
        cells += 1;
        equal += u64::from(own == content);
    }
    Some((equal, cells))
}
