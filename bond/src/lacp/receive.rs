//! The receive machine (IEEE 802.1AX, figure 6-18): what is known of the partner, and how fresh.
//!
//! ```text
//!   BEGIN ─► Initialize ─► PortDisabled ◄── port not enabled (from anywhere)
//!                            │      │
//!                 LACP runs  ▼      ▼ LACP does not (half duplex)
//!                        Expired   LacpDisabled
//!              short timeout │ ▲ ▲
//!                            ▼ │ └ timeout of the rate asked for
//!                     Defaulted└─ Current        a LACPDU leads to Current from any of the three
//! ```

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::wire::lacpdu::{Lacpdu, Party, state};

use super::{LONG_TIMEOUT, Port, SHORT_TIMEOUT};

/// States of the receive machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RxState {
    /// The port begins.
    Initialize,
    /// It has no link.
    PortDisabled,
    /// It has a link that LACP does not run on.
    LacpDisabled,
    /// The partner has not been heard for too long, or not yet.
    Expired,
    /// The partner is not there: what is assumed of it holds.
    Defaulted,
    /// The partner was heard lately.
    Current,
}

/// What the receive machine depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RxInput {
    pub(crate) begin: bool,
    pub(crate) enabled: bool,
    pub(crate) lacp_enabled: bool,
    pub(crate) pdu: bool,
    pub(crate) timeout: bool,
}

/// The state after one look.
pub(crate) fn next(from: RxState, input: RxInput) -> RxState {
    match (from, input) {
        (_, RxInput { begin: true, .. }) => RxState::Initialize,
        (_, RxInput { enabled: false, .. }) => RxState::PortDisabled,
        (RxState::Initialize, _) => RxState::PortDisabled,
        (RxState::PortDisabled, RxInput { lacp_enabled: true, .. }) => RxState::Expired,
        (RxState::PortDisabled, _) => RxState::LacpDisabled,
        // Left by a change of speed, which begins the port anew.
        (RxState::LacpDisabled, _) => RxState::LacpDisabled,
        (RxState::Expired | RxState::Defaulted | RxState::Current, RxInput { pdu: true, .. }) => {
            RxState::Current
        }
        (RxState::Expired, RxInput { timeout: true, .. }) => RxState::Defaulted,
        (RxState::Current, RxInput { timeout: true, .. }) => RxState::Expired,
        (RxState::Expired | RxState::Defaulted | RxState::Current, _) => from,
    }
}

impl Port {
    fn record_default(&mut self) {
        self.partner = super::DEFAULT_PARTNER;
        self.actor.state |= state::DEFAULTED;
    }

    fn same(one: &Party, other: &Party) -> bool {
        one.port == other.port
            && one.port_priority == other.port_priority
            && one.system == other.system
            && one.system_priority == other.system_priority
            && one.key == other.key
            && one.has(state::AGGREGATION) == other.has(state::AGGREGATION)
    }

    /// What entering (or, with a LACPDU, staying in) a state does.
    fn enter(&mut self, pdu: Option<&Lacpdu>) {
        match self.rx {
            RxState::Initialize => {
                self.lacp_enabled = self.actor.key & 1 != 0;
                self.selected = false;
                self.record_default();
                self.actor.state &= !state::EXPIRED;
                self.rx = RxState::PortDisabled;
                self.matched = false;
            }
            RxState::PortDisabled => {
                self.matched = false;
                // The figure asks for it (IEEE 802.1AX, PORT_DISABLED): without, a port that lost its
                // link would go on collecting and distributing in name.
                self.partner.state &= !state::SYNCHRONIZATION;
            }
            RxState::LacpDisabled => {
                self.selected = false;
                self.record_default();
                self.partner.state &= !state::AGGREGATION;
                self.matched = true;
                self.actor.state &= !state::EXPIRED;
            }
            RxState::Expired => {
                self.matched = false;
                self.partner.state &= !state::SYNCHRONIZATION;
                self.partner.state |= state::TIMEOUT;
                self.rx_timer = SHORT_TIMEOUT;
                self.actor.state |= state::EXPIRED;
                self.churned = true;
            }
            RxState::Defaulted => {
                self.selected &= Self::same(&super::DEFAULT_PARTNER, &self.partner);
                self.record_default();
                self.matched = true;
                self.actor.state &= !state::EXPIRED;
            }
            RxState::Current => {
                if let Some(pdu) = pdu {
                    self.record(pdu);
                }
            }
        }
    }

    /// Takes a LACPDU in.
    fn record(&mut self, pdu: &Lacpdu) {
        // The partner sees somebody else in us, or something of ours has changed since: choose anew.
        self.selected &= Self::same(&pdu.actor, &self.partner);
        let seen = state::ACTIVITY | state::TIMEOUT | state::SYNCHRONIZATION | state::AGGREGATION;
        let up_to_date = Self::same(&pdu.partner, &self.actor)
            && (pdu.partner.state ^ self.actor.state) & seen == 0;
        self.must_send |= !up_to_date;
        let individual = !pdu.actor.has(state::AGGREGATION);
        self.matched = individual || Self::same(&pdu.partner, &self.actor);
        self.partner = pdu.actor;
        self.actor.state &= !(state::DEFAULTED | state::EXPIRED);
        if !self.matched {
            self.partner.state &= !state::SYNCHRONIZATION;
        }
        self.rx_timer = if self.actor.has(state::TIMEOUT) { SHORT_TIMEOUT } else { LONG_TIMEOUT };
    }
}

impl<D: Defects> Bond<D> {
    /// One look: at a LACPDU, or because time passes.
    pub(crate) fn receive_machine(&mut self, index: usize, pdu: Option<&Lacpdu>) {
        let stuck = self.defects.has(Defect::ExpiredStillDistributes);
        let port = &mut self.members[index].port;
        if let Some(pdu) = pdu {
            port.received += 1;
            if pdu.actor.system == port.actor.system {
                // Our own voice: the cable leads back to us. The kernel calls the port current and
                // stops its clock; ours goes on as if nothing had been heard.
                port.loops += 1;
                return;
            }
        }
        let from = port.rx;
        let listens = matches!(from, RxState::Expired | RxState::Defaulted | RxState::Current);
        let heard = pdu.is_some() && listens && port.enabled && !port.begin;
        let mut timeout = false;
        if heard {
            port.churned |= from != RxState::Current;
            port.rx_timer = 0;
        } else if !port.begin && port.enabled && port.rx_timer > 0 {
            port.rx_timer -= 1;
            timeout = port.rx_timer == 0;
        }
        port.churned |= port.begin;
        let input = RxInput {
            begin: port.begin,
            enabled: port.enabled,
            lacp_enabled: port.lacp_enabled,
            pdu: pdu.is_some(),
            timeout: timeout && !(stuck && from == RxState::Current),
        };
        port.rx = next(from, input);
        if port.rx != from || pdu.is_some() {
            port.enter(pdu);
        }
    }
}
