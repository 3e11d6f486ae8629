//! Above and below the bond: macvlans, other bonds, address lists, and another life with the same
//! members.

use super::Scenario;
use super::network::{Ground, Namespace};

pub(super) fn add(all: &mut Vec<Scenario>) {
    for mode in ["active-backup", "balance-tlb", "balance-alb"] {
        all.push(Scenario::new(format!("macvlans above {mode}"), move || macvlans(mode)));
    }
    all.push(Scenario::new("address lists", address_lists));
    for policy in ["none", "active", "follow"] {
        all.push(Scenario::new(format!("fail_over_mac {policy}"), move || {
            hardware_addresses(policy)
        }));
    }
    all.push(Scenario::new("another mode and monitor with the same members", another_life));
    for mode in ["balance-rr", "balance-xor", "broadcast"] {
        all.push(Scenario::new(format!("every member carries: {mode}"), move || carried(mode)));
    }
}

/// Client, bond and two macvlans, each reaching each other, before and after a failover.
fn macvlans(mode: &str) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!("--mode {mode} --miimon 20 eth0 eth1"));
    let one = above(&ground, "one", 11);
    let two = above(&ground, "two", 12);
    let stations: [(&Namespace, u8); 4] =
        [(&ground.client, 2), (&ground.host, 1), (&one, 11), (&two, 12)];
    let mut reached = 0;
    let mut everybody = |ground: &Ground| {
        for (from, at) in stations {
            for (_, to) in stations.iter().filter(|(_, to)| *to != at) {
                // The host and its own macvlans see each other through no switch: by design of
                // macvlan in the same interface, bridge mode keeps them apart from it.
                if [at, *to].contains(&1) && ![at, *to].contains(&2) {
                    continue;
                }
                for address in [format!("10.9.0.{to}"), format!("2001:db8::{to}")] {
                    let ping = format!("ping -n -c 1 -W 2 {address}");
                    let tries = (0..5).any(|_| from.output(&ping).status.success());
                    assert!(tries, "{at} does not reach {address}");
                    reached += 1;
                }
            }
        }
        let _ = ground;
    };
    everybody(&ground);
    ground.cable_is(0, false);
    bond.link_becomes("eth0", "down");
    everybody(&ground);
    format!("{reached} directed checks")
}

/// A namespace whose only interface is a macvlan above the bond.
fn above(ground: &Ground, name: &str, number: u8) -> Namespace {
    let namespace = ground.host.beside().expect("as the others");
    let pid = namespace.pid();
    ground.host.run(&format!("ip link add link bond0 name {name} type macvlan mode bridge"));
    ground.host.run(&format!("ip link set {name} netns {pid}"));
    namespace.run(&format!("ip link set {name} up"));
    namespace.run(&format!("ip address add 10.9.0.{number}/24 dev {name}"));
    namespace.run(&format!("ip address add 2001:db8::{number}/64 dev {name} nodad"));
    namespace
}

/// What members listen to follows the bond, and ends with it.
fn address_lists() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond("--mode active-backup --miimon 20 eth0 eth1");
    bond.becomes_active("eth0");
    ground.host.run("ip maddress add 01:00:5e:11:22:33 dev bond0");
    ground.host.run(
        "ip link add link bond0 name above address 02:00:00:00:00:99 type macvlan mode bridge",
    );
    ground.host.run("ip link set above up");
    let listens = |member: &str, mac: &str| {
        ground.host.run(&format!("bridge fdb show dev {member}")).contains(mac)
            || ground.host.run(&format!("ip maddress show dev {member}")).contains(mac)
    };
    let (group, station) = ("01:00:5e:11:22:33", "02:00:00:00:00:99");
    bond.comes_true("eth0 listens", |_| listens("eth0", group) && listens("eth0", station));
    assert!(!listens("eth1", group), "groups are the active one's");
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    bond.comes_true("eth1 listens", |_| listens("eth1", group) && !listens("eth0", group));
    ground.host.run("ip link delete above");
    bond.comes_true("eth1 listens no more", |_| !listens("eth1", station));
    ground.host.run("ip link set bond0 promisc on");
    bond.comes_true("promiscuous", |_| {
        ground.host.run("ip -details link show eth1").contains("promiscuity 1")
    });
    bond.stop();
    for member in ["eth0", "eth1"] {
        assert!(!listens(member, group) && !listens(member, station), "{member} still listens");
    }
    assert!(ground.host.run("ip -details link show eth1").contains("promiscuity 0"));
    "follow the active member, gone with the bond".to_owned()
}

