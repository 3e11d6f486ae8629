//! `holdfast sim mutants`: plants each known defect into the engine and hunts it.
//!
//! Seeds are tried in order, in batches between which the clock is looked at; the first that makes
//! an oracle speak kills the defect, and its script is shrunk. Then the sound engine has to survive
//! every seed up to the last one that was needed.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_raid::Defect;
use holdfast_sim::mutants::{self, Kill};
use holdfast_sim::script::Script;
use holdfast_sim::shrink::shrink_with;
use serde::Serialize;

use super::story::Broken;
use super::{count, exit, thousands, write_text};
use crate::config::SimMutants;
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::{row, table};

/// Seeds between two looks at the clock.
const BATCH: u64 = 200;
/// Runs that shrinking a script may take.
const SHRINK_BUDGET: u32 = 1500;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    profile: String,
    first_seed: u64,
    killed: usize,
    survivors: Vec<&'static str>,
    defects: Vec<Hunted>,
    /// Seeds that the sound engine was run with as well.
    sound_seeds: u64,
    /// What it did wrong.
    sound: Option<Spoken>,
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
    events: Option<usize>,
    script: Option<String>,
}

/// A seed at which an oracle spoke.
#[derive(Clone, Debug, Serialize)]
struct Spoken {
    seed: u64,
    #[serde(flatten)]
    broken: Broken,
}

impl From<Kill> for Spoken {
    fn from(kill: Kill) -> Self {
        Self { seed: kill.seed, broken: (&kill.violation).into() }
    }
}

/// Hunts.
pub(super) fn run(config: &SimMutants, report: &Report) -> Outcome {
    if config.first_seed.checked_add(config.seeds).is_none() {
        return Err(Failure::usage("--seed and --seeds: there are no seeds beyond 2^64"));
    }
    if let Some(out) = &config.out {
        fs::create_dir_all(out)
            .map_err(|error| Failure::error(format!("{}: {error}", out.display())))?;
    }
    let width = Defect::ALL.into_iter().map(|defect| defect.name().len()).max().unwrap_or(0);
    let mut hunted = Vec::new();
    for &defect in &config.defects {
        let found = hunt(defect, config);
        if let (Some(out), Some(script)) = (&config.out, &found.script) {
            write_text(&trace(out, defect), script)?;
        }
        report.line(format_args!("{:width$}  {}", defect.name(), fate(&found)));
        hunted.push(found);
    }
    let answer = conclude(config, hunted);
    say(&answer, report);
    report.answer(&answer);
    Ok(exit(answer.clean))
}

fn trace(out: &Path, defect: Defect) -> PathBuf {
    out.join(format!("{defect}.trace"))
}

fn hunt(defect: Defect, config: &SimMutants) -> Hunted {
    let began = Instant::now();
    let all = config.first_seed..config.first_seed + config.seeds;
    let limit = Duration::from_secs(config.seconds);
    let mut kill = None;
    let mut tried = 0;
    for seeds in batches(all) {
        if kill.is_some() || began.elapsed() >= limit {
            break;
        }
        let (first, many) = (seeds.start, seeds.end - seeds.start);
        kill = mutants::hunt(defect, config.profile, seeds);
        tried += kill.as_ref().map_or(many, |kill| kill.seed - first + 1);
    }
    let seconds = began.elapsed().as_secs_f64();
    let script = kill.as_ref().map(|kill| smallest(defect, config, kill));
    Hunted {
        defect: defect.name(),
        what: defect.what(),
        breaks: defect.breaks(),
        seeds_tried: tried,
        seconds,
        killed: kill.map(Spoken::from),
        events: script.as_ref().map(|script| script.lines.len()),
        script: script.map(|script| script.to_string()),
    }
}

fn batches(seeds: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = seeds.end;
    seeds.step_by(BATCH as usize).map(move |first| first..end.min(first.saturating_add(BATCH)))
}

/// The killing script, as small as it gets, with a word on what it is for.
fn smallest(defect: Defect, config: &SimMutants, kill: &Kill) -> Script {
    let script = mutants::script(config.profile, kill.seed);
    let mut small = shrink_with(&script, defect, SHRINK_BUDGET);
    small.notes = vec![
        format!("planted defect {defect}: {}", defect.what()),
        format!("breaks: {}", defect.breaks()),
        format!("found by: holdfast sim mutants --profile {} --seed {}", config.profile, kill.seed),
    ];
    small
}

fn fate(hunted: &Hunted) -> String {
    match (&hunted.killed, hunted.events) {
        (Some(kill), Some(events)) => format!(
            "seed {:>5}  {:>5.1} s  {:>3} events  {}",
            kill.seed,
            hunted.seconds,
            events,
            kill.broken.oracle(),
        ),
        _ => format!("SURVIVES {} in {:.1} s", count(hunted.seeds_tried, "seed"), hunted.seconds),
    }
}

fn conclude(config: &SimMutants, defects: Vec<Hunted>) -> Answer {
    let last = defects.iter().filter_map(|hunted| Some(hunted.killed.as_ref()?.seed)).max();
    let seeds = config.first_seed..last.map_or(config.first_seed, |seed| seed + 1);
    let sound_seeds = seeds.end - seeds.start;
    let sound = mutants::survive(config.profile, seeds).map(Spoken::from);
    let survivors: Vec<&str> =
        defects.iter().filter(|hunted| hunted.killed.is_none()).map(|h| h.defect).collect();
    Answer {
        clean: survivors.is_empty() && sound.is_none(),
        profile: config.profile.to_string(),
        first_seed: config.first_seed,
        killed: defects.len() - survivors.len(),
        survivors,
        defects,
        sound_seeds,
        sound,
    }
}

fn say(answer: &Answer, report: &Report) {
    let all = count(answer.defects.len() as u64, "planted defect");
    report.line(format_args!("{} of {all} killed", answer.killed));
    let seeds = count(answer.sound_seeds, "seed");
    match &answer.sound {
        None => report.line(format_args!("the sound engine survives the same {seeds}")),
        Some(spoken) => report.line(format_args!(
            "but the sound engine fails too, at seed {}: {}",
            thousands(spoken.seed),
            spoken.broken.oracle(),
        )),
    }
}

/// The defects there are.
pub(super) fn list(report: &Report) -> Outcome {
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
    let of = |d: Defect| Listed { defect: d.name(), what: d.what(), breaks: d.breaks() };
    let defects: Vec<Listed> = Defect::ALL.into_iter().map(of).collect();
    let rows: Vec<Vec<String>> = defects.iter().map(|d| row![d.defect, d.what]).collect();
    table::lay_out(&rows).iter().for_each(|line| report.line(line));
    report.answer(&List { defects });
    Ok(exit(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_every_seed_once() {
        for end in [7, 8, 207, 208, 1000] {
            let all: Vec<u64> = batches(7..end).flatten().collect();
            assert_eq!(all, (7..end).collect::<Vec<_>>());
        }
    }
}
