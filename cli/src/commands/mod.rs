//! The verbs, one file each.

mod add;
mod arrival;
mod bench;
mod bond;
mod change;
mod check;
mod completions;
mod create;
mod demo;
pub(crate) mod detail;
mod doctor;
mod dump;
mod examine;
mod fail;
mod man;
mod map;
mod mdstat;
mod multipath;
mod overlay;
mod plan;
mod re_add;
mod read;
mod rebuild;
mod recover_search;
mod remove;
mod repair;
mod replace;
mod restore;
mod serve;
mod served;
mod sim;
mod write;
mod zero_superblock;

use crate::config::Job;
use crate::control::client;
use crate::exit::Outcome;
use crate::report::Report;

/// Does what was asked.
pub(crate) fn run(job: &Job, report: &Report) -> Outcome {
    if let Some(outcome) = client::forward(job, report) {
        return outcome;
    }
    match job {
        Job::Demo(config) => demo::run(config, report),
        Job::Create(config) => create::run(config, report),
        Job::Examine(config) => examine::run(config, report),
        Job::Detail(config) => detail::run(config, report),
        Job::Mdstat(config) => mdstat::run(config, report),
        Job::Read(config) => read::run(config, report),
        Job::Write(config) => write::run(config, report),
        Job::Check(config) => check::run(config, report),
        Job::Repair(config) => repair::run(config, report),
        Job::Rebuild(config) => rebuild::run(config, report),
        Job::Fail(config) => fail::run(config, report),
        Job::Remove(config) => remove::run(config, report),
        Job::Add(config) => add::run(config, report),
        Job::ReAdd(config) => re_add::run(config, report),
        Job::Replace(config) => replace::run(config, report),
        Job::ZeroSuperblock(config) => zero_superblock::run(config, report),
        Job::Doctor(config) => doctor::run(config, report),
        Job::Dump(config) => dump::run(config, report),
        Job::Restore(config) => restore::run(config, report),
        Job::OverlayDiff(file) => overlay::diff(file, report),
        Job::OverlayCommit(config) => overlay::commit(config, report),
        Job::OverlayDiscard(config) => overlay::discard(config, report),
        Job::Map(config) => map::run(config, report),
        Job::Plan(config) => plan::run(config, report),
        Job::Sim(config) => sim::run(config, report),
        Job::Serve(config) => serve::run(config, report),
        Job::Served(config) => served::run(config, report),
        Job::Monitor(config) => served::monitor(config, report),
        Job::Bench(config) => bench::run(config, report),
        Job::Multipath(verb) => multipath::run(verb, report),
        Job::Bond(config) => bond::run(config, report),
        Job::RecoverSearch(config) => recover_search::run(config, report),
        Job::Man(directory) => man::run(directory, report),
        Job::Completions(shell) => completions::run(*shell),
    }
}
