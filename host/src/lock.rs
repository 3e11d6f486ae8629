//! Who may write: a lock on every member, and who holds it.
//!
//! The lock is `flock(2)`. It belongs to the open file, so it lives exactly as long as the disk
//! that uses it, and two opens in one process exclude each other as two processes do. We
//! considered open-file-description locks (`F_OFD_SETLK`): they are as good, but `/proc/locks`
//! names no holder for them, and `flock` is what udev honours on block devices.
//!
//! Two names of one inode meet in its lock. A loop device and the file behind it are two inodes, so
//! a writer locks every file under a member as well (`Beneath`): whoever writes to the file, or
//! through another loop device, is met there. That keeps apart even writers of two halves of one
//! image, unless one [`open_members`](crate::member::open_members) opens both.
//!
//! Locks are advisory: they keep apart those who lock. Against the rest of the kernel a block
//! device is opened with `O_EXCL` besides.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::Errno;

use crate::identity::{Identity, Sysfs};

/// How long to ask again for a lock that is held.
///
/// Two honest holders let go by themselves: udev, which probes a device after each change, and a
/// disk dropped a moment ago whose last write is still under way.
const PATIENCE: Duration = Duration::from_millis(250);

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The name of its program, as far as it is known.
    pub command: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            _ if self.pid == std::process::id() => write!(f, "this process ({})", self.pid),
            Some(command) => write!(f, "{command} (process {})", self.pid),
            None => write!(f, "process {}", self.pid),
        }
    }
}

/// Which others a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Writers.
    Shared,
    /// Everybody who locks.
    Exclusive,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody holds it.
    Held,
    /// The file cannot be locked.
    Io(io::Error),
}

/// Locks an open file until it is closed.
pub(crate) fn acquire(file: &File, mode: Mode) -> Result<(), LockError> {
    let operation = match mode {
        Mode::Shared => FlockOperation::NonBlockingLockShared,
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    patiently(Errno::WOULDBLOCK, || flock(file, operation)).map_err(|errno| match errno {
        Errno::WOULDBLOCK => LockError::Held,
        other => LockError::Io(other.into()),
    })
}

/// Repeats a call for a moment while it fails with `passing`.
pub(crate) fn patiently<T>(
    passing: Errno,
    mut call: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(errno) if errno == passing && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Who holds a lock on this file or device, as far as `/proc/locks` tells.
///
/// Best effort: `None` also when the holder lives in another pid namespace, or the filesystem
/// reports other device numbers in `/proc/locks` than in `stat` (btrfs).
pub fn holder_of(path: &Path) -> Option<Holder> {
    let metadata = path.metadata().ok()?;
    let mut inodes = vec![InodeName::new(metadata.dev(), metadata.ino())];
    if let Some(identity @ Identity::Block { .. }) = Identity::of(&metadata) {
        for (beneath, _) in Sysfs::default().files_beneath(identity) {
            if let Identity::File { filesystem, inode } = beneath {
                inodes.push(InodeName::new(filesystem, inode));
            }
        }
    }
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pids: Vec<u32> = locks.lines().filter_map(|line| holder_in(line, &inodes)).collect();
    // A lock of ours on one layer is not the news when somebody else has another.
    let others = pids.iter().find(|pid| **pid != std::process::id());
    let pid = *others.or_else(|| pids.first())?;
    let command =
        fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|comm| comm.trim_end().to_owned());
    Some(Holder { pid, command })
}

/// Locks on the files that lie under some members, each taken once however many lie on it.
#[derive(Debug, Default)]
pub(crate) struct Beneath(BTreeMap<Identity, Arc<File>>);

impl Beneath {
    /// Locks a file exclusively, if it can be reached by this name; gives what holds the lock.
    ///
    /// A file that has lost its name, or has it in another mount namespace, or is not ours to open,
    /// is left alone: nobody like us comes to it by another way.
    pub(crate) fn lock(
        &mut self,
        of: Identity,
        name: &Path,
    ) -> Result<Option<Arc<File>>, LockError> {
        if let Some(held) = self.0.get(&of) {
            return Ok(Some(Arc::clone(held)));
        }
        let Ok(file) = File::open(name) else { return Ok(None) };
        if file.metadata().ok().and_then(|metadata| Identity::of(&metadata)) != Some(of) {
            return Ok(None);
        }
        acquire(&file, Mode::Exclusive)?;
        let held = Arc::new(file);
        self.0.insert(of, Arc::clone(&held));
        Ok(Some(held))
    }
}

/// An inode as `/proc/locks` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InodeName {
    major: u32,
    minor: u32,
    inode: u64,
}

impl InodeName {
    fn new(device: u64, inode: u64) -> Self {
        Self { major: major(device), minor: minor(device), inode }
    }
}

/// The holder's pid, if this line of `/proc/locks` is a `flock` held on one of these inodes:
/// `1: FLOCK  ADVISORY  WRITE 1234 fe:00:10011126 0 EOF`, device numbers in hex.
fn holder_in(line: &str, wanted: &[InodeName]) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    // A line that begins with an arrow is somebody waiting.
    if words.next()? != "FLOCK" {
        return None;
    }
    let pid = words.nth(2)?.parse().ok().filter(|&pid: &u32| pid != 0)?;
    let mut parts = words.next()?.split(':');
    let found = InodeName {
        major: u32::from_str_radix(parts.next()?, 16).ok()?,
        minor: u32::from_str_radix(parts.next()?, 16).ok()?,
        inode: parts.next()?.parse().ok()?,
    };
    wanted.contains(&found).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn lines_of_proc_locks_are_understood() {
        let wanted = InodeName { major: 0xfe, minor: 0x1f, inode: 77 };
        for (line, pid) in [
            ("1: FLOCK  ADVISORY  WRITE 1234 fe:1f:77 0 EOF", Some(1234)),
            ("12: FLOCK  ADVISORY  READ 9 fe:1f:77 0 EOF", Some(9)),
            ("1: -> FLOCK  ADVISORY  WRITE 5 fe:1f:77 0 EOF", None),
            ("1: POSIX  ADVISORY  WRITE 5 fe:1f:77 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE 5 fe:1f:78 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE 5 fe:20:77 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE 0 fe:1f:77 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE -1 fe:1f:77 0 EOF", None),
            ("1: FLOCK", None),
            ("", None),
        ] {
            assert_eq!(holder_in(line, &[wanted]), pid, "{line:?}");
        }
    }

    #[test]
    fn an_exclusive_lock_excludes_and_names_its_holder() {
        let dir = TempDir::new();
        let first = dir.sparse("member", 4096);
        let path = dir.path("member");
        let second = File::open(&path).unwrap();
        assert_eq!(holder_of(&path), None);
        acquire(&first, Mode::Exclusive).unwrap();
        for mode in [Mode::Shared, Mode::Exclusive] {
            assert!(matches!(acquire(&second, mode), Err(LockError::Held)));
        }
        // Where the kernel tells, it tells the truth.
        if let Some(holder) = holder_of(&path) {
            assert_eq!(holder.pid, std::process::id());
            assert!(holder.to_string().starts_with("this process"));
        }
        drop(first);
        acquire(&second, Mode::Exclusive).unwrap();
    }

    #[test]
    fn a_lock_about_to_be_released_is_waited_for() {
        let dir = TempDir::new();
        let first = dir.sparse("member", 4096);
        let second = File::open(dir.path("member")).unwrap();
        acquire(&first, Mode::Exclusive).unwrap();
        let releaser = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(first);
        });
        acquire(&second, Mode::Exclusive).unwrap();
        releaser.join().unwrap();
    }
}
