//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0    2    4  5  6    8          14      18         24      28
//! ┌────┬────┬──┬──┬────┬──────────┬───────┬──────────┬───────┐
//! │ 1  │0800│ 6│ 4│ op │ sender HA│ sender│ target HA│ target│
//! └────┴────┴──┴──┴────┴──────────┴───────┴──────────┴───────┘
//! ```

use std::net::Ipv4Addr;

use holdfast_core::net::Mac;

use super::{WireError, be16, ethernet, head, take};

/// Bytes of a packet.
pub const LENGTH: usize = 28;

/// What a packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
    /// Anything else.
    Other(u16),
}

impl Op {
    const fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Other(number) => number,
        }
    }
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What it wants.
    pub op: Op,
    /// Who sent it.
    pub sender_mac: Mac,
    /// By which IP address.
    pub sender: Ipv4Addr,
    /// Who it is about; zero in requests.
    pub target_mac: Mac,
    /// Which IP address it is about.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads a packet; what follows it (padding) is left alone.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let bytes = head("ARP", payload, LENGTH)?;
        let field = |field, value: u16, right: u16| {
            let error = WireError::Field { what: "ARP", field, value: value.into() };
            if value == right { Ok(()) } else { Err(error) }
        };
        field("hardware type", be16(bytes, 0), 1)?;
        field("protocol type", be16(bytes, 2), ethernet::IPV4)?;
        field("hardware length", bytes[4].into(), 6)?;
        field("protocol length", bytes[5].into(), 4)?;
        let op = match be16(bytes, 6) {
            1 => Op::Request,
            2 => Op::Reply,
            other => Op::Other(other),
        };
        Ok(Self {
            op,
            sender_mac: Mac(take(bytes, 8)),
            sender: take(bytes, 14).into(),
            target_mac: Mac(take(bytes, 18)),
            target: take(bytes, 24).into(),
        })
    }

    /// Its bytes.
    pub fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        bytes[6..8].copy_from_slice(&self.op.number().to_be_bytes());
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..].copy_from_slice(&self.target.octets());
        bytes
    }

    /// A broadcast question for `target`.
    pub fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { op: Op::Request, sender_mac: mac, sender, target_mac: Mac::ZERO, target }
    }

    /// It as a broadcast frame of its sender.
    pub fn broadcast(&self, vlan: Option<u16>) -> Vec<u8> {
        ethernet::frame(Mac::BROADCAST, self.sender_mac, vlan, ethernet::ARP, &self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_request() {
        let captured = [
            0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0,
            10, 0, 0, 1,
        ];
        let arp = Arp::parse(&captured).unwrap();
        let mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(arp, Arp::request(mac, [10, 0, 0, 2].into(), [10, 0, 0, 1].into()));
        assert_eq!(arp.bytes(), captured);
        assert_eq!(arp.broadcast(None)[..12], [&[0xff; 6][..], &mac.0[..]].concat());
        for length in 0..LENGTH {
            assert!(Arp::parse(&captured[..length]).is_err());
        }
        for at in [0, 2, 4, 5] {
            let mut other = captured;
            other[at] ^= 0x40;
            assert!(matches!(Arp::parse(&other), Err(WireError::Field { .. })));
        }
    }
}
