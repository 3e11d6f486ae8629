//! `holdfast examine`: what the members' superblocks say.
//!
//! Nothing is assembled and nothing is locked: every device is asked on its own, then sets that
//! share a uuid are shown together, current members first. With `--verbose` each superblock is
//! printed in mdadm's own lines instead. What cannot be opened is named and the rest still shown.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::member::Access;
use holdfast_raid::layout::names;
use holdfast_raid::level::Level;
use holdfast_raid::ppl::Found;
use holdfast_raid::scan::{Probe, scan};
use holdfast_raid::superblock::examine::{examine_text, level_name};
use holdfast_raid::superblock::examine_v090::examine_v090_text;
use holdfast_raid::superblock::geometry::array_sectors;
use holdfast_raid::superblock::{Choice, Log, Resync, Role, Superblock, Verdict, choose, group};
use serde::Serialize;

use crate::config::Examine;
use crate::disk::Disk;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{self, World};
use crate::overlay::{self, Use, Way};
use crate::report::Report;
use crate::{row, table};

#[derive(Debug, Serialize)]
struct Answer {
    arrays: Vec<Array>,
    others: Vec<Other>,
}

#[derive(Debug, Serialize)]
struct Array {
    uuid: String,
    name: String,
    level: &'static str,
    layout: Option<String>,
    layout_number: u32,
    chunk_bytes: u64,
    array_bytes: u64,
    raid_devices: u32,
    metadata: String,
    events: u64,
    clean: bool,
    array_state: String,
    state: &'static str,
    why: Option<&'static str>,
    consistency_policy: Option<&'static str>,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    path: String,
    slot: Option<u32>,
    dev_number: u32,
    events: u64,
    state: &'static str,
    why: Option<String>,
    device_uuid: String,
    super_offset_bytes: u64,
    data_offset_bytes: u64,
    data_bytes: u64,
    recovery_offset_bytes: Option<u64>,
    update_time_seconds: u64,
    locked_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct Other {
    path: String,
    why: String,
}

/// A device that was asked.
struct Asked {
    path: PathBuf,
    probe: Probe,
}

impl Asked {
    /// Whether, by its partial parity log, an unclean stop leaves no doubt about its stripes.
    const fn tells_what_was_in_flight(&self) -> bool {
        matches!(self.probe.ppl, Some(Ok(Found::Log(_) | Found::Torn)))
    }
}

/// Shows what the superblocks say.
pub(super) fn run(config: &Examine, report: &Report) -> Outcome {
    let mut unopened = false;
    let way = Way { overlay: config.overlay.clone(), in_place: true };
    let mut asked = ask(&config.members, &way, report, |failure| {
        report.note(&failure);
        unopened = true;
    })?;
    for directory in &config.scan {
        let found = ask(&files_in(directory)?, &way, report, |_| ())?;
        asked.extend(found.into_iter().filter(|asked| asked.probe.superblock.is_ok()));
    }
    let exit = if config.bad_blocks {
        bad_blocks(&asked, report)
    } else if config.verbose && !report.is_json() {
        verbose(&asked, report)
    } else {
        summaries(&asked, report)
    };
    if unopened { Ok(Exit::Error) } else { Ok(exit) }
}

/// Reads the metadata of each device that opens; the others are handed to `refused`.
fn ask(
    paths: &[PathBuf],
    way: &Way,
    report: &Report,
    mut refused: impl FnMut(Failure),
) -> Result<Vec<Asked>, Failure> {
    let mut world = World::new()?;
    let mut members = Vec::new();
    for path in paths {
        match world.open_all(path, Access::Read, report) {
            Ok(opened) => members.extend(opened),
            Err(failure) => refused(failure),
        }
    }
    if way.overlay.is_some() {
        members = overlay::put_over(members, way, None, Use::Look, &mut world, report)?;
    }
    let (names, mut disks): (Vec<PathBuf>, Vec<Disk>) =
        members.into_iter().map(|member| (member.path, member.disk)).unzip();
    let probes = scan(&mut disks, &mut world.clock);
    Ok(names.into_iter().zip(probes).map(|(path, probe)| Asked { path, probe }).collect())
}

/// The entries of a directory that may be members, by name.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::error(format!("--scan {}: {error}", directory.display()));
    let mut paths = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[derive(Debug, Serialize)]
struct BadBlocksAnswer {
    members: Vec<BadBlocksOf>,
}

#[derive(Debug, Serialize)]
struct BadBlocksOf {
    path: String,
    /// None where there is no log, or none that can be read.
    log: Option<LogAnswer>,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct LogAnswer {
    entries: usize,
    empty_entries: usize,
    bad_sectors: u64,
    /// Counted from the start of the device, in sectors.
    ranges: Vec<RangeAnswer>,
}

#[derive(Debug, Serialize)]
struct RangeAnswer {
    sector: u64,
    sectors: u64,
    /// Whether it lies where the member's data is.
    in_data: bool,
}

/// The bad-block logs, in mdadm's words where it has some.
fn bad_blocks(asked: &[Asked], report: &Report) -> Exit {
    let mut exit = Exit::Good;
    let mut members = Vec::new();
    for Asked { path, probe } in asked {
        let name = path.display().to_string();
        let (log, why) = match (&probe.superblock, &probe.bad_blocks) {
            (Err(error), _) => (None, Some(error.to_string())),
            (Ok(_), Some(Err(problem))) => (None, Some(problem.to_string())),
            (Ok(superblock), Some(Ok(log))) => {
                let odd = (!log.flaws.is_sound()).then(|| log.flaws.to_string());
                (Some(log_answer(superblock, log)), odd)
            }
            (Ok(superblock), None) if superblock.bad_blocks.is_some() => {
                (Some(log_answer(superblock, &Log::default())), None)
            }
            (Ok(_), None) => (None, Some("no bad-block log".to_owned())),
        };
        match &log {
            None => {
                exit =
                    worse(exit, if probe.superblock.is_ok() { Exit::Good } else { Exit::Unusable })
            }
            Some(log) if log.ranges.is_empty() => {
                report.line(format_args!("Bad-blocks list is empty in {name}"));
            }
            Some(log) => {
                report.line(format_args!("Bad-blocks on {name}:"));
                for range in &log.ranges {
                    let RangeAnswer { sector, sectors, .. } = range;
                    report.line(format_args!("{sector:>20} for {sectors} sectors"));
                }
            }
        }
        if let Some(why) = &why {
            report.note(format_args!("{name}: {why}"));
        }
        members.push(BadBlocksOf { path: name, log, why });
    }
    report.answer(&BadBlocksAnswer { members });
    exit
}

fn log_answer(superblock: &Superblock, log: &Log) -> LogAnswer {
    let data =
        superblock.data_offset..superblock.data_offset.saturating_add(superblock.used_sectors());
    let range = |range: std::ops::Range<u64>| RangeAnswer {
        sector: range.start,
        sectors: range.end - range.start,
        in_data: range.start < data.end && data.start < range.end,
    };
    LogAnswer {
        entries: log.flaws.entries,
        empty_entries: log.flaws.empty,
        bad_sectors: log.bad.sectors(),
        ranges: log.bad.iter().map(range).collect(),
    }
}

fn verbose(asked: &[Asked], report: &Report) -> Exit {
    let mut exit = Exit::Good;
    for Asked { path, probe } in asked {
        match &probe.superblock {
            Ok(superblock) => {
                let header = match &probe.bitmap {
                    Some(Ok(bitmap)) => Some(&bitmap.header),
                    _ => None,
                };
                let sectors = probe.geometry.sectors;
                let name = path.display().to_string();
                let text = examine_v090_text(&name, superblock)
                    .unwrap_or_else(|| examine_text(&name, superblock, sectors, header));
                report.line(text.strip_suffix('\n').unwrap_or(&text));
            }
            Err(error) => {
                report.note(format_args!("{}: {error}", path.display()));
                exit = Exit::Unusable;
            }
        }
        if let Some(held) = members::held(path) {
            report.note(held);
        }
    }
    exit
}

fn summaries(asked: &[Asked], report: &Report) -> Exit {
    let (members, others): (Vec<&Asked>, Vec<&Asked>) =
        asked.iter().partition(|asked| asked.probe.superblock.is_ok());
    let superblocks: Vec<Superblock> =
        members.iter().filter_map(|asked| asked.probe.superblock.as_ref().ok().cloned()).collect();
    let mut exit = if superblocks.is_empty() { Exit::Unusable } else { Exit::Good };
    let mut arrays = Vec::new();
    for set in group(&superblocks) {
        let blocks: Vec<Superblock> = set.iter().map(|index| superblocks[*index].clone()).collect();
        let paths: Vec<&Path> = set.iter().map(|index| members[*index].path.as_path()).collect();
        let silent = set.iter().any(|index| !members[*index].tells_what_was_in_flight());
        let array = summary(&blocks, &paths, silent);
        array_lines(&array).into_iter().for_each(|line| report.line(line));
        let holders = array.members.iter().filter_map(|member| member.locked_by.as_ref());
        holders.for_each(|held| report.note(held));
        exit = worse(exit, array_exit(array.state));
        arrays.push(array);
    }
    let others: Vec<Other> = others
        .into_iter()
        .map(|Asked { path, probe }| Other {
            path: path.display().to_string(),
            why: probe.superblock.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        })
        .collect();
    for other in &others {
        report.line(format_args!("{}: {}", other.path, other.why));
    }
    report.answer(&Answer { arrays, others });
    exit
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one.code() >= other.code() { one } else { other }
}

fn array_exit(state: &str) -> Exit {
    match state {
        "good" => Exit::Good,
        "degraded" => Exit::Degraded,
        _ => Exit::Unusable,
    }
}

/// One set that shares a uuid.
fn summary(blocks: &[Superblock], paths: &[&Path], silent: bool) -> Array {
    let choice = choose(blocks, false);
    let freshest = choice.as_ref().map_or(0, |choice| choice.freshest);
    let block = &blocks[freshest];
    let doubt = choice.as_ref().ok().and_then(|choice| parity_in_doubt(block, choice));
    let doubt = doubt.filter(|_| silent || block.ppl.is_none());
    let state = match &choice {
        Err(_) => "unusable",
        Ok(choice) if !choice.enough || doubt.is_some() => "unusable",
        Ok(choice) if serving(choice).len() < block.raid_disks as usize => "degraded",
        Ok(_) => "good",
    };
    let mut members: Vec<Member> = blocks
        .iter()
        .zip(paths)
        .enumerate()
        .map(|(index, (block, path))| {
            let (state, why) = match &choice {
                Ok(choice) => verdict(&choice.verdicts[index], paths),
                Err(error) => ("unknown", Some(error.to_string())),
            };
            member(block, path, state, why)
        })
        .collect();
    members.sort_by_key(|member| (member.slot.is_none(), member.slot, member.state == "stale"));
    let data_sizes = data_sizes(blocks, choice.as_ref().ok());
    Array {
        uuid: block.set_uuid.to_string(),
        name: block.name.to_string(),
        level: level_name(block.level_number),
        layout: layout_name(block),
        layout_number: block.layout,
        chunk_bytes: u64::from(block.chunk_sectors) * SECTOR_BYTES,
        array_bytes: block.level().map_or(0, |level| {
            let (layout, chunk, slots) = (block.layout, block.chunk_sectors, block.raid_disks);
            array_sectors(level, layout, chunk, slots, block.size, &data_sizes) * SECTOR_BYTES
        }),
        raid_devices: block.raid_disks,
        metadata: block.minor.to_string(),
        events: block.events,
        clean: block.resync == Resync::Clean,
        array_state: array_state(block),
        state,
        why: doubt,
        consistency_policy: policy(block),
        members,
    }
}

/// md's word for how redundancy stays true over an unclean stop; none where there is none.
fn policy(block: &Superblock) -> Option<&'static str> {
    let redundant = block.level().is_some_and(Level::is_redundant);
    match () {
        () if !redundant => None,
        () if block.ppl.is_some() => Some("ppl"),
        () if block.bitmap_offset.is_some() => Some("bitmap"),
        () => Some("resync"),
    }
}

/// Why parity cannot stand in for a missing member, if it cannot: the start needs force.
fn parity_in_doubt(block: &Superblock, choice: &Choice) -> Option<&'static str> {
    let level = block.level().filter(|level| level.has_parity())?;
    let served = serving(choice);
    let mut missing = (0..block.raid_disks).filter(|slot| !served.contains(slot));
    let first = missing.next()?;
    // RAID4 without its parity member has all its data.
    let last = block.raid_disks - 1;
    let only_parity = level == Level::Raid4 && first == last;
    (choice.enough && block.resync != Resync::Clean && !only_parity).then_some(
        "not stopped cleanly and a member is missing: what is recovered from parity may be wrong, \
         only --force starts it",
    )
}

