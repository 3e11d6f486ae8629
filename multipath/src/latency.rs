//! How long a path's answers take, as a histogram that forgets.

use holdfast_core::time::Duration;

/// Four buckets to each doubling, from 1 µs to over an hour.
const BUCKETS: usize = 4 * 32;

/// After so many samples all counts are halved.
const FORGET_AT: u64 = 1 << 14;

/// Latencies of one path.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

fn bucket(span: Duration) -> usize {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
    let power = micros.ilog2();
    // The two bits after the highest.
    let part = if power >= 2 { micros >> (power - 2) } else { micros << (2 - power) } & 3;
    power as usize * 4 + part as usize
}

/// The upper end of a bucket.
fn upper(bucket: usize) -> Duration {
    let (power, part) = (bucket as u32 / 4, bucket as u64 % 4);
    Duration::from_micros(((4 + part + 1) << power).div_ceil(4))
}

impl Latencies {
    /// An answer took so long.
    pub fn note(&mut self, span: Duration) {
        self.counts[bucket(span)] += 1;
        self.total += 1;
        if self.total >= FORGET_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|&count| u64::from(count)).sum();
        }
    }

    /// Answers counted.
    pub const fn samples(&self) -> u64 {
        self.total
    }

    /// A span that so many of a thousand answers do not exceed; within a quarter of the truth.
    pub fn quantile(&self, per_mille: u32) -> Duration {
        let wanted = (self.total * u64::from(per_mille)).div_ceil(1000);
        let mut seen = 0;
        for (number, &count) in self.counts.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted && seen > 0 {
                return upper(number);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_quarter_above_the_truth() {
        let mut latencies = Latencies::default();
        for micros in 1..=10_000 {
            latencies.note(Duration::from_micros(micros));
        }
        for (per_mille, truth) in [(500, 5000.0), (990, 9900.0), (999, 9990.0)] {
            let told = latencies.quantile(per_mille).as_micros() as f64;
            assert!((truth..=truth * 1.26).contains(&told), "{per_mille}: {told}");
        }
        assert_eq!(Latencies::default().quantile(999), Duration::ZERO);
    }

    #[test]
    fn old_answers_are_forgotten() {
        let mut latencies = Latencies::default();
        for _ in 0..FORGET_AT {
            latencies.note(Duration::from_millis(100));
        }
        for _ in 0..10 * FORGET_AT {
            latencies.note(Duration::from_millis(1));
        }
        assert!(latencies.quantile(990) < Duration::from_millis(2));
    }
}
