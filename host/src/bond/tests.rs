//! On real interfaces: each test in a network namespace of its own, over pairs of veth.

use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant};

use holdfast_core::net::Mac;

use super::frame::{Batch, Header};
use super::guard;
use super::journal::{self, Before};
use super::link::{Name, Prober};
use super::netlink::{Change, NO_ADDRESS, Netlink};
use super::packet::{Lane, Membership, PacketSocket};
use super::tap::Tap;
use crate::testing::{in_namespace, ip};

/// Nothing takes nearly this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What has not come by then does not come: everything here is one hop.
const SILENCE: Duration = Duration::from_millis(60);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A pair of veth, up; no addresses of their own that would chatter.
fn veth(one: &str, other: &str) -> (u32, u32) {
    ip(&format!("link add {one} type veth peer name {other}"));
    let mut netlink = Netlink::open().unwrap();
    let indices = [one, other].map(|end| {
        let index = netlink.link_named(&name(end)).unwrap().index;
        netlink.set_address_mode(index, NO_ADDRESS).unwrap();
        netlink.set_up(index, true).unwrap();
        index
    });
    (indices[0], indices[1])
}

/// Calls until it says yes.
fn eventually(what: &str, mut try_it: impl FnMut() -> bool) {
    let start = Instant::now();
    while !try_it() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(1));
    }
}

const BROADCAST: [u8; 6] = [0xff; 6];
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

fn ethernet(to: [u8; 6], kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = [to, SOURCE].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(rest);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Who has 192.0.2.1?
fn arp_request() -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(SOURCE);
    arp.extend([192, 0, 2, 9]);
    arp.extend([0; 6]);
    arp.extend([192, 0, 2, 1]);
    ethernet(BROADCAST, 0x0806, &arp)
}

fn neighbour_advertisement() -> Vec<u8> {
    let mut rest = vec![0x60, 0, 0, 0, 0, 24, 58, 255];
    rest.extend([0; 32]);
    rest.extend([136, 0, 0, 0]);
    rest.extend([0; 20]);
    ethernet([0x33, 0x33, 0, 0, 0, 1], 0x86dd, &rest)
}

fn send(socket: &PacketSocket, frame: &[u8]) {
    let sent = socket.send([(&Header::PLAIN, frame)]);
    assert_eq!((sent.frames, sent.dropped, sent.refused), (1, 0, 0));
}

/// The types of the frames that come before it is silent.
fn heard(socket: &mut PacketSocket) -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    let mut all = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() < SILENCE {
        if socket.receive(&mut batch).unwrap() > 0 {
            all.extend(batch.frames().map(|slot| slot.frame().to_vec()));
            last = Instant::now();
        }
        sleep(Duration::from_millis(1));
    }
    all
}

#[test]
fn each_lane_hears_its_frames_and_both_send() {
    in_namespace("bond::tests::each_lane_hears_its_frames_and_both_send", || {
        let (near, far) = veth("near", "far");
        let mut data = PacketSocket::open(near, Lane::Data).unwrap();
        let mut control = PacketSocket::open(near, Lane::Control).unwrap();
        let other = PacketSocket::open(far, Lane::Control).unwrap();
        let mut lacpdu = ethernet([1, 0x80, 0xc2, 0, 0, 2], 0x8809, &[1, 1]);
        lacpdu.resize(124, 0);
        let ipv4 = ethernet(BROADCAST, 0x0800, &[0x45; 20]);
        let mut echo = neighbour_advertisement();
        echo[54] = 128;
        let control_frames = [arp_request(), lacpdu, neighbour_advertisement()];
        let data_frames = [ipv4, echo];
        for frame in control_frames.iter().chain(&data_frames) {
            send(&other, frame);
        }
        assert_eq!(heard(&mut control), control_frames);
        assert_eq!(heard(&mut data), data_frames);
        // What a socket sends, neither of its own member hears.
        let mut far_control = other;
        send(&data, &control_frames[0]);
        send(&control, &control_frames[0]);
        assert_eq!(heard(&mut far_control).len(), 2);
        assert!(heard(&mut control).is_empty() && heard(&mut data).is_empty());
    });
}

