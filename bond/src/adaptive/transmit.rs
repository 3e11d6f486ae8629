//! Transmit balancing: 256 flows, each on the member with the most room when its first frame came.
//!
//! Every 10 s all flows are dealt anew, the load each had then being what it is expected to have.
//! Room is speed less load; what is not balanced (broadcast, ARP, …) is load of the active member.

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::hash::hash;
use crate::member::{Member, MemberId};
use crate::options::Mode;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{IGMP, Ipv4, Ipv6};

/// Flows told apart.
const FLOWS: usize = 256;
/// Seconds between two deals.
const REBALANCE_S: u64 = 10;
/// Looks between two deals.
const REBALANCE_TICKS: u32 = REBALANCE_S as u32 * super::TICKS;
/// Where IPv6 frames to all nodes go.
const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// One flow.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    member: Option<MemberId>,
    /// Sent since the last deal.
    bytes: u64,
    /// Bytes a second expected of it.
    history: u64,
}

/// All flows.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    table: Vec<Flow>,
    /// Bytes since the last deal that were not balanced.
    unbalanced: u64,
    /// Bytes a second of it, as of the last deal.
    unbalanced_load: u64,
    /// Looks since the last deal.
    looks: u32,
}

impl Default for Flows {
    fn default() -> Self {
        Self { table: vec![Flow::default(); FLOWS], unbalanced: 0, unbalanced_load: 0, looks: 0 }
    }
}

/// The bytes of an address, added without carry.
pub(super) fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

impl<D: Defects> Bond<D> {
    /// Where a frame of the stack goes; gives it the member's address if that is not the active
    /// one.
    pub(crate) fn route_adaptive(&mut self, frame: &mut [u8]) -> Option<MemberId> {
        let chosen = match self.options.mode {
            Mode::Alb => self.choose_alb(frame),
            _ => self.choose_tlb(frame),
        };
        if chosen.is_none() {
            self.adaptive.flows.unbalanced += frame.len() as u64;
        }
        let member = self.member(chosen.or(self.active)?)?;
        if !member.can_send() {
            let id = member.id;
            self.forget_flows_of(id, false);
            return None;
        }
        let (id, source) = (member.id, member.source);
        if self.active != Some(id) {
            frame[6..12].copy_from_slice(&source.0);
        }
        Some(id)
    }

    fn choose_tlb(&mut self, frame: &[u8]) -> Option<MemberId> {
        let outer = Ethernet::parse(frame).ok()?;
        let ip = matches!(outer.ethertype, ethernet::IPV4 | ethernet::IPV6);
        if outer.destination.is_multicast() || !ip {
            return None;
        }
        if !self.options.tlb_dynamic_lb {
            return self.hashed(frame);
        }
        let flow = hash(self.options.xmit_hash_policy, frame) as usize % FLOWS;
        self.flow_to(flow, frame.len())
    }

    fn choose_alb(&mut self, frame: &mut [u8]) -> Option<MemberId> {
        let outer = Ethernet::parse(frame).ok()?;
        if outer.ethertype == ethernet::ARP {
            let (vlan, offset) = (outer.vlan, outer.offset);
            return self.send_arp(frame, vlan, offset);
        }
        let place = balanced_by(&outer)?;
        if self.options.tlb_dynamic_lb {
            return self.flow_to(place.into(), frame.len());
        }
        self.hashed(frame)
    }

    fn flow_to(&mut self, flow: usize, bytes: usize) -> Option<MemberId> {
        if self.adaptive.flows.table[flow].member.is_none() {
            self.adaptive.flows.table[flow].member = self.roomiest();
        }
        let flow = &mut self.adaptive.flows.table[flow];
        let member = flow.member?;
        flow.bytes += bytes as u64;
        Some(member)
    }

    /// The member with the most room, the first of equals.
    fn roomiest(&self) -> Option<MemberId> {
        let room = |member: &Member| {
            let speed = i64::from(member.link.speed_mbps.unwrap_or(0)) << 20;
            speed - ((self.load_of(member.id) as i64) << 3)
        };
        let can_send = self.members.iter().filter(|member| member.can_send());
        let best = can_send.reduce(|best, next| if room(next) > room(best) { next } else { best });
        best.map(|member| member.id)
    }

    fn load_of(&self, member: MemberId) -> u64 {
        let flows = &self.adaptive.flows;
        let own = flows.table.iter().filter(|flow| flow.member == Some(member));
        let rest = if self.active == Some(member) { flows.unbalanced_load } else { 0 };
        own.map(|flow| flow.history).sum::<u64>() + rest
    }

    /// A member's flows are dealt anew; what they sent is remembered, or not.
    pub(super) fn forget_flows_of(&mut self, member: MemberId, remember: bool) {
        for flow in &mut self.adaptive.flows.table {
            if flow.member == Some(member) {
                flow.member = None;
                if remember {
                    flow.history = 1 + flow.bytes / REBALANCE_S;
                    flow.bytes = 0;
                }
            }
        }
    }

    /// The next look deals all flows and clients anew.
    pub(super) fn rebalance_soon(&mut self) {
        self.adaptive.flows.looks = REBALANCE_TICKS;
        self.adaptive.clients.rebalance = true;
    }

    pub(super) fn rebalance_flows_when_due(&mut self) {
        let flows = &mut self.adaptive.flows;
        flows.looks += 1;
        if flows.looks < REBALANCE_TICKS {
            return;
        }
        flows.looks = 0;
        flows.unbalanced_load = flows.unbalanced / REBALANCE_S;
        flows.unbalanced = 0;
        let members: Vec<_> = self.members().collect();
        members.into_iter().for_each(|member| self.forget_flows_of(member, true));
    }
}

/// What a frame is balanced by in balance-alb: its destination; `None` if it is for everybody or
/// must not be seen with a strange address.
fn balanced_by(outer: &Ethernet<'_>) -> Option<u8> {
    if outer.destination.is_broadcast() {
        return None;
    }
    match outer.ethertype {
        ethernet::IPV4 => {
            let packet = Ipv4::parse(outer.payload).ok()?;
            let everybody = packet.destination.is_broadcast() || packet.protocol == IGMP;
            (!everybody).then(|| xor(&packet.destination.octets()))
        }
        ethernet::IPV6 => {
            let packet = Ipv6::parse(outer.payload).ok()?;
            // Duplicate address detection must not be answered by ourselves.
            let everybody = outer.destination == ALL_NODES || packet.source.is_unspecified();
            (!everybody).then(|| xor(&packet.destination.octets()))
        }
        _ => None,
    }
}
