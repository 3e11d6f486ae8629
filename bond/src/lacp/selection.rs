//! Selection (IEEE 802.1AX, 6.4.14): which aggregator a port belongs to, and which aggregator is
//! the active one.
//!
//! Every member brings an aggregator, which any port may use. A port joins the aggregator whose
//! partner and keys are its own, or takes an empty one. One aggregator is active; `ad_select` says
//! which, and when another one takes over.

use std::cmp::Ordering;

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::event::What;
use crate::member::MemberId;
use crate::options::AdSelect;

/// A group of ports that act as one link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aggregator {
    /// Its number, from 1.
    pub(crate) id: u16,
    /// Its ports, the latest first.
    pub(crate) ports: Vec<MemberId>,
    pub(crate) active: bool,
    /// Its port cannot share a link with others (half duplex).
    pub(crate) individual: bool,
    pub(crate) actor_key: u16,
    pub(crate) partner_system: Mac,
    pub(crate) partner_priority: u16,
    pub(crate) partner_key: u16,
}

impl Aggregator {
    pub(crate) fn has_partner(&self) -> bool {
        self.partner_system != Mac::ZERO
    }

    /// Nothing of it is left but its number.
    fn clear(&mut self) {
        *self = Self { id: self.id, ..Self::default() };
    }
}

/// What aggregators are compared by.
struct Merit {
    grouped: bool,
    partner: bool,
    priority: u32,
    ports: usize,
    bandwidth: u64,
}

impl<D: Defects> Bond<D> {
    /// A port that is not selected finds its aggregator.
    pub(crate) fn select_aggregator(&mut self, index: usize) {
        if self.members[index].port.selected {
            return;
        }
        self.leave_aggregator(index);
        let port = &self.members[index].port;
        let suits = |aggregator: &Aggregator| {
            !aggregator.ports.is_empty()
                && aggregator.has_partner()
                && !aggregator.individual
                && aggregator.actor_key == port.actor.key
                && aggregator.partner_system == port.partner.system
                && aggregator.partner_priority == port.partner.system_priority
                && aggregator.partner_key == port.partner.key
        };
        let known = self.members.iter().position(|member| suits(&member.aggregator));
        let free = || self.members.iter().position(|member| member.aggregator.ports.is_empty());
        let Some(place) = known.or_else(free) else { return };
        let (id, host) = (self.members[index].id, self.members[place].id);
        let (actor, partner) = (port.actor, port.partner);
        let aggregator = &mut self.members[place].aggregator;
        if known.is_none() {
            aggregator.individual = actor.key & 1 == 0;
            aggregator.actor_key = actor.key;
            aggregator.partner_system = partner.system;
            aggregator.partner_priority = partner.system_priority;
            aggregator.partner_key = partner.key;
        }
        aggregator.ports.insert(0, id);
        let port = &mut self.members[index].port;
        port.aggregator = Some(host);
        port.selected = true;
        self.select_active_aggregator();
        let active = self.member(host).is_some_and(|member| member.aggregator.active);
        if !active {
            self.members[index].port.actor.state &= !crate::wire::lacpdu::state::SYNCHRONIZATION;
        }
        self.lacp.changed = true;
    }

    /// Takes a port out of the aggregator it is in.
    pub(crate) fn leave_aggregator(&mut self, index: usize) {
        let id = self.members[index].id;
        let Some(host) = self.members[index].port.aggregator.take() else { return };
        if let Some(host) = self.member_mut(host) {
            host.aggregator.ports.retain(|port| *port != id);
            if host.aggregator.ports.is_empty() {
                host.aggregator.clear();
            }
        }
    }

    /// Ports of an aggregator that have a link.
    pub(crate) fn live_ports(&self, aggregator: &Aggregator) -> usize {
        let live = |id: &&MemberId| self.member(**id).is_some_and(|member| member.port.enabled);
        aggregator.ports.iter().filter(live).count()
    }

    fn has_carrier(&self, aggregator: &Aggregator) -> bool {
        aggregator.ports.iter().any(|id| self.member(*id).is_some_and(|member| member.link.carrier))
    }

    fn merit(&self, aggregator: &Aggregator) -> Merit {
        let ports = self.live_ports(aggregator);
        let enabled = aggregator
            .ports
            .iter()
            .filter_map(|id| self.member(*id))
            .filter(|member| member.port.enabled);
        let first = aggregator.ports.first().and_then(|id| self.member(*id));
        let speed = first.map_or(0, |member| super::speed_mbps(member.speed_code()));
        Merit {
            grouped: !aggregator.individual,
            partner: aggregator.has_partner(),
            priority: enabled.map(|member| u32::from(member.port.actor.port_priority)).sum(),
            ports,
            bandwidth: ports as u64 * u64::from(speed),
        }
    }

    /// Whether `one` is better than `best`; equals leave things as they are.
    fn better_aggregator(&self, one: &Aggregator, best: &Aggregator) -> bool {
        let (one, best) = (self.merit(one), self.merit(best));
        let mut order = one.grouped.cmp(&best.grouped).then(one.partner.cmp(&best.partner));
        if self.options.ad_select == AdSelect::PortPriority {
            order = order.then(one.priority.cmp(&best.priority));
        }
        if matches!(self.options.ad_select, AdSelect::PortPriority | AdSelect::Count) {
            order = order.then(one.ports.cmp(&best.ports));
        }
        order.then(one.bandwidth.cmp(&best.bandwidth)) == Ordering::Greater
    }

