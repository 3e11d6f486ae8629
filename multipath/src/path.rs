//! One path: what it is, how it stands, and what it owes.
//!
//! ```text
//!              good checks, and what it owed is paid
//!        ┌──────────────────────────────────────────────┐
//!        ▼        error, deadline, check, link, operator│
//!     ┌──────┐ ─────────────────────────────────► ┌─────┴──┐
//!     │Active│                                    │ Failed │◄── at first
//!     └──────┘ ◄───────────────────────────────── └────────┘
//!        on probation: it still owes a write, which the next write pays or fails at
//! ```

use holdfast_core::block::Fault;
use holdfast_core::time::{Duration, Instant};

use crate::damping::Record;
use crate::event::Kind;
use crate::identity::WrongDisk;
use crate::latency::Latencies;
use crate::priority::Alua;
use crate::selector::History;

/// What an error that may be the transport's says about the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Errors {
    /// Nothing: the request may have been carried out, and may yet be.
    #[default]
    Open,
    /// That it is over (a local file).
    Final,
}

/// Whose flush makes this path's writes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Only a flush by this path does.
    #[default]
    Own,
    /// A flush by any path that shares does (one file, one LUN, NBD's multi-conn).
    Shared,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSpec {
    /// Its name: a device's, or a URI.
    pub name: String,
    /// Host, channel, target and LUN, or an address; what `%i` shows.
    pub address: String,
    /// Major and minor number; what `%D` shows.
    pub dev_t: String,
    /// The controller's serial number, for `group_by_serial`.
    pub serial: String,
    /// The target's name, for `group_by_node_name`.
    pub node: String,
    /// The target port group, for `group_by_tpg`.
    pub port_group: Option<u16>,
    /// Relative throughput, 0 to 100.
    pub throughput: u32,
    /// What its errors say.
    pub errors: Errors,
    /// Whose flush reaches it.
    pub cache: Cache,
    /// What would free a write that hangs on it, in words for a person.
    pub freed_by: String,
}

impl PathSpec {
    /// A path of this name of which nothing else is known.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: "#:#:#:#".to_owned(),
            dev_t: "#:#".to_owned(),
            serial: String::new(),
            node: String::new(),
            port_group: None,
            throughput: 1,
            errors: Errors::default(),
            cache: Cache::default(),
            freed_by: "its answer".to_owned(),
        }
    }
}

/// Why a path is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It has not been checked yet.
    #[error("not checked yet")]
    Unchecked,
    /// A request failed.
    #[error("{kind} of sector {sector}: {fault}")]
    Fault {
        /// What.
        kind: Kind,
        /// Where.
        sector: u64,
        /// How.
        fault: Fault,
    },
    /// A request was not answered in time.
    #[error("{kind} of sector {sector} not answered in time")]
    Deadline {
        /// What.
        kind: Kind,
        /// Where.
        sector: u64,
    },
    /// Its transport says so.
    #[error("{0}")]
    Transport(String),
    /// A check failed.
    #[error("check failed: {0}")]
    Check(Fault),
    /// A check was not answered in time.
    #[error("check not answered in time")]
    CheckTimeout,
    /// It leads to another disk.
    #[error("{0}")]
    WrongDisk(WrongDisk),
    /// It has lost its link for too long.
    #[error("no link")]
    NoLink,
    /// It was told to.
    #[error("failed by hand")]
    Operator,
    /// It is removed.
    #[error("removed")]
    Removed,
}

/// Whether a path is used: the kernel's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Active,
    /// It is not, since then, for this reason.
    Failed {
        /// Since when.
        since: Instant,
        /// Why.
        why: Why,
    },
}

/// What the last check said: the checker's view, under multipathd's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checked {
    /// Nothing yet.
    #[default]
    Wild,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Works, but takes no I/O until its group is woken.
    Ghost,
    /// The check is taking its time.
    Pending,
    /// It was not answered in time.
    Timeout,
    /// Up, and waiting for more good checks.
    Delayed,
    /// It leads to another disk.
    Disconnected,
    /// The path is gone.
    Removed,
}

impl Checked {
    /// As `multipath -ll` writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wild => "undef",
            Self::Up => "ready",
            Self::Down => "faulty",
            Self::Ghost => "ghost",
            Self::Pending => "i/o pending",
            Self::Timeout => "i/o timeout",
            Self::Delayed => "delayed",
            Self::Disconnected => "disconnected",
            Self::Removed => "removed",
        }
    }
}

