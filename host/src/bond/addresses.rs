//! The addresses of an interface: IP, and the hardware addresses it listens to beside its own.
#![expect(clippy::host_endian_bytes, reason = "netlink speaks the host's byte order")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holdfast_core::net::Mac;

use super::netlink::{Link, NEW_ADDRESS, Netlink, Request, attributes, u32_at};

const GET_ADDRESS: u16 = 22;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_BRIDGE: u8 = 7;
/// `IFA_ADDRESS`: of a point-to-point link, the other end's; else the same as `IFA_LOCAL`.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `IFA_F_TENTATIVE`: somebody else may have it.
const TENTATIVE: u8 = 0x40;
/// `NDA_LLADDR`.
const HARDWARE_ADDRESS: u16 = 2;
/// `NTF_SELF`: the interface's own list.
const SELF: u8 = 0x02;

/// An IP address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// The VLAN it is in, seen from the interface that was asked about.
    pub vlan: Option<u16>,
}

/// The IP addresses of an interface and of everything above it: its VLANs, its macvlans, and the
/// bridge that owns it. Addresses that may still turn out to be somebody else's are left out.
pub fn owned_by(netlink: &mut Netlink, index: u32) -> io::Result<Vec<Owned>> {
    let above = all_above(&netlink.links()?, index);
    let mut owned = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let request = Request::new(GET_ADDRESS, 0, &[family, 0, 0, 0, 0, 0, 0, 0]);
        netlink.dump(request, |kind, body| {
            if kind == NEW_ADDRESS
                && let Some((index, ip, prefix)) = address(body)
                && let Some((_, vlan)) = above.iter().find(|(above, _)| *above == index)
            {
                owned.push(Owned { ip, prefix, vlan: *vlan });
            }
        })?;
    }
    Ok(owned)
}

/// The interface and those above it, each with the VLAN its frames are in.
fn all_above(links: &[Link], index: u32) -> Vec<(u32, Option<u16>)> {
    let mut above = vec![(index, None)];
    let mut at = 0;
    while let Some(&(below, vlan)) = above.get(at) {
        at += 1;
        for link in links {
            let owner = links.iter().any(|port| {
                port.index == below && port.master == Some(link.index) && port.index != link.index
            });
            if (link.above == Some(below) || owner)
                && above.iter().all(|(known, _)| *known != link.index)
            {
                // Of two tags, the outer one is what is seen below.
                above.push((link.index, vlan.or(link.vlan)));
            }
        }
    }
    above
}

fn address(body: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let [family, prefix, flags, ..] = *body else { return None };
    let index = u32_at(body, 4)?;
    if flags & TENTATIVE != 0 {
        return None;
    }
    let part = |wanted| {
        attributes(body.get(8..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    };
    let value = part(LOCAL).or_else(|| part(ADDRESS))?;
    let ip = match family {
        AF_INET => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?)),
        AF_INET6 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => return None,
    };
    Some((index, ip, prefix))
}

/// The hardware addresses an interface listens to beside its own and everybody's: groups joined by
/// its stack, and addresses of what lies above it.
pub fn listened_to(netlink: &mut Netlink, index: u32) -> io::Result<Vec<Mac>> {
    let mut message = [0; 12];
    message[0] = AF_BRIDGE;
    message[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut heard = Vec::new();
    netlink.dump(Request::new(GET_NEIGHBOUR, 0, &message), |kind, body| {
        let flags = body.get(10).copied().unwrap_or(0);
        if kind != NEW_NEIGHBOUR || u32_at(body, 4) != Some(index) || flags & SELF == 0 {
            return;
        }
        let parts = attributes(body.get(12..).unwrap_or_default());
        let mac: Option<Mac> = parts
            .filter(|(kind, _)| *kind == HARDWARE_ADDRESS)
            .find_map(|(_, value)| value.try_into().ok().map(Mac));
        heard.extend(mac);
    })?;
    heard.sort_unstable();
    heard.dedup();
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::super::link::Name;
    use super::*;

    fn link(index: u32, above: Option<u32>, vlan: Option<u16>, master: Option<u32>) -> Link {
        Link {
            index,
            name: Name::new("x").unwrap(),
            kind: 1,
            up: true,
            promiscuous: false,
            mac: None,
            mtu: 1500,
            master,
            above,
            vlan,
            address_mode: None,
        }
    }

    #[test]
    fn what_lies_above_is_followed_upward_and_only_once() {
        let links = [
            link(1, None, None, None),
            link(2, None, None, Some(9)), // the bond, a port of bridge 9
            link(3, Some(2), Some(100), None), // its VLAN
            link(4, Some(3), Some(7), None), // a VLAN in the VLAN
            link(5, Some(2), None, None), // a macvlan
            link(6, Some(1), Some(5), None), // somebody else's
            link(9, None, None, None),
            link(10, Some(9), Some(8), None), // a VLAN of the bridge
            link(11, None, None, Some(9)),    // another port
        ];
        assert_eq!(
            all_above(&links, 2),
            [(2, None), (3, Some(100)), (5, None), (9, None), (4, Some(100)), (10, Some(8))]
        );
        assert_eq!(all_above(&links, 7), [(7, None)]);
    }
}
