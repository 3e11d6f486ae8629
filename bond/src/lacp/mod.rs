//! Link aggregation (IEEE 802.1AX, once 802.3ad), as the kernel's driver does it.
//!
//! Five machines a port, each in a file of its own with the standard's figure: `receive`,
//! `periodic` (with the transmit machine), `mux`, `selection`, `churn`. They are looked at
//! every 100 ms, in this order, and timers count these looks; a LACPDU makes the receive machine
//! look at once. What one machine tells another may therefore be acted on one look later.

mod churn;
mod mux;
mod periodic;
mod receive;
mod selection;

use holdfast_core::net::{Duplex, Mac};

use crate::bond::Bond;
use crate::defects::Defects;
use crate::mac::SLOW_GROUP;
use crate::member::{LinkState, Member};
use crate::options::Mode;
use crate::output::{FrameKind, Ingress};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::lacpdu::{self, Lacpdu, Marker, Party, state};

pub use churn::ChurnState;
pub use mux::MuxState;
pub use periodic::PeriodicState;
pub use receive::RxState;

pub(crate) use churn::Churn;
pub(crate) use selection::Aggregator;

/// Between two looks.
pub(crate) const TICK_MS: u64 = 100;
/// Looks in `current_while` at the fast rate: 3 s.
const SHORT_TIMEOUT: u32 = 30;
/// Looks in `current_while` at the slow rate: 90 s.
const LONG_TIMEOUT: u32 = 900;
/// Looks between LACPDUs at the fast rate: 1 s.
const FAST_PERIOD: u32 = 10;
/// Looks between LACPDUs at the slow rate: 30 s.
const SLOW_PERIOD: u32 = 300;
/// Looks a port waits for others to join its aggregator: 2 s.
const AGGREGATE_WAIT: u32 = 20;
/// Looks until churn is judged: 60 s.
const CHURN_TIME: u32 = 600;
/// Looks between two LACPDUs at least: three a second.
const TX_GAP: u32 = 3;
/// Looks until the first choice of an aggregator when a first member joins: 8 s.
const FIRST_CHOICE: u32 = 80;

/// What is assumed of a partner that says nothing.
pub(crate) const DEFAULT_PARTNER: Party = Party {
    system_priority: 0xffff,
    system: Mac::ZERO,
    key: 1,
    port_priority: 0xff,
    port: 1,
    state: 0,
};

/// A member as LACP sees it.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) actor: Party,
    pub(crate) partner: Party,
    /// It has a link.
    pub(crate) enabled: bool,
    /// LACP runs on it (it is full duplex).
    pub(crate) lacp_enabled: bool,
    /// Its machines begin anew.
    pub(crate) begin: bool,
    pub(crate) selected: bool,
    /// It has waited long enough for others.
    pub(crate) waited: bool,
    /// The partner sees us as we are.
    pub(crate) matched: bool,
    /// Churn is to be judged anew.
    pub(crate) churned: bool,
    /// There is something to tell (the standard's NTT).
    pub(crate) must_send: bool,
    pub(crate) rx: RxState,
    pub(crate) rx_timer: u32,
    pub(crate) periodic: PeriodicState,
    pub(crate) periodic_timer: u32,
    pub(crate) mux: MuxState,
    pub(crate) mux_timer: u32,
    pub(crate) tx_timer: u32,
    pub(crate) actor_churn: Churn,
    pub(crate) partner_churn: Churn,
    /// The member whose aggregator it is in.
    pub(crate) aggregator: Option<crate::member::MemberId>,
    /// Looks since a partner was last known.
    pub(crate) alone: u32,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) loops: u64,
}

impl Port {
    pub(crate) const fn new() -> Self {
        Self {
            actor: Party { state: state::AGGREGATION, ..DEFAULT_PARTNER },
            partner: DEFAULT_PARTNER,
            enabled: true,
            lacp_enabled: true,
            begin: true,
            selected: false,
            waited: false,
            matched: false,
            churned: false,
            must_send: false,
            rx: RxState::Initialize,
            rx_timer: 0,
            periodic: PeriodicState::NoPeriodic,
            periodic_timer: 0,
            mux: MuxState::Detached,
            mux_timer: 0,
            tx_timer: TX_GAP,
            actor_churn: Churn::new(),
            partner_churn: Churn::new(),
            aggregator: None,
            alone: 0,
            received: 0,
            sent: 0,
            loops: 0,
        }
    }
}

