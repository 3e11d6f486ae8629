//! Link aggregation between our bond and another one of ours, over cables and over switches that
//! can be made deaf to LACP.

use std::time::{Duration, Instant};

use super::Scenario;
use super::network::{Bond, Ground};
use super::sniff::Sniffer;

pub(super) fn add(all: &mut Vec<Scenario>) {
    all.push(Scenario::new("lacp: aggregates, and survives losses at either end", aggregates));
    all.push(Scenario::new("lacp_strict: a silent partner, with and without", strict));
    all.push(Scenario::new("lacp: port priorities choose the aggregator", priorities));
    all.push(Scenario::new("lacp: members that join a bond that is down speak", late_members));
}

const LACP: &str = "--mode 802.3ad --miimon 20 --lacp-rate fast";

fn port<'a>(status: &'a serde_json::Value, member: &str) -> &'a serde_json::Value {
    let members = status["members"].as_array().expect("a list");
    &members.iter().find(|one| one["name"] == member).expect("a member")["lacp"]
}

/// Whether a member takes and sends frames of the aggregate.
fn carries(bond: &Bond<'_>, member: &str) -> bool {
    let status = bond.status();
    let port = port(&status, member);
    port["collecting"] == true && port["distributing"] == true && port["in_active"] == true
}

#[track_caller]
fn within(seconds: u64, bond: &Bond<'_>, what: &str, is_true: impl Fn(&Bond<'_>) -> bool) {
    let start = Instant::now();
    while !is_true(bond) {
        let told = || {
            format!(
                "{}\n{}",
                bond.says(&format!("status {} --format proc", bond.name)),
                bond.says(&format!("events {} --past", bond.name))
            )
        };
        assert!(start.elapsed() < Duration::from_secs(seconds), "not {what}: {}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn aggregates() -> String {
    let ground = Ground::lay_direct(2).expect("looked at before");
    let bond = ground.bond(&format!("{LACP} eth0 eth1"));
    let partner = ground.partner("bond0", &format!("{LACP} eth0 eth1"));
    ground.give_addresses();
    for side in [&bond, &partner] {
        for member in ["eth0", "eth1"] {
            within(20, side, "aggregated", |side| carries(side, member));
        }
    }
    let proc = bond.verb("status --format proc");
    assert!(proc.contains("Number of ports: 2"), "{proc}");
    assert!(ground.reaches("10.9.0.1"));
    for at_host in [true, false] {
        let namespace = if at_host { &ground.host } else { &ground.client };
        namespace.run("ip link set eth0 down");
        within(10, &bond, "one port", |bond| !carries(bond, "eth0") && carries(bond, "eth1"));
        assert!(ground.reaches("10.9.0.1"));
        namespace.run("ip link set eth0 up");
        within(20, &bond, "both again", |bond| carries(bond, "eth0"));
        within(20, &partner, "both again", |partner| carries(partner, "eth0"));
        assert!(ground.reaches("10.9.0.1"));
    }
    "two ports, one, two, one, two".to_owned()
}

/// The cables go through bridges that pass LACP on, or do not.
fn strict() -> String {
    let ground = Ground::lay_through_bridges(2).expect("looked at before");
    let hears = |member: usize, hears: bool| {
        let mask = if hears { 4 } else { 0 };
        for port in ["p", "q"] {
            let words =
                format!("ip link set {port}{member} type bridge_slave group_fwd_mask {mask}");
            ground.switch.run(&words);
        }
    };
    let bond = ground.bond(&format!("{LACP} --min-links 1 --lacp-strict off eth0 eth1"));
    let _partner = ground.partner("bond0", &format!("{LACP} --min-links 1 eth0 eth1"));
    ground.give_addresses();
    let both = |bond: &Bond<'_>| carries(bond, "eth0") && carries(bond, "eth1");
    within(60, &bond, "aggregated", both);
    for silenced in [false, true] {
        match silenced {
            true => hears(0, false),
            false => ground.cable_is(0, false),
        }
        within(6, &bond, "without eth0", |bond| !carries(bond, "eth0"));
        assert!(carries(&bond, "eth1"));
        match silenced {
            true => hears(0, true),
            false => ground.cable_is(0, true),
        }
        within(60, &bond, "both again", both);
    }
    let carrier = |bond: &Bond<'_>| bond.status()["carrier"] == true;
    (0..2).for_each(|member| hears(member, false));
    within(10, &bond, "without a partner", |bond| {
        !port(&bond.status(), "eth0")["partner_known"].as_bool().unwrap_or(true)
    });
    assert!(carrier(&bond), "not strict: carrier stays");
    bond.verb("set lacp_strict=on");
    within(5, &bond, "without carrier", |bond| !carrier(bond));
    bond.verb("set lacp_strict=off");
    within(5, &bond, "with carrier", carrier);
    bond.verb("set lacp_strict=on");
    within(5, &bond, "without carrier", |bond| !carrier(bond));
    (0..2).for_each(|member| hears(member, true));
    within(60, &bond, "with carrier", carrier);
    within(60, &bond, "both again", both);
    assert!(ground.reaches("10.9.0.1"));
    "carrier stays without, goes with strict".to_owned()
}

/// Two partners; the aggregator whose ports have the higher priorities is the one in use.
fn priorities() -> String {
    let ground = Ground::lay_direct(4).expect("looked at before");
    let bond = ground.bond(&format!(
        "{LACP} --ad-select actor_port_prio eth0,actor_port_prio=1000 eth1,actor_port_prio=1000 \
         eth2,actor_port_prio=10 eth3,actor_port_prio=10"
    ));
    let _one = ground.partner("one", &format!("{LACP} eth0 eth1"));
    let _two = ground.partner("two", &format!("{LACP} eth2 eth3"));
    let in_use = |first: &'static str, second: &'static str| {
        move |bond: &Bond<'_>| carries(bond, first) && carries(bond, second)
    };
    within(30, &bond, "with the first partner", in_use("eth0", "eth1"));
    assert!(!carries(&bond, "eth2") && !carries(&bond, "eth3"));
    for (member, priority) in [(0, 10), (1, 10), (2, 1000), (3, 1000)] {
        bond.verb(&format!("set actor_port_prio=eth{member}:{priority}"));
    }
    ground.host.run("ip link set eth2 down");
    std::thread::sleep(Duration::from_millis(500));
    ground.host.run("ip link set eth2 up");
    within(30, &bond, "with the second partner", in_use("eth2", "eth3"));
    assert!(!carries(&bond, "eth0") && !carries(&bond, "eth1"));
    "first one, then the other".to_owned()
}

/// Address given, set up, system priority set again, members taken in while it is down, a bridge on
/// top: LACPDUs leave all the same.
fn late_members() -> String {
    let ground = Ground::lay_direct(1).expect("looked at before");
    let bond = ground.bare_bond("bond0", &format!("{LACP} --mac 02:00:00:00:00:66"));
    bond.verb("set ad_actor_sys_prio=65535");
    ground.host.run("ip link set bond0 down");
    bond.comes_true("down", |bond| bond.status()["up"] == false);
    bond.verb("add eth0");
    ground.host.run("ip link add br9 type bridge");
    ground.host.run("ip link set bond0 master br9");
    ground.client.run("ip link set eth0 up");
    let sniffer = Sniffer::listen(&ground.client, "eth0", "ether proto 0x8809");
    ground.host.run("ip link set br9 up");
    ground.host.run("ip link set bond0 up");
    let groups = || ground.host.run("ip maddress show dev eth0");
    bond.comes_true("listening", |_| groups().contains("01:80:c2:00:00:02"));
    std::thread::sleep(Duration::from_secs(4));
    let heard = sniffer.heard().len();
    assert!(heard >= 1, "no LACPDU");
    ground.host.run("ip link set bond0 down");
    bond.comes_true("deaf", |_| !groups().contains("01:80:c2:00:00:02"));
    format!("{heard} LACPDUs in 4 s")
}
