//! What lies beneath overlays and faults: a file, a block device, or an export of a server.

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::time::Instant;
use holdfast_host::file::FileDisk;
use holdfast_host::nbd::client::{Condition, Fencing, NbdDisk};
use holdfast_host::watch::Watch;
use holdfast_host::window::Window;

/// What is beneath an overlay, or would be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "files are asked for more often than all else")]
pub(crate) enum Base {
    /// A file or device, or a part of it.
    File(Window<FileDisk>),
    /// An export of a server.
    Export(Box<Export>),
}

/// An export and its connection.
#[derive(Debug)]
pub(crate) struct Export {
    disk: NbdDisk,
    /// Whoever asks knows already that the connection is gone.
    told: bool,
}

impl Export {
    /// A connected export.
    pub(super) const fn new(disk: NbdDisk) -> Self {
        Self { disk, told: false }
    }

    /// Whether its connection has ended, said once. Nothing may be under way.
    pub(super) fn has_gone(&mut self, now: Instant) -> bool {
        self.disk.poll(now, &mut Vec::new());
        let gone = matches!(self.disk.condition(), Condition::Down(_));
        gone && !std::mem::replace(&mut self.told, gone)
    }

    /// From now on its news are heard through this watch.
    pub(super) fn move_to(&mut self, watch: &Watch) -> std::io::Result<()> {
        self.disk.move_to(watch)
    }

    /// Goes on over another connection to the same export, if its own has ended; only looks whether it
    /// could if `rehearse`.
    ///
    /// # Errors
    /// Why it must not or cannot, as the end of a sentence.
    pub(super) fn reconnect(&mut self, fresh: Self, rehearse: bool) -> Result<(), String> {
        let disk = &mut self.disk;
        if !matches!(disk.condition(), Condition::Down(_)) {
            return Ok(());
        }
        let shape = |disk: &NbdDisk| (disk.geometry().sectors, disk.geometry().block_bytes);
        if shape(disk) != shape(&fresh.disk) {
            return Err("its size or block size has changed".to_owned());
        }
        if !disk.is_settled() && fresh.disk.target().fencing != Fencing::OnClose {
            return Err("a write of the lost connection may still land".to_owned());
        }
        if rehearse {
            return Ok(());
        }
        disk.prove(disk.session());
        self.told = false;
        disk.take_over(fresh.disk).map_err(|error| error.to_string())
    }
}

impl Base {
    /// The export, if it is one.
    pub(super) fn export(&mut self) -> Option<&mut Export> {
        match self {
            Self::Export(export) => Some(export),
            Self::File(_) => None,
        }
    }

    fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::File(window) => window,
            Self::Export(export) => &export.disk,
        }
    }

    fn device_mut(&mut self) -> &mut dyn BlockDevice {
        match self {
            Self::File(window) => window,
            Self::Export(export) => &mut export.disk,
        }
    }
}

impl BlockDevice for Base {
    fn geometry(&self) -> Geometry {
        self.device().geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.device_mut().submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.device_mut().poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.device().poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.device_mut().abandon(tag);
    }
}
