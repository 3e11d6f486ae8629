//! A switch with a host behind it that answers ARP and neighbour solicitations.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_bond::wire::arp::{Arp, Op};
use holdfast_bond::wire::ethernet::{self, Ethernet};
use holdfast_bond::wire::ndp::{Kind, Neighbour};
use holdfast_bond::{FrameKind, MemberId, Transmit};
use holdfast_core::net::Mac;
use holdfast_core::time::{Duration, Instant};

use super::{Rig, at, ms};

/// The host's address.
pub(crate) const HOST: Mac = Mac([2, 0, 0, 0, 0xff, 1]);

/// Which of its ports the switch serves, from when until when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lan {
    ports: Rc<RefCell<Vec<Outages>>>,
}

/// From when on nothing comes in from a port, and when that ends.
type Outages = Vec<(Instant, Instant)>;

impl Lan {
    /// Puts a rig's members on a switch.
    pub(crate) fn attach(rig: &mut Rig) -> Self {
        let lan = Self { ports: Rc::new(RefCell::new(vec![Vec::new(); rig.members.len()])) };
        let (there, members) = (lan.clone(), rig.members.clone());
        rig.world(move |now, sent| there.carry(now, sent, &members));
        lan
    }

    /// Port number `member` is silent, with carrier, from `from` until `to`.
    pub(crate) fn silence(&self, member: usize, from: Instant, to: Instant) {
        self.ports.borrow_mut()[member].push((from, to));
    }

    /// Port number `member` is silent from `from` on.
    pub(crate) fn cut(&self, member: usize, from: Instant) {
        self.silence(member, from, at(1_000_000_000));
    }

    fn works(&self, member: usize, now: Instant) -> bool {
        !self.ports.borrow()[member].iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// What comes of a probe: the host's answer to the port it came from, and the question on all
    /// other ports.
    fn carry(
        &self,
        now: Instant,
        sent: &Transmit,
        members: &[MemberId],
    ) -> Vec<(Duration, MemberId, Vec<u8>)> {
        let from = members.iter().position(|member| *member == sent.member).expect("a member");
        if sent.kind != FrameKind::Probe || !self.works(from, now) {
            return Vec::new();
        }
        let mut coming = Vec::new();
        let later = ms(1);
        for (to, member) in members.iter().enumerate() {
            if to != from && self.works(to, now + later) {
                coming.push((later, *member, sent.frame.clone()));
            }
        }
        if let Some(answer) = answer(&sent.frame).filter(|_| self.works(from, now + later)) {
            coming.push((later, sent.member, answer));
        }
        coming
    }
}

/// What the host says to a question, whoever is asked for.
pub(crate) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let asked = Ethernet::parse(frame).ok()?;
    let (to, vlan) = (asked.source, asked.vlan);
    if asked.ethertype == ethernet::ARP {
        let arp = Arp::parse(asked.payload).ok().filter(|arp| arp.op == Op::Request)?;
        let reply = Arp {
            op: Op::Reply,
            sender_mac: HOST,
            sender: arp.target,
            target_mac: arp.sender_mac,
            target: arp.sender,
        };
        return Some(ethernet::frame(to, HOST, vlan, ethernet::ARP, &reply.bytes()));
    }
    let question = Neighbour::parse(asked.payload).ok()?;
    let reply = Neighbour {
        kind: Kind::Advertisement { solicited: true, overrides: true },
        source: question.target,
        destination: question.source,
        target: question.target,
        mac: Some(HOST),
    };
    Some(ethernet::frame(to, HOST, vlan, ethernet::IPV6, &reply.packet()))
}
