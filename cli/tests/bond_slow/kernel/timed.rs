//! What takes long, by the kernel's clock and by ours: learning frames and the next deal of flows
//! (balance-tlb, balance-alb), the wait for other ports and the judgement of churn (802.3ad).
//!
//! The kernel counts looks of 100 ms, each of which begins when the one before has ended. In this
//! guest, whose clock ticks a hundred times a second, a look takes 110 ms; what the kernel calls a
//! minute may take 66 s.

use std::ops::RangeInclusive;

use super::super::Scenario;
use super::{Seen, guest};

pub(super) fn add(all: &mut Vec<Scenario>) {
    all.push(Scenario::in_pairs("as the kernel: what takes long", || {
        let said = match guest("timed", &job()) {
            Ok(said) => said,
            Err(skipped) => return skipped,
        };
        let seen = Seen::read(&said);
        let outcome = std::panic::catch_unwind(|| checked(&seen));
        outcome.unwrap_or_else(|_| panic!("{}", said.join("\n")))
    }));
}

fn job() -> String {
    let mut job = String::new();
    for driver in ["kernel", "ours"] {
        for part in [
            format!("churns {driver}"),
            format!("unsynced {driver}"),
            format!("learns balance-tlb {driver} xmit_hash_policy=layer2+3"),
            format!("learns balance-alb {driver} lp_interval=2"),
        ] {
            let log = part.split(' ').take(3).collect::<Vec<_>>().join("-");
            job += &format!("{part} 2>/seen/{log}.log &\nall=\"$all $!\"\n");
        }
    }
    job + "wait $all\n"
}

/// The seconds at the end of each line that begins so.
fn times(lines: &[String], beginning: &str) -> Vec<f64> {
    let fitting = lines.iter().filter_map(|line| line.strip_prefix(beginning));
    fitting.map(|rest| rest.trim().parse().expect("seconds")).collect()
}

fn checked(seen: &Seen) -> String {
    let mut saw = Vec::new();
    for (number, driver) in ["kernel", "ours"].into_iter().enumerate() {
        let lines = |course: &str, event: &str| {
            let both = seen.0.get(&(course.to_owned(), event.to_owned()));
            both.map(|both| both[number].as_slice()).unwrap_or_default()
        };
        let tlb = ["dealt", "p0", "p1"].map(|event| lines("learns-balance-tlb", event));
        let alb = ["dealt", "p0", "p1"].map(|event| lines("learns-balance-alb", event));
        saw.push(format!(
            "{driver}: taught every {:.1} s (1), {:.1} s (2), dealt after {:.0} s and {:.0} s, {}, \
             churn after {:.0} s",
            taught(driver, &tlb[1..], 0.95..=1.25),
            taught(driver, &alb[1..], 1.9..=2.4),
            dealt_anew(driver, tlb),
            dealt_anew(driver, alb),
            waited(driver, lines("unsynced", "frames")),
            churned(driver, lines("churns", "end")),
        ));
    }
    saw.join("; ")
}

fn in_range(what: &str, seconds: f64, promise: RangeInclusive<f64>) -> f64 {
    assert!(promise.contains(&seconds), "{what}: {seconds:.2} s, not {promise:?}");
    seconds
}

/// Seconds between two learning frames, on each port: what half of them keep to, since the guest may
/// be held up.
fn taught(driver: &str, ports: &[&[String]], promise: RangeInclusive<f64>) -> f64 {
    let each = ports.iter().map(|lines| {
        let times = times(lines, "learning ");
        let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 4, "{driver}: {times:?}");
        gaps.sort_by(f64::total_cmp);
        in_range(&format!("{driver} teaches"), gaps[gaps.len() / 2], promise.clone())
    });
    each.fold(0.0, f64::max)
}

/// Seconds from one deal to the next: at first both flows, of which nothing is known, leave by the same
/// member, and then each by its own.
fn dealt_anew(driver: &str, [dealt, p0, p1]: [&[String]; 3]) -> f64 {
    let flow = |address: &str| {
        let on = |lines, port: u8| times(lines, address).into_iter().map(move |at| (at, port));
        let mut all: Vec<(f64, u8)> = on(p0, 0).chain(on(p1, 1)).collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        all
    };
    let (heavy, light) = (flow("10.9.0.4 "), flow("10.9.0.8 "));
    let first = heavy.first().expect("pings").1;
    assert_eq!(light.first().expect("pings").1, first, "{driver}: dealt by nothing");
    let moved = heavy.iter().chain(&light).filter(|(_, port)| *port != first);
    let moved = moved.map(|(at, _)| *at).reduce(f64::min).expect("one of them moves");
    // The second in which the member came back has begun up to a second before, and the command that
    // did it takes a while.
    let most = if driver == "ours" { 12.5 } else { 13.5 };
    in_range(&format!("{driver} deals"), moved - times(dealt, "")[0], 10.0..=most)
}

/// What a port sends that was used without a partner when one appears that is not in sync: nothing
/// (ours), or whatever it sent before (the kernel's; docs/bond.md). And once its cable was pulled and
/// put back, how long it waits for other ports.
fn waited(driver: &str, frames: &[String]) -> String {
    let (us, partner) = ("02:00:00:00:00:00", "02:00:00:00:01:00");
    let pulled = times(frames, "pulled ")[0];
    let first = |who: &str, state: &str, after: f64| {
        let found = times(frames, &format!("{who} {state} ")).into_iter().find(|at| *at > after);
        found.unwrap_or_else(|| panic!("{driver}: {who} is not {state} after {after}"))
    };
    assert!(times(frames, &format!("{partner} in-sync ")).is_empty(), "the partner is in sync");
    let appears = first(partner, "waiting", 0.0);
    let pings = times(frames, "ping ");
    assert!(pings.iter().any(|at| *at < appears), "{driver}: nothing was sent without a partner");
    let last = pings.into_iter().filter(|at| *at < pulled).fold(0.0, f64::max) - appears;
    let still = if driver == "ours" { -0.5..=0.4 } else { 2.5..=6.0 };
    in_range(&format!("{driver} still sends"), last, still);
    let waits = first(us, "waiting", pulled + 1.0);
    // The first of the two LACPDUs may have been held back for 0.3 s.
    let wait = in_range(&format!("{driver} waits"), first(us, "in-sync", waits) - waits, 1.6..=2.8);
    format!("waits {wait:.1} s")
}

fn churned(driver: &str, lines: &[String]) -> f64 {
    for sentence in ["Actor Churn State: none", "Partner Churn State: churned"] {
        assert!(lines.iter().any(|line| line == sentence), "{driver}: {lines:?}");
    }
    let seconds = lines.iter().find_map(|line| line.strip_prefix("seconds "));
    let seconds: Vec<f64> =
        seconds.expect("when").split(' ').map(|one| one.parse().expect("seconds")).collect();
    let [before, after, judged] = seconds[..] else { panic!("{driver}: {lines:?}") };
    // One look at the text takes a while, too.
    let most = if driver == "ours" { 62.0 } else { 68.0 };
    assert!(judged - after <= most, "{driver}: judged after {:.1} s", judged - after);
    in_range(&format!("{driver} judges"), judged - before, 60.0..=most + (after - before))
}
