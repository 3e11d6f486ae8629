//! Members seen through an overlay file: what is written stays in the file.
//!
//! One file serves all members of a command. It remembers each by name, size and a fingerprint of
//! its superblocks, so that a member that was written to meanwhile is noticed: the blocks in the
//! file were meant for what was there before.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_core::block::{BlockDevice, Fault};
use holdfast_core::time::Clock;
use holdfast_host::blocklog::{Kind, Log, LogError, MemberFacts, Phase};
use holdfast_raid::scan::scan;
use holdfast_raid::superblock::Uuid;

use crate::exit::Failure;
use crate::members::{Member, World, now};
use crate::metadata;
use crate::report::Report;

/// Whether the members themselves are written to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// The file that takes the writes, if one was named.
    pub(crate) overlay: Option<PathBuf>,
    /// What is forced goes to an overlay, unless this is set.
    pub(crate) in_place: bool,
}

/// What is done through the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Reads see what the file holds.
    Look,
    /// Writes go to the file, which is made if it is not there.
    Change,
}

impl Way {
    /// Whether writes are kept from the members.
    pub(crate) const fn spares_members(&self, forced: bool) -> bool {
        self.overlay.is_some() || forced && !self.in_place
    }

    /// The file: the one named, or one called after the array.
    fn file(&self, set: Option<Uuid>) -> PathBuf {
        self.overlay.clone().unwrap_or_else(|| default_name(set))
    }
}

/// `holdfast-a0a6769a.overlay`, in the current directory.
fn default_name(set: Option<Uuid>) -> PathBuf {
    let first = set.map(|uuid| format!("-{:.8}", uuid.to_string()));
    format!("holdfast{}.overlay", first.unwrap_or_default()).into()
}

/// Puts an overlay between these members and whoever uses them.
pub(crate) fn put_over(
    members: Vec<Member>,
    way: &Way,
    set: Option<Uuid>,
    using: Use,
    world: &mut World,
    report: &Report,
) -> Result<Vec<Member>, Failure> {
    let (mut names, mut disks) = (Vec::new(), Vec::new());
    for member in members {
        names.push(member.path);
        disks.push(member.disk);
    }
    let set = set.or_else(|| {
        let named = way.overlay.is_some();
        let probes = if named { Vec::new() } else { scan(&mut disks, &mut world.clock) };
        probes.into_iter().find_map(|probe| probe.superblock.ok()).map(|block| block.set_uuid)
    });
    let mut facts = Vec::new();
    for (name, disk) in names.iter().zip(&mut disks) {
        facts.push(metadata::facts(name, disk, &mut world.clock)?);
    }
    let file = way.file(set);
    let log = Arc::new(open(&file, using, &facts)?);
    let mut covered = Vec::new();
    for ((name, disk), facts) in names.into_iter().zip(disks).zip(&facts) {
        let number = number(&log, facts, &name, using)?;
        let disk = match number {
            Some(number) => disk.over(Arc::clone(&log), number, world.pool()),
            None => disk,
        };
        covered.push(Member { path: name, disk });
    }
    if using == Use::Change {
        log.sync().map_err(|fault| cannot(&file, fault))?;
        let file = file.display();
        report.note(format_args!(
            "the members are left alone: what is written goes to {file}; \
             holdfast overlay commit {file} writes it to them, --overlay {file} sees it"
        ));
    }
    Ok(covered)
}

fn open(file: &Path, using: Use, facts: &[MemberFacts]) -> Result<Log, Failure> {
    let log = match using {
        Use::Look => Log::open(file, false).map_err(refused)?,
        Use::Change if !file.exists() => {
            return Log::create(file, Kind::Overlay, now().seconds(), facts).map_err(refused);
        }
        Use::Change => Log::open(file, true).map_err(refused)?,
    };
    let name = file.display();
    if log.header().kind != Kind::Overlay {
        return Err(Failure::error(format!("{name}: is a copy of metadata, not an overlay"))
            .hint("holdfast restore brings it back"));
    }
    match (log.phase(), using) {
        (Phase::Open, _) | (Phase::Committing, Use::Look) => Ok(log),
        (Phase::Committing, Use::Change) => {
            Err(Failure::error(format!("{name}: its commit was begun and not finished"))
                .hint(format!("holdfast overlay commit {name} finishes it")))
        }
        (Phase::Committed, _) => {
            Err(Failure::error(format!("{name}: has been committed; the members hold it all"))
                .hint("leave --overlay out; the file can be removed"))
        }
    }
}

/// The number a log knows a member by; when writing it gets one.
fn number(log: &Log, facts: &MemberFacts, name: &Path, using: Use) -> Result<Option<u32>, Failure> {
    let known = log.members();
    let found = known.iter().position(|other| other.name == facts.name);
    let Some(index) = found else {
        return match using {
            Use::Look => Ok(None),
            Use::Change => {
                log.add_member(facts).map(Some).map_err(|fault| cannot(log.path(), fault))
            }
        };
    };
    let (name, file) = (name.display(), log.path().display());
    let other = &known[index];
    let moved = (other.sectors, other.block_bytes) != (facts.sectors, facts.block_bytes);
    if moved {
        return Err(Failure::error(format!(
            "{name}: has {} sectors now, {file} was made over one of {}",
            facts.sectors, other.sectors
        )));
    }
    if other.fingerprint != facts.fingerprint && log.phase() == Phase::Open {
        return Err(Failure::error(format!(
            "{name}: somebody has written metadata to it since {file} was begun"
        ))
        .hint("what the file holds was meant for what was there before; begin another"));
    }
    Ok(Some(index as u32))
}

/// A block log that cannot be used, as the end of a run.
pub(crate) fn refused(error: LogError) -> Failure {
    let failure = Failure::error(error.to_string());
    match error {
        LogError::Locked(_) => failure.hint("wait until it has finished"),
        LogError::Damaged { .. } => {
            failure.hint("something has overwritten the file; a copy of it may still be whole")
        }
        _ => failure,
    }
}

/// A block log that takes no more.
pub(crate) fn cannot(file: &Path, fault: Fault) -> Failure {
    Failure::error(format!("{}: {fault}", file.display()))
}

/// Whether a device is what the log says it was when the overlay began.
pub(crate) fn is_as_before(
    facts: &MemberFacts,
    disk: &mut impl BlockDevice,
    clock: &mut impl Clock,
) -> Result<bool, Fault> {
    Ok(metadata::fingerprint(disk, clock)? == facts.fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn force_spares_the_members_unless_told_otherwise() {
        let way =
            |overlay: Option<&str>, in_place| Way { overlay: overlay.map(PathBuf::from), in_place };
        for (overlay, in_place, forced, spares) in [
            (None, false, false, false),
            (None, false, true, true),
            (None, true, true, false),
            (Some("f"), false, false, true),
            (Some("f"), false, true, true),
        ] {
            assert_eq!(way(overlay, in_place).spares_members(forced), spares);
        }
        let set: Uuid = "a0a6769a:c2de40e1:9df19186:965f3703".parse().unwrap();
        assert_eq!(way(None, false).file(Some(set)), Path::new("holdfast-a0a6769a.overlay"));
        assert_eq!(way(Some("f"), false).file(Some(set)), Path::new("f"));
        assert_eq!(way(None, false).file(None), Path::new("holdfast.overlay"));
    }
}
