//! `holdfast man`: the manual as pages for man(1), one a verb.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;

/// Writes the pages.
pub(super) fn run(directory: &Path, report: &Report) -> Outcome {
    let failed = |error| Failure::error(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    let path = directory.join("holdfast.1");
    report.line(format_args!("man {}", path.display()));
    report.answer(&serde_json::json!({ "first": path }));
    Ok(Exit::Good)
}
