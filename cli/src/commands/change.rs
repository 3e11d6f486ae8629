//! The answer of verbs that change who is a member: `fail`, `remove`, `add`.

use holdfast_raid::status::MemberStatus;
use serde::Serialize;

use crate::commands::detail;
use crate::config::{MemberChange, Selector};
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::session::{Purpose, Session};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    dry_run: bool,
    action: &'a str,
    path: String,
    slot: Option<u32>,
    state: String,
    next: Option<String>,
}

/// One change, done or only imagined.
#[derive(Debug)]
pub(crate) struct Changed {
    /// `fail`, `remove` or `add`.
    pub(crate) action: &'static str,
    /// The device.
    pub(crate) path: String,
    /// The slot it had or has.
    pub(crate) slot: Option<u32>,
    /// What became of it, as a sentence without its end.
    pub(crate) sentence: String,
    /// Worth knowing beside it.
    pub(crate) note: Option<String>,
}

/// What a verb does to an open array.
type Deed = fn(&mut Session, &Selector, bool) -> Result<Changed, Failure>;

/// Does it to an array at rest: assembled for the purpose, and stopped again.
pub(crate) fn run(config: &MemberChange, report: &Report, deed: Deed) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Look } else { Purpose::Change };
    let mut session = Session::open(&config.group, purpose, report)?;
    let changed = deed(&mut session, &config.member, dry_run)?;
    if !dry_run {
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    Ok(answer(changed, dry_run, &session, report))
}

/// The member that is meant, its path and how it stands.
pub(crate) fn meant(
    session: &Session,
    selector: &Selector,
) -> Result<(usize, String, MemberStatus), Failure> {
    let member = session.select(selector)?;
    let path = session.path(member).display().to_string();
    Ok((member, path, session.status().members.swap_remove(member)))
}

/// Says what was done and what is next.
pub(crate) fn answer(changed: Changed, dry_run: bool, session: &Session, report: &Report) -> Exit {
    let status = session.status();
    let (state, next) = (detail::state(&status), detail::next(&status));
    if let Some(note) = &changed.note {
        report.note(note);
    }
    let would = if dry_run { "would be done: " } else { "" };
    report.line(format_args!("{would}{}", changed.sentence));
    if !dry_run {
        report.line(format_args!("state: {state}"));
        if let Some(next) = &next {
            report.line(format_args!("next: {next}"));
        }
    }
    let Changed { action, path, slot, .. } = changed;
    report.answer(&Answer { dry_run, action, path, slot, state, next });
    Exit::Good
}
