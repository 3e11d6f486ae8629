//! Faults on a served array: of a plan, and by `holdfast inject`.
//!
//! Every member is behind a device that can be broken, so nothing here touches the engine: what goes
//! wrong with a member reaches it as it would from a disk.

use std::path::Path;

use holdfast_core::block::BlockDevice;
use holdfast_core::rng::Rng;
use holdfast_core::size::Human;
use holdfast_core::time::{Clock, Duration, Instant};
use holdfast_sim::inject::{BlowId, FaultPlan, Harm, InForce, Order, Schedule, orders};
use serde::Serialize;

use super::chronicle::names_beside;
use crate::config::{Selector, Serve};
use crate::control::protocol::Whose;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::session::Session;
use crate::text;

/// What a fault is told as, in the manner of mdadm's events.
pub(super) const INJECTED: &str = "FaultInjected";
/// What the end of a fault is told as.
pub(super) const MENDED: &str = "FaultMended";

/// Most faults that a served array has at once, those to come included.
const MOST_FAULTS: usize = 10_000;

/// How long a power cut waits for what has reached a device to be there.
const SETTLES: Duration = Duration::from_secs(20);

/// Faults to come, and those in force that end by themselves.
#[derive(Debug)]
pub(super) struct Faults {
    seed: u64,
    atomic_bytes: u64,
    schedule: Schedule<(usize, BlowId)>,
    /// Faults that end after a while, which begins when they strike.
    passing: Vec<(usize, BlowId, Duration)>,
    /// Who is breakable already.
    covered: usize,
    power_is_out: bool,
}

/// Something that was done to a member.
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) event: &'static str,
    pub(super) member: Option<usize>,
    pub(super) text: String,
}

/// A fault, for whoever asks.
#[derive(Debug, Serialize)]
struct Listed {
    member: String,
    fault: Harm,
    /// It has struck; if not, it waits for its moment.
    in_force: bool,
    /// Requests that come before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_requests: Option<u64>,
}

impl Faults {
    /// Those a server was started with; none if it is to be spared them.
    pub(super) fn of(config: &Serve, session: &mut Session) -> Result<Option<Self>, Failure> {
        let plan = match &config.fault {
            Some(path) => read(path)?,
            None if config.inject => FaultPlan::default(),
            None => return Ok(None),
        };
        let (schedule, power_is_out) = (Schedule::default(), false);
        let FaultPlan { seed, atomic_bytes, orders } = plan;
        let (passing, covered) = (Vec::new(), 0);
        let mut faults = Self { seed, atomic_bytes, schedule, passing, covered, power_is_out };
        faults.cover(session);
        let now = session.clock.now();
        for (index, order) in orders.into_iter().enumerate() {
            faults.take(order, session, now).map_err(|failure| {
                let plan = config.fault.as_deref().unwrap_or_else(|| Path::new("")).display();
                Failure::error(format!("--fault {plan}: fault {}: {failure}", index + 1))
            })?;
        }
        Ok(Some(faults))
    }

    /// Makes whoever has come breakable, too.
    pub(super) fn cover(&mut self, session: &mut Session) {
        let members = session.paths.len();
        for member in self.covered..members {
            let dice = Rng::stream(self.seed, member as u64);
            session.array.device_mut(member).make_breakable(self.atomic_bytes, dice);
        }
        self.covered = members;
    }

    /// Takes an order for later, or for the next turn.
    fn take(&mut self, order: Order, session: &Session, now: Instant) -> Result<(), Failure> {
        order.check().map_err(|error| Failure::usage(error.to_string()))?;
        if let Some(event) = &order.when
            && let Some(names) = names_beside(event)
        {
            let text = format!("when: nothing is called {event:?}");
            return Err(Failure::usage(text).hint(format!("what may happen: {names}")));
        }
        if let Some(word) = &order.member {
            let member = meant(word, session)?;
            order
                .blow(data_of(member, session))
                .map_err(|error| Failure::error(error.to_string()))?;
        }
        self.schedule.add(order, now);
        Ok(())
    }

    /// Something has happened to the array.
    pub(super) fn heard(&mut self, event: &str) {
        self.schedule.heard(event);
    }

