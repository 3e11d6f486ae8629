//! What a served array may be asked through its control socket, and what it tells of itself.
//! `docs/control.md` is the manual.

use std::path::PathBuf;

use holdfast_sim::inject::Order;
use serde::{Deserialize, Serialize};

/// What somebody wants of a served array.
// Verbs without keys are structs, too: serde takes anything beside a unit variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// As `holdfast detail`.
    Detail {},
    /// As `holdfast mdstat`.
    Mdstat {},
    /// As `holdfast fail`.
    Fail(Change),
    /// As `holdfast remove`.
    Remove(Change),
    /// As `holdfast add`.
    Add(Newcomer),
    /// As `holdfast re-add`.
    ReAdd(Newcomer),
    /// As `holdfast replace`.
    Replace {
        /// The member that is to be replaced, as in [`Change`].
        member: String,
        /// By whom: one of the array's spares, or another device.
        #[serde(flatten)]
        with: Newcomer,
    },
    /// As `holdfast check`.
    Check(Scope),
    /// As `holdfast repair`.
    Repair(Scope),
    /// As `holdfast rebuild`.
    Rebuild {},
    /// How fast passes go: bytes a second while others use the array, and while nobody does.
    Speed {
        /// The least, beside others; as it is if absent.
        #[serde(default)]
        min_bytes: Option<u64>,
        /// The most; as it is if absent.
        #[serde(default)]
        max_bytes: Option<u64>,
    },
    /// As `holdfast inject`: something goes wrong with a member.
    Inject(Order),
    /// As `holdfast inject mend`.
    Mend(Whose),
    /// As `holdfast inject list`.
    Faults {},
    /// What happens from now on, a line an event, until the connection is closed.
    Events {},
    /// Stop in good order, as SIGTERM does.
    Stop {},
    /// The figures, as Prometheus reads them. Asked by `--metrics`, not through the socket.
    #[serde(skip)]
    Metrics,
}

/// A member, and whether to say only what would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// Its path, or `slot:N`.
    pub(crate) member: String,
    /// Nothing is changed.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// A device that is to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Newcomer {
    /// Its path.
    pub(crate) device: PathBuf,
    /// `add` to raid1: it is read only when nobody else can be.
    #[serde(default)]
    pub(crate) write_mostly: bool,
    /// Nothing is changed.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// Whose faults are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    /// A member, as in [`Change`]; everybody's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
}

/// How far a comparison goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    /// raid6: name the member a difference points at.
    #[serde(default)]
    pub(crate) locate: bool,
}

/// Something that happened to a served array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// mdadm's name for it (`Fail`, `RebuildFinished`), or ours where it has none.
    pub(crate) event: String,
    /// The array's UUID.
    pub(crate) array: String,
    /// The member it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) member: Option<PathBuf>,
    /// A sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) text: Option<String>,
}

#[cfg(test)]
mod tests {
    use holdfast_sim::inject::Harm;

    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let change = |member: &str, dry_run| Change { member: member.to_owned(), dry_run };
        let newcomer = |device: &str, dry_run| Newcomer {
            device: device.into(),
            write_mostly: false,
            dry_run,
        };
        let table = [
            (r#"{"verb":"detail"}"#, Request::Detail {}),
            (r#"{"verb":"fail","member":"/d/1"}"#, Request::Fail(change("/d/1", false))),
            (
                r#"{"verb":"remove","member":"slot:1","dry_run":true}"#,
                Request::Remove(change("slot:1", true)),
            ),
            (r#"{"verb":"add","device":"/d/3"}"#, Request::Add(newcomer("/d/3", false))),
            (
                r#"{"verb":"re-add","device":"/d/3","dry_run":true}"#,
                Request::ReAdd(newcomer("/d/3", true)),
            ),
            (
                r#"{"verb":"replace","member":"slot:0","device":"/d/3"}"#,
                Request::Replace { member: "slot:0".to_owned(), with: newcomer("/d/3", false) },
            ),
            (r#"{"verb":"check"}"#, Request::Check(Scope { locate: false })),
            (r#"{"verb":"repair","locate":true}"#, Request::Repair(Scope { locate: true })),
            (
                r#"{"verb":"speed","max_bytes":1048576}"#,
                Request::Speed { min_bytes: None, max_bytes: Some(1 << 20) },
            ),
            (
                r#"{"verb":"inject","fault":"vanish","member":"slot:1","for_ms":50}"#,
                Request::Inject(Order {
                    member: Some("slot:1".to_owned()),
                    for_ms: Some(50),
                    ..Order::new(Harm::Vanish)
                }),
            ),
            (r#"{"verb":"mend"}"#, Request::Mend(Whose { member: None })),
            (r#"{"verb":"faults"}"#, Request::Faults {}),
            (r#"{"verb":"events"}"#, Request::Events {}),
            (r#"{"verb":"stop"}"#, Request::Stop {}),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request, "{text}");
        }
        for text in [
            "",
            "{}",
            r#"{"verb":"dance"}"#,
            r#"{"verb":"metrics"}"#,
            r#"{"verb":"fail"}"#,
            r#"{"verb":"stop","x":1}"#,
            r#"{"verb":"detail","member":"a"}"#,
            r#"{"verb":"inject","member":"slot:1"}"#,
            r#"{"verb":"inject","fault":"vanish","member":"slot:1","x":1}"#,
            r#"{"verb":"faults","member":"slot:1"}"#,
            r#"{"verb":"add"}"#,
            r#"{"verb":"add","device":"a","force":true}"#,
            r#"{"verb":"replace","device":"a"}"#,
            r#"{"verb":"fail","member":"a","force":true}"#,
            r#"{"verb":"speed","max_bytes":-1}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
