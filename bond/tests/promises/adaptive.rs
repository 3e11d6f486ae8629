//! balance-tlb and balance-alb.

use std::collections::BTreeMap;

use crate::common::lan::HOST;
use crate::common::{Rig, at, mac, ms};
use holdfast_bond::wire::arp::{Arp, Op};
use holdfast_bond::wire::ethernet::{self, Ethernet};
use holdfast_bond::{Action, Egress, FrameKind, Ingress, LocalAddress};
use holdfast_core::net::Mac;

/// A UDP packet to a host, from the bond.
fn packet(host: u8, bytes: usize) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, host];
    ip.extend([0x10, 0, 0, host]);
    ip.resize(bytes - 14, 0);
    ethernet::frame(Mac([2, 9, 0, 0, 0, host]), mac(0), None, ethernet::IPV4, &ip)
}

fn member(rig: &Rig, egress: Egress) -> usize {
    let Egress::One(id) = egress else { panic!("{egress:?}") };
    rig.members.iter().position(|member| *member == id).unwrap()
}

fn send(rig: &mut Rig, mut frame: Vec<u8>) -> (usize, Vec<u8>) {
    let egress = rig.bond.send(&mut frame, rig.now);
    rig.drain();
    (member(rig, egress), frame)
}

#[test]
fn flows_are_spread_and_carry_their_members_address() {
    for mode in ["balance-tlb", "balance-alb"] {
        let mut rig = Rig::new(&format!("mode={mode} miimon=100"), 3);
        let mut by_member = BTreeMap::<usize, u32>::new();
        for host in 1..=60 {
            let (to, frame) = send(&mut rig, packet(host, 1000));
            *by_member.entry(to).or_default() += 1;
            assert_eq!(Ethernet::parse(&frame).unwrap().source, mac(to as u8), "{mode}");
            // The flow stays where it is.
            assert_eq!(send(&mut rig, packet(host, 1000)).0, to, "{mode}");
        }
        // Nothing is known of loads yet: all have as much room.
        assert_eq!(by_member.get(&0), Some(&60), "{mode}: {by_member:?}");
        rig.run(at(10_500));
        by_member.clear();
        for host in 1..=60 {
            *by_member.entry(send(&mut rig, packet(host, 1000)).0).or_default() += 1;
        }
        assert!(by_member.values().all(|flows| *flows == 20), "{mode}: {by_member:?}");
    }
}

#[test]
fn what_is_for_everybody_leaves_on_the_active_member() {
    for mode in ["balance-tlb", "balance-alb"] {
        let mut rig = Rig::new(&format!("mode={mode} miimon=100"), 3);
        rig.run(at(15_000));
        for host in 1..=10 {
            let mut frame = packet(host, 100);
            frame[..6].copy_from_slice(&Mac::BROADCAST.0);
            let (to, frame) = send(&mut rig, frame);
            assert_eq!((to, &frame[6..12]), (0, &mac(0).0[..]), "{mode}");
        }
    }
}

#[test]
fn b14_learning_frames_leave_every_lp_interval() {
    for (mode, seconds) in [("balance-tlb", 1), ("balance-alb", 1), ("balance-tlb", 5)] {
        let mut rig = Rig::new(&format!("mode={mode} miimon=100 lp_interval={seconds}"), 3);
        let tagged = LocalAddress { vlan: Some(9), ..LocalAddress::new([10, 0, 0, 1].into(), 24) };
        rig.bond.set_addresses(vec![tagged], rig.now);
        rig.run(at(40_000));
        let sent = rig.frames(FrameKind::Learning, at(5000));
        let times: Vec<_> = sent.iter().filter(|(_, to)| *to == 1).map(|(when, _)| *when).collect();
        for pair in times.chunks(2).collect::<Vec<_>>().windows(2) {
            assert_eq!(pair[0][0], pair[0][1], "untagged and tagged");
            assert_eq!(pair[1][0] - pair[0][0], ms(seconds * 1000), "{mode}");
        }
        let own = rig.sent.iter().filter(|(_, sent)| sent.kind == FrameKind::Learning);
        for (_, sent) in own {
            let number = rig.members.iter().position(|member| *member == sent.member).unwrap();
            assert_eq!(sent.frame[..6], sent.frame[6..12]);
            assert_eq!(sent.frame[6..12], mac(number as u8).0, "{mode}: its own address");
        }
    }
}

#[test]
fn the_new_active_member_goes_by_the_bonds_address() {
    for mode in ["balance-tlb", "balance-alb"] {
        let mut rig = Rig::new(&format!("mode={mode} miimon=100"), 2);
        rig.pull(at(1050), 0);
        rig.run(at(1100));
        assert_eq!(rig.active(), Some(1));
        let taught =
            rig.sent.iter().rev().find(|(_, sent)| {
                sent.kind == FrameKind::Learning && sent.frame[6..12] == mac(0).0
            });
        assert_eq!(
            taught.map(|(when, sent)| (*when, sent.member)),
            Some((at(1100), rig.members[1])),
            "{mode}"
        );
        let (to, frame) = send(&mut rig, packet(1, 100));
        assert_eq!((to, &frame[6..12]), (1, &mac(0).0[..]));
        if mode == "balance-alb" {
            assert_eq!(rig.bond.status().members[1].mac, mac(0));
            assert_eq!(rig.bond.status().members[0].mac, mac(1));
        } else {
            assert_eq!(rig.bond.status().members[1].mac, mac(0), "all ports listen to it anyway");
        }
        rig.plug(at(2050), 0);
        rig.run(at(3000));
        let mut everybody = packet(1, 100);
        everybody[..6].copy_from_slice(&Mac::BROADCAST.0);
        let (_, frame) = send(&mut rig, everybody);
        assert_eq!(frame[6..12], mac(0).0, "{mode}: whoever is active has the bond's address");
    }
}

