//! `holdfast bench stripe`: which chunk size?
//!
//! Measures every combination asked for, over modelled members, files made for the purpose or
//! members named, and tells it as a table, JSON, CSV and a page of charts, with advice at the end.
//! Ctrl-C ends the measuring and tells what there is.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_benches::files::{Files, Scratch};
use holdfast_benches::ground::Imagined;
use holdfast_benches::page::{Page, html};
use holdfast_benches::stripe::{Advice, Cell, Sweep, SweepError, advise};
use holdfast_core::size::Human;
use holdfast_host::interrupt::Interrupt;
use holdfast_host::member::Access;
use serde::Serialize;

use super::write_out;
use crate::config::Stream;
use crate::config::bench::{Ground, Stripe};
use crate::exit::{Exit, Failure, Outcome};
use crate::export;
use crate::members::{self, World};
use crate::report::{Report, confirm};
use crate::row;
use crate::table;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    members: String,
    lost: u32,
    seed: u64,
    runs: u32,
    /// Whether every combination was measured.
    complete: bool,
    cells: &'a [Cell],
    advice: &'a [Advice],
}

/// Measures and tells.
pub(super) fn run(config: &Stripe, report: &Report) -> Outcome {
    let interrupt = Interrupt::listen()
        .map_err(|error| Failure::error(format!("cannot listen for Ctrl-C: {error}")))?;
    if matches!(config.csv, Some(Stream::Standard)) {
        report.step_aside();
    }
    let mut course = Course::new(config.sweep.cells(), report.is_watched());
    let stop = || interrupt.is_raised();
    let (members, result) = match &config.ground {
        Ground::Model { model, members } => {
            let told = format!("{members} modelled: {} ({})", model.name(), model.figures());
            let mut ground = Imagined { model: *model, members: *members, stop: &stop };
            (told, config.sweep.run(&mut ground, &mut |cell| course.add(cell)))
        }
        Ground::Directory { parent, members, bytes } => {
            let uring = members::uring_or_note(report);
            let scratch = course.make(parent, *members, *bytes, &stop)?;
            let Some(scratch) = scratch else {
                return Err(Failure::error("stopped before anything was measured"));
            };
            let told = format!("{members} files of {} in {}", Human(*bytes), parent.display());
            let mut files = Files { paths: scratch.paths.clone(), uring, stop: &stop };
            let result = config.sweep.run(&mut files, &mut |cell| course.add(cell));
            (by(told, uring), result)
        }
        Ground::Members { paths, force, yes } => {
            export::refuse(paths, "bench stripe")?;
            let uring = members::uring_or_note(report);
            refuse_the_precious(paths, *force, report)?;
            let question = format!("Overwrite what these {} members hold?", paths.len());
            confirm(&question, *yes)?;
            let mut files = Files { paths: paths.clone(), uring, stop: &stop };
            let result = config.sweep.run(&mut files, &mut |cell| course.add(cell));
            if let Err(error) = files.wipe() {
                report.note(format_args!("a superblock of the bench is left: {error}"));
            }
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            (by(names.join(", "), uring), result)
        }
    };
    course.clear();
    let complete = match result {
        Ok(()) => true,
        Err(SweepError::Stopped) => false,
        Err(error) if course.cells.is_empty() => return Err(Failure::error(error.to_string())),
        Err(error) => {
            tell(config, &members, &course.cells, false, report)?;
            return Err(Failure::error(error.to_string()));
        }
    };
    tell(config, &members, &course.cells, complete, report)?;
    if !complete {
        let (done, all) = (course.cells.len(), course.all);
        return Err(Failure::error(format!("stopped after {done} of {all} combinations")));
    }
    Ok(Exit::Good)
}

fn by(members: String, uring: bool) -> String {
    let way = if uring { "io_uring, direct where the file system takes it" } else { "threads" };
    format!("{members}, through {way}")
}

/// Refuses members that carry something, as `create` does.
fn refuse_the_precious(paths: &[PathBuf], force: bool, report: &Report) -> Result<(), Failure> {
    let mut world = World::new()?;
    let mut found = Vec::new();
    for mut member in world.open(paths, Access::Write, report)? {
        let marks = members::signatures(&mut member.disk, &mut world.clock, &member.path)?;
        found.push((member.path, marks));
    }
    if force { Ok(()) } else { members::refuse_carriers(&found) }
}

/// Everything there is to tell, in every form asked for.
fn tell(
    config: &Stripe,
    members: &str,
    cells: &[Cell],
    complete: bool,
    report: &Report,
) -> Result<(), Failure> {
    let advice = advise(cells);
    report.line(format_args!("members: {members}"));
    table::lay_out(&rows(cells)).into_iter().for_each(|line| report.line(line));
    for advice in &advice {
        report.line("");
        report.line(&advice.sentence);
        report.line(format_args!("{}   {}", advice.mkfs_ext4, advice.mkfs_xfs));
    }
    if let Some(stream) = &config.csv {
        write_out(stream, &csv(cells))?;
    }
    if let Some(path) = &config.html {
        let facts = facts(&config.sweep, members, complete);
        let page = Page { title: "holdfast bench stripe", facts: &facts, cells, advice: &advice };
        write_out(&Stream::File(path.clone()), &html(&page))?;
        report.line(format_args!("\ncharts: {}", path.display()));
    }
    let Sweep { lost, seed, runs, .. } = config.sweep;
    let members = members.to_owned();
    report.answer(&Answer { members, lost, seed, runs, complete, cells, advice: &advice });
    Ok(())
}

