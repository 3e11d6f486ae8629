//! `holdfast bond`: bonds of network interfaces.

mod hash;
mod run;

use std::io;

use serde::Serialize;

use crate::args::bond::FormatWord;
use crate::bond::cleanup;
use crate::bond::client::Client;
use crate::bond::place::Place;
use crate::bond::protocol::Request;
use crate::config::bond::{Bond, Whom};
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

fn connect(whom: &Whom) -> Result<Client, Failure> {
    Client::connect(whom.run_dir.as_deref(), whom.name.as_ref())
}

fn status(whom: &Whom, format: Option<FormatWord>, report: &Report) -> Outcome {
    let mut client = connect(whom)?;
    let reply = client.ask(&Request::Status)?;
    let (Some(view), Some(proc)) = (reply.status, reply.proc) else {
        return Err(Failure::error(format!("bond {} did not say how it stands", client.bond())));
    };
    match format {
        Some(FormatWord::Proc) => report.line(proc.trim_end_matches('\n')),
        _ => view.lines().into_iter().for_each(|line| report.line(line)),
    }
    report.answer(&view);
    Ok(view.exit())
}

/// What was ordered, and of whom.
#[derive(Debug, Serialize)]
struct Done<'a> {
    bond: &'a str,
    done: &'a [Request],
}

fn order(whom: &Whom, requests: &[Request], report: &Report) -> Outcome {
    let mut client = connect(whom)?;
    for request in requests {
        client.ask(request)?;
    }
    if requests.contains(&Request::Stop) {
        // It hangs up when everything is put back.
        while let Ok(Some(_)) = client.next() {}
    }
    report.answer(&Done { bond: client.bond().as_str(), done: requests });
    Ok(Exit::Good)
}

fn events(whom: &Whom, past: bool, report: &Report) -> Outcome {
    let mut client = connect(whom)?;
    let mut first = Some(client.ask(&Request::Events { past, follow: !past })?);
    loop {
        let reply = match first.take() {
            Some(reply) => reply,
            None => match client.next() {
                Ok(Some(reply)) => reply,
                Ok(None) => return Ok(Exit::Good),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::error(format!("bond {}: {error}", client.bond())));
                }
            },
        };
        if let Some(told) = reply.event {
            report.stream(&told, &told);
        }
        if report.is_closed() {
            return Ok(Exit::Good);
        }
    }
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
