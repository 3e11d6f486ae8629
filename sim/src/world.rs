//! The time and the dice of a run.
//!
//! A [`World`] is what one seed decides. Its clock stands still while anything can go on and jumps
//! when something waits, so that devices with latency, deadlines and throttles meet at the same
//! moments in every run. Each purpose draws from a stream of its own: one more draw here never
//! shifts what happens there.

use std::cell::Cell;
use std::rc::Rc;

use holdfast_core::rng::Rng;
use holdfast_core::time::{Clock, Duration, Instant};

/// One run's time and randomness.
#[derive(Clone, Debug)]
pub struct World {
    seed: u64,
    clock: VirtualClock,
}

impl World {
    /// The world of `seed`, at its beginning.
    pub fn new(seed: u64) -> Self {
        Self { seed, clock: VirtualClock::default() }
    }

    /// A handle on the world's clock.
    pub fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    /// The stream of random numbers for `purpose`.
    pub fn rng(&self, purpose: u64) -> Rng {
        Rng::stream(self.seed, purpose)
    }
}

/// A handle on a clock that jumps. All clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock {
    now: Rc<Cell<Instant>>,
}

impl VirtualClock {
    /// The present moment.
    pub fn time(&self) -> Instant {
        self.now.get()
    }

    /// Lets time pass with nobody looking.
    pub fn advance(&self, span: Duration) {
        self.now.set(self.now.get() + span);
    }
}

impl Clock for VirtualClock {
    fn now(&mut self) -> Instant {
        self.time()
    }

    /// Jumps to the deadline.
    ///
    /// # Panics
    /// Without a deadline: nothing in this world could ever end that wait.
    fn wait(&mut self, until: Option<Instant>) {
        let until = until.expect("a request is lost: everybody waits and nothing is due, ever");
        self.now.set(self.time().max(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handle_shows_the_same_time_and_waiting_jumps() {
        let world = World::new(1);
        let (mut here, there) = (world.clock(), world.clock());
        here.wait(Some(Instant::from_millis(7)));
        assert_eq!(there.time(), Instant::from_millis(7));
        there.advance(Duration::from_millis(3));
        assert_eq!(here.now(), Instant::from_millis(10));
        here.wait(Some(Instant::from_millis(2)));
        assert_eq!(here.now(), Instant::from_millis(10), "time never goes backward");
    }

    #[test]
    #[should_panic(expected = "a request is lost")]
    fn waiting_for_nothing_is_a_lost_request() {
        World::new(1).clock().wait(None);
    }

    #[test]
    fn purposes_draw_from_streams_of_their_own() {
        let world = World::new(5);
        assert_eq!(world.rng(1).bits(), World::new(5).rng(1).bits());
        assert_ne!(world.rng(1).bits(), world.rng(2).bits());
    }
}