/// Slots whose data somebody serves in full.
fn serving(choice: &Choice) -> BTreeSet<u32> {
    choice.verdicts.iter().filter_map(Verdict::serving_slot).map(u32::from).collect()
}

/// What each serving member contributes: raid0 and linear use all of it.
fn data_sizes(blocks: &[Superblock], choice: Option<&Choice>) -> Vec<u64> {
    let Some(choice) = choice else { return Vec::new() };
    let serves = |index: &usize| choice.verdicts[*index].serving_slot().is_some();
    (0..blocks.len()).filter(serves).map(|index| blocks[index].data_size).collect()
}

fn layout_name(block: &Superblock) -> Option<String> {
    match block.level()? {
        Level::Linear | Level::Raid1 | Level::Raid4 => None,
        Level::Raid0 => block.raid0_layout().and_then(|layout| names::name(Level::Raid0, layout)),
        level => names::name(level, block.layout),
    }
}

/// mdadm's letters: `AA.R`.
fn array_state(block: &Superblock) -> String {
    let letter = |slot: u32| {
        let active = |role: &&Role| role.slot().map(u32::from) == Some(slot);
        match block.roles.iter().filter(active).count() {
            0 => '.',
            1 => 'A',
            _ => 'R',
        }
    };
    (0..block.raid_disks).map(letter).collect()
}

