//! How things stand with a running bond.

use std::collections::BTreeMap;

use holdfast_bond::wire::lacpdu::state;
use holdfast_bond::{LinkState, PortStatus, Status};
use holdfast_core::net::Duplex;
use serde::{Deserialize, Serialize};

use super::ports::Counters;
use crate::exit::Exit;
use crate::moment::Moment;
use crate::row;
use crate::table::lay_out;

/// A bond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) bond: String,
    pub(crate) pid: u32,
    pub(crate) since_unix_ms: u64,
    pub(crate) mode: String,
    /// Administratively up.
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) mac: String,
    pub(crate) mtu: u32,
    pub(crate) primary: Option<String>,
    pub(crate) active: Option<String>,
    /// Every option in force, by the kernel's name.
    pub(crate) options: BTreeMap<String, String>,
    /// 802.3ad: the aggregate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) lacp: Option<Lacp>,
    pub(crate) members: Vec<Member>,
    /// Members that vanished and are taken back when they return.
    pub(crate) missing: Vec<String>,
    /// Frames of the stack that no member took.
    pub(crate) dropped: u64,
}

/// The aggregate, seen from our side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lacp {
    pub(crate) system: String,
    pub(crate) system_priority: u16,
    /// The number of the aggregator in use.
    pub(crate) aggregator: Option<u16>,
    /// Its ports that have a link.
    pub(crate) ports: usize,
    /// The other end; `None` if nobody answers.
    pub(crate) partner: Option<String>,
}

/// A port of the aggregate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LacpPort {
    pub(crate) aggregator: Option<u16>,
    /// That is the one in use.
    pub(crate) in_active: bool,
    pub(crate) collecting: bool,
    pub(crate) distributing: bool,
    /// A partner has been heard, and has not expired.
    pub(crate) partner_known: bool,
    pub(crate) partner: String,
    pub(crate) receive: String,
    pub(crate) mux: String,
    pub(crate) port_priority: u16,
    pub(crate) lacpdus_received: u64,
    pub(crate) lacpdus_sent: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) active: bool,
    /// A party to traffic.
    pub(crate) in_traffic: bool,
    /// `up`, `going down`, `down` or `going back`, as the monitor sees it.
    pub(crate) link: String,
    /// As the driver says.
    pub(crate) carrier: bool,
    pub(crate) speed_mbps: Option<u32>,
    pub(crate) duplex: Option<String>,
    pub(crate) failures: u32,
    pub(crate) prio: i32,
    pub(crate) mac: String,
    pub(crate) permanent_mac: String,
    /// Kept out because it flaps.
    pub(crate) damped: bool,
    /// 802.3ad: the port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) lacp: Option<LacpPort>,
    pub(crate) frames_received: u64,
    pub(crate) frames_delivered: u64,
    pub(crate) frames_missed: u64,
    pub(crate) frames_sent: u64,
    pub(crate) frames_dropped: u64,
    pub(crate) frames_refused: u64,
}

/// What the core does not know.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) since_unix_ms: u64,
    pub(super) mtu: u32,
    pub(super) missing: Vec<String>,
    pub(super) dropped: u64,
}

impl View {
    /// A core's status and what the driver knows beside it.
    pub(super) fn new(
        status: &Status,
        around: Surroundings,
        counters: impl Fn(&str) -> Counters,
    ) -> Self {
        let options = holdfast_bond::OptionName::ALL.iter().map(|&option| {
            let value = match option {
                holdfast_bond::OptionName::ActiveSlave => status.active.clone().unwrap_or_default(),
                option => status.options.get(option),
            };
            (option.name().to_owned(), value)
        });
        Self {
            bond: status.name.clone(),
            pid: std::process::id(),
            since_unix_ms: around.since_unix_ms,
            mode: status.options.mode.to_string(),
            up: status.up,
            carrier: status.carrier,
            mac: status.mac.to_string(),
            mtu: around.mtu,
            primary: status.primary.clone(),
            active: status.active.clone(),
            options: options.collect(),
            lacp: lacp(status),
            members: status.members.iter().map(|one| member(one, counters(&one.name))).collect(),
            missing: around.missing,
            dropped: around.dropped,
        }
    }

    /// All members work, some do, or none.
    pub(crate) fn exit(&self) -> Exit {
        let works = |member: &Member| member.link == LinkState::Up.name();
        match (self.up && self.carrier, self.members.iter().all(works) && self.missing.is_empty()) {
            (false, _) => Exit::Unusable,
            (true, false) => Exit::Degraded,
            (true, true) => Exit::Good,
        }
    }