/// The bond as LACP sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lacp {
    system: Mac,
    system_priority: u16,
    next_aggregator: u16,
    next_port: u16,
    /// Looks until the first choice of an aggregator.
    pub(crate) select_timer: u32,
    /// Who may carry traffic has changed.
    pub(crate) changed: bool,
}

/// The kernel's code of a speed, as it stands in keys; 0 for others.
pub(crate) const fn speed_code(mbps: u32) -> u16 {
    match mbps {
        1 => 1,
        10 => 2,
        100 => 3,
        1000 => 4,
        2500 => 5,
        5000 => 6,
        10_000 => 7,
        14_000 => 8,
        20_000 => 9,
        25_000 => 10,
        40_000 => 11,
        50_000 => 12,
        56_000 => 13,
        80_000 => 14,
        100_000 => 15,
        200_000 => 16,
        400_000 => 17,
        800_000 => 18,
        1_600_000 => 19,
        _ => 0,
    }
}

/// The speed of a code.
pub(crate) const fn speed_mbps(code: u16) -> u32 {
    const SPEEDS: [u32; 20] = [
        0, 1, 10, 100, 1000, 2500, 5000, 10_000, 14_000, 20_000, 25_000, 40_000, 50_000, 56_000,
        80_000, 100_000, 200_000, 400_000, 800_000, 1_600_000,
    ];
    SPEEDS[code as usize]
}

impl Member {
    /// The code of its speed; 0 while its link is not up.
    pub(crate) fn speed_code(&self) -> u16 {
        let up = self.state == LinkState::Up;
        self.link.speed_mbps.filter(|_| up).map_or(0, speed_code)
    }

    pub(crate) fn usable_link(&self) -> bool {
        self.state == LinkState::Up && self.link.carrier
    }

    /// The key's lower six bits follow speed and duplex: five and one. A change of speed begins the
    /// port anew.
    pub(crate) fn update_key(&mut self, with_link: bool) {
        let (mut speed, mut full) = (0, false);
        if with_link {
            speed = self.speed_code();
            full = self.state == LinkState::Up && self.link.duplex == Some(Duplex::Full);
        }
        let old = self.port.actor.key;
        let key = old & !0x3f | speed << 1 | u16::from(full);
        if key == old {
            return;
        }
        self.port.actor.key = key;
        self.port.lacp_enabled = full;
        if with_link && full && speed != 0 && speed != (old & 0x3e) >> 1 {
            self.port.begin = true;
        }
    }
}

impl<D: Defects> Bond<D> {
    /// A member joined: it gets a port and an aggregator.
    pub(crate) fn bind_port(&mut self, index: usize) {
        if self.members.len() == 1 {
            self.lacp = Lacp { select_timer: FIRST_CHOICE, ..Lacp::default() };
            self.take_system();
        }
        self.lacp.next_port += 1;
        self.lacp.next_aggregator += 1;
        let options = &self.options;
        let mut port = Port::new();
        port.actor = Party {
            system_priority: self.lacp.system_priority,
            system: self.lacp.system,
            key: options.ad_user_port_key << 6,
            port_priority: self.members[index].port_priority,
            port: self.lacp.next_port,
            state: state::AGGREGATION
                | if options.lacp_active { state::ACTIVITY } else { 0 }
                | if options.lacp_rate.number() == 1 { state::TIMEOUT } else { 0 },
        };
        let member = &mut self.members[index];
        member.port = port;
        member.port.enabled = member.state == LinkState::Up;
        member.aggregator = Aggregator { id: self.lacp.next_aggregator, ..Aggregator::default() };
        member.update_key(true);
        self.set_inactive(index);
    }

    fn take_system(&mut self) {
        self.lacp.system = self.options.ad_actor_system.unwrap_or(self.mac);
        self.lacp.system_priority = self.options.ad_actor_sys_prio;
    }

    /// The system and its priority, once there is one.
    pub(crate) fn lacp_system(&self) -> Option<(Mac, u16)> {
        Some((self.lacp.system, self.lacp.system_priority))
    }

