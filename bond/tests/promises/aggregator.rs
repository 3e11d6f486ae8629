//! Which aggregator is the active one: ports on two partner systems, every `ad_select`.

use crate::common::{Rig, at, options, port};
use holdfast_bond::wire::ethernet::{self, Ethernet};
use holdfast_bond::wire::lacpdu::{Lacpdu, Party, state};
use holdfast_bond::{FrameKind, NewMember, Transmit};
use holdfast_core::net::{Link, Mac};

/// What a partner that is content with everything answers to a LACPDU.
fn agree(sent: &Transmit, system: u8, port: u16, key: u16) -> Vec<u8> {
    let ours = Lacpdu::parse(Ethernet::parse(&sent.frame).unwrap().payload).unwrap();
    let content = state::ACTIVITY
        | state::TIMEOUT
        | state::AGGREGATION
        | state::SYNCHRONIZATION
        | state::COLLECTING
        | state::DISTRIBUTING;
    let system = Mac([2, 0, 0, 0, 0xee, system]);
    let actor =
        Party { system_priority: 1000, system, key, port_priority: 255, port, state: content };
    let answer = Lacpdu { actor, partner: ours.actor, collector_max_delay: 0 };
    let group = Mac([1, 0x80, 0xc2, 0, 0, 2]);
    ethernet::frame(group, system, None, ethernet::SLOW, &answer.bytes())
}

/// Three ports: the first on system 1, the others on system 2.
fn two_systems(text: &str, ports: Vec<NewMember>) -> Rig {
    let mut rig = Rig::with(options(&format!("mode=802.3ad lacp_rate=fast {text}")), ports);
    let members = rig.members.clone();
    rig.world(move |_, sent| {
        let number = members.iter().position(|member| *member == sent.member).unwrap();
        let system = if number == 0 { 1 } else { 2 };
        let answers = sent.kind == FrameKind::Lacpdu;
        let answer = answers.then(|| agree(sent, system, number as u16 + 1, 9));
        answer.into_iter().map(|frame| (crate::common::ms(1), sent.member, frame)).collect()
    });
    // What the ports said before the partners were there is said again.
    rig.run(at(40_000));
    rig
}

fn ports() -> Vec<NewMember> {
    (0..3).map(port).collect()
}

fn carrying(rig: &Rig) -> Vec<usize> {
    let members = rig.bond.status().members;
    (0..members.len()).filter(|&number| members[number].in_traffic).collect()
}

#[test]
fn stable_keeps_what_it_has() {
    let mut rig = two_systems("ad_select=stable", ports());
    assert_eq!(carrying(&rig), [0], "the first one is as good as any, and stays");
    rig.pull(at(41_050), 0);
    rig.run(at(60_000));
    assert_eq!(carrying(&rig), [1, 2], "it is lost");
    rig.plug(at(60_050), 0);
    rig.run(at(80_000));
    assert_eq!(carrying(&rig), [1, 2], "it is back, and not needed");
}

#[test]
fn count_goes_where_most_ports_are() {
    let mut rig = two_systems("ad_select=count", ports());
    assert_eq!(carrying(&rig), [1, 2]);
    rig.pull(at(41_050), 1);
    rig.pull(at(41_050), 2);
    rig.run(at(60_000));
    assert_eq!(carrying(&rig), [0]);
    rig.plug(at(60_050), 1);
    rig.plug(at(60_050), 2);
    rig.run(at(80_000));
    assert_eq!(carrying(&rig), [1, 2], "more ports again");
}

#[test]
fn bandwidth_goes_where_most_of_it_is() {
    let fast = |number: u8, mbps| NewMember { link: Link::up(mbps), ..port(number) };
    let rig =
        two_systems("ad_select=bandwidth", vec![fast(0, 10_000), fast(1, 1000), fast(2, 1000)]);
    assert_eq!(carrying(&rig), [0]);
    let rig = two_systems("ad_select=bandwidth", vec![fast(0, 1000), fast(1, 1000), fast(2, 1000)]);
    assert_eq!(carrying(&rig), [1, 2]);
}

#[test]
fn port_priorities_decide_and_may_be_changed() {
    let with = |number: u8, port_priority| NewMember { port_priority, ..port(number) };
    let given = vec![with(0, 1000), with(1, 10), with(2, 10)];
    let mut rig = two_systems("ad_select=actor_port_prio", given);
    assert_eq!(carrying(&rig), [0], "the sum of its priorities is higher");
    // As the kernel's selftest does: swapped, and one port bounces.
    for (number, priority) in [(0, 10), (1, 1000), (2, 1000)] {
        rig.bond.set_port_priority(rig.members[number], priority, rig.now).unwrap();
    }
    rig.drain();
    rig.pull(at(41_050), 2);
    rig.plug(at(41_550), 2);
    rig.run(at(60_000));
    assert_eq!(carrying(&rig), [1, 2]);
}

#[test]
fn ports_of_other_speeds_do_not_share_an_aggregator() {
    let slow = NewMember { link: Link::up(100), ..port(2) };
    let rig = two_systems("ad_select=bandwidth", vec![port(0), port(1), slow]);
    let numbers: Vec<_> =
        rig.bond.status().members.iter().map(|member| member.port.unwrap().aggregator).collect();
    assert!(numbers[1] != numbers[2], "{numbers:?}");
}
