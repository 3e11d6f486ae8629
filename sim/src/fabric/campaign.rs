//! Maps as something to run many seeds of.

use holdfast_multipath::{Defect, Sound};

use super::{Mode, Scenario, run, run_with, story};
use crate::arena::{Arena, Played};

/// Lines of a story that are told.
const LAST_LINES: usize = 24;

/// Maps over paths that fail.
#[derive(Clone, Copy, Debug)]
pub struct Maps;

impl Arena for Maps {
    type Defect = Defect;

    const KINDS: &'static [&'static str] = &["within", "beyond", "all-gray"];

    fn kind(seed: u64) -> &'static str {
        match Scenario::draw(seed).mode {
            Mode::Within => "within",
            Mode::Beyond => "beyond",
            Mode::AllGray => "all-gray",
        }
    }

    fn play(seed: u64, defect: Option<Defect>) -> Played {
        let verdict = match defect {
            None => run(seed),
            Some(defect) => run_with(seed, defect),
        };
        Played {
            broken: verdict.breach.map(|breach| breach.to_string()),
            lasted: verdict.lasted,
            hash: verdict.hash,
            met: vec![
                ("requests answered", verdict.answers),
                ("of which with an error", verdict.errors),
                ("writes held back by older ones", verdict.held_back),
                ("answers to attempts given up", verdict.late),
            ],
        }
    }

    fn story(seed: u64, defect: Option<Defect>) -> Vec<String> {
        let mut lines = match defect {
            None => story(seed, Sound),
            Some(defect) => story(seed, defect),
        };
        lines.split_off(lines.len().saturating_sub(LAST_LINES))
    }
}
