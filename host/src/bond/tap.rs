//! A TAP interface: one end is the kernel's, the other ours.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::{Errno, readv, writev};

use super::frame::{Batch, HEADER_BYTES, Header, MOST_BYTES};
use super::link::Name;
use super::netlink::Netlink;
use crate::sys::net;
use crate::sys::packet::Received;

/// The device that makes TAP interfaces.
const TUN: &str = "/dev/net/tun";

/// Checksums and cutting of TCP (also where ECN is used) may be left to whoever sends the frame on:
/// `TUN_F_CSUM`, `TUN_F_TSO4`, `TUN_F_TSO6`, `TUN_F_TSO_ECN`.
const OFFLOADS: u32 = 0x01 | 0x02 | 0x04 | 0x08;
/// The same for UDP (`TUN_F_USO4`, `TUN_F_USO6`), since Linux 6.2.
const UDP_OFFLOADS: u32 = 0x20 | 0x40;

/// A TAP interface of ours. It is gone when this is dropped, and also when the process dies.
#[derive(Debug)]
pub struct Tap {
    device: File,
    index: u32,
}

impl Tap {
    /// Makes a new interface of this name, without carrier.
    ///
    /// Needs CAP_NET_ADMIN. An interface of this name that is there already is an error.
    pub fn create(name: &Name, netlink: &mut Netlink) -> io::Result<Self> {
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed())
            .open(TUN)
            .map_err(|error| io::Error::new(error.kind(), format!("{TUN}: {error}")))?;
        net::make_tap(&device, name.bytes()).map_err(|errno| match errno {
            Errno::BUSY | Errno::EXIST => {
                io::Error::new(ErrorKind::AlreadyExists, "there is an interface of this name")
            }
            errno => errno.into(),
        })?;
        net::set_tap_header_bytes(&device, HEADER_BYTES as i32)?;
        if net::set_tap_offload(&device, OFFLOADS | UDP_OFFLOADS).is_err() {
            net::set_tap_offload(&device, OFFLOADS)?;
        }
        net::set_tap_carrier(&device, false)?;
        let index = netlink.link_named(name)?.index;
        Ok(Self { device, index })
    }

    /// Its index, which no renaming changes.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Says whether it has carrier.
    pub fn set_carrier(&self, on: bool) -> io::Result<()> {
        Ok(net::set_tap_carrier(&self.device, on)?)
    }

    /// Takes what the kernel sends, up to a batch of frames; how many came. Does not wait.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.whole.clear();
        for index in 0..batch.slots().len() {
            let slot = &mut batch.slots()[index];
            let parts = slot.parts();
            let mut places = [parts.header, parts.body].map(io::IoSliceMut::new);
            let bytes = match readv(&self.device, &mut places) {
                Ok(bytes) => bytes,
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) if batch.whole.is_empty() => return Err(errno.into()),
                Err(_) => break,
            };
            let truncated = bytes > HEADER_BYTES + MOST_BYTES;
            if slot.filled(Received { bytes, truncated, vlan: None }) {
                batch.whole.push(index);
            }
        }
        Ok(batch.whole.len())
    }

    /// Puts a frame in, which the kernel receives.
    ///
    /// An interface that is down takes none and says `EIO`.
    pub fn send(&self, header: &Header, frame: &[u8]) -> io::Result<()> {
        let places = [&header.0[..], frame].map(io::IoSlice::new);
        match writev(&self.device, &places) {
            Ok(_) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
