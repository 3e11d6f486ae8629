//! Planted defects, hunted: the measure of how much the simulator sees.
//!
//! Each [`Defect`] is run against the scripts of seeds, in order, until one makes an oracle speak.
//! The sound engine must survive the very same scripts: an oracle that speaks of everything proves
//! nothing.

use std::ops::Range;

use holdfast_raid::{Defect, Defects, Sound};
use rayon::prelude::*;

use crate::run::{Violation, run_with};
use crate::script::{Mode, Script};
use crate::swarm::{self, Profile};

/// How a defect was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The first seed that shows it.
    pub seed: u64,
    /// Who noticed, and what.
    pub violation: Violation,
}

/// Whether a seed's faults stay within tolerance: two of three do.
pub const fn mode(seed: u64) -> Mode {
    if seed % 3 == 2 { Mode::Beyond } else { Mode::Within }
}

/// The script of a seed.
pub fn script(profile: Profile, seed: u64) -> Script {
    swarm::script(profile, mode(seed), seed)
}

/// Looks for the first of these seeds that shows a defect. A seed that accuses the sound engine as
/// well shows nothing.
pub fn hunt(defect: Defect, profile: Profile, seeds: Range<u64>) -> Option<Kill> {
    seeds.into_par_iter().find_map_first(|seed| {
        let kill = accuse(defect, profile, seed)?;
        accuse(Sound, profile, seed).is_none().then_some(kill)
    })
}

/// The first of these seeds that shows something the sound engine does wrong.
pub fn survive(profile: Profile, seeds: Range<u64>) -> Option<Kill> {
    seeds.into_par_iter().find_map_first(|seed| accuse(Sound, profile, seed))
}

fn accuse<X: Defects>(defects: X, profile: Profile, seed: u64) -> Option<Kill> {
    let violation = run_with(&script(profile, seed), defects).violation?;
    Some(Kill { seed, violation })
}
