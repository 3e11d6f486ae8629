//! How to bring a band of rows up to date: which members to read before parity can be computed.
//!
//! A *band* is a range of rows of one stripe in which every data member is either written in full
//! or not at all. Three ways lead to its new parity:
//!
//! - *read-modify-write*: read what is about to be overwritten and the old parity; the difference
//!   of the data is the difference of the parity. Wants parity that is known good.
//! - *reconstruct-write*: read the data that stays, compute parity from scratch.
//! - *rebuild*: some data can not be read; read everything that can, recover the rest from parity.
//!
//! The cheapest that is possible wins; on a tie the one that does not lean on old parity
//! (`raid5.c handle_stripe_dirtying`).

use crate::layout::Roles;

/// How new parity is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// No parity member is present: data goes out as it is.
    DataOnly,
    /// Parity changes by what the data changes.
    ReadModifyWrite,
    /// Parity is computed from all data.
    Reconstruct,
    /// Unreadable data is recovered first, then as [`How::Reconstruct`].
    Rebuild,
}

/// What to read, and what to do then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) how: How,
    /// Slots to read, in ascending order.
    pub(crate) reads: Vec<u32>,
}

/// What is known of one slot in the band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotView {
    /// Its contents can be read.
    pub(crate) readable: bool,
    /// Writes reach it (a member being rebuilt takes writes it cannot be read from).
    pub(crate) writable: bool,
}

/// Plans the write of the data members for which `written` holds, over `k` data members.
///
/// `None` when the level has lost too much for this band.
pub(crate) fn plan_write(
    roles: &Roles,
    k: u32,
    slots: &[SlotView],
    written: &dyn Fn(u32) -> bool,
    parity_trusted: bool,
) -> Option<Plan> {
    let parity: Vec<u32> = std::iter::once(roles.p).chain(roles.q).collect();
    let view = |slot: u32| slots[slot as usize];
    let present: Vec<u32> = parity.iter().copied().filter(|&s| view(s).writable).collect();
    let data = |d: u32| roles.data_slot(d);
    if present.is_empty() {
        return Some(Plan { how: How::DataOnly, reads: Vec::new() });
    }

    let rmw: Option<Vec<u32>> = (0..k)
        .filter(|&d| written(d))
        .map(data)
        .chain(present.iter().copied())
        .map(|slot| view(slot).readable.then_some(slot))
        .collect();
    let rcw: Option<Vec<u32>> = (0..k)
        .filter(|&d| !written(d))
        .map(|d| view(data(d)).readable.then_some(data(d)))
        .collect();

    let rmw = rmw.filter(|_| parity_trusted);
    let (how, mut reads) = match (rmw, rcw) {
        (Some(rmw), Some(rcw)) if rmw.len() < rcw.len() => (How::ReadModifyWrite, rmw),
        (_, Some(rcw)) => (How::Reconstruct, rcw),
        (Some(rmw), None) => (How::ReadModifyWrite, rmw),
        (None, None) => (How::Rebuild, rebuild_reads(roles, k, slots)?),
    };
    reads.sort_unstable();
    Some(Plan { how, reads })
}

