//! What the suite prints: a line per case as it ends, the reasons of those that failed, and a
//! table.

use std::path::PathBuf;
use std::time::Duration;

use crate::matrix::{Case, Direction, SHAPES, Shape};

#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Passed,
    /// Why it could not be tried.
    Skipped(String),
    /// What went wrong, many lines perhaps.
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) case: Case,
    pub(crate) verdict: Verdict,
    pub(crate) spent: Duration,
    /// Where the images of a failed case are, if they were kept.
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) fn line(report: &Report, done: usize, total: usize, full: bool) {
    let name = report.case.name();
    let seconds = report.spent.as_secs_f64();
    let width = total.to_string().len();
    let word = match report.verdict {
        Verdict::Passed => "ok",
        Verdict::Skipped(_) => "skipped",
        Verdict::Failed(_) => "FAILED",
    };
    println!("{done:width$}/{total} {word:7} {seconds:5.1} s  {name}");
    match &report.verdict {
        Verdict::Passed => {}
        Verdict::Skipped(why) => println!("    {why}"),
        Verdict::Failed(why) => {
            why.lines().for_each(|line| println!("    {line}"));
            if let Some(dir) = &report.dir {
                println!("    images: {}", dir.display());
            }
            let full = if full { "--full " } else { "" };
            println!(
                "    again:  cargo test -p holdfast-cli --test interop -- {full}--only {name}"
            );
        }
    }
}

/// The table; whether all is well.
pub(crate) fn print(reports: &[Report], took: Duration) -> bool {
    let widest = SHAPES.iter().map(|shape| shape.to_string().len()).max().unwrap_or(0);
    println!("\n{:widest$}  {:>14}  {:>14}  {:>8}", "array", "to kernel", "from kernel", "time");
    for shape in SHAPES {
        let of_shape = || reports.iter().filter(|report| std::ptr::eq(report.case.shape, shape));
        if of_shape().next().is_none() {
            continue;
        }
        let [to, from] = Direction::ALL
            .map(|direction| tally(of_shape().filter(|report| report.case.direction == direction)));
        let time: Duration = of_shape().map(|report| report.spent).sum();
        let name = Shape::to_string(shape);
        println!("{name:widest$}  {to:>14}  {from:>14}  {:6.1} s", time.as_secs_f64());
    }
    let failed: Vec<_> =
        reports.iter().filter(|report| matches!(report.verdict, Verdict::Failed(_))).collect();
    println!("\n{} in {:.0} s", tally(reports.iter()), took.as_secs_f64());
    for report in &failed {
        println!("FAILED {}", report.case.name());
    }
    failed.is_empty()
}

fn tally<'a>(reports: impl Iterator<Item = &'a Report>) -> String {
    let (mut ok, mut skipped, mut failed) = (0, 0, 0);
    for report in reports {
        match report.verdict {
            Verdict::Passed => ok += 1,
            Verdict::Skipped(_) => skipped += 1,
            Verdict::Failed(_) => failed += 1,
        }
    }
    let counts = [(failed, "FAILED"), (ok, "ok"), (skipped, "skipped")];
    let said: Vec<_> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if said.is_empty() { "-".to_owned() } else { said.join(", ") }
}
