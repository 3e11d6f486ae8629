//! A device as a file: mounts a directory with the device's bytes in one file and a few texts about
//! it beside, so that whatever takes a file (mkfs, a loop device, a virtual machine) takes the device.
//!
//! ```text
//!  kernel ──► session thread ──► [channel, bell] ──► Front ──► Bytes ──► device
//!  kernel ◄──────────────────── answers, from the thread that owns the device
//! ```
//!
//! The session thread never touches the device and never waits for it, except for the texts, which
//! are asked of a closure. The thread that owns the device calls [`Front::turn`] and hands on what
//! it asks; answers go straight back to the kernel.
//!
//! As on a block device, a file that is cut short or opened with `O_TRUNC` keeps its size.

pub mod bytes;
mod files;

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};

use fuser::{BackgroundSession, Config, Errno, MountOption, ReplyData, ReplyEmpty, ReplyWrite};
use holdfast_core::block::{Fault, Op, Request, Tag};
use holdfast_core::slab::{Key, Slab};

use self::bytes::{Ask, Bytes, Wish};
use self::files::Files;
use crate::clock::Wakeup;

/// Makes a text that is read as a file.
pub type Text = Box<dyn Fn() -> String + Send + Sync>;

/// What is mounted.
pub struct Shown {
    /// Name of the file that holds the device's bytes.
    pub file: &'static str,
    /// Size of the device in bytes.
    pub bytes: u64,
    /// Its block, in bytes.
    pub block_bytes: u32,
    /// Nothing may be written.
    pub read_only: bool,
    /// Files beside the device's, by name.
    pub texts: Vec<(&'static str, Text)>,
}

/// Somebody in the kernel who waits for an answer.
#[derive(Debug)]
enum Caller {
    Read(ReplyData),
    Write(ReplyWrite, u32),
    Other(ReplyEmpty),
}

impl Caller {
    fn answer(self, result: Result<Vec<u8>, Fault>) {
        match (self, result) {
            (Self::Read(reply), Ok(bytes)) => reply.data(&bytes),
            (Self::Write(reply, length), Ok(_)) => reply.written(length),
            (Self::Other(reply), Ok(_)) => reply.ok(),
            (Self::Read(reply), Err(fault)) => reply.error(errno(fault)),
            (Self::Write(reply, _), Err(fault)) => reply.error(errno(fault)),
            (Self::Other(reply), Err(fault)) => reply.error(errno(fault)),
        }
    }
}

const fn errno(fault: Fault) -> Errno {
    match fault {
        Fault::Full => Errno::ENOSPC,
        Fault::ReadOnly => Errno::EROFS,
        Fault::Timeout => Errno::ETIMEDOUT,
        Fault::Gone => Errno::ENXIO,
        Fault::OutOfRange | Fault::Refused => Errno::EINVAL,
        Fault::Medium | Fault::Transport | Fault::Corrupt => Errno::EIO,
    }
}

/// Marks this front's requests among others of the same device: tags of others have this bit clear.
const OURS: u64 = 1 << 63;

/// A mounted directory. Dropping it unmounts; whoever still has the file open gets errors from then
/// on.
#[derive(Debug)]
pub struct Front {
    /// Where it is mounted, and the number of the mounted file system.
    place: (PathBuf, u64),
    wishes: Receiver<(Caller, Wish)>,
    bytes: Bytes<Caller>,
    /// Requests under way: whose they are, and where they began.
    asked: Slab<(Key, u64)>,
    /// Handed back by a full device; goes first next time.
    held: Option<Request>,
    session: Option<BackgroundSession>,
    gone: bool,
    leaving: bool,
}

impl Front {
    /// Mounts. `bell` is rung whenever the kernel wants something.
    ///
    /// # Errors
    ///
    /// The directory does not exist or is not the user's, or the kernel or `fusermount3` refuses.
    pub fn mount(directory: &Path, shown: Shown, bell: Wakeup) -> io::Result<Self> {
        let (to, wishes) = mpsc::channel();
        let bytes = Bytes::new(shown.block_bytes.into());
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("holdfast".to_owned()),
            MountOption::Subtype("holdfast".to_owned()),
            MountOption::DefaultPermissions,
        ];
        if shown.read_only {
            config.mount_options.push(MountOption::RO);
        }
        let session = fuser::spawn_mount(Files::new(shown, to, bell), directory, &config)?;
        let place = (directory.to_owned(), number_of(directory)?);
        let (asked, session) = (Slab::new(), Some(session));
        Ok(Self { place, wishes, bytes, asked, held: None, session, gone: false, leaving: false })
    }

    /// Takes what the kernel wants and hands it to the device until that is full. Whether anything
    /// was handed over or answered.
    pub fn turn(&mut self, submit: &mut dyn FnMut(Request) -> Result<(), Request>) -> bool {
        let mut moved = false;
        loop {
            match self.wishes.try_recv() {
                Ok((caller, wish)) => {
                    match self.leaving {
                        true => caller.answer(Err(Fault::Gone)),
                        false => self.bytes.wish(caller, wish),
                    }
                    moved = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.gone = true;
                    break;
                }
            }
        }
        while let Some(request) = self.held.take().or_else(|| self.next_request()) {
            if let Err(back) = submit(request) {
                self.held = Some(back);
                break;
            }
            moved = true;
        }
        while let Some((caller, result)) = self.bytes.poll_done() {
            caller.answer(result);
            moved = true;
        }
        moved
    }

    fn next_request(&mut self) -> Option<Request> {
        let Ask { job, sector, op } = self.bytes.poll_ask()?;
        let key = self.asked.insert((job, sector));
        Some(Request::new(Tag(key.to_bits() | OURS), sector, op))
    }

    /// Whether an answer of the device is for this front.
    pub const fn owns(tag: Tag) -> bool {
        tag.0 & OURS != 0
    }

    /// Takes an answer of the device.
    ///
    /// # Panics
    ///
    /// If it is for a request that was not made, or has been answered.
    pub fn answer(&mut self, tag: Tag, op: Op, result: Result<(), Fault>) {
        let asked = self.asked.remove(Key::from_bits(tag.0 & !OURS));
        let (job, sector) = asked.expect("answered once");
        self.bytes.answer(job, sector, op, result);
        while let Some((caller, result)) = self.bytes.poll_done() {
            caller.answer(result);
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.bytes.is_idle() && self.held.is_none()
    }

    /// Whether somebody has unmounted the directory.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes no more wishes: whoever has one gets an error. What is under way is carried out.
    pub const fn leave(&mut self) {
        self.leaving = true;
    }
}

/// A file that is open somewhere keeps its directory mounted, and once this process has ended nobody
/// could even look into that: it is taken out of the tree and goes with the last who has it open.
impl Drop for Front {
    fn drop(&mut self) {
        drop(self.session.take());
        let (directory, number) = &self.place;
        if number_of(directory).is_ok_and(|found| found == *number) {
            // Who may not do this has had it done by fusermount3.
            let _ = rustix::mount::unmount(directory, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The number of the file system a directory belongs to, as the kernel remembers it: nobody is asked
/// who may be waiting for us.
fn number_of(directory: &Path) -> io::Result<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    let found = statx(CWD, directory, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)?;
    Ok(makedev(found.stx_dev_major, found.stx_dev_minor))
}

/// Whether a name is one the directory has.
fn is_named(name: &OsStr, wanted: &str) -> bool {
    name == OsStr::new(wanted)
}

/// The part of a range of `size` bytes that exists.
fn within(offset: u64, length: u64, size: u64) -> Range<u64> {
    let start = offset.min(size);
    start..offset.saturating_add(length).clamp(start, size)
}
