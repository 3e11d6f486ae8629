//! A path's answer, and what it means.

use holdfast_core::block::{Completion, Durability, Fault, Op, Responder};
use holdfast_core::slab::Key;
use holdfast_core::time::Instant;

use super::{Attempt, Body, Contents, Job, Map, Purpose, Record, Standing};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::path::{Cache, Errors, Why};
use crate::selector::Selector;

impl<X: Defects> Map<X> {
    /// A path has answered a request.
    pub fn path_done(&mut self, now: Instant, path: usize, completion: Completion) {
        self.set_time(now);
        let key = Key::from_bits(completion.tag.0);
        let Some(attempt) = self.attempts.get(key) else {
            debug_assert!(false, "an answer to a request that was never sent");
            return;
        };
        debug_assert_eq!(attempt.path, path, "each path answers its own requests");
        let (kind, sent, bytes) = (attempt.kind, attempt.sent, attempt.bytes);
        let (purpose, was_live) = (attempt.purpose, attempt.is_live());
        let weight = match self.settings.selector {
            Selector::HistoricalServiceTime { base_weight } => Some(base_weight),
            _ => None,
        };
        let state = &mut self.paths[path];
        state.requests -= 1;
        state.bytes -= bytes;
        if completion.result.is_ok() {
            if matches!(purpose, Purpose::Job(_)) {
                // A check that is answered proves nothing for data.
                let answered = &mut state.answered[kind as usize];
                *answered = Some(answered.map_or(sent, |last| last.max(sent)));
            }
            if let Some(weight) = weight {
                state.history.note(now.since(sent), weight);
            }
            if kind == Kind::Read && self.hedges.len() > 1 && self.settings.hedge.is_some() {
                state.latencies.note(now.since(sent));
                if state.latencies.samples().is_multiple_of(64) {
                    self.learn_hedge(path);
                }
            }
        }
        if !was_live {
            self.note_late(key, completion.result);
        }
        match purpose {
            Purpose::Job(job) => self.job_answered(key, job, completion),
            Purpose::Flush { job, upto } => self.flush_answered(key, job, upto, completion.result),
            Purpose::Check { sector, place } => {
                self.attempts.remove(key);
                self.check_answered(path, sector, place, was_live, now.since(sent), completion);
            }
            Purpose::Sample => {
                self.attempts.remove(key);
                self.paths[path].damping.sampled(completion.result.is_ok());
            }
        }
        self.prune();
    }

    /// A request that was given up had not left for its path, and never will.
    pub fn never_sent(&mut self, now: Instant, path: usize, completion: Completion) {
        self.set_time(now);
        let key = Key::from_bits(completion.tag.0);
        let Some(attempt) = self.attempts.get(key) else { return };
        let bytes = attempt.bytes;
        let state = &mut self.paths[path];
        state.requests -= 1;
        state.bytes -= bytes;
        self.resolve(key, true);
    }

    /// Forgets deadlines at the front that nobody waits for.
    fn prune(&mut self) {
        while let Some((_, key)) = self.deadlines.front() {
            if self.attempts.get(*key).is_some_and(Attempt::is_live) {
                return;
            }
            self.deadlines.pop_front();
        }
    }

    fn note_late(&mut self, key: Key, result: Result<(), Fault>) {
        let attempt = &self.attempts[key];
        let Standing::Late(since) = attempt.standing else { return };
        let (path, kind, sector) = (attempt.path, attempt.kind, attempt.range.start);
        let broken = kind == Kind::Write
            && result.is_ok()
            && attempt.session <= self.paths[path].fenced
            && attempt.resolved;
        if broken {
            self.events.push_back(Event::FenceBroken { path, sector });
        }
        self.counters.late_answers += 1;
        let late = self.now.since(since);
        self.events.push_back(Event::LateAnswer { path, kind, sector, late, result });
        if result.is_ok() && !self.paths[path].is_active() {
            // It is awake: no need to wait for the next check.
            let debt = &mut self.paths[path].debt;
            if !debt.refused(kind) {
                debt.pay(kind);
            }
            self.check_soon(path);
        }
    }

    fn job_answered(&mut self, key: Key, job: Key, completion: Completion) {
        let attempt = &self.attempts[key];
        let (path, was_live) = (attempt.path, attempt.is_live());
        if let Some(job) = self.jobs.get_mut(job).filter(|_| was_live) {
            job.live -= 1;
        }
        match completion.result {
            Ok(()) => self.job_done(key, job, completion.op),
            Err(fault) if is_of_path(fault) => self.job_lost(key, job, fault),
            Err(fault @ (Fault::Refused | Fault::ReadOnly)) => {
                self.resolve(key, true);
                self.job_refused(job, path, fault);
            }
            Err(fault) => {
                self.resolve(key, true);
                // Another attempt may still succeed; a medium error is no reason not to wait.
                if self.jobs.get(job).is_some_and(|job| job.live == 0) {
                    self.finish(job, Err(fault), Some(completion.op));
                }
            }
        }
    }

