//! Carries a script out against the real engine and holds it to its promises.
//!
//! Everything is one thread under one virtual clock: the array is pumped from deadline to
//! deadline, requests and faults happen between, and whatever comes back is compared with the
//! [ledger](crate::ledger) at once. When the script ends the faults end too; then the array has to
//! become whole, and every byte is read again, twice: as it stands, and after a stop, a power cut
//! and a new assembly. See [`finish`].
//!
//! In a script that stays [within](crate::script::Mode::Within) tolerance a fault that would
//! exceed it is *spared*: whether it would depends on the moment, so it is decided here.

mod finish;
mod steer;
mod verdict;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completion, Completions, Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::Rng;
use holdfast_core::time::{Clock, Duration, Instant};
use holdfast_raid::{Action, AssembleError, Assembled, Event, Options, assemble, scan};

pub use verdict::{Mark, Marks, Oracle, Verdict, Violation};
pub use world::recipe;

use crate::content::{self, SECTOR, Value};
use crate::damage::{Claims, Damage, Expect};
use crate::disk::{Pulse, SimDisk};
use crate::ledger::{Crash, FlushId, Ledger, WriteId, Wrong};
use crate::rows::{RowSet, Rows};
use crate::script::{Line, Mode, Script};
use crate::world::VirtualClock;

/// Polls after which something that has not come never will.
const PATIENCE: u32 = 100_000;

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
    carry_out(script, None).0
}

/// Carries a script out and tells what happens, line by line.
pub fn narrate(script: &Script) -> (Verdict, Vec<String>) {
    carry_out(script, Some(Vec::new()))
}

fn carry_out(script: &Script, story: Option<Vec<String>>) -> (Verdict, Vec<String>) {
    let clock = VirtualClock::default();
    let pulse = Rc::<Pulse>::default();
    let Ok((disks, rows)) = world::make(script, &clock, &pulse) else {
        let marks = Marks::default();
        return (Verdict { violation: None, hash: 0, steps: 0, marks }, Vec::new());
    };
    let mut run = Run::new(script, clock, Rc::clone(&pulse), rows, disks.len());
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
    (Verdict { violation, hash, steps, marks: run.marks }, story)
}

struct Run<'s> {
    script: &'s Script,
    clock: VirtualClock,
    pulse: Rc<Pulse>,
    array: Option<Assembled<SimDisk>>,
    rows: Rows,
    ledger: Ledger,
    damage: Damage,
    flying: BTreeMap<u64, Flight>,
    /// First sectors of what is flying.
    places: BTreeMap<u64, u64>,
    next_tag: u64,
    versions: u32,
    /// Disks that had a fault for which a member may be taken out of service.
    excused: Vec<bool>,
    stuck: BTreeSet<usize>,
    /// A device had no room: writes may fail.
    room_is_short: bool,
    /// Wrong data may be anywhere: something silent was done.
    silenced: bool,
    lying: bool,
    cut: Option<(Crash, u64)>,
    /// Counts assemblies.
    life: u32,
    line: usize,
    marks: Marks,
    answers: Completions,
    /// What happened, if somebody wants to know.
    story: Option<Vec<String>>,
}

impl<'s> Run<'s> {
    fn new(
        script: &'s Script,
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
            clock,
            pulse,
            array: None,
            ledger: Ledger::zeroed(rows.array_sectors()),
            damage,
            rows,
            flying: BTreeMap::new(),
            places: BTreeMap::new(),
            next_tag: 0,
            versions: 0,
            excused: vec![false; disks],
            stuck: BTreeSet::new(),
            room_is_short: false,
            silenced: false,
            lying: false,
            cut: None,
            life: 0,
            line: 0,
            marks: Marks::default(),
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

    fn array(&mut self) -> &mut Assembled<SimDisk> {
        self.array.as_mut().expect("an array runs between assembly and stop")
    }

    fn disks(&self) -> usize {
        self.excused.len()
    }

    fn claims(&self) -> Claims {
        Claims::of(&self.array.as_ref().expect("an array runs").status())
    }

    // ── requests ────────────────────────────────────────────────────────────────────────────

    fn submit(&mut self, sector: u64, op: Op, flight: Flight) -> Step {
        let tag = self.next_tag;
        self.next_tag += 1;
        let mut request = Request::new(Tag(tag), sector, op);
        for _ in 0..PATIENCE {
            let life = self.life;
            match self.array().submit(request) {
                Ok(()) => {
                    self.flying.insert(tag, flight);
                    self.places.insert(tag, sector);
                    return Ok(());
                }
                Err(back) => request = back,
            }
            self.release_all();
            self.pump_once()?;
            if self.life != life {
                // The machine went down with the request still in hand.
                return Ok(());
            }
        }
        self.violation(Oracle::Honesty, "a full queue never has room again".to_owned())
    }

    /// A range inside the array.
    fn clamp(&self, sector: u64, sectors: u64) -> (u64, u64) {
        let all = self.rows.array_sectors();
        let sector = sector % all;
        (sector, sectors.clamp(1, all - sector))
    }

    fn write(&mut self, sector: u64, sectors: u64, fua: bool) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        self.versions += 1;
        let mut buf = Buf::zeroed(sectors as usize * SECTOR);
        content::fill(self.script.weather.seed, sector, self.versions, &mut buf);
        let value = Value::written(self.versions);
        let id = self.ledger.submit_write(sector, sectors, value, fua);
        let durability = if fua { Durability::Fua } else { Durability::Cached };
        self.submit(sector, Op::Write(Payload::from(buf), durability), Flight::Write(id))
    }

