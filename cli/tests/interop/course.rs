//! How a case goes, where there are several equally good ways.
//!
//! The name of the case decides, so that it goes the same way whenever it runs.

use crate::matrix::{Case, Direction, Special, State};

#[derive(Debug)]
pub(crate) struct Course {
    /// Slots whose members are lost, if the state has it so.
    pub(crate) lost: Vec<usize>,
    pub(crate) loss: Loss,
    /// What takes the place of the lost member, if something does.
    pub(crate) spare: Option<Spare>,
    /// Whether the lost members are still lying about when the array is assembled.
    pub(crate) stale_present: bool,
}

/// How members are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// They fail and are removed.
    Failed,
    /// They are not there any more when the array is next assembled.
    Absent,
    /// They never were: `missing` at create.
    Missing,
}

/// Where a spare comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spare {
    /// Added after the loss.
    New,
    /// There from the beginning; it steps in by itself.
    Hot,
    /// The lost member comes back; with a bitmap, only what it missed need be filled.
    Returned,
}

impl Course {
    pub(crate) fn new(case: &Case) -> Self {
        let n = case.shape.members;
        let losses = match case.state {
            State::Dirty if case.direction == Direction::ToKernel => 1,
            State::Healthy | State::Dirty => 0,
            State::Degraded => [1, case.shape.tolerance][case.draw("losses", 2)],
            State::Rebuilt | State::HalfRebuilt => 1,
        };
        let first = case.draw("first lost", n);
        let lost: Vec<_> = (0..losses).map(|i| (first + i) % n).collect();
        let loss = loss(case);
        let stale_present = case.state != State::Dirty
            && !lost.is_empty()
            && loss != Loss::Missing
            && case.draw("stale present", 2) == 0;
        Self { lost, loss, spare: spare(case), stale_present }
    }

    /// Devices beside those for the slots.
    pub(crate) fn extra_devices(&self) -> usize {
        usize::from(matches!(self.spare, Some(Spare::New | Spare::Hot)))
    }

    /// Which device becomes the spare, of an array with `n` slots.
    pub(crate) fn spare_device(&self, n: usize) -> Option<usize> {
        self.spare.map(|spare| match spare {
            Spare::New | Spare::Hot => n,
            Spare::Returned => self.lost[0],
        })
    }

    /// Whether device `i` is given when the array is assembled in the end.
    pub(crate) fn is_present(&self, i: usize) -> bool {
        !self.lost.contains(&i) || self.stale_present || self.spare == Some(Spare::Returned)
    }
}

fn loss(case: &Case) -> Loss {
    match (case.direction, case.state) {
        (Direction::ToKernel, State::Degraded) => {
            [Loss::Failed, Loss::Absent, Loss::Missing][case.draw("loss", 3)]
        }
        (Direction::ToKernel, State::Dirty) => Loss::Absent,
        _ => Loss::Failed,
    }
}

fn spare(case: &Case) -> Option<Spare> {
    let ways: &[Spare] = match (case.direction, case.state, case.shape.special) {
        (_, State::Healthy | State::Degraded | State::Dirty, _) => return None,
        // it is to stop half way, so the limit must be set before the spare comes
        (_, State::HalfRebuilt, _) => &[Spare::New],
        // sysfs makes arrays of what is in their slots
        (Direction::FromKernel, State::Rebuilt, Special::Numbered(_)) => {
            &[Spare::New, Spare::Returned]
        }
        (_, State::Rebuilt, _) => &[Spare::New, Spare::Hot, Spare::Returned],
    };
    Some(ways[case.draw("spare", ways.len())])
}
