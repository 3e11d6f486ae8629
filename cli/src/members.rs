//! Opening devices, in words people can act on.
//!
//! The one place where the command meets the operating system's files: opening them for looking or
//! for writing, asking who holds them, what they carry and whether they read as zeros. Exports of NBD
//! servers are opened beside them ([`export`]).

use std::cell::OnceCell;
use std::io;
use std::ops::Range;
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
use holdfast_host::watch::Watch;
use holdfast_host::window::Window;
use holdfast_raid::scan::scan;
use holdfast_raid::superblock::{Timestamp, Uuid};

use crate::args::IoWord;
use crate::config::Group;
use crate::control::{client, place};
use crate::disk::Disk;
use crate::exit::Failure;
use crate::export;
use crate::parts::{self, Naming, Part, Spec};
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
    pub(crate) disk: Disk,
}

impl World {
    /// Starts the clock and the threads.
    pub(crate) fn new() -> Result<Self, Failure> {
        let failed = |error| Failure::error(format!("cannot start the I/O threads: {error}"));
        let clock = Watch::new().and_then(HostClock::watching).map_err(failed)?;
        let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).map_err(failed)?;
        Ok(Self { clock, pool, ring: OnceCell::new() })
    }

    /// Threads that ring the bell of a clock that runs already.
    pub(crate) fn beside(clock: &HostClock) -> Result<Self, Failure> {
        let failed = |error| Failure::error(format!("cannot start the I/O threads: {error}"));
        let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup()).map_err(failed)?;
        Ok(Self { clock: clock.sibling(), pool, ring: OnceCell::new() })
    }

    /// The threads that do what blocks.
    pub(crate) const fn pool(&self) -> &IoPool {
        &self.pool
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
        &mut self,
        paths: &[PathBuf],
        access: Access,
        report: &Report,
    ) -> Result<Vec<Member>, Failure> {
        let named: Vec<(&Path, Naming)> =
            paths.iter().map(|path| (path.as_path(), Naming::Literal)).collect();
        self.open_named(&named, access, report)
    }

    /// As [`World::open`], each name understood in its own way.
    pub(crate) fn open_named(
        &mut self,
        named: &[(&Path, Naming)],
        access: Access,
        report: &Report,
    ) -> Result<Vec<Member>, Failure> {
        let names: Vec<&Path> = named.iter().map(|(path, _)| *path).collect();
        export::refuse_twins(&names)?;
        let files: Vec<(&Path, Naming)> =
            named.iter().copied().filter(|(path, _)| !export::is_one(path)).collect();
        let mut files = self.open_files(&files, access, report)?.into_iter();
        let mut members = Vec::with_capacity(names.len());
        for path in names {
            members.push(match export::is_one(path) {
                true => self.open_export(path, access, report)?,
                false => files.next().expect("every file was opened, in this order"),
            });
        }
        if access != Access::Read {
            self.refuse_served(&mut members)?;
        }
        Ok(members)
    }

    /// What locks do for files: nobody writes to an export beside the array it is served in.
    fn refuse_served(&mut self, members: &mut [Member]) -> Result<(), Failure> {
        if place::arrays().is_empty() {
            return Ok(());
        }
        for Member { path, disk } in members.iter_mut().filter(|member| member.disk.is_export()) {
            let probe = scan(std::slice::from_mut(disk), &mut self.clock).remove(0);
            if let Ok(superblock) = probe.superblock {
                client::refuse_served(path, superblock.set_uuid)?;
            }
        }
        Ok(())
    }

    /// Opens an export, also one whose array is served: here, that is.
    pub(crate) fn open_export(
        &mut self,
        path: &Path,
        access: Access,
        report: &Report,
    ) -> Result<Member, Failure> {
        let watch = self.clock.watch().expect("a world's clock has one").clone();
        let disk = export::open(path, access, &mut self.clock, &watch, report)?;
        Ok(Member { path: path.to_owned(), disk: Disk::export(disk) })
    }

    fn open_files(
        &mut self,
        named: &[(&Path, Naming)],
        access: Access,
        report: &Report,
    ) -> Result<Vec<Member>, Failure> {
        let specs: Vec<Spec> = named.iter().map(|(path, _)| Spec::of(path)).collect();
        let (bases, index) = distinct(&specs);
        let mut disks = self.open_disks(&bases, access, report)?;
        let mut members = Vec::with_capacity(named.len());
        let mut taken: Vec<(usize, Range<u64>, PathBuf)> = Vec::new();
        for (((path, naming), spec), base) in named.iter().zip(&specs).zip(index) {
            let part = self.part(&mut disks[base], spec, *naming, report)?;
            let overlaps = |(other, range, _): &&(usize, Range<u64>, PathBuf)| {
                *other == base && range.start < part.sectors.end && part.sectors.start < range.end
            };
            if let Some((.., first)) = taken.iter().find(overlaps) {
                let (first, second) = (first.clone(), (*path).to_owned());
                return Err(open_failure(OpenError::SameDevice { first, second }));
            }
            taken.push((base, part.sectors.clone(), (*path).to_owned()));
            members.push(self.member(&disks[base], path, spec, part)?);
        }
        Ok(members)
    }

    /// Every member a file, a device or a disk with partitions holds; itself if it holds none.
    pub(crate) fn open_all(
        &mut self,
        path: &Path,
        access: Access,
        report: &Report,
    ) -> Result<Vec<Member>, Failure> {
        let spec = Spec::of(path);
        if spec.number.is_some() || export::is_one(path) {
            return self.open(&[path.to_owned()], access, report);
        }
        let mut disks = self.open_disks(&[path], access, report)?;
        let parts = parts::members(&mut disks[0], &mut self.clock);
        if let Some(part) = parts.first() {
            name_flaws(path, part, report);
        }
        parts.into_iter().map(|part| self.member(&disks[0], path, &spec, part)).collect()
    }

    fn open_disks(
        &self,
        paths: &[&Path],
        access: Access,
        report: &Report,
    ) -> Result<Vec<FileDisk>, Failure> {
        let opened = open_members(paths, access, &self.pool).map_err(open_failure)?;
        // The ring is made before partitions are looked for, which needs it no more than threads.
        self.ring_for(&opened, report);
        for opened in opened.iter().filter(|opened| opened.trailing_bytes > 0) {
            let (path, bytes) = (opened.path.display(), opened.trailing_bytes);
            report.note(format_args!(
                "{path}: the last {bytes} bytes are no whole sector and are not used"
            ));
        }
        Ok(opened.into_iter().map(|opened| opened.disk).collect())
    }

    /// The part of a disk that a name means.
    fn part(
        &mut self,
        disk: &mut FileDisk,
        spec: &Spec,
        naming: Naming,
        report: &Report,
    ) -> Result<Part, Failure> {
        let part = match (spec.number, naming) {
            (Some(number), _) => parts::named(disk, &mut self.clock, &spec.base, number)?,
            (None, Naming::Literal) => Part::whole(disk),
            (None, Naming::Member) => {
                let mut parts = parts::members(disk, &mut self.clock);
                if parts.len() > 1 {
                    return Err(several(&spec.base, &parts));
                }
                parts.remove(0)
            }
        };
        name_flaws(&spec.base, &part, report);
        Ok(part)
    }

    fn member(
        &self,
        disk: &FileDisk,
        path: &Path,
        spec: &Spec,
        part: Part,
    ) -> Result<Member, Failure> {
        let mut own = disk.sibling();
        if let Some(ring) = self.wants_ring(disk.kind()) {
            own = own.on_ring(ring, true);
        }
        let path = match part.number {
            Some(number) if spec.number.is_none() => parts::name(path, number),
            _ => path.to_owned(),
        };
        let window = Window::over(own, part.sectors).map_err(|fault| {
            Failure::error(format!("{}: it does not begin with a block: {fault}", path.display()))
        })?;
        Ok(Member { path, disk: Disk::new(window) })
    }

    /// Makes the ring, if these members are to use one and the kernel lets them.
    fn ring_for(&self, opened: &[Opened], report: &Report) {
        if !opened.is_empty() && opened.iter().all(|member| prefers_ring(member.kind)) {
            self.ring.get_or_init(|| ring_or_note(&self.clock, report));
        }
    }

    /// The ring, for members of this kind.
    fn wants_ring(&self, kind: Kind) -> Option<&Ring> {
        self.ring.get().and_then(Option::as_ref).filter(|_| prefers_ring(kind))
    }
}

