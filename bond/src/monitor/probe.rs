//! Asking targets: ARP requests and neighbour solicitations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::options::Target;
use crate::output::FrameKind;
use crate::wire::arp::Arp;
use crate::wire::ndp::Neighbour;

impl<D: Defects> Bond<D> {
    /// Asks every target on this member, as the bond.
    pub(crate) fn probe_as_bond(&mut self, index: usize) {
        let (member, mac) = (self.members[index].id, self.members[index].mac);
        let mut frames = Vec::new();
        for target in &self.options.arp_ip_target {
            let (source, vlan) = self.asker(target);
            let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED);
            frames.push(Arp::request(mac, source, target.address).broadcast(vlan));
        }
        for target in &self.options.ns_ip6_target {
            let (source, vlan) = self.asker(target);
            let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
            frames.push(Neighbour::solicit(mac, source, target.address, vlan));
        }
        for frame in frames {
            self.transmit(member, FrameKind::Probe, frame);
        }
    }

    /// Ours (`probe_all`): asks every target on a backup, as the port itself. An ARP question names
    /// no IP address, so that nobody's table learns the port's; a solicitation needs one, and names
    /// a link-local one made from the port's hardware address.
    pub(crate) fn probe_as_port(&mut self, index: usize) {
        let (member, mac) = (self.members[index].id, self.port_mac(index));
        let mut frames = Vec::new();
        for target in &self.options.arp_ip_target {
            let (_, vlan) = self.asker(target);
            frames.push(Arp::request(mac, Ipv4Addr::UNSPECIFIED, target.address).broadcast(vlan));
        }
        for target in &self.options.ns_ip6_target {
            let (_, vlan) = self.asker(target);
            frames.push(Neighbour::solicit(mac, link_local(mac), target.address, vlan));
        }
        for frame in frames {
            self.transmit(member, FrameKind::Probe, frame);
        }
    }

    /// The address under which a backup asks for itself: its own, or when that is the bond's (a
    /// switch would then send the bond's traffic there) a local one made from it.
    pub(crate) fn port_mac(&self, index: usize) -> Mac {
        let mut mac = self.members[index].permanent;
        if mac == self.mac {
            mac.0[0] ^= 0x02;
        }
        mac
    }

    /// Who asks this target, and in which VLAN: as it says itself, or as the bond's address in the
    /// target's network has it. The longest prefix counts, the first of equals.
    fn asker<A: Copy + Into<IpAddr>>(&self, target: &Target<A>) -> (Option<A>, Option<u16>)
    where
        IpAddr: AsFamily<A>,
    {
        let there = target.address.into();
        let here = self
            .addresses
            .iter()
            .filter(|address| target.vlan.is_none() || address.vlan == target.vlan)
            .filter(|address| address.covers(there))
            .reduce(|best, next| if next.prefix > best.prefix { next } else { best });
        let source = target.source.or_else(|| here.and_then(|address| address.ip.as_family()));
        (source, target.vlan.or_else(|| here.and_then(|address| address.vlan)))
    }
}

/// The link-local address of a hardware address (RFC 4291, appendix A).
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let part = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, part(a ^ 2, b), part(c, 0xff), part(0xfe, d), part(e, f))
}

/// An address as one of a family.
trait AsFamily<A> {
    /// It, if it is of that family.
    fn as_family(&self) -> Option<A>;
}

impl AsFamily<Ipv4Addr> for IpAddr {
    fn as_family(&self) -> Option<Ipv4Addr> {
        match self {
            Self::V4(address) => Some(*address),
            Self::V6(_) => None,
        }
    }
}

impl AsFamily<Ipv6Addr> for IpAddr {
    fn as_family(&self) -> Option<Ipv6Addr> {
        match self {
            Self::V6(address) => Some(*address),
            Self::V4(_) => None,
        }
    }
}
