//! Paths that keep failing: how many failures make one *marginal*, and for how long.
//!
//! `multipath.conf` knows two ways to say it; here they lead to one state. A marginal path stays
//! usable, but is used last.
//!
//! - *Leaky*: failures are counted, one is forgotten every so often; more than `threshold` of them
//!   make the path marginal for `hold` (`san_path_err_threshold`, `_forget_rate`, `_recovery_time`).
//! - *Sampled*: two failures within a span make the path marginal and have it read ten times a
//!   second for a while; if more than so many of a thousand reads fail, it stays so for another span
//!   and is sampled again (`marginal_path_double_failed_time`, `_err_sample_time`,
//!   `_err_rate_threshold`, `_err_recheck_gap_time`).

use holdfast_core::time::{Duration, Instant};

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damping {
    /// No path is ever marginal.
    Off,
    /// Counted failures that leak away.
    Leaky {
        /// More failures than this are too many.
        threshold: u32,
        /// One failure is forgotten after each such span.
        forget: Duration,
        /// How long the path is marginal.
        hold: Duration,
    },
    /// Reads at ten a second.
    Sampled {
        /// Two failures within this span begin it.
        double_failed: Duration,
        /// How long is read, at least [`MIN_SAMPLE`].
        sample: Duration,
        /// More failures than this of a thousand reads are too many.
        per_mille: u32,
        /// How long until the next sample.
        recheck: Duration,
    },
}

/// The shortest time of sampling.
pub const MIN_SAMPLE: Duration = Duration::from_secs(120);

/// Between two reads of a sample.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(100);

impl Default for Damping {
    /// The fourth failure within a few minutes makes a path marginal for a minute.
    fn default() -> Self {
        Self::Leaky { threshold: 3, forget: Duration::from_secs(60), hold: Duration::from_secs(60) }
    }
}

/// One path's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Record {
    /// Nothing against it but what is counted here.
    #[default]
    Clean,
    /// Some failures, and when the next is forgotten or, when sampling is the rule, when the first
    /// of two does not count any more.
    Noted {
        /// How many.
        failures: u32,
        /// When one is forgotten.
        forget_at: Instant,
    },
    /// Marginal until then.
    Held {
        /// When it ends, or is sampled again.
        until: Instant,
    },
    /// Marginal, being read ten times a second.
    Sampling {
        /// When it ends.
        until: Instant,
        /// The next read.
        next: Instant,
        /// Reads so far.
        reads: u32,
        /// Of which so many failed.
        errors: u32,
    },
}

