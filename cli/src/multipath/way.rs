//! A path of a real map: what it leads through, whose disk it says it is, and what fences it.

use std::fs::File;
use std::os::linux::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Request, Tag};
use holdfast_core::time::Instant;
use holdfast_host::file::FileDisk;
use holdfast_host::nbd::client::{Condition, Fencing, NbdDisk, Place, Target};
use holdfast_host::nbd::client_session::Ended;
use holdfast_host::pool::IoPool;
use holdfast_host::watch::Watch;
use holdfast_multipath::device::{PathDevice, Plain};
use holdfast_multipath::identity::Identity;
use holdfast_multipath::map::{Inquiry, Ready};
use holdfast_multipath::path::{Cache, Errors, PathSpec};

use crate::exit::Failure;

/// How often a fencing program is asked whether it is done.
const FENCE_LOOK: Duration = Duration::from_millis(20);

/// A path.
#[derive(Debug)]
pub(crate) enum Way {
    /// A file or block device.
    File(Box<Plain<FileDisk>>),
    /// A server's export.
    Nbd(Box<NbdWay>),
}

/// An export of a server as a path.
#[derive(Debug)]
pub(crate) struct NbdWay {
    disk: NbdDisk,
    asked: bool,
    /// It was up when last looked at: its end is news.
    was_up: bool,
    program: Option<String>,
    fencing: Option<(Child, u64)>,
    now: Instant,
}

/// Opens a path. The connection of an NBD path is still to be made.
pub(crate) fn open(
    word: &str,
    program: Option<&str>,
    watch: &Watch,
    pool: &IoPool,
) -> Result<(PathSpec, Way), Failure> {
    if Target::is_meant_by(word) {
        let target = Target::parse(word).map_err(|error| Failure::usage(error.to_string()))?;
        Ok((
            nbd_spec(word, &target, program),
            Way::Nbd(Box::new(NbdWay::new(target, program, watch))),
        ))
    } else {
        file(word, pool).map_err(|error| Failure::error(format!("{word}: {error}")))
    }
}

fn nbd_spec(word: &str, target: &Target, program: Option<&str>) -> PathSpec {
    let (address, node) = match &target.place {
        Place::Unix(path) => (path.display().to_string(), String::new()),
        Place::Tcp(address) => (address.to_string(), address.ip().to_string()),
    };
    let freed_by = match (&target.place, target.fencing, program) {
        (_, Fencing::OnClose, _) => "its answer or the end of the connection",
        (_, _, Some(_)) => "its answer or the fence program",
        (Place::Unix(_), Fencing::OnExit, None) => "its answer or the death of the server",
        _ => "its answer alone",
    };
    PathSpec {
        address,
        node,
        cache: if target.shared_cache { Cache::Shared } else { Cache::Own },
        freed_by: freed_by.to_owned(),
        ..PathSpec::new(word)
    }
}

fn file(word: &str, pool: &IoPool) -> std::io::Result<(PathSpec, Way)> {
    let file = File::options().read(true).write(true).open(word)?;
    let metadata = file.metadata()?;
    let (device, inode, rdev) = (metadata.st_dev(), metadata.st_ino(), metadata.st_rdev());
    let regular = metadata.is_file();
    let disk = FileDisk::new(file, false, pool)?;
    let numbers = |device: u64| (major_of(device), minor_of(device));
    let (major, minor) = numbers(if regular { device } else { rdev });
    // A file is its own identity, by whatever name. A block device has the one its driver tells.
    let wwid = if regular {
        Some(format!("file:{device:x}:{inode}"))
    } else {
        let told =
            |name: &str| std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{name}"));
        told("wwid").or_else(|_| told("device/wwid")).ok().map(|text| text.trim().to_owned())
    };
    let identity = Identity { wwid, ..Identity::of(disk.geometry(), "disk") };
    let spec = PathSpec {
        dev_t: format!("{major}:{minor}"),
        cache: Cache::Shared,
        errors: if regular { Errors::Final } else { Errors::Open },
        ..PathSpec::new(word)
    };
    Ok((spec, Way::File(Box::new(Plain::with_identity(disk, identity)))))
}

/// Major and minor numbers as `makedev(3)` packs them.
const fn major_of(device: u64) -> u64 {
    (device >> 8) & 0xfff | (device >> 32) & !0xfff
}

const fn minor_of(device: u64) -> u64 {
    device & 0xff | (device >> 12) & !0xff
}

impl Way {
    /// The shape of its disk, once known.
    pub(crate) fn shape(&self) -> Option<Geometry> {
        let geometry = self.geometry();
        (geometry.sectors > 0).then_some(geometry)
    }

