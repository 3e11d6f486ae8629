//! A running map, and what is asked of it over its control socket.

use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::clock::HostClock;
use holdfast_multipath::config::Knobs;
use holdfast_multipath::map::Status;
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::show::{self, Names};
use holdfast_multipath::{Device, Settings};
use serde_json::{Value, json};

use crate::control::listen::Caller;
use crate::control::reply::Reply;
use crate::exit::Failure;
use crate::multipath::protocol::Request as Order;
use crate::multipath::told::{Told, tell};
use crate::multipath::way::Way;
use crate::report::Report;

/// A map that is being served.
pub(super) struct Running {
    pub(super) device: Device<Way>,
    pub(super) knobs: Knobs,
    pub(super) names: Names,
    pub(super) specs: Vec<PathSpec>,
    pub(super) clock: HostClock,
    /// What has happened and not been told.
    pub(super) news: Vec<Told>,
    /// Those who want to be told what happens.
    pub(super) followers: Vec<Caller>,
}

impl Running {
    fn name(&self, path: usize) -> String {
        self.specs.get(path).map_or_else(|| path.to_string(), |spec| spec.name.clone())
    }

    /// Takes what has happened.
    pub(super) fn gather_news(&mut self) {
        for event in self.device.take_events() {
            let told = tell(&event, |path| self.name(path));
            self.news.push(told);
        }
    }

    /// Tells it to whoever follows, and here.
    pub(super) fn tell_news(&mut self, quiet: bool, report: &Report) {
        for told in std::mem::take(&mut self.news) {
            self.followers.retain(|follower| follower.tell(&told));
            if !quiet {
                report.stream(&told, &told);
            }
        }
    }

    /// A path by its name or its number.
    fn path(&self, word: &str) -> Result<usize, String> {
        let named = self.specs.iter().position(|spec| spec.name == word);
        let numbered = || word.parse().ok().filter(|number| *number < self.specs.len());
        named.or_else(numbered).ok_or_else(|| format!("no path {word:?}"))
    }

    /// Does what is asked and answers.
    pub(super) fn attend(&mut self, order: Order, caller: Caller) {
        let answer = match order {
            Order::Events {} => return self.followers.push(caller),
            Order::Show { what, format, raw } => self.show(&what, format.as_deref(), raw),
            order => self.obey(order).map(|done| {
                let answer = json!({ "done": done });
                Reply::good(vec![done], answer)
            }),
        };
        caller.answer(&answer.unwrap_or_else(|why| Reply::refused(Failure::error(why))));
    }

    /// Carries an order out; what has been done.
    fn obey(&mut self, order: Order) -> Result<String, String> {
        let (now, map) = self.device.map_mut();
        match order {
            Order::FailPath { path } => {
                let number = self.path(&path)?;
                let (now, map) = self.device.map_mut();
                map.fail_by_hand(now, number).map_err(|error| error.to_string())?;
                Ok(format!("{path} is out of use"))
            }
            Order::Reinstate { path } => {
                let number = self.path(&path)?;
                let (now, map) = self.device.map_mut();
                map.reinstate(now, number).map_err(|error| error.to_string())?;
                Ok(format!("{path} is used again, or will be once its checks are good"))
            }
            Order::SwitchGroup { group } => {
                map.switch_group(now, group).map_err(|error| error.to_string())?;
                Ok(format!("group {group} is used"))
            }
            Order::Set { name, value } => {
                self.knobs.apply(&name, &value)?;
                map.set(now, self.knobs.settings());
                Ok(format!("{name} is {value}"))
            }
            Order::FailNow {} => {
                map.fail_now(now);
                Ok("what waited has failed".to_owned())
            }
            Order::Show { .. } | Order::Events {} => Err("that is no order".to_owned()),
        }
    }

    fn show(&self, what: &str, format: Option<&str>, raw: bool) -> Result<Reply, String> {
        let (status, settings) = (self.device.status(), self.device.map().settings());
        let names = &self.names;
        let text = match (what, format) {
            ("topology", None) => Ok(show::topology(&status, settings, names)),
            ("dm", None) => Ok(format!(
                "0 {} multipath {}\n",
                status.sectors,
                show::dm_status(&status, settings)
            )),
            ("topology" | "paths", format) => {
                show::paths(format.unwrap_or(show::PATHS), raw, &status, settings, names)
            }
            ("maps", format) => {
                show::maps(format.unwrap_or(show::MAPS), raw, &status, settings, names)
            }
            ("stats", format) => {
                show::maps(format.unwrap_or(show::STATS), raw, &status, settings, names)
            }
            (what, _) => return Err(format!("{what:?} cannot be shown so")),
        };
        let text = text.map_err(|error| error.to_string())?;
        let answer = json!({ "map": state(&status, settings, names) });
        Ok(Reply::good(vec![text.trim_end().to_owned()], answer))
    }
}

/// The state for machines.
fn state(status: &Status, settings: &Settings, names: &Names) -> Value {
    let paths: Vec<Value> = status
        .paths
        .iter()
        .map(|path| {
            json!({
                "path": path.name,
                "active": path.active,
                "checker": path.checked.name(),
                "why": path.failed.as_ref().map(|(_, why)| why.to_string()),
                "marginal": path.marginal,
                "on_probation": path.on_probation,
                "priority": path.priority,
                "failures": path.failures,
                "requests": path.load.requests,
                "unresolved_writes": path.ghosts,
            })
        })
        .collect();
    let groups: Vec<Value> = status
        .groups
        .iter()
        .map(|group| {
            let names: Vec<&str> = group
                .paths
                .iter()
                .filter_map(|n| status.path(*n))
                .map(|path| &*path.name)
                .collect();
            json!({ "paths": names, "priority": group.priority, "current": group.current })
        })
        .collect();
    let held: Vec<Value> = status
        .held
        .iter()
        .map(|held| {
            json!({
                "sector": held.sector,
                "sectors": held.sectors,
                "path": status.path(held.path).map(|path| &path.name),
                "given_up_seconds_ago": held.since.as_secs_f64(),
                "writes_waiting": held.waiting,
                "freed_by": held.freed_by,
            })
        })
        .collect();
    json!({
        "name": names.alias,
        "wwid": status.wwid,
        "bytes": status.sectors * SECTOR_BYTES,
        "ghost_writes": settings.ghost.to_string(),
        "paths": paths,
        "groups": groups,
        "unresolved": held,
        "queued": status.queued,
        "queued_bytes": status.queued_bytes,
        "path_faults": status.counters.path_faults,
        "group_switches": status.counters.switch_grp,
        "reads_sent_twice": status.counters.hedged,
    })
}
