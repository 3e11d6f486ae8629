//! LACPDUs and markers (IEEE 802.1AX, 6.4.2 and 6.5.3), both under the slow protocols' EtherType.
//!
//! ```text
//!  0  1  2  3       20   22  23      40   42  43       58                108
//! ┌──┬──┬──┬──┬──────┬───┬──┬──┬──────┬───┬──┬──┬───────┬─────────────────┐
//! │ 1│ 1│ 1│20│ actor│ 0 │ 2│20│ part.│ 0 │ 3│16│ collr.│ terminator, 0 … │
//! └──┴──┴──┴──┴──────┴───┴──┴──┴──────┴───┴──┴──┴───────┴─────────────────┘
//!  subtype, version       actor, partner: priority 2, system 6, key 2, port priority 2, port 2, state 1
//! ```

use holdfast_core::net::Mac;

use super::{WireError, be16, head, take};

/// Subtype of LACPDUs.
pub const LACP: u8 = 1;
/// Subtype of markers.
pub const MARKER: u8 = 2;
/// Bytes of either.
pub const LENGTH: usize = 110;

/// The bits of a state (6.4.2.3).
pub mod state {
    /// Speaks before being spoken to.
    pub const ACTIVITY: u8 = 0x01;
    /// Wants to hear every second.
    pub const TIMEOUT: u8 = 0x02;
    /// May be aggregated.
    pub const AGGREGATION: u8 = 0x04;
    /// Is in the right aggregator.
    pub const SYNCHRONIZATION: u8 = 0x08;
    /// Takes frames.
    pub const COLLECTING: u8 = 0x10;
    /// Sends frames.
    pub const DISTRIBUTING: u8 = 0x20;
    /// Works with what it assumes of its partner.
    pub const DEFAULTED: u8 = 0x40;
    /// Has not heard of its partner for too long.
    pub const EXPIRED: u8 = 0x80;
}

/// What one side says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Its system's priority; the lower, the higher.
    pub system_priority: u16,
    /// Its system.
    pub system: Mac,
    /// Ports of one key may be aggregated.
    pub key: u16,
    /// The port's priority; the lower, the higher.
    pub port_priority: u16,
    /// The port.
    pub port: u16,
    /// Its [`state`].
    pub state: u8,
}

impl Party {
    /// Whether this bit is set.
    pub const fn has(&self, bit: u8) -> bool {
        self.state & bit != 0
    }

    fn parse(bytes: &[u8]) -> Self {
        Self {
            system_priority: be16(bytes, 0),
            system: Mac(take(bytes, 2)),
            key: be16(bytes, 8),
            port_priority: be16(bytes, 10),
            port: be16(bytes, 12),
            state: bytes[14],
        }
    }

    fn put(&self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.system_priority.to_be_bytes());
        bytes[2..8].copy_from_slice(&self.system.0);
        bytes[8..10].copy_from_slice(&self.key.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.port_priority.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.port.to_be_bytes());
        bytes[14] = self.state;
    }
}

/// A LACPDU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacpdu {
    /// Who sent it.
    pub actor: Party,
    /// What the sender thinks of the receiver.
    pub partner: Party,
    /// Tens of microseconds the sender may hold frames back.
    pub collector_max_delay: u16,
}

impl Lacpdu {
    /// Reads a LACPDU from its subtype on. Later versions are read as this one (6.4.2.3, f); types
    /// and lengths of the three fields must be right.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let bytes = head("LACPDU", payload, 58)?;
        let expect = |field, at: usize, right: u8| {
            let error = WireError::Field { what: "LACPDU", field, value: bytes[at].into() };
            if bytes[at] == right { Ok(()) } else { Err(error) }
        };
        expect("subtype", 0, LACP)?;
        expect("actor's type", 2, 1)?;
        expect("actor's length", 3, 20)?;
        expect("partner's type", 22, 2)?;
        expect("partner's length", 23, 20)?;
        expect("collector's type", 42, 3)?;
        expect("collector's length", 43, 16)?;
        Ok(Self {
            actor: Party::parse(&bytes[4..]),
            partner: Party::parse(&bytes[24..]),
            collector_max_delay: be16(bytes, 44),
        })
    }

    /// Its bytes, from the subtype on.
    pub fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&[LACP, 1, 1, 20]);
        self.actor.put(&mut bytes[4..]);
        bytes[22..24].copy_from_slice(&[2, 20]);
        self.partner.put(&mut bytes[24..]);
        bytes[42..44].copy_from_slice(&[3, 16]);
        bytes[44..46].copy_from_slice(&self.collector_max_delay.to_be_bytes());
        bytes
    }
}

/// What a marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Somebody wants to know when all frames before it have arrived.
    Information,
    /// The answer.
    Response,
}

impl Marker {
    /// Reads a marker from its subtype on.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let bytes = head("marker", payload, 18)?;
        match (bytes[0], bytes[2]) {
            (MARKER, 1) => Ok(Self::Information),
            (MARKER, 2) => Ok(Self::Response),
            (MARKER, kind) => {
                Err(WireError::Field { what: "marker", field: "type", value: kind.into() })
            }
            (other, _) => {
                Err(WireError::Field { what: "marker", field: "subtype", value: other.into() })
            }
        }
    }

    /// The answer to a marker: the same with another type.
    pub fn response(payload: &[u8]) -> Vec<u8> {
        let mut answer = payload[..payload.len().min(LENGTH)].to_vec();
        answer.resize(LENGTH, 0);
        answer[2] = 2;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lacpdu_survives_print_and_parse() {
        let party = |n: u8| Party {
            system_priority: 0x8000 + u16::from(n),
            system: Mac([2, 0, 0, 0, 0, n]),
            key: 0x0d00 + u16::from(n),
            port_priority: 0xff,
            port: n.into(),
            state: state::ACTIVITY | state::AGGREGATION,
        };
        let pdu = Lacpdu { actor: party(1), partner: party(2), collector_max_delay: 7 };
        let bytes = pdu.bytes();
        assert_eq!(Lacpdu::parse(&bytes), Ok(pdu));
        assert_eq!(bytes[..10], [1, 1, 1, 20, 0x80, 1, 2, 0, 0, 0]);
        for length in 0..58 {
            assert!(Lacpdu::parse(&bytes[..length]).is_err());
        }
        for at in [0, 2, 3, 22, 23, 42, 43] {
            let mut other = bytes;
            other[at] ^= 0x40;
            assert!(Lacpdu::parse(&other).is_err(), "byte {at}");
        }
        // A later version is read all the same.
        let mut later = bytes;
        later[1] = 2;
        assert_eq!(Lacpdu::parse(&later), Ok(pdu));
    }

    #[test]
    fn a_marker_is_answered_with_itself() {
        let mut marker = [0; LENGTH];
        marker[..4].copy_from_slice(&[MARKER, 1, 1, 16]);
        marker[12] = 0xab;
        assert_eq!(Marker::parse(&marker), Ok(Marker::Information));
        let answer = Marker::response(&marker);
        assert_eq!(Marker::parse(&answer), Ok(Marker::Response));
        assert_eq!((answer[12], answer.len()), (0xab, LENGTH));
        assert!(Marker::parse(&marker[..17]).is_err());
    }
}
