//! Checks of paths: when, what, and what follows.
//!
//! A check asks the transport first, which also says whose disk it leads to. Then, one after another,
//! it reads what the checker reads, where a read has failed, and the places that identify the disk,
//! and flushes if a flush has failed. The first thing that goes wrong ends it.
//!
//! A well path is checked less and less often, at intervals that double up to the maximum; any change
//! sets the interval back. A check that was not answered in time is not repeated while its answer is
//! missing; once that comes, the path is checked again at once.

use holdfast_core::block::{Completion, Fault, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;
use holdfast_core::time::{Duration, Instant};

use super::{Attempt, Inquiry, Map, Order, Purpose, Ready, Standing};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::identity::WrongDisk;
use crate::path::{Checked, Stage, State, Step, Why};
use crate::priority::Prioritizer;
use crate::settings::Checker;

impl<X: Defects> Map<X> {
    /// Begins a check.
    pub(super) fn begin_check(&mut self, path: usize) {
        let state = &mut self.paths[path];
        state.stage = Stage::Asked { since: self.now };
        if matches!(state.checked, Checked::Wild) {
            state.checked = Checked::Pending;
        }
        let connect = !state.is_active();
        self.orders.push_back(Order::Inquire { path, connect });
    }

    /// Has a path checked now, unless a check is running.
    pub(super) fn check_soon(&mut self, path: usize) {
        let now = self.now;
        if let Stage::Idle { due } = &mut self.paths[path].stage {
            *due = now;
        }
    }

    /// A transport says how its path is: asked by [`Order::Inquire`], or because it has news.
    pub fn inquired(&mut self, now: Instant, path: usize, inquiry: Inquiry) {
        self.set_time(now);
        if self.paths[path].removed {
            return;
        }
        let asked = match self.paths[path].stage {
            Stage::Asked { .. } => true,
            Stage::Stuck { asked: true } => {
                self.paths[path].stage = Stage::Idle { due: now };
                false
            }
            _ => false,
        };
        if let Ready::Down(reason) = inquiry.ready {
            let why = Why::Transport(reason);
            if asked {
                self.check_failed(path, why, Checked::Down);
            } else if self.paths[path].is_active() {
                self.fail_path(path, why, None);
            }
            return;
        }
        if !asked {
            return;
        }
        let known = self.paths[path].good_checks > 0 || self.paths[path].failures > 0;
        let trusting = known && self.defects.has(Defect::IdentityNotRechecked);
        if let Some(identity) = inquiry.identity.filter(|_| !trusting) {
            match self.known.meet(&identity) {
                Ok(false) => {}
                Ok(true) => {
                    if !self.known.is_weak() {
                        self.print = None;
                    }
                    let wwid = self.known.wwid().to_owned();
                    self.events.push_back(Event::Identified { wwid });
                }
                Err(wrong) => {
                    self.wrong_disk(path, wrong);
                    return;
                }
            }
        }
        let state = &mut self.paths[path];
        state.alua = inquiry.alua;
        let ghost = inquiry.ready == Ready::Ghost;
        let steps = if ghost { Vec::new() } else { self.steps(path, trusting) };
        self.paths[path].stage = Stage::Reading { since: now, steps };
        self.next_step(path, ghost);
    }

    /// What is left to do after the transport has answered, last first.
    fn steps(&self, path: usize, trusting: bool) -> Vec<Step> {
        let state = &self.paths[path];
        let mut steps = Vec::new();
        if state.debt.owes(Kind::Flush) {
            steps.push(Step::Flush);
        }
        let suspect = !state.is_active() && !trusting;
        if let (true, Some(print)) = (suspect && self.known.is_weak(), &self.print) {
            steps.extend(print.places().map(|place| Step::Place {
                sector: place.start,
                sectors: place.end - place.start,
            }));
        }
        if state.debt.owes(Kind::Read) {
            steps.push(Step::Debt);
        }
        if self.settings.checker.reads() {
            steps.push(Step::First);
        }
        steps
    }

    fn next_step(&mut self, path: usize, ghost: bool) {
        let debt = self.paths[path].debt.sector;
        let Stage::Reading { steps, .. } = &mut self.paths[path].stage else { return };
        let Some(step) = steps.pop() else {
            self.check_passed(path, ghost);
            return;
        };
        let block = u64::from(self.geometry.block_bytes) / SECTOR_BYTES;
        let (kind, sector, sectors) = match step {
            Step::First => (Kind::Read, 0, block),
            Step::Debt => (Kind::Read, debt, block),
            Step::Place { sector, sectors } => (Kind::Read, sector, sectors),
            Step::Flush => (Kind::Flush, 0, 0),
        };
        let place = matches!(step, Step::Place { .. });
        self.send_check(path, kind, sector, sectors, Purpose::Check { sector, place });
    }

    fn send_check(&mut self, path: usize, kind: Kind, sector: u64, sectors: u64, purpose: Purpose) {
        let bytes = (sectors * SECTOR_BYTES) as usize;
        let op = match kind {
            Kind::Flush => Op::Flush,
            _ => Op::Read(Buf::zeroed(bytes)),
        };
        let session = self.paths[path].session;
        let attempt = Attempt {
            purpose,
            kind,
            path,
            session,
            range: sector..sector + sectors,
            bytes: bytes as u64,
            sent: self.now,
            standing: Standing::Live,
            resolved: false,
            claim: 0,
        };
        self.send(attempt, sector, op);
    }

    /// Reads the first block as part of a sample.
    pub(super) fn send_sample(&mut self, path: usize) {
        let block = u64::from(self.geometry.block_bytes) / SECTOR_BYTES;
        self.send_check(path, Kind::Read, 0, block, Purpose::Sample);
    }

    /// A path has answered a request of a check.
    pub(super) fn check_answered(
        &mut self,
        path: usize,
        sector: u64,
        place: bool,
        live: bool,
        took: Duration,
        completion: Completion,
    ) {
        if self.paths[path].removed {
            return;
        }
        if !live {
            if self.paths[path].stage == (Stage::Stuck { asked: false }) {
                self.paths[path].stage = Stage::Idle { due: self.now };
            }
            return;
        }
        if !matches!(self.paths[path].stage, Stage::Reading { .. }) {
            return;
        }
        if let Err(fault) = completion.result {
            if fault == Fault::Medium && !place {
                // The disk has a bad block there; the way to it is fine.
                self.next_step(path, false);
                return;
            }
            self.check_failed(path, Why::Check(fault), Checked::Down);
            return;
        }
        if let (true, Op::Read(data), Some(print)) = (place, &completion.op, &mut self.print)
            && let Err(wrong) = print.compare(sector, data, true)
        {
            self.wrong_disk(path, wrong);
            return;
        }
        let kind = if matches!(completion.op, Op::Flush) { Kind::Flush } else { Kind::Read };
        let state = &mut self.paths[path];
        if kind == Kind::Flush || sector == state.debt.sector {
            state.debt.pay(kind);
        }
        let smooth = state.check_latency.map_or(took, |old| (old * 3 + took) / 4);
        state.check_latency = Some(smooth);
        self.next_step(path, false);
    }

    fn wrong_disk(&mut self, path: usize, wrong: WrongDisk) {
        self.events.push_back(Event::WrongDisk { path, why: wrong.clone() });
        self.check_failed(path, Why::WrongDisk(wrong), Checked::Disconnected);
    }

    /// The transport says nothing, or a request of the check is not answered.
    pub(super) fn check_overdue(&mut self, path: usize) {
        let asked = matches!(self.paths[path].stage, Stage::Asked { .. });
        let of_check = |attempt: &Attempt| {
            attempt.path == path
                && attempt.is_live()
                && matches!(attempt.purpose, Purpose::Check { .. })
        };
        let keys: Vec<Key> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| of_check(attempt))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.give_up(key, false);
        }
        self.check_failed(path, Why::CheckTimeout, Checked::Timeout);
        self.paths[path].stage = Stage::Stuck { asked };
    }

    fn check_failed(&mut self, path: usize, why: Why, checked: Checked) {
        let now = self.now;
        let interval = self.settings.polling_interval;
        let state = &mut self.paths[path];
        state.good_checks = 0;
        state.checked = checked;
        state.interval = interval;
        state.stage = Stage::Idle { due: now + interval };
        if state.is_active() {
            self.fail_path(path, why, None);
        } else if let State::Failed { why: known, .. } = &mut state.state
            && !matches!(known, Why::Operator | Why::NoLink | Why::Removed)
        {
            *known = why;
        }
    }

    fn check_passed(&mut self, path: usize, ghost: bool) {
        let now = self.now;
        let settings = &self.settings;
        let state = &mut self.paths[path];
        let old = state.checked;
        state.checked = if ghost { Checked::Ghost } else { Checked::Up };
        state.good_checks = state.good_checks.saturating_add(1);
        let priority = settings.prioritizer.priority(&state.spec, state.alua, state.check_latency);
        let regroup = std::mem::replace(&mut state.priority, priority) != priority;
        let steady = state.is_active() && old == state.checked;
        state.interval = if steady && settings.checker != Checker::None {
            (state.interval * 2).min(settings.max_polling_interval)
        } else {
            settings.polling_interval
        };
        state.stage = Stage::Idle { due: now + state.interval };
        if regroup && !matches!(settings.prioritizer, Prioritizer::Const) {
            self.regroup();
        }
        self.consider(path);
    }

    /// Brings a path back that has earned it, or lets one on probation have its trial.
    fn consider(&mut self, path: usize) {
        let settings = &self.settings;
        let state = &mut self.paths[path];
        if self.defects.has(Defect::CheckerTrustedOverData) {
            for kind in Kind::ALL {
                state.debt.pay(kind);
            }
        }
        if state.is_active() {
            if !state.debt.is_none() && !state.trial_due {
                state.trial_due = true;
                self.trials_due += 1;
            }
            self.evaluate();
            return;
        }
        let first = matches!(&state.state, State::Failed { why: Why::Unchecked, .. });
        let needed = if first { 1 } else { settings.reinstate_checks.max(1) };
        let linked = state.link == crate::path::Link::Up;
        if state.by_hand || !linked || state.good_checks < needed {
            if !state.by_hand && !matches!(state.checked, Checked::Ghost) {
                state.checked = Checked::Delayed;
            }
            return;
        }
        self.reinstate_now(path);
    }

    /// Uses a path again.
    pub(super) fn reinstate_now(&mut self, path: usize) {
        let state = &mut self.paths[path];
        state.state = State::Active;
        state.by_hand = false;
        if matches!(state.checked, Checked::Delayed) {
            state.checked = Checked::Up;
        }
        state.interval = self.settings.polling_interval;
        let on_probation = !state.debt.is_none();
        if on_probation && !state.trial_due {
            state.trial_due = true;
            self.trials_due += 1;
        }
        self.begun = true;
        self.events.push_back(Event::PathReinstated { path, on_probation });
        self.evaluate();
        self.try_stuck(path);
    }

    /// A path has succeeded at what it owed.
    pub(super) fn pay(&mut self, path: usize, kind: Kind) {
        let state = &mut self.paths[path];
        if !state.debt.owes(kind) {
            return;
        }
        state.debt.pay(kind);
        if state.debt.is_none() && std::mem::take(&mut state.trial_due) {
            self.trials_due -= 1;
        }
        self.evaluate();
    }
}
