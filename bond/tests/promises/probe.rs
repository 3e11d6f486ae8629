//! What the ARP and NS monitor promises: never earlier, never later. I is `arp_interval`.

use std::net::IpAddr;

use crate::common::lan::Lan;
use crate::common::{Rig, at};
use holdfast_bond::{FrameKind, LinkReason, LinkState, LocalAddress, What};

const I: u64 = 100;
const ARP: &str = "arp_interval=100 arp_ip_target=10.0.0.99";
const NS: &str = "arp_interval=100 ns_ip6_target=fe80::99";

/// A bond with an address of its own, on a switch.
fn on_a_switch(options: &str, members: u8) -> (Rig, Lan) {
    let mut rig = Rig::new(options, members);
    let lan = Lan::attach(&mut rig);
    let address = |text: &str, prefix| LocalAddress::new(text.parse::<IpAddr>().unwrap(), prefix);
    rig.bond.set_addresses(vec![address("10.0.0.1", 24), address("fe80::1", 64)], rig.now);
    (rig, lan)
}

#[test]
fn b5_a_silent_active_member_falls_at_the_tick_after_missed_max() {
    for target in [ARP, NS] {
        for missed in [1, 2, 3, 5] {
            for fault in (2003..2103).step_by(9) {
                let line = format!("mode=1 {target} arp_validate=all arp_missed_max={missed}");
                let (mut rig, lan) = on_a_switch(&line, 2);
                lan.cut(0, at(fault));
                rig.run(at(5000));
                let answered = (fault - 2) / I * I;
                let down = rig.when(0, LinkState::Down, at(1000)).expect("it is noticed");
                assert_eq!(down, at(answered + (missed + 1) * I), "{line}, cut at {fault}");
                assert_eq!(rig.active(), Some(1));
            }
        }
    }
}

#[test]
fn b6_a_silent_backup_falls_one_interval_later() {
    for validate in ["none", "all", "backup", "filter", "filter_backup"] {
        for fault in (2003..2103).step_by(9) {
            let line = format!("mode=1 {ARP} arp_validate={validate}");
            let (mut rig, lan) = on_a_switch(&line, 2);
            lan.cut(1, at(fault));
            rig.run(at(5000));
            let heard = (fault - 2) / I * I;
            let down = rig.when(1, LinkState::Down, at(1000)).expect("it is noticed");
            assert_eq!(down, at(heard + 4 * I), "{line}, cut at {fault}");
            assert_eq!((rig.active(), rig.switches(at(1)).len()), (Some(0), 0));
        }
    }
}

#[test]
fn b7_nobody_is_judged_within_two_and_a_half_intervals() {
    let (mut rig, lan) = on_a_switch(&format!("mode=1 {ARP} arp_validate=all"), 2);
    lan.cut(0, at(0));
    lan.cut(1, at(0));
    rig.run(at(1000));
    assert_eq!(rig.when(0, LinkState::Down, at(0)), Some(at(300)));
    // Becoming active gives a grace of its own: from the switch at 300 on.
    assert_eq!(rig.switches(at(1))[0].0, at(300));
    assert_eq!(
        rig.when(1, LinkState::Down, at(0)),
        Some(at(300)),
        "a backup is judged at the same look"
    );
}

#[test]
fn b7_the_new_active_member_has_its_own_grace() {
    let (mut rig, lan) = on_a_switch(&format!("mode=1 {ARP} arp_validate=active"), 2);
    lan.cut(0, at(2050));
    lan.cut(1, at(2250));
    rig.run(at(5000));
    // Down 0 at 2300, active 1 from then on, with nothing heard: judged at 2600, not earlier.
    assert_eq!(rig.when(0, LinkState::Down, at(2000)), Some(at(2300)));
    let silent = rig.when(1, LinkState::Down, at(2000)).unwrap();
    assert_eq!(silent, at(2600));
}

#[test]
fn b8_whoever_is_heard_is_up_at_the_next_tick() {
    for back in (4003..4103).step_by(9) {
        let (mut rig, lan) = on_a_switch(&format!("mode=1 {ARP} arp_validate=all"), 2);
        lan.silence(1, at(2000), at(back));
        rig.run(at(6000));
        // The active one's question of the next tick passes, and is counted at the tick after it.
        let question = (back - 1).div_ceil(I) * I;
        let up = rig.when(1, LinkState::Up, at(3000)).expect("it is heard again");
        assert!(up > at(back) && up <= at(back + 2 * I), "back at {back}, up at {up}");
        assert_eq!(up, at(question + I), "back at {back}");
    }
}

#[test]
fn b9_without_an_active_member_one_is_tried_a_tick_in_order() {
    let (mut rig, lan) = on_a_switch(&format!("mode=1 {ARP} arp_validate=all"), 3);
    (0..3).for_each(|member| lan.cut(member, at(1050)));
    lan.silence(2, at(0), at(1));
    rig.run(at(4000));
    assert_eq!(rig.active(), None);
    assert!(!rig.bond.carrier());
    let probes = rig.frames(FrameKind::Probe, at(2500));
    for pair in probes.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, crate::common::ms(I), "one a tick");
        assert_eq!(pair[1].1, (pair[0].1 + 1) % 3, "in order of joining");
    }
    assert!(probes.len() >= 15);
}

