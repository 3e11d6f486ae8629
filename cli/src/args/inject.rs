//! What was typed after `holdfast inject`.

use std::sync::LazyLock;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use holdfast_sim::inject::Harm;

use super::ServedArgs;
use super::knobs::span;

/// What goes wrong, or what is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectWord {
    /// This.
    Harm(Harm),
    /// Faults end.
    Mend,
    /// Faults are shown.
    List,
}

impl ValueEnum for InjectWord {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<InjectWord>> = LazyLock::new(|| {
            let harms = Harm::ALL.into_iter().map(InjectWord::Harm);
            harms.chain([InjectWord::Mend, InjectWord::List]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Harm(harm) => PossibleValue::new(harm.name()).help(harm.about()),
            Self::Mend => PossibleValue::new("mend").help("End the faults of --member, or of all"),
            Self::List => PossibleValue::new("list").help("Show the faults there are"),
        })
    }
}

/// Requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TouchWord {
    Read,
    Write,
    Flush,
}

/// A fault, and when, where and for how long.
#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// What
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: InjectWord,
    /// The member: its path, or slot:N
    #[arg(short, long, value_name = "MEMBER")]
    pub(crate) member: Option<String>,
    /// error, stuck: only these requests
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    pub(crate) on: Vec<TouchWord>,
    /// Where it begins, from the start of the member's data [default: 0]
    #[arg(long, value_name = "OFFSET", value_parser = super::bytes)]
    pub(crate) from: Option<u64>,
    /// How far it goes
    #[arg(long, value_name = "SIZE", value_parser = super::bytes)]
    pub(crate) length: Option<u64>,
    /// Strike so many requests [default: 1 for lost, torn and misdirected]
    #[arg(long, value_name = "N")]
    pub(crate) times: Option<u32>,
    /// slow: how much longer a request takes
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) delay: Option<Duration>,
    /// misdirected: how much further on a write lands
    #[arg(long, value_name = "SIZE", value_parser = super::bytes)]
    pub(crate) by: Option<u64>,
    /// Let so many of the member's requests pass first
    #[arg(long, value_name = "N")]
    pub(crate) after_requests: Option<u64>,
    /// Wait so long first
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) after: Option<Duration>,
    /// Wait for this event first: RebuildStarted, Rebuild40, Fail, …
    #[arg(long, value_name = "EVENT", conflicts_with = "after")]
    pub(crate) when: Option<String>,
    /// End it after so long [default: with mend, or with the server]
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub(crate) lasts: Option<Duration>,
    #[command(flatten)]
    pub(crate) served: ServedArgs,
}
