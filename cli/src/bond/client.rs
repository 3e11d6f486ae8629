//! Talking to a running bond.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use holdfast_host::bond::link::Name;

use super::place::Place;
use super::protocol::{Reply, Request};
use crate::exit::Failure;

/// A connection to a running bond.
#[derive(Debug)]
pub(crate) struct Client {
    bond: Name,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the bond of this name, or to the only one that runs here.
    pub(crate) fn connect(base: Option<&Path>, bond: Option<&Name>) -> Result<Self, Failure> {
        let place = Place::find(base)?;
        let bond = match bond {
            Some(bond) => bond.clone(),
            None => only_one(&place)?,
        };
        let path = place.socket(&bond);
        let stream = UnixStream::connect(&path).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::NotFound => format!("no bond {bond} runs here"),
                ErrorKind::ConnectionRefused => format!("bond {bond} died without cleaning up"),
                _ => format!("bond {bond}: {}: {error}", path.display()),
            };
            let failure = Failure::error(why);
            match error.kind() {
                ErrorKind::ConnectionRefused => {
                    failure.hint("holdfast bond cleanup puts its members back as they were")
                }
                _ => failure,
            }
        })?;
        Ok(Self { bond, stream: BufReader::new(stream) })
    }

    /// The bond it is connected to.
    pub(crate) const fn bond(&self) -> &Name {
        &self.bond
    }

    /// Asks; the answer, unless it is a refusal.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        let mut line = serde_json::to_vec(request).expect("plain values");
        line.push(b'\n');
        let sent = self.stream.get_mut().write_all(&line);
        let reply = match sent.and_then(|()| self.next()) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Err(self.lost("it hung up")),
            Err(error) => return Err(self.lost(error)),
        };
        match reply.error {
            Some(error) => Err(Failure::error(error)),
            None => Ok(reply),
        }
    }

    /// The next line; `None` after the last one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Reply>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::error(format!("bond {}: {why}", self.bond))
    }
}

fn only_one(place: &Place) -> Result<Name, Failure> {
    let lives = |name: &Name| UnixStream::connect(place.socket(name)).is_ok();
    let names: Vec<Name> = place.sockets().into_iter().filter(lives).collect();
    match &names[..] {
        [one] => Ok(one.clone()),
        [] if !place.journals().is_empty() => {
            Err(Failure::error("no bond runs here; one died without cleaning up")
                .hint("holdfast bond cleanup puts its members back as they were"))
        }
        [] => Err(Failure::error("no bond runs here").hint(
            "holdfast bond run starts one; one in another network namespace is reached from there",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(Name::as_str).collect();
            Err(Failure::error(format!("several bonds run here: {}", names.join(", ")))
                .hint("name the one you mean"))
        }
    }
}
