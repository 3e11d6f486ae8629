//! Two bonds in 802.3ad at either end of some cables.

use crate::common::pair::Pair;
use crate::common::{at, ms};
use holdfast_bond::What;
use holdfast_bond::lacp::{ChurnState, MuxState, PeriodicState, RxState};
use holdfast_bond::wire::lacpdu::state;
use holdfast_core::time::Instant;

const FAST: &str = "mode=802.3ad lacp_rate=fast miimon=100";
const SLOW: &str = "mode=802.3ad lacp_rate=slow miimon=100";

/// When a port's mux machine first came into this state at or after `from`.
fn mux(pair: &Pair, end: usize, port: usize, to: MuxState, from: Instant) -> Option<Instant> {
    let member = pair.ends[end].members[port];
    let mut before = None;
    pair.ends[end].events.iter().find_map(|event| match event.what {
        What::Lacp { member: of, mux, .. } if of == member => {
            let entered = mux == to && before.replace(mux) != Some(to) && event.at >= from;
            entered.then_some(event.at)
        }
        _ => None,
    })
}

#[test]
fn cables_between_the_same_two_systems_become_one_link() {
    for (left, right) in [(FAST, FAST), (SLOW, FAST), (SLOW, SLOW)] {
        let mut pair = Pair::new(left, right, 3);
        pair.run(at(8000));
        for end in 0..2 {
            assert_eq!(pair.carrying(end), [0, 1, 2], "{left}, {right}");
            assert!(pair.ends[end].bond.carrier());
            let lacp = pair.ends[end].bond.status().lacp.unwrap();
            assert_eq!(lacp.active.unwrap().ports, 3);
            let other = pair.ends[1 - end].bond.status().lacp.unwrap().system;
            assert_eq!(lacp.active.unwrap().partner, other);
            assert_eq!(lacp.active.unwrap().actor_key, 4 << 1 | 1, "1 Gbit/s, full duplex");
        }
    }
}

#[test]
fn b18_a_port_waits_two_seconds_for_others() {
    let mut pair = Pair::new(FAST, FAST, 2);
    pair.run(at(8000));
    for port in 0..2 {
        let waiting = mux(&pair, 0, port, MuxState::Waiting, at(0)).unwrap();
        let attached = mux(&pair, 0, port, MuxState::Attached, waiting).unwrap();
        assert!(attached - waiting >= ms(2000) && attached - waiting <= ms(2100), "{attached}");
    }
}

#[test]
fn b15_lacpdus_come_as_the_partner_asks() {
    // Each end asks for another rate; each must send at the other's.
    let mut pair = Pair::new(FAST, SLOW, 1);
    pair.run(at(300_000));
    for (end, period) in [(0, 30_000), (1, 1000)] {
        let sent = pair.lacpdus(end, 0, at(60_000));
        assert!(sent.len() > 5);
        for two in sent.windows(2) {
            assert_eq!(two[1].0 - two[0].0, ms(period), "end {end}");
        }
    }
}

#[test]
fn b16_a_silent_partner_expires_after_three_periods() {
    for (text, least, most) in [(FAST, 2900, 3100), (SLOW, 89_900, 90_100)] {
        for fault in [200_017, 200_450, 200_933] {
            let mut pair = Pair::new(text, text, 1);
            pair.run(at(fault));
            assert_eq!(pair.port(0, 0).receive, RxState::Current);
            let heard = pair.lacpdus(1, 0, at(0)).last().unwrap().0 + ms(1);
            pair.silent[1][0] = true;
            pair.run(at(fault + 100_000));
            let member = pair.ends[0].members[0];
            let expired = pair.ends[0].events.iter().find(|event| {
                event.at > heard
                    && matches!(event.what, What::Lacp { member: of, receive: RxState::Expired, .. } if of == member)
            });
            let after = expired.expect("it expires").at - heard;
            assert!(after >= ms(least) && after <= ms(most), "{text}: {after:?}");
        }
    }
}

#[test]
fn b17_not_more_than_three_lacpdus_a_second() {
    let mut pair = Pair::new(FAST, FAST, 2);
    // A cable that is pulled and plugged again and again gives much to say.
    for turn in 0..40 {
        pair.run(at(5000 + turn * 150));
        pair.plugged[1] = turn % 2 == 1;
    }
    pair.run(at(20_000));
    for end in 0..2 {
        for port in 0..2 {
            let sent = pair.lacpdus(end, port, at(0));
            for four in sent.windows(4) {
                assert!(four[3].0 - four[0].0 >= ms(900), "{} and {}", four[0].0, four[3].0);
            }
        }
    }
}

