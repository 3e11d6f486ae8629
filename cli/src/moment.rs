//! Moments as people write them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_core::time::civil_date;

/// Milliseconds since 1970; shown as a time of day, UTC: `2026-11-26 03:54:29.123`.
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1000, self.0 % 1000);
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (unix_ms, text) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399_999, "2000-02-28 23:59:59.999"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (951_868_800_000, "2000-03-01 00:00:00.000"),
            (4_107_542_400_001, "2100-03-01 00:00:00.001"),
            (1_795_665_269_123, "2026-11-26 03:54:29.123"),
        ] {
            assert_eq!(Moment(unix_ms).to_string(), text);
        }
    }
}
