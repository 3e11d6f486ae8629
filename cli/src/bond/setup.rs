//! Starting a bond, and stopping it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_bond::{Bond, Conflict, Options};
use holdfast_core::net::Mac;
use holdfast_core::time::Clock;
use holdfast_host::bond::frame::Batch;
use holdfast_host::bond::journal::{Journal, Opened};
use holdfast_host::bond::link::{Name, Prober};
use holdfast_host::bond::netlink::Netlink;
use holdfast_host::bond::privilege;
use holdfast_host::bond::tap::Tap;
use holdfast_host::clock::{HostClock, wall_clock};
use rustix::event::epoll;

use super::cleanup;
use super::driver::{BELL, Driver, LISTENER, TAP};
use super::place::Place;
use super::standing::Standing;
use super::told::Teller;
use crate::control::listen::Ears;
use crate::control::reply::Reply;
use crate::exit::{Exit, Failure};
use crate::report::Said;

/// A member as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) own: Own,
}

/// A member's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// The higher, the better.
    pub(crate) prio: i32,
    /// 802.3ad: the port's priority.
    pub(crate) port_priority: u16,
}

impl Default for Own {
    /// The kernel's.
    fn default() -> Self {
        Self { prio: 0, port_priority: 255 }
    }
}

/// A bond as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: Name,
    pub(crate) options: Options,
    /// The member to begin with, where the mode has an active one.
    pub(crate) active: Option<String>,
    pub(crate) members: Vec<Wanted>,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
    pub(crate) run_dir: Option<PathBuf>,
}

impl Plan {
    /// What is wrong with it, as far as that can be told without looking at interfaces.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let options = self.options.clone().checked();
        options.map_err(|conflict: Conflict| Failure::usage(conflict.to_string()))?;
        for (index, one) in self.members.iter().enumerate() {
            if one.name == self.name || self.members[..index].iter().any(|o| o.name == one.name) {
                return Err(Failure::usage(format!("{} is named twice", one.name)));
            }
        }
        Ok(())
    }
}

/// An error of the machine, with what was being done.
pub(super) fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Failure {
    move |error| {
        let failure = Failure::error(format!("{what}: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => failure.hint(
                "a bond needs CAP_NET_ADMIN and CAP_NET_RAW in its network namespace, and /dev/net/tun; \
                 `unshare --map-root-user --net` gives anybody a namespace to try it in",
            ),
            _ => failure,
        }
    }
}

