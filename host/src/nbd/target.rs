//! Which export of which server: addresses, and what their user vouches for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::{fmt, str};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A socket in the file system.
    Unix(PathBuf),
    /// An address and a port.
    Tcp(SocketAddr),
}

/// What proves that nothing of a lost connection can land any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// The death of the serving process, where the kernel names it.
    #[default]
    OnExit,
    /// The end of the connection, for a server that is known to drop what it has not begun.
    OnClose,
    /// Nothing: a server that forks, for one.
    Never,
}

/// A server and an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub place: Place,
    /// The export's name.
    pub export: String,
    /// What fences it.
    pub fencing: Fencing,
    /// An identity its user vouches for.
    pub wwid: Option<String>,
    /// Whether its user vouches that a flush by any path to this disk covers it.
    pub shared_cache: bool,
}

/// Why a word names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{uri:?}: {what}")]
pub struct BadUri {
    uri: String,
    what: &'static str,
}

/// The port of NBD.
const PORT: u16 = 10809;

impl Target {
    /// Whether a word is meant as the address of an export.
    pub fn is_meant_by(word: &str) -> bool {
        word.starts_with("nbd:") || word.starts_with("nbd+")
    }

    /// Whether both are the same export of the same server, as far as their addresses tell.
    pub fn is_same_export(&self, other: &Self) -> bool {
        let same_place = match (&self.place, &other.place) {
            (Place::Unix(one), Place::Unix(two)) => {
                let resolved = |path: &PathBuf| path.canonicalize().ok();
                one == two || resolved(one).is_some() && resolved(one) == resolved(two)
            }
            (one, two) => one == two,
        };
        same_place && self.export == other.export
    }

    /// Reads `nbd+unix:///EXPORT?socket=PATH` or `nbd://ADDRESS[:PORT]/EXPORT`.
    ///
    /// Further parameters: `fence=exit|close|never`, `wwid=TEXT`, `cache=shared|own`. Addresses are
    /// numbers or `localhost`: names would have to be looked up, which blocks.
    pub fn parse(uri: &str) -> Result<Self, BadUri> {
        let bad = |what| BadUri { uri: uri.to_owned(), what };
        let (scheme, rest) = uri
            .split_once("://")
            .ok_or_else(|| bad("write nbd+unix:///?socket=PATH or nbd://HOST:PORT"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, export) = rest.split_once('/').unwrap_or((rest, ""));
        let mut target = Self {
            place: Place::Unix(PathBuf::new()),
            export: unescape(export),
            fencing: Fencing::default(),
            wwid: None,
            shared_cache: false,
        };
        let mut socket = None;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (name, value) {
                ("socket", path) => socket = Some(PathBuf::from(unescape(path))),
                ("wwid", wwid) => target.wwid = Some(unescape(wwid)),
                ("fence", "exit") => target.fencing = Fencing::OnExit,
                ("fence", "close") => target.fencing = Fencing::OnClose,
                ("fence", "never") => target.fencing = Fencing::Never,
                ("cache", "shared") => target.shared_cache = true,
                ("cache", "own") => target.shared_cache = false,
                _ => {
                    return Err(bad(
                        "parameters are socket, wwid, fence=exit|close|never, cache=shared|own",
                    ));
                }
            }
        }
        target.place = match scheme {
            "nbd+unix" => Place::Unix(socket.ok_or_else(|| bad("socket=PATH is missing"))?),
            "nbd" => Place::Tcp(address(host).ok_or_else(|| bad("the host is no address"))?),
            _ => return Err(bad("the schemes are nbd and nbd+unix")),
        };
        Ok(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "nbd+unix:///{}?socket={}", self.export, path.display()),
            Place::Tcp(address) => write!(f, "nbd://{address}/{}", self.export),
        }
    }
}

fn address(host: &str) -> Option<SocketAddr> {
    let host = host.replace("localhost", "127.0.0.1");
    let with_port = || format!("{host}:{PORT}").parse().ok();
    host.parse().ok().or_else(with_port)
}

/// Undoes `%41`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| tail.get(..2).and_then(|hex| str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
