//! `holdfast bond`: bonds of network interfaces.

mod hash;
mod run;

use holdfast_host::bond::link::Name;
use serde::Serialize;

use crate::args::bond::FormatWord;
use crate::bond::cleanup;
use crate::bond::client;
use crate::bond::place::Place;
use crate::bond::protocol::{Request, Standing};
use crate::bond::told::Told;
use crate::config::bond::{Bond, Whom};
use crate::control::call::{Call, Heard};
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;

/// Does what was asked.
pub(super) fn run(job: &Bond, report: &Report) -> Outcome {
    match job {
        Bond::Run(config) => run::run(config, report),
        Bond::Status { whom, format } => status(whom, *format, report),
        Bond::Order { whom, requests } => order(whom, requests, report),
        Bond::Events { whom, past } => events(whom, *past, report),
        Bond::Hash(config) => hash::run(config, report),
        Bond::Cleanup { run_dir } => clean_up(run_dir.as_deref(), report),
    }
}

fn connect(whom: &Whom) -> Result<(Name, Call), Failure> {
    client::connect(whom.run_dir.as_deref(), whom.name.as_ref())
}

fn status(whom: &Whom, format: Option<FormatWord>, report: &Report) -> Outcome {
    let (bond, mut call) = connect(whom)?;
    call.ask(&Request::Status {})?;
    let answer = call.reply()?.value()?;
    let Standing { status, proc } = serde_json::from_value(answer).map_err(|error| {
        Failure::error(format!("bond {bond} did not say how it stands: {error}"))
    })?;
    match format {
        Some(FormatWord::Proc) => report.line(proc.trim_end_matches('\n')),
        _ => status.lines().into_iter().for_each(|line| report.line(line)),
    }
    report.answer(&status);
    Ok(status.exit())
}

/// What was ordered, and of whom.
#[derive(Debug, Serialize)]
struct Done<'a> {
    bond: &'a str,
    done: &'a [Request],
}

fn order(whom: &Whom, requests: &[Request], report: &Report) -> Outcome {
    let (bond, mut call) = connect(whom)?;
    for request in requests {
        call.ask(request)?;
        call.reply()?.value()?;
    }
    report.answer(&Done { bond: bond.as_str(), done: requests });
    Ok(Exit::Good)
}

fn events(whom: &Whom, past: bool, report: &Report) -> Outcome {
    let (_, mut call) = connect(whom)?;
    call.ask(&Request::Events { past, follow: !past })?;
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

/// What was put back.
#[derive(Debug, Serialize)]
struct Cleaned {
    put_back: Vec<String>,
}

fn clean_up(run_dir: Option<&std::path::Path>, report: &Report) -> Outcome {
    let place = Place::find(run_dir)?;
    let mut netlink = holdfast_host::bond::netlink::Netlink::open()
        .map_err(|error| Failure::error(format!("netlink: {error}")))?;
    let put_back = cleanup::clean(&place, &mut netlink)?;
    put_back.iter().for_each(|line| report.line(line));
    if put_back.is_empty() {
        report.line("nothing was left behind");
    }
    report.answer(&Cleaned { put_back });
    Ok(Exit::Good)
}
