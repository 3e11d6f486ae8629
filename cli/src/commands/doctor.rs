//! `holdfast doctor`: what is the matter, what each way out would cost, what to do next.
//!
//! Reads metadata only. For every array among the members: who is current and why; what using an
//! out-of-date member would put at risk, bounded by the bitmap where there is one; why Linux, from
//! which version to which, would refuse a member; and one command to run next. `--fix` makes those
//! changes to superblocks that take a reason of Linux's away and lose nothing.

use std::path::{Path, PathBuf};

use holdfast_core::block::BlockDevice;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::member::Access;
use holdfast_raid::assembly::{AssembleError, Options, assemble};
use holdfast_raid::config::Config;
use holdfast_raid::doctor::{Bound, Diagnosis, Fix, Forcing, diagnose, objections};
use holdfast_raid::scan::{Probe, scan};
use holdfast_raid::superblock::examine::level_name;
use holdfast_raid::superblock::{Resync, Superblock, Timestamp, Verdict};
use serde::Serialize;

use crate::config::Doctor;
use crate::disk::Disk;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{Member, World};
use crate::metadata;
use crate::overlay::{self, Use};
use crate::report::{Report, confirm};
use crate::undo::Undo;
use crate::{row, table};

#[derive(Debug, Serialize)]
struct Answer {
    arrays: Vec<Array>,
    /// Devices that are members of nothing, and why.
    others: Vec<Finding>,
    dry_run: bool,
    fixed: Vec<Fixed>,
}

