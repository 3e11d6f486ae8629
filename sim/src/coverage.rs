//! Which situations faults have met, and which they must meet.
//!
//! A fault finds an array of some *level*, with so many slots *missing*, *dirty* or clean, in some
//! *phase* of a rebuild, in the middle of some *step* of an operation. These are the axes of a
//! grid; a run counts the cells its faults have met, a campaign adds the counts up. Most cells of
//! the grid are reached sooner or later, and which are not says where the campaign is blind. The
//! ones that recovery is made for are named as *goals*: a campaign that never meets one of them has
//! proved nothing about it, and fails.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use holdfast_raid::Level;
use holdfast_raid::status::Activity;
use rayon::prelude::*;

use crate::campaign::Failure;
use crate::disk::Silent;
use crate::ledger::Crash;
use crate::mutants;
use crate::run::run;
use crate::script::Act;
use crate::swarm::Profile;

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// None runs.
    None,
    /// Nothing of it is finished.
    First,
    /// Something is finished.
    Middle,
    /// No more than a quarter is left.
    Last,
    /// It ended a few answers of disks ago.
    JustDone,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A class of faults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every one.
            pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$name,)*];

            /// In words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// The power fails.
    PowerCut => "power cut",
    /// The process dies.
    Kill => "kill",
    /// A disk goes away.
    Vanish => "vanish",
    /// An operator fails a member.
    FailMember => "fail-member",
    /// A disk takes no writes any more.
    ReadOnly => "read-only",
    /// Sectors cannot be read.
    Latent => "latent",
    /// Sectors can be neither read nor written.
    Dead => "dead",
    /// Requests are stuck.
    Stick => "stick",
    /// A disk is slow.
    Slow => "slow",
    /// A disk has no room.
    Full => "full",
    /// Bits flip.
    Corrupt => "corrupt",
    /// A write is lost.
    Lost => "lost write",
    /// A write is torn.
    Torn => "torn write",
    /// A write lands elsewhere.
    Misdirected => "misdirected write",
    /// Flushes do nothing.
    Lie => "lie",
}

impl Fault {
    /// The class of an act, if it is a fault that strikes at once.
    pub const fn of(act: &Act) -> Option<Self> {
        Some(match act {
            Act::Vanish { .. } => Self::Vanish,
            Act::FailMember { .. } => Self::FailMember,
            Act::ReadOnly { .. } => Self::ReadOnly,
            Act::Latent { .. } => Self::Latent,
            Act::Dead { .. } => Self::Dead,
            Act::Stick { .. } => Self::Stick,
            Act::Slow { .. } => Self::Slow,
            Act::Full { full: true, .. } => Self::Full,
            Act::Corrupt { .. } => Self::Corrupt,
            Act::Silent { silent: Silent::Lost, .. } => Self::Lost,
            Act::Silent { silent: Silent::Torn, .. } => Self::Torn,
            Act::Silent { silent: Silent::Misdirected(_), .. } => Self::Misdirected,
            Act::Lie { .. } => Self::Lie,
            _ => return None,
        })
    }
}

impl From<Crash> for Fault {
    fn from(crash: Crash) -> Self {
        match crash {
            Crash::PowerCut => Self::PowerCut,
            Crash::Kill => Self::Kill,
        }
    }
}

/// What a fault finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Situation {
    /// The array's level.
    pub level: Level,
    /// Slots without a member in sync; 3 for all that are more.
    pub missing: u8,
    /// Whether the metadata says that writes may be under way.
    pub dirty: bool,
    /// How far a rebuild is.
    pub phase: Phase,
    /// What is under way; nothing if idle.
    pub step: Option<Activity>,
}

/// A cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What the fault finds.
    pub situation: Situation,
    /// The fault.
    pub fault: Fault,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Situation { level, missing, dirty, phase, step } = self.situation;
        let state = if dirty { "dirty" } else { "clean" };
        let fault = self.fault.text();
        write!(f, "{level}, {missing} missing, {state}, rebuild {phase:?}, ")?;
        match step {
            Some(step) => write!(f, "{step:?}: {fault}"),
            None => write!(f, "Idle: {fault}"),
        }
    }
}

/// How often each cell was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid(BTreeMap<Cell, u64>);

impl Grid {
    /// A fault has met these.
    pub fn meet(&mut self, cells: impl IntoIterator<Item = Cell>) {
        for cell in cells {
            *self.0.entry(cell).or_default() += 1;
        }
    }

    /// Adds another grid's counts.
    pub fn add(&mut self, other: &Self) {
        for (cell, count) in &other.0 {
            *self.0.entry(*cell).or_default() += count;
        }
    }

    /// The cells that were met, and how often.
    pub fn cells(&self) -> impl Iterator<Item = (&Cell, u64)> {
        self.0.iter().map(|(cell, count)| (cell, *count))
    }

    /// How often cells of this kind were met.
    pub fn count(&self, kind: impl Fn(&Cell) -> bool) -> u64 {
        self.cells().filter(|(cell, _)| kind(cell)).map(|(_, count)| count).sum()
    }

    /// Cells that were met at all.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no fault has met anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A situation that a campaign must have met.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In words.
    pub name: &'static str,
    kind: fn(&Cell) -> bool,
}

impl Goal {
    /// How often it was met.
    pub fn count(&self, grid: &Grid) -> u64 {
        grid.count(self.kind)
    }
}

const fn crash(cell: &Cell) -> bool {
    matches!(cell.fault, Fault::PowerCut | Fault::Kill)
}

const fn loss(cell: &Cell) -> bool {
    matches!(cell.fault, Fault::Vanish | Fault::FailMember | Fault::ReadOnly)
}