#[test]
fn b18_churn_is_judged_after_a_minute() {
    let mut pair = Pair::new(FAST, "mode=active-backup miimon=100", 1);
    pair.run(at(59_000));
    assert_eq!(pair.port(0, 0).partner_churn, ChurnState::Monitor);
    pair.run(at(70_000));
    let port = pair.port(0, 0);
    assert_eq!((port.partner_churn, port.partner_churned), (ChurnState::Churned, 1));
    assert_eq!(port.actor_churn, ChurnState::NoChurn);
}

#[test]
fn b19_a_silenced_member_leaves_within_five_seconds_and_comes_back_within_sixty() {
    let mut pair = Pair::new(FAST, FAST, 2);
    pair.run(at(10_000));
    // Carrier stays; nothing passes the cable either way.
    (0..2).for_each(|end| pair.silent[end][0] = true);
    pair.run(at(15_000));
    for end in 0..2 {
        let state = pair.port(end, 0).actor.state;
        assert_eq!(state & (state::COLLECTING | state::DISTRIBUTING), 0, "end {end}: {state:#x}");
        assert_eq!(pair.carrying(end), [1]);
        assert!(pair.ends[end].bond.carrier());
    }
    (0..2).for_each(|end| pair.silent[end][0] = false);
    pair.run(at(75_000));
    for end in 0..2 {
        assert_eq!(pair.carrying(end), [0, 1]);
    }
}

#[test]
fn a_lost_carrier_is_seen_at_once_and_the_port_comes_back() {
    let mut pair = Pair::new(SLOW, SLOW, 2);
    pair.run(at(60_000));
    pair.plugged[0] = false;
    pair.run(at(60_200));
    assert_eq!((pair.carrying(0), pair.carrying(1)), (vec![1], vec![1]));
    pair.plugged[0] = true;
    pair.run(at(70_000));
    assert_eq!((pair.carrying(0), pair.carrying(1)), (vec![0, 1], vec![0, 1]));
}

#[test]
fn strict_means_no_carrier_without_a_partner() {
    for (strict, carrier) in [("off", true), ("on", false)] {
        let text = format!("{FAST} lacp_strict={strict}");
        let mut pair = Pair::new(&text, FAST, 2);
        pair.run(at(10_000));
        assert!(pair.ends[0].bond.carrier(), "with a partner");
        for cable in 0..2 {
            (0..2).for_each(|end| pair.silent[end][cable] = true);
        }
        pair.run(at(20_000));
        assert_eq!(pair.ends[0].bond.carrier(), carrier, "strict {strict}");
        // Changed while running, it works at once.
        let other = if carrier { "on" } else { "off" };
        let now = pair.now;
        pair.ends[0].bond.set_option("lacp_strict", other, now).unwrap();
        pair.run(at(21_000));
        assert_eq!(pair.ends[0].bond.carrier(), !carrier, "changed to {other}");
    }
}

#[test]
fn a_silent_partner_is_done_without_after_the_fallback() {
    let text = format!("{FAST} lacp_strict=on lacp_fallback=20000");
    let mut pair = Pair::new(&text, "mode=active-backup miimon=100", 2);
    pair.run(at(19_000));
    assert_eq!((pair.carrying(0).len(), pair.ends[0].bond.carrier()), (0, false));
    pair.run(at(21_000));
    assert_eq!((pair.carrying(0), pair.ends[0].bond.carrier()), (vec![0], true));
}

#[test]
fn without_a_partner_one_port_is_used() {
    let mut pair = Pair::new(FAST, "mode=active-backup miimon=100", 3);
    pair.run(at(20_000));
    assert_eq!(pair.carrying(0).len(), 1);
    assert!(pair.ends[0].bond.carrier());
}

