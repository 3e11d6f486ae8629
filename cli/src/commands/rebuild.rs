//! `holdfast rebuild`: recovers onto spares and finishes a pending resync, in the foreground.
//!
//! Progress is recorded in the metadata as it goes, so an interrupted rebuild continues where it
//! was. What could not be read on the way costs that range only; it is named, and the exit code
//! says so.

use holdfast_core::size::Human;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_raid::event::Event;
use holdfast_raid::status::{Health, MemberState, Status};
use holdfast_raid::sync::Action;
use serde::Serialize;

use super::detail;
use crate::config::Change;
use crate::events::{MOST_SHOWN, Names};
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::session::{Purpose, Session};

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    passes: Vec<Pass>,
    state: String,
    /// What could not be rebuilt, on the members it should have been rebuilt on.
    lost: Vec<Lost>,
    lost_not_shown: u64,
    next: Option<String>,
}

impl Answer {
    fn lose(&mut self, path: &str, first_sector: u64, sectors: u64) {
        if self.lost.len() < MOST_SHOWN {
            self.lost.push(Lost { path: path.to_owned(), first_sector, sectors });
        } else {
            self.lost_not_shown += 1;
        }
    }
}

#[derive(Debug, Serialize)]
struct Pass {
    action: &'static str,
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Lost {
    path: String,
    first_sector: u64,
    sectors: u64,
}

/// Rebuilds and resyncs.
pub(super) fn run(config: &Change, report: &Report) -> Outcome {
    if config.caution.dry_run {
        return foretell(config, report);
    }
    let mut session = Session::open(&config.group, Purpose::Change, report)?;
    let mut work = Rebuilding::new();
    while work.begin(&mut session) {
        session.run_and_tell(report, |event, names| work.take(event, names, report));
        if !work.goes_on(&session) {
            break;
        }
    }
    let stuck = work.why_stuck(&session);
    let status = session.stop(report);
    work.finish(stuck, &status, report)
}

/// Passes, one after the other, until nothing is due or one leaves things as they were.
#[derive(Debug)]
pub(super) struct Rebuilding {
    answer: Answer,
    /// How things stood before the pass that runs.
    before: Option<Stage>,
    went_on: bool,
    full: bool,
    stuck: bool,
}

impl Rebuilding {
    /// Nothing has been done yet.
    pub(super) const fn new() -> Self {
        let answer = Answer {
            dry_run: false,
            passes: Vec::new(),
            state: String::new(),
            lost: Vec::new(),
            lost_not_shown: 0,
            next: None,
        };
        Self { answer, before: None, went_on: false, full: false, stuck: false }
    }

    /// Starts what is due, unless a pass runs already. False: nothing is.
    pub(super) fn begin(&mut self, session: &mut Session) -> bool {
        let runs = session.status().sync.is_some() || session.array.start_pending();
        (self.went_on, self.full) = (false, false);
        self.before = runs.then(|| Stage::of(&session.status()));
        runs
    }

    /// Takes what happened.
    pub(super) fn take(&mut self, event: &Event, names: &Names, report: &Report) {
        match event {
            Event::SyncFinished { action, complete, .. } => {
                self.went_on |= complete;
                let word = action.name();
                let how = match (complete, self.full) {
                    (true, false) => "done",
                    (true, true) => "done, except where there was no space",
                    (false, _) => "interrupted",
                };
                report.line(format_args!("{word}: {how}"));
                let complete = *complete && !self.full;
                self.answer.passes.push(Pass { action: word, complete });
            }
            Event::NoSpace { .. } => self.full = true,
            Event::BadBlocks { member, sector, sectors } => {
                self.answer.lose(names.device(*member), *sector, *sectors);
            }
            _ => {}
        }
    }

    /// Whether the pass that has ended leaves room for another. One that could not finish, or that
    /// left things as they were, would be due again at once.
    pub(super) fn goes_on(&mut self, session: &Session) -> bool {
        let after = Stage::of(&session.status());
        self.stuck =
            self.went_on && self.before.as_ref() == Some(&after) && after.pending.is_some();
        self.went_on && !self.stuck
    }

