//! What a bond reports: what changed, when and why.

use std::fmt;

use holdfast_core::net::Mac;
use holdfast_core::time::Instant;

use crate::lacp::{MuxState, RxState};
use crate::member::{LinkState, MemberId};
use crate::options::OptionName;

/// Something that happened to a bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A member joined.
    Added {
        /// Which.
        member: MemberId,
        /// Its name.
        name: String,
        /// How its link is taken to be.
        link: LinkState,
    },
    /// A member left.
    Removed {
        /// Which it was.
        member: MemberId,
        /// Its name.
        name: String,
    },
    /// A member's link is seen otherwise than before.
    Link {
        /// Which.
        member: MemberId,
        /// How it was.
        from: LinkState,
        /// How it is.
        to: LinkState,
        /// What says so.
        why: LinkReason,
    },
    /// Another member is the active one.
    Active {
        /// The one before.
        from: Option<MemberId>,
        /// The one now.
        to: Option<MemberId>,
        /// What led to it.
        why: ActiveReason,
    },
    /// The bond as a whole has, or has lost, its carrier.
    Carrier {
        /// Whether it has.
        up: bool,
    },
    /// The neighbours were told where the bond's addresses are.
    Announced {
        /// The member it went out on.
        member: MemberId,
        /// Frames: one an address.
        frames: usize,
        /// Announcements that follow.
        left: u32,
    },
    /// IGMP and MLD reports were sent again.
    GroupsReported {
        /// The member they went out on.
        member: MemberId,
        /// Groups.
        groups: usize,
        /// Repetitions that follow.
        left: u32,
    },
    /// The bond has another hardware address.
    BondMac {
        /// Which.
        mac: Mac,
    },
    /// A member has another hardware address.
    MemberMac {
        /// Which member.
        member: MemberId,
        /// Which address.
        mac: Mac,
    },
    /// A member flaps and is kept out, or no longer.
    Damped {
        /// Which.
        member: MemberId,
        /// Whether it is kept out.
        out: bool,
    },
    /// Another aggregator is the active one (802.3ad), by number.
    Aggregator {
        /// The one before.
        from: Option<u16>,
        /// The one now.
        to: Option<u16>,
    },
    /// A port's machines are in other states (802.3ad).
    Lacp {
        /// Which member's.
        member: MemberId,
        /// The receive machine.
        receive: RxState,
        /// The mux machine.
        mux: MuxState,
    },
    /// An option was changed.
    OptionSet {
        /// Which.
        option: OptionName,
        /// To what.
        value: String,
    },
}

/// What says that a link changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkReason {
    /// The carrier is gone.
    CarrierLost,
    /// The carrier was gone for as long as `downdelay`.
    DownDelayOver,
    /// The carrier is back.
    CarrierBack,
    /// The carrier was back for as long as `updelay`.
    UpDelayOver,
    /// The carrier is back and no other member is usable: `updelay` is not waited for.
    NoneUsable,
    /// The carrier came back before `downdelay` was over.
    CarrierBackInTime,
    /// The carrier went away again before `updelay` was over.
    CarrierLostAgain,
    /// It was made the active one before `updelay` was over.
    MadeActive,
    /// Something that counts was received.
    Heard,
    /// Nothing that counts was received for too long.
    Silent,
    /// Nothing was sent for too long, although probes are.
    NotSending,
    /// It is the next one to be tried, as no member is active.
    Tried,
    /// It was tried, and the search goes on.
    TriedInVain,
    /// It has no carrier, and there is no use in trying it.
    NoCarrier,
    /// Its speed and duplex are not known, which this mode needs.
    SpeedUnknown,
}

impl fmt::Display for LinkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CarrierLost => "carrier lost",
            Self::DownDelayOver => "carrier gone for downdelay",
            Self::CarrierBack => "carrier back",
            Self::UpDelayOver => "carrier back for updelay",
            Self::NoneUsable => "carrier back, and no other member usable",
            Self::CarrierBackInTime => "carrier back within downdelay",
            Self::CarrierLostAgain => "carrier lost again within updelay",
            Self::MadeActive => "made active before updelay was over",
            Self::Heard => "heard",
            Self::Silent => "silent",
            Self::NotSending => "not sending",
            Self::Tried => "tried",
            Self::TriedInVain => "tried in vain",
            Self::NoCarrier => "no carrier",
            Self::SpeedUnknown => "speed or duplex unknown",
        })
    }
}

/// What led to another active member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveReason {
    /// A member's link failed.
    LinkFailed,
    /// A member's link is back.
    LinkBack,
    /// A member joined.
    Added,
    /// The active member left.
    Removed,
    /// Somebody asked for this one.
    Asked,
    /// An option was changed.
    Option(OptionName),
    /// A member has another name.
    Renamed,
}

impl fmt::Display for ActiveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkFailed => f.write_str("link failed"),
            Self::LinkBack => f.write_str("link back"),
            Self::Added => f.write_str("member added"),
            Self::Removed => f.write_str("member removed"),
            Self::Asked => f.write_str("asked for"),
            Self::Option(option) => write!(f, "{option} changed"),
            Self::Renamed => f.write_str("member renamed"),
        }
    }
}
