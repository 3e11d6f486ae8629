//! What options can be set to.
//!
//! Each is known by the kernel's name and by the kernel's number; both are accepted.

use std::fmt;
use std::str::FromStr;

/// A text that is none of an option's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is none of: {}", .known.join(", "))]
pub struct NotOneOf {
    /// The text.
    pub given: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

macro_rules! values {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $number:literal $text:literal $(| $other:literal)*,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $value = $number,)* }

        impl $name {
            /// Every value, in the order of the kernel's numbers.
            pub const ALL: &'static [Self] = &[$(Self::$value),*];

            /// The kernel's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }

            /// The kernel's number.
            pub const fn number(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = NotOneOf;

            fn from_str(text: &str) -> Result<Self, NotOneOf> {
                let even = text.replace('_', "-");
                $(
                    let number = text.parse() == Ok(Self::$value.number());
                    let names = [$text $(, $other)*];
                    if number || names.iter().any(|name| name.replace('_', "-") == even) {
                        return Ok(Self::$value);
                    }
                )*
                Err(NotOneOf { given: text.to_owned(), known: vec![$($text),*] })
            }
        }
    };
}

values! {
    /// How frames are spread over members.
    Mode {
        /// Frame by frame over all members.
        RoundRobin = 0 "balance-rr",
        /// One member at a time.
        ActiveBackup = 1 "active-backup",
        /// By a hash of each frame.
        Xor = 2 "balance-xor",
        /// Every frame on every member.
        Broadcast = 3 "broadcast",
        /// Link aggregation after IEEE 802.1AX (once 802.3ad).
        Lacp = 4 "802.3ad" | "lacp",
        /// Transmit balanced by load, receive on the active member.
        Tlb = 5 "balance-tlb",
        /// Transmit and (for IPv4) receive balanced by load.
        Alb = 6 "balance-alb",
    }
}

impl Mode {
    /// Whether one member is the active one: primary, priorities and manual choice mean something.
    pub const fn has_active(self) -> bool {
        matches!(self, Self::ActiveBackup | Self::Tlb | Self::Alb)
    }

    /// Whether it is one of the two adaptive modes.
    pub const fn is_adaptive(self) -> bool {
        matches!(self, Self::Tlb | Self::Alb)
    }

    /// The kernel's long name, as in its status text.
    pub const fn title(self) -> &'static str {
        match self {
            Self::RoundRobin => "load balancing (round-robin)",
            Self::ActiveBackup => "fault-tolerance (active-backup)",
            Self::Xor => "load balancing (xor)",
            Self::Broadcast => "fault-tolerance (broadcast)",
            Self::Lacp => "IEEE 802.3ad Dynamic link aggregation",
            Self::Tlb => "transmit load balancing",
            Self::Alb => "adaptive load balancing",
        }
    }
}

values! {
    /// What a frame is hashed by (`xmit_hash_policy`).
    HashPolicy {
        /// Hardware addresses and EtherType.
        Layer2 = 0 "layer2",
        /// Addresses and ports.
        Layer34 = 1 "layer3+4",
        /// Hardware and IP addresses.
        Layer23 = 2 "layer2+3",
        /// As layer2+3, of the innermost packet.
        Encap23 = 3 "encap2+3",
        /// As layer3+4, of the innermost packet.
        Encap34 = 4 "encap3+4",
        /// VLAN and source hardware address.
        VlanSrcMac = 5 "vlan+srcmac",
    }
}

values! {
    /// Which received frames say that a member is alive (`arp_validate`).
    Validate {
        /// Any.
        None = 0 "none",
        /// On the active member only answers from a target; on others any.
        Active = 1 "active",
        /// On other members only the bond's own requests seen again; on the active one any.
        Backup = 2 "backup",
        /// Both.
        All = 3 "all",
        /// Any ARP (or IPv6) frame.
        Filter = 4 "filter",
        /// Filter, and answers from a target on the active member.
        FilterActive = 5 "filter_active",
        /// Filter, and the bond's own requests on the others.
        FilterBackup = 6 "filter_backup",
    }
}

impl Validate {
    /// Whether what a member in this role receives is looked into.
    pub const fn examines(self, active: bool) -> bool {
        self.number() & (if active { 1 } else { 2 }) != 0
    }

    /// Whether only ARP and IPv6 frames count at all.
    pub const fn filters(self) -> bool {
        self.number() & 4 != 0
    }
}

values! {
    /// How many targets must answer (`arp_all_targets`).
    AllTargets {
        /// One is enough.
        Any = 0 "any",
        /// Every one.
        All = 1 "all",
    }
}

values! {
    /// When a better member takes over from one that works (`primary_reselect`).
    Reselect {
        /// At once.
        Always = 0 "always",
        /// If it is faster, or as fast with better duplex.
        Better = 1 "better",
        /// Only when the active one fails.
        Failure = 2 "failure",
    }
}

values! {
    /// Whose hardware address is used where (`fail_over_mac`).
    FailOverMac {
        /// All members have the bond's.
        None = 0 "none",
        /// The bond has the active member's.
        Active = 1 "active",
        /// The active member gets the bond's; the others keep their own.
        Follow = 2 "follow",
    }
}

values! {
    /// How often the partner is asked to send LACPDUs (`lacp_rate`).
    LacpRate {
        /// Every 30 s.
        Slow = 0 "slow",
        /// Every second.
        Fast = 1 "fast",
    }
}

values! {
    /// When another aggregator is chosen (`ad_select`).
    AdSelect {
        /// When the active one has no port left.
        Stable = 0 "stable",
        /// Whenever ports change: the one with the most bandwidth.
        Bandwidth = 1 "bandwidth",
        /// Whenever ports change: the one with the most ports.
        Count = 2 "count",
        /// Whenever ports change: the one with the highest port priorities.
        PortPriority = 3 "actor_port_prio",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_known_by_name_and_by_number() {
        for &mode in Mode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(mode.number().to_string().parse(), Ok(mode));
        }
        assert_eq!("filter-active".parse(), Ok(Validate::FilterActive));
        assert_eq!("lacp".parse(), Ok(Mode::Lacp));
        let error = "sideways".parse::<Reselect>().unwrap_err();
        assert_eq!(error.to_string(), "\"sideways\" is none of: always, better, failure");
    }

    #[test]
    fn the_seven_values_of_validate() {
        let table: Vec<_> = Validate::ALL
            .iter()
            .map(|value| (value.examines(true), value.examines(false), value.filters()))
            .collect();
        assert_eq!(
            table,
            [
                (false, false, false),
                (true, false, false),
                (false, true, false),
                (true, true, false),
                (false, false, true),
                (true, false, true),
                (false, true, true),
            ]
        );
    }
}