fn member(block: &Superblock, path: &Path, state: &'static str, why: Option<String>) -> Member {
    let slot = match state {
        "active" | "rebuilding" | "replacement" => block.role().slot().map(u32::from),
        _ => None,
    };
    Member {
        path: path.display().to_string(),
        slot,
        dev_number: block.dev_number,
        events: block.events,
        state,
        why,
        device_uuid: block.device_uuid.to_string(),
        super_offset_bytes: block.super_offset * SECTOR_BYTES,
        data_offset_bytes: block.data_offset * SECTOR_BYTES,
        data_bytes: block.data_size * SECTOR_BYTES,
        recovery_offset_bytes: block.recovery_offset.map(|sectors| sectors * SECTOR_BYTES),
        update_time_seconds: block.utime.seconds(),
        locked_by: members::held(path),
    }
}

/// A verdict as a word and a reason.
fn verdict(verdict: &Verdict, paths: &[&Path]) -> (&'static str, Option<String>) {
    let missed = |behind: &u64| format!("missed {behind} updates");
    match verdict {
        Verdict::InSync { .. } | Verdict::Forced { .. } => ("active", None),
        Verdict::Rebuilding { recovered_sectors, .. } => {
            let done = Human(recovered_sectors * SECTOR_BYTES);
            ("rebuilding", Some(format!("{done} done")))
        }
        Verdict::Replacement { .. } => ("replacement", None),
        Verdict::Spare => ("spare", None),
        Verdict::Journal => ("journal", None),
        Verdict::Faulty => ("faulty", None),
        Verdict::DeclaredFaulty { slot } => {
            ("faulty", Some(format!("declared faulty by the others; still claims slot {slot}")))
        }
        Verdict::Stale { behind, .. } => ("stale", Some(missed(behind))),
        Verdict::Diverged { behind, .. } => {
            ("stale", Some(format!("{}, and went on alone meanwhile", missed(behind))))
        }
        Verdict::Stranger(why) => ("stranger", Some(why.to_string())),
        Verdict::Duplicate { of } => {
            ("duplicate", Some(format!("{} speaks for it", paths[*of].display())))
        }
    }
}

