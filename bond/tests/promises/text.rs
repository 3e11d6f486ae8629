//! The text of /proc/net/bonding, line by line, and options that are about status and traffic.

use crate::common::pair::Pair;
use crate::common::{Rig, at, options, port};
use holdfast_bond::{Egress, Ingress, NoIngress, Proc};
use holdfast_core::net::Mac;

fn text(rig: &Rig) -> String {
    let text = Proc(&rig.bond.status()).to_string();
    let (first, rest) = text.split_once("\n\n").expect("a title");
    assert!(first.starts_with("Ethernet Channel Bonding Driver: "), "{first}");
    rest.to_owned()
}

#[test]
fn active_backup() {
    let mut rig = Rig::new("mode=1 miimon=100 updelay=250 primary=eth1 fail_over_mac=follow", 2);
    rig.pull(at(1050), 0);
    rig.run(at(2000));
    let expected = "\
Bonding Mode: fault-tolerance (active-backup) (fail_over_mac follow)
Primary Slave: eth1 (primary_reselect always)
Currently Active Slave: eth1
MII Status: up
MII Polling Interval (ms): 100
Up Delay (ms): 200
Down Delay (ms): 0
Peer Notification Delay (ms): 0

Slave Interface: eth0
MII Status: down
Speed: Unknown
Duplex: Unknown
Link Failure Count: 1
Permanent HW addr: 02:00:00:00:00:01
Slave queue ID: 0

Slave Interface: eth1
MII Status: up
Speed: 1000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:02
Slave queue ID: 0
";
    assert_eq!(text(&rig), expected);
}

#[test]
fn probes() {
    let line = "mode=2 arp_interval=200 arp_ip_target=10.0.0.1,10.0.0.2@7 ns_ip6_target=fe80::1";
    let rig = Rig::new(line, 0);
    let expected = "\
Bonding Mode: load balancing (xor)
Transmit Hash Policy: layer2 (0)
MII Status: down
MII Polling Interval (ms): 0
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 0
ARP Polling Interval (ms): 200
ARP Missed Max: 2
ARP IP target/s (n.n.n.n form): 10.0.0.1, 10.0.0.2
NS IPv6 target/s (xx::xx form): fe80::1
";
    assert_eq!(text(&rig), expected);
}

#[test]
fn link_aggregation() {
    let mut pair = Pair::new("mode=802.3ad lacp_rate=fast min_links=1", "mode=802.3ad", 1);
    pair.run(at(9000));
    let text = Proc(&pair.ends[0].bond.status()).to_string();
    let (_, rest) = text.split_once("\n\n802.3ad info\n").expect("its part");
    let expected = "\
LACP active: on
LACP rate: fast
Min links: 1
Aggregator selection policy (ad_select): stable
System priority: 65535
System MAC address: 02:00:00:00:0a:00
Active Aggregator Info:
\tAggregator ID: 1
\tNumber of ports: 1
\tActor Key: 9
\tPartner Key: 9
\tPartner Mac Address: 02:00:00:00:0b:00

Slave Interface: eth0
MII Status: up
Speed: 1000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:0a:00
Slave queue ID: 0
Aggregator ID: 1
Actor Churn State: monitoring
Partner Churn State: monitoring
Actor Churned Count: 0
Partner Churned Count: 0
details actor lacp pdu:
    system priority: 65535
    system mac address: 02:00:00:00:0a:00
    port key: 9
    port priority: 255
    port number: 1
    port state: 63
details partner lacp pdu:
    system priority: 65535
    system mac address: 02:00:00:00:0b:00
    oper key: 9
    port priority: 255
    port number: 1
    port state: 61
";
    assert_eq!(rest, expected);
}

#[test]
fn frames_of_inactive_members_are_kept_if_asked_for() {
    for (keep, there) in [(0, Ingress::Drop(NoIngress::Inactive)), (1, Ingress::Deliver)] {
        let mut rig = Rig::new(&format!("mode=1 all_slaves_active={keep}"), 2);
        let mut frame = [0xff; 60];
        assert_eq!(rig.bond.receive(rig.members[1], &mut frame, rig.now), there);
        // Changed while running, it works at once.
        rig.bond
            .set_option("all_slaves_active", if keep == 0 { "1" } else { "0" }, rig.now)
            .unwrap();
        let other = rig.bond.receive(rig.members[1], &mut frame, rig.now);
        assert_ne!(other, there);
    }
}

#[test]
fn min_links_count_in_every_mode() {
    for mode in ["active-backup", "balance-rr", "balance-xor", "balance-tlb"] {
        let mut rig = Rig::new(&format!("mode={mode} min_links=2"), 3);
        rig.pull(at(1050), 0);
        rig.run(at(1500));
        assert!(rig.bond.carrier(), "{mode}: two are left");
        rig.pull(at(2050), 1);
        rig.run(at(2500));
        assert!(!rig.bond.carrier(), "{mode}: one is left");
    }
}

#[test]
fn carrier_stays_until_downdelay_is_over() {
    let mut rig = Rig::new("mode=1 miimon=100 downdelay=300", 1);
    rig.pull(at(1050), 0);
    rig.run(at(1350));
    assert!(rig.bond.carrier());
    rig.run(at(1450));
    assert!(!rig.bond.carrier());
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rig = Rig::new("mode=1", 1);
    let fixed = holdfast_bond::NewMember { mac_settable: false, ..port(1) };
    let error = rig.bond.add_member(fixed, rig.now).unwrap_err();
    let said = "eth1: its hardware address cannot be changed, and fail_over_mac is not active";
    assert_eq!(error.to_string(), said);
    let error = rig.bond.add_member(port(0), rig.now).unwrap_err();
    assert_eq!(error.to_string(), "eth0 is a member already");
    let nobody = holdfast_bond::NewMember { mac: Mac::ZERO, ..port(2) };
    assert!(rig.bond.add_member(nobody, rig.now).is_err());
    for (option, value) in
        [("mode", "2"), ("fail_over_mac", "active"), ("miimon", "0"), ("jumbo", "1")]
    {
        assert!(rig.bond.set_option(option, value, rig.now).is_err(), "{option}={value}");
    }
    // A first member like that decides the policy.
    let first = holdfast_bond::NewMember { mac_settable: false, ..port(0) };
    let rig = Rig::with(options("mode=1"), vec![first]);
    assert_eq!(rig.bond.options().fail_over_mac.name(), "active");
}

#[test]
fn a_bond_that_is_down_passes_nothing() {
    let mut rig = Rig::new("mode=1", 2);
    rig.bond.set_up(false, rig.now);
    assert_eq!(rig.bond.poll_at(), None);
    let mut frame = [0xff; 60];
    assert!(matches!(rig.bond.send(&mut frame, rig.now), Egress::Drop(_)));
    assert!(matches!(rig.bond.receive(rig.members[0], &mut frame, rig.now), Ingress::Drop(_)));
    rig.bond.set_up(true, rig.now);
    assert_eq!(rig.bond.send(&mut frame, rig.now), Egress::One(rig.members[0]));
}
