//! Moments that may lie before the world began.
//!
//! A member that was just added is treated as if it had last been heard one probe interval ago; in
//! a young world that is before its origin.

use holdfast_core::time::{Duration, Instant};

/// Nanoseconds since the world's origin, possibly negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(i64);

impl Stamp {
    /// This moment.
    pub(crate) fn at(now: Instant) -> Self {
        Self(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    /// `span` before this moment.
    pub(crate) fn before(now: Instant, span: Duration) -> Self {
        Self(Self::at(now).0.saturating_sub(nanos(span)))
    }

    /// Whether `now` lies within `span` after this moment (or not after it at all).
    pub(crate) fn within(self, now: Instant, span: Duration) -> bool {
        Self::at(now).0 <= self.0.saturating_add(nanos(span))
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_may_lie_before_the_origin() {
        let now = Instant::from_millis(10);
        let long_ago = Stamp::before(now, Duration::from_millis(100));
        assert!(long_ago < Stamp::at(Instant::ZERO));
        assert!(long_ago.within(now, Duration::from_millis(100)));
        assert!(!long_ago.within(now, Duration::from_millis(99)));
        assert!(Stamp::at(now).within(Instant::ZERO, Duration::ZERO));
    }
}
