//! `holdfast sim coverage`: which situations faults meet in a campaign.
//!
//! The whole grid has thousands of cells, so for people it is shown from two sides: what each class
//! of faults has met, by the phase of a rebuild, and what each level has, by missing members. The
//! goals come last, because they decide.

use holdfast_raid::Level;
use holdfast_sim::coverage::{Cell, Fault, GOALS, Grid, Phase, Survey};
use serde::Serialize;

use super::ticker::Ticker;
use super::{count, exit, thousands};
use crate::config::SimCoverage;
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::table;

const PHASES: [(Phase, &str); 5] = [
    (Phase::None, "no rebuild"),
    (Phase::First, "begun"),
    (Phase::Middle, "middle"),
    (Phase::Last, "end"),
    (Phase::JustDone, "just done"),
];

const LEVELS: [Level; 7] = [
    Level::Linear,
    Level::Raid0,
    Level::Raid1,
    Level::Raid4,
    Level::Raid5,
    Level::Raid6,
    Level::Raid10,
];

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    profile: String,
    first_seed: u64,
    seeds: u64,
    failed_seeds: Vec<u64>,
    goals: Vec<GoalMet>,
    cells: Vec<CellMet>,
}

#[derive(Debug, Serialize)]
struct GoalMet {
    goal: &'static str,
    met: u64,
}

#[derive(Debug, Serialize)]
struct CellMet {
    level: String,
    missing: u8,
    dirty: bool,
    rebuild: &'static str,
    step: String,
    fault: &'static str,
    met: u64,
}

/// Runs seeds for the sake of what they meet.
pub(super) fn run(config: &SimCoverage, report: &Report) -> Outcome {
    let Some(end) = config.first_seed.checked_add(config.seeds) else {
        return Err(Failure::usage("--seed and --seeds: there are no seeds beyond 2^64"));
    };
    let ticker = Ticker::new(config.seeds, report.is_watched());
    let survey = Survey::of(config.profile, config.first_seed..end, |one| {
        ticker.tick(!one.failures.is_empty());
    });
    ticker.finish();
    say(&survey, config, report);
    let clean = survey.failures.is_empty() && survey.unmet().is_empty();
    report.answer(&Answer {
        clean,
        profile: config.profile.to_string(),
        first_seed: config.first_seed,
        seeds: survey.seeds,
        failed_seeds: survey.failures.iter().map(|failure| failure.seed).collect(),
        goals: GOALS.map(|goal| GoalMet { goal: goal.name, met: goal.count(&survey.grid) }).into(),
        cells: survey.grid.cells().map(cell_met).collect(),
    });
    Ok(exit(clean))
}

fn cell_met((cell, met): (&Cell, u64)) -> CellMet {
    let at = &cell.situation;
    CellMet {
        level: at.level.to_string(),
        missing: at.missing,
        dirty: at.dirty,
        rebuild: phase_name(at.phase),
        step: at.step.map_or_else(|| "idle".to_owned(), |step| format!("{step:?}")),
        fault: cell.fault.text(),
        met,
    }
}

fn phase_name(phase: Phase) -> &'static str {
    PHASES.into_iter().find(|(known, _)| *known == phase).map_or("", |(_, name)| name)
}

fn say(survey: &Survey, config: &SimCoverage, report: &Report) {
    let (seeds, cells) = (count(survey.seeds, "seed"), survey.grid.len() as u64);
    report.line(format_args!("{seeds}: faults met {}\n", count(cells, "cell")));
    show(&by_fault(&survey.grid), report);
    report.line("");
    show(&by_level(&survey.grid), report);
    report.line("");
    if config.cells {
        for (cell, met) in survey.grid.cells() {
            report.line(format_args!("{:>8}  {cell}", thousands(met)));
        }
        report.line("");
    }
    for goal in GOALS {
        let met = match goal.count(&survey.grid) {
            0 => "NEVER".to_owned(),
            met => thousands(met),
        };
        report.line(format_args!("{met:>8}  {}", goal.name));
    }
    for failure in &survey.failures {
        report.line(format_args!("seed {} fails: {}", failure.seed, failure.violation));
    }
    let unmet = survey.unmet().len() as u64;
    if unmet > 0 {
        report.line(format_args!("{} never met", count(unmet, "goal")));
    }
}

fn show(rows: &[Vec<String>], report: &Report) {
    table::lay_out(rows).iter().for_each(|line| report.line(line));
}

/// Faults down, phases of a rebuild across.
fn by_fault(grid: &Grid) -> Vec<Vec<String>> {
    let head = std::iter::once(String::new()).chain(PHASES.map(|(_, name)| name.to_owned()));
    let row = |fault: Fault| {
        let met = |phase| grid.count(|cell| cell.fault == fault && cell.situation.phase == phase);
        let cells = PHASES.map(|(phase, _)| thousands(met(phase)));
        std::iter::once(fault.text().to_owned()).chain(cells).collect()
    };
    std::iter::once(head.collect()).chain(Fault::ALL.map(row)).collect()
}

/// Levels down, missing members across.
fn by_level(grid: &Grid) -> Vec<Vec<String>> {
    let head = ["", "0 missing", "1", "2", "more", "clean", "dirty"].map(str::to_owned).into();
    let row = |level: Level| {
        let of = |cell: &Cell| cell.situation.level == level;
        let missing = |n: u8| grid.count(|cell| of(cell) && cell.situation.missing == n);
        let dirty = |yes: bool| grid.count(|cell| of(cell) && cell.situation.dirty == yes);
        let counts = (0..4).map(missing).chain([dirty(false), dirty(true)]);
        std::iter::once(level.to_string()).chain(counts.map(thousands)).collect()
    };
    std::iter::once(head).chain(LEVELS.map(row)).collect()
}