    fn zero(&mut self, sector: u64, sectors: u64, discard: bool) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        // Contents after a discard mean something only where zeros are promised.
        if discard && !self.array().geometry().discard_zeroes {
            return Ok(());
        }
        let id = self.ledger.submit_write(sector, sectors, Value::ZERO, false);
        let op = if discard { Op::Discard(sectors) } else { Op::Zero(sectors) };
        self.submit(sector, op, Flight::Write(id))
    }

    fn read(&mut self, sector: u64, sectors: u64) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        let asked = self.ledger.moment();
        let op = Op::Read(Buf::zeroed(sectors as usize * SECTOR));
        self.submit(sector, op, Flight::Read { asked })
    }

    fn flush(&mut self) -> Step {
        let id = self.ledger.submit_flush();
        self.submit(0, Op::Flush, Flight::Flush(id))
    }

    fn answered(&mut self, done: Completion, sector: Option<u64>) -> Step {
        let Some(flight) = self.flying.remove(&done.tag.0) else {
            return self.violation(Oracle::Honesty, format!("{:?} is answered twice", done.tag));
        };
        self.pulse.fold(done.tag.0 << 8 ^ u64::from(done.result.is_ok()));
        self.tell(|| format!("  {:?} at {sector:?}: {:?}", flight, done.result));
        match (flight, done.op) {
            (Flight::Read { asked }, Op::Read(buf)) => {
                let sector = sector.expect("a read has a place");
                match done.result {
                    Ok(()) => self.check_read(sector, &buf, asked),
                    Err(fault) => {
                        let sectors = (buf.len() / SECTOR) as u64;
                        let what = || format!("read of {sectors} at {sector} answers {fault}");
                        self.check_error(sector..sector + sectors, false, what)
                    }
                }
            }
            (Flight::Write(id), op) => {
                self.ledger.answer_write(id, done.result.is_ok());
                let Err(fault) = done.result else { return Ok(()) };
                self.ledger.rows_of(id, &self.rows, self.damage.stained());
                self.reassess();
                let sector = sector.expect("a write has a place");
                let sectors = op.sectors();
                let what = || format!("write of {sectors} at {sector} answers {fault}");
                self.check_error(sector..sector + sectors, true, what)
            }
            (Flight::Flush(id), _) => match done.result {
                Ok(()) => {
                    self.ledger.answer_flush(id);
                    Ok(())
                }
                Err(_) if self.damage.is_exceeded() || self.room_is_short => Ok(()),
                Err(fault) => self.violation(Oracle::Needless, format!("a flush answers {fault}")),
            },
            (Flight::Read { .. }, op) => {
                self.violation(Oracle::Honesty, format!("a read is answered with {op:?}"))
            }
        }
    }

    fn check_read(&mut self, sector: u64, bytes: &[u8], asked: u32) -> Step {
        let seed = self.script.weather.seed;
        for (index, part) in bytes.chunks_exact(SECTOR).enumerate() {
            let sector = sector + index as u64;
            let row = self.rows.of(sector);
            if self.damage.expect(row) == Expect::PredictedSilent {
                self.marks.meet(Mark::PredictedSilent);
                continue;
            }
            let value = content::decode(seed, sector, part);
            let binding = !self.damage.is_torn(row);
            let Err(wrong) = self.ledger.read(sector, value, asked, binding) else { continue };
            let oracle = match wrong {
                Wrong::Lost => Oracle::Durability,
                Wrong::Changed => Oracle::Stability,
                Wrong::Untouched => Oracle::Untouched,
                Wrong::Invented => Oracle::SilentlyWrong,
            };
            let legal = self.ledger.legal(sector);
            let detail = format!(
                "sector {sector} (row {row}) holds {value} ({}), legal is {legal:?}, now {}",
                content::provenance(seed, part),
                self.clock.time(),
            );
            return self.violation(oracle, detail);
        }
        Ok(())
    }

    /// An error is in order only where something was lost.
    fn check_error(
        &mut self,
        range: std::ops::Range<u64>,
        write: bool,
        what: impl FnOnce() -> String,
    ) -> Step {
        let excused = |sector| self.damage.expect(self.rows.of(sector)) != Expect::MustOk;
        let broken = self.damage.is_exceeded();
        let lost = range.clone().any(excused);
        if lost || write && (broken || self.room_is_short) {
            self.marks.meet(Mark::HonestError);
            return Ok(());
        }
        self.violation(Oracle::Needless, what())
    }

    // ── time ────────────────────────────────────────────────────────────────────────────────

    /// Polls the array at the present moment and takes in what comes of it.
    fn poll(&mut self) -> Step {
        let now = self.clock.time();
        let mut answers = std::mem::take(&mut self.answers);
        self.array().poll(now, &mut answers);
        for event in self.array().take_events() {
            self.reported(&event)?;
        }
        for done in answers.drain(..) {
            let sector = self.places.remove(&done.tag.0);
            self.answered(done, sector)?;
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
        for _ in 0..PATIENCE {
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

    /// Pumps until `done` says so.
    fn pump_while(&mut self, what: &str, busy: impl Fn(&mut Self) -> bool) -> Step {
        for _ in 0..PATIENCE {
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

    // ── crashes and assemblies ──────────────────────────────────────────────────────────────

    /// The fuse has burnt down.
    fn crash(&mut self) -> Step {
        let (crash, seed) = self.cut.take().expect("a fuse burns for a reason");
        self.pulse.restore();
        let mut doubt = RowSet::none(self.rows.count());
        self.ledger.rows_in_doubt(&self.rows, crash, &mut doubt);
        doubt.extend(self.damage.was_at_risk());
        self.believe();
        let claims = self.claims();
        if self.within() && self.exceeds(&claims, &|_| false, &doubt) {
            self.marks.meet(Mark::CutSpared);
            return Ok(());
        }
        self.note_crash(crash, &claims);
        self.tell(|| format!("! {crash:?}"));
        // What was read from a member that will not be taken back may change.
        self.reassess();
        let mut rng = Rng::new(seed);
        let array = self.array.take().expect("an array runs");
        let mut disks = array.into_devices();
        for disk in &mut disks {
            match crash {
                Crash::Kill => disk.kill(),
                Crash::PowerCut => disk.power_cut(&mut rng),
            }
        }
        self.flying.clear();
        self.places.clear();
        self.ledger.crash(crash);
        self.damage.put_at_risk(&doubt);
        if self.lying && crash == Crash::PowerCut {
            self.damage.all_wild();
        }
        self.life += 1;
        self.assemble(disks)?;
        self.look_at_choices()
    }

    fn note_crash(&mut self, crash: Crash, claims: &Claims) {
        let status = self.array().status();
        self.marks.meet(if crash == Crash::Kill { Mark::Kill } else { Mark::PowerCut });
        match status.sync.map(|sync| sync.action) {
            Some(Action::Resync) => self.marks.meet(Mark::CutInResync),
            Some(Action::Recover) => self.marks.meet(Mark::CutInRecovery),
            _ => {}
        }
        if claims.servers.iter().any(Option::is_none) {
            self.marks.meet(Mark::CutDegraded);
        }
    }

    /// Reads what a crash has left open, so that it cannot change any more.
    fn look_at_choices(&mut self) -> Step {
        let open = self.ledger.open_choices();
        if !open.is_empty() {
            self.marks.meet(Mark::Choices);
        }
        let life = self.life;
        for (sector, sectors) in open {
            if self.life == life {
                self.read(sector, sectors)?;
            }
        }
        Ok(())
    }

    fn assemble(&mut self, mut disks: Vec<SimDisk>) -> Step {
        for disk in &mut disks {
            disk.release();
        }
        self.stuck.clear();
        let error = match self.try_assemble(&mut disks, false) {
            Ok(array) => return self.assembled(array, disks),
            Err(error) => error,
        };
        let lossless = (0..self.disks()).all(|disk| !self.excused[disk]);
        let dirty = matches!(error, AssembleError::DirtyDegraded { .. });
        if lossless || self.within() && !dirty {
            return self.violation(Oracle::Needless, format!("assembly refused: {error}"));
        }
        match self.try_assemble(&mut disks, true) {
            Ok(array) => {
                self.marks.meet(Mark::Forced);
                if !dirty {
                    // Out-of-date members were taken: what they missed is anybody's guess.
                    self.damage.all_wild();
                }
                self.assembled(array, disks)
            }
            Err(error) if self.within() => {
                self.violation(Oracle::Needless, format!("assembly refused with force: {error}"))
            }
            Err(_) => {
                self.marks.meet(Mark::Refused);
                Err(Stop::Over)
            }
        }
    }

    fn try_assemble(
        &mut self,
        disks: &mut [SimDisk],
        force: bool,
    ) -> Result<holdfast_raid::Array, AssembleError> {
        // A crash in the middle of reading superblocks is a crash before it.
        let fuse = self.pulse.restore();
        let probes = scan(disks, &mut self.clock);
        fuse.into_iter().for_each(|left| self.pulse.light_fuse(left));
        assemble(probes, world::config(self.script), &Options { force, set: None })
    }

    fn assembled(&mut self, array: holdfast_raid::Array, disks: Vec<SimDisk>) -> Step {
        self.tell(|| {
            let status = array.status();
            let members: Vec<_> =
                status.members.iter().map(|m| (m.slot, m.state, m.events)).collect();
            format!("= assembled: resync from {:?}, members {members:?}", status.resync_from)
        });
        self.array = Some(Assembled::new(array, disks));
        let claims = self.claims();
        self.damage.believe_disks(&claims);
        self.reassess();
        let unused = |claims: &Claims, disk: usize| {
            !claims.servers.iter().flatten().any(|server| server.disk == disk)
        };
        let claims = self.claims();
        let stale = (0..self.disks()).any(|disk| {
            self.damage.is_lost(disk) && unused(&claims, disk) && !self.disk(disk).is_gone()
        });
        if stale {
            self.marks.meet(Mark::StaleThere);
        }
        Ok(())
    }

    fn disk(&self, disk: usize) -> &SimDisk {
        self.array.as_ref().expect("an array runs").device(disk)
    }

    // ── judging ─────────────────────────────────────────────────────────────────────────────

    /// Takes note of what the array claims to have made good, before something else is broken.
    fn believe(&mut self) {
        let claims = self.claims();
        self.damage.believe(&claims);
    }

    /// What is lost after something has changed.
    fn reassess(&mut self) {
        let claims = self.claims();
        let array = self.array.as_ref().expect("an array runs");
        let torn = self.damage.assess(&claims, array);
        if !torn.is_empty() {
            self.ledger.forget_seen(&self.rows, torn);
        }
    }

    /// Whether more would be lost than the array bears.
    fn exceeds(
        &mut self,
        claims: &Claims,
        more: &dyn Fn(&holdfast_raid::layout::Place) -> bool,
        doubt: &RowSet,
    ) -> bool {
        let array = self.array.as_ref().expect("an array runs");
        self.damage.would_exceed(claims, array, more, doubt)
    }

    fn reported(&mut self, event: &Event) -> Step {
        self.tell(|| format!("  {event:?}"));
        match event {
            Event::MemberFailed { member, reason, .. } => {
                let degraded = self.claims().servers.iter().filter(|s| s.is_none()).count() > 1;
                self.marks.meet(if degraded { Mark::SecondFailure } else { Mark::MemberFailed });
                if !self.excused[*member] {
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
            Event::MemberInSync { .. } => self.marks.meet(Mark::Rebuilt),
            Event::SyncFinished { action: Action::Resync, complete: true, .. } => {
                self.marks.meet(Mark::Resynced);
            }
            Event::ReadCorrected { .. } => self.marks.meet(Mark::Corrected),
            Event::BadBlocks { .. } => self.marks.meet(Mark::BadBlocks),
            Event::Mismatch { .. } => self.marks.meet(Mark::Mismatch),
            Event::MemberSlow { .. } => self.marks.meet(Mark::Slow),
            Event::NoSpace { .. } => self.marks.meet(Mark::NoSpace),
            Event::RangeFailed { .. }
            | Event::SpareActivated { .. }
            | Event::SyncStarted { .. }
            | Event::SyncFinished { .. } => {}
        }
        Ok(())
    }
}
