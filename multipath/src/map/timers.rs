//! What happens because time has passed.

use holdfast_core::block::Fault;
use holdfast_core::slab::Key;
use holdfast_core::time::{Duration, Instant};

use super::{Attempt, Map, Order, starving};
use crate::defects::Defects;
use crate::event::{Event, Kind};
use crate::path::{Link, Stage, Why};
use crate::settings::Handler;

impl<X: Defects> Map<X> {
    /// Does everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.set_time(now);
        self.deadlines_due();
        self.hedges_due();
        self.paths_due();
        self.hunger_due();
        if self.failback_at.is_some_and(|at| at <= now) {
            self.fail_back();
        }
        while self.quarantine.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.quarantine.pop_front() else { break };
            if let Some(attempt) = self.attempts.get(key).filter(|a| a.is_ghost()) {
                let (path, sector) = (attempt.path, attempt.range.start);
                self.events.push_back(Event::QuarantineEnded { path, sector });
                self.unhaunt(key);
            }
        }
        self.stuck_due();
        self.waking_due();
    }

    /// When [`Map::handle_timeout`] is next wanted.
    pub fn poll_at(&self) -> Option<Instant> {
        let front =
            |queue: &std::collections::VecDeque<(Instant, Key)>| queue.front().map(|(at, _)| *at);
        let patience = self.patience();
        let hunger = self
            .starved
            .iter()
            .filter(|starved| !starved.failing)
            .filter_map(|starved| Some(starved.since? + patience?));
        let paths = (0..self.paths.len()).filter_map(|path| self.path_due(path));
        let hedges = (0..self.hedges.len()).filter_map(|path| self.hedge_due(path));
        let stuck =
            self.stuck.iter().filter_map(|key| self.jobs.get(*key).and_then(|job| job.stuck_until));
        let single = [
            front(&self.deadlines),
            front(&self.flush_deadlines),
            front(&self.quarantine),
            self.failback_at,
            self.waking.and_then(|waking| waking.retry_at),
        ];
        single.into_iter().flatten().chain(hunger).chain(paths).chain(hedges).chain(stuck).min()
    }

    /// How long requests wait for a path; the first checks may take their time.
    fn patience(&self) -> Option<Duration> {
        let patience = self.settings.no_path.patience(self.settings.polling_interval)?;
        Some(if self.begun { patience } else { patience.max(self.settings.checker_timeout) })
    }

    fn deadlines_due(&mut self) {
        let now = self.now;
        for flushes in [false, true] {
            loop {
                let queue = if flushes { &mut self.flush_deadlines } else { &mut self.deadlines };
                let Some(&(at, key)) = queue.front() else { break };
                let live = self.attempts.get(key).is_some_and(Attempt::is_live);
                if live && at > now {
                    break;
                }
                queue.pop_front();
                if live {
                    self.overdue(key);
                }
            }
        }
    }

    /// When the oldest read on a path has taken long enough to be sent twice.
    fn hedge_due(&self, path: usize) -> Option<Instant> {
        let key = self.hedges[path].front()?;
        let after = self.paths[path].hedge_at?;
        self.attempts.get(*key).map(|attempt| attempt.sent + after)
    }

    fn hedges_due(&mut self) {
        for path in 0..self.hedges.len() {
            while let Some(&key) = self.hedges[path].front() {
                let live = self.attempts.get(key).is_some_and(Attempt::is_live);
                let due = self.hedge_due(path).is_some_and(|at| at <= self.now);
                let unknown = self.paths[path].hedge_at.is_none();
                if live && !due && !unknown {
                    break;
                }
                self.hedges[path].pop_front();
                if live && due {
                    self.hedge(key);
                }
            }
        }
    }

    /// Learns from a path's latencies when a read on it takes long.
    pub(super) fn learn_hedge(&mut self, path: usize) {
        let Some(hedge) = self.settings.hedge else { return };
        let latencies = &self.paths[path].latencies;
        self.paths[path].hedge_at = (latencies.samples() >= hedge.min_samples).then(|| {
            (latencies.quantile(hedge.quantile_per_mille) * hedge.factor).max(hedge.floor)
        });
    }

    fn path_due(&self, number: usize) -> Option<Instant> {
        let path = &self.paths[number];
        if path.removed {
            return None;
        }
        let check = match path.stage {
            Stage::Idle { due } => Some(due),
            Stage::Asked { since } | Stage::Reading { since, .. } => {
                Some(since + self.settings.checker_timeout)
            }
            Stage::Stuck { .. } => None,
        };
        let (fast, lost) = match path.link {
            Link::Up => (None, None),
            Link::Down { fast_fail_at, lost_at } => {
                (fast_fail_at.filter(|_| path.is_active()), lost_at)
            }
        };
        [check, path.damping.due(), fast, lost].into_iter().flatten().min()
    }

    fn paths_due(&mut self) {
        let now = self.now;
        for number in 0..self.paths.len() {
            if self.path_due(number).is_none_or(|at| at > now) {
                continue;
            }
            let path = &mut self.paths[number];
            let was = path.damping.is_marginal();
            if path.damping.take_sample(now) {
                self.send_sample(number);
            }
            let path = &mut self.paths[number];
            path.damping.pass(now, self.settings.damping);
            let is = path.damping.is_marginal();
            if was != is {
                self.events.push_back(Event::Marginal { path: number, now: is });
                self.evaluate();
            }
            if let Link::Down { fast_fail_at, lost_at } = self.paths[number].link {
                if fast_fail_at.is_some_and(|at| at <= now) && self.paths[number].is_active() {
                    self.fail_path(number, Why::NoLink, None);
                }
                if lost_at.is_some_and(|at| at <= now) {
                    self.remove_now(number);
                    continue;
                }
            }
            match self.paths[number].stage {
                Stage::Idle { due } if due <= now => self.begin_check(number),
                Stage::Asked { since } | Stage::Reading { since, .. }
                    if since + self.settings.checker_timeout <= now =>
                {
                    self.check_overdue(number);
                }
                _ => {}
            }
        }
    }

    /// Requests that have waited long enough for a path fail.
    fn hunger_due(&mut self) {
        let Some(patience) = self.patience() else { return };
        for kind in [Kind::Read, Kind::Write] {
            let starved = &mut self.starved[starving(kind)];
            let due = starved.since.is_some_and(|since| since + patience <= self.now);
            if due && !starved.failing {
                starved.failing = true;
                self.counters.q_timeouts += 1;
                self.events.push_back(Event::QueueTimedOut { kind });
                self.fail_waiting(kind);
            }
        }
    }

    fn stuck_due(&mut self) {
        for key in std::mem::take(&mut self.stuck) {
            let Some(job) = self.jobs.get(key) else { continue };
            if job.live > 0 {
                continue;
            }
            if job.stuck_until.is_some_and(|until| until <= self.now) {
                self.finish(key, Err(Fault::Timeout), None);
            } else {
                self.stuck.push(key);
            }
        }
    }

    fn waking_due(&mut self) {
        let now = self.now;
        if let Some(waking) = self.waking.as_mut()
            && waking.retry_at.is_some_and(|at| at <= now)
        {
            waking.retry_at = None;
            waking.tries += 1;
            let path = waking.path;
            self.orders.push_back(Order::Activate { path });
        }
    }

    /// A target has answered [`Order::Activate`].
    pub fn activated(&mut self, now: Instant, path: usize, ok: bool) {
        self.set_time(now);
        let Some(mut waking) = self.waking.filter(|waking| waking.path == path) else { return };
        if ok {
            self.waking = None;
            for number in self.groups[waking.group].paths.clone() {
                let state = &mut self.paths[number];
                if matches!(state.checked, crate::path::Checked::Ghost) {
                    state.checked = crate::path::Checked::Up;
                }
                self.check_soon(number);
            }
            self.evaluate();
            self.drain_ready();
            return;
        }
        let Handler::Explicit { retries, delay } = self.settings.handler else { return };
        if waking.tries <= retries {
            waking.retry_at = Some(now + delay);
            self.waking = Some(waking);
            return;
        }
        self.waking = None;
        self.groups[waking.group].bypassed = true;
        self.evaluate();
    }
}
