//! `holdfast detail`: the state of an array and of each member.
//!
//! The array is assembled for looking only. What it says: identity and shape, what is pending,
//! who serves which slot, who was left out and why, and what to do next.

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::layout::names;
use holdfast_raid::level::Level;
use holdfast_raid::status::{Health, MemberState, MemberStatus, Status};
use holdfast_raid::sync::Action;
use serde::Serialize;

use crate::config::Group;
use crate::exit::{Exit, Outcome};
use crate::members;
use crate::report::Report;
use crate::session::{Purpose, Session, serves};
use crate::{row, survival, table};

/// The answer. The keys are an interface: they are only ever added to.
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    uuid: String,
    name: String,
    level: &'static str,
    layout: Option<String>,
    layout_number: u32,
    chunk_bytes: u64,
    array_bytes: u64,
    member_data_bytes: u64,
    raid_devices: u32,
    state: String,
    events: u64,
    sync: Option<Sync>,
    members: Vec<Member>,
    missing_slots: Vec<u32>,
    losses_survivable: u32,
    bitmap: Option<Bitmap>,
    consistency_policy: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Sync {
    action: &'static str,
    done_bytes: u64,
    total_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Bitmap {
    chunk_bytes: u64,
    chunks_dirty: u64,
    chunks: u64,
}

#[derive(Debug, Serialize)]
struct Member {
    path: String,
    slot: Option<u32>,
    dev_number: Option<u32>,
    role: &'static str,
    state: &'static str,
    events: u64,
    data_offset_bytes: u64,
    recovery_offset_bytes: Option<u64>,
    device_uuid: String,
    why: Option<String>,
    write_mostly: bool,
    corrected_reads: u32,
    bad_bytes: u64,
    locked_by: Option<String>,
}

/// Shows the array.
pub(super) fn run(group: &Group, report: &Report) -> Outcome {
    let session = Session::open(group, Purpose::Look, report)?;
    let detail = say(&session, report);
    for locked in detail.members.iter().filter_map(|member| member.locked_by.as_deref()) {
        report.note(format_args!("{locked}; what is shown may change at any moment"));
    }
    report.answer(&detail);
    Ok(exit(&session.status()))
}

/// The same of an array that is served here.
pub(super) fn tell(session: &Session, report: &Report) -> Exit {
    report.answer(&say(session, report));
    exit(&session.status())
}

fn say(session: &Session, report: &Report) -> Detail {
    let status = session.status();
    let detail = Detail::new(session, &status);
    for line in lines(session, &status, &detail) {
        report.line(line);
    }
    detail
}

/// The code of verbs that report.
pub(super) fn exit(status: &Status) -> Exit {
    match status.health {
        Health::Optimal => Exit::Good,
        Health::Degraded => Exit::Degraded,
        Health::Failed => Exit::Unusable,
    }
}

impl Detail {
    fn new(session: &Session, status: &Status) -> Self {
        let present = present(status);
        let missing_slots =
            (0..status.raid_disks).filter(|slot| !present[*slot as usize]).collect();
        let member = |(index, member)| Member::new(session, index, member);
        Self {
            uuid: status.uuid.to_string(),
            name: status.name.to_string(),
            level: status.level.name(),
            layout: layout_name(status),
            layout_number: status.layout,
            chunk_bytes: u64::from(status.chunk_sectors) * SECTOR_BYTES,
            array_bytes: status.array_sectors * SECTOR_BYTES,
            member_data_bytes: status.member_sectors * SECTOR_BYTES,
            raid_devices: status.raid_disks,
            state: state(status),
            events: status.events,
            sync: pending(status).map(|(action, done, total)| Sync {
                action: action.name(),
                done_bytes: done * SECTOR_BYTES,
                total_bytes: total * SECTOR_BYTES,
            }),
            members: status.members.iter().enumerate().map(member).collect(),
            missing_slots,
            losses_survivable: session
                .layout()
                .map_or(0, |layout| survival::tolerance(&layout, &present)),
            bitmap: status.bitmap.map(|bitmap| Bitmap {
                chunk_bytes: bitmap.chunk_bytes,
                chunks_dirty: bitmap.dirty,
                chunks: bitmap.total,
            }),
            consistency_policy: status.consistency_policy(),
        }
    }
}

impl Member {
    fn new(session: &Session, index: usize, member: &MemberStatus) -> Self {
        Self {
            path: session.path(index).display().to_string(),
            slot: member.slot,
            dev_number: (member.state != MemberState::Foreign).then_some(member.dev_number),
            role: role(member.state),
            state: state_word(member.state),
            events: member.events,
            data_offset_bytes: member.data_offset * SECTOR_BYTES,
            recovery_offset_bytes: member.recovery_offset.map(|sectors| sectors * SECTOR_BYTES),
            device_uuid: member.device_uuid.to_string(),
            why: member.why.clone(),
            write_mostly: member.write_mostly,
            corrected_reads: member.corrected_reads,
            bad_bytes: member.bad_sectors * SECTOR_BYTES,
            locked_by: members::held(session.path(index)),
        }
    }
}

/// What the array has the device for.
const fn role(state: MemberState) -> &'static str {
    match state {
        MemberState::InSync | MemberState::Rebuilding => "active",
        MemberState::Replacing => "replacement",
        MemberState::Spare => "spare",
        MemberState::Faulty => "faulty",
        MemberState::Stale | MemberState::Foreign => "none",
    }
}

