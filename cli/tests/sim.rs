//! `holdfast sim`, verb by verb: what it says, what it leaves behind, and what it refuses.

mod common;

use std::fs;

use common::{Dir, repository};

/// The array of a script that a test makes up.
const ARRAY: &str = "\
array level=raid5 layout=0x2 members=3 spares=0 chunk=8 size=128 bitmap=0 minor=1.2 synced=yes
world seed=7 mode=within latency=1..1 deadline=0
";

#[test]
fn a_campaign_says_what_it_has_been_through() {
    let dir = Dir::new();
    let text = dir.good("sim run --seed 40 --seeds 30 --twice");
    assert!(text.starts_with("30 seeds, "), "{text}");
    assert!(text.contains("every promise kept") && text.contains("power cut"), "{text}");
    let json = dir.json("sim run --seed 40 --seeds 30 --json");
    assert_eq!(json["schema"], "holdfast/1");
    assert_eq!((json["clean"].as_bool(), json["seeds"].as_u64()), (Some(true), Some(30)));
    let history = json["history"].as_str().unwrap();
    assert!(text.contains(history), "the same seeds have the same history: {text}");
}

#[test]
fn a_plan_narrows_what_is_drawn() {
    let dir = Dir::new();
    let plan = "mode = \"beyond\"\n[array]\nlevels = [\"raid6\"]\nmembers = 5\n\
                [faults]\nothers = \"off\"\nlatent = 1\nmost = 4\ncrashes = 0\n";
    fs::write(dir.path("p.toml"), plan).unwrap();
    let json = dir.json("sim run --plan p.toml --seeds 20 --json");
    assert!(json["plan"].as_str().unwrap().contains("levels = [\"raid6\"]"));
    let met = |what: &str| {
        let all = json["met"].as_array().unwrap();
        all.iter().find(|met| met["what"] == what).unwrap()["runs"].as_u64().unwrap()
    };
    assert!(met("read error corrected") > 0);
    assert_eq!((met("power cut"), met("process killed"), met("no space")), (0, 0, 0));
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let dir = Dir::new();
    for (plan, word) in [
        ("[array]\nmembrs = 3", "membrs"),
        ("[array]\nlevels = [\"raid6\"]\nmembers = 2", "no array"),
        ("profile = \"tiny\"", "tiny"),
    ] {
        fs::write(dir.path("p.toml"), plan).unwrap();
        dir.fails("sim run --plan p.toml --seeds 1", 4, &[word]);
    }
    dir.fails("sim run --plan nowhere.toml", 4, &["nowhere.toml"]);
    dir.fails("sim run --plan /dev/zero", 4, &["/dev/zero", "16 MiB"]);
    dir.fails("sim replay /dev/zero", 4, &["/dev/zero", "16 MiB"]);
    for verb in ["run", "mutants", "coverage", "bond", "multipath"] {
        dir.fails(&format!("sim {verb} --seeds 0"), 64, &["--seeds"]);
    }
    dir.fails("sim run --shard 0/3", 64, &["0/3"]);
    dir.fails("sim run --seed 18446744073709551615 --seeds 2", 64, &["2^64"]);
}

/// Bonds and maps have the same verb.
#[test]
fn bonds_and_maps_are_run_and_judged() {
    let dir = Dir::new();
    for (verb, mode, met) in
        [("bond", "802.3ad", "settled, and served"), ("multipath", "within", "requests answered")]
    {
        let run = format!("sim {verb} --mode {mode} --seed 30 --seeds 40");
        let text = dir.good(&format!("{run} --twice"));
        for word in ["every promise kept", met, "times real time"] {
            assert!(text.contains(word), "{text}");
        }
        let json = dir.json(&format!("{run} --json"));
        assert_eq!((json["clean"].as_bool(), json["mode"].as_str()), (Some(true), Some(mode)));
        assert!((1..40).contains(&json["seeds"].as_u64().unwrap()), "{json}");
        assert!(json["times_real_time"].as_u64() > Some(0), "{json}");
        assert!(text.contains(json["history"].as_str().unwrap()), "the same history: {text}");
        dir.fails(&format!("sim {verb} --mode raid5"), 64, &["raid5", mode]);
        dir.fails(&format!("sim {verb} --seed 18446744073709551615 --seeds 2"), 64, &["2^64"]);
    }
}

#[test]
fn defects_of_bonds_and_maps_are_listed_and_killed() {
    let dir = Dir::new();
    for (verb, defect, seeds) in [("bond", "both-active", 40), ("multipath", "failback-flaps", 400)]
    {
        let list = dir.json(&format!("sim {verb} --list --json"));
        let listed = list["defects"].as_array().unwrap();
        assert!(listed.len() >= 10 && listed.iter().any(|one| one["defect"] == defect), "{list}");
        let json = dir.json(&format!("sim {verb} --seeds {seeds} --mutants {defect} --json"));
        assert_eq!((json["clean"].as_bool(), json["killed"].as_u64()), (Some(true), Some(1)));
        dir.fails(&format!("sim {verb} --mutants cosmic-rays"), 64, &["cosmic-rays", "--list"]);
        // What survives is told by the exit code.
        dir.ends(&format!("sim {verb} --seeds 1 --mutants {defect}"), 3);
    }
}

