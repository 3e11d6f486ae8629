//! `holdfast check`: compares copies, or data with parity, over the whole array.
//!
//! Nothing is written, not even metadata: a check takes no risk. What it finds is named as it is
//! found; on raid6 `--locate` also names the member a difference points at. The count is md's
//! `mismatch_cnt`: sectors of the units that differ, not of the difference.

use holdfast_core::size::SECTOR_BYTES;
use holdfast_raid::event::Event;
use holdfast_raid::level::Level;
use holdfast_raid::status::{Health, Status};
use holdfast_raid::sync::Action;
use serde::Serialize;

use super::detail;
use crate::config;
use crate::events::{MOST_SHOWN, Names, sector_range};
use crate::exit::{Exit, Failure, Outcome};
use crate::json::{Range, Ranges};
use crate::members;
use crate::report::Report;
use crate::session::{Purpose, Session};

/// What a check or a repair came to.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    action: &'static str,
    complete: bool,
    mismatch_sectors: u64,
    mismatches: Vec<Mismatch>,
    mismatches_not_shown: u64,
    /// raid6 with --locate: differences that point at one member, and those that do not.
    mismatches_located: u64,
    mismatches_not_located: u64,
    unreadable: Vec<Range>,
    unreadable_not_shown: u64,
    state: String,
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Mismatch {
    /// Of the members' data, or of the array for raid10.
    first_sector: u64,
    sectors: u64,
    stripe: Option<u64>,
    culprit_slot: Option<u32>,
    culprit: Option<String>,
}

/// Compares.
pub(super) fn run(config: &config::Check, report: &Report) -> Outcome {
    members::refuse_locked(&config.group, FORCE_ON_LOCKED)?;
    let mut session = Session::open(&config.group, Purpose::Look, report)?;
    let action = Action::Check { locate: config.locate };
    refuse_pointless(&session.status(), config.locate)?;
    let answer = compare(&mut session, action, report)?;
    session.teller.finish(report);
    if answer.differs() {
        name_writers(&config.group, report);
    }
    let status = session.status();
    conclude(&answer, &status, report)
}

/// The last words of a check.
pub(super) fn conclude(answer: &Answer, status: &Status, report: &Report) -> Outcome {
    answer.say(status, report);
    report.answer(answer);
    if !answer.complete {
        return Err(Failure::error("the check did not reach its end").hint("run it again"));
    }
    Ok(answer.exit(status))
}

/// What comparing under somebody's hands means.
pub(super) const FORCE_ON_LOCKED: &str =
    "compares all the same and takes writes under way for differences";

/// Somebody who writes now may have written while members were compared.
pub(super) fn name_writers(group: &config::Group, report: &Report) {
    if let Some(held) = group.members.iter().find_map(|path| members::held(path)) {
        report.note(format_args!("{held}: differences may be its writes under way; check again"));
    }
}

/// There must be something to compare.
pub(super) fn refuse_pointless(status: &Status, locate: bool) -> Result<(), Failure> {
    let level = status.level;
    if !level.is_redundant() {
        let text = format!("{level} keeps everything once: there is nothing to compare");
        return Err(Failure::error(text));
    }
    if locate && level != Level::Raid6 {
        let text = format!("--locate: {level} cannot tell which member is wrong, only raid6 can");
        return Err(Failure::usage(text).hint("leave --locate out"));
    }
    Ok(())
}

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Comparison {
    answer: Answer,
    unreadable: Ranges,
    /// How the array stood when it began.
    status: Status,
    is_over: bool,
}

/// Runs the pass and collects what it finds.
pub(super) fn compare(
    session: &mut Session,
    action: Action,
    report: &Report,
) -> Result<Answer, Failure> {
    let names = session.names();
    let mut comparison = Comparison::begin(session, action, report)?;
    let mut teller = std::mem::take(&mut session.teller);
    session.run(report, |event| {
        if !comparison.take(&event, &names, report) {
            teller.take(&event, &names, report);
        }
    });
    session.teller = teller;
    Ok(comparison.end(session))
}

impl Comparison {
    /// Starts the pass.
    pub(super) fn begin(
        session: &mut Session,
        action: Action,
        report: &Report,
    ) -> Result<Self, Failure> {
        let status = session.status();
        if status.resync_from.is_some() {
            report.note(
                "a resync is pending: differences are to be expected where writes were under way; \
             holdfast rebuild finishes it",
            );
        }
        let answer = Answer {
            action: action.name(),
            complete: false,
            mismatch_sectors: 0,
            mismatches: Vec::new(),
            mismatches_not_shown: 0,
            mismatches_located: 0,
            mismatches_not_located: 0,
            unreadable: Vec::new(),
            unreadable_not_shown: 0,
            state: String::new(),
            dry_run: false,
        };
        session.array.start(action).map_err(|refusal| {
            Failure::error(format!("{} cannot begin: {refusal}", action.name()))
        })?;
        Ok(Self { answer, unreadable: Ranges::default(), status, is_over: false })
    }

