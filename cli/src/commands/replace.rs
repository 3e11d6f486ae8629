//! `holdfast replace`: has a spare take over from a member that still serves.
//!
//! The spare is one of the array's, or a new device that becomes one. From now on writes go to both;
//! `rebuild` copies the rest, in the foreground, and then the old member is out of service. Until
//! then the array is as safe as it was: the old member goes on serving its slot.

use holdfast_raid::status::MemberState;

use super::add::{self, Terms};
use super::change::{self, Changed};
use crate::config::Replace;
use crate::exit::{Failure, Outcome};
use crate::members::Member;
use crate::report::Report;
use crate::session::{Purpose, Session, same_file};

/// Begins the replacement.
pub(super) fn run(config: &Replace, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Rehearse } else { Purpose::Change };
    let given = config.group.members.iter().any(|path| same_file(path, &config.with));
    let beside = (!given).then_some(config.with.as_path());
    let (mut session, new) = Session::open_beside(&config.group, beside, purpose, report)?;
    let (member, path, _) = change::meant(&session, &config.member)?;
    let refused = |refusal| Failure::error(format!("{path} cannot be replaced: {refusal}"));
    let slot = session.array.check_replaced(member).map_err(refused)?;
    let with = config.with.display();
    let spare = match new {
        Some(Member { path, disk, .. }) => {
            let write_mostly = session.status().members[member].write_mostly;
            let terms = Terms { write_mostly, force: config.group.force, caution: config.caution };
            add::admit(&mut session, path, disk, terms)?
        }
        None => Some(spare_among(&session, config)?),
    };
    match spare {
        Some(spare) if dry_run => session.array.check_replacement(member, spare).map(drop),
        Some(spare) => session.array.replace_member(member, spare),
        None => Ok(()),
    }
    .map_err(refused)?;
    if !dry_run {
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    let sentence = format!("{with} is to replace {path} in slot {slot}, which serves meanwhile");
    let changed = Changed { action: "replace", path, slot: Some(slot), sentence, note: None };
    Ok(change::answer(changed, dry_run, &session, report))
}

/// The spare that is meant, among the members given.
fn spare_among(session: &Session, config: &Replace) -> Result<usize, Failure> {
    let found = session.paths.iter().position(|path| same_file(path, &config.with));
    let spare = found.expect("it is among the members given");
    let with = config.with.display();
    match session.status().members[spare].state {
        MemberState::Spare => Ok(spare),
        MemberState::Foreign | MemberState::Faulty | MemberState::Stale => {
            Err(Failure::error(format!("{with} is no spare of this array"))
                .hint("leave it out of the members: --with makes a new device a spare"))
        }
        _ => Err(Failure::error(format!("{with} is in use already"))),
    }
}
