//! Words for networks: hardware addresses and what a port says of its link.

use std::fmt;
use std::str::FromStr;

/// A hardware address: six octets, as they go over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All zeros: no address.
    pub const ZERO: Self = Self([0; 6]);
    /// Everybody on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether frames to it go to a group (broadcast included).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is everybody's.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether a station can have it: neither a group's nor zero.
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self != Self::ZERO
    }

    /// Whether bridges keep frames to it on their own link (01:80:c2:00:00:00 to 0f; IEEE 802.1Q
    /// table 8-1).
    pub const fn is_link_local(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, last] if last & 0xf0 == 0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address: six pairs of hexadecimal digits, like 52:54:00:00:00:01")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let refuse = || NotAMac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(refuse)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
        }
        if parts.next().is_some() { Err(refuse()) } else { Ok(Self(octets)) }
    }
}

/// Whether both ends of a link may talk at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duplex {
    /// One at a time.
    Half,
    /// Both.
    Full,
}

/// What a port says of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether the port is in operation and hears the other end.
    pub carrier: bool,
    /// Speed in Mbit/s, where known.
    pub speed_mbps: Option<u32>,
    /// Duplex, where known.
    pub duplex: Option<Duplex>,
}

impl Link {
    /// No carrier, nothing known.
    pub const DOWN: Self = Self { carrier: false, speed_mbps: None, duplex: None };

    /// A link in operation, full duplex.
    pub const fn up(speed_mbps: u32) -> Self {
        Self { carrier: true, speed_mbps: Some(speed_mbps), duplex: Some(Duplex::Full) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_print_and_parse() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
        assert_eq!(mac.to_string(), "52:54:00:ab:00:01");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert_eq!("52-54-00-AB-00-01".parse(), Ok(mac));
        for wrong in
            ["", "52:54:00:ab:00", "52:54:00:ab:00:01:02", "5254:00:ab:00:01", "x2:54:00:ab:00:01"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn kinds_of_addresses() {
        assert!(Mac::BROADCAST.is_multicast() && !Mac::BROADCAST.is_station());
        assert!(!Mac::ZERO.is_station());
        assert!(Mac([0x01, 0x80, 0xc2, 0, 0, 2]).is_link_local());
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local());
    }
}