    /// Whether no pass has run for it yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.before.is_none() && self.answer.passes.is_empty()
    }

    /// Why a pass left as much to do as it found, if one did.
    pub(super) fn why_stuck(&self, session: &Session) -> Option<Failure> {
        self.stuck.then(|| why_stuck(session))
    }

    /// The last words.
    pub(super) fn finish(
        self,
        stuck: Option<Failure>,
        status: &Status,
        report: &Report,
    ) -> Outcome {
        finish(self.answer, stuck, status, report)
    }
}

/// What a pass should change.
#[derive(Debug, PartialEq, Eq)]
struct Stage {
    pending: Option<(Action, u64, u64)>,
    bits: Option<u64>,
    members: Vec<(MemberState, Option<u64>)>,
}

impl Stage {
    fn of(status: &Status) -> Self {
        // A pass that has just been started counts as pending, however far it is.
        let at_rest = Status { sync: None, ..status.clone() };
        Self {
            pending: detail::pending(&at_rest),
            bits: status.bitmap.map(|bitmap| bitmap.dirty),
            members: status.members.iter().map(|m| (m.state, m.recovery_offset)).collect(),
        }
    }
}

/// Why a pass left as much to do as it found.
fn why_stuck(session: &Session) -> Failure {
    if session.teller.lacks_space() {
        Failure::error("a member has no space left; what it could not take stays marked for resync")
            .hint("make room where the members are, then run it again")
    } else {
        Failure::error("a pass reached its end and left as much to do as there was before")
            .hint("the members named above could not be read or written there")
    }
}

fn finish(mut answer: Answer, stuck: Option<Failure>, status: &Status, report: &Report) -> Outcome {
    if answer.passes.is_empty() {
        report.line("nothing to rebuild and nothing to resync");
    }
    answer.state = detail::state(status);
    answer.next = detail::next(status);
    report.line(format_args!("state: {}", answer.state));
    let complete = stuck.is_none() && answer.passes.last().is_none_or(|pass| pass.complete);
    if let Some(next) = answer.next.as_ref().filter(|_| complete) {
        report.line(format_args!("next: {next}"));
    }
    if !complete {
        report.answer(&answer);
        return Err(match (status.health, stuck) {
            (_, Some(failure)) => failure,
            (Health::Failed, None) => {
                Failure::unusable("the array lost more members than it bears")
                    .hint("holdfast detail says which; nothing more was written to them")
            }
            (_, None) => Failure::error("the rebuild did not reach its end")
                .hint("run it again: it continues where it was"),
        });
    }
    let exit = if answer.lost.is_empty() { Exit::Good } else { Exit::Differs };
    report.answer(&answer);
    Ok(exit)
}

/// What a rebuild would do.
fn foretell(config: &Change, report: &Report) -> Outcome {
    let session = Session::open(&config.group, Purpose::Look, report)?;
    let status = session.status();
    let mut passes = Vec::new();
    if let Some((action, done, total)) = detail::pending(&status) {
        let (done, total) = (Human(done * SECTOR_BYTES), Human(total * SECTOR_BYTES));
        report.line(format_args!("would be done: {action}, from {done} to {total}"));
        passes.push(Pass { action: action.name(), complete: false });
    }
    let spares = status.members.iter().filter(|member| member.state == MemberState::Spare);
    let missing = detail::present(&status).iter().filter(|present| !**present).count();
    let takes = spares.count().min(missing);
    if takes > 0 && status.health == Health::Degraded {
        let spares = if takes == 1 { "1 spare".to_owned() } else { format!("{takes} spares") };
        report.line(format_args!("would be done: recovery onto {spares}"));
        passes.push(Pass { action: "recovery", complete: false });
    }
    if passes.is_empty() {
        report.line("nothing to rebuild and nothing to resync");
    }
    let (state, next) = (detail::state(&status), detail::next(&status));
    let (lost, lost_not_shown) = (Vec::new(), 0);
    report.answer(&Answer { dry_run: true, passes, state, lost, lost_not_shown, next });
    Ok(Exit::Good)
}
