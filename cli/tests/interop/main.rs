//! The Linux kernel as judge: every level and layout, made by holdfast and taken by the kernel, and
//! the other way round.
//!
//! ```text
//! cargo test -p holdfast-cli --test interop -- [--list] [--full] [--shard I/N] [--only WORDS]
//!                                              [--machine qemu|uml] [--jobs N] [--work DIR]
//!                                              [--keep DIR]
//! ```
//!
//! The kernel is Debian's own and runs in an emulated machine, or, many times as fast, as a process
//! (`vm`, `setup`, `guest/`), many arrays per boot. Which arrays there are says `matrix`; what is written to them `content`; how a
//! case goes `trial`, with `to_kernel` and `from_kernel` for the two directions. On a machine that
//! cannot provide the emulator the suite prints why and passes, unless `HOLDFAST_NO_SKIP` is set.

mod content;
mod course;
mod from_kernel;
mod guest;
mod holdfast;
mod matrix;
mod options;
mod programs;
mod run;
mod shelf;
mod summary;
mod to_kernel;
mod trial;
mod vm;

use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use crate::options::Options;
use crate::vm::{Machine, Unavailable};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "guest") {
        return guest::main(&args[1..]);
    }
    let options = match Options::parse(&args) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("interop: {wrong}\n{}", options::USAGE);
            return ExitCode::from(64);
        }
    };
    let cases: Vec<_> = matrix::cases(options.full)
        .into_iter()
        .enumerate()
        .filter(|(number, case)| options.wants(*number, &case.name()))
        .map(|(_, case)| case)
        .collect();
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name()));
        println!("{} cases", cases.len());
        return ExitCode::SUCCESS;
    }
    let tmp = options.work.as_deref().unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")));
    let work = tmp.join("interop");
    let lock = File::create(work.with_extension("lock"));
    if !lock.as_ref().is_ok_and(|lock| lock.try_lock().is_ok()) {
        eprintln!("interop: {} is in use by another run", work.display());
        return ExitCode::FAILURE;
    }
    // what an earlier run left; its failures were reported then
    let _ = fs::remove_dir_all(&work);
    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/guest/steps.sh");
    let Ok(program) = std::env::current_exe() else {
        eprintln!("interop: this program cannot find itself");
        return ExitCode::FAILURE;
    };
    let machine = match Machine::prepare(options.machine, &work, &steps, &program) {
        Ok(machine) => machine,
        Err(Unavailable::Cannot(why)) => {
            println!("skipped: {why}");
            let must = std::env::var_os("HOLDFAST_NO_SKIP").is_some_and(|value| !value.is_empty());
            return if must { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        Err(Unavailable::Broken(why)) => {
            eprintln!("interop: {why}");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    let reports = run::all(&machine, &work, &options, cases);
    if summary::print(&reports, start.elapsed()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
