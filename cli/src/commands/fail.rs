//! `holdfast fail`: declares a member faulty.
//!
//! Only metadata changes: the other members record that it is out. Its own superblock is left as
//! it is, as md leaves it, so that it can be told from a member that was never expelled. A member
//! the array cannot do without is refused by the engine.

use holdfast_raid::status::MemberState;

use super::change::{self, Changed};
use crate::config::{MemberChange, Selector};
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::session::Session;

/// Fails the member.
pub(super) fn run(config: &MemberChange, report: &Report) -> Outcome {
    change::run(config, report, declare)
}

/// Declares the member faulty, or only says what that would be. What the others record is under way
/// when this returns.
pub(super) fn declare(
    session: &mut Session,
    selector: &Selector,
    dry_run: bool,
) -> Result<Changed, Failure> {
    let (member, path, before) = change::meant(session, selector)?;
    match before.state {
        MemberState::InSync
        | MemberState::Rebuilding
        | MemberState::Replacing
        | MemberState::Spare => {}
        MemberState::Faulty | MemberState::Stale => {
            return Err(Failure::error(format!("{path} is out of service already"))
                .hint("holdfast remove takes it out of the array for good"));
        }
        MemberState::Foreign => {
            return Err(Failure::error(format!("{path} is not a member of this array")));
        }
    }
    let slot = before.slot;
    if !dry_run {
        session
            .array
            .fail_member(member)
            .map_err(|refusal| Failure::error(format!("{path} cannot be failed: {refusal}")))?;
    }
    let place = slot.map_or_else(|| "a spare".to_owned(), |slot| format!("slot {slot}"));
    let sentence = format!("{path} ({place}) is faulty");
    Ok(Changed { action: "fail", path, slot, sentence, note: None })
}
