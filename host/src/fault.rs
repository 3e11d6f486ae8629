//! What the kernel's error numbers mean for a block device.
//!
//! The classes follow the kernel's own table of block layer results (`blk_errors` in
//! `block/blk-core.c`): `ENODATA` is a medium error there, `ENOLINK` a transport error, `EILSEQ` a
//! failed integrity check, `EREMOTEIO` a target that failed by itself and would fail by any path.

use std::io::{Error, ErrorKind};

use holdfast_core::block::Fault;
use rustix::io::Errno;

/// The class of an I/O error.
///
/// What nobody knows is a medium error: redundancy then answers in the member's place.
pub fn classify(error: &Error) -> Fault {
    match error.kind() {
        // The file has been cut short since it was opened.
        ErrorKind::UnexpectedEof => return Fault::OutOfRange,
        ErrorKind::WriteZero => return Fault::Full,
        _ => {}
    }
    Errno::from_io_error(error).map_or(Fault::Medium, of_errno)
}

fn of_errno(errno: Errno) -> Fault {
    match errno {
        Errno::IO | Errno::NODATA | Errno::ILSEQ | Errno::REMOTEIO => Fault::Medium,
        Errno::NODEV | Errno::NXIO | Errno::NOENT | Errno::BADF | Errno::STALE => Fault::Gone,
        Errno::NOMEDIUM | Errno::SHUTDOWN => Fault::Gone,
        Errno::NOSPC | Errno::DQUOT => Fault::Full,
        Errno::ROFS | Errno::PERM | Errno::ACCESS => Fault::ReadOnly,
        Errno::TIMEDOUT | Errno::TIME => Fault::Timeout,
        Errno::NOLINK | Errno::COMM | Errno::PIPE | Errno::NOTCONN => Fault::Transport,
        Errno::CONNRESET | Errno::CONNABORTED | Errno::CONNREFUSED => Fault::Transport,
        Errno::NETDOWN | Errno::NETUNREACH | Errno::NETRESET => Fault::Transport,
        Errno::HOSTDOWN | Errno::HOSTUNREACH => Fault::Transport,
        // The host, not the medium, was short of something for a moment.
        Errno::NOMEM | Errno::AGAIN | Errno::BUSY => Fault::Transport,
        Errno::FBIG | Errno::OVERFLOW => Fault::OutOfRange,
        // EBADE: another initiator holds a reservation.
        Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY | Errno::BADE => {
            Fault::Refused
        }
        _ => Fault::Medium,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_class() {
        for (fault, errnos) in [
            (Fault::Medium, &[Errno::IO, Errno::ILSEQ, Errno::NODATA, Errno::REMOTEIO][..]),
            (Fault::Medium, &[Errno::NOTBLK, Errno::XDEV]),
            (Fault::Gone, &[Errno::NODEV, Errno::NXIO, Errno::NOENT, Errno::BADF]),
            (Fault::Full, &[Errno::NOSPC, Errno::DQUOT]),
            (Fault::ReadOnly, &[Errno::ROFS, Errno::PERM, Errno::ACCESS]),
            (Fault::Timeout, &[Errno::TIMEDOUT]),
            (Fault::Transport, &[Errno::NOLINK, Errno::CONNRESET, Errno::NOMEM]),
            (Fault::OutOfRange, &[Errno::FBIG]),
            (Fault::Refused, &[Errno::INVAL, Errno::OPNOTSUPP]),
        ] {
            for &errno in errnos {
                assert_eq!(classify(&errno.into()), fault, "{errno}");
            }
        }
    }

    #[test]
    fn a_short_transfer_has_its_class_too() {
        for (kind, fault) in [
            (ErrorKind::UnexpectedEof, Fault::OutOfRange),
            (ErrorKind::WriteZero, Fault::Full),
            (ErrorKind::Other, Fault::Medium),
        ] {
            assert_eq!(classify(&Error::new(kind, "no errno")), fault);
        }
    }
}
