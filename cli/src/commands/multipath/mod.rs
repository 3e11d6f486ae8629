//! `holdfast multipath`: several paths to one disk.
//!
//! `serve` runs a map; every other verb asks the serving process over its control socket.

mod serve;

use std::io::ErrorKind;

use crate::args::multipath::{MultipathVerb, MultipathWhomArgs, ShowWord};
use crate::control::call::{Call, Heard};
use crate::control::reply::Reply;
use crate::exit::{Exit, Failure, Outcome};
use crate::multipath::protocol::Request;
use crate::multipath::told::Told;
use crate::multipath::whom;
use crate::report::Report;

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
            let (what, format) = (what.to_owned(), args.format.clone());
            put(&args.whom, &Request::Show { what, format, raw: args.raw })?.tell(report)
        }
        MultipathVerb::FailPath(args) => {
            put(&args.whom, &Request::FailPath { path: args.path.clone() })?.tell(report)
        }
        MultipathVerb::Reinstate(args) => {
            put(&args.whom, &Request::Reinstate { path: args.path.clone() })?.tell(report)
        }
        MultipathVerb::SwitchGroup(args) => {
            put(&args.whom, &Request::SwitchGroup { group: args.group })?.tell(report)
        }
        MultipathVerb::Set(args) => {
            let (name, value) = (args.name.clone(), args.value.clone());
            put(&args.whom, &Request::Set { name, value })?.tell(report)
        }
        MultipathVerb::FailNow(args) => put(args, &Request::FailNow {})?.tell(report),
        MultipathVerb::Events(args) => events(args, report),
    }
}

fn events(args: &MultipathWhomArgs, report: &Report) -> Outcome {
    let mut call = call(args)?;
    call.ask(&Request::Events {})?;
    while let Some(heard) = call.hear::<Told>()? {
        match heard {
            Heard::Event(told) => report.stream(&told, &told),
            Heard::Reply(reply) => return reply.tell(report),
        }
        if report.is_closed() {
            break;
        }
    }
    Ok(Exit::Good)
}

fn put(args: &MultipathWhomArgs, request: &Request) -> Result<Reply, Failure> {
    let mut call = call(args)?;
    call.ask(request)?;
    call.reply()
}

fn call(args: &MultipathWhomArgs) -> Result<Call, Failure> {
    let path = whom(args).map_err(|error| Failure::error(error.to_string()))?;
    Call::connect(&path).map_err(|error| {
        let failure = Failure::error(format!("{}: {error}", path.display()));
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                failure.hint("no map is served there; --map or --control name another one")
            }
            _ => failure,
        }
    })
}
