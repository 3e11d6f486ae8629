//! `holdfast bench`: measuring, one file per question.

mod ostep;
mod stripe;

use crate::config::bench::Bench;
use crate::exit::Outcome;
use crate::report::Report;

/// Measures what was asked for.
pub(super) fn run(config: &Bench, report: &Report) -> Outcome {
    match config {
        Bench::Stripe(config) => stripe::run(config, report),
        Bench::Ostep(config) => ostep::run(config, report),
    }
}
