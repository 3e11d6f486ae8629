//! A member's frames: packet sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frame::{BATCH, Batch, Header};
use crate::sys::packet::{self, Instruction, MOST, Received};

pub use crate::sys::packet::Membership;

/// Room for frames that wait in the data lane, in bytes: a hundred super-frames.
const DATA_BYTES: i32 = 8 << 20;
/// The same for the control lane, whose frames are small.
const CONTROL_BYTES: i32 = 1 << 20;

/// `TC_PRIO_CONTROL`: before all others, for queueing disciplines that look at priorities.
const CONTROL_PRIORITY: i32 = 7;

/// Which of a member's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Everything that is not in the control lane.
    Data,
    /// ARP, neighbour solicitations and advertisements, and the slow protocols (LACP, marker).
    Control,
}

/// A socket on one member.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    index: u32,
    received: [Received; MOST],
}

/// What became of frames that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Gone.
    pub frames: u64,
    /// There was no room for them, as in the full queue of a network card.
    pub dropped: u64,
    /// The interface refused them: down, gone, or too long for it.
    pub refused: u64,
}

impl PacketSocket {
    /// Hears and sends the frames of one lane. Needs CAP_NET_RAW.
    ///
    /// The [`guard`](super::guard) stands before this is opened, or some frames arrive twice.
    pub fn open(index: u32, lane: Lane) -> io::Result<Self> {
        let socket = packet::open()?;
        packet::attach_filter(&socket, &filter(lane))?;
        match lane {
            Lane::Data => packet::set_buffers(&socket, DATA_BYTES),
            Lane::Control => {
                packet::set_buffers(&socket, CONTROL_BYTES);
                packet::set_priority(&socket, CONTROL_PRIORITY)?;
            }
        }
        packet::bind(&socket, index)?;
        Ok(Self { socket, index, received: [Received::default(); MOST] })
    }

    /// Takes what has come, up to a batch of frames; how many. Does not wait.
    ///
    /// `ENETDOWN` is told once when the member has been set down.
    pub fn receive(&mut self, batch: &mut Batch) -> io::Result<usize> {
        batch.whole.clear();
        let parts = batch.slots().iter_mut().map(super::frame::Slot::parts);
        let count = match packet::receive(self.socket.as_fd(), parts, &mut self.received) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        for index in 0..count {
            if batch.slots()[index].filled(self.received[index]) {
                batch.whole.push(index);
            }
        }
        Ok(batch.whole.len())
    }

    /// Whether the last [`PacketSocket::receive`] may have left something behind.
    pub fn was_full(batch: &Batch) -> bool {
        batch.frames().len() == BATCH
    }

    /// Sends frames; does not wait.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = (&'a Header, &'a [u8])>) -> Sent {
        let mut sent = Sent::default();
        let mut frames = frames.into_iter().peekable();
        let mut some: Vec<(&[u8], &[u8])> = Vec::with_capacity(MOST);
        while frames.peek().is_some() {
            some.clear();
            some.extend(frames.by_ref().take(MOST).map(|(header, frame)| (&header.0[..], frame)));
            self.send_some(&some, &mut sent);
        }
        sent
    }

    fn send_some(&self, mut frames: &[(&[u8], &[u8])], sent: &mut Sent) {
        while !frames.is_empty() {
            match packet::send(self.socket.as_fd(), frames.iter().copied()) {
                Ok(count) => {
                    sent.frames += count as u64;
                    frames = &frames[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    match rustix::io::Errno::from_io_error(&error) {
                        Some(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => {
                            sent.dropped += 1;
                        }
                        _ => sent.refused += 1,
                    }
                    // The error is about the first one.
                    frames = &frames[1..];
                }
            }
        }
    }

    /// Receives more than the interface's own frames, until [`PacketSocket::leave`] or until the
    /// socket is closed, also by a crash.
    pub fn join(&self, membership: Membership) -> io::Result<()> {
        packet::change_membership(&self.socket, self.index, membership, true)
    }

    /// Undoes [`PacketSocket::join`].
    pub fn leave(&self, membership: Membership) -> io::Result<()> {
        packet::change_membership(&self.socket, self.index, membership, false)
    }

    /// Frames that came and found no room since the last call.
    pub fn take_drops(&self) -> io::Result<u32> {
        packet::take_drops(&self.socket)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Instructions of classic BPF as `linux/bpf_common.h` numbers them.
pub(super) mod bpf {
    use crate::sys::packet::Instruction;

    /// Loads a big-endian word at a constant offset.
    pub(in super::super) const LOAD_WORD: u16 = 0x20;
    /// Loads a big-endian half-word.
    pub(in super::super) const LOAD_HALF: u16 = 0x28;
    /// Loads a byte.
    pub(in super::super) const LOAD_BYTE: u16 = 0x30;
    /// Jumps if equal.
    pub(in super::super) const IF_EQUAL: u16 = 0x15;
    /// Ands with a constant.
    pub(in super::super) const AND: u16 = 0x54;
    /// Ends with a constant.
    pub(in super::super) const RETURN: u16 = 0x06;

    /// An instruction without jumps.
    pub(in super::super) const fn op(code: u16, value: u32) -> Instruction {
        Instruction { code, if_true: 0, if_false: 0, value }
    }

    /// Skips this many instructions if the accumulator is equal, or if not.
    pub(in super::super) const fn equal(value: u32, if_true: u8, if_false: u8) -> Instruction {
        Instruction { code: IF_EQUAL, if_true, if_false, value }
    }
}

/// The lane's filter. The kernel has taken VLAN tags out before it runs, so that the type at
/// byte 12 is the innermost.
fn filter(lane: Lane) -> [Instruction; 11] {
    use bpf::{LOAD_BYTE, LOAD_HALF, RETURN, equal, op};
    /// Bytes of the frame that are kept: all of them.
    const WHOLE: u32 = 0x0004_0000;
    let (control, data) = match lane {
        Lane::Control => (WHOLE, 0),
        Lane::Data => (0, WHOLE),
    };
    [
        op(LOAD_HALF, 12),
        equal(0x0806, 8, 0), // ARP
        equal(0x8809, 7, 0), // slow protocols
        equal(0x86dd, 0, 5), // IPv6 …
        op(LOAD_BYTE, 20),
        equal(58, 0, 3), // … with ICMPv6 …
        op(LOAD_BYTE, 54),
        equal(135, 2, 0), // … neighbour solicitation
        equal(136, 1, 0), // … neighbour advertisement
        op(RETURN, data),
        op(RETURN, control),
    ]
}
