//! `holdfast multipath serve`: runs a map and offers it to NBD clients until told to stop.
//!
//! One thread owns the map, the sockets of its paths and those of its clients. SIGTERM or SIGINT: no
//! new clients and requests, what is under way is answered, exit 0; what still waits for a path or
//! an older write after [`PATIENCE`] fails. A second signal ends it at once.

use std::ops::Range;
use std::time::Duration;

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_core::time::{Clock, Instant};
use holdfast_host::clock::HostClock;
use holdfast_host::nbd::session::Limits;
use holdfast_host::nbd::{Address, Context, Export, Extent, Offer, Server};
use holdfast_host::pool::{DEFAULT_THREADS, IoPool};
use holdfast_host::watch::Watch;
use holdfast_multipath::config::{Config, Disk, Knobs};
use holdfast_multipath::map::Status;
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::show::{self, Names};
use holdfast_multipath::{Device, Settings};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::multipath::MultipathServeArgs;
use crate::commands::serve::signals::{Signals, Wish};
use crate::control::listen::{Asked, Caller, Ears};
use crate::control::place;
use crate::control::reply::Reply;
use crate::exit::{Exit, Failure, Outcome};
use crate::multipath::USUAL_NAME;
use crate::multipath::protocol::Request as Order;
use crate::multipath::told::{Told, tell};
use crate::multipath::way::{self, Way};
use crate::report::Report;

/// How long a stop waits for requests that are under way before it fails those that only wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the first connections may take.
const FIRST_CONNECTIONS: Duration = Duration::from_secs(10);

/// Requests of clients at once.
const DEPTH: u32 = 256;

/// A map that is being served.
struct Running {
    device: Device<Way>,
    knobs: Knobs,
    names: Names,
    specs: Vec<PathSpec>,
    clock: HostClock,
    news: Vec<Told>,
    /// Those who want to be told what happens.
    followers: Vec<Caller>,
}

#[derive(Debug, Serialize)]
struct Announcement {
    name: String,
    bytes: u64,
    uris: Vec<String>,
    control: String,
    pid: u32,
}

/// Serves until told to stop.
pub(super) fn run(args: &MultipathServeArgs, report: &Report) -> Outcome {
    check_addresses(args)?;
    let cannot = |what: &str, error: std::io::Error| Failure::error(format!("{what}: {error}"));
    let watch = Watch::new().map_err(|error| cannot("cannot wait for paths", error))?;
    let clock = HostClock::watching(watch.clone()).map_err(|error| cannot("no clock", error))?;
    let mut signals = Signals::listen(clock.wakeup())
        .map_err(|error| cannot("cannot listen for signals", error))?;
    let mut running = start(args, &watch, clock, report)?;
    let mut ears = Ears::new(running.clock.wakeup());
    let path = match &args.whom.control {
        Some(path) => ears.at(path).map(|()| path.clone()),
        None => place::of_map(&running.names.alias).and_then(|path| {
            path.parent().map_or(Ok(()), place::make)?;
            ears.at(&path).map(|()| path)
        }),
    };
    let path = path.map_err(|error| {
        cannot("control socket", error).hint("--control PATH names another place for it")
    })?;
    let geometry = running.device.geometry();
    let export = Export {
        name: running.names.alias.clone(),
        description: format!("multipath of {} paths", running.specs.len()),
        bytes: geometry.sectors * SECTOR_BYTES,
        block_bytes: geometry.block_bytes,
        read_only: geometry.read_only,
    };
    let mut server = Server::new(export, Limits::default(), running.clock.wakeup())
        .map_err(|error| cannot("cannot serve", error))?;
    server.watch(&watch).map_err(|error| cannot("cannot wait for paths", error))?;
    let mut uris = Vec::new();
    for address in &args.nbd {
        let bound = server.listen(address);
        let bound = bound.map_err(|error| cannot(&format!("--nbd {address}"), error))?;
        uris.push(bound.to_string());
    }
    let size = Human(geometry.sectors * SECTOR_BYTES);
    report.line(format_args!(
        "serving {}: {size}, {} paths",
        running.names.alias,
        running.specs.len()
    ));
    uris.iter().for_each(|uri| report.line(format_args!("  {uri}")));
    report.line(format_args!("control socket {}", path.display()));
    report.answer(&Announcement {
        name: running.names.alias.clone(),
        bytes: geometry.sectors * SECTOR_BYTES,
        uris,
        control: path.display().to_string(),
        pid: std::process::id(),
    });
    attend(&mut running, &mut server, &ears, &mut signals, args.quiet, report)
}

fn check_addresses(args: &MultipathServeArgs) -> Result<(), Failure> {
    for address in &args.nbd {
        if let Address::Tcp(reachable) = address
            && !reachable.ip().is_loopback()
            && !args.listen_anywhere
        {
            let text = format!("--nbd tcp:{reachable}: other machines could write to the disk");
            return Err(Failure::usage(text)
                .hint("use tcp:127.0.0.1:PORT, or --listen-anywhere if that is meant"));
        }
    }
    Ok(())
}

