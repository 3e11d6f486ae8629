//! Whatever bytes come in: no panic, and what is read is what was written.

use holdfast_bond::hash::hash;
use holdfast_bond::options::HashPolicy;
use holdfast_bond::wire::arp::{Arp, Op};
use holdfast_bond::wire::ethernet::{self, Ethernet};
use holdfast_bond::wire::igmp;
use holdfast_bond::wire::ip::{Ipv4, Ipv6};
use holdfast_bond::wire::lacpdu::{Lacpdu, Marker, Party};
use holdfast_bond::wire::ndp::{Kind, Neighbour};
use holdfast_core::net::Mac;
use proptest::prelude::*;

use crate::common::{Rig, at};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..160)
}

/// A frame that looks like something: a header of a known kind before bytes of any kind.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(ethernet::IPV4),
        Just(ethernet::ARP),
        Just(ethernet::IPV6),
        Just(ethernet::VLAN),
        Just(ethernet::SERVICE_VLAN),
        Just(ethernet::SLOW),
        any::<u16>(),
    ];
    let first = prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), Just(1), Just(2), any::<u8>()];
    let to = prop_oneof![
        Just(Mac::BROADCAST),
        Just(Mac([1, 0x80, 0xc2, 0, 0, 2])),
        Just(Mac([2, 0, 0, 0, 0, 1])),
        any::<[u8; 6]>().prop_map(Mac),
    ];
    (to, kinds, first, bytes()).prop_map(|(to, kind, first, mut rest)| {
        if let Some(byte) = rest.first_mut() {
            *byte = first;
        }
        ethernet::frame(to, Mac([2, 9, 9, 9, 9, 9]), None, kind, &rest)
    })
}

fn party() -> impl Strategy<Value = Party> {
    let numbers =
        (any::<u16>(), any::<[u8; 6]>(), any::<u16>(), any::<u16>(), any::<u16>(), any::<u8>());
    numbers.prop_map(|(system_priority, system, key, port_priority, port, state)| Party {
        system_priority,
        system: Mac(system),
        key,
        port_priority,
        port,
        state,
    })
}

