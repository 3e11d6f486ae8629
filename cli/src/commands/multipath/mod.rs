//! `holdfast multipath`: several paths to one disk.
//!
//! `serve` runs a map; every other verb asks the serving process over its control socket.

mod serve;

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::args::multipath::{MultipathVerb, ShowWord};
use crate::exit::{Exit, Failure, Outcome};
use crate::multipath::control::{self, Answer, Ask};
use crate::multipath::whom;
use crate::report::Report;

#[derive(Debug, Serialize)]
struct State {
    map: Value,
}

#[derive(Debug, Serialize)]
struct Done {
    done: String,
}

/// Does what was asked.
pub(super) fn run(verb: &MultipathVerb, report: &Report) -> Outcome {
    match verb {
        MultipathVerb::Serve(args) => serve::run(args, report),
        MultipathVerb::Show(args) => {
            let what = match args.what {
                ShowWord::Topology => "topology",
                ShowWord::Paths => "paths",
                ShowWord::Maps => "maps",
                ShowWord::Stats => "stats",
                ShowWord::Dm => "dm",
            };
            let ask =
                Ask::Show { what: what.to_owned(), format: args.format.clone(), raw: args.raw };
            let answer = put(&whom(&args.whom), &ask)?;
            report.line(answer.text.unwrap_or_default().trim_end());
            report.answer(&State { map: answer.state.unwrap_or_default() });
            Ok(Exit::Good)
        }
        MultipathVerb::FailPath(args) => {
            order(&whom(&args.whom), &Ask::FailPath { path: args.path.clone() }, report)
        }
        MultipathVerb::Reinstate(args) => {
            order(&whom(&args.whom), &Ask::Reinstate { path: args.path.clone() }, report)
        }
        MultipathVerb::SwitchGroup(args) => {
            order(&whom(&args.whom), &Ask::SwitchGroup { group: args.group }, report)
        }
        MultipathVerb::Set(args) => {
            let (name, value) = (args.name.clone(), args.value.clone());
            order(&whom(&args.whom), &Ask::Set { name, value }, report)
        }
        MultipathVerb::FailNow(args) => order(&whom(args), &Ask::FailNow, report),
        MultipathVerb::Events(args) => {
            let each = |line: &str| {
                let told: Value = serde_json::from_str(line).unwrap_or_default();
                let text = told["text"].as_str().unwrap_or(line).to_owned();
                report.stream(text, &told);
                true
            };
            control::ask(&whom(args), &Ask::Events, each)
                .map_err(|error| unreachable_map(&whom(args), &error))?;
            Ok(Exit::Good)
        }
    }
}

fn order(socket: &Path, ask: &Ask, report: &Report) -> Outcome {
    let answer = put(socket, ask)?;
    let done = answer.text.unwrap_or_default();
    report.line(&done);
    report.answer(&Done { done });
    Ok(Exit::Good)
}

fn put(socket: &Path, ask: &Ask) -> Result<Answer, Failure> {
    let answer =
        control::ask(socket, ask, |_| false).map_err(|error| unreachable_map(socket, &error))?;
    match answer.error {
        Some(error) => Err(Failure::error(error)),
        None => Ok(answer),
    }
}

fn unreachable_map(socket: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::error(format!("{}: {error}", socket.display()));
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            failure.hint("no map is served there; --map or --control name another one")
        }
        _ => failure,
    }
}
