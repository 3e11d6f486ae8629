//! A map in words: as `multipath -ll`, `multipathd show` and `dmsetup status` put it.
//!
//! Tools read these texts, so their shapes and wildcards are those of multipath-tools and the kernel.

use std::fmt::Write as _;

use holdfast_core::size::SECTOR_BYTES;

use crate::map::{GroupStatus, PathStatus, Status};
use crate::settings::{Handler, NoPath, Settings};

/// What only the program knows of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What people call it.
    pub alias: String,
    /// The device it appears as, if it does: `dm-0`.
    pub device: String,
    /// Vendor, product and revision of the disk.
    pub vendor: String,
    /// The same.
    pub product: String,
    /// The same.
    pub revision: String,
}

/// A path's columns by default.
pub const PATHS: &str = "%i %d %D %p %t %T %o %C";

/// A map's columns by default.
pub const MAPS: &str = "%n %F %Q %N %t %r";

/// A map's counters.
pub const STATS: &str = "%n %0 %1 %2 %3 %4";

/// A wildcard nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such wildcard: %{0}")]
pub struct UnknownWildcard(pub char);

/// Size as `multipath -ll` writes it: three figures' worth of one unit.
fn size(sectors: u64) -> String {
    let mut amount = (sectors * SECTOR_BYTES) as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit < 4 {
        amount /= 1024.0;
        unit += 1;
    }
    let unit = ["K", "M", "G", "T", "P"][unit];
    if amount < 10.0 { format!("{amount:.1}{unit}") } else { format!("{amount:.0}{unit}") }
}

const fn dm_state(path: &PathStatus) -> &'static str {
    if path.active { "active" } else { "failed" }
}

/// What the transport's device would be called: running while it can be asked.
const fn device_state(path: &PathStatus) -> &'static str {
    match path.checked {
        crate::path::Checked::Timeout | crate::path::Checked::Disconnected => "offline",
        _ => "running",
    }
}

const fn checker_state(path: &PathStatus) -> &'static str {
    if path.marginal && path.active { "shaky" } else { path.checked.name() }
}

/// How far a path is on its way to its next check: ten places and the seconds.
fn next_check(path: &PathStatus) -> String {
    let Some((left, interval)) = path.next_check else { return "XXXXXXXXXX 0/0".to_owned() };
    let (left, interval) = (left.as_secs_f64(), interval.as_secs_f64().max(0.001));
    let gone = (((interval - left) / interval * 10.0) as usize).min(10);
    let bar: String = "X".repeat(gone) + &".".repeat(10 - gone);
    format!("{bar} {}/{}", left.ceil() as u64, interval.ceil() as u64)
}

fn or_undefined(text: &str, undefined: &str) -> String {
    if text.is_empty() { undefined.to_owned() } else { text.to_owned() }
}

/// One path's value of a wildcard.
fn path_value(
    wildcard: char,
    path: &PathStatus,
    status: &Status,
    settings: &Settings,
    names: &Names,
) -> Result<String, UnknownWildcard> {
    Ok(match wildcard {
        'w' => status.wwid.clone(),
        'i' => path.address.clone(),
        'd' => path.name.clone(),
        'D' => path.dev_t.clone(),
        't' => dm_state(path).to_owned(),
        'o' => device_state(path).to_owned(),
        'T' => checker_state(path).to_owned(),
        's' => format!("{},{},{}", names.vendor, names.product, names.revision),
        'c' => settings.checker.name().to_owned(),
        'C' => next_check(path),
        'p' => path.priority.to_string(),
        'S' => size(status.sectors),
        'z' => or_undefined(&path.serial, "[undef]"),
        'M' => if path.marginal { "marginal" } else { "normal" }.to_owned(),
        'm' => names.alias.clone(),
        'n' => or_undefined(&path.node, "[undef]"),
        'A' => path.port_group.map_or_else(|| "[undef]".to_owned(), |group| group.to_string()),
        '0' => path.failures.to_string(),
        'I' => if path.active { "ok" } else { "init" }.to_owned(),
        'P' => path.name.split_once(':').map_or("undef", |(scheme, _)| scheme).to_owned(),
        // World-wide names of ports, the host adapter, foreign libraries, vital product data.
        'N' | 'R' | 'r' | 'a' | 'G' | 'g' | 'L' => "[undef]".to_owned(),
        other => return Err(UnknownWildcard(other)),
    })
}

