//! What the core wants set on the machine, and members that come and go.

use std::io;
use std::os::fd::AsFd;

use holdfast_bond::{Action, MemberId, NewMember};
use holdfast_core::net::Mac;
use holdfast_host::bond::link::Name;
use holdfast_host::bond::packet::Membership;
use rustix::event::epoll;

use super::cleanup;
use super::driver::{CONTROL_LANE, DATA_LANE, Driver};
use super::ports::{self, Port};
use super::setup::Own;
use super::traffic::port_of;

impl Driver {
    /// Takes an interface in as a member.
    pub(super) fn add(&mut self, name: &Name, own: Own) -> Result<(), String> {
        if self.bond.member_named(name.as_str()).is_some() {
            return Err(format!("{name} is a member already"));
        }
        let (link, mac) = ports::candidate(&mut self.netlink, name, self.tap.index())
            .map_err(|unfit| unfit.to_string())?;
        if let Some(owner) = cleanup::owner(&self.place, link.index) {
            return Err(format!("{name}: is a member of bond {owner}"));
        }
        let token = self.next_token;
        self.next_token += 1;
        let port = Port::open(&mut self.netlink, &mut self.journal, &link, mac, token)
            .map_err(|unfit| unfit.to_string())?;
        let mut new = NewMember::new(name.as_str(), mac, port.link(&self.prober));
        (new.mtu, new.prio, new.port_priority) = (link.mtu, own.prio, own.port_priority);
        self.ports.push(port);
        let now = self.now();
        let added = self.bond.add_member(new, now).map_err(|refusal| refusal.to_string());
        let added = added.and_then(|id| {
            let port = self.ports.last_mut().expect("pushed above");
            port.id = Some(id);
            self.names.insert(id, name.to_string());
            let unicast = self.unicast.clone();
            for mac in unicast {
                // A card without room for more addresses becomes promiscuous by itself.
                let _ = port.join(Membership::Unicast(mac));
            }
            self.watch_port().map_err(|error| format!("{name}: {error}"))
        });
        match added {
            Ok(()) => {
                self.drain();
                Ok(())
            }
            Err(why) => {
                let port = self.ports.pop().expect("pushed above");
                if let Some(id) = port.id {
                    let _ = self.bond.remove_member(id, now);
                }
                let _ = port.close(&mut self.netlink, &mut self.journal);
                self.drain();
                Err(why)
            }
        }
    }

    fn watch_port(&self) -> io::Result<()> {
        let port = self.ports.last().expect("pushed by the caller");
        for (socket, lane) in [(&port.control, CONTROL_LANE), (&port.data, DATA_LANE)] {
            let data = epoll::EventData::new_u64(lane | port.token);
            epoll::add(&self.epoll, socket.as_fd(), data, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Does one thing the core wants.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::SetBondMac(mac) => {
                let set = self.netlink.set_mac(self.tap.index(), mac);
                self.complain(None, "its address", set);
            }
            Action::SetCarrier(on) => {
                let set = self.tap.set_carrier(on);
                self.complain(None, "its carrier", set);
            }
            Action::SetMemberMac { member, mac } => self.set_member_mac(member, mac),
            Action::SetMemberMtu { member, mtu } => {
                if let Some(port) = port_of(&mut self.ports, member) {
                    let index = port.index;
                    let set = self.netlink.set_mtu(index, mtu);
                    self.complain(Some(member), "its MTU", set);
                }
            }
            Action::JoinGroup { member, group } => {
                self.change(member, "a group", |port| port.join(membership(group)));
            }
            Action::LeaveGroup { member, group } => {
                self.change(member, "a group", |port| port.leave(membership(group)));
            }
            Action::SetPromiscuous { member, on: true } => {
                self.change(member, "promiscuity", |port| port.join(Membership::Promiscuous));
            }
            Action::SetPromiscuous { member, on: false } => {
                self.change(member, "promiscuity", |port| port.leave(Membership::Promiscuous));
            }
            Action::Release { member } => self.release(member),
        }
    }

    fn set_member_mac(&mut self, member: MemberId, mac: Mac) {
        let Some(port) = port_of(&mut self.ports, member) else { return };
        let index = port.index;
        let set = port.set_mac(&mut self.netlink, mac);
        let failed = set.is_err();
        self.complain(Some(member), "its address", set);
        if failed && let Ok(link) = self.netlink.link(index) {
            let now = self.now();
            self.bond.set_member_mac(member, link.mac.unwrap_or(mac), now);
        }
    }

    fn change(
        &mut self,
        member: MemberId,
        what: &str,
        change: impl FnOnce(&mut Port) -> io::Result<()>,
    ) {
        if let Some(port) = port_of(&mut self.ports, member) {
            let changed = change(port);
            self.complain(Some(member), what, changed);
        }
    }

    fn release(&mut self, member: MemberId) {
        let Some(at) = self.ports.iter().position(|port| port.id == Some(member)) else { return };
        let port = self.ports.remove(at);
        let name = port.name.clone();
        if let Err(error) = port.close(&mut self.netlink, &mut self.journal) {
            self.note(Some(&name), format!("{name}: could not be put back as it was: {error}"));
        }
    }

    /// Something could not be set. A member that has vanished needs nothing set any more.
    fn complain(&mut self, member: Option<MemberId>, what: &str, result: io::Result<()>) {
        let Err(error) = result else { return };
        let port = member.and_then(|member| port_of(&mut self.ports, member));
        if port.as_ref().is_some_and(|port| port.vanished) || is_gone(&error) {
            return;
        }
        let name = port.map(|port| port.name.clone());
        let who = name.as_ref().map_or_else(|| "the bond".to_owned(), Name::to_string);
        self.note(name.as_ref(), format!("{who}: {what} could not be set: {error}"));
    }
}

/// `ENODEV`, `ENXIO`: there is no such device any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(19 | 6))
}

/// What a member listens to beyond its own address: a group, or an address of its own making
/// (backups that ask for themselves have one).
const fn membership(mac: Mac) -> Membership {
    if mac.is_multicast() { Membership::Multicast(mac) } else { Membership::Unicast(mac) }
}
