//! The addresses a bond's owner has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bond::Bond;
use crate::defects::Defects;

/// An address of the bond's interface or of a VLAN above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// The VLAN it is in; `None`: untagged.
    pub vlan: Option<u16>,
}

impl LocalAddress {
    /// An untagged address.
    pub const fn new(ip: IpAddr, prefix: u8) -> Self {
        Self { ip, prefix, vlan: None }
    }

    /// Whether `other` is in its network.
    pub fn covers(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(ip), IpAddr::V4(other)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                (u32::from(ip) ^ u32::from(other)).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(ip), IpAddr::V6(other)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                (u128::from(ip) ^ u128::from(other)).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl<D: Defects> Bond<D> {
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }

    pub(crate) fn v4_addresses(&self) -> impl Iterator<Item = (Ipv4Addr, Option<u16>)> {
        self.addresses.iter().filter_map(|address| match address.ip {
            IpAddr::V4(ip) => Some((ip, address.vlan)),
            IpAddr::V6(_) => None,
        })
    }

    pub(crate) fn v6_addresses(&self) -> impl Iterator<Item = (Ipv6Addr, Option<u16>)> {
        self.addresses.iter().filter_map(|address| match address.ip {
            IpAddr::V6(ip) => Some((ip, address.vlan)),
            IpAddr::V4(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_covers_its_addresses() {
        let address = LocalAddress::new([10, 0, 1, 2].into(), 24);
        assert!(address.covers([10, 0, 1, 99].into()));
        assert!(!address.covers([10, 0, 2, 2].into()));
        assert!(LocalAddress::new([10, 0, 1, 2].into(), 0).covers([192, 0, 2, 1].into()));
        let link_local: Ipv6Addr = "fe80::2".parse().unwrap();
        let address = LocalAddress::new(link_local.into(), 64);
        assert!(address.covers("fe80::1".parse().unwrap()));
        assert!(!address.covers([10, 0, 1, 2].into()));
    }
}
