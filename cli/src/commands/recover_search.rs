//! `holdfast recover search`: the array that members without superblocks once were.
//!
//! The members are mapped read-only and handed to the library, which does the looking. What comes
//! back is told in three parts: what is certain whatever the order, the candidates, and what the
//! bytes leave open. With `--output` the array is read as the first candidate has it, if there is
//! a first.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::image::Image;
use holdfast_host::member::Access;
use holdfast_raid::layout::names;
use holdfast_raid::level::Level;
use holdfast_raid::recover::{Candidate, Findings, Known, Reader, Verdict, search};
use serde::Serialize;

use super::read::{Sink, is_twin};
use crate::config::{self, Stream as End};
use crate::exit::{Exit, Failure, Outcome};
use crate::export;
use crate::members::{World, file_name, open_failure};
use crate::progress::Progress;
use crate::report::Report;
use crate::row;
use crate::table;

/// The array is read this much at a time.
const PIECE_SECTORS: u64 = 2048;

#[derive(Debug, Serialize)]
struct Answer {
    /// `first`, `first_by_convention`, `equal` or `nothing`.
    verdict: &'static str,
    geometries: u64,
    seconds: f64,
    known: Vec<String>,
    candidates: Vec<Shown>,
    /// What remains equal, and what would decide.
    open: Vec<String>,
    left_out: Vec<LeftOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// 1 for a candidate that is better than all others; `null` where several are equal.
    rank: Option<usize>,
    level: String,
    layout: String,
    layout_number: u32,
    chunk_bytes: u64,
    data_offset_sectors: u64,
    array_bytes: u64,
    /// By slot; `null` is missing.
    order: Vec<Option<String>>,
    /// Slots whose members hold the same bytes.
    interchangeable: Vec<Vec<u32>>,
    /// Slots whose members the bytes do not tell apart.
    undecided: Vec<Open>,
    /// Orders that explain the bytes equally well.
    equal_orders: f64,
    score: i64,
    sure: &'static str,
    why: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Open {
    slots: Vec<u32>,
    members: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LeftOut {
    member: String,
    why: String,
}

/// Searches, tells, and reads the array out if asked to.
pub(super) fn run(config: &config::Search, report: &Report) -> Outcome {
    if config.output == Some(End::Standard) {
        report.step_aside();
        if io::stdout().is_terminal() {
            return Err(Failure::usage("the data would go to the terminal")
                .hint("--output FILE, or pipe it somewhere"));
        }
    }
    if let Some(End::File(output)) = &config.output
        && is_twin(&config.members, output)?
    {
        let text = format!("--output {}: is one of the members", output.display());
        return Err(Failure::usage(text).hint("name another file"));
    }
    let images = open(&config.members)?;
    let bytes: Vec<&[u8]> = images.iter().map(Image::bytes).collect();
    let started = Instant::now();
    let findings = search(&bytes);
    let names: Vec<String> = config.members.iter().map(|path| file_name(path)).collect();
    let mut telling = Telling { findings: &findings, names: &names, top: config.top };
    let mut answer = telling.answer(started.elapsed().as_secs_f64());
    telling.say(&answer, report);
    let verdict = findings.verdict();
    let mut exit = match verdict {
        Verdict::First | Verdict::FirstByConvention if findings.candidates[0].missing() > 0 => {
            Exit::Degraded
        }
        Verdict::First | Verdict::FirstByConvention => Exit::Good,
        Verdict::Equal(_) | Verdict::Nothing => Exit::Unusable,
    };
    if let Some(output) = &config.output {
        if exit == Exit::Unusable {
            report.answer(&answer);
            return Err(Failure::unusable("no candidate is first, so nothing was read out")
                .hint("the members named alone, without strangers, may decide it"));
        }
        answer.output = Some(read_out(&findings.candidates[0], &bytes, output, report)?);
        exit = Exit::Good;
    }
    report.answer(&answer);
    Ok(exit)
}

/// Maps every member, none of them twice.
fn open(members: &[PathBuf]) -> Result<Vec<Image>, Failure> {
    export::refuse(members, "recover search")?;
    let paths: Vec<&Path> = members.iter().map(PathBuf::as_path).collect();
    World::new()?.open_raw(&paths, Access::Read).map_err(open_failure)?;
    members.iter().map(|path| Image::open(path).map_err(open_failure)).collect()
}

/// Reads the whole array as a candidate has it.
fn read_out(
    candidate: &Candidate,
    members: &[&[u8]],
    output: &End,
    report: &Report,
) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::error(format!("the array: {error}"));
    let reader = Reader::new(candidate, members).map_err(|error| failed(&error))?;
    // Nothing is created where nothing can be read.
    let mut piece = vec![0; (PIECE_SECTORS.min(reader.sectors()) * SECTOR_BYTES) as usize];
    reader.read(0, &mut piece).map_err(|error| failed(&error))?;
    let mut sink = Sink::open(output)?;
    let mut progress = Progress::new(report.is_watched());
    let mut sector = 0;
    while sector < reader.sectors() {
        let sectors = PIECE_SECTORS.min(reader.sectors() - sector);
        piece.resize((sectors * SECTOR_BYTES) as usize, 0);
        reader.read(sector, &mut piece).map_err(|error| failed(&error))?;
        match sink.put(&piece) {
            Ok(()) => {}
            // The reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(sink.name()),
            Err(error) => {
                return Err(Failure::error(format!("the output cannot be written: {error}")));
            }
        }
        sector += sectors;
        progress.draw("read", sector, reader.sectors());
    }
    progress.clear();
    sink.finish()?;
    let name = sink.name();
    if *output != End::Standard {
        let size = Human(reader.sectors() * SECTOR_BYTES);
        report.line(format_args!("{name}: {size}, the array as the first candidate reads it"));
    }
    Ok(name)
}

/// Puts findings into words.
struct Telling<'a> {
    findings: &'a Findings,
    names: &'a [String],
    top: usize,
}

