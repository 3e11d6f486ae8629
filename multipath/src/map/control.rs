//! What people and transports tell a map.

use holdfast_core::block::Fault;
use holdfast_core::slab::Key;
use holdfast_core::time::Instant;

use super::{Attempt, MAX_PATHS, Map};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::path::{Checked, Link, Path, PathSpec, Stage, State, Why};
use crate::settings::Settings;

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such path.
    #[error("there is no path {0}")]
    NoPath(usize),
    /// There is no such group.
    #[error("there is no group {0}; groups are counted from 1")]
    NoGroup(usize),
    /// The group has no path that works.
    #[error("group {0} has no path that works")]
    DeadGroup(usize),
    /// There are too many.
    #[error("a map has at most {MAX_PATHS} paths")]
    TooMany,
    /// It leads to another disk.
    #[error("path {path} leads to another disk: {why}")]
    WrongDisk {
        /// Which path.
        path: usize,
        /// How it is known.
        why: String,
    },
}

impl<X: Defects> Map<X> {
    fn there(&self, path: usize) -> Result<(), Refusal> {
        let there = self.paths.get(path).is_some_and(|path| !path.removed);
        if there { Ok(()) } else { Err(Refusal::NoPath(path)) }
    }

    /// What a path's transport has proven: its present session, and the last one of which nothing
    /// can land any more.
    pub fn path_session(&mut self, now: Instant, path: usize, session: u64, fenced: u64) {
        self.set_time(now);
        let state = &mut self.paths[path];
        if session > state.session {
            state.session = session;
            state.dirty = None;
            if matches!(state.stage, Stage::Stuck { .. }) {
                state.stage = Stage::Idle { due: now };
            }
            // Nobody has looked yet at what the new connection leads to.
            self.fail_path(path, Why::Transport("connected anew".to_owned()), None);
        }
        let state = &mut self.paths[path];
        let fenced = if self.defects.has(Defect::FenceCoversNewSession) && fenced > state.fenced {
            state.session
        } else {
            fenced
        };
        if fenced <= state.fenced {
            return;
        }
        state.fenced = fenced;
        let over = |attempt: &Attempt| {
            attempt.path == path && attempt.session <= fenced && attempt.is_ghost()
        };
        let ghosts: Vec<Key> =
            self.attempts.iter().filter(|(_, a)| over(a)).map(|(key, _)| key).collect();
        if !ghosts.is_empty() {
            self.events.push_back(Event::Fenced { path, writes: ghosts.len() });
        }
        for key in ghosts {
            self.unhaunt(key);
        }
    }

    /// A path's link to its target is there, or not. Requests on a path without link fail after
    /// `fast_io_fail`, and the path is removed after `dev_loss`.
    pub fn path_link(&mut self, now: Instant, path: usize, up: bool) {
        self.set_time(now);
        let times = self
            .settings
            .transport
            .reconciled(self.settings.no_path, self.settings.polling_interval);
        let state = &mut self.paths[path];
        match (up, state.link) {
            (true, _) => {
                state.link = Link::Up;
                self.check_soon(path);
            }
            (false, Link::Up) => {
                state.link = Link::Down {
                    fast_fail_at: times.fast_io_fail.map(|span| now + span),
                    lost_at: times.dev_loss.map(|span| now + span),
                };
            }
            (false, Link::Down { .. }) => {}
        }
    }

    /// Takes a path out of use until [`Map::reinstate`].
    pub fn fail_by_hand(&mut self, now: Instant, path: usize) -> Result<(), Refusal> {
        self.set_time(now);
        self.there(path)?;
        self.paths[path].by_hand = true;
        self.fail_path(path, Why::Operator, None);
        Ok(())
    }

    /// Uses a path again: at once if its checks are good, or else when they are. A path whose disk
    /// is another one stays out.
    pub fn reinstate(&mut self, now: Instant, path: usize) -> Result<(), Refusal> {
        self.set_time(now);
        self.there(path)?;
        let state = &mut self.paths[path];
        if let State::Failed { why: Why::WrongDisk(why), .. } = &state.state {
            return Err(Refusal::WrongDisk { path, why: why.to_string() });
        }
        state.by_hand = false;
        if state.is_active() {
            return Ok(());
        }
        if matches!(state.checked, Checked::Up | Checked::Ghost | Checked::Delayed) {
            self.reinstate_now(path);
        } else {
            self.check_soon(path);
        }
        Ok(())
    }

