//! The JSON answers: schema `holdfast/1`.
//!
//! Every answer is one object that begins with `"schema"` and may end with `"at_risk_bytes"` (where
//! `--force` took a risk) and `"notes"`. Units are in
//! the names of the keys. Keys are only ever added; a number that is unknown is `null`, never 0.

use serde::Serialize;

use crate::events::MOST_SHOWN;

/// The version of everything here.
pub(crate) const SCHEMA: &str = "holdfast/1";

/// An answer in its wrapper.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_risk_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl<'a, T: Serialize> Envelope<'a, T> {
    /// Wraps an answer. `at_risk_bytes`: how much of the array `--force` made doubtful.
    pub(crate) const fn new(body: &'a T, at_risk_bytes: Option<u64>, notes: Vec<String>) -> Self {
        Self { schema: SCHEMA, body, at_risk_bytes, notes }
    }

    /// The text, indented for those who read it after all.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("answers are plain structs with string keys")
    }

    /// The text in one line, for objects that follow one another.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("answers are plain structs with string keys")
    }
}

/// What a verb that goes on notes after its answer.
#[derive(Debug, Serialize)]
pub(crate) struct NoteBody {
    /// What is worth knowing.
    pub(crate) note: String,
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

impl Range {
    /// Takes in a range that follows, if nothing else tells them apart; or gives it back.
    pub(crate) fn absorb(&mut self, next: Self) -> Option<Self> {
        let follows = self.offset_bytes + self.length_bytes == next.offset_bytes
            && (&self.members, &self.why) == (&next.members, &next.why);
        if follows {
            self.length_bytes += next.length_bytes;
            None
        } else {
            Some(next)
        }
    }
}

/// Ranges of the array, neighbours joined, the first [`MOST_SHOWN`] of them; the rest is counted.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    pub(crate) shown: Vec<Range>,
    /// Ranges beyond.
    pub(crate) more: u64,
}

impl Ranges {
    /// Adds a range, joining it with its neighbour if nothing else tells them apart.
    pub(crate) fn add(&mut self, range: Range) {
        let rest = match self.shown.last_mut() {
            Some(last) => last.absorb(range),
            None => Some(range),
        };
        match rest {
            Some(range) if self.shown.len() < MOST_SHOWN => self.shown.push(range),
            Some(_) => self.more += 1,
            None => {}
        }
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(offset_bytes: u64, length_bytes: u64, member: &str) -> Range {
        let (members, why) = (vec![member.to_owned()], "medium error".to_owned());
        Range { offset_bytes, length_bytes, members, why }
    }

    #[test]
    fn neighbouring_losses_are_one_range_and_the_list_has_an_end() {
        let mut ranges = Ranges::default();
        ranges.add(lost(0, 512, "a"));
        ranges.add(lost(512, 512, "a"));
        ranges.add(lost(1024, 512, "b"));
        ranges.add(lost(4096, 512, "b"));
        assert_eq!(ranges.shown, [lost(0, 1024, "a"), lost(1024, 512, "b"), lost(4096, 512, "b")]);
        (5..MOST_SHOWN as u64 + 5).for_each(|at| ranges.add(lost(at << 20, 512, "a")));
        assert_eq!((ranges.shown.len(), ranges.more), (MOST_SHOWN, 3));
    }

    #[test]
    fn an_answer_begins_with_its_schema_and_ends_with_its_notes() {
        let body = ErrorBody { error: "no", hint: None, exit_code: 4 };
        let text = Envelope::new(&body, None, vec!["a note".to_owned()]).text();
        let expected = "{\n  \"schema\": \"holdfast/1\",\n  \"error\": \"no\",\n  \
                        \"exit_code\": 4,\n  \"notes\": [\n    \"a note\"\n  ]\n}";
        assert_eq!(text, expected);
    }
}
