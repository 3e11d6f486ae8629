//! A map under virtual time, over paths that behave as told.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::VecDeque;

use holdfast_core::block::{Completion, Durability, Fault, Geometry, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::time::{Duration, Instant};
use holdfast_multipath::event::Event;
use holdfast_multipath::identity::Identity;
use holdfast_multipath::map::{Inquiry, Map, Order, Ready};
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::priority::Alua;
use holdfast_multipath::settings::Settings;

pub const SECTORS: u64 = 4096;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// How a path treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Done after the path's latency.
    Works,
    /// An error after the path's latency.
    Fails(Fault),
    /// No answer until the behaviour changes; then it is what that says.
    Hangs,
    /// An error after so long, as a transport gives that has its own patience.
    TimesOut(Duration),
}

#[derive(Clone, Debug)]
pub struct Behaviour {
    pub latency: Duration,
    pub reads: Io,
    pub writes: Io,
    pub flushes: Io,
    /// What the transport says; `None`: nothing.
    pub says: Option<Ready>,
    pub alua: Option<Alua>,
    pub identity: Identity,
    /// What reads return.
    pub fill: u8,
}

impl Behaviour {
    pub fn io(&mut self, io: Io) {
        (self.reads, self.writes, self.flushes) = (io, io, io);
    }
}

#[derive(Debug)]
pub struct Sent {
    pub path: usize,
    pub request: Request,
    pub at: Instant,
}

pub struct World {
    pub map: Map,
    pub now: Instant,
    pub paths: Vec<Behaviour>,
    pub pending: VecDeque<Sent>,
    /// Answers of the map and when they came.
    pub done: Vec<(Instant, Completion)>,
    pub events: Vec<(Instant, Event)>,
    /// When which path was asked how it is.
    pub inquiries: Vec<(Instant, usize)>,
    pub orders: Vec<(Instant, Order)>,
    /// Every request that went down a path, in words.
    pub log: Vec<(Instant, usize, String)>,
    next: u64,
}

impl World {
    pub fn new(settings: Settings, paths: usize) -> Self {
        let specs = (0..paths).map(|n| PathSpec::new(&format!("sd{}", (b'a' + n as u8) as char)));
        Self::with(settings, specs.collect())
    }

    pub fn with(settings: Settings, specs: Vec<PathSpec>) -> Self {
        let geometry = Geometry::new(SECTORS);
        let paths = specs
            .iter()
            .map(|_| Behaviour {
                latency: ms(1),
                reads: Io::Works,
                writes: Io::Works,
                flushes: Io::Works,
                says: Some(Ready::Up),
                alua: None,
                identity: Identity {
                    wwid: Some("naa.1".into()),
                    name: "disk".into(),
                    sectors: SECTORS,
                    block_bytes: 512,
                },
                fill: 0,
            })
            .collect();
        Self {
            map: Map::new(Instant::ZERO, settings, geometry, specs),
            now: Instant::ZERO,
            paths,
            pending: VecDeque::new(),
            done: Vec::new(),
            events: Vec::new(),
            inquiries: Vec::new(),
            orders: Vec::new(),
            log: Vec::new(),
            next: 0,
        }
    }

    /// Started: every path is checked and up.
    pub fn up(settings: Settings, paths: usize) -> Self {
        let mut world = Self::new(settings, paths);
        world.run_to(at(100));
        assert!(world.map.status().paths.iter().all(|path| path.active), "all paths are up");
        world
    }

    pub fn submit(&mut self, sector: u64, op: Op) -> Tag {
        self.next += 1;
        let tag = Tag(self.next);
        let request = Request::new(tag, sector, op);
        assert!(self.map.submit(self.now, request).is_ok(), "there is room");
        self.drain();
        tag
    }

    pub fn read(&mut self, sector: u64) -> Tag {
        self.submit(sector, Op::Read(Buf::zeroed(512)))
    }

    pub fn write(&mut self, sector: u64, sectors: usize) -> Tag {
        let data = Payload::from_slice(&vec![self.next as u8; 512 * sectors]);
        self.submit(sector, Op::Write(data, Durability::Cached))
    }

    pub fn flush(&mut self) -> Tag {
        self.submit(0, Op::Flush)
    }

