//! The map: requests in, requests for paths out, and the decision between them.
//!
//! Inputs are [`Map::submit`], [`Map::path_done`], [`Map::inquired`], [`Map::path_session`],
//! [`Map::activated`] and the commands; outputs are [`Map::poll_path_io`], [`Map::poll_order`],
//! [`Map::poll_completion`] and [`Map::poll_event`]; time comes in through
//! [`Map::handle_timeout`], wanted at [`Map::poll_at`].
//!
//! # What holds always
//!
//! - Every request is answered exactly once.
//! - No two writes that overlap are under way at once, and none is started while an older one that
//!   overlaps it is unresolved (`claims`).
//! - A path that failed is used again after good checks, once it leads to the right disk, and once
//!   it has paid what it owes: a success of each kind of request it failed at. Reads and flushes are
//!   paid by the check itself. A write cannot be tried without writing, so the path comes back *on
//!   probation*: the next write is the trial, one at a time.
//! - A flush is answered when every path's cache that holds writes completed before it has been
//!   flushed, or those writes have been written again elsewhere and flushed there.

mod answer;
mod checks;
mod choose;
mod claims;
mod control;
mod failing;
mod flush;
mod job;
mod status;
mod timers;
mod unflushed;

use std::collections::VecDeque;

use holdfast_core::block::{Completion, Fault, Geometry, Op, Request, Tag};
use holdfast_core::slab::{Key, Slab};
use holdfast_core::time::Instant;

use crate::defects::{Defect, Defects, Sound};
use crate::event::{Event, Kind};
use crate::identity::{Fingerprint, Identity, Known, Wrote};
use crate::path::{Path, PathSpec};
use crate::priority::Alua;
use crate::selector::Turn;
use crate::settings::Settings;

use self::choose::Choice;
use self::claims::Claims;
use self::job::{Attempt, Body, Job, Origin, Place, Purpose, Standing};
use self::unflushed::{Contents, Record, Unflushed};

pub use self::control::Refusal;
pub use self::status::{GroupStatus, Held, PathStatus, Status};

/// Paths a map may have.
pub const MAX_PATHS: usize = 64;

/// A request for a path.
#[derive(Debug, PartialEq, Eq)]
pub struct PathIo {
    /// Which path.
    pub path: usize,
    /// What it is to do; its answer goes to [`Map::path_done`].
    pub request: Request,
}

/// Something a path's transport is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Say how it is; the answer goes to [`Map::inquired`].
    Inquire {
        /// Which path.
        path: usize,
        /// Whether a new connection may be made if the old one is lost. Only for a path that is not
        /// in use: whatever a new connection leads to is looked at before it is used.
        connect: bool,
    },
    /// Nobody waits for this request any more.
    Abandon {
        /// Which path.
        path: usize,
        /// Which request.
        tag: Tag,
    },
    /// Make sure that writes of this session and those before it can no longer land, if that is
    /// possible; the proof goes to [`Map::path_session`].
    Fence {
        /// Which path.
        path: usize,
        /// The last session meant.
        session: u64,
    },
    /// Tell the target to use this path's port group; the answer goes to [`Map::activated`].
    Activate {
        /// Which path.
        path: usize,
    },
}

/// How a path is, as its transport says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Whether it takes requests.
    pub ready: Ready,
    /// Whose disk it leads to.
    pub identity: Option<Identity>,
    /// What the target says of its port group.
    pub alua: Option<Alua>,
}

/// Whether a path takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It does.
    Up,
    /// It would, were its group awake.
    Ghost,
    /// It does not, for this reason.
    Down(String),
}

#[derive(Clone, Debug, Default)]
struct Group {
    paths: Vec<usize>,
    turn: Turn,
    bypassed: bool,
    /// Whether it had a usable path when last looked at.
    alive: bool,
    priority: i32,
}

/// For how long no path has been good for a kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Starved {
    since: Option<Instant>,
    failing: bool,
}