fn facts(sweep: &Sweep, members: &str, complete: bool) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Members", members.to_owned()),
        fact("Runs of each", format!("{}, the median told", sweep.runs)),
        fact("Seed", sweep.seed.to_string()),
    ];
    if sweep.lost > 0 {
        facts.push(fact("Lost members", sweep.lost.to_string()));
    }
    if !complete {
        facts.push(fact("Stopped", "before every combination was measured".to_owned()));
    }
    facts
}

fn rows(cells: &[Cell]) -> Vec<Vec<String>> {
    let mut rows = vec![row![
        "level", "chunk", "request", "pattern", "depth", "MB/s", "IOPS", "p50", "p99", "p99.9",
        "spread", "I/Os", "bytes", "rmw", "CPU/B"
    ]];
    let percent = |part: Option<f64>| part.map_or_else(|| "-".to_owned(), |p| format!("{p:.0} %"));
    for cell in cells {
        let chunk = match cell.chunk_bytes {
            0 => "-".to_owned(),
            bytes => Human(bytes.into()).to_string(),
        };
        rows.push(row![
            cell.level,
            chunk,
            Human(cell.request_bytes.into()),
            cell.pattern,
            cell.depth,
            format!("{:.1}", cell.mb_per_s),
            format!("{:.0}", cell.iops),
            span(cell.p50_us),
            span(cell.p99_us),
            span(cell.p999_us),
            format!("{:.1} %", cell.spread_percent),
            format!("{:.2}", cell.member_ios_per_io),
            format!("{:.2}", cell.member_bytes_per_byte),
            percent(cell.rmw_percent),
            cell.cpu_ns_per_byte.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.2} ns")),
        ]);
    }
    rows
}

/// A latency for people.
fn span(micros: f64) -> String {
    match micros {
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1000.0),
        us => format!("{:.0} ms", us / 1000.0),
    }
}

fn csv(cells: &[Cell]) -> String {
    let mut text = "level,members,chunk_bytes,request_bytes,pattern,depth,requests,mb_per_s,iops,\
                    p50_us,p99_us,p999_us,spread_percent,member_ios_per_io,member_bytes_per_byte,\
                    rmw_percent,full_percent,cpu_ns_per_byte\n"
        .to_owned();
    let maybe = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for cell in cells {
        let fields = row![
            cell.level,
            cell.members,
            cell.chunk_bytes,
            cell.request_bytes,
            cell.pattern,
            cell.depth,
            cell.requests,
            cell.mb_per_s,
            cell.iops,
            cell.p50_us,
            cell.p99_us,
            cell.p999_us,
            cell.spread_percent,
            cell.member_ios_per_io,
            cell.member_bytes_per_byte,
            maybe(cell.rmw_percent),
            maybe(cell.full_percent),
            maybe(cell.cpu_ns_per_byte),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// How far the measuring has come, on a line redrawn in place where somebody watches.
struct Course {
    all: usize,
    cells: Vec<Cell>,
    watched: bool,
    drawn: Option<Instant>,
    began: Instant,
}

impl Course {
    fn new(all: usize, watched: bool) -> Self {
        Self { all, cells: Vec::new(), watched, drawn: None, began: Instant::now() }
    }

    fn add(&mut self, cell: Cell) {
        let done = self.cells.len() + 1;
        let left = self.began.elapsed().as_secs() * (self.all - done) as u64 / done as u64;
        let line = format!(
            "{done} of {}: {} {} chunks, {} of {} at depth {}; {left} s left",
            self.all,
            cell.level,
            Human(cell.chunk_bytes.into()),
            cell.pattern,
            Human(cell.request_bytes.into()),
            cell.depth
        );
        self.draw(done as u64, self.all as u64, &line);
        self.cells.push(cell);
    }

    /// Makes the files; none if somebody said stop.
    fn make(
        &mut self,
        parent: &Path,
        members: u32,
        bytes: u64,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Scratch>, Failure> {
        let made = Scratch::make(parent, members, bytes, &mut |done, total| {
            self.draw(
                done,
                total,
                &format!("writing the members, {} of {}", Human(done), Human(total)),
            );
            !stop()
        });
        self.clear();
        self.began = Instant::now();
        match made {
            Ok(scratch) => Ok(Some(scratch)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => {
                let parent = parent.display();
                Err(Failure::error(format!("{parent}: cannot make members there: {error}")))
            }
        }
    }

    fn draw(&mut self, done: u64, total: u64, line: &str) {
        let soon = |at: Instant| at.elapsed() < Duration::from_millis(100);
        if !self.watched || self.drawn.is_some_and(soon) {
            return;
        }
        self.drawn = Some(Instant::now());
        let bar = (done * 20 / total.max(1)).min(20) as usize;
        let (full, empty) = ("=".repeat(bar), ".".repeat(20 - bar));
        let _ = write!(io::stderr(), "\r\x1b[K[{full}>{empty}]  {line}");
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