impl Telling<'_> {
    fn answer(&self, seconds: f64) -> Answer {
        let equal = self.findings.equal_candidates().len();
        let verdict = self.findings.verdict();
        let first = matches!(verdict, Verdict::First | Verdict::FirstByConvention);
        let shown = self.findings.candidates.iter().enumerate().take(self.top);
        let candidates = shown.map(|(index, one)| {
            let rank = match index {
                0 => first.then_some(1),
                _ if index < equal => None,
                _ => Some(index + 1),
            };
            self.shown(one, rank)
        });
        Answer {
            verdict: match verdict {
                Verdict::First => "first",
                Verdict::FirstByConvention => "first_by_convention",
                Verdict::Equal(_) => "equal",
                Verdict::Nothing => "nothing",
            },
            geometries: self.findings.geometries,
            seconds,
            known: self.known(&self.findings.known),
            candidates: candidates.collect(),
            open: self.open(verdict),
            left_out: self.left_out(),
            output: None,
        }
    }

    fn name(&self, member: usize) -> String {
        self.names[member].clone()
    }

    fn list(&self, members: &[usize]) -> String {
        members.iter().map(|member| self.name(*member)).collect::<Vec<_>>().join(", ")
    }

    fn shown(&self, one: &Candidate, rank: Option<usize>) -> Shown {
        let open = one.undecided.iter().map(|open| Open {
            slots: open.slots.clone(),
            members: open.members.iter().map(|member| self.name(*member)).collect(),
        });
        Shown {
            rank,
            level: one.level.to_string(),
            layout: layout_name(one.level, one.layout),
            layout_number: one.layout,
            chunk_bytes: u64::from(one.chunk_sectors) * SECTOR_BYTES,
            data_offset_sectors: one.data_offset,
            array_bytes: array_bytes(one),
            order: one.seats.iter().map(|seat| seat.map(|member| self.name(member))).collect(),
            interchangeable: one.interchangeable.clone(),
            undecided: open.collect(),
            equal_orders: one.equal_orders(),
            score: one.score,
            sure: self.sureness(one),
            why: why(one),
        }
    }

    /// How much the best candidate leads, in a word.
    fn sureness(&self, one: &Candidate) -> &'static str {
        let equal = self.findings.equal_candidates();
        if !equal.contains(one) {
            return "no";
        }
        let next = self.findings.candidates.get(equal.len()).map_or(0, |next| next.score);
        // What sets the first apart: a block with a checksum counts four.
        let lead = (one.score - next.max(0)).min(one.evidence.margin);
        let clean = one.evidence.failed * 20 <= one.evidence.passed;
        match self.findings.verdict() {
            Verdict::Equal(_) | Verdict::Nothing => "equal",
            _ if clean && lead >= 32 => "sure",
            _ if lead >= 8 => "likely",
            _ => "barely",
        }
    }

    /// What holds whatever the order.
    fn known(&self, known: &Known) -> Vec<String> {
        let mut lines = Vec::new();
        let cells = known.cells;
        if let Some((set, count)) = &known.syndrome {
            let (members, count_of) = (self.list(set), format!("{count} of {cells}"));
            lines
                .push(format!("{members} make a raid6: P and Q hold in {count_of} places sampled"));
        }
        if let (Some((set, count)), None) = (&known.partial, &known.syndrome) {
            let members = self.list(set);
            lines.push(format!(
                "{members} make a raid6 that lacks a member: what is left of P and Q holds in \
                 {count} of {cells} places sampled"
            ));
        }
        let raid6 = known.syndrome.is_some() || known.partial.is_some();
        if let Some((set, count)) = known.xor.as_ref().filter(|_| !raid6) {
            let members = self.list(set);
            lines.push(format!(
                "{members} XOR to zero in {count} of {cells} places sampled: a raid4 or raid5 of {}",
                set.len()
            ));
        }
        for twins in &known.twins {
            let (one, other) = (self.name(twins.pair.0), self.name(twins.pair.1));
            let (equal, cells) = (twins.equal, twins.cells);
            lines.push(format!("{one} and {other} are the same in {equal} of {cells} places"));
        }
        if let Some(byte) = known.data_start {
            let sector = byte / SECTOR_BYTES;
            lines.push(format!("redundancy begins at sector {sector} of each member"));
        }
        if !known.blank.is_empty() {
            lines.push(format!("{}: nothing there but zeros", self.list(&known.blank)));
        }
        for found in &known.filesystems {
            lines.push(format!("an {} filesystem of {}", found.name, Human(found.bytes)));
        }
        lines
    }

    /// What remains equal, and what would decide.
    fn open(&self, verdict: Verdict) -> Vec<String> {
        let mut lines = Vec::new();
        let equal = self.findings.equal_candidates();
        match verdict {
            Verdict::Nothing => lines.extend(self.nothing()),
            Verdict::FirstByConvention => {
                let layouts: Vec<String> =
                    equal.iter().map(|one| layout_name(one.level, one.layout)).collect();
                lines.push(format!(
                    "layout: {} place parity alike and explain these bytes equally; {} is what \
                     mdadm makes by default. Data with an order of its own (a filesystem) would \
                     decide",
                    layouts.join(" and "),
                    layouts[0]
                ));
            }
            Verdict::Equal(count) if count > 1 => lines.push(format!(
                "{count} candidates explain these bytes equally; a larger filesystem, or a known \
                 file to look for in what each reads, would decide"
            )),
            Verdict::Equal(_) | Verdict::First => {}
        }
        for one in equal.iter().take(1) {
            for open in &one.undecided {
                lines.push(format!(
                    "slots {}: {} fit equally well; no filesystem structure that was looked at \
                     lies there. The data of one of them, or an old --examine, would decide",
                    numbers(&open.slots),
                    self.list(&open.members)
                ));
            }
        }
        lines
    }

    fn nothing(&self) -> Vec<String> {
        let known = &self.findings.known;
        match &known.xor {
            Some((set, _)) if known.syndrome.is_none() => {
                let count = set.len();
                let orders: f64 = (1..=count).map(|factor| factor as f64).product();
                vec![format!(
                    "order, layout and chunk: XOR is the same for all {orders} orders of the {count} \
                     members, every raid5 layout and every chunk, and no filesystem was found. \
                     All of them remain equal; a filesystem or a known file, an old --examine or \
                     the array's configuration would decide"
                )]
            }
            _ if !known.twins.is_empty() => vec![
                "order: mirrors hold the same in every order; no filesystem was found that \
                 would say where data begins. A known file or an old --examine would decide"
                    .to_owned(),
            ],
            _ => vec![
                "nothing found depends on another member, and no filesystem spans them: too few \
                 members of the array, encrypted data on a raid0, or not members of one array"
                    .to_owned(),
            ],
        }
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let left_out = self.findings.left_out.iter();
        left_out
            .map(|one| LeftOut {
                member: self.name(one.member),
                why: match one.like {
                    Some((slot, equal, cells)) => format!(
                        "stale: holds what slot {slot} holds in {equal} of {cells} places, and \
                         something else in the others"
                    ),
                    None => "a stranger: nothing on it belongs to this array".to_owned(),
                },
            })
            .collect()
    }

    fn say(&mut self, answer: &Answer, report: &Report) {
        report.line(format_args!(
            "{} geometries in {:.1} s, every order of the members in each; nothing was written",
            answer.geometries, answer.seconds
        ));
        for line in &answer.known {
            report.line(format_args!("known: {line}"));
        }
        if let Some(first) = answer.candidates.first() {
            self.say_first(first, answer, report);
        }
        for line in &answer.open {
            report.line(format_args!("open:  {line}"));
        }
        let others = answer.candidates.iter().skip(1);
        let mut rows = vec![row!["", "level", "layout", "chunk", "data from", "order", "score"]];
        rows.extend(others.map(|one| {
            let rank = one.rank.map_or_else(|| "=".to_owned(), |rank| format!("{rank}."));
            let (chunk, from) = (Human(one.chunk_bytes), one.data_offset_sectors);
            let order = order(&one.order);
            row![rank, one.level, one.layout, chunk, from, order, one.score]
        }));
        if rows.len() > 1 {
            table::lay_out(&rows).iter().for_each(|line| report.line(line));
        }
    }

    fn say_first(&self, first: &Shown, answer: &Answer, report: &Report) {
        let head = if first.rank.is_some() { "first" } else { "one of several equals" };
        let chunk = match first.chunk_bytes {
            0 => String::new(),
            bytes => format!("{} chunks, ", Human(bytes)),
        };
        report.line(format_args!(
            "{head}: {} {}, {chunk}data from sector {}, {}",
            first.level,
            first.layout,
            first.data_offset_sectors,
            Human(first.array_bytes)
        ));
        for (slot, member) in first.order.iter().enumerate() {
            let twins = first.interchangeable.iter().find(|slots| slots.contains(&(slot as u32)));
            let note = match twins {
                Some(slots) => format!("  (slots {} hold the same)", numbers(slots)),
                None => String::new(),
            };
            let member = member.as_deref().unwrap_or("(missing)");
            report.line(format_args!("  slot {slot}  {member}{note}"));
        }
        for one in &answer.left_out {
            report.line(format_args!("  left out: {}: {}", one.member, one.why));
        }
        first.why.iter().for_each(|why| report.line(format_args!("  why: {why}")));
        report.line(format_args!("  how sure: {}", first.sure));
    }
}

