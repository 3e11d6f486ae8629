//! `holdfast sim merge`: the shards of a campaign, put together again.
//!
//! All of them and nothing else: a shard that is missing, there twice, or of another campaign is
//! refused, and so is one that another engine has made. What comes out does not depend on how the
//! seeds were cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_sim::campaign::Summary;
use serde::Serialize;

use super::part::{Common, Part, Sums};
use super::{exit, summary, write_text};
use crate::config::SimMerge;
use crate::exit::{Failure, Outcome};
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    common: Common,
    clean: bool,
    found: Sums,
}

/// Merges.
pub(super) fn run(config: &SimMerge, report: &Report) -> Outcome {
    let parts = load(&config.directory)?;
    check(&parts, config.expect)?;
    let mut merged = Summary::default();
    for (path, part) in &parts {
        let summary = part.summary().map_err(|why| refuse(path, &why))?;
        merged = merged.merge(summary);
    }
    let (_, first) = parts.first().expect("at least one shard was expected");
    let clean = merged.failures.is_empty();
    let answer = Answer { common: first.common.clone(), clean, found: (&merged).into() };
    if let Some(path) = &config.output {
        let text = serde_json::to_string_pretty(&answer).expect("answers are plain structs");
        write_text(path, &(text + "\n"))?;
    }
    summary::say(&merged, report);
    for failed in &merged.failures {
        report.line(format_args!("seed {}: {}", failed.seed, failed.violation));
    }
    report.answer(&answer);
    Ok(exit(clean))
}

fn refuse(path: &Path, why: &str) -> Failure {
    Failure::error(format!("{}: {why}", path.display()))
}

/// Every shard's result in a directory, by name.
fn load(directory: &Path) -> Result<Vec<(PathBuf, Part)>, Failure> {
    let unreadable = |error| refuse(directory, &format!("{error}"));
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("shard-") && name.ends_with(".json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(|path| Part::load(&path).map(|part| (path, part))).collect()
}

/// Whether these are all shards of one campaign, each once.
fn check(parts: &[(PathBuf, Part)], expect: u32) -> Result<(), Failure> {
    let mut seen: BTreeMap<u32, &Path> = BTreeMap::new();
    for (path, part) in parts {
        let shard = part.shard().expect("checked when it was loaded");
        if shard.count() != expect {
            return Err(refuse(path, &format!("is shard {shard}, not one of {expect}")));
        }
        let (first, other) = &parts[0];
        if part.common != other.common {
            let why = format!("is of another campaign or engine than {}", first.display());
            return Err(refuse(path, &why));
        }
        if let Some(twin) = seen.insert(shard.index(), path) {
            return Err(refuse(path, &format!("is shard {shard}, as {} is", twin.display())));
        }
    }
    let missing: Vec<String> = (1..=expect)
        .filter(|index| !seen.contains_key(index))
        .map(|index| format!("{index}/{expect}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::error(format!("missing: shard {}", missing.join(", "))))
}
