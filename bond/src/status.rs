//! What a bond says of itself when asked.

use holdfast_core::net::{Duplex, Mac};

use crate::bond::Bond;
use crate::defects::Defects;
use crate::lacp::{ChurnState, MuxState, PeriodicState, RxState};
use crate::member::{LinkState, Member, MemberId};
use crate::options::{Mode, Options};
use crate::wire::lacpdu::Party;

/// The whole state of a bond at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The options in force.
    pub options: Options,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Its hardware address.
    pub mac: Mac,
    /// The primary, if it is a member and the mode knows one.
    pub primary: Option<String>,
    /// The active member's name.
    pub active: Option<String>,
    /// 802.3ad: the system, its priority and the active aggregator.
    pub lacp: Option<LacpStatus>,
    /// The members, in order of joining.
    pub members: Vec<MemberStatus>,
}

/// 802.3ad, the bond's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LacpStatus {
    /// The system's priority.
    pub system_priority: u16,
    /// The system.
    pub system: Mac,
    /// The active aggregator.
    pub active: Option<AggregatorStatus>,
}

/// An aggregator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregatorStatus {
    /// Its number.
    pub id: u16,
    /// Ports of it that have a link.
    pub ports: usize,
    /// Our key.
    pub actor_key: u16,
    /// The partner's key.
    pub partner_key: u16,
    /// The partner; zero if there is none.
    pub partner: Mac,
}

/// 802.3ad, a port's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The number of the aggregator it is in.
    pub aggregator: Option<u16>,
    /// Whether that is the active one.
    pub in_active: bool,
    /// What it says of itself.
    pub actor: Party,
    /// What it knows of its partner.
    pub partner: Party,
    /// The receive machine.
    pub receive: RxState,
    /// The periodic machine.
    pub periodic: PeriodicState,
    /// The mux machine.
    pub mux: MuxState,
    /// Our churn machine.
    pub actor_churn: ChurnState,
    /// How often we churned.
    pub actor_churned: u32,
    /// The partner's churn machine.
    pub partner_churn: ChurnState,
    /// How often the partner churned.
    pub partner_churned: u32,
    /// LACPDUs received.
    pub received: u64,
    /// LACPDUs sent.
    pub sent: u64,
    /// LACPDUs of our own received: the cable leads back to us.
    pub loops: u64,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Whether it is the active one.
    pub active: bool,
    /// Whether it is a party to traffic.
    pub in_traffic: bool,
    /// How its link is taken to be.
    pub state: LinkState,
    /// Whether its port says that there is carrier.
    pub carrier: bool,
    /// Mbit/s, where known.
    pub speed_mbps: Option<u32>,
    /// Duplex, where known.
    pub duplex: Option<Duplex>,
    /// How often its link was given up.
    pub failures: u32,
    /// Whether it is kept out because it flaps.
    pub damped: bool,
    /// The address it came with.
    pub permanent_mac: Mac,
    /// The address it has.
    pub mac: Mac,
    /// Its priority.
    pub prio: i32,
    /// Its queue.
    pub queue_id: u16,
    /// 802.3ad.
    pub port: Option<PortStatus>,
}

impl<D: Defects> Bond<D> {
    /// How things stand.
    pub fn status(&self) -> Status {
        let name = |id| self.member_name(id).map(str::to_owned);
        Status {
            name: self.name.clone(),
            options: self.options.clone(),
            up: self.up,
            carrier: self.carrier,
            mac: self.mac,
            primary: self.primary().map(|primary| primary.name.clone()),
            active: self.active.filter(|_| self.options.mode.has_active()).and_then(name),
            lacp: self.lacp_status(),
            members: self
                .members
                .iter()
                .map(|member| MemberStatus {
                    id: member.id,
                    name: member.name.clone(),
                    active: self.options.mode.has_active() && self.active == Some(member.id),
                    in_traffic: !member.backup,
                    state: member.state,
                    carrier: member.link.carrier,
                    speed_mbps: member.link.speed_mbps,
                    duplex: member.link.duplex,
                    failures: member.failures,
                    damped: member.penalty.out,
                    permanent_mac: member.permanent,
                    mac: member.mac,
                    prio: member.prio,
                    queue_id: member.queue_id,
                    port: self.port_status(member),
                })
                .collect(),
        }
    }

    fn lacp_status(&self) -> Option<LacpStatus> {
        let (system, system_priority) =
            self.lacp_system().filter(|_| self.options.mode == Mode::Lacp)?;
        let active = self.members.iter().find(|member| member.aggregator.active);
        let active = active.map(|member| &member.aggregator).map(|aggregator| AggregatorStatus {
            id: aggregator.id,
            ports: self.live_ports(aggregator),
            actor_key: aggregator.actor_key,
            partner_key: aggregator.partner_key,
            partner: aggregator.partner_system,
        });
        Some(LacpStatus { system_priority, system, active })
    }

    fn port_status(&self, member: &Member) -> Option<PortStatus> {
        let port = Some(&member.port).filter(|_| self.options.mode == Mode::Lacp)?;
        let aggregator =
            port.aggregator.and_then(|id| self.member(id)).map(|member| &member.aggregator);
        Some(PortStatus {
            aggregator: aggregator.map(|aggregator| aggregator.id),
            in_active: aggregator.is_some_and(|aggregator| aggregator.active),
            actor: port.actor,
            partner: port.partner,
            receive: port.rx,
            periodic: port.periodic,
            mux: port.mux,
            actor_churn: port.actor_churn.state,
            actor_churned: port.actor_churn.count,
            partner_churn: port.partner_churn.state,
            partner_churned: port.partner_churn.count,
            received: port.received,
            sent: port.sent,
            loops: port.loops,
        })
    }
}
