//! `holdfast rebuild`: recovers onto spares and finishes a pending resync, in the foreground.
//!
//! Progress is recorded in the metadata as it goes, so an interrupted rebuild continues where it
//! was. What could not be read on the way costs that range only; it is named, and the exit code
//! says so.

use holdfast_core::size::Human;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_raid::event::Event;
use holdfast_raid::status::{Health, MemberState, Status};
use serde::Serialize;

use super::detail;
use crate::config::Change;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::session::{Purpose, Session};

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    passes: Vec<Pass>,
    state: String,
    /// What could not be rebuilt, on the members it should have been rebuilt on.
    lost: Vec<Lost>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Pass {
    action: &'static str,
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Lost {
    path: String,
    first_sector: u64,
    sectors: u64,
}

/// Rebuilds and resyncs.
pub(super) fn run(config: &Change, report: &Report) -> Outcome {
    if config.caution.dry_run {
        return foretell(config, report);
    }
    let mut session = Session::open(&config.group, Purpose::Change, report)?;
    let mut answer = Answer {
        dry_run: false,
        passes: Vec::new(),
        state: String::new(),
        lost: Vec::new(),
        next: None,
    };
    while session.array.start_pending() {
        let events = session.run_and_tell(report);
        let names = session.names();
        let mut went_on = false;
        for event in events {
            match event {
                Event::SyncFinished { action, complete, .. } => {
                    went_on |= complete;
                    let word = action.name();
                    let how = if complete { "done" } else { "interrupted" };
                    report.line(format_args!("{word}: {how}"));
                    answer.passes.push(Pass { action: word, complete });
                }
                Event::BadBlocks { member, sector, sectors } => answer.lost.push(Lost {
                    path: names.device(member).to_owned(),
                    first_sector: sector,
                    sectors,
                }),
                _ => {}
            }
        }
        // A pass that cannot finish would be due again at once.
        if !went_on {
            break;
        }
    }
    let status = session.stop(report);
    finish(answer, &status, report)
}

fn finish(mut answer: Answer, status: &Status, report: &Report) -> Outcome {
    if answer.passes.is_empty() {
        report.line("nothing to rebuild and nothing to resync");
    }
    answer.state = detail::state(status);
    answer.next = detail::next(status);
    report.line(format_args!("state: {}", answer.state));
    let complete = answer.passes.iter().all(|pass| pass.complete);
    if let Some(next) = answer.next.as_ref().filter(|_| complete) {
        report.line(format_args!("next: {next}"));
    }
    if !complete {
        report.answer(&answer);
        return Err(match status.health {
            Health::Failed => Failure::unusable("the array lost more members than it bears")
                .hint("holdfast detail says which; nothing more was written to them"),
            _ => Failure::error("the rebuild did not reach its end")
                .hint("run it again: it continues where it was"),
        });
    }
    let exit = if answer.lost.is_empty() { Exit::Good } else { Exit::Differs };
    report.answer(&answer);
    Ok(exit)
}

/// What a rebuild would do.
fn foretell(config: &Change, report: &Report) -> Outcome {
    let session = Session::open(&config.group, Purpose::Look, report)?;
    let status = session.status();
    let mut passes = Vec::new();
    if let Some((action, done, total)) = detail::pending(&status) {
        let (done, total) = (Human(done * SECTOR_BYTES), Human(total * SECTOR_BYTES));
        report.line(format_args!("would be done: {action}, from {done} to {total}"));
        passes.push(Pass { action: action.name(), complete: false });
    }
    let spares = status.members.iter().filter(|member| member.state == MemberState::Spare);
    let missing = detail::present(&status).iter().filter(|present| !**present).count();
    let takes = spares.count().min(missing);
    if takes > 0 && status.health == Health::Degraded {
        report.line(format_args!("would be done: recovery onto {takes} spares"));
        passes.push(Pass { action: "recovery", complete: false });
    }
    if passes.is_empty() {
        report.line("nothing to rebuild and nothing to resync");
    }
    let (state, next) = (detail::state(&status), detail::next(&status));
    report.answer(&Answer { dry_run: true, passes, state, lost: Vec::new(), next });
    Ok(Exit::Good)
}
