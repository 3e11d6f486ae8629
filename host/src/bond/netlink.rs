//! Netlink, as much as a bond needs: look at interfaces, change them, hear of changes by others.
//!
//! Messages are the structures of `include/uapi/linux/netlink.h` and `rtnetlink.h`, numbers in the
//! machine's byte order, attributes after them. Whatever comes in is read with bounds: a message
//! that does not hold together is skipped.
#![expect(clippy::host_endian_bytes, reason = "netlink speaks the host's byte order")]

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use holdfast_core::net::Mac;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::link::Name;
use crate::sys::packet;

const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// Make it, and fail if it is there (`NLM_F_CREATE | NLM_F_EXCL`).
pub(super) const CREATE: u16 = 0x600;
const REQUEST: u16 = 0x1;

const ERROR: u16 = 2;
const DONE: u16 = 3;
pub(super) const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
pub(super) const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;

const NESTED: u16 = 0x8000;
/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
const SOL_NETLINK: i32 = 270;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;
/// The kernel's answers to a dump are not longer than this.
const ANSWER_BYTES: usize = 64 << 10;

/// The interface is set up.
const IFF_UP: u32 = 0x1;
const IFF_PROMISC: u32 = 0x100;
/// Attributes of links.
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const AF_SPEC: u16 = 26;
    pub(super) const LINK_NETNSID: u16 = 37;
    /// Inside `LINKINFO`.
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    /// Inside the data of a VLAN.
    pub(super) const VLAN_ID: u16 = 1;
}
const AF_INET6: u16 = 10;
const INET6_ADDR_GEN_MODE: u16 = 8;

/// How the kernel gives an interface its IPv6 link-local address: not at all.
pub const NO_ADDRESS: u8 = 1;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Never changes while it lives.
    pub index: u32,
    /// May change.
    pub name: Name,
    /// `ARPHRD_*`; 1 is Ethernet.
    pub kind: u16,
    /// Set up by its administrator.
    pub up: bool,
    /// Hears everything.
    pub promiscuous: bool,
    /// Its address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// The bridge, bond or VRF that owns it.
    pub master: Option<u32>,
    /// The interface in this namespace that it lies above, as a VLAN or a macvlan does.
    pub above: Option<u32>,
    /// Its number, if it is a VLAN.
    pub vlan: Option<u16>,
    /// How its IPv6 link-local address is made, where it speaks IPv6.
    pub address_mode: Option<u8>,
}

/// What somebody did to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there, and is like this now.
    Is(Link),
    /// It is gone.
    Gone {
        /// Which it was.
        index: u32,
    },
    /// Somebody's addresses are others now.
    Addresses,
}

/// A request, as it goes to the kernel.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of this kind with its fixed part.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self { bytes }
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds attributes inside an attribute.
    pub(super) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut all = inside(self);
        let bytes = (all.bytes.len() - start) as u16;
        all.bytes[start..start + 2].copy_from_slice(&bytes.to_ne_bytes());
        all
    }

    fn finish(&mut self, sequence: u32) -> &[u8] {
        let bytes = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&bytes.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.bytes
    }
}

/// A message from the kernel: kind, sequence number and what follows.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The messages of a datagram, as far as it holds together.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let body = bytes.get(16..length)?;
        let (kind, sequence) = (u16_at(bytes, 4)?, u32_at(bytes, 8)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, sequence, body })
    })
}

/// The attributes of a message or an attribute, as far as it holds together.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

