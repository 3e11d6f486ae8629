//! Flap damping, ours: a member whose link fails again and again is kept out until it has been
//! quiet.
//!
//! Every failure adds 1000 to a member's penalty; half of it is forgotten every `flap_half_life`.
//! Above `flap_penalty` the member is kept out, until half of that is left. A member is never kept
//! out when no other one is usable.

use holdfast_core::time::{Duration, Instant};

use crate::bond::Bond;
use crate::defects::Defects;
use crate::event::What;

/// What one failure costs.
const FAILURE: u64 = 1000;

/// A member's penalty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Penalty {
    points: u64,
    since: Instant,
    /// It is kept out.
    pub(crate) out: bool,
}

impl Penalty {
    /// What is left of it: halved for every half-life, and in between along a straight line.
    fn at(&self, now: Instant, half_life: Duration) -> u64 {
        let elapsed = (now - self.since).as_nanos();
        let half = half_life.as_nanos().max(1);
        let halvings = u32::try_from(elapsed / half).unwrap_or(u32::MAX);
        let whole = self.points.checked_shr(halvings).unwrap_or(0);
        let part = u128::from(whole) * (elapsed % half) / half / 2;
        whole - part as u64
    }
}

impl<D: Defects> Bond<D> {
    fn half_life(&self) -> Duration {
        Duration::from_millis(self.options.flap_half_life_ms.into())
    }

    /// A member's link failed.
    pub(crate) fn penalize(&mut self, index: usize) {
        if self.options.flap_penalty > 0 {
            let (now, half_life) = (self.now, self.half_life());
            let penalty = &mut self.members[index].penalty;
            penalty.points = penalty.at(now, half_life) + FAILURE;
            penalty.since = now;
        }
    }

    /// Who is kept out now.
    pub(crate) fn update_damping(&mut self) {
        let limit = u64::from(self.options.flap_penalty);
        let (now, half_life) = (self.now, self.half_life());
        for index in 0..self.members.len() {
            let penalty = &self.members[index].penalty;
            let points = penalty.at(now, half_life);
            let out = limit > 0 && if penalty.out { points > limit / 2 } else { points > limit };
            if out != penalty.out {
                self.members[index].penalty.out = out;
                let member = self.members[index].id;
                self.emit(What::Damped { member, out });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_forgotten_every_half_life() {
        let penalty = Penalty { points: 4000, since: Instant::ZERO, out: false };
        let half_life = Duration::from_secs(10);
        let left = |seconds: u64| penalty.at(Instant::from_millis(seconds * 1000), half_life);
        assert_eq!([0, 5, 10, 15, 20, 30].map(left), [4000, 3000, 2000, 1500, 1000, 500]);
        assert_eq!(left(10_000), 0);
    }
}
