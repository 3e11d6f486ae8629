//! `holdfast re-add`: brings a member back that was away.
//!
//! If the write-intent bitmap still tells what it has missed, it takes its slot again and only that
//! is to be copied; otherwise it becomes a spare, and the verb says why. Nothing is copied here:
//! `rebuild` does that, in the foreground. A member that went on without the others is refused: both
//! sides hold writes that the other lacks, and only a person knows which are wanted.

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::scan::Probe;
use holdfast_raid::status::MemberState;
use holdfast_raid::{Refusal, Return};

use super::arrival::Arrival;
use super::change::{self, Changed};
use crate::config::ReAdd;
use crate::exit::{Failure, Outcome};
use crate::metadata;
use crate::report::Report;
use crate::session::{Purpose, Session, same_file};

/// Brings the member back.
pub(super) fn run(config: &ReAdd, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Rehearse } else { Purpose::Change };
    let given = config.group.members.iter().any(|path| same_file(path, &config.device));
    let beside = (!given).then_some(config.device.as_path());
    let (mut session, new) = Session::open_beside(&config.group, beside, purpose, report)?;
    let (member, probe) = match new {
        Some(member) => {
            let arrival = Arrival::look(member, false, &mut session.clock)?;
            introduce(&mut session, arrival)?
        }
        None => {
            let known = session.known(&config.device);
            let member = known.expect("it is among the members given");
            let probe = session.array.probe(member, &mut session.clock);
            let path = config.device.display().to_string();
            (member, probe.map_err(|refusal| refused(&session, &path, &refusal))?)
        }
    };
    let changed = bring_back(&mut session, member, probe, "re-add", dry_run)?;
    if !dry_run {
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
    }
    Ok(change::answer(changed, dry_run, &session, report))
}

/// Makes a device known that was not among the members given, its metadata kept for the undo; its
/// index and what it says of itself.
pub(crate) fn introduce(
    session: &mut Session,
    arrival: Arrival,
) -> Result<(usize, Probe), Failure> {
    let Arrival { path, mut disk, probe, .. } = arrival;
    if let Some(undo) = session.undo.as_mut() {
        undo.include(&path, &mut disk, &mut session.clock, metadata::of_probe(&probe))?;
    }
    session.paths.push(path);
    session.superblocks.push(probe.superblock.as_ref().ok().cloned());
    Ok((session.array.introduce(disk), probe))
}

/// Brings a known device back, or only says what that would be.
pub(crate) fn bring_back(
    session: &mut Session,
    member: usize,
    probe: Probe,
    action: &'static str,
    dry_run: bool,
) -> Result<Changed, Failure> {
    let way = match dry_run {
        true => session.array.check_return_as(member, &probe),
        false => session.array.readd_member_as(member, probe),
    };
    let path = session.path(member).display().to_string();
    let way = way.map_err(|refusal| refused(session, &path, &refusal))?;
    Ok(match way {
        Return::Marked { slot, sectors } => {
            let bytes = Human(sectors * SECTOR_BYTES);
            let sentence = format!(
                "{path} has slot {slot} again; of each member {bytes} are marked and to be copied"
            );
            Changed { action, path, slot: Some(slot), sentence, note: None }
        }
        Return::Whole(why) => {
            let note = Some(format!("{path} is given everything: {why}"));
            let sentence = format!("{path} is a spare of the array");
            Changed { action, path, slot: None, sentence, note }
        }
    })
}

/// Why a device cannot come back, and what can be done.
pub(super) fn refused(session: &Session, path: &str, refusal: &Refusal) -> Failure {
    let failure = Failure::error(format!("{path} cannot be brought back: {refusal}"));
    match refusal {
        Refusal::SplitHistory { .. } => {
            let here = serving(session);
            failure.hint(format!(
                "{here} belong together, {path} does not; holdfast read shows what each side holds. \
                 If {path} has nothing that is wanted: holdfast zero-superblock {path}, then add it"
            ))
        }
        Refusal::Stranger(_) | Refusal::Unreadable(_) => {
            failure.hint("holdfast add takes devices that were no members")
        }
        Refusal::AlreadyIn { .. } => failure.hint("holdfast detail shows what it does"),
        _ => failure,
    }
}

/// Those that hold the array's data, as a list.
fn serving(session: &Session) -> String {
    let status = session.status();
    let members = status.members.iter().enumerate();
    let serving = members.filter(|(_, member)| member.state == MemberState::InSync);
    let names: Vec<String> =
        serving.map(|(index, _)| session.path(index).display().to_string()).collect();
    names.join(", ")
}