#[test]
fn b9_the_one_that_is_answered_becomes_active() {
    for (alone, back) in [(0, 3010), (1, 3050), (2, 3090)] {
        let (mut rig, lan) = on_a_switch(&format!("mode=1 {ARP} arp_validate=all"), 3);
        for member in 0..3 {
            let end = if member == alone { back } else { 100_000 };
            lan.silence(member, at(1050), at(end));
        }
        rig.run(at(3800));
        assert_eq!(rig.active(), Some(alone));
        let up = rig.switches(at(back)).last().unwrap().0;
        // At worst its turn has just passed: two others, itself, and the tick that judges.
        assert!(up <= at(back + 4 * I), "back at {back}, active at {up}");
        assert!(rig.bond.carrier());
    }
}

#[test]
fn b10_balancing_members_are_judged_by_both_directions() {
    for mode in ["balance-rr", "balance-xor", "broadcast"] {
        for fault in (2003..2103).step_by(9) {
            let (mut rig, lan) = on_a_switch(&format!("mode={mode} {ARP}"), 2);
            lan.silence(0, at(fault), at(fault + 1000));
            rig.run(at(5000));
            let heard = (fault - 2) / I * I;
            let down = rig.when(0, LinkState::Down, at(1000)).expect("it is noticed");
            assert_eq!(down, at(heard + 3 * I), "{mode}, cut at {fault}");
            let up = rig.when(0, LinkState::Up, down).expect("it is heard again");
            assert!(up <= at(fault + 1000 + 2 * I), "{mode}, back at {}, up at {up}", fault + 1000);
            assert_eq!(rig.when(1, LinkState::Down, at(0)), None);
        }
    }
}

#[test]
fn all_targets_must_answer_if_so_asked() {
    for (all, falls) in [("any", false), ("all", true)] {
        let line = format!(
            "mode=1 arp_interval=100 arp_ip_target=10.0.0.98,10.0.0.99 arp_validate=active arp_all_targets={all}"
        );
        let mut rig = Rig::new(&line, 2);
        let address = LocalAddress::new([10, 0, 0, 1].into(), 24);
        rig.bond.set_addresses(vec![address], rig.now);
        rig.world(|now, sent| {
            let dead = now > at(2000) && sent.frame.ends_with(&[98]);
            let answer = crate::common::lan::answer(&sent.frame).filter(|_| !dead);
            answer.into_iter().map(|answer| (crate::common::ms(1), sent.member, answer)).collect()
        });
        rig.run(at(3000));
        let lost = rig.events.iter().any(|event| {
            matches!(event.what, What::Link { to: LinkState::Down, why: LinkReason::Silent, member, .. } if member == rig.members[0])
        });
        assert_eq!(lost, falls, "{all}");
    }
}

#[test]
fn a_targets_vlan_and_source_are_used() {
    let line = "mode=1 arp_interval=100 arp_ip_target=10.0.0.99@7/10.0.0.5,10.1.0.99";
    let mut rig = Rig::new(line, 1);
    let mut tagged = LocalAddress::new([10, 1, 0, 1].into(), 16);
    tagged.vlan = Some(9);
    let plain = LocalAddress::new([10, 0, 0, 1].into(), 8);
    rig.bond.set_addresses(vec![plain, tagged], rig.now);
    rig.run(at(100));
    let probe = |n: usize| {
        let frames: Vec<_> =
            rig.sent.iter().rev().take(2).map(|(_, sent)| sent.frame.clone()).collect();
        let read = holdfast_bond::wire::ethernet::Ethernet::parse(&frames[1 - n]).unwrap();
        (read.vlan, holdfast_bond::wire::arp::Arp::parse(read.payload).unwrap().sender.octets())
    };
    assert_eq!(probe(0), (Some(7), [10, 0, 0, 5]));
    assert_eq!(probe(1), (Some(9), [10, 1, 0, 1]));
}

#[test]
fn with_probe_all_a_backup_is_judged_by_its_own_answers() {
    let line = format!("mode=1 {ARP} probe_all=1");
    for (asked, falls) in [(line.as_str(), true), (&format!("mode=1 {ARP}"), false)] {
        let mut rig = Rig::new(asked, 2);
        let address = LocalAddress::new([10, 0, 0, 1].into(), 24);
        rig.bond.set_addresses(vec![address], rig.now);
        let second = rig.members[1];
        // The second member hears everything, but from 2000 on nothing that it sends arrives.
        rig.world(move |now, sent| {
            let mut coming = Vec::new();
            if sent.member != second {
                coming.push((crate::common::ms(1), second, sent.frame.clone()));
            }
            if sent.member != second || now < at(2000) {
                coming.extend(
                    crate::common::lan::answer(&sent.frame)
                        .map(|frame| (crate::common::ms(1), sent.member, frame)),
                );
            }
            coming
        });
        rig.run(at(1999));
        assert_eq!(rig.when(1, LinkState::Down, at(0)), None, "{asked}");
        rig.run(at(4000));
        assert_eq!(rig.when(1, LinkState::Down, at(0)).is_some(), falls, "{asked}");
        let probes = rig.frames(FrameKind::Probe, at(0));
        assert_eq!(probes.iter().any(|(_, member)| *member == 1), falls);
    }
}
