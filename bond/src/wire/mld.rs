//! MLD reports: what the stack says it listens to in IPv6, and the same said again (RFC 2710,
//! RFC 3810). What [`igmp`](super::igmp) is to IPv4.

use std::net::Ipv6Addr;

use holdfast_core::net::Mac;

use super::ethernet;
use super::ip::{ICMPV6, Ipv6, checksum};
use super::ndp::group_mac;
use super::{WireError, be16, head, take};

/// Where version 2 reports go.
pub const ROUTERS_V2: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// The header of options for every hop.
const HOP_BY_HOP: u8 = 0;

/// Which version the stack speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 2710.
    V1,
    /// RFC 3810.
    V2,
}

/// One thing a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The group.
    pub group: Ipv6Addr,
    /// Whether it is listened to from now on, or no longer.
    pub joined: bool,
    /// How it was said.
    pub version: Version,
}

/// What an IPv6 packet says of groups. Whatever is no MLD report says nothing.
pub fn read(packet: &Ipv6<'_>) -> Result<Vec<Said>, WireError> {
    let Some(message) = icmp(packet) else { return Ok(Vec::new()) };
    match message.first() {
        Some(kind @ (131 | 132)) => {
            let body = head("MLD", message, 24)?;
            let (group, joined) = (take(body, 8).into(), *kind == 131);
            Ok(vec![Said { group, joined, version: Version::V1 }])
        }
        Some(143) => records(message),
        _ => Ok(Vec::new()),
    }
}

/// The ICMPv6 message, behind the router alert if there is one.
fn icmp<'a>(packet: &Ipv6<'a>) -> Option<&'a [u8]> {
    match packet.next {
        ICMPV6 => Some(packet.payload),
        HOP_BY_HOP if *packet.payload.first()? == ICMPV6 => {
            let length = 8 + 8 * usize::from(*packet.payload.get(1)?);
            packet.payload.get(length..)
        }
        _ => None,
    }
}

fn records(message: &[u8]) -> Result<Vec<Said>, WireError> {
    let count = be16(head("MLDv2 report", message, 8)?, 6);
    let (mut rest, mut said) = (&message[8..], Vec::new());
    for _ in 0..count {
        let record = head("MLDv2 group record", rest, 20)?;
        let sources = usize::from(be16(record, 2));
        let joined = match record[0] {
            // Include nobody: leave. Include somebody, exclude: listen.
            1 | 3 => Some(sources > 0),
            2 | 4 | 5 => Some(true),
            _ => None,
        };
        let group = take(record, 4).into();
        said.extend(joined.map(|joined| Said { group, joined, version: Version::V2 }));
        let length = 20 + sources * 16 + usize::from(record[1]) * 4;
        head("MLDv2 group record", rest, length)?;
        rest = &rest[length..];
    }
    Ok(said)
}

/// A report that `group` is listened to, as a frame.
pub fn report(
    mac: Mac,
    source: Ipv6Addr,
    group: Ipv6Addr,
    version: Version,
    vlan: Option<u16>,
) -> Vec<u8> {
    let (destination, mut body) = match version {
        Version::V1 => (group, vec![131, 0, 0, 0, 0, 0, 0, 0]),
        // One record: the group, excluding nobody.
        Version::V2 => (ROUTERS_V2, vec![143, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]),
    };
    body.extend(group.octets());
    let length = u16::try_from(body.len()).expect("a short message").to_be_bytes();
    let pseudo = [0, 0, length[0], length[1], 0, 0, 0, ICMPV6];
    let sum = checksum(&[&source.octets(), &destination.octets(), &pseudo, &body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    // One hop, and the router alert option (RFC 2711) before the message.
    let length = u16::try_from(8 + body.len()).expect("a short message").to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], HOP_BY_HOP, 1];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
    packet.extend(body);
    ethernet::frame(group_mac(destination), mac, vlan, ethernet::IPV6, &packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_were_meant() {
        for version in [Version::V1, Version::V2] {
            let (source, group) = ("fe80::1".parse().unwrap(), "ff05::1:3".parse().unwrap());
            let frame = report(Mac([2, 0, 0, 0, 0, 1]), source, group, version, None);
            let packet = Ipv6::parse(&frame[14..]).unwrap();
            assert_eq!(read(&packet).unwrap(), [Said { group, joined: true, version }]);
            let message = &packet.payload[8..];
            let pseudo = [0, 0, 0, message.len() as u8, 0, 0, 0, ICMPV6];
            assert_eq!(checksum(&[&frame[22..54], &pseudo, message]), 0);
            assert_eq!((packet.hops, &frame[..2]), (1, &[0x33, 0x33][..]));
            for length in 0..message.len() {
                let short = Ipv6 { payload: &packet.payload[..8 + length], ..packet };
                assert!(read(&short).is_err() || length == 0, "{length}");
            }
        }
    }

    #[test]
    fn groups_are_left_by_including_nobody() {
        let mut message = vec![143, 0, 0, 0, 0, 0, 0, 3];
        let group: Ipv6Addr = "ff05::1:3".parse().unwrap();
        // Change to include, of nobody and of somebody; and a source blocked, which says neither.
        for (kind, sources) in [(3, 0), (3, 1), (6, 1)] {
            message.extend([kind, 0, 0, sources]);
            message.extend(group.octets());
            message.extend(vec![0; 16 * usize::from(sources)]);
        }
        let packet = Ipv6 {
            source: Ipv6Addr::LOCALHOST,
            destination: ROUTERS_V2,
            next: ICMPV6,
            hops: 1,
            flow_label: 0,
            payload: &message,
        };
        let said: Vec<_> = read(&packet).unwrap().iter().map(|said| said.joined).collect();
        assert_eq!(said, [false, true]);
    }
}
