//! Bonds on real interfaces: each test has network namespaces of its own. What takes longer is in
//! the slow suite (`cargo test -p holdfast-cli --test bond_slow`).

mod common;
mod network;

use std::time::{Duration, Instant};

use common::Dir;
use network::{Answers, Ground, interfaces};

#[test]
fn the_active_member_dies_and_traffic_goes_on() {
    let Some(ground) = Ground::lay(2) else { return };
    let bond = ground.bond("--mode active-backup --miimon 20 --primary eth0 eth0 eth1");
    assert!(ground.reaches("10.9.0.1") && ground.reaches("2001:db8::1"));
    let pings = ground.pings(2.0);
    std::thread::sleep(Duration::from_millis(500));
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    assert_eq!(ground.holdfast("status").output().unwrap().status.code(), Some(1), "degraded");
    std::thread::sleep(Duration::from_millis(300));
    ground.cable_is(0, true);
    bond.becomes_active("eth0");
    let said = pings.said();
    let answers = Answers::read(&said);
    assert_eq!(answers.duplicates, 0, "{said}");
    assert!(answers.answers > 20, "{said}");
    let proc = bond.verb("status --format proc");
    for line in [
        "Bonding Mode: fault-tolerance (active-backup)",
        "Primary Slave: eth0 (primary_reselect always)",
        "Currently Active Slave: eth0",
        "MII Polling Interval (ms): 20",
        "Slave Interface: eth1",
        "Link Failure Count: 1",
    ] {
        assert!(proc.contains(line), "{line} in {proc}");
    }
    let story = bond.story();
    for sentence in [
        "eth0: link up -> down (carrier lost)",
        "active eth0 -> eth1 (link failed)",
        "active eth1 -> eth0 (link back)",
    ] {
        assert!(story.iter().any(|told| told == sentence), "{sentence} in {story:#?}");
    }
    // Both gone, so is the bond's carrier.
    (0..2).for_each(|member| ground.cable_is(member, false));
    bond.comes_true("no carrier", |bond| bond.status()["carrier"] == false);
    assert!(ground.host.run("ip link show bond0").contains("NO-CARRIER"));
    assert_eq!(ground.holdfast("status").output().unwrap().status.code(), Some(2), "unusable");
}

#[test]
fn a_bond_puts_everything_back() {
    let Some(ground) = Ground::lay(3) else { return };
    ground.host.run("ip link set eth1 up mtu 1400");
    ground.host.run("ip link set eth2 address 02:00:00:00:00:09");
    let before = interfaces(&ground.host);
    let bond = ground.bond("--mode active-backup eth0 eth1 eth2");
    assert_ne!(interfaces(&ground.host), before);
    bond.stop();
    assert_eq!(interfaces(&ground.host), before);
    // Killed, it leaves its members as they are; whoever comes next puts them back.
    let bond = ground.bond("--mode active-backup eth0 eth1 eth2");
    bond.kill();
    let left = interfaces(&ground.host);
    assert!(!left.contains("bond0") && left.contains("clsact"), "{left}");
    let output = ground.holdfast("cleanup").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("put back").count(), 3, "{said}");
    assert_eq!(interfaces(&ground.host), before);
    let bond = ground.bond("--mode active-backup eth0 eth1");
    bond.kill();
    let bond = ground.bond("--mode active-backup eth0");
    bond.stop();
    assert_eq!(interfaces(&ground.host), before);
}

#[test]
fn what_cannot_be_a_member_is_refused_and_nothing_is_left() {
    let Some(ground) = Ground::lay(2) else { return };
    ground.host.run("ip link add br1 type bridge");
    ground.host.run("ip link set eth1 master br1");
    let before = interfaces(&ground.host);
    for (words, complaint) in [
        ("--mode 1 eth0 eth7", "eth7: there is no such interface"),
        ("--mode 1 eth0 lo", "lo: is no Ethernet"),
        ("--mode 1 eth0 eth1", "eth1: belongs to a bridge"),
        ("--mode 1 --name eth0 eth9", "eth0: there is an interface of this name"),
        ("--mode 1 --active_slave eth5 eth0", "eth5"),
    ] {
        let output = ground.holdfast(&format!("run {words}")).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{words}: {err}");
        assert!(err.contains(complaint), "{words}: {err}");
        assert_eq!(interfaces(&ground.host), before, "{words}");
    }
    let bond = ground.bond("--mode 1 eth0");
    for (words, complaint) in [
        ("run --mode 1", "running already"),
        ("run --mode 1 --name bond1 eth0", "eth0: is a member of bond bond0"),
        ("add eth0", "eth0 is a member already"),
        ("add eth7", "no such interface"),
        ("remove eth7", "eth7 is no member"),
        ("activate eth7", "eth7 is no member"),
        ("set mode=2", "mode"),
        ("set arp_interval=x", "arp_interval"),
        ("status bond9", "no bond bond9 runs here"),
    ] {
        bond.refuses(words, complaint);
    }
}

