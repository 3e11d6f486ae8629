//! `holdfast sim bond` and `holdfast sim multipath`: campaigns over what a seed alone describes.
//!
//! One verb over any [`Arena`]: seeds are run and judged, or planted defects hunted in them (`hunt`).
//! A failure is told with the command that repeats it and with as little as shows it.

use std::time::Duration;

use holdfast_sim::arena::{Arena, Seeds, Summary};
use serde::Serialize;

use super::ticker::{self, Ticker};
use super::{count, exit, hunt, thousands};
use crate::config::{ArenaTask, SimArena};
use crate::exit::{Failure, Outcome};
use crate::report::Report;

/// Failures whose story is told; the others are counted.
const MOST_TOLD: usize = 3;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    first_seed: u64,
    /// Seeds that were run: of the kind that was asked for, and before time was up.
    seeds: u64,
    mode: Option<&'static str>,
    seconds: f64,
    virtual_seconds: f64,
    times_real_time: u64,
    /// The sum of all histories, in hexadecimal.
    history: String,
    failures: Vec<Told>,
    met: Vec<Met>,
}

/// A failure and how to see it again.
#[derive(Debug, Serialize)]
struct Told {
    seed: u64,
    broken: String,
    again: String,
    /// What happens, of the first few.
    story: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct Met {
    what: &'static str,
    times: u64,
}

/// Runs seeds, or hunts in them.
pub(super) fn run<A: Arena>(verb: &str, config: &SimArena, report: &Report) -> Outcome {
    let seeds = seeds::<A>(config)?;
    match &config.task {
        ArenaTask::List => hunt::list::<A>(report),
        ArenaTask::Hunt(names) => hunt::run::<A>(names, &seeds, config.limit, report),
        ArenaTask::Judge { .. } => Ok(judge::<A>(verb, &seeds, config.limit, report)),
    }
}

fn seeds<A: Arena>(config: &SimArena) -> Result<Seeds, Failure> {
    let Some(end) = config.first_seed.checked_add(config.seeds) else {
        return Err(Failure::usage("--seed and --seeds: there are no seeds beyond 2^64"));
    };
    let known = |mode: &String| {
        let found = A::KINDS.iter().copied().find(|kind| kind == mode);
        let kinds = A::KINDS.join(", ");
        found.ok_or_else(|| Failure::usage(format!("--mode: {mode:?} is none of: {kinds}")))
    };
    let kind = config.mode.as_ref().map(known).transpose()?;
    let twice = matches!(config.task, ArenaTask::Judge { twice: true });
    Ok(Seeds { range: config.first_seed..end, kind, twice })
}

fn judge<A: Arena>(
    verb: &str,
    seeds: &Seeds,
    limit: Option<Duration>,
    report: &Report,
) -> crate::exit::Exit {
    let ticker = Ticker::new(seeds.range.end - seeds.range.start, report.is_watched());
    let go_on = || limit.is_none_or(|limit| ticker.elapsed() < limit);
    let summary = seeds.run_while::<A>(go_on, |failed| ticker.tick(failed));
    let took = ticker.finish();
    say(&summary, took, report);
    let failures = tell_failures::<A>(verb, seeds, &summary, report);
    report.answer(&Answer {
        clean: failures.is_empty(),
        first_seed: seeds.range.start,
        seeds: summary.seeds,
        mode: seeds.kind,
        seconds: took.as_secs_f64(),
        virtual_seconds: summary.lasted.as_secs_f64(),
        times_real_time: times_real_time(&summary, took),
        history: format!("{:016x}", summary.hash),
        failures,
        met: summary.met.iter().map(|(&what, &times)| Met { what, times }).collect(),
    });
    exit(summary.failures.is_empty())
}

fn times_real_time(summary: &Summary, took: Duration) -> u64 {
    (summary.lasted.as_secs_f64() / took.as_secs_f64().max(1e-3)) as u64
}

fn say(summary: &Summary, took: Duration, report: &Report) {
    let failed = summary.failures.len() as u64;
    report.line(format_args!(
        "{}, history {:016x}: {}",
        count(summary.seeds, "seed"),
        summary.hash,
        if failed == 0 { "every promise kept".to_owned() } else { count(failed, "failure") },
    ));
    let counts: Vec<_> = summary.met.iter().map(|(what, n)| (thousands(*n), what)).collect();
    let width = counts.iter().map(|(count, _)| count.len()).max().unwrap_or(0);
    for (count, what) in counts {
        report.line(format_args!("  {count:>width$}  {what}"));
    }
    report.line(format_args!(
        "{}.{} s, {}/s, {:.1} h of virtual time: {} times real time",
        took.as_secs(),
        took.subsec_millis() / 100,
        thousands(ticker::rate(summary.seeds, took)),
        summary.lasted.as_secs_f64() / 3600.0,
        thousands(times_real_time(summary, took)),
    ));
}

fn tell_failures<A: Arena>(
    verb: &str,
    seeds: &Seeds,
    summary: &Summary,
    report: &Report,
) -> Vec<Told> {
    let mut all = Vec::new();
    for (index, failed) in summary.failures.iter().enumerate() {
        let twice = if seeds.twice { " --twice" } else { "" };
        let again = format!("holdfast sim {verb} --seed {} --seeds 1{twice}", failed.seed);
        // What ends in a panic is run no further.
        let told = index < MOST_TOLD && !failed.broken.starts_with("panic");
        let story = told.then(|| A::story(failed.seed, None));
        if index < MOST_TOLD {
            report.line(format_args!("\nseed {}: {}", failed.seed, failed.broken));
            report.line(format_args!("  again:  {again}"));
            let lines = story.iter().flatten();
            lines.for_each(|line| report.line(format_args!("    {line}")));
        }
        all.push(Told { seed: failed.seed, broken: failed.broken.clone(), again, story });
    }
    if all.len() > MOST_TOLD {
        let rest: Vec<String> = all[MOST_TOLD..].iter().map(|told| told.seed.to_string()).collect();
        report.line(format_args!("\nfailed as well: {}", rest.join(" ")));
    }
    all
}
