//! A member with a plug: once it is out, everything asked of it is answered with
//! [`Fault::Gone`], also what was under way. The demo's whole violence is this one switch.

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Request};
use holdfast_core::time::Instant;

/// A device that can be pulled out.
#[derive(Debug)]
pub(super) struct Pulled<D> {
    device: D,
    out: bool,
    refused: Completions,
}

impl<D> Pulled<D> {
    /// A device, plugged in.
    pub(super) const fn new(device: D) -> Self {
        Self { device, out: false, refused: Vec::new() }
    }

    /// Pulls the plug, for good.
    pub(super) const fn pull(&mut self) {
        self.out = true;
    }
}

impl<D: BlockDevice> BlockDevice for Pulled<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.out {
            self.refused.push(request.complete(Err(Fault::Gone)));
            return Ok(());
        }
        self.device.submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let before = finished.len();
        self.device.poll(now, finished);
        if self.out {
            finished[before..].iter_mut().for_each(|done| done.result = Err(Fault::Gone));
        }
        finished.append(&mut self.refused);
    }

    fn poll_at(&self) -> Option<Instant> {
        if self.refused.is_empty() { self.device.poll_at() } else { Some(Instant::ZERO) }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::{Blocking, MemDisk};
    use holdfast_core::time::StepClock;

    use super::*;

    #[test]
    fn nothing_comes_from_a_pulled_disk() {
        let mut disk = Blocking::new(Pulled::new(MemDisk::new(64)), StepClock::default());
        disk.write_at(0, &[7; 512]).unwrap();
        disk.device_mut().pull();
        assert_eq!(disk.read_at(0, &mut [0; 512]), Err(Fault::Gone));
        assert_eq!(disk.write_at(0, &[8; 512]), Err(Fault::Gone));
        assert_eq!(disk.flush(), Err(Fault::Gone));
    }
}
