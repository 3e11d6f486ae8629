//! The asking side of a control socket, whatever is behind it.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::place;
use super::reply::Reply;
use crate::exit::Failure;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Call {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// A line that was said.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// Something that happened.
    Event(T),
    /// The request is answered.
    Reply(Reply),
}

impl Call {
    /// Connects to a socket.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        place::refuse_public(path)?;
        let stream = UnixStream::connect(path)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Waits for a line no longer than this; for ever, if none.
    pub(crate) fn wait_at_most(&self, patience: Option<Duration>) {
        // Only a patience of no time at all is refused.
        let _ = self.stream.get_ref().set_read_timeout(patience);
    }

    /// Says what is wanted.
    pub(crate) fn ask(&mut self, request: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request).expect("plain values");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.lost(error))
    }

    /// The answer to what was asked; events before it are left out.
    pub(crate) fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            match self.hear::<Value>()? {
                Some(Heard::Reply(reply)) => return Ok(reply),
                Some(Heard::Event(_)) => {}
                None => return Err(self.lost("it hung up")),
            }
        }
    }

    /// The next line; none once the server has hung up.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<Heard<T>>, Failure> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(self.lost(error)),
        }
        let value: Value = serde_json::from_str(&line).map_err(|error| self.lost(error))?;
        let heard = match value.get("exit_code") {
            Some(_) => serde_json::from_value(value).map(Heard::Reply),
            None => serde_json::from_value(value).map(Heard::Event),
        };
        heard.map(Some).map_err(|error| self.lost(error))
    }

    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::error(format!("{}: {why}", self.path.display()))
    }
}
