//! `holdfast`: Linux md arrays on files and disks, without the kernel.
//!
//! Three steps, as in ripgrep: [`args`] is what was typed, [`config`] what it means,
//! [`commands`] does it, one file per verb. A verb calls the libraries, says its answer to the
//! [`report`] (in words or as JSON) and returns the [`exit`] code. The libraries never print.
//!
//! What verbs share: [`members`] opens files and names them ([`parts`]: a partition of a
//! disk may be one; [`export`]: so may an export of a server), [`session`] assembles an array of
//! them, [`run`] drives it until it is quiet, [`stream`] keeps many requests in flight, and
//! [`undo`] keeps the way back, [`overlay`] keeps writes from the members, and
//! [`progress`] draws the line everybody knows from `/proc/mdstat`.

mod args;
mod blueprint;
mod bond;
mod commands;
mod config;
mod control;
mod disk;
mod erase;
mod events;
mod exit;
mod export;
mod front;
mod json;
mod knobs;
mod members;
mod metadata;
mod moment;
mod multipath;
mod overlay;
mod parts;
mod picture;
mod progress;
mod report;
mod run;
mod session;
mod stream;
mod survival;
mod table;
mod text;
mod undo;

use std::process::ExitCode;

use holdfast_raid::parity::{Engine, OVERRIDE, engines, unknown_override};

use crate::config::Job;
use crate::exit::{Exit, Failure};
use crate::report::Report;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            let json = std::env::args_os().any(|word| word == "--json");
            return report::usage(&error, json).into();
        }
    };
    let report = Report::new(cli.json);
    members::choose_io(cli.io);
    let outcome = refuse_unknown_engine()
        .and_then(|()| Job::try_from(cli.verb))
        .and_then(|job| commands::run(&job, &report));
    let exit = outcome.unwrap_or_else(|failure: Failure| {
        report.failure(&failure);
        failure.exit
    });
    let exit = match report.finish() {
        Ok(()) => exit,
        Err(failure) => {
            report.failure(&failure);
            failure.exit
        }
    };
    Exit::into(exit)
}

/// Who forces an engine wants that one, not the next best.
fn refuse_unknown_engine() -> Result<(), Failure> {
    let Some(wanted) = unknown_override() else { return Ok(()) };
    let known: Vec<&str> = engines().map(Engine::name).collect();
    let text = format!("{OVERRIDE}={wanted}: this CPU has {}", known.join(", "));
    Err(Failure::usage(text))
}
