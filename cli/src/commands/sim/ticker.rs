//! The line that tells how far a campaign is, redrawn in place on a terminal.
//!
//! ```text
//! 41,300 of 1,000,000 seeds, 1,648/s, 9.7 min left, 2 failed
//! ```

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::thousands;

/// How often the line is redrawn.
const INTERVAL: Duration = Duration::from_millis(200);

/// Counts seeds from many threads, and draws now and then.
#[derive(Debug)]
pub(super) struct Ticker {
    watched: bool,
    total: u64,
    began: Instant,
    done: AtomicU64,
    failed: AtomicU64,
    drawn: Mutex<Instant>,
}

impl Ticker {
    /// Nothing done of `total`; draws only if somebody watches.
    pub(super) fn new(total: u64, watched: bool) -> Self {
        let now = Instant::now();
        let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { watched, total, began: now, done, failed, drawn: Mutex::new(now) }
    }

    /// A seed has been run.
    pub(super) fn tick(&self, failed: bool) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        // Whoever finds the pen taken goes on working.
        let Some(mut drawn) = self.drawn.try_lock().ok().filter(|_| self.watched) else { return };
        if drawn.elapsed() < INTERVAL {
            return;
        }
        *drawn = Instant::now();
        let line = line(done, self.total, failed, self.began.elapsed());
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// How long it has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes the line away; how long it all took.
    pub(super) fn finish(&self) -> Duration {
        if self.watched {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        self.elapsed()
    }
}

/// Seeds in a second.
pub(super) fn rate(done: u64, elapsed: Duration) -> u64 {
    (u128::from(done) * 1000 / elapsed.as_millis().max(1)) as u64
}

fn line(done: u64, total: u64, failed: u64, elapsed: Duration) -> String {
    let rate = rate(done, elapsed);
    let tenths_of_minutes = (total - done.min(total)) / 6 / rate.max(1);
    format!(
        "{} of {} seeds, {}/s, {}.{} min left, {} failed",
        thousands(done),
        thousands(total),
        thousands(rate),
        tenths_of_minutes / 10,
        tenths_of_minutes % 10,
        thousands(failed),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_and_how_long() {
        assert_eq!(
            line(41_300, 1_000_000, 2, Duration::from_millis(25_000)),
            "41,300 of 1,000,000 seeds, 1,652/s, 9.6 min left, 2 failed"
        );
        assert_eq!(line(0, 0, 0, Duration::ZERO), "0 of 0 seeds, 0/s, 0.0 min left, 0 failed");
    }
}
