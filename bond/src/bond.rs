//! The bond itself: its members, its clockwork, and what it wants done.
//!
//! This file holds the state and the small verbs; what a mode, a monitor or a policy does with it
//! is in the file of that name.

use std::collections::{BTreeSet, VecDeque};

use holdfast_core::net::{Link, Mac};
use holdfast_core::rng::Rng;
use holdfast_core::time::{Duration, Instant};

use crate::adaptive::Adaptive;
use crate::address::LocalAddress;
use crate::defects::{Defects, Sound};
use crate::event::{ActiveReason, Event, LinkReason, What};
use crate::lacp::Lacp;
use crate::member::{LinkState, Member, MemberId};
use crate::notify::Notices;
use crate::options::{Conflict, Mode, Options};
use crate::output::{Action, FrameKind, Transmit};
use crate::stamp::Stamp;
use crate::timers::Timers;

/// A bond: plain state, fed with what happens, asked for what to do. See the crate's
/// documentation for how it is driven.
#[derive(Debug)]
pub struct Bond<D: Defects = Sound> {
    pub(crate) name: String,
    pub(crate) options: Options,
    pub(crate) defects: D,
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    /// Whether the bond is administratively up.
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) mac: Mac,
    /// Whether the address was chosen by the owner, and is not the first member's.
    pub(crate) mac_chosen: bool,
    pub(crate) mtu: u32,
    pub(crate) promiscuous: bool,
    /// Groups the stack listens to.
    pub(crate) groups: BTreeSet<Mac>,
    pub(crate) addresses: Vec<LocalAddress>,
    /// In order of joining, which is the order in which they are tried.
    pub(crate) members: Vec<Member>,
    pub(crate) next_id: u32,
    pub(crate) active: Option<MemberId>,
    /// The member that is being tried while none is active (the kernel's `current_arp_slave`).
    pub(crate) tried: Option<MemberId>,
    /// The primary is taken regardless of `primary_reselect`: it was just named, or just joined.
    pub(crate) force_primary: bool,
    /// Members frames may be spread over, in order.
    pub(crate) usable: Vec<MemberId>,
    pub(crate) rotation: u32,
    pub(crate) lacp: Lacp,
    pub(crate) adaptive: Adaptive,
    pub(crate) notices: Notices,
    pub(crate) timers: Timers,
    transmits: VecDeque<Transmit>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Bond {
    /// A bond without members, down. `mac` is its hardware address; without one it takes the first
    /// member's. `seed` decides what is drawn at random (`packets_per_slave` 0, addresses for
    /// `fail_over_mac` follow).
    pub fn new(
        name: &str,
        options: Options,
        mac: Option<Mac>,
        seed: u64,
        now: Instant,
    ) -> Result<Self, Conflict> {
        Self::with_defects(name, options, mac, seed, now, Sound)
    }
}

