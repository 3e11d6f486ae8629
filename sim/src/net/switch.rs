//! A learning switch.

use std::collections::BTreeMap;

use holdfast_bond::wire::ethernet::Ethernet;
use holdfast_core::net::Mac;
use holdfast_core::time::{Duration, Instant};

/// How long an address is remembered.
pub const AGEING: Duration = Duration::from_secs(300);

/// Whether a switch does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It does.
    On,
    /// It does not, but its ports have carrier.
    Zombie,
    /// It is off: no carrier either.
    Off,
}

/// A switch.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Whether it works.
    pub power: Power,
    ports: usize,
    table: BTreeMap<(u16, Mac), (usize, Instant)>,
}

impl Switch {
    /// A switch with so many ports that knows nobody yet.
    pub const fn new(ports: usize) -> Self {
        Self { power: Power::On, ports, table: BTreeMap::new() }
    }

    /// One more port.
    pub const fn add_port(&mut self) -> usize {
        self.ports += 1;
        self.ports - 1
    }

    /// Turns it on, off or into a zombie; what it had learned is gone.
    pub fn set_power(&mut self, power: Power) {
        self.power = power;
        self.table.clear();
    }

    /// A port lost its carrier: who was behind it is forgotten.
    pub fn port_down(&mut self, port: usize) {
        self.table.retain(|_, (at, _)| *at != port);
    }

    /// A frame came in on a port: the ports it leaves on.
    pub fn forward(&mut self, from: usize, frame: &[u8], now: Instant) -> Vec<usize> {
        let Ok(read) = Ethernet::parse(frame) else { return Vec::new() };
        if self.power != Power::On || read.destination.is_link_local() {
            return Vec::new();
        }
        let vlan = read.vlan.unwrap_or(0);
        if !read.source.is_multicast() {
            self.table.insert((vlan, read.source), (from, now));
        }
        let known =
            self.table.get(&(vlan, read.destination)).filter(|(_, seen)| now - *seen <= AGEING);
        match known {
            Some((to, _)) if *to == from => Vec::new(),
            Some((to, _)) => vec![*to],
            None => (0..self.ports).filter(|to| *to != from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_bond::wire::ethernet;

    fn frame(to: u8, from: u8, vlan: Option<u16>) -> Vec<u8> {
        ethernet::frame(Mac([2, 0, 0, 0, 0, to]), Mac([2, 0, 0, 0, 0, from]), vlan, 0x800, b"")
    }

    #[test]
    fn it_learns_and_forgets_by_vlan() {
        let mut switch = Switch::new(3);
        let now = Instant::ZERO;
        assert_eq!(switch.forward(0, &frame(2, 1, None), now), [1, 2], "unknown: everywhere");
        assert_eq!(switch.forward(1, &frame(1, 2, None), now), [0], "learned");
        assert_eq!(switch.forward(1, &frame(1, 2, Some(7)), now), [0, 2], "not in this VLAN");
        assert_eq!(switch.forward(2, &frame(2, 1, None), now), [1], "it moved");
        assert_eq!(switch.forward(1, &frame(1, 2, None), now), [2]);
        let later = now + AGEING + Duration::from_secs(1);
        assert_eq!(switch.forward(1, &frame(1, 2, None), later), [0, 2], "forgotten");
        switch.set_power(Power::Zombie);
        assert!(switch.forward(0, &frame(2, 1, None), later).is_empty());
    }

    #[test]
    fn link_local_groups_stay_on_their_link() {
        let mut switch = Switch::new(2);
        let lacp = ethernet::frame(Mac([1, 0x80, 0xc2, 0, 0, 2]), Mac([2; 6]), None, 0x8809, b"");
        assert!(switch.forward(0, &lacp, Instant::ZERO).is_empty());
    }
}
