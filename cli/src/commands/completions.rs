//! `holdfast completions`: a script that teaches a shell the verbs and flags.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Exit, Outcome};

/// Prints the script.
pub(super) fn run(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    // A closed pipe is nobody's loss.
    let _ = io::stdout().write_all(&script);
    Ok(Exit::Good)
}
