//! When monitors find out: never earlier than promised, never later.
//!
//! What happens is done by a command that takes some milliseconds itself, so the moment lies between
//! the time before and the time after it. The slack for a late verdict is two ticks and 20 ms.

use std::time::{Duration, SystemTime};

use super::Scenario;
use super::network::{Bond, Ground};

pub(super) fn add(all: &mut Vec<Scenario>) {
    all.push(Scenario::alone("times: carrier lost, miimon 100", || {
        cut("--miimon 100", 100, 0..=100)
    }));
    all.push(Scenario::alone("times: carrier lost, miimon 50, downdelay 200", || {
        cut("--miimon 50 --downdelay 200", 50, 200..=250)
    }));
    all.push(Scenario::alone("times: carrier back, miimon 50, updelay 200", || {
        mended("--miimon 50 --updelay 200", 50, 200..=250)
    }));
    all.push(Scenario::alone("times: carrier back, miimon 50", || {
        mended("--miimon 50", 50, 0..=50)
    }));
    all.push(Scenario::alone("times: silence on the active one, arp_interval 50", || {
        silent(true, 50, 100..=150)
    }));
    all.push(Scenario::alone("times: silence on another one, arp_interval 50", || {
        silent(false, 50, 150..=200)
    }));
    all.push(Scenario::alone("held up: the driver is stopped for a second", held_up));
    for mode in ["active-backup", "balance-xor"] {
        for updelay in [0, 200, 500, 1000, 2000, 5000, 10_000] {
            let name = format!("recovery at once: {mode}, updelay {updelay}");
            all.push(Scenario::new(name, move || recovery(mode, updelay)));
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_millis() as u64
}

/// When a sentence was last told, in milliseconds since 1970.
pub(super) fn told_at(bond: &Bond<'_>, sentence: &str) -> u64 {
    let said = bond.verb("events --past --json");
    let mut told = said
        .lines()
        .rev()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an object a line"));
    let found =
        told.find(|told| told["text"].as_str().is_some_and(|text| text.starts_with(sentence)));
    found.unwrap_or_else(|| panic!("{sentence}: {said}"))["unix_ms"].as_u64().expect("a number")
}

/// Does something, waits for a link to be so, and checks when that was found.
pub(super) fn within(
    bond: &Bond<'_>,
    tick_ms: u64,
    promise: std::ops::RangeInclusive<u64>,
    member: &str,
    link: &str,
    what: impl FnOnce(),
) -> String {
    let before = unix_ms();
    what();
    let after = unix_ms();
    bond.link_becomes(member, link);
    let story = bond.story();
    let found = story.iter().rev().find(|told| {
        told.starts_with(&format!("{member}: link")) && told.contains(&format!("-> {link} "))
    });
    let sentence = found.unwrap_or_else(|| panic!("{story:#?}")).clone();
    let at = told_at(bond, &sentence);
    let (earliest, latest) = (before + promise.start(), after + promise.end() + 2 * tick_ms + 20);
    // Times are whole milliseconds, cut off.
    assert!(at + 1 >= earliest, "{} ms too early: {sentence}", earliest - at);
    assert!(at <= latest, "{} ms too late: {sentence}", at - latest);
    format!("{} ms after (promised {}..{} ms)", at - before, promise.start(), promise.end())
}

fn cut(options: &str, tick: u64, promise: std::ops::RangeInclusive<u64>) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!("--mode active-backup {options} eth0 eth1"));
    bond.becomes_active("eth0");
    within(&bond, tick, promise, "eth0", "down", || ground.cable_is(0, false))
}

fn mended(options: &str, tick: u64, promise: std::ops::RangeInclusive<u64>) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!("--mode active-backup {options} eth0 eth1"));
    bond.link_becomes("eth1", "up");
    ground.cable_is(0, false);
    bond.link_becomes("eth0", "down");
    within(&bond, tick, promise, "eth0", "up", || ground.cable_is(0, true))
}

fn silent(of_active: bool, interval: u64, promise: std::ops::RangeInclusive<u64>) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!(
        "--mode active-backup --arp-interval {interval} --arp-ip-target 10.9.0.2 \
         --arp-validate all eth0 eth1"
    ));
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    let active = usize::from(bond.active() == "eth1");
    let member = if of_active { active } else { 1 - active };
    std::thread::sleep(Duration::from_millis(4 * interval));
    let name = format!("eth{member}");
    within(&bond, interval, promise, &name, "down", || ground.silence(member, true))
}

/// The driver was stopped for longer than any monitor waits: that is nobody else's fault.
fn held_up() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(
        "--mode active-backup --arp-interval 20 --arp-missed-max 3 --arp-validate all \
         --arp-ip-target 10.9.0.2 eth0 eth1",
    );
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    std::thread::sleep(Duration::from_millis(300));
    let changes =
        |bond: &Bond<'_>| bond.story().iter().filter(|told| told.contains(": link ")).count();
    let (before, pid) = (changes(&bond), bond.status()["pid"].as_u64().expect("a number"));
    ground.host.run(&format!("kill -STOP {pid}"));
    std::thread::sleep(Duration::from_secs(1));
    ground.host.run(&format!("kill -CONT {pid}"));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(changes(&bond), before, "{}", bond.verb("events --past"));
    assert!(ground.reaches("10.9.0.1"));
    "stopped for 1 s, 16 times what its monitor waits, and nobody is blamed".to_owned()
}

/// One link is back in the moment in which the other one goes: updelay is no reason to be deaf.
fn recovery(mode: &str, updelay: u32) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!("--mode {mode} --miimon 100 --updelay {updelay} eth0 eth1"));
    bond.link_becomes("eth1", "up");
    bond.link_becomes("eth0", "up");
    assert!(ground.reaches("10.9.0.1"));
    ground.cable_is(0, false);
    std::thread::sleep(Duration::from_secs(2));
    ground.switch.run("ip link set p0 up");
    ground.switch.run("ip link set p1 down");
    let start = std::time::Instant::now();
    bond.link_becomes("eth0", "up");
    assert!(ground.reaches("10.9.0.1"));
    let seconds = start.elapsed().as_secs_f64();
    let most = 3.0;
    assert!(seconds < most, "{seconds} s, with updelay {updelay}");
    format!("reached again after {seconds:.1} s")
}
