//! `--log FORMAT`: every event as one line on standard error, with the time.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::args::LogWord;
use crate::control::protocol::Told;
use crate::json::Envelope;
use crate::moment::Moment;

/// An event, and when it was.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// Milliseconds since 1970.
    unix_ms: u64,
    #[serde(flatten)]
    told: &'a Told,
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { event, array, member, text } = self.told;
        write!(f, "{} {event} {array}", Moment(self.unix_ms))?;
        if let Some(member) = member {
            write!(f, " {}", member.display())?;
        }
        text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// Writes an event down. That nobody reads it any more is no reason to stop serving.
pub(super) fn write(format: LogWord, told: &Told) {
    let line = line(format, told, Moment::now());
    let _ = writeln!(io::stderr(), "{line}");
}

fn line(format: LogWord, told: &Told, now: Moment) -> String {
    let entry = Entry { unix_ms: now.0, told };
    match format {
        LogWord::Json => Envelope::new(&entry, None, Vec::new()).line(),
        LogWord::Text => entry.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let mut told = Told {
            event: "Fail".to_owned(),
            array: "a0a6".to_owned(),
            member: Some("/data/d1".into()),
            text: Some("read failed".to_owned()),
        };
        let written = |told: &Told, format| line(format, told, Moment(1_000));
        assert_eq!(
            written(&told, LogWord::Text),
            "1970-01-01 00:00:01.000 Fail a0a6 /data/d1: read failed"
        );
        assert_eq!(
            written(&told, LogWord::Json),
            r#"{"schema":"holdfast/1","unix_ms":1000,"event":"Fail","array":"a0a6","member":"/data/d1","text":"read failed"}"#
        );
        (told.member, told.text) = (None, None);
        assert_eq!(written(&told, LogWord::Text), "1970-01-01 00:00:01.000 Fail a0a6");
    }
}
