//! What others do to the bond's interface and to its members.
//!
//! A message from netlink says that something changed; what it is now is asked for, because by the
//! time a message is read it may be history. Carrier is not among it: see
//! [`Prober`](holdfast_host::bond::link::Prober).

use std::collections::BTreeSet;

use holdfast_bond::LocalAddress;
use holdfast_core::net::Mac;
use holdfast_host::bond::addresses;
use holdfast_host::bond::link::Name;
use holdfast_host::bond::netlink::{Change, Link};
use holdfast_host::bond::packet::Membership;

use super::driver::{Driver, LOOK_EVERY};

impl Driver {
    /// Takes what netlink has to say.
    pub(super) fn hear_changes(&mut self) {
        if !self.listener_ready {
            return;
        }
        self.listener_ready = false;
        match self.listener.changes() {
            Ok(Some(changes)) => {
                // The last word on each is the one that counts.
                for change in changes {
                    self.take_change(change);
                }
            }
            // Some were lost: whatever is there now has changed, whatever is not is gone.
            Ok(None) => self.compare_all(),
            Err(_) => {}
        }
        self.drain();
    }

    fn take_change(&mut self, change: Change) {
        match change {
            Change::Addresses => self.look_again = true,
            Change::Gone { index } => self.vanished(index),
            Change::Is(link) if link.index == self.tap.index() => self.look_again = true,
            Change::Is(link) if self.ports.iter().any(|port| port.index == link.index) => {
                if let Ok(now) = self.netlink.link(link.index) {
                    self.member_is(&now);
                }
            }
            Change::Is(link) => {
                // Something above the bond, or a member that returns.
                self.look_again = true;
                if self.wanted.contains_key(&link.name) {
                    self.come_back(&link.name);
                }
            }
        }
    }

    fn compare_all(&mut self) {
        let Ok(links) = self.netlink.links() else { return };
        let there: BTreeSet<u32> = links.iter().map(|link| link.index).collect();
        let gone: Vec<u32> = self.ports.iter().map(|port| port.index).collect();
        for index in gone.into_iter().filter(|index| !there.contains(index)) {
            self.vanished(index);
        }
        for link in links {
            self.take_change(Change::Is(link));
        }
    }

    fn member_is(&mut self, link: &Link) {
        let now = self.now();
        let Some(port) = self.ports.iter_mut().find(|port| port.index == link.index) else {
            return;
        };
        let Some(id) = port.id else { return };
        if port.name != link.name {
            let before = std::mem::replace(&mut port.name, link.name.clone());
            // A name taken twice cannot be: the kernel has seen to that.
            let _ = self.bond.rename_member(id, link.name.as_str(), now);
            self.names.insert(id, link.name.to_string());
            if let Some(own) = self.wanted.remove(&before) {
                self.wanted.insert(link.name.clone(), own);
            }
            let text = format!("{before} is called {} now", link.name);
            self.note(Some(&link.name), text);
        }
        if let Some(mac) = link.mac {
            self.bond.set_member_mac(id, mac, now);
        }
    }

    fn vanished(&mut self, index: u32) {
        let now = self.now();
        let Some(port) = self.ports.iter_mut().find(|port| port.index == index) else { return };
        port.vanished = true;
        let (id, name) = (port.id, port.name.clone());
        self.note(Some(&name), format!("{name} has vanished"));
        if let Some(id) = id {
            // The core knows its members.
            let _ = self.bond.remove_member(id, now);
            self.drain();
        }
    }

    /// An interface with the name of a member that vanished.
    fn come_back(&mut self, name: &Name) {
        if self.bond.member_named(name.as_str()).is_some() {
            return;
        }
        let own = self.wanted.get(name).copied().unwrap_or_default();
        if let Err(why) = self.add(name, own) {
            self.note(Some(name), format!("not taken back: {why}"));
        }
    }

    /// Looks at the bond's own interface: up or down, address, MTU, who listens to what.
    pub(super) fn look_around(&mut self) {
        let now = self.now();
        (self.look_again, self.look_at) = (false, now + LOOK_EVERY);
        let Ok(link) = self.netlink.link(self.tap.index()) else { return };
        self.bond.set_up(link.up, now);
        if let Some(mac) = link.mac.filter(|mac| *mac != self.bond.mac())
            && self.bond.mac() != Mac::ZERO
        {
            self.bond.set_mac(mac, now);
        }
        if link.mtu != self.mtu {
            self.mtu = link.mtu;
            self.bond.set_mtu(link.mtu, now);
        }
        if let Ok(owned) = addresses::owned_by(&mut self.netlink, link.index) {
            let local = owned.iter().map(|own| LocalAddress {
                ip: own.ip,
                prefix: own.prefix,
                vlan: own.vlan,
            });
            self.bond.set_addresses(local.collect(), now);
        }
        if let Ok(heard) = addresses::listened_to(&mut self.netlink, link.index) {
            let (groups, unicast): (Vec<Mac>, Vec<Mac>) =
                heard.into_iter().partition(|mac| mac.is_multicast());
            self.hear_groups(groups, link.promiscuous);
            self.hear_unicast(unicast);
        }
        self.count_missed();
        self.drain();
    }

    fn hear_groups(&mut self, groups: Vec<Mac>, promiscuous: bool) {
        let now = self.now();
        let filters = (groups, promiscuous);
        if self.filters != filters {
            self.bond.set_filters(filters.0.iter().copied(), promiscuous, now);
            self.filters = filters;
        }
    }

    /// Addresses of what lies above the bond (a macvlan): every member receives them.
    fn hear_unicast(&mut self, unicast: Vec<Mac>) {
        let own = self.bond.mac();
        let unicast: Vec<Mac> = unicast.into_iter().filter(|mac| *mac != own).collect();
        if unicast == self.unicast {
            return;
        }
        let before = std::mem::replace(&mut self.unicast, unicast);
        for port in &mut self.ports {
            // A card without room for more addresses becomes promiscuous by itself.
            for mac in self.unicast.iter().filter(|mac| !before.contains(mac)) {
                let _ = port.join(Membership::Unicast(*mac));
            }
            for mac in before.iter().filter(|mac| !self.unicast.contains(mac)) {
                let _ = port.leave(Membership::Unicast(*mac));
            }
        }
    }

    fn count_missed(&mut self) {
        for port in &mut self.ports {
            let missed = [&port.control, &port.data].map(|lane| lane.take_drops().unwrap_or(0));
            port.counters.missed += missed.into_iter().map(u64::from).sum::<u64>();
        }
    }
}