    /// How and when a request was answered.
    pub fn answer(&self, tag: Tag) -> Option<(Instant, Result<(), Fault>)> {
        let mut found = self.done.iter().filter(|(_, completion)| completion.tag == tag);
        let answer = found.next().map(|(at, completion)| (*at, completion.result));
        assert!(found.next().is_none(), "answered twice");
        answer
    }

    /// Whatever the core wants done at this moment.
    pub fn drain(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(order) = self.map.poll_order() {
                quiet = false;
                self.orders.push((self.now, order));
                if let Order::Inquire { path, .. } = order {
                    self.inquiries.push((self.now, path));
                    self.say(path);
                }
            }
            while let Some(io) = self.map.poll_path_io() {
                quiet = false;
                let what = match &io.request.op {
                    Op::Read(_) => "read",
                    Op::Write(..) => "write",
                    Op::Flush => "flush",
                    Op::Discard(_) => "discard",
                    Op::Zero(_) => "zero",
                };
                self.log.push((self.now, io.path, format!("{what} {}", io.request.sector)));
                self.pending.push_back(Sent { path: io.path, request: io.request, at: self.now });
            }
            while let Some(completion) = self.map.poll_completion() {
                quiet = false;
                self.done.push((self.now, completion));
            }
            while let Some(event) = self.map.poll_event() {
                quiet = false;
                self.events.push((self.now, event));
            }
            if quiet {
                return;
            }
        }
    }

    /// A path's transport says how it is.
    pub fn say(&mut self, path: usize) {
        let behaviour = &self.paths[path];
        let Some(ready) = behaviour.says.clone() else { return };
        let identity = Some(behaviour.identity.clone());
        let inquiry = Inquiry { ready, identity, alua: behaviour.alua };
        self.map.inquired(self.now, path, inquiry);
    }

    fn due(&self, sent: &Sent) -> Option<(Instant, Result<(), Fault>)> {
        let behaviour = &self.paths[sent.path];
        let io = match sent.request.op {
            Op::Read(_) => behaviour.reads,
            Op::Flush => behaviour.flushes,
            _ => behaviour.writes,
        };
        match io {
            Io::Works => Some((sent.at + behaviour.latency, Ok(()))),
            Io::Fails(fault) => Some((sent.at + behaviour.latency, Err(fault))),
            Io::Hangs => None,
            Io::TimesOut(after) => Some((sent.at + after, Err(Fault::Timeout))),
        }
    }

    /// Lets time pass, event by event.
    pub fn run_to(&mut self, until: Instant) {
        self.drain();
        loop {
            let answers = self.pending.iter().filter_map(|sent| self.due(sent)).map(|(at, _)| at);
            let next = answers.chain(self.map.poll_at()).min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.map.handle_timeout(self.now);
            self.drain();
            let mut left = VecDeque::new();
            for sent in std::mem::take(&mut self.pending) {
                match self.due(&sent).filter(|(at, _)| *at <= self.now) {
                    Some((_, result)) => self.answer_one(sent, result),
                    None => left.push_back(sent),
                }
            }
            left.append(&mut self.pending);
            self.pending = left;
            self.drain();
        }
        self.now = self.now.max(until);
        self.map.handle_timeout(self.now);
        self.drain();
    }

    fn answer_one(&mut self, sent: Sent, result: Result<(), Fault>) {
        let mut request = sent.request;
        if let Op::Read(buf) = &mut request.op {
            buf.fill(self.paths[sent.path].fill);
        }
        self.map.path_done(self.now, sent.path, request.complete(result));
    }

    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// Requests that went down a path since `from`, in words; checks included.
    pub fn sent_since(&self, from: Instant) -> Vec<(usize, &str)> {
        let since = self.log.iter().filter(|(at, ..)| *at >= from);
        since.map(|(_, path, what)| (*path, what.as_str())).collect()
    }

    /// When something was reported first.
    pub fn when(&self, is: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.events.iter().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }

    pub fn active(&self, path: usize) -> bool {
        self.map.status().path(path).is_some_and(|path| path.active)
    }
}

/// Asserts `earliest <= at <= latest`: never earlier, never later.
pub fn within(at: Option<Instant>, earliest: Instant, latest: Instant, what: &str) {
    let at = at.unwrap_or_else(|| panic!("{what}: never happened"));
    assert!(at >= earliest, "{what}: at {at}, earlier than {earliest}");
    assert!(at <= latest, "{what}: at {at}, later than {latest}");
}
