//! How a run ended, and what it has been through.

use std::fmt;

use crate::coverage::Grid;

/// What was broken, by the numbers of the fault model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// 1: what was promised to be durable is gone.
    Durability = 1,
    /// 2: wrong data without an error.
    SilentlyWrong = 2,
    /// 3: a block changed without a write.
    Stability = 3,
    /// 4: a block nobody touched is not what it was.
    Untouched = 4,
    /// 5: at rest, copies differ or parity is not what the data says.
    Redundancy = 5,
    /// 6: an error, a failed member or an array that does not recover, without need.
    Needless = 6,
    /// 7: data was read from a member that is not current.
    StaleRead = 7,
    /// 8: a spare was used wrongly.
    Spare = 8,
    /// 12: a panic, a hang, or a request that is never answered.
    Honesty = 12,
    /// 13: two runs of one script differ.
    Determinism = 13,
}

impl Oracle {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Durability,
        Self::SilentlyWrong,
        Self::Stability,
        Self::Untouched,
        Self::Redundancy,
        Self::Needless,
        Self::StaleRead,
        Self::Spare,
        Self::Honesty,
        Self::Determinism,
    ];

    /// The one with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|oracle| *oracle as u8 == number)
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub oracle: Oracle,
    /// How, in a sentence or two.
    pub detail: String,
    /// The line of the script that was being carried out, from 0; one more than there are in the
    /// last phase.
    pub line: usize,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oracle, detail, line } = self;
        write!(f, "oracle {} ({oracle:?}) at line {line}: {detail}", *oracle as u8)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// The history as a number: equal for equal runs.
    pub hash: u64,
    /// Answers of disks.
    pub steps: u64,
    /// What the run has been through.
    pub marks: Marks,
    /// The situations its faults have met.
    pub grid: Grid,
}

impl Verdict {
    /// Whether every promise was kept.
    pub const fn is_ok(&self) -> bool {
        self.violation.is_none()
    }
}

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Something a campaign should have been through.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark { $($(#[$doc])* $name,)* }

        impl Mark {
            /// Every one.
            pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$name,)*];

            /// In words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

marks! {
    /// The power failed.
    PowerCut => "power cut",
    /// The process was killed.
    Kill => "process killed",
    /// A crash was not carried out because it would have exceeded the tolerance.
    CutSpared => "crash spared, beyond tolerance",
    /// A crash hit a resync.
    CutInResync => "crash during resync",
    /// A crash hit a recovery.
    CutInRecovery => "crash during recovery",
    /// A crash hit a stop.
    CutInStop => "crash during stop",
    /// A crash hit a degraded array.
    CutDegraded => "crash while degraded",
    /// After a crash some sectors could have several values.
    Choices => "old or new left open by a crash",
    /// An array was assembled with force.
    Forced => "assembled with force",
    /// An array could not be assembled, rightly.
    Refused => "assembly rightly refused",
    /// A fault was not injected because it would have exceeded the tolerance.
    FaultSpared => "fault spared, beyond tolerance",
    /// A member failed.
    MemberFailed => "member failed",
    /// A member failed while another was missing or being rebuilt.
    SecondFailure => "second member failed",
    /// A spare was rebuilt to its end.
    Rebuilt => "member rebuilt",
    /// A disk that was away came back and got what the bitmap marks.
    Returned => "member re-added by bitmap",
    /// A disk that was away came back and got everything.
    ReturnedWhole => "member re-added as a spare",
    /// A replacement took its slot.
    Replaced => "member replaced",
    /// A member failed while it was being replaced.
    Heir => "replacement took over early",
    /// A resync reached its end.
    Resynced => "resync finished",
    /// A read error was corrected.
    Corrected => "read error corrected",
    /// A range entered a bad-block log.
    BadBlocks => "bad block recorded",
    /// A request was answered with an error, rightly.
    HonestError => "honest error",
    /// The array gave up.
    Broken => "array broken",
    /// A comparison found a difference.
    Mismatch => "mismatch found",
    /// A predicted silent error was read.
    PredictedSilent => "predicted silent sector read",
    /// A member missed its deadline.
    Slow => "deadline missed",
    /// A device had no room.
    NoSpace => "no space",
    /// A stale disk was there at an assembly.
    StaleThere => "stale member present at assembly",
    /// A run went to its end with everything in order.
    Clean => "clean, in sync and idle at the end",
}

/// How often each mark was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Self {
        Self([0; Mark::ALL.len()])
    }
}

impl Marks {
    /// Meets one.
    pub const fn meet(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// Adds to one.
    pub const fn add(&mut self, mark: Mark, runs: u64) {
        self.0[mark as usize] += runs;
    }

    /// How often one was met.
    pub const fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds what other runs have met: each mark counts once per run.
    pub fn add_run(&mut self, other: &Self) {
        for (sum, met) in self.0.iter_mut().zip(other.0) {
            *sum += u64::from(met > 0);
        }
    }

    /// Adds sums of runs.
    pub fn add_sums(&mut self, other: &Self) {
        for (sum, met) in self.0.iter_mut().zip(other.0) {
            *sum += met;
        }
    }
}
