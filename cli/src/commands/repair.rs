//! `holdfast repair`: compares like `check`, and makes what differs agree.
//!
//! Mirrors copy from the first slot in sync; parity is computed anew from the data. Nobody can
//! know which side of a difference is right, except on raid6 with `--locate`, where a whole sector
//! must point at one member before that member is rewritten. A dry run is a check.

use holdfast_raid::sync::Action;

use super::check::{compare, refuse_pointless};
use crate::config::Repair;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// Compares and mends.
pub(super) fn run(config: &Repair, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Look } else { Purpose::Change };
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
    let status = if dry_run { session.status() } else { session.stop(report) };
    answer.say(&status, report);
    report.answer(&answer);
    if !answer.is_complete() {
        return Err(Failure::error("the repair did not reach its end").hint("run it again"));
    }
    if answer.differs() && !dry_run {
        report.note("what differed has been rewritten; holdfast check should find nothing now");
    }
    Ok(if answer.differs() { Exit::Differs } else { Exit::Good })
}
