//! Carrying out what clients of the control socket ask, beside the serving.
//!
//! A request is begun in the turn in which it is heard and answered in the turn in which it is
//! done: a change once the members' metadata say so, a pass once it has ended. Nothing here waits.

use std::path::{Path, PathBuf};

use holdfast_core::time::{Clock, Duration, Instant};
use holdfast_raid::event::Event;
use holdfast_raid::sync::Action;

use super::chronicle::{Chronicle, name_of};
use super::faults::{Deed, Faults};
use super::log::Log;
use super::newcomer::{Came, Purpose, Visit};
use super::program::Program;
use super::{PATIENCE, metrics, silent};
use crate::args::LogWord;
use crate::commands::change::{self, Changed};
use crate::commands::check::{self, Comparison};
use crate::commands::rebuild::Rebuilding;
use crate::commands::{detail, fail, mdstat, remove, repair};
use crate::config::Selector;
use crate::control::listen::{Asked, Caller, Ears, Teller};
use crate::control::protocol::{Change, Newcomer, Request, Scope, Told};
use crate::control::reply::Reply;
use crate::events::Names;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::World;
use crate::report::Report;
use crate::session::Session;

/// Whoever asks for something, and how far it has come.
#[derive(Debug)]
pub(super) struct Control {
    ears: Ears<Request>,
    waiting: Vec<Waiting>,
    followers: Vec<Caller>,
    /// Those who asked for the stop, to be told how it went.
    stopping: Vec<Caller>,
    chronicle: Chronicle,
    program: Option<Program>,
    log: Option<Log>,
    /// What goes wrong by order, if that is allowed.
    faults: Option<Faults>,
    /// Threads for devices that came while the array was served.
    newcomers: Option<World>,
    /// When the pass that runs began, and where.
    pass: (Instant, u64),
}

/// What a turn came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turned {
    /// Somebody wants the array stopped.
    pub(super) stop: bool,
    /// Something was begun or answered: the array may have work that it has not been asked for.
    pub(super) moved: bool,
}

/// A request that is not done yet.
#[derive(Debug)]
struct Waiting {
    caller: Caller,
    /// What has been said so far.
    report: Report,
    work: Work,
    /// Another pass has just been started for it.
    began: bool,
}

/// What is waited for.
#[derive(Debug)]
enum Work {
    /// A device that is to take part has not been looked at yet.
    Visit(Visit),
    /// The metadata of the others, until somebody has to be told that they do not come.
    Record(Changed, Instant),
    /// A check.
    Check(Comparison),
    /// A repair; whether it locates.
    Repair(Comparison, bool),
    /// Passes, until nothing is due.
    Rebuild(Rebuilding),
}

impl Control {
    /// Of an array; `program` is run at every event, which is also written down as `log` says.
    pub(super) fn new(
        ears: Ears<Request>,
        session: &mut Session,
        program: Option<PathBuf>,
        log: Option<LogWord>,
        faults: Option<Faults>,
    ) -> Self {
        let chronicle = Chronicle::new(session.status().uuid.to_string());
        let pass = (session.clock.now(), 0);
        let (waiting, followers, stopping) = (Vec::new(), Vec::new(), Vec::new());
        session.teller.be_silent(log.is_some());
        let (program, log) = (program.map(Program::new), log.map(Log::new));
        let newcomers = None;
        let mut control = Self {
            ears,
            waiting,
            followers,
            stopping,
            chronicle,
            program,
            log,
            faults,
            newcomers,
            pass,
        };
        for told in control.chronicle.opening(&session.status()) {
            control.tell(&told);
        }
        control
    }

