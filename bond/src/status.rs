//! What a bond says of itself when asked.

use holdfast_core::net::{Duplex, Mac};

use crate::bond::Bond;
use crate::defects::Defects;
use crate::member::{LinkState, MemberId};
use crate::options::Options;

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
    /// The members, in order of joining.
    pub members: Vec<MemberStatus>,
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
    /// The address it came with.
    pub permanent_mac: Mac,
    /// The address it has.
    pub mac: Mac,
    /// Its priority.
    pub prio: i32,
    /// Its queue.
    pub queue_id: u16,
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
                    permanent_mac: member.permanent,
                    mac: member.mac,
                    prio: member.prio,
                    queue_id: member.queue_id,
                })
                .collect(),
        }
    }
}