/// Reads the configuration, opens the paths and makes the map.
fn start(
    args: &MultipathServeArgs,
    watch: &Watch,
    mut clock: HostClock,
    report: &Report,
) -> Result<Running, Failure> {
    let text = match &args.config {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::error(format!("{}: {error}", path.display())))?,
        None => String::new(),
    };
    let config = Config::read(&text);
    config.complaints.iter().for_each(|complaint| report.note(complaint));
    let alias = args.map.clone().unwrap_or_else(|| USUAL_NAME.to_owned());
    let rule = config.map_of(&alias);
    let words = match (args.paths.is_empty(), rule) {
        (true, Some(rule)) => rule.paths.clone(),
        _ => args.paths.clone(),
    };
    if words.is_empty() {
        return Err(Failure::usage("no path to any disk")
            .hint("name them, or in the configuration's multipath section of this map"));
    }
    let mut knobs = config.knobs(Disk { wwid: &alias, ..Disk::default() });
    if let Some(rule) = rule.filter(|rule| !rule.wwid.is_empty()) {
        knobs.apply("wwid", &rule.wwid).map_err(Failure::usage)?;
    }
    for option in &args.option {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{option:?}: write NAME=VALUE")))?;
        knobs.apply(name, value).map_err(Failure::usage)?;
    }
    let program = args.fence_program.clone().or_else(|| knobs.fence_program.clone());
    let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup())
        .map_err(|error| Failure::error(format!("cannot start threads: {error}")))?;
    let opened = words.iter().map(|word| way::open(word, program.as_deref(), watch, &pool));
    let mut ways = opened.collect::<Result<Vec<_>, _>>()?;
    let geometry = first_shape(&mut ways, &mut clock)?;
    let specs: Vec<PathSpec> = ways.iter().map(|(spec, _)| spec.clone()).collect();
    let geometry = Geometry { queue_depth: DEPTH, ..geometry };
    let now = clock.now();
    let device = Device::new(now, knobs.settings(), geometry, ways);
    let names = Names {
        alias,
        vendor: "HOLDFAST".to_owned(),
        product: "disk".to_owned(),
        ..Names::default()
    };
    Ok(Running { device, knobs, names, specs, clock, news: Vec::new(), followers: Vec::new() })
}

/// Waits for the first path that can say how large the disk is, and a moment for the others.
fn first_shape(ways: &mut [(PathSpec, Way)], clock: &mut HostClock) -> Result<Geometry, Failure> {
    let until = clock.now() + FIRST_CONNECTIONS;
    ways.iter_mut().for_each(|(_, way)| way.connect());
    let mut none = Vec::new();
    loop {
        let now = clock.now();
        ways.iter_mut().for_each(|(_, way)| way.poll(now, &mut none));
        if let Some(geometry) = ways.iter().find_map(|(_, way)| way.shape()) {
            return Ok(geometry);
        }
        let all_down = ways.iter().all(|(_, way)| way.trouble().is_some());
        if all_down || now >= until {
            let why: Vec<String> = ways
                .iter()
                .map(|(spec, way)| {
                    let why = way.trouble().unwrap_or_else(|| "no answer".to_owned());
                    format!("{}: {why}", spec.name)
                })
                .collect();
            return Err(Failure::unusable(format!("no path works: {}", why.join("; "))));
        }
        clock.wait(Some(until));
    }
}

/// Turn after turn, until told to stop and everything is answered.
fn attend(
    running: &mut Running,
    server: &mut Server,
    ears: &Ears<Order>,
    signals: &mut Signals,
    quiet: bool,
    report: &Report,
) -> Outcome {
    let mut leaving: Option<Instant> = None;
    loop {
        let turned = server.turn(&mut Served(&mut running.device), &mut running.clock, leaving);
        turned.map_err(|error| Failure::error(format!("waiting for clients: {error}")))?;
        while let Some(Asked { request, caller }) = ears.next() {
            running.attend(request, caller);
        }
        running.gather_news();
        for told in std::mem::take(&mut running.news) {
            running.followers.retain(|follower| follower.tell(&told));
            if !quiet {
                report.stream(&told, &told);
            }
        }
        match signals.wish() {
            Wish::Stop if leaving.is_none() => {
                server.leave();
                leaving = Some(running.clock.now() + PATIENCE);
            }
            Wish::GoOn | Wish::Stop => {}
            Wish::Quit => return Err(Failure::error("stopped at once")),
        }
        let Some(until) = leaving else { continue };
        let given_up = running.clock.now() >= until;
        if server.under_way() == 0 && (server.clients() == 0 || given_up) {
            report.line("stopped");
            return Ok(Exit::Good);
        }
        if given_up {
            let (now, map) = running.device.map_mut();
            map.fail_now(now);
            leaving = Some(running.clock.now() + PATIENCE);
        }
    }
}

impl Running {
    fn name(&self, path: usize) -> String {
        self.specs.get(path).map_or_else(|| path.to_string(), |spec| spec.name.clone())
    }

    fn gather_news(&mut self) {
        for event in self.device.take_events() {
            let told = tell(&event, |path| self.name(path));
            self.news.push(told);
        }
    }

    /// A path by its name or its number.
    fn path(&self, word: &str) -> Result<usize, String> {
        let named = self.specs.iter().position(|spec| spec.name == word);
        let numbered = || word.parse().ok().filter(|number| *number < self.specs.len());
        named.or_else(numbered).ok_or_else(|| format!("no path {word:?}"))
    }

    fn attend(&mut self, order: Order, caller: Caller) {
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

/// A map as an export.
struct Served<'a>(&'a mut Device<Way>);

impl BlockDevice for Served<'_> {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.0.submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.0.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.0.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.0.abandon(tag);
    }
}

impl Offer for Served<'_> {
    /// Nothing is known of holes, and a map has no redundancy of data.
    fn describe(&self, _context: Context, bytes: Range<u64>, _most: usize) -> Vec<Extent> {
        vec![Extent { bytes: bytes.end - bytes.start, flags: 0 }]
    }
}