    /// Takes what happened to the array.
    pub(super) fn see(&mut self, event: &Event, names: &Names, now: Instant) {
        if let Event::SyncStarted { from, .. } = event {
            self.pass = (now, *from);
        }
        for waiting in &mut self.waiting {
            match &mut waiting.work {
                Work::Visit(_) | Work::Record(..) => {}
                Work::Check(work) | Work::Repair(work, _) => {
                    work.take(event, names, &waiting.report);
                }
                Work::Rebuild(work) => work.take(event, names, &waiting.report),
            }
        }
        if let Some(faults) = &mut self.faults {
            faults.heard(name_of(event));
        }
        if self.is_followed()
            && let Some(told) = self.chronicle.of(event, names)
        {
            self.tell(&told);
        }
    }

    /// When something is due here that nobody asks for.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        let records = self.waiting.iter().filter_map(|waiting| match &waiting.work {
            Work::Record(_, until) => Some(*until),
            _ => None,
        });
        records.chain(self.faults.as_ref().and_then(Faults::poll_at)).min()
    }

    /// Whether the power of the members has failed, by order.
    pub(super) fn power_is_out(&self) -> bool {
        self.faults.as_ref().is_some_and(Faults::power_is_out)
    }

    /// Lets go wrong what is to; whether anything did.
    fn turn_faults(&mut self, session: &mut Session) -> bool {
        let Some(faults) = &mut self.faults else { return false };
        let deeds = faults.turn(session);
        for Deed { event, member, text } in &deeds {
            let member = member.map(|member| session.path(member).to_owned());
            let told = self.chronicle.told(event, member, Some(text.clone()));
            self.tell(&told);
        }
        !deeds.is_empty()
    }

    fn is_followed(&self) -> bool {
        !self.followers.is_empty() || self.program.is_some() || self.log.is_some()
    }

    fn tell(&mut self, told: &Told) {
        self.followers.retain(|follower| follower.tell(told));
        if let Some(program) = &self.program {
            program.tell(told);
        }
        if let Some(log) = &mut self.log {
            log.tell(told);
        }
    }

    /// Begins what is asked and answers what is done.
    pub(super) fn turn(&mut self, session: &mut Session, clients: usize) -> Turned {
        let mut moved = false;
        while let Some(asked) = self.ears.next() {
            self.begin(asked, session, clients);
            moved = true;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let before = waiting.len();
        let world = &mut self.newcomers;
        let go_on = |waiting: Waiting| waiting.go_on(session, world);
        self.waiting = waiting.into_iter().filter_map(go_on).collect();
        if (self.is_followed() || self.faults.is_some())
            && let Some(told) = self.chronicle.progress(&session.status())
        {
            if let Some(faults) = &mut self.faults {
                faults.heard(&told.event);
            }
            self.tell(&told);
        }
        moved |= self.turn_faults(session);
        moved |= self.waiting.len() < before || self.waiting.iter().any(|waiting| waiting.began);
        Turned { stop: !self.stopping.is_empty(), moved }
    }

    /// Whoever asks from within this process.
    pub(super) fn teller(&self) -> Teller<Request> {
        self.ears.teller()
    }

    fn begin(&mut self, asked: Asked<Request>, session: &mut Session, clients: usize) {
        let Asked { request, caller } = asked;
        let report = Report::keeping();
        let begun = match &request {
            Request::Events {} => return self.followers.push(caller),
            Request::Stop {} => return self.stopping.push(caller),
            Request::Metrics => {
                caller.say(metrics::text(session, clients));
                return;
            }
            Request::Detail {} => Ok(Begun::Done(detail::tell(session, &report))),
            Request::Mdstat {} => {
                let pace = (session.clock.now().since(self.pass.0), self.pass.1);
                Ok(Begun::Done(mdstat::tell_served(session, pace, &report)))
            }
            Request::Fail(what) => change_member(what, session, &report, fail::declare),
            Request::Remove(what) => change_member(what, session, &report, remove::take_out),
            Request::Add(newcomer) => visit(Purpose::Add, newcomer, session),
            Request::ReAdd(newcomer) => visit(Purpose::ReAdd, newcomer, session),
            Request::Replace { member, with } => {
                visit(Purpose::Replace(member.clone()), with, session)
            }
            Request::Check(scope) => {
                compare(*scope, session, &report, |locate| Action::Check { locate })
                    .map(|work| Begun::Work(Box::new(Work::Check(work))))
            }
            Request::Repair(scope) => {
                let locate = scope.locate;
                compare(*scope, session, &report, |locate| Action::Repair { locate })
                    .map(|work| Begun::Work(Box::new(Work::Repair(work, locate))))
            }
            Request::Rebuild {} => {
                let mut work = Rebuilding::new();
                // What has been rebuilt a moment ago is reported once it is on record, too.
                match work.begin(session) || !session.array.is_recorded() {
                    true => Ok(Begun::Work(Box::new(Work::Rebuild(work)))),
                    false => work.finish(None, &session.status(), &report).map(Begun::Done),
                }
            }
            Request::Inject(order) => allowed(&mut self.faults)
                .and_then(|faults| faults.inject(order, session, &report))
                .map(Begun::Done),
            Request::Mend(whose) => allowed(&mut self.faults)
                .and_then(|faults| faults.mend(whose, session, &report))
                .map(Begun::Done),
            Request::Faults {} => allowed(&mut self.faults)
                .and_then(|faults| faults.list(session, &report))
                .map(Begun::Done),
            Request::Speed { min_bytes, max_bytes } => {
                set_speed(*min_bytes, *max_bytes, session, &report).map(Begun::Done)
            }
        };
        match begun {
            Ok(Begun::Work(work)) => {
                self.waiting.push(Waiting { caller, report, work: *work, began: false });
            }
            Ok(Begun::Done(exit)) => caller.answer(&Reply::new(report.take_said(), Ok(exit))),
            Err(failure) => caller.answer(&Reply::new(report.take_said(), Err(failure))),
        }
    }

    /// Lets everybody hear what has been answered already.
    pub(super) fn say_the_rest(&self) {
        self.ears.flush(PATIENCE);
    }

    /// Tells those who wanted it how the stop went.
    pub(super) fn stopped(&mut self, said: &str, outcome: &Outcome) {
        for caller in self.stopping.drain(..) {
            let report = Report::keeping();
            report.line(said);
            report.answer(&serde_json::json!({ "state": said }));
            let outcome = match outcome {
                Ok(exit) => Ok(*exit),
                Err(failure) => Err(failure.clone()),
            };
            caller.answer(&Reply::new(report.take_said(), outcome));
        }
        for waiting in self.waiting.drain(..) {
            let failure = Failure::error("the array was stopped before that was done");
            waiting.caller.answer(&Reply::new(waiting.report.take_said(), Err(failure)));
        }
        if let Some(program) = self.program.take() {
            program.finish(PATIENCE);
        }
        if let Some(log) = self.log.take() {
            log.finish(PATIENCE);
        }
        self.ears.flush(PATIENCE);
    }
}

