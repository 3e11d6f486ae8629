//! What the ARP monitor promises beyond silence: time for newcomers, a quick return, and in the modes
//! that use every member a verdict on each.
//!
//! The slack for what is late is two ticks and 20 ms, as in `delays`.

use super::Scenario;
use super::delays::{told_at, within};
use super::network::{Bond, Ground};
use super::sniff::{Sniffer, heard_at};

/// Milliseconds between two ticks.
const INTERVAL: u64 = 100;

pub(super) fn add(all: &mut Vec<Scenario>) {
    all.push(Scenario::alone("times: nobody is judged soon after joining", joined));
    all.push(Scenario::alone("times: nobody is judged soon after activation", activated));
    all.push(Scenario::alone("times: heard again, arp_interval 100", heard_again));
    for mode in ["balance-rr", "balance-xor", "broadcast"] {
        all.push(Scenario::alone(format!("times: deaf, {mode}, arp_interval 100"), move || {
            deaf(mode)
        }));
    }
}

fn bond<'a>(ground: &'a Ground, words: &str) -> Bond<'a> {
    ground.bond(&format!("--arp-interval {INTERVAL} --arp-ip-target 10.9.0.2 {words}"))
}

/// That two things were told, one so many milliseconds after the other.
#[track_caller]
fn between(
    bond: &Bond<'_>,
    first: &str,
    then: &str,
    promise: std::ops::RangeInclusive<u64>,
) -> String {
    bond.comes_true(then, |bond| bond.story().iter().any(|told| told.starts_with(then)));
    let after = told_at(bond, then).saturating_sub(told_at(bond, first));
    assert!(after + 1 >= *promise.start(), "{after} ms: too early: {:#?}", bond.story());
    assert!(
        after <= promise.end() + 2 * INTERVAL + 20,
        "{after} ms: too late: {:#?}",
        bond.story()
    );
    format!("{after} ms after (promised {}..{} ms)", promise.start(), promise.end())
}

/// A member that never hears anything has two and a half intervals all the same, where one missed
/// answer would be enough later.
fn joined() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = bond(&ground, "--mode active-backup --arp-validate all --arp-missed-max 1 eth0");
    bond.link_becomes("eth0", "up");
    ground.silence(1, true);
    bond.verb("add eth1");
    let judged = "eth1: link up -> down (silent)";
    between(&bond, "eth1 joined, link up", judged, INTERVAL * 5 / 2..=INTERVAL * 7 / 2)
}

/// The same for one that was made the active one.
fn activated() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond =
        bond(&ground, "--mode active-backup --arp-validate all --arp-missed-max 1 eth0 eth1");
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    std::thread::sleep(std::time::Duration::from_millis(4 * INTERVAL));
    let active = bond.active();
    let (number, other) = if active == "eth0" { (1, "eth1") } else { (0, "eth0") };
    ground.silence(number, true);
    bond.verb(&format!("activate {other}"));
    between(
        &bond,
        &format!("active {active} -> {other} (asked for)"),
        &format!("{other}: link up -> down (silent)"),
        INTERVAL * 5 / 2..=INTERVAL * 7 / 2,
    )
}

/// A member is up again within one and a half intervals of the first frame that counts.
fn heard_again() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = bond(&ground, "--mode active-backup --arp-validate all eth0 eth1");
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    let (number, other) = if bond.active() == "eth0" { (1, "eth1") } else { (0, "eth0") };
    ground.silence(number, true);
    bond.link_becomes(other, "down");
    let sniffer = Sniffer::listen(&ground.host, other, "-Q in arp");
    ground.silence(number, false);
    bond.link_becomes(other, "up");
    let up = told_at(&bond, &format!("{other}: link down -> up (heard)"));
    let heard = sniffer.heard();
    let asked = "who-has 10.9.0.2 tell 10.9.0.1";
    let first = heard.iter().find(|line| line.contains(asked));
    let first = heard_at(first.unwrap_or_else(|| panic!("nothing heard: {heard:#?}")));
    assert!(up + 1 >= first, "up {} ms before it was heard", first - up);
    let after = up.saturating_sub(first);
    let most = INTERVAL * 3 / 2;
    assert!(after <= most + 2 * INTERVAL + 20, "{after} ms after it was heard");
    format!("{after} ms after it was heard (promised 0..{most} ms)")
}

/// A member whose questions still leave, but that hears nothing, is down; and up as soon as it hears.
fn deaf(mode: &str) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    // A switch that takes both ports for one.
    for port in ["p0", "p1"] {
        ground.switch.run(&format!("bridge link set dev {port} learning off flood on"));
    }
    ground.switch.run("tc qdisc add dev p1 clsact");
    let bond = bond(&ground, &format!("--mode {mode} eth0 eth1"));
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    std::thread::sleep(std::time::Duration::from_millis(4 * INTERVAL));
    let down = within(&bond, INTERVAL, 2 * INTERVAL..=3 * INTERVAL, "eth1", "down", || {
        // What the switch would send there, its own frames included, is shot.
        let mut command = ground.switch.command("tc filter add dev p1 egress bpf da bytecode");
        assert!(command.arg("1,6 0 0 2").status().expect("tc runs").success());
    });
    assert_eq!(bond.link("eth0"), "up", "{:#?}", bond.story());
    let sniffer = Sniffer::listen(&ground.switch, "p1", "-Q in arp");
    std::thread::sleep(std::time::Duration::from_millis(3 * INTERVAL));
    let asked = sniffer.heard().iter().filter(|line| line.contains("who-has 10.9.0.2")).count();
    assert!(asked >= 1, "it asks no longer");
    // Heard after the next question, seen at the tick after that.
    let up = within(&bond, INTERVAL, 0..=2 * INTERVAL, "eth1", "up", || {
        ground.switch.run("tc filter delete dev p1 egress");
    });
    assert!(ground.reaches("10.9.0.1"));
    format!("down {down}, up {up}")
}
