//! Judges a run by what was done to the network.

use std::collections::BTreeSet;
use std::fmt;

use holdfast_bond::options::{Reselect, Validate};
use holdfast_bond::{ActiveReason, Event, LinkReason, LinkState, MemberId, Mode, Options, What};
use holdfast_core::time::{Duration, Instant};

use super::script::{Setup, parse};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// In active-backup one member sends.
    OneActive,
    /// No frame is handed up twice.
    Once,
    /// Frames of a flow keep their order.
    Order,
    /// Failover happens inside the monitor's window.
    Window,
    /// Service is there whenever there is a way that the monitor can see.
    Service,
    /// Carrier says whether the bond can be used.
    Carrier,
    /// The primary is active whenever its policy says so.
    Primary,
    /// Neighbours hear of every change of the active member.
    Announced,
    /// A run is the same again.
    Determinism,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub oracle: Oracle,
    /// When it was noticed.
    pub at: Instant,
    /// How.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.oracle, self.at, self.detail)
    }
}

/// A port as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortNow {
    /// It has carrier.
    pub carrier: bool,
    /// Frames pass from it to the host and back.
    pub path: bool,
    /// Frames come in from its switch.
    pub hears: bool,
}

/// What must be the case when things have settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Every flow passes both ways.
    Service,
    /// There is a fault that the monitor cannot see.
    Outage,
    /// There is no way at all.
    Anything,
}

/// What a change of a port was: when, and what it is since.
type Changes = Vec<(Instant, bool)>;

/// What was done to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    carrier: Changes,
    path: Changes,
    clear: Changes,
    /// When the stack itself asked the host: an answer counts as if the monitor had asked.
    asked: Vec<Instant>,
}

impl History {
    /// Nothing yet.
    pub fn new(at: Instant) -> Self {
        let well = vec![(at, true)];
        Self { carrier: well.clone(), path: well.clone(), clear: well, asked: Vec::new() }
    }

    /// The stack asks.
    pub fn ask(&mut self, at: Instant) {
        self.asked.push(at);
    }

    /// What it is now.
    pub fn record(&mut self, at: Instant, carrier: bool, path: bool, clear: bool) {
        let lists =
            [(&mut self.carrier, carrier), (&mut self.path, path), (&mut self.clear, clear)];
        for (list, now) in lists {
            if list.last().is_none_or(|(_, before)| *before != now) {
                list.push((at, now));
            }
        }
    }
}

/// Whether something was `value` all the time from `from` to `to`.
fn always(changes: &Changes, value: bool, from: Instant, to: Instant) -> bool {
    let before =
        changes.iter().rev().find(|(at, _)| *at <= from).is_none_or(|(_, was)| *was == value);
    before && changes.iter().filter(|(at, _)| *at > from && *at <= to).all(|(_, was)| *was == value)
}

/// Whether something was `value` for at least `span` at a time between `from` and `to`.
fn longer_than(changes: &Changes, value: bool, span: Duration, from: Instant, to: Instant) -> bool {
    changes.iter().enumerate().any(|(place, (at, was))| {
        let until = changes.get(place + 1).map_or(to, |(next, _)| (*next).min(to));
        *was == value && until > from && until - (*at).max(from) >= span
    })
}