    /// Uses this group, counted from 1, until failback or failure says otherwise.
    pub fn switch_group(&mut self, now: Instant, group: usize) -> Result<(), Refusal> {
        self.set_time(now);
        let index = self.group(group)?;
        if !self.groups[index].alive {
            return Err(Refusal::DeadGroup(group));
        }
        self.switch(index, false);
        Ok(())
    }

    /// Passes a group over from now on, or no longer.
    pub fn bypass_group(&mut self, now: Instant, group: usize, on: bool) -> Result<(), Refusal> {
        self.set_time(now);
        let index = self.group(group)?;
        self.groups[index].bypassed = on;
        self.evaluate();
        Ok(())
    }

    fn group(&self, group: usize) -> Result<usize, Refusal> {
        let index = group.checked_sub(1).filter(|index| *index < self.groups.len());
        index.ok_or(Refusal::NoGroup(group))
    }

    /// Adds a path. It is checked first.
    pub fn add_path(&mut self, now: Instant, spec: PathSpec) -> Result<usize, Refusal> {
        self.set_time(now);
        if self.paths.len() >= MAX_PATHS {
            return Err(Refusal::TooMany);
        }
        self.paths.push(Path::new(spec, now, self.settings.polling_interval));
        self.hedges.push(std::collections::VecDeque::new());
        self.regroup();
        Ok(self.paths.len() - 1)
    }

    /// Removes a path. Its number is not used again; what it may still write is remembered.
    pub fn remove_path(&mut self, now: Instant, path: usize) -> Result<(), Refusal> {
        self.set_time(now);
        self.there(path)?;
        self.remove_now(path);
        Ok(())
    }

    pub(super) fn remove_now(&mut self, path: usize) {
        self.fail_path(path, Why::Removed, None);
        let state = &mut self.paths[path];
        state.removed = true;
        state.checked = Checked::Removed;
        state.state = State::Failed { since: self.now, why: Why::Removed };
        self.events.push_back(Event::PathRemoved { path });
        self.regroup();
    }

    /// Fails everything that waits for a path or for an older write, now; whether anything did. What
    /// has been sent goes on.
    pub fn fail_now(&mut self, now: Instant) -> bool {
        self.set_time(now);
        let waiting: Vec<Key> =
            self.held.iter().chain(&self.ready).chain(&self.stuck).copied().collect();
        let mut failed = false;
        for key in waiting {
            if self.jobs.get(key).is_some_and(|job| job.live == 0) {
                self.finish(key, Err(Fault::Transport), None);
                failed = true;
            }
        }
        self.ready.retain(|key| self.jobs.get(*key).is_some());
        failed
    }

    /// Changes what may be changed while requests are under way.
    pub fn set(&mut self, now: Instant, settings: Settings) {
        self.set_time(now);
        self.settings = settings;
        for path in &mut self.paths {
            let prioritizer = &self.settings.prioritizer;
            path.priority = prioritizer.priority(&path.spec, path.alua, path.check_latency);
            path.interval = path.interval.min(self.settings.max_polling_interval);
            if let Stage::Idle { due } = &mut path.stage {
                *due = (*due).min(now + path.interval);
            }
        }
        for starved in &mut self.starved {
            starved.failing = false;
        }
        self.regroup();
    }

    /// Whether nothing is under way and nothing can land any more.
    pub fn is_quiet(&self) -> bool {
        self.jobs.is_empty() && self.claims.len() == 0
    }

    /// Writes that were given up and may still land, on a path.
    pub fn ghosts(&self, path: usize) -> usize {
        self.attempts.iter().filter(|(_, a)| a.path == path && a.is_ghost()).count()
    }

    /// Whether a path is used for this kind of request.
    pub fn serves(&self, path: usize, kind: Kind) -> bool {
        self.paths[path].serves(kind)
    }
}
