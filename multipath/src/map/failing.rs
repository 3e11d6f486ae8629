//! A path fails: what was on it is given up and sent again, and what may still land is remembered.

use holdfast_core::slab::Key;

use super::{Attempt, Choice, Map, Order, Purpose, Standing, starving};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::path::{Stage, State, Why};
use holdfast_core::block::{Fault, Tag};

impl<X: Defects> Map<X> {
    /// Takes a path out of use; `debt` is the kind of request that failed, and where.
    pub(super) fn fail_path(&mut self, path: usize, why: Why, debt: Option<(Kind, u64)>) {
        let now = self.now;
        let state = &mut self.paths[path];
        if let Some((kind, sector)) = debt {
            state.debt.add(kind, sector, matches!(why, Why::Fault { .. }));
        }
        if !state.is_active() {
            return;
        }
        state.state = State::Failed { since: now, why: why.clone() };
        state.failures += 1;
        state.good_checks = 0;
        self.trials_due -= usize::from(std::mem::take(&mut state.trial_due));
        state.interval = self.settings.polling_interval;
        if let Stage::Idle { due } = &mut state.stage {
            *due = now + state.interval;
        }
        let marginal = state.damping.is_marginal();
        state.damping.failed(now, self.settings.damping);
        if state.damping.is_marginal() != marginal {
            self.events.push_back(Event::Marginal { path, now: !marginal });
        }
        self.counters.path_faults += 1;
        self.events.push_back(Event::PathFailed { path, why });
        let victims: Vec<Key> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.path == path && attempt.is_live())
            .map(|(key, _)| key)
            .collect();
        let jobs: Vec<Key> =
            victims.into_iter().filter_map(|key| self.give_up(key, true)).collect();
        if self.defects.has(Defect::NeighboursDisturbed) {
            self.fail_neighbours(path);
        }
        self.evaluate();
        for job in jobs {
            match self.jobs.get(job) {
                Some(waiting) if waiting.kind() == Kind::Flush => self.step_flush(job),
                Some(waiting) if waiting.live == 0 => self.again(job),
                _ => {}
            }
        }
    }

    /// What a map does that cannot tell one path from another.
    fn fail_neighbours(&mut self, path: usize) {
        let group = self.groups.iter().find(|group| group.paths.contains(&path));
        for other in group.map(|group| group.paths.clone()).unwrap_or_default() {
            if self.paths[other].is_active() {
                self.fail_path(other, Why::NoLink, None);
            }
        }
    }

    /// Gives an attempt up; the job that waited for it, if there is one. `told` says whether it is
    /// worth a report.
    pub(super) fn give_up(&mut self, key: Key, told: bool) -> Option<Key> {
        let now = self.now;
        let attempt = self.attempts.get_mut(key)?;
        debug_assert!(attempt.is_live(), "what is given up was waited for");
        attempt.standing = Standing::Late(now);
        let (path, kind, purpose) = (attempt.path, attempt.kind, attempt.purpose);
        let (sector, sectors) = (attempt.range.start, attempt.range.end - attempt.range.start);
        let tag = Tag(key.to_bits());
        let unsent = self.io.iter().position(|io| io.request.tag == tag);
        self.orders.push_back(Order::Abandon { path, tag });
        if matches!(purpose, Purpose::Check { .. } | Purpose::Sample) {
            return None;
        }
        if told {
            self.events.push_back(Event::GivenUp { path, kind, sector, sectors });
        }
        if let Some(at) = unsent {
            return self.take_back(at, key, purpose);
        }
        if kind == Kind::Write {
            if self.defects.has(Defect::GivenUpIsResolved) {
                self.unhaunt(key);
            } else {
                self.haunt(key);
            }
        }
        self.part_with(purpose, path)
    }

    /// A job has one attempt less to wait for.
    fn part_with(&mut self, purpose: Purpose, path: usize) -> Option<Key> {
        match purpose {
            Purpose::Job(job) => {
                self.jobs.get_mut(job)?.live -= 1;
                Some(job)
            }
            Purpose::Flush { job, .. } => {
                self.flush_failed(job, path);
                Some(job)
            }
            _ => None,
        }
    }

    /// A request that has not left the map never will: its end is certain.
    fn take_back(&mut self, at: usize, key: Key, purpose: Purpose) -> Option<Key> {
        let io = self.io.remove(at)?;
        self.orders.pop_back();
        let bytes = self.attempts.get(key).map_or(0, |attempt| attempt.bytes);
        let state = &mut self.paths[io.path];
        state.requests -= 1;
        state.bytes -= bytes;
        let job = self.part_with(purpose, io.path);
        self.resolve(key, false);
        job
    }

    /// A write may land although nobody waits for it: a fence is asked for, once a session.
    pub(super) fn haunt(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let (path, session) = (attempt.path, attempt.session);
        if let crate::settings::GhostRule::Quarantine(span) = self.settings.ghost {
            self.quarantine.push_back((self.now + span, key));
        }
        let state = &mut self.paths[path];
        if session > state.fenced && state.fence_asked.is_none_or(|asked| asked < session) {
            state.fence_asked = Some(session);
            self.orders.push_back(Order::Fence { path, session });
        }
    }

    /// A write that was given up counts as over, whether or not its answer is still to come.
    pub(super) fn unhaunt(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get_mut(key) else { return };
        if std::mem::replace(&mut attempt.resolved, true) {
            return;
        }
        let attempt = attempt.clone();
        self.release(&attempt);
        if matches!(attempt.standing, Standing::Dead(_)) {
            self.attempts.remove(key);
        }
        self.settle(attempt.range.start);
    }

    /// An attempt was not answered in time. A path that has answered something of the same kind
    /// that was sent later is alive: then the request is given up and the path is not.
    pub(super) fn overdue(&mut self, key: Key) {
        let Some(attempt) = self.attempts.get(key) else { return };
        let (path, kind, sector, sent) =
            (attempt.path, attempt.kind, attempt.range.start, attempt.sent);
        let alive = kind != Kind::Flush
            && self.paths[path].answered[kind as usize].is_some_and(|last| last > sent);
        if !alive {
            self.fail_path(path, Why::Deadline { kind, sector }, Some((kind, sector)));
            return;
        }
        let state = &mut self.paths[path];
        state.damping.failed(self.now, self.settings.damping);
        if let Some(job) = self.give_up(key, true) {
            let Some(waiting) = self.jobs.get_mut(job) else { return };
            waiting.avoid |= 1 << path;
            if waiting.live == 0 {
                self.again(job);
            }
        }
        self.evaluate();
    }

    /// Sends a slow read down another path, too.
    pub(super) fn hedge(&mut self, key: Key) {
        let Some(Attempt { purpose: Purpose::Job(job), path, .. }) = self.attempts.get(key) else {
            return;
        };
        let (job, path) = (*job, *path);
        let Some(waiting) = self.jobs.get(job).filter(|job| job.live == 1 && job.tries == 1) else {
            return;
        };
        let (bytes, avoid) = (waiting.bytes(), waiting.avoid | waiting.refused | 1 << path);
        let others = self.paths.iter().enumerate().any(|(n, p)| avoid >> n & 1 == 0 && p.is_good());
        if !others {
            return;
        }
        if let Choice::Path(other) = self.choose(Kind::Read, bytes, avoid, false)
            && other != path
        {
            self.counters.hedged += 1;
            self.issue(job, other);
        }
    }

    /// Fails what waits for a path of this kind.
    pub(super) fn fail_waiting(&mut self, kind: Kind) {
        let waiting: Vec<Key> = self.ready.iter().copied().collect();
        for key in waiting {
            let alike = |job: &super::Job| starving(job.kind()) == starving(kind);
            if self.jobs.get(key).is_some_and(alike) {
                self.finish(key, Err(Fault::Transport), None);
            }
        }
        self.ready.retain(|key| self.jobs.get(*key).is_some());
    }
}
