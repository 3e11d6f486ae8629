//! What every control socket answers, whatever is behind it: an array, a map or a bond.
//!
//! ```text
//! {"schema":"holdfast/1","exit_code":0,"lines":[…],"notes":[…],"answer":{…}}      the end of a request
//! {"schema":"holdfast/1","exit_code":4,"lines":[],"notes":[],"error":"…","hint":"…"}
//! {"schema":"holdfast/1","event":"…","text":"…", …}                               something that happened
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure, Outcome};
use crate::json::{Envelope, SCHEMA};
use crate::report::{Report, Said};

/// What a verb came to: the answer twice, as lines for people and as one value for machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    schema: String,
    exit_code: u8,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    answer: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hint: Option<String>,
}

impl Reply {
    /// What ends with these lines and this value, in good order.
    pub(crate) fn good(lines: Vec<String>, answer: Value) -> Self {
        Self::new(Said { lines, answer: Some(answer), notes: Vec::new() }, Ok(Exit::Good))
    }

    /// What was said, and how it ended.
    pub(crate) fn new(said: Said, outcome: Outcome) -> Self {
        let (exit, error, hint) = match outcome {
            Ok(exit) => (exit, None, None),
            Err(Failure { exit, message, hint }) => (exit, Some(message), hint),
        };
        Self {
            schema: SCHEMA.to_owned(),
            exit_code: exit.code(),
            lines: said.lines,
            notes: said.notes,
            answer: said.answer,
            error,
            hint,
        }
    }

    /// Nothing was done.
    pub(crate) fn refused(failure: Failure) -> Self {
        Self::new(Said::default(), Err(failure))
    }

    /// As a line.
    pub(crate) fn line(&self) -> String {
        let mut text = serde_json::to_string(self).expect("plain values with string keys");
        text.push('\n');
        text
    }

    /// The answer for machines, unless nothing was done.
    pub(crate) fn value(self) -> Result<Value, Failure> {
        match self.error {
            Some(message) => {
                let exit = Exit::from_code(self.exit_code).unwrap_or(Exit::Error);
                Err(Failure { exit, message, hint: self.hint })
            }
            None => Ok(self.answer.unwrap_or_default()),
        }
    }

    /// The answer for people.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }

    /// Says it all again, here.
    pub(crate) fn tell(self, report: &Report) -> Outcome {
        self.notes.iter().for_each(|note| report.note(note));
        self.lines.iter().for_each(|line| report.line(line));
        if let Some(answer) = &self.answer {
            report.answer(answer);
        }
        let exit = Exit::from_code(self.exit_code).unwrap_or(Exit::Error);
        match self.error {
            Some(message) => Err(Failure { exit, message, hint: self.hint }),
            None => Ok(exit),
        }
    }
}

/// Something that happened, as a line.
pub(crate) fn event(told: &impl Serialize) -> String {
    let mut text = Envelope::new(told, None, Vec::new()).line();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line_and_is_told_again_word_for_word() {
        let report = Report::keeping();
        report.line("two\nlines");
        report.note("beware");
        report.answer(&serde_json::json!({"state": "clean", "array": 1}));
        let failure = Failure::unusable("lost").hint("weep");
        let line = Reply::new(report.take_said(), Err(failure)).line();
        assert_eq!(line.matches('\n').count(), 1);
        let reply: Reply = serde_json::from_str(&line).unwrap();
        let again = Report::keeping();
        let failure = reply.tell(&again).unwrap_err();
        let told = (failure.exit, failure.message.as_str(), failure.hint.as_deref());
        assert_eq!(told, (Exit::Unusable, "lost", Some("weep")));
        let said = again.take_said();
        assert_eq!(
            (said.lines.as_slice(), said.notes.as_slice()),
            (&["two\nlines".to_owned()][..], &["beware".to_owned()][..])
        );
        assert_eq!(
            said.answer.unwrap().to_string(),
            r#"{"state":"clean","array":1}"#,
            "in its order"
        );
    }
}