/// Kinds of request of which a success is owed, and where the first failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Debt {
    kinds: u8,
    /// Of these, kinds that were answered with an error, not only too late.
    refused: u8,
    pub(crate) sector: u64,
}

impl Debt {
    pub(crate) const fn is_none(self) -> bool {
        self.kinds == 0
    }

    pub(crate) const fn owes(self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// Whether one of the kind came back with an error: what had left before proves nothing then.
    pub(crate) const fn refused(self, kind: Kind) -> bool {
        self.refused & kind.bit() != 0
    }

    pub(crate) const fn add(&mut self, kind: Kind, sector: u64, refused: bool) {
        self.kinds |= kind.bit();
        if refused {
            self.refused |= kind.bit();
        }
        self.sector = sector;
    }

    pub(crate) const fn pay(&mut self, kind: Kind) {
        self.kinds &= !kind.bit();
        self.refused &= !kind.bit();
    }
}

/// Where a check is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// None is running; the next is due then.
    Idle { due: Instant },
    /// The transport was asked.
    Asked { since: Instant },
    /// Requests are sent, one after another; these are still to come.
    Reading { since: Instant, steps: Vec<Step> },
    /// One was not answered in time; until it is, or the session ends, there is no use in another.
    Stuck { asked: bool },
}

/// One request of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read what the checker reads.
    First,
    /// Read where a read failed.
    Debt,
    /// Read a place that identifies the disk.
    Place { sector: u64, sectors: u64 },
    /// Flush.
    Flush,
}

/// A path's link to its target, as far as its transport tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Down { fast_fail_at: Option<Instant>, lost_at: Option<Instant> },
}

/// A path of a map.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) spec: PathSpec,
    pub(crate) state: State,
    pub(crate) checked: Checked,
    pub(crate) debt: Debt,
    /// A good check says that a debt may be tried to be paid by the next request of its kind.
    pub(crate) trial_due: bool,
    /// Failed by hand: checks do not bring it back.
    pub(crate) by_hand: bool,
    pub(crate) removed: bool,
    pub(crate) alua: Option<Alua>,
    pub(crate) priority: i32,
    pub(crate) link: Link,

    pub(crate) stage: Stage,
    pub(crate) interval: Duration,
    pub(crate) good_checks: u32,
    pub(crate) check_latency: Option<Duration>,
    pub(crate) damping: Record,

    pub(crate) session: u64,
    pub(crate) fenced: u64,
    /// The session a fence was asked for.
    pub(crate) fence_asked: Option<u64>,

    pub(crate) requests: u32,
    pub(crate) bytes: u64,
    /// When the last request of each kind was *sent* of those that have been answered.
    pub(crate) answered: [Option<Instant>; 3],
    pub(crate) latencies: Latencies,
    pub(crate) hedge_at: Option<Duration>,
    pub(crate) history: History,
    /// The last write it took into a cache and that no flush has covered since.
    pub(crate) dirty: Option<u64>,
    pub(crate) failures: u32,
}

impl Path {
    pub(crate) fn new(spec: PathSpec, now: Instant, interval: Duration) -> Self {
        Self {
            spec,
            state: State::Failed { since: now, why: Why::Unchecked },
            checked: Checked::Wild,
            debt: Debt::default(),
            trial_due: false,
            by_hand: false,
            removed: false,
            alua: None,
            priority: 1,
            link: Link::Up,
            stage: Stage::Idle { due: now },
            interval,
            good_checks: 0,
            check_latency: None,
            damping: Record::default(),
            session: 1,
            fenced: 0,
            fence_asked: None,
            requests: 0,
            bytes: 0,
            answered: [None; 3],
            latencies: Latencies::default(),
            hedge_at: None,
            history: History::NEW,
            dirty: None,
            failures: 0,
        }
    }

    pub(crate) const fn is_active(&self) -> bool {
        matches!(self.state, State::Active)
    }

    /// Whether it may be used like any other.
    pub(crate) const fn is_good(&self) -> bool {
        self.is_active()
            && self.debt.is_none()
            && !matches!(self.checked, Checked::Ghost)
            && !self.damping.is_marginal()
    }

    /// Whether it may be used for this kind like any other, if there is nothing better.
    pub(crate) const fn serves(&self, kind: Kind) -> bool {
        self.is_active() && !self.debt.owes(kind)
    }
}