/// What the device is doing.
pub(super) const fn state_word(state: MemberState) -> &'static str {
    match state {
        MemberState::InSync => "in-sync",
        MemberState::Rebuilding => "rebuilding",
        MemberState::Replacing => "replacing",
        MemberState::Spare => "spare",
        MemberState::Faulty => "faulty",
        MemberState::Stale => "stale",
        MemberState::Foreign => "foreign",
    }
}

/// The layout's name, where the level has layouts.
pub(super) fn layout_name(status: &Status) -> Option<String> {
    match status.level {
        Level::Linear | Level::Raid1 | Level::Raid4 => None,
        // md keeps a layout for raid0 only where members differ.
        Level::Raid0 if status.layout == 0 => None,
        level => names::name(level, status.layout),
    }
}

/// Which slots are served by a member in sync.
pub(super) fn present(status: &Status) -> Vec<bool> {
    let mut present = vec![false; status.raid_disks as usize];
    let in_sync = status.members.iter().filter(|member| member.state == MemberState::InSync);
    for slot in in_sync.filter_map(|member| member.slot) {
        if let Some(present) = present.get_mut(slot as usize) {
            *present = true;
        }
    }
    present
}

/// What runs or is due: action, sectors done, sectors in all.
pub(super) fn pending(status: &Status) -> Option<(Action, u64, u64)> {
    if let Some(sync) = status.sync {
        return Some((sync.action, sync.done_sectors, sync.total_sectors));
    }
    if let Some(from) = status.resync_from {
        let total = match status.level {
            Level::Raid10 => status.array_sectors,
            _ => status.member_sectors,
        };
        return Some((Action::Resync, from.min(total), total));
    }
    let filled =
        |m: &&MemberStatus| matches!(m.state, MemberState::Rebuilding | MemberState::Replacing);
    let filled = status.members.iter().filter(filled);
    let done = filled.map(|member| member.recovery_offset.unwrap_or(0)).min()?;
    Some((Action::Recover, done, status.member_sectors))
}

/// mdadm's words: `clean, degraded, recovering`.
pub(crate) fn state(status: &Status) -> String {
    let clean = status.clean && status.resync_from.is_none();
    let mut words = vec![if clean { "clean" } else { "active" }];
    match status.health {
        Health::Optimal => {}
        Health::Degraded => words.push("degraded"),
        Health::Failed => words.push("FAILED"),
    }
    match pending(status) {
        Some((Action::Resync, ..)) if status.sync.is_none() => words.push("resync pending"),
        Some((Action::Recover, ..)) if status.sync.is_none() => words.push("recovery pending"),
        Some((action, ..)) => words.push(action.name()),
        None => {}
    }
    words.join(", ")
}

fn lines(session: &Session, status: &Status, detail: &Detail) -> Vec<String> {
    let name = status.name.to_string();
    let mut rows = vec![
        row!["array:", if name.is_empty() { "(unnamed)" } else { name.as_str() }],
        row!["uuid:", status.uuid],
        row!["level:", shape(status)],
        row!["size:", size(status)],
        row!["state:", format!("{}, events {}", detail.state, status.events)],
    ];
    if let Some((action, done, total)) = pending(status) {
        let (done, total) = (Human(done * SECTOR_BYTES), Human(total * SECTOR_BYTES));
        rows.push(row!["pending:", format!("{action}, {done} of {total} done")]);
    }
    if let Some(bitmap) = &detail.bitmap {
        let (dirty, all, chunk) = (bitmap.chunks_dirty, bitmap.chunks, Human(bitmap.chunk_bytes));
        rows.push(row!["bitmap:", format!("{dirty} of {all} chunks of {chunk} marked")]);
    }
    if let Some(policy) = detail.consistency_policy {
        rows.push(row!["policy:", policy]);
    }
    rows.push(row!["losses:", losses(status, detail.losses_survivable)]);
    let mut lines = table::lay_out(&rows);
    lines.push(String::new());
    lines.extend(table::lay_out(&member_rows(session, status)));
    if let Some(next) = next(status) {
        lines.extend([String::new(), format!("next: {next}")]);
    }
    lines
}

