//! The whole state of a map, to be shown.

use holdfast_core::time::{Duration, Instant};

use super::{Counters, Map, Place};
use crate::defects::Defects;
use crate::path::{Checked, Stage, State, Why};
use crate::selector::Load;

/// A path's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// Its number.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Major and minor number.
    pub dev_t: String,
    /// The controller's serial number.
    pub serial: String,
    /// The target's name.
    pub node: String,
    /// The target port group.
    pub port_group: Option<u16>,
    /// Whether it is used.
    pub active: bool,
    /// Why not, since when.
    pub failed: Option<(Instant, Why)>,
    /// What the last check said.
    pub checked: Checked,
    /// Whether it is used last.
    pub marginal: bool,
    /// Whether it still owes a success of the kind that failed.
    pub on_probation: bool,
    /// Its priority.
    pub priority: i32,
    /// Times it has failed.
    pub failures: u32,
    /// Until its next check, and the time between two.
    pub next_check: Option<(Duration, Duration)>,
    /// What is under way.
    pub load: Load,
    /// Writes given up on it that may still land.
    pub ghosts: usize,
    /// Reads on it are sent twice after so long.
    pub hedge_after: Option<Duration>,
}

/// A group's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its paths.
    pub paths: Vec<usize>,
    /// Its priority.
    pub priority: i32,
    /// Whether it is the one in use.
    pub current: bool,
    /// Whether it has a path that works and is not passed over.
    pub alive: bool,
    /// Whether it is passed over.
    pub bypassed: bool,
}

/// A write that was given up and holds others back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// First sector of the write that was given up.
    pub sector: u64,
    /// Its sectors.
    pub sectors: u64,
    /// The path it may still land by.
    pub path: usize,
    /// For how long it has been given up.
    pub since: Duration,
    /// Writes that wait for it.
    pub waiting: usize,
    /// What would free it.
    pub freed_by: String,
}

/// A map's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whose disk it is.
    pub wwid: String,
    /// Size in sectors.
    pub sectors: u64,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// Groups, best first.
    pub groups: Vec<GroupStatus>,
    /// Paths by number; those removed are not there.
    pub paths: Vec<PathStatus>,
    /// Whether a group is being woken, and how often that was tried.
    pub waking: Option<u32>,
    /// For how long requests have been waiting for a path, if they are; and whether they fail.
    pub starved: Option<(Duration, bool)>,
    /// Requests waiting for a path.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Writes given up that may still land.
    pub held: Vec<Held>,
    /// What has been counted.
    pub counters: Counters,
}

impl Status {
    /// A path by its number.
    pub fn path(&self, index: usize) -> Option<&PathStatus> {
        self.paths.iter().find(|path| path.index == index)
    }
}

impl<X: Defects> Map<X> {
    /// The whole state.
    pub fn status(&self) -> Status {
        let there = |number: &usize| !self.paths[*number].removed;
        let starved = self.starved.iter().filter_map(|starved| {
            starved.since.map(|since| (self.now.since(since), starved.failing))
        });
        Status {
            wwid: self.known.wwid().to_owned(),
            sectors: self.geometry.sectors,
            read_only: self.geometry.read_only,
            groups: self.groups.iter().enumerate().map(|(n, _)| self.group_status(n)).collect(),
            paths: (0..self.paths.len()).filter(there).map(|n| self.path_status(n)).collect(),
            waking: self.waking.map(|waking| waking.tries),
            starved: starved.max(),
            queued: self.ready.iter().filter(|key| self.jobs.get(**key).is_some()).count(),
            queued_bytes: self.ready_bytes,
            held: self.held_back(),
            counters: self.counters,
        }
    }

    fn group_status(&self, number: usize) -> GroupStatus {
        let group = &self.groups[number];
        GroupStatus {
            paths: group.paths.clone(),
            priority: group.priority,
            current: self.current == Some(number),
            alive: group.alive,
            bypassed: group.bypassed,
        }
    }

    fn path_status(&self, index: usize) -> PathStatus {
        let path = &self.paths[index];
        let next_check = match path.stage {
            Stage::Idle { due } => Some((due.since(self.now), path.interval)),
            _ => None,
        };
        PathStatus {
            index,
            name: path.spec.name.clone(),
            address: path.spec.address.clone(),
            dev_t: path.spec.dev_t.clone(),
            serial: path.spec.serial.clone(),
            node: path.spec.node.clone(),
            port_group: path.spec.port_group,
            active: path.is_active(),
            failed: match &path.state {
                State::Active => None,
                State::Failed { since, why } => Some((*since, why.clone())),
            },
            checked: path.checked,
            marginal: path.damping.is_marginal(),
            on_probation: path.is_active() && !path.debt.is_none(),
            priority: path.priority,
            failures: path.failures,
            next_check,
            load: Load {
                requests: path.requests,
                bytes: path.bytes,
                throughput: path.spec.throughput,
                repeat: self.settings.rr_min_io,
                history: path.history,
            },
            ghosts: self.ghosts(index),
            hedge_after: path.hedge_at,
        }
    }

    fn held_back(&self) -> Vec<Held> {
        let ghosts = self.attempts.iter().filter(|(_, attempt)| attempt.is_ghost());
        ghosts
            .map(|(_, attempt)| {
                let range = &attempt.range;
                let waits = |key: &&holdfast_core::slab::Key| {
                    self.jobs.get(**key).is_some_and(|job| {
                        job.place == Place::Held
                            && job.sector < range.end
                            && range.start < job.range().end
                    })
                };
                let since = match attempt.standing {
                    super::Standing::Live => self.now,
                    super::Standing::Late(since) | super::Standing::Dead(since) => since,
                };
                Held {
                    sector: range.start,
                    sectors: range.end - range.start,
                    path: attempt.path,
                    since: self.now.since(since),
                    waiting: self.held.iter().filter(waits).count(),
                    freed_by: self.paths[attempt.path].spec.freed_by.clone(),
                }
            })
            .collect()
    }
}
