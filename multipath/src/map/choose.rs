//! Which group, which path; and whether there is any.

use super::{Group, Map, Order, Waking, starving};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::group::{self, Member};
use crate::path::{Checked, Path, State, Why};
use crate::priority::Access;
use crate::selector::Load;
use crate::settings::{Failback, Handler};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Down this path.
    Path(usize),
    /// Nowhere now.
    Wait,
    /// Nowhere that it has not been already; its answers may still come.
    Stuck,
}

impl<X: Defects> Map<X> {
    /// The path for a request; `avoid` are bits of paths it has been down, `fresh` says that it has
    /// not been sent yet and may be somebody's trial.
    pub(super) fn choose(&mut self, kind: Kind, bytes: u64, avoid: u64, fresh: bool) -> Choice {
        if fresh
            && self.trials_due > 0
            && let Some(path) = self.take_trial(kind)
        {
            return Choice::Path(path);
        }
        if let Some(current) = self.current {
            if self.waking.is_some_and(|waking| waking.group == current) {
                return Choice::Wait;
            }
            if let Some(path) = self.turn(current, bytes, avoid) {
                return Choice::Path(path);
            }
        }
        if avoid != 0 {
            for group in 0..self.groups.len() {
                if let Some(path) = self.turn(group, bytes, avoid) {
                    return Choice::Path(path);
                }
            }
        }
        self.last_resort(kind, avoid)
    }

    /// A path on probation whose trial of this kind is due.
    fn take_trial(&mut self, kind: Kind) -> Option<usize> {
        let due = |path: &Path| path.trial_due && path.is_active() && path.debt.owes(kind);
        let path = self.paths.iter().position(due)?;
        self.paths[path].trial_due = false;
        self.trials_due -= 1;
        self.on_trial(path, kind).then_some(path)
    }

    /// Whether a path that owes this kind has nothing of it under way.
    fn on_trial(&self, path: usize, kind: Kind) -> bool {
        !self.attempts.iter().any(|(_, a)| a.path == path && a.kind == kind && a.is_live())
    }

    /// The next path of a group.
    fn turn(&mut self, group: usize, bytes: u64, avoid: u64) -> Option<usize> {
        let Self { groups, paths, settings, .. } = self;
        let Group { paths: ring, turn, .. } = &mut groups[group];
        if let [only] = ring[..] {
            return (paths[only].is_good() && avoid >> only & 1 == 0).then_some(only);
        }
        let weigh = settings.rr_weight_priorities;
        turn.next(settings.selector, ring, bytes, |number| {
            let path = &paths[number];
            let repeat = settings.rr_min_io * if weigh { path.priority.max(1) as u32 } else { 1 };
            (path.is_good() && avoid >> number & 1 == 0).then_some(Load {
                requests: path.requests,
                bytes: path.bytes,
                throughput: path.spec.throughput,
                repeat,
                history: path.history,
            })
        })
    }

    /// A path that is not good, but better than none: a marginal one; one whose group sleeps; one
    /// that owes something else; one that owes this, as a trial.
    fn last_resort(&self, kind: Kind, avoid: u64) -> Choice {
        let order = || self.groups.iter().flat_map(|group| group.paths.iter().copied());
        let serving = |number: &usize| self.paths[*number].serves(kind);
        let marginal = |path: &Path| path.debt.is_none() && !matches!(path.checked, Checked::Ghost);
        let asleep = |path: &Path| path.debt.is_none();
        let wanted: [&dyn Fn(&Path) -> bool; 3] = [&marginal, &asleep, &|_| true];
        for wanted in wanted {
            let fits = |number: &usize| avoid >> number & 1 == 0 && wanted(&self.paths[*number]);
            if let Some(path) = order().filter(serving).find(fits) {
                return Choice::Path(path);
            }
        }
        let owing = |number: &usize| {
            let path = &self.paths[*number];
            path.is_active() && path.debt.owes(kind) && self.on_trial(*number, kind)
        };
        if let Some(path) = order().find(|number| avoid >> number & 1 == 0 && owing(number)) {
            return Choice::Path(path);
        }
        let elsewhere = order().any(|number| self.paths[number].serves(kind));
        if avoid != 0 && elsewhere { Choice::Stuck } else { Choice::Wait }
    }

    /// Whether a path makes its group worth using.
    fn eligible(&self, number: usize) -> bool {
        let path = &self.paths[number];
        if self.defects.has(Defect::FailbackFlaps) {
            return path.is_active();
        }
        let explicit = matches!(self.settings.handler, Handler::Explicit { .. });
        let asleep = matches!(path.checked, Checked::Ghost);
        path.is_good()
            || explicit
                && asleep
                && path.is_active()
                && path.debt.is_none()
                && !path.damping.is_marginal()
    }

    /// Forms the groups anew.
    pub(super) fn regroup(&mut self) {
        let current: Vec<usize> =
            self.current.map(|group| self.groups[group].paths.clone()).unwrap_or_default();
        let there: Vec<usize> =
            (0..self.paths.len()).filter(|&number| !self.paths[number].removed).collect();
        let members: Vec<Member<'_>> = there
            .iter()
            .map(|&number| {
                let path = &self.paths[number];
                Member {
                    priority: path.priority,
                    usable: path.is_active(),
                    serial: &path.spec.serial,
                    node: &path.spec.node,
                    port_group: path.spec.port_group,
                }
            })
            .collect();
        let formed = group::form(self.settings.grouping, &members);
        let formed = formed.into_iter().map(|group| group.into_iter().map(|n| there[n]).collect());
        let old = std::mem::take(&mut self.groups);
        self.groups = formed
            .map(|paths: Vec<usize>| {
                let same = old.iter().find(|group| group.paths == paths).cloned();
                same.unwrap_or_else(|| Group { paths, ..Group::default() })
            })
            .collect();
        let keeps = |group: &Group| group.paths.iter().any(|path| current.contains(path));
        self.current = self.groups.iter().position(keeps);
        self.waking = None;
        self.evaluate();
    }

