//! Which situations faults meet: looked at when the fault strikes, before it changes anything.

use holdfast_raid::status::MemberState;
use holdfast_raid::{Action, Defects};

use super::{Mark, Run, Step};
use crate::coverage::{Cell, Fault, Phase, Situation};
use crate::script::Act;

/// Answers of disks during which a rebuild has only just ended.
const JUST: u64 = 64;

impl<X: Defects> Run<'_, X> {
    /// Injects a fault and notes what it has met, if it was not spared.
    pub(super) fn break_and_note(&mut self, act: &Act) -> Step {
        let situations = Fault::of(act).map(|fault| (fault, self.situations()));
        let spared = self.marks.count(Mark::FaultSpared);
        let done = self.break_something(act);
        if let Some((fault, situations)) = situations
            && self.marks.count(Mark::FaultSpared) == spared
        {
            self.grid.meet(situations.into_iter().map(|situation| Cell { situation, fault }));
        }
        done
    }

    /// Notes what a crash meets.
    pub(super) fn note_situation(&mut self, fault: Fault) {
        let situations = self.situations();
        self.grid.meet(situations.into_iter().map(|situation| Cell { situation, fault }));
    }

    /// The situation the array is in; one for each thing that is under way.
    fn situations(&self) -> Vec<Situation> {
        let array = self.array.as_ref().expect("an array runs");
        let status = array.status();
        let serving =
            status.members.iter().filter(|member| member.state == MemberState::InSync).count();
        let rebuild = status.sync.filter(|sync| sync.action == Action::Recover);
        let fresh = self.rebuilt_at.is_some_and(|at| self.pulse.steps() <= at + JUST);
        let phase = match rebuild {
            None if fresh => Phase::JustDone,
            None => Phase::None,
            Some(sync) if sync.done_sectors == 0 => Phase::First,
            Some(sync) if sync.total_sectors - sync.done_sectors <= sync.total_sectors / 4 => {
                Phase::Last
            }
            Some(_) => Phase::Middle,
        };
        let at = |step| Situation {
            level: status.level,
            missing: (status.raid_disks as usize).saturating_sub(serving).min(3) as u8,
            dirty: !status.clean,
            phase,
            step,
        };
        let steps = array.array().activities();
        if steps.is_empty() {
            return vec![at(None)];
        }
        steps.into_iter().map(|step| at(Some(step))).collect()
    }
}