#[test]
fn tags_are_where_they_were_on_the_wire() {
    in_namespace("bond::tests::tags_are_where_they_were_on_the_wire", || {
        let (near, far) = veth("near", "far");
        let mut control = PacketSocket::open(near, Lane::Control).unwrap();
        let other = PacketSocket::open(far, Lane::Data).unwrap();
        for tag in [[0x81, 0, 0x20, 0x64], [0x88, 0xa8, 0, 7]] {
            let plain = arp_request();
            let tagged = [&plain[..12], &tag, &plain[12..]].concat();
            send(&other, &tagged);
            assert_eq!(heard(&mut control), [tagged], "{tag:x?}");
        }
    });
}

#[test]
fn a_guarded_member_is_heard_by_us_and_not_by_the_stack() {
    in_namespace("bond::tests::a_guarded_member_is_heard_by_us_and_not_by_the_stack", || {
        let (near, far) = veth("near", "far");
        ip("address add 192.0.2.1/24 dev near");
        let mut netlink = Netlink::open().unwrap();
        let mut us = PacketSocket::open(near, Lane::Control).unwrap();
        let mut client = PacketSocket::open(far, Lane::Control).unwrap();
        let mut answers = || {
            send(&client, &arp_request());
            assert_eq!(heard(&mut us), [arp_request()]);
            heard(&mut client).len()
        };
        assert_eq!(answers(), 1, "without a guard the stack answers");
        let installed = guard::install(&mut netlink, near).unwrap();
        assert!(installed.made_clsact);
        assert_eq!(answers(), 0, "with a guard it does not");
        // Once more changes nothing, and does not claim what was there.
        assert!(!guard::install(&mut netlink, near).unwrap().made_clsact);
        assert_eq!(guard::find(&mut netlink, near).unwrap().len(), 1);
        assert_eq!(guard::remove(&mut netlink, near, true).unwrap(), 1);
        assert_eq!(answers(), 1, "without it the stack answers again");
        assert_eq!(guard::remove(&mut netlink, near, true).unwrap(), 0);
        assert_eq!(guard::remove(&mut netlink, 999, true).unwrap_or(0), 0);
    });
}

