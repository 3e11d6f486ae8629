//! Flap damping.

use crate::common::{Rig, at};
use holdfast_bond::What;

/// The primary's cable goes down and up `times`, a second each.
fn flapping(text: &str, times: u64) -> Rig {
    let mut rig = Rig::new(&format!("mode=1 miimon=100 primary=eth0 {text}"), 2);
    for time in 0..times {
        rig.pull(at(1050 + time * 2000), 0);
        rig.plug(at(2050 + time * 2000), 0);
    }
    rig
}

#[test]
fn without_damping_every_flap_is_followed() {
    let mut rig = flapping("", 10);
    rig.run(at(60_000));
    assert_eq!(rig.switches(at(1)).len(), 20);
}

#[test]
fn a_member_that_flaps_is_kept_out_until_it_is_quiet() {
    let mut rig = flapping("flap_penalty=2500 flap_half_life=10000", 10);
    rig.run(at(20_000));
    assert_eq!(rig.active(), Some(1));
    assert!(rig.bond.status().members[0].damped);
    assert_eq!(rig.switches(at(1)).len(), 5, "three failures, two returns");
    rig.run(at(60_000));
    assert_eq!((rig.active(), rig.switches(at(1)).len()), (Some(0), 6));
    let out: Vec<_> = rig
        .events
        .iter()
        .filter_map(|event| match event.what {
            What::Damped { out, .. } => Some(out),
            _ => None,
        })
        .collect();
    assert_eq!(out, [true, false]);
}

#[test]
fn nobody_is_kept_out_when_no_other_one_is_usable() {
    let mut rig = flapping("flap_penalty=1500 flap_half_life=100000", 5);
    rig.pull(at(20_050), 1);
    rig.run(at(21_000));
    assert_eq!(rig.active(), Some(0));
    assert!(rig.bond.carrier());
}
