//! Where words go: answers to standard output, everything else to standard error.
//!
//! A verb says its answer twice, as lines for people and as one value for machines; the report
//! prints the one that was asked for. With `--json` standard output carries exactly one object,
//! and a failure is one object on standard error. Notes (who was left out, what comes next) go to
//! standard error, or into the object's `notes`.
//!
//! A reader who has seen enough (`holdfast … | head`) closes the pipe: further lines are dropped
//! and the work goes on, because half a repair helps nobody.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::json::{Envelope, ErrorBody};

/// The run's voice.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    /// Standard output carries data, so the answer goes to standard error.
    aside: Cell<bool>,
    closed: Cell<bool>,
    notes: RefCell<Vec<String>>,
}

impl Report {
    /// A report in JSON or in words.
    pub(crate) const fn new(json: bool) -> Self {
        Self {
            json,
            aside: Cell::new(false),
            closed: Cell::new(false),
            notes: RefCell::new(Vec::new()),
        }
    }

    /// Whether the answer is JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether somebody watches: progress is worth drawing.
    pub(crate) fn is_watched(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Sends the answer to standard error: standard output is taken by data.
    pub(crate) fn step_aside(&self) {
        self.aside.set(true);
    }

    /// A line of the answer for people.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.json {
            self.put(&text);
        }
    }

    /// The answer for machines.
    pub(crate) fn answer(&self, body: &impl Serialize) {
        if self.json {
            let notes = self.notes.take();
            self.put(&Envelope::new(body, notes).text());
        }
    }

    /// Something worth knowing beside the answer.
    pub(crate) fn note(&self, text: impl Display) {
        if self.json {
            self.notes.borrow_mut().push(text.to_string());
        } else {
            complain(&format_args!("holdfast: {text}"));
        }
    }

    /// Why the verb stopped.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let body = ErrorBody {
                error: &failure.message,
                hint: failure.hint.as_deref(),
                exit_code: failure.exit.code(),
            };
            complain(&Envelope::new(&body, self.notes.take()).text());
            return;
        }
        complain(&format_args!("holdfast: {failure}"));
        if let Some(hint) = &failure.hint {
            complain(&format_args!("          {hint}"));
        }
    }

    fn put(&self, text: &dyn Display) {
        if self.aside.get() {
            complain(text);
        } else if !self.closed.get() && writeln!(io::stdout(), "{text}").is_err() {
            self.closed.set(true);
        }
    }
}

/// A line on standard error. There is nobody left to tell if that fails.
fn complain(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A command line clap refuses, or `--help` and `--version`, which it also calls errors.
pub(crate) fn usage(error: &clap::Error, json: bool) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Good;
    }
    if json {
        let text = error.to_string();
        let text = text.trim();
        let message = text.strip_prefix("error: ").unwrap_or(text);
        Report::new(true).failure(&Failure::usage(message));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Asks on the terminal; without one, or after `--yes`, the answer is yes.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(());
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::error("nothing was done").hint("--yes answers every question"))
    }
}
