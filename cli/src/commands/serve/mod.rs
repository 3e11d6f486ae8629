//! `holdfast serve`: runs an array and offers it to NBD clients until told to stop.
//!
//! One thread owns the array and the sockets; signals come from a thread that only listens for
//! them. SIGTERM or SIGINT: no new clients and requests, what is under way is answered, the array
//! is flushed and marked clean, exit 0. A second signal ends it at once, as a crash would. A
//! member that does not answer is named and not waited for.

mod health;
pub(super) mod signals;

use std::time::Duration;

use holdfast_core::size::Human;
use holdfast_core::time::{Clock, Instant};
use holdfast_host::nbd::session::Limits;
use holdfast_host::nbd::{Address, Export, Server};
use holdfast_raid::status::Health;
use serde::Serialize;

use self::health::Served;
use self::signals::{Signals, Wish};
use super::detail;
use crate::config::Serve;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::session::{Purpose, Session};

/// How long a stop waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long events that may go on (neighbouring ranges, a full member) are gathered before they are
/// told; and how often a flood is counted.
const GATHERED: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Answer {
    uuid: String,
    name: String,
    export: String,
    read_only: bool,
    array_bytes: u64,
    state: String,
    /// Where clients connect.
    uris: Vec<String>,
    pid: u32,
}

/// Serves until told to stop.
pub(super) fn run(config: &Serve, report: &Report) -> Outcome {
    let purpose = if config.read_only { Purpose::Look } else { Purpose::Serve };
    let mut session = Session::open(&config.group, purpose, report)?;
    let mut signals = Signals::listen(session.clock.wakeup())
        .map_err(|error| Failure::error(format!("cannot listen for signals: {error}")))?;
    let export = export(config, &session);
    let name = export.name.clone();
    let mut server = Server::new(export, Limits::default(), session.clock.wakeup())
        .map_err(|error| Failure::error(format!("cannot serve: {error}")))?;
    let uris = listen(&mut server, &config.nbd).inspect_err(|_| {
        session.stop(report);
    })?;
    announce(&session, config, name, &uris, report);
    let outcome = attend(&mut server, &mut session, &mut signals, report);
    drop(server);
    outcome
}

fn export(config: &Serve, session: &Session) -> Export {
    let status = session.status();
    let own = status.name.to_string();
    let own = own.rsplit(':').next().unwrap_or_default().to_owned();
    let name = config.export.clone().unwrap_or(own);
    Export {
        description: format!("md {} {}", status.level, status.uuid),
        name,
        bytes: session.bytes() / session.block_bytes() * session.block_bytes(),
        block_bytes: u32::try_from(session.block_bytes()).expect("blocks are a few KiB"),
        read_only: config.read_only || status.health == Health::Failed,
    }
}

fn listen(server: &mut Server, addresses: &[Address]) -> Result<Vec<String>, Failure> {
    let listen = |address: &Address| match server.listen(address) {
        Ok(bound) => Ok(bound.to_string()),
        Err(error) => Err(Failure::error(format!("--nbd {address}: {error}"))),
    };
    addresses.iter().map(listen).collect()
}

fn announce(session: &Session, config: &Serve, export: String, uris: &[String], report: &Report) {
    let status = session.status();
    let state = detail::state(&status);
    let how = if config.read_only { ", read-only" } else { "" };
    let size = Human(session.bytes());
    report.line(format_args!("serving {} {}: {size}, {state}{how}", status.level, status.uuid));
    for uri in uris {
        let named = if export.is_empty() { String::new() } else { format!("  (export {export})") };
        report.line(format_args!("  {uri}{named}"));
    }
    report.line("SIGTERM or Ctrl-C stops the array in good order");
    report.answer(&Answer {
        uuid: status.uuid.to_string(),
        name: status.name.to_string(),
        export,
        read_only: config.read_only,
        array_bytes: session.bytes(),
        state,
        uris: uris.to_vec(),
        pid: std::process::id(),
    });
}

/// Turn after turn, until told to stop and everything is answered.
fn attend(
    server: &mut Server,
    session: &mut Session,
    signals: &mut Signals,
    report: &Report,
) -> Outcome {
    let mut leaving: Option<Instant> = None;
    let mut telling: Option<Instant> = None;
    loop {
        let until = leaving.into_iter().chain(telling).min();
        let turned = server.turn(&mut Served(&mut session.array), &mut session.clock, until);
        session.tell(report, |_, _| {});
        let now = session.clock.now();
        if telling.is_some_and(|at| at <= now) {
            session.teller.finish(report);
            telling = None;
        } else if telling.is_none() && session.teller.is_holding() {
            telling = Some(now + GATHERED);
        }
        if let Err(error) = turned {
            session.stop(report);
            return Err(Failure::error(format!("waiting for clients: {error}")));
        }
        match signals.wish() {
            Wish::GoOn => {}
            Wish::Stop if leaving.is_none() => {
                server.leave();
                leaving = Some(session.clock.now() + PATIENCE);
            }
            Wish::Stop => {}
            Wish::Quit => {
                return Err(Failure::error("stopped at once: the array is left as after a crash")
                    .hint("the next verb resyncs what was being written"));
            }
        }
        if let Some(until) = leaving {
            let answered = server.under_way() == 0;
            let given_up = session.clock.now() >= until;
            if answered && (server.clients() == 0 || given_up) {
                return say_good_bye(session, report);
            }
            if given_up {
                return Err(stuck(session));
            }
        }
    }
}

fn say_good_bye(session: &mut Session, report: &Report) -> Outcome {
    let status = session.stop(report);
    report.line(format_args!("stopped; state: {}", detail::state(&status)));
    Ok(Exit::Good)
}

/// Whoever has not answered for so long.
fn stuck(session: &Session) -> Failure {
    let silent = (0..session.paths.len()).filter(|&member| session.array.outstanding(member) > 0);
    let silent: Vec<String> =
        silent.map(|member| session.path(member).display().to_string()).collect();
    let who = if silent.is_empty() { "nobody knows who".to_owned() } else { silent.join(", ") };
    Failure::error(format!("stuck: member {who} does not answer; left as after a crash"))
        .hint("the next verb resyncs what was being written")
}
