//! Which member a flow goes to: the kernel's six transmit hash policies, bit by bit.
//!
//! The kernel loads addresses and ports from the packet as native words; these are the values a
//! little-endian machine gets (nearly every one), on all machines. A VLAN tag counts as the kernel
//! counts it, which keeps the outermost one beside the packet: the EtherType is that behind it.
//! Source: `bond_main.c` (`__bond_xmit_hash` and what it calls) and, for the two encapsulation
//! policies, `flow_dissector.c`.
//!
//! | policy | value |
//! |---|---|
//! | layer2 | last bytes of both hardware addresses ⊕ EtherType |
//! | layer2+3 | that, ⊕ both IP addresses, folded: `h ^= h >> 16; h ^= h >> 8` |
//! | layer3+4 | ports (or ICMP type, code and identifier) ⊕ both IP addresses, folded, `>> 1` |
//! | encap2+3, encap3+4 | the same of the innermost packet |
//! | vlan+srcmac | tag ⊕ upper half ⊕ lower half of the source hardware address |
//!
//! Fragments have no ports. An ICMP error belongs to the flow of the packet it is about. For
//! frames of local sockets the kernel replaces encap3+4 by a random number the socket has; nobody
//! outside knows that, so ours is what it takes for forwarded frames.

use std::net::{IpAddr, Ipv6Addr};

use crate::options::HashPolicy;
use crate::wire::ethernet::{self, HEADER};
use crate::wire::ip::{ICMP, ICMPV6, Ipv4, Ipv6};
use crate::wire::{be16, dissect, take};

/// What a flow is told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Source and destination, if they are IP addresses.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The four bytes where ports are, as they are in the packet; zero where there are none.
    pub ports: [u8; 4],
    /// ICMP's type and code.
    pub icmp: [u8; 2],
    /// ICMP's identifier; zero if there is none, one if it is zero.
    pub icmp_id: u16,
}

/// The hash of a frame that begins with the destination address. Bytes that are missing count as
/// the kernel counts them.
pub fn hash(policy: HashPolicy, frame: &[u8]) -> u32 {
    if frame.len() < HEADER {
        return 0;
    }
    let (tag, ethertype, at) = untag(frame);
    match policy {
        HashPolicy::Layer2 => layer2(frame, ethertype),
        HashPolicy::VlanSrcMac => vlan_source(frame, tag),
        HashPolicy::Layer23 | HashPolicy::Layer34 => {
            let ports = policy == HashPolicy::Layer34;
            let flow = outer_flow(ethertype, &frame[at..], ports);
            combined(policy, frame, ethertype, flow)
        }
        HashPolicy::Encap23 | HashPolicy::Encap34 => {
            combined(policy, frame, ethertype, dissect::innermost(ethertype, &frame[at..]))
        }
    }
}

/// The outermost tag, the EtherType behind it and where the payload begins.
fn untag(frame: &[u8]) -> (u16, u16, usize) {
    let ethertype = be16(frame, 12);
    let tagged = matches!(ethertype, ethernet::VLAN | ethernet::SERVICE_VLAN);
    if tagged && frame.len() >= HEADER + 4 {
        (be16(frame, 14), be16(frame, 16), HEADER + 4)
    } else {
        (0, ethertype, HEADER)
    }
}

fn layer2(frame: &[u8], ethertype: u16) -> u32 {
    u32::from(frame[5] ^ frame[11]) ^ u32::from(ethertype)
}

fn vlan_source(frame: &[u8], tag: u16) -> u32 {
    let half = |at: usize| u32::from_be_bytes([0, frame[at], frame[at + 1], frame[at + 2]]);
    half(6) ^ half(9) ^ u32::from(tag)
}

