//! `holdfast bench`: measuring, one file per question.

mod ostep;
mod parity;
mod stripe;

use std::io::{self, Write};

use crate::config::Stream;
use crate::config::bench::Bench;
use crate::exit::{Failure, Outcome};
use crate::report::Report;

/// Writes all of a text to where somebody wants it; a reader who has seen enough is no error.
fn write_out(stream: &Stream, text: &str) -> Result<(), Failure> {
    let (name, result) = match stream {
        Stream::Standard => ("standard output".to_owned(), io::stdout().write_all(text.as_bytes())),
        Stream::File(path) => (path.display().to_string(), std::fs::write(path, text)),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("{name}: cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Measures what was asked for.
pub(super) fn run(config: &Bench, report: &Report) -> Outcome {
    match config {
        Bench::Stripe(config) => stripe::run(config, report),
        Bench::Parity(config) => parity::run(config, report),
        Bench::Ostep(config) => ostep::run(config, report),
    }
}
