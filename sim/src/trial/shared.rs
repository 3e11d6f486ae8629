//! A disk that two hold: the device that is built on it, and the world that breaks it.

use std::cell::{Ref, RefCell, RefMut};
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::time::Instant;

use crate::disk::SimDisk;

/// A handle on a simulated disk. All clones are the same disk, which outlives whatever was built
/// on it, as disks do.
#[derive(Clone, Debug)]
pub struct SharedDisk(Rc<RefCell<SimDisk>>);

impl SharedDisk {
    /// A first handle.
    pub fn new(disk: SimDisk) -> Self {
        Self(Rc::new(RefCell::new(disk)))
    }

    /// The disk, to be looked into.
    pub fn look(&self) -> Ref<'_, SimDisk> {
        self.0.borrow()
    }

    /// The disk, to be broken.
    pub fn touch(&self) -> RefMut<'_, SimDisk> {
        self.0.borrow_mut()
    }
}

impl BlockDevice for SharedDisk {
    fn geometry(&self) -> Geometry {
        self.look().geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.touch().submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.touch().poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.look().poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.touch().abandon(tag);
    }
}