    /// Chooses the active aggregator.
    pub(crate) fn select_active_aggregator(&mut self) {
        let active = self.members.iter().position(|member| member.aggregator.active);
        let mut best = active.filter(|&at| self.has_carrier(&self.members[at].aggregator));
        for at in 0..self.members.len() {
            let aggregator = &self.members[at].aggregator;
            if self.live_ports(aggregator) > 0
                && self.has_carrier(aggregator)
                && best.is_none_or(|best| {
                    self.better_aggregator(aggregator, &self.members[best].aggregator)
                })
            {
                best = Some(at);
            }
        }
        if let (Some(now), Some(chosen)) = (active, best)
            && self.options.ad_select == AdSelect::Stable
            && self.may_stay(&self.members[now].aggregator, &self.members[chosen].aggregator)
        {
            best = active;
        }
        // Without any candidate nobody is active.
        self.members.iter_mut().for_each(|member| member.aggregator.active = false);
        if let Some(at) = best {
            self.members[at].aggregator.active = true;
        }
        if best != active {
            self.active_aggregator_changed(active, best);
        }
        self.use_without_partner();
        self.update_lacp_carrier();
    }

    /// Stable: the active aggregator stays while it has a port with a link, and either a partner or
    /// no rival with one. One without a key gives way to one with a key.
    fn may_stay(&self, now: &Aggregator, chosen: &Aggregator) -> bool {
        let partner = now.has_partner() || !chosen.has_partner();
        let keyless = now.actor_key == 0 && chosen.actor_key != 0;
        self.live_ports(now) > 0 && partner && !keyless
    }

    fn active_aggregator_changed(&mut self, from: Option<usize>, to: Option<usize>) {
        if let Some(from) = from {
            for id in self.members[from].aggregator.ports.clone() {
                if let Some(index) = self.index(id) {
                    self.set_inactive(index);
                }
            }
        }
        let id = |at: usize| self.members[at].aggregator.id;
        let (from, to) = (from.map(id), to.map(id));
        self.emit(What::Aggregator { from, to });
        self.lacp.changed = true;
    }

    /// Ports of an active aggregator without partner carry traffic, unless that is forbidden:
    /// whoever is at the other end does not know of LACP.
    pub(crate) fn use_without_partner(&mut self) {
        let Some(active) = self.members.iter().find(|member| member.aggregator.active) else {
            return;
        };
        if active.aggregator.has_partner() {
            return;
        }
        for id in active.aggregator.ports.clone() {
            let Some(index) = self.index(id) else { continue };
            if self.partnerless_allowed(index) {
                self.enable_port(index);
            } else {
                self.set_inactive(index);
            }
            self.lacp.changed = true;
        }
    }

    /// Whether a port may be used without a partner: unless `lacp_strict` forbids it, and then
    /// after `lacp_fallback` of silence.
    pub(crate) fn partnerless_allowed(&self, index: usize) -> bool {
        let patience = self.options.lacp_fallback_ms;
        let alone = u64::from(self.members[index].port.alone) * super::TICK_MS;
        !self.options.lacp_strict || (patience > 0 && alone >= u64::from(patience))
    }

    /// Carrier in 802.3ad: enough ports of the active aggregator have a link and, if `lacp_strict`
    /// asks for it, carry traffic to a partner that is there.
    pub(crate) fn update_lacp_carrier(&mut self) {
        let active = self.members.iter().find(|member| member.aggregator.active);
        let needed = self.options.min_links.max(1) as usize;
        let counts = |id: &&MemberId| {
            self.index(**id).is_some_and(|index| {
                let port = &self.members[index].port;
                let traffic = matches!(
                    port.mux,
                    super::MuxState::CollectingDistributing | super::MuxState::Distributing
                );
                let partner = traffic && port.rx == super::RxState::Current;
                port.enabled && (self.partnerless_allowed(index) || partner)
            })
        };
        let ports =
            active.map_or(0, |member| member.aggregator.ports.iter().filter(counts).count());
        self.set_carrier(ports >= needed);
    }

    /// A member leaves: its aggregator must not be lost to other ports.
    pub(crate) fn hand_over_aggregator(&mut self, index: usize) {
        self.leave_aggregator(index);
        let leaving = self.members[index].id;
        if self.members[index].aggregator.ports.is_empty() {
            return;
        }
        let free = |at: &usize| *at != index && self.members[*at].aggregator.ports.is_empty();
        let heir = (0..self.members.len()).find(free);
        // There is one: of n aggregators n-1 ports at most are in use now, one of them in this one.
        let Some(heir) = heir else { return };
        let id = self.members[heir].aggregator.id;
        let old = std::mem::take(&mut self.members[index].aggregator);
        self.members[heir].aggregator = Aggregator { id, ..old };
        let heir = self.members[heir].id;
        for member in &mut self.members {
            if member.port.aggregator == Some(leaving) {
                member.port.aggregator = Some(heir);
            }
        }
    }
}