/// One map's value of a wildcard.
fn map_value(
    wildcard: char,
    status: &Status,
    settings: &Settings,
    names: &Names,
) -> Result<String, UnknownWildcard> {
    let counters = status.counters;
    Ok(match wildcard {
        'n' => names.alias.clone(),
        'w' => status.wwid.clone(),
        'd' => or_undefined(&names.device, "-"),
        'F' => settings.failback.to_string(),
        'Q' => queueing(status, settings),
        'N' => status.paths.iter().filter(|path| path.active).count().to_string(),
        'r' => if status.read_only { "ro" } else { "rw" }.to_owned(),
        't' => "active".to_owned(),
        'S' => size(status.sectors),
        'f' => features(settings),
        'x' => status.paths.iter().filter(|path| !path.active).count().to_string(),
        'h' => handler(settings).to_owned(),
        '0' => counters.path_faults.to_string(),
        '1' => counters.switch_grp.to_string(),
        '2' => "1".to_owned(),
        '3' => status.starved.map_or(0, |(span, _)| span.as_secs()).to_string(),
        '4' => counters.q_timeouts.to_string(),
        's' => format!("{},{}", names.vendor, names.product),
        'v' => names.vendor.clone(),
        'p' => names.product.clone(),
        'e' => names.revision.clone(),
        'G' | 'g' | 'A' => "[undef]".to_owned(),
        other => return Err(UnknownWildcard(other)),
    })
}

/// How requests queue: for how long at most while there are paths, how long still when there are
/// none, `off` once that is over.
fn queueing(status: &Status, settings: &Settings) -> String {
    match (settings.no_path, status.starved) {
        (NoPath::Fail, _) => "-".to_owned(),
        (NoPath::Queue, _) => "on".to_owned(),
        (policy, None) => policy.to_string(),
        (_, Some((_, true))) => "off".to_owned(),
        (policy, Some((since, false))) => {
            let patience = policy.patience(settings.polling_interval).unwrap_or_default();
            format!("{} sec", patience.saturating_sub(since).as_secs_f64().ceil() as u64)
        }
    }
}

fn features(settings: &Settings) -> String {
    let queues = settings.no_path != NoPath::Fail;
    if queues { "1 queue_if_no_path" } else { "0" }.to_owned()
}

const fn handler(settings: &Settings) -> &'static str {
    match settings.handler {
        Handler::Implicit => "0",
        Handler::Explicit { .. } => "1 alua",
    }
}

