//! `holdfast mdstat`: the text of `/proc/mdstat` as Linux would show it after assembling these
//! members: started, not yet written to, so `(auto-read-only)`, with a pending resync waiting.
//!
//! Monitoring scripts parse it; the exact text is the library's. Here are the facts, and two
//! habits of mdadm: the device is called after the array (`md_demo`, `md0` if the name is a
//! number), and members are listed the freshest first, then by falling slot, because mdadm hands
//! them to the kernel in the opposite order.

use std::time::Duration;

use holdfast_raid::level::Level;
use holdfast_raid::status::{Health, MemberState, Status, SyncStatus};
use holdfast_raid::superblock::Minor;
use holdfast_raid::superblock::mdstat::{
    Access, Action as Work, ArrayFacts, BitmapFacts, MemberFacts, MemberState as Listed, Progress,
    mdstat_text,
};
use holdfast_raid::sync::Action;
use serde::Serialize;

use super::detail;
use crate::config::Group;
use crate::exit::{Exit, Outcome};
use crate::members;
use crate::report::Report;
use crate::session::{BITS_PER_PAGE, Purpose, Session};

/// What Linux calls an array nobody has named.
const UNNAMED: &str = "md127";

#[derive(Debug, Serialize)]
struct Answer {
    device: String,
    text: String,
}

/// Prints the text.
pub(super) fn run(group: &Group, report: &Report) -> Outcome {
    let session = Session::open(group, Purpose::Look, report)?;
    let status = session.status();
    let facts = facts(&session, &status);
    Ok(print(facts, &status, report))
}

/// The same of an array that is served here: others write to it, and passes run. `pace`: how long
/// the pass has been running, and how many sectors were done when it began.
pub(super) fn tell_served(session: &Session, pace: (Duration, u64), report: &Report) -> Exit {
    let status = session.status();
    let mut facts = facts(session, &status);
    if facts.access == Access::AutoReadOnly {
        facts.access = Access::ReadWrite;
        facts.progress = status.sync.as_ref().map(|sync| running(sync, pace)).or(facts.progress);
    }
    print(facts, &status, report)
}

fn print(facts: ArrayFacts, status: &Status, report: &Report) -> Exit {
    let text = mdstat_text(personalities(status.level), std::slice::from_ref(&facts), &[]);
    report.line(text.strip_suffix('\n').unwrap_or(&text));
    report.answer(&Answer { device: facts.name, text });
    detail::exit(status)
}

/// A pass as the kernel draws it, which is expected to go on as it went so far.
fn running(sync: &SyncStatus, (elapsed, first): (Duration, u64)) -> Progress {
    let action = match sync.action {
        Action::Recover => Work::Recovery,
        Action::Resync => Work::Resync,
        Action::Check { .. } | Action::Repair { .. } => Work::Check,
    };
    let (done, total) = (sync.done_sectors, sync.total_sectors);
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let kib_per_second = done.saturating_sub(first) / 2 * 1000 / millis;
    let left_kib = total.saturating_sub(done) / 2;
    let finish_seconds = left_kib / kib_per_second.max(1);
    Progress::Running { action, done, total, finish_seconds, kib_per_second }
}

/// The levels the kernel module for this one brings along.
const fn personalities(level: Level) -> &'static [Level] {
    match level {
        Level::Linear => &[Level::Linear],
        Level::Raid0 => &[Level::Raid0],
        Level::Raid1 => &[Level::Raid1],
        Level::Raid4 | Level::Raid5 | Level::Raid6 => &[Level::Raid6, Level::Raid5, Level::Raid4],
        Level::Raid10 => &[Level::Raid10],
    }
}

fn facts(session: &Session, status: &Status) -> ArrayFacts {
    let minor = session.superblocks.iter().flatten().map(|block| block.minor).next();
    ArrayFacts {
        name: device_name(&status.name.without_host()),
        access: if status.health == Health::Failed {
            Access::Inactive
        } else {
            Access::AutoReadOnly
        },
        level: status.level,
        layout: status.layout,
        chunk_sectors: status.chunk_sectors,
        array_sectors: status.array_sectors,
        minor: minor.unwrap_or(Minor::V1_2),
        members: listed(session, status),
        slots: detail::present(status),
        progress: status.resync_from.map(|_| Progress::Pending),
        bitmap: status.bitmap.map(|bitmap| BitmapFacts {
            pages_used: session.bitmap_pages.unwrap_or(0),
            pages: bitmap.total.div_ceil(BITS_PER_PAGE),
            chunk_bytes: bitmap.chunk_bytes,
        }),
    }
}

fn device_name(name: &str) -> String {
    match name {
        "" => UNNAMED.to_owned(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("md{number}"),
        word => format!("md_{}", word.replace(|c: char| c.is_whitespace() || c == '/', "_")),
    }
}

/// The members in Linux's order.
fn listed(session: &Session, status: &Status) -> Vec<MemberFacts> {
    let fact = |index: usize| {
        let member = &status.members[index];
        let state = match member.state {
            MemberState::InSync | MemberState::Rebuilding => Listed::Active,
            MemberState::Replacing => Listed::Replacement,
            MemberState::Spare => Listed::Spare,
            MemberState::Faulty | MemberState::Stale | MemberState::Foreign => return None,
        };
        Some(MemberFacts {
            name: members::file_name(session.path(index)),
            dev_number: member.dev_number,
            state,
            write_mostly: member.write_mostly,
            data_sectors: session.superblocks[index].as_ref().map_or(0, |block| block.data_size),
        })
    };
    let mut order: Vec<usize> = (0..status.members.len()).collect();
    let place = |index: &usize| {
        let member = &status.members[*index];
        match member.state {
            MemberState::InSync | MemberState::Rebuilding | MemberState::Replacing => {
                (0, member.slot.unwrap_or(u32::MAX))
            }
            _ => (1, member.dev_number),
        }
    };
    order.sort_by_key(place);
    let serves = |index: &usize| status.members[*index].state == MemberState::InSync;
    let newest = order.iter().copied().filter(serves).map(|i| status.members[i].events).max();
    let first = order
        .iter()
        .position(|index| serves(index) && Some(status.members[*index].events) == newest);
    let chosen = first.map(|position| order.remove(position));
    order.reverse();
    chosen.into_iter().chain(order).filter_map(fact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_called_after_their_arrays() {
        for (name, device) in
            [("", "md127"), ("0", "md0"), ("127", "md127"), ("demo", "md_demo"), ("a b", "md_a_b")]
        {
            assert_eq!(device_name(name), device);
        }
    }
}
