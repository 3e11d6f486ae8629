//! What the crate's tests share: a directory that cleans up, loop devices, and honest skipping.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU64, Ordering};

/// Says why a test was not run. With `HOLDFAST_NO_SKIP` set that is a failure.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("HOLDFAST_NO_SKIP").is_none(), "nothing may be skipped, yet: {why}");
    eprintln!("skipped: {why}");
}

/// A directory of its own for one test, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-host-{}-{number}", process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).expect("the temporary directory can be written");
        Self(dir)
    }

    /// The path of something in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A new file that is one hole, open for reading and writing.
    pub(crate) fn sparse(&self, name: &str, bytes: u64) -> File {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))
            .expect("a new file");
        file.set_len(bytes).expect("a sparse file");
        file
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loop device over a file, detached at the end.
pub(crate) struct LoopDevice(PathBuf);

impl LoopDevice {
    /// Attaches a loop device, or says that the test is skipped.
    pub(crate) fn attach(file: &Path, options: &[&str]) -> Option<Self> {
        if !is_root() || !Path::new("/dev/loop-control").exists() {
            skipped("loop devices need root and /dev/loop-control");
            return None;
        }
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).args(options).arg(file);
        let Some(output) = run(&mut losetup) else {
            skipped("losetup is missing or attaches nothing");
            return None;
        };
        Some(Self(output.trim_end().into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// A mounted filesystem, unmounted at the end.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Mounts with the arguments of mount(8), or says that the test is skipped.
    pub(crate) fn new(options: &[&str], source: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a mount point");
        let mut mount = Command::new("mount");
        mount.args(options).arg(source).arg(at);
        if !is_root() || run(&mut mount).is_none() {
            skipped("mounting needs root and a willing kernel");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

/// Runs a tool; its output, if it is there and succeeds.
pub(crate) fn run(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test alone in a network namespace of its own, as root there: the test binary runs itself
/// once more, with only this test. Says that the test is skipped where that is not to be had.
///
/// `name` is the whole path of the test within the crate.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    const INSIDE: &str = "HOLDFAST_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        return body();
    }
    let flags: &[&str] =
        if is_root() { &["--net"] } else { &["--user", "--map-root-user", "--net"] };
    let ground = ["ip link set lo up", "test -r /dev/net/tun", "test -w /dev/net/tun"].join(" && ");
    let tried = Command::new("unshare").args(flags).args(["sh", "-c", &ground]).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return skipped("network namespaces need unshare, ip, and /dev/net/tun for this user");
    }
    let binary = std::env::current_exe().expect("the test's own binary");
    let output = Command::new("unshare")
        .args(flags)
        .arg(binary)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, name)
        .output()
        .expect("unshare runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespace:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{name} is no test of this crate:\n{out}");
}

/// Runs `ip` with these words and checks that it liked them.
#[track_caller]
pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
