//! The mounted directory: the device's file, and texts.

use std::ffi::OsStr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::bytes::Wish;
use super::{Caller, Shown, Text, is_named, within};
use crate::clock::Wakeup;

/// How long the kernel may remember names and sizes. They do not change.
const TTL: Duration = Duration::from_secs(3600);
const DEVICE: INodeNo = INodeNo(2);
/// Texts are numbered from here.
const FIRST_TEXT: u64 = 3;

/// fallocate(2): keep the size; give the range back; make it read as zeros.
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// Answers the kernel's questions about names itself and passes on what is about the device.
pub(super) struct Files {
    shown: Shown,
    /// Taken when the kernel has unmounted.
    to: Mutex<Option<Sender<(Caller, Wish)>>>,
    bell: Wakeup,
    since: SystemTime,
    owner: (u32, u32),
}

impl Files {
    pub(super) fn new(shown: Shown, to: Sender<(Caller, Wish)>, bell: Wakeup) -> Self {
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { shown, to: Mutex::new(Some(to)), bell, since: SystemTime::now(), owner }
    }

    /// Hands a wish to the thread that owns the device. If that is gone the caller gets an error by
    /// being dropped.
    fn pass_on(&self, caller: Caller, wish: Wish) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if to.as_ref().is_some_and(|to| to.send((caller, wish)).is_ok()) {
            self.bell.signal();
        }
    }

    fn text(&self, file: INodeNo) -> Option<&(&'static str, Text)> {
        let place = u64::from(file).checked_sub(FIRST_TEXT)?;
        self.shown.texts.get(usize::try_from(place).ok()?)
    }

    fn attributes(&self, file: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match file {
            INodeNo::ROOT => (FileType::Directory, 0o500, 0),
            DEVICE if self.shown.read_only => (FileType::RegularFile, 0o400, self.shown.bytes),
            DEVICE => (FileType::RegularFile, 0o600, self.shown.bytes),
            // As in /proc: how long a text is shows when it is read.
            file => self.text(file).map(|_| (FileType::RegularFile, 0o400, 0))?,
        };
        Some(FileAttr {
            ino: file,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: self.since,
            ctime: self.since,
            crtime: self.since,
            kind,
            perm,
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn named(&self, name: &OsStr) -> Option<INodeNo> {
        if is_named(name, self.shown.file) {
            return Some(DEVICE);
        }
        let place = self.shown.texts.iter().position(|(text, _)| is_named(name, text))?;
        Some(INodeNo(FIRST_TEXT + place as u64))
    }
}

/// Whoever unmounts wakes the thread that owns the device.
impl Drop for Files {
    fn drop(&mut self) {
        drop(self.to.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.bell.signal();
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let file = self.named(name).filter(|_| parent == INodeNo::ROOT);
        match file.and_then(|file| self.attributes(file)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, file: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(file) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        file: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        _size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        // Sizes and times that cannot change do not, as on a block device.
        let refused = mode.is_some() || uid.is_some() || gid.is_some() || file != DEVICE;
        match self.attributes(file) {
            Some(attributes) if !refused => reply.attr(&TTL, &attributes),
            Some(_) => reply.error(Errno::EPERM),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, file: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Others may write to the device by other ways: the kernel keeps nothing of it. Texts are
        // made when they are read.
        match self.attributes(file) {
            Some(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if file == DEVICE {
            let range = within(offset, size.into(), self.shown.bytes);
            return self.pass_on(Caller::Read(reply), Wish::Read(range));
        }
        match self.text(file) {
            Some((_, text)) => {
                let text = text();
                let range = within(offset, size.into(), text.len() as u64);
                reply.data(&text.as_bytes()[range.start as usize..range.end as usize]);
            }
            None => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if file != DEVICE {
            return reply.error(Errno::EACCES);
        }
        let range = within(offset, data.len() as u64, self.shown.bytes);
        let length = (range.end - range.start) as usize;
        if length == 0 && !data.is_empty() {
            return reply.error(Errno::ENOSPC);
        }
        let wish = Wish::Write(range.start, data[..length].to_vec());
        self.pass_on(Caller::Write(reply, length as u32), wish);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // close(2) promises nothing; fsync(2) does.
        reply.ok();
    }

    fn fsync(&self, _: &Request, file: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match file {
            DEVICE => self.pass_on(Caller::Other(reply), Wish::Flush),
            _ => reply.ok(),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        file: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let range = within(offset, length, self.shown.bytes);
        match mode & !KEEP_SIZE {
            _ if file != DEVICE => reply.error(Errno::EACCES),
            PUNCH_HOLE | ZERO_RANGE => self.pass_on(Caller::Other(reply), Wish::Zero(range)),
            // All of it is there already.
            0 if range.end - range.start == length => reply.ok(),
            0 => reply.error(Errno::ENOSPC),
            _ => reply.error(Errno::EOPNOTSUPP),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        directory: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if directory != INodeNo::ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let texts = self.shown.texts.iter().map(|(name, _)| *name);
        let files = [self.shown.file].into_iter().chain(texts).zip(u64::from(DEVICE)..);
        let files = files.map(|(name, number)| (INodeNo(number), FileType::RegularFile, name));
        let here =
            [(INodeNo::ROOT, FileType::Directory, "."), (INodeNo::ROOT, FileType::Directory, "..")];
        for (place, (file, kind, name)) in here.into_iter().chain(files).enumerate() {
            let place = place as u64;
            if place >= offset && reply.add(file, place + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