#[test]
fn a_guard_goes_before_filters_of_others_and_leaves_them() {
    in_namespace("bond::tests::a_guard_goes_before_filters_of_others_and_leaves_them", || {
        let (near, _) = veth("near", "far");
        let tc = |words: &str| {
            let output = std::process::Command::new("tc").args(words.split(' ')).output().unwrap();
            assert!(output.status.success(), "{words}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        tc("qdisc add dev near clsact");
        // The first preference is taken by a filter of another kind.
        tc("filter add dev near ingress pref 1 protocol ip u32 match u8 0 0");
        let before = tc("filter show dev near ingress");
        let mut netlink = Netlink::open().unwrap();
        assert!(!guard::install(&mut netlink, near).unwrap().made_clsact);
        assert_eq!(guard::find(&mut netlink, near).unwrap().len(), 1);
        assert_eq!(guard::remove(&mut netlink, near, false).unwrap(), 1);
        assert_eq!(tc("filter show dev near ingress"), before);
    });
}

#[test]
fn a_guard_lets_link_discovery_pass() {
    in_namespace("bond::tests::a_guard_lets_link_discovery_pass", || {
        let (near, far) = veth("near", "far");
        let mut netlink = Netlink::open().unwrap();
        guard::install(&mut netlink, near).unwrap();
        let other = PacketSocket::open(far, Lane::Data).unwrap();
        let passed = || {
            let output = std::process::Command::new("tc")
                .args(["-s", "qdisc", "show", "dev", "near", "clsact"])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let dropped = text.split("dropped ").nth(1).expect(&text);
            dropped.split(',').next().unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(passed(), 0);
        send(&other, &ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, &[1]));
        assert_eq!(passed(), 0, "LLDP is nobody's business but the member's");
        send(&other, &ethernet([1, 0x80, 0xc2, 0, 0, 2], 0x8809, &[1]));
        send(&other, &ethernet([1, 0x80, 0xc2, 0, 0, 0x10], 0x88cc, &[1]));
        send(&other, &ethernet(BROADCAST, 0x88cc, &[1]));
        assert_eq!(passed(), 3, "LACP and the rest are the bond's");
    });
}

#[test]
fn a_tap_has_the_carrier_it_is_given_and_carries_frames() {
    in_namespace("bond::tests::a_tap_has_the_carrier_it_is_given_and_carries_frames", || {
        let mut netlink = Netlink::open().unwrap();
        let prober = Prober::open().unwrap();
        let bond = name("bond0");
        let tap = Tap::create(&bond, &mut netlink).unwrap();
        assert_eq!(Tap::create(&bond, &mut netlink).unwrap_err().kind(), ErrorKind::AlreadyExists);
        netlink.set_address_mode(tap.index(), NO_ADDRESS).unwrap();
        netlink.set_up(tap.index(), true).unwrap();
        ip("address add 192.0.2.1/24 dev bond0");
        for on in [false, true, false, true] {
            tap.set_carrier(on).unwrap();
            assert_eq!(prober.carrier(&bond).unwrap(), Some(on));
        }
        tap.send(&Header::PLAIN, &arp_request()).unwrap();
        let mut batch = Batch::new();
        let mac = netlink.link(tap.index()).unwrap().mac.unwrap();
        eventually("an answer to ARP", || {
            tap.receive(&mut batch).unwrap();
            batch.frames().any(|slot| {
                slot.frame()[..14]
                    == ethernet(SOURCE, 0x0806, &[])[..6]
                        .iter()
                        .chain(&mac.0)
                        .chain(&[8, 6])
                        .copied()
                        .collect::<Vec<u8>>()
            })
        });
        drop(tap);
        assert_eq!(prober.carrier(&bond).unwrap(), None);
    });
}

#[test]
fn carrier_is_what_the_driver_says() {
    in_namespace("bond::tests::carrier_is_what_the_driver_says", || {
        let (near, far) = veth("near", "far");
        let (mut netlink, prober) = (Netlink::open().unwrap(), Prober::open().unwrap());
        let carrier = || prober.carrier(&name("near")).unwrap();
        assert_eq!(carrier(), Some(true));
        netlink.set_up(far, false).unwrap();
        assert_eq!(carrier(), Some(false), "nobody at the other end");
        netlink.set_up(far, true).unwrap();
        assert_eq!(carrier(), Some(true));
        netlink.set_up(near, false).unwrap();
        assert_eq!(carrier(), Some(false), "set down itself");
        assert_eq!(prober.speed(&name("near")).mbps, Some(10_000));
        assert_eq!(prober.speed(&name("near")).full_duplex, Some(true));
    });
}

#[test]
fn changes_by_others_are_heard() {
    in_namespace("bond::tests::changes_by_others_are_heard", || {
        let mut listener = Netlink::listen().unwrap();
        let (near, _) = veth("near", "far");
        ip("link set near down");
        ip("link set near name renamed mtu 1400 address 02:00:00:00:00:31");
        let mut last = None;
        let mut gone = false;
        let mut hear = |last: &mut Option<super::netlink::Link>, gone: &mut bool| {
            for change in listener.changes().unwrap().expect("not so many") {
                match change {
                    Change::Is(link) if link.index == near => *last = Some(link),
                    Change::Gone { index } if index == near => *gone = true,
                    _ => {}
                }
            }
        };
        eventually("renamed", || {
            hear(&mut last, &mut gone);
            last.as_ref().is_some_and(|link| {
                (link.name.as_str(), link.mtu) == ("renamed", 1400)
                    && link.mac == "02:00:00:00:00:31".parse().ok()
            })
        });
        ip("link delete renamed");
        eventually("gone", || {
            hear(&mut last, &mut gone);
            gone
        });
    });
}

#[test]
fn a_member_is_put_back_as_it_was() {
    in_namespace("bond::tests::a_member_is_put_back_as_it_was", || {
        for up in [true, false] {
            let (near, _) = veth("near", "far");
            let mut netlink = Netlink::open().unwrap();
            netlink.set_up(near, up).unwrap();
            let link = netlink.link(near).unwrap();
            let before = |made_clsact| Before {
                index: near,
                name: link.name.clone(),
                mac: link.mac.unwrap(),
                mtu: link.mtu,
                up,
                made_clsact,
                address_mode: link.address_mode,
            };
            netlink.set_up(near, false).unwrap();
            netlink.set_mac(near, Mac([2, 0, 0, 0, 0, 0x55])).unwrap();
            netlink.set_mtu(near, 9000).unwrap();
            netlink.set_address_mode(near, 0).unwrap();
            let installed = guard::install(&mut netlink, near).unwrap();
            netlink.set_up(near, true).unwrap();
            assert_ne!(netlink.link(near).unwrap(), link);
            assert!(journal::restore(&mut netlink, &before(installed.made_clsact)).unwrap());
            assert_eq!(netlink.link(near).unwrap(), link);
            assert!(guard::find(&mut netlink, near).unwrap().is_empty());
            ip("link delete near");
            assert!(!journal::restore(&mut netlink, &before(true)).unwrap(), "gone is gone");
        }
    });
}

#[test]
fn memberships_end_with_the_socket() {
    in_namespace("bond::tests::memberships_end_with_the_socket", || {
        let (near, _) = veth("near", "far");
        let listed = || ip("maddress show dev near").contains("01:80:c2:00:00:02");
        let mut netlink = Netlink::open().unwrap();
        let mut promiscuous = || {
            ip("-details link show near").contains("promiscuity 1") && netlink.link(near).is_ok()
        };
        let socket = PacketSocket::open(near, Lane::Control).unwrap();
        let slow = Membership::Multicast(Mac([1, 0x80, 0xc2, 0, 0, 2]));
        socket.join(slow).unwrap();
        socket.join(Membership::Promiscuous).unwrap();
        assert!(listed() && promiscuous());
        socket.leave(Membership::Promiscuous).unwrap();
        assert!(listed() && !promiscuous());
        drop(socket);
        assert!(!listed());
    });
}

#[test]
fn addresses_of_an_interface_and_of_what_is_above_it() {
    in_namespace("bond::tests::addresses_of_an_interface_and_of_what_is_above_it", || {
        let (near, far) = veth("near", "far");
        ip("address add 192.0.2.1/24 dev near");
        ip("address add 2001:db8::1/64 dev near nodad");
        ip("address add 192.0.2.200/24 dev far");
        ip("link add link near name above address 02:00:00:00:00:21 type macvlan mode bridge");
        ip("link set above up");
        ip("address add 198.51.100.1/25 dev above");
        let mut netlink = Netlink::open().unwrap();
        let mut owned: Vec<String> = super::addresses::owned_by(&mut netlink, near)
            .unwrap()
            .iter()
            .map(|owned| format!("{}/{} {:?}", owned.ip, owned.prefix, owned.vlan))
            .filter(|text| !text.starts_with("fe80"))
            .collect();
        owned.sort();
        assert_eq!(owned, ["192.0.2.1/24 None", "198.51.100.1/25 None", "2001:db8::1/64 None"]);
        let heard = super::addresses::listened_to(&mut netlink, near).unwrap();
        let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
        let all_systems = [1, 0, 0x5e, 0, 0, 1];
        let of_macvlan = [2, 0, 0, 0, 0, 0x21];
        for mac in [all_nodes, all_systems, of_macvlan] {
            assert!(heard.contains(&Mac(mac)), "{mac:x?} in {heard:x?}");
        }
        assert!(
            !super::addresses::listened_to(&mut netlink, far).unwrap().contains(&Mac(of_macvlan))
        );
    });
}

#[test]
fn a_driver_keeps_only_what_it_needs() {
    in_namespace("bond::tests::a_driver_keeps_only_what_it_needs", || {
        assert!(super::privilege::has_network());
        super::privilege::keep_network_only().unwrap();
        assert!(super::privilege::has_network());
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        // CAP_NET_ADMIN is 12, CAP_NET_RAW is 13.
        for line in ["CapPrm:\t0000000000003000", "CapEff:\t0000000000003000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} in {status}");
        }
        // It still does its work.
        let (near, _) = veth_by_ourselves();
        assert!(PacketSocket::open(near, Lane::Data).is_ok());
    });
}

/// A driver's own calls, without a program that would need capabilities of its own.
fn veth_by_ourselves() -> (u32, u32) {
    let mut netlink = Netlink::open().unwrap();
    let lo = netlink.link_named(&name("lo")).unwrap().index;
    netlink.set_up(lo, true).unwrap();
    guard::install(&mut netlink, lo).unwrap();
    assert_eq!(guard::remove(&mut netlink, lo, true).unwrap(), 1);
    (lo, lo)
}
