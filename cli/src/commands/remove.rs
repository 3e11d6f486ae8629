//! `holdfast remove`: takes a faulty member or a spare out of the array.
//!
//! Only metadata of the others changes: the device number becomes free. The device keeps its
//! superblock, as with mdadm; `zero-superblock` takes that off.

use super::change::{self, Changed};
use crate::config::MemberChange;
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::session::serves;

/// Removes the member.
pub(super) fn run(config: &MemberChange, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let (mut session, member, path, before) = change::open(config, report)?;
    if serves(before.state) {
        return Err(Failure::error(format!("{path} is in use"))
            .hint("holdfast fail declares it faulty first"));
    }
    if !dry_run {
        session
            .array
            .remove_member(member)
            .map_err(|refusal| Failure::error(format!("{path} cannot be removed: {refusal}")))?;
        session.run_and_tell(report, |_, _| ());
        session.stop(report);
        report.note(format_args!(
            "{path} keeps its old superblock; holdfast zero-superblock {path} takes it off"
        ));
    }
    let sentence = format!("{path} is no longer part of the array");
    let changed = Changed { action: "remove", path, slot: before.slot, sentence };
    Ok(change::answer(changed, dry_run, &session, report))
}
