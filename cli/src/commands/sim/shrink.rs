//! `holdfast sim shrink`: makes a failing script as small as it can be.

use holdfast_sim::run;
use holdfast_sim::script::Script;
use holdfast_sim::shrink::shrink;
use serde::Serialize;

use super::story::Broken;
use super::{count, exit, read_script, write_text};
use crate::config::{SimShrink, Stream};
use crate::exit::Outcome;
use crate::report::Report;

#[derive(Debug, Serialize)]
struct Answer {
    clean: bool,
    violation: Option<Broken>,
    lines_before: usize,
    lines: usize,
    script: String,
}

/// Shrinks.
pub(super) fn run(config: &SimShrink, report: &Report) -> Outcome {
    let script = read_script(&config.trace)?;
    let small = shrink(&script, config.budget);
    let violation = run::run(&small).violation;
    let answer = Answer {
        clean: violation.is_none(),
        violation: violation.as_ref().map(Broken::from),
        lines_before: script.lines.len(),
        lines: small.lines.len(),
        script: small.to_string(),
    };
    say(&answer, &script, config, report)?;
    if let Some(violation) = &violation {
        report.note(violation);
    }
    report.answer(&answer);
    Ok(exit(answer.clean))
}

fn say(
    answer: &Answer,
    script: &Script,
    config: &SimShrink,
    report: &Report,
) -> Result<(), crate::exit::Failure> {
    if answer.clean {
        report.line("every promise kept: there is nothing to shrink");
        return Ok(());
    }
    match &config.output {
        Stream::Standard => answer.script.lines().for_each(|line| report.line(line)),
        Stream::File(path) => {
            write_text(path, &answer.script)?;
            let lines = count(answer.lines as u64, "event");
            let (path, before) = (path.display(), script.lines.len());
            report.line(format_args!("{path}: {lines} of {before}"));
        }
    }
    Ok(())
}