/// `raid5 left-symmetric, 4 slots, 64 KiB chunks`.
pub(super) fn shape(status: &Status) -> String {
    let mut text = status.level.name().to_owned();
    if let Some(layout) = layout_name(status) {
        text.push_str(&format!(" {layout}"));
    }
    text.push_str(&format!(", {} slots", status.raid_disks));
    if status.chunk_sectors > 0 {
        let chunk = Human(u64::from(status.chunk_sectors) * SECTOR_BYTES);
        text.push_str(&format!(", {chunk} chunks"));
    }
    text
}

fn size(status: &Status) -> String {
    let bytes = status.array_sectors * SECTOR_BYTES;
    match status.member_sectors {
        0 => format!("{} ({bytes} bytes)", Human(bytes)),
        sectors => {
            let each = Human(sectors * SECTOR_BYTES);
            format!("{} ({bytes} bytes), {each} of each member", Human(bytes))
        }
    }
}

/// What a further loss would mean.
pub(super) fn losses(status: &Status, survivable: u32) -> String {
    match (status.health, survivable) {
        (Health::Failed, _) => "more is lost already than the array bears".to_owned(),
        (_, 0) => "the loss of any one more member may be fatal".to_owned(),
        (_, 1) => "any one more member may be lost".to_owned(),
        (_, n) => format!("any {n} more members may be lost"),
    }
}

/// A row per slot, then the others.
pub(super) fn member_rows(session: &Session, status: &Status) -> Vec<Vec<String>> {
    let mut rows = vec![row!["slot", "member", "events", "state"]];
    let present: Vec<(usize, &MemberStatus)> = status.members.iter().enumerate().collect();
    let active = |m: &MemberStatus| serves(m.state) || m.state == MemberState::Replacing;
    for slot in 0..status.raid_disks {
        let holders =
            present.iter().filter(|(_, member)| active(member) && member.slot == Some(slot));
        let before = rows.len();
        rows.extend(holders.map(|(index, member)| member_row(session, status, *index, member)));
        if rows.len() == before {
            rows.push(row![slot, "-", "", "missing"]);
        }
    }
    let others = present.iter().filter(|(_, member)| !active(member));
    rows.extend(others.map(|(index, member)| member_row(session, status, *index, member)));
    rows
}

fn member_row(session: &Session, status: &Status, index: usize, m: &MemberStatus) -> Vec<String> {
    let holds = serves(m.state) || m.state == MemberState::Replacing;
    let slot = m.slot.filter(|_| holds).map(|slot| slot.to_string());
    let mut state = match (m.state, m.recovery_offset) {
        (MemberState::Rebuilding | MemberState::Replacing, done) => {
            let done = Human(done.unwrap_or(0) * SECTOR_BYTES);
            let total = Human(status.member_sectors * SECTOR_BYTES);
            format!("{}, {done} of {total} done", state_word(m.state))
        }
        (state, _) => state_word(state).replace('-', " "),
    };
    if m.write_mostly {
        state.push_str(", write-mostly");
    }
    if m.bad_sectors > 0 {
        state.push_str(&format!(", {} sectors in its bad-block log", m.bad_sectors));
    }
    if let Some(why) = &m.why {
        state.push_str(&format!(": {why}"));
    }
    let slot = slot.unwrap_or_else(|| "-".to_owned());
    let events = if m.state == MemberState::Foreign { String::new() } else { m.events.to_string() };
    row![slot, session.path(index).display(), events, state]
}

/// What to do next, if something should be done.
pub(crate) fn next(status: &Status) -> Option<String> {
    let has = |state| status.members.iter().any(|member| member.state == state);
    Some(match status.health {
        Health::Failed => "find the missing members, or go on without what is lost: --force takes \
                           members that lag behind"
            .to_owned(),
        _ if pending(status).is_some() => "holdfast rebuild finishes what is pending".to_owned(),
        Health::Degraded if has(MemberState::Spare) => {
            "holdfast rebuild recovers onto the spare".to_owned()
        }
        Health::Degraded => {
            "holdfast add --member NEW gives the array a device to rebuild onto".to_owned()
        }
        Health::Optimal => return None,
    })
}
