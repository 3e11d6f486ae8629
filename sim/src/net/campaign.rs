//! Bonds as something to run many seeds of, and their scripts made small.

use holdfast_bond::{Defect, Defects, Sound};

use super::oracle::Oracle;
use super::script::Script;
use super::swarm::draw;
use super::world::{Verdict, run_with};
use crate::arena::{Arena, Played};

/// Bonds in a network that fails.
#[derive(Clone, Copy, Debug)]
pub struct Bonds;

impl Arena for Bonds {
    type Defect = Defect;

    const KINDS: &'static [&'static str] = &[
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "balance-tlb",
        "balance-alb",
    ];

    fn kind(seed: u64) -> &'static str {
        draw(seed).setup.mode().name()
    }

    fn play(seed: u64, defect: Option<Defect>) -> Played {
        let verdict = verdict(&draw(seed), defect);
        Played {
            broken: verdict.violation.map(|violation| violation.to_string()),
            lasted: verdict.lasted,
            hash: verdict.hash,
            met: vec![
                ("changes of who carries traffic", verdict.switches),
                ("settled, and served", verdict.served),
                ("settled, and out as predicted", verdict.predicted),
            ],
        }
    }

    fn story(seed: u64, defect: Option<Defect>) -> Vec<String> {
        let script = draw(seed);
        let small = match (verdict(&script, defect).violation, defect) {
            (None, _) => script,
            (Some(found), None) => shrink(&script, Sound, found.oracle),
            (Some(found), Some(defect)) => shrink(&script, defect, found.oracle),
        };
        small.to_string().lines().map(str::to_owned).collect()
    }
}

fn verdict(script: &Script, defect: Option<Defect>) -> Verdict {
    match defect {
        None => run_with(script, Sound),
        Some(defect) => run_with(script, defect),
    }
}

/// The smallest part of a script's steps that breaks the same promise.
pub fn shrink<D: Defects>(script: &Script, defects: D, oracle: Oracle) -> Script {
    let fails = |script: &Script| {
        run_with(script, defects).violation.is_some_and(|found| found.oracle == oracle)
    };
    let mut best = script.clone();
    let mut at = 0;
    while at < best.steps.len() {
        let mut smaller = best.clone();
        smaller.steps.remove(at);
        if fails(&smaller) {
            best = smaller;
        } else {
            at += 1;
        }
    }
    best
}