impl<D: Defects> Bond<D> {
    /// The same, with mistakes planted in it.
    pub fn with_defects(
        name: &str,
        options: Options,
        mac: Option<Mac>,
        seed: u64,
        now: Instant,
        defects: D,
    ) -> Result<Self, Conflict> {
        let options = options.checked()?;
        Ok(Self {
            name: name.to_owned(),
            options,
            defects,
            rng: Rng::new(seed),
            now,
            up: false,
            carrier: false,
            mac: mac.unwrap_or_default(),
            mac_chosen: mac.is_some(),
            mtu: 1500,
            promiscuous: false,
            groups: BTreeSet::new(),
            addresses: Vec::new(),
            members: Vec::new(),
            next_id: 0,
            active: None,
            tried: None,
            force_primary: false,
            usable: Vec::new(),
            rotation: 0,
            lacp: Lacp::default(),
            adaptive: Adaptive::default(),
            notices: Notices::default(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    // What is asked of it.

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The options in force.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Its hardware address; zero before the first member joined.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether it has carrier.
    pub const fn carrier(&self) -> bool {
        self.carrier
    }

    /// The active member, in modes that have one (and, without meaning, in round robin: the one
    /// that IGMP goes out on).
    pub const fn active(&self) -> Option<MemberId> {
        self.active
    }

    /// The members, in order of joining.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        self.members.iter().map(|member| member.id)
    }

    /// The member of this name.
    pub fn member_named(&self, name: &str) -> Option<MemberId> {
        self.members.iter().find(|member| member.name == name).map(|member| member.id)
    }

    /// A member's name.
    pub fn member_name(&self, member: MemberId) -> Option<&str> {
        self.member(member).map(|member| member.name.as_str())
    }

    /// Where frames answered with [`Egress::Every`](crate::Egress::Every) go.
    pub fn every(&self) -> &[MemberId] {
        &self.usable
    }

    /// The next frame of the bond's own making.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to be set on the machine.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // Small verbs of the other files.

    pub(crate) fn advance(&mut self, now: Instant) {
        assert!(now >= self.now, "time went from {} back to {now}", self.now);
        self.now = now;
    }

    pub(crate) fn emit(&mut self, what: What) {
        self.events.push_back(Event { at: self.now, what });
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Sends a frame of the bond's own; it counts as sent by the member.
    pub(crate) fn transmit(&mut self, member: MemberId, kind: FrameKind, frame: Vec<u8>) {
        let now = self.now;
        if let Some(sender) = self.member_mut(member) {
            sender.last_tx = Stamp::at(now);
            self.transmits.push_back(Transmit { member, frame, kind });
        }
    }

    pub(crate) fn index(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    pub(crate) fn member_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.options.arp_interval_ms.into())
    }

    /// Gives a member's link another state, and says so.
    pub(crate) fn set_state(&mut self, index: usize, to: LinkState, why: LinkReason) {
        let member = &mut self.members[index];
        let (id, from) = (member.id, member.state);
        member.state = to;
        if from != to {
            self.emit(What::Link { member: id, from, to, why });
        }
    }

    /// Takes a member out of traffic. In the adaptive modes it may still send.
    pub(crate) fn set_inactive(&mut self, index: usize) {
        let (adaptive, keep) = (self.options.mode.is_adaptive(), self.options.all_slaves_active);
        let member = &mut self.members[index];
        if !adaptive {
            member.backup = true;
        }
        if !keep {
            member.inactive = true;
        }
    }

    /// Makes a member a party to traffic.
    pub(crate) fn set_active_flags(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.backup = false;
        member.inactive = false;
    }

    // Inputs about the bond as a whole.

    /// Brings the bond up or down. Monitors run, frames pass and neighbours are told only while it
    /// is up.
    pub fn set_up(&mut self, up: bool, now: Instant) {
        self.advance(now);
        if up == self.up {
            return;
        }
        self.up = up;
        if up {
            self.open();
        } else {
            self.close();
        }
    }

    fn open(&mut self) {
        for index in 0..self.members.len() {
            if self.options.mode.has_active() && self.active != Some(self.members[index].id) {
                self.set_inactive(index);
            } else if self.options.mode != Mode::Lacp {
                self.set_active_flags(index);
            }
        }
        self.start_timers();
        self.sync_groups();
        self.update_usable();
    }

    fn close(&mut self) {
        self.timers = Timers::default();
        self.cease_announcing();
        self.sync_groups();
    }

    /// What the port says of its link. The MII monitor looks at the last word at its own times: see
    /// [`links_due`](Self::links_due).
    pub fn set_link(&mut self, member: MemberId, link: Link, now: Instant) {
        self.advance(now);
        if let Some(index) = self.index(member) {
            let before = std::mem::replace(&mut self.members[index].link, link);
            let changed = before != link;
            if before.carrier && !link.carrier && self.members[index].penalty.out {
                // It is not in use, so no monitor counts this; it still is not quiet.
                self.penalize(index);
            }
            if changed {
                self.update_usable();
            }
        }
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) at `now` would look at the links: then ask
    /// the ports for them first, and say what they answered by [`set_link`](Self::set_link).
    pub fn links_due(&self, now: Instant) -> bool {
        [self.timers.mii, self.timers.probe].iter().flatten().any(|at| *at <= now)
    }

    /// The bond's own addresses, of itself and of VLANs above it: announced after a failover, used
    /// as the source of probes and to know answers to them.
    pub fn set_addresses(&mut self, addresses: Vec<LocalAddress>, now: Instant) {
        self.advance(now);
        self.addresses = addresses;
    }

    /// The bond's interface was given another hardware address by its owner.
    pub fn set_mac(&mut self, mac: Mac, now: Instant) {
        self.advance(now);
        self.mac_chosen = true;
        if mac != self.mac {
            self.mac = mac;
            self.emit(What::BondMac { mac });
            self.follow_bond_mac();
        }
    }

    /// The bond's interface was given another MTU by its owner: its members get it, too.
    pub fn set_mtu(&mut self, mtu: u32, now: Instant) {
        self.advance(now);
        if mtu != self.mtu {
            self.mtu = mtu;
            for index in 0..self.members.len() {
                let member = self.members[index].id;
                self.act(Action::SetMemberMtu { member, mtu });
            }
        }
    }

    /// The active member changed: who may send, who hands up, and what else follows.
    pub(crate) fn select(&mut self, why: ActiveReason) {
        let best = self.best();
        if best != self.active {
            self.change_active(best, why);
            self.update_carrier();
        }
    }
}