    /// When a fault begins or ends next.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.schedule.poll_at()
    }

    /// Strikes with what is due and ends what is over.
    pub(super) fn turn(&mut self, session: &mut Session) -> Vec<Deed> {
        self.cover(session);
        let now = session.clock.now();
        let mut deeds = Vec::new();
        for (member, id) in self.schedule.take_over(now) {
            let Some(device) = session.array.device_mut(member).breakable() else { continue };
            let harm = device.faults().find(|fault| fault.id == id).map(|fault| fault.blow.harm);
            device.mend(id);
            let Some(harm) = harm else { continue };
            let text = format!("{harm} is over");
            deeds.push(Deed { event: MENDED, member: Some(member), text });
        }
        for order in self.schedule.take_due(now) {
            deeds.extend(self.strike(&order, session));
        }
        self.see_who_has_struck(session, now);
        deeds
    }

    /// The time of a fault that has waited for requests begins now.
    fn see_who_has_struck(&mut self, session: &mut Session, now: Instant) {
        for (member, id, span) in std::mem::take(&mut self.passing) {
            let Some(device) = session.array.device_mut(member).breakable() else { continue };
            match device.faults().find(|fault| fault.id == id).map(|fault| fault.waits) {
                Some(None) => self.schedule.end_after(span, now, (member, id)),
                Some(Some(_)) => self.passing.push((member, id, span)),
                None => {}
            }
        }
    }

    fn strike(&mut self, order: &Order, session: &mut Session) -> Option<Deed> {
        let Some(word) = &order.member else {
            return self.cut_power(session);
        };
        // Whoever is meant may have left the array while the order waited.
        let member = meant(word, session).ok()?;
        let blow = order.blow(data_of(member, session)).ok()?;
        let device = session.array.device_mut(member).breakable()?;
        let id = device.strike(blow);
        if let Some(ms) = order.for_ms {
            self.passing.push((member, id, Duration::from_millis(ms)));
        }
        Some(Deed { event: INJECTED, member: Some(member), text: sentence(order) })
    }

    fn cut_power(&mut self, session: &mut Session) -> Option<Deed> {
        self.power_is_out = true;
        for member in 0..session.paths.len() {
            if let Some(device) = session.array.device_mut(member).breakable() {
                device.power_fails();
            }
        }
        let text = "the power of all members fails".to_owned();
        Some(Deed { event: INJECTED, member: None, text })
    }

    /// Whether the power has failed: nothing may be done any more but to [go down](go_down).
    pub(super) const fn power_is_out(&self) -> bool {
        self.power_is_out
    }

    /// As `holdfast inject`.
    pub(super) fn inject(
        &mut self,
        order: &Order,
        session: &mut Session,
        report: &Report,
    ) -> Outcome {
        if self.listed(session).len() >= MOST_FAULTS {
            return Err(Failure::error(format!("there are {MOST_FAULTS} faults already"))
                .hint("holdfast inject mend ends them"));
        }
        let now = session.clock.now();
        self.take(order.clone(), session, now)?;
        let whom = order.member.as_deref().unwrap_or("all members");
        report.line(format_args!("{whom}: {}", sentence(order)));
        report.answer(order);
        Ok(Exit::Good)
    }

    /// As `holdfast inject mend`.
    pub(super) fn mend(
        &mut self,
        whose: &Whose,
        session: &mut Session,
        report: &Report,
    ) -> Outcome {
        let only = whose.member.as_deref().map(|word| meant(word, session)).transpose()?;
        let listed = self.listed(session);
        for member in 0..session.paths.len() {
            if only.is_none_or(|only| only == member)
                && let Some(device) = session.array.device_mut(member).breakable()
            {
                device.mend_all();
            }
        }
        let is_meant = |order: &Order| {
            let meant = order.member.as_deref().map(|word| meant(word, session));
            only.is_none() || meant.is_some_and(|member| member.ok() == only)
        };
        self.schedule.call_off(is_meant);
        let left = self.listed(session);
        let gone = listed.len() - left.len();
        report.line(format_args!("faults ended or called off: {gone}"));
        report.answer(&serde_json::json!({ "ended": gone, "left": left.len() }));
        Ok(Exit::Good)
    }

    /// As `holdfast inject list`.
    pub(super) fn list(&self, session: &mut Session, report: &Report) -> Outcome {
        let listed = self.listed(session);
        for Listed { member, fault, in_force, after_requests } in &listed {
            let when = match (in_force, after_requests) {
                (true, _) => "in force".to_owned(),
                (false, Some(requests)) => format!("after {requests} requests"),
                (false, None) => "waits".to_owned(),
            };
            report.line(format_args!("{member}: {fault}: {when}"));
        }
        if listed.is_empty() {
            report.line("no faults");
        }
        report.answer(&serde_json::json!({ "faults": listed }));
        Ok(Exit::Good)
    }

    fn listed(&self, session: &mut Session) -> Vec<Listed> {
        let mut listed = Vec::new();
        for member in 0..session.paths.len() {
            let name = session.path(member).display().to_string();
            let Some(device) = session.array.device_mut(member).breakable() else { continue };
            listed.extend(device.faults().map(|InForce { blow, waits, .. }| Listed {
                member: name.clone(),
                fault: blow.harm,
                in_force: waits.is_none(),
                after_requests: *waits,
            }));
        }
        listed.extend(self.schedule.waiting().map(|order| Listed {
            member: order.member.clone().unwrap_or_else(|| "all members".to_owned()),
            fault: order.fault,
            in_force: false,
            after_requests: None,
        }));
        listed
    }
}

