//! `holdfast sim table`: the fault model as tables, filled in by running the engine, beside what
//! the model says.

use holdfast_raid::integrity::Scheme;
use holdfast_sim::table::faults::{self, COLUMNS, Seen};
use holdfast_sim::table::schemes::{self, Partial, expected};
use serde::Serialize;

use super::{count, exit};
use crate::config::SimTable;
use crate::exit::Outcome;
use crate::report::Report;
use crate::table::lay_out;

#[derive(Debug, Serialize)]
struct Answer {
    agrees: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultCell>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemes: Option<Vec<SchemeCell>>,
}

#[derive(Debug, Serialize)]
struct FaultCell {
    fault: &'static str,
    column: &'static str,
    expected: String,
    seen: String,
}

#[derive(Debug, Serialize)]
struct SchemeCell {
    scheme: &'static str,
    fault: &'static str,
    expected: String,
    seen: String,
    runs: u64,
    silent: u64,
    failed: u64,
}

/// Fills the tables in and compares.
pub(super) fn run(config: &SimTable, report: &Report) -> Outcome {
    let faults = config.faults.then(faults::fill);
    let schemes = config.schemes.then(|| schemes::fill(1));
    let mut differences = 0;
    if let Some(cells) = &faults {
        report.line("each level, one fault:");
        fault_lines(cells).iter().for_each(|line| report.line(line));
        differences += cells.iter().filter(|cell| cell.seen != cell.expected).count();
    }
    if let Some(cells) = &schemes {
        let runs = count(cells.iter().map(|cell| cell.runs).sum(), "run");
        if faults.is_some() {
            report.line("");
        }
        report.line(format!("raid5 of 3 under each integrity scheme, one partial fault, {runs}:"));
        scheme_lines(cells).iter().for_each(|line| report.line(line));
        differences += cells.iter().filter(|cell| !cell.agrees()).count();
    }
    report.line("");
    report.line(match differences {
        0 => "every cell is what the fault model says".to_owned(),
        some => format!("{} not what the fault model says", is_or_are(some)),
    });
    report.answer(&Answer {
        agrees: differences == 0,
        faults: faults.map(|cells| cells.iter().map(FaultCell::from).collect()),
        schemes: schemes.map(|cells| cells.iter().map(SchemeCell::from).collect()),
    });
    Ok(exit(differences == 0))
}

fn is_or_are(cells: usize) -> String {
    let verb = if cells == 1 { "is" } else { "are" };
    format!("{} {verb}", count(cells as u64, "cell"))
}

/// What was seen, and, where that differs, what the model says.
fn beside(seen: &dyn std::fmt::Display, expected: &dyn std::fmt::Display, same: bool) -> String {
    if same { seen.to_string() } else { format!("{seen} (not {expected}!)") }
}

fn fault_lines(cells: &[faults::Cell]) -> Vec<String> {
    let heading = std::iter::once("").chain(COLUMNS.iter().map(|column| column.name));
    let mut rows = vec![heading.map(str::to_owned).collect()];
    for row in cells.chunks(COLUMNS.len()) {
        let cell =
            |cell: &faults::Cell| beside(&cell.seen, &cell.expected, cell.seen == cell.expected);
        rows.push(std::iter::once(row[0].fault.to_owned()).chain(row.iter().map(cell)).collect());
    }
    let mut lines = lay_out(&rows);
    if cells.iter().any(|cell| cell.seen == Seen::Later) {
        lines.push("later: needs a journal or a partial parity log, which do not exist yet".into());
    }
    lines
}

fn scheme_lines(cells: &[schemes::Cell]) -> Vec<String> {
    let heading = std::iter::once("").chain(Partial::ALL.map(Partial::name));
    let mut rows = vec![heading.map(str::to_owned).collect()];
    for row in cells.chunks(Partial::ALL.len()) {
        let cell = |cell: &schemes::Cell| {
            let expected = expected(cell.scheme, cell.fault);
            beside(&cell.verdict(), &expected, cell.agrees())
        };
        let name = Scheme::name(row[0].scheme).to_owned();
        rows.push(std::iter::once(name).chain(row.iter().map(cell)).collect());
    }
    lay_out(&rows)
}

impl From<&faults::Cell> for FaultCell {
    fn from(cell: &faults::Cell) -> Self {
        let (fault, column) = (cell.fault, cell.column);
        let (expected, seen) = (cell.expected.to_string(), cell.seen.to_string());
        Self { fault, column, expected, seen }
    }
}

impl From<&schemes::Cell> for SchemeCell {
    fn from(cell: &schemes::Cell) -> Self {
        Self {
            scheme: cell.scheme.name(),
            fault: cell.fault.name(),
            expected: expected(cell.scheme, cell.fault).to_string(),
            seen: cell.verdict().to_string(),
            runs: cell.runs,
            silent: cell.silent,
            failed: cell.failed,
        }
    }
}
