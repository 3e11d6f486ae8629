//! Every way to validate answers keeps members up that are well, and finds those that are not.

use std::time::Duration;

use super::Scenario;
use super::network::Ground;

const WAYS: [&str; 7] =
    ["none", "active", "backup", "all", "filter", "filter_active", "filter_backup"];

pub(super) fn add(all: &mut Vec<Scenario>) {
    for way in WAYS {
        for (family, target) in
            [("IPv4", "--arp-ip-target 10.9.0.2"), ("IPv6", "--ns-ip6-target 2001:db8::2")]
        {
            let name = format!("arp_validate {way}, {family}");
            all.push(Scenario::new(name, move || validated(way, target)));
        }
    }
    all.push(Scenario::new("a link-local target", link_local));
}

fn validated(way: &str, target: &str) -> String {
    let ground = Ground::lay(3).expect("looked at before");
    let bond = ground.bond(&format!(
        "--mode active-backup --arp-interval 100 --arp-validate {way} {target} eth0 eth1 eth2"
    ));
    for member in ["eth0", "eth1", "eth2"] {
        bond.link_becomes(member, "up");
    }
    std::thread::sleep(Duration::from_secs(3));
    let failures: Vec<u64> = bond.status()["members"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|member| member["failures"].as_u64().expect("a number"))
        .collect();
    for member in ["eth0", "eth1", "eth2"] {
        assert_eq!(bond.link(member), "up", "{:#?}", bond.story());
    }
    assert!(ground.reaches("10.9.0.1") && ground.reaches("2001:db8::1"));
    let active = bond.active();
    let number: usize = active.strip_prefix("eth").expect("one of ours").parse().expect("a number");
    ground.silence(number, true);
    bond.comes_true("another one active", |bond| {
        let now = bond.active();
        now != active && now != "none"
    });
    assert!(ground.reaches("10.9.0.1"));
    format!("failures before that: {failures:?}")
}

/// A target that is known by its link-local address only.
fn link_local() -> String {
    let ground = Ground::lay(2).expect("looked at before");
    ground.client.run("ip address add fe80::2/64 dev eth0 nodad");
    let bond = ground.bond(
        "--mode active-backup --arp-interval 1000 --ns-ip6-target fe80::2 --arp-validate all eth0 eth1",
    );
    bond.comes_true("carrier", |bond| bond.status()["carrier"] == true);
    std::thread::sleep(Duration::from_secs(6));
    assert!(ground.host.run("ip link show bond0").contains("LOWER_UP"));
    assert_eq!(bond.status()["carrier"], true, "{:#?}", bond.story());
    "up".to_owned()
}
