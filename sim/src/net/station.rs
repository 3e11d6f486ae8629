//! Whoever has addresses: the host at the far end, and the stack above the bond.
//!
//! Both answer for their addresses, and both send numbered frames and remember which ones came.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use holdfast_bond::wire::arp::{Arp, Op};
use holdfast_bond::wire::ethernet::{self, Ethernet};
use holdfast_bond::wire::ndp::{Kind, Neighbour};
use holdfast_core::net::Mac;

/// The bytes before a frame's number.
const MARK: [u8; 4] = *b"hfst";

/// A numbered frame: its flow (255: to everybody) and its number in it.
pub type Number = (u8, u32);

/// The flow of frames to everybody.
pub const EVERYBODY: u8 = 255;

/// A station.
#[derive(Clone, Debug)]
pub struct Station {
    /// Its hardware address.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Where it thinks the other one is.
    pub peer: Mac,
    sent: BTreeMap<u8, u32>,
    /// What came, and how often.
    pub received: BTreeMap<Number, u32>,
    /// Flows of which a frame came after a later one.
    pub disordered: BTreeSet<u8>,
    latest: BTreeMap<u8, u32>,
}

impl Station {
    /// A station that has heard of nobody.
    pub fn new(mac: Mac, host: u8) -> Self {
        Self {
            mac,
            v4: Ipv4Addr::new(10, 0, 0, host),
            v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host.into()),
            peer: Mac::BROADCAST,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            disordered: BTreeSet::new(),
            latest: BTreeMap::new(),
        }
    }

    /// The next frame of a flow to the other station: a UDP packet with ports of the flow's.
    pub fn next(&mut self, flow: u8, to: Ipv4Addr) -> (Number, Vec<u8>) {
        let number = self.sent.entry(flow).or_default();
        *number += 1;
        let number = *number;
        let mut ip = vec![0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0];
        ip.extend(self.v4.octets());
        ip.extend(to.octets());
        ip.extend([0x20, flow, 0x30, flow.wrapping_mul(3), 0, 30, 0, 0]);
        let at = ip.len();
        ip.extend(MARK);
        ip.push(flow);
        ip.extend(number.to_be_bytes());
        // A sum over everything that matters stands for the checksums that stacks verify.
        let sum = ip[at..].iter().fold(0x5a_u8, |sum, byte| sum.rotate_left(1) ^ byte);
        ip.push(sum);
        ip.resize(50, 0);
        let mac = if flow == EVERYBODY { Mac::BROADCAST } else { self.peer };
        ((flow, number), ethernet::frame(mac, self.mac, None, ethernet::IPV4, &ip))
    }

    /// Takes a frame in; answers what must be answered.
    pub fn take(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let outer = Ethernet::parse(frame).ok()?;
        if outer.destination != self.mac && !outer.destination.is_multicast() {
            return None;
        }
        match outer.ethertype {
            ethernet::ARP => self.take_arp(&Arp::parse(outer.payload).ok()?, outer.vlan),
            ethernet::IPV6 => self.take_neighbour(
                &Neighbour::parse(outer.payload).ok()?,
                outer.source,
                outer.vlan,
            ),
            ethernet::IPV4 => {
                self.count(outer.payload);
                None
            }
            _ => None,
        }
    }

    fn take_arp(&mut self, arp: &Arp, vlan: Option<u16>) -> Option<Vec<u8>> {
        if !arp.sender.is_unspecified() && arp.sender != self.v4 && arp.sender_mac.is_station() {
            self.peer = arp.sender_mac;
        }
        if arp.op != Op::Request || arp.target != self.v4 {
            return None;
        }
        let reply = Arp {
            op: Op::Reply,
            sender_mac: self.mac,
            sender: self.v4,
            target_mac: arp.sender_mac,
            target: arp.sender,
        };
        Some(ethernet::frame(arp.sender_mac, self.mac, vlan, ethernet::ARP, &reply.bytes()))
    }

    fn take_neighbour(&self, message: &Neighbour, from: Mac, vlan: Option<u16>) -> Option<Vec<u8>> {
        if message.kind != Kind::Solicitation || message.target != self.v6 {
            return None;
        }
        let answer = Neighbour {
            kind: Kind::Advertisement { solicited: true, overrides: true },
            source: self.v6,
            destination: message.source,
            target: self.v6,
            mac: Some(self.mac),
        };
        Some(ethernet::frame(from, self.mac, vlan, ethernet::IPV6, &answer.packet()))
    }

    fn count(&mut self, packet: &[u8]) {
        let Some((flow, number)) = numbered(packet) else { return };
        *self.received.entry((flow, number)).or_default() += 1;
        let latest = self.latest.entry(flow).or_default();
        if number < *latest {
            self.disordered.insert(flow);
        }
        *latest = number.max(*latest);
    }
}

/// The number of a frame, if it has one.
pub fn number_of(frame: &[u8]) -> Option<Number> {
    let outer = Ethernet::parse(frame).ok()?;
    numbered(outer.payload)
}

fn numbered(packet: &[u8]) -> Option<Number> {
    let body = packet.get(28..38)?;
    let sum = body[..9].iter().fold(0x5a_u8, |sum, byte| sum.rotate_left(1) ^ byte);
    let marked = body[..4] == MARK && body[9] == sum;
    marked.then(|| (body[4], u32::from_be_bytes([body[5], body[6], body[7], body[8]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_sends_the_other_counts() {
        let (mut here, mut there) =
            (Station::new(Mac([2, 0, 0, 0, 0, 1]), 1), Station::new(Mac([2, 0, 0, 0, 0, 2]), 2));
        here.peer = there.mac;
        let frames: Vec<_> = (0..3).map(|_| here.next(7, there.v4)).collect();
        for at in [0, 2, 1, 1] {
            assert_eq!(there.take(&frames[at].1), None);
        }
        assert_eq!(there.received, BTreeMap::from([((7, 1), 1), ((7, 2), 2), ((7, 3), 1)]));
        assert_eq!(there.disordered, BTreeSet::from([7]));
        let mut broken = frames[0].1.clone();
        broken[45] ^= 1;
        there.take(&broken);
        assert_eq!(there.received.len(), 3);
    }

    #[test]
    fn a_station_answers_for_its_addresses() {
        let mut host = Station::new(Mac([2, 0, 0, 0, 0, 2]), 99);
        let asker = Mac([2, 0, 0, 0, 0, 1]);
        let question = Arp::request(asker, [10, 0, 0, 1].into(), host.v4).broadcast(Some(7));
        let answer = host.take(&question).expect("an answer");
        let read = Ethernet::parse(&answer).unwrap();
        assert_eq!((read.destination, read.vlan), (asker, Some(7)));
        assert_eq!(host.peer, asker);
        let question = Neighbour::solicit(asker, "fe80::1".parse().unwrap(), host.v6, None);
        assert!(host.take(&question).is_some());
        let stranger =
            Arp::request(asker, [10, 0, 0, 1].into(), [10, 0, 0, 7].into()).broadcast(None);
        assert_eq!(host.take(&stranger), None);
    }
}
