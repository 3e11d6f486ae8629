//! What a bond waits for.

use holdfast_core::time::{Duration, Instant};

use crate::bond::Bond;
use crate::defects::Defects;
use crate::lacp::TICK_MS;
use crate::options::Mode;

/// One moment for each thing that happens of its own accord.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// The MII monitor looks at the links.
    pub(crate) mii: Option<Instant>,
    /// The ARP and NS monitor judges, then probes.
    pub(crate) probe: Option<Instant>,
    /// LACP's machines are looked at.
    pub(crate) lacp: Option<Instant>,
    /// Load and neighbours are looked at (adaptive modes).
    pub(crate) adaptive: Option<Instant>,
    /// Neighbours are told again where the bond's addresses are.
    pub(crate) announce: Option<Instant>,
    /// IGMP and MLD reports are sent again.
    pub(crate) groups: Option<Instant>,
}

impl Timers {
    fn all(&self) -> [Option<Instant>; 6] {
        [self.mii, self.probe, self.lacp, self.adaptive, self.announce, self.groups]
    }
}

/// When something that is done every `period` is done next: on its beat, unless that has passed.
pub(crate) fn next_beat(due: Instant, period: Duration, now: Instant) -> Instant {
    let next = due + period;
    if next > now { next } else { now + period }
}

impl<D: Defects> Bond<D> {
    /// When [`handle_timeout`](Self::handle_timeout) next has something to do.
    pub fn poll_at(&self) -> Option<Instant> {
        self.timers.all().into_iter().flatten().min()
    }

    /// Does what is due. Harmless when nothing is; when it comes late, what depended on it is late.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let due = |at: Option<Instant>| at.filter(|at| *at <= now);
        if let Some(at) = due(self.timers.mii) {
            self.timers.mii = Some(next_beat(at, self.miimon(), now));
            self.look_at_links();
        }
        if let Some(at) = due(self.timers.probe) {
            self.timers.probe = Some(next_beat(at, self.interval(), now));
            self.judge_and_probe();
        }
        if let Some(at) = due(self.timers.lacp) {
            self.timers.lacp = Some(next_beat(at, Duration::from_millis(TICK_MS), now));
            self.look_at_ports();
        }
        if let Some(at) = due(self.timers.adaptive) {
            let tick = Duration::from_millis(crate::adaptive::TICK_MS);
            self.timers.adaptive = Some(next_beat(at, tick, now));
            self.look_at_load();
        }
        if due(self.timers.announce).is_some() {
            self.announce_due();
        }
        if due(self.timers.groups).is_some() {
            self.groups_due();
        }
    }

    pub(crate) fn miimon(&self) -> Duration {
        Duration::from_millis(self.options.miimon().into())
    }

    /// Starts what the options ask for; the first look is taken at once.
    pub(crate) fn start_timers(&mut self) {
        let now = self.now;
        self.timers.mii = (self.options.miimon() > 0).then_some(now);
        self.timers.probe = self.options.probes().then_some(now);
        if self.needs_adaptive_looks() && self.timers.adaptive.is_none() {
            self.timers.adaptive = Some(now);
        }
        if self.options.mode == Mode::Lacp && self.timers.lacp.is_none() {
            self.start_lacp();
        }
    }
}
