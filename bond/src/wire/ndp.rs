//! Neighbour solicitations and advertisements (RFC 4861, 4.3 and 4.4).
//!
//! ```text
//!  IPv6 header (hop limit 255)   0      1  2    4       8              24
//! ┌───────────────────────────┐┌──────┬──┬────┬───────┬──────────────┬──────────┐
//! │ … next header 58 …        ││135/6 │ 0│ sum│ flags │ target       │ options  │
//! └───────────────────────────┘└──────┴──┴────┴───────┴──────────────┴──────────┘
//! ```

use std::net::Ipv6Addr;

use holdfast_core::net::Mac;

use super::ethernet;
use super::ip::{ICMPV6, Ipv6, checksum};
use super::{WireError, head, take};

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has the target address?
    Solicitation,
    /// The sender has it.
    Advertisement {
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what was known.
        overrides: bool,
    },
}

/// A solicitation or an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub kind: Kind,
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Who it is for.
    pub destination: Ipv6Addr,
    /// The address it is about.
    pub target: Ipv6Addr,
    /// The hardware address that it names, if it does: the source's in a solicitation, the
    /// target's in an advertisement.
    pub mac: Option<Mac>,
}

/// Every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group that whoever has `address` listens to (RFC 4291, 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}

/// The Ethernet group of an IPv6 group (RFC 2464, 7).
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

impl Neighbour {
    /// Reads what an IPv6 packet carries. It must follow the fixed header at once, and must not
    /// have passed a router.
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let ip = Ipv6::parse(packet)?;
        let field = |field, value: u8| WireError::Field {
            what: "neighbour discovery",
            field,
            value: value.into(),
        };
        if ip.next != ICMPV6 {
            return Err(field("next header", ip.next));
        }
        if ip.hops != 255 {
            return Err(field("hop limit", ip.hops));
        }
        let body = head("neighbour discovery", ip.payload, 24)?;
        let kind = match body[0] {
            135 => Kind::Solicitation,
            136 => Kind::Advertisement {
                solicited: body[4] & 0x40 != 0,
                overrides: body[4] & 0x20 != 0,
            },
            other => return Err(field("type", other)),
        };
        let wanted = if kind == Kind::Solicitation { 1 } else { 2 };
        let mac = link_layer_option(&ip.payload[24..], wanted);
        let target = take(body, 8).into();
        Ok(Self { kind, source: ip.source, destination: ip.destination, target, mac })
    }

    /// It as an IPv6 packet.
    pub fn packet(&self) -> Vec<u8> {
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (135, 0, 1),
            Kind::Advertisement { solicited, overrides } => {
                (136, u8::from(solicited) << 6 | u8::from(overrides) << 5, 2)
            }
        };
        let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        body.extend(self.target.octets());
        if let Some(mac) = self.mac {
            body.extend([option, 1]);
            body.extend(mac.0);
        }
        let length = u16::try_from(body.len()).expect("a short message").to_be_bytes();
        let (source, destination) = (self.source.octets(), self.destination.octets());
        let pseudo = [0, 0, length[0], length[1], 0, 0, 0, ICMPV6];
        let sum = checksum(&[&source, &destination, &pseudo, &body]);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], ICMPV6, 255];
        packet.extend(source);
        packet.extend(destination);
        packet.extend(body);
        packet
    }

    /// A question for `target`, as a frame.
    pub fn solicit(mac: Mac, source: Ipv6Addr, target: Ipv6Addr, vlan: Option<u16>) -> Vec<u8> {
        let destination = solicited_node(target);
        // Without an address of one's own no hardware address may be named (RFC 4861, 4.3).
        let named = (!source.is_unspecified()).then_some(mac);
        let message = Self { kind: Kind::Solicitation, source, destination, target, mac: named };
        ethernet::frame(group_mac(destination), mac, vlan, ethernet::IPV6, &message.packet())
    }

    /// The news that `target` is at `mac`, to everybody, as a frame.
    pub fn announce(mac: Mac, target: Ipv6Addr, vlan: Option<u16>) -> Vec<u8> {
        let message = Self {
            kind: Kind::Advertisement { solicited: false, overrides: true },
            source: target,
            destination: ALL_NODES,
            target,
            mac: Some(mac),
        };
        ethernet::frame(group_mac(ALL_NODES), mac, vlan, ethernet::IPV6, &message.packet())
    }
}

/// The address in the first option of this type. Options of length 0 end the search.
fn link_layer_option(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while options.len() >= 8 {
        let length = usize::from(options[1]) * 8;
        if length == 0 {
            return None;
        }
        if options[0] == wanted {
            return Some(Mac(take(options, 2)));
        }
        options = options.get(length..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Ethernet;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_solicitation_goes_to_the_targets_group() {
        let (ours, theirs) = ("fe80::1".parse().unwrap(), "2001:db8::1:2:3456".parse().unwrap());
        let frame = Neighbour::solicit(OURS, ours, theirs, None);
        let read = Ethernet::parse(&frame).unwrap();
        assert_eq!(read.destination, Mac([0x33, 0x33, 0xff, 0x02, 0x34, 0x56]));
        let message = Neighbour::parse(read.payload).unwrap();
        assert_eq!((message.source, message.target, message.mac), (ours, theirs, Some(OURS)));
        assert_eq!(message.destination, "ff02::1:ff02:3456".parse::<Ipv6Addr>().unwrap());
        assert_eq!(checksum_over(read.payload), 0, "the checksum holds");
    }

    #[test]
    fn an_announcement_goes_to_everybody() {
        let ours = "fe80::1".parse().unwrap();
        let frame = Neighbour::announce(OURS, ours, Some(7));
        let read = Ethernet::parse(&frame).unwrap();
        assert_eq!((read.vlan, read.destination), (Some(7), Mac([0x33, 0x33, 0, 0, 0, 1])));
        let message = Neighbour::parse(read.payload).unwrap();
        assert_eq!(message.kind, Kind::Advertisement { solicited: false, overrides: true });
        assert_eq!((message.target, message.mac), (ours, Some(OURS)));
        assert_eq!(checksum_over(read.payload), 0);
    }

    #[test]
    fn nothing_that_passed_a_router_counts() {
        let ours = "fe80::1".parse().unwrap();
        let mut packet =
            Neighbour::parse(&Neighbour::announce(OURS, ours, None)[14..]).unwrap().packet();
        packet[7] = 254;
        assert!(Neighbour::parse(&packet).is_err());
        packet[7] = 255;
        for length in 0..64 {
            assert!(Neighbour::parse(&packet[..length]).is_err());
        }
    }

    fn checksum_over(packet: &[u8]) -> u16 {
        let length = (packet.len() - 40) as u8;
        checksum(&[&packet[8..40], &[0, 0, 0, length, 0, 0, 0, ICMPV6], &packet[40..]])
    }
}