/// However the seeds were cut, and in whatever order the shards ran.
#[test]
fn one_shard_and_seven_merge_to_the_same_bytes() {
    let dir = Dir::new();
    let run = "sim run --mode beyond --seed 90 --seeds 45";
    dir.good(&format!("{run} --out whole"));
    for shard in [5, 2, 7, 1, 4, 6, 3] {
        dir.good(&format!("{run} --shard {shard}/7 --out parts"));
    }
    dir.good("sim merge --expect 1 whole --output one.json");
    dir.good("sim merge --expect 7 parts --output seven.json");
    let read = |name| fs::read(dir.path(name)).unwrap();
    assert!(read("one.json") == read("seven.json"));
    let (one, seven) = (
        dir.good("sim merge --expect 1 whole --json"),
        dir.good("sim merge --expect 7 parts --json"),
    );
    assert_eq!(one, seven);
}

#[test]
fn merging_refuses_what_is_not_all_of_one_campaign() {
    let dir = Dir::new();
    for shard in 1..=3 {
        dir.good(&format!("sim run --seed 90 --seeds 9 --shard {shard}/3 --out parts"));
    }
    dir.good("sim merge --expect 3 parts");
    dir.fails("sim merge --expect 4 parts", 4, &["not one of 4"]);
    let part = |index: u32| dir.path(&format!("parts/shard-0000{index}-of-00003.json"));
    let second = fs::read_to_string(part(2)).unwrap();
    fs::remove_file(part(2)).unwrap();
    dir.fails("sim merge --expect 3 parts", 4, &["missing: shard 2/3"]);
    fs::write(dir.path("parts/shard-copy.json"), fs::read(part(1)).unwrap()).unwrap();
    dir.fails("sim merge --expect 3 parts", 4, &["shard 1/3, as"]);
    fs::remove_file(dir.path("parts/shard-copy.json")).unwrap();
    for (from, to, word) in [
        ("\"seeds\": 9,", "\"seeds\": 12,", "other seeds"),
        ("\"twice\": false", "\"twice\": true", "another campaign"),
        ("\"engine\": \"", "\"engine\": \"f", "another campaign or engine"),
        ("profile = \\\"small\\\"", "profile = \\\"medium\\\"", "another campaign"),
        ("holdfast-sim/1", "holdfast-sim/2", "format"),
        ("\"power cut\"", "\"brown-out\"", "brown-out"),
        ("{", "{{", "no result of a shard"),
    ] {
        assert!(second.contains(from), "{from} in {second}");
        fs::write(part(2), second.replacen(from, to, 1)).unwrap();
        dir.fails("sim merge --expect 3 parts", 4, &[word, "shard-0000"]);
    }
    dir.fails("sim merge --expect 0 parts", 64, &["--expect"]);
    dir.fails("sim merge --expect 1 nowhere", 4, &["nowhere"]);
}

#[test]
fn kept_traces_replay_and_have_nothing_to_shrink() {
    let dir = Dir::new();
    let trace = repository().join("sim/traces/discard-promise-broken-by-failure.trace");
    let trace = trace.display();
    let text = dir.good(&format!("sim replay {trace}"));
    assert!(text.starts_with("every promise kept"), "{text}");
    let text = dir.good(&format!("sim replay --timeline {trace}"));
    assert!(text.contains("> fail-member 1"), "{text}");
    let text = dir.good(&format!("sim shrink {trace}"));
    assert!(text.contains("nothing to shrink"), "{text}");
    let json = dir.json(&format!("sim replay {trace} --json"));
    assert_eq!(json["clean"], true);
}

#[test]
fn what_is_no_script_is_refused_with_its_line() {
    let dir = Dir::new();
    for (text, word) in [
        (format!("{ARRAY}+0 wrte 0 8\n"), "line 3"),
        (ARRAY.replace("members=3", "members=300000000"), "disks"),
        (ARRAY.replace("size=128", "size=1000000000000"), "sectors"),
        (ARRAY.replace("members=3", "members=1"), "no such array"),
        (format!("{ARRAY}+0 latent 0 0 18446744073709551615\n"), "event 0"),
        (String::new(), "`array`"),
    ] {
        fs::write(dir.path("t.trace"), text).unwrap();
        dir.fails("sim replay t.trace", 4, &["t.trace", word]);
        dir.fails("sim shrink t.trace", 4, &["t.trace", word]);
    }
    dir.fails("sim replay nowhere.trace", 4, &["nowhere.trace"]);
}
