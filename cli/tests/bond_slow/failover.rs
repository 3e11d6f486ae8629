//! Traffic while members die: how long it stops, and what is lost or seen twice.

use std::time::Duration;

use super::Scenario;
use super::network::{Answers, Ground};

pub(super) fn add(all: &mut Vec<Scenario>) {
    for (miimon, most_ms) in [(100, 250), (10, 60)] {
        let name = format!("failover with miimon {miimon} under {most_ms} ms");
        all.push(Scenario::alone(name, move || pulled_cables(miimon, most_ms)));
    }
    all.push(Scenario::alone("failover with arp_interval 20 x 3 under 150 ms", silent_uplinks));
    all.push(Scenario::alone("tcp at least 55 % of a plain path", throughput));
    all.push(Scenario::alone("probes are answered under a flood", flood));
    all.push(Scenario::alone("tcp goes on while members die", stream));
}

/// Pings through failovers there and back; the longest silence.
fn measured(ground: &Ground, most_ms: u64, mut break_it: impl FnMut()) -> String {
    assert!(ground.reaches("10.9.0.1"));
    let pings = ground.pings(3.5);
    break_it();
    let answers = Answers::read(&pings.said());
    let gap = answers.longest_gap;
    assert!(answers.answers > 100, "the client itself was held up: {answers:?}");
    assert_eq!(answers.duplicates, 0);
    assert!(gap < Duration::from_millis(most_ms), "longest gap {gap:?}");
    format!("longest gap {} ms, {} answers, none twice", gap.as_millis(), answers.answers)
}

fn rest(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn pulled_cables(miimon: u32, most_ms: u64) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!("--mode active-backup --miimon {miimon} eth0 eth1"));
    bond.becomes_active("eth0");
    measured(&ground, most_ms, || {
        rest(400);
        for member in [0, 1, 0] {
            ground.cable_is(member, false);
            rest(500);
            ground.cable_is(member, true);
            rest(400);
        }
    })
}

fn silent_uplinks() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(
        "--mode active-backup --arp-interval 20 --arp-missed-max 3 --arp-validate all \
         --arp-ip-target 10.9.0.2 eth0 eth1",
    );
    bond.link_becomes("eth1", "up");
    bond.link_becomes("eth0", "up");
    let first = usize::from(bond.active() == "eth1");
    measured(&ground, 150, || {
        rest(400);
        for member in [first, 1 - first] {
            ground.silence(member, true);
            rest(700);
            ground.silence(member, false);
            rest(700);
        }
    })
}

/// TCP from the host to the client, in Mbit/s.
fn iperf(ground: &Ground, words: &str) -> f64 {
    let server = ground.client.start("iperf3 --server --one-off");
    rest(300);
    let said = ground.host.run(&format!("iperf3 --json {words}"));
    drop(server);
    let report: serde_json::Value = serde_json::from_str(&said).expect("iperf3 speaks JSON");
    report["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate") / 1e6
}

fn throughput() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    // The plain path: one more cable to the same switch, without a bond.
    ground.cable(7);
    ground.host.run("ip link set eth7 up");
    ground.host.run("ip address add 10.9.7.1/24 dev eth7");
    ground.client.run("ip address add 10.9.7.2/24 dev eth0");
    let _bond = ground.bond("--mode active-backup --miimon 100 eth0 eth1");
    assert!(ground.reaches("10.9.0.1"));
    let plain = iperf(&ground, "--client 10.9.7.2 --time 2 --omit 1");
    let bonded = iperf(&ground, "--client 10.9.0.2 --time 2 --omit 1");
    let back = iperf(&ground, "--client 10.9.0.2 --time 2 --omit 1 --reverse");
    let part = bonded / plain;
    assert!(part >= 0.55, "{bonded:.0} of {plain:.0} Mbit/s: {:.0} %", part * 100.0);
    format!("{bonded:.0} out, {back:.0} back, plain {plain:.0} Mbit/s: {:.0} %", part * 100.0)
}

/// Small packets as fast as they go, both ways: what monitors wait for does not wait behind them.
fn flood() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(
        "--mode active-backup --arp-interval 50 --arp-missed-max 3 --arp-validate all \
         --arp-ip-target 10.9.0.2 eth0 eth1",
    );
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    rest(300);
    let changes = || bond.story().iter().filter(|told| told.contains(": link ")).count();
    let before = changes();
    let mut packets = 0;
    for back in ["", "--reverse"] {
        let server = ground.client.start("iperf3 --server --one-off");
        rest(300);
        let words = "--udp --bitrate 0 --length 64 --time 2 --client 10.9.0.2";
        let said = ground.host.run(&format!("iperf3 --json {words} {back}"));
        drop(server);
        let report: serde_json::Value = serde_json::from_str(&said).expect("iperf3 speaks JSON");
        packets += report["end"]["sum"]["packets"].as_u64().expect("a number");
    }
    assert_eq!(changes(), before, "{}", bond.verb("events --past"));
    format!("{} kpps, no link blamed", packets / 4000)
}

fn stream() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond("--mode active-backup --miimon 20 eth0 eth1");
    assert!(ground.reaches("10.9.0.1"));
    let server = ground.client.start("iperf3 --server --one-off");
    rest(300);
    let client = ground.host.start("iperf3 --json --client 10.9.0.2 --time 4 --interval 1");
    for member in [0, 1, 0] {
        rest(800);
        ground.cable_is(member, false);
        rest(200);
        ground.cable_is(member, true);
    }
    let said = client.said();
    drop(server);
    let report: serde_json::Value = serde_json::from_str(&said).expect("iperf3 speaks JSON");
    let seconds = report["intervals"].as_array().expect("one a second");
    let slowest = seconds
        .iter()
        .filter_map(|one| one["sum"]["bits_per_second"].as_f64())
        .fold(f64::INFINITY, f64::min);
    assert!(slowest > 1e6, "a second without data: {said}");
    let switches = bond.story().iter().filter(|told| told.starts_with("active")).count();
    assert!(switches >= 4, "{:?}", bond.story());
    format!("{switches} changes, the slowest second {:.0} Mbit/s", slowest / 1e6)
}