    /// Takes what happened; whether it is told by this comparison and by nobody else.
    pub(super) fn take(&mut self, event: &Event, names: &Names, report: &Report) -> bool {
        match event {
            Event::Mismatch { sector, sectors, culprit } => {
                self.answer.mismatch(*sector, *sectors, *culprit, &self.status, names, report);
            }
            Event::SyncFinished { complete, mismatch_sectors, .. } => {
                self.is_over = true;
                self.answer.complete = *complete;
                self.answer.mismatch_sectors = *mismatch_sectors;
            }
            Event::RangeFailed { sector, sectors, fault, slots, write: false } => {
                self.unreadable.add(Range {
                    offset_bytes: sector * SECTOR_BYTES,
                    length_bytes: sectors * SECTOR_BYTES,
                    members: slots.iter().map(|slot| names.slot(*slot)).collect(),
                    why: fault.to_string(),
                });
                return false;
            }
            _ => return false,
        }
        true
    }

    /// Whether the pass has ended, one way or the other.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What it came to.
    pub(super) fn end(mut self, session: &Session) -> Answer {
        self.answer.unreadable = self.unreadable.shown;
        self.answer.unreadable_not_shown = self.unreadable.more;
        self.answer.state = detail::state(&session.status());
        self.answer
    }
}

impl Answer {
    /// Marks the answer as one of what would be done.
    pub(super) fn imagined(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Whether the pass reached its end.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether anything differed or could not be read.
    pub(super) fn differs(&self) -> bool {
        self.mismatch_sectors > 0 || self.is_unreadable()
    }

    /// Differences found, shown or not.
    pub(super) const fn count(&self) -> u64 {
        self.mismatches_located + self.mismatches_not_located
    }

    /// Differences that point at one member.
    pub(super) const fn located(&self) -> u64 {
        self.mismatches_located
    }

    /// Whether something could not be read.
    pub(super) const fn is_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    fn mismatch(
        &mut self,
        sector: u64,
        sectors: u64,
        culprit: Option<u32>,
        status: &Status,
        names: &Names,
        report: &Report,
    ) {
        match culprit {
            Some(_) => self.mismatches_located += 1,
            None => self.mismatches_not_located += 1,
        }
        if self.mismatches.len() == MOST_SHOWN {
            self.mismatches_not_shown += 1;
            return;
        }
        let chunk = u64::from(status.chunk_sectors);
        let stripe = status.level.has_parity().then(|| sector / chunk.max(1));
        let range = sector_range(sector, sectors);
        report.line(match (stripe, culprit) {
            (Some(stripe), Some(slot)) => format!(
                "stripe {stripe}: P and Q agree that slot {slot} ({}) is wrong, {range} of its data",
                names.slot(slot)
            ),
            (Some(stripe), None) => {
                format!("stripe {stripe}: data and parity differ, {range} of each member's data")
            }
            (None, _) if status.level == Level::Raid10 => format!("array {range}: copies differ"),
            (None, _) => format!("{range} of each member's data: copies differ"),
        });
        self.mismatches.push(Mismatch {
            first_sector: sector,
            sectors,
            stripe,
            culprit_slot: culprit,
            culprit: culprit.map(|slot| names.slot(slot)),
        });
    }

    /// The last words.
    pub(super) fn say(&self, status: &Status, report: &Report) {
        if self.mismatches_not_shown > 0 {
            report.line(format_args!("… and {} more", self.mismatches_not_shown));
        }
        let located = match self.mismatches_located {
            0 => String::new(),
            located => format!(", {located} of them located"),
        };
        let count = self.count();
        let noun = if count == 1 { "difference" } else { "differences" };
        report.line(match count {
            0 if self.is_unreadable() => format!(
                "{}: what can be read agrees, the rest is named above; state: {}",
                self.action, self.state
            ),
            0 => format!("{}: everything agrees; state: {}", self.action, self.state),
            _ => format!(
                "{}: {count} {noun}, {} sectors by md's count{located}; state: {}",
                self.action, self.mismatch_sectors, self.state
            ),
        });
        if status.health == Health::Degraded {
            report.note("where a member is missing there was nothing to compare with");
        }
    }

    fn exit(&self, status: &Status) -> Exit {
        match detail::exit(status) {
            Exit::Unusable => Exit::Unusable,
            _ if self.differs() => Exit::Differs,
            exit => exit,
        }
    }
}
