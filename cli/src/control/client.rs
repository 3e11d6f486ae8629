//! The asking side: finding who serves an array, and having a verb carried out there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_host::member::Access;
use holdfast_raid::scan::scan;
use holdfast_raid::superblock::Uuid;

use super::call::Call;
use super::place;
use super::protocol::{Change, Newcomer, Request, Scope};
use super::reply::Reply;
use crate::config::{Add, Caution, Group, Job, MemberChange, Replace, Selector};
use crate::exit::{Failure, Outcome};
use crate::export::{self, absolute};
use crate::members::{self, World};
use crate::parts::Naming;
use crate::report::{Report, confirm};

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

/// Whoever serves the array these members make, if somebody holds one of them. Where none is held and
/// some are exports, those tell which array it is: nobody knows who else is connected to them.
pub(crate) fn serving(group: &Group) -> Option<Call> {
    let (exports, files): (Vec<&PathBuf>, Vec<&PathBuf>) =
        group.members.iter().partition(|path| export::is_one(path));
    let held = files.into_iter().filter(|path| members::held(path).is_some());
    if place::arrays().is_empty() {
        return None;
    }
    let directory = place::directory().ok()?;
    let set = the_array(held, group).or_else(|| the_array(exports.into_iter(), group))?;
    Call::connect(&directory.join(place::name_of(set))).ok()
}

/// Refuses to write to an export that is a member of an array served here. A file would be locked.
pub(crate) fn refuse_served(member: &Path, set: Uuid) -> Result<(), Failure> {
    let socket = place::directory().map(|directory| directory.join(place::name_of(set)));
    match socket.and_then(|socket| Call::connect(&socket).map(|_| socket)) {
        Err(_) => Ok(()),
        Ok(socket) => Err(Failure::error(format!(
            "{}: its array is being served: {} answers; nothing was written",
            member.display(),
            socket.display()
        ))
        .hint("write to it where it is served, or holdfast stop ends that first")),
    }
}

/// The array these are members of, if they are of one. Members that cannot be opened are passed over:
/// whoever serves the array knows best what has become of them.
fn the_array<'a>(members: impl Iterator<Item = &'a PathBuf>, group: &Group) -> Option<Uuid> {
    let mut world = World::new().ok()?;
    let mut sets = BTreeSet::new();
    for path in members {
        let named = [(path.as_path(), Naming::Member)];
        let Ok(mut opened) = world.open_named(&named, Access::Read, &Report::keeping()) else {
            continue;
        };
        let mut disks: Vec<_> = opened.iter_mut().map(|member| &mut member.disk).collect();
        let probes = scan(&mut disks, &mut world.clock);
        sets.extend(probes.into_iter().filter_map(|probe| Some(probe.superblock.ok()?.set_uuid)));
        if export::is_one(path) && !sets.is_empty() {
            // The next one may be a server that lets people wait.
            break;
        }
    }
    sets.retain(|set| group.set.is_none_or(|meant| meant == *set));
    sets.pop_first().filter(|_| sets.is_empty())
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
    let absolute = absolute(Path::new(word));
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
