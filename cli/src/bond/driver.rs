//! The driver: one thread, one epoll set, turn after turn.
//!
//! A turn sleeps until something comes or is due, then hears the control lanes, does what is due,
//! and moves one batch of frames for each direction and member, looking at the time between two
//! batches. So a monitor waits for one batch at most, and never for a queue.
//!
//! When the process was held up (stopped, or starved of the processor), that time does not count: the
//! core's clock stands still meanwhile. A probe that nobody sent is not one that nobody answered:
//! whoever was late was us.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use holdfast_bond::{Bond, MemberId, Proc};
use holdfast_core::time::{Clock, Instant};
use holdfast_host::bond::frame::Batch;
use holdfast_host::bond::journal::Journal;
use holdfast_host::bond::link::{Name, Prober};
use holdfast_host::bond::netlink::Netlink;
use holdfast_host::bond::tap::Tap;
use holdfast_host::clock::{HostClock, Wakeup};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::place::Place;
use super::ports::Port;
use super::protocol::{self, Request};
use super::setup::Own;
use super::standing::Standing;
use super::told::{Teller, Told};
use super::view::{Surroundings, View};
use crate::control::listen::{Asked, Caller, Ears};
use crate::control::reply::Reply;
use crate::exit::{Exit, Failure};
use crate::report::Said;

/// What an event of the epoll set is about: fixed ones, then lanes by their numbers.
pub(super) const BELL: u64 = 0;
pub(super) const TAP: u64 = 1;
pub(super) const LISTENER: u64 = 2;
pub(super) const CONTROL_LANE: u64 = 2 << 60;
pub(super) const DATA_LANE: u64 = 3 << 60;
const ABOUT: u64 = 0xf << 60;

/// Events that are remembered.
const MOST_PAST: usize = 1000;
/// How often what is told of by no message is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A bond that runs.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(super) bond: Bond,
    pub(super) clock: HostClock,
    /// Takes off what we were held up for.
    pub(super) standing: Standing,
    pub(super) tap: Tap,
    pub(super) netlink: Netlink,
    /// Hears of changes.
    pub(super) listener: Netlink,
    pub(super) prober: Prober,
    pub(super) epoll: OwnedFd,
    pub(super) ports: Vec<Port>,
    pub(super) next_token: u64,
    pub(super) batch: Batch,
    pub(super) journal: Journal,
    pub(super) place: Place,
    /// What other verbs ask.
    pub(super) ears: Ears<Request>,
    /// Those who want to be told what happens.
    pub(super) followers: Vec<Caller>,
    /// Those who asked for the stop, answered when everything is put back.
    pub(super) stopping: Vec<Caller>,
    /// Members that belong here by name, with their own settings, whether they are there or not.
    pub(super) wanted: BTreeMap<Name, Own>,
    /// Names by number, also of members that have left.
    pub(super) names: BTreeMap<MemberId, String>,
    pub(super) teller: Teller,
    pub(super) past: VecDeque<Told>,
    /// What happened since the last [`Driver::take_news`].
    pub(super) news: Vec<Told>,
    pub(super) tap_ready: bool,
    pub(super) listener_ready: bool,
    /// When addresses and groups are looked at next.
    pub(super) look_at: Instant,
    /// Something changed, so look soon.
    pub(super) look_again: bool,
    /// Unicast addresses above the bond that members receive, too.
    pub(super) unicast: Vec<holdfast_core::net::Mac>,
    /// Groups and promiscuity the core was told of.
    pub(super) filters: (Vec<holdfast_core::net::Mac>, bool),
    pub(super) mtu: u32,
    /// Frames of the stack that no member took.
    pub(super) dropped: u64,
    pub(super) since_unix_ms: u64,
}

impl Driver {
    /// Ends the wait of a turn.
    pub(crate) fn wakeup(&self) -> Wakeup {
        self.clock.wakeup()
    }

    /// Whether somebody asked it to stop through the control socket.
    pub(crate) const fn is_stopping(&self) -> bool {
        !self.stopping.is_empty()
    }

