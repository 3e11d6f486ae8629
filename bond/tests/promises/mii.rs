//! What the MII monitor promises: never earlier, never later.

use crate::common::{Rig, at};
use holdfast_bond::LinkState;

/// The monitor looks at 0, 100, 200, …; faults come at every 7 ms between two looks.
const FAULTS: std::ops::Range<u64> = 1000..1100;

#[test]
fn b1_a_lost_carrier_is_seen_within_one_interval() {
    for fault in FAULTS.step_by(7) {
        let mut rig = Rig::new("mode=active-backup miimon=100", 2);
        rig.pull(at(fault), 0);
        rig.run(at(2000));
        let down = rig.when(0, LinkState::Down, at(0)).expect("it is given up");
        assert_eq!(down, at(fault.next_multiple_of(100)), "pulled at {fault}");
        assert_eq!(rig.switches(at(1)).len(), 1);
        assert_eq!(rig.active(), Some(1));
    }
}

#[test]
fn b2_downdelay_is_waited_for_from_the_first_look_on() {
    for (delay, looks) in [(200, 2), (250, 2), (99, 0), (300, 3)] {
        for fault in FAULTS.step_by(7) {
            let mut rig = Rig::new(&format!("mode=1 miimon=100 downdelay={delay}"), 2);
            rig.pull(at(fault), 0);
            rig.run(at(3000));
            let seen = fault.next_multiple_of(100);
            let down = rig.when(0, LinkState::Down, at(0)).expect("it is given up");
            assert_eq!(down, at(seen + looks * 100), "pulled at {fault}, downdelay {delay}");
            if looks > 0 {
                assert_eq!(rig.when(0, LinkState::Fail, at(0)), Some(at(seen)));
            }
        }
    }
}

#[test]
fn b2_a_carrier_that_is_back_in_time_has_not_failed() {
    let mut rig = Rig::new("mode=1 miimon=100 downdelay=300", 2);
    rig.pull(at(1050), 0);
    rig.plug(at(1350), 0);
    rig.run(at(3000));
    assert_eq!(rig.when(0, LinkState::Fail, at(0)), Some(at(1100)));
    assert_eq!(rig.when(0, LinkState::Up, at(1)), Some(at(1400)));
    assert_eq!((rig.active(), rig.bond.status().members[0].failures), (Some(0), 0));
    assert_eq!(rig.switches(at(1)), []);
}

#[test]
fn b3_updelay_is_waited_for() {
    for fault in FAULTS.step_by(7) {
        let mut rig = Rig::new("mode=1 miimon=100 updelay=200 primary=eth0", 2);
        rig.pull(at(500), 0);
        rig.plug(at(fault), 0);
        rig.run(at(3000));
        let seen = fault.next_multiple_of(100);
        assert_eq!(rig.when(0, LinkState::Back, at(600)), Some(at(seen)));
        assert_eq!(rig.when(0, LinkState::Up, at(600)), Some(at(seen + 200)), "back at {fault}");
        assert_eq!(rig.active(), Some(0), "the primary takes over again");
    }
}

#[test]
fn b3_updelay_is_not_waited_for_when_nobody_is_usable() {
    for updelay in [0, 200, 500, 1000, 2000, 5000, 10_000] {
        for mode in ["active-backup", "balance-xor"] {
            let mut rig = Rig::new(&format!("mode={mode} miimon=100 updelay={updelay}"), 2);
            rig.run(at(20_000));
            // The first is down for two seconds; it comes back when the second goes.
            rig.pull(at(20_000), 0);
            rig.plug(at(22_000), 0);
            rig.pull(at(22_000), 1);
            rig.run(at(40_000));
            let back = rig.when(0, LinkState::Up, at(22_000)).expect("it is used");
            assert!(back <= at(22_100), "{mode}, updelay {updelay}: used at {back}");
            assert!(rig.bond.carrier());
        }
    }
}

#[test]
fn b3_of_two_that_recover_together_only_the_first_profits() {
    let mut rig = Rig::new("mode=1 miimon=100 updelay=1000", 2);
    rig.run(at(5000));
    for member in [0, 1] {
        rig.pull(at(5050), member);
        rig.plug(at(6050), member);
    }
    rig.run(at(9000));
    assert_eq!(rig.when(0, LinkState::Up, at(5050)), Some(at(6100)));
    assert_eq!(rig.when(1, LinkState::Up, at(5050)), Some(at(7100)));
}
