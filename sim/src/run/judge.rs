//! What is lost and what is not, and whether the array's own reports are in order.

use std::collections::BTreeSet;

use holdfast_raid::{Action, Defects, Event, FailReason};

use super::{Mark, Oracle, Run, Step};
use crate::damage::{Blow, Claims};
use crate::rows::RowSet;

impl<X: Defects> Run<'_, X> {
    /// Takes note of what the array claims to have made good, before something else is broken.
    pub(super) fn believe(&mut self) {
        let claims = self.claims();
        self.damage.believe(&claims);
    }

    /// What is lost after something has changed.
    pub(super) fn reassess(&mut self) {
        let claims = self.claims();
        let array = self.array.as_ref().expect("an array runs");
        let torn = self.damage.assess(&claims, &[], array);
        if !torn.is_empty() {
            self.ledger.forget_seen(&self.rows, torn);
        }
        // A member being rebuilt has some rows, but when another goes it counts as missing: the array
        // may give up although every row could still be had.
        let recorded = claims.on_record(&BTreeSet::new());
        if !self.within() && recorded != claims {
            let none = RowSet::none(self.rows.count());
            self.overdrawn |= self.exceeds(&recorded, &[], &none);
        }
    }

    /// Whether so much is lost that the array may take no more writes.
    pub(super) const fn may_have_given_up(&self) -> bool {
        self.damage.is_exceeded() || self.overdrawn
    }

    /// Whether more would be lost than the array bears.
    pub(super) fn exceeds(&self, claims: &Claims, more: &[Blow], doubt: &RowSet) -> bool {
        let array = self.array.as_ref().expect("an array runs");
        self.damage.would_exceed(claims, array, more, doubt)
    }

    pub(super) fn reported(&mut self, event: &Event) -> Step {
        self.tell(|| format!("  {event:?}"));
        match event {
            Event::MemberFailed { member, reason, .. } => {
                let degraded = self.claims().missing() > 1;
                self.marks.meet(if degraded { Mark::SecondFailure } else { Mark::MemberFailed });
                // One write that a replacement does not take is reason enough: nobody needs it. Nor
                // can a member be filled with what is lost, if that cannot be listed.
                let twin = self.twins.remove(member);
                let unlisted = *reason == FailReason::Unlisted;
                let fair = twin && (unlisted || self.disk(*member).has_bad_sectors())
                    || unlisted && self.damage.is_exceeded();
                if !self.excused[*member] && !fair {
                    let detail = format!("disk {member} is taken out: {reason}");
                    return self.violation(Oracle::Needless, detail);
                }
                self.reassess();
            }
            Event::MemberLost { member, reason, .. } => {
                if !self.excused[*member] || self.within() {
                    let detail = format!("disk {member} counts as lost: {reason}");
                    return self.violation(Oracle::Needless, detail);
                }
                self.reassess();
            }
            Event::Broken => {
                self.marks.meet(Mark::Broken);
                if self.within() {
                    return self.violation(Oracle::Needless, "the array gives up".to_owned());
                }
            }
            Event::MemberInSync { member, .. } => {
                self.fresh.insert(*member);
                self.marks.meet(Mark::Rebuilt);
                self.rebuilt_at = Some(self.pulse.steps());
            }
            Event::MemberReturned { member, .. } => {
                self.tell(|| format!("  disk {member} is back"));
            }
            Event::ReplacementStarted { with, .. } => {
                self.twins.insert(*with);
            }
            Event::Replaced { member, by, .. } => {
                self.twins.remove(by);
                self.retiring.push(*member);
                self.marks.meet(Mark::Replaced);
                self.reassess();
            }
            Event::SpareActivated { member, .. } => {
                if self.twins.remove(member) {
                    self.marks.meet(Mark::Heir);
                    // Where a crash has left members in doubt it may hold what the old one did not.
                    self.ledger.forget_seen(&self.rows, self.damage.at_risk());
                }
                self.reassess();
            }
            Event::SyncFinished { action: Action::Resync, complete: true, .. } => {
                self.marks.meet(Mark::Resynced);
            }
            Event::ReadCorrected { .. } => self.marks.meet(Mark::Corrected),
            Event::BadBlocks { .. } => self.marks.meet(Mark::BadBlocks),
            Event::Mismatch { .. } => self.marks.meet(Mark::Mismatch),
            Event::MemberSlow { .. } => self.marks.meet(Mark::Slow),
            Event::NoSpace { .. } => self.marks.meet(Mark::NoSpace),
            Event::RangeFailed { .. } | Event::SyncStarted { .. } | Event::SyncFinished { .. } => {}
        }
        Ok(())
    }
}
