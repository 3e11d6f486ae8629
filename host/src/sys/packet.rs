//! Packet sockets: `packet(7)`, `include/uapi/linux/if_packet.h`, and batches of messages.

use std::ffi::{c_int, c_uint, c_ushort, c_void};
use std::io;
use std::mem::{size_of_val, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use holdfast_core::net::Mac;

/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

const SOL_PACKET: c_int = 263;
const PACKET_ADD_MEMBERSHIP: c_int = 1;
const PACKET_DROP_MEMBERSHIP: c_int = 2;
const PACKET_STATISTICS: c_int = 6;
const PACKET_AUXDATA: c_int = 8;
const PACKET_VNET_HDR: c_int = 15;
const PACKET_IGNORE_OUTGOING: c_int = 23;
const SO_ATTACH_FILTER: c_int = 26;
const SO_SNDBUFFORCE: c_int = 32;
const SO_RCVBUFFORCE: c_int = 33;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;

/// One instruction of classic BPF: `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

/// What an interface is asked to receive beside its own frames: `PACKET_MR_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// A multicast address.
    Multicast(Mac),
    /// Another unicast address.
    Unicast(Mac),
    /// Every frame.
    Promiscuous,
    /// Every multicast frame.
    AllMulticast,
}

/// `struct packet_mreq`.
#[repr(C)]
struct MembershipRequest {
    index: c_int,
    kind: c_ushort,
    address_bytes: c_ushort,
    address: [u8; 8],
}

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(Clone, Copy)]
struct AuxData {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// A raw packet socket that hears nothing yet, with virtio-net headers and auxiliary data.
pub(crate) fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket() takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor is new, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    for option in [PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING] {
        set(&socket, SOL_PACKET, option, &1 as &c_int)?;
    }
    Ok(socket)
}

/// Hears an interface from now on.
pub(crate) fn bind(socket: impl AsFd, index: u32) -> io::Result<()> {
    // SAFETY: all zeros is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as c_ushort;
    address.sll_protocol = EVERY_PROTOCOL.to_be();
    address.sll_ifindex = index.cast_signed();
    let fd = socket.as_fd().as_raw_fd();
    let bytes = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is to a sockaddr_ll of that many bytes.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), bytes) }).map(drop)
}

/// Which frames the socket takes: a classic BPF program.
pub(crate) fn attach_filter(socket: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: c_ushort,
        filter: *const Instruction,
    }
    let program = Program { len: program.len() as c_ushort, filter: program.as_ptr() };
    // `set` passes the structure; the kernel copies what it points at before it returns.
    set(socket, libc::SOL_SOCKET, SO_ATTACH_FILTER, &program)
}

/// Room for frames that wait, in bytes; as much as may be had.
pub(crate) fn set_buffers(socket: impl AsFd, bytes: c_int) {
    for (forced, asked) in [(SO_RCVBUFFORCE, libc::SO_RCVBUF), (SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set(&socket, libc::SOL_SOCKET, forced, &bytes).is_err() {
            // Within `rmem_max` then: a smaller room is a room, too.
            let _ = set(&socket, libc::SOL_SOCKET, asked, &bytes);
        }
    }
}

/// The priority of frames sent, which queueing disciplines look at.
pub(crate) fn set_priority(socket: impl AsFd, priority: c_int) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)
}

/// Joins or leaves.
pub(crate) fn change_membership(
    socket: impl AsFd,
    index: u32,
    membership: Membership,
    join: bool,
) -> io::Result<()> {
    let (kind, mac) = match membership {
        Membership::Multicast(mac) => (0, Some(mac)),
        Membership::Promiscuous => (1, None),
        Membership::AllMulticast => (2, None),
        Membership::Unicast(mac) => (3, Some(mac)),
    };
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac.unwrap_or_default().0);
    let address_bytes = if mac.is_some() { 6 } else { 0 };
    let request = MembershipRequest { index: index.cast_signed(), kind, address_bytes, address };
    let option = if join { PACKET_ADD_MEMBERSHIP } else { PACKET_DROP_MEMBERSHIP };
    set(socket, SOL_PACKET, option, &request)
}

/// Frames the socket had no room for since the last time somebody asked.
pub(crate) fn take_drops(socket: impl AsFd) -> io::Result<u32> {
    /// `struct tpacket_stats`.
    #[repr(C)]
    #[derive(Default)]
    struct Statistics {
        packets: c_uint,
        drops: c_uint,
    }
    let mut statistics = Statistics::default();
    let mut bytes = size_of::<Statistics>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    let place = (&raw mut statistics).cast::<c_void>();
    // SAFETY: at most `bytes` bytes are written into a structure of that size, all of it numbers.
    check(unsafe { libc::getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, place, &raw mut bytes) })?;
    Ok(statistics.drops)
}

