//! Parity, side by side with the fastest code there is for it: ISA-L, loaded at run time, and the
//! crate `rusty_erasure`. All run in turns, on the same blocks, and a ratio is the median over
//! rounds.
//!
//! `cargo bench -p holdfast-benches --bench parity`; with `-- --test` everything runs once, tiny.
//! Debian's ISA-L is used where it is installed, and every other version whose path
//! `HOLDFAST_ISAL` gives (several with colons between them). `HOLDFAST_PARITY` forces our engine.
//!
//! Fails if a peer's answer differs from ours, or if a kernel beats the limit of reading by more
//! than a tenth: one of the two measurements would be wrong.

mod isal;
mod rebuild;
mod report;
mod rusty;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use holdfast_benches::parity::{Cell, Contestant, Limits, Op, Ours, Pace, contest};
use holdfast_benches::rounds::smoke;
use holdfast_raid::parity::{engine, engines};

use report::Report;

/// How much to do.
struct Scale {
    pace: Pace,
    members: &'static [usize],
    block_bytes: &'static [usize],
    pool_bytes: usize,
    smoke: bool,
}

impl Scale {
    fn chosen() -> Self {
        if smoke() {
            let (members, block_bytes) = (&[4, 8], &[4 << 10]);
            return Self {
                pace: Pace::SMOKE,
                members,
                block_bytes,
                pool_bytes: 1 << 20,
                smoke: true,
            };
        }
        Self {
            pace: Pace { rounds: 21, turn: Duration::from_micros(400) },
            members: &[4, 6, 8, 10, 16],
            block_bytes: &[4 << 10, 16 << 10, 64 << 10, 512 << 10, 1 << 20],
            pool_bytes: 3 << 29,
            smoke: false,
        }
    }
}

/// Our engine, and our AVX2 if that is another: peers have AVX2 only.
fn ours() -> Vec<Ours> {
    let mut ours = vec![Ours::cached(engine())];
    if engine().name().starts_with("avx512") {
        let avx2 = engines().find(|engine| engine.name().starts_with("avx2"));
        ours.extend(avx2.map(Ours::cached));
    }
    ours
}

fn main() -> ExitCode {
    let scale = Scale::chosen();
    let ours = ours();
    let (isals, notices) = isal::load_all();
    for notice in notices {
        println!("skipped: {notice}");
    }
    let (rusty, streamed) = (rusty::Rusty, Ours::streamed(engine()));
    let mut contestants: Vec<&dyn Contestant> = Vec::new();
    contestants.extend(ours.iter().map(|ours| ours as &dyn Contestant));
    contestants.extend(isals.iter().map(|isal| isal as &dyn Contestant));
    contestants.push(&rusty);
    for contestant in contestants.iter().chain([&(&streamed as &dyn Contestant)]) {
        verify::all(*contestant);
    }

    let mut limits = Limits::measure(scale.smoke);
    let mut report = Report::new(contestants.iter().map(|c| c.name().to_owned()).collect());
    for op in Op::ALL {
        for &block_bytes in scale.block_bytes {
            for &members in scale.members {
                let cell = Cell { op, members, block_bytes, threads: 1, pool_bytes: 0 };
                report.add(cell, contest(&contestants, cell, scale.pace));
            }
        }
        limits.again(scale.smoke);
    }
    // Nothing cold is read again soon.
    contestants[0] = &streamed;
    for op in [Op::XorGen, Op::PqGen] {
        for &members in scale.members {
            let block_bytes = *scale.block_bytes.get(2).unwrap_or(&4096);
            let pool_bytes = scale.pool_bytes;
            let cell = Cell { op, members, block_bytes, threads: 1, pool_bytes };
            report.add(cell, contest(&contestants, cell, scale.pace));
        }
    }
    contestants[0] = &ours[0];
    for op in [Op::XorGen, Op::PqGen, Op::Rec2Data, Op::PqCheck] {
        for &block_bytes in scale.block_bytes.iter().take(3) {
            let cell = Cell { op, members: 8, block_bytes, threads: 2, pool_bytes: 0 };
            report.add(cell, contest(&contestants, cell, scale.pace));
        }
    }
    limits.again(scale.smoke);
    report.print(&limits);
    // One round of no length measures nothing.
    let impossible = if scale.smoke { Vec::new() } else { report.beyond(&limits) };
    for line in &impossible {
        eprintln!("impossible: {line}");
    }
    if impossible.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
