//! mdadm looks at what holdfast made. It needs no kernel md and no root for that.

mod common;

use std::process::Command;

use common::{Dir, MIB, has_program, skipped};

/// `mdadm --examine` of a member.
fn examine(dir: &Dir, member: &str) -> String {
    let output = Command::new("mdadm").arg("--examine").arg(dir.path(member)).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn members_made_here_are_correct_to_mdadm() {
    if !has_program("mdadm") {
        return skipped("no mdadm");
    }
    for (create, count) in [
        ("create -l1 -n2", 2),
        ("create -l1 -n2 -e 1.0", 2),
        ("create -l1 -n2 -e 1.1 --bitmap internal", 2),
        ("create -l5 -n3 -x1 -c64 -N lab:demo", 4),
        ("create -l6 -n4 -c64 --bitmap internal", 4),
        ("create -l10 -n3 -c64 --layout o2", 3),
        ("create -l0 -n2 -c64", 2),
        ("create -l linear -n2", 2),
    ] {
        let dir = Dir::new();
        dir.members(count, 8 * MIB);
        let members: String = (0..count).map(|index| format!("{index}.img ")).collect();
        dir.good(&format!("{create} {members}"));
        dir.data("data", 1 << 20);
        dir.good(&format!("write --input data {members}"));
        for index in 0..count {
            let name = format!("{index}.img");
            let theirs = examine(&dir, &name);
            assert!(theirs.contains(" - correct"), "{create}: {theirs}");
            let ours = dir.good(&format!("examine --verbose {name}"));
            let body = |text: &str| -> Vec<String> {
                // Times are shown in the zone of whoever asks.
                let timeless = text.lines().skip(1).filter(|line| !line.contains(" Time :"));
                timeless.map(|line| line.trim_end().to_owned()).collect()
            };
            assert_eq!(body(ours.trim_end()), body(theirs.trim_end()), "{create}: {name}");
        }
    }
}