fn arp(op: Op, from: Mac, sender: u8, to: Mac, target: u8) -> Vec<u8> {
    let packet = Arp {
        op,
        sender_mac: from,
        sender: [10, 0, 0, sender].into(),
        target_mac: to,
        target: [10, 0, 0, target].into(),
    };
    ethernet::frame(
        if op == Op::Request { Mac::BROADCAST } else { to },
        from,
        None,
        ethernet::ARP,
        &packet.bytes(),
    )
}

#[test]
fn neighbours_are_told_different_addresses() {
    let mut rig = Rig::new("mode=balance-alb miimon=100", 3);
    rig.run(at(1000));
    let mut told = Vec::new();
    for host in 20..26 {
        let theirs = Mac([2, 9, 0, 0, 0, host]);
        let (to, frame) = send(&mut rig, arp(Op::Reply, mac(0), 1, theirs, host));
        let reply = Arp::parse(&frame[14..]).unwrap();
        assert_eq!((reply.sender_mac, &frame[6..12]), (mac(to as u8), &mac(to as u8).0[..]));
        told.push(to);
    }
    assert_eq!(told, [0, 1, 2, 0, 1, 2]);
    // What comes in for a member's own address is handed up as the bond's.
    let mut frame = packet(1, 100);
    frame[..6].copy_from_slice(&mac(2).0);
    assert_eq!(rig.bond.receive(rig.members[2], &mut frame, rig.now), Ingress::Deliver);
    assert_eq!(frame[..6], mac(0).0);
    let mut frame = packet(1, 100);
    frame[..6].copy_from_slice(&Mac::BROADCAST.0);
    let twice = rig.bond.receive(rig.members[2], &mut frame, rig.now);
    assert!(matches!(twice, Ingress::Drop(_)), "the active one hands it up");
}

#[test]
fn neighbours_of_a_lost_member_are_told_again_and_again() {
    let mut rig = Rig::new("mode=balance-alb miimon=100", 3);
    rig.run(at(5000));
    for host in 20..26 {
        let theirs = Mac([2, 9, 0, 0, 0, host]);
        send(&mut rig, arp(Op::Reply, mac(0), 1, theirs, host));
    }
    rig.run(at(30_000));
    rig.pull(at(30_050), 2);
    rig.run(at(50_000));
    let updates: Vec<_> = rig
        .sent
        .iter()
        .filter(|(when, sent)| *when >= at(30_050) && sent.kind == FrameKind::ArpUpdate)
        .collect();
    let first = updates.first().expect("they are told").0;
    assert!(first <= at(30_250), "{first}");
    // Two neighbours, two frames each, four rounds.
    assert_eq!(updates.len(), 2 * 2 * 4);
    assert!(updates.iter().all(|(_, sent)| sent.member != rig.members[2]));
    // Meanwhile the active member hears what is still sent to the lost one's address.
    let heard: Vec<_> = rig
        .actions
        .iter()
        .filter(|(_, action)| matches!(action, Action::SetPromiscuous { .. }))
        .collect();
    assert_eq!(heard.len(), 2);
    assert!(heard[1].0 - heard[0].0 >= ms(9900) && heard[1].0 - heard[0].0 <= ms(10_100));
}

#[test]
fn after_a_request_of_ours_neighbours_are_told_again() {
    let mut rig = Rig::new("mode=balance-alb miimon=100", 2);
    rig.run(at(5000));
    let theirs = Mac([2, 9, 0, 0, 0, 21]);
    send(&mut rig, arp(Op::Reply, mac(0), 1, HOST, 20));
    let (to, _) = send(&mut rig, arp(Op::Reply, mac(0), 1, theirs, 21));
    assert_eq!(to, 1);
    rig.run(at(20_000));
    let before = rig.sent.len();
    let (to, _) = send(&mut rig, arp(Op::Request, mac(0), 1, Mac::ZERO, 99));
    assert_eq!(to, 0, "a request leaves on the active member");
    rig.run(at(25_000));
    let told: Vec<_> =
        rig.sent[before..].iter().filter(|(_, sent)| sent.kind == FrameKind::ArpUpdate).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].0 - at(20_000) >= ms(2000) && told[0].0 - at(20_000) <= ms(2300));
    assert_eq!(told[0].1.frame[..6], theirs.0);
}

#[test]
fn somebody_elses_address_is_no_longer_ours_to_give() {
    let mut rig = Rig::new("mode=balance-alb miimon=100", 2);
    rig.run(at(5000));
    for host in [20, 21] {
        send(&mut rig, arp(Op::Reply, mac(0), 1, Mac([2, 9, 0, 0, 0, host]), host));
    }
    let thief = arp(Op::Request, HOST, 1, Mac::ZERO, 77);
    rig.bond.receive(rig.members[0], &mut thief.clone(), rig.now);
    rig.pull(at(6050), 1);
    rig.run(at(20_000));
    assert!(rig.frames(FrameKind::ArpUpdate, at(5000)).is_empty());
}

#[test]
fn every_port_has_an_address_of_its_own() {
    let mut rig = Rig::new("mode=balance-alb miimon=100", 3);
    // The first leaves, the others swap, and it joins again: its address is the bond's.
    rig.bond.remove_member(rig.members[0], rig.now).unwrap();
    rig.drain();
    let mut first = crate::common::port(0);
    first.name = "again".to_owned();
    rig.add(first);
    let mut macs: Vec<_> = rig.bond.status().members.iter().map(|member| member.mac).collect();
    assert!(macs.contains(&mac(0)));
    macs.sort_unstable();
    macs.dedup();
    assert_eq!(macs.len(), 3, "{macs:?}");
}
