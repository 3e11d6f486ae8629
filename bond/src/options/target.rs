//! Addresses that are probed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// At most so many targets of each family, as in the kernel.
pub const MAX_TARGETS: usize = 16;

/// An address to probe, and how: `10.0.0.1`, or with our additions `10.0.0.1@100` (through VLAN
/// 100) and `10.0.0.1@100/10.0.0.7` (asked for as 10.0.0.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target<A> {
    /// Who is asked.
    pub address: A,
    /// The VLAN to ask in; `None`: where the bond's own address of that network is.
    pub vlan: Option<u16>,
    /// Who asks; `None`: the bond's own address of that network.
    pub source: Option<A>,
}

impl<A> Target<A> {
    /// A target without additions.
    pub const fn plain(address: A) -> Self {
        Self { address, vlan: None, source: None }
    }
}

impl<A: fmt::Display> fmt::Display for Target<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if let Some(vlan) = self.vlan {
            write!(f, "@{vlan}")?;
        }
        if let Some(source) = &self.source {
            write!(f, "/{source}")?;
        }
        Ok(())
    }
}

/// An address that can be a target.
pub trait Address: Copy + FromStr + Into<IpAddr> + Eq {
    /// Why nobody could answer for it, if so.
    fn unusable(self) -> Option<&'static str>;
}

impl Address for Ipv4Addr {
    fn unusable(self) -> Option<&'static str> {
        let nobody = self.is_unspecified() || self.is_broadcast() || self.is_multicast();
        nobody.then_some("no station has that address")
    }
}

impl Address for Ipv6Addr {
    fn unusable(self) -> Option<&'static str> {
        (self.is_unspecified() || self.is_multicast()).then_some("no station has that address")
    }
}

/// A text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}")]
pub struct NotATarget {
    /// The text.
    pub text: String,
    /// What is wrong.
    pub reason: &'static str,
}

impl<A: Address> FromStr for Target<A> {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let refuse = |reason| NotATarget { text: text.to_owned(), reason };
        let (rest, source) = match text.split_once('/') {
            Some((rest, source)) => (rest, Some(source)),
            None => (text, None),
        };
        let (address, vlan) = match rest.split_once('@') {
            Some((address, vlan)) => (address, Some(vlan)),
            None => (rest, None),
        };
        let address: A = address.parse().map_err(|_| refuse("no address of this family"))?;
        if let Some(reason) = address.unusable() {
            return Err(refuse(reason));
        }
        let vlan = vlan.map(|vlan| match vlan.parse() {
            Ok(vlan) if (1..=4094).contains(&vlan) => Ok(vlan),
            _ => Err(refuse("a VLAN is a number from 1 to 4094")),
        });
        let source = source.map(|source| source.parse().map_err(|_| refuse("no source address")));
        Ok(Self { address, vlan: vlan.transpose()?, source: source.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_survive_print_and_parse() {
        for text in ["10.0.0.1", "10.0.0.1@100", "10.0.0.1/10.0.0.7", "10.0.0.1@7/10.0.0.7"] {
            let target: Target<Ipv4Addr> = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
        let target: Target<Ipv6Addr> = "fe80::1@4".parse().unwrap();
        assert_eq!((target.to_string().as_str(), target.vlan), ("fe80::1@4", Some(4)));
        for wrong in [
            "",
            "10.0.0",
            "0.0.0.0",
            "255.255.255.255",
            "10.0.0.1@0",
            "10.0.0.1@4095",
            "10.0.0.1/x",
        ] {
            assert!(wrong.parse::<Target<Ipv4Addr>>().is_err(), "{wrong}");
        }
    }
}
