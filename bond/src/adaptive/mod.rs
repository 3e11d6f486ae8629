//! The two adaptive modes: transmit balanced by load ([`transmit`]), and in balance-alb receive too
//! ([`receive`]).
//!
//! Members go by different hardware addresses, so that a switch need not know of the bond. The
//! active member goes by the bond's. Frames that leave elsewhere carry that member's address, and
//! what is received for the bond's address comes in on the active member; balance-alb gives its
//! IPv4 neighbours the addresses of other members, so that they answer there. When another member
//! becomes active the two swap addresses, and learning frames tell the switch.
//!
//! In balance-tlb the ports themselves all listen to the bond's address and only frames carry
//! another one; in balance-alb the ports have them.

mod receive;
mod transmit;

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::member::{LinkState, MemberId};
use crate::options::Mode;
use crate::output::{Action, FrameKind};
use crate::wire::ethernet;

use receive::Clients;
use transmit::Flows;

/// Between two looks.
pub(crate) const TICK_MS: u64 = 100;
/// Looks a second.
const TICKS: u32 = 10;
/// Looks for which the active member hears everything, while a lost member's address is taught to
/// the switch: 10 s.
const PROMISCUOUS: u32 = 10 * TICKS;

/// What the adaptive modes remember.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adaptive {
    flows: Flows,
    clients: Clients,
    /// Looks since learning frames were sent.
    learned: u32,
    /// The member that hears everything, and for how many looks it has.
    promiscuous: Option<(MemberId, u32)>,
}

impl<D: Defects> Bond<D> {
    pub(crate) fn receives_balanced(&self) -> bool {
        self.options.mode == Mode::Alb
    }

    /// Whether there is anything to look at every 100 ms.
    pub(crate) fn needs_adaptive_looks(&self) -> bool {
        match self.options.mode {
            Mode::Alb => true,
            Mode::Tlb => self.options.tlb_dynamic_lb,
            _ => false,
        }
    }

    /// One look.
    pub(crate) fn look_at_load(&mut self) {
        self.adaptive.learned += 1;
        if self.adaptive.learned >= self.options.lp_interval_s.saturating_mul(TICKS) {
            self.adaptive.learned = 0;
            for index in 0..self.members.len() {
                self.teach(index, self.members[index].source);
            }
        }
        self.rebalance_flows_when_due();
        if self.receives_balanced() {
            self.end_promiscuity_when_due();
            self.look_at_clients();
        }
    }

    /// Tells the switch, through this member, where an address is: in the untagged network and in
    /// every VLAN the bond has an address in.
    fn teach(&mut self, index: usize, mac: Mac) {
        if !self.members[index].link.carrier {
            return;
        }
        let member = self.members[index].id;
        let mut vlans: Vec<_> = self.addresses.iter().filter_map(|address| address.vlan).collect();
        vlans.sort_unstable();
        vlans.dedup();
        for vlan in std::iter::once(None).chain(vlans.into_iter().map(Some)) {
            let frame = ethernet::frame(mac, mac, vlan, ethernet::LOOPBACK, &[0; 46]);
            self.transmit(member, FrameKind::Learning, frame);
        }
    }

    /// A member joins: it goes by its own address, unless that is taken.
    pub(crate) fn place_adaptive(&mut self, index: usize) {
        let mut own = self.members[index].permanent;
        let taken = |mac: Mac| {
            self.members.iter().enumerate().any(|(at, member)| at != index && member.source == mac)
        };
        let first = self.members.len() == 1;
        if first {
            own = self.mac;
        } else if own == self.mac || taken(own) {
            let mut spare = self.members.iter().map(|member| member.permanent);
            let spare = spare.find(|mac| *mac != self.mac && !taken(*mac));
            own = spare.unwrap_or_else(|| self.random_mac());
        }
        self.members[index].source = own;
        let listens = if self.receives_balanced() { own } else { self.mac };
        self.give_member_mac(index, listens);
        self.rebalance_soon();
    }

    fn set_source(&mut self, index: usize, mac: Mac) {
        self.members[index].source = mac;
        if self.receives_balanced() {
            self.give_member_mac(index, mac);
        }
    }

