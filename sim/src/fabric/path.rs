//! A way to the shelf, and all that can be wrong with it.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Op, Request, Tag};
use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::time::{Duration, Instant};
use holdfast_multipath::device::PathDevice;
use holdfast_multipath::event::Kind;
use holdfast_multipath::identity::Identity;
use holdfast_multipath::map::{Inquiry, Ready};

use super::Shelf;

/// What is wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The connection is broken; a new one cannot be made.
    Broken,
    /// Nothing moves: neither requests nor answers nor questions.
    Hangs,
    /// Everything takes this much longer.
    Slow(Duration),
    /// Questions and reads of the first block are answered; this kind of request fails, or hangs.
    Gray {
        /// The kind.
        kind: Kind,
        /// Whether it hangs.
        hangs: bool,
    },
    /// It leads to another disk.
    Elsewhere,
}

/// A request on its way.
#[derive(Debug)]
struct Moving {
    request: Request,
    session: u64,
    /// When it reaches the disk; `None` while it is stuck.
    arrives: Option<Instant>,
    /// Its answer travels until then.
    answered: Option<(Instant, Result<(), Fault>)>,
    /// It was sent although requests of its kind were known to fail.
    trusting: bool,
}

/// A write that nobody will answer and that may still arrive.
#[derive(Debug)]
struct Stray {
    request: Request,
    session: u64,
    arrives: Instant,
}

/// A path of the fabric.
#[derive(Debug)]
pub struct Way {
    shelf: Rc<RefCell<Shelf>>,
    geometry: Geometry,
    identity: Identity,
    controller: usize,
    trouble: Trouble,
    rng: Rng,
    moving: Vec<Moving>,
    strays: Vec<Stray>,
    asked: bool,
    connected: bool,
    session: u64,
    fenced: u64,
    /// A fence that takes its time: until when, and for which session.
    fencing: Option<(Instant, u64)>,
    /// How long fences take; `None`: there are none.
    fence_takes: Option<Duration>,
    /// Other disks' identity is told by the transport.
    tells: bool,
    /// Anything has ever been wrong with it.
    pub touched: bool,
    /// Writes that reached another disk.
    pub misled: u64,
    /// Since the present trouble began: whether a request of the gray kind has failed.
    pub shown: bool,
    /// The most requests of users of the gray kind at once since it was shown.
    pub trusted: u32,
}

/// Contents of any other disk.
const ELSEWHERE: u8 = 0xEE;

impl Way {
    /// A way to this shelf by one of its controllers.
    pub fn new(
        shelf: &Rc<RefCell<Shelf>>,
        geometry: Geometry,
        controller: usize,
        wwid: Option<&str>,
        fence_takes: Option<Duration>,
        rng: Rng,
    ) -> Self {
        Self {
            shelf: Rc::clone(shelf),
            geometry,
            identity: Identity {
                wwid: wwid.map(str::to_owned),
                name: "shelf".to_owned(),
                sectors: geometry.sectors,
                block_bytes: geometry.block_bytes,
            },
            controller,
            trouble: Trouble::None,
            rng,
            moving: Vec::new(),
            strays: Vec::new(),
            asked: false,
            connected: true,
            session: 1,
            fenced: 0,
            fencing: None,
            fence_takes,
            tells: wwid.is_some(),
            touched: false,
            misled: 0,
            shown: false,
            trusted: 0,
        }
    }

    /// What is wrong with it.
    pub const fn trouble(&self) -> Trouble {
        self.trouble
    }

    /// Its controller.
    pub const fn controller(&self) -> usize {
        self.controller
    }

    /// Trouble begins, changes or ends.
    pub fn set_trouble(&mut self, now: Instant, trouble: Trouble) {
        self.touched |= trouble != Trouble::None;
        if trouble == Trouble::Broken || self.trouble == Trouble::Elsewhere {
            self.disconnect(now);
        }
        if trouble == Trouble::Elsewhere {
            self.disconnect(now);
        }
        self.trouble = trouble;
        self.shown = false;
        // What was stuck moves again.
        for index in 0..self.moving.len() {
            if self.moving[index].arrives.is_none() && self.moving[index].answered.is_none() {
                let stuck = self.sticks(&self.moving[index].request);
                let travel = self.travel();
                self.moving[index].arrives = (!stuck).then(|| now + travel);
            }
        }
    }

