//! A served array, and verbs that reach it through its control socket.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Dir, Run};

/// A served array of this directory, with its sockets in it.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) answer: Value,
}

impl Serving {
    #[track_caller]
    pub(crate) fn start(dir: &Dir, line: &str) -> Self {
        let command = holdfast(dir, &format!("--json serve --nbd unix:nbd.sock {line}"));
        let (child, answer) = announced(command);
        Self { child, answer }
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.answer["control"].as_str().unwrap().into()
    }

    /// Says a line to the control socket; the answer.
    pub(crate) fn say(&self, line: &str) -> Value {
        asked(&self.control(), line)
    }

    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server and waits until it says, in JSON, where it is. What it notes can be read from its
/// standard error.
#[track_caller]
pub(crate) fn announced(mut command: Command) -> (Child, Value) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        told += &line.unwrap();
        if told.ends_with('}') {
            break;
        }
    }
    let Ok(answer) = serde_json::from_str(&told) else {
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        panic!("{command:?} does not start: {told}{err}");
    };
    (child, answer)
}

/// The command, with a directory for sockets of its own.
pub(crate) fn holdfast(dir: &Dir, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    let runtime = dir.path("runtime");
    fs::create_dir_all(&runtime).unwrap();
    command.args(line.split_whitespace()).current_dir(dir.path("."));
    command.env("XDG_RUNTIME_DIR", runtime).env("HOLDFAST_RUNTIME_DIR", dir.path("run"));
    command
}

#[track_caller]
pub(crate) fn ends(dir: &Dir, line: &str, code: i32) -> Run {
    let output = holdfast(dir, line).output().unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!(run.code, code, "{line}: {run:?}");
    run
}

/// What it says on standard output.
#[track_caller]
pub(crate) fn told(dir: &Dir, line: &str, code: i32) -> String {
    String::from_utf8(ends(dir, line, code).out).unwrap()
}

/// A raw request to a socket; the answer.
pub(crate) fn asked(socket: &Path, line: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{line}: {answer}: {error}"))
}