const fn rebuilding(cell: &Cell) -> bool {
    matches!(cell.situation.phase, Phase::First | Phase::Middle | Phase::Last)
}

macro_rules! goals {
    ($($name:literal: $kind:expr;)*) => {
        /// What every campaign must have met sometimes.
        pub const GOALS: [Goal; [$($name,)*].len()] = [$(Goal { name: $name, kind: $kind },)*];
    };
}

goals! {
    "a crash while a write waits for the metadata":
        |c| crash(c) && c.situation.step == Some(Activity::Gate);
    "a crash while old data is read for new parity":
        |c| crash(c) && c.situation.step == Some(Activity::ReadForParity);
    "a power cut in the middle of a write to a mirror":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Write)
            && matches!(c.situation.level, Level::Raid1 | Level::Raid10);
    "a power cut in the middle of a write to parity":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Write)
            && matches!(c.situation.level, Level::Raid4 | Level::Raid5 | Level::Raid6);
    "a power cut in the middle of a write to degraded parity":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Write)
            && c.situation.missing > 0
            && matches!(c.situation.level, Level::Raid4 | Level::Raid5 | Level::Raid6);
    "a power cut inside a flush":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Flush);
    "a power cut between superblocks":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Superblocks);
    "a power cut between bitmaps":
        |c| c.fault == Fault::PowerCut && c.situation.step == Some(Activity::Bitmap);
    "a crash while a pass reads":
        |c| crash(c) && c.situation.step == Some(Activity::PassRead);
    "a crash while a pass writes":
        |c| crash(c) && c.situation.step == Some(Activity::PassWrite);
    "a crash at the beginning of a rebuild":
        |c| crash(c) && c.situation.phase == Phase::First;
    "a crash in the middle of a rebuild":
        |c| crash(c) && c.situation.phase == Phase::Middle;
    "a crash at the end of a rebuild":
        |c| crash(c) && c.situation.phase == Phase::Last;
    "a crash just after a rebuild":
        |c| crash(c) && c.situation.phase == Phase::JustDone;
    "a crash of a clean, idle array":
        |c| crash(c) && !c.situation.dirty && c.situation.step.is_none();
    "a member lost in the middle of a write":
        |c| loss(c) && c.situation.step == Some(Activity::Write);
    "a member lost during a rebuild":
        |c| loss(c) && rebuilding(c);
    "a member lost between superblocks":
        |c| loss(c) && c.situation.step == Some(Activity::Superblocks);
    "a second member of a raid6 lost":
        |c| loss(c) && c.situation.level == Level::Raid6 && c.situation.missing == 1;
    "a second member of a raid10 lost":
        |c| loss(c) && c.situation.level == Level::Raid10 && c.situation.missing == 1;
    "a latent error found by a rebuild":
        |c| c.fault == Fault::Latent && rebuilding(c);
    "a latent error in a degraded array":
        |c| c.fault == Fault::Latent && c.situation.missing > 0;
    "a sector that dies in the middle of a write":
        |c| c.fault == Fault::Dead && c.situation.step == Some(Activity::Write);
    "a disk that is full in the middle of a write":
        |c| c.fault == Fault::Full && c.situation.step == Some(Activity::Write);
    "a disk that hangs in the middle of a write":
        |c| c.fault == Fault::Stick && c.situation.step == Some(Activity::Write);
    "a silent fault in the middle of a write":
        |c| matches!(c.fault, Fault::Corrupt | Fault::Lost | Fault::Torn | Fault::Misdirected)
            && c.situation.step == Some(Activity::Write);
}

/// What a campaign's faults have met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that failed, in order.
    pub failures: Vec<Failure>,
    /// The situations.
    pub grid: Grid,
}

impl Survey {
    /// Runs these seeds, two of three within tolerance.
    pub fn of(profile: Profile, seeds: Range<u64>, each: impl Fn(&Self) + Sync) -> Self {
        let one = |seed| {
            let verdict = run(&mutants::script(profile, seed));
            let failure = verdict.violation.map(|violation| Failure { seed, violation });
            let failures = failure.into_iter().collect();
            let survey = Self { seeds: 1, failures, grid: verdict.grid };
            each(&survey);
            survey
        };
        seeds.into_par_iter().map(one).reduce(Self::default, Self::merge)
    }

    /// Adds another part of the same campaign.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.seed);
        self.grid.add(&other.grid);
        self
    }

    /// Goals that were never met.
    pub fn unmet(&self) -> Vec<Goal> {
        GOALS.into_iter().filter(|goal| goal.count(&self.grid) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_can_be_met_and_none_by_everything() {
        let mut all = Vec::new();
        for fault in Fault::ALL {
            for level in [Level::Raid1, Level::Raid5, Level::Raid6, Level::Raid10] {
                for phase in
                    [Phase::None, Phase::First, Phase::Middle, Phase::Last, Phase::JustDone]
                {
                    for step in [
                        None,
                        Some(Activity::Gate),
                        Some(Activity::ReadForParity),
                        Some(Activity::Write),
                        Some(Activity::Flush),
                        Some(Activity::Superblocks),
                        Some(Activity::Bitmap),
                        Some(Activity::PassRead),
                        Some(Activity::PassWrite),
                    ] {
                        for (missing, dirty) in [(0, false), (1, true)] {
                            let situation = Situation { level, missing, dirty, phase, step };
                            all.push(Cell { situation, fault });
                        }
                    }
                }
            }
        }
        for goal in GOALS {
            let met = all.iter().filter(|cell| (goal.kind)(cell)).count();
            assert!(met > 0 && met < all.len() / 3, "{}: {met} of {}", goal.name, all.len());
        }
    }

    #[test]
    fn an_empty_survey_has_met_nothing() {
        assert_eq!(Survey::default().unmet().len(), GOALS.len());
    }
}