    /// An attempt has succeeded.
    fn job_done(&mut self, key: Key, job: Key, op: Op) {
        let attempt = &self.attempts[key];
        let (path, kind, session) = (attempt.path, attempt.kind, attempt.session);
        let (claim, start, hedged) = (attempt.claim, attempt.range.start, attempt.is_live());
        let mut job = job;
        if self.jobs.get(job).is_none() && self.defects.has(Defect::LateAnswerToAnybody) {
            let alike = |one: &Job| one.kind() == kind && one.bytes() == op.bytes();
            let other = self.jobs.iter().find(|(_, one)| alike(one)).map(|(key, _)| key);
            job = other.unwrap_or(job);
        }
        let waiting = self.jobs.get(job).is_some();
        self.resolve(key, false);
        if hedged && !self.paths[path].debt.is_none() {
            self.pay(path, kind);
        }
        if !waiting {
            self.settle(start);
            return;
        }
        if kind == Kind::Write {
            self.written(job, path, session, claim);
        } else if self.jobs[job].live > 0 {
            self.counters.hedges_won += u64::from(self.jobs[job].tries > 1);
        }
        // Of the refusals on the way here it is now known that they were the paths'.
        let refused = self.jobs[job].refused;
        self.finish(job, Ok(()), Some(op));
        for path in (0..self.paths.len()).filter(|path| refused >> path & 1 != 0) {
            let why = Why::Fault { kind, sector: start, fault: Fault::Refused };
            self.fail_path(path, why, Some((kind, start)));
        }
    }

    /// A write is done: what is in which cache now.
    fn written(&mut self, job: Key, path: usize, session: u64, claim: u64) {
        self.number += 1;
        let job = &self.jobs[job];
        if !self.unflushed.is_empty() {
            self.unflushed.cut(&job.range());
        }
        if matches!(job.body, Body::Write(_, Durability::Fua)) {
            return;
        }
        let state = &mut self.paths[path];
        if state.session == session {
            state.dirty = Some(self.number);
        }
        if state.spec.cache == Cache::Shared {
            return;
        }
        let contents = match &job.body {
            Body::Write(data, _) => Some(Contents::Data(data.clone())),
            Body::Zero(_) => Some(Contents::Zeros),
            _ => None,
        };
        if let Some(contents) = contents {
            let end = job.sector + job.sectors();
            let number = self.number;
            let record = Record { end, contents, path, session, number, claim };
            self.unflushed.note(job.sector, record);
            if self.unflushed.bytes() > self.settings.unflushed_bytes && self.upkeep.is_none() {
                self.begin_upkeep();
            }
        }
    }

    /// The way to the disk has failed under an attempt.
    fn job_lost(&mut self, key: Key, job: Key, fault: Fault) {
        let attempt = &self.attempts[key];
        let (path, kind, sector) = (attempt.path, attempt.kind, attempt.range.start);
        let was_live = attempt.is_live();
        let over = kind != Kind::Write
            || attempt.resolved
            || self.paths[path].spec.errors == Errors::Final
            || attempt.session <= self.paths[path].fenced
            || self.defects.has(Defect::ErrorIsAnAnswer);
        if over {
            self.resolve(key, true);
        } else {
            self.attempts.get_mut(key).expect("it is there").standing = Standing::Dead(self.now);
            self.haunt(key);
        }
        if was_live {
            self.fail_path(path, Why::Fault { kind, sector, fault }, Some((kind, sector)));
            if self.jobs.get(job).is_some_and(|job| job.live == 0) {
                self.again(job);
            }
        }
    }

    /// Sends a job again, unless it is known to be lost.
    pub(super) fn again(&mut self, job: Key) {
        if !self.defects.has(Defect::QueueForgottenAtFailover) {
            self.dispatch(job);
        }
    }

    /// A path does not do this. If another does, that was the path's fault; if none does, it is the
    /// request's.
    fn job_refused(&mut self, job: Key, path: usize, fault: Fault) {
        let Some(waiting) = self.jobs.get_mut(job) else { return };
        waiting.refused |= 1 << path;
        if waiting.live > 0 {
            return;
        }
        let refused = waiting.refused;
        let untried = |(number, path): (usize, &crate::path::Path)| {
            path.is_good() && refused >> number & 1 == 0
        };
        if self.paths.iter().enumerate().any(untried) {
            self.dispatch(job);
        } else {
            self.finish(job, Err(fault), None);
        }
    }

    /// An attempt can no longer land: its claim is let go of, and begun is what waited for it if
    /// `settle`.
    pub(super) fn resolve(&mut self, key: Key, settle: bool) {
        let Some(attempt) = self.attempts.remove(key) else { return };
        if attempt.kind == Kind::Write && !attempt.resolved {
            self.release(&attempt);
        }
        if settle {
            self.settle(attempt.range.start);
        }
    }

    /// One attempt less that may land.
    pub(super) fn release(&mut self, attempt: &Attempt) {
        if let Some(claim) = self.claims.get_mut(attempt.range.start)
            && claim.id == attempt.claim
        {
            claim.open -= 1;
        }
    }
}

/// Whether a fault says something of the path and nothing of the disk.
pub(super) fn is_of_path(fault: Fault) -> bool {
    fault.responder() == Responder::Paths
}