/// A packet as another parser builds it.
fn packet(
    tag: Option<u16>,
    v6: bool,
    tcp: bool,
    macs: [[u8; 6]; 2],
    ips: [[u8; 16]; 2],
    ports: [u16; 2],
    body: &[u8],
) -> Vec<u8> {
    let start = etherparse::PacketBuilder::ethernet2(macs[0], macs[1]);
    let v4 = |ip: [u8; 16]| [ip[0], ip[1], ip[2], ip[3]];
    let mut bytes = Vec::new();
    // The builder's types differ step by step.
    macro_rules! finish {
        ($ip:expr) => {
            match tcp {
                true => $ip.tcp(ports[0], ports[1], 7, 512).write(&mut bytes, body),
                false => $ip.udp(ports[0], ports[1]).write(&mut bytes, body),
            }
        };
    }
    let tag = tag.map(|tag| etherparse::VlanId::try_new(tag & 0xfff).expect("twelve bits"));
    let written = match (tag, v6) {
        (None, false) => finish!(start.ipv4(v4(ips[0]), v4(ips[1]), 64)),
        (None, true) => finish!(start.ipv6(ips[0], ips[1], 64)),
        (Some(tag), false) => finish!(start.single_vlan(tag).ipv4(v4(ips[0]), v4(ips[1]), 64)),
        (Some(tag), true) => finish!(start.single_vlan(tag).ipv6(ips[0], ips[1], 64)),
    };
    written.expect("it fits");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in bytes()) {
        let _ = (Ethernet::parse(&bytes), Arp::parse(&bytes), Neighbour::parse(&bytes));
        let _ = (Lacpdu::parse(&bytes), Marker::parse(&bytes), Ipv6::parse(&bytes));
        if let Ok(packet) = Ipv4::parse(&bytes) {
            let _ = igmp::read(&packet);
        }
        HashPolicy::ALL.iter().for_each(|policy| _ = hash(*policy, &bytes));
    }

    #[test]
    fn no_frame_makes_a_bond_panic(frames in proptest::collection::vec((frames(), 0_usize..2, any::<bool>()), 1..20)) {
        for mode in ["active-backup arp_interval=100 arp_ip_target=10.0.0.9 ns_ip6_target=fe80::9 arp_validate=all",
            "802.3ad broadcast_neighbor=1", "balance-alb", "balance-tlb", "balance-rr", "balance-xor xmit_hash_policy=encap3+4"] {
            let mut rig = Rig::new(&format!("mode={mode}"), 2);
            for (step, (frame, member, out)) in frames.iter().enumerate() {
                rig.run(at(step as u64 * 130));
                let mut frame = frame.clone();
                if *out {
                    let _ = rig.bond.send(&mut frame, rig.now);
                } else {
                    let _ = rig.bond.receive(rig.members[*member], &mut frame, rig.now);
                }
                rig.drain();
            }
        }
    }

    #[test]
    fn what_is_written_is_read(actor in party(), partner in party(), delay in any::<u16>(),
        macs in any::<[[u8; 6]; 2]>(), v4 in any::<[u32; 2]>(), v6 in any::<[u128; 3]>(), op in any::<u16>()) {
        let pdu = Lacpdu { actor, partner, collector_max_delay: delay };
        prop_assert_eq!(Lacpdu::parse(&pdu.bytes()), Ok(pdu));
        let op = match op { 1 => Op::Request, 2 => Op::Reply, other => Op::Other(other) };
        let arp = Arp { op, sender_mac: Mac(macs[0]), sender: v4[0].into(), target_mac: Mac(macs[1]), target: v4[1].into() };
        prop_assert_eq!(Arp::parse(&arp.bytes()), Ok(arp));
        for kind in [Kind::Solicitation, Kind::Advertisement { solicited: true, overrides: false }] {
            let [source, destination, target] = v6.map(Into::into);
            let message = Neighbour { kind, source, destination, target, mac: Some(Mac(macs[0])) };
            prop_assert_eq!(Neighbour::parse(&message.packet()), Ok(message));
        }
    }

    #[test]
    fn another_parser_agrees(tag in any::<Option<u16>>(), v6 in any::<bool>(), tcp in any::<bool>(),
        macs in any::<[[u8; 6]; 2]>(), ips in any::<[[u8; 16]; 2]>(), ports in any::<[u16; 2]>(), body in bytes()) {
        let frame = packet(tag, v6, tcp, macs, ips, ports, &body);
        let outer = Ethernet::parse(&frame).unwrap();
        prop_assert_eq!((outer.source, outer.destination), (Mac(macs[0]), Mac(macs[1])));
        prop_assert_eq!(outer.vlan, tag.map(|tag| tag & 0xfff).filter(|tag| *tag != 0));
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let (next, rest) = match sliced.net.unwrap() {
            etherparse::NetSlice::Ipv4(theirs) => {
                let ours = Ipv4::parse(outer.payload).unwrap();
                prop_assert_eq!(ours.source, theirs.header().source_addr());
                prop_assert_eq!(ours.destination, theirs.header().destination_addr());
                prop_assert_eq!(ours.fragment, theirs.is_payload_fragmented());
                (ours.protocol, ours.payload)
            }
            etherparse::NetSlice::Ipv6(theirs) => {
                let ours = Ipv6::parse(outer.payload).unwrap();
                prop_assert_eq!(ours.source, theirs.header().source_addr());
                prop_assert_eq!(ours.destination, theirs.header().destination_addr());
                prop_assert_eq!(ours.hops, theirs.header().hop_limit());
                (ours.next, ours.payload)
            }
            _ => panic!("an IP packet"),
        };
        prop_assert_eq!(next, if tcp { 6 } else { 17 });
        prop_assert_eq!(rest.len(), if tcp { 20 } else { 8 } + body.len());
        // Ports and addresses are all that layer3+4 takes: another body, the same flow.
        let other = packet(tag, v6, tcp, macs, ips, ports, b"another");
        prop_assert_eq!(hash(HashPolicy::Layer34, &frame), hash(HashPolicy::Layer34, &other));
        prop_assert_eq!(hash(HashPolicy::Encap34, &frame), hash(HashPolicy::Layer34, &frame));
    }

    #[test]
    fn another_parser_reads_our_arp(macs in any::<[[u8; 6]; 2]>(), ips in any::<[u32; 2]>(), reply in any::<bool>()) {
        let op = if reply { Op::Reply } else { Op::Request };
        let arp = Arp { op, sender_mac: Mac(macs[0]), sender: ips[0].into(), target_mac: Mac(macs[1]), target: ips[1].into() };
        let bytes = arp.bytes();
        let theirs = etherparse::ArpPacketSlice::from_slice(&bytes).unwrap();
        prop_assert_eq!(theirs.operation().0, if reply { 2 } else { 1 });
        prop_assert_eq!(theirs.sender_hw_addr(), &macs[0][..]);
        prop_assert_eq!(theirs.target_protocol_addr(), &ips[1].to_be_bytes()[..]);
    }
}