    /// Looks at everything a path's change may have changed: the group in use, and whether requests
    /// starve.
    pub(super) fn evaluate(&mut self) {
        let back = self.look_at_groups();
        self.choose_group(back);
        let unchecked = |path: &Path| {
            !path.removed && matches!(path.state, State::Failed { why: Why::Unchecked, .. })
        };
        if !self.settled && !self.paths.iter().any(unchecked) {
            self.settled = true;
            self.choose_group(back);
        }
        self.look_at_hunger();
    }

    /// Which groups are alive; the first that has come back to life.
    fn look_at_groups(&mut self) -> Option<usize> {
        let mut back = None;
        for number in 0..self.groups.len() {
            let eligible: Vec<i64> = self.groups[number]
                .paths
                .iter()
                .filter(|path| self.eligible(**path))
                .map(|path| i64::from(self.paths[*path].priority))
                .collect();
            let group = &mut self.groups[number];
            let alive = !eligible.is_empty() && !group.bypassed;
            if alive && !group.alive {
                back = back.or(Some(number));
            }
            group.alive = alive;
            if alive {
                group.priority = (eligible.iter().sum::<i64>() / eligible.len() as i64) as i32;
            }
        }
        back
    }

    fn choose_group(&mut self, back: Option<usize>) {
        let alive = |number: &usize| self.groups[*number].alive;
        let rank = |number: &usize| (self.groups[*number].priority, std::cmp::Reverse(*number));
        let Some(best) = (0..self.groups.len()).filter(alive).max_by_key(rank) else {
            self.failback_at = None;
            return;
        };
        if !self.settled && self.sleeper(best).is_some() {
            return; // nobody is woken before all have been looked at
        }
        let Some(current) = self.current.filter(alive) else {
            self.failback_at = None;
            self.switch(best, false);
            return;
        };
        if !self.settled {
            self.switch(best, false);
            return;
        }
        if self.groups[best].priority <= self.groups[current].priority {
            self.failback_at = None;
            return;
        }
        match self.settings.failback {
            Failback::Manual => {}
            Failback::Immediate => self.switch(best, true),
            Failback::Followover if back == Some(best) => self.switch(best, true),
            Failback::Followover => {}
            Failback::After(span) => {
                self.failback_at.get_or_insert(self.now + span);
            }
        }
    }

    /// The time of a better group has come.
    pub(super) fn fail_back(&mut self) {
        self.failback_at = None;
        let alive = |number: &usize| self.groups[*number].alive;
        let rank = |number: &usize| (self.groups[*number].priority, std::cmp::Reverse(*number));
        if let Some(best) = (0..self.groups.len()).filter(alive).max_by_key(rank) {
            self.switch(best, true);
        }
    }

    /// A path by which a group has to be woken before it is used.
    fn sleeper(&self, group: usize) -> Option<usize> {
        let explicit = matches!(self.settings.handler, Handler::Explicit { .. });
        let asleep = |number: &usize| {
            let path = &self.paths[*number];
            path.is_active()
                && (matches!(path.checked, Checked::Ghost)
                    || path.alua.is_some_and(|alua| alua.access != Access::Optimized))
        };
        self.groups[group].paths.iter().copied().find(asleep).filter(|_| explicit)
    }

    /// Uses another group.
    pub(super) fn switch(&mut self, to: usize, failback: bool) {
        let from = self.current;
        if from == Some(to) {
            return;
        }
        self.current = Some(to);
        self.failback_at = None;
        if from.is_some() {
            self.counters.switch_grp += 1;
        }
        self.events.push_back(Event::GroupSwitched { from, to, failback });
        self.waking = None;
        if let Some(path) = self.sleeper(to) {
            self.waking = Some(Waking { group: to, path, tries: 1, retry_at: None });
            self.orders.push_back(Order::Activate { path });
            return;
        }
        self.drain_ready();
    }

    /// Whether a kind has a path, and since when not.
    fn look_at_hunger(&mut self) {
        for kind in [Kind::Read, Kind::Write] {
            let fed = if self.defects.has(Defect::NoPathNeverEnds) {
                self.paths.iter().any(Path::is_active)
            } else {
                self.paths.iter().any(|path| path.serves(kind))
            };
            let patience = self.settings.no_path.patience(self.settings.polling_interval);
            let starved = &mut self.starved[starving(kind)];
            match (starved.since, fed) {
                (None, true) | (Some(_), false) => {}
                (Some(_), true) => {
                    *starved = super::Starved::default();
                    self.events.push_back(Event::PathsAgain { kind });
                }
                (None, false) => {
                    starved.since = Some(self.now);
                    starved.failing = patience.is_some_and(|span| span.is_zero());
                    self.events.push_back(Event::NoPath { kind, patience });
                    if starved.failing {
                        self.fail_waiting(kind);
                    }
                }
            }
        }
        if !self.ready.is_empty() && self.paths.iter().any(Path::is_active) {
            self.drain_ready();
        }
    }
}
