//! Opening devices, in words people can act on.
//!
//! The one place where the command meets the operating system's files: opening them for looking or
//! for writing, asking who holds them, what they carry and whether they read as zeros.

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use holdfast_core::block::{BlockDevice, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::clock::{HostClock, wall_clock};
use holdfast_host::file::{FileDisk, Kind};
use holdfast_host::lock::holder_of;
use holdfast_host::member::{Access, OpenError, Opened, open_members};
use holdfast_host::pool::{DEFAULT_THREADS, IoPool};
use holdfast_host::signature::{self, Signature};
use holdfast_host::uring::Ring;
use holdfast_raid::superblock::{Timestamp, Uuid};

use crate::args::IoWord;
use crate::config::Group;
use crate::exit::Failure;
use crate::report::Report;
use crate::stream::Stream;

/// How members are read and written; chosen once, before any is opened.
static IO: OnceLock<IoWord> = OnceLock::new();

/// Takes the command line's word on how members are read and written.
pub(crate) fn choose_io(word: IoWord) {
    IO.get_or_init(|| word);
}

fn io_word() -> IoWord {
    *IO.get_or_init(|| IoWord::Auto)
}

/// A clock, and threads and perhaps a ring that ring it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: HostClock,
    pool: IoPool,
    /// Made for the first members that want it; none where the kernel refuses.
    ring: OnceCell<Option<Ring>>,
}

/// A device of the command line, open.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: PathBuf,
    pub(crate) disk: FileDisk,
}

impl World {
    /// Starts the clock and the threads.
    pub(crate) fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::error(format!("cannot start the I/O threads: {error}"));
        let clock = HostClock::new().map_err(failed)?;
        let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).map_err(failed)?;
        Ok(Self { clock, pool, ring: OnceCell::new() })
    }

    /// Opens devices as the host does, its error untouched.
    pub(crate) fn open_raw(
        &self,
        paths: &[&Path],
        access: Access,
    ) -> Result<Vec<Opened>, OpenError> {
        open_members(paths, access, &self.pool)
    }

    /// Opens all of them, or none and says why.
    pub(crate) fn open(
        &self,
        paths: &[PathBuf],
        access: Access,
        report: &Report,
    ) -> Result<Vec<Member>, Failure> {
        let opened = open_members(paths, access, &self.pool).map_err(open_failure)?;
        let ring = self.ring_for(&opened, report);
        let member = |opened: Opened| {
            if opened.trailing_bytes > 0 {
                let (path, bytes) = (opened.path.display(), opened.trailing_bytes);
                report.note(format_args!(
                    "{path}: the last {bytes} bytes are no whole sector and are not used"
                ));
            }
            let disk = match ring {
                Some(ring) => opened.disk.on_ring(ring, true),
                None => opened.disk,
            };
            Member { path: opened.path, disk }
        };
        Ok(opened.into_iter().map(member).collect())
    }

    /// The ring, if these members are to use one and the kernel lets them.
    fn ring_for(&self, opened: &[Opened], report: &Report) -> Option<&Ring> {
        let wanted = match io_word() {
            IoWord::Threads => false,
            IoWord::Uring => true,
            // Images profit from the page cache, disks from being asked many things at once.
            IoWord::Auto => opened.iter().all(|member| member.kind == Kind::Block),
        };
        let made = wanted.then(|| self.ring.get_or_init(|| ring_or_note(&self.clock, report)));
        made.and_then(Option::as_ref)
    }
}

fn ring_or_note(clock: &HostClock, report: &Report) -> Option<Ring> {
    Ring::new(clock.wakeup())
        .inspect_err(|error| {
            report.note(format_args!("io_uring is refused here ({error}): threads do the work"));
        })
        .ok()
}

/// Whether measurements use io_uring: unless the user or the kernel says no.
pub(crate) fn uring_or_note(report: &Report) -> bool {
    let wanted = io_word() != IoWord::Threads;
    wanted && HostClock::new().is_ok_and(|clock| ring_or_note(&clock, report).is_some())
}

/// An open that failed, as the end of a run.
pub(crate) fn open_failure(error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::NotFound(_) | OpenError::Empty(_) => {
            Some("leave a vanished member out of the command to go on without it")
        }
        OpenError::Locked { .. } => Some("examine and detail look at a locked member too"),
        _ => None,
    };
    let failure = Failure::error(error.to_string());
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Who else has a member open for writing, in words.
pub(crate) fn held(path: &Path) -> Option<String> {
    holder_of(path).map(|holder| format!("{}: locked by {holder}", path.display()))
}

/// Refuses members that somebody has locked to write: what is read may change meanwhile.
pub(crate) fn refuse_locked(group: &Group, force_does: &str) -> Result<(), Failure> {
    if group.force {
        return Ok(());
    }
    match group.members.iter().find_map(|path| held(path)) {
        None => Ok(()),
        Some(held) => Err(Failure::error(format!("{held}, which may be writing to the array"))
            .hint(format!("wait until it has finished; --force {force_does}"))),
    }
}

/// The present, as superblocks record it.
pub(crate) fn now() -> Timestamp {
    let (seconds, micros) = wall_clock();
    Timestamp::new(seconds, micros)
}

/// A new identity.
pub(crate) fn new_uuid() -> Uuid {
    Uuid(holdfast_host::random::uuid_bytes())
}

/// The last part of a path: what lists show.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What a device carries already, by the marks formats leave.
pub(crate) fn signatures(
    disk: &mut FileDisk,
    clock: &mut HostClock,
    path: &Path,
) -> Result<Vec<Signature>, Failure> {
    let bytes = disk.geometry().sectors * SECTOR_BYTES;
    let read = |offset: u64, into: &mut [u8]| -> io::Result<()> {
        let op = Op::Read(Buf::zeroed(into.len()));
        let done = Stream::default().now(disk, clock, offset / SECTOR_BYTES, op);
        match (done.result, done.op) {
            (Ok(()), Op::Read(buf)) => into.copy_from_slice(&buf),
            (Err(fault), _) => return Err(io::Error::other(fault)),
            (Ok(()), _) => unreachable!("a read answers a read"),
        }
        Ok(())
    };
    signature::find(bytes, read).map_err(|error| {
        Failure::error(format!("{}: cannot see what it carries: {error}", path.display()))
    })
}

/// Refuses a device that carries something, naming it.
pub(crate) fn refuse_carriers(found: &[(PathBuf, Vec<Signature>)]) -> Result<(), Failure> {
    let carriers: Vec<String> = found
        .iter()
        .filter(|(_, marks)| !marks.is_empty())
        .map(|(path, marks)| {
            let marks: Vec<String> = marks.iter().map(Signature::to_string).collect();
            format!("{} carries {}", path.display(), marks.join(", "))
        })
        .collect();
    if carriers.is_empty() {
        return Ok(());
    }
    Err(Failure::error(carriers.join("; "))
        .hint("--force uses it all the same and destroys what is there"))
}
