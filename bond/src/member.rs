//! One member: what is known of its link, and its part in the bond.

use std::fmt;

use holdfast_core::net::{Link, Mac};
use holdfast_core::time::{Duration, Instant};

use crate::lacp::{Aggregator, Port};
use crate::monitor::Penalty;
use crate::options::MAX_TARGETS;
use crate::stamp::Stamp;

/// A member's number: given when it joins, never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(crate) u32);

impl MemberId {
    /// As a plain number, from 0 in order of joining.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// How a member's link is taken to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// In use.
    Up,
    /// Lost, but `downdelay` is not over: still in use.
    Fail,
    /// Not in use.
    Down,
    /// There again, but `updelay` is not over (or it is being tried): not yet in use.
    Back,
}

impl LinkState {
    /// The kernel's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Fail => "going down",
            Self::Down => "down",
            Self::Back => "going back",
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A port that is to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// The interface's name.
    pub name: String,
    /// Its own hardware address.
    pub mac: Mac,
    /// Whether that address can be changed.
    pub mac_settable: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Its link right now.
    pub link: Link,
    /// Its priority; the higher, the better.
    pub prio: i32,
    /// Its LACP port priority; the lower, the better. 255 is the kernel's default.
    pub port_priority: u16,
}

impl NewMember {
    /// A port with an address that can be changed and an MTU of 1500.
    pub fn new(name: &str, mac: Mac, link: Link) -> Self {
        let name = name.to_owned();
        Self { name, mac, mac_settable: true, mtu: 1500, link, prio: 0, port_priority: 255 }
    }
}

/// One member. Its link has a *state*, which monitors decide; `active` (with `inactive`, the
/// kernel's two flags) says whether it is a party to traffic.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    /// The address it came with, and gets back when it leaves.
    pub(crate) permanent: Mac,
    /// The address it has now.
    pub(crate) mac: Mac,
    pub(crate) mac_settable: bool,
    pub(crate) original_mtu: u32,
    /// What the port says of its link.
    pub(crate) link: Link,
    pub(crate) state: LinkState,
    /// Looks at the link left of `updelay` or `downdelay`.
    pub(crate) delay: u32,
    /// Not a party to traffic (the kernel's `backup`).
    pub(crate) backup: bool,
    /// Frames received here are dropped (the kernel's `inactive`).
    pub(crate) inactive: bool,
    pub(crate) last_link_up: Stamp,
    pub(crate) last_rx: Stamp,
    pub(crate) last_tx: Stamp,
    /// When each target was last heard: IPv4 and IPv6 share the places, as in the kernel.
    pub(crate) target_rx: [Stamp; MAX_TARGETS],
    pub(crate) failures: u32,
    pub(crate) penalty: Penalty,
    pub(crate) prio: i32,
    pub(crate) queue_id: u16,
    pub(crate) port_priority: u16,
    /// The address frames carry that leave here, in the adaptive modes.
    pub(crate) source: Mac,
    /// It as LACP sees it; without meaning in other modes.
    pub(crate) port: Port,
    /// The aggregator it brings; without meaning in other modes.
    pub(crate) aggregator: Aggregator,
}

impl Member {
    pub(crate) fn new(id: MemberId, new: NewMember, interval: Duration, now: Instant) -> Self {
        // Heard last a little more than one interval ago, so that nothing counts as heard yet.
        let heard = Stamp::before(now, interval + Duration::from_millis(1));
        Self {
            id,
            name: new.name,
            permanent: new.mac,
            mac: new.mac,
            mac_settable: new.mac_settable,
            original_mtu: new.mtu,
            link: new.link,
            state: LinkState::Down,
            delay: 0,
            backup: true,
            inactive: false,
            last_link_up: Stamp::at(Instant::ZERO),
            last_rx: heard,
            last_tx: heard,
            target_rx: [heard; MAX_TARGETS],
            failures: 0,
            penalty: Penalty::default(),
            prio: new.prio,
            queue_id: 0,
            port_priority: new.port_priority,
            source: new.mac,
            port: Port::new(),
            aggregator: Aggregator::default(),
        }
    }

    /// Whether frames may go out here: link up, and a party to traffic.
    pub(crate) fn can_send(&self) -> bool {
        self.link.carrier && self.state == LinkState::Up && !self.backup
    }
}
