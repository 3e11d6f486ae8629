//! The demo at every level: it ends well, and what it says is so.

mod common;

use common::Dir;
use serde_json::Value;

fn demo(dir: &Dir, level: &str) -> Value {
    let answer = dir.json(&format!("demo --json --input material --level {level}"));
    assert_eq!(answer["schema"], "holdfast/1", "{answer}");
    answer
}

#[test]
fn redundant_levels_lose_nothing() {
    let dir = Dir::new();
    dir.data("material", 1 << 20);
    for level in ["1", "4", "5", "6", "10"] {
        let answer = demo(&dir, level);
        assert_eq!(answer["lost_bytes"], 0, "{answer}");
        assert_eq!(answer["refused_bytes"], 0, "{answer}");
        assert_eq!(answer["mismatch_sectors"], 0, "{answer}");
    }
}

#[test]
fn other_levels_say_what_is_lost() {
    let dir = Dir::new();
    dir.data("material", 1 << 20);
    for level in ["linear", "0"] {
        let answer = demo(&dir, level);
        assert!(answer["lost_bytes"].as_u64().unwrap() > 0, "{answer}");
    }
}

#[test]
fn what_is_kept_can_be_looked_at() {
    let dir = Dir::new();
    dir.data("material", 1 << 20);
    let text = dir.good("demo --input material --members 3 --keep kept");
    assert!(text.contains("every one of"), "{text}");
    let members: String = (0..5).map(|index| format!("kept/disk{index}.img ")).collect();
    dir.good(&format!("check {members}"));
    dir.fails("demo --input material --members 3 --keep kept", 4, &["disk0.img", "exists"]);
}