    /// What happened since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.news)
    }

    /// One turn.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.sleep()?;
        self.hear_control_lanes();
        self.tick();
        self.hear_changes();
        self.carry_out();
        self.tick();
        self.hear_data_lanes();
        while let Some(Asked { request, caller }) = self.ears.next() {
            self.attend(request, caller);
        }
        Ok(())
    }

    /// The time, without what we were held up for.
    pub(super) fn now(&mut self) -> Instant {
        let (now, late) = self.standing.tell(self.clock.now());
        self.teller.origin_unix_ms += late.as_millis() as u64;
        now
    }

    fn sleep(&mut self) -> io::Result<()> {
        let now = self.now();
        let busy = self.tap_ready
            || self.listener_ready
            || self.ports.iter().any(|port| port.control_ready || port.data_ready);
        let until = match self.bond.poll_at() {
            Some(at) => at.min(self.look_at),
            None => self.look_at,
        };
        let span = if busy { Duration::ZERO } else { until.since(now) };
        let timeout = Timespec {
            tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        };
        self.standing.sleep(now + span);
        let mut events = Vec::with_capacity(64);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.now();
        self.standing.wake();
        for event in events {
            self.ready(event.data.u64());
        }
        Ok(())
    }

    fn ready(&mut self, token: u64) {
        let number = token & !ABOUT;
        match token & ABOUT {
            CONTROL_LANE | DATA_LANE => {
                if let Some(port) = self.ports.iter_mut().find(|port| port.token == number) {
                    let lane = token & ABOUT == CONTROL_LANE;
                    *if lane { &mut port.control_ready } else { &mut port.data_ready } = true;
                }
            }
            _ => match token {
                BELL => self.clock.wakeup().clear(),
                TAP => self.tap_ready = true,
                _ => self.listener_ready = true,
            },
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        if self.bond.poll_at().is_some_and(|at| at <= now) {
            if self.bond.links_due(now) {
                self.probe_links(now);
            }
            self.bond.handle_timeout(now);
            self.drain();
        }
        if self.look_again || self.look_at <= now {
            self.look_around();
        }
    }

    /// Asks every member's driver for its link.
    fn probe_links(&mut self, now: Instant) {
        for index in 0..self.ports.len() {
            let port = &self.ports[index];
            if let Some(id) = port.id {
                let link = port.link(&self.prober);
                self.bond.set_link(id, link, now);
            }
        }
    }

    /// Does what the core wants done, and takes what it tells.
    pub(super) fn drain(&mut self) {
        loop {
            if let Some(action) = self.bond.poll_action() {
                self.act(action);
            } else if let Some(transmit) = self.bond.poll_transmit() {
                self.transmit(&transmit);
            } else if let Some(event) = self.bond.poll_event() {
                let names = &self.names;
                let name = |member: MemberId| {
                    let known = self.bond.member_name(member).or_else(|| Some(names.get(&member)?));
                    known.map_or_else(|| member.to_string(), str::to_owned)
                };
                let told = self.teller.tell(&event, name);
                self.remember(told);
            } else {
                return;
            }
        }
    }

    /// Says something of the driver's own.
    pub(super) fn note(&mut self, member: Option<&Name>, text: String) {
        let now = self.now();
        let told = self.teller.note(now, member.map(Name::as_str), text);
        self.remember(told);
    }

    fn remember(&mut self, told: Told) {
        self.followers.retain(|follower| follower.tell(&told));
        if self.past.len() == MOST_PAST {
            self.past.pop_front();
        }
        self.past.push_back(told.clone());
        self.news.push(told);
    }

    fn attend(&mut self, request: Request, caller: Caller) {
        let done = match request {
            Request::Status {} => Ok(Some(self.standing_twice())),
            Request::Events { past, follow } => {
                if past {
                    let _ = self.past.iter().all(|told| caller.tell(told));
                }
                if follow {
                    return self.followers.push(caller);
                }
                Ok(None)
            }
            Request::Stop {} => return self.stopping.push(caller),
            request => self.obey(request).map(|()| None),
        };
        caller.answer(&match done {
            Ok(Some(said)) => Reply::new(said, Ok(Exit::Good)),
            Ok(None) => Reply::new(Said::default(), Ok(Exit::Good)),
            Err(why) => Reply::refused(Failure::error(why)),
        });
    }

    fn standing_twice(&self) -> Said {
        let status = self.view();
        let (lines, proc) = (status.lines(), Proc(&self.bond.status()).to_string());
        let standing = protocol::Standing { status, proc };
        let answer = serde_json::to_value(standing).expect("plain values with string keys");
        Said { lines, answer: Some(answer), notes: Vec::new() }
    }

    /// Carries an order out.
    fn obey(&mut self, request: Request) -> Result<(), String> {
        let now = self.now();
        let done = match request {
            Request::Set { option, value } => self.set(&option, &value),
            Request::Add { member, prio, actor_port_prio } => match Name::new(&member) {
                Ok(name) => {
                    let own = Own { prio, port_priority: actor_port_prio };
                    self.add(&name, own).inspect(|()| {
                        self.wanted.insert(name, own);
                    })
                }
                Err(error) => Err(error.to_string()),
            },
            Request::Remove { member } => self.remove(&member),
            Request::Activate { member } => match self.bond.member_named(&member) {
                Some(id) => self.bond.activate(id, now).map_err(|refusal| refusal.to_string()),
                None => Err(format!("{member} is no member")),
            },
            Request::Status {} | Request::Events { .. } | Request::Stop {} => {
                Err("that is no order".to_owned())
            }
        };
        self.drain();
        done
    }

    /// Changes an option: the core's, or a member's as `prio=eth0:10` and `actor_port_prio=eth0:10`.
    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        let now = self.now();
        let option = option.replace('-', "_");
        if option != "prio" && option != "actor_port_prio" {
            let set = self.bond.set_option(&option, value, now);
            return set.map_err(|refusal| refusal.to_string());
        }
        let (member, number) = value
            .rsplit_once(':')
            .ok_or_else(|| format!("{option}={value}: a member's is set as {option}=eth0:10"))?;
        let wrong = |_| format!("{option}={value}: {number:?} is no such number");
        let id = self.bond.member_named(member).ok_or_else(|| format!("{member} is no member"))?;
        let known = Name::new(member).ok().and_then(|name| self.wanted.get_mut(&name));
        let mut own = known.as_ref().map_or_else(Own::default, |own| **own);
        let set = if option == "prio" {
            own.prio = number.parse().map_err(wrong)?;
            self.bond.set_prio(id, own.prio, now)
        } else {
            own.port_priority = number.parse().map_err(wrong)?;
            self.bond.set_port_priority(id, own.port_priority, now)
        };
        set.map_err(|refusal| refusal.to_string())?;
        if let Some(known) = known {
            *known = own;
        }
        Ok(())
    }

    fn remove(&mut self, member: &str) -> Result<(), String> {
        let now = self.now();
        let known = Name::new(member).is_ok_and(|name| self.wanted.remove(&name).is_some());
        match self.bond.member_named(member) {
            Some(id) => self.bond.remove_member(id, now).map_err(|refusal| refusal.to_string()),
            // It had vanished; now it is not waited for any more.
            None if known => Ok(()),
            None => Err(format!("{member} is no member")),
        }
    }

    /// How things stand.
    pub(crate) fn view(&self) -> View {
        let status = self.bond.status();
        let there = |name: &&Name| self.bond.member_named(name.as_str()).is_none();
        let missing = self.wanted.keys().filter(there).map(Name::to_string).collect();
        let around = Surroundings {
            since_unix_ms: self.since_unix_ms,
            mtu: self.mtu,
            missing,
            dropped: self.dropped,
        };
        View::new(&status, around, |name| {
            let port = self.ports.iter().find(|port| port.name.as_str() == name);
            port.map(|port| port.counters).unwrap_or_default()
        })
    }
}