fn combined(policy: HashPolicy, frame: &[u8], ethertype: u16, flow: Option<Flow>) -> u32 {
    let Some(flow) = flow else { return layer2(frame, ethertype) };
    let with_ports = matches!(policy, HashPolicy::Layer34 | HashPolicy::Encap34);
    let start = match with_ports {
        false => layer2(frame, ethertype),
        true if flow.icmp_id != 0 => {
            let [id_low, id_high] = flow.icmp_id.to_le_bytes();
            u32::from_le_bytes([flow.icmp[0], flow.icmp[1], id_low, id_high])
        }
        true => u32::from_le_bytes(flow.ports),
    };
    let mut hash = start;
    if let Some((source, destination)) = flow.addresses {
        hash ^= word(source) ^ word(destination);
    }
    hash ^= hash >> 16;
    hash ^= hash >> 8;
    // Ports tend to be even.
    if with_ports { hash >> 1 } else { hash }
}

/// An address as one word: an IPv6 address is the sum of its four.
fn word(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from_le_bytes(address.octets()),
        IpAddr::V6(address) => fold(address),
    }
}

fn fold(address: Ipv6Addr) -> u32 {
    let octets = address.octets();
    (0..4).fold(0, |sum, at| sum ^ u32::from_le_bytes(take(&octets, at * 4)))
}

/// One look at an IP header: its flow so far, its protocol (fragments have none) and what follows.
fn ip<'a>(
    ethertype: u16,
    bytes: &'a [u8],
    flow: &mut Flow,
    protocol: &mut Option<u8>,
) -> Option<&'a [u8]> {
    let rest = match ethertype {
        ethernet::IPV4 => {
            let packet = Ipv4::parse_loosely(bytes)?;
            flow.addresses = Some((packet.source.into(), packet.destination.into()));
            if !packet.fragment {
                *protocol = Some(packet.protocol);
            }
            packet.payload
        }
        ethernet::IPV6 => {
            let packet = Ipv6::parse_loosely(bytes)?;
            flow.addresses = Some((packet.source.into(), packet.destination.into()));
            *protocol = Some(packet.next);
            packet.payload
        }
        _ => return None,
    };
    Some(rest)
}

/// The flow of the outer packet, or for an ICMP error that of the packet it is about.
fn outer_flow(ethertype: u16, bytes: &[u8], with_ports: bool) -> Option<Flow> {
    let (mut flow, mut protocol) = (Flow::default(), None);
    let rest = ip(ethertype, bytes, &mut flow, &mut protocol)?;
    let ports_of = |protocol: Option<u8>, rest: &[u8]| match protocol {
        Some(protocol) if with_ports => ports(protocol, rest),
        _ => [0; 4],
    };
    flow.ports = ports_of(protocol, rest);
    let error = match protocol {
        Some(ICMP) => icmp(rest, &mut flow) && matches!(flow.icmp[0], 3 | 4 | 5 | 11 | 12),
        Some(ICMPV6) => icmp(rest, &mut flow) && matches!(flow.icmp[0], 1..=4),
        _ => false,
    };
    if error {
        let inner = ip(ethertype, rest.get(8..)?, &mut flow, &mut protocol)?;
        flow.ports = ports_of(protocol, inner);
    }
    Some(flow)
}

/// Notes an ICMP header, if all of it is there.
pub(crate) fn icmp(bytes: &[u8], flow: &mut Flow) -> bool {
    let Some(header) = bytes.get(..8) else { return false };
    flow.icmp = [header[0], header[1]];
    // Echo and timestamp, asked and answered, of both versions.
    let has_id = matches!(header[0], 0 | 8 | 13 | 14 | 128 | 129);
    flow.icmp_id = if has_id { be16(header, 4).max(1) } else { 0 };
    true
}

/// The four bytes where a protocol has its ports, or what stands for them.
pub(crate) fn ports(protocol: u8, bytes: &[u8]) -> [u8; 4] {
    let at = match protocol {
        // TCP, UDP, DCCP, ESP, SCTP, UDP-Lite.
        6 | 17 | 33 | 50 | 132 | 136 => 0,
        // AH.
        51 => 4,
        _ => return [0; 4],
    };
    bytes.get(at..at + 4).map_or([0; 4], |ports| take(ports, 0))
}
