//! What a running bond may be asked through its control socket. `docs/control.md` is the manual.
//!
//! ```text
//! > {"verb":"set","option":"miimon","value":"50"}
//! < {"schema":"holdfast/1","exit_code":0,"lines":[],"notes":[]}
//! > {"verb":"activate","member":"eth9"}
//! < {"schema":"holdfast/1","exit_code":4,"lines":[],"notes":[],"error":"eth9 is no member"}
//! ```
//!
//! `events` tells what is remembered, if that is asked for, and then either what happens until the
//! connection is closed, or that this was all.

use serde::{Deserialize, Serialize};

use super::setup::Own;
use super::view::View;

/// What somebody wants of a running bond.
// Verbs without keys are structs, too: serde takes anything beside a unit variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How do things stand?
    Status {},
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
    Stop {},
}

/// The kernel's.
fn usual_port_priority() -> u16 {
    Own::default().port_priority
}

/// How a bond stands, twice: what it answers to [`Request::Status {}`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// For machines.
    pub(crate) status: View,
    /// The text of `/proc/net/bonding`.
    pub(crate) proc: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let table = [
            (r#"{"verb":"status"}"#, Request::Status {}),
            (
                r#"{"verb":"set","option":"miimon","value":"50"}"#,
                Request::Set { option: "miimon".into(), value: "50".into() },
            ),
            (
                r#"{"verb":"add","member":"eth2"}"#,
                Request::Add { member: "eth2".into(), prio: 0, actor_port_prio: 255 },
            ),
            (r#"{"verb":"events","follow":true}"#, Request::Events { past: false, follow: true }),
            (r#"{"verb":"stop"}"#, Request::Stop {}),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request, "{text}");
        }
        for text in [
            "",
            "{}",
            r#"{"verb":"dance"}"#,
            r#"{"verb":"add"}"#,
            r#"{"verb":"stop","x":1}"#,
            r#"{"verb":"add","member":"a","x":1}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
