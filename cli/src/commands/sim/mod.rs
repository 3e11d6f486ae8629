//! `holdfast sim`: the simulator, one file a verb.
//!
//! The verbs share a [`story`] (how a violation is told), a [`summary`] (what a campaign came to), a
//! [`ticker`] (the line that grows) and a [`part`] (a shard's result as a file).
//! What is judged and how is the business of `holdfast_sim`; here it is only asked and told.

mod arena;
mod coverage;
mod hunt;
mod merge;
mod mutants;
mod part;
mod replay;
mod run;
mod shrink;
mod story;
mod summary;
mod table;
mod ticker;

use std::fs;
use std::path::Path;

use holdfast_sim::fabric::Maps;
use holdfast_sim::net::campaign::Bonds;
use holdfast_sim::script::Script;

use crate::config::Sim;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::text;

/// Does what was asked of the simulator.
pub(super) fn run(config: &Sim, report: &Report) -> Outcome {
    // A panic of the engine is a violation and told as one, with the rest of its story.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = match config {
        Sim::Run(config) => run::run(config, report),
        Sim::Replay(config) => replay::run(config, report),
        Sim::Shrink(config) => shrink::run(config, report),
        Sim::Table(config) => table::run(config, report),
        Sim::Merge(config) => merge::run(config, report),
        Sim::Mutants(config) if config.list => mutants::list(report),
        Sim::Mutants(config) => mutants::run(config, report),
        Sim::Coverage(config) => coverage::run(config, report),
        Sim::Bond(config) => arena::run::<Bonds>("bond", config, report),
        Sim::Multipath(config) => arena::run::<Maps>("multipath", config, report),
    };
    let _ = std::panic::take_hook();
    outcome
}

/// A file of text, put in place at once: whoever looks sees all of it or nothing.
fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|error| Failure::error(format!("{}: {error}", path.display())))
}

/// The script in a file, if an array can be made of it.
fn read_script(path: &Path) -> Result<Script, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::error(format!("{}: {what}", path.display()))
            .hint("docs/simulator.md describes scripts")
    };
    let script: Script = text::read(path)?.parse().map_err(|error| wrong(&error))?;
    script.check().map_err(|error| wrong(&error))?;
    Ok(script)
}

/// What the shell hears of a run that kept its promises, or did not.
const fn exit(clean: bool) -> Exit {
    if clean { Exit::Good } else { Exit::Differs }
}

/// The words of a count: `1 seed`, `12,345 seeds`.
fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A number as people read it: `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(count(1, "seed"), "1 seed");
        assert_eq!(count(2000, "seed"), "2,000 seeds");
    }
}