    /// The bond's address was changed by its owner: whoever went by the old one goes by the new.
    pub(crate) fn adaptive_mac_changed(&mut self) {
        let mac = self.mac;
        if let Some(index) = self.active.and_then(|active| self.index(active)) {
            self.set_source(index, mac);
        }
        if !self.receives_balanced() {
            (0..self.members.len()).for_each(|index| self.give_member_mac(index, mac));
        }
    }

    /// A member left, by whose own address another one went: that one gets what the other had.
    pub(crate) fn reclaim_address(&mut self, permanent: Mac, source: Mac) {
        if permanent == source || permanent == self.mac {
            return;
        }
        if let Some(index) = self.members.iter().position(|member| member.source == permanent) {
            self.set_source(index, source);
            self.teach(index, source);
        }
    }

    /// Another member is active: it goes by the bond's address, and the one that did by its.
    pub(crate) fn adaptive_active_changed(&mut self, old: Option<MemberId>, new: Option<MemberId>) {
        self.end_promiscuity();
        let Some(new) = new.and_then(|new| self.index(new)) else { return };
        let mac = self.mac;
        let holder =
            |bond: &Self| (0..bond.members.len()).find(|&at| bond.members[at].source == mac);
        let old =
            old.and_then(|old| self.index(old)).or_else(|| holder(self)).filter(|old| *old != new);
        self.forget_flows_of(self.members[new].id, true);
        let Some(old) = old else {
            self.set_source(new, mac);
            self.teach(new, mac);
            return;
        };
        self.forget_flows_of(self.members[old].id, true);
        let (olds, news) = (self.members[old].source, self.members[new].source);
        self.set_source(old, news);
        self.set_source(new, olds);
        for index in [old, new] {
            if self.members[index].can_send() {
                self.teach(index, self.members[index].source);
                self.update_clients_of(self.members[index].id);
            }
        }
        if self.members[old].can_send() != self.members[new].can_send() {
            let lost = if self.members[old].can_send() { new } else { old };
            self.teach_lost_address(self.members[lost].source);
        }
    }

    /// A member's link is in use again, or given up.
    pub(crate) fn adaptive_link_changed(&mut self, index: usize) {
        let member = self.members[index].id;
        if self.members[index].state == LinkState::Up {
            self.rebalance_soon();
            return;
        }
        self.forget_flows_of(member, false);
        self.reassign_clients_of(member);
        if self.active != Some(member) {
            self.teach_lost_address(self.members[index].source);
        }
    }

    /// Frames to the address of a member that is gone come in on the active one for a while.
    fn teach_lost_address(&mut self, mac: Mac) {
        if !self.receives_balanced() {
            return;
        }
        let Some(index) = self.active.and_then(|active| self.index(active)) else { return };
        let member = self.members[index].id;
        if self.adaptive.promiscuous.is_none() && !self.promiscuous {
            self.act(Action::SetPromiscuous { member, on: true });
        }
        self.adaptive.promiscuous = Some((member, 0));
        self.teach(index, mac);
    }

    /// Whether frames to this address are sent by neighbours that have not yet heard that its member
    /// is lost.
    pub(crate) fn is_lost_address(&self, to: Mac) -> bool {
        let lost = |member: &crate::member::Member| member.mac == to && !member.link.carrier;
        self.receives_balanced() && self.members.iter().any(lost)
    }

    fn end_promiscuity_when_due(&mut self) {
        if let Some((_, looks)) = &mut self.adaptive.promiscuous {
            *looks += 1;
            if *looks >= PROMISCUOUS {
                self.end_promiscuity();
            }
        }
    }

    fn end_promiscuity(&mut self) {
        if let Some((member, _)) = self.adaptive.promiscuous.take()
            && !self.promiscuous
        {
            self.act(Action::SetPromiscuous { member, on: false });
        }
    }

    /// A member is gone for good.
    pub(crate) fn forget_adaptive(&mut self, member: MemberId) {
        self.forget_flows_of(member, false);
        self.reassign_clients_of(member);
        if self.adaptive.promiscuous.is_some_and(|(promiscuous, _)| promiscuous == member) {
            self.adaptive.promiscuous = None;
        }
    }
}
