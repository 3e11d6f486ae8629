//! One scenario carried out, and whether a promise was broken.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Geometry, Op, Request, Tag,
};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::Rng;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::{Duration, Instant};
use holdfast_multipath::event::Event;
use holdfast_multipath::map::Map;
use holdfast_multipath::path::Why;
use holdfast_multipath::settings::NoPath;
use holdfast_multipath::{Defects, Device, PathSpec, Sound};

use super::Shelf;
use super::ledger::Ledger;
use super::path::{Trouble, Way};
use super::scenario::{Mishap, Mode, SECTORS, Scenario, Wish};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// When.
    pub at: Instant,
    /// Which, in a sentence.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.at, self.what)
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The first promise broken.
    pub breach: Option<Breach>,
    /// How long it was, in virtual time.
    pub lasted: Duration,
    /// A hash of everything that happened.
    pub hash: u64,
    /// Requests answered.
    pub answers: u64,
    /// Of which with an error.
    pub errors: u64,
    /// Writes held back by older ones.
    pub held_back: u64,
    /// Answers to attempts given up.
    pub late: u64,
}

#[derive(Debug)]
struct Asked {
    wish: Wish,
    stamp: u64,
    began: u64,
    at: Instant,
    /// It was held back by an older write for some of the time.
    held: bool,
}

/// After the fabric is mended everything is answered within this.
const PATIENCE: Duration = Duration::from_secs(120);

struct Run<X: Defects> {
    scenario: Scenario,
    shelf: Rc<RefCell<Shelf>>,
    device: Device<Way, X>,
    ledger: Ledger,
    now: Instant,
    asked: BTreeMap<Tag, Asked>,
    waiting: Vec<Request>,
    next: u64,
    verdict: Verdict,
    mended: bool,
    story: Option<Vec<String>>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Verdict {
    run_with(seed, Sound)
}

/// Runs a seed with mistakes planted into the map.
pub fn run_with<X: Defects>(seed: u64, defects: X) -> Verdict {
    let mut run = Run::new(seed, defects);
    run.go();
    run.verdict.lasted = run.now - Instant::ZERO;
    run.verdict
}

/// Everything that happens in a run, a line each.
pub fn story<X: Defects>(seed: u64, defects: X) -> Vec<String> {
    let mut run = Run::new(seed, defects);
    run.story = Some(Vec::new());
    run.go();
    let mut lines = run.story.unwrap_or_default();
    lines.extend(run.verdict.breach.map(|breach| breach.to_string()));
    lines
}

impl<X: Defects> Run<X> {
    fn new(seed: u64, defects: X) -> Self {
        let scenario = Scenario::draw(seed);
        let shelf = Rc::new(RefCell::new(Shelf::new(SECTORS)));
        let geometry = Geometry { queue_depth: 32, ..Geometry::new(SECTORS) };
        let mut specs = Vec::new();
        let mut ways = Vec::new();
        for (number, controller) in scenario.controllers.iter().enumerate() {
            specs.push(PathSpec {
                cache: scenario.cache,
                ..PathSpec::new(&format!("path{number}"))
            });
            let rng = Rng::stream(seed, 1000 + number as u64);
            let takes = scenario.fence_takes;
            ways.push(Way::new(&shelf, geometry, *controller, scenario.wwid, takes, rng));
        }
        let settings = scenario.settings.clone();
        let map = Map::with_defects(Instant::ZERO, settings, geometry, specs, defects);
        let device = Device::with_map(Instant::ZERO, map, ways);
        Self {
            scenario,
            shelf,
            device,
            ledger: Ledger::new(SECTORS),
            now: Instant::ZERO,
            asked: BTreeMap::new(),
            waiting: Vec::new(),
            next: 0,
            verdict: Verdict::default(),
            mended: false,
            story: None,
        }
    }

    fn breach(&mut self, what: String) {
        let at = self.now;
        self.verdict.breach.get_or_insert(Breach { at, what });
    }

