//! What `--help` says, verb by verb: a change shows in the review.

mod common;

use common::Dir;

#[test]
fn help_is_as_reviewed() {
    let dir = Dir::new();
    let mut pages = String::new();
    for verb in [
        "",
        "demo",
        "create",
        "examine",
        "detail",
        "mdstat",
        "read",
        "write",
        "check",
        "repair",
        "rebuild",
        "fail",
        "remove",
        "add",
        "re-add",
        "replace",
        "zero-superblock",
        "doctor",
        "dump",
        "restore",
        "overlay",
        "overlay diff",
        "overlay commit",
        "overlay discard",
        "map",
        "plan",
        "serve",
        "sim",
        "sim run",
        "sim replay",
        "sim shrink",
        "sim table",
        "sim mutants",
        "sim coverage",
        "bench",
        "bench stripe",
        "bench parity",
        "bench ostep",
        "sim merge",
        "sim bond",
        "sim multipath",
        "bond",
        "bond run",
        "bond status",
        "bond set",
        "bond add",
        "bond remove",
        "bond activate",
        "bond events",
        "bond stop",
        "bond cleanup",
        "bond hash",
        "multipath",
        "multipath serve",
        "multipath show",
        "multipath fail-path",
        "multipath reinstate",
        "multipath switch-group",
        "multipath set",
        "multipath fail-now",
        "multipath events",
        "recover",
        "recover search",
        "stop",
        "speed",
        "monitor",
        "man",
        "completions",
    ] {
        let page = dir.good(&format!("{verb} --help"));
        pages.push_str(&format!("$ holdfast {verb} --help\n{page}\n"));
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn every_verb_has_a_man_page() {
    let dir = Dir::new();
    dir.good("man pages");
    let page = |name: &str| std::fs::read_to_string(dir.path("pages").join(name)).unwrap();
    assert!(page("holdfast.1").contains(".TH holdfast 1"));
    assert!(page("holdfast-create.1").contains("raid\\-devices"));
    assert!(page("holdfast-sim-run.1").contains("seeds"));
}

#[test]
fn completions_know_the_verbs() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = dir.good(&format!("completions {shell}"));
        assert!(script.contains("zero-superblock"), "{shell}");
    }
}
