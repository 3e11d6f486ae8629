//! What happened to a bond, in words and as values.

use std::fmt;

use holdfast_bond::{Event, MemberId, What};
use holdfast_core::time::Instant;
use serde::{Deserialize, Serialize};

use super::view::words;
use crate::moment::Moment;

/// Something that happened, ready to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Nanoseconds since the bond began.
    pub(crate) ns: u64,
    /// The bond.
    pub(crate) bond: String,
    /// What kind of thing: `link`, `active`, `carrier`, `announced`, …
    pub(crate) event: String,
    /// The member it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) member: Option<String>,
    /// How it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) from: Option<String>,
    /// How it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) to: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) why: Option<String>,
    /// In words.
    pub(crate) text: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}: {}", Moment(self.unix_ms), self.bond, self.text)
    }
}

/// The parts of a story.
#[derive(Debug, Default)]
struct Parts {
    event: &'static str,
    member: Option<String>,
    from: Option<String>,
    to: Option<String>,
    why: Option<String>,
    text: String,
}

/// Tells events; knows the bond's name and what its clock began at.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) bond: String,
    /// Milliseconds since 1970 at the clock's origin.
    pub(super) origin_unix_ms: u64,
}

impl Teller {
    /// An event of the core. `name` knows members by number, also those that have just left.
    pub(super) fn tell(&self, event: &Event, name: impl Fn(MemberId) -> String) -> Told {
        self.told(event.at, parts(&event.what, name))
    }

    /// Something the driver has to say itself.
    pub(super) fn note(&self, at: Instant, member: Option<&str>, text: String) -> Told {
        let member = member.map(str::to_owned);
        self.told(at, Parts { event: "note", member, text, ..Parts::default() })
    }

    fn told(&self, at: Instant, parts: Parts) -> Told {
        let Parts { event, member, from, to, why, text } = parts;
        Told {
            unix_ms: self.origin_unix_ms + at.as_nanos() / 1_000_000,
            ns: at.as_nanos(),
            bond: self.bond.clone(),
            event: event.to_owned(),
            member,
            from,
            to,
            why,
            text,
        }
    }
}

/// `1 address`, `2 addresses`.
fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn more(left: u32) -> String {
    if left == 0 { String::new() } else { format!(", {left} more to come") }
}

fn parts(what: &What, name: impl Fn(MemberId) -> String) -> Parts {
    let plain = |event, text: String| Parts { event, text, ..Parts::default() };
    match what {
        What::Added { name, link, .. } => Parts {
            member: Some(name.clone()),
            to: Some(link.to_string()),
            ..plain("added", format!("{name} joined, link {link}"))
        },
        What::Removed { name, .. } => {
            Parts { member: Some(name.clone()), ..plain("removed", format!("{name} left")) }
        }
        What::Link { member, from, to, why } => {
            let name = name(*member);
            let text = format!("{name}: link {from} -> {to} ({why})");
            Parts {
                member: Some(name),
                from: Some(from.to_string()),
                to: Some(to.to_string()),
                why: Some(why.to_string()),
                ..plain("link", text)
            }
        }
        What::Active { from, to, why } => {
            let (from, to) = (from.map(&name), to.map(&name));
            let word = |member: &Option<String>| member.clone().unwrap_or_else(|| "none".into());
            let text = format!("active {} -> {} ({why})", word(&from), word(&to));
            Parts {
                member: to.clone(),
                from,
                to,
                why: Some(why.to_string()),
                ..plain("active", text)
            }
        }
        What::Carrier { up } => {
            let state = if *up { "up" } else { "down" };
            Parts {
                to: Some(state.to_owned()),
                ..plain("carrier", format!("the bond's carrier is {state}"))
            }
        }
        What::Announced { member, frames, left } => {
            let name = name(*member);
            let text = format!(
                "announced {} on {name}{}",
                counted(*frames, "address", "addresses"),
                more(*left)
            );
            Parts { member: Some(name), ..plain("announced", text) }
        }
        What::GroupsReported { member, groups, left } => {
            let name = name(*member);
            let text = format!(
                "reported {} on {name}{}",
                counted(*groups, "group", "groups"),
                more(*left)
            );
            Parts { member: Some(name), ..plain("groups-reported", text) }
        }
        What::BondMac { mac } => {
            Parts { to: Some(mac.to_string()), ..plain("bond-mac", format!("the bond has {mac}")) }
        }
        What::MemberMac { member, mac } => {
            let name = name(*member);
            let text = format!("{name} has {mac}");
            Parts { member: Some(name), to: Some(mac.to_string()), ..plain("member-mac", text) }
        }
        What::OptionSet { option, value } => Parts {
            to: Some(value.clone()),
            member: None,
            ..plain("option", format!("{option} is {value}"))
        },
        What::Damped { member, out } => {
            let name = name(*member);
            let text = match out {
                true => format!("{name} flaps and is kept out"),
                false => format!("{name} may be used again"),
            };
            Parts { member: Some(name), ..plain("damped", text) }
        }
        What::Aggregator { from, to } => {
            let word = |id: &Option<u16>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
            let (from, to) = (word(from), word(to));
            let text = format!("aggregator {from} -> {to}");
            Parts { from: Some(from), to: Some(to), ..plain("aggregator", text) }
        }
        What::Lacp { member, receive, mux } => {
            let name = name(*member);
            let (receive, mux) = (words(receive), words(mux));
            let text = format!("{name}: LACP receive {receive}, mux {mux}");
            Parts { member: Some(name), to: Some(mux), ..plain("lacp", text) }
        }
    }
}