/// The lines for people, as administrators read them: one block per set.
fn array_lines(array: &Array) -> Vec<String> {
    let mut shape = array.level.to_owned();
    if let Some(layout) = &array.layout {
        shape.push_str(&format!(" {layout}"));
    }
    if array.chunk_bytes > 0 {
        shape.push_str(&format!(", {} chunks", Human(array.chunk_bytes)));
    }
    let name = if array.name.is_empty() { "(unnamed)" } else { &array.name };
    let mut lines =
        vec![format!("array {name}  {}  {shape}, {}", array.uuid, Human(array.array_bytes))];
    let mut rows = vec![row!["  slot", "member", "events", "state"]];
    for member in &array.members {
        let slot = member.slot.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
        let why = member.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let locked = member.locked_by.as_ref().map_or("", |_| " (locked)");
        rows.push(row![
            format!("  {slot}"),
            member.path,
            member.events,
            format!("{}{locked}{why}", member.state)
        ]);
    }
    lines.extend(table::lay_out(&rows));
    let clean = match array.consistency_policy {
        _ if array.clean => "clean",
        Some("ppl") => "not clean: what its log covers is made good at the start",
        _ => "not clean: a resync is pending",
    };
    let usable = match array.state {
        "good" => "usable",
        "degraded" => "usable, degraded",
        _ => "not usable with these members",
    };
    lines.push(format!("  array state: {}   {clean}   {usable}", array.array_state));
    lines.extend(array.why.map(|why| format!("  {why}")));
    lines.push(String::new());
    lines
}
