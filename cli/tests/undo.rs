//! Copies of metadata, and the way back from every verb that writes some.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Dir, MIB, has_program, skipped};

fn images(dir: &Dir) -> Vec<(String, String)> {
    dir.fingerprints().into_iter().filter(|(name, _)| name.ends_with(".img")).collect()
}

fn array(bitmap: &str) -> Dir {
    let dir = Dir::new();
    dir.members(4, 16 * MIB);
    dir.good(&format!("create -l5 -n3 -x1 -c64 {bitmap} 0.img 1.img 2.img 3.img"));
    dir.data("data", MIB as usize);
    dir.good("write --input data 0.img 1.img 2.img 3.img");
    dir
}

/// The undo that was kept last.
fn last_undo(dir: &Dir) -> String {
    dir.undos().pop().expect("an undo").display().to_string()
}

#[test]
fn every_verb_that_writes_metadata_can_be_undone() {
    for bitmap in ["", "--bitmap internal --bitmap-chunk 64K"] {
        for verb in [
            "fail -m 1.img 0.img 1.img 2.img 3.img",
            "remove -m 3.img 0.img 1.img 2.img 3.img",
            "add -m new.img 0.img 1.img 2.img 3.img",
            "zero-superblock 0.img 1.img 2.img 3.img new.img --force --in-place",
            "create --force --in-place --assume-clean -l6 -n4 -e1.0 0.img 1.img 2.img 3.img",
        ] {
            let dir = array(bitmap);
            dir.sparse("new.img", 16 * MIB);
            let before = images(&dir);
            let run = dir.run(verb);
            assert_eq!(run.code, 0, "{verb}: {}", run.err);
            assert_ne!(images(&dir), before, "{verb}");
            let undo = last_undo(&dir);
            assert!(run.err.contains(&format!("undo: holdfast restore {undo}")), "{}", run.err);
            dir.good(&format!("restore --no-undo {undo}"));
            assert_eq!(images(&dir), before, "{verb}");
            let again = dir.good(&format!("restore --no-undo {undo}"));
            assert!(again.contains("is as it was"), "{again}");
        }
    }
}

#[test]
fn a_rebuild_can_be_undone_as_far_as_metadata_goes() {
    let dir = array("");
    dir.good("fail -m 1.img 0.img 1.img 2.img 3.img");
    dir.good("rebuild 0.img 2.img 3.img");
    let undo = last_undo(&dir);
    dir.good(&format!("restore {undo}"));
    let detail = dir.json("detail --json 0.img 2.img 3.img");
    assert_eq!(detail["state"], "clean, degraded");
    let restored = last_undo(&dir);
    assert!(restored.contains("restore"), "restoring can be undone, too: {restored}");
    dir.good(&format!("restore {restored}"));
    dir.ends("detail 0.img 2.img 3.img", 0);
}

#[test]
fn there_is_no_way_back_past_what_came_after() {
    let dir = array("");
    dir.good("fail -m 1.img 0.img 1.img 2.img 3.img");
    let undo = last_undo(&dir);
    dir.good("write --input data 0.img 2.img 3.img");
    let before = images(&dir);
    let words = ["its metadata has changed since", "old claims over newer data"];
    dir.fails(&format!("restore {undo}"), 4, &words);
    assert_eq!(images(&dir), before);
    // Forced, it happens in an overlay.
    let run = dir.run(&format!("restore --force {undo}"));
    assert!(run.code == 0 && run.err.contains("the members are left alone"), "{}", run.err);
    assert_eq!(images(&dir), before);
}

#[test]
fn an_undo_is_kept_where_it_is_wished_or_not_at_all() {
    let dir = array("");
    let kept = dir.undos().len();
    let run = dir.run("remove --no-undo -m 3.img 0.img 1.img 2.img 3.img");
    assert!(run.code == 0 && !run.err.contains("undo:"), "{}", run.err);
    dir.good("fail --undo mine -m 1.img 0.img 1.img 2.img");
    assert!(dir.path("mine").exists());
    assert_eq!(dir.undos().len(), kept, "nothing in the state directory");
    let before = images(&dir);
    let words = ["mine: exists already", "nothing was written", "--undo FILE", "--no-undo"];
    dir.fails("fail --undo mine -m 0.img 0.img 2.img", 4, &words);
    assert_eq!(images(&dir), before);
    // A verb that was refused leaves none behind, nor does one that changed nothing.
    dir.fails("fail --undo other -m 1.img 0.img 1.img 2.img", 4, &["out of service already"]);
    assert!(!dir.path("other").exists());
    dir.good("rebuild --undo other 0.img 2.img");
    assert!(!dir.path("other").exists());
}

#[test]
fn a_dump_in_one_file_goes_back_to_members_that_moved() {
    let dir = array("--bitmap internal --bitmap-chunk 64K");
    let before = images(&dir);
    let said = dir.good("dump copy 0.img 1.img 2.img 3.img");
    assert!(said.contains("0.img: superblock 1.2"), "{said}");
    assert!(dir.path("copy").metadata().unwrap().len() < MIB, "metadata only");
    assert_eq!(images(&dir), before);
    dir.fails("dump copy 0.img", 4, &["exists already"]);
    dir.good("zero-superblock 0.img 1.img 2.img 3.img");
    dir.ends("detail 0.img 1.img 2.img", 2);
    fs::create_dir(dir.path("moved")).unwrap();
    for name in ["0.img", "1.img", "2.img", "3.img"] {
        fs::rename(dir.path(name), dir.path("moved").join(name)).unwrap();
    }
    dir.fails("restore copy", 4, &["no such file"]);
    let moved = "moved/0.img moved/1.img moved/2.img moved/3.img";
    let dry = dir.good(&format!("restore --dry-run copy {moved}"));
    assert!(dry.contains("would get"), "{dry}");
    dir.ends(&format!("detail {moved}"), 2);
    dir.good(&format!("restore copy {moved}"));
    dir.ends(&format!("detail {moved}"), 0);
    dir.fails("restore copy moved/0.img moved/0.img", 64, &["twice"]);
    dir.sparse("9.img", 16 * MIB);
    dir.fails("restore copy 9.img", 4, &["knows no one member of this name"]);
    dir.fails("overlay diff copy", 4, &["not an overlay"]);
    fs::rename(dir.path("moved/0.img"), dir.path("0.img")).unwrap();
    dir.poke("0.img", 16 * MIB, &[0; 512]);
    dir.fails("restore copy 0.img", 4, &["32769 sectors, the copy is of 32768"]);
    fs::remove_dir_all(dir.path("moved")).unwrap();
}

#[test]
fn a_directory_of_sparse_copies_is_what_mdadm_makes() {
    let dir = array("");
    fs::create_dir(dir.path("copies")).unwrap();
    dir.good("dump copies 0.img 1.img 2.img 3.img");
    let copy = dir.path("copies/0.img");
    assert_eq!(copy.metadata().unwrap().len(), 16 * MIB);
    dir.fails("restore copies", 64, &["name the members"]);
    if has_program("mdadm") {
        let examined = |path: &Path| {
            let output = Command::new("mdadm").arg("--examine").arg(path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(examined(&copy), examined(&dir.path("0.img")));
    } else {
        skipped("no mdadm");
    }
    dir.good("zero-superblock 0.img 1.img 2.img 3.img");
    dir.good("restore copies 0.img 1.img 2.img 3.img");
    dir.ends("detail 0.img 1.img 2.img 3.img", 0);
    fs::remove_dir_all(dir.path("copies")).unwrap();
}
