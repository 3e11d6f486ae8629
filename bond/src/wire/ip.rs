//! IPv4 and IPv6 headers, as far as a bond looks into them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{WireError, be16, head, take};

/// ICMP.
pub const ICMP: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;

/// An IPv4 packet (RFC 791).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Who it is for.
    pub destination: Ipv4Addr,
    /// What it carries.
    pub protocol: u8,
    /// Whether it is a fragment, the first one included.
    pub fragment: bool,
    /// Bytes of the header, options included.
    pub header: usize,
    /// What follows the header; empty if it ends early.
    pub payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Reads a packet's header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let fixed = head("IPv4 header", bytes, 20)?;
        if fixed[0] >> 4 != 4 || fixed[0] & 0xf < 5 {
            let value = fixed[0].into();
            return Err(WireError::Field {
                what: "IPv4 header",
                field: "version and length",
                value,
            });
        }
        Self::parse_loosely(bytes).ok_or(WireError::Short {
            what: "IPv4 header",
            need: 20,
            have: bytes.len(),
        })
    }

    /// The same without a look at version and length: what the kernel's hash takes for IPv4.
    pub(crate) fn parse_loosely(bytes: &'a [u8]) -> Option<Self> {
        let fixed = bytes.get(..20)?;
        let header = usize::from(fixed[0] & 0xf) * 4;
        Some(Self {
            source: take(fixed, 12).into(),
            destination: take(fixed, 16).into(),
            protocol: fixed[9],
            // Any offset, or more to come; not the don't-fragment bit.
            fragment: be16(fixed, 6) & 0x3fff != 0,
            header,
            payload: bytes.get(header..).unwrap_or(&[]),
        })
    }
}

/// An IPv6 packet (RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Who it is for.
    pub destination: Ipv6Addr,
    /// What follows the fixed header.
    pub next: u8,
    /// Routers it may still pass.
    pub hops: u8,
    /// The 20 bits by which routers tell flows.
    pub flow_label: u32,
    /// What follows the fixed header.
    pub payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Bytes of the fixed header.
    pub const HEADER: usize = 40;

    /// Reads a packet's fixed header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let fixed = head("IPv6 header", bytes, Self::HEADER)?;
        if fixed[0] >> 4 != 6 {
            let value = fixed[0].into();
            return Err(WireError::Field { what: "IPv6 header", field: "version", value });
        }
        Self::parse_loosely(bytes).ok_or(WireError::Short {
            what: "IPv6 header",
            need: 40,
            have: bytes.len(),
        })
    }

    /// The same without a look at the version: what the kernel's hash takes for IPv6.
    pub(crate) fn parse_loosely(bytes: &'a [u8]) -> Option<Self> {
        let fixed = bytes.get(..Self::HEADER)?;
        Some(Self {
            source: take(fixed, 8).into(),
            destination: take(fixed, 24).into(),
            next: fixed[6],
            hops: fixed[7],
            flow_label: u32::from_be_bytes(take(fixed, 0)) & 0xf_ffff,
            payload: &bytes[Self::HEADER..],
        })
    }
}

/// The ones' complement sum of RFC 1071 over several pieces, each of even length but the last.
pub fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
    }

    #[test]
    fn headers_end_where_they_say() {
        let mut bytes = [0_u8; 60];
        bytes[0] = 0x46;
        bytes[9] = UDP;
        let packet = Ipv4::parse(&bytes).unwrap();
        assert_eq!((packet.header, packet.payload.len(), packet.fragment), (24, 36, false));
        bytes[6] = 0x40;
        assert!(!Ipv4::parse(&bytes).unwrap().fragment, "don't fragment");
        bytes[6] = 0x20;
        assert!(Ipv4::parse(&bytes).unwrap().fragment, "more fragments");
        for first in [0x44, 0x65] {
            bytes[0] = first;
            assert!(Ipv4::parse(&bytes).is_err());
        }
        bytes[0] = 0x60;
        assert_eq!(Ipv6::parse(&bytes).unwrap().payload.len(), 20);
        assert!(Ipv6::parse(&bytes[..39]).is_err());
    }
}
