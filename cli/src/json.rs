//! The JSON answers: schema `holdfast/1`.
//!
//! Every answer is one object that begins with `"schema"` and may end with `"notes"`. Units are in
//! the names of the keys. Keys are only ever added; a number that is unknown is `null`, never 0.

use serde::Serialize;

/// The version of everything here.
pub(crate) const SCHEMA: &str = "holdfast/1";

/// An answer in its wrapper.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a T,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl<'a, T: Serialize> Envelope<'a, T> {
    /// Wraps an answer.
    pub(crate) const fn new(body: &'a T, notes: Vec<String>) -> Self {
        Self { schema: SCHEMA, body, notes }
    }

    /// The text, indented for those who read it after all.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("answers are plain structs with string keys")
    }
}

/// A failure.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    /// What is the matter.
    pub(crate) error: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<&'a str>,
    /// The code the run ends with.
    pub(crate) exit_code: u8,
}

/// A range of the array, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    /// First byte.
    pub(crate) offset_bytes: u64,
    /// How many.
    pub(crate) length_bytes: u64,
    /// Paths of the members that could not help.
    pub(crate) members: Vec<String>,
    /// Why.
    pub(crate) why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_with_its_schema_and_ends_with_its_notes() {
        let body = ErrorBody { error: "no", hint: None, exit_code: 4 };
        let text = Envelope::new(&body, vec!["a note".to_owned()]).text();
        let expected = "{\n  \"schema\": \"holdfast/1\",\n  \"error\": \"no\",\n  \
                        \"exit_code\": 4,\n  \"notes\": [\n    \"a note\"\n  ]\n}";
        assert_eq!(text, expected);
    }
}