    /// Options of the actor changed: the partner is told.
    pub(crate) fn refresh_actor(&mut self) {
        self.take_system();
        let (system, priority, options) =
            (self.lacp.system, self.lacp.system_priority, &self.options);
        for member in &mut self.members {
            let actor = &mut member.port.actor;
            actor.system = system;
            actor.system_priority = priority;
            actor.port_priority = member.port_priority;
            actor.state &= !(state::TIMEOUT | state::ACTIVITY);
            actor.state |= if options.lacp_active { state::ACTIVITY } else { 0 };
            actor.state |= if options.lacp_rate.number() == 1 { state::TIMEOUT } else { 0 };
            member.port.must_send = true;
        }
    }

    /// A member leaves: its partner is told, and its aggregator handed over.
    pub(crate) fn unbind_port(&mut self, index: usize) {
        let gone =
            state::SYNCHRONIZATION | state::COLLECTING | state::DISTRIBUTING | state::AGGREGATION;
        self.members[index].port.actor.state &= !gone;
        if self.up {
            self.send_lacpdu(index);
        }
        self.hand_over_aggregator(index);
    }

    /// The bond went up.
    pub(crate) fn start_lacp(&mut self) {
        self.timers.lacp = Some(self.now);
        self.lacp.select_timer = 1;
    }

    /// A link is in use again, or given up.
    pub(crate) fn lacp_link_changed(&mut self, index: usize) {
        let up = self.members[index].state == LinkState::Up;
        self.members[index].port.enabled = up;
        self.members[index].update_key(up);
        self.select_active_aggregator();
        self.update_usable();
    }

    /// One look at everything.
    pub(crate) fn look_at_ports(&mut self) {
        if self.lacp.select_timer > 0 {
            self.lacp.select_timer -= 1;
            if self.lacp.select_timer == 0 {
                self.select_active_aggregator();
            }
        }
        for index in 0..self.members.len() {
            let before = self.states(index);
            self.receive_machine(index, None);
            self.periodic_machine(index);
            self.select_aggregator(index);
            self.mux_machine(index);
            self.transmit_machine(index);
            let port = &mut self.members[index].port;
            port.churn_machines();
            port.begin = false;
            let alone = port.rx != RxState::Current;
            port.alone = if alone { port.alone.saturating_add(1) } else { 0 };
            self.report_states(index, before);
        }
        if self.options.lacp_strict {
            self.use_without_partner();
            self.update_lacp_carrier();
        }
        if std::mem::take(&mut self.lacp.changed) {
            self.update_usable();
        }
    }

    fn states(&self, index: usize) -> (RxState, MuxState) {
        (self.members[index].port.rx, self.members[index].port.mux)
    }

    fn report_states(&mut self, index: usize, before: (RxState, MuxState)) {
        let after = self.states(index);
        if before != after {
            let member = self.members[index].id;
            self.emit(crate::event::What::Lacp { member, receive: after.0, mux: after.1 });
        }
    }

    pub(crate) fn send_lacpdu(&mut self, index: usize) {
        let member = &mut self.members[index];
        let (id, source) = (member.id, member.permanent);
        member.port.sent += 1;
        let pdu = Lacpdu {
            actor: member.port.actor,
            partner: member.port.partner,
            collector_max_delay: 0,
        };
        // The permanent address tells ports of one bond apart.
        let frame = ethernet::frame(SLOW_GROUP, source, None, ethernet::SLOW, &pdu.bytes());
        self.transmit(id, FrameKind::Lacpdu, frame);
    }

    /// A frame came in on a member; says whether it was for LACP.
    pub(crate) fn lacp_received(&mut self, index: usize, frame: &[u8]) -> Option<Ingress> {
        let outer = Ethernet::parse(frame).ok()?;
        if self.options.mode != Mode::Lacp
            || outer.ethertype != ethernet::SLOW
            || outer.destination != SLOW_GROUP
        {
            return None;
        }
        match outer.payload.first() {
            Some(&lacpdu::LACP) => {
                if let Ok(pdu) = Lacpdu::parse(outer.payload) {
                    let before = self.states(index);
                    self.receive_machine(index, Some(&pdu));
                    self.report_states(index, before);
                }
                Some(Ingress::Consumed)
            }
            Some(&lacpdu::MARKER) => {
                if Marker::parse(outer.payload) == Ok(Marker::Information) {
                    let (id, source) = (self.members[index].id, self.members[index].permanent);
                    let answer = Marker::response(outer.payload);
                    let frame = ethernet::frame(SLOW_GROUP, source, None, ethernet::SLOW, &answer);
                    self.transmit(id, FrameKind::MarkerResponse, frame);
                }
                Some(Ingress::Consumed)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
