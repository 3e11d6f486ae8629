//! Opening the members of an array, all of them or none.
//!
//! A reader gets what it asks for. A writer is asked four questions first, because each wrong
//! answer has cost somebody an array:
//!
//! 1. Are two of the members the same storage under two names? ([`identity`](crate::identity))
//! 2. Is a member in use: mounted, swapped to, or part of another device? ([`claim`](crate::claim))
//! 3. Does the kernel or another program hold the block device? (an exclusive open)
//! 4. Does another holdfast write to it, or to the image behind it? ([`lock`])
//!
//! The first question is asked of readers too: an array assembled from one member twice has
//! redundancy that does not exist. The lock lives in the open file, so it is held until the
//! [`FileDisk`] is dropped and its last request has ended.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use holdfast_core::block::BlockDevice;
use holdfast_core::size::SECTOR_BYTES;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::claim::{Claimant, Claims};
use crate::file::{FileDisk, Kind};
use crate::identity::{Extent, Identity, Sysfs, overlap};
use crate::lock::{self, Beneath, Holder, LockError, Mode};
use crate::pool::IoPool;
use crate::sys;

/// What the members will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Looking only. Takes no lock and is refused by none.
    Read,
    /// Looking only, and for as long as it lasts nobody writes.
    Steady,
    /// Writing too. Excludes every other writer.
    Write,
}

/// A member, open.
#[derive(Debug)]
pub struct Opened {
    /// The name it was asked for by.
    pub path: PathBuf,
    /// The device. Owns the lock.
    pub disk: FileDisk,
    /// What it is, whatever its name.
    pub identity: Identity,
    /// Regular file or block device.
    pub kind: Kind,
    /// Bytes after the last whole sector, which are not part of the disk; worth a note, because
    /// an image is seldom meant to be like that.
    pub trailing_bytes: u64,
}

impl Opened {
    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.disk.geometry().sectors
    }
}

/// Why a member was not opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing has this name.
    #[error("{}: no such file or device; check the name", .0.display())]
    NotFound(PathBuf),
    /// The operating system says no to this user.
    #[error("{}: permission denied; run as a user who may {verb} it", .path.display())]
    PermissionDenied {
        /// The member.
        path: PathBuf,
        /// What was tried: `read` or `read and write`.
        verb: &'static str,
    },
    /// A directory.
    #[error("{}: is a directory; name an image or a block device in it", .0.display())]
    Directory(PathBuf),
    /// A terminal, a pipe, a socket.
    #[error("{}: neither a file nor a block device; name an image or a disk", .0.display())]
    NotStorage(PathBuf),
    /// Less than one sector.
    #[error("{}: smaller than one sector; give it a size, or attach what should be behind it",
        .0.display())]
    Empty(PathBuf),
    /// Its filesystem or the device itself takes no writes.
    #[error("{}: read-only; make it writable, or ask only for what needs no writing", .0.display())]
    ReadOnly(PathBuf),
    /// Another program writes to it.
    #[error("{}: locked by {}; stop that program, or wait until it has finished",
        .path.display(), HolderOr(.holder.as_ref()))]
    Locked {
        /// The member.
        path: PathBuf,
        /// Who has the lock, if the kernel tells.
        holder: Option<Holder>,
    },
    /// The operating system uses it.
    #[error("{}: {by}; {} first", .path.display(), remedy(.by))]
    InUse {
        /// The member.
        path: PathBuf,
        /// Who uses it.
        by: Claimant,
    },
    /// The kernel holds it and does not say for whom.
    #[error("{}: busy; stop the array, volume or program that has it open", .0.display())]
    Busy(PathBuf),
    /// Two names of one storage.
    #[error("{} and {} are the same storage; name each member once",
        .first.display(), .second.display())]
    SameDevice {
        /// The name that came first.
        first: PathBuf,
        /// The name that came later.
        second: PathBuf,
    },
    /// Anything else the operating system says.
    #[error("{}: {source}; the system log may say more", .path.display())]
    Io {
        /// The member.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A holder as the end of "locked by".
struct HolderOr<'a>(Option<&'a Holder>);

impl std::fmt::Display for HolderOr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(holder) => holder.fmt(f),
            None => f.write_str("another program"),
        }
    }
}

const fn remedy(by: &Claimant) -> &'static str {
    match by {
        Claimant::Mount(_) => "unmount it",
        Claimant::Swap => "turn the swap off",
        Claimant::Device(_) => "stop that device",
    }
}

impl OpenError {
    pub(crate) fn of_read(path: &Path, error: io::Error) -> Self {
        Self::of(path, Access::Read, error)
    }

    pub(crate) fn locked(path: &Path) -> Self {
        let (path, holder) = (path.to_owned(), lock::holder_of(path));
        Self::Locked { path, holder }
    }

    fn of(path: &Path, access: Access, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Self::NotFound(path),
            ErrorKind::PermissionDenied => Self::PermissionDenied {
                path,
                verb: match access {
                    Access::Read | Access::Steady => "read",
                    Access::Write => "read and write",
                },
            },
            ErrorKind::IsADirectory => Self::Directory(path),
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            ErrorKind::ResourceBusy => Self::Busy(path),
            // A loop device with nothing behind it, a drive without a medium.
            _ if Errno::from_io_error(&source) == Some(Errno::NXIO) => Self::Empty(path),
            _ => Self::Io { path, source },
        }
    }
}

