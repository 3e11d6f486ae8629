//! Seeds by the hundred, every kept trace, and determinism itself.
//!
//! A seed that fails here is a real bug, of the engine or of the oracle. The message names it;
//! `shrink` makes a trace of it, which belongs into `sim/traces/` once it is understood.

use std::path::PathBuf;

use holdfast_raid::integrity::Scheme;
use holdfast_sim::campaign::{Summary, run_seeds};
use holdfast_sim::plan::Plan;
use holdfast_sim::run::{Mark, run};
use holdfast_sim::script::{Act, Mode, Script};
use holdfast_sim::swarm::{self, Profile, planned};

fn demand_clean(summary: &Summary) {
    let failures: Vec<String> = summary
        .failures
        .iter()
        .map(|failure| format!("seed {}: {}", failure.seed, failure.violation))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn within_tolerance_nothing_is_lost_and_everything_recovers() {
    let summary = run_seeds(Profile::Small, Mode::Within, 0, 400);
    demand_clean(&summary);
    let never: Vec<Mark> = summary.unmet();
    for mark in [
        Mark::PowerCut,
        Mark::Kill,
        Mark::CutInResync,
        Mark::CutInRecovery,
        Mark::Choices,
        Mark::FaultSpared,
        Mark::MemberFailed,
        Mark::Rebuilt,
        Mark::Resynced,
        Mark::Corrected,
        Mark::BadBlocks,
        Mark::StaleThere,
        Mark::Clean,
    ] {
        assert!(!never.contains(&mark), "no run has met: {}", mark.text());
    }
}

#[test]
fn beyond_tolerance_errors_are_honest() {
    let summary = run_seeds(Profile::Small, Mode::Beyond, 0, 200);
    demand_clean(&summary);
    for mark in [Mark::Broken, Mark::HonestError, Mark::PredictedSilent, Mark::Refused] {
        assert!(summary.marks.count(mark) > 0, "no run has met: {}", mark.text());
    }
}

/// Silent faults that a guard sees are demanded to be healed, within tolerance and beyond.
#[test]
fn guarded_arrays_are_never_silently_wrong() {
    for scheme in &Scheme::ALL[1..] {
        for (mode, seeds) in [(Mode::Within, 40), (Mode::Beyond, 40)] {
            let mut plan = Plan::swarm(Profile::Small, mode);
            plan.array.integrity = Some(*scheme);
            let scripts = (3000..3000 + seeds).map(|seed| planned(&plan, seed));
            let guarded: Vec<Script> =
                scripts.filter(|script| script.setup.integrity != Scheme::None).collect();
            assert!(guarded.len() as u64 > seeds / 2, "chunks are whole blocks, mostly");
            let hit = |script: &Script| {
                script.lines.iter().any(|line| matches!(line.act, Act::Corrupt { .. }))
            };
            assert!(guarded.iter().any(hit), "{scheme}: nothing silent happens");
            for script in guarded {
                let violation = run(&script).violation;
                assert_eq!(violation, None, "{scheme}:\n{script}");
            }
        }
    }
}

#[test]
fn a_seed_is_one_history() {
    for mode in [Mode::Within, Mode::Beyond] {
        for seed in 1000..1040 {
            let script = swarm::script(Profile::Small, mode, seed);
            let (one, two) = (run(&script), run(&script));
            assert_eq!(one, two, "seed {seed}");
        }
    }
}

#[test]
fn a_campaign_cut_in_parts_adds_up_to_the_same() {
    let whole = run_seeds(Profile::Small, Mode::Within, 500, 40);
    let parts = [(530, 10), (500, 7), (507, 23)];
    let merged = parts
        .map(|(first, count)| run_seeds(Profile::Small, Mode::Within, first, count))
        .into_iter()
        .reduce(Summary::merge);
    assert_eq!(merged, Some(whole));
}

#[test]
fn every_kept_trace_replays_clean() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut names: Vec<PathBuf> = folder
        .read_dir()
        .expect("there are traces")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "trace"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a readable trace");
        let script: Script = text.parse().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        if let Some(violation) = run(&script).violation {
            panic!("{}: {violation}", path.display());
        }
    }
}