    fn go(&mut self) {
        let mishaps = std::mem::take(&mut self.scenario.mishaps);
        let wishes = std::mem::take(&mut self.scenario.wishes);
        let (mut mishaps, mut wishes) =
            (mishaps.into_iter().peekable(), wishes.into_iter().peekable());
        self.turn();
        while self.verdict.breach.is_none() {
            let mend = (!self.mended).then_some(self.scenario.mended);
            let next = [
                mishaps.peek().map(|(at, _)| *at),
                wishes.peek().map(|(at, _)| *at),
                self.device.poll_at(),
                mend,
            ];
            let Some(next) = next.into_iter().flatten().min() else { break };
            self.now = self.now.max(next);
            self.shelf.borrow_mut().now = self.now;
            while let Some((_, mishap)) = mishaps.next_if(|(at, _)| *at <= self.now) {
                self.befall(mishap);
            }
            if !self.mended && self.scenario.mended <= self.now {
                self.mend();
            }
            while let Some((_, wish)) = wishes.next_if(|(at, _)| *at <= self.now) {
                self.wish(wish);
            }
            self.turn();
            self.watch();
            let over = self.mended
                && self.asked.is_empty()
                && mishaps.peek().is_none()
                && wishes.peek().is_none();
            if over && self.device.map().is_quiet() {
                break;
            }
        }
        if self.verdict.breach.is_none() {
            self.end();
        }
        let counters = self.device.map().counters();
        self.verdict.held_back = counters.held_back;
        self.verdict.late = counters.late_answers;
    }

    fn befall(&mut self, mishap: Mishap) {
        if self.mended {
            return;
        }
        let now = self.now;
        self.note(format_args!("{mishap:?}"));
        match mishap {
            Mishap::Path(path, trouble) => self.device.path_mut(path).set_trouble(now, trouble),
            Mishap::Reset(path) => {
                let way = self.device.path_mut(path);
                way.touched = true;
                way.disconnect(now);
            }
            Mishap::Kill(controller) => {
                self.shelf.borrow_mut().kill(controller);
                for path in self.of_controller(controller) {
                    let way = self.device.path_mut(path);
                    way.touched = true;
                    way.disconnect(now);
                }
            }
            Mishap::Revive(controller) => self.shelf.borrow_mut().revive(controller),
        }
    }

    fn of_controller(&self, controller: usize) -> Vec<usize> {
        let paths = 0..self.scenario.controllers.len();
        paths.filter(|path| self.scenario.controllers[*path] == controller).collect()
    }

    /// Everything works again, and what was lost on the way is proven to be lost.
    fn mend(&mut self) {
        self.mended = true;
        let now = self.now;
        for controller in 0..2 {
            self.shelf.borrow_mut().revive(controller);
        }
        for path in 0..self.scenario.controllers.len() {
            let way = self.device.path_mut(path);
            way.set_trouble(now, Trouble::None);
            if way.touched {
                way.disconnect(now);
            }
            let ended = way.ended_session();
            way.prove(ended);
        }
    }

    fn wish(&mut self, wish: Wish) {
        self.next += 1;
        let (tag, stamp) = (Tag(self.next), self.next);
        let (sector, op) = match wish {
            Wish::Read(at, sectors) => {
                (at, Op::Read(Buf::zeroed((sectors * SECTOR_BYTES) as usize)))
            }
            Wish::Flush => (0, Op::Flush),
            Wish::Write(at, sectors, fua) => {
                let data = stamp.to_le_bytes().repeat((sectors * SECTOR_BYTES / 8) as usize);
                let durability = if fua { Durability::Fua } else { Durability::Cached };
                (at, Op::Write(Payload::from_slice(&data), durability))
            }
        };
        self.note(format_args!("{tag:?} is {wish:?}"));
        let began = self.ledger.tick();
        if let Wish::Write(at, sectors, fua) = wish {
            for sector in at..at + sectors {
                self.ledger.begin(sector, stamp, fua);
            }
        }
        self.asked.insert(tag, Asked { wish, stamp, began, at: self.now, held: false });
        self.waiting.push(Request::new(tag, sector, op));
    }

