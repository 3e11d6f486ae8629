//! A clock that stands still while its owner is held up.
//!
//! Whoever looks at the time often notices a jump: between two looks there is a batch of frames at
//! most, or a sleep whose end is known. What goes beyond that by more than [`HELD_UP`] is time in
//! which the process was stopped or starved, and is taken off. The clock never goes back.

use std::time::Duration;

use holdfast_core::time::Instant;

/// So late means held up. Batches of frames take less.
const HELD_UP: Duration = Duration::from_millis(20);

/// What is to be taken off the real time.
#[derive(Debug)]
pub(super) struct Standing {
    held_up: Duration,
    /// The last moment told.
    told: Instant,
    /// When the present sleep ends at the latest; in the past while awake.
    asleep_until: Instant,
}

impl Standing {
    /// Agrees with the real time from `now` on.
    pub(super) const fn new(now: Instant) -> Self {
        Self { held_up: Duration::ZERO, told: now, asleep_until: now }
    }

    /// The time to tell when it is really `real`, and how long the owner has been held up just now.
    pub(super) fn tell(&mut self, real: Instant) -> (Instant, Duration) {
        let now = Instant::ZERO + real.since(Instant::ZERO + self.held_up);
        let expected = self.told.max(self.asleep_until);
        let late = now.since(expected);
        if late <= HELD_UP {
            self.told = now;
            return (now, Duration::ZERO);
        }
        self.held_up += late;
        self.told = expected;
        (expected, late)
    }

    /// The next look may be as late as `until`.
    pub(super) const fn sleep(&mut self, until: Instant) {
        self.asleep_until = until;
    }

    /// From now on looks are close together again.
    pub(super) const fn wake(&mut self) {
        self.asleep_until = Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn sleeps_and_batches_count_and_jumps_do_not() {
        let mut clock = Standing::new(at(100));
        assert_eq!(clock.tell(at(103)).0, at(103), "a batch");
        clock.sleep(at(200));
        assert_eq!(clock.tell(at(205)).0, at(205), "woken a little late");
        clock.wake();
        assert_eq!(clock.tell(at(1205)), (at(205), Duration::from_secs(1)), "stopped for a second");
        assert_eq!(clock.tell(at(1210)).0, at(210), "it goes on from there");
        clock.sleep(at(300));
        assert_eq!(clock.tell(at(1260)).0, at(260), "woken early");
        assert_eq!(clock.tell(at(1500)).0, at(300), "slept through by 200 ms");
    }

    /// Whatever happens, it goes forward, and never faster than the real time.
    #[test]
    fn it_never_goes_back() {
        let mut clock = Standing::new(at(0));
        let (mut real, mut told) = (0, at(0));
        for step in 0..10_000u64 {
            // Steps of all sizes around the limit, in an order without a pattern worth naming.
            let ahead = step * 7919 % 41;
            real += ahead;
            match step % 5 {
                0 => clock.sleep(told + Duration::from_millis(step * 31 % 60)),
                2 => clock.wake(),
                _ => {}
            }
            let (now, _) = clock.tell(at(real));
            assert!(now >= told, "step {step}");
            assert!(now.since(told) <= Duration::from_millis(ahead) + Duration::from_millis(60));
            told = now;
        }
    }
}
