//! md's knobs, as flags of the verbs that run an array.
//!
//! A verb takes those that can matter to it: nothing but a write can be late, nothing but a pass has
//! a pace.

use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_core::size::parse_bytes;
use holdfast_core::time::parse_span;

/// What becomes of members that err.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ErrorArgs {
    /// Read errors before a member fails, halved hourly [default: 20]
    #[arg(long, help_heading = "Engine", value_name = "N")]
    pub(crate) max_read_errors: Option<u32>,
}

/// How long members may take.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeadlineArgs {
    /// After this time, as 500ms or 5s, others answer a read [default: none]
    #[arg(long, help_heading = "Engine", value_name = "TIME", value_parser = span)]
    pub(crate) member_deadline: Option<Duration>,
}

/// What happens to writes that are late.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LateArgs {
    /// What a write does past the deadline: wait on, or fail the member [default: wait]
    #[arg(long, help_heading = "Engine", value_enum, requires = "member_deadline")]
    pub(crate) late_write: Option<LateWord>,
}

/// How fast passes go.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PaceArgs {
    /// Pace of resync, rebuild, check and repair in bytes a second, at most
    #[arg(long, help_heading = "Engine", value_name = "SIZE", value_parser = speed)]
    pub(crate) speed_max: Option<u64>,
}

/// How fast passes go while others use the array.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct BusyPaceArgs {
    /// Pace of passes in bytes a second while others use the array [default: 1000K]
    #[arg(long, help_heading = "Engine", value_name = "SIZE", value_parser = speed)]
    pub(crate) speed_min: Option<u64>,
}

/// What a write does past the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LateWord {
    // Plain comments: a text per value would stretch the help of the whole verb.
    // Wait on.
    Wait,
    // Fail the member and go on without it.
    Fail,
}

/// A span of time, from a millisecond to a day.
pub(crate) fn span(word: &str) -> Result<Duration, String> {
    let span = parse_span(word).map_err(|error| error.to_string())?;
    let most = Duration::from_secs(86_400);
    if !(Duration::from_millis(1)..=most).contains(&span) {
        return Err("expected 1ms to 24h".to_owned());
    }
    Ok(span)
}

/// Bytes in a second; nothing at all would never end.
fn speed(word: &str) -> Result<u64, String> {
    match parse_bytes(word, 1).map_err(|error| error.to_string())? {
        0 => Err("a pass with no speed never ends".to_owned()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_with_their_unit() {
        for (word, ms) in
            [("5s", 5000), ("5", 5000), ("250ms", 250), ("1.5s", 1500), ("2m", 120_000)]
        {
            assert_eq!(span(word), Ok(Duration::from_millis(ms)), "{word}");
        }
        for word in ["", "s", "0s", "-1s", "5h", "1e9s", "inf", "NaN", "1..2s", "9999999m", "½s"] {
            assert!(span(word).is_err(), "{word}");
        }
    }

    #[test]
    fn speeds_are_sizes_but_never_nothing() {
        assert_eq!(speed("4M"), Ok(4 << 20));
        assert_eq!(speed("1000"), Ok(1000));
        assert!(speed("0").is_err());
        assert!(speed("fast").is_err());
    }
}
