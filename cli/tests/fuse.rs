//! A served array as a file, and as a loop device with a real file system on it.

mod common;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::served::announced;
use common::{Dir, MIB, can_mount, has_program, is_root, noise, skipped, unmount};
use serde_json::Value;

/// A server that shows its array as a file; what it mounts goes with the test.
struct Shown {
    child: Child,
    mount: PathBuf,
    answer: Value,
}

impl Shown {
    /// None where nobody can mount.
    #[track_caller]
    fn start(dir: &Dir, line: &str) -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let mount = dir.path("mnt");
        fs::create_dir_all(&mount).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args("--json serve --fuse mnt".split(' ')).args(line.split_whitespace());
        command.current_dir(dir.path(".")).env("HOLDFAST_RUNTIME_DIR", dir.path("run"));
        let (child, answer) = announced(command);
        Some(Self { child, mount, answer })
    }

    fn file(&self) -> PathBuf {
        self.answer["file"].as_str().unwrap().into()
    }

    fn signal(&self, signal: &str) {
        run("kill", &["-s", signal, &self.child.id().to_string()]);
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.mount).stderr(Stdio::null()).status();
    }
}

#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn any_bytes_of_the_file_can_be_written_while_a_member_fails() {
    let dir = Dir::new();
    dir.members(4, 24 * MIB);
    let all = "0.img 1.img 2.img 3.img";
    dir.good(&format!("create -l5 -n3 -x1 -c64 -N shown {all}"));
    let Some(mut shown) = Shown::start(&dir, all) else { return };
    let mut names: Vec<_> = fs::read_dir(&shown.mount).unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let names: Vec<_> = names.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["array", "detail", "mdstat"]);
    let size = shown.answer["array_bytes"].as_u64().unwrap();
    assert_eq!(fs::metadata(shown.file()).unwrap().len(), size);
    assert!(fs::read_to_string(shown.mount.join("mdstat")).unwrap().contains("[3/3] [UUU]"));

    let file = OpenOptions::new().read(true).write(true).open(shown.file()).unwrap();
    let mut model = vec![0; size as usize];
    let bytes = noise(3 * MIB as usize);
    // Odd places and lengths, neighbours that share blocks, one over the end of a stripe.
    let places = [(1, 1), (511, 2), (513, 4096), (4609, 131_071), (1_000_003, 777_777)];
    for (turn, (at, length)) in places.into_iter().cycle().take(40).enumerate() {
        let at = at + turn * 300_007;
        file.write_all_at(&bytes[turn..turn + length], at as u64).unwrap();
        model[at..at + length].copy_from_slice(&bytes[turn..turn + length]);
        if turn == 13 {
            let failed = Command::new(env!("CARGO_BIN_EXE_holdfast"))
                .args("fail --member 1.img 0.img 1.img 2.img 3.img".split(' '))
                .current_dir(dir.path("."))
                .env("HOLDFAST_RUNTIME_DIR", dir.path("run"))
                .status();
            assert!(failed.unwrap().success());
        }
    }
    file.sync_all().unwrap();
    assert!(fs::read(shown.file()).unwrap() == model, "the file is what was written");
    let beyond = file.write_at(b"beyond", size).unwrap_err();
    assert_eq!(beyond.raw_os_error(), Some(28), "no space beyond the end");
    // A device keeps its size, whatever is done to files of that name.
    fs::write(shown.file(), b"short").unwrap();
    model[..5].copy_from_slice(b"short");
    assert_eq!(fs::metadata(shown.file()).unwrap().len(), size);
    assert!(fs::read_to_string(shown.mount.join("detail")).unwrap().contains("raid5"));
    drop(file);
    shown.signal("TERM");
    assert_eq!(shown.ended(), Some(0));
    assert!(fs::read_dir(&shown.mount).unwrap().next().is_none(), "unmounted");
    drop(shown);

    dir.ends(&format!("rebuild {all}"), 0);
    dir.good("check 0.img 2.img 3.img");
    dir.good("read 0.img 2.img 3.img --output after");
    assert!(fs::read(dir.path("after")).unwrap() == model);
}

