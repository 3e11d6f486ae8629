//! How a broken promise is told: which, where, how to see it again, and what happened before.

use std::path::Path;

use holdfast_sim::run::{Violation, narrate};
use holdfast_sim::script::Script;
use serde::Serialize;

use crate::report::Report;

/// Lines of a timeline that are shown unless more is asked for.
pub(super) const LAST_LINES: usize = 24;

/// A broken promise, for machines.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Broken {
    oracle: u8,
    oracle_name: String,
    line: usize,
    detail: String,
}

impl Broken {
    /// The oracle, by number and name.
    pub(super) fn oracle(&self) -> String {
        format!("oracle {} ({})", self.oracle, self.oracle_name)
    }
}

impl From<&Violation> for Broken {
    fn from(violation: &Violation) -> Self {
        Self {
            oracle: violation.oracle as u8,
            oracle_name: format!("{:?}", violation.oracle),
            line: violation.line,
            detail: violation.detail.clone(),
        }
    }
}

/// Prints a script and the end of what happens in it.
pub(super) fn tell(script: &Script, path: &Path, report: &Report) {
    let text = script.to_string();
    text.lines().for_each(|line| report.line(format_args!("    {line}")));
    report.line(format_args!("  replay: holdfast sim replay {}", path.display()));
    let (_, story) = narrate(script);
    report.line("  what happened last:");
    last_lines(&story, LAST_LINES, report);
}

/// Prints the last lines of a timeline.
pub(super) fn last_lines(story: &[String], most: usize, report: &Report) {
    let left_out = story.len().saturating_sub(most);
    if left_out > 0 {
        report.line(format_args!("    … {left_out} lines before"));
    }
    story[left_out..].iter().for_each(|line| report.line(format_args!("    {line}")));
}
