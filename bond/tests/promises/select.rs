//! Who becomes the active member: the kernel's selftest for priorities, all of its cases, and what
//! stands beside them.

use crate::common::lan::Lan;
use crate::common::{Rig, at, options, port};
use holdfast_bond::{ActiveReason, LocalAddress, NewMember};
use holdfast_core::net::{Duplex, Link};
use holdfast_core::time::Instant;

/// Lets links change, and waits long enough for any monitor to see it.
fn settle(rig: &mut Rig) -> Instant {
    let now = rig.now;
    let end = now + crate::common::ms(2000);
    rig.run(end);
    end
}

fn three(text: &str) -> Rig {
    let mut ports: Vec<_> = (0..3).map(port).collect();
    ports[1].prio = 10;
    ports[2].prio = 11;
    let mut rig = Rig::with(options(text), ports);
    rig.bond.set_addresses(vec![LocalAddress::new([10, 0, 0, 1].into(), 24)], rig.now);
    let address = "fe80::1".parse().unwrap();
    let own = vec![LocalAddress::new([10, 0, 0, 1].into(), 24), LocalAddress::new(address, 64)];
    rig.bond.set_addresses(own, rig.now);
    rig
}

/// The kernel's `bond_options.sh` prio test: three members of priorities 0, 10 and 11, the second
/// one the primary.
fn priority_case(text: &str, reselect: &str) {
    let line = format!("{text} primary=eth1 primary_reselect={reselect}");
    let mut rig = three(&line);
    Lan::attach(&mut rig);
    let (always, failure) = (reselect == "always", reselect == "failure");
    let at_now = |rig: &Rig| rig.now + crate::common::ms(10);
    settle(&mut rig);
    assert_eq!(rig.active(), Some(1), "{line}: the primary first");
    rig.pull(at_now(&rig), 1);
    settle(&mut rig);
    assert_eq!(rig.active(), Some(2), "{line}: then the highest priority");
    rig.pull(at_now(&rig), 2);
    settle(&mut rig);
    assert_eq!(rig.active(), Some(0), "{line}: then the last one");
    rig.plug(at_now(&rig), 2);
    settle(&mut rig);
    let there = if always { 2 } else { 0 };
    assert_eq!(rig.active(), Some(there), "{line}: a higher priority comes back");
    rig.plug(at_now(&rig), 1);
    settle(&mut rig);
    let there = if always { 1 } else { 0 };
    assert_eq!(rig.active(), Some(there), "{line}: the primary comes back");
    if failure {
        rig.pull(at_now(&rig), 0);
        settle(&mut rig);
        assert_eq!(rig.active(), Some(1), "{line}: the active one fails");
    }
}

#[test]
fn the_priority_grid() {
    let monitors = [
        "mode=active-backup miimon=100",
        "mode=balance-tlb miimon=100",
        "mode=balance-alb miimon=100",
        "mode=active-backup arp_interval=100 arp_ip_target=10.0.0.99",
        "mode=active-backup arp_interval=100 ns_ip6_target=fe80::99",
    ];
    for monitor in monitors {
        for reselect in ["always", "better", "failure"] {
            priority_case(monitor, reselect);
        }
    }
}

#[test]
fn priorities_may_be_changed() {
    let mut rig = three("mode=1 miimon=100");
    settle(&mut rig);
    assert_eq!(rig.active(), Some(2));
    for (member, prio) in [(0, 1_000_000), (1, 0), (2, -50)] {
        rig.bond.set_prio(rig.members[member], prio, rig.now).unwrap();
    }
    rig.drain();
    assert_eq!(rig.active(), Some(0));
    rig.pull(rig.now + crate::common::ms(10), 0);
    settle(&mut rig);
    assert_eq!(rig.active(), Some(1));
}

#[test]
fn better_looks_at_speed_and_duplex() {
    let half = Link { duplex: Some(Duplex::Half), ..Link::up(1000) };
    // The primary's link, the other's, and whether the primary takes over again.
    for (primary, other, takes) in [
        (Link::up(10_000), Link::up(1000), true),
        (Link::up(1000), Link::up(1000), false),
        (Link::up(100), Link::up(1000), false),
        (Link::up(1000), half, true),
        (half, Link::up(1000), false),
    ] {
        let line = "mode=1 miimon=100 primary=eth0 primary_reselect=better";
        let ports =
            vec![NewMember { link: primary, ..port(0) }, NewMember { link: other, ..port(1) }];
        let mut rig = Rig::with(options(line), ports);
        rig.pull(at(1050), 0);
        rig.link(at(2050), 0, primary);
        rig.run(at(3000));
        assert_eq!(rig.active() == Some(0), takes, "{primary:?} against {other:?}");
    }
}

#[test]
fn changing_the_policy_or_the_primary_selects_at_once() {
    let mut rig = Rig::new("mode=1 miimon=100 primary=eth0 primary_reselect=failure", 3);
    rig.pull(at(1050), 0);
    rig.plug(at(2050), 0);
    rig.run(at(3000));
    assert_eq!(rig.active(), Some(1));
    rig.bond.set_option("primary_reselect", "always", rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(0));
    rig.bond.set_option("primary", "eth2", rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(2));
    let why = rig.switches(rig.now).last().unwrap().2;
    assert_eq!(why, ActiveReason::Option(holdfast_bond::OptionName::Primary));
    rig.bond.rename_member(rig.members[1], "wan0", rig.now).unwrap();
    rig.bond.rename_member(rig.members[2], "wan1", rig.now).unwrap();
    assert_eq!(rig.active(), Some(0), "without a primary the first of equals, as in the kernel");
    rig.bond.set_option("primary", "wan0", rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(1));
}

#[test]
fn a_member_may_be_chosen_by_hand() {
    let mut rig = Rig::new("mode=1 miimon=100", 3);
    rig.bond.set_option("active_slave", "eth2", rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(2));
    rig.pull(at(1050), 1);
    rig.run(at(2000));
    let error = rig.bond.activate(rig.members[1], rig.now).unwrap_err();
    assert_eq!(error.to_string(), "eth1 cannot be the active member: its link is down");
    assert!(rig.bond.set_option("active_slave", "eth7", rig.now).is_err());
    rig.bond.set_option("active_slave", "", rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(0), "cleared, it is selected anew");
}

#[test]
fn members_come_and_go() {
    let mut rig = Rig::new("mode=1 miimon=100", 2);
    rig.bond.remove_member(rig.members[0], rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.active(), Some(1));
    rig.bond.remove_member(rig.members[1], rig.now).unwrap();
    rig.drain();
    assert_eq!((rig.active(), rig.bond.carrier()), (None, false));
    // Another mode, another monitor, the same ports again: nothing is left of before.
    rig.bond.set_up(false, rig.now);
    rig.bond.set_option("mode", "balance-rr", rig.now).unwrap();
    rig.bond.set_option("arp_ip_target", "10.0.0.99", rig.now).unwrap();
    rig.bond.set_option("arp_interval", "100", rig.now).unwrap();
    rig.bond.set_up(true, rig.now);
    rig.members.clear();
    rig.add(port(0));
    rig.add(port(1));
    Lan::attach(&mut rig);
    rig.run(at(3000));
    assert!(rig.bond.carrier());
    assert!(rig.bond.status().members.iter().all(|member| member.in_traffic));
}
