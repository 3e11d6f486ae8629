//! `--log FORMAT`: every event as one line on standard error, with the time.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::aside::Aside;
use crate::args::LogWord;
use crate::control::protocol::Told;
use crate::json::Envelope;
use crate::moment::Moment;

/// Writes events down. Whoever reads too slowly misses some, and is told how many.
#[derive(Debug)]
pub(super) struct Log {
    lines: Aside<Entry>,
    /// Since the last one that was taken.
    missed: u64,
}

impl Log {
    /// Nothing has happened yet.
    pub(super) fn new(format: LogWord) -> Self {
        let lines = Aside::new(move |entry: Entry| {
            // That nobody reads it any more is no reason to stop serving.
            let _ = writeln!(io::stderr(), "{}", entry.line(format));
        });
        Self { lines, missed: 0 }
    }

    /// Writes an event down, after those before.
    pub(super) fn tell(&mut self, told: &Told) {
        let (unix_ms, missed) = (Moment::now().0, self.missed);
        let taken = self.lines.take(Entry { unix_ms, missed, told: told.clone() });
        self.missed = if taken { 0 } else { missed + 1 };
    }

    /// Lets the rest be read, for so long.
    pub(super) fn finish(self, patience: Duration) {
        self.lines.finish(patience);
    }
}

/// An event, and when it was.
#[derive(Debug, Serialize)]
struct Entry {
    /// Milliseconds since 1970.
    unix_ms: u64,
    /// Events before it that nobody had time to read.
    #[serde(skip_serializing_if = "is_none")]
    missed: u64,
    #[serde(flatten)]
    told: Told,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
const fn is_none(missed: &u64) -> bool {
    *missed == 0
}

impl Entry {
    fn line(&self, format: LogWord) -> String {
        match format {
            LogWord::Json => Envelope::new(self, None, Vec::new()).line(),
            LogWord::Text => self.to_string(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { event, array, member, text } = &self.told;
        write!(f, "{} {event} {array}", Moment(self.unix_ms))?;
        if let Some(member) = member {
            f.write_char(' ')?;
            plainly(&member.display().to_string(), f)?;
        }
        if let Some(text) = text {
            f.write_str(": ")?;
            plainly(text, f)?;
        }
        match self.missed {
            0 => Ok(()),
            missed => write!(f, " (before it {missed} were not written)"),
        }
    }
}

/// Names of files may hold what would begin another line.
fn plainly(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(f, "{}", c.escape_default()),
        false => f.write_char(c),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_whatever_files_are_called() {
        let told = |member: Option<&str>, text: Option<&str>| Told {
            event: "Fail".to_owned(),
            array: "a0a6".to_owned(),
            member: member.map(Into::into),
            text: text.map(str::to_owned),
        };
        let whole = told(Some("/data/d1"), Some("read failed"));
        let entry = Entry { unix_ms: 1_000, missed: 0, told: whole };
        assert_eq!(
            entry.line(LogWord::Text),
            "1970-01-01 00:00:01.000 Fail a0a6 /data/d1: read failed"
        );
        assert_eq!(
            entry.line(LogWord::Json),
            r#"{"schema":"holdfast/1","unix_ms":1000,"event":"Fail","array":"a0a6","member":"/data/d1","text":"read failed"}"#
        );
        let bare = Entry { unix_ms: 1_000, missed: 2, told: told(None, None) };
        let text = "1970-01-01 00:00:01.000 Fail a0a6 (before it 2 were not written)";
        assert_eq!(bare.line(LogWord::Text), text);
        assert!(bare.line(LogWord::Json).contains(r#""missed":2"#));
        let odd = told(Some("/data/é\nx"), Some("/data/é\nx is faulty"));
        let odd = Entry { unix_ms: 0, missed: 0, told: odd };
        let text = "1970-01-01 00:00:00.000 Fail a0a6 /data/é\\nx: /data/é\\nx is faulty";
        assert_eq!(odd.line(LogWord::Text), text);
        assert_eq!(odd.line(LogWord::Json).lines().count(), 1);
    }
}
