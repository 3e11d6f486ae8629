//! The slow suite of bonds: failovers measured under traffic, the times of monitors on real
//! interfaces, and the scenarios of the Linux kernel's own bonding selftests, on our driver.
//!
//! ```text
//! cargo test -p holdfast-cli --test bond_slow                # everything, some four minutes
//! cargo test -p holdfast-cli --test bond_slow -- prio lacp   # what has one of these words
//! ```
//!
//! What measures runs alone, one after the other; guests, which keep a processor busy, run in pairs;
//! the rest runs side by side, each in network namespaces of its own. Machines have other things to
//! do: a scenario that fails gets two more tries, and says that it needed them.

#[path = "../common/mod.rs"]
mod common;
#[path = "../network/mod.rs"]
mod network;
#[path = "../interop/vm/mod.rs"]
#[allow(dead_code, reason = "the suite of arrays uses all of it")]
mod vm;

mod announce;
mod delays;
mod failover;
mod hearing;
mod kernel;
mod lacp;
mod prio;
mod sniff;
mod stacks;
mod validate;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// Scenarios at once. Most of their time they wait.
const SIDE_BY_SIDE: usize = 6;
/// Tries of each.
const TRIES: u32 = 3;

/// One thing to be seen.
pub(crate) struct Scenario {
    name: String,
    /// How many of its kind may run at once. Other kinds never do meanwhile.
    at_once: usize,
    /// Says what it saw, or panics.
    run: Box<dyn Fn() -> String + Send + Sync>,
}

impl Scenario {
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), at_once: SIDE_BY_SIDE, run: Box::new(run) }
    }

    /// It keeps a processor busy.
    pub(crate) fn in_pairs(
        name: impl Into<String>,
        run: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { at_once: 2, ..Self::new(name, run) }
    }

    /// It measures time, so nobody else runs meanwhile.
    pub(crate) fn alone(
        name: impl Into<String>,
        run: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { at_once: 1, ..Self::new(name, run) }
    }

    /// Runs it until it holds, at most [`TRIES`] times. True if it does.
    fn hold(&self) -> bool {
        for attempt in 1..=TRIES {
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)()));
            let seconds = start.elapsed().as_secs_f64();
            match outcome {
                Ok(saw) => {
                    let again =
                        if attempt > 1 { format!(" (try {attempt})") } else { String::new() };
                    println!("ok      {:44} {seconds:5.1} s{again}  {saw}", self.name);
                    return true;
                }
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
                    println!(
                        "failed  {:44} {seconds:5.1} s  {}",
                        self.name,
                        text.unwrap_or_default()
                    );
                }
            }
        }
        false
    }
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    failover::add(&mut all);
    delays::add(&mut all);
    hearing::add(&mut all);
    prio::add(&mut all);
    validate::add(&mut all);
    announce::add(&mut all);
    stacks::add(&mut all);
    lacp::add(&mut all);
    kernel::add(&mut all);
    all
}

/// Runs scenarios of a kind, so many at once; the names of those that do not hold.
fn do_not_hold(at_once: usize, kind: VecDeque<Scenario>) -> Vec<String> {
    let (queue, broken) = (Mutex::new(kind), Mutex::<Vec<String>>::default());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(one) = { queue.lock().unwrap().pop_front() } {
                    if !one.hold() {
                        broken.lock().unwrap().push(one.name.clone());
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap()
}

fn main() -> ExitCode {
    // Words that cargo passes on to every harness mean nothing here.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with('-')).collect();
    if network::Ground::lay(1).is_none() {
        return ExitCode::SUCCESS;
    }
    let wanted = |one: &Scenario| words.is_empty() || words.iter().any(|w| one.name.contains(w));
    let wanted: Vec<Scenario> = scenarios().into_iter().filter(wanted).collect();
    let (start, count) = (Instant::now(), wanted.len());
    let mut kinds = BTreeMap::<usize, VecDeque<Scenario>>::new();
    for one in wanted {
        kinds.entry(one.at_once).or_default().push_back(one);
    }
    let mut broken = Vec::new();
    for (at_once, kind) in kinds {
        broken.extend(do_not_hold(at_once, kind));
    }
    let seconds = start.elapsed().as_secs();
    if broken.is_empty() {
        println!("{count} scenarios hold ({seconds} s)");
        return ExitCode::SUCCESS;
    }
    println!(
        "{} of {count} scenarios do not hold: {} ({seconds} s)",
        broken.len(),
        broken.join(", ")
    );
    ExitCode::FAILURE
}
