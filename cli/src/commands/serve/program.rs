//! `--on-event PROGRAM`: run at every event, as mdadm's monitor runs its program:
//! `PROGRAM EVENT ARRAY [MEMBER]`, one run at a time, in the order of the events.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use crate::control::protocol::Told;

/// Events that may wait for the program; what is beyond is not told.
const MOST_WAITING: usize = 1024;

/// A thread that runs the program; the serving thread never waits for it.
#[derive(Debug)]
pub(super) struct Program {
    events: SyncSender<Told>,
    done: Receiver<()>,
}

impl Program {
    /// Nothing has happened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let (events, to_tell) = mpsc::sync_channel::<Told>(MOST_WAITING);
        let (ended, done) = mpsc::channel();
        thread::spawn(move || {
            to_tell.into_iter().for_each(|told| run(&path, &told));
            let _ = ended.send(());
        });
        Self { events, done }
    }

    /// Runs it, after the runs before.
    pub(super) fn tell(&self, told: &Told) {
        if self.events.try_send(told.clone()).is_err() {
            eprintln!("holdfast: {} is not told: too many events wait for the program", told.event);
        }
    }

    /// Lets it hear the rest, for so long.
    pub(super) fn finish(self, patience: Duration) {
        drop(self.events);
        let _ = self.done.recv_timeout(patience);
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
