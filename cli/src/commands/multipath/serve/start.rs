//! From words on the command line to a map over open paths.

use std::time::Duration;

use holdfast_core::block::{BlockDevice, Geometry};
use holdfast_core::time::Clock;
use holdfast_host::clock::HostClock;
use holdfast_host::pool::{DEFAULT_THREADS, IoPool};
use holdfast_host::watch::Watch;
use holdfast_multipath::Device;
use holdfast_multipath::config::{Config, Disk};
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::show::Names;

use super::running::Running;
use crate::args::multipath::MultipathServeArgs;
use crate::exit::Failure;
use crate::multipath::USUAL_NAME;
use crate::multipath::way::{self, Way};
use crate::report::Report;
use crate::text;

/// How long the first connections may take.
const FIRST_CONNECTIONS: Duration = Duration::from_secs(10);

/// Requests of clients at once.
const DEPTH: u32 = 256;

/// Reads the configuration, opens the paths and makes the map.
pub(super) fn start(
    args: &MultipathServeArgs,
    watch: &Watch,
    mut clock: HostClock,
    report: &Report,
) -> Result<Running, Failure> {
    let text = match &args.config {
        Some(path) => text::read(path)?,
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
