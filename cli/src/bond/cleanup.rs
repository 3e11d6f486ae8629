//! Putting back what drivers that died have left.

use std::fs;
use std::os::unix::net::UnixStream;

use holdfast_host::bond::guard;
use holdfast_host::bond::journal::{self, Journal, Opened};
use holdfast_host::bond::link::Name;
use holdfast_host::bond::netlink::Netlink;

use super::place::Place;
use super::setup::failed;
use crate::exit::Failure;

/// Puts back members of bonds whose drivers are gone, removes guards that belong to nobody, and
/// dead sockets and journals. Bonds that run are left alone. Says what it did, a line each.
pub(crate) fn clean(place: &Place, netlink: &mut Netlink) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    let mut in_use = Vec::new();
    for bond in place.journals() {
        let path = place.journal(&bond);
        match Journal::open(&path).map_err(failed(path.display()))? {
            Opened::Held => {
                in_use.extend(Journal::peek(&path).unwrap_or_default().iter().map(|b| b.index));
            }
            Opened::Ours(journal) => {
                for before in journal.members() {
                    let what = format_args!("{} of bond {bond}, which died", before.name);
                    let there = journal::restore(netlink, before)
                        .map_err(failed(format_args!("putting back {what}")))?;
                    said.push(match there {
                        true => format!("put back {what}"),
                        false => format!("gone: {what}"),
                    });
                }
                journal.remove().map_err(failed(path.display()))?;
            }
        }
    }
    for bond in place.sockets() {
        let path = place.socket(&bond);
        if UnixStream::connect(&path).is_err() && !place.journal(&bond).exists() {
            let _ = fs::remove_file(&path);
        }
    }
    place.leave();
    said.extend(stray_guards(netlink, &in_use)?);
    Ok(said)
}

/// The bond of this place that has an interface as a member, going by what is written down.
pub(super) fn owner(place: &Place, index: u32) -> Option<Name> {
    let has = |bond: &Name| {
        let members = Journal::peek(&place.journal(bond)).unwrap_or_default();
        members.iter().any(|before| before.index == index)
    };
    place.journals().into_iter().find(has)
}

/// Guards whose journal is lost.
fn stray_guards(netlink: &mut Netlink, in_use: &[u32]) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    for link in netlink.links().map_err(failed("interfaces"))? {
        let guarded = guard::find(netlink, link.index).is_ok_and(|guards| !guards.is_empty());
        if guarded && !in_use.contains(&link.index) {
            guard::remove(netlink, link.index, false)
                .map_err(failed(format_args!("removing the guard of {}", link.name)))?;
            said.push(format!("removed a guard that belonged to nobody from {}", link.name));
        }
    }
    Ok(said)
}
