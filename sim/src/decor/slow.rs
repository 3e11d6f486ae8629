//! A device that takes its time, and answers in another order than it was asked.
//!
//! A request waits here for a span drawn when it was submitted and reaches the device beneath only
//! then: requests in flight together land in the order of their delays, as on a real disk. The span
//! begins with the first poll after the submission, so no clock is needed.

use std::collections::BTreeMap;

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::time::{Duration, Instant};

/// How long requests take: evenly spread, with an occasional straggler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    least: Duration,
    most: Duration,
    straggler: Ratio,
    straggles: Duration,
}

impl Latency {
    /// Always the same.
    pub const fn fixed(span: Duration) -> Self {
        Self::between(span, span)
    }

    /// Evenly spread from `least` to `most`.
    ///
    /// # Panics
    /// If `least` is more than `most`.
    pub const fn between(least: Duration, most: Duration) -> Self {
        assert!(least.as_nanos() <= most.as_nanos());
        Self { least, most, straggler: Ratio::NEVER, straggles: Duration::ZERO }
    }

    /// Now and then a request takes `span` longer.
    #[must_use]
    pub const fn with_stragglers(self, how_often: Ratio, span: Duration) -> Self {
        Self { straggler: how_often, straggles: span, ..self }
    }

    fn draw(&self, rng: &mut Rng) -> Duration {
        let width = (self.most - self.least).as_nanos() as u64;
        let spread = Duration::from_nanos(rng.below(width + 1));
        let late = match rng.chance(self.straggler) {
            true => self.straggles,
            false => Duration::ZERO,
        };
        self.least + spread + late
    }
}

/// A device behind a delay.
#[derive(Debug)]
pub struct Slow<D> {
    inner: D,
    latency: Latency,
    rng: Rng,
    /// Requests whose span has not begun.
    fresh: Vec<(Duration, Request)>,
    /// Requests by the moment they reach the device, and by order of arrival.
    held: BTreeMap<(Instant, u64), Request>,
    arrivals: u64,
    /// Requests the device beneath has not answered.
    beneath: usize,
    /// It has refused one until it has answered another.
    crowded: bool,
}

impl<D: BlockDevice> Slow<D> {
    /// Delays what `inner` is asked.
    pub const fn new(inner: D, latency: Latency, rng: Rng) -> Self {
        Self {
            inner,
            latency,
            rng,
            fresh: Vec::new(),
            held: BTreeMap::new(),
            arrivals: 0,
            beneath: 0,
            crowded: false,
        }
    }

    /// The device.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The device.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.inner
    }

    /// Gives the device back. What is still delayed never happens.
    pub fn into_inner(self) -> D {
        self.inner
    }

    /// Requests submitted from now on take this long.
    pub const fn set_latency(&mut self, latency: Latency) {
        self.latency = latency;
    }

    /// Hands over what is due.
    fn push(&mut self, now: Instant) {
        self.crowded = false;
        while let Some(first) = self.held.first_entry().filter(|first| first.key().0 <= now) {
            let key = *first.key();
            if let Err(back) = self.inner.submit(first.remove()) {
                self.held.insert(key, back);
                self.crowded = true;
                return;
            }
            self.beneath += 1;
        }
    }

    /// Requests that have not reached the device yet.
    pub fn delayed(&self) -> usize {
        self.fresh.len() + self.held.len()
    }
}

impl<D: BlockDevice> BlockDevice for Slow<D> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.delayed() + self.beneath >= self.geometry().queue_depth as usize {
            return Err(request);
        }
        self.fresh.push((self.latency.draw(&mut self.rng), request));
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        for (delay, request) in self.fresh.drain(..) {
            self.held.insert((now + delay, self.arrivals), request);
            self.arrivals += 1;
        }
        loop {
            self.push(now);
            let before = finished.len();
            self.inner.poll(now, finished);
            let answered = finished.len() - before;
            self.beneath -= answered;
            if answered == 0 || !self.crowded {
                break;
            }
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        if !self.fresh.is_empty() {
            return Some(Instant::ZERO);
        }
        let held = self.held.first_key_value().map(|((due, _), _)| *due);
        held.filter(|_| !self.crowded).into_iter().chain(self.inner.poll_at()).min()
    }

    fn abandon(&mut self, tag: Tag) {
        self.inner.abandon(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use holdfast_core::block::{MemDisk, Op, conformance};
    use holdfast_core::buf::Buf;
    use holdfast_core::time::Clock;

    fn slow(world: &World, latency: Latency) -> Slow<MemDisk> {
        Slow::new(MemDisk::new(1 << 10), latency, world.rng(1))
    }

    const SPREAD: Latency = Latency::between(Duration::ZERO, Duration::from_millis(5))
        .with_stragglers(Ratio::new(1, 10), Duration::from_millis(300));

    #[test]
    fn meets_the_examiner() {
        let world = World::new(3);
        conformance::examine(&mut slow(&world, SPREAD), &mut world.clock());
    }

    #[test]
    fn a_full_queue_beneath_loses_nothing() {
        let world = World::new(4);
        let geometry = Geometry { queue_depth: 1, ..Geometry::new(1 << 10) };
        let disk = MemDisk::with_geometry(geometry);
        let mut device = Slow::new(disk, SPREAD, world.rng(1));
        conformance::examine(&mut device, &mut world.clock());
    }

    #[test]
    fn answers_come_in_time_and_in_another_order() {
        let world = World::new(3);
        let (mut device, mut clock) = (slow(&world, SPREAD), world.clock());
        for tag in 0..32 {
            let read = Request::new(Tag(tag), 0, Op::Read(Buf::zeroed(512)));
            assert!(device.submit(read).is_ok());
        }
        let mut finished = Vec::new();
        while let Some(at) = device.poll_at() {
            clock.wait(Some(at));
            device.poll(clock.now(), &mut finished);
        }
        let order: Vec<u64> = finished.iter().map(|done| done.tag.0).collect();
        assert_eq!(order.len(), 32);
        assert!(!order.is_sorted(), "{order:?}");
        assert!(clock.now() > Instant::from_millis(2));
        assert!(clock.now() <= Instant::from_millis(305));
    }
}
