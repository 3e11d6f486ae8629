//! `--io`: the ring does what the threads do, says so where it may not, and costs few calls.

mod common;

use std::process::{Command, Output};

use common::{Dir, MIB, sha256, skipped};

/// Runs the command under strace; none, with a word about it, where there is no strace.
fn strace(dir: &Dir, options: &[&str], line: &str) -> Option<Output> {
    let mut command = Command::new("strace");
    command.env("XDG_STATE_HOME", dir.state());
    command.args(["-f", "-o", "trace"]).args(options).arg(env!("CARGO_BIN_EXE_holdfast"));
    let output = command.args(line.split_whitespace()).current_dir(dir.path(".")).output();
    match output {
        Ok(output) if dir.path("trace").exists() => Some(output),
        _ => {
            skipped("strace is missing or may not trace");
            None
        }
    }
}

/// An array with data, and the data's hash.
fn array(dir: &Dir) -> String {
    dir.members(3, 32 * MIB);
    dir.good("create -l5 -n3 0.img 1.img 2.img");
    let data = dir.data("data", 24 << 20);
    dir.good("--io uring write --input data 0.img 1.img 2.img");
    sha256(&data)
}

#[test]
fn what_the_ring_writes_the_threads_read() {
    let dir = Dir::new();
    let hash = array(&dir);
    for io in ["threads", "uring", "auto"] {
        let run = dir.run(&format!("--io {io} read --length 24M 0.img 1.img 2.img"));
        assert_eq!(sha256(&run.out), hash, "{io}: {}", run.err);
    }
    dir.ends("--io uring check 0.img 1.img 2.img", 0);
}

#[test]
fn where_the_kernel_refuses_threads_do_the_work_and_that_is_said() {
    let dir = Dir::new();
    let hash = array(&dir);
    for error in ["EPERM", "ENOSYS"] {
        let inject = format!("inject=io_uring_setup:error={error}");
        let line = "--io uring read --length 24M 0.img 1.img 2.img";
        let Some(output) = strace(&dir, &["-e", &inject], line) else { return };
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{err}");
        assert!(err.contains("io_uring is refused here") && err.contains("threads"), "{err}");
        assert_eq!(sha256(&output.stdout), hash, "{error}");
    }
}

#[test]
fn requests_to_members_are_handed_over_together() {
    let dir = Dir::new();
    array(&dir);
    let line = "--io uring read --length 24M 0.img 1.img 2.img --output out";
    let Some(output) = strace(&dir, &["-e", "trace=io_uring_enter,pread64"], line) else { return };
    let err = String::from_utf8_lossy(&output.stderr);
    if err.contains("refused") {
        skipped("io_uring is refused here");
        return;
    }
    let trace = std::fs::read_to_string(dir.path("trace")).unwrap();
    // The call's second argument is how many requests it hands over.
    let handed = |line: &str| -> u64 {
        let arguments = line.split_once("io_uring_enter(").map_or("", |(_, rest)| rest);
        arguments.split(", ").nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let enters = || trace.lines().filter(|line| line.contains("io_uring_enter("));
    // 24 MiB are 48 chunks, and reading ahead asks for many of them at once.
    let requests: u64 = enters().map(handed).sum();
    assert!(requests >= 48);
    // What waits is handed over when it is a quarter of what the kernel has.
    assert!(enters().map(handed).max() >= Some(2), "{trace}");
    let calls = enters().filter(|line| handed(line) > 0).count() as u64;
    assert!(calls * 4 <= requests * 3, "{calls} calls for {requests} requests: {trace}");
}
