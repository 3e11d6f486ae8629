//! Members as devices: prepared, opened, and put back.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use holdfast_bond::MemberId;
use holdfast_core::net::{Duplex, Link, Mac};
use holdfast_host::bond::guard;
use holdfast_host::bond::journal::{self, Before, Journal};
use holdfast_host::bond::link::{Name, Prober};
use holdfast_host::bond::netlink::{self, NO_ADDRESS, Netlink};
use holdfast_host::bond::packet::{Lane, Membership, PacketSocket, Sent};

/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// What a port has carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Frames received, whatever became of them.
    pub(super) received: u64,
    /// Frames handed to the stack.
    pub(super) delivered: u64,
    /// Frames that came and found no room in the socket.
    pub(super) missed: u64,
    /// Frames sent.
    pub(super) sent: Sent,
}

/// A member's device.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) name: Name,
    /// The core's number for it; set as soon as the core has it.
    pub(super) id: Option<MemberId>,
    /// A number for the epoll set that is never given again.
    pub(super) token: u64,
    pub(super) control: PacketSocket,
    pub(super) data: PacketSocket,
    /// Something waits in a lane.
    pub(super) control_ready: bool,
    pub(super) data_ready: bool,
    /// What each membership was joined for, counted.
    joined: BTreeMap<Membership, u32>,
    pub(super) counters: Counters,
    /// Frames of the present batch that go out here.
    pub(super) outbox: Vec<usize>,
    /// The interface is gone; nothing can be put back.
    pub(super) vanished: bool,
}

/// Why an interface cannot be a member.
#[derive(Debug)]
pub(super) struct Unfit {
    name: Name,
    reason: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl Unfit {
    fn new(name: &Name, reason: impl fmt::Display) -> Self {
        Self { name: name.clone(), reason: reason.to_string() }
    }
}

/// An interface that can be a member: as it is, before anything is changed.
pub(super) fn candidate(
    netlink: &mut Netlink,
    name: &Name,
    bond: u32,
) -> Result<(netlink::Link, Mac), Unfit> {
    let unfit = |reason: &str| Unfit::new(name, reason);
    let link = netlink.link_named(name).map_err(|error| match error.raw_os_error() {
        Some(19) => unfit("there is no such interface"),
        _ => Unfit::new(name, error),
    })?;
    if link.index == bond {
        return Err(unfit("a bond cannot be its own member"));
    }
    // A loopback interface has six bytes of address, too, but frames to nobody.
    let mac = link.mac.filter(|_| link.kind == ETHERNET).ok_or_else(|| unfit("is no Ethernet"))?;
    if link.master.is_some() {
        return Err(unfit("belongs to a bridge or a bond of the kernel already"));
    }
    Ok((link, mac))
}

impl Port {
    /// Takes an interface: writes down how it is, silences the kernel's stack on it, opens its
    /// sockets, sets it up. Puts it back if any of that fails.
    pub(super) fn open(
        netlink: &mut Netlink,
        journal: &mut Journal,
        link: &netlink::Link,
        mac: Mac,
        token: u64,
    ) -> Result<Self, Unfit> {
        let mut before = Before {
            index: link.index,
            name: link.name.clone(),
            mac,
            mtu: link.mtu,
            up: link.up,
            made_clsact: false,
            address_mode: link.address_mode,
        };
        let opened = journal
            .add(before.clone())
            .and_then(|()| Self::prepare(netlink, journal, &mut before, token));
        opened.map_err(|error| {
            // As far as it goes: the first error is the one to tell.
            let _ = journal::restore(netlink, &before);
            let _ = journal.forget(link.index);
            Unfit::new(&link.name, error)
        })
    }

    fn prepare(
        netlink: &mut Netlink,
        journal: &mut Journal,
        before: &mut Before,
        token: u64,
    ) -> io::Result<Self> {
        let index = before.index;
        netlink.set_up(index, false)?;
        if before.address_mode.is_some() {
            // Where IPv6 is off there is nothing to silence.
            let _ = netlink.set_address_mode(index, NO_ADDRESS);
        }
        before.made_clsact = guard::install(netlink, index)?.made_clsact;
        journal.add(before.clone())?;
        let control = PacketSocket::open(index, Lane::Control)?;
        let data = PacketSocket::open(index, Lane::Data)?;
        netlink.set_up(index, true)?;
        Ok(Self {
            index,
            name: before.name.clone(),
            id: None,
            token,
            control,
            data,
            control_ready: true,
            data_ready: true,
            joined: BTreeMap::new(),
            counters: Counters::default(),
            outbox: Vec::new(),
            vanished: false,
        })
    }

    /// What its driver says of its link.
    pub(super) fn link(&self, prober: &Prober) -> Link {
        if self.vanished || prober.carrier(&self.name).ok().flatten() != Some(true) {
            return Link::DOWN;
        }
        let speed = prober.speed(&self.name);
        let duplex = |full| if full { Duplex::Full } else { Duplex::Half };
        let (speed_mbps, duplex) = (speed.mbps, speed.full_duplex.map(duplex));
        Link { carrier: true, speed_mbps, duplex }
    }

    /// Receives more than its own frames; the same may be joined for several reasons.
    pub(super) fn join(&mut self, membership: Membership) -> io::Result<()> {
        let count = self.joined.entry(membership).or_default();
        *count += 1;
        if *count > 1 {
            return Ok(());
        }
        self.control.join(membership)
    }

    /// Undoes one [`Port::join`].
    pub(super) fn leave(&mut self, membership: Membership) -> io::Result<()> {
        let Some(count) = self.joined.get_mut(&membership) else { return Ok(()) };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.joined.remove(&membership);
        self.control.leave(membership)
    }

    /// Gives the interface another address, by setting it down for a moment if its driver wants
    /// that.
    pub(super) fn set_mac(&self, netlink: &mut Netlink, mac: Mac) -> io::Result<()> {
        let Err(error) = netlink.set_mac(self.index, mac) else { return Ok(()) };
        if error.kind() != io::ErrorKind::ResourceBusy {
            return Err(error);
        }
        netlink.set_up(self.index, false)?;
        let set = netlink.set_mac(self.index, mac);
        netlink.set_up(self.index, true)?;
        set
    }

    /// Closes the sockets and puts the interface back as it was.
    pub(super) fn close(self, netlink: &mut Netlink, journal: &mut Journal) -> io::Result<()> {
        let Self { index, control, data, .. } = self;
        // Memberships end with the sockets; the guard goes after them, so that the stack does not
        // hear what is still ours.
        drop((control, data));
        let before = journal.members().iter().find(|before| before.index == index).cloned();
        if let Some(before) = before {
            journal::restore(netlink, &before)?;
            journal.forget(index)?;
        }
        Ok(())
    }

    /// Adds to what was sent.
    pub(super) fn count_sent(&mut self, sent: Sent) {
        let total = &mut self.counters.sent;
        total.frames += sent.frames;
        total.dropped += sent.dropped;
        total.refused += sent.refused;
    }
}