fn ms(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Whether the monitor sees every fault of every member's path. Where backups are not examined a
/// neighbour's questions keep those up that lead nowhere, and they take turns.
fn sees_paths(options: &Options) -> bool {
    let asks = options.probe_all && sees_active_path(options);
    options.mode == Mode::Lacp
        || options.probes() && (options.arp_validate == Validate::All || asks)
}

/// Whether members that hear but are not heard may take turns although another one would work: each
/// hears the other's questions, and so is up until it is the active one.
fn may_take_turns(options: &Options, ports: &[PortNow]) -> bool {
    let half = |port: &PortNow| port.hears && !port.path;
    let primary = primary_of(options).is_some_and(|primary| half(&ports[primary]));
    let blind = options.probes() && !options.probe_all;
    blind && (primary || ports.iter().filter(|port| half(port)).count() > 1)
}

fn primary_of(options: &Options) -> Option<usize> {
    options.primary.as_ref()?.strip_prefix("eth")?.parse().ok()
}

/// Whether the monitor sees every fault of the active member's path.
fn sees_active_path(options: &Options) -> bool {
    let strong = [Validate::Active, Validate::All, Validate::FilterActive];
    options.probes() && strong.contains(&options.arp_validate)
}

/// How long everything may take to settle.
pub fn patience(options: &Options, setup: &Setup) -> Duration {
    let slack = ms(500);
    if options.mode == Mode::Lacp {
        let slow = [options.lacp_rate, parse(&setup.partner).lacp_rate]
            .iter()
            .any(|rate| rate.number() == 0);
        // A port that has given its partner up speaks every 30 s, whatever the rate.
        return Duration::from_secs(if slow { 230 } else { 45 }) + slack;
    }
    if options.probes() {
        let beats = u32::from(options.arp_missed_max) + 8 + 2 * setup.members as u32;
        return ms(options.arp_interval_ms) * beats + slack;
    }
    let mii = ms(options.miimon()) * 3 + ms(options.updelay_ms) + ms(options.downdelay_ms) + slack;
    let partner = if setup.is_direct() { ms(400) } else { Duration::ZERO };
    let adaptive =
        if options.mode.is_adaptive() { Duration::from_secs(12) } else { Duration::ZERO };
    mii + partner + adaptive
}

/// What must be the case when things have settled, with this port active.
pub fn expectation(options: &Options, ports: &[PortNow], active: Option<usize>) -> Expect {
    let any = ports.iter().any(|port| port.path);
    let used: Vec<_> = ports.iter().filter(|port| port.carrier).collect();
    let all = !used.is_empty() && used.iter().all(|port| port.path);
    let through_active = active.is_some_and(|active| ports[active].path);
    match options.mode {
        _ if !any => Expect::Anything,
        Mode::Lacp | Mode::Broadcast => Expect::Service,
        Mode::ActiveBackup if may_take_turns(options, ports) => Expect::Anything,
        Mode::ActiveBackup if sees_paths(options) || all || through_active => Expect::Service,
        Mode::ActiveBackup => Expect::Outage,
        _ if all => Expect::Service,
        _ => Expect::Outage,
    }
}

/// What else must be the case then.
pub fn settled(
    options: &Options,
    ports: &[PortNow],
    carrier: bool,
    active: Option<usize>,
    at: Instant,
) -> Option<Violation> {
    let any = ports.iter().any(|port| port.carrier);
    let way = ports.iter().any(|port| port.path);
    let expected = match options.mode {
        // Without a partner one port is used, unless that is forbidden.
        Mode::Lacp if options.lacp_strict => Some(way),
        Mode::Lacp if way || !any => Some(way),
        Mode::Lacp => None,
        _ if !options.probes() => Some(any),
        _ if sees_paths(options) && !may_take_turns(options, ports) => Some(way),
        _ => None,
    };
    if let Some(expected) = expected.filter(|expected| *expected != carrier) {
        let detail = format!("carrier is {carrier}, not {expected}: {ports:?}");
        return Some(Violation { oracle: Oracle::Carrier, at, detail });
    }
    let primary = primary_of(options).filter(|_| !may_take_turns(options, ports))?;
    let seen = if options.probes() {
        sees_paths(options) && ports[primary].path
    } else {
        ports[primary].carrier
    };
    let wanted = options.mode.has_active() && options.primary_reselect == Reselect::Always && seen;
    // A backup that is examined hears the bond's question only on a working path of the active one.
    (wanted && active != Some(primary)).then(|| {
        let detail = format!("eth{primary} is there, and {active:?} is active");
        Violation { oracle: Oracle::Primary, at, detail }
    })
}

/// Whether an event is a change of who carries traffic.
pub const fn is_switch(event: &Event) -> bool {
    matches!(event.what, What::Active { .. } | What::Aggregator { .. })
}

/// A run that is over.
#[derive(Debug)]
pub struct Run<'a> {
    /// The options.
    pub options: &'a Options,
    /// The member of each port.
    pub members: &'a [MemberId],
    /// What was done to each port.
    pub history: &'a [History],
    /// What the bond reported.
    pub log: &'a [Event],
    /// Ports that left and joined again: their clocks began anew.
    pub rejoined: &'a BTreeSet<usize>,
    /// When it ended.
    pub end: Instant,
}

/// A change of a member's link, as reported.
struct Change {
    at: Instant,
    from: LinkState,
    to: LinkState,
    why: LinkReason,
}

