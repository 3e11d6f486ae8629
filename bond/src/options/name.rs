//! The options by name.

use std::fmt;
use std::str::FromStr;

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident $text:literal $($other:literal)*,)*) => {
        /// An option of a bond. Each is known by the kernel's name; `_` and `-` are alike.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OptionName { $($(#[$doc])* $name,)* }

        impl OptionName {
            /// Every option.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl FromStr for OptionName {
            type Err = UnknownOption;

            fn from_str(text: &str) -> Result<Self, UnknownOption> {
                match text.replace('-', "_").as_str() {
                    $($text $(| $other)* => Ok(Self::$name),)*
                    _ => Err(UnknownOption(text.to_owned())),
                }
            }
        }
    };
}

options! {
    /// How frames are spread.
    Mode "mode",
    /// Milliseconds between looks at the members' links; 0: none.
    Miimon "miimon",
    /// Milliseconds a link must be back before it is used.
    UpDelay "updelay",
    /// Milliseconds a link must be gone before it is given up.
    DownDelay "downdelay",
    /// The kernel's choice of how to ask for a link; only its default is left.
    UseCarrier "use_carrier",
    /// Milliseconds between probes of the targets; 0: none.
    ArpInterval "arp_interval",
    /// IPv4 addresses to probe.
    ArpIpTarget "arp_ip_target",
    /// IPv6 addresses to probe.
    NsIp6Target "ns_ip6_target",
    /// Which received frames count.
    ArpValidate "arp_validate",
    /// Whether one target or all must answer.
    ArpAllTargets "arp_all_targets",
    /// Probes that may go unanswered.
    ArpMissedMax "arp_missed_max",
    /// The preferred member.
    Primary "primary",
    /// When the preferred member takes over.
    PrimaryReselect "primary_reselect",
    /// The active member, by hand.
    ActiveSlave "active_slave",
    /// Whose hardware address is used where.
    FailOverMac "fail_over_mac",
    /// Announcements after a failover (one counter under two names).
    NumPeerNotif "num_grat_arp" "num_unsol_na" "num_peer_notif",
    /// Milliseconds between announcements.
    PeerNotifDelay "peer_notif_delay",
    /// IGMP and MLD reports sent again after a failover.
    ResendIgmp "resend_igmp",
    /// Whether frames received on inactive members are kept.
    AllSlavesActive "all_slaves_active",
    /// Frames in a row on one member.
    PacketsPerSlave "packets_per_slave",
    /// What frames are hashed by.
    XmitHashPolicy "xmit_hash_policy",
    /// Whether load decides where flows go.
    TlbDynamicLb "tlb_dynamic_lb",
    /// Seconds between learning frames.
    LpInterval "lp_interval",
    /// How often the partner shall speak.
    LacpRate "lacp_rate",
    /// Whether to speak before being spoken to.
    LacpActive "lacp_active",
    /// Whether a silent partner takes the carrier down.
    LacpStrict "lacp_strict",
    /// Ports needed for carrier.
    MinLinks "min_links",
    /// How aggregators are chosen.
    AdSelect "ad_select",
    /// The system's priority.
    AdActorSysPrio "ad_actor_sys_prio",
    /// The system's address.
    AdActorSystem "ad_actor_system",
    /// The upper ten bits of port keys.
    AdUserPortKey "ad_user_port_key",
    /// Whether collecting and distributing begin together.
    CoupledControl "coupled_control",
    /// Whether ARP and neighbour discovery go out on every member.
    BroadcastNeighbor "broadcast_neighbor",
    /// Ours: probe every member itself, not only the active one.
    ProbeAll "probe_all",
    /// Ours: milliseconds of silence after which a port without partner is used all the same.
    LacpFallback "lacp_fallback",
    /// Ours: penalty above which a flapping member is kept out.
    FlapPenalty "flap_penalty",
    /// Ours: milliseconds in which half a penalty is forgotten.
    FlapHalfLife "flap_half_life",
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No option has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no bonding option {0:?}")]
pub struct UnknownOption(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscore_and_hyphen_are_alike() {
        for &name in OptionName::ALL {
            assert_eq!(name.name().parse(), Ok(name));
            assert_eq!(name.name().replace('_', "-").parse(), Ok(name));
        }
        assert_eq!("num_unsol_na".parse(), Ok(OptionName::NumPeerNotif));
        assert!("arpinterval".parse::<OptionName>().is_err());
    }
}
