//! Through tunnels to the innermost packet, as the kernel's flow dissector goes.
//!
//! It follows VLAN tags, PPPoE, IPv6 extension headers, IP in IP, and GRE version 0, 15 headers at
//! most. It stops, with what it has, at fragments, MPLS, ARP, and whatever carries no packet.

use super::ethernet::{ARP, IPV4, IPV6, SERVICE_VLAN, VLAN};
use super::ip::{ICMP, ICMPV6, Ipv4, Ipv6};
use super::{be16, take};
use crate::hash::{Flow, icmp, ports};

/// Headers followed before it stops (`MAX_FLOW_DISSECT_HDRS`).
const MOST_HEADERS: u32 = 15;

/// Transparent Ethernet bridging, inside GRE.
const TEB: u16 = 0x6558;
const PPPOE: u16 = 0x8864;
const MPLS: [u16; 2] = [0x8847, 0x8848];

/// What comes next.
enum Step<'a> {
    /// A packet of this EtherType.
    Packet(u16, &'a [u8]),
    /// What an IP packet of this EtherType carries: this protocol.
    Carried(u16, u8, &'a [u8]),
    /// Nothing; what was found counts.
    End,
}

/// The innermost flow; `None` if the bytes end early or are of a kind it does not know.
pub(crate) fn innermost(ethertype: u16, bytes: &[u8]) -> Option<Flow> {
    let mut flow = Flow::default();
    let mut step = Step::Packet(ethertype, bytes);
    for _ in 0..MOST_HEADERS {
        step = match step {
            Step::Packet(ethertype, bytes) => packet(ethertype, bytes, &mut flow)?,
            Step::Carried(outer, protocol, bytes) => carried(outer, protocol, bytes, &mut flow)?,
            Step::End => break,
        };
    }
    Some(flow)
}

fn packet<'a>(ethertype: u16, bytes: &'a [u8], flow: &mut Flow) -> Option<Step<'a>> {
    Some(match ethertype {
        IPV4 => {
            let ip = Ipv4::parse(bytes).ok()?;
            flow.addresses = Some((ip.source.into(), ip.destination.into()));
            if ip.fragment { Step::End } else { Step::Carried(IPV4, ip.protocol, ip.payload) }
        }
        IPV6 => {
            let ip = Ipv6::parse_loosely(bytes)?;
            flow.addresses = Some((ip.source.into(), ip.destination.into()));
            Step::Carried(IPV6, ip.next, ip.payload)
        }
        VLAN | SERVICE_VLAN => Step::Packet(be16(bytes.get(..4)?, 2), &bytes[4..]),
        PPPOE => match be16(bytes.get(..8)?, 6) {
            0x0021 => Step::Packet(IPV4, &bytes[8..]),
            0x0057 => Step::Packet(IPV6, &bytes[8..]),
            _ => Step::End,
        },
        ARP => Step::End,
        mpls if MPLS.contains(&mpls) => Step::End,
        _ => return None,
    })
}

fn carried<'a>(outer: u16, protocol: u8, bytes: &'a [u8], flow: &mut Flow) -> Option<Step<'a>> {
    Some(match protocol {
        4 => Step::Packet(IPV4, bytes),
        41 => Step::Packet(IPV6, bytes),
        47 => gre(bytes)?,
        137 => Step::End,
        // Hop by hop, routing, destination options.
        0 | 43 | 60 if outer == IPV6 => {
            let [next, length] = take(bytes.get(..2)?, 0);
            Step::Carried(outer, next, bytes.get((usize::from(length) + 1) * 8..).unwrap_or(&[]))
        }
        44 if outer == IPV6 => {
            bytes.get(..8)?;
            Step::End
        }
        ICMP | ICMPV6 => {
            icmp(bytes, flow);
            flow.ports = [0; 4];
            Step::End
        }
        _ => {
            flow.ports = ports(protocol, bytes);
            Step::End
        }
    })
}

fn gre(bytes: &[u8]) -> Option<Step<'_>> {
    let flags = be16(bytes.get(..4)?, 0);
    // Routing, or another version than the plain one.
    if flags & 0x4007 != 0 {
        return Some(Step::End);
    }
    let optional = [0x8000, 0x2000, 0x1000].iter().filter(|bit| flags & **bit != 0).count() * 4;
    let (ethertype, inner) = (be16(bytes, 2), bytes.get(4 + optional..)?);
    if ethertype == TEB {
        return Some(Step::Packet(be16(inner.get(..14)?, 12), &inner[14..]));
    }
    Some(Step::Packet(ethertype, inner))
}
