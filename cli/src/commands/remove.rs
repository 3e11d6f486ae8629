//! `holdfast remove`: takes a faulty member or a spare out of the array.
//!
//! Only metadata of the others changes: the device number becomes free. The device keeps its
//! superblock, as with mdadm; `zero-superblock` takes that off.

use super::change::{self, Changed};
use crate::config::{MemberChange, Selector};
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::session::{Session, serves};

/// Removes the member.
pub(super) fn run(config: &MemberChange, report: &Report) -> Outcome {
    change::run(config, report, take_out)
}

/// Takes the member out, or only says what that would be. What the others record is under way when
/// this returns.
pub(super) fn take_out(
    session: &mut Session,
    selector: &Selector,
    dry_run: bool,
) -> Result<Changed, Failure> {
    let (member, path, before) = change::meant(session, selector)?;
    if serves(before.state) {
        return Err(Failure::error(format!("{path} is in use"))
            .hint("holdfast fail declares it faulty first"));
    }
    if !dry_run {
        session
            .array
            .remove_member(member)
            .map_err(|refusal| Failure::error(format!("{path} cannot be removed: {refusal}")))?;
    }
    let note = (!dry_run).then(|| {
        format!("{path} keeps its old superblock; holdfast zero-superblock {path} takes it off")
    });
    let sentence = format!("{path} is no longer part of the array");
    Ok(Changed { action: "remove", path, slot: before.slot, sentence, note })
}
