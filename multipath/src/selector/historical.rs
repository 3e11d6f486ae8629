//! Historical service time: the path whose past says it will be done first.
//!
//! Each path keeps the mean time of service of its requests, newer ones weighing more:
//! `mean = mean · w + time · (1 − w)`, with `w` in parts of 1024 (fixed point, so that no float
//! decides an order). The estimate for one more request is the mean times the requests under way and
//! this one. A path never used has a mean of 0 and is tried first.

use holdfast_core::time::Duration;

use super::Load;

/// Bits after the point of the weight.
pub const FIXED_SHIFT: u32 = 10;

/// 95 %.
pub(super) const USUAL_WEIGHT: u32 = 972;

/// The weighted mean of a path's times of service, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History(u64);

impl History {
    /// Nothing is known.
    pub const NEW: Self = Self(0);

    /// A request took so long.
    pub fn note(&mut self, span: Duration, base_weight: u32) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let weight = u128::from(base_weight.min(1 << FIXED_SHIFT));
        let rest = (1u128 << FIXED_SHIFT) - weight;
        let mean = (u128::from(self.0) * weight + u128::from(nanos) * rest) >> FIXED_SHIFT;
        self.0 = if self.0 == 0 { nanos } else { mean as u64 };
    }

    /// The mean in nanoseconds.
    pub const fn service_time(&self) -> u64 {
        self.0
    }
}

/// Whether `one` will be done with one more request before `best`.
pub(super) fn better(one: &Load, best: &Load) -> bool {
    let estimate = |load: &Load| u128::from(load.history.0) * u128::from(load.requests + 1);
    let (mine, its) = (estimate(one), estimate(best));
    mine < its || mine == its && one.requests < best.requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_its_formula() {
        let mut history = History::NEW;
        history.note(Duration::from_nanos(1000), 972);
        assert_eq!(history.service_time(), 1000, "the first is the mean");
        history.note(Duration::from_nanos(2000), 972);
        assert_eq!(history.service_time(), (1000 * 972 + 2000 * 52) >> 10);
        for _ in 0..500 {
            history.note(Duration::from_nanos(5000), 972);
        }
        assert!((4970..=5000).contains(&history.service_time()), "{history:?}");
    }

    #[test]
    fn twice_as_fast_means_twice_the_queue() {
        let load = |nanos, requests| Load { history: History(nanos), requests, ..Load::default() };
        assert!(better(&load(500, 2), &load(1000, 1)), "1500 before 2000");
        assert!(!better(&load(500, 4), &load(1000, 1)), "2500 after 2000");
        assert!(better(&load(0, 7), &load(1000, 0)), "an unknown path is tried");
    }
}
