//! What neighbours are told after a failover.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::common::{Rig, at, mac, ms};
use holdfast_bond::wire::arp::Arp;
use holdfast_bond::wire::ethernet::Ethernet;
use holdfast_bond::wire::igmp::{Version, report};
use holdfast_bond::wire::ip::Ipv6;
use holdfast_bond::wire::mld;
use holdfast_bond::{Action, FrameKind, LocalAddress};

fn with_addresses(text: &str, members: u8) -> Rig {
    let mut rig = Rig::new(text, members);
    let address = |text: &str, prefix, vlan| {
        let ip = text.parse::<IpAddr>().unwrap();
        LocalAddress { vlan, ..LocalAddress::new(ip, prefix) }
    };
    let own = vec![address("10.0.0.1", 24, None), address("10.1.0.1", 24, Some(7))];
    rig.bond.set_addresses(own, rig.now);
    rig
}

#[test]
fn b12_so_many_announcements_leave_so_far_apart() {
    // As the kernel's selftest asks, its delays scaled: exactly num, the first at once.
    for (num, delay) in
        [(0, 1000), (1, 1000), (10, 100), (20, 100), (30, 1000), (50, 100), (255, 300)]
    {
        let line = format!("mode=1 miimon=100 num_grat_arp={num} peer_notif_delay={delay}");
        let mut rig = with_addresses(&line, 2);
        rig.pull(at(1050), 0);
        rig.run(at(400_000));
        let sent = rig.frames(FrameKind::Announcement, at(1000));
        assert_eq!(sent.len(), num * 2, "{line}: one for each address");
        for (n, pair) in sent.chunks(2).enumerate() {
            let when = at(1100) + ms(delay) * n as u32;
            assert_eq!(pair, [(when, 1), (when, 1)], "{line}");
        }
    }
}

#[test]
fn b12_without_a_delay_they_are_one_look_apart() {
    let mut rig = with_addresses("mode=1 miimon=100 num_grat_arp=5", 2);
    rig.pull(at(1050), 0);
    rig.run(at(10_000));
    let times: BTreeSet<_> =
        rig.frames(FrameKind::Announcement, at(1000)).iter().map(|sent| sent.0).collect();
    assert_eq!(times, [1100, 1200, 1300, 1400, 1500].map(at).into());
}

#[test]
fn an_announcement_is_a_gratuitous_request_in_the_addresses_vlan() {
    let mut rig = with_addresses("mode=1 miimon=100", 2);
    rig.pull(at(1050), 0);
    rig.run(at(2000));
    let frames = rig.sent.iter().filter(|(when, _)| *when > at(1000)).map(|(_, sent)| &sent.frame);
    let read: Vec<_> = frames
        .map(|frame| {
            let outer = Ethernet::parse(frame).unwrap();
            let arp = Arp::parse(outer.payload).unwrap();
            assert_eq!((arp.sender, arp.sender_mac), (arp.target, mac(0)));
            assert!(outer.destination.is_broadcast());
            (outer.vlan, arp.sender.octets())
        })
        .collect();
    assert_eq!(read, [(None, [10, 0, 0, 1]), (Some(7), [10, 1, 0, 1])]);
}

#[test]
fn neighbours_hear_of_a_recovery_from_a_total_outage() {
    let mut rig = with_addresses("mode=1 miimon=100", 2);
    rig.pull(at(1050), 0);
    rig.pull(at(1050), 1);
    rig.plug(at(5050), 1);
    rig.run(at(6000));
    assert_eq!(rig.frames(FrameKind::Announcement, at(1000)), [(at(5100), 1), (at(5100), 1)]);
}

#[test]
fn neighbours_hear_of_a_failback_and_of_a_manual_change() {
    let mut rig = with_addresses("mode=1 miimon=100 primary=eth0", 2);
    rig.pull(at(1050), 0);
    rig.plug(at(2050), 0);
    rig.run(at(3000));
    let sent: BTreeSet<_> = rig.frames(FrameKind::Announcement, at(1000)).into_iter().collect();
    assert_eq!(sent, [(at(1100), 1), (at(2100), 0)].into());
    let (second, now) = (rig.members[1], rig.now);
    rig.bond.activate(second, now).unwrap();
    rig.drain();
    assert_eq!(rig.frames(FrameKind::Announcement, now), [(now, 1), (now, 1)]);
}