/// Which hardware address is where, before and after a failover, and when all is over.
fn hardware_addresses(policy: &str) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let (one, two) = ("52:54:00:00:00:01", "52:54:00:00:00:02");
    ground.host.run(&format!("ip link set eth0 address {one}"));
    ground.host.run(&format!("ip link set eth1 address {two}"));
    let has = |interface: &str, mac: &str| {
        ground.host.run(&format!("ip link show {interface}")).contains(&format!("ether {mac}"))
    };
    let bond = ground.bond(&format!(
        "--mode active-backup --miimon 20 --primary eth0 --fail-over-mac {policy} eth0 eth1"
    ));
    // Of the bond, of eth0 and of eth1, with eth0 active and with eth1.
    let (first, second) = match policy {
        "none" => ([one, one, one], [one, one, one]),
        "active" => ([one, one, two], [two, one, two]),
        _ => ([one, one, two], [one, two, one]),
    };
    for (member, up, macs) in
        [("eth0", true, first), ("eth1", false, second), ("eth0", true, first)]
    {
        ground.cable_is(0, up);
        bond.becomes_active(member);
        bond.comes_true(&format!("{macs:?}"), |_| {
            ["bond0", "eth0", "eth1"].iter().zip(macs).all(|(interface, mac)| has(interface, mac))
        });
        assert!(ground.reaches("10.9.0.1") && ground.reaches("2001:db8::1"));
    }
    bond.stop();
    assert!(has("eth0", one) && has("eth1", two), "not as before");
    "there and back, and as before at the end".to_owned()
}

/// Members leave, and come back into another mode with another monitor.
fn another_life() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond("--mode active-backup --miimon 100 eth0 eth1");
    assert!(ground.reaches("10.9.0.1"));
    bond.verb("remove eth0 eth1");
    ground.host.run("ip link set bond0 down");
    bond.comes_true("down", |bond| bond.status()["up"] == false);
    bond.verb("set mode=balance-rr");
    bond.verb("set arp_ip_target=10.9.0.2");
    bond.verb("set arp_interval=100");
    assert_eq!(bond.status()["options"]["miimon"], "0", "one monitor gives way to the other");
    bond.verb("add eth0 eth1");
    ground.host.run("ip link set bond0 up");
    ground.host.run("ip address replace 2001:db8::1/64 dev bond0 nodad");
    bond.link_becomes("eth0", "up");
    bond.link_becomes("eth1", "up");
    assert!(ground.reaches("10.9.0.1"));
    bond.stop();
    "reached before and after".to_owned()
}

/// Modes that use all members at once: both carry, and one is enough.
fn carried(mode: &str) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    // A switch that takes both ports for one: here two hubs' worth of learning is turned off.
    for port in ["p0", "p1"] {
        ground.switch.run(&format!("bridge link set dev {port} learning off flood on"));
    }
    let bond =
        ground.bond(&format!("--mode {mode} --miimon 20 --xmit-hash-policy layer3+4 eth0 eth1"));
    assert!(ground.reaches("10.9.0.1"));
    for _ in 0..40 {
        ground.host.output("ping -n -c 1 -W 1 10.9.0.2");
    }
    let sent = |bond: &super::network::Bond<'_>, member: usize| {
        bond.status()["members"][member]["frames_sent"].as_u64().expect("a number")
    };
    let counts = (sent(&bond, 0), sent(&bond, 1));
    if mode != "balance-xor" {
        assert!(counts.0 > 10 && counts.1 > 10, "{counts:?}");
    }
    ground.cable_is(0, false);
    bond.link_becomes("eth0", "down");
    assert!(ground.reaches("10.9.0.1"));
    format!("{} and {} frames", counts.0, counts.1)
}
