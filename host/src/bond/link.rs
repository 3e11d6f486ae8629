//! An interface's name, and what its driver says when asked.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use holdfast_core::net::Mac;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::sys::net::{self, NAME_BYTES};

/// The name of an interface: 1 to 15 bytes, no slash, no blank, not `.` or `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// A name that no interface can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be an interface's name: 1 to 15 bytes, no blank, no slash, no colon")]
pub struct BadName(String);

impl Name {
    /// Takes a name an interface may have.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let fits = (1..NAME_BYTES).contains(&name.len()) && name != "." && name != "..";
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if fits && !name.contains(odd) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadName(name.to_owned()))
        }
    }

    /// A name the kernel gave, with or without its final zero.
    pub(super) fn from_kernel(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.split(|byte| *byte == 0).next()?;
        Some(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the kernel takes it.
    pub(super) fn bytes(&self) -> [u8; NAME_BYTES] {
        let mut bytes = [0; NAME_BYTES];
        let name = self.0.as_bytes();
        let length = name.len().min(NAME_BYTES - 1);
        bytes[..length].copy_from_slice(&name[..length]);
        bytes
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        Self::new(name)
    }
}

/// How fast a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Mb/s.
    pub mbps: Option<u32>,
    /// Both ways at once.
    pub full_duplex: Option<bool>,
}

/// Asks drivers.
///
/// Carrier is asked for, not waited for: the kernel holds back messages of a real card's link for
/// up to a second, so that of flaps every quarter of a second two in three are never told. Asking
/// costs a microsecond.
#[derive(Debug)]
pub struct Prober {
    socket: OwnedFd,
}

impl Prober {
    /// Needs no privilege.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let kinds = (AddressFamily::INET, SocketType::DGRAM);
        Ok(Self { socket: rustix::net::socket_with(kinds.0, kinds.1, flags, None)? })
    }

    /// Whether the interface of this name is up and has carrier; `None` if there is none.
    pub fn carrier(&self, name: &Name) -> io::Result<Option<bool>> {
        match net::has_link(&self.socket, name.bytes()) {
            Ok(up) => Ok(Some(up)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How fast it is, as far as its driver knows.
    pub fn speed(&self, name: &Name) -> Speed {
        let (mbps, duplex) =
            net::speed_and_duplex(&self.socket, name.bytes()).unwrap_or((None, None));
        Speed { mbps, full_duplex: duplex.map(|duplex| duplex == 1) }
    }

    /// The address burnt into the hardware; `None` for what has no hardware.
    pub fn permanent_mac(&self, name: &Name) -> Option<Mac> {
        net::permanent_mac(&self.socket, name.bytes()).ok().flatten().map(Mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_kernel_takes() {
        for good in ["a", "eth0", "enp0s31f6", "123456789012345", "ünï"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "1234567890123456", "a b", "a/b", "..", ".", "a:1", "a\0"] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Name::from_kernel(b"eth0\0\0").unwrap().as_str(), "eth0");
    }

    #[test]
    fn an_interface_that_is_not_there_has_no_carrier() {
        let prober = Prober::open().unwrap();
        let name = Name::new("holdfastnone0").unwrap();
        assert_eq!(prober.carrier(&name).unwrap(), None);
        assert_eq!(prober.speed(&name), Speed::default());
        assert_eq!(prober.permanent_mac(&name), None);
    }
}
