//! What was typed after `holdfast bond`.
//!
//! Every option of the kernel's driver is a flag of `run` under the kernel's own name, so the flags
//! are made from the core's list of names instead of being written down a second time. `-` and `_`
//! are alike in them: see [`as_kernel_names`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};
use holdfast_bond::OptionName;
use holdfast_bond::options::HashPolicy;
use holdfast_core::net::Mac;
use holdfast_host::bond::link::Name;

/// What to do with bonds.
#[derive(Debug, Subcommand)]
pub(crate) enum BondVerb {
    /// Make a bond of network interfaces and run it until told to stop
    ///
    /// Needs CAP_NET_ADMIN and CAP_NET_RAW in the network namespace, and /dev/net/tun. To try it
    /// without either: unshare --map-root-user --net.
    Run(Box<BondRunArgs>),
    /// Show how a running bond stands
    Status(BondStatusArgs),
    /// Change options of a running bond, or of a member (prio=eth0:10, actor_port_prio=eth0:9)
    Set(BondSetArgs),
    /// Take interfaces into a running bond
    Add(BondAddArgs),
    /// Let members go and put them back as they were
    Remove(BondMembersArgs),
    /// Make a member the active one
    Activate(BondActivateArgs),
    /// Tell what happens to a running bond
    Events(BondEventsArgs),
    /// Stop a running bond and put its members back as they were
    Stop(BondNameArgs),
    /// Put back what bonds that died have left behind
    Cleanup(BondPlaceArgs),
    /// Tell which member each frame of a capture would leave on
    Hash(BondHashArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BondArgs {
    #[command(subcommand)]
    pub(crate) verb: BondVerb,
}

/// Where sockets and journals are.
#[derive(Clone, Debug, Args)]
pub(crate) struct BondPlaceArgs {
    /// Directory for sockets and journals [default: /run/holdfast, or the user's own]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BondRunArgs {
    /// Name of the bond's interface [default: bond0]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Name, options and members from a file in TOML; what is typed here overrules it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Hardware address of the bond [default: the first member's]
    #[arg(long, value_name = "MAC")]
    pub(crate) mac: Option<Mac>,
    /// MTU of the bond and its members [default: 1500]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65_521))]
    pub(crate) mtu: Option<u32>,
    /// Say nothing while it runs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// An option by name, as any of those below
    #[arg(short, long = "option", value_name = "OPTION=VALUE")]
    pub(crate) option: Vec<String>,
    #[command(flatten)]
    pub(crate) options: OptionArgs,
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
    /// Interfaces, each perhaps with a priority: eth0; eth0,prio=10; eth0,actor_port_prio=100
    #[arg(value_name = "MEMBER")]
    pub(crate) members: Vec<String>,
}

/// Options given as flags: names and values in the order of the core's list.
#[derive(Clone, Debug, Default)]
pub(crate) struct OptionArgs {
    pub(crate) pairs: Vec<(OptionName, String)>,
}

impl FromArgMatches for OptionArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for &option in OptionName::ALL {
            if let Some(values) = matches.get_many::<String>(option.name()) {
                // Targets may be given one by one; of anything else the last one counts.
                let values: Vec<&str> = values.map(String::as_str).collect();
                let value = match takes_list(option) {
                    true => values.join(","),
                    false => values.last().copied().unwrap_or_default().to_owned(),
                };
                self.pairs.push((option, value));
            }
        }
        Ok(())
    }
}

