//! `--mutants` of `holdfast sim bond` and `holdfast sim multipath`: each planted defect is hunted.
//!
//! The first seed that shows a defect kills it; then what is sound has to survive every seed up to
//! the last one that was needed.

use std::time::{Duration, Instant};

use holdfast_core::defects::Planted;
use holdfast_sim::arena::{self, Arena, Seeds};
use serde::Serialize;

use super::{count, exit};
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::{row, table};

/// Seeds between two looks at the clock.
const BATCH: u64 = 500;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    first_seed: u64,
    killed: usize,
    survivors: Vec<&'static str>,
    defects: Vec<Hunted>,
    /// Seeds that were run as they should be as well.
    sound_seeds: u64,
    /// Those of them that broke a promise.
    sound: Vec<Spoken>,
}

/// A defect and what became of it.
#[derive(Debug, Serialize)]
struct Hunted {
    defect: &'static str,
    what: &'static str,
    breaks: &'static str,
    seeds_tried: u64,
    seconds: f64,
    killed: Option<Spoken>,
}

/// A seed that broke a promise.
#[derive(Clone, Debug, Serialize)]
struct Spoken {
    seed: u64,
    broken: String,
}

impl From<arena::Failure> for Spoken {
    fn from(failure: arena::Failure) -> Self {
        Self { seed: failure.seed, broken: failure.broken }
    }
}

/// Hunts.
pub(super) fn run<A: Arena>(
    names: &[String],
    seeds: &Seeds,
    limit: Option<Duration>,
    report: &Report,
) -> Outcome {
    let defects = chosen::<A>(names)?;
    let width = defects.iter().map(|defect| defect.name().len()).max().unwrap_or(0);
    let began = Instant::now();
    let go_on = || limit.is_none_or(|limit| began.elapsed() < limit);
    let mut hunted = Vec::new();
    for defect in defects {
        let found = hunt::<A>(defect, seeds, go_on);
        report.line(format_args!("{:width$}  {}", defect.name(), fate(&found)));
        hunted.push(found);
    }
    let answer = conclude::<A>(seeds, hunted);
    say(&answer, report);
    report.answer(&answer);
    Ok(exit(answer.clean))
}

fn chosen<A: Arena>(names: &[String]) -> Result<Vec<A::Defect>, Failure> {
    if names.is_empty() {
        return Ok(A::Defect::all().to_vec());
    }
    let unknown = |error| Failure::usage(format!("--mutants: {error}")).hint("--list names them");
    names.iter().map(|name| name.parse().map_err(unknown)).collect()
}

fn hunt<A: Arena>(defect: A::Defect, seeds: &Seeds, go_on: impl Fn() -> bool) -> Hunted {
    let (began, end) = (Instant::now(), seeds.range.end);
    let (mut killed, mut next) = (None, seeds.range.start);
    while killed.is_none() && next < end && go_on() {
        let until = end.min(next.saturating_add(BATCH));
        killed = Seeds { range: next..until, ..seeds.clone() }.hunt::<A>(defect);
        next = killed.as_ref().map_or(until, |kill| kill.seed + 1);
    }
    Hunted {
        defect: defect.name(),
        what: defect.what(),
        breaks: defect.breaks(),
        seeds_tried: next - seeds.range.start,
        seconds: began.elapsed().as_secs_f64(),
        killed: killed.map(Spoken::from),
    }
}

fn fate(hunted: &Hunted) -> String {
    match &hunted.killed {
        Some(kill) => format!("seed {:>5}  {:>5.1} s  {}", kill.seed, hunted.seconds, kill.broken),
        None => {
            format!("SURVIVES {} in {:.1} s", count(hunted.seeds_tried, "seed"), hunted.seconds)
        }
    }
}

fn conclude<A: Arena>(seeds: &Seeds, defects: Vec<Hunted>) -> Answer {
    let first = seeds.range.start;
    let last = defects.iter().filter_map(|hunted| Some(hunted.killed.as_ref()?.seed)).max();
    let needed = Seeds { range: first..last.map_or(first, |seed| seed + 1), ..seeds.clone() };
    let sound = needed.run::<A>();
    let survivors: Vec<_> =
        defects.iter().filter(|hunted| hunted.killed.is_none()).map(|h| h.defect).collect();
    Answer {
        clean: survivors.is_empty() && sound.failures.is_empty(),
        first_seed: first,
        killed: defects.len() - survivors.len(),
        survivors,
        defects,
        sound_seeds: sound.seeds,
        sound: sound.failures.into_iter().map(Spoken::from).collect(),
    }
}

fn say(answer: &Answer, report: &Report) {
    let all = count(answer.defects.len() as u64, "planted defect");
    report.line(format_args!("{} of {all} killed", answer.killed));
    let seeds = count(answer.sound_seeds, "seed");
    match answer.sound.first() {
        None => report.line(format_args!("without any, the same {seeds} keep every promise")),
        Some(spoken) => {
            let Spoken { seed, broken } = spoken;
            report.line(format_args!("but seed {seed} breaks one without any: {broken}"));
        }
    }
}

/// The defects there are.
pub(super) fn list<A: Arena>(report: &Report) -> Outcome {
    #[derive(Serialize)]
    struct Listed {
        defect: &'static str,
        what: &'static str,
        breaks: &'static str,
    }
    #[derive(Serialize)]
    struct List {
        defects: Vec<Listed>,
    }
    let of = |d: &A::Defect| Listed { defect: d.name(), what: d.what(), breaks: d.breaks() };
    let defects: Vec<Listed> = A::Defect::all().iter().map(of).collect();
    let rows: Vec<Vec<String>> = defects.iter().map(|d| row![d.defect, d.what]).collect();
    table::lay_out(&rows).iter().for_each(|line| report.line(line));
    report.answer(&List { defects });
    Ok(exit(true))
}
