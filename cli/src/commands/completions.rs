//! `holdfast completions`: a script that teaches a shell the verbs and flags.

use std::io::{self, ErrorKind, Write};

use clap::CommandFactory;

use crate::args::Cli;
use crate::exit::{Exit, Failure, Outcome};

/// Prints the script.
pub(super) fn run(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    let mut out = io::stdout().lock();
    match out.write_all(&script).and_then(|()| out.flush()) {
        // A closed pipe is nobody's loss.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("the script cannot be written: {error}")))
        }
        _ => Ok(Exit::Good),
    }
}
