//! `holdfast bench ostep`: the RAID homework of *Operating Systems: Three Easy Pieces*.
//!
//! Options, problems and answers are those of the book's simulator, so a course can use either.
//! Without `--compute` one side of each problem is left to the student; JSON always has both.

use holdfast_benches::ostep::{BLOCK_BYTES, DiskTally, Logical, Physical, ProblemError, Step};
use serde::Serialize;

use crate::config::bench::Ostep;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::row;
use crate::table;

#[derive(Debug, Serialize)]
struct Answer {
    block_bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    requests: Vec<Step>,
    disks: Vec<DiskTally>,
    total_ms: f64,
}

/// Poses the problem, or solves it.
pub(super) fn run(config: &Ostep, report: &Report) -> Outcome {
    let failed = |error: ProblemError| Failure::error(error.to_string());
    let mut solver = config.problem.solve().map_err(failed)?;
    let mut requests = Vec::new();
    for step in &mut solver {
        let step = step.map_err(failed)?;
        if !config.timing {
            pose(config, &step, report);
        }
        if report.is_json() && !config.timing {
            requests.push(step);
        }
    }
    let (disks, total_ms) = (solver.tallies().collect::<Vec<_>>(), solver.total_ms());
    match (config.timing, config.compute) {
        (true, true) => show_times(&disks, total_ms, report),
        (true, false) => {
            report.line("How long do the requests take?");
            report.line("- How many accesses does each disk serve?");
            report.line("- How many of them are random, how many sequential?");
        }
        (false, _) => {}
    }
    report.answer(&Answer { block_bytes: BLOCK_BYTES, requests, disks, total_ms });
    Ok(Exit::Good)
}

fn pose(config: &Ostep, step: &Step, report: &Report) {
    let Logical { write, address, blocks } = step.logical;
    let bytes = blocks * BLOCK_BYTES;
    if config.reverse && !config.compute {
        report.line("LOGICAL OPERATION is ?");
    } else if write {
        report.line(format_args!("LOGICAL WRITE to  addr:{address} size:{bytes}"));
    } else {
        report.line(format_args!("LOGICAL READ from addr:{address} size:{bytes}"));
    }
    if config.reverse || config.compute {
        for phase in &step.phases {
            report.line(phase.iter().map(access).collect::<Vec<_>>().join("  "));
        }
    } else {
        report.line("  Physical reads/writes?");
    }
    report.line("");
}

fn access(access: &Physical) -> String {
    let verb = if access.write { "write" } else { "read " };
    format!("  {verb} [disk {}, offset {}]", access.disk, access.offset)
}

fn show_times(disks: &[DiskTally], total_ms: f64, report: &Report) {
    let mut rows = vec![row!["disk", "busy", "I/Os", "sequential", "nearly", "random"]];
    for (index, disk) in disks.iter().enumerate() {
        let busy = if total_ms > 0.0 { disk.busy_ms * 100.0 / total_ms } else { 0.0 };
        rows.push(row![
            index,
            format!("{busy:.2} %"),
            disk.ios,
            disk.sequential,
            disk.nearly,
            disk.random
        ]);
    }
    table::lay_out(&rows).into_iter().for_each(|line| report.line(line));
    report.line("");
    report.line(format_args!("total time {total_ms:.1} ms"));
}
