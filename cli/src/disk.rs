//! What a member is to the engine: a disk, a partition of one or an export of a server, perhaps under
//! an overlay, perhaps with faults.

mod base;

use std::ops::Range;
use std::sync::Arc;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Request, Tag};
use holdfast_core::rng::Rng;
use holdfast_core::time::Instant;
use holdfast_host::blocklog::Log;
use holdfast_host::file::FileDisk;
use holdfast_host::nbd::client::NbdDisk;
use holdfast_host::overlay::Overlay;
use holdfast_host::pool::IoPool;
use holdfast_host::watch::Watch;
use holdfast_host::window::Window;
use holdfast_host::zeros::Zeros;
use holdfast_sim::inject::Breakable;

use self::base::{Base, Export};

/// A member's storage.
#[derive(Debug)]
pub(crate) enum Disk {
    /// The member itself.
    Itself(Base),
    /// The member as an overlay shows it.
    Overlaid(Box<Overlay<Base>>, Arc<Log>, u32),
    /// Let go of: it has the shape it had, and answers nothing.
    Closed(Closed),
    /// Any of them, with faults by order.
    Breakable(Box<Breakable<Self>>),
}

/// What is left of a device that was closed.
#[derive(Debug)]
pub(crate) struct Closed {
    geometry: Geometry,
    refused: Completions,
}

impl BlockDevice for Closed {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.refused.push(request.complete(Err(Fault::Gone)));
        Ok(())
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        finished.append(&mut self.refused);
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}

impl Disk {
    /// A file or device, or the part of it that is the member.
    pub(crate) const fn new(window: Window<FileDisk>) -> Self {
        Self::Itself(Base::File(window))
    }

    /// An export, connected.
    pub(crate) fn export(disk: NbdDisk) -> Self {
        Self::Itself(Base::Export(Box::new(Export::new(disk))))
    }

    /// The same member under an overlay, which knows it by this number.
    pub(crate) fn over(self, log: Arc<Log>, number: u32, pool: &IoPool) -> Self {
        match self {
            Self::Itself(base) => {
                let overlay = Overlay::new(base, Arc::clone(&log), number, pool);
                Self::Overlaid(Box::new(overlay), log, number)
            }
            _ => unreachable!("there is one overlay at most, over what is open"),
        }
    }

    /// Whether writes go to an overlay.
    pub(crate) fn is_overlaid(&self) -> bool {
        match self {
            Self::Breakable(breakable) => matches!(breakable.inner(), Self::Overlaid(..)),
            storage => matches!(storage, Self::Overlaid(..)),
        }
    }

    /// Makes it a device that can be broken, if it is none and in use. Nothing may be under way.
    pub(crate) fn make_breakable(&mut self, atomic_bytes: u64, dice: Rng) {
        if matches!(self, Self::Breakable(_) | Self::Closed(_)) {
            return;
        }
        let (geometry, refused) = (self.geometry(), Vec::new());
        let storage = std::mem::replace(self, Self::Closed(Closed { geometry, refused }));
        *self = Self::Breakable(Box::new(Breakable::new(storage, atomic_bytes, dice)));
    }

    /// The device that can be broken, if it is one.
    pub(crate) fn breakable(&mut self) -> Option<&mut Breakable<Self>> {
        match self {
            Self::Breakable(breakable) => Some(breakable),
            _ => None,
        }
    }

    /// Lets go of the file, and of the lock on it. Nothing may be under way.
    pub(crate) fn close(&mut self) {
        let geometry = self.geometry();
        *self = Self::Closed(Closed { geometry, refused: Vec::new() });
    }

    /// Whether it has been let go of.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Whether a range of sectors is known to read as zeros, without reading it.
    pub(crate) fn reads_as_zeros(&self, sectors: Range<u64>) -> Zeros {
        let base = match self {
            Self::Itself(base) => base,
            Self::Overlaid(overlay, log, number) => {
                if !log.within(*number, sectors.clone()).is_empty() {
                    return Zeros::Unknown;
                }
                overlay.base()
            }
            Self::Closed(_) | Self::Breakable(_) => return Zeros::Unknown,
        };
        let Base::File(window) = base else { return Zeros::Unknown };
        if sectors.end > window.geometry().sectors {
            return Zeros::Unknown;
        }
        let start = window.start();
        window.device().reads_as_zeros(start + sectors.start..start + sectors.end)
    }

    fn device(&self) -> &dyn BlockDevice {
        match self {
            Self::Itself(base) => base,
            Self::Overlaid(overlay, ..) => &**overlay,
            Self::Closed(closed) => closed,
            Self::Breakable(breakable) => &**breakable,
        }
    }

    fn device_mut(&mut self) -> &mut dyn BlockDevice {
        match self {
            Self::Itself(base) => base,
            Self::Overlaid(overlay, ..) => &mut **overlay,
            Self::Closed(closed) => closed,
            Self::Breakable(breakable) => &mut **breakable,
        }
    }
}

impl BlockDevice for Disk {
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

/// An export's connection.
impl Disk {
    fn connection(&mut self) -> Option<&mut Export> {
        match self {
            Self::Itself(base) => base.export(),
            Self::Breakable(breakable) => match breakable.inner_mut() {
                Self::Itself(base) => base.export(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is an export.
    pub(crate) const fn is_export(&self) -> bool {
        matches!(self, Self::Itself(Base::Export(_)))
    }

    /// Whether its connection has ended, said once. Nothing may be under way.
    pub(crate) fn has_gone(&mut self, now: Instant) -> bool {
        match self {
            Self::Itself(Base::Export(export)) => export.has_gone(now),
            // Behind a cache or an overlay something may be under way that nobody has asked for.
            _ => false,
        }
    }

    /// From now on its news are heard through this watch.
    pub(crate) fn move_to(&mut self, watch: &Watch) -> std::io::Result<()> {
        self.connection().map_or(Ok(()), |export| export.move_to(watch))
    }

    /// Goes on over another connection to the same export; see [`Export::reconnect`].
    pub(crate) fn reconnect(&mut self, fresh: Self, rehearse: bool) -> Result<(), String> {
        let Self::Itself(Base::Export(fresh)) = fresh else { return Ok(()) };
        self.connection().map_or(Ok(()), |export| export.reconnect(*fresh, rehearse))
    }
}
