//! `holdfast sim table`: the fault model as tables, filled in by running the engine, beside what
//! the model says.

use holdfast_raid::integrity::Scheme;
use holdfast_sim::table::faults::{self, COLUMNS, Seen};
use holdfast_sim::table::schemes::{self, Partial, expected};
use holdfast_sim::table::{images, losses};
use serde::Serialize;

use super::{count, exit};
use crate::config::SimTable;
use crate::exit::{Failure, Outcome};
use crate::report::Report;
use crate::table::lay_out;

#[derive(Debug, Default, Serialize)]
struct Answer {
    agrees: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultCell>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemes: Option<Vec<SchemeCell>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<Vec<LossCell>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Vec<ImageRow>>,
}

#[derive(Debug, Serialize)]
struct LossCell {
    array: &'static str,
    lost: u32,
    sets: u32,
    fatal: u32,
    expected: u32,
}

#[derive(Debug, Serialize)]
struct ImageRow {
    what: &'static str,
    seen: Counted,
    expected: Counted,
}

#[derive(Debug, Serialize)]
struct Counted {
    images: usize,
    consistent: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<usize>,
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
    let mut answer = Answer::default();
    let mut differences = 0;
    let mut say = |title: String, lines: Vec<String>, different: usize| {
        report.line(title);
        lines.iter().for_each(|line| report.line(line));
        report.line("");
        differences += different;
    };
    if config.faults {
        let cells = faults::fill();
        let different = cells.iter().filter(|cell| cell.seen != cell.expected).count();
        say("each level, one fault:".to_owned(), fault_lines(&cells), different);
        answer.faults = Some(cells.iter().map(FaultCell::from).collect());
    }
    if config.schemes {
        let cells = schemes::fill(1);
        let runs = count(cells.iter().map(|cell| cell.runs).sum(), "run");
        let different = cells.iter().filter(|cell| !cell.agrees()).count();
        let title = format!("raid5 of 3 under each integrity scheme, one partial fault, {runs}:");
        say(title, scheme_lines(&cells), different);
        answer.schemes = Some(cells.iter().map(SchemeCell::from).collect());
    }
    if config.losses {
        let cells = losses::fill();
        let different = cells.iter().filter(|cell| cell.fatal != cell.expected).count();
        let title = "eight disks, of all sets of so many lost those that take data with them:";
        say(title.to_owned(), loss_lines(&cells), different);
        answer.losses = Some(cells.iter().map(LossCell::from).collect());
    }
    if config.images {
        let rows = images::fill().map_err(Failure::error)?;
        let different = rows.iter().filter(|row| row.seen != row.expected).count();
        let title = "what a power cut can leave of a write that is not flushed:";
        say(title.to_owned(), image_lines(&rows), different);
        answer.images = Some(rows.iter().map(ImageRow::from).collect());
    }
    report.line(match differences {
        0 => "every cell is what the fault model says".to_owned(),
        some => format!("{} not what the fault model says", is_or_are(some)),
    });
    answer.agrees = differences == 0;
    report.answer(&answer);
    Ok(exit(answer.agrees))
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
        lines.push("later: needs a journal, which does not exist yet".into());
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

fn loss_lines(cells: &[losses::Cell]) -> Vec<String> {
    let row_length = cells.iter().filter(|cell| cell.array == cells[0].array).count();
    let heading = cells[..row_length].iter().map(|cell| format!("{} lost", cell.lost));
    let mut rows = vec![std::iter::once(String::new()).chain(heading).collect()];
    for row in cells.chunks(row_length) {
        let cell = |cell: &losses::Cell| {
            let of = |fatal: u32| format!("{fatal} of {}", cell.sets);
            beside(&of(cell.fatal), &of(cell.expected), cell.fatal == cell.expected)
        };
        rows.push(std::iter::once(row[0].array.to_owned()).chain(row.iter().map(cell)).collect());
    }
    lay_out(&rows)
}

fn image_lines(rows: &[images::Row]) -> Vec<String> {
    let wrong = |wrong: Option<usize>| wrong.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let mut lines = vec![
        ["in flight", "images", "consistent", "untouched chunk wrong", "with a journal"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for images::Row { what, seen, expected } in rows {
        let cell = |seen: String, expected: String| {
            let same = seen == expected;
            beside(&seen, &expected, same)
        };
        let later = if seen.wrong.is_some() { "later" } else { "-" };
        lines.push(vec![
            (*what).to_owned(),
            cell(seen.images.to_string(), expected.images.to_string()),
            cell(seen.consistent.to_string(), expected.consistent.to_string()),
            cell(wrong(seen.wrong), wrong(expected.wrong)),
            later.to_owned(),
        ]);
    }
    lay_out(&lines)
}

impl From<&losses::Cell> for LossCell {
    fn from(cell: &losses::Cell) -> Self {
        let losses::Cell { array, lost, sets, fatal, expected } = *cell;
        Self { array, lost, sets, fatal, expected }
    }
}

impl From<&images::Row> for ImageRow {
    fn from(row: &images::Row) -> Self {
        let counted = |counts: images::Counts| {
            let images::Counts { images, consistent, wrong } = counts;
            Counted { images, consistent, wrong }
        };
        Self { what: row.what, seen: counted(row.seen), expected: counted(row.expected) }
    }
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
