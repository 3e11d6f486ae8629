//! The mounted directory.

use std::io::ErrorKind;
use std::path::Path;

use holdfast_core::block::{BlockDevice, Completions};
use holdfast_core::time::Instant;
use holdfast_host::clock::Wakeup;
use holdfast_host::fuse::{Front, Shown};
use holdfast_host::nbd::Export;

use super::{Text, refused};
use crate::exit::Failure;

/// The file through which the kernel uses a device, if there is one.
#[derive(Debug, Default)]
pub(crate) struct FileFront(Option<Front>);

impl FileFront {
    /// Mounts what is exported as a file of this name in a directory, with texts beside it. `bell`
    /// is rung whenever the kernel wants something.
    pub(crate) fn mount(
        directory: &Path,
        file: &'static str,
        export: &Export,
        texts: Vec<(&'static str, Text)>,
        bell: Wakeup,
    ) -> Result<Self, Failure> {
        let Export { bytes, block_bytes, read_only, .. } = *export;
        let shown = Shown { file, bytes, block_bytes, read_only, texts };
        let front = Front::mount(directory, shown, bell).map_err(|error| {
            let failure = refused(directory, &error);
            match error.kind() {
                ErrorKind::NotFound if directory.is_dir() => {
                    failure.hint("without root fusermount3 does the mounting: install fuse3")
                }
                _ => failure,
            }
        })?;
        Ok(Self(Some(front)))
    }

    /// Polls until neither the device nor the kernel has anything for the other. What is not the
    /// kernel's is `finished`.
    pub(crate) fn poll<D: BlockDevice>(
        &mut self,
        device: &mut D,
        now: Instant,
        finished: &mut Completions,
    ) {
        let Some(front) = &mut self.0 else { return device.poll(now, finished) };
        let mut answers = Vec::new();
        loop {
            let mut moved = front.turn(&mut |request| device.submit(request));
            device.poll(now, &mut answers);
            for answer in answers.drain(..) {
                if Front::owns(answer.tag) {
                    front.answer(answer.tag, answer.op, answer.result);
                    moved = true;
                } else {
                    finished.push(answer);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Whether somebody has unmounted it.
    pub(crate) fn is_unmounted(&self) -> bool {
        self.0.as_ref().is_some_and(Front::is_gone)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.as_ref().is_none_or(Front::is_idle)
    }

    /// Takes nothing more; what is under way is carried out.
    pub(crate) fn leave(&mut self) {
        if let Some(front) = &mut self.0 {
            front.leave();
        }
    }

    /// Unmounts it.
    pub(crate) fn unmount(&mut self) {
        self.0 = None;
    }
}
