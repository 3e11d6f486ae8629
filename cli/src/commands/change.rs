//! The answer of verbs that change who is a member: `fail`, `remove`, `add`.

use holdfast_raid::status::MemberStatus;
use serde::Serialize;

use crate::commands::detail;
use crate::config::MemberChange;
use crate::exit::{Exit, Failure};
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
pub(crate) struct Changed<'a> {
    /// `fail`, `remove` or `add`.
    pub(crate) action: &'a str,
    /// The device.
    pub(crate) path: String,
    /// The slot it had or has.
    pub(crate) slot: Option<u32>,
    /// What became of it, as a sentence without its end.
    pub(crate) sentence: String,
}

/// The array, the member that is meant, its path and what it was before.
pub(crate) fn open(
    config: &MemberChange,
    report: &Report,
) -> Result<(Session, usize, String, MemberStatus), Failure> {
    let purpose = if config.caution.dry_run { Purpose::Look } else { Purpose::Change };
    let session = Session::open(&config.group, purpose, report)?;
    let member = session.select(&config.member)?;
    let path = session.path(member).display().to_string();
    let before = session.status().members.swap_remove(member);
    Ok((session, member, path, before))
}

/// Says what was done and what is next.
pub(crate) fn answer(
    changed: Changed<'_>,
    dry_run: bool,
    session: &Session,
    report: &Report,
) -> Exit {
    let status = session.status();
    let (state, next) = (detail::state(&status), detail::next(&status));
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
