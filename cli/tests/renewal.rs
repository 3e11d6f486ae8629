//! Bringing members back, and replacing them while they serve, on images.

mod common;

use common::{Dir, MIB, sha256};

/// A RAID5 of three members with a bitmap, full of noise; and what it holds.
fn raid5(dir: &Dir) -> Vec<u8> {
    dir.members(3, 4 * MIB);
    dir.good("create -l5 -n3 -c64 --bitmap internal --bitmap-chunk 64K 0.img 1.img 2.img");
    let bytes = dir.json("detail --json 0.img 1.img 2.img")["array_bytes"].as_u64().unwrap();
    let data = dir.data("data", bytes as usize);
    dir.good("write --input data 0.img 1.img 2.img");
    data
}

#[track_caller]
fn holds(dir: &Dir, members: &str, data: &[u8]) {
    let run = dir.run(&format!("read {members}"));
    assert_eq!(sha256(&run.out), sha256(data), "{}", run.err);
}

#[test]
fn a_member_that_was_away_comes_back_by_either_verb() {
    for verb in ["re-add", "add"] {
        let dir = Dir::new();
        let mut data = raid5(&dir);
        let news = dir.data("news", 4096);
        dir.good("write --input news --offset 1M 0.img 1.img");
        data[MIB as usize..MIB as usize + 4096].copy_from_slice(&news);
        let said = dir.good(&format!("{verb} --dry-run --member 2.img 0.img 1.img"));
        assert!(said.contains("would be done") && said.contains("slot 2 again"), "{said}");
        let before = dir.fingerprints();
        let answer = dir.json(&format!("{verb} --json --dry-run --member 2.img 0.img 1.img"));
        assert_eq!((answer["action"].as_str(), answer["slot"].as_u64()), (Some(verb), Some(2)));
        assert_eq!(dir.fingerprints(), before);
        let said = dir.good(&format!("{verb} --member 2.img 0.img 1.img"));
        assert!(said.contains("64 KiB are marked"), "{said}");
        assert!(said.contains("recovery pending"), "{said}");
        holds(&dir, "0.img 1.img 2.img", &data);
        dir.good("rebuild 0.img 1.img 2.img");
        dir.good("check 0.img 1.img 2.img");
        holds(&dir, "0.img 2.img", &data);
    }
}

#[test]
fn without_a_bitmap_the_verb_says_that_everything_is_copied() {
    let dir = Dir::new();
    dir.members(3, 4 * MIB);
    dir.good("create -l5 -n3 -c64 0.img 1.img 2.img");
    let news = dir.data("news", 4096);
    dir.good("write --input news 0.img 1.img");
    dir.fails("add --member 2.img 0.img 1.img", 4, &["carries"]);
    let run = dir.run("re-add --member 2.img 0.img 1.img");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.err.contains("is given everything: no write-intent bitmap"), "{run:?}");
    dir.good("rebuild 0.img 1.img 2.img");
    let run = dir.run("read 1.img 2.img");
    assert_eq!(&run.out[..4096], &news[..], "{}", run.err);
}

#[test]
fn halves_that_ran_apart_are_told_from_each_other() {
    let dir = Dir::new();
    dir.members(2, 4 * MIB);
    dir.good("create -l1 -n2 --bitmap internal --bitmap-chunk 64K 0.img 1.img");
    dir.data("news", 4096);
    dir.good("write --input news 0.img");
    dir.good("write --input news --offset 1M 1.img");
    let before = dir.fingerprints();
    let belong = ["went on without the members", "0.img belong together", "zero-superblock 1.img"];
    for verb in ["re-add", "add"] {
        dir.fails(&format!("{verb} --member 1.img 0.img"), 4, &belong);
    }
    let words = ["split history", "0.img belongs", "1.img belongs", "leave out"];
    dir.fails("rebuild 0.img 1.img", 2, &words);
    assert_eq!(dir.fingerprints(), before);
}

#[test]
fn a_member_is_replaced_by_a_new_device_or_by_a_spare() {
    for spare in [false, true] {
        let dir = Dir::new();
        let data = raid5(&dir);
        dir.sparse("new.img", 4 * MIB);
        let mut members = "0.img 1.img 2.img".to_owned();
        if spare {
            dir.good(&format!("add --member new.img {members}"));
            members.push_str(" new.img");
        }
        let before = dir.fingerprints();
        dir.good(&format!("replace --dry-run --member slot:1 --with new.img {members}"));
        assert_eq!(dir.fingerprints(), before);
        let said = dir.good(&format!("replace --member slot:1 --with new.img {members}"));
        assert!(said.contains("new.img is to replace 1.img in slot 1"), "{said}");
        assert!(said.contains("next: holdfast rebuild"), "{said}");
        let all = "0.img 1.img 2.img new.img";
        let detail = dir.json(&format!("detail --json {all}"));
        assert_eq!(detail["members"][3]["state"], "replacing", "{detail}");
        let text = dir.good(&format!("mdstat {all}"));
        assert!(text.contains("new.img[") && text.contains("(R)"), "{text}");
        dir.fails(&format!("replace --member slot:1 --with new.img {all}"), 4, &["being replaced"]);
        let run = dir.run(&format!("rebuild {all}"));
        assert!(run.code == 0 && run.err.contains("new.img has replaced 1.img"), "{run:?}");
        dir.good("check 0.img new.img 2.img");
        holds(&dir, "0.img new.img 2.img", &data);
        holds(&dir, "new.img 2.img", &data);
        // The old one is not taken for a member again.
        dir.fails("read 0.img 1.img", 2, &["too few members"]);
    }
}

#[test]
fn what_cannot_replace_is_refused_and_nothing_is_written() {
    let dir = Dir::new();
    raid5(&dir);
    dir.sparse("small.img", MIB);
    dir.sparse("new.img", 4 * MIB);
    dir.good("create -l1 -n2 new.img missing");
    let before = dir.fingerprints();
    let all = "0.img 1.img 2.img";
    for (line, word) in [
        ("replace --member slot:7 --with new.img", "slots 0 to 2"),
        ("replace --member 1.img --with 2.img", "in use"),
        ("replace --member 1.img --with new.img", "carries"),
        ("replace --member 1.img --with small.img", "sectors"),
        ("re-add --member new.img", "belongs to array"),
        ("re-add --member small.img", "no md superblock"),
        ("re-add --member 2.img", "a member already"),
    ] {
        dir.fails(&format!("{line} {all}"), 4, &[word]);
        assert_eq!(dir.fingerprints(), before, "{line}");
    }
}
