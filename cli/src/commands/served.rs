//! `holdfast stop | speed | monitor`: verbs for arrays that another process serves.

use crate::config::Served;
use crate::control::call::{Call, Heard};
use crate::control::client;
use crate::control::protocol::Told;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;

/// Asks, and tells what came of it.
pub(super) fn run(config: &Served, report: &Report) -> Outcome {
    let mut client = reach(config)?;
    client.ask(&config.request)?;
    client.reply()?.tell(report)
}

/// Tells every event, until the server is gone: a sentence a line, or an object a line.
pub(super) fn monitor(config: &Served, report: &Report) -> Outcome {
    let mut client = reach(config)?;
    client.ask(&config.request)?;
    while let Some(heard) = client.hear::<Told>()? {
        let told = match heard {
            Heard::Event(told) => told,
            Heard::Reply(reply) => return reply.tell(report),
        };
        let member = told.member.as_ref().map(|path| format!(" {}", path.display()));
        let text = told.text.as_ref().map(|text| format!(": {text}"));
        let (member, text) = (member.unwrap_or_default(), text.unwrap_or_default());
        report.stream(format_args!("{} {}{member}{text}", told.event, told.array), &told);
    }
    Ok(Exit::Good)
}

fn reach(config: &Served) -> Result<Call, Failure> {
    match &config.control {
        Some(path) => Call::connect(path)
            .map_err(|error| Failure::error(format!("{}: {error}", path.display()))),
        None => client::find(config.array.as_deref()),
    }
}
