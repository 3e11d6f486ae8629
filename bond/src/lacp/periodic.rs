//! The periodic machine (IEEE 802.1AX, figure 6-19): LACPDUs every second or every 30 s, as the
//! *partner* asks.
//!
//! ```text
//!   NoPeriodic ─► Fast ◄──────► PeriodicTx ◄──────► Slow     NoPeriodic from anywhere: no link,
//!                  └── partner wants slow ──────────►┘        no LACP, or both sides passive
//! ```

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::wire::lacpdu::state;

use super::{FAST_PERIOD, SLOW_PERIOD};

/// States of the periodic machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeriodicState {
    /// Nothing is sent of its own accord.
    NoPeriodic,
    /// Every second.
    Fast,
    /// Every 30 s.
    Slow,
    /// Now.
    PeriodicTx,
}

/// What the periodic machine depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeriodicInput {
    /// The port may speak of its own accord.
    pub(crate) runs: bool,
    /// The period is over.
    pub(crate) expired: bool,
    /// The partner wants to hear every second.
    pub(crate) fast: bool,
}

/// The state after one look.
pub(crate) fn next(from: PeriodicState, input: PeriodicInput) -> PeriodicState {
    use PeriodicState::{Fast, NoPeriodic, PeriodicTx, Slow};
    match (from, input) {
        (_, PeriodicInput { runs: false, .. }) => NoPeriodic,
        (NoPeriodic, _) => Fast,
        (Fast | Slow, PeriodicInput { expired: true, .. }) => PeriodicTx,
        (Fast, PeriodicInput { fast: false, .. }) => Slow,
        (Slow, PeriodicInput { fast: true, .. }) => PeriodicTx,
        (Fast | Slow, _) => from,
        (PeriodicTx, PeriodicInput { fast: true, .. }) => Fast,
        (PeriodicTx, _) => Slow,
    }
}

impl<D: Defects> Bond<D> {
    /// One look.
    pub(crate) fn periodic_machine(&mut self, index: usize) {
        let own_rate = self.defects.has(Defect::RateIgnored);
        let port = &mut self.members[index].port;
        let speaks = port.actor.has(state::ACTIVITY) || port.partner.has(state::ACTIVITY);
        let from = port.periodic;
        let counting = matches!(from, PeriodicState::Fast | PeriodicState::Slow);
        port.periodic_timer = port.periodic_timer.saturating_sub(1);
        let asks = if own_rate { &port.actor } else { &port.partner };
        let input = PeriodicInput {
            runs: !port.begin && port.lacp_enabled && port.enabled && speaks,
            expired: counting && port.periodic_timer == 0,
            fast: asks.has(state::TIMEOUT),
        };
        port.periodic = next(from, input);
        if port.periodic == from {
            return;
        }
        match port.periodic {
            PeriodicState::NoPeriodic => port.periodic_timer = 0,
            // One tick is spent in PeriodicTx.
            PeriodicState::Fast => port.periodic_timer = FAST_PERIOD - 1,
            PeriodicState::Slow => port.periodic_timer = SLOW_PERIOD - 1,
            PeriodicState::PeriodicTx => port.must_send = true,
        }
    }

    /// The transmit machine: not more than three LACPDUs a second.
    pub(crate) fn transmit_machine(&mut self, index: usize) {
        let port = &mut self.members[index].port;
        port.tx_timer = port.tx_timer.saturating_sub(1);
        if port.tx_timer == 0 && port.must_send && port.lacp_enabled {
            port.must_send = false;
            port.tx_timer = super::TX_GAP;
            self.send_lacpdu(index);
        }
    }
}