/// The faults, where the array may have some.
fn allowed(faults: &mut Option<Faults>) -> Result<&mut Faults, Failure> {
    faults.as_mut().ok_or_else(|| {
        Failure::error("this array is served without faults")
            .hint("serve --inject allows them, serve --fault PLAN brings some along")
    })
}

/// What became of a request in its first turn.
enum Begun {
    Done(Exit),
    Work(Box<Work>),
}

fn change_member(
    what: &Change,
    session: &mut Session,
    report: &Report,
    deed: fn(&mut Session, &Selector, bool) -> Result<Changed, Failure>,
) -> Result<Begun, Failure> {
    let changed = deed(session, &Selector::parse(&what.member)?, what.dry_run)?;
    Ok(match what.dry_run {
        true => Begun::Done(change::answer(changed, true, session, report)),
        false => Begun::Work(Box::new(Work::Record(changed, patience_of(session)))),
    })
}

fn visit(purpose: Purpose, newcomer: &Newcomer, session: &Session) -> Result<Begun, Failure> {
    let visit = Visit::begin(purpose, newcomer, session, session.clock.wakeup())?;
    Ok(Begun::Work(Box::new(Work::Visit(visit))))
}

fn compare(
    scope: Scope,
    session: &mut Session,
    report: &Report,
    action: fn(bool) -> Action,
) -> Result<Comparison, Failure> {
    check::refuse_pointless(&session.status(), scope.locate)?;
    Comparison::begin(session, action(scope.locate), report)
}

