//! Verbs that only look are proven to: on read-only media, on files nobody may write, and by what
//! they ask of the kernel.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Dir, MIB, skipped};

const BIN: &str = env!("CARGO_BIN_EXE_holdfast");

/// Lines that look, and the code they end with on a degraded array that was stopped cleanly.
fn lookers() -> Vec<(String, i32)> {
    let members = "m/0.img m/1.img m/2.img";
    let mut lines: Vec<(String, i32)> = [
        ("examine", 1),
        ("examine --verbose", 0),
        ("examine --bad-blocks", 0),
        ("detail", 1),
        ("detail --force", 1),
        ("mdstat", 1),
        ("doctor", 1),
        ("doctor --fix --dry-run", 1),
        ("read --output out/data", 0),
        ("check", 1),
        ("dump out/copy", 0),
        ("dump out/copies/", 0),
        ("recover search", 2),
        ("write --dry-run --input out/input", 0),
        ("repair --dry-run", 0),
        ("rebuild --dry-run", 0),
        ("fail --dry-run -m m/0.img", 0),
        ("remove --dry-run -m m/1.img", 0),
        ("zero-superblock --dry-run", 0),
        ("plan -l1 -n3", 0),
        // What is written goes to the file: the members are only looked at.
        ("write --overlay out/overlay --input out/input", 0),
        ("check --overlay out/overlay", 1),
    ]
    .map(|(verb, code)| (format!("{verb} {members}"), code))
    .into();
    lines.insert(3, ("examine --scan m".to_owned(), 1));
    lines.push(("overlay diff out/overlay".to_owned(), 0));
    lines
}

/// A degraded RAID5 in `m/`, with one member that is out of date, and room for outputs in `out/`.
fn array() -> Dir {
    let dir = Dir::new();
    fs::create_dir(dir.path("m")).unwrap();
    fs::create_dir(dir.path("out")).unwrap();
    for name in ["m/0.img", "m/1.img", "m/2.img"] {
        dir.sparse(name, 8 * MIB);
    }
    let members = "m/0.img m/1.img m/2.img";
    dir.good(&format!("create -l5 -n3 -c64 {members}"));
    dir.data("out/input", MIB as usize);
    dir.good(&format!("write --input out/input {members}"));
    dir.good(&format!("fail -m m/1.img {members}"));
    dir.good("write --input out/input m/0.img m/2.img");
    dir
}

#[test]
fn they_work_on_a_read_only_mount_with_files_nobody_may_write() {
    let dir = array();
    let mut script = String::from(
        "chmod 0444 m/*.img && mount --bind m m && mount -o remount,bind,ro m && ! touch m/0.img \
         2>/dev/null || exit 99\n",
    );
    for (line, _) in lookers() {
        script.push_str(&format!("{BIN} {line} >out/said 2>&1; echo \"$? {line}\"\n"));
    }
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .current_dir(dir.path("."))
        .env("XDG_STATE_HOME", dir.state())
        .output();
    let Ok(output) = output else { return skipped("no unshare(1)") };
    if output.status.code() == Some(99) || output.stdout.is_empty() {
        return skipped("no mounts in a namespace of one's own");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<String> =
        lookers().into_iter().map(|(line, code)| format!("{code} {line}")).collect();
    let seen: Vec<&str> = text.lines().collect();
    assert_eq!(seen, expected);
}

/// What a trace says of the members: system calls that could change them.
fn changes(trace: &str) -> Vec<&str> {
    let members = ["m/0.img", "m/1.img", "m/2.img"];
    let names_one = |line: &str| members.iter().any(|member| line.contains(member));
    let opens_for_writing = |line: &str| {
        let opens = line.contains("open(") || line.contains("openat(") || line.contains("creat(");
        let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
        opens && flags.iter().any(|flag| line.contains(flag))
    };
    let writes = |line: &str| {
        let calls = [
            "write(",
            "pwrite64(",
            "pwritev(",
            "pwritev2(",
            "writev(",
            "truncate(",
            "ftruncate(",
            "fallocate(",
            "unlink(",
            "unlinkat(",
            "rename(",
            "renameat2(",
            "chmod(",
            "fchmod(",
            "utimensat(",
            "copy_file_range(",
            "sendfile(",
        ];
        // The descriptor or path is the first argument; a line of output that names a member is not.
        calls.iter().any(|call| {
            line.split_once(call).is_some_and(|(_, rest)| {
                names_one(rest.split([',', ')']).next().unwrap_or_default())
            })
        })
    };
    trace
        .lines()
        .filter(|line| names_one(line) && (opens_for_writing(line) || writes(line)))
        .collect()
}

#[test]
fn they_ask_the_kernel_for_no_write() {
    let dir = array();
    for io in ["threads", "uring"] {
        for (line, code) in lookers() {
            for made in ["out/copy", "out/overlay"] {
                if line.contains(&format!("{made} ")) && !line.starts_with("check") {
                    let _ = fs::remove_file(dir.path(made));
                }
            }
            let _ = fs::remove_dir_all(dir.path("out/copies"));
            let mut strace = Command::new("strace");
            strace.args(["-f", "-y", "-e", "trace=file,desc", "-o", "out/trace", BIN, "--io", io]);
            strace.args(line.split_whitespace()).current_dir(dir.path("."));
            let output = strace.env("XDG_STATE_HOME", dir.state()).output();
            let Some(output) = output.ok().filter(|_| dir.path("out/trace").exists()) else {
                return skipped("strace is missing or may not trace");
            };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "--io {io} {line}: {said}");
            let trace = fs::read_to_string(dir.path("out/trace")).unwrap();
            let opened =
                trace.lines().any(|line| line.contains("m/0.img") && line.contains("open"));
            assert!(opened || line.starts_with("overlay diff"), "the trace shows: {line}");
            assert_eq!(changes(&trace), Vec::<&str>::new(), "--io {io} {line}");
        }
    }
}

/// The proof would see a write if there were one.
#[test]
fn a_verb_that_writes_is_seen_to() {
    let dir = array();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=file,desc", "-o", "out/trace", BIN]);
    strace.args("write --input out/input m/0.img m/2.img".split_whitespace());
    let done = strace.current_dir(dir.path(".")).output();
    if done.is_err() || !dir.path("out/trace").exists() {
        return skipped("strace is missing or may not trace");
    }
    let trace = fs::read_to_string(dir.path("out/trace")).unwrap();
    let seen = changes(&trace);
    assert!(seen.iter().any(|line| line.contains("O_RDWR")), "{seen:?}");
    assert!(seen.iter().any(|line| line.contains("pwrite")), "{seen:?}");
}

#[test]
fn an_image_of_mode_0444_stays_so() {
    let dir = array();
    for name in ["m/0.img", "m/1.img", "m/2.img"] {
        let path = dir.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let modified = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let before = modified(&dir.path("m/0.img"));
    for (line, code) in lookers() {
        dir.ends(&line, code);
    }
    assert_eq!((mode(&dir.path("m/0.img")), modified(&dir.path("m/0.img"))), (0o444, before));
}
