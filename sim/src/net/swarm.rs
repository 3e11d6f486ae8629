//! Draws a script from a seed.
//!
//! Each run has few kinds of faults, drawn first, and many of them: see the swarm for arrays.

use std::fmt::Write as _;

use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::time::Duration;

use super::cable::Weather;
use super::script::{Act, Script, Setup, Step};
use super::switch::Power;

/// The script of a seed.
pub fn draw(seed: u64) -> Script {
    let mut rng = Rng::stream(seed, 1);
    let setup = draw_setup(seed, &mut rng);
    let mut kinds = kinds_for(&setup);
    // Some kinds are absent from most runs.
    while kinds.len() > 1 && rng.chance(Ratio::new(2, 3)) {
        let gone = rng.below(kinds.len() as u64) as usize;
        kinds.swap_remove(gone);
    }
    let count = rng.within(2..9);
    let steps = (0..count).map(|_| draw_step(&setup, &kinds, &mut rng)).collect();
    Script { setup, steps }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Carrier,
    OneWay,
    Weather,
    Switch,
    Uplink,
    Partner,
    Rejoin,
}

fn kinds_for(setup: &Setup) -> Vec<Kind> {
    let mut kinds = vec![Kind::Carrier, Kind::Carrier, Kind::OneWay, Kind::Weather, Kind::Rejoin];
    match setup.is_direct() {
        true => kinds.push(Kind::Partner),
        false => kinds.extend([Kind::Switch, Kind::Uplink]),
    }
    kinds
}

fn draw_step(setup: &Setup, kinds: &[Kind], rng: &mut Rng) -> Step {
    let member = rng.below(setup.members as u64) as usize;
    let coin = rng.chance(Ratio::new(1, 2));
    let act = match rng.pick(kinds) {
        Kind::Carrier if coin => Act::Pull(member),
        Kind::Carrier => Act::Plug(member),
        Kind::OneWay if rng.chance(Ratio::new(1, 3)) => Act::Heal(member),
        Kind::OneWay => Act::Silence(member, coin),
        Kind::Weather if coin => Act::Weather(member, Weather::default()),
        Kind::Weather => Act::Weather(member, draw_weather(rng)),
        Kind::Switch => {
            let access = *rng.pick(&setup.access);
            Act::Power(access, *rng.pick(&[Power::On, Power::Zombie, Power::Off]))
        }
        Kind::Uplink => Act::Uplink(*rng.pick(&setup.access), coin),
        Kind::Partner => Act::RestartPartner,
        Kind::Rejoin => Act::Rejoin(member),
    };
    let after = Duration::from_micros(rng.below(if coin { 300_000 } else { 2_000_000 }));
    Step { after, act, settle: rng.chance(Ratio::new(1, 2)) }
}

fn draw_weather(rng: &mut Rng) -> Weather {
    let mut some =
        |most: u64| if rng.chance(Ratio::new(1, 2)) { rng.below(most) as u32 } else { 0 };
    Weather { drop: some(300), double: some(300), corrupt: some(200), late: some(300) }
}

fn draw_setup(seed: u64, rng: &mut Rng) -> Setup {
    let members = rng.within(2..5) as usize;
    let modes = [
        "active-backup",
        "active-backup",
        "active-backup",
        "active-backup",
        "balance-tlb",
        "balance-alb",
        "balance-rr",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "802.3ad",
    ];
    let mode = *rng.pick(&modes);
    let mut options = format!("mode={mode}");
    let switched = matches!(mode, "active-backup" | "balance-tlb" | "balance-alb");
    if mode == "active-backup" && rng.chance(Ratio::new(1, 2)) {
        draw_probes(&mut options, rng);
    } else {
        draw_mii(&mut options, rng);
    }
    if switched {
        draw_selection(&mut options, members, rng);
    }
    let mut partner = String::new();
    if mode == "802.3ad" {
        let rate = |rng: &mut Rng| if rng.chance(Ratio::new(1, 8)) { "slow" } else { "fast" };
        let policy = *rng.pick(&["layer2", "layer3+4", "layer2+3"]);
        let strict = if rng.chance(Ratio::new(1, 4)) { "on" } else { "off" };
        let _ = write!(
            options,
            " lacp_rate={} xmit_hash_policy={policy} lacp_strict={strict}",
            rate(rng)
        );
        partner =
            format!("mode=802.3ad miimon=100 lacp_rate={} xmit_hash_policy=layer3+4", rate(rng));
    } else if !switched {
        partner = format!("mode={mode} miimon=100");
        if mode == "balance-xor" {
            options.push_str(" xmit_hash_policy=layer3+4");
            partner.push_str(" xmit_hash_policy=layer3+4");
        }
    }
    let access =
        if switched { (0..members).map(|_| rng.below(2) as usize).collect() } else { Vec::new() };
    Setup { seed, options, members, access, partner }
}

fn draw_mii(options: &mut String, rng: &mut Rng) {
    let miimon = *rng.pick(&[10, 50, 100]);
    let _ = write!(options, " miimon={miimon}");
    for delay in ["updelay", "downdelay"] {
        if rng.chance(Ratio::new(1, 3)) {
            let _ = write!(options, " {delay}={}", rng.below(12) * miimon);
        }
    }
}

fn draw_probes(options: &mut String, rng: &mut Rng) {
    let interval = *rng.pick(&[50, 100, 200]);
    let target = *rng.pick(&["arp_ip_target=10.0.0.99", "ns_ip6_target=fe80::63"]);
    let validate = *rng.pick(&[
        "none",
        "active",
        "backup",
        "all",
        "all",
        "filter",
        "filter_active",
        "filter_backup",
    ]);
    let missed = rng.within(1..5);
    if rng.chance(Ratio::new(1, 4)) {
        options.push_str(" probe_all=1");
    }
    let _ = write!(
        options,
        " arp_interval={interval} {target} arp_validate={validate} arp_missed_max={missed}"
    );
}

fn draw_selection(options: &mut String, members: usize, rng: &mut Rng) {
    if rng.chance(Ratio::new(1, 2)) {
        let primary = rng.below(members as u64);
        let reselect = *rng.pick(&["always", "always", "better", "failure"]);
        let _ = write!(options, " primary=eth{primary} primary_reselect={reselect}");
    }
    if options.contains("active-backup") {
        let policy = *rng.pick(&["none", "active", "follow"]);
        let _ = write!(options, " fail_over_mac={policy} num_grat_arp={}", rng.within(1..4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draw_is_a_bond_that_can_be_made_and_the_same_again() {
        for seed in 0..2000 {
            let script = draw(seed);
            let _ = script.setup.parsed();
            assert_eq!(draw(seed), script);
        }
    }
}
