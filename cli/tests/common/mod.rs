//! What the tests of the command share: a directory of members, the command, and md's checksum
//! for tests that bend a superblock.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod client;
pub(crate) mod pki;
pub(crate) mod served;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub(crate) const MIB: u64 = 1 << 20;

/// No run in these tests takes nearly this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a 1.2 superblock begins, in bytes.
pub(crate) const SUPERBLOCK: u64 = 4096;

/// A directory that goes away with the test.
pub(crate) struct Dir(PathBuf);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Dir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("holdfast-cli-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where the command keeps undo files: beside the directory, so that this holds members alone.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.with_extension("state")
    }

    /// The undo files, oldest first.
    pub(crate) fn undos(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.state().join("holdfast/undo")) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        files
    }

    /// Starts a run and gives it to the caller, with nothing on standard input.
    pub(crate) fn start(&self, line: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(words(line)).current_dir(&self.0).env("XDG_STATE_HOME", self.state());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// A sparse file.
    pub(crate) fn sparse(&self, name: &str, bytes: u64) {
        File::create(self.path(name)).unwrap().set_len(bytes).unwrap();
    }

    /// Sparse files `0.img`, `1.img`, ….
    pub(crate) fn members(&self, count: usize, bytes: u64) {
        (0..count).for_each(|index| self.sparse(&format!("{index}.img"), bytes));
    }

    /// Bytes that never repeat within a sector, written to a file.
    pub(crate) fn data(&self, name: &str, bytes: usize) -> Vec<u8> {
        let data = noise(bytes);
        fs::write(self.path(name), &data).unwrap();
        data
    }

    /// Runs the command here.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(line, &[])
    }

    /// Runs the command here with something on standard input.
    pub(crate) fn run_with(&self, line: &str, input: &[u8]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(words(line)).current_dir(&self.0).env("XDG_STATE_HOME", self.state());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A verb that does not read its input closes the pipe.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = ended_in_time(child, line);
        feeder.join().unwrap();
        Run {
            code: output.status.code().expect("ends by itself"),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must end well.
    #[track_caller]
    pub(crate) fn good(&self, line: &str) -> String {
        self.run(line).ends(line, 0)
    }

    /// Runs a command and checks its code; its answer.
    #[track_caller]
    pub(crate) fn ends(&self, line: &str, code: i32) -> String {
        self.run(line).ends(line, code)
    }

    /// Runs a command that must fail with this code and complain about each of the words.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, code: i32, complaints: &[&str]) {
        let run = self.run(line);
        assert_eq!(run.code, code, "{line}: {run:?}");
        for word in complaints {
            assert!(run.err.contains(word), "{line}: no {word:?} in {}", run.err);
        }
    }

    /// The JSON answer of a command.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let run = self.run(line);
        serde_json::from_slice(&run.out).unwrap_or_else(|error| panic!("{line}: {error}: {run:?}"))
    }

    /// A fingerprint of every file here.
    pub(crate) fn fingerprints(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, sha256(&fs::read(entry.path()).unwrap()))
            })
            .collect();
        all.sort();
        all
    }

    /// Overwrites bytes of a file.
    pub(crate) fn poke(&self, name: &str, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.path(name)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    /// Bytes of a file.
    pub(crate) fn peek(&self, name: &str, offset: u64, bytes: usize) -> Vec<u8> {
        let mut buf = vec![0; bytes];
        File::open(self.path(name)).unwrap().read_exact_at(&mut buf, offset).unwrap();
        buf
    }

    /// Changes a 1.2 superblock and makes its checksum right again.
    pub(crate) fn bend(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let mut block = self.peek(name, SUPERBLOCK, 4096);
        change(&mut block);
        let sum = checksum(&block);
        block[216..220].copy_from_slice(&sum.to_le_bytes());
        self.poke(name, SUPERBLOCK, &block);
    }
}

/// Waits for a run, but not for ever: one that hangs is ended and fails its test.
#[track_caller]
fn ended_in_time(child: Child, line: &str) -> Output {
    let pid = child.id();
    let (say, hear) = mpsc::channel();
    std::thread::spawn(move || say.send(child.wait_with_output()));
    match hear.recv_timeout(PATIENCE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").arg(pid.to_string()).status();
            panic!("still running after {PATIENCE:?}: {line}");
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir_all(self.state());
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn ends(self, line: &str, code: i32) -> String {
        assert_eq!(self.code, code, "{line}: {}{}", String::from_utf8_lossy(&self.out), self.err);
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// Words of a line; single quotes keep a word together.
fn words(line: &str) -> Vec<String> {
    let quoted = line.split('\'').enumerate();
    quoted
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Bytes from a small generator: the same each time, different everywhere.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut data: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    data.truncate(bytes);
    data
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// md's additive checksum of a superblock.
fn checksum(block: &[u8]) -> u32 {
    let entries = u32::from_le_bytes(block[220..224].try_into().unwrap()) as usize;
    let mut bytes = block[..256 + 2 * entries].to_vec();
    bytes[216..220].fill(0);
    let word = |part: &[u8]| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        u64::from(u32::from_le_bytes(word))
    };
    let sum: u64 = bytes.chunks(4).map(word).sum();
    (sum as u32).wrapping_add((sum >> 32) as u32)
}

/// Says that a test was left out, or fails where nothing may be left out.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("HOLDFAST_NO_SKIP").is_none(), "must not be skipped here: {why}");
    println!("skipped: {why}");
}

/// Whether directories can be mounted here; says so where not.
pub(crate) fn can_mount() -> bool {
    if !cfg!(feature = "fuse") {
        skipped("built without FUSE");
    } else if File::open("/dev/fuse").is_err() {
        skipped("no /dev/fuse");
    } else if !is_root() && !has_program("fusermount3") {
        skipped("no fusermount3, and not root");
    } else {
        return true;
    }
    false
}

/// Unmounts a directory. A child that another test has just forked may still hold a file there.
#[track_caller]
pub(crate) fn unmount(directory: &Path) {
    let (program, flags): (_, &[&str]) =
        if is_root() { ("umount", &[]) } else { ("fusermount3", &["-u"]) };
    let done = || Command::new(program).args(flags).arg(directory).status().unwrap().success();
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{program} {}", directory.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

/// Whether a program can be run.
pub(crate) fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli lies in the workspace")
}