/// A routing netlink socket.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// For questions and orders.
    pub fn open() -> io::Result<Self> {
        Self::bound(0)
    }

    /// For hearing of changes; see [`Netlink::changes`].
    pub fn listen() -> io::Result<Self> {
        Self::bound(GROUPS)
    }

    fn bound(groups: u32) -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0, the default.
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        // Reasons in words, where the kernel has them.
        let _ = packet::set(&socket, SOL_NETLINK, NETLINK_EXT_ACK, &1i32);
        // A list is of what was asked for; without, it is of everything, and we choose.
        let _ = packet::set(&socket, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &1i32);
        Ok(Self { socket, sequence: 0 })
    }

    /// Orders, and waits for the kernel's yes.
    pub(super) fn order(&mut self, mut request: Request) -> io::Result<()> {
        request.bytes[6] |= ACK as u8;
        self.ask(request, |_, _| {})
    }

    /// Asks for a list; calls for each of its messages with kind and body.
    pub(super) fn dump(
        &mut self,
        mut request: Request,
        each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        request.bytes[7] |= (DUMP >> 8) as u8;
        self.ask(request, each)
    }

    /// Sends a request and reads until the kernel says that this was all.
    fn ask(&mut self, mut request: Request, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        rustix::net::send(&self.socket, bytes, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER_BYTES];
        loop {
            let (bytes, _) =
                match rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::empty()) {
                    Ok(received) => received,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
            for message in messages(&answer[..bytes]) {
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => return verdict(message.body),
                    kind => each(kind, message.body),
                }
            }
        }
    }

    /// All interfaces of the namespace.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(Request::new(GET_LINK, 0, &[0; 16]), |kind, body| {
            if kind == NEW_LINK {
                links.extend(link(body));
            }
        })?;
        Ok(links)
    }

    /// The interface with this index.
    pub fn link(&mut self, index: u32) -> io::Result<Link> {
        self.one_link(Request::new(GET_LINK, 0, &info(index, 0, 0)))
    }

    /// The interface of this name.
    pub fn link_named(&mut self, name: &Name) -> io::Result<Link> {
        let request = Request::new(GET_LINK, 0, &info(0, 0, 0));
        self.one_link(request.with(ifla::NAME, &name.bytes()))
    }

    fn one_link(&mut self, request: Request) -> io::Result<Link> {
        let mut found = None;
        let mut request = request;
        request.bytes[6] |= ACK as u8;
        self.ask(request, |kind, body| {
            if kind == NEW_LINK {
                found = link(body);
            }
        })?;
        found.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no such interface"))
    }

    /// Sets an interface up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let flags = if up { IFF_UP } else { 0 };
        self.order(Request::new(NEW_LINK, 0, &info(index, flags, IFF_UP)))
    }

    /// Changes its address.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> io::Result<()> {
        self.order(Request::new(SET_LINK, 0, &info(index, 0, 0)).with(ifla::ADDRESS, &mac.0))
    }

    /// Changes its MTU.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let request = Request::new(SET_LINK, 0, &info(index, 0, 0));
        self.order(request.with(ifla::MTU, &mtu.to_ne_bytes()))
    }

    /// Changes how it gets its IPv6 link-local address the next time it is set up.
    pub fn set_address_mode(&mut self, index: u32, mode: u8) -> io::Result<()> {
        let request = Request::new(SET_LINK, 0, &info(index, 0, 0));
        self.order(request.nest(ifla::AF_SPEC, |inside| {
            inside.nest(AF_INET6, |inside| inside.with(INET6_ADDR_GEN_MODE, &[mode]))
        }))
    }

    /// What has changed since the last call. Does not wait.
    ///
    /// `None`: so much has changed that some of it is lost; look at everything.
    pub fn changes(&mut self) -> io::Result<Option<Vec<Change>>> {
        let mut changes = Vec::new();
        let mut datagram = vec![0; ANSWER_BYTES];
        loop {
            match rustix::net::recv(&self.socket, &mut datagram[..], RecvFlags::DONTWAIT) {
                Ok((bytes, _)) => {
                    for message in messages(&datagram[..bytes]) {
                        changes.extend(change(&message));
                    }
                }
                Err(Errno::AGAIN) => return Ok(Some(changes)),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `struct ifinfomsg`.
fn info(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn change(message: &Message<'_>) -> Option<Change> {
    // A bridge reports its ports in the same words, but of another family.
    let of_bridge = message.body.first() != Some(&0);
    match message.kind {
        NEW_LINK if !of_bridge => link(message.body).map(Change::Is),
        DEL_LINK if !of_bridge => Some(Change::Gone { index: u32_at(message.body, 4)? }),
        NEW_ADDRESS | DEL_ADDRESS => Some(Change::Addresses),
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: Name::default(),
        kind: u16_at(body, 2)?,
        up: flags & IFF_UP != 0,
        promiscuous: flags & IFF_PROMISC != 0,
        mac: None,
        mtu: 0,
        master: None,
        above: None,
        vlan: None,
        address_mode: None,
    };
    let mut elsewhere = false;
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            ifla::NAME => link.name = Name::from_kernel(value)?,
            ifla::ADDRESS => link.mac = value.try_into().ok().map(Mac),
            ifla::MTU => link.mtu = u32_at(value, 0)?,
            ifla::MASTER => link.master = u32_at(value, 0),
            ifla::LINK => link.above = u32_at(value, 0).filter(|above| *above != link.index),
            // The number is one of another namespace.
            ifla::LINK_NETNSID => elsewhere = true,
            ifla::LINKINFO => {
                link.vlan = vlan(value);
                // Of a veth it is the other end, which is beside and not below.
                elsewhere |= is_of_kind(value, b"veth\0");
            }
            ifla::AF_SPEC => link.address_mode = address_mode(value),
            _ => {}
        }
    }
    link.above = link.above.filter(|_| !elsewhere);
    Some(link)
}

fn is_of_kind(info: &[u8], name: &[u8]) -> bool {
    attributes(info).any(|(kind, value)| kind == ifla::INFO_KIND && value.starts_with(name))
}

fn vlan(info: &[u8]) -> Option<u16> {
    let (_, data) = attributes(info).find(|(kind, _)| *kind == ifla::INFO_DATA)?;
    let (_, id) = attributes(data).find(|(kind, _)| *kind == ifla::VLAN_ID)?;
    u16_at(id, 0).filter(|_| is_of_kind(info, b"vlan\0"))
}

fn address_mode(families: &[u8]) -> Option<u8> {
    let (_, inet6) = attributes(families).find(|(family, _)| *family == AF_INET6)?;
    let (_, mode) = attributes(inet6).find(|(kind, _)| *kind == INET6_ADDR_GEN_MODE)?;
    mode.first().copied()
}

/// `struct nlmsgerr` and what may follow it: 0 is a yes.
fn verdict(body: &[u8]) -> io::Result<()> {
    let code = u32_at(body, 0).unwrap_or(0).cast_signed();
    if code == 0 {
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(-code);
    // NLM_F_CAPPED is not set: the request follows the code, then attributes; 1 is a text.
    let request_bytes = u32_at(body, 4).unwrap_or(0) as usize;
    let rest = body.get(4 + request_bytes.next_multiple_of(4)..).unwrap_or_default();
    let text = attributes(rest).find(|(kind, _)| *kind == 1).map(|(_, text)| text);
    match text.map(String::from_utf8_lossy) {
        Some(text) => {
            let text = text.trim_end_matches('\0');
            Err(io::Error::new(error.kind(), format!("{error}: {text}")))
        }
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_what_is_read() {
        let mut request = Request::new(NEW_LINK, 0, &info(7, IFF_UP | IFF_PROMISC, 0))
            .with(ifla::NAME, b"eth0\0")
            .with(ifla::ADDRESS, &[2, 0, 0, 0, 0, 9])
            .with(ifla::MTU, &9000u32.to_ne_bytes())
            .nest(ifla::AF_SPEC, |inside| {
                inside.with(2, &[]).nest(AF_INET6, |inside| {
                    inside.with(1, &[0; 4]).with(INET6_ADDR_GEN_MODE, &[NO_ADDRESS])
                })
            });
        let bytes = request.finish(3).to_vec();
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!((all.len(), all[0].kind, all[0].sequence), (1, NEW_LINK, 3));
        let Some(Change::Is(link)) = change(&all[0]) else { panic!("a link") };
        assert_eq!((link.index, link.name.as_str(), link.mtu), (7, "eth0", 9000));
        assert_eq!((link.up, link.promiscuous), (true, true));
        assert_eq!(
            (link.mac, link.address_mode),
            (Some(Mac([2, 0, 0, 0, 0, 9])), Some(NO_ADDRESS))
        );
        // Cut anywhere, it is read as far as it goes and no further.
        for end in 0..bytes.len() {
            let cut: Vec<_> = messages(&bytes[..end]).collect();
            assert!(cut.is_empty(), "{end}");
            attributes(&bytes[..end]).for_each(drop);
        }
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        for length in [0u16, 1, 3, 500] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([1, 0, 9, 9, 9, 9]);
            assert_eq!(attributes(&bytes).count(), 0, "{length}");
        }
        assert!(verdict(&[]).is_ok());
        assert_eq!(
            verdict(&(-19i32).to_ne_bytes()).unwrap_err().raw_os_error(),
            Some(19),
            "without attributes"
        );
    }
}
