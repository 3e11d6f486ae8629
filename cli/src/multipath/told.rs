//! What happens to a map, in words and in JSON.

use std::fmt;

use holdfast_multipath::event::Event;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What kind of thing, in one word.
    pub(crate) event: String,
    /// The sentence.
    pub(crate) text: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Puts an event into words; `name` names a path.
pub(crate) fn tell(event: &Event, name: impl Fn(usize) -> String) -> Told {
    let (kind, text) = match event {
        Event::Identified { wwid } => ("identified", format!("the disk is {wwid:?}")),
        Event::PathFailed { path, why } => {
            ("path-failed", format!("{} failed: {why}", name(*path)))
        }
        Event::PathReinstated { path, on_probation } => {
            let how = if *on_probation { ", on probation" } else { "" };
            ("path-reinstated", format!("{} is used again{how}", name(*path)))
        }
        Event::WrongDisk { path, why } => {
            ("wrong-disk", format!("{} leads to another disk: {why}", name(*path)))
        }
        Event::Marginal { path, now: true } => {
            ("marginal", format!("{} fails too often and is used last", name(*path)))
        }
        Event::Marginal { path, now: false } => {
            ("marginal", format!("{} is used like others again", name(*path)))
        }
        Event::GroupSwitched { to, failback, .. } => {
            let how = if *failback { " (failback)" } else { "" };
            ("group-switched", format!("group {} is used{how}", to + 1))
        }
        Event::NoPath { kind, patience } => {
            let patience = patience
                .map_or_else(|| "wait".to_owned(), |span| format!("wait {} s", span.as_secs_f64()));
            ("no-path", format!("no path for a {kind}: requests {patience}"))
        }
        Event::QueueTimedOut { kind } => {
            ("queue-timed-out", format!("no path for a {kind} for too long: requests fail"))
        }
        Event::PathsAgain { kind } => {
            ("paths-again", format!("there is a path for a {kind} again"))
        }
        Event::GivenUp { path, kind, sector, sectors } => (
            "given-up",
            format!("{kind} of {sectors} sectors at {sector} given up on {}", name(*path)),
        ),
        Event::LateAnswer { path, kind, sector, late, result } => {
            let how = result.map_or_else(|fault| fault.to_string(), |()| "done".to_owned());
            let late = late.as_secs_f64();
            ("late-answer", format!("{}: {kind} at {sector}, {late:.3} s late: {how}", name(*path)))
        }
        Event::HeldBack { sector, sectors } => (
            "held-back",
            format!(
                "write of {sectors} sectors at {sector} waits for an older one that may still land"
            ),
        ),
        Event::Fenced { path, writes } => {
            ("fenced", format!("{}: {writes} write(s) given up can no longer land", name(*path)))
        }
        Event::QuarantineEnded { path, sector } => (
            "quarantine-ended",
            format!("{}: write at {sector} is waited for no longer", name(*path)),
        ),
        Event::FenceBroken { path, sector } => (
            "fence-broken",
            format!(
                "{}: write at {sector} succeeded after its fence: the fence is none",
                name(*path)
            ),
        ),
        Event::Replayed { path, bytes } => (
            "replayed",
            format!("{bytes} bytes in the cache behind {} are written again", name(*path)),
        ),
        Event::PathRemoved { path } => ("path-removed", format!("{} is removed", name(*path))),
    };
    Told { event: kind.to_owned(), text }
}