/// A group that is being woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waking {
    group: usize,
    path: usize,
    tries: u32,
    retry_at: Option<Instant>,
}

/// What has been counted, under multipathd's names where it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Failures of paths.
    pub path_faults: u64,
    /// Switches of group.
    pub switch_grp: u64,
    /// Times patience ended.
    pub q_timeouts: u64,
    /// Reads sent twice.
    pub hedged: u64,
    /// Of which the second was faster.
    pub hedges_won: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Writes held back by older ones.
    pub held_back: u64,
    /// Answers to attempts that had been given up.
    pub late_answers: u64,
}

/// Several paths to one disk.
#[derive(Debug)]
pub struct Map<X: Defects = Sound> {
    settings: Settings,
    geometry: Geometry,
    now: Instant,
    paths: Vec<Path>,
    groups: Vec<Group>,
    current: Option<usize>,
    /// Every path has been checked once; until then the best group is used, whatever failback says.
    settled: bool,
    waking: Option<Waking>,
    failback_at: Option<Instant>,

    jobs: Slab<Job>,
    attempts: Slab<Attempt>,
    claims: Claims,
    /// Writes that wait for older ones, in order.
    held: VecDeque<Key>,
    /// Requests that wait for a path.
    ready: VecDeque<Key>,
    ready_bytes: u64,
    /// Requests that wait for late answers alone.
    stuck: Vec<Key>,
    deadlines: VecDeque<(Instant, Key)>,
    flush_deadlines: VecDeque<(Instant, Key)>,
    /// Reads that may be hedged, by path, in the order they were sent.
    hedges: Vec<VecDeque<Key>>,
    quarantine: VecDeque<(Instant, Key)>,
    /// Paths that have a trial due.
    trials_due: usize,
    /// For reads, and for everything else.
    starved: [Starved; 2],
    /// Whether any path has ever worked.
    begun: bool,

    /// Writes completed so far.
    number: u64,
    unflushed: Unflushed,
    /// Writes being repeated, by whatever flush, and flushes that wait for those of others.
    replaying: usize,
    flush_waiters: Vec<Key>,
    /// Flushes that are to repeat what a write under way may be replacing.
    claim_waiters: Vec<Key>,
    upkeep: Option<Key>,
    known: Known,
    print: Option<Fingerprint>,
    counters: Counters,

    io: VecDeque<PathIo>,
    orders: VecDeque<Order>,
    done: VecDeque<Completion>,
    events: VecDeque<Event>,
    defects: X,
}

impl Map {
    /// A map of these paths to a disk of this shape. Every path is checked first.
    ///
    /// # Panics
    /// With more than [`MAX_PATHS`] paths.
    pub fn new(now: Instant, settings: Settings, geometry: Geometry, paths: Vec<PathSpec>) -> Self {
        Self::with_defects(now, settings, geometry, paths, Sound)
    }
}

impl<X: Defects> Map<X> {
    /// The same, with mistakes planted.
    pub fn with_defects(
        now: Instant,
        settings: Settings,
        geometry: Geometry,
        paths: Vec<PathSpec>,
        defects: X,
    ) -> Self {
        assert!(paths.len() <= MAX_PATHS, "a map has at most {MAX_PATHS} paths");
        let interval = settings.polling_interval;
        let known = Known::new(settings.wwid.clone(), geometry);
        let print = settings.fingerprint.then(|| Fingerprint::of(geometry));
        let starved = [Starved { since: Some(now), failing: false }; 2];
        let mut map = Self {
            geometry,
            now,
            hedges: paths.iter().map(|_| VecDeque::new()).collect(),
            paths: paths.into_iter().map(|spec| Path::new(spec, now, interval)).collect(),
            groups: Vec::new(),
            current: None,
            settled: false,
            waking: None,
            failback_at: None,
            jobs: Slab::new(),
            attempts: Slab::new(),
            claims: Claims::default(),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            stuck: Vec::new(),
            deadlines: VecDeque::new(),
            flush_deadlines: VecDeque::new(),
            quarantine: VecDeque::new(),
            trials_due: 0,
            starved,
            begun: false,
            number: 0,
            unflushed: Unflushed::default(),
            replaying: 0,
            flush_waiters: Vec::new(),
            claim_waiters: Vec::new(),
            upkeep: None,
            known,
            print,
            counters: Counters::default(),
            io: VecDeque::new(),
            orders: VecDeque::new(),
            done: VecDeque::new(),
            events: VecDeque::new(),
            defects,
            settings,
        };
        map.regroup();
        map
    }

