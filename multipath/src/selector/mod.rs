//! Which path of a group is next.
//!
//! A selector sees the paths that may be used, each with its [`Load`], and names one of them. What
//! it remembers is in [`Turn`], one for each group.
//!
//! The order of a group's paths is a ring: of paths that are equally good, the one after that which
//! was used last is taken, so that equal paths share the work as in the kernel's selectors.

mod historical;
mod queue_length;
mod round_robin;
mod service_time;

pub use historical::{FIXED_SHIFT, History};

/// The choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Selector {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests under way.
    QueueLength,
    /// The one that will be done first, by bytes under way and relative throughput.
    #[default]
    ServiceTime,
    /// The one that will be done first, by what it took in the past.
    HistoricalServiceTime {
        /// How much the past weighs, of 1024.
        base_weight: u32,
    },
}

impl Selector {
    /// Every one, with its usual argument.
    pub const ALL: [Self; 4] = [
        Self::RoundRobin,
        Self::QueueLength,
        Self::ServiceTime,
        Self::HistoricalServiceTime { base_weight: historical::USUAL_WEIGHT },
    ];

    /// Its name in `multipath.conf` and device-mapper tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::QueueLength => "queue-length",
            Self::ServiceTime => "service-time",
            Self::HistoricalServiceTime { .. } => "historical-service-time",
        }
    }

    /// What the status line says of a path, as the kernel's selectors do.
    pub fn status(self, load: &Load) -> Vec<u64> {
        match self {
            Self::RoundRobin => vec![],
            Self::QueueLength => vec![u64::from(load.requests)],
            Self::ServiceTime => vec![load.bytes, u64::from(load.throughput)],
            Self::HistoricalServiceTime { .. } => {
                vec![load.history.service_time(), u64::from(load.requests)]
            }
        }
    }
}

/// What is under way on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests.
    pub requests: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Relative throughput, 0 to 100; a path with 0 is used only when there is no other.
    pub throughput: u32,
    /// Requests in a row before the next path's turn.
    pub repeat: u32,
    /// What requests have taken so far.
    pub history: History,
}

/// Where a group's selector stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The path used last.
    last: Option<usize>,
    /// Requests it is still to get.
    left: u32,
}

impl Turn {
    /// The next path of `ring` (a group's paths in order), of those that `load` knows.
    pub fn next(
        &mut self,
        selector: Selector,
        ring: &[usize],
        bytes: u64,
        load: impl Fn(usize) -> Option<Load>,
    ) -> Option<usize> {
        if self.left > 0
            && let Some(last) =
                self.last.filter(|last| ring.contains(last) && load(*last).is_some())
        {
            self.left -= 1;
            return Some(last);
        }
        let start = self.last.and_then(|last| ring.iter().position(|path| *path == last));
        let start = start.map_or(0, |at| at + 1);
        let order = (0..ring.len()).map(|step| ring[(start + step) % ring.len()]);
        let mut best: Option<(usize, Load)> = None;
        for path in order {
            let Some(one) = load(path) else { continue };
            let better = best.as_ref().is_none_or(|(_, best)| match selector {
                Selector::RoundRobin => round_robin::better(&one, best),
                Selector::QueueLength => queue_length::better(&one, best),
                Selector::ServiceTime => service_time::better(&one, best, bytes),
                Selector::HistoricalServiceTime { .. } => historical::better(&one, best),
            });
            if better {
                best = Some((path, one));
            }
        }
        let (path, load) = best?;
        self.last = Some(path);
        self.left = load.repeat.saturating_sub(1);
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn load(requests: u32, bytes: u64) -> Load {
        Load { requests, bytes, throughput: 1, repeat: 1, history: History::NEW }
    }

    fn sequence(selector: Selector, loads: &[Option<Load>], count: usize) -> Vec<usize> {
        let ring: Vec<usize> = (0..loads.len()).collect();
        let mut turn = Turn::default();
        (0..count).filter_map(|_| turn.next(selector, &ring, 4096, |path| loads[path])).collect()
    }

    #[test]
    fn equal_paths_take_turns_whatever_the_selector() {
        for selector in Selector::ALL {
            let loads = [Some(load(0, 0)); 3];
            assert_eq!(sequence(selector, &loads, 5), [0, 1, 2, 0, 1], "{}", selector.name());
            let loads = [Some(load(0, 0)), None, Some(load(0, 0))];
            assert_eq!(sequence(selector, &loads, 4), [0, 2, 0, 2], "{}", selector.name());
            assert_eq!(sequence(selector, &[None, None], 2), [], "{}", selector.name());
        }
    }

    #[test]
    fn a_path_gets_as_many_in_a_row_as_it_is_worth() {
        let worth = |repeat| Some(Load { repeat, ..load(0, 0) });
        let loads = [worth(3), worth(1)];
        assert_eq!(sequence(Selector::RoundRobin, &loads, 8), [0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn the_least_loaded_path_is_taken_each_selector_by_its_own_measure() {
        let fast = |requests, bytes, throughput| Some(Load { throughput, ..load(requests, bytes) });
        for (selector, loads, wanted) in [
            (Selector::QueueLength, [fast(3, 1, 1), fast(2, 900_000, 1)], 1),
            (Selector::ServiceTime, [fast(3, 4096, 1), fast(1, 65536, 1)], 0),
            (Selector::ServiceTime, [fast(0, 4096, 1), fast(0, 8192, 10)], 1),
            (Selector::ServiceTime, [fast(0, 0, 0), fast(9, 1 << 20, 1)], 1),
            (Selector::RoundRobin, [fast(9, 1 << 20, 1), fast(0, 0, 1)], 0),
        ] {
            assert_eq!(sequence(selector, &loads, 1), [wanted], "{selector:?} {loads:?}");
        }
    }
}
