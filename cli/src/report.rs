//! Where words go: answers to standard output, everything else to standard error.
//!
//! A verb says its answer twice, as lines for people and as one value for machines; the report
//! prints the one that was asked for. With `--json` standard output carries exactly one object,
//! and a failure is one object on standard error. Notes (who was left out, what comes next) go to
//! standard error, or into the object's `notes`; what is noted after the answer, by a verb that goes
//! on, is an object a line on standard error.
//!
//! A reader who has seen enough (`holdfast … | head`) closes the pipe: further lines are dropped
//! and the work goes on, because half a repair helps nobody. Any other reason why the answer cannot
//! be written (a full disk) lets the work go on as well, but the run ends with an error.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use holdfast_core::size::Human;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::json::{Envelope, ErrorBody, NoteBody};

/// The run's voice.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    /// Standard output carries data, so the answer goes to standard error.
    aside: Cell<bool>,
    closed: Cell<bool>,
    /// The answer for machines is out.
    answered: Cell<bool>,
    /// Why the answer did not arrive, if that is not the reader's wish.
    lost: RefCell<Option<io::Error>>,
    notes: RefCell<Vec<String>>,
    /// Bytes of the array that may be wrong because a start was forced.
    at_risk_bytes: Cell<Option<u64>>,
    /// Nothing is printed: what is said is kept here, for somebody who is elsewhere.
    kept: Option<RefCell<Said>>,
}

/// What a verb said: its answer twice, and its notes.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The answer, as lines for people.
    pub(crate) lines: Vec<String>,
    /// The answer, as one value for machines.
    pub(crate) answer: Option<serde_json::Value>,
    /// Worth knowing beside it.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// A report in JSON or in words.
    pub(crate) const fn new(json: bool) -> Self {
        Self {
            json,
            aside: Cell::new(false),
            closed: Cell::new(false),
            answered: Cell::new(false),
            lost: RefCell::new(None),
            notes: RefCell::new(Vec::new()),
            at_risk_bytes: Cell::new(None),
            kept: None,
        }
    }

    /// A report that prints nothing and keeps everything.
    pub(crate) fn keeping() -> Self {
        Self { kept: Some(RefCell::default()), ..Self::new(false) }
    }

    /// What has been kept.
    pub(crate) fn take_said(&self) -> Said {
        self.kept.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Whether the answer is JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether somebody watches: progress is worth drawing.
    pub(crate) fn is_watched(&self) -> bool {
        !self.json && self.kept.is_none() && io::stderr().is_terminal()
    }

    /// Sends the answer to standard error: standard output is taken by data.
    pub(crate) fn step_aside(&self) {
        self.aside.set(true);
    }

    /// A line of the answer for people.
    pub(crate) fn line(&self, text: impl Display) {
        if let Some(kept) = &self.kept {
            kept.borrow_mut().lines.push(text.to_string());
        } else if !self.json {
            self.put(&text);
        }
    }

    /// The answer for machines.
    pub(crate) fn answer(&self, body: &impl Serialize) {
        if let Some(kept) = &self.kept {
            let value = serde_json::to_value(body);
            kept.borrow_mut().answer =
                Some(value.expect("answers are plain structs with string keys"));
        } else if self.json {
            let notes = self.notes.take();
            self.put(&Envelope::new(body, self.at_risk_bytes.get(), notes).text());
            self.answered.set(true);
        }
    }

    /// Something worth knowing beside the answer.
    pub(crate) fn note(&self, text: impl Display) {
        if let Some(kept) = &self.kept {
            kept.borrow_mut().notes.push(text.to_string());
        } else if self.json && self.answered.get() {
            let body = NoteBody { note: text.to_string() };
            complain(&Envelope::new(&body, None, Vec::new()).line());
        } else if self.json {
            self.notes.borrow_mut().push(text.to_string());
        } else {
            complain(&format_args!("holdfast: {text}"));
        }
    }

    /// One of many things that follow one another: a line for people, an object a line for machines.
    pub(crate) fn stream(&self, text: impl Display, body: &impl Serialize) {
        if self.json {
            self.put(&Envelope::new(body, None, Vec::new()).line());
        } else {
            self.put(&text);
        }
    }

    /// Whether the reader has seen enough.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// How much of the array may be wrong because a start was forced.
    pub(crate) fn at_risk(&self, bytes: u64) {
        self.at_risk_bytes.set(Some(bytes));
        let human = Human(bytes);
        self.note(format_args!(
            "forced: the array was not stopped cleanly and lacks a member; up to {bytes} bytes \
             ({human}) that are recovered from parity may be wrong"
        ));
    }

    /// Why the verb stopped.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let body = ErrorBody {
                error: &failure.message,
                hint: failure.hint.as_deref(),
                exit_code: failure.exit.code(),
            };
            let notes = self.notes.take();
            complain(&Envelope::new(&body, self.at_risk_bytes.get(), notes).text());
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
        } else if !self.closed.get()
            && let Err(error) = writeln!(io::stdout(), "{text}")
        {
            self.give_up(error);
        }
    }

    fn give_up(&self, error: io::Error) {
        self.closed.set(true);
        if error.kind() != ErrorKind::BrokenPipe {
            self.lost.replace(Some(error));
        }
    }

    /// Fails if the answer could not be written although somebody wants it.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        if !self.closed.get()
            && let Err(error) = io::stdout().flush()
        {
            self.give_up(error);
        }
        match self.lost.take() {
            None => Ok(()),
            Some(error) => Err(Failure::error(format!("the answer cannot be written: {error}"))),
        }
    }

    /// What was noted so far, with `--json`.
    #[cfg(test)]
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }
}

/// A line on standard error. There is nobody left to tell if that fails.
fn complain(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A command line clap refuses, or `--help` and `--version`, which it also calls errors.
pub(crate) fn usage(error: &clap::Error, json: bool) -> Exit {
    if !error.use_stderr() {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                complain(&format_args!("holdfast: the answer cannot be written: {error}"));
                Exit::Error
            }
            _ => Exit::Good,
        };
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
