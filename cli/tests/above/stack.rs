//! An ext4 on a loop device on a file that is an array, all of it brought up and torn down.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::common::served::{Serving, ends, told};
use super::common::{Dir, MIB};

/// A RAID6 of four and two spares, served with faults allowed, and a file system on it.
pub(crate) struct Stack<'a> {
    dir: &'a Dir,
    serving: Serving,
    device: String,
}

/// All devices.
pub(crate) const ALL: &str = "0.img 1.img 2.img 3.img 4.img 5.img";

/// Makes the array and an empty file system on it.
pub(crate) fn make(dir: &Dir, mib: u64) {
    dir.members(6, mib * MIB);
    dir.good(&format!("create -l6 -n4 -x2 -c64 --bitmap internal -N above {ALL}"));
    std::fs::create_dir(dir.path("tree")).unwrap();
    std::fs::create_dir(dir.path("mnt")).unwrap();
    let stack = Stack::serve(dir, 1);
    run("mke2fs", &["-q", "-t", "ext4", "-F", &stack.device]);
    stack.stop();
}

impl<'a> Stack<'a> {
    /// Serves the array. The seed decides what a power cut leaves.
    fn serve(dir: &'a Dir, seed: u64) -> Self {
        std::fs::write(dir.path("plan.toml"), format!("seed = {seed}")).unwrap();
        let line = format!("--fault plan.toml --in-place --fuse mnt --loop --speed-min 100M {ALL}");
        let serving = Serving::start(dir, &line);
        let device = serving.answer["loop_device"].as_str().expect("a loop device").to_owned();
        Self { dir, serving, device }
    }

    /// Serves the array and mounts what is on it, which replays its journal.
    pub(crate) fn up(dir: &'a Dir, seed: u64) -> Self {
        let stack = Self::serve(dir, seed);
        run("mount", &[&stack.device, stack.tree().to_str().unwrap()]);
        stack
    }

    /// Where the file system is.
    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path("tree")
    }

    /// A verb on the served array that must end well.
    #[track_caller]
    pub(crate) fn verb(&self, line: &str) {
        ends(self.dir, line, 0);
    }

    /// Two members are lost while somebody works on it, and both are replaced by spares. An unclean array
    /// that lacks members would not be started without force: nobody knows what its parity is worth.
    pub(crate) fn lose_two(&self, mut work: impl FnMut()) {
        self.verb(&format!("fail --member slot:0 {ALL}"));
        work();
        self.verb("inject vanish --member slot:1");
        // It is missed once something is asked of it.
        while !self.faulty("1.img") {
            work();
        }
        self.verb(&format!("rebuild {ALL}"));
    }

    fn faulty(&self, member: &str) -> bool {
        let detail = told(self.dir, &format!("detail {ALL}"), 1);
        let mut lines = detail.lines().filter(|line| line.contains(member));
        lines.any(|line| line.contains("faulty"))
    }

    /// The power of all members fails under whatever runs.
    pub(crate) fn cut_power(mut self) {
        self.verb("inject power-cut");
        assert_eq!(self.serving.ended(), Some(4), "as in a crash");
    }

    /// Unmounts, has the file system checked, and stops in good order.
    pub(crate) fn down(self) {
        run("umount", &[self.tree().to_str().unwrap()]);
        run("e2fsck", &["-f", "-n", &self.device]);
        self.stop();
    }

    fn stop(mut self) {
        self.verb("stop");
        assert_eq!(self.serving.ended(), Some(0));
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        let quietly = |program: &str, args: &[&str]| {
            let _ = Command::new(program).args(args).stderr(Stdio::null()).status();
        };
        quietly("umount", &["-l", self.tree().to_str().unwrap()]);
        quietly("losetup", &["--detach", &self.device]);
    }
}

/// Runs a program that must end well; what it says.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}{complaint}");
    said
}
