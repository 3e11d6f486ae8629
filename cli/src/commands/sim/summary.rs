//! What a campaign came to, for people: a line, and what its runs have been through.

use holdfast_sim::campaign::Summary;
use holdfast_sim::run::Mark;

use super::{count, thousands};
use crate::report::Report;

/// Says it.
pub(super) fn say(summary: &Summary, report: &Report) {
    let failed = summary.failures.len() as u64;
    report.line(format_args!(
        "{}, {} of disks, history {:016x}: {}",
        count(summary.seeds, "seed"),
        count(summary.steps, "answer"),
        summary.hash,
        if failed == 0 { "every promise kept".to_owned() } else { count(failed, "failure") },
    ));
    let counts = Mark::ALL.map(|mark| (thousands(summary.marks.count(mark)), mark.text()));
    let width = counts.iter().map(|(count, _)| count.len()).max().unwrap_or(0);
    for (count, text) in counts {
        report.line(format_args!("  {count:>width$}  {text}"));
    }
}
