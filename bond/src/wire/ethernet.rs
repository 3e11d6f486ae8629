//! Ethernet II and VLAN tags.
//!
//! ```text
//!  0            6            12      14
//! ┌────────────┬────────────┬───────┬─────────
//! │ destination│ source     │ type  │ payload        type 8100, 88a8: a tag
//! └────────────┴────────────┴───────┴─────────       ┌───────────┬──────┐
//!                                                     │PCP·DEI·VID│ type │ …
//!                                                     └───────────┴──────┘
//! ```

use holdfast_core::net::Mac;

use super::{WireError, be16, head, take};

/// IPv4.
pub const IPV4: u16 = 0x0800;
/// ARP.
pub const ARP: u16 = 0x0806;
/// IPv6.
pub const IPV6: u16 = 0x86dd;
/// A customer VLAN tag.
pub const VLAN: u16 = 0x8100;
/// A service VLAN tag.
pub const SERVICE_VLAN: u16 = 0x88a8;
/// Slow protocols: LACP and markers.
pub const SLOW: u16 = 0x8809;
/// Loopback, which the kernel's driver uses for learning frames.
pub const LOOPBACK: u16 = 0x9000;

/// Bytes of a header without tags.
pub const HEADER: usize = 14;

/// A frame, its tags taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<'a> {
    /// Who it is for.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// The VLAN of the outermost tag, if there is one. VID 0 (a priority tag) is no VLAN.
    pub vlan: Option<u16>,
    /// What the payload is, behind all tags.
    pub ethertype: u16,
    /// Where the payload begins.
    pub offset: usize,
    /// What the frame carries.
    pub payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Reads a frame's header, and its tags (two at most).
    pub fn parse(frame: &'a [u8]) -> Result<Self, WireError> {
        let header = head("Ethernet header", frame, HEADER)?;
        let (mut ethertype, mut offset, mut vlan) = (be16(header, 12), HEADER, None);
        for _ in 0..2 {
            if ethertype != VLAN && ethertype != SERVICE_VLAN {
                break;
            }
            let tag = head("VLAN tag", &frame[offset..], 4)?;
            let vid = be16(tag, 0) & 0xfff;
            if offset == HEADER && vid != 0 {
                vlan = Some(vid);
            }
            ethertype = be16(tag, 2);
            offset += 4;
        }
        Ok(Self {
            destination: Mac(take(header, 0)),
            source: Mac(take(header, 6)),
            vlan,
            ethertype,
            offset,
            payload: &frame[offset..],
        })
    }
}

/// Who a frame is for; it has a whole header.
pub(crate) fn destination(frame: &[u8]) -> Mac {
    Mac(take(frame, 0))
}

/// Puts a frame together.
pub fn frame(
    destination: Mac,
    source: Mac,
    vlan: Option<u16>,
    ethertype: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + 4 + payload.len());
    frame.extend(destination.0);
    frame.extend(source.0);
    if let Some(vid) = vlan {
        frame.extend(VLAN.to_be_bytes());
        frame.extend((vid & 0xfff).to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_off() {
        let (to, from) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let plain = frame(to, from, None, ARP, b"body");
        let read = Ethernet::parse(&plain).unwrap();
        assert_eq!((read.destination, read.source, read.vlan), (to, from, None));
        assert_eq!((read.ethertype, read.offset, read.payload), (ARP, 14, &b"body"[..]));
        let tagged = frame(to, from, Some(100), ARP, b"body");
        let read = Ethernet::parse(&tagged).unwrap();
        assert_eq!((read.vlan, read.ethertype, read.offset), (Some(100), ARP, 18));
        assert!(Ethernet::parse(&tagged[..16]).is_err());
        assert!(Ethernet::parse(&plain[..13]).is_err());
    }
}
