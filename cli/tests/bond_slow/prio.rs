//! Who is chosen: priorities, the primary and its reselection, with every mode that has an active
//! member and every monitor.

use super::Scenario;
use super::network::{Bond, Ground};

pub(super) fn add(all: &mut Vec<Scenario>) {
    for reselect in ["always", "better", "failure"] {
        for mode in ["active-backup", "balance-tlb", "balance-alb"] {
            let name = format!("prio: {mode}, miimon, {reselect}");
            all.push(Scenario::new(name, move || {
                chosen(&format!("--mode {mode} --miimon 100"), reselect)
            }));
        }
        for (monitor, target) in
            [("arp", "--arp-ip-target 10.9.0.2"), ("ns", "--ns-ip6-target 2001:db8::2")]
        {
            let name = format!("prio: active-backup, {monitor}, {reselect}");
            all.push(Scenario::new(name, move || {
                let options = format!("--mode active-backup --arp-interval 100 {target}");
                chosen(&options, reselect)
            }));
        }
    }
}

fn chosen(options: &str, reselect: &str) -> String {
    let ground = Ground::lay(3).expect("looked at before");
    let bond = ground.bond(&format!(
        "{options} --primary eth1 --primary-reselect {reselect} eth0,prio=0 eth1,prio=10 eth2,prio=11"
    ));
    let all_up = |bond: &Bond<'_>| (0..3).for_each(|n| bond.link_becomes(&format!("eth{n}"), "up"));
    bond.becomes_active("eth1");
    all_up(&bond);
    fails(&ground, &bond, 1);
    bond.becomes_active("eth2");
    fails(&ground, &bond, 2);
    bond.becomes_active("eth0");
    mends(&ground, &bond, 2);
    stays_or_becomes(&bond, "eth0", "eth2", reselect == "always");
    mends(&ground, &bond, 1);
    stays_or_becomes(&bond, "eth0", "eth1", reselect == "always");
    if reselect != "always" {
        // The next failure brings the primary back.
        fails(&ground, &bond, 0);
        bond.becomes_active("eth1");
        mends(&ground, &bond, 0);
        stays_or_becomes(&bond, "eth1", "eth1", false);
        return "kept until the next failure".to_owned();
    }
    bond.verb("set prio=eth0:1000000 prio=eth1:0 prio=eth2:-50");
    stays_or_becomes(&bond, "eth1", "eth1", false);
    fails(&ground, &bond, 1);
    bond.becomes_active("eth0");
    assert!(ground.reaches("10.9.0.1"));
    "primary first, then by priority".to_owned()
}

fn fails(ground: &Ground, bond: &Bond<'_>, member: usize) {
    ground.cable_is(member, false);
    bond.comes_true("noticed", |bond| bond.link(&format!("eth{member}")) != "up");
}

fn mends(ground: &Ground, bond: &Bond<'_>, member: usize) {
    ground.cable_is(member, true);
    bond.link_becomes(&format!("eth{member}"), "up");
}

fn stays_or_becomes(bond: &Bond<'_>, now: &str, then: &str, changes: bool) {
    if changes {
        return bond.becomes_active(then);
    }
    // Several ticks of every monitor used here.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(bond.active(), now, "{}", bond.verb("events --past"));
}