    /// The connection ends. Requests are answered by an error; writes among them may have been
    /// carried out, or may yet be, or not.
    pub fn disconnect(&mut self, now: Instant) {
        if !self.connected {
            return;
        }
        self.connected = false;
        for moving in std::mem::take(&mut self.moving) {
            let lost = moving.answered.is_none();
            if lost && moving.request.op.is_write() && self.rng.chance(Ratio::new(2, 3)) {
                let copy = Request::new(
                    moving.request.tag,
                    moving.request.sector,
                    match &moving.request.op {
                        Op::Write(data, durability) => Op::Write(data.clone(), *durability),
                        Op::Zero(sectors) => Op::Zero(*sectors),
                        _ => Op::Discard(moving.request.op.sectors()),
                    },
                );
                let late = Duration::from_millis(self.rng.below(20_000));
                let stray = Stray { request: copy, session: moving.session, arrives: now + late };
                self.strays.push(stray);
            }
            let answered = Some((now, Err(Fault::Transport)));
            self.moving.push(Moving { arrives: None, answered, ..moving });
        }
    }

    /// It is proven that nothing of the sessions so far can land any more.
    pub fn prove(&mut self, session: u64) {
        self.strays.retain(|stray| stray.session > session);
        self.fenced = self.fenced.max(session);
    }

    /// The present session, if it has ended; or else the one before.
    pub const fn ended_session(&self) -> u64 {
        if self.connected { self.session - 1 } else { self.session }
    }

    fn travel(&mut self) -> Duration {
        let base = Duration::from_micros(100 + self.rng.below(2_000));
        match self.trouble {
            Trouble::Slow(more) => base + more,
            _ => base,
        }
    }

    fn gray(&self, request: &Request) -> Option<bool> {
        let kind = match request.op {
            Op::Read(_) => Kind::Read,
            Op::Flush => Kind::Flush,
            _ => Kind::Write,
        };
        match self.trouble {
            Trouble::Gray { kind: gray, hangs } if gray == kind => {
                let first = kind == Kind::Read && request.sector == 0;
                (!first).then_some(hangs)
            }
            _ => None,
        }
    }

    fn sticks(&self, request: &Request) -> bool {
        self.trouble == Trouble::Hangs || self.gray(request) == Some(true)
    }

    /// A request reaches the other end.
    fn arrive(&mut self, request: &mut Request) -> Result<(), Fault> {
        if self.trouble == Trouble::Elsewhere {
            self.misled += u64::from(request.op.is_write());
            if let Op::Read(buf) = &mut request.op {
                buf.fill(ELSEWHERE);
            }
            return Ok(());
        }
        let mut shelf = self.shelf.borrow_mut();
        if !shelf.is_alive(self.controller) {
            return Err(Fault::Transport);
        }
        shelf.carry_out(self.controller, request.sector, &mut request.op)
    }

    fn note_trust(&mut self) {
        if let Trouble::Gray { kind, .. } = self.trouble
            && self.shown
            && kind == Kind::Write
        {
            let gray = self.moving.iter().filter(|moving| {
                moving.trusting && moving.answered.is_none() && moving.session == self.session
            });
            self.trusted = self.trusted.max(gray.count() as u32);
        }
    }

    fn deliver(&mut self, now: Instant) {
        for index in 0..self.moving.len() {
            let due = self.moving[index].arrives.is_some_and(|at| at <= now);
            if !due || self.moving[index].answered.is_some() {
                continue;
            }
            let placeholder = Request::new(Tag(0), 0, Op::Flush);
            let mut request = std::mem::replace(&mut self.moving[index].request, placeholder);
            let result = match self.gray(&request) {
                Some(_) => Err(Fault::Transport),
                None => self.arrive(&mut request),
            };
            let travel = self.travel();
            self.moving[index].request = request;
            self.moving[index].answered = Some((now + travel, result));
        }
    }