    /// The shape of the disk.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// What the map is told to do.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What has been counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Requests not answered yet.
    pub const fn under_way(&self) -> usize {
        self.jobs.len()
    }

    /// Takes a request, or hands it back while as many are under way as the disk's queue is deep
    /// (those held back do not count), or while too many bytes wait for a path.
    pub fn submit(&mut self, now: Instant, request: Request) -> Result<(), Request> {
        self.set_time(now);
        if !self.has_room(&request) {
            return Err(request);
        }
        if let Err(fault) = self.geometry.check(&request) {
            self.done.push_back(request.complete(Err(fault)));
            return Ok(());
        }
        if request.op.bytes() == 0 && !matches!(request.op, Op::Flush) {
            self.done.push_back(request.complete(Ok(())));
            return Ok(());
        }
        let key = self.jobs.insert(Job::from_request(request, now));
        self.admit(key);
        Ok(())
    }

    /// Whether [`Map::submit`] takes this request now.
    pub fn has_room(&self, request: &Request) -> bool {
        let bytes = self.ready_bytes + request.op.bytes();
        self.slots() > 0 && (self.ready.is_empty() || bytes <= self.settings.queue_bytes)
    }

    /// Requests that may still come before the queue is full. Writes that are held back take no
    /// place from others, up to sixteen times the depth.
    pub fn slots(&self) -> usize {
        let depth = self.geometry.queue_depth as usize;
        let held = self.held.len();
        if held >= 16 * depth {
            return 0;
        }
        depth.saturating_sub(self.jobs.len() - held)
    }

    /// The next request for a path.
    pub fn poll_path_io(&mut self) -> Option<PathIo> {
        self.io.pop_front()
    }