fn numbers(slots: &[u32]) -> String {
    slots.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn order(members: &[Option<String>]) -> String {
    members.iter().map(|one| one.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" ")
}

fn layout_name(level: Level, layout: u32) -> String {
    match level {
        Level::Raid0 | Level::Raid1 | Level::Raid4 | Level::Linear => String::new(),
        _ => names::name(level, layout).unwrap_or_else(|| layout.to_string()),
    }
}

fn array_bytes(candidate: &Candidate) -> u64 {
    Reader::new(candidate, &[]).map_or(0, |reader| reader.sectors() * SECTOR_BYTES)
}

/// What speaks for a candidate.
fn why(one: &Candidate) -> Vec<String> {
    let evidence = &one.evidence;
    let mut lines = Vec::new();
    if let Some((agree, cells)) = evidence.parity {
        let what = if one.level.has_parity() { "parity is right" } else { "copies agree" };
        lines.push(format!("{what} in {agree} of {cells} places sampled"));
    }
    let of = evidence.passed + evidence.failed;
    let what = match evidence.filesystem {
        Some(found) => format!("{} structures and stripes", found.name),
        None => "parts of stripes".to_owned(),
    };
    lines.push(format!("{} of {of} {what} are where they belong", evidence.passed));
    if evidence.margin > 0 {
        lines.push(format!(
            "any exchange of two members loses at least {} of {} points",
            evidence.margin, one.score
        ));
    }
    lines
}
