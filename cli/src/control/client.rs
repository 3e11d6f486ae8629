//! The asking side: finding who serves an array, and having a verb carried out there.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::place;
use super::protocol::{Change, Newcomer, Reply, Request, Scope, Told};
use crate::config::{Add, Caution, Group, Job, MemberChange, Replace, Selector};
use crate::exit::{Failure, Outcome};
use crate::members;
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// A connection to whoever serves an array.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a socket.
    pub(crate) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Says what is wanted.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request).expect("plain values");
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|error| self.lost(error))
    }

    /// The answer to what was asked.
    pub(crate) fn reply(&mut self) -> Result<Reply, Failure> {
        match self.line()? {
            Some(line) => serde_json::from_str(&line).map_err(|error| self.lost(error)),
            None => Err(self.lost("it hung up")),
        }
    }

    /// The next event; none once the server is gone.
    pub(crate) fn event(&mut self) -> Result<Option<Told>, Failure> {
        let line = self.line()?;
        line.map(|line| serde_json::from_str(&line).map_err(|error| self.lost(error))).transpose()
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn lost(&self, why: impl std::fmt::Display) -> Failure {
        Failure::error(format!("{}: {why}", self.path.display()))
    }
}

/// Carries the job out through the process that serves the array, if one does and the verb is one
/// that can.
pub(crate) fn forward(job: &Job, report: &Report) -> Option<Outcome> {
    let (group, request) = request(job)?;
    let client = serving(group)?;
    Some(ask(job, client, &request?, report))
}

fn ask(job: &Job, mut client: Client, request: &Request, report: &Report) -> Outcome {
    if let Job::Repair(config) = job
        && !config.caution.dry_run
    {
        confirm("Rewrite whatever differs?", config.caution.yes)?;
    }
    if let Job::Add(Add { device, group, .. }) | Job::Replace(Replace { with: device, group, .. }) =
        job
        && group.force
    {
        let device = device.display();
        return Err(Failure::error(format!(
            "--force: what {device} carries is not overwritten while the array is served"
        ))
        .hint(format!("holdfast zero-superblock {device} takes its superblock off first")));
    }
    client.ask(request)?;
    client.reply()?.tell(report)
}

/// The array a verb is about, and what a server is asked in its place; no request where the verb
/// would do something that a server does not.
fn request(job: &Job) -> Option<(&Group, Option<Request>)> {
    let change = |config: &MemberChange| Change {
        member: spelt(&config.member),
        dry_run: config.caution.dry_run,
    };
    let newcomer = |device: &Path, write_mostly, caution: &Caution| Newcomer {
        device: absolute(device),
        write_mostly,
        dry_run: caution.dry_run,
    };
    let unless_dry = |caution: &Caution, request| (!caution.dry_run).then_some(request);
    Some(match job {
        Job::Detail(group) => (group, Some(Request::Detail)),
        Job::Mdstat(group) => (group, Some(Request::Mdstat)),
        Job::Fail(config) => (&config.group, Some(Request::Fail(change(config)))),
        Job::Remove(config) => (&config.group, Some(Request::Remove(change(config)))),
        Job::Add(config) => {
            let device = newcomer(&config.device, config.write_mostly, &config.caution);
            (&config.group, Some(Request::Add(device)))
        }
        Job::ReAdd(config) => {
            let device = newcomer(&config.device, false, &config.caution);
            (&config.group, Some(Request::ReAdd(device)))
        }
        Job::Replace(config) => {
            let with = newcomer(&config.with, false, &config.caution);
            let member = spelt(&config.member);
            (&config.group, Some(Request::Replace { member, with }))
        }
        Job::Check(config) => {
            (&config.group, Some(Request::Check(Scope { locate: config.locate })))
        }
        Job::Repair(config) => {
            let request = match config.caution.dry_run {
                true => Request::Check(Scope { locate: config.locate }),
                false => Request::Repair(Scope { locate: config.locate }),
            };
            (&config.group, Some(request))
        }
        Job::Rebuild(config) => (&config.group, unless_dry(&config.caution, Request::Rebuild)),
        _ => return None,
    })
}

/// A member as a server understands it, whatever its working directory.
fn spelt(selector: &Selector) -> String {
    match selector {
        Selector::Slot(slot) => format!("slot:{slot}"),
        Selector::Path(path) => absolute(path).display().to_string(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whoever serves the array these members make, if somebody holds one of them.
pub(crate) fn serving(group: &Group) -> Option<Client> {
    group.members.iter().find_map(|path| members::held(path))?;
    if !place::is_ours() {
        return None;
    }
    // Only to learn its name; what there is to say of it says the server.
    let session = Session::open(group, Purpose::Look, &Report::keeping()).ok()?;
    Client::connect(&place::of_array(session.status().uuid)).ok()
}

/// Whoever serves the array that is meant: by a member's path, its UUID or its name; the only one,
/// if none is.
pub(crate) fn find(meant: Option<&str>) -> Result<Client, Failure> {
    let sockets = if place::is_ours() { place::all() } else { Vec::new() };
    let clients = sockets.into_iter().filter_map(|path| Client::connect(&path).ok());
    let mut clients: Vec<Client> = match meant {
        None => clients.collect(),
        Some(word) => {
            let is_meant = |client: &mut Client| is_called(client, word);
            let found = clients.filter_map(|mut client| is_meant(&mut client).then_some(client));
            found.collect()
        }
    };
    let nobody = || {
        let what =
            meant.map_or_else(|| "no array".to_owned(), |word| format!("nothing called {word}"));
        Failure::error(format!("{what} is served here"))
            .hint("holdfast serve says where it listens; --control PATH names its socket")
    };
    match clients.len() {
        0 => Err(nobody()),
        1 => clients.pop().ok_or_else(nobody),
        several => Err(Failure::error(format!("{several} arrays are served here"))
            .hint("name the one you mean by a member, its UUID or its name")),
    }
}

fn is_called(client: &mut Client, word: &str) -> bool {
    let Ok(reply) = client.ask(&Request::Detail).and_then(|()| client.reply()) else {
        return false;
    };
    let Some(detail) = reply.into_answer() else { return false };
    let path = Path::new(word);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_member = |member: &serde_json::Value| {
        member["path"]
            .as_str()
            .is_some_and(|name| crate::session::same_file(Path::new(name), &absolute))
    };
    let name = detail["name"].as_str().unwrap_or_default();
    detail["uuid"] == word
        || (!word.is_empty() && (name == word || name.rsplit(':').next() == Some(word)))
        || detail["members"].as_array().is_some_and(|members| members.iter().any(is_member))
}