/// How long a stop waits for those who asked for it to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Driver {
    /// Makes the bond's interface and takes its members in.
    ///
    /// What drivers that died have left in this namespace is put back first; `said` is told of it.
    pub(crate) fn start(plan: &Plan, said: &mut Vec<String>) -> Result<Self, Failure> {
        plan.check()?;
        let place = Place::find(plan.run_dir.as_deref())?;
        let mut netlink = Netlink::open().map_err(failed("netlink"))?;
        said.extend(cleanup::clean(&place, &mut netlink)?);
        place.make()?;
        let journal = match Journal::open(&place.journal(&plan.name)).map_err(failed("journal"))? {
            Opened::Ours(journal) => journal,
            Opened::Held => {
                return Err(Failure::error(format!("bond {} is running already", plan.name)));
            }
        };
        // From here on a failure drops the driver, which puts everything back.
        let mut driver = Self::bare(plan, &place, netlink, journal)?;
        let outcome = driver.begin(plan);
        match outcome {
            Ok(()) => Ok(driver),
            Err(failure) => {
                driver.stop();
                Err(failure)
            }
        }
    }

    fn bare(
        plan: &Plan,
        place: &Place,
        mut netlink: Netlink,
        journal: Journal,
    ) -> Result<Self, Failure> {
        let mut clock = HostClock::new().map_err(failed("clock"))?;
        let (seconds, micros) = wall_clock();
        let now = clock.now();
        let origin_unix_ms = seconds * 1000 + u64::from(micros / 1000) - now.as_nanos() / 1_000_000;
        let bond = Bond::new(plan.name.as_str(), plan.options.clone(), plan.mac, seed(), now)
            .map_err(|conflict| Failure::usage(conflict.to_string()))?;
        let listener = Netlink::listen().map_err(failed("netlink"))?;
        let tap = Tap::create(&plan.name, &mut netlink).map_err(failed(&plan.name))?;
        privilege::keep_network_only().map_err(failed("laying privileges down"))?;
        // After the privileges are gone: its threads have those of the moment in which they start.
        let mut ears = Ears::new(clock.wakeup());
        ears.at(&place.socket(&plan.name)).map_err(failed("control socket"))?;
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed("epoll")(e.into()))?;
        let driver = Self {
            bond,
            tap,
            netlink,
            listener,
            prober: Prober::open().map_err(failed("prober"))?,
            epoll,
            ports: Vec::new(),
            next_token: 0,
            batch: Batch::new(),
            journal,
            place: place.clone(),
            ears,
            followers: Vec::new(),
            stopping: Vec::new(),
            wanted: plan.members.iter().map(|one| (one.name.clone(), one.own)).collect(),
            names: BTreeMap::new(),
            teller: Teller { bond: plan.name.to_string(), origin_unix_ms },
            past: VecDeque::new(),
            news: Vec::new(),
            tap_ready: true,
            listener_ready: true,
            look_at: now,
            look_again: false,
            unicast: Vec::new(),
            filters: (Vec::new(), false),
            mtu: 0,
            dropped: 0,
            since_unix_ms: origin_unix_ms,
            standing: Standing::new(now),
            clock,
        };
        driver.watch_descriptors().map_err(failed("epoll"))?;
        Ok(driver)
    }

    fn watch_descriptors(&self) -> io::Result<()> {
        let add = |fd: std::os::fd::BorrowedFd<'_>, token: u64| {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).map_err(io::Error::from)
        };
        use std::os::fd::AsFd;
        add(self.clock.wakeup().as_fd(), BELL)?;
        add(self.tap.as_fd(), TAP)?;
        add(self.listener.as_fd(), LISTENER)
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), Failure> {
        let tap = self.tap.index();
        if let Some(mac) = plan.mac {
            self.netlink.set_mac(tap, mac).map_err(failed(&plan.name))?;
        }
        if let Some(mtu) = plan.mtu {
            self.netlink.set_mtu(tap, mtu).map_err(failed(format_args!("--mtu {mtu}")))?;
        }
        self.mtu = self.netlink.link(tap).map_err(failed(&plan.name))?.mtu;
        let now = self.now();
        self.bond.set_mtu(self.mtu, now);
        for one in &plan.members {
            self.add(&one.name, one.own).map_err(Failure::error)?;
        }
        self.netlink.set_up(tap, true).map_err(failed(&plan.name))?;
        self.look_around();
        if let Some(active) = &plan.active {
            let now = self.now();
            let set = self.bond.set_option("active_slave", active, now);
            set.map_err(|refusal| Failure::error(refusal.to_string()))?;
            self.drain();
        }
        Ok(())
    }

    /// Lets every member go and puts it back as it was; what could not be put back.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let members: Vec<_> = self.bond.members().collect();
        let now = self.now();
        // Down first, so that nobody fails over from one member to the next while they leave.
        self.bond.set_up(false, now);
        self.drain();
        for member in members {
            let now = self.now();
            // The core knows its members.
            let _ = self.bond.remove_member(member, now);
            self.drain();
        }
        let Self { ears, followers, stopping, journal, mut netlink, ports, place, .. } = self;
        drop(followers);
        let mut left: Vec<String> = Vec::new();
        // None are left, unless the core forgot one.
        let mut journal = journal;
        for port in ports {
            let name = port.name.clone();
            if let Err(error) = port.close(&mut netlink, &mut journal) {
                left.push(format!("{name}: {error}"));
            }
        }
        for before in journal.members() {
            left.push(format!("{}: not as it was before", before.name));
        }
        if left.is_empty()
            && let Err(error) = journal.remove()
        {
            left.push(format!("journal: {error}"));
        }
        for caller in stopping {
            let outcome = match left.is_empty() {
                true => Ok(Exit::Good),
                false => Err(Failure::error(format!("stopped; left behind: {}", left.join("; ")))),
            };
            caller.answer(&Reply::new(Said::default(), outcome));
        }
        ears.flush(LAST_WORDS);
        drop(ears);
        place.leave();
        left
    }
}

/// Addresses and choices at random differ from run to run.
fn seed() -> u64 {
    holdfast_host::random::seed()
}
