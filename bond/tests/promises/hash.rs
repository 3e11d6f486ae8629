//! The six transmit hash policies against vectors computed apart from them, by the formulas of
//! the kernel's `bond_main.c` and the walk of its flow dissector.

use crate::common::{Rig, at};
use holdfast_bond::Egress;
use holdfast_bond::hash::hash;
use holdfast_bond::options::HashPolicy;

/// A name, a frame, and the values of layer2, layer3+4, layer2+3, encap2+3, encap3+4 and
/// vlan+srcmac.
#[rustfmt::skip]
const VECTORS: &[(&str, &str, [u32; 6])] = &[
    ("tcp4", "525400aabb0102112233445508004500002800010000400600000a010203c0a84d0901bbc3cb00000000000000000000000000000000", [0x854, 0x60a6afca, 0xa45e47a, 0xa45e47a, 0x60a6afca, 0x315577]),
    ("udp4 with options", "525400aabb0102112233445508004600002000010000401100000a010203c0a84d09940400000fa0003500000000", [0x854, 0x1fb83cde, 0xa45e47a, 0xa45e47a, 0x1fb83cde, 0x315577]),
    ("first fragment", "525400aabb0102112233445508004500001c00012000401100000a010203c0a84d090fa0003500000000", [0x854, 0x522f613, 0xa45e47a, 0xa45e47a, 0x522f613, 0x315577]),
    ("dont fragment", "525400aabb0102112233445508004500001c00014000401100000a010203c0a84d090fa0003500000000", [0x854, 0x1fb83cde, 0xa45e47a, 0xa45e47a, 0x1fb83cde, 0x315577]),
    ("echo", "525400aabb0102112233445508004500001c00010000400100000a010203c0a84d090800000012340001", [0x854, 0xc31e504, 0xa45e47a, 0xa45e47a, 0xc31e504, 0x315577]),
    ("echo with id 0", "525400aabb0102112233445508004500001c00010000400100000a010203c0a84d090800000000000001", [0x854, 0x5227697, 0xa45e47a, 0xa45e47a, 0x5227697, 0x315577]),
    ("unreachable", "525400aabb010211223344550800450000380001000040010000ac1000010a01020303010000000000004500001c0001000040060000c0a84d090a010203c3cb01bb00000000", [0x854, 0x58ffceca, 0xa45e47a, 0x20019eb, 0x10008db, 0x315577]),
    ("tcp6", "525400aabb0102112233445586dd600000000014064020010db8000000000000000000000017fe8000000000000000000000abcd123401bbc3cb00000000000000000000000000000000", [0x8689, 0x28463d87, 0x9b844eb2, 0x9b844eb2, 0x28463d87, 0x315577]),
    ("echo6", "525400aabb0102112233445586dd6000000000083a4020010db8000000000000000000000017fe8000000000000000000000abcd123480000000004d0001", [0x8689, 0x4de4c2b8, 0x9b844eb2, 0x9b844eb2, 0x4de4c2b8, 0x315577]),
    ("tagged", "525400aabb010211223344558100606408004500001c00010000401100000a010203c0a84d090fa0003500000000", [0x854, 0x1fb83cde, 0xa45e47a, 0xa45e47a, 0x1fb83cde, 0x313513]),
    ("two tags", "525400aabb0102112233445588a800648100000708004500001c00010000401100000a010203c0a84d090fa0003500000000", [0x8154, 0x8154, 0x8154, 0xa456df3, 0x1fb83cde, 0x315513]),
    ("arp", "525400aabb01021122334455080600000000000000000000000000000000000000000000000000000000", [0x852, 0x852, 0x852, 0x85a, 0x0, 0x315577]),
    ("lldp", "525400aabb0102112233445588cc00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", [0x8898, 0x8898, 0x8898, 0x8898, 0x8898, 0x315577]),
    ("esp", "525400aabb0102112233445508004500002c00010000403200000a010203c0a84d09010203040000000000000000000000000000000000000000", [0x854, 0x7217491, 0xa45e47a, 0xa45e47a, 0x7217491, 0x315577]),
    ("ah", "525400aabb0102112233445508004500003000010000403300000a010203c0a84d0906040000112233440000000000000000000000000000000000000000", [0x854, 0x27195cb1, 0xa45e47a, 0xa45e47a, 0x27195cb1, 0x315577]),
    ("ipip", "525400aabb0102112233445508004500003c00010000400400000a0909010a0909024500002800010000400600000a010203c0a84d0901bbc3cb00000000000000000000000000000000", [0x854, 0x1818181, 0x3030b5f, 0xa45e47a, 0x60a6afca, 0x315577]),
    ("gre with key over ip6", "525400aabb0102112233445508004500004c00010000402f00000a0909010a090902200086dd00000063600000000008114020010db8000000000000000000000017fe8000000000000000000000abcd12340fa0003500000000", [0x854, 0x1818181, 0x3030b5f, 0x9b84c0e1, 0x5758ae93, 0x315577]),
    ("gre bridging", "525400aabb0102112233445508004500004200010000402f00000a0909010a09090200006558021122334455525400aabb0108004500001c00010000401100000a010203c0a84d090fa0003500000000", [0x854, 0x1818181, 0x3030b5f, 0xa45e47a, 0x1fb83cde, 0x315577]),
    ("hop by hop", "525400aabb0102112233445586dd600000000010004020010db8000000000000000000000017fe8000000000000000000000abcd123411000000000000000fa0003500000000", [0x8689, 0x4dc2645e, 0x9b844eb2, 0x9b844eb2, 0x5758ae93, 0x315577]),
    ("fragment6", "525400aabb0102112233445586dd6000000000102c4020010db8000000000000000000000017fe8000000000000000000000abcd123411000001000000000fa0003500000000", [0x8689, 0x4dc2645e, 0x9b844eb2, 0x9b844eb2, 0x4dc2645e, 0x315577]),
    ("short ip4", "525400aabb0102112233445508004500002800010000400600000a010203c0a84d", [0x854, 0x854, 0x854, 0x854, 0x854, 0x315577]),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn every_policy_gives_the_kernels_value() {
    for (name, frame, values) in VECTORS {
        for (policy, value) in HashPolicy::ALL.iter().zip(values) {
            let ours = hash(*policy, &bytes(frame));
            assert_eq!(ours, *value, "{name}, {policy}: {ours:#x} for {value:#x}");
        }
    }
}

#[test]
fn no_frame_is_too_short_to_be_hashed() {
    for (_, frame, _) in VECTORS {
        let frame = bytes(frame);
        for length in 0..frame.len() {
            HashPolicy::ALL.iter().for_each(|policy| _ = hash(*policy, &frame[..length]));
        }
    }
}

#[test]
fn balance_xor_takes_the_member_of_that_number() {
    for (name, frame, values) in VECTORS {
        for policy in HashPolicy::ALL {
            let mut rig = Rig::new(&format!("mode=balance-xor xmit_hash_policy={policy}"), 3);
            let member = |number: u32| Egress::One(rig.members[number as usize]);
            let value = values[policy.number() as usize];
            let (all, two) = (member(value % 3), member(if value % 2 == 0 { 0 } else { 2 }));
            assert_eq!(rig.bond.send(&mut bytes(frame), at(0)), all, "{name}, {policy}");
            // Without the second member the others close up.
            rig.pull(at(50), 1);
            rig.run(at(200));
            assert_eq!(rig.bond.send(&mut bytes(frame), at(200)), two, "{name}, {policy}");
        }
    }
}

#[test]
fn balance_rr_takes_turns() {
    let frame = bytes(VECTORS[0].1);
    for each in [1, 2, 5] {
        let mut rig = Rig::new(&format!("mode=balance-rr packets_per_slave={each}"), 3);
        let sent: Vec<_> = (0..30).map(|_| rig.bond.send(&mut frame.clone(), at(0))).collect();
        for (n, egress) in sent.iter().enumerate() {
            assert_eq!(*egress, Egress::One(rig.members[(n + 1) / each % 3]), "frame {n}");
        }
    }
    let mut rig = Rig::new("mode=balance-rr packets_per_slave=0", 3);
    let mut counts = [0; 3];
    for _ in 0..3000 {
        let Egress::One(member) = rig.bond.send(&mut frame.clone(), at(0)) else {
            panic!("dropped")
        };
        counts[rig.members.iter().position(|known| *known == member).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[test]
fn balance_rr_passes_over_those_that_are_down() {
    let mut rig = Rig::new("mode=balance-rr", 3);
    rig.pull(at(50), 1);
    rig.run(at(200));
    let frame = bytes(VECTORS[0].1);
    let sent: Vec<_> = (0..6).map(|_| rig.bond.send(&mut frame.clone(), at(200))).collect();
    let one = |n: usize| Egress::One(rig.members[n]);
    assert_eq!(sent, [one(2), one(2), one(0), one(2), one(2), one(0)]);
}

#[test]
fn broadcast_goes_everywhere_it_can() {
    let mut rig = Rig::new("mode=broadcast", 3);
    rig.pull(at(50), 1);
    rig.run(at(200));
    assert_eq!(rig.bond.send(&mut bytes(VECTORS[0].1), at(200)), Egress::Every);
    assert_eq!(rig.bond.every(), [rig.members[0], rig.members[2]]);
}
