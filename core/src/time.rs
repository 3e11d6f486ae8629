//! Time as a number: nanoseconds since an origin the world chooses.
//!
//! Cores compare instants and add spans to them; only a world (`host`, `sim`) knows what the
//! origin was. Spans are [`std::time::Duration`], which reads no clock.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Add, Sub};
pub use std::time::Duration;

/// A moment: nanoseconds since the world's origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Self> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// The world's clock as a shell sees it: what time it is, and how to wait.
pub trait Clock {
    /// The present moment. Never earlier than any moment returned before.
    fn now(&mut self) -> Instant;

    /// Waits until `until`, or until a device may have news, whichever comes first.
    ///
    /// With `None` only news can end the wait.
    fn wait(&mut self, until: Option<Instant>);
}

impl<C: Clock + ?Sized> Clock for &mut C {
    fn now(&mut self) -> Instant {
        (**self).now()
    }

    fn wait(&mut self, until: Option<Instant>) {
        (**self).wait(until);
    }
}

/// A clock that stands still unless waited on, for devices that answer at once.
///
/// Waiting jumps to the deadline. Waiting without a deadline panics: with a clock like this one
/// nothing could ever end that wait, so some device has swallowed a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepClock {
    now: Instant,
}

impl Clock for StepClock {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn wait(&mut self, until: Option<Instant>) {
        let until = until.expect("a device holds a request and will never answer it");
        self.now = self.now.max(until);
    }
}

/// Pending deadlines, each with a key; the earliest first, ties in key order.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    due: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// No deadlines.
    pub const fn new() -> Self {
        Self { due: BTreeSet::new() }
    }

    /// Adds a deadline. The same key may be due more than once.
    pub fn set(&mut self, at: Instant, key: K) {
        self.due.insert((at, key));
    }

    /// Removes a deadline set earlier with the same moment.
    pub fn clear(&mut self, at: Instant, key: K) {
        self.due.remove(&(at, key));
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one deadline that is due at `now`.
    pub fn expire(&mut self, now: Instant) -> Option<K> {
        let &(at, _) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first().map(|(_, key)| key)
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day comes last; 719,468 days lie between
/// the first of March of the year 0 and 1970, 146,097 in 400 years. Source: H. Hinnant, *chrono-Compatible
/// Low-Level Date Algorithms*, `civil_from_days`.
pub const fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

/// Why a word is no span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write 5, 2.5s, 500ms or 2m")]
pub struct SpanError(String);

/// A span of time as people write it: `500ms`, `2.5s`, `2m` or `2min`; a bare number counts seconds.
pub fn parse_span(word: &str) -> Result<Duration, SpanError> {
    let wrong = || SpanError(word.to_owned());
    let plain = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = word.split_at(word.find(|c| !plain(c)).unwrap_or(word.len()));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let scale = match unit.trim() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let ms = Duration::from_millis;
        let good =
            [("5", 5000), ("1.5s", 1500), ("500ms", 500), ("2m", 120_000), ("2 min", 120_000)];
        for (word, span) in good {
            assert_eq!(parse_span(word), Ok(ms(span)), "{word}");
        }
        for word in ["", "s", "-1s", "1h", "1..5s", ".", "1e9s", "inf", "99999999999999999999999"] {
            assert!(parse_span(word).is_err(), "{word}");
        }
    }

    #[test]
    fn deadlines_expire_in_order_and_only_when_due() {
        let mut deadlines = Deadlines::new();
        deadlines.set(Instant::from_millis(20), 'b');
        deadlines.set(Instant::from_millis(10), 'c');
        deadlines.set(Instant::from_millis(10), 'a');
        deadlines.set(Instant::from_millis(5), 'x');
        deadlines.clear(Instant::from_millis(5), 'x');
        assert_eq!(deadlines.next(), Some(Instant::from_millis(10)));
        assert_eq!(deadlines.expire(Instant::from_millis(9)), None);
        assert_eq!(deadlines.expire(Instant::from_millis(10)), Some('a'));
        assert_eq!(deadlines.expire(Instant::from_millis(10)), Some('c'));
        assert_eq!(deadlines.expire(Instant::from_millis(10)), None);
        assert_eq!(deadlines.expire(Instant::from_millis(30)), Some('b'));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn adding_saturates_instead_of_wrapping() {
        let end = Instant::from_nanos(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::ZERO - end, Duration::ZERO);
    }

    #[test]
    fn every_day_of_a_thousand_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..366_000 {
            assert_eq!(civil_date(days), (year, month, day), "day {days}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
