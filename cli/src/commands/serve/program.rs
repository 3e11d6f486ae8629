//! `--on-event PROGRAM`: run at every event, as mdadm's monitor runs its program:
//! `PROGRAM EVENT ARRAY [MEMBER]`, one run at a time, in the order of the events.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::aside::Aside;
use crate::control::protocol::Told;

/// Runs the program.
#[derive(Debug)]
pub(super) struct Program(Aside<Told>);

impl Program {
    /// Nothing has happened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Aside::new(move |told| run(&path, &told)))
    }

    /// Runs it, after the runs before.
    pub(super) fn tell(&self, told: &Told) {
        if !self.0.take(told.clone()) {
            eprintln!("holdfast: {} is not told: too many events wait for the program", told.event);
        }
    }

    /// Lets it hear the rest, for so long.
    pub(super) fn finish(self, patience: Duration) {
        self.0.finish(patience);
    }
}

fn run(path: &Path, told: &Told) {
    let mut command = Command::new(path);
    command.arg(&told.event).arg(&told.array).args(&told.member);
    // Standard output may carry this process's own answer.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if let Err(error) = command.status() {
        eprintln!("holdfast: {}: {} is not told: {error}", path.display(), told.event);
    }
}
