//! Two bonds, port n of one cabled to port n of the other.

use std::collections::BTreeMap;

use holdfast_bond::wire::ethernet::Ethernet;
use holdfast_bond::wire::lacpdu::Lacpdu;
use holdfast_bond::{Bond, Event, FrameKind, LinkState, MemberId, NewMember, PortStatus, Transmit};
use holdfast_core::net::{Link, Mac};
use holdfast_core::time::Instant;

use super::{at, ms, options};

/// One end.
pub(crate) struct End {
    pub(crate) bond: Bond,
    pub(crate) members: Vec<MemberId>,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<(Instant, usize, Transmit)>,
}

/// Both ends and the cables. A cable can be pulled, and each direction of it can be silenced.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    pub(crate) plugged: Vec<bool>,
    /// By sending end, then by cable.
    pub(crate) silent: [Vec<bool>; 2],
    coming: BTreeMap<(Instant, usize), (usize, usize, Vec<u8>)>,
    count: usize,
}

/// The hardware address of a port.
pub(crate) fn port_mac(end: usize, port: usize) -> Mac {
    Mac([2, 0, 0, 0, 10 + end as u8, port as u8])
}

impl Pair {
    /// Both ends, up, with this many cables.
    pub(crate) fn new(left: &str, right: &str, cables: usize) -> Self {
        let end = |number: usize, text: &str| {
            let mut bond = Bond::new("bond0", options(text), None, 1, at(0)).expect("a bond");
            let members = (0..cables).map(|port| {
                let link = Link::up(1000);
                let new = NewMember::new(&format!("eth{port}"), port_mac(number, port), link);
                bond.add_member(new, at(0)).expect("a member")
            });
            let members = members.collect();
            bond.set_up(true, at(0));
            End { bond, members, events: Vec::new(), sent: Vec::new() }
        };
        Self {
            now: at(0),
            ends: [end(0, left), end(1, right)],
            plugged: vec![true; cables],
            silent: [vec![false; cables], vec![false; cables]],
            coming: BTreeMap::new(),
            count: 0,
        }
    }

    /// Lets time pass until `end`.
    pub(crate) fn run(&mut self, end: Instant) {
        loop {
            let next = [
                self.coming.keys().next().map(|(when, _)| *when),
                self.ends[0].bond.poll_at(),
                self.ends[1].bond.poll_at(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (to, cable, mut frame) = entry.remove();
            if self.plugged[cable] {
                let member = self.ends[to].members[cable];
                self.ends[to].bond.receive(member, &mut frame, self.now);
            }
        }
        for number in 0..2 {
            let end = &mut self.ends[number];
            if end.bond.poll_at().is_some_and(|due| due <= self.now) {
                if end.bond.links_due(self.now) {
                    for (member, plugged) in end.members.iter().zip(&self.plugged) {
                        let link = if *plugged { Link::up(1000) } else { Link::DOWN };
                        end.bond.set_link(*member, link, self.now);
                    }
                }
                end.bond.handle_timeout(self.now);
            }
            self.drain(number);
        }
    }

    fn drain(&mut self, number: usize) {
        let end = &mut self.ends[number];
        while end.bond.poll_action().is_some() {}
        while let Some(transmit) = end.bond.poll_transmit() {
            let Some(cable) = end.members.iter().position(|member| *member == transmit.member)
            else {
                continue;
            };
            if self.plugged[cable] && !self.silent[number][cable] {
                self.count += 1;
                let key = (self.now + ms(1), self.count);
                self.coming.insert(key, (1 - number, cable, transmit.frame.clone()));
            }
            end.sent.push((self.now, cable, transmit));
        }
        while let Some(event) = end.bond.poll_event() {
            end.events.push(event);
        }
    }

    /// What a port's machines say.
    pub(crate) fn port(&self, end: usize, port: usize) -> PortStatus {
        self.ends[end].bond.status().members[port].port.expect("802.3ad")
    }

    /// Ports that carry traffic: up, and parties to it.
    pub(crate) fn carrying(&self, end: usize) -> Vec<usize> {
        let status = self.ends[end].bond.status();
        let carries = |&port: &usize| {
            let member = &status.members[port];
            member.in_traffic && member.state == LinkState::Up
        };
        (0..status.members.len()).filter(carries).collect()
    }

    /// When a port sent LACPDUs, from `from` on, and what they said.
    pub(crate) fn lacpdus(&self, end: usize, port: usize, from: Instant) -> Vec<(Instant, Lacpdu)> {
        let sent = self.ends[end].sent.iter();
        let own = sent.filter(|(when, cable, sent)| {
            *when >= from && *cable == port && sent.kind == FrameKind::Lacpdu
        });
        own.map(|(when, _, sent)| {
            let outer = Ethernet::parse(&sent.frame).expect("a frame");
            (*when, Lacpdu::parse(outer.payload).expect("a LACPDU"))
        })
        .collect()
    }
}