    fn deliver_strays(&mut self, now: Instant) {
        let (due, rest) =
            std::mem::take(&mut self.strays).into_iter().partition(|stray| stray.arrives <= now);
        self.strays = rest;
        let due: Vec<Stray> = due;
        for mut stray in due {
            let mut shelf = self.shelf.borrow_mut();
            // The other end acts for it, whatever has become of the way since.
            let controller =
                if shelf.is_alive(self.controller) { self.controller } else { 1 - self.controller };
            let _ = shelf.carry_out(controller, stray.request.sector, &mut stray.request.op);
        }
    }
}

impl BlockDevice for Way {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.moving.len() >= self.geometry.queue_depth as usize {
            return Err(request);
        }
        let now = self.shelf.borrow().now;
        let (arrives, answered) = if !self.connected {
            // Never sent: that much is certain.
            (None, Some((now, Err(Fault::Gone))))
        } else if self.sticks(&request) {
            (None, None)
        } else {
            let travel = self.travel();
            (Some(now + travel), None)
        };
        let trusting = self.shown && self.gray(&request).is_some();
        self.moving.push(Moving { request, session: self.session, arrives, answered, trusting });
        self.note_trust();
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.deliver_strays(now);
        if let Some((_, session)) = self.fencing.filter(|(at, _)| *at <= now) {
            self.fencing = None;
            self.prove(session);
        }
        self.deliver(now);
        let hangs = self.trouble == Trouble::Hangs;
        let mut index = 0;
        while index < self.moving.len() {
            let due = self.moving[index].answered.filter(|(at, _)| *at <= now);
            let of_present = self.connected;
            match due {
                Some((_, result)) if !(hangs && of_present) => {
                    let moving = self.moving.remove(index);
                    finished.push(moving.request.complete(result));
                }
                _ => index += 1,
            }
        }
    }

    fn abandon(&mut self, tag: Tag) {
        for moving in self.moving.iter_mut().filter(|moving| moving.request.tag == tag) {
            moving.trusting = false;
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        let hangs = self.trouble == Trouble::Hangs && self.connected;
        let moving = self.moving.iter().filter_map(|moving| match moving.answered {
            Some((at, _)) => (!hangs).then_some(at),
            None => moving.arrives,
        });
        let strays = self.strays.iter().map(|stray| stray.arrives);
        moving.chain(strays).chain(self.fencing.map(|(at, _)| at)).min()
    }
}

impl PathDevice for Way {
    fn inquire(&mut self, _now: Instant, connect: bool) {
        self.asked = true;
        let possible = !matches!(self.trouble, Trouble::Broken | Trouble::Hangs)
            && self.shelf.borrow().is_alive(self.controller);
        if !self.connected && connect && possible {
            self.connected = true;
            self.session += 1;
        }
    }

    fn inquiry(&mut self, _now: Instant) -> Option<Inquiry> {
        if self.trouble == Trouble::Hangs || !std::mem::take(&mut self.asked) {
            return None;
        }
        if !self.connected || !self.shelf.borrow().is_alive(self.controller) {
            let ready = Ready::Down("connection refused".to_owned());
            return Some(Inquiry { ready, identity: None, alua: None });
        }
        let mut identity = self.identity.clone();
        if self.trouble == Trouble::Elsewhere && self.tells {
            identity.wwid = Some("elsewhere".to_owned());
        }
        Some(Inquiry { ready: Ready::Up, identity: Some(identity), alua: None })
    }

    fn session(&self) -> u64 {
        self.session
    }

    fn fenced(&self) -> u64 {
        self.fenced
    }

    fn fence(&mut self, now: Instant, session: u64) {
        let Some(takes) = self.fence_takes else { return };
        // A fence ends the session it is for.
        if session == self.session {
            self.disconnect(now);
        }
        self.fencing = Some((now + takes, session));
    }
}
