//! Carries a script out against the real engine and holds it to its promises.
//!
//! Everything is one thread under one virtual clock: the array is pumped from deadline to
//! deadline, requests and faults happen between, and whatever comes back is compared with the
//! [ledger](crate::ledger) at once. When the script ends the faults end too; then the array has to
//! become whole, and every byte is read again, twice: as it stands, and after a stop, a power cut
//! and a new assembly. See `finish`.
//!
//! In a script that stays [within](crate::script::Mode::Within) tolerance a fault that would
//! exceed it is *spared*: whether it would depends on the moment, so it is decided here.

mod acts;
mod cover;
mod crash;
mod finish;
mod guard;
mod judge;
mod renew;
mod traffic;
mod verdict;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions};
use holdfast_core::time::{Clock, Duration, Instant};
use holdfast_raid::integrity::Guarded;
use holdfast_raid::{Assembled, Defects, Sound};

pub use verdict::{Mark, Marks, Oracle, Verdict, Violation};
pub use world::recipe;

use crate::coverage::Grid;
use crate::damage::{Claims, Damage};
use crate::disk::{Pulse, SimDisk};
use crate::ledger::{Crash, FlushId, Ledger, WriteId};
use crate::rows::{RowSet, Rows};
use crate::script::{Line, Mode, Script};
use crate::world::VirtualClock;

/// Polls after which something that has not come never will, beside those that passes are granted.
const PATIENCE: u64 = 100_000;

/// Polls that passes over everything may take for each page of the members, all of them together.
const POLLS_PER_PAGE: u64 = 16;

/// Why a run does not go on.
#[derive(Debug)]
enum Stop {
    /// A promise was broken.
    Broken(Violation),
    /// The array is lost, rightly.
    Over,
}

type Step<T = ()> = Result<T, Stop>;

/// A request on its way.
#[derive(Debug)]
enum Flight {
    Read { asked: u32 },
    Write(WriteId),
    Flush(FlushId),
}

/// Carries a script out.
///
/// A panic anywhere in the engine is a violation like any other.
pub fn run(script: &Script) -> Verdict {
    carry_out(script, Sound, None).0
}

/// Carries a script out against an engine with planted defects.
pub fn run_with<X: Defects>(script: &Script, defects: X) -> Verdict {
    carry_out(script, defects, None).0
}

/// Carries a script out and tells what happens, line by line.
pub fn narrate(script: &Script) -> (Verdict, Vec<String>) {
    carry_out(script, Sound, Some(Vec::new()))
}

/// The same against an engine with planted defects.
pub fn narrate_with<X: Defects>(script: &Script, defects: X) -> (Verdict, Vec<String>) {
    carry_out(script, defects, Some(Vec::new()))
}

fn carry_out<X: Defects>(
    script: &Script,
    defects: X,
    story: Option<Vec<String>>,
) -> (Verdict, Vec<String>) {
    let clock = VirtualClock::default();
    let pulse = Rc::<Pulse>::default();
    let Ok((disks, rows)) = world::make(script, &clock, &pulse) else {
        let (marks, grid) = (Marks::default(), Grid::default());
        return (Verdict { violation: None, hash: 0, steps: 0, marks, grid }, Vec::new());
    };
    let mut run = Run::new(script, defects, clock, Rc::clone(&pulse), rows, disks.len());
    run.story = story;
    let outcome = catch_unwind(AssertUnwindSafe(|| run.whole(disks)));
    let violation = match outcome {
        Ok(Ok(()) | Err(Stop::Over)) => None,
        Ok(Err(Stop::Broken(violation))) => Some(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let detail = format!("panic: {}", text.unwrap_or("without a word"));
            Some(Violation { oracle: Oracle::Honesty, detail, line: run.line })
        }
    };
    let (hash, steps) = (pulse.hash(), pulse.steps());
    let story = run.story.take().unwrap_or_default();
    (Verdict { violation, hash, steps, marks: run.marks, grid: run.grid }, story)
}

struct Run<'s, X: Defects> {
    script: &'s Script,
    /// What is wrong with the engine.
    defects: X,
    clock: VirtualClock,
    pulse: Rc<Pulse>,
    array: Option<Assembled<Guarded<SimDisk>, X>>,
    rows: Rows,
    ledger: Ledger,
    damage: Damage,
    /// What is on its way, and its first sector.
    flying: BTreeMap<u64, (Flight, u64)>,
    next_tag: u64,
    versions: u32,
    /// Disks that had a fault for which a member may be taken out of service.
    excused: Vec<bool>,
    stuck: BTreeSet<usize>,
    /// A device had no room: writes may fail.
    room_is_short: bool,
    /// Disks that had lost nothing when they vanished.
    whole_when_it_went: BTreeSet<usize>,
    /// More has gone than the array bears without what is being rebuilt: it may have given up.
    overdrawn: bool,
    /// Wrong data may be anywhere: something silent was done.
    silenced: bool,
    lying: bool,
    /// A silent fault that a guard will notice is yet to strike.
    lurking: bool,
    /// Disks that one has struck just now, and slots that were missing then: both may be healed again
    /// before anybody looks.
    struck: usize,
    missing: usize,
    cut: Option<(Crash, u64)>,
    /// Counts assemblies.
    life: u32,
    line: usize,
    marks: Marks,
    grid: Grid,
    /// Disks rebuilt to their end, which their metadata may not say yet.
    fresh: BTreeSet<usize>,
    /// Disks that are being filled to replace others.
    twins: BTreeSet<usize>,
    /// Disks that have been replaced, which the metadata may not say yet.
    retiring: Vec<usize>,
    /// Disks that are back, which the metadata may not say yet.
    returning: Vec<usize>,
    /// When a rebuild came to its end, in answers of disks.
    rebuilt_at: Option<u64>,
    answers: Completions,
    /// What happened, if somebody wants to know.
    story: Option<Vec<String>>,
}

