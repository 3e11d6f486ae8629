//! The mux machine (IEEE 802.1AX, figures 6-20 and 6-21): from chosen to carrying traffic.
//!
//! ```text
//!   Detached ─► Waiting ─► Attached ─► CollectingDistributing          (coupled)
//!      ▲  selected │ 2 s, and  │  partner in sync
//!      │           │ all ready │
//!      │           │           └────► Collecting ◄─► Distributing       (independent)
//!      └───────────┴── not selected        partner collects
//! ```
//!
//! Any of the last three falls back to Attached when the port is no longer selected, or one of the
//! two sides is out of sync.

use crate::bond::Bond;
use crate::defects::Defects;
use crate::wire::lacpdu::state;

/// States of the mux machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MuxState {
    /// In no aggregator's service.
    Detached,
    /// Waits whether other ports join the same aggregator.
    Waiting,
    /// In its aggregator, without traffic.
    Attached,
    /// Takes frames.
    Collecting,
    /// Takes and sends frames (independent control).
    Distributing,
    /// Takes and sends frames (coupled control).
    CollectingDistributing,
}

/// What the mux machine depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MuxInput {
    pub(crate) begin: bool,
    pub(crate) selected: bool,
    /// Every port of the aggregator has waited long enough, this one included.
    pub(crate) ready: bool,
    pub(crate) partner_in_sync: bool,
    pub(crate) partner_collects: bool,
    pub(crate) actor_in_sync: bool,
    /// The aggregator is the active one, and the first choice has been made.
    pub(crate) active: bool,
    pub(crate) coupled: bool,
}

/// The state after one look.
pub(crate) fn next(from: MuxState, input: MuxInput) -> MuxState {
    use MuxState::{Attached, Collecting, CollectingDistributing, Detached, Distributing, Waiting};
    let MuxInput { selected, partner_in_sync, actor_in_sync, .. } = input;
    let holds = selected && partner_in_sync && actor_in_sync;
    match from {
        _ if input.begin => Detached,
        Detached if selected => Waiting,
        Detached => Detached,
        Waiting if !selected => Detached,
        Waiting if input.ready => Attached,
        Waiting => Waiting,
        Attached if !selected => Detached,
        Attached if partner_in_sync && input.active && input.coupled => CollectingDistributing,
        Attached if partner_in_sync && input.active => Collecting,
        Attached => Attached,
        CollectingDistributing if holds => CollectingDistributing,
        Collecting if holds && input.partner_collects => Distributing,
        Collecting if holds => Collecting,
        CollectingDistributing | Collecting => Attached,
        Distributing if holds && input.partner_collects => Distributing,
        Distributing => Collecting,
    }
}

impl<D: Defects> Bond<D> {
    /// One look.
    pub(crate) fn mux_machine(&mut self, index: usize) {
        let from = self.members[index].port.mux;
        if from == MuxState::Waiting && self.members[index].port.selected {
            let port = &mut self.members[index].port;
            if port.mux_timer > 0 {
                port.mux_timer -= 1;
                port.waited |= port.mux_timer == 0;
            }
        }
        let input = self.mux_input(index);
        let to = next(from, input);
        self.members[index].port.mux = to;
        if to != from {
            self.enter_mux(index, to);
        } else {
            self.stay_in_mux(index, to);
        }
    }

    fn mux_input(&self, index: usize) -> MuxInput {
        let port = &self.members[index].port;
        let aggregator =
            port.aggregator.and_then(|id| self.member(id)).map(|member| &member.aggregator);
        let waited = |id| self.member(id).is_some_and(|member| member.port.waited);
        MuxInput {
            begin: port.begin,
            selected: port.selected,
            ready: port.mux_timer == 0
                && aggregator.is_some_and(|agg| agg.ports.iter().all(|id| waited(*id))),
            partner_in_sync: port.partner.has(state::SYNCHRONIZATION),
            partner_collects: port.partner.has(state::COLLECTING),
            actor_in_sync: port.actor.has(state::SYNCHRONIZATION),
            active: aggregator.is_some_and(|agg| agg.active) && self.lacp.select_timer == 0,
            coupled: self.options.coupled_control,
        }
    }

    fn enter_mux(&mut self, index: usize, to: MuxState) {
        let active = self.in_active_aggregator(index);
        let port = &mut self.members[index].port;
        let traffic = state::COLLECTING | state::DISTRIBUTING;
        match to {
            MuxState::Detached => {
                port.waited = false;
                port.actor.state &= !(state::SYNCHRONIZATION | traffic);
                port.must_send = true;
                self.disable_traffic(index);
            }
            MuxState::Waiting => port.mux_timer = super::AGGREGATE_WAIT,
            MuxState::Attached => {
                port.actor.state &= !(state::SYNCHRONIZATION | traffic);
                if active {
                    port.actor.state |= state::SYNCHRONIZATION;
                }
                port.must_send = true;
                self.disable_traffic(index);
            }
            MuxState::Collecting => {
                port.actor.state |= state::SYNCHRONIZATION | state::COLLECTING;
                port.actor.state &= !state::DISTRIBUTING;
                port.must_send = true;
                self.enable_collecting(index);
            }
            MuxState::CollectingDistributing | MuxState::Distributing => {
                port.actor.state |= state::SYNCHRONIZATION | traffic;
                port.must_send |= to == MuxState::CollectingDistributing;
                self.enable_port(index);
            }
        }
        self.lacp.changed = true;
    }

    /// A port that is where it should be, but whose member was taken out of traffic (its link was
    /// down for a moment), carries traffic again. One that carried traffic without a partner and has
    /// one now carries none until the partner agrees: whatever it sends before is lost there.
    fn stay_in_mux(&mut self, index: usize, at: MuxState) {
        let active = self.in_active_aggregator(index);
        let member = &mut self.members[index];
        if at == MuxState::Attached && active {
            member.port.actor.state |= state::SYNCHRONIZATION;
        }
        match at {
            MuxState::Detached | MuxState::Waiting | MuxState::Attached if !member.backup => {
                self.disable_traffic(index);
            }
            MuxState::CollectingDistributing | MuxState::Distributing
                if active && member.backup =>
            {
                self.enable_port(index);
                self.lacp.changed = true;
            }
            MuxState::Collecting if active && member.inactive => self.enable_collecting(index),
            _ => {}
        }
    }

    fn in_active_aggregator(&self, index: usize) -> bool {
        let id = self.members[index].port.aggregator;
        id.and_then(|id| self.member(id)).is_some_and(|member| member.aggregator.active)
    }

    /// Takes frames, sends none.
    fn enable_collecting(&mut self, index: usize) {
        if self.in_active_aggregator(index) && self.members[index].usable_link() {
            self.members[index].inactive = false;
            self.members[index].backup = true;
        }
    }

    /// Neither takes nor sends frames; but a port without partner, which nobody would miss frames
    /// from, stays as it is.
    fn disable_traffic(&mut self, index: usize) {
        let id = self.members[index].port.aggregator;
        let partner =
            id.and_then(|id| self.member(id)).is_some_and(|member| member.aggregator.has_partner());
        if partner || self.options.lacp_strict {
            self.set_inactive(index);
            self.lacp.changed = true;
        }
    }

    /// Takes and sends frames, if its link is up.
    pub(crate) fn enable_port(&mut self, index: usize) {
        if self.in_active_aggregator(index) && self.members[index].usable_link() {
            self.set_active_flags(index);
        }
    }
}
