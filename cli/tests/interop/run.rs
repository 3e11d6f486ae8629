//! Carries the cases out: batches of them through machines side by side.
//!
//! A batch is prepared, boots one machine, and is concluded; while one worker's machine runs,
//! another's holdfast does. A machine that hangs or dies costs the case it was at; those behind it
//! go back to the queue.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::matrix::{Case, State};
use crate::options::Options;
use crate::shelf::{Place, Shelf};
use crate::summary::{self, Report, Verdict};
use crate::trial::Trial;
use crate::vm::{Ending, Machine};

/// Failures whose images are kept: nobody looks at more, and the full product could fill a disk.
const FAILURES_KEPT: usize = 32;

pub(crate) fn all(
    machine: &Machine,
    work: &Path,
    options: &Options,
    cases: Vec<Case>,
) -> Vec<Report> {
    let total = cases.len();
    let turns = cases.into_iter().map(|case| Turn { case, again: false });
    let queue = Mutex::new(turns.collect());
    let failed = AtomicUsize::new(0);
    let (report, reports) = mpsc::channel();
    thread::scope(|scope| {
        for job in 0..options.jobs {
            let worker = Worker {
                machine,
                queue: &queue,
                jobs: options.jobs,
                dir: work.join(format!("job-{job}")),
                cases: options.keep.clone().unwrap_or_else(|| work.join("cases")),
                keep: options.keep.is_some(),
                failed: &failed,
                report: report.clone(),
            };
            scope.spawn(move || worker.work());
        }
        drop(report);
        let mut done = Vec::with_capacity(total);
        for report in reports {
            done.push(report);
            summary::line(done.last().expect("just pushed"), done.len(), total, options.full);
        }
        done
    })
}

struct Worker<'a> {
    machine: &'a Machine,
    queue: &'a Mutex<VecDeque<Turn>>,
    jobs: usize,
    /// Of this worker: the shelf, the job.
    dir: PathBuf,
    /// Of all: one directory per case.
    cases: PathBuf,
    keep: bool,
    /// By all.
    failed: &'a AtomicUsize,
    report: Sender<Report>,
}

/// A case in the queue.
#[derive(Clone, Copy)]
struct Turn {
    case: Case,
    /// It has cost a machine before.
    again: bool,
}

/// A case in the guest: where its members are, and what came of it.
struct Guest {
    turn: Turn,
    trial: Trial,
    places: Vec<Place>,
    spent: Duration,
    begun: bool,
    /// The latest it set out to do.
    step: String,
    said: String,
    verdict: Option<Verdict>,
}