#[test]
fn a_second_failover_starts_the_count_anew() {
    let mut rig = with_addresses("mode=1 miimon=100 num_grat_arp=10 peer_notif_delay=1000", 3);
    rig.pull(at(1050), 0);
    rig.pull(at(4050), 1);
    rig.run(at(60_000));
    let sent: Vec<_> =
        rig.frames(FrameKind::Announcement, at(1000)).chunks(2).map(|two| two[0]).collect();
    assert_eq!(sent.iter().filter(|(_, member)| *member == 1).count(), 3);
    assert_eq!(sent.iter().filter(|(_, member)| *member == 2).count(), 10);
}

#[test]
fn b13_groups_are_reported_at_once_and_every_200_ms() {
    for (times, version) in [(1, Version::V2), (3, Version::V3), (0, Version::V2)] {
        let line = format!("mode=1 miimon=100 resend_igmp={times}");
        let mut rig = with_addresses(&line, 2);
        for group in [[239, 1, 2, 3], [239, 1, 2, 4]] {
            let mut joined = report(mac(0), [10, 0, 0, 1].into(), group.into(), version, None);
            rig.bond.send(&mut joined, rig.now);
        }
        rig.pull(at(1050), 0);
        rig.run(at(5000));
        let sent = rig.frames(FrameKind::GroupReport, at(1000));
        let expected: Vec<_> = (0..times).flat_map(|n| [(at(1100 + n * 200), 1); 2]).collect();
        assert_eq!(sent, expected, "{line}");
    }
}

#[test]
fn b13_groups_of_ipv6_are_reported_too_until_they_are_left() {
    let mut rig = with_addresses("mode=1 miimon=100 resend_igmp=2", 2);
    let groups = ["ff05::1:3", "ff02::1:ff00:1"].map(|group| group.parse().unwrap());
    for group in groups {
        let mut joined =
            mld::report(mac(0), "fe80::1".parse().unwrap(), group, mld::Version::V2, Some(7));
        rig.bond.send(&mut joined, rig.now);
    }
    let mut left = mld::report(mac(0), groups[1], groups[1], mld::Version::V1, Some(7));
    left[18 + 40 + 8] = 132;
    rig.bond.send(&mut left, rig.now);
    rig.pull(at(1050), 0);
    rig.run(at(5000));
    let sent = rig.frames(FrameKind::GroupReport, at(1000));
    assert_eq!(sent, [(at(1100), 1), (at(1300), 1)]);
    let (_, report) =
        rig.sent.iter().rfind(|(_, told)| told.kind == FrameKind::GroupReport).unwrap();
    let frame = Ethernet::parse(&report.frame).unwrap();
    assert_eq!((frame.source, frame.vlan), (mac(0), Some(7)));
    let said = mld::read(&Ipv6::parse(frame.payload).unwrap()).unwrap();
    assert_eq!(said, [mld::Said { group: groups[0], joined: true, version: mld::Version::V2 }]);
}

#[test]
fn addresses_move_as_the_policy_says() {
    // fail_over_mac, then whose address the bond, the first and the second member have after a
    // failover from the first to the second.
    let table = [("none", 0, 0, 0), ("active", 1, 0, 1), ("follow", 0, 1, 0)];
    for (policy, bond, first, second) in table {
        let mut rig = with_addresses(&format!("mode=1 miimon=100 fail_over_mac={policy}"), 2);
        rig.pull(at(1050), 0);
        rig.run(at(2000));
        let status = rig.bond.status();
        let there = (status.mac, status.members[0].mac, status.members[1].mac);
        assert_eq!(there, (mac(bond), mac(first), mac(second)), "{policy}");
        let announced = &rig.sent.last().unwrap().1.frame;
        assert_eq!(Ethernet::parse(announced).unwrap().source, mac(bond), "{policy}");
    }
}

#[test]
fn whoever_leaves_gets_its_own_address_back() {
    for policy in ["none", "active", "follow"] {
        let mut rig = with_addresses(&format!("mode=1 miimon=100 fail_over_mac={policy}"), 2);
        let second = rig.members[1];
        rig.pull(at(1050), 0);
        rig.run(at(2000));
        let before = rig.bond.status().members[1].mac;
        rig.bond.remove_member(second, rig.now).unwrap();
        rig.actions.clear();
        rig.drain();
        let given = rig.actions.iter().rev().find_map(|(_, action)| match action {
            Action::SetMemberMac { member, mac } if *member == second => Some(*mac),
            _ => None,
        });
        assert_eq!(given.unwrap_or(before), mac(1), "{policy}");
        assert_eq!(rig.actions.last().map(|(_, action)| action.clone()), {
            let release = Action::Release { member: second };
            rig.actions
                .iter()
                .any(|(_, action)| *action == release)
                .then(|| rig.actions.last().unwrap().1.clone())
        });
    }
}
