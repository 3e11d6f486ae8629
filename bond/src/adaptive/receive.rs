//! Receive balancing of balance-alb: each IPv4 neighbour is told the hardware address of one
//! member, and so answers there.
//!
//! An ARP reply of the stack leaves with the address of the member the neighbour is given to. An
//! ARP request, being broadcast, gives everybody the bond's address; those who had another one are
//! told again two seconds later. Whenever neighbours are dealt anew they are told by unasked ARP
//! replies, two at a time, after a member was lost four rounds of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::member::{Member, MemberId};
use crate::output::FrameKind;
use crate::wire::arp::{Arp, Op};
use crate::wire::ethernet;

use super::TICKS;
use super::transmit::xor;

/// Replies sent at a time.
const BURST: u32 = 2;
/// Rounds of them that follow the first after a member was lost.
const RETRIES: u32 = 3;
/// Looks between two rounds.
const DELAY: u32 = 2 * TICKS;

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client {
    /// Our address that it knows.
    ours: Ipv4Addr,
    /// The hardware address the stack has.
    our_mac: Mac,
    /// Its address.
    theirs: Ipv4Addr,
    /// Its hardware address; broadcast while it is not known.
    mac: Mac,
    /// The member it is given to.
    member: Option<MemberId>,
    vlan: Option<u16>,
    /// It must be told.
    update: bool,
}

/// All neighbours, by the sum of their address's bytes: a newer one takes an older one's place.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    table: BTreeMap<u8, Client>,
    /// The member that was given a neighbour last.
    last: Option<MemberId>,
    pub(super) rebalance: bool,
    /// Somebody must be told.
    update: bool,
    /// Looks until they are.
    delay: u32,
    /// Rounds to come.
    retries: u32,
}

impl<D: Defects> Bond<D> {
    /// An ARP packet of the stack. A reply leaves on the neighbour's member and with its address; a
    /// request on the active one.
    pub(super) fn send_arp(
        &mut self,
        frame: &mut [u8],
        vlan: Option<u16>,
        offset: usize,
    ) -> Option<MemberId> {
        let arp = Arp::parse(&frame[offset..]).ok()?;
        // What is bridged through us is not ours to change.
        self.members.iter().find(|member| member.mac == arp.sender_mac)?;
        match arp.op {
            Op::Reply => {
                let member = self.client_to(&arp, vlan)?;
                let mac = self.member(member)?.mac;
                frame[offset + 8..offset + 14].copy_from_slice(&mac.0);
                Some(member)
            }
            Op::Request => {
                self.client_to(&Arp { target_mac: Mac::BROADCAST, ..arp }, vlan);
                self.adaptive.clients.delay = DELAY;
                self.everybody_has_the_bonds_address(arp.sender);
                None
            }
            Op::Other(_) => None,
        }
    }

    /// The member a neighbour is given to.
    fn client_to(&mut self, arp: &Arp, vlan: Option<u16>) -> Option<MemberId> {
        let place = xor(&arp.target.octets());
        if let Some(client) = self.adaptive.clients.table.get_mut(&place) {
            if (client.ours, client.theirs) == (arp.sender, arp.target) {
                if !arp.target_mac.is_broadcast() {
                    client.mac = arp.target_mac;
                }
                client.our_mac = arp.sender_mac;
                if client.member.is_some() {
                    return client.member;
                }
            } else if client.member != self.active && self.active.is_some() {
                // Another neighbour takes its place: it goes to the active member.
                client.member = self.active;
                let client = *client;
                self.tell(&client);
            }
        }
        let member = self.next_receiver()?;
        let update = arp.target_mac.is_station();
        let client = Client {
            ours: arp.sender,
            our_mac: arp.sender_mac,
            theirs: arp.target,
            mac: arp.target_mac,
            member: Some(member),
            vlan,
            update,
        };
        self.adaptive.clients.update |= update;
        self.adaptive.clients.table.insert(place, client);
        Some(member)
    }

    /// The next member in turn: the fastest after the last one, or before it if that is faster.
    fn next_receiver(&mut self) -> Option<MemberId> {
        let last = self.adaptive.clients.last.and_then(|last| self.index(last));
        let split = last.map_or(self.members.len(), |last| last + 1);
        let fastest = |members: &[Member]| {
            let speed = |member: &Member| member.link.speed_mbps.unwrap_or(0);
            let usable = members.iter().filter(|member| member.can_send());
            let best =
                usable.reduce(|best, next| if speed(next) > speed(best) { next } else { best });
            best.map(|member| (member.id, speed(member)))
        };
        let (before, after) = self.members.split_at(split.min(self.members.len()));
        let chosen = match (fastest(before), fastest(after)) {
            (Some(before), Some(after)) if before.1 > after.1 => before,
            (_, Some(after)) => after,
            (before, None) => before?,
        };
        self.adaptive.clients.last = Some(chosen.0);
        Some(chosen.0)
    }

