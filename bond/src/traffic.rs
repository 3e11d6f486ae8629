//! Frames: where those of the stack go, and what becomes of those received.

use holdfast_core::time::Instant;

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::hash::hash;
use crate::member::MemberId;
use crate::options::Mode;
use crate::output::{Egress, Ingress, NoEgress, NoIngress};
use crate::stamp::Stamp;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{IGMP, Ipv4};
use crate::wire::ndp::Neighbour;

impl<D: Defects> Bond<D> {
    /// A frame from the stack: says where it goes. The bytes may be changed on the way (the
    /// adaptive modes put the member's address in).
    pub fn send(&mut self, frame: &mut [u8], now: Instant) -> Egress {
        self.advance(now);
        if !self.up {
            return Egress::Drop(NoEgress::BondDown);
        }
        if frame.len() < ethernet::HEADER {
            return Egress::Drop(NoEgress::Runt);
        }
        if ethernet::destination(frame).is_multicast() {
            self.note_groups(frame);
        }
        let egress = self.route(frame);
        let stamp = Stamp::at(now);
        match egress {
            Egress::One(member) => {
                if let Some(member) = self.member_mut(member) {
                    member.last_tx = stamp;
                }
            }
            Egress::Every => {
                for member in &mut self.members {
                    if self.usable.contains(&member.id) {
                        member.last_tx = stamp;
                    }
                }
            }
            Egress::Drop(_) => {}
        }
        egress
    }

    fn route(&mut self, frame: &mut [u8]) -> Egress {
        match self.options.mode {
            Mode::ActiveBackup => to(self.active),
            Mode::RoundRobin => to(self.round_robin(frame)),
            Mode::Lacp if self.options.broadcast_neighbor && asks_neighbours(frame) => {
                if self.usable.is_empty() { to(None) } else { Egress::Every }
            }
            Mode::Broadcast if self.usable.is_empty() => to(None),
            Mode::Broadcast => Egress::Every,
            Mode::Tlb | Mode::Alb => to(self.route_adaptive(frame)),
            Mode::Xor | Mode::Lacp => to(self.hashed(frame)),
        }
    }

    /// The member this frame's flow goes to.
    pub(crate) fn hashed(&self, frame: &[u8]) -> Option<MemberId> {
        let count = u32::try_from(self.usable.len()).ok().filter(|count| *count > 0)?;
        let place = hash(self.options.xmit_hash_policy, frame) % count;
        Some(self.usable[place as usize])
    }

    /// The next member in turn. IGMP stays on one of them, so that switches which listen to it know
    /// where groups are.
    fn round_robin(&mut self, frame: &[u8]) -> Option<MemberId> {
        if is_igmp(frame) {
            return self.active.or_else(|| self.sender_from(0));
        }
        let count = u32::try_from(self.members.len()).ok().filter(|count| *count > 0)?;
        let turn = match self.options.packets_per_slave {
            0 => self.rng.bits() as u32,
            each => {
                self.rotation = self.rotation.wrapping_add(1);
                self.rotation / u32::from(each)
            }
        };
        self.sender_from((turn % count) as usize)
    }

    /// The first member from this place on that can send.
    fn sender_from(&self, place: usize) -> Option<MemberId> {
        let (before, after) = self.members.split_at(place.min(self.members.len()));
        after.iter().chain(before).find(|member| member.can_send()).map(|member| member.id)
    }

    /// A frame received on a member: says what becomes of it. The bytes may be changed on the way
    /// (a frame to a member's own address gets the bond's, which the stack knows).
    pub fn receive(&mut self, member: MemberId, frame: &mut [u8], now: Instant) -> Ingress {
        self.advance(now);
        if !self.up {
            return Ingress::Drop(NoIngress::BondDown);
        }
        if frame.len() < ethernet::HEADER {
            return Ingress::Drop(NoIngress::Runt);
        }
        let Some(index) = self.index(member) else {
            return Ingress::Drop(NoIngress::Unknown);
        };
        if self.options.probes()
            && let Ok(read) = Ethernet::parse(frame)
        {
            self.hear(index, &read);
        }
        if let Some(done) = self.lacp_received(index, frame) {
            return done;
        }
        if self.receives_balanced()
            && let Some(arp) = arp_in(frame)
        {
            self.note_arp(&arp);
        }
        let to = ethernet::destination(frame);
        let receiver = &self.members[index];
        if receiver.inactive && !self.defects.has(Defect::BackupsHandUp) {
            // Neighbours of balance-alb answer to members that are not the active one.
            let own = to == receiver.mac && receiver.link.carrier;
            let exempt = self.receives_balanced() && own;
            if !exempt {
                return Ingress::Drop(NoIngress::Inactive);
            }
        }
        if to != self.mac && (to == receiver.mac || self.is_lost_address(to)) {
            frame[..6].copy_from_slice(&self.mac.0);
        }
        Ingress::Deliver
    }
}

fn to(member: Option<MemberId>) -> Egress {
    member.map_or(Egress::Drop(NoEgress::NoMember), Egress::One)
}

fn is_igmp(frame: &[u8]) -> bool {
    let outer = Ethernet::parse(frame).ok().filter(|outer| outer.ethertype == ethernet::IPV4);
    outer
        .and_then(|outer| Ipv4::parse(outer.payload).ok())
        .is_some_and(|packet| packet.protocol == IGMP)
}

/// Whether a frame is ARP or neighbour discovery.
fn asks_neighbours(frame: &[u8]) -> bool {
    Ethernet::parse(frame).is_ok_and(|outer| match outer.ethertype {
        ethernet::ARP => true,
        ethernet::IPV6 => Neighbour::parse(outer.payload).is_ok(),
        _ => false,
    })
}

fn arp_in(frame: &[u8]) -> Option<Arp> {
    let outer = Ethernet::parse(frame).ok().filter(|outer| outer.ethertype == ethernet::ARP)?;
    Arp::parse(outer.payload).ok()
}