#[derive(Debug, Serialize)]
struct Array {
    uuid: String,
    name: String,
    level: &'static str,
    raid_devices: u32,
    events: u64,
    state: &'static str,
    why: Option<String>,
    missing_slots: Vec<u32>,
    /// Of an array that was not stopped cleanly and lacks members: bytes that may be wrong.
    at_risk_bytes: Option<u64>,
    members: Vec<Judged>,
    forcing: Vec<Risk>,
    linux: Vec<Refusal>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Judged {
    path: String,
    slot: Option<u32>,
    events: u64,
    behind: u64,
    update_time_seconds: u64,
    verdict: String,
}

#[derive(Debug, Serialize)]
struct Risk {
    path: String,
    slot: u16,
    missed_updates: u64,
    member_bytes: u64,
    array_bytes: u64,
    /// Regions the bitmap marks, if it can tell.
    regions: Option<u64>,
    bound: String,
    makes_it_start: bool,
}

#[derive(Debug, Serialize)]
struct Refusal {
    path: String,
    versions: String,
    why: String,
    fix: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Finding {
    path: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Fixed {
    path: String,
    what: &'static str,
}

/// Looks, tells, and mends what it may.
pub(super) fn run(config: &Doctor, report: &Report) -> Outcome {
    let mut world = World::new()?;
    let writes = config.fix && !config.caution.dry_run;
    let spares = config.way.overlay.is_some();
    let access = match (writes, spares) {
        (true, false) => Access::Write,
        (true, true) => Access::Steady,
        (false, _) => Access::Read,
    };
    let mut opened: Vec<Member> = Vec::new();
    for path in &config.members {
        opened.extend(world.open_all(path, access, report)?);
    }
    if spares {
        let using = if writes { Use::Change } else { Use::Look };
        opened = overlay::put_over(opened, &config.way, None, using, &mut world, report)?;
    }
    let (names, mut disks): (Vec<PathBuf>, Vec<Disk>) =
        opened.into_iter().map(|member| (member.path, member.disk)).unzip();
    let probes = scan(&mut disks, &mut world.clock);
    let sets = sets(&probes);
    let arrays: Vec<Array> =
        sets.iter().map(|set| array(&diagnose(&probes, set), &probes, &names)).collect();
    arrays.iter().flat_map(lines).for_each(|line| report.line(line));
    let others: Vec<Finding> = names.iter().zip(&probes).filter_map(stranger).collect();
    for Finding { path, why } in &others {
        report.line(format_args!("{path}: {why}"));
    }
    if arrays.is_empty() {
        let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
        report.line(format_args!("next: holdfast recover search {}", names.join(" ")));
    }
    let exit = arrays.iter().map(|array| exit_of(array.state)).max_by_key(|exit| exit.code());
    let fixed = if config.fix {
        fix(config, &names, &mut disks, &probes, &mut world, report)?
    } else {
        Vec::new()
    };
    let dry_run = config.caution.dry_run;
    report.answer(&Answer { arrays, others, dry_run, fixed });
    Ok(exit.unwrap_or(Exit::Unusable))
}

fn exit_of(state: &str) -> Exit {
    match state {
        "good" => Exit::Good,
        "degraded" => Exit::Degraded,
        _ => Exit::Unusable,
    }
}

/// The probes of each array, in order of first appearance.
fn sets(probes: &[Probe]) -> Vec<Vec<usize>> {
    let mut sets: Vec<(_, Vec<usize>)> = Vec::new();
    for (index, probe) in probes.iter().enumerate() {
        let Ok(block) = &probe.superblock else { continue };
        match sets.iter_mut().find(|(uuid, _)| *uuid == block.set_uuid) {
            Some((_, set)) => set.push(index),
            None => sets.push((block.set_uuid, vec![index])),
        }
    }
    sets.into_iter().map(|(_, set)| set).collect()
}

fn stranger((name, probe): (&PathBuf, &Probe)) -> Option<Finding> {
    let why = probe.superblock.as_ref().err()?.to_string();
    Some(Finding { path: name.display().to_string(), why })
}

/// The superblock of a member of a set.
fn block(probes: &[Probe], index: usize) -> &Superblock {
    probes[index].superblock.as_ref().expect("members of a set have one")
}

fn array(found: &Diagnosis, probes: &[Probe], names: &[PathBuf]) -> Array {
    let freshest = found.choice.as_ref().map_or(0, |choice| choice.freshest);
    let speaker = block(probes, found.members[freshest]);
    let (state, why, at_risk_bytes) = state(found, probes, speaker);
    let members = judged(found, probes, names, speaker.events);
    let risk = |forcing: &Forcing| Risk {
        path: names[forcing.probe].display().to_string(),
        slot: forcing.slot,
        missed_updates: forcing.behind,
        member_bytes: forcing.member_bytes,
        array_bytes: forcing.array_bytes,
        regions: match forcing.bound {
            Bound::Bitmap { regions, .. } => Some(regions),
            _ => None,
        },
        bound: bound(forcing),
        makes_it_start: forcing.helps,
    };
    let linux = found.members.iter().flat_map(|index| {
        let path = names[*index].display().to_string();
        objections(&probes[*index]).into_iter().map(move |objection| Refusal {
            path: path.clone(),
            versions: objection.versions.to_string(),
            why: objection.why,
            fix: objection.fix.map(Fix::sentence),
        })
    });
    let next = next(found, probes, names, speaker, state);
    Array {
        uuid: speaker.set_uuid.to_string(),
        name: speaker.name.to_string(),
        level: level_name(speaker.level_number),
        raid_devices: speaker.raid_disks,
        events: speaker.events,
        state,
        why,
        missing_slots: found.missing.clone(),
        at_risk_bytes,
        members,
        forcing: found.forcings.iter().map(risk).collect(),
        linux: linux.collect(),
        next,
    }
}

/// Whether it starts; if not, why; and what is in doubt if it is made to.
fn state(
    found: &Diagnosis,
    probes: &[Probe],
    speaker: &Superblock,
) -> (&'static str, Option<String>, Option<u64>) {
    if let Err(error) = &found.choice {
        return ("unusable", Some(error.to_string()), None);
    }
    if let Some(reason) = speaker.refuses_writing() {
        let readable = if found.missing.is_empty() { "good" } else { "degraded" };
        let enough = found.choice.as_ref().is_ok_and(|choice| choice.enough);
        let state = if enough { readable } else { "unusable" };
        return (state, Some(format!("{reason}; holdfast does not write it")), None);
    }
    let own: Vec<Probe> = found.members.iter().map(|index| probes[*index].clone()).collect();
    let config = Config { read_only: true, ..Config::default() };
    match assemble(own, config, &Options::default()) {
        Ok(_) if found.missing.is_empty() => ("good", None, None),
        Ok(_) => ("degraded", None, None),
        Err(error) => {
            let risk = match error {
                AssembleError::DirtyDegraded { at_risk_bytes, .. } => Some(at_risk_bytes),
                _ => None,
            };
            ("unusable", Some(error.to_string()), risk)
        }
    }
}

fn judged(found: &Diagnosis, probes: &[Probe], names: &[PathBuf], newest: u64) -> Vec<Judged> {
    let judge = |(position, &index): (usize, &usize)| {
        let block = block(probes, index);
        let behind = newest.saturating_sub(block.events);
        let verdict = match &found.choice {
            Err(_) => "nobody can tell".to_owned(),
            Ok(choice) => {
                let speaks = position == choice.freshest;
                words(&choice.verdicts[position], speaks, behind, found, names)
            }
        };
        Judged {
            path: names[index].display().to_string(),
            slot: block.role().slot().map(u32::from),
            events: block.events,
            behind,
            update_time_seconds: block.utime.seconds(),
            verdict,
        }
    };
    let mut judged: Vec<Judged> = found.members.iter().enumerate().map(judge).collect();
    judged.sort_by_key(|member| (member.slot.is_none(), member.slot, member.behind));
    judged
}

/// A verdict with its reason.
fn words(
    verdict: &Verdict,
    speaks: bool,
    behind: u64,
    found: &Diagnosis,
    names: &[PathBuf],
) -> String {
    match verdict {
        Verdict::InSync { .. } | Verdict::Forced { .. } if speaks => {
            "fresh: the highest event count of all, and nobody equally fresh calls it gone".into()
        }
        Verdict::InSync { .. } | Verdict::Forced { .. } if behind == 0 => {
            "fresh: the same event count, and the table of the others lists it".into()
        }
        Verdict::InSync { .. } | Verdict::Forced { .. } => {
            "fresh: one event behind, which an update that was cut short leaves".into()
        }
        Verdict::Rebuilding { recovered_sectors, .. } => {
            format!("being rebuilt: {} done", Human(recovered_sectors * SECTOR_BYTES))
        }
        Verdict::Replacement { .. } => "a replacement for whoever holds the slot".into(),
        Verdict::Spare => "a spare: it holds nothing yet".into(),
        Verdict::Journal => "the write journal".into(),
        Verdict::Faulty => "marked faulty".into(),
        Verdict::DeclaredFaulty { .. } => {
            "out: the others have declared it faulty, though it still claims its slot".into()
        }
        Verdict::Stale { behind, .. } => format!("out of date: it missed {behind} updates"),
        Verdict::Diverged { behind, .. } => {
            format!("went on without the others: {behind} updates behind, and its own since")
        }
        Verdict::Stranger(why) => format!("not of this array: {why}"),
        Verdict::Duplicate { of } => {
            format!("a copy: {} speaks for it", names[found.members[*of]].display())
        }
    }
}

/// Why the bytes at risk are what they are.
fn bound(forcing: &Forcing) -> String {
    match forcing.bound {
        Bound::Bitmap { regions, of, region_bytes } => {
            format!("the bitmap marks {regions} of {of} regions of {}", Human(region_bytes))
        }
        Bound::NoBitmap => "no bitmap says what was written since: anything may be old".to_owned(),
        Bound::StaleBitmap => "the bitmap is older than the array and says nothing".to_owned(),
        Bound::LeftBefore { events, cleared } => format!(
            "it left at event {events}, and marks were cleared up to event {cleared}: anything may \
             be old"
        ),
    }
}

/// The one command to run next.
fn next(
    found: &Diagnosis,
    probes: &[Probe],
    names: &[PathBuf],
    speaker: &Superblock,
    state: &str,
) -> Option<String> {
    let list = |wanted: &dyn Fn(usize) -> bool| -> String {
        let chosen = (0..found.members.len()).filter(|position| wanted(*position));
        let names = chosen.map(|position| names[found.members[position]].display().to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let everybody = list(&|_| true);
    let Ok(choice) = &found.choice else {
        let first = names[found.members[0]].display();
        return Some(format!(
            "holdfast detail {first}  (then each other side alone: keep the one whose data is wanted)"
        ));
    };
    let verdict = |position: usize| &choice.verdicts[position];
    let ours = |position: usize| {
        !matches!(verdict(position), Verdict::Stranger(_) | Verdict::Duplicate { .. })
    };
    let members = list(&ours);
    if speaker.refuses_writing().is_some() {
        return Some(format!("holdfast read {everybody} --output FILE"));
    }
    match state {
        "good" if speaker.resync == Resync::Clean => None,
        "good" => Some(format!("holdfast rebuild {members}")),
        "degraded" => {
            let spare = (0..found.members.len())
                .any(|p| matches!(verdict(p), Verdict::Spare | Verdict::Rebuilding { .. }));
            let away = found.forcings.first().map(|forcing| forcing.probe);
            match (spare, away) {
                (true, _) => Some(format!("holdfast rebuild {members}")),
                (false, Some(away)) => {
                    let others = list(&|p| ours(p) && found.members[p] != away);
                    let away = names[away].display();
                    Some(format!("holdfast add --force --in-place --member {away} {others}"))
                }
                (false, None) => Some(format!("holdfast add --member NEW {members}")),
            }
        }
        _ if found.forcings.iter().any(|forcing| forcing.helps) || dirty(found, probes) => {
            Some(format!("holdfast read --force {members} --output FILE"))
        }
        _ => Some("holdfast examine --scan DIR  (the missing members may be there)".to_owned()),
    }
}

/// Whether force alone would start it: enough members, but not stopped cleanly.
fn dirty(found: &Diagnosis, probes: &[Probe]) -> bool {
    let own: Vec<Probe> = found.members.iter().map(|index| probes[*index].clone()).collect();
    let config = Config { read_only: true, ..Config::default() };
    assemble(own, config, &Options { force: true, set: None }).is_ok()
}

fn lines(array: &Array) -> Vec<String> {
    let name = if array.name.is_empty() { "(unnamed)" } else { &array.name };
    let (level, slots) = (array.level, array.raid_devices);
    let mut lines = vec![format!("array {name}  {}  {level}, {slots} slots", array.uuid)];
    let mut rows = vec![row!["  slot", "member", "events", "behind", "last update", "verdict"]];
    for member in &array.members {
        let slot = member.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let time = Timestamp::new(member.update_time_seconds, 0);
        rows.push(row![
            format!("  {slot}"),
            member.path,
            member.events,
            member.behind,
            format!("{:.24}", time.to_string()),
            member.verdict
        ]);
    }
    lines.extend(table::lay_out(&rows));
    for slot in &array.missing_slots {
        lines.push(format!("  slot {slot} has no current member"));
    }
    let state = match array.state {
        "good" => "  it starts",
        "degraded" => "  it starts, degraded",
        _ => "  it does not start",
    };
    let why = array.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    lines.push(format!("{state}{why}"));
    for risk in &array.forcing {
        let (path, of) = (&risk.path, Human(risk.member_bytes));
        let (array, bound) = (Human(risk.array_bytes), &risk.bound);
        let helps = if risk.makes_it_start { "" } else { " (not needed to start)" };
        lines.push(format!(
            "  forcing {path}{helps}: up to {of} of it may be old, {array} of the array: {bound}"
        ));
    }
    for refusal in &array.linux {
        let Refusal { path, versions, why, .. } = refusal;
        lines.push(format!("  {versions} refuses {path}: {why}"));
        if let Some(fix) = refusal.fix {
            lines.push(format!("    holdfast doctor --fix would {fix}"));
        }
    }
    lines.push(match &array.next {
        Some(next) => format!("next: {next}"),
        None => "nothing to do".to_owned(),
    });
    lines.push(String::new());
    lines
}

/// Makes the changes that lose nothing.
fn fix(
    config: &Doctor,
    names: &[PathBuf],
    disks: &mut [Disk],
    probes: &[Probe],
    world: &mut World,
    report: &Report,
) -> Result<Vec<Fixed>, Failure> {
    let mut wanted: Vec<(usize, Superblock, Vec<Fix>)> = Vec::new();
    for (index, probe) in probes.iter().enumerate() {
        let Ok(block) = &probe.superblock else { continue };
        let mut block = block.clone();
        let fixes: Vec<Fix> = objections(probe)
            .into_iter()
            .filter_map(|objection| objection.fix)
            .filter(|fix| fix.apply(&mut block))
            .collect();
        if !fixes.is_empty() {
            wanted.push((index, block, fixes));
        }
    }
    let dry_run = config.caution.dry_run;
    if wanted.is_empty() {
        report.line("nothing to fix");
        return Ok(Vec::new());
    }
    if !dry_run {
        confirm("Change the superblocks of these members?", config.caution.yes)?;
    }
    let devices = disks.iter_mut().enumerate().filter_map(|(index, disk)| {
        let concerned = wanted.iter().any(|(other, ..)| *other == index);
        let places = metadata::places(disk.geometry().sectors);
        concerned.then(|| (names[index].as_path(), disk, places))
    });
    let undo = match dry_run || config.way.overlay.is_some() {
        true => None,
        false => Undo::begin(&config.undo, devices, &mut world.clock)?,
    };
    let mut fixed = Vec::new();
    for (index, block, fixes) in &wanted {
        if !dry_run {
            put(&names[*index], &mut disks[*index], block, world)?;
        }
        for fix in fixes {
            let path = names[*index].display().to_string();
            let done = if dry_run { "would" } else { "done:" };
            report.line(format_args!("{path}: {done} {}", fix.sentence()));
            fixed.push(Fixed { path, what: fix.sentence() });
        }
    }
    if let Some(undo) = undo {
        undo.finish(report);
    }
    Ok(fixed)
}

/// Writes one superblock, durably.
fn put(name: &Path, disk: &mut Disk, block: &Superblock, world: &mut World) -> Result<(), Failure> {
    let unit = disk.geometry().block_bytes as usize;
    let mut bytes = block.emit();
    // A block larger than the superblock keeps what follows it.
    let whole = bytes.len().next_multiple_of(unit);
    let sectors = block.super_offset..block.super_offset + (whole as u64) / SECTOR_BYTES;
    let before = metadata::read(disk, &mut world.clock, sectors)
        .map_err(|fault| metadata::unreadable(name, fault))?;
    bytes.extend_from_slice(&before[bytes.len()..]);
    metadata::write(disk, &mut world.clock, block.super_offset, &bytes)
        .and_then(|()| metadata::flush(disk, &mut world.clock))
        .map_err(|fault| Failure::error(format!("{}: {fault}", name.display())))
}
