//! `holdfast replace`: has a spare take over from a member that still serves.
//!
//! The spare is one of the array's, or a new device that becomes one. From now on writes go to both;
//! `rebuild` copies the rest, in the foreground, and then the old member is out of service. Until
//! then the array is as safe as it was: the old member goes on serving its slot.

use std::path::{Path, PathBuf};

use holdfast_raid::status::MemberState;

use super::add::{self, Terms};
use super::arrival::Arrival;
use super::change::{self, Changed};
use crate::config::{Caution, Replace, Selector};
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::session::{Purpose, Session, same_file};

/// Begins the replacement.
pub(super) fn run(config: &Replace, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Rehearse } else { Purpose::Change };
    let given = config.group.members.iter().any(|path| same_file(path, &config.with));
    let beside = (!given).then_some(config.with.as_path());
    let (mut session, new) = Session::open_beside(&config.group, beside, purpose, report)?;
    let with = match new {
        Some(new) => {
            let arrival = Arrival::look(new, !config.group.force, &mut session.clock)?;
            With::New(Box::new(arrival))
        }
        None => With::Known(config.with.clone()),
    };
    let changed = begin(&mut session, &config.member, with, config.group.force, config.caution)?;
    if !dry_run {
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    Ok(change::answer(changed, dry_run, &session, report))
}

/// Who is to take over.
#[derive(Debug)]
pub(crate) enum With {
    /// One of the array's devices.
    Known(PathBuf),
    /// Another, which becomes a spare first.
    New(Box<Arrival>),
}

/// Begins the replacement, or only says what that would be. What the others record is under way when
/// this returns.
pub(crate) fn begin(
    session: &mut Session,
    selector: &Selector,
    with: With,
    force: bool,
    caution: Caution,
) -> Result<Changed, Failure> {
    let (member, path, before) = change::meant(session, selector)?;
    let refused = |refusal| Failure::error(format!("{path} cannot be replaced: {refusal}"));
    let slot = session.array.check_replaced(member).map_err(refused)?;
    let (name, spare) = match with {
        With::New(arrival) => {
            let terms = Terms { write_mostly: before.write_mostly, force, caution };
            let name = arrival.path.display().to_string();
            (name, add::admit(session, *arrival, terms)?)
        }
        With::Known(path) => {
            let spare = spare_among(session, &path)?;
            (session.path(spare).display().to_string(), Some(spare))
        }
    };
    match spare {
        Some(spare) if caution.dry_run => session.array.check_replacement(member, spare).map(drop),
        Some(spare) => session.array.replace_member(member, spare),
        None => Ok(()),
    }
    .map_err(refused)?;
    let sentence = format!("{name} is to replace {path} in slot {slot}, which serves meanwhile");
    Ok(Changed { action: "replace", path, slot: Some(slot), sentence, note: None })
}

/// The spare that is meant, among the members given.
fn spare_among(session: &Session, with: &Path) -> Result<usize, Failure> {
    let spare = session.known(with).expect("it is among the members given");
    let with = with.display();
    match session.status().members[spare].state {
        MemberState::Spare => Ok(spare),
        MemberState::Foreign | MemberState::Faulty | MemberState::Stale => {
            Err(Failure::error(format!("{with} is no spare of this array"))
                .hint("leave it out of the members: --with makes a new device a spare"))
        }
        _ => Err(Failure::error(format!("{with} is in use already"))),
    }
}