    /// The next thing for a path's transport.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The next answer.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    /// The next report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn set_time(&mut self, now: Instant) {
        debug_assert!(now >= self.now, "time does not go backward");
        self.now = now;
    }

    /// Begins a job.
    fn admit(&mut self, key: Key) {
        let job = &mut self.jobs[key];
        match job.kind() {
            Kind::Read => self.dispatch(key),
            Kind::Write => self.admit_write(key, true),
            Kind::Flush => {
                if let Body::Flush(flushing) = &mut job.body {
                    flushing.upto = self.number;
                }
                self.step_flush(key);
            }
        }
    }

    /// Begins a write, or holds it back behind those it overlaps.
    ///
    /// A replay is older than whatever is held back, and goes before it.
    fn admit_write(&mut self, key: Key, newest: bool) {
        let range = self.jobs[key].range();
        let behind = |other: &Key| {
            let other = &self.jobs[*other];
            other.sector < range.end && range.start < other.range().end
        };
        if self.claims.conflict(&range).is_some_and(|start| self.obeys(start))
            || newest && self.held.iter().any(behind)
        {
            self.jobs[key].place = Place::Held;
            if newest {
                self.held.push_back(key);
            } else {
                self.held.push_front(key);
            }
            self.counters.held_back += 1;
            let sectors = range.end - range.start;
            self.events.push_back(Event::HeldBack { sector: range.start, sectors });
            return;
        }
        self.begin_write(key);
    }

    /// Whether a claim is respected; a sound map respects each.
    fn obeys(&self, start: u64) -> bool {
        let naive = self.defects.has(Defect::NaiveFailover);
        !naive || self.claims.get(start).is_some_and(|claim| claim.job.is_some())
    }

    fn begin_write(&mut self, key: Key) {
        let range = self.jobs[key].range();
        if self.defects.has(Defect::NaiveFailover) {
            self.claims.seize(&range, key);
        } else {
            self.claims.take(&range, key);
        }
        if let Some(print) = &mut self.print {
            print.open(&range);
        }
        self.jobs[key].claim = Some(range.start);
        self.dispatch(key);
    }

    /// Lets go of a claim if nothing holds it, and begins what waited for it.
    fn settle(&mut self, start: u64) {
        let Some(claim) = self.claims.settle(start) else { return };
        if let Some(print) = &mut self.print {
            let wrote = match &claim.print {
                None => Wrote::Unknown,
                Some(Contents::Zeros) => Wrote::Zeros,
                Some(Contents::Data(data)) => Wrote::Data(data),
            };
            print.close(&(start..claim.end), wrote);
        }
        if !self.held.is_empty() {
            self.admit_held();
        }
        self.wake_flushes();
    }

    /// Begins what no longer overlaps anything, in order.
    fn admit_held(&mut self) {
        for key in std::mem::take(&mut self.held) {
            if self.jobs.get(key).is_none() {
                continue;
            }
            let range = self.jobs[key].range();
            let behind = |other: &Key| {
                let other = &self.jobs[*other];
                other.sector < range.end && range.start < other.range().end
            };
            if self.claims.conflict(&range).is_some_and(|start| self.obeys(start))
                || self.held.iter().any(behind)
            {
                self.held.push_back(key);
            } else {
                self.jobs[key].place = Place::Running;
                self.begin_write(key);
            }
        }
    }

    /// Sends a read or a write down a path, or has it wait for one.
    fn dispatch(&mut self, key: Key) {
        let job = &self.jobs[key];
        let (kind, bytes, tries) = (job.kind(), job.bytes(), job.tries);
        match self.choose(kind, bytes, job.avoid | job.refused, tries == 0) {
            Choice::Path(path) => self.issue(key, path),
            Choice::Stuck => self.hold_stuck(key),
            Choice::Wait if self.starved[starving(kind)].failing => {
                self.finish(key, Err(Fault::Transport), None);
            }
            Choice::Wait => {
                self.jobs[key].place = Place::Ready;
                self.ready.push_back(key);
                self.ready_bytes += bytes;
            }
        }
    }

    /// Has a job wait for answers that are late, for as long as requests wait for paths.
    fn hold_stuck(&mut self, key: Key) {
        let patience = self.settings.no_path.patience(self.settings.polling_interval);
        let job = &mut self.jobs[key];
        job.stuck_until = patience.map(|patience| job.submitted + patience);
        self.stuck.push(key);
    }

    /// A path is used again: what waited for late answers alone may go down it.
    fn try_stuck(&mut self, path: usize) {
        for key in std::mem::take(&mut self.stuck) {
            let Some(job) = self.jobs.get_mut(key) else { continue };
            job.avoid &= !(1 << path);
            if job.live == 0 {
                self.dispatch(key);
            }
        }
    }

    /// Tries again whatever waits for a path.
    fn drain_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { return };
            let Some(job) = self.jobs.get_mut(key) else { continue };
            self.ready_bytes -= job.bytes();
            job.place = Place::Running;
            if job.kind() == Kind::Flush {
                self.step_flush(key);
            } else {
                self.dispatch(key);
            }
        }
    }

    /// Sends a job down a path.
    fn issue(&mut self, key: Key, path: usize) {
        let now = self.now;
        let job = &mut self.jobs[key];
        let (kind, range, bytes) = (job.kind(), job.range(), job.bytes());
        let request_sector = job.sector;
        job.live += 1;
        job.tries += 1;
        let tries = job.tries;
        self.counters.retries += u64::from(tries > 1);
        let mut claim_id = 0;
        if let Some(claim) = job.claim.and_then(|start| self.claims.get_mut(start)) {
            claim.open += 1;
            claim_id = claim.id;
        }
        let op = job.op();
        let attempt = self.send(
            Attempt {
                purpose: Purpose::Job(key),
                kind,
                path,
                session: self.paths[path].session,
                range,
                bytes,
                sent: now,
                standing: Standing::Live,
                resolved: false,
                claim: claim_id,
            },
            request_sector,
            op,
        );
        if tries > 1 && self.defects.has(Defect::DeadlineForgottenOnRetry) {
            return;
        }
        if let Some(deadline) = self.settings.deadline {
            self.deadlines.push_back((now + deadline, attempt));
        }
        if kind == Kind::Read && self.settings.hedge.is_some() && self.paths.len() > 1 {
            self.hedges[path].push_back(attempt);
        }
    }

    /// Puts an attempt on its path.
    fn send(&mut self, attempt: Attempt, sector: u64, op: Op) -> Key {
        let path = attempt.path;
        self.paths[path].requests += 1;
        self.paths[path].bytes += attempt.bytes;
        let key = self.attempts.insert(attempt);
        self.io.push_back(PathIo { path, request: Request::new(Tag(key.to_bits()), sector, op) });
        key
    }

    /// Answers a job.
    fn finish(&mut self, key: Key, result: Result<(), Fault>, op: Option<Op>) {
        let Some(job) = self.jobs.remove(key) else { return };
        if job.place == Place::Ready {
            self.ready_bytes -= job.bytes();
        }
        if job.place == Place::Held {
            self.held.retain(|held| *held != key);
        }
        let claim = job.claim;
        let mut over = false;
        if let Some(found) = claim.and_then(|start| self.claims.get_mut(start))
            && found.job == Some(key)
        {
            found.job = None;
            over = found.open == 0;
            let range = job.sector..found.end;
            if result.is_ok() && self.print.as_ref().is_some_and(|p| p.touches(&range)) {
                found.print = match &job.body {
                    Body::Write(data, _) => Some(Contents::Data(data.clone())),
                    Body::Zero(_) => Some(Contents::Zeros),
                    _ => None,
                };
            }
        }
        let user = matches!(job.origin, Origin::User(_));
        if user && result.is_err() && claim.is_some() && job.tries > 0 {
            // What older writes have left there is not known any more, and not to be repeated.
            self.unflushed.cut(&job.range());
        }
        if job.live > 0 {
            self.abandon_rest(key);
        }
        match job.origin {
            Origin::User(tag) => {
                let op = op.unwrap_or_else(|| job.into_op());
                self.done.push_back(Completion { tag, op, result });
            }
            Origin::Replay { flush, .. } => {
                if result.is_err() {
                    self.keep(&job);
                }
                self.replayed(flush, result);
            }
            Origin::Upkeep => self.upkeep = None,
        }
        if let Some(start) = claim.filter(|_| over) {
            self.settle(start);
        } else if claim.is_some() {
            self.wake_flushes();
        }
    }

    /// Nobody waits any more for what a finished job still has on other paths.
    fn abandon_rest(&mut self, job: Key) {
        let of_job = |attempt: &Attempt| match attempt.purpose {
            Purpose::Job(key) | Purpose::Flush { job: key, .. } => key == job,
            _ => false,
        };
        let rest: Vec<Key> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.is_live() && of_job(attempt))
            .map(|(key, _)| key)
            .collect();
        for key in rest {
            self.give_up(key, false);
        }
    }
}

/// The clock that counts for a kind.
const fn starving(kind: Kind) -> usize {
    match kind {
        Kind::Read => 0,
        Kind::Write | Kind::Flush => 1,
    }
}
