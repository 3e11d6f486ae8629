//! The control socket of a running map: a request a line, an answer a line, in JSON.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use holdfast_host::socket;
use holdfast_host::watch::Watch;
use serde::{Deserialize, Serialize};

use super::told::Told;

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// A text.
    Show { what: String, format: Option<String>, raw: bool },
    /// Take a path out of use.
    FailPath { path: String },
    /// Use it again.
    Reinstate { path: String },
    /// Use this group.
    SwitchGroup { group: usize },
    /// Change an attribute.
    Set { name: String, value: String },
    /// Fail what waits.
    FailNow,
    /// Tell what happens, until the caller hangs up.
    Events,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// The state for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<serde_json::Value>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Answer {
    /// Done.
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), state: None, error: None }
    }

    /// Not done.
    pub(crate) fn refused(error: impl Into<String>) -> Self {
        Self { text: None, state: None, error: Some(error.into()) }
    }
}

/// A caller does not send more than this before its line ends.
const LONGEST: usize = 64 << 10;

/// Callers at once.
const MOST: usize = 64;

#[derive(Debug)]
struct Caller {
    stream: UnixStream,
    heard: Vec<u8>,
    listens: bool,
}

/// The socket's end in the serving process. Nothing in it blocks.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    watch: Watch,
    callers: Vec<Caller>,
}

impl Control {
    /// Listens at a path, for the owner alone.
    pub(crate) fn listen(path: &Path, watch: &Watch) -> io::Result<Self> {
        let listener = socket::listen(path)?;
        watch.add(&listener, false)?;
        Ok(Self { listener, path: path.to_owned(), watch: watch.clone(), callers: Vec::new() })
    }

    /// Takes what has been asked and answers it.
    pub(crate) fn turn(&mut self, mut answer: impl FnMut(Ask) -> Answer) {
        while let Ok((stream, _)) = self.listener.accept() {
            let fits = self.callers.len() < MOST
                && stream.set_nonblocking(true).is_ok()
                && self.watch.add(&stream, false).is_ok();
            if fits {
                self.callers.push(Caller { stream, heard: Vec::new(), listens: false });
            }
        }
        self.callers.retain_mut(|caller| caller.turn(&mut answer));
    }

    /// Tells those who listen what has happened.
    pub(crate) fn tell(&mut self, told: &Told) {
        let Ok(mut line) = serde_json::to_string(told) else { return };
        line.push('\n');
        // Whoever does not keep up is hung up on: news that are missing would be worse.
        self.callers.retain_mut(|caller| {
            !caller.listens || caller.stream.write_all(line.as_bytes()).is_ok()
        });
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Caller {
    /// Whether it stays.
    fn turn(&mut self, answer: &mut impl FnMut(Ask) -> Answer) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => self.heard.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.heard.len() > LONGEST {
                return false;
            }
        }
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let said = match serde_json::from_slice(&line) {
                Ok(Ask::Events) => {
                    self.listens = true;
                    Answer::done("listening")
                }
                Ok(ask) => answer(ask),
                Err(error) => Answer::refused(format!("not understood: {error}")),
            };
            let Ok(mut text) = serde_json::to_string(&said) else { return false };
            text.push('\n');
            if self.stream.write_all(text.as_bytes()).is_err() {
                return false;
            }
        }
        true
    }
}

/// Asks a running map and returns its answer; with [`Ask::Events`] each line that follows goes to
/// `each` until the map ends or `each` has had enough.
pub(crate) fn ask(
    path: &Path,
    ask: &Ask,
    mut each: impl FnMut(&str) -> bool,
) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path)?;
    let mut line = serde_json::to_string(ask)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().ok_or(ErrorKind::UnexpectedEof)??;
    let answer: Answer = serde_json::from_str(&first)?;
    if matches!(ask, Ask::Events) {
        for line in lines {
            if !each(&line?) {
                break;
            }
        }
    }
    Ok(answer)
}
