//! How much redundancy each range of a served array has, for NBD's block status.
//!
//! Levels whose rows lie in array order (1, 4, 5, 6) tell a rebuild's two sides apart; for the
//! others the whole array is as it is. Where in doubt a range counts as degraded.

use std::ops::Range;

use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::nbd::export::health::{DEGRADED, REBUILDING};
use holdfast_host::nbd::{Context, Extent, Offer};
use holdfast_raid::status::{Health, MemberState, Status};
use holdfast_raid::sync::Action;
use holdfast_raid::{Assembled, Level};

use crate::disk::Disk;
use crate::front::Fronted;

impl Offer for Fronted<'_, Assembled<Disk>> {
    fn describe(&self, context: Context, bytes: Range<u64>, most: usize) -> Vec<Extent> {
        let mut extents = match context {
            // An array does not know what its file system has left unused.
            Context::Allocation => vec![Extent { bytes: bytes.end - bytes.start, flags: 0 }],
            Context::Health => extents(&self.device.status(), bytes),
        };
        extents.truncate(most);
        extents
    }
}

/// The range's two sides of the frontier, as far as there are two.
fn extents(status: &Status, bytes: Range<u64>) -> Vec<Extent> {
    let (below, above) = flags(status);
    let frontier = if below == above { 0 } else { frontier_bytes(status) };
    let frontier = frontier.clamp(bytes.start, bytes.end);
    let sides = [(frontier - bytes.start, below), (bytes.end - frontier, above)];
    let sides = sides.into_iter().filter(|(bytes, _)| *bytes > 0);
    sides.map(|(bytes, flags)| Extent { bytes, flags }).collect()
}

/// Flags of what a running pass has behind it, and of what lies before it.
fn flags(status: &Status) -> (u32, u32) {
    let at_work = |action| status.sync.as_ref().is_some_and(|sync| sync.action == action);
    if status.health == Health::Optimal {
        return (0, if at_work(Action::Resync) { REBUILDING } else { 0 });
    }
    let filled = |state| status.members.iter().filter(|member| member.state == state).count();
    let (whole, half) = (filled(MemberState::InSync), filled(MemberState::Rebuilding));
    let rebuilding = if at_work(Action::Recover) { REBUILDING } else { 0 };
    let none_left_out = whole + half == status.raid_disks as usize;
    (if none_left_out { 0 } else { DEGRADED }, DEGRADED | rebuilding)
}

/// Where in the array a pass is.
fn frontier_bytes(status: &Status) -> u64 {
    let in_order =
        matches!(status.level, Level::Raid1 | Level::Raid4 | Level::Raid5 | Level::Raid6);
    let rebuilt = status.members.iter().filter_map(|member| member.recovery_offset).min();
    let resynced = || status.sync.as_ref().map(|sync| sync.done_sectors);
    let done_sectors = rebuilt.or_else(resynced).unwrap_or(0);
    if !in_order || status.member_sectors == 0 {
        return 0;
    }
    let row_sectors = u64::from(status.chunk_sectors.max(1));
    let data_members = status.array_sectors / status.member_sectors;
    done_sectors / row_sectors * row_sectors * data_members * SECTOR_BYTES
}

#[cfg(test)]
mod tests {
    use holdfast_raid::status::{MemberStatus, SyncStatus};
    use holdfast_raid::superblock::{Name, Uuid};

    use super::*;

    fn status(health: Health, states: &[MemberState], action: Option<Action>) -> Status {
        let member = |(slot, state): (usize, &MemberState)| MemberStatus {
            slot: Some(slot as u32),
            dev_number: slot as u32,
            state: *state,
            events: 1,
            data_offset: 2048,
            recovery_offset: (*state == MemberState::Rebuilding).then_some(300),
            device_uuid: Uuid([slot as u8; 16]),
            write_mostly: false,
            corrected_reads: 0,
            bad_sectors: 0,
            why: None,
        };
        Status {
            uuid: Uuid([1; 16]),
            name: Name::new("a").unwrap(),
            level: Level::Raid5,
            layout: 2,
            chunk_sectors: 128,
            array_sectors: 2048,
            member_sectors: 1024,
            raid_disks: 3,
            events: 1,
            health,
            clean: true,
            resync_from: None,
            at_risk_bytes: None,
            sync: action.map(|action| SyncStatus {
                action,
                done_sectors: 300,
                total_sectors: 1024,
                mismatch_sectors: 0,
            }),
            members: states.iter().enumerate().map(member).collect(),
            bitmap: None,
            ppl: false,
        }
    }

    #[test]
    fn ranges_are_as_redundant_as_what_a_pass_has_reached() {
        use Health::{Degraded, Optimal};
        use MemberState::{Faulty, InSync, Rebuilding};
        let rebuilding = DEGRADED | REBUILDING;
        let at = 256 * 2 * SECTOR_BYTES; // whole rows only
        let all = 2048 * SECTOR_BYTES;
        let two = |below, above| vec![(at, below), (all - at, above)];
        for (health, states, action, wanted) in [
            (Optimal, [InSync; 3], None, vec![(all, 0)]),
            (Optimal, [InSync; 3], Some(Action::Resync), two(0, REBUILDING)),
            (Degraded, [InSync, InSync, Faulty], None, vec![(all, DEGRADED)]),
            (Degraded, [InSync, InSync, Rebuilding], Some(Action::Recover), two(0, rebuilding)),
        ] {
            let found = extents(&status(health, &states, action), 0..all);
            let found: Vec<_> = found.iter().map(|e| (e.bytes, e.flags)).collect();
            assert_eq!(found, wanted, "{health:?} {states:?} {action:?}");
        }
        let half = status(Degraded, &[InSync, InSync, Rebuilding], Some(Action::Recover));
        assert_eq!(extents(&half, at..at + 512), [Extent { bytes: 512, flags: rebuilding }]);
    }
}