#[test]
fn min_links_are_asked_for() {
    let text = format!("{FAST} min_links=2");
    let mut pair = Pair::new(&text, FAST, 3);
    pair.run(at(10_000));
    assert!(pair.ends[0].bond.carrier());
    pair.plugged[0] = false;
    pair.run(at(10_500));
    assert!(pair.ends[0].bond.carrier(), "two are left");
    pair.plugged[1] = false;
    pair.run(at(11_000));
    assert!(!pair.ends[0].bond.carrier(), "one is left");
    pair.plugged[0] = true;
    pair.run(at(20_000));
    assert!(pair.ends[0].bond.carrier());
}

#[test]
fn two_passive_ends_do_not_speak_of_their_own_accord() {
    let text = format!("{FAST} lacp_active=off");
    let mut pair = Pair::new(&text, &text, 1);
    pair.run(at(60_000));
    // What changes is said; nothing is said of its own accord.
    for end in 0..2 {
        assert_eq!(pair.port(end, 0).periodic, PeriodicState::NoPeriodic);
    }
    let mut pair = Pair::new(&text, FAST, 1);
    pair.run(at(60_000));
    assert_eq!(pair.carrying(0), [0], "spoken to, it speaks");
}

#[test]
fn independent_control_collects_first() {
    let text = format!("{FAST} coupled_control=off");
    let mut pair = Pair::new(&text, FAST, 1);
    pair.run(at(10_000));
    let collecting = mux(&pair, 0, 0, MuxState::Collecting, at(0)).unwrap();
    let distributing = mux(&pair, 0, 0, MuxState::Distributing, collecting).unwrap();
    assert!(collecting < distributing);
    assert_eq!(pair.carrying(0), [0]);
}

#[test]
fn a_member_that_leaves_says_so_and_its_aggregator_stays() {
    let mut pair = Pair::new(FAST, FAST, 3);
    pair.run(at(10_000));
    let (gone, now) = (pair.ends[0].members[0], pair.now);
    pair.ends[0].bond.remove_member(gone, now).unwrap();
    assert!(pair.ends[0].bond.carrier());
    let last = std::iter::from_fn(|| pair.ends[0].bond.poll_transmit()).last().unwrap();
    let pdu = holdfast_bond::wire::lacpdu::Lacpdu::parse(&last.frame[14..]).unwrap();
    assert_eq!(pdu.actor.state & (state::SYNCHRONIZATION | state::AGGREGATION), 0);
    pair.run(at(11_000));
    let status = pair.ends[0].bond.status();
    assert!(status.members.iter().all(|member| member.in_traffic));
    assert_eq!(status.lacp.unwrap().active.unwrap().ports, 2);
}

#[test]
fn our_own_voice_is_not_a_partner() {
    let mut pair = Pair::new(FAST, FAST, 1);
    pair.run(at(5000));
    let echo = pair.ends[0]
        .sent
        .iter()
        .rev()
        .find(|(_, _, sent)| sent.frame[14] == 1)
        .unwrap()
        .2
        .frame
        .clone();
    pair.silent[1][0] = true;
    for step in 0..200 {
        pair.run(at(5000 + step * 100));
        let (member, now) = (pair.ends[0].members[0], pair.now);
        pair.ends[0].bond.receive(member, &mut echo.clone(), now);
    }
    let port = pair.port(0, 0);
    assert_eq!((port.receive, port.loops), (RxState::Defaulted, 200));
}

#[test]
fn a_port_used_without_a_partner_waits_for_the_one_it_gets() {
    let mut pair = Pair::new(FAST, FAST, 1);
    pair.silent = [vec![true], vec![true]];
    pair.run(at(20_000));
    for end in 0..2 {
        assert_eq!(pair.carrying(end), [0], "nobody there who knows of LACP");
    }
    // One end is heard again, every 30 s, and hears nothing: it is not in sync with what it does not
    // know.
    pair.silent[0][0] = false;
    let heard = (200..600).map(|tenth| at(tenth * 100)).find(|moment| {
        pair.run(*moment);
        pair.port(1, 0).receive == RxState::Current
    });
    pair.run(heard.expect("a LACPDU") + ms(1000));
    let port = pair.port(1, 0);
    assert_eq!((port.receive, port.mux), (RxState::Current, MuxState::Attached));
    assert_eq!(pair.carrying(1), []);
    pair.silent[1][0] = false;
    pair.run(at(100_000));
    for end in 0..2 {
        assert_eq!(pair.port(end, 0).mux, MuxState::CollectingDistributing);
        assert_eq!(pair.carrying(end), [0]);
    }
}