/// Sets a socket option of plain data.
pub(crate) fn set<T>(socket: impl AsFd, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let bytes = size_of::<T>() as libc::socklen_t;
    let place = std::ptr::from_ref(value).cast::<c_void>();
    // SAFETY: the kernel reads at most `bytes` bytes from a live value of that size.
    check(unsafe { libc::setsockopt(fd, level, option, place, bytes) }).map(drop)
}

/// Where one message goes to or comes from: a header, then the rest.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a mut [u8],
    pub(crate) body: &'a mut [u8],
}

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes, header included.
    pub(crate) bytes: usize,
    /// The message was longer than the room for it.
    pub(crate) truncated: bool,
    /// A VLAN tag that the kernel took out of the frame: protocol and control information.
    pub(crate) vlan: Option<(u16, u16)>,
}

/// Messages of one call.
pub(crate) const MOST: usize = 64;

/// Room for the auxiliary data of one message: `CMSG_SPACE(sizeof(struct tpacket_auxdata))`, and to
/// spare.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

/// Receives up to [`MOST`] messages without waiting; how many came.
///
/// `WouldBlock` if there is none.
pub(crate) fn receive<'a>(
    socket: BorrowedFd<'_>,
    parts: impl Iterator<Item = Parts<'a>>,
    received: &mut [Received; MOST],
) -> io::Result<usize> {
    let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut places = [[empty; 2]; MOST];
    let mut controls = [Control([0; 64]); MOST];
    // SAFETY: all zeros is a valid mmsghdr: no name, no vectors, no control data.
    let mut messages: [libc::mmsghdr; MOST] = unsafe { zeroed() };
    let mut count = 0;
    for part in parts.take(MOST) {
        places[count] = vectors(part.header.as_mut_ptr(), part.header.len(), part.body);
        let message = &mut messages[count].msg_hdr;
        message.msg_iov = places[count].as_mut_ptr();
        message.msg_iovlen = 2;
        message.msg_control = controls[count].0.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        count += 1;
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT as _);
    // SAFETY: each of the `count` messages points at two vectors over buffers that `parts` lends
    // exclusively and that outlive the call, and at its own control buffer.
    let came = check(unsafe {
        libc::recvmmsg(fd, messages.as_mut_ptr(), count as c_uint, flags, std::ptr::null_mut())
    })?;
    let came = came.cast_unsigned() as usize;
    for (message, received) in messages[..came].iter().zip(received) {
        received.bytes = message.msg_len as usize;
        received.truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        received.vlan = vlan(&message.msg_hdr);
    }
    Ok(came)
}

const fn vectors(header: *mut u8, header_bytes: usize, body: &mut [u8]) -> [libc::iovec; 2] {
    [
        libc::iovec { iov_base: header.cast(), iov_len: header_bytes },
        libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body.len() },
    ]
}

/// The tag in a message's auxiliary data.
fn vlan(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the kernel has filled in `msg_control` and `msg_controllen` of a live buffer;
    // CMSG_FIRSTHDR checks that a header fits, and the length is checked before the data is read.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        if header.is_null()
            || (*header).cmsg_level != SOL_PACKET
            || (*header).cmsg_type != PACKET_AUXDATA
            || ((*header).cmsg_len as usize) < libc::CMSG_LEN(size_of::<AuxData>() as _) as usize
        {
            return None;
        }
        let aux: AuxData = libc::CMSG_DATA(header).cast::<AuxData>().read_unaligned();
        let known = aux.status & TP_STATUS_VLAN_TPID_VALID != 0;
        let protocol = if known { aux.vlan_tpid } else { 0x8100 };
        (aux.status & TP_STATUS_VLAN_VALID != 0).then_some((protocol, aux.vlan_tci))
    }
}

/// Sends up to [`MOST`] messages of two parts each without waiting; how many went.
///
/// An error is about the first message; those after it have not been tried.
pub(crate) fn send<'a>(
    socket: BorrowedFd<'_>,
    parts: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> io::Result<usize> {
    let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut places = [[empty; 2]; MOST];
    // SAFETY: all zeros is a valid mmsghdr: no name, no vectors, no control data.
    let mut messages: [libc::mmsghdr; MOST] = unsafe { zeroed() };
    let mut count = 0;
    for (header, body) in parts.take(MOST) {
        // The kernel only reads what a message that is sent points at.
        places[count] = [
            libc::iovec { iov_base: header.as_ptr().cast_mut().cast(), iov_len: header.len() },
            libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() },
        ];
        messages[count].msg_hdr.msg_iov = places[count].as_mut_ptr();
        messages[count].msg_hdr.msg_iovlen = 2;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT as _);
    // SAFETY: each of the `count` messages points at two vectors over slices that outlive the call
    // and that are only read.
    let went = check(unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count as c_uint, flags) })?;
    Ok(went.cast_unsigned() as usize)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