/// What to read so that all data of the band can be recovered: every readable data member, and a
/// parity member for each unreadable one. `None` when there are not enough.
pub(crate) fn rebuild_reads(roles: &Roles, k: u32, slots: &[SlotView]) -> Option<Vec<u32>> {
    let readable = |slot: &u32| slots[*slot as usize].readable;
    let mut reads: Vec<u32> = (0..k).map(|d| roles.data_slot(d)).filter(readable).collect();
    let lost = k as usize - reads.len();
    let parity: Vec<u32> =
        std::iter::once(roles.p).chain(roles.q).filter(readable).take(lost).collect();
    if parity.len() < lost {
        return None;
    }
    reads.extend(parity);
    reads.sort_unstable();
    Some(reads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, Shape};
    use crate::level::Level;

    /// Stripe 0 of a left-symmetric array: data on slots 0..k, then P (RAID5: slot n−1).
    fn roles(level: Level, raid_disks: u32) -> (Roles, u32) {
        let layout = if level == Level::Raid6 { 5 } else { 2 };
        let shape = Shape { level, layout, raid_disks, chunk_sectors: 8, member_sectors: 64 };
        let Ok(Layout::Parity(parity)) = Layout::new(&shape, &[]) else { panic!("valid shape") };
        (parity.stripe(0), parity.data_members())
    }

    /// One letter a slot: `r` readable and writable, `w` writable only, `-` absent.
    fn views(text: &str) -> Vec<SlotView> {
        text.bytes().map(|c| SlotView { readable: c == b'r', writable: c != b'-' }).collect()
    }

    /// Level, slots (data …, P, Q), data written, parity trusted; how, and what to read.
    type Row<'a> = (Level, &'a str, &'a [u32], bool, Option<(How, &'a [u32])>);

    #[test]
    fn the_cheapest_possible_way_wins() {
        use How::{DataOnly, ReadModifyWrite as Rmw, Rebuild, Reconstruct as Rcw};
        let table: &[Row<'_>] = &[
            // Healthy: whichever reads less; a tie reconstructs.
            (Level::Raid5, "rrrrr", &[0], true, Some((Rmw, &[0, 4]))),
            (Level::Raid5, "rrrrr", &[0, 1], true, Some((Rcw, &[2, 3]))),
            (Level::Raid5, "rrrrr", &[0, 1, 2, 3], true, Some((Rcw, &[]))),
            (Level::Raid5, "rrr", &[0], true, Some((Rcw, &[1]))),
            (Level::Raid6, "rrrrrr", &[1], true, Some((Rcw, &[0, 2, 3]))),
            (Level::Raid6, "rrrrrrr", &[1], true, Some((Rmw, &[1, 5, 6]))),
            // Parity not known good: never read-modify-write.
            (Level::Raid5, "rrrrr", &[0], false, Some((Rcw, &[1, 2, 3]))),
            // A data member is missing.
            (Level::Raid5, "-rrrr", &[0], true, Some((Rcw, &[1, 2, 3]))),
            (Level::Raid5, "-rrrr", &[1], true, Some((Rmw, &[1, 4]))),
            (Level::Raid5, "-rrrr", &[1, 2, 3], true, Some((Rmw, &[1, 2, 3, 4]))),
            (Level::Raid5, "-rrrr", &[1], false, Some((Rebuild, &[1, 2, 3, 4]))),
            // The parity member is missing, or being rebuilt.
            (Level::Raid5, "rrrr-", &[1], true, Some((DataOnly, &[]))),
            (Level::Raid5, "rrrrw", &[1], true, Some((Rcw, &[0, 2, 3]))),
            (Level::Raid6, "rrrrrr-", &[1], true, Some((Rmw, &[1, 5]))),
            // Two missing.
            (Level::Raid5, "--rrr", &[0], true, None),
            (Level::Raid5, "--rrr", &[0, 1], true, Some((Rcw, &[2, 3]))),
            (Level::Raid6, "--rrrr", &[0], true, Some((Rebuild, &[2, 3, 4, 5]))),
            (Level::Raid6, "-rrr-r", &[0], true, Some((Rcw, &[1, 2, 3]))),
            (Level::Raid6, "-rrr-r", &[1], true, Some((Rmw, &[1, 5]))),
            (Level::Raid6, "--rr-r", &[0], true, None),
        ];
        for (level, slots, written, trusted, expected) in table {
            let (roles, k) = roles(*level, slots.len() as u32);
            let plan = plan_write(&roles, k, &views(slots), &|d| written.contains(&d), *trusted);
            let plan = plan.map(|plan| (plan.how, plan.reads));
            let expected = expected.map(|(how, reads)| (how, reads.to_vec()));
            assert_eq!(plan, expected, "{level} {slots} writing {written:?} trusted {trusted}");
        }
    }
}
