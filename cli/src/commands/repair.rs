//! `holdfast repair`: compares like `check`, and makes what differs agree.
//!
//! Mirrors copy from the first slot in sync; parity is computed anew from the data. Nobody can
//! know which side of a difference is right, except on raid6 with `--locate`, where a whole sector
//! must point at one member before that member is rewritten. A dry run is a check.

use holdfast_raid::status::Status;
use holdfast_raid::sync::Action;

use super::check::{Answer, FORCE_ON_LOCKED, compare, name_writers, refuse_pointless};
use crate::config::Repair;
use crate::exit::{Exit, Failure, Outcome};
use crate::members;
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// Compares and mends.
pub(super) fn run(config: &Repair, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Look } else { Purpose::Change };
    if dry_run {
        members::refuse_locked(&config.group, FORCE_ON_LOCKED)?;
    }
    let mut session = Session::open(&config.group, purpose, report)?;
    refuse_pointless(&session.status(), config.locate)?;
    let action = if dry_run {
        Action::Check { locate: config.locate }
    } else {
        confirm("Rewrite whatever differs?", config.caution.yes)?;
        Action::Repair { locate: config.locate }
    };
    let mut answer = compare(&mut session, action, report)?;
    if dry_run {
        answer = answer.imagined();
    }
    let status = if dry_run {
        session.teller.finish(report);
        session.status()
    } else {
        session.stop(report)
    };
    if dry_run && answer.differs() {
        name_writers(&config.group, report);
    }
    conclude(&answer, config.locate && !dry_run, dry_run, &status, report)
}

/// The last words of a repair.
pub(super) fn conclude(
    answer: &Answer,
    locate: bool,
    dry_run: bool,
    status: &Status,
    report: &Report,
) -> Outcome {
    answer.say(status, report);
    if answer.is_complete() && !dry_run {
        outcome(answer, locate).into_iter().for_each(|text| report.note(text));
    }
    report.answer(answer);
    if !answer.is_complete() {
        return Err(Failure::error("the repair did not reach its end").hint("run it again"));
    }
    Ok(if answer.differs() { Exit::Differs } else { Exit::Good })
}

/// What has been mended and what stays as it was.
fn outcome(answer: &Answer, locate: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mended = if locate { answer.located() } else { answer.count() };
    let stays = answer.count() - mended;
    match (mended, stays) {
        (0, 0) => {}
        (_, 0) => words.push(
            "what differed has been rewritten; holdfast check should find nothing now".to_owned(),
        ),
        (_, _) => words.push(format!(
            "{mended} of {} differences have been rewritten; {stays} point at no one member and \
             stay as they are: holdfast repair without --locate computes their parity anew from \
             the data",
            answer.count()
        )),
    }
    if answer.is_unreadable() {
        words.push("what could not be read stays as it is".to_owned());
    }
    words
}