    /// A broadcast of ours has just taught everybody the bond's address: whoever had another one is
    /// told again.
    fn everybody_has_the_bonds_address(&mut self, ours: Ipv4Addr) {
        let active = self.active;
        let clients = &mut self.adaptive.clients;
        for client in clients.table.values_mut() {
            if client.ours == ours && client.member != active && client.mac.is_station() {
                client.update = true;
                clients.update = true;
            }
        }
    }

    /// An ARP packet came in.
    pub(crate) fn note_arp(&mut self, arp: &Arp) {
        let clients = &mut self.adaptive.clients;
        // Somebody else has one of our addresses now: nobody must be told otherwise by us.
        clients
            .table
            .retain(|_, client| client.ours != arp.sender || client.our_mac == arp.sender_mac);
        if arp.op == Op::Reply
            && let Some(client) = clients.table.get_mut(&xor(&arp.sender.octets()))
            && (client.ours, client.theirs) == (arp.target, arp.sender)
            && client.mac != arp.sender_mac
        {
            client.mac = arp.sender_mac;
            client.update = true;
            clients.update = true;
        }
    }

    /// A member's address changed: its neighbours are told.
    pub(super) fn update_clients_of(&mut self, member: MemberId) {
        let clients = &mut self.adaptive.clients;
        for client in clients.table.values_mut() {
            if client.member == Some(member) && client.mac.is_station() {
                client.update = true;
                clients.update = true;
                clients.retries = RETRIES;
            }
        }
    }

    /// A member is lost: its neighbours are given to others.
    pub(super) fn reassign_clients_of(&mut self, member: MemberId) {
        if self.adaptive.clients.last == Some(member) {
            self.adaptive.clients.last = None;
        }
        let own =
            self.adaptive.clients.table.iter().filter(|(_, client)| client.member == Some(member));
        for place in own.map(|(place, _)| *place).collect::<Vec<_>>() {
            let next = self.next_receiver();
            let clients = &mut self.adaptive.clients;
            if let Some(client) = clients.table.get_mut(&place) {
                client.member = next;
                if next.is_some() && client.mac.is_station() {
                    client.update = true;
                    clients.update = true;
                    clients.retries = RETRIES;
                }
            }
        }
    }

    /// One look.
    pub(super) fn look_at_clients(&mut self) {
        if std::mem::take(&mut self.adaptive.clients.rebalance) {
            self.deal_clients();
        }
        let clients = &mut self.adaptive.clients;
        // The kernel counts this only while somebody must be told, so that who must be told because
        // a member was lost waits for two more seconds.
        let waits = clients.delay > 0;
        clients.delay = clients.delay.saturating_sub(1);
        if waits || !clients.update {
            return;
        }
        let last_round = clients.retries == 0;
        let told: Vec<_> = clients.table.values().filter(|client| client.update).copied().collect();
        if last_round {
            clients.table.values_mut().for_each(|client| client.update = false);
            clients.update = false;
        } else {
            clients.retries -= 1;
        }
        clients.delay = DELAY;
        told.iter().for_each(|client| self.tell(client));
    }

    fn deal_clients(&mut self) {
        for place in self.adaptive.clients.table.keys().copied().collect::<Vec<_>>() {
            let next = self.next_receiver();
            let clients = &mut self.adaptive.clients;
            if let Some(client) = clients.table.get_mut(&place)
                && next.is_some()
                && client.member != next
            {
                client.member = next;
                client.update |= client.mac.is_station();
                clients.update |= client.update;
            }
        }
    }

    /// Tells a neighbour its member's address.
    fn tell(&mut self, client: &Client) {
        let Some(member) =
            client.member.and_then(|id| self.member(id)).filter(|_| client.mac.is_station())
        else {
            return;
        };
        let (id, mac) = (member.id, member.mac);
        let reply = Arp {
            op: Op::Reply,
            sender_mac: mac,
            sender: client.ours,
            target_mac: client.mac,
            target: client.theirs,
        };
        let frame = ethernet::frame(client.mac, mac, client.vlan, ethernet::ARP, &reply.bytes());
        for _ in 0..BURST {
            self.transmit(id, FrameKind::ArpUpdate, frame.clone());
        }
    }
}
