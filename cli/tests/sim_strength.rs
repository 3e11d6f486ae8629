//! `holdfast sim mutants` and `sim coverage`, and that the engine under real arrays carries none of
//! the planted defects.

mod common;

use common::Dir;

/// Whether a binary has this text in it, such as a symbol's name.
fn contains(binary: &[u8], text: &str) -> bool {
    binary.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The place where an engine is asked for a defect is a function that is never inlined. In the
/// command it must be there for the engine with planted defects, and for no other.
#[test]
fn only_the_planted_engine_is_asked_for_defects() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_holdfast")).unwrap();
    let asks = |who: &str| {
        let legacy = format!("defects..{who}$u20$as$u20$holdfast_raid..defects..Defects$GT$2is");
        let v0 = format!("defects{}{who}NtB5_7Defects2is", who.len());
        contains(&binary, &legacy) || contains(&binary, &v0)
    };
    assert!(asks("Defect"), "the symbols of this build cannot be read");
    assert!(!asks("Sound"));
}

#[test]
fn a_planted_defect_is_found_and_told() {
    let dir = Dir::new();
    let answer = dir.good("sim mutants --seeds 50 ack-before-flush parity-not-written");
    assert!(answer.contains("2 of 2 planted defects killed"), "{answer}");
    assert!(answer.contains("the sound engine survives the same"), "{answer}");
}

#[test]
fn a_defect_that_survives_is_a_failure() {
    let dir = Dir::new();
    let line = "sim mutants --seed 1 --seeds 1 --json spare-used-twice";
    let answer: serde_json::Value = serde_json::from_str(&dir.ends(line, 3)).unwrap();
    assert_eq!(answer["survivors"][0], "spare-used-twice");
    assert_eq!(answer["defects"][0]["seeds_tried"], 1);
}

#[test]
fn a_campaign_that_meets_too_little_is_a_failure() {
    let dir = Dir::new();
    let answer = dir.ends("sim coverage --seeds 3", 3);
    assert!(answer.contains("NEVER"), "{answer}");
}

#[test]
fn a_defect_nobody_knows_is_a_mistake_in_typing() {
    let dir = Dir::new();
    dir.fails("sim mutants cosmic-rays", 64, &["cosmic-rays"]);
}
