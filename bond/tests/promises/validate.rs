//! The seven values of `arp_validate`, on active members and on backups, against every kind of
//! frame that might come in.

use crate::common::lan::{HOST, answer};
use crate::common::{Rig, at, mac, ms};
use holdfast_bond::wire::arp::Arp;
use holdfast_bond::wire::ethernet;
use holdfast_bond::{LinkState, LocalAddress};
use holdfast_core::net::Mac;

/// What comes in, again and again.
#[derive(Clone, Copy, Debug)]
enum Heard {
    /// The target's answer.
    Answer,
    /// The bond's own question.
    Question,
    /// A stranger's question for somebody else.
    StrangerArp,
    /// Anything that is neither ARP nor IPv6.
    Other,
}

fn frame(heard: Heard) -> Vec<u8> {
    let question =
        Arp::request(mac(0), [10, 0, 0, 1].into(), [10, 0, 0, 99].into()).broadcast(None);
    match heard {
        Heard::Answer => answer(&question).unwrap(),
        Heard::Question => question,
        Heard::StrangerArp => {
            Arp::request(HOST, [10, 0, 0, 7].into(), [10, 0, 0, 8].into()).broadcast(None)
        }
        Heard::Other => ethernet::frame(Mac::BROADCAST, HOST, None, ethernet::IPV4, &[0; 46]),
    }
}

/// Whether member `number` stays up on this diet. The active member is always answered.
fn survives(validate: &str, number: usize, heard: Heard) -> bool {
    let line = format!("mode=1 arp_interval=100 arp_ip_target=10.0.0.99 arp_validate={validate}");
    let mut rig = Rig::new(&line, 2);
    rig.bond.set_addresses(vec![LocalAddress::new([10, 0, 0, 1].into(), 24)], rig.now);
    for tick in 1..30 {
        let (active, fed) = (rig.members[0], rig.members[number]);
        if number == 1 {
            rig.arrive(at(tick * 100) + ms(1), active, frame(Heard::Answer));
        }
        rig.arrive(at(tick * 100) + ms(2), fed, frame(heard));
    }
    rig.run(at(2500));
    rig.when(number, LinkState::Down, at(0)).is_none()
}

#[test]
fn every_value_with_every_kind_of_frame() {
    use Heard::{Answer, Other, Question, StrangerArp};
    // On the active member, then on a backup: answer, question, stranger's ARP, other.
    let table = [
        ("none", [true, true, true, true], [true, true, true, true]),
        ("active", [true, false, false, false], [true, true, true, true]),
        ("backup", [true, true, true, true], [false, true, false, false]),
        ("all", [true, false, false, false], [false, true, false, false]),
        ("filter", [true, true, true, false], [true, true, true, false]),
        ("filter_active", [true, false, false, false], [true, true, true, false]),
        ("filter_backup", [true, true, true, false], [false, true, false, false]),
    ];
    for (validate, active, backup) in table {
        for (at, heard) in [Answer, Question, StrangerArp, Other].into_iter().enumerate() {
            assert_eq!(survives(validate, 0, heard), active[at], "{validate}, active, {heard:?}");
            assert_eq!(survives(validate, 1, heard), backup[at], "{validate}, backup, {heard:?}");
        }
    }
}

#[test]
fn on_a_backup_questions_count_only_while_the_active_member_is_answered() {
    let line = "mode=1 arp_interval=100 arp_ip_target=10.0.0.99 arp_validate=all";
    let mut rig = Rig::new(line, 2);
    rig.bond.set_addresses(vec![LocalAddress::new([10, 0, 0, 1].into(), 24)], rig.now);
    for tick in 1..30 {
        let backup = rig.members[1];
        rig.arrive(at(tick * 100) + ms(1), backup, frame(Heard::Question));
    }
    rig.run(at(2500));
    assert!(rig.when(1, LinkState::Down, at(0)).is_some(), "nobody was ever answered");
}

#[test]
fn answers_to_others_do_not_count() {
    let line = "mode=1 arp_interval=100 arp_ip_target=10.0.0.99 arp_validate=all";
    let mut rig = Rig::new(line, 1);
    rig.bond.set_addresses(vec![LocalAddress::new([10, 0, 0, 1].into(), 24)], rig.now);
    let member = rig.members[0];
    for tick in 1..30 {
        // To another station's hardware address, or about another station's IP address.
        let mut strange = frame(Heard::Answer);
        strange[5] ^= 0x40;
        rig.arrive(at(tick * 100) + ms(1), member, strange);
        let mut strange = frame(Heard::Answer);
        strange[41] ^= 0x40;
        rig.arrive(at(tick * 100) + ms(2), member, strange);
    }
    rig.run(at(1000));
    assert!(rig.when(0, LinkState::Down, at(0)).is_some());
}