impl Worker<'_> {
    fn work(&self) {
        loop {
            let batch = self.next_batch();
            if batch.is_empty() {
                return;
            }
            self.run(&batch);
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Turn>> {
        self.queue.lock().expect("no worker panics with the queue in hand")
    }

    fn next_batch(&self) -> Vec<Turn> {
        let mut queue = self.queue();
        let share = queue.len().div_ceil(self.jobs).min(self.machine.kind().batch());
        let mut batch: Vec<_> = queue.drain(..share).collect();
        // arrays that stay running until the power goes should not have to wait long for it: the
        // kernel tidies up
        batch.sort_by_key(|turn| turn.case.state == State::Dirty);
        batch
    }

    fn run(&self, batch: &[Turn]) {
        let path = self.dir.join("shelf.img");
        let shelf = fs::create_dir_all(&self.dir).and_then(|()| Shelf::new(&path));
        let mut shelf = match shelf {
            Ok(shelf) => shelf,
            Err(e) => {
                let why = Verdict::Failed(format!("{}: {e}", path.display()));
                batch.iter().for_each(|turn| self.tell(turn.case, why.clone(), Duration::ZERO));
                return;
            }
        };
        let mut guests: Vec<_> =
            batch.iter().filter_map(|&turn| self.prepare(turn, &mut shelf)).collect();
        if guests.is_empty() {
            return;
        }
        let ending = match self.boot(&shelf, &mut guests) {
            Ok(Ending::Done) => "stopped".to_owned(),
            Ok(Ending::Died) => {
                let log = fs::read_to_string(self.dir.join("machine.log")).unwrap_or_default();
                format!("died {log}").trim_end().to_owned()
            }
            Ok(Ending::Silent) => "fell silent".to_owned(),
            Err(e) => format!("did not start: {e}"),
        };
        self.conclude(guests, &shelf, &ending);
    }

    /// Makes a case ready for the guest, unless it fails before, or has no room.
    fn prepare(&self, turn: Turn, shelf: &mut Shelf) -> Option<Guest> {
        let trial = Trial::new(turn.case, &self.cases);
        if !shelf.has_room_for(trial.members.len()) {
            self.queue().push_front(turn);
            return None;
        }
        let start = Instant::now();
        match trial.prepare().and_then(|()| trial.put_on(shelf)) {
            Ok(places) => Some(Guest {
                turn,
                trial,
                places,
                spent: start.elapsed(),
                begun: false,
                step: String::new(),
                said: String::new(),
                verdict: None,
            }),
            Err(why) => {
                self.finish(&trial, Verdict::Failed(why), start.elapsed());
                None
            }
        }
    }

    /// Looks at what came out. Of cases without a verdict the first is the one the machine stopped
    /// at: it gets a second chance, those behind it their first.
    fn conclude(&self, guests: Vec<Guest>, shelf: &Shelf, ending: &str) {
        // a machine that did not even begin is nobody's fault, and everybody's
        let began = guests.iter().any(|guest| guest.begun);
        let mut first = true;
        for guest in guests {
            let start = Instant::now();
            let verdict = match guest.verdict {
                Some(Verdict::Passed) => match guest.trial.conclude(shelf, &guest.places) {
                    Ok(()) => Verdict::Passed,
                    Err(why) => Verdict::Failed(why),
                },
                Some(verdict) => verdict,
                None => {
                    let at_fault = std::mem::take(&mut first) || !began;
                    let why = format!("the machine {ending} at: {}\n{}", guest.step, guest.said);
                    if at_fault && guest.turn.again {
                        Verdict::Failed(why)
                    } else {
                        self.once_more(guest.turn, at_fault.then_some(&why));
                        continue;
                    }
                }
            };
            self.finish(&guest.trial, verdict, guest.spent + start.elapsed());
        }
    }

    fn once_more(&self, turn: Turn, fault: Option<&String>) {
        if let Some(why) = fault {
            println!("once more: {}", turn.case.name());
            why.lines().for_each(|line| println!("    {line}"));
        }
        let again = turn.again || fault.is_some();
        self.queue().push_back(Turn { again, ..turn });
    }

    /// Runs the batch's job, and hears from each case how it went.
    fn boot(&self, shelf: &Shelf, guests: &mut [Guest]) -> io::Result<Ending> {
        shelf.write_table()?;
        let mut job = ". ./steps.sh\n".to_owned();
        for (i, guest) in guests.iter().enumerate() {
            job += &guest.trial.steps(i, &guest.places);
        }
        let mut current = 0;
        let mut since = Instant::now();
        self.machine.run(&self.dir, shelf.path(), &job, |line| {
            let Some(guest) = guests.get_mut(current) else {
                return;
            };
            if let Some(step) = line.strip_prefix("@step ") {
                step.clone_into(&mut guest.step);
                return;
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["@begin", _] => {
                    guest.begun = true;
                    since = Instant::now();
                }
                ["@end", _, verdict] => {
                    guest.spent += since.elapsed();
                    guest.verdict = Some(match verdict {
                        "ok" => Verdict::Passed,
                        "skipped" => Verdict::Skipped("this kernel lacks the level".to_owned()),
                        _ => Verdict::Failed(format!("in the guest:\n{}", guest.said)),
                    });
                    current += 1;
                }
                _ => guest.said += &format!("{line}\n"),
            }
        })
    }

    fn finish(&self, trial: &Trial, verdict: Verdict, spent: Duration) {
        let kept = match verdict {
            Verdict::Failed(_) => self.failed.fetch_add(1, Ordering::Relaxed) < FAILURES_KEPT,
            Verdict::Passed | Verdict::Skipped(_) => false,
        };
        if !self.keep && !kept {
            // at worst it lies about until the next run
            let _ = fs::remove_dir_all(&trial.dir);
        }
        self.tell(trial.case, verdict, spent);
    }

    fn tell(&self, case: Case, verdict: Verdict, spent: Duration) {
        let dir = Some(self.cases.join(case.name())).filter(|dir| dir.exists());
        let report = Report { case, verdict, spent, dir };
        self.report.send(report).expect("the receiver outlives the workers");
    }
}
