//! `holdfast sim replay`: carries a script out again, and tells what happens.

use holdfast_sim::run::narrate;
use serde::Serialize;

use super::story::{self, Broken, LAST_LINES};
use super::{count, exit, read_script};
use crate::config::SimReplay;
use crate::exit::Outcome;
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    violation: Option<Broken>,
    disk_answers: u64,
    /// The history as a number, in hexadecimal.
    history: String,
    timeline: Vec<String>,
}

/// Replays.
pub(super) fn run(config: &SimReplay, report: &Report) -> Outcome {
    let script = read_script(&config.trace)?;
    let (verdict, timeline) = narrate(&script);
    let clean = verdict.is_ok();
    if config.timeline {
        story::last_lines(&timeline, usize::MAX, report);
    } else if !clean {
        story::last_lines(&timeline, LAST_LINES, report);
    }
    let history = format!("{:016x}", verdict.hash);
    let steps = count(verdict.steps, "answer");
    report.line(match &verdict.violation {
        None => format!("every promise kept; {steps} of disks, history {history}"),
        Some(violation) => format!("{violation}\n{steps} of disks, history {history}"),
    });
    report.answer(&Answer {
        clean,
        violation: verdict.violation.as_ref().map(Broken::from),
        disk_answers: verdict.steps,
        history,
        timeline: if config.timeline || !clean { timeline } else { Vec::new() },
    });
    Ok(exit(clean))
}
