//! The churn machines (IEEE 802.1AX, figures 6-23 and 6-24): a side that is not in sync within a
//! minute churns, which is worth a look at the configuration.

use crate::wire::lacpdu::state;

use super::{CHURN_TIME, Port};

/// States of a churn machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChurnState {
    /// It is not yet known.
    Monitor,
    /// It did not come into sync in time.
    Churned,
    /// It did.
    NoChurn,
}

impl ChurnState {
    /// The kernel's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitoring",
            Self::Churned => "churned",
            Self::NoChurn => "none",
        }
    }
}

/// One side's churn machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Churn {
    pub(crate) state: ChurnState,
    timer: u32,
    pub(crate) count: u32,
}

impl Churn {
    pub(crate) const fn new() -> Self {
        Self { state: ChurnState::Monitor, timer: 0, count: 0 }
    }

    /// One look.
    fn look(&mut self, in_sync: bool) {
        if self.timer == 0 {
            return;
        }
        self.timer -= 1;
        if self.timer == 0 && self.state == ChurnState::Monitor {
            self.state = if in_sync { ChurnState::NoChurn } else { ChurnState::Churned };
            self.count += u32::from(!in_sync);
        }
    }

    fn restart(&mut self) {
        self.state = ChurnState::Monitor;
        self.timer = CHURN_TIME;
    }
}

impl Port {
    /// One look at both sides.
    pub(crate) fn churn_machines(&mut self) {
        if std::mem::take(&mut self.churned) {
            self.actor_churn.restart();
            self.partner_churn.restart();
            return;
        }
        self.actor_churn.look(self.actor.has(state::SYNCHRONIZATION));
        self.partner_churn.look(self.partner.has(state::SYNCHRONIZATION));
    }
}
