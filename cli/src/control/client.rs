//! The asking side: finding who serves an array, and having a verb carried out there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::call::Call;
use super::place;
use super::protocol::{Change, Newcomer, Request, Scope};
use super::reply::Reply;
use crate::config::{Add, Caution, Group, Job, MemberChange, Replace, Selector};
use crate::exit::{Failure, Outcome};
use crate::members;
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};

/// How long a server is asked for its name that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Carries the job out through the process that serves the array, if one does and the verb is one
/// that can.
pub(crate) fn forward(job: &Job, report: &Report) -> Option<Outcome> {
    let (group, request) = request(job)?;
    let client = serving(group)?;
    Some(ask(job, client, &request?, report))
}

fn ask(job: &Job, mut client: Call, request: &Request, report: &Report) -> Outcome {
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
        Job::Detail(group) => (group, Some(Request::Detail {})),
        Job::Mdstat(group) => (group, Some(Request::Mdstat {})),
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
        Job::Rebuild(config) => (&config.group, unless_dry(&config.caution, Request::Rebuild {})),
        _ => return None,
    })
}

/// A member as a server understands it, whatever its working directory.
pub(crate) fn spelt(selector: &Selector) -> String {
    match selector {
        Selector::Slot(slot) => format!("slot:{slot}"),
        Selector::Path(path) => absolute(path).display().to_string(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whoever serves the array these members make, if somebody holds one of them.
pub(crate) fn serving(group: &Group) -> Option<Call> {
    group.members.iter().find_map(|path| members::held(path))?;
    let directory = place::directory().ok()?;
    // Only to learn its name; what there is to say of it says the server.
    let session = Session::open(group, Purpose::Look, &Report::keeping()).ok()?;
    Call::connect(&directory.join(place::name_of(session.status().uuid))).ok()
}

/// Whoever serves the array that is meant: by a member's path, its UUID or its name; the only one,
/// if none is.
pub(crate) fn find(meant: Option<&str>) -> Result<Call, Failure> {
    let clients = place::arrays().into_iter().filter_map(|path| Call::connect(&path).ok());
    let mut clients: Vec<Call> = match meant {
        None => clients.collect(),
        Some(word) => {
            let is_meant = |client: &mut Call| is_called(client, word);
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

fn is_called(client: &mut Call, word: &str) -> bool {
    client.wait_at_most(Some(PATIENCE));
    let answer = client.ask(&Request::Detail {}).and_then(|()| client.reply());
    client.wait_at_most(None);
    let Ok(Ok(detail)) = answer.map(Reply::value) else { return false };
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