/// Fills in a format, one line for each row, columns as wide as their widest cell, the wildcards'
/// names on top if `header`.
fn table<R>(
    format: &str,
    rows: &[R],
    header: Option<fn(char) -> &'static str>,
    value: impl Fn(char, &R) -> Result<String, UnknownWildcard>,
) -> Result<String, UnknownWildcard> {
    let mut pieces: Vec<(String, Option<char>)> = vec![(String::new(), None)];
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        let wildcard = if c == '%' { chars.next() } else { None };
        let last = pieces.last_mut().expect("there is one");
        match (c, wildcard) {
            ('%', Some('%')) => last.0.push('%'),
            ('%', Some(wildcard)) => {
                last.1 = Some(wildcard);
                pieces.push((String::new(), None));
            }
            (c, _) => last.0.push(c),
        }
    }
    let mut lines: Vec<Vec<String>> = Vec::new();
    let wildcards: Vec<char> = pieces.iter().filter_map(|(_, wildcard)| *wildcard).collect();
    if let Some(name) = header {
        lines.push(wildcards.iter().map(|wildcard| name(*wildcard).to_owned()).collect());
    }
    for row in rows {
        let cells: Result<_, _> = wildcards.iter().map(|wildcard| value(*wildcard, row)).collect();
        lines.push(cells?);
    }
    let width = |column: usize| {
        lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..wildcards.len()).map(width).collect();
    let mut text = String::new();
    for cells in &lines {
        let mut line = String::new();
        let mut cells = cells.iter().zip(&widths);
        for (literal, wildcard) in &pieces {
            line.push_str(literal);
            if wildcard.is_some()
                && let Some((cell, width)) = cells.next()
            {
                let _ = write!(line, "{cell:width$}");
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn path_header(wildcard: char) -> &'static str {
    match wildcard {
        'w' => "uuid",
        'i' => "hcil",
        'd' => "dev",
        'D' => "dev_t",
        't' => "dm_st",
        'o' => "dev_st",
        'T' => "chk_st",
        's' => "vend/prod/rev",
        'c' => "checker",
        'C' => "next_check",
        'p' => "pri",
        'S' => "size",
        'z' => "serial",
        'M' => "marginal_st",
        'm' => "multipath",
        'N' => "host WWNN",
        'n' => "target WWNN",
        'R' => "host WWPN",
        'r' => "target WWPN",
        'a' => "host adapter",
        'G' => "foreign",
        'g' => "vpd page data",
        '0' => "failures",
        'P' => "protocol",
        'I' => "init_st",
        'L' => "LUN hex",
        'A' => "TPG",
        _ => "?",
    }
}

fn map_header(wildcard: char) -> &'static str {
    match wildcard {
        'n' => "name",
        'w' => "uuid",
        'd' => "sysfs",
        'F' => "failback",
        'Q' => "queueing",
        'N' => "paths",
        'r' => "write_prot",
        't' => "dm-st",
        'S' => "size",
        'f' => "features",
        'x' => "failures",
        'h' => "hwhandler",
        'A' => "action",
        '0' => "path_faults",
        '1' => "switch_grp",
        '2' => "map_loads",
        '3' => "total_q_time",
        '4' => "q_timeouts",
        's' => "vend/prod/rev",
        'v' => "vend",
        'p' => "prod",
        'e' => "rev",
        'G' => "foreign",
        'g' => "vpd page data",
        _ => "?",
    }
}

/// `show paths format "…"`, with or without the line of headings (`raw`).
pub fn paths(
    format: &str,
    raw: bool,
    status: &Status,
    settings: &Settings,
    names: &Names,
) -> Result<String, UnknownWildcard> {
    let header = (!raw).then_some(path_header as fn(char) -> &'static str);
    table(format, &status.paths, header, |wildcard, path| {
        path_value(wildcard, path, status, settings, names)
    })
}

/// `show maps format "…"`, with or without the line of headings (`raw`).
pub fn maps(
    format: &str,
    raw: bool,
    status: &Status,
    settings: &Settings,
    names: &Names,
) -> Result<String, UnknownWildcard> {
    let header = (!raw).then_some(map_header as fn(char) -> &'static str);
    table(format, &[()], header, |wildcard, ()| map_value(wildcard, status, settings, names))
}

const fn group_state(group: &GroupStatus) -> &'static str {
    match (group.current, group.bypassed) {
        (_, true) => "disabled",
        (true, false) => "active",
        (false, false) => "enabled",
    }
}

/// The selector with its argument, as tables and `multipath -ll` write it.
fn policy(settings: &Settings) -> String {
    format!("{} 0", settings.selector.name())
}

/// `multipath -ll`: the map, its groups, their paths; and what no other multipath has to say.
pub fn topology(status: &Status, settings: &Settings, names: &Names) -> String {
    let mut text = String::new();
    let device = if names.device.is_empty() { String::new() } else { format!(" {}", names.device) };
    let _ = writeln!(
        text,
        "{} ({}){device} {},{}",
        names.alias, status.wwid, names.vendor, names.product
    );
    let write = if status.read_only { "ro" } else { "rw" };
    let _ = writeln!(
        text,
        "size={} features='{}' hwhandler='{}' wp={write}",
        size(status.sectors),
        features(settings),
        handler(settings)
    );
    for (number, group) in status.groups.iter().enumerate() {
        let last = number + 1 == status.groups.len();
        let (branch, stem) = if last { ("`-+-", " ") } else { ("|-+-", "|") };
        let _ = writeln!(
            text,
            "{branch} policy='{}' prio={} status={}",
            policy(settings),
            group.priority,
            group_state(group)
        );
        let paths: Vec<&PathStatus> =
            group.paths.iter().filter_map(|index| status.path(*index)).collect();
        for (place, path) in paths.iter().enumerate() {
            let leaf = if place + 1 == paths.len() { "`-" } else { "|-" };
            let _ = writeln!(
                text,
                "{stem} {leaf} {} {} {} {} {} {}",
                path.address,
                path.name,
                path.dev_t,
                dm_state(path),
                checker_state(path),
                device_state(path)
            );
        }
    }
    remarks(&mut text, status, settings);
    text
}

/// Why paths are out, how long requests queue, and which writes wait for which.
fn remarks(text: &mut String, status: &Status, settings: &Settings) {
    let _ = writeln!(text, "ghost writes: {}", settings.ghost);
    for path in &status.paths {
        if let Some((_, why)) = &path.failed {
            let _ = writeln!(text, "{}: {why}", path.name);
        } else if path.on_probation {
            let _ = writeln!(text, "{}: on probation: its next write is a trial", path.name);
        }
    }
    if let Some((since, failing)) = status.starved {
        let what = if failing { "requests fail" } else { "requests wait" };
        let _ = writeln!(
            text,
            "no path for {:.1} s: {what}; {} waiting, {} bytes",
            since.as_secs_f64(),
            status.queued,
            status.queued_bytes
        );
    }
    for held in &status.held {
        let name = status.path(held.path).map_or("a removed path", |path| &path.name);
        let end = held.sector + held.sectors - 1;
        let _ = writeln!(
            text,
            "sectors {}-{end}: given up on {name} {:.1} s ago and may still land; {} newer \
             write(s) wait; freed by {}",
            held.sector,
            held.since.as_secs_f64(),
            held.waiting,
            held.freed_by
        );
    }
}

/// What `dmsetup status` says after start, length and `multipath`.
///
/// `2 queue_io pg_init_count 0 groups next_group`, then for each group its state (`A`ctive,
/// `D`isabled, `E`nabled), `0`, the number of paths and of the selector's arguments, and for each
/// path its device, `A` or `F`, its count of failures and those arguments (Linux,
/// `drivers/md/dm-mpath.c`).
pub fn dm_status(status: &Status, settings: &Settings) -> String {
    let current = status.groups.iter().position(|group| group.current);
    let mut words = vec![
        "2".to_owned(),
        u8::from(status.waking.is_some()).to_string(),
        status.waking.unwrap_or(0).to_string(),
        "0".to_owned(),
        status.groups.len().to_string(),
        current.map_or(1, |group| group + 1).to_string(),
    ];
    for group in &status.groups {
        words.push(match group_state(group) {
            "active" => "A".to_owned(),
            "disabled" => "D".to_owned(),
            _ => "E".to_owned(),
        });
        let paths: Vec<&PathStatus> =
            group.paths.iter().filter_map(|index| status.path(*index)).collect();
        let args = settings.selector.status(&crate::selector::Load::default()).len();
        words.extend(["0".to_owned(), paths.len().to_string(), args.to_string()]);
        for path in paths {
            words.push(if path.dev_t.contains('#') {
                path.name.clone()
            } else {
                path.dev_t.clone()
            });
            words.push(if path.active { "A" } else { "F" }.to_owned());
            words.push(path.failures.to_string());
            words.extend(settings.selector.status(&path.load).iter().map(u64::to_string));
        }
    }
    words.join(" ")
}