#[test]
fn members_come_and_go_while_it_runs() {
    let Some(ground) = Ground::lay(3) else { return };
    let before = interfaces(&ground.host);
    let bond = ground.bond("--mode active-backup --miimon 10 eth0 eth1");
    bond.verb("activate eth1");
    assert_eq!(bond.active(), "eth1");
    bond.verb("add eth2,prio=5");
    bond.becomes_active("eth2");
    bond.verb("set prio=eth0:9");
    bond.becomes_active("eth0");
    bond.verb("set primary=eth1 primary-reselect=failure");
    bond.verb("remove eth2");
    assert_eq!(bond.link("eth2"), "no member");
    // Renamed, vanished, back again.
    ground.host.run("ip link set eth1 down");
    ground.host.run("ip link set eth1 name lan1");
    ground.host.run("ip link set lan1 up");
    bond.link_becomes("lan1", "up");
    ground.host.run("ip link delete eth0");
    bond.becomes_active("lan1");
    assert_eq!(bond.status()["missing"][0], "eth0");
    assert!(ground.reaches("10.9.0.1"));
    ground.cable(0);
    bond.link_becomes("eth0", "up");
    assert!(bond.status()["missing"].as_array().unwrap().is_empty());
    // The bond's address and MTU are its members'.
    ground.host.run("ip link set bond0 address 02:00:00:00:00:77 mtu 1400");
    bond.comes_true("address and MTU", |_| {
        ["lan1", "eth0"].iter().all(|member| {
            let shown = ground.host.run(&format!("ip link show {member}"));
            shown.contains("02:00:00:00:00:77") && shown.contains("mtu 1400")
        })
    });
    // Nobody announces an address that was given by hand: the client asks again.
    ground.client.run("ip neighbour flush all");
    assert!(ground.reaches("10.9.0.1"));
    ground.host.run("ip link set bond0 down");
    bond.comes_true("down", |bond| bond.status()["up"] == false);
    bond.stop();
    ground.host.run("ip link set lan1 down");
    ground.host.run("ip link set lan1 name eth1");
    let after = interfaces(&ground.host);
    let lines = |text: &str| text.lines().filter(|l| !l.starts_with("eth0")).count();
    assert_eq!(lines(&after), lines(&before), "{before}{after}");
}

#[test]
fn a_silent_switch_is_found_by_probes() {
    let Some(ground) = Ground::lay(2) else { return };
    let bond = ground.bond(
        "--mode active-backup --arp-interval 20 --arp-ip-target 10.9.0.2 --arp-validate all \
         --arp-missed-max 3 eth0 eth1",
    );
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    bond.comes_true("active", |bond| bond.active() != "none");
    let (active, other) = if bond.active() == "eth0" { (0, "eth1") } else { (1, "eth0") };
    ground.silence(active, true);
    bond.becomes_active(other);
    assert!(ground.reaches("10.9.0.1"));
    assert!(ground.host.run(&format!("ip link show eth{active}")).contains("LOWER_UP"));
}

#[test]
fn with_no_usable_member_updelay_is_not_waited_for() {
    let Some(ground) = Ground::lay(2) else { return };
    let bond = ground.bond("--mode active-backup --miimon 10 --updelay 60000 eth0 eth1");
    bond.becomes_active("eth0");
    bond.link_becomes("eth1", "going back");
    ground.cable_is(0, false);
    ground.cable_is(1, false);
    bond.becomes_active("none");
    let start = Instant::now();
    ground.cable_is(1, true);
    bond.becomes_active("eth1");
    assert!(ground.reaches("10.9.0.1"));
    assert!(start.elapsed() < Duration::from_secs(15), "nothing like a minute");
}