/// Opens all members, or none and says why.
///
/// # Errors
/// The first reason found not to. Nothing stays open or locked then.
pub fn open_members<P: AsRef<Path>>(
    paths: &[P],
    access: Access,
    pool: &IoPool,
) -> Result<Vec<Opened>, OpenError> {
    let sysfs = Sysfs::default();
    let mut candidates = Vec::with_capacity(paths.len());
    for path in paths {
        candidates.push(Candidate::look_at(path.as_ref(), access, &sysfs)?);
    }
    refuse_twins(&candidates)?;
    if access == Access::Write {
        let claims = Claims::survey(&sysfs);
        for candidate in &candidates {
            if let Some(by) = claims.on(&candidate.lineage) {
                let (path, by) = (candidate.path.to_owned(), by.clone());
                return Err(OpenError::InUse { path, by });
            }
        }
    }
    let mut beneath = Beneath::default();
    candidates
        .into_iter()
        .map(|candidate| candidate.open(access, pool, &sysfs, &mut beneath))
        .collect()
}

/// Refuses two names of one storage. Quadratic in the members, which are few hundred at most.
fn refuse_twins(candidates: &[Candidate<'_>]) -> Result<(), OpenError> {
    for (index, second) in candidates.iter().enumerate() {
        for first in &candidates[..index] {
            if overlap(&first.lineage, &second.lineage) {
                return Err(OpenError::SameDevice {
                    first: first.path.to_owned(),
                    second: second.path.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// A path that has been looked at, but not yet opened for good.
struct Candidate<'a> {
    path: &'a Path,
    kind: Kind,
    identity: Identity,
    lineage: Vec<Extent>,
}

impl<'a> Candidate<'a> {
    /// Finds out what is there without changing or claiming anything.
    fn look_at(path: &'a Path, access: Access, sysfs: &Sysfs) -> Result<Self, OpenError> {
        let failed = |error| OpenError::of(path, access, error);
        let (kind, identity) = classify(path, &path.metadata().map_err(failed)?)?;
        // A file is one storage whatever its size; only devices share parts of others.
        let whole = Extent::whole(identity);
        let lineage = match identity {
            Identity::File { .. } => vec![whole],
            Identity::Block { .. } => {
                let device = File::open(path).map_err(failed)?;
                let bytes = sys::block::size_bytes(&device).map_err(|e| failed(e.into()))?;
                if access == Access::Write && sys::block::is_read_only(&device).unwrap_or(false) {
                    return Err(OpenError::ReadOnly(path.to_owned()));
                }
                sysfs.lineage(identity, bytes)
            }
        };
        Ok(Self { path, kind, identity, lineage })
    }

    fn open(
        self,
        access: Access,
        pool: &IoPool,
        sysfs: &Sysfs,
        beneath: &mut Beneath,
    ) -> Result<Opened, OpenError> {
        let path = self.path;
        let failed = |error| OpenError::of(path, access, error);
        let write = access == Access::Write;
        let mut options = File::options();
        options.read(true).write(write);
        if write && self.kind == Kind::Block {
            // Without O_CREAT, and on a block device: "fail if the kernel or another exclusive
            // opener uses it"; see open(2).
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        let file = lock::patiently(Errno::BUSY, || {
            options.open(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
        .map_err(|errno| failed(errno.into()))?;
        let metadata = file.metadata().map_err(failed)?;
        if classify(path, &metadata)?.1 != self.identity {
            return Err(failed(io::Error::other("replaced while it was opened")));
        }
        let mut locks = Vec::new();
        let refused = |error| match error {
            LockError::Held => OpenError::locked(path),
            LockError::Io(error) => failed(error),
        };
        if access == Access::Steady {
            lock::acquire(&file, Mode::Shared).map_err(refused)?;
        }
        if write {
            lock::acquire(&file, Mode::Exclusive).map_err(refused)?;
            for (of, name) in sysfs.files_beneath(self.identity) {
                locks.extend(beneath.lock(of, &name).map_err(refused)?);
            }
        }
        let trailing_bytes = match self.kind {
            Kind::Regular => metadata.len() % SECTOR_BYTES,
            Kind::Block => 0,
        };
        let disk = FileDisk::new(file, !write, pool).map_err(failed)?.holding(locks);
        if disk.geometry().sectors == 0 {
            return Err(OpenError::Empty(path.to_owned()));
        }
        Ok(Opened {
            path: path.to_owned(),
            disk,
            identity: self.identity,
            kind: self.kind,
            trailing_bytes,
        })
    }
}

fn classify(path: &Path, metadata: &Metadata) -> Result<(Kind, Identity), OpenError> {
    if metadata.is_dir() {
        return Err(OpenError::Directory(path.to_owned()));
    }
    Kind::of(metadata.file_type())
        .zip(Identity::of(metadata))
        .ok_or_else(|| OpenError::NotStorage(path.to_owned()))
}

#[cfg(test)]
mod tests;