/// After a power cut: waits until what has reached the devices is there.
pub(super) fn go_down(session: &mut Session) {
    let until = session.clock.now() + SETTLES;
    let mut unheard = Vec::new();
    loop {
        let now = session.clock.now();
        let mut still = true;
        for member in 0..session.paths.len() {
            let device = session.array.device_mut(member);
            device.poll(now, &mut unheard);
            still &= device.breakable().is_none_or(|device| device.is_still());
        }
        if still || now >= until {
            return;
        }
        session.clock.wait(Some(now + Duration::from_millis(1)));
    }
}

fn read(path: &Path) -> Result<FaultPlan, Failure> {
    let failed = |why: String| {
        Failure::error(format!("--fault {}: {}", path.display(), why.trim_end()))
            .hint("docs/inject.md describes plans")
    };
    orders(&text::read(path)?).map_err(failed)
}

/// The member that is meant.
fn meant(word: &str, session: &Session) -> Result<usize, Failure> {
    session.select(&Selector::parse(word)?)
}

/// The sectors of a member's data.
fn data_of(member: usize, session: &Session) -> std::ops::Range<u64> {
    let status = session.status();
    let start = status.members[member].data_offset;
    let device = session.array.device(member).geometry().sectors;
    let most = device.saturating_sub(start);
    // linear and raid0 have members of different sizes: what lies behind the superblock is theirs.
    let sectors = if status.member_sectors == 0 { most } else { status.member_sectors.min(most) };
    start..start + sectors
}

/// What an order does, as a sentence without its subject.
fn sentence(order: &Order) -> String {
    let mut text = order.fault.to_string();
    let mut add = |part: String| {
        text.push_str(", ");
        text.push_str(&part);
    };
    if let Some(length) = order.length_bytes {
        add(format!("{} from {}", Human(length), Human(order.from_bytes.unwrap_or(0))));
    } else if let Some(from) = order.from_bytes {
        add(format!("from {} on", Human(from)));
    }
    if let Some(times) = order.times {
        add(format!("{times} times"));
    }
    if let Some(delay) = order.delay_ms {
        add(format!("{delay} ms a request"));
    }
    if let Some(by) = order.by_bytes {
        add(format!("{} further on", Human(by)));
    }
    if let Some(after) = order.after_ms {
        add(format!("in {after} ms"));
    }
    if let Some(event) = &order.when {
        add(format!("at {event}"));
    }
    if let Some(requests) = order.after_requests {
        add(format!("after {requests} requests"));
    }
    if let Some(span) = order.for_ms {
        add(format!("for {span} ms"));
    }
    text
}
