//! What happens to a served array, under the names that mdadm's monitor has for it.
//!
//! Where mdadm knows nothing of the kind (it watches from outside), names are ours, in its manner.

use std::path::PathBuf;

use holdfast_raid::event::Event;
use holdfast_raid::status::{Health, Status};

use crate::control::protocol::Told;
use crate::events::{Names, sentence};

/// Passes are told of in steps of a fifth, as mdadm does.
const STEP_PERCENT: u64 = 20;

/// The names under which something may happen while an array is served, faults aside.
const NAMES: [&str; 19] = [
    "Fail",
    "FailSpare",
    "SpareActive",
    "RebuildStarted",
    "Rebuild20",
    "Rebuild40",
    "Rebuild60",
    "Rebuild80",
    "RebuildFinished",
    "SpareAssigned",
    "MemberReturned",
    "ReplacementStarted",
    "ReadCorrected",
    "BadBlocks",
    "RangeFailed",
    "NoSpace",
    "MemberSlow",
    "Mismatch",
    "FailedArray",
];

/// The names that somebody can wait for; none if this is one of them.
pub(super) fn names_beside(name: &str) -> Option<String> {
    let known = NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
    (!known).then(|| NAMES.join(", "))
}

/// Turns events into what followers are told.
#[derive(Debug)]
pub(super) struct Chronicle {
    array: String,
    /// How far the pass that runs was when it was last told of, in percent.
    told_percent: u64,
}

impl Chronicle {
    /// Of the array with this UUID.
    pub(super) const fn new(array: String) -> Self {
        Self { array, told_percent: 0 }
    }

    /// What is worth saying when the serving begins.
    pub(super) fn opening(&self, status: &Status) -> Vec<Told> {
        let name = match status.health {
            Health::Optimal => return Vec::new(),
            Health::Degraded => "DegradedArray",
            Health::Failed => "FailedArray",
        };
        vec![self.told(name, None, None)]
    }

    /// What is to be said of an event, if anything is.
    pub(super) fn of(&mut self, event: &Event, names: &Names) -> Option<Told> {
        if matches!(event, Event::SyncStarted { .. }) {
            self.told_percent = 0;
        }
        let member = member_of(event).map(|member| PathBuf::from(names.device(member)));
        let text = sentence(event, names).or_else(|| what_pass(event));
        Some(self.told(name_of(event), member, text))
    }

    /// `Rebuild40`, when a pass comes by there.
    pub(super) fn progress(&mut self, status: &Status) -> Option<Told> {
        let sync = status.sync?;
        let percent = sync.done_sectors * 100 / sync.total_sectors.max(1);
        let step = percent / STEP_PERCENT * STEP_PERCENT;
        if step <= self.told_percent || step >= 100 {
            return None;
        }
        self.told_percent = step;
        Some(self.told(&format!("Rebuild{step}"), None, Some(sync.action.name().to_owned())))
    }

    /// Something that happens to the array from outside.
    pub(super) fn told(&self, event: &str, member: Option<PathBuf>, text: Option<String>) -> Told {
        Told { event: event.to_owned(), array: self.array.clone(), member, text }
    }
}

/// What an event is called.
pub(super) const fn name_of(event: &Event) -> &'static str {
    match event {
        Event::MemberFailed { slot: Some(_), .. } | Event::MemberLost { .. } => "Fail",
        Event::MemberFailed { slot: None, .. } => "FailSpare",
        Event::MemberInSync { .. } => "SpareActive",
        Event::SyncStarted { .. } => "RebuildStarted",
        Event::SyncFinished { .. } => "RebuildFinished",
        Event::SpareActivated { .. } => "SpareAssigned",
        Event::MemberReturned { .. } => "MemberReturned",
        Event::ReplacementStarted { .. } => "ReplacementStarted",
        // The old one is faulty to mdadm, too.
        Event::Replaced { .. } => "Fail",
        Event::ReadCorrected { .. } => "ReadCorrected",
        Event::BadBlocks { .. } => "BadBlocks",
        Event::RangeFailed { .. } => "RangeFailed",
        Event::NoSpace { .. } => "NoSpace",
        Event::MemberSlow { .. } => "MemberSlow",
        Event::Mismatch { .. } => "Mismatch",
        Event::Broken => "FailedArray",
    }
}

const fn member_of(event: &Event) -> Option<usize> {
    match event {
        Event::MemberFailed { member, .. }
        | Event::MemberLost { member, .. }
        | Event::ReadCorrected { member, .. }
        | Event::BadBlocks { member, .. }
        | Event::NoSpace { member, .. }
        | Event::MemberSlow { member }
        | Event::MemberInSync { member, .. }
        | Event::SpareActivated { member, .. }
        | Event::MemberReturned { member, .. }
        | Event::ReplacementStarted { member, .. }
        | Event::Replaced { member, .. } => Some(*member),
        _ => None,
    }
}

fn what_pass(event: &Event) -> Option<String> {
    match event {
        Event::SyncStarted { action, .. } => Some(action.name().to_owned()),
        Event::SyncFinished { action, complete, mismatch_sectors } => {
            let how = if *complete { "done" } else { "interrupted" };
            let found = match mismatch_sectors {
                0 => String::new(),
                sectors => format!(", mismatches found: {sectors}"),
            };
            Some(format!("{action}: {how}{found}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_raid::event::FailReason;

    use super::*;

    #[test]
    fn what_happens_can_be_waited_for() {
        let failed = Event::MemberFailed { member: 0, slot: None, reason: FailReason::Requested };
        for event in [failed, Event::Broken, Event::MemberSlow { member: 0 }] {
            assert_eq!(names_beside(name_of(&event)), None, "{event:?}");
        }
        assert_eq!(names_beside("rebuild40"), None);
        assert!(names_beside("Rebuild50").unwrap().contains("Rebuild40, Rebuild60"));
    }
}
