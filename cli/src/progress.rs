//! The progress line of `/proc/mdstat`, redrawn in place on a terminal.
//!
//! ```text
//! [========>............]  recovery = 41.0% (8576/19456) finish=0.1min speed=2144K/sec
//! ```
//!
//! Counts are KiB, as there. Nothing is drawn unless somebody watches: logs stay clean.
//!
//! Source: Linux `md.c` (`status_resync`).

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How often the line is redrawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error that grows to the right.
#[derive(Debug)]
pub(crate) struct Progress {
    watched: bool,
    course: Option<Course>,
    drawn: Option<Instant>,
}

/// What the line speaks of, and since when: speed is counted from there.
#[derive(Debug)]
struct Course {
    word: String,
    began: Instant,
    first: u64,
}

impl Progress {
    /// A line that draws only if somebody watches.
    pub(crate) const fn new(watched: bool) -> Self {
        Self { watched, course: None, drawn: None }
    }

    /// `done` of `total` sectors of something; another word, or a step back, begins anew.
    pub(crate) fn draw(&mut self, word: &str, done: u64, total: u64) {
        if !self.watched || self.drawn.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        let goes_on = |course: &Course| course.word == word && course.first <= done;
        if !self.course.as_ref().is_some_and(goes_on) {
            self.course =
                Some(Course { word: word.to_owned(), began: Instant::now(), first: done });
        }
        let Some(course) = &self.course else { return };
        let line = line(word, course.first, done, total, course.began.elapsed());
        self.drawn = Some(Instant::now());
        let _ = write!(io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the line away again.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The line: speed and remaining time are those since `first`.
fn line(word: &str, first: u64, done: u64, total: u64, elapsed: Duration) -> String {
    let total = total.max(1);
    let done = done.min(total);
    let permille = (u128::from(done) * 1000 / u128::from(total)) as usize;
    let bar = permille / 50;
    let millis = elapsed.as_millis().max(1) as u64;
    let kib_per_sec = done.saturating_sub(first) / 2 * 1000 / millis;
    let left_kib = (total - done) / 2;
    let tenths_of_minutes = left_kib * 10 / 60 / kib_per_sec.max(1);
    format!(
        "[{}>{}]  {word} = {:2}.{}% ({}/{}) finish={}.{}min speed={kib_per_sec}K/sec",
        "=".repeat(bar),
        ".".repeat(20 - bar),
        permille / 10,
        permille % 10,
        done / 2,
        total / 2,
        tenths_of_minutes / 10,
        tenths_of_minutes % 10,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_mdstat() {
        assert_eq!(
            line("recovery", 0, 15_960, 38_912, Duration::from_secs(4)),
            "[========>............]  recovery = 41.0% (7980/19456) finish=0.0min speed=1995K/sec"
        );
        assert_eq!(
            line("resync", 0, 0, 0, Duration::ZERO),
            "[>....................]  resync =  0.0% (0/0) finish=0.0min speed=0K/sec"
        );
        assert_eq!(
            line("check", 0, 8, 8, Duration::from_secs(1)),
            "[====================>]  check = 100.0% (4/4) finish=0.0min speed=4K/sec"
        );
    }
}
