//! The machines' graphs, every transition by every input: a change of one shows as a change of the
//! list.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::mux::{self, MuxInput, MuxState};
use super::periodic::{self, PeriodicInput, PeriodicState};
use super::receive::{self, RxInput, RxState};

/// `count` switches, as the bits of `number`.
fn bits<const N: usize>(number: u32) -> [bool; N] {
    std::array::from_fn(|at| number >> at & 1 == 1)
}

fn graph<S: Copy + Debug + PartialEq>(
    states: &[S],
    inputs: u32,
    next: impl Fn(S, u32) -> S,
) -> Vec<String> {
    let mut edges = BTreeSet::new();
    for &from in states {
        for input in 0..inputs {
            let to = next(from, input);
            if to != from {
                edges.insert(format!("{from:?} -> {to:?}"));
            }
        }
    }
    edges.into_iter().collect()
}

#[test]
fn the_receive_machines_graph() {
    use RxState::{Current, Defaulted, Expired, Initialize, LacpDisabled, PortDisabled};
    let states = [Initialize, PortDisabled, LacpDisabled, Expired, Defaulted, Current];
    let edges = graph(&states, 32, |from, number| {
        let [begin, enabled, lacp_enabled, pdu, timeout] = bits(number);
        receive::next(from, RxInput { begin, enabled, lacp_enabled, pdu, timeout })
    });
    assert_eq!(
        edges,
        [
            "Current -> Expired",
            "Current -> Initialize",
            "Current -> PortDisabled",
            "Defaulted -> Current",
            "Defaulted -> Initialize",
            "Defaulted -> PortDisabled",
            "Expired -> Current",
            "Expired -> Defaulted",
            "Expired -> Initialize",
            "Expired -> PortDisabled",
            "Initialize -> PortDisabled",
            "LacpDisabled -> Initialize",
            "LacpDisabled -> PortDisabled",
            "PortDisabled -> Expired",
            "PortDisabled -> Initialize",
            "PortDisabled -> LacpDisabled",
        ]
    );
}

#[test]
fn the_periodic_machines_graph() {
    use PeriodicState::{Fast, NoPeriodic, PeriodicTx, Slow};
    let edges = graph(&[NoPeriodic, Fast, Slow, PeriodicTx], 8, |from, number| {
        let [runs, expired, fast] = bits(number);
        periodic::next(from, PeriodicInput { runs, expired, fast })
    });
    assert_eq!(
        edges,
        [
            "Fast -> NoPeriodic",
            "Fast -> PeriodicTx",
            "Fast -> Slow",
            "NoPeriodic -> Fast",
            "PeriodicTx -> Fast",
            "PeriodicTx -> NoPeriodic",
            "PeriodicTx -> Slow",
            "Slow -> NoPeriodic",
            "Slow -> PeriodicTx",
        ]
    );
}

fn mux_graph(coupled: bool) -> Vec<String> {
    use MuxState::{Attached, Collecting, CollectingDistributing, Detached, Distributing, Waiting};
    let states: &[MuxState] = match coupled {
        true => &[Detached, Waiting, Attached, CollectingDistributing],
        false => &[Detached, Waiting, Attached, Collecting, Distributing],
    };
    graph(states, 128, |from, number| {
        let [begin, selected, ready, partner_in_sync, partner_collects, actor_in_sync, active] =
            bits(number);
        let input = MuxInput {
            begin,
            selected,
            ready,
            partner_in_sync,
            partner_collects,
            actor_in_sync,
            active,
            coupled,
        };
        mux::next(from, input)
    })
}

#[test]
fn the_mux_machines_graphs() {
    assert_eq!(
        mux_graph(true),
        [
            "Attached -> CollectingDistributing",
            "Attached -> Detached",
            "CollectingDistributing -> Attached",
            "CollectingDistributing -> Detached",
            "Detached -> Waiting",
            "Waiting -> Attached",
            "Waiting -> Detached",
        ]
    );
    assert_eq!(
        mux_graph(false),
        [
            "Attached -> Collecting",
            "Attached -> Detached",
            "Collecting -> Attached",
            "Collecting -> Detached",
            "Collecting -> Distributing",
            "Detached -> Waiting",
            "Distributing -> Collecting",
            "Distributing -> Detached",
            "Waiting -> Attached",
            "Waiting -> Detached",
        ]
    );
}

#[test]
fn codes_of_speeds_are_the_kernels() {
    for code in 1..=19 {
        assert_eq!(super::speed_code(super::speed_mbps(code)), code);
    }
    assert_eq!(
        (super::speed_code(1000), super::speed_code(10_000), super::speed_code(7)),
        (4, 7, 0)
    );
}