/// Images profit from the page cache, disks from being asked many things at once.
fn prefers_ring(kind: Kind) -> bool {
    match io_word() {
        IoWord::Threads => false,
        IoWord::Uring => true,
        IoWord::Auto => kind == Kind::Block,
    }
}

/// The files and devices behind the names, each once, and which one each name is about.
fn distinct(specs: &[Spec]) -> (Vec<&Path>, Vec<usize>) {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (mut bases, mut known, mut index): (Vec<&Path>, Vec<PathBuf>, Vec<usize>) =
        (Vec::new(), Vec::new(), Vec::new());
    for spec in specs {
        let name = resolved(&spec.base);
        // Whole disks named twice are told apart by whoever opens them.
        let same = known.iter().position(|other| *other == name && spec.number.is_some());
        index.push(same.unwrap_or_else(|| {
            bases.push(&spec.base);
            known.push(name);
            bases.len() - 1
        }));
    }
    (bases, index)
}

/// A disk with several members among its partitions was named without saying which.
fn several(base: &Path, parts: &[Part]) -> Failure {
    let names = parts.iter().filter_map(|part| part.number);
    let names: Vec<String> =
        names.map(|number| parts::name(base, number).display().to_string()).collect();
    Failure::error(format!("{}: {} of its partitions are md members", base.display(), parts.len()))
        .hint(format!("name the one that is meant: {}", names.join(" or ")))
}

fn name_flaws(base: &Path, part: &Part, report: &Report) {
    for flaw in &part.flaws {
        report.note(format_args!("{}: {flaw}", base.display()));
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
    holder_of(&Spec::of(path).base).map(|holder| format!("{}: locked by {holder}", path.display()))
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

/// The file that keeps something of a member in a directory of copies.
pub(crate) fn copy_name(path: &Path) -> String {
    file_name(path).replace('/', "_")
}

/// The last part of a path: what lists show. An export's address is shown as it is.
pub(crate) fn file_name(path: &Path) -> String {
    if export::is_one(path) {
        return path.display().to_string();
    }
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What a device carries already, by the marks formats leave.
pub(crate) fn signatures(
    disk: &mut impl BlockDevice,
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
