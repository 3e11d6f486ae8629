//! What is said through the control socket: a request on a line, an answer on a line, both JSON.
//!
//! ```text
//! > {"verb":"set","option":"miimon","value":"50"}
//! < {"schema":"holdfast/1","ok":true}
//! > {"verb":"activate","member":"eth9"}
//! < {"schema":"holdfast/1","error":"eth9 is no member"}
//! ```
//!
//! After `events` the answer is followed by a line an event, until the connection is closed.

use serde::{Deserialize, Serialize};

use super::setup::Own;
use super::told::Told;
use super::view::View;
use crate::json::SCHEMA;

/// What somebody wants of a running bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How do things stand?
    Status,
    /// Change an option.
    Set {
        /// Its name.
        option: String,
        /// Its value, as text.
        value: String,
    },
    /// Take an interface in.
    Add {
        /// Its name.
        member: String,
        /// Its priority.
        #[serde(default)]
        prio: i32,
        /// 802.3ad: its port's priority.
        #[serde(default = "usual_port_priority")]
        actor_port_prio: u16,
    },
    /// Let a member go.
    Remove {
        /// Its name.
        member: String,
    },
    /// Make a member the active one.
    Activate {
        /// Its name.
        member: String,
    },
    /// Tell what happens from now on, after what is remembered if `past`.
    Events {
        /// Begin with what happened before.
        #[serde(default)]
        past: bool,
        /// Go on with what happens.
        #[serde(default)]
        follow: bool,
    },
    /// Stop, and put everything back.
    Stop,
}

/// The kernel's.
fn usual_port_priority() -> u16 {
    Own::default().port_priority
}

/// What the bond says to that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    schema: String,
    /// It is done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ok: Option<bool>,
    /// It is not, because of this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) error: Option<String>,
    /// How things stand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) status: Option<Box<View>>,
    /// The same as the text of `/proc/net/bonding`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) proc: Option<String>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) event: Option<Told>,
}

impl Reply {
    fn empty() -> Self {
        let schema = SCHEMA.to_owned();
        Self { schema, ok: None, error: None, status: None, proc: None, event: None }
    }

    /// It is done.
    pub(crate) fn done() -> Self {
        Self { ok: Some(true), ..Self::empty() }
    }

    /// It is not.
    pub(crate) fn refused(why: impl ToString) -> Self {
        Self { error: Some(why.to_string()), ..Self::empty() }
    }

    /// How things stand, twice.
    pub(crate) fn status(view: View, proc: impl ToString) -> Self {
        let (status, proc) = (Some(Box::new(view)), Some(proc.to_string()));
        Self { ok: Some(true), status, proc, ..Self::empty() }
    }

    /// Something that happened.
    pub(crate) fn event(told: Told) -> Self {
        Self { event: Some(told), ..Self::empty() }
    }

    /// As a line.
    pub(crate) fn line(&self) -> String {
        let mut text = serde_json::to_string(self).expect("plain values with string keys");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let table = [
            (r#"{"verb":"status"}"#, Request::Status),
            (
                r#"{"verb":"set","option":"miimon","value":"50"}"#,
                Request::Set { option: "miimon".into(), value: "50".into() },
            ),
            (
                r#"{"verb":"add","member":"eth2"}"#,
                Request::Add { member: "eth2".into(), prio: 0, actor_port_prio: 255 },
            ),
            (r#"{"verb":"events","follow":true}"#, Request::Events { past: false, follow: true }),
            (r#"{"verb":"stop"}"#, Request::Stop),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request, "{text}");
        }
        for text in [
            "",
            "{}",
            r#"{"verb":"dance"}"#,
            r#"{"verb":"add"}"#,
            r#"{"verb":"add","member":"a","x":1}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_is_one_line_and_says_its_schema() {
        assert_eq!(Reply::done().line(), "{\"schema\":\"holdfast/1\",\"ok\":true}\n");
        let refused = Reply::refused("a\nb").line();
        assert_eq!(refused.matches('\n').count(), 1);
    }
}