fn set_speed(
    least: Option<u64>,
    most: Option<u64>,
    session: &mut Session,
    report: &Report,
) -> Outcome {
    let (before_least, before_most) = session.array.sync_speed();
    let (least, most) = (least.unwrap_or(before_least), most.unwrap_or(before_most));
    if least > most {
        let text = format!("at least {least} and at most {most} bytes a second cannot be");
        return Err(Failure::usage(text));
    }
    session.array.set_sync_speed(least, most);
    let human = |bytes| holdfast_core::size::Human(bytes);
    report.line(format_args!(
        "passes take {} a second beside others, {} at most",
        human(least),
        human(most)
    ));
    report.answer(&serde_json::json!({ "min_bytes": least, "max_bytes": most }));
    Ok(Exit::Good)
}

/// How long whoever has changed something waits for the others' metadata.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);

fn patience_of(session: &mut Session) -> Instant {
    session.clock.now() + RECORDED_WITHIN
}

/// A change that somebody keeps from being recorded. It goes on, but nobody is made to wait for it.
fn not_on_record(changed: &Changed, session: &Session) -> Failure {
    let who = silent(session);
    Failure::error(format!("{}, but not on record yet: {who} does not answer", changed.sentence))
        .hint("it will be once that member answers, or is failed, too, if it can be spared")
}

/// A device that was removed is let go of, so that it can be used elsewhere, or come again.
fn let_go(changed: &Changed, session: &mut Session) {
    let removed = changed.action == "remove";
    let Some(member) = removed.then(|| session.known(Path::new(&changed.path))).flatten() else {
        return;
    };
    if session.array.outstanding(member) == 0 {
        session.array.device_mut(member).close();
    }
}

impl Waiting {
    /// Answers if it is done; gives itself back if not.
    fn go_on(self, session: &mut Session, world: &mut Option<World>) -> Option<Self> {
        let Self { caller, report, work, .. } = self;
        let outcome = match work {
            Work::Visit(visit) => match visit.go_on(session, world) {
                Ok(Came::Waits(visit)) => {
                    return Some(Self { caller, report, work: Work::Visit(visit), began: false });
                }
                Ok(Came::In(changed, false)) => {
                    let work = Work::Record(changed, patience_of(session));
                    return Some(Self { caller, report, work, began: true });
                }
                Ok(Came::In(changed, true)) => Ok(change::answer(changed, true, session, &report)),
                Err(failure) => Err(failure),
            },
            Work::Record(changed, _) if session.array.is_recorded() => {
                let_go(&changed, session);
                Ok(change::answer(changed, false, session, &report))
            }
            Work::Record(changed, until) if session.clock.now() >= until => {
                Err(not_on_record(&changed, session))
            }
            Work::Check(comparison) if comparison.is_over() => {
                let answer = comparison.end(session);
                check::conclude(&answer, &session.status(), &report)
            }
            Work::Repair(comparison, locate) if comparison.is_over() => {
                let answer = comparison.end(session);
                repair::conclude(&answer, locate, false, &session.status(), &report)
            }
            Work::Rebuild(mut rebuilding)
                if session.status().sync.is_none() && session.array.is_recorded() =>
            {
                let goes_on = rebuilding.is_fresh() || rebuilding.goes_on(session);
                if goes_on && rebuilding.begin(session) {
                    let work = Work::Rebuild(rebuilding);
                    return Some(Self { caller, report, work, began: true });
                }
                let stuck = rebuilding.why_stuck(session);
                rebuilding.finish(stuck, &session.status(), &report)
            }
            work => return Some(Self { caller, report, work, began: false }),
        };
        caller.answer(&Reply::new(report.take_said(), outcome));
        None
    }
}