    fn turn(&mut self) {
        let mut finished: Completions = Vec::new();
        loop {
            for request in std::mem::take(&mut self.waiting) {
                if let Err(back) = self.device.submit(request) {
                    self.waiting.push(back);
                }
            }
            self.device.poll(self.now, &mut finished);
            if finished.is_empty() {
                break;
            }
            for completion in finished.drain(..) {
                self.answered(completion);
            }
        }
        for event in self.device.take_events() {
            self.reported(&event);
        }
        self.note_held();
    }

    /// Marks writes that overlap one that was given up, or one that is held back itself.
    fn note_held(&mut self) {
        let status = self.device.status();
        if status.held.is_empty() {
            return;
        }
        let mut ranges: Vec<(u64, u64)> =
            status.held.iter().map(|held| (held.sector, held.sector + held.sectors)).collect();
        for asked in self.asked.values_mut() {
            let Wish::Write(at, sectors, _) = asked.wish else { continue };
            let end = at + sectors;
            if ranges.iter().any(|(start, stop)| at < *stop && *start < end) {
                asked.held = true;
                ranges.push((at, end));
            }
        }
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{} {what}", self.now);
        for byte in line.bytes() {
            self.verdict.hash =
                (self.verdict.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(story) = &mut self.story {
            story.push(line);
        }
    }

    fn answered(&mut self, completion: Completion) {
        let Completion { tag, op, result } = completion;
        self.note(format_args!("{tag:?} {result:?}"));
        let Some(asked) = self.asked.remove(&tag) else {
            self.breach(format!("request {} is answered twice", tag.0));
            return;
        };
        self.verdict.answers += 1;
        self.verdict.errors += u64::from(result.is_err());
        match asked.wish {
            Wish::Write(at, sectors, _) => {
                for sector in at..at + sectors {
                    self.ledger.end(sector, asked.stamp, result.is_ok());
                }
            }
            Wish::Flush if result.is_ok() => self.ledger.flushed(asked.began),
            Wish::Read(at, _) if result.is_ok() => self.judge_read(at, &op, asked.began),
            _ => {}
        }
        if let Err(fault) = result {
            if self.scenario.mode == Mode::Within {
                self.breach(format!(
                    "request {} of {:?}: {fault}, though a path is well",
                    tag.0, asked.wish
                ));
            }
            if self.scenario.settings.no_path == NoPath::Queue {
                self.breach(format!("request {}: {fault}, though requests queue", tag.0));
            }
        }
        if asked.held {
            return;
        }
        // In between, while one path or another is on probation, reads get through: their patience
        // begins anew.
        let served = self.scenario.mode == Mode::AllGray && matches!(asked.wish, Wish::Read(..));
        if let Some(bound) = self.bound().filter(|_| !served) {
            let took = self.now.since(asked.at);
            if took > bound {
                self.breach(format!("request {} of {:?} took {took:?}", tag.0, asked.wish));
            }
        }
    }

    /// How long a request may take that was not held back by an older write.
    fn bound(&self) -> Option<Duration> {
        let settings = &self.scenario.settings;
        let deadline = settings.deadline.unwrap_or_default();
        let faulty = self.scenario.controllers.len() as u32 - 1;
        match self.scenario.mode {
            // Each path that hangs costs one deadline; a flush may find, after that, that it has to
            // write again what was in caches behind them, and find others that hang.
            Mode::Within => Some(deadline * (2 * faulty + 1) + Duration::from_secs(1)),
            Mode::AllGray => {
                let patience = settings.no_path.patience(settings.polling_interval)?;
                Some(patience + deadline + Duration::from_secs(1))
            }
            Mode::Beyond => None,
        }
    }

    fn judge_read(&mut self, at: u64, op: &Op, began: u64) {
        let Op::Read(buf) = op else {
            self.breach("a read is answered by something else".to_owned());
            return;
        };
        for (index, bytes) in buf.chunks_exact(SECTOR_BYTES as usize).enumerate() {
            let judged =
                stamp_of(bytes).and_then(|stamp| self.ledger.read(at + index as u64, stamp, began));
            if let Err(what) = judged {
                self.breach(what);
                return;
            }
        }
    }

    fn reported(&mut self, event: &Event) {
        self.note(format_args!("{event:?}"));
        if let Event::PathFailed {
            path,
            why: Why::Fault { kind, .. } | Why::Deadline { kind, .. },
        } = event
        {
            let way = self.device.path_mut(*path);
            way.shown |= matches!(way.trouble(), Trouble::Gray { kind: gray, .. } if gray == *kind);
        }
        match event {
            Event::PathFailed { path, why } if !self.device.path(*path).touched => {
                self.breach(format!(
                    "path {path} failed ({why}), and nothing was ever wrong with it"
                ));
            }
            // It waits for its elders, however many and slow they are.
            Event::HeldBack { sector, sectors } => {
                for asked in self.asked.values_mut() {
                    let wish = asked.wish;
                    asked.held |=
                        matches!(wish, Wish::Write(at, n, _) if (at, n) == (*sector, *sectors));
                }
            }
            Event::FenceBroken { path, .. } => {
                self.breach(format!("a write of path {path} landed after its fence"));
            }
            Event::GroupSwitched { to, failback: true, .. } => {
                let group = &self.device.status().groups[*to];
                let gray = |path: &usize| {
                    let way = self.device.path(*path);
                    matches!(way.trouble(), Trouble::Gray { .. }) && way.shown
                };
                if group.paths.iter().all(gray) {
                    self.breach(format!(
                        "failback to group {to}, whose paths are known to be gray"
                    ));
                }
            }
            _ => {}
        }
    }

    /// What must hold at every moment.
    fn watch(&mut self) {
        for path in 0..self.scenario.controllers.len() {
            let way = self.device.path(path);
            if way.misled > 0 {
                self.breach(format!("a write reached another disk by path {path}"));
                return;
            }
            if way.trusted > 1 {
                self.breach(format!("path {path} owes a write and got several at once"));
                return;
            }
        }
        if self.mended && self.now > self.scenario.mended + PATIENCE {
            if let Some((tag, asked)) = self.asked.iter().next() {
                let what = format!("request {} of {:?} is never answered", tag.0, asked.wish);
                self.breach(what);
            } else if !self.device.map().is_quiet() {
                self.breach("the map is never quiet".to_owned());
            }
        }
    }

    /// The end: what everybody sees, and what a power cut would leave.
    fn end(&mut self) {
        if let Some(tag) = self.asked.keys().next() {
            self.breach(format!("request {} is never answered", tag.0));
            return;
        }
        let began = self.ledger.tick();
        for sector in 0..SECTORS {
            let (seen, durable) = {
                let shelf = self.shelf.borrow();
                (stamp_of(shelf.seen(sector)), stamp_of(shelf.durable(sector)))
            };
            let judged = seen.and_then(|stamp| self.ledger.read(sector, stamp, began));
            let judged = judged.and_then(|()| {
                durable.and_then(|stamp| self.ledger.after_power_cut(sector, stamp))
            });
            if let Err(what) = judged {
                self.breach(what);
                return;
            }
        }
    }
}

/// The stamp all of a sector's bytes repeat.
fn stamp_of(bytes: &[u8]) -> Result<u64, String> {
    let (words, _) = bytes.as_chunks::<8>();
    let first = words.first().copied().unwrap_or_default();
    if words.iter().all(|word| *word == first) {
        Ok(u64::from_le_bytes(first))
    } else {
        Err("a sector is torn".to_owned())
    }
}