impl Run<'_> {
    /// The first promise that was broken.
    pub fn judge(&self) -> Option<Violation> {
        let steady = (0..self.members.len()).filter(|port| !self.rejoined.contains(port));
        let windows = steady.filter_map(|port| match self.options.probes() {
            true => self.judge_probes(port),
            false => self.judge_mii(port),
        });
        windows
            .into_iter()
            .next()
            .or_else(|| self.judge_failover())
            .or_else(|| self.judge_announcements())
    }

    fn changes(&self, port: usize) -> Vec<Change> {
        let own = |event: &Event| match event.what {
            What::Link { member, from, to, why } if member == self.members[port] => {
                Some(Change { at: event.at, from, to, why })
            }
            _ => None,
        };
        self.log.iter().filter_map(own).collect()
    }

    fn state_at(changes: &[Change], at: Instant) -> LinkState {
        let before = changes.iter().rev().find(|change| change.at <= at);
        let first = changes.first().map_or(LinkState::Up, |change| change.from);
        before.map_or(first, |change| change.to)
    }

    /// MII: a link that is lost is given up, and one that is back is used, neither earlier nor later
    /// than the options say.
    fn judge_mii(&self, port: usize) -> Option<Violation> {
        let (beat, down, up) =
            (ms(self.options.miimon()), ms(self.options.downdelay_ms), ms(self.options.updelay_ms));
        let (changes, carrier) = (self.changes(port), &self.history[port].carrier);
        let accuse = |at, detail: String| {
            Some(Violation { oracle: Oracle::Window, at, detail: format!("eth{port} {detail}") })
        };
        for change in changes
            .iter()
            .filter(|change| change.to == LinkState::Down && change.from != LinkState::Back)
        {
            // What comes back for less than one look may not be seen to have been back.
            let mut lost = carrier.iter().filter(|(_, there)| !there).map(|(at, _)| *at);
            let cause = lost.any(|at| {
                at + down <= change.at
                    && change.at <= at + down + beat
                    && !longer_than(carrier, true, beat, at, change.at)
            });
            if !cause {
                return accuse(
                    change.at,
                    format!("given up without cause, or not in time ({:?})", change.why),
                );
            }
        }
        for &(at, there) in carrier.iter().skip(1) {
            let (state, limit) =
                (Self::state_at(&changes, at), if there { up } else { down } + beat);
            if at + limit > self.end || !always(carrier, there, at, at + limit) {
                continue;
            }
            let arrived = |to| {
                changes
                    .iter()
                    .find(|change| change.to == to && change.at >= at && change.at <= at + limit)
            };
            if !there && state == LinkState::Up && arrived(LinkState::Down).is_none() {
                return accuse(at + limit, "not given up in time".to_owned());
            }
            if there && state == LinkState::Down {
                let Some(change) = arrived(LinkState::Up) else {
                    return accuse(at + limit, "not used in time".to_owned());
                };
                let early = change.at < at + up;
                if early && !matches!(change.why, LinkReason::NoneUsable | LinkReason::MadeActive) {
                    return accuse(change.at, "used too early".to_owned());
                }
                if let Some(violation) = self.judge_only_hope(port, at, change.at) {
                    return Some(violation);
                }
            }
        }
        None
    }

    /// If no member was usable when this one came back, `updelay` is not waited for.
    fn judge_only_hope(&self, port: usize, back: Instant, used: Instant) -> Option<Violation> {
        let alone = (0..self.members.len()).filter(|other| *other != port).all(|other| {
            !self.rejoined.contains(&other)
                && always(&self.history[other].carrier, false, back, used)
                && Self::state_at(&self.changes(other), back) == LinkState::Down
        });
        let late = used > back + ms(self.options.miimon());
        (alone && late).then(|| {
            let detail = format!("eth{port} was the only one, and was waited for from {back} on");
            Violation { oracle: Oracle::Window, at: used, detail }
        })
    }

    /// ARP and NS: an active member whose path is lost falls at the tick that the options say, and
    /// none falls without cause.
    fn judge_probes(&self, port: usize) -> Option<Violation> {
        if !sees_active_path(self.options) {
            return None;
        }
        let beat = ms(self.options.arp_interval_ms);
        let missed = u32::from(self.options.arp_missed_max);
        let (changes, history) = (self.changes(port), &self.history[port]);
        let grace = beat * (missed + 3);
        for &(at, there) in history.path.iter().skip(1) {
            // An answer between two ticks is up to half an interval nearer to the next judgement.
            let asked = history.asked.iter().any(|asked| *asked + beat * 2 > at && *asked <= at);
            let (least, limit) = match asked {
                false => (beat * missed, beat * (missed + 1)),
                true => (beat * missed - beat / 2, beat * (missed + 1) + beat / 2),
            };
            let long_active = self.active_throughout(port, before(at, grace), at);
            let calm = always(&history.path, true, before(at, grace), before(at, ms(1)))
                && always(&history.clear, true, before(at, grace), at + limit);
            if there
                || !long_active
                || !calm
                || at + limit > self.end
                || !always(&history.path, false, at, at + limit)
            {
                continue;
            }
            let fell = changes.iter().find(|change| change.to == LinkState::Down && change.at > at);
            let early = at + least;
            let moved = !self.active_throughout(port, at, before(at + limit, ms(1)));
            match fell {
                Some(change) if change.at <= at + limit + ms(1) && change.at + ms(2) >= early => {}
                _ if moved => {}
                other => {
                    let at_last = other.map(|change| change.at);
                    let detail = format!("eth{port} lost its path at {at} and fell at {at_last:?}");
                    return Some(Violation { oracle: Oracle::Window, at: at + limit, detail });
                }
            }
        }
        for change in changes.iter().filter(|change| change.to == LinkState::Down) {
            let since = before(change.at, grace);
            let well = always(&history.path, true, since, change.at)
                && always(&history.clear, true, since, change.at);
            if well && self.active_throughout(port, since, before(change.at, ms(1))) {
                let detail = format!("eth{port} fell without cause");
                return Some(Violation { oracle: Oracle::Window, at: change.at, detail });
            }
        }
        None
    }

    /// Whether a port was the active one from `from` to `to`.
    fn active_throughout(&self, port: usize, from: Instant, to: Instant) -> bool {
        let member = self.members[port];
        let mut active = None;
        for event in self.log.iter().filter(|event| event.at <= to) {
            if let What::Active { to: now, .. } = event.what {
                if event.at > from {
                    return false;
                }
                active = now;
            }
        }
        active == Some(member)
    }

    /// Whenever the active member is given up another one that is up takes over at once.
    fn judge_failover(&self) -> Option<Violation> {
        if !self.options.mode.has_active() || !self.rejoined.is_empty() {
            return None;
        }
        let mut active = None;
        for (at, event) in self.log.iter().enumerate() {
            match event.what {
                What::Active { to, .. } => active = to,
                What::Link { member, to: LinkState::Down, .. } if active == Some(member) => {
                    let rest = self.log[at..].iter().take_while(|later| later.at == event.at);
                    let moved = rest.clone().any(|later| matches!(later.what, What::Active { .. }));
                    if !moved {
                        let detail = format!("{member} is given up, and stays the active one");
                        return Some(Violation { oracle: Oracle::Window, at: event.at, detail });
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// After every change of the active member its neighbours hear of it as often as they must,
    /// unless it changes again before.
    fn judge_announcements(&self) -> Option<Violation> {
        if self.options.mode != Mode::ActiveBackup || self.options.num_peer_notif == 0 {
            return None;
        }
        let gap = ms(self.options.miimon().max(self.options.arp_interval_ms));
        for (place, event) in self.log.iter().enumerate() {
            match event.what {
                What::Active { to: Some(_), why, .. } if why != ActiveReason::Added => {}
                _ => continue,
            }
            let (at, rest) = (event.at, &self.log[place + 1..]);
            let until = rest.iter().position(is_switch).unwrap_or(rest.len());
            let next = rest.get(until).map_or(self.end, |event| event.at);
            let wanted = u32::from(self.options.num_peer_notif);
            if next <= at + gap * wanted {
                continue;
            }
            let told = |event: &&Event| matches!(event.what, What::Announced { .. });
            let times: Vec<_> = rest[..until].iter().filter(told).map(|event| event.at).collect();
            let right = times.len() == wanted as usize
                && times.first() == Some(&at)
                && times.windows(2).all(|two| two[1] - two[0] == gap);
            if !right {
                let detail =
                    format!("announced at {times:?}, {wanted} times from {at} on were due");
                return Some(Violation { oracle: Oracle::Announced, at, detail });
            }
        }
        None
    }
}

fn before(at: Instant, span: Duration) -> Instant {
    Instant::from_nanos(at.as_nanos().saturating_sub(span.as_nanos() as u64))
}