/// A mount hides what lies beneath it.
#[test]
fn nothing_is_mounted_over_anything() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.fails("serve 0.img 1.img --fuse 0.img", 4, &["--fuse", "0.img", "directory"]);
    dir.fails("serve 0.img 1.img --fuse .", 4, &["--fuse", "not empty"]);
    dir.fails("serve 0.img 1.img --fuse nowhere", 4, &["--fuse", "nowhere"]);
    fs::create_dir(dir.path("mnt")).unwrap();
    let line = "serve 0.img 1.img --fuse mnt --on-event ./nobody";
    dir.fails(line, 4, &["--on-event", "nobody", "no such program"]);
    dir.good("check 0.img 1.img");
}

#[test]
fn unmounting_ends_a_server_that_only_shows_a_file() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let Some(mut shown) = Shown::start(&dir, "0.img 1.img --read-only") else { return };
    assert!(OpenOptions::new().write(true).open(shown.file()).is_err(), "read-only");
    unmount(&shown.mount);
    assert_eq!(shown.ended(), Some(0));
}

/// ext4 on a loop device on the array: what was fsynced survives the server's SIGKILL.
#[test]
fn a_file_system_survives_the_death_of_the_server() {
    let dir = Dir::new();
    if !is_root() || !has_program("mke2fs") || !Path::new("/dev/loop-control").exists() {
        return skipped("not root, or no mke2fs or loop devices");
    }
    dir.members(4, 40 * MIB);
    let all = "0.img 1.img 2.img 3.img";
    dir.good(&format!("create -l6 -n4 -c64 {all}"));
    let Some(mut shown) = Shown::start(&dir, &format!("{all} --loop")) else { return };
    let device = shown.answer["loop_device"].as_str().unwrap().to_owned();
    run("mke2fs", &["-q", "-t", "ext4", "-F", &device]);
    let tree = dir.path("tree");
    fs::create_dir(&tree).unwrap();
    run("mount", &[&device, tree.to_str().unwrap()]);
    let _unmount = Unmount(tree.clone(), device.clone());
    let bytes = noise(2 * MIB as usize);
    for number in 0..10 {
        let file = File::create(tree.join(format!("kept{number}"))).unwrap();
        file.write_all_at(&bytes[number..], 0).unwrap();
        file.sync_all().unwrap();
    }
    File::open(&tree).unwrap().sync_all().unwrap();
    fs::write(tree.join("unsynced"), &bytes).unwrap();
    shown.signal("KILL");
    shown.ended();
    let _ = Command::new("umount").arg("-l").arg(&tree).status();
    let _ = Command::new("losetup").args(["--detach", &device]).status();
    drop(shown);

    let Some(mut shown) = Shown::start(&dir, &format!("{all} --loop")) else { return };
    let device = shown.answer["loop_device"].as_str().unwrap().to_owned();
    run("mount", &[&device, tree.to_str().unwrap()]); // replays the journal
    let _again = Unmount(tree.clone(), device.clone());
    for number in 0..10 {
        let kept = fs::read(tree.join(format!("kept{number}"))).unwrap();
        assert!(kept == bytes[number..], "kept{number}");
    }
    run("umount", &[tree.to_str().unwrap()]);
    run("e2fsck", &["-f", "-n", &device]);
    shown.signal("TERM");
    assert_eq!(shown.ended(), Some(0));
    dir.ends(&format!("rebuild {all}"), 0);
    dir.good(&format!("check {all}"));
}

/// A mounted tree and its loop device, taken away whatever the test came to.
struct Unmount(PathBuf, String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let quietly = |program: &str, args: &[&str]| {
            let _ = Command::new(program).args(args).stderr(Stdio::null()).status();
        };
        quietly("umount", &["-l", self.0.to_str().unwrap()]);
        quietly("losetup", &["--detach", &self.1]);
    }
}
