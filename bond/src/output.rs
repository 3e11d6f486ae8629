//! What a bond wants done.

use holdfast_core::net::Mac;

use crate::member::MemberId;

/// A frame of the bond's own making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The member it goes out on.
    pub member: MemberId,
    /// From the destination address on, without checksum at its end.
    pub frame: Vec<u8>,
    /// What it is.
    pub kind: FrameKind,
}

/// What a frame of the bond's own making is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// An ARP request or neighbour solicitation to a target.
    Probe,
    /// A gratuitous ARP request or unsolicited neighbour advertisement.
    Announcement,
    /// An IGMP or MLD report.
    GroupReport,
    /// A LACPDU.
    Lacpdu,
    /// An answer to a marker.
    MarkerResponse,
    /// A frame that tells switches where an address is.
    Learning,
    /// An ARP reply that moves a peer to another member.
    ArpUpdate,
}

/// Something to be set on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The bond's interface gets this address.
    SetBondMac(Mac),
    /// The bond's interface has carrier, or has none.
    SetCarrier(bool),
    /// A member gets this address.
    SetMemberMac {
        /// Which member.
        member: MemberId,
        /// Which address.
        mac: Mac,
    },
    /// A member gets this MTU.
    SetMemberMtu {
        /// Which member.
        member: MemberId,
        /// Bytes.
        mtu: u32,
    },
    /// A member receives frames to this group (or, with `probe_all`, address) too.
    JoinGroup {
        /// Which member.
        member: MemberId,
        /// Which group.
        group: Mac,
    },
    /// A member need not receive frames to this group or address any more.
    LeaveGroup {
        /// Which member.
        member: MemberId,
        /// Which group.
        group: Mac,
    },
    /// A member receives every frame, or no longer does.
    SetPromiscuous {
        /// Which member.
        member: MemberId,
        /// Whether it does.
        on: bool,
    },
    /// A member is no member any more; nothing follows about it.
    Release {
        /// Which.
        member: MemberId,
    },
}

/// Where a frame from the stack goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Out on this member.
    One(MemberId),
    /// Out on each of [`Bond::every`](crate::Bond::every).
    Every,
    /// Nowhere.
    Drop(NoEgress),
}

/// Why a frame from the stack goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoEgress {
    /// The bond is down.
    BondDown,
    /// No member can take it.
    NoMember,
    /// It is too short to be a frame.
    Runt,
}

/// What becomes of a frame received on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// It goes to the stack.
    Deliver,
    /// It was for the bond itself.
    Consumed,
    /// It is dropped.
    Drop(NoIngress),
}

/// Why a received frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoIngress {
    /// The bond is down.
    BondDown,
    /// The member is not a party to traffic: another one hands up its copy.
    Inactive,
    /// There is no such member.
    Unknown,
    /// It is too short to be a frame.
    Runt,
}
