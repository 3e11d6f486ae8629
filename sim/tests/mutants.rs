//! Each planted defect, shown by a script that is kept for it.
//!
//! The scripts under `traces/mutants/` were found and shrunk by `holdfast sim mutants --out`. They
//! need no generator, so they go on showing their defect whatever becomes of the swarm.

use std::collections::BTreeSet;
use std::path::PathBuf;

use holdfast_raid::Defect;
use holdfast_sim::mutants;
use holdfast_sim::run::{run, run_with};
use holdfast_sim::script::Script;
use holdfast_sim::swarm::Profile;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces/mutants")
}

fn script(defect: Defect) -> Script {
    let path = folder().join(format!("{defect}.trace"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_planted_defect_is_seen_and_the_sound_engine_is_not_accused() {
    for defect in Defect::ALL {
        let script = script(defect);
        assert!(run_with(&script, defect).violation.is_some(), "{defect} goes unnoticed");
        if let Some(violation) = run(&script).violation {
            panic!("the sound engine is accused by the script of {defect}: {violation}");
        }
    }
}

#[test]
fn every_kept_script_belongs_to_a_defect() {
    let kept: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("there are scripts")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a name"))
        .collect();
    let known: BTreeSet<String> =
        Defect::ALL.into_iter().map(|defect| format!("{defect}.trace")).collect();
    assert_eq!(kept, known);
}

#[test]
fn a_hunt_finds_the_first_seed_however_many_hunt() {
    let defect = Defect::AckBeforeFlush;
    let all = mutants::hunt(defect, Profile::Small, 0..40).expect("soon found");
    assert_eq!(mutants::hunt(defect, Profile::Small, 0..all.seed), None);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| mutants::hunt(defect, Profile::Small, 0..40)), Some(all));
}
