//! `holdfast sim run`: many seeds, judged.
//!
//! A failure is told with the command that repeats it, with its script (shrunk, if it is one of
//! the first few) and with the end of what happened. With `--out` the result stays in a file that
//! `holdfast sim merge` understands.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_sim::campaign::{Campaign, Failure as Failed, Shard, Summary};
use holdfast_sim::plan::Plan;
use holdfast_sim::run::Mark;
use holdfast_sim::shrink::shrink;
use holdfast_sim::swarm;
use serde::Serialize;

use super::part::Part;
use super::story::{self, Broken};
use super::ticker::{self, Ticker};
use super::{count, exit, summary, thousands, write_text};
use crate::config::SimRun;
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::text;

/// Failures that are shrunk and told; the others are counted.
const MOST_TOLD: usize = 3;
/// Runs that shrinking one of them may take.
const SHRINK_BUDGET: u32 = 2000;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    plan: String,
    first_seed: u64,
    seeds: u64,
    shard: String,
    seconds: f64,
    seeds_per_second: u64,
    disk_answers: u64,
    /// The sum of all histories, in hexadecimal.
    history: String,
    failures: Vec<Told>,
    met: Vec<Met>,
}

/// A failure and how to see it again.
#[derive(Debug, Serialize)]
struct Told {
    seed: u64,
    #[serde(flatten)]
    broken: Broken,
    again: String,
    /// The shrunk script, of the first few.
    script: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Met {
    what: &'static str,
    runs: u64,
}

/// Runs seeds.
pub(super) fn run(config: &SimRun, report: &Report) -> Outcome {
    let campaign = campaign(config)?;
    let out = out_directory(config);
    make(config.out.as_deref())?;
    let seeds = config.shard.of(campaign.first_seed, campaign.seeds);
    let ticker = Ticker::new(seeds.end - seeds.start, report.is_watched());
    let go_on = || config.limit.is_none_or(|limit| ticker.elapsed() < limit);
    let tick = |one: &Summary| ticker.tick(!one.failures.is_empty());
    let summary = campaign.run_while(config.shard, go_on, tick);
    let took = ticker.finish();
    summary::say(&summary, report);
    report.line(format_args!(
        "{}.{} s, {}/s",
        took.as_secs(),
        took.subsec_millis() / 100,
        thousands(ticker::rate(summary.seeds, took)),
    ));
    if config.out.is_some() {
        let part = Part::new(&campaign, config.shard, &summary);
        report.line(part.save(&out)?.display());
    }
    let told = tell_failures(&campaign, config, &summary, &out, report)?;
    report.answer(&answer(&campaign, config.shard, &summary, took, told));
    Ok(exit(summary.failures.is_empty()))
}

fn campaign(config: &SimRun) -> Result<Campaign, Failure> {
    let mut plan = match &config.plan {
        None => Plan::default(),
        Some(path) => text::read(path)?.parse().map_err(|error| {
            Failure::error(format!("{}: {error}", path.display()))
                .hint("docs/simulator.md describes plans")
        })?,
    };
    plan.profile = config.profile.unwrap_or(plan.profile);
    plan.mode = config.mode.unwrap_or(plan.mode);
    if !swarm::possible(&plan) {
        return Err(Failure::error("the plan allows no array that could be made"));
    }
    let (first_seed, seeds, twice) = (config.first_seed, config.seeds, config.twice);
    if first_seed.checked_add(seeds).is_none() {
        return Err(Failure::usage("--seed and --seeds: there are no seeds beyond 2^64"));
    }
    Ok(Campaign { plan, first_seed, seeds, twice })
}

/// Where scripts go.
fn out_directory(config: &SimRun) -> PathBuf {
    config.out.clone().unwrap_or_else(|| std::env::temp_dir().join("holdfast-sim"))
}

/// Makes a directory, if one was named.
fn make(directory: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = directory else { return Ok(()) };
    fs::create_dir_all(directory)
        .map_err(|error| Failure::error(format!("{}: {error}", directory.display())))
}

fn tell_failures(
    campaign: &Campaign,
    config: &SimRun,
    summary: &Summary,
    out: &Path,
    report: &Report,
) -> Result<Vec<Told>, Failure> {
    let mut all = Vec::new();
    for (index, failed) in summary.failures.iter().enumerate() {
        let again = again(campaign, config, failed.seed);
        let mut told =
            Told { seed: failed.seed, broken: (&failed.violation).into(), again, script: None };
        if index < MOST_TOLD {
            told.script = Some(tell(campaign, failed, &told.again, out, report)?);
        }
        all.push(told);
    }
    if all.len() > MOST_TOLD {
        let rest: Vec<String> = all[MOST_TOLD..].iter().map(|told| told.seed.to_string()).collect();
        report.line(format_args!("\nfailed as well: {}", rest.join(" ")));
    }
    Ok(all)
}

fn tell(
    campaign: &Campaign,
    failed: &Failed,
    again: &str,
    out: &Path,
    report: &Report,
) -> Result<PathBuf, Failure> {
    let script = swarm::planned(&campaign.plan, failed.seed);
    let mut small = shrink(&script, SHRINK_BUDGET);
    small.notes = vec![format!("found by: {again}")];
    let (profile, mode) = (campaign.plan.profile, campaign.plan.mode);
    make(Some(out))?;
    let path = out.join(format!("{profile}-{mode}-{}.trace", failed.seed));
    write_text(&path, &small.to_string())?;
    report.line(format_args!("\nseed {}: {}", failed.seed, failed.violation));
    report.line(format_args!("  again:  {again}"));
    let (events, path_text) = (count(small.lines.len() as u64, "event"), path.display());
    report.line(format_args!("  shrunk to {events}: {path_text}"));
    story::tell(&small, &path, report);
    Ok(path)
}

/// The command that runs one seed again.
fn again(campaign: &Campaign, config: &SimRun, seed: u64) -> String {
    let (profile, mode) = (campaign.plan.profile, campaign.plan.mode);
    let plan = config.plan.as_ref().map(|path| format!(" --plan {}", path.display()));
    let twice = if campaign.twice { " --twice" } else { "" };
    format!(
        "holdfast sim run{} --profile {profile} --mode {mode} --seed {seed} --seeds 1{twice}",
        plan.unwrap_or_default(),
    )
}

fn answer(
    campaign: &Campaign,
    shard: Shard,
    summary: &Summary,
    took: Duration,
    failures: Vec<Told>,
) -> Answer {
    let met = |mark: Mark| Met { what: mark.text(), runs: summary.marks.count(mark) };
    Answer {
        clean: summary.failures.is_empty(),
        plan: campaign.plan.to_string(),
        first_seed: campaign.first_seed,
        seeds: summary.seeds,
        shard: shard.to_string(),
        seconds: took.as_secs_f64(),
        seeds_per_second: ticker::rate(summary.seeds, took),
        disk_answers: summary.steps,
        history: format!("{:016x}", summary.hash),
        failures,
        met: Mark::ALL.into_iter().map(met).collect(),
    }
}
