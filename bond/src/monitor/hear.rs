//! What counts as heard, on which member.
//!
//! | `arp_validate` | on an active member | on a backup |
//! |---|---|---|
//! | none | any frame | any frame |
//! | active | an answer of a target | any frame |
//! | backup | any frame | the bond's own question, seen again |
//! | all | an answer of a target | the bond's own question, seen again |
//! | filter… | as above, but "any frame" is any ARP or IPv6 frame | |
//!
//! The bond's own question counts on a backup only while the active member is answered: otherwise
//! two members on one switch would keep each other alive. While members are tried one after the
//! other, an answer counts wherever it comes in, because switches learn slowly.

use std::net::Ipv6Addr;

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::stamp::Stamp;
use crate::wire::arp::{Arp, Op};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ndp::{ALL_NODES, Kind, Neighbour, solicited_node};

use super::probe::link_local;

impl<D: Defects> Bond<D> {
    /// A frame came in on a member while targets are probed.
    pub(crate) fn hear(&mut self, index: usize, frame: &Ethernet<'_>) {
        let known = matches!(frame.ethertype, ethernet::ARP | ethernet::IPV6);
        let validate = self.options.arp_validate;
        let active = !self.members[index].backup;
        if self.options.probe_all && !active {
            self.hear_own_answer(index, frame);
        } else if !validate.examines(active) || self.defects.has(Defect::AnyFrameValidates) {
            if known || !validate.filters() {
                self.count(index, None);
            }
        } else if known && self.is_for_member(index, frame.destination) {
            match frame.ethertype {
                ethernet::ARP => self.hear_arp(index, frame),
                _ => self.hear_neighbour(index, frame),
            }
        }
    }

    fn is_for_member(&self, index: usize, to: Mac) -> bool {
        to.is_multicast() || to == self.members[index].mac
    }

    fn hear_arp(&mut self, index: usize, frame: &Ethernet<'_>) {
        let Ok(arp) = Arp::parse(frame.payload) else { return };
        match self.trust(index, arp.op == Op::Reply) {
            Trust::Answer => self.answer_of(index, arp.sender, arp.target),
            Trust::Question => self.answer_of(index, arp.target, arp.sender),
            Trust::No => {}
        }
    }

    fn answer_of(&mut self, index: usize, target: std::net::Ipv4Addr, ours: std::net::Ipv4Addr) {
        let place = self.options.arp_ip_target.iter().position(|known| known.address == target);
        let asked = self.owns(ours.into())
            || self.options.arp_ip_target.iter().any(|known| known.source == Some(ours));
        if let Some(place) = place.filter(|_| asked) {
            self.count(index, Some(place));
        }
    }

    fn hear_neighbour(&mut self, index: usize, frame: &Ethernet<'_>) {
        let Ok(message) = Neighbour::parse(frame.payload) else { return };
        match self.trust(index, true) {
            Trust::Answer => self.answer_of_v6(index, message.source, message.destination),
            Trust::Question => self.answer_of_v6(index, message.destination, message.source),
            Trust::No => {}
        }
    }

    fn answer_of_v6(&mut self, index: usize, target: Ipv6Addr, ours: Ipv6Addr) {
        let is = |known: Ipv6Addr| known == target || solicited_node(known) == target;
        let place = self.options.ns_ip6_target.iter().position(|known| is(known.address));
        let asked = ours == ALL_NODES
            || self.owns(ours.into())
            || self.options.ns_ip6_target.iter().any(|known| known.source == Some(ours));
        if let Some(place) = place.filter(|_| asked && !target.is_unspecified()) {
            self.count(index, Some(place));
        }
    }

    /// How far an ARP or neighbour frame on this member can be trusted.
    fn trust(&self, index: usize, answer: bool) -> Trust {
        if !self.members[index].backup {
            return Trust::Answer;
        }
        let active = self.active.and_then(|active| self.member(active));
        if active.is_some_and(|active| self.heard(active) > active.last_link_up) {
            return Trust::Question;
        }
        match self.tried.and_then(|tried| self.member(tried)) {
            Some(tried) if answer && self.lately(tried.last_tx, 1) => Trust::Answer,
            _ => Trust::No,
        }
    }

    /// Ours: on a backup only answers to its own questions count.
    fn hear_own_answer(&mut self, index: usize, frame: &Ethernet<'_>) {
        let mac = self.port_mac(index);
        match frame.ethertype {
            ethernet::ARP => {
                let Ok(arp) = Arp::parse(frame.payload) else { return };
                let of =
                    self.options.arp_ip_target.iter().position(|known| known.address == arp.sender);
                if let Some(place) = of.filter(|_| arp.op == Op::Reply && arp.target_mac == mac) {
                    self.count(index, Some(place));
                }
            }
            ethernet::IPV6 => {
                let Ok(message) = Neighbour::parse(frame.payload) else { return };
                let mut known = self.options.ns_ip6_target.iter();
                let of = known.position(|known| known.address == message.target);
                let answers = matches!(message.kind, Kind::Advertisement { .. });
                let asked = message.destination == link_local(mac);
                if let Some(place) = of.filter(|_| answers && asked) {
                    self.count(index, Some(place));
                }
            }
            _ => {}
        }
    }

    /// It counts: now, and for this target.
    fn count(&mut self, index: usize, target: Option<usize>) {
        let now = Stamp::at(self.now);
        let mut index = index;
        if self.defects.has(Defect::ReplyOnWrongMember)
            && let Some(active) = self.active.and_then(|active| self.index(active))
        {
            index = active;
        }
        self.members[index].last_rx = now;
        if let Some(target) = target {
            self.members[index].target_rx[target] = now;
        }
    }
}

/// What a frame on a member may be evidence of.
enum Trust {
    /// A target's answer to us.
    Answer,
    /// Our question to a target, passed on by the switch.
    Question,
    /// Nothing.
    No,
}
