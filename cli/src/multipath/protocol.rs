//! What a running map may be asked through its control socket. `docs/control.md` is the manual.

use serde::{Deserialize, Serialize};

/// What may be asked.
// Verbs without keys are structs, too: serde takes anything beside a unit variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How the map stands: a text, and its state.
    Show {
        /// `topology`, `paths`, `maps`, `stats` or `dm`.
        what: String,
        /// Columns by multipathd's wildcards.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        format: Option<String>,
        /// No line of headings.
        #[serde(default)]
        raw: bool,
    },
    /// Take a path out of use.
    FailPath {
        /// Its name or number.
        path: String,
    },
    /// Use it again.
    Reinstate {
        /// Its name or number.
        path: String,
    },
    /// Use this group.
    SwitchGroup {
        /// Counted from 1.
        group: usize,
    },
    /// Change an attribute.
    Set {
        /// Its name.
        name: String,
        /// Its value, as text.
        value: String,
    },
    /// Fail what waits.
    FailNow {},
    /// Tell what happens, until the caller hangs up.
    Events {},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let table = [
            (
                r#"{"verb":"show","what":"dm"}"#,
                Request::Show { what: "dm".into(), format: None, raw: false },
            ),
            (r#"{"verb":"fail-path","path":"0"}"#, Request::FailPath { path: "0".into() }),
            (r#"{"verb":"switch-group","group":2}"#, Request::SwitchGroup { group: 2 }),
            (r#"{"verb":"fail-now"}"#, Request::FailNow {}),
            (r#"{"verb":"events"}"#, Request::Events {}),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request, "{text}");
        }
        for text in [
            "{}",
            r#"{"verb":"dance"}"#,
            r#"{"verb":"show"}"#,
            r#"{"verb":"fail-now","x":1}"#,
            r#"{"verb":"fail-path","path":"0","force":true}"#,
            r#"{"verb":"switch-group","group":-1}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