impl<'s, X: Defects> Run<'s, X> {
    fn new(
        script: &'s Script,
        defects: X,
        clock: VirtualClock,
        pulse: Rc<Pulse>,
        rows: Rows,
        disks: usize,
    ) -> Self {
        let mut damage = Damage::none(rows.clone(), disks);
        if !script.setup.synced && rows.has_parity() {
            let mut all = RowSet::none(rows.count());
            (0..rows.count()).for_each(|row| all.insert(row));
            damage.put_at_risk(&all);
        }
        Self {
            script,
            defects,
            clock,
            pulse,
            array: None,
            ledger: Ledger::zeroed(rows.array_sectors()),
            damage,
            rows,
            flying: BTreeMap::new(),
            next_tag: 0,
            versions: 0,
            excused: vec![false; disks],
            stuck: BTreeSet::new(),
            room_is_short: false,
            whole_when_it_went: BTreeSet::new(),
            overdrawn: false,
            silenced: false,
            lying: false,
            lurking: false,
            struck: 0,
            missing: 0,
            cut: None,
            life: 0,
            line: 0,
            marks: Marks::default(),
            grid: Grid::default(),
            fresh: BTreeSet::new(),
            twins: BTreeSet::new(),
            retiring: Vec::new(),
            returning: Vec::new(),
            rebuilt_at: None,
            answers: Vec::new(),
            story: None,
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{} {}", self.clock.time(), what()));
        }
    }

    fn whole(&mut self, disks: Vec<SimDisk>) -> Step {
        self.assemble(disks)?;
        for (index, Line { after_us, act }) in self.script.lines.iter().enumerate() {
            self.line = index;
            if *after_us > 0 {
                let until = self.clock.time() + Duration::from_micros(*after_us);
                self.pump_until(until)?;
            }
            self.tell(|| format!("> {act}"));
            self.perform(act)?;
        }
        self.line = self.script.lines.len();
        self.believe();
        self.finish()
    }

    fn within(&self) -> bool {
        self.script.weather.mode == Mode::Within
    }

    fn violation<T>(&self, oracle: Oracle, detail: String) -> Step<T> {
        Err(Stop::Broken(Violation { oracle, detail, line: self.line }))
    }

    fn array(&mut self) -> &mut Assembled<Guarded<SimDisk>, X> {
        self.array.as_mut().expect("an array runs between assembly and stop")
    }

    fn disks(&self) -> usize {
        self.excused.len()
    }

    fn claims(&self) -> Claims {
        let array = self.array.as_ref().expect("an array runs");
        let claims = Claims::of(&array.status());
        match array.array().is_replaying() {
            // Nothing is claimed before the logs have been carried out.
            true => Claims { in_doubt_from: Some(0), ..claims },
            false => claims,
        }
    }

    /// Polls the array at the present moment and takes in what comes of it.
    fn poll(&mut self) -> Step {
        let now = self.clock.time();
        let mut answers = std::mem::take(&mut self.answers);
        let before = self.lurking.then(|| self.claims());
        self.array().poll(now, &mut answers);
        if let Some(before) = before {
            self.notice_silent_faults(&before);
        }
        if self.array().array().is_recorded() {
            self.fresh.clear();
            self.renewed();
        }
        for event in self.array().take_events() {
            self.reported(&event)?;
        }
        for done in answers.drain(..) {
            self.answered(done)?;
        }
        self.answers = answers;
        if self.pulse.is_out() {
            self.crash()?;
            // What was submitted to the new array starts only when it is polled.
            return self.poll();
        }
        Ok(())
    }

    /// Polls, then jumps to the next deadline; false if there is none.
    fn pump_once(&mut self) -> Step<bool> {
        self.poll()?;
        let due = self.array().poll_at();
        if let Some(at) = due {
            self.clock.wait(Some(at));
        }
        Ok(due.is_some())
    }

    fn pump_until(&mut self, until: Instant) -> Step {
        for _ in 0..self.patience() {
            self.poll()?;
            match self.array().poll_at().filter(|&at| at < until) {
                Some(at) => self.clock.wait(Some(at)),
                None => {
                    self.clock.wait(Some(until));
                    return Ok(());
                }
            }
        }
        self.violation(Oracle::Honesty, "time does not pass".to_owned())
    }

    /// Polls after which something that has not come never will. A throttled pass over many small
    /// chunks goes on for a long time, a few polls for each, and may follow upon another.
    const fn patience(&self) -> u64 {
        let setup = &self.script.setup;
        PATIENCE + setup.disk_sectors / 8 * setup.members as u64 * POLLS_PER_PAGE
    }

    /// Pumps until `done` says so.
    fn pump_while(&mut self, what: &str, busy: impl Fn(&mut Self) -> bool) -> Step {
        for _ in 0..self.patience() {
            self.poll()?;
            if !busy(self) {
                return Ok(());
            }
            match self.array().poll_at() {
                Some(at) => self.clock.wait(Some(at)),
                None => break,
            }
        }
        let status = self.array().status();
        let flying = self.flying.len();
        let detail = format!("{what}: never ends, {flying} requests unanswered, {status:?}");
        self.violation(Oracle::Honesty, detail)
    }

    fn drain(&mut self) -> Step {
        self.release_all();
        self.pump_while("waiting for every request", |run| !run.flying.is_empty())
    }

    fn settle(&mut self) -> Step {
        self.release_all();
        self.pump_while("waiting for the array to be idle", |run| !run.array().is_quiet())
    }
}