impl Args for OptionArgs {
    fn augment_args(command: Command) -> Command {
        let flag = |&option: &OptionName| {
            Arg::new(option.name())
                .long(option.name())
                .help_heading("Options of the bond")
                .value_name(unit(option))
                .help(help(option))
                .allow_hyphen_values(true)
                .action(ArgAction::Append)
        };
        command.args(OptionName::ALL.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

const fn takes_list(option: OptionName) -> bool {
    matches!(option, OptionName::ArpIpTarget | OptionName::NsIp6Target)
}

const fn unit(option: OptionName) -> &'static str {
    use OptionName as O;
    match option {
        O::Miimon | O::UpDelay | O::DownDelay | O::ArpInterval | O::PeerNotifDelay => "MS",
        O::LacpFallback | O::FlapHalfLife => "MS",
        O::LpInterval => "SECONDS",
        O::ArpIpTarget | O::NsIp6Target => "IP",
        O::Primary | O::ActiveSlave => "MEMBER",
        O::Mode => "MODE",
        O::AdActorSystem => "MAC",
        O::UseCarrier | O::AllSlavesActive | O::TlbDynamicLb | O::LacpActive => "0|1",
        O::LacpStrict | O::CoupledControl | O::BroadcastNeighbor | O::ProbeAll => "0|1",
        O::LacpRate => "slow|fast",
        O::ArpAllTargets => "any|all",
        O::PrimaryReselect => "WHEN",
        O::FailOverMac | O::ArpValidate | O::XmitHashPolicy | O::AdSelect => "HOW",
        _ => "N",
    }
}

const fn help(option: OptionName) -> &'static str {
    use OptionName as O;
    match option {
        O::Mode => {
            "balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb or balance-alb"
        }
        O::Miimon => "Time between looks at the links; 100 unless targets are probed",
        O::UpDelay => "How long a link must be back",
        O::DownDelay => "How long a link must be gone",
        O::ArpInterval => "Time between probes of the targets",
        O::ArpIpTarget => "IPv4 addresses to probe",
        O::NsIp6Target => "IPv6 addresses to probe",
        O::ArpValidate => "none, active, backup, all, filter, filter_active or filter_backup",
        O::ArpAllTargets => "Whether one target must answer or all of them",
        O::ArpMissedMax => "Probes that may go unanswered",
        O::Primary => "The member that is preferred",
        O::PrimaryReselect => "When a better member takes over: always, better or failure",
        O::ActiveSlave => "The member to begin with",
        O::FailOverMac => "none, active or follow",
        O::NumPeerNotif => "Announcements after a failover",
        O::PeerNotifDelay => "Time between announcements",
        O::ResendIgmp => "IGMP and MLD reports after a failover",
        O::AllSlavesActive => "Keep what is received on inactive members",
        O::PacketsPerSlave => "balance-rr: frames in a row on one member, 0: at random",
        O::XmitHashPolicy => "layer2, layer3+4, layer2+3, encap2+3, encap3+4 or vlan+srcmac",
        O::TlbDynamicLb => "Whether load decides where flows go",
        O::LpInterval => "Time between learning frames",
        O::LacpRate => "How often the partner shall speak",
        O::LacpActive => "Whether to speak before being spoken to",
        O::LacpStrict => "Whether a silent partner takes the carrier down",
        O::MinLinks => "Links needed for carrier",
        O::AdSelect => "stable, bandwidth, count or actor_port_prio",
        O::AdActorSysPrio => "Priority of the system, 1 to 65535",
        O::AdActorSystem => "Address of the system",
        O::AdUserPortKey => "Upper ten bits of port keys, 0 to 1023",
        O::UseCarrier => "Accepted for old configurations; only 1 is left",
        O::ProbeAll => "Ours: probe on every member, not only on the active one",
        O::LacpFallback => "Ours: after this time of silence a port is used without a partner",
        O::FlapPenalty => "Ours: penalty above which a flapping member is kept out",
        O::FlapHalfLife => "Ours: time in which half of a penalty is forgotten",
        _ => "As in the kernel",
    }
}

/// Replaces flags of `bond run` by the kernel's names of what they mean: `--arp-interval` by
/// `--arp_interval`, `--num_unsol_na` by its other name. Everything else stays as it is.
pub(crate) fn as_kernel_names(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut bond = false;
    words
        .map(|word| {
            let Some(text) = word.to_str() else { return word };
            bond |= text == "bond";
            let Some(flag) = text.strip_prefix("--").filter(|_| bond) else { return word };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            match (name.parse::<OptionName>(), value) {
                (Err(_), _) => word,
                (Ok(option), None) => format!("--{option}").into(),
                (Ok(option), Some(value)) => format!("--{option}={value}").into(),
            }
        })
        .collect()
}

/// Which bond.
#[derive(Debug, Args)]
pub(crate) struct BondNameArgs {
    /// Name of the bond [default: the only one that runs here]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<Name>,
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BondStatusArgs {
    #[command(flatten)]
    pub(crate) bond: BondNameArgs,
    /// How to show it: for people, or as the text of /proc/net/bonding
    #[arg(long, value_enum, value_name = "HOW", conflicts_with = "json")]
    pub(crate) format: Option<FormatWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatWord {
    // Plain comments: a text per value would stretch the help of the whole verb.
    // For people.
    Human,
    // The kernel's text.
    Proc,
}

#[derive(Debug, Args)]
pub(crate) struct BondSetArgs {
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
    /// The bond, unless it is the only one, then options: miimon=50
    #[arg(value_name = "[NAME] OPTION=VALUE", required = true)]
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BondAddArgs {
    /// Name of the bond [default: the only one that runs here]
    #[arg(long, value_name = "NAME")]
    pub(crate) bond: Option<Name>,
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
    /// Interfaces, each perhaps with a priority: eth0; eth0,prio=10; eth0,actor_port_prio=100
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BondMembersArgs {
    /// Name of the bond [default: the only one that runs here]
    #[arg(long, value_name = "NAME")]
    pub(crate) bond: Option<Name>,
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
    /// Members
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BondActivateArgs {
    /// Name of the bond [default: the only one that runs here]
    #[arg(long, value_name = "NAME")]
    pub(crate) bond: Option<Name>,
    #[command(flatten)]
    pub(crate) place: BondPlaceArgs,
    /// The member
    #[arg(value_name = "MEMBER")]
    pub(crate) member: String,
}

#[derive(Debug, Args)]
pub(crate) struct BondEventsArgs {
    #[command(flatten)]
    pub(crate) bond: BondNameArgs,
    /// Tell what is remembered and end, instead of waiting for what happens
    #[arg(long)]
    pub(crate) past: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BondHashArgs {
    /// layer2, layer3+4, layer2+3, encap2+3, encap3+4 or vlan+srcmac
    #[arg(short, long, value_name = "POLICY")]
    pub(crate) policy: HashPolicy,
    /// Usable members
    #[arg(short = 'n', long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) members: u32,
    /// A pcap file, or frames in hexadecimal, one a line, perhaps with their hash: 0011… = 0x1f
    #[arg(value_name = "PCAP|VECTORS")]
    pub(crate) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_known_by_every_spelling() {
        let line = "holdfast bond run --arp-interval 20 --num_unsol_na=3 --arp_ip_target=1.2.3.4 --run-dir x";
        let words = as_kernel_names(line.split(' ').map(OsString::from));
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(
            words[3..],
            [
                "--arp_interval",
                "20",
                "--num_grat_arp=3",
                "--arp_ip_target=1.2.3.4",
                "--run-dir",
                "x"
            ]
        );
        let other =
            as_kernel_names(["holdfast", "demo", "--lp-interval"].map(OsString::from).into_iter());
        assert_eq!(other[2], "--lp-interval");
    }
}
