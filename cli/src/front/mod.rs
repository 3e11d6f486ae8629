//! A served device as a file: `serve --fuse DIR` and `--loop`, whatever it is that is served.
//!
//! [`FileFront`] is the mounted directory, or nothing where none is wanted or can be had (a build
//! without the feature `fuse`); [`Fronted`] is the device with it, which the NBD server takes for
//! the device alone.

#[cfg(not(feature = "fuse"))]
mod absent;
mod losetup;
#[cfg(feature = "fuse")]
mod mounted;
mod tls;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::time::Instant;

use crate::control::listen::Teller;
use crate::exit::Failure;

#[cfg(not(feature = "fuse"))]
pub(crate) use self::absent::FileFront;
pub(crate) use self::losetup::Losetup;
#[cfg(feature = "fuse")]
pub(crate) use self::mounted::FileFront;
pub(crate) use self::tls::{Tls, TlsWish, listen};

/// How often a program that runs meanwhile is asked whether it has ended.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// Makes a text that is read as a file.
pub(crate) type Text = Box<dyn Fn() -> String + Send + Sync>;

/// What a verb says for people, whenever it is read.
pub(crate) fn text<Q: Clone + Send + Sync + 'static>(teller: &Teller<Q>, request: Q) -> Text {
    let teller = teller.clone();
    Box::new(move || teller.text(request.clone()))
}

/// Where a device is to be shown as a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The directory, from the root.
    pub(crate) directory: Option<PathBuf>,
    /// A loop device on top of the file.
    pub(crate) attach_loop: bool,
}

impl Wanted {
    /// A mount hides what lies beneath: on a member's own name it would hide the member.
    pub(crate) fn refuse_occupied(&self) -> Result<(), Failure> {
        let Some(directory) = &self.directory else { return Ok(()) };
        match std::fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(refused(directory, "the directory is not empty; what is in it would be hidden"))
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                Err(refused(directory, &error).hint(format!(
                    "a server that died is still mounted there: fusermount3 -u {}",
                    directory.display()
                )))
            }
            Err(error) => Err(refused(directory, &error)),
        }
    }
}

fn refused(directory: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::error(format!("--fuse {}: {why}", directory.display()))
}

/// A device that is shared with the kernel's FUSE.
#[derive(Debug)]
pub(crate) struct Fronted<'a, D> {
    pub(crate) device: &'a mut D,
    pub(crate) file: &'a mut FileFront,
}

impl<D: BlockDevice> BlockDevice for Fronted<'_, D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.device.submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.file.poll(self.device, now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.device.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.device.abandon(tag);
    }
}