    /// Begins to make a connection.
    pub(crate) fn connect(&mut self) {
        if let Self::Nbd(way) = self {
            way.disk.connect();
        }
    }

    /// Why it is not there, if it is known not to be.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Nbd(way) => match way.disk.condition() {
                Condition::Down(why) => Some(why),
                Condition::Up | Condition::Pending => None,
            },
        }
    }
}

impl NbdWay {
    fn new(target: Target, program: Option<&str>, watch: &Watch) -> Self {
        Self {
            disk: NbdDisk::new(target, watch.clone()),
            asked: false,
            was_up: false,
            program: program.map(str::to_owned),
            fencing: None,
            now: Instant::ZERO,
        }
    }

    fn inquiry(&mut self) -> Option<Inquiry> {
        let condition = self.disk.condition();
        let up = condition == Condition::Up;
        let fell = std::mem::replace(&mut self.was_up, up) && !up;
        if !fell && (!self.asked || condition == Condition::Pending) {
            return None;
        }
        self.asked = false;
        let ready = match condition {
            Condition::Up => Ready::Up,
            Condition::Pending => Ready::Down("connected anew".to_owned()),
            Condition::Down(why) => Ready::Down(why),
        };
        let target = self.disk.target();
        let identity = up.then(|| Identity {
            wwid: target.wwid.clone(),
            ..Identity::of(self.disk.geometry(), &target.export)
        });
        Some(Inquiry { ready, identity, alua: None })
    }

    fn fence(&mut self, session: u64) {
        if self.disk.target().fencing == Fencing::OnClose {
            self.disk.disconnect(Ended::HungUp);
            return;
        }
        let Some(program) = self.program.as_ref().filter(|_| self.fencing.is_none()) else {
            return;
        };
        // Nothing more may go out on what is being fenced.
        if session >= self.disk.session() {
            self.disk.disconnect(Ended::HungUp);
        }
        let child = Command::new(program)
            .env("HOLDFAST_PATH", self.disk.target().to_string())
            .env("HOLDFAST_SESSION", session.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.fencing = child.ok().map(|child| (child, session));
    }

    fn look_at_fence(&mut self) {
        let Some((child, session)) = &mut self.fencing else { return };
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                let session = *session;
                self.fencing = None;
                if status.success() {
                    self.disk.prove(session);
                }
            }
            Err(_) => self.fencing = None,
        }
    }
}

impl BlockDevice for Way {
    fn geometry(&self) -> Geometry {
        match self {
            Self::File(disk) => disk.geometry(),
            Self::Nbd(way) => way.disk.geometry(),
        }
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        match self {
            Self::File(disk) => disk.submit(request),
            Self::Nbd(way) => way.disk.submit(request),
        }
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        match self {
            Self::File(disk) => {
                let before = finished.len();
                disk.poll(now, finished);
                // Of a device that is gone nobody knows what it has carried out.
                for done in &mut finished[before..] {
                    if done.result == Err(Fault::Gone) {
                        done.result = Err(Fault::Transport);
                    }
                }
            }
            Self::Nbd(way) => {
                way.now = now;
                way.disk.poll(now, finished);
                way.look_at_fence();
            }
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        match self {
            Self::File(disk) => disk.poll_at(),
            Self::Nbd(way) => {
                let fence = way.fencing.as_ref().map(|_| way.now + FENCE_LOOK);
                way.disk.poll_at().into_iter().chain(fence).min()
            }
        }
    }

    fn abandon(&mut self, tag: Tag) {
        match self {
            Self::File(disk) => disk.abandon(tag),
            Self::Nbd(way) => way.disk.abandon(tag),
        }
    }
}

impl PathDevice for Way {
    fn inquire(&mut self, now: Instant, connect: bool) {
        match self {
            Self::File(disk) => disk.inquire(now, connect),
            Self::Nbd(way) => {
                way.asked = true;
                if connect {
                    way.disk.connect();
                }
            }
        }
    }

    fn inquiry(&mut self, now: Instant) -> Option<Inquiry> {
        match self {
            Self::File(disk) => disk.inquiry(now),
            Self::Nbd(way) => way.inquiry(),
        }
    }

    fn session(&self) -> u64 {
        match self {
            Self::File(disk) => disk.session(),
            Self::Nbd(way) => way.disk.session(),
        }
    }

    fn fenced(&self) -> u64 {
        match self {
            Self::File(disk) => disk.fenced(),
            Self::Nbd(way) => way.disk.fenced(),
        }
    }

    fn fence(&mut self, _now: Instant, session: u64) {
        if let Self::Nbd(way) = self {
            way.fence(session);
        }
    }
}