impl Record {
    /// Whether the path is to be used last.
    pub const fn is_marginal(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Sampling { .. })
    }

    /// The path has failed.
    pub fn failed(&mut self, now: Instant, rule: Damping) {
        self.pass(now, rule);
        match (rule, *self) {
            (Damping::Off, _) | (_, Self::Held { .. } | Self::Sampling { .. }) => {}
            (Damping::Leaky { threshold, forget, hold }, noted) => {
                let (failures, forget_at) = match noted {
                    Self::Noted { failures, forget_at } => (failures + 1, forget_at),
                    _ => (1, now + forget),
                };
                *self = if failures > threshold {
                    Self::Held { until: now + hold }
                } else {
                    Self::Noted { failures, forget_at }
                };
            }
            (Damping::Sampled { double_failed, sample, .. }, noted) => {
                *self = match noted {
                    Self::Noted { .. } => Self::begin_sample(now, sample),
                    _ => Self::Noted { failures: 1, forget_at: now + double_failed },
                };
            }
        }
    }

    fn begin_sample(now: Instant, sample: Duration) -> Self {
        Self::Sampling { until: now + sample.max(MIN_SAMPLE), next: now, reads: 0, errors: 0 }
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Instant, rule: Damping) {
        loop {
            match (*self, rule) {
                (Self::Noted { failures, forget_at }, Damping::Leaky { forget, .. })
                    if forget_at <= now && failures > 1 =>
                {
                    *self = Self::Noted { failures: failures - 1, forget_at: forget_at + forget };
                }
                (Self::Noted { forget_at, .. }, _) if forget_at <= now => *self = Self::Clean,
                (Self::Held { until }, Damping::Sampled { sample, .. }) if until <= now => {
                    *self = Self::begin_sample(until, sample);
                }
                (Self::Held { until }, _) if until <= now => *self = Self::Clean,
                (
                    Self::Sampling { until, reads, errors, .. },
                    Damping::Sampled { per_mille, recheck, .. },
                ) if until <= now => {
                    let bad = u64::from(errors) * 1000 > u64::from(per_mille) * u64::from(reads);
                    *self = if bad { Self::Held { until: until + recheck } } else { Self::Clean };
                }
                (Self::Sampling { until, .. }, _) if until <= now => *self = Self::Clean,
                _ => return,
            }
        }
    }

    /// Whether a read of the sample is due; the next one then is a tenth of a second later.
    pub fn take_sample(&mut self, now: Instant) -> bool {
        let Self::Sampling { next, .. } = self else { return false };
        let due = *next <= now;
        if due {
            *next = now + SAMPLE_EVERY;
        }
        due
    }

    /// A read of the sample was answered.
    pub const fn sampled(&mut self, ok: bool) {
        if let Self::Sampling { reads, errors, .. } = self {
            *reads += 1;
            *errors += if ok { 0 } else { 1 };
        }
    }

    /// When time next matters.
    pub fn due(&self) -> Option<Instant> {
        match *self {
            Self::Clean => None,
            Self::Noted { forget_at, .. } => Some(forget_at),
            Self::Held { until } => Some(until),
            Self::Sampling { until, next, .. } => Some(until.min(next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn more_failures_than_the_threshold_hold_a_path_and_one_is_forgotten_at_a_time() {
        let rule = Damping::Leaky { threshold: 2, forget: secs(10), hold: secs(30) };
        let mut record = Record::default();
        for second in [0, 1] {
            record.failed(at(second), rule);
        }
        record.pass(at(9), rule);
        assert_eq!(record, Record::Noted { failures: 2, forget_at: at(10) });
        record.pass(at(10), rule);
        record.failed(at(11), rule);
        assert!(!record.is_marginal(), "one of three was forgotten");
        record.failed(at(12), rule);
        assert_eq!(record, Record::Held { until: at(42) });
        record.failed(at(20), rule);
        record.pass(Instant::from_millis(41_999), rule);
        assert!(record.is_marginal(), "never earlier");
        record.pass(at(42), rule);
        assert_eq!(record, Record::Clean, "never later");
    }

    #[test]
    fn two_failures_close_together_are_sampled_at_ten_a_second_for_two_minutes() {
        let rule = Damping::Sampled {
            double_failed: secs(60),
            sample: secs(10),
            per_mille: 10,
            recheck: secs(300),
        };
        let mut record = Record::default();
        record.failed(at(0), rule);
        record.failed(at(61), rule);
        assert!(!record.is_marginal(), "too far apart");
        record.failed(at(100), rule);
        assert!(record.is_marginal());
        let mut now = at(100);
        let mut reads = 0;
        while record.due().is_some_and(|due| due < at(220)) {
            now = record.due().unwrap_or(now);
            if record.take_sample(now) {
                record.sampled(reads % 50 != 0);
                reads += 1;
            }
            record.pass(now, rule);
        }
        assert_eq!(reads, 1200, "120 s at least, ten a second");
        record.pass(at(220), rule);
        assert_eq!(record, Record::Held { until: at(520) }, "20 of 1000 are more than 10");
        record.pass(at(520), rule);
        assert!(matches!(record, Record::Sampling { reads: 0, .. }), "and again");
        record.pass(at(640), rule);
        assert_eq!(record, Record::Clean, "nothing failed");
    }
}
