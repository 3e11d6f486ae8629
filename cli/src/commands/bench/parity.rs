//! `holdfast bench parity`: how fast is parity here?
//!
//! Every engine this CPU has carries out every operation asked for, all engines of a shape in turns
//! on the same blocks. Beside them stands how fast one core can read from each level of the memory,
//! measured in between. Ctrl-C ends the measuring and tells what there is.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use holdfast_benches::parity::{Reading, Row};
use holdfast_core::size::Human;
use holdfast_host::interrupt::Interrupt;
use holdfast_raid::parity::engine;
use serde::Serialize;

use super::write_out;
use crate::config::Stream;
use crate::config::bench::Parity;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::row;
use crate::table;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// The engine that arrays use here.
    chosen: &'static str,
    limits: Reading,
    /// Bytes of stripes each thread went round in; 0: one stripe, over and over.
    pool_bytes: usize,
    rounds: usize,
    /// Whether everything was measured.
    complete: bool,
    rows: &'a [Row],
}

/// How often the line of progress is drawn anew.
const REDRAWN: Duration = Duration::from_millis(200);

/// Measures and tells.
pub(super) fn run(config: &Parity, report: &Report) -> Outcome {
    let interrupt = Interrupt::listen()
        .map_err(|error| Failure::error(format!("cannot listen for Ctrl-C: {error}")))?;
    if matches!(config.csv, Some(Stream::Standard)) {
        report.step_aside();
    }
    let (mut rows, mut done, mut drawn) = (Vec::new(), 0, Instant::now());
    let all = config.sweep.cells();
    let (limits, complete) = config.sweep.run(&|| !interrupt.is_raised(), &mut |cell| {
        done += 1;
        if report.is_watched() && drawn.elapsed() >= REDRAWN {
            drawn = Instant::now();
            let op = cell.first().map_or("", |row| row.op);
            let _ = write!(io::stderr(), "\r\x1b[K{done} of {all}: {op}");
        }
        rows.extend(cell);
    });
    if report.is_watched() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let limits = Reading::from(&limits);
    tell(config, &limits, &rows, report);
    if let Some(stream) = &config.csv {
        write_out(stream, &csv(&limits, &rows))?;
    }
    report.answer(&Answer {
        chosen: engine().name(),
        limits,
        pool_bytes: config.sweep.pool_bytes,
        rounds: config.sweep.pace.rounds,
        complete,
        rows: &rows,
    });
    if !complete {
        return Err(Failure::error(format!("stopped after {done} of {all} combinations")));
    }
    Ok(Exit::Good)
}

/// A table per operation: a line per engine, block size and threads, a column per member count.
fn tell(config: &Parity, limits: &Reading, rows: &[Row], report: &Report) {
    let chosen = engine().name();
    report.line(format_args!("arrays use {chosen}; GB/s of source data, the best of each cell"));
    report.line(format_args!(
        "one core reads from L1 {:.0}, L2 {:.0}, L3 {:.0}, memory {:.1} GB/s",
        limits.l1_read_gb_per_s,
        limits.l2_read_gb_per_s,
        limits.l3_read_gb_per_s,
        limits.dram_read_gb_per_s
    ));
    for op in &config.sweep.ops {
        let mut lines = vec![row![op.name(), "engine", "threads"]];
        lines[0].extend(config.sweep.members.iter().map(|members| format!("N={members}")));
        for &block in &config.sweep.blocks_bytes {
            for engine in &config.sweep.engines {
                for &threads in &config.sweep.threads {
                    let of = |row: &&Row| {
                        (row.op, row.block_bytes, row.engine, row.threads)
                            == (op.name(), block, engine.name(), threads)
                    };
                    let mut line = row![Human(block as u64), engine.name(), threads];
                    line.extend(rows.iter().filter(of).map(|row| format!("{:.1}", row.gb_per_s)));
                    // What was not measured has no line.
                    if line.len() > 3 {
                        lines.push(line);
                    }
                }
            }
        }
        if lines.len() > 1 {
            report.line("");
            table::lay_out(&lines).into_iter().for_each(|line| report.line(line));
        }
    }
}

fn csv(limits: &Reading, rows: &[Row]) -> String {
    let mut text = "engine,op,members,block_bytes,threads,gb_per_s,median_gb_per_s,level,\
                    level_read_gb_per_s\n"
        .to_owned();
    for row in rows {
        let limit = match row.level {
            "L1" => limits.l1_read_gb_per_s,
            "L2" => limits.l2_read_gb_per_s,
            "L3" => limits.l3_read_gb_per_s,
            _ => limits.dram_read_gb_per_s,
        };
        let fields = row![
            row.engine,
            row.op,
            row.members,
            row.block_bytes,
            row.threads,
            row.gb_per_s,
            row.median_gb_per_s,
            row.level,
            limit
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}
