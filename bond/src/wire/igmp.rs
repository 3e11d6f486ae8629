//! IGMP reports: what the stack says it listens to, and the same said again (RFC 2236, RFC 3376).

use std::net::Ipv4Addr;

use holdfast_core::net::Mac;

use super::ethernet;
use super::ip::{IGMP, Ipv4, checksum};
use super::{WireError, be16, head, take};

/// Where version 3 reports go.
pub const ROUTERS_V3: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Which version the stack speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 2236 (and version 1, which nobody speaks any more, is answered like it).
    V2,
    /// RFC 3376.
    V3,
}

/// One thing a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The group.
    pub group: Ipv4Addr,
    /// Whether it is listened to from now on, or no longer.
    pub joined: bool,
    /// How it was said.
    pub version: Version,
}

/// What an IGMP packet says of groups. Queries say nothing.
pub fn read(packet: &Ipv4<'_>) -> Result<Vec<Said>, WireError> {
    let body = head("IGMP", packet.payload, 8)?;
    let said = |joined| vec![Said { group: take(body, 4).into(), joined, version: Version::V2 }];
    match body[0] {
        0x12 | 0x16 => Ok(said(true)),
        0x17 => Ok(said(false)),
        0x22 => records(packet.payload, be16(body, 6)),
        _ => Ok(Vec::new()),
    }
}

fn records(payload: &[u8], count: u16) -> Result<Vec<Said>, WireError> {
    let (mut rest, mut said) = (&payload[8..], Vec::new());
    for _ in 0..count {
        let record = head("IGMPv3 group record", rest, 8)?;
        let sources = usize::from(be16(record, 2));
        let joined = match record[0] {
            // Include nobody: leave. Include somebody, exclude: listen.
            1 | 3 => sources > 0,
            2 | 4 | 5 => true,
            _ => {
                rest = skip(rest, sources, record[1])?;
                continue;
            }
        };
        said.push(Said { group: take(record, 4).into(), joined, version: Version::V3 });
        rest = skip(rest, sources, record[1])?;
    }
    Ok(said)
}

fn skip(record: &[u8], sources: usize, auxiliary: u8) -> Result<&[u8], WireError> {
    let length = 8 + sources * 4 + usize::from(auxiliary) * 4;
    head("IGMPv3 group record", record, length)?;
    Ok(&record[length..])
}

/// A report that `group` is listened to, as a frame.
pub fn report(
    mac: Mac,
    source: Ipv4Addr,
    group: Ipv4Addr,
    version: Version,
    vlan: Option<u16>,
) -> Vec<u8> {
    let (destination, mut body) = match version {
        Version::V2 => (group, vec![0x16, 0, 0, 0]),
        // One record: the group, excluding nobody.
        Version::V3 => (ROUTERS_V3, vec![0x22, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]),
    };
    body.extend(group.octets());
    let sum = checksum(&[&body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    // Precedence internetwork control, one hop, and the router alert option (RFC 2113).
    let length = u16::try_from(24 + body.len()).expect("a short message").to_be_bytes();
    let mut packet = vec![0x46, 0xc0, length[0], length[1], 0, 0, 0x40, 0, 1, IGMP, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend([0x94, 4, 0, 0]);
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(body);
    ethernet::frame(group_mac(destination), mac, vlan, ethernet::IPV4, &packet)
}

/// The Ethernet group of an IPv4 group (RFC 1112, 6.4).
pub fn group_mac(group: Ipv4Addr) -> Mac {
    let [_, a, b, c] = group.octets();
    Mac([1, 0, 0x5e, a & 0x7f, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_were_meant() {
        for version in [Version::V2, Version::V3] {
            let group = Ipv4Addr::new(239, 129, 2, 3);
            let frame = report(Mac([2, 0, 0, 0, 0, 1]), [10, 0, 0, 1].into(), group, version, None);
            let packet = Ipv4::parse(&frame[14..]).unwrap();
            assert_eq!(checksum(&[&frame[14..38]]), 0);
            assert_eq!(checksum(&[packet.payload]), 0);
            assert_eq!(read(&packet).unwrap(), [Said { group, joined: true, version }]);
            assert_eq!(frame[..3], [1, 0, 0x5e]);
        }
    }

    #[test]
    fn records_that_end_early_are_refused() {
        let mut payload = vec![0x22, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 239, 0, 0, 1];
        let mut packet = Ipv4 {
            source: Ipv4Addr::LOCALHOST,
            destination: ROUTERS_V3,
            protocol: IGMP,
            fragment: false,
            header: 24,
            payload: &payload.clone(),
        };
        assert!(read(&packet).is_err());
        payload.extend([3, 0, 0, 0, 239, 0, 0, 1]);
        packet.payload = &payload;
        let said: Vec<_> = read(&packet).unwrap().iter().map(|said| said.joined).collect();
        assert_eq!(said, [true, false]);
    }
}
