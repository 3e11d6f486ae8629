//! Times as md stores them: 40 bits of seconds since 1970, 24 bits of microseconds above.
//!
//! Nothing here reads a clock. The display is C's `ctime` in UTC (`Fri Nov 20 23:08:08 2026`),
//! which is what mdadm prints when the machine's zone is UTC.
//!
//! Source: Linux `md_p.h` (`ctime`, `utime`).

use std::fmt;

use holdfast_core::time::civil_date;

const SECOND_BITS: u32 = 40;
const SECONDS_PER_DAY: u64 = 86_400;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A point in time in md's own encoding.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From seconds and microseconds since 1970; what does not fit is cut off.
    pub const fn new(seconds: u64, micros: u32) -> Self {
        Self(seconds & ((1 << SECOND_BITS) - 1) | (micros as u64) << SECOND_BITS)
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0 & ((1 << SECOND_BITS) - 1)
    }

    /// Microseconds within the second; not every writer fills them in.
    pub const fn micros(self) -> u32 {
        (self.0 >> SECOND_BITS) as u32
    }
}

/// Later means a later second, then a later microsecond; the stored number does not order so.
impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.seconds(), self.micros()).cmp(&(other.seconds(), other.micros()))
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_date(self.seconds() / SECONDS_PER_DAY);
        let weekday = DAYS[(self.seconds() / SECONDS_PER_DAY % 7) as usize];
        let second = self.seconds() % SECONDS_PER_DAY;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let month = MONTHS[month as usize - 1];
        write!(f, "{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({}.{:06})", self.seconds(), self.micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_ctime_writes_them() {
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 2000"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_709_251_199, "Thu Feb 29 23:59:59 2024"),
            (1_795_216_088, "Fri Nov 20 23:08:08 2026"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
            (u64::MAX, "Mon Feb 20 00:36:15 36812"),
        ] {
            assert_eq!(Timestamp::new(seconds, 999_999).to_string(), text);
        }
    }

    #[test]
    fn order_follows_time_not_the_stored_number() {
        assert!(Timestamp::new(5, 900_000) < Timestamp::new(6, 0));
        assert!(Timestamp::new(5, 1) < Timestamp::new(5, 2));
        assert_eq!(Timestamp::new(5, 7).micros(), 7);
    }
}