#[test]
fn a_macvlan_above_the_bond_is_reached_through_every_member() {
    let Some(ground) = Ground::lay(2) else { return };
    let bond = ground.bond("--mode active-backup --miimon 10 eth0 eth1");
    ground.host.run("ip link add link bond0 name above type macvlan mode bridge");
    ground.host.run("ip link set above up");
    ground.host.run("ip address add 10.9.0.3/24 dev above");
    ground.host.run("ip address add 2001:db8::3/64 dev above nodad");
    assert!(ground.reaches("10.9.0.3") && ground.reaches("2001:db8::3"));
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    assert!(ground.reaches("10.9.0.3") && ground.reaches("2001:db8::3"));
}

#[test]
fn a_bond_can_be_a_member_of_a_bond() {
    let Some(ground) = Ground::lay(3) else { return };
    let inner = ground.bare_bond("inner", "--mode active-backup --miimon 10 eth0 eth1");
    let outer = ground.bond("--mode active-backup --miimon 10 inner eth2");
    outer.becomes_active("inner");
    assert!(ground.reaches("10.9.0.1"));
    ground.cable_is(0, false);
    inner.becomes_active("eth1");
    assert_eq!(outer.active(), "inner");
    assert!(ground.reaches("10.9.0.1"));
    ground.cable_is(1, false);
    outer.becomes_active("eth2");
    assert!(ground.reaches("10.9.0.1"));
    outer.refuses("status", "several bonds run here: bond0, inner");
}

#[test]
fn whoever_follows_is_told_what_happens() {
    let Some(ground) = Ground::lay(2) else { return };
    let bond = ground.bond("--mode active-backup --miimon 10 eth0 eth1");
    let follower = {
        let mut command = ground.holdfast("events --json");
        command.stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    std::thread::sleep(Duration::from_millis(200));
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    bond.stop();
    let told = follower.wait_with_output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("active eth0 -> eth1"), "{told}");
    assert!(told.contains("\"event\":\"link\""), "{told}");
}

#[test]
fn frames_are_hashed_as_the_vectors_say() {
    let dir = Dir::new();
    // A UDP packet. layer2 takes the last byte of both addresses and the type: 1 ^ 2 ^ 0x0800.
    let frame = "525400000001 525400000002 0800 4500001c00004000401100000a0000010a000002 \
                 0400 0035 0008 0000";
    std::fs::write(dir.path("layer2"), format!("{frame} = 0x803\n")).unwrap();
    let said = dir.good("bond hash --policy layer2 --members 2 layer2");
    assert!(said.contains("0x00000803  1"), "{said}");
    std::fs::write(dir.path("wrong"), format!("{frame} = 0x804\n")).unwrap();
    assert!(dir.ends("bond hash -p layer2 wrong", 3).contains("expected 0x00000804"));
    let json = dir.json("bond hash -p layer2 --json layer2");
    assert_eq!((&json["frames"][0]["hash"], &json["shares"][1]), (&0x803.into(), &1.into()));
    dir.fails("bond hash -p layer7 layer2", 64, &["layer7"]);
    dir.fails("bond hash -p layer2 nothing", 4, &["nothing"]);
}

#[test]
fn nonsense_is_refused_before_anything_is_touched() {
    let dir = Dir::new();
    for (line, complaint) in [
        ("bond run --mode active-backup --miimon 0 eth0", "miimon"),
        (
            "bond run --mode 802.3ad --arp-interval 100 --arp-ip-target 10.0.0.1 eth0",
            "arp_interval",
        ),
        ("bond run --mode seven eth0", "seven"),
        ("bond run --option jumbo=1 eth0", "jumbo"),
        ("bond run --mode 1 eth0 eth0", "twice"),
        ("bond run --mode 1 eth0,weight=1", "prio"),
        ("bond run --mode 1 averyveryverylongname", "averyveryverylongname"),
        ("bond set miimon", "OPTION=VALUE"),
        ("bond set jumbo=1", "jumbo"),
    ] {
        dir.fails(line, 64, &[complaint]);
    }
    dir.fails("bond status --run-dir .", 4, &["no bond runs here"]);
    std::fs::write(dir.path("bond.toml"), "mode = 1\nmoed = 2\n").unwrap();
    dir.fails("bond run --config bond.toml eth0", 64, &["bond.toml", "moed"]);
}
