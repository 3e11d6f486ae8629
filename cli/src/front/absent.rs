//! A build that mounts nothing.

use std::path::Path;

use holdfast_core::block::{BlockDevice, Completions};
use holdfast_core::time::Instant;
use holdfast_host::clock::Wakeup;
use holdfast_host::nbd::Export;

use super::{Text, refused};
use crate::exit::Failure;

/// No file: the device is the NBD server's alone.
#[derive(Debug, Default)]
pub(crate) struct FileFront {}

impl FileFront {
    /// Nothing can be mounted, and no flag asks for it.
    pub(crate) fn mount(
        directory: &Path,
        _file: &'static str,
        _export: &Export,
        _texts: Vec<(&'static str, Text)>,
        _bell: Wakeup,
    ) -> Result<Self, Failure> {
        Err(refused(directory, "this build has no FUSE"))
    }

    /// Polls the device.
    pub(crate) fn poll<D: BlockDevice>(
        &mut self,
        device: &mut D,
        now: Instant,
        finished: &mut Completions,
    ) {
        device.poll(now, finished);
    }

    /// There is nothing to be unmounted.
    pub(crate) const fn is_unmounted(&self) -> bool {
        false
    }

    /// Nothing is ever under way.
    pub(crate) const fn is_idle(&self) -> bool {
        true
    }

    /// Nothing is taken in any case.
    pub(crate) const fn leave(&mut self) {}

    /// Nothing is mounted.
    pub(crate) const fn unmount(&mut self) {}
}