    /// In lines, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let state = match (self.up, self.carrier) {
            (false, _) => "down",
            (true, false) => "no carrier",
            (true, true) => "up",
        };
        let Self { bond, mode, mac, mtu, pid, .. } = self;
        let since = Moment(self.since_unix_ms).to_string();
        let since = since.split('.').next().unwrap_or_default();
        let mut lines = vec![
            format!("{bond}: {mode}, {state}   {mac}, mtu {mtu}   pid {pid} since {since}"),
            format!("monitor: {}", self.monitor()),
        ];
        if let Some(primary) = &self.primary {
            lines
                .push(format!("primary: {primary}, reselect {}", self.options["primary_reselect"]));
        }
        if let Some(lacp) = &self.lacp {
            let partner = lacp.partner.as_deref().unwrap_or("nobody");
            let number = lacp.aggregator.map_or_else(|| "none".to_owned(), |id| id.to_string());
            let Lacp { ports, system, .. } = lacp;
            lines.push(format!(
                "aggregator: {number}, {ports} ports with a link; system {system}, partner {partner}"
            ));
        }
        let mut rows = vec![row![
            "", "member", "link", "speed", "failures", "prio", "address", "received", "sent"
        ]];
        rows.extend(self.members.iter().map(|member| {
            let mark = match (member.active, member.in_traffic) {
                (true, _) => "*",
                (false, true) => "+",
                (false, false) => "",
            };
            let speed = member.speed_mbps.map_or_else(|| "?".to_owned(), |speed| speed.to_string());
            row![
                mark,
                member.name,
                member.link,
                speed,
                member.failures,
                member.prio,
                member.mac,
                member.frames_received,
                member.frames_sent
            ]
        }));
        rows.extend(self.missing.iter().map(|name| row!["", name, "missing"]));
        lines.extend(lay_out(&rows));
        lines
    }

    fn monitor(&self) -> String {
        let option = |name: &str| self.options.get(name).map_or("", String::as_str);
        let mut words = Vec::new();
        if option("miimon") != "0" {
            words.push(format!("miimon {} ms", option("miimon")));
            for delay in ["updelay", "downdelay"] {
                if option(delay) != "0" {
                    words.push(format!("{delay} {} ms", option(delay)));
                }
            }
        }
        if option("arp_interval") != "0" {
            let targets = [option("arp_ip_target"), option("ns_ip6_target")];
            let targets = targets.into_iter().filter(|some| !some.is_empty());
            words.push(format!(
                "arp_interval {} ms x {} to {}",
                option("arp_interval"),
                option("arp_missed_max"),
                targets.collect::<Vec<_>>().join(",")
            ));
            words.push(format!("arp_validate {}", option("arp_validate")));
        }
        words.join(", ")
    }
}

fn lacp(status: &Status) -> Option<Lacp> {
    let lacp = status.lacp.as_ref()?;
    let active = lacp.active.as_ref();
    let partner = active.map(|active| active.partner).filter(|partner| partner.is_station());
    Some(Lacp {
        system: lacp.system.to_string(),
        system_priority: lacp.system_priority,
        aggregator: active.map(|active| active.id),
        ports: active.map_or(0, |active| active.ports),
        partner: partner.map(|partner| partner.to_string()),
    })
}

fn port(port: &PortStatus) -> LacpPort {
    let PortStatus { actor, partner, .. } = port;
    let lost = actor.has(state::DEFAULTED) || actor.has(state::EXPIRED);
    LacpPort {
        aggregator: port.aggregator,
        in_active: port.in_active,
        collecting: actor.has(state::COLLECTING),
        distributing: actor.has(state::DISTRIBUTING),
        partner_known: partner.system.is_station() && !lost,
        partner: partner.system.to_string(),
        receive: words(&port.receive),
        mux: words(&port.mux),
        port_priority: actor.port_priority,
        lacpdus_received: port.received,
        lacpdus_sent: port.sent,
    }
}

/// A state's name as the standard's figures write it: `CollectingDistributing` is
/// `collecting distributing`.
pub(super) fn words(state: &impl std::fmt::Debug) -> String {
    let name = format!("{state:?}");
    let mut words = String::with_capacity(name.len() + 2);
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

fn member(status: &holdfast_bond::MemberStatus, counters: Counters) -> Member {
    let duplex = |duplex| match duplex {
        Duplex::Full => "full".to_owned(),
        Duplex::Half => "half".to_owned(),
    };
    Member {
        name: status.name.clone(),
        active: status.active,
        in_traffic: status.in_traffic,
        link: status.state.name().to_owned(),
        carrier: status.carrier,
        speed_mbps: status.speed_mbps,
        duplex: status.duplex.map(duplex),
        failures: status.failures,
        prio: status.prio,
        mac: status.mac.to_string(),
        permanent_mac: status.permanent_mac.to_string(),
        damped: status.damped,
        lacp: status.port.as_ref().map(port),
        frames_received: counters.received,
        frames_delivered: counters.delivered,
        frames_missed: counters.missed,
        frames_sent: counters.sent.frames,
        frames_dropped: counters.sent.dropped,
        frames_refused: counters.sent.refused,
    }
}
