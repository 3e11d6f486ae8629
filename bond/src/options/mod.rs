//! What a bond is told: every option of the kernel's driver, and a few of ours.
//!
//! An [`Options`] is a plain struct. [`Options::set`] takes one option as text, [`Options::checked`]
//! fills in what depends on what and refuses what makes no sense, with the reason.

mod check;
mod name;
mod set;
mod target;
mod values;

use std::net::{Ipv4Addr, Ipv6Addr};

use holdfast_core::net::Mac;

pub use check::Conflict;
pub use name::{OptionName, UnknownOption};
pub use set::OptionError;
pub use target::{Address, MAX_TARGETS, NotATarget, Target};
pub use values::{
    AdSelect, AllTargets, FailOverMac, HashPolicy, LacpRate, Mode, NotOneOf, Reselect, Validate,
};

/// Everything a bond can be told. Times are in milliseconds unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How frames are spread.
    pub mode: Mode,
    /// Time between looks at the links; `None`: not said (100, if nothing else watches).
    pub miimon_ms: Option<u32>,
    /// Time a link must be back. Rounded down to a multiple of `miimon_ms`.
    pub updelay_ms: u32,
    /// Time a link must be gone. Rounded down to a multiple of `miimon_ms`.
    pub downdelay_ms: u32,
    /// Time between probes; 0: no probes.
    pub arp_interval_ms: u32,
    /// IPv4 addresses to probe, at most [`MAX_TARGETS`].
    pub arp_ip_target: Vec<Target<Ipv4Addr>>,
    /// IPv6 addresses to probe, at most [`MAX_TARGETS`].
    pub ns_ip6_target: Vec<Target<Ipv6Addr>>,
    /// Which received frames count.
    pub arp_validate: Validate,
    /// Whether one target or all must answer.
    pub arp_all_targets: AllTargets,
    /// Probes that may go unanswered, 1 to 255.
    pub arp_missed_max: u8,
    /// The preferred member's name.
    pub primary: Option<String>,
    /// When the preferred member takes over.
    pub primary_reselect: Reselect,
    /// Whose hardware address is used where.
    pub fail_over_mac: FailOverMac,
    /// Announcements after a failover.
    pub num_peer_notif: u8,
    /// Time between announcements; 0: `miimon_ms` (or the probe interval). Rounded down to a
    /// multiple of `miimon_ms`.
    pub peer_notif_delay_ms: u32,
    /// IGMP and MLD reports sent again after a failover.
    pub resend_igmp: u8,
    /// Whether frames received on inactive members are kept.
    pub all_slaves_active: bool,
    /// Frames in a row on one member; 0: a random one for each frame.
    pub packets_per_slave: u16,
    /// What frames are hashed by.
    pub xmit_hash_policy: HashPolicy,
    /// Whether load decides where flows go.
    pub tlb_dynamic_lb: bool,
    /// Seconds between learning frames.
    pub lp_interval_s: u32,
    /// How often the partner shall speak.
    pub lacp_rate: LacpRate,
    /// Whether to speak before being spoken to.
    pub lacp_active: bool,
    /// Whether a silent partner takes the carrier down.
    pub lacp_strict: bool,
    /// Ports needed for carrier. The kernel asks this in 802.3ad alone, ours in every mode.
    pub min_links: u32,
    /// How aggregators are chosen.
    pub ad_select: AdSelect,
    /// The system's priority, 1 to 65535; the lower, the higher.
    pub ad_actor_sys_prio: u16,
    /// The system's address; `None`: the bond's.
    pub ad_actor_system: Option<Mac>,
    /// The upper ten bits of port keys, 0 to 1023.
    pub ad_user_port_key: u16,
    /// Whether collecting and distributing begin together.
    pub coupled_control: bool,
    /// Whether ARP and neighbour discovery go out on every port of the active aggregator.
    pub broadcast_neighbor: bool,
    /// Ours: probe every member itself, from its own address, instead of listening on backups for
    /// the active one's requests.
    pub probe_all: bool,
    /// Ours: time without a partner after which a port is used all the same; 0: never.
    pub lacp_fallback_ms: u32,
    /// Ours: a member whose flaps add up to more than this is kept out; 0: never. Each failure
    /// adds 1000.
    pub flap_penalty: u32,
    /// Ours: time in which half of a penalty is forgotten.
    pub flap_half_life_ms: u32,
}

impl Options {
    /// The defaults of the kernel, in this mode.
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            miimon_ms: None,
            updelay_ms: 0,
            downdelay_ms: 0,
            arp_interval_ms: 0,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            arp_validate: Validate::None,
            arp_all_targets: AllTargets::Any,
            arp_missed_max: 2,
            primary: None,
            primary_reselect: Reselect::Always,
            fail_over_mac: FailOverMac::None,
            num_peer_notif: 1,
            peer_notif_delay_ms: 0,
            resend_igmp: 1,
            all_slaves_active: false,
            packets_per_slave: 1,
            xmit_hash_policy: HashPolicy::Layer2,
            tlb_dynamic_lb: true,
            lp_interval_s: 1,
            lacp_rate: LacpRate::Slow,
            lacp_active: true,
            lacp_strict: false,
            min_links: 0,
            ad_select: AdSelect::Stable,
            ad_actor_sys_prio: 65535,
            ad_actor_system: None,
            ad_user_port_key: 0,
            coupled_control: true,
            broadcast_neighbor: false,
            probe_all: false,
            lacp_fallback_ms: 0,
            flap_penalty: 0,
            flap_half_life_ms: 15_000,
        }
    }

    /// Milliseconds between looks at the links; 0: none.
    pub fn miimon(&self) -> u32 {
        self.miimon_ms.unwrap_or(0)
    }

    /// Whether targets are probed.
    pub const fn probes(&self) -> bool {
        self.arp_interval_ms > 0
    }

    /// How many looks at the links `updelay` lasts.
    pub(crate) fn updelay_ticks(&self) -> u32 {
        self.updelay_ms.checked_div(self.miimon()).unwrap_or(0)
    }

    /// How many looks at the links `downdelay` lasts.
    pub(crate) fn downdelay_ticks(&self) -> u32 {
        self.downdelay_ms.checked_div(self.miimon()).unwrap_or(0)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new(Mode::RoundRobin)
    }
}
