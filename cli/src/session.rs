//! An array, assembled from the devices of the command line.
//!
//! Opening a session answers, in this order: can every device be opened, what does each say it is,
//! do they make an array, and who was left out and why. Strangers and stale members are named and
//! left out, as mdadm does. Verbs that write are stricter: a device that looks like a member and
//! cannot be one (a superblock that cannot be true, a field that differs from the others', a copy)
//! stops them, because leaving it out would turn an accident into a stale member.

use std::path::{Path, PathBuf};

use holdfast_core::block::BlockDevice;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_core::time::Clock;
use holdfast_host::clock::HostClock;
use holdfast_host::member::Access;
use holdfast_raid::Assembled;
use holdfast_raid::assembly::{AssembleError, Options, assemble};
use holdfast_raid::config::Config;
use holdfast_raid::event::Event;
use holdfast_raid::layout::{Layout, Shape};
use holdfast_raid::scan::{Probe, ProbeError, scan};
use holdfast_raid::status::{MemberState, MemberStatus, Status};
use holdfast_raid::superblock::Superblock;

use crate::config::{Group, Selector};
use crate::disk::Disk;
use crate::events::{Names, Teller};
use crate::exit::Failure;
use crate::export;
use crate::members::{self, Member, World};
use crate::metadata;
use crate::overlay::{self, Use};
use crate::parts::Naming;
use crate::progress::Progress;
use crate::report::Report;
use crate::run;
use crate::undo::Undo;

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Look at metadata and data; no byte of a member changes.
    Look,
    /// As for a change, to see what would be refused; no byte of a member changes.
    Rehearse,
    /// Change metadata or data.
    Change,
    /// The same for as long as others use the array: spares are put to use without being asked.
    Serve,
}

/// An assembled array and what the command line calls its parts.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) array: Assembled<Disk>,
    pub(crate) clock: HostClock,
    /// One per device, in the order given; the array's member indices.
    pub(crate) paths: Vec<PathBuf>,
    /// What each device said of itself before assembly.
    pub(crate) superblocks: Vec<Option<Superblock>>,
    /// Pages of counters Linux would hold for the bitmap: those with a bit set.
    pub(crate) bitmap_pages: Option<u64>,
    /// What has been said of the array's events.
    pub(crate) teller: Teller,
    /// The metadata as it was, until the array is stopped.
    pub(crate) undo: Option<Undo>,
}

impl Session {
    /// Opens the group's members and assembles them.
    pub(crate) fn open(group: &Group, purpose: Purpose, report: &Report) -> Result<Self, Failure> {
        Self::open_beside(group, None, purpose, report).map(|(session, _)| session)
    }

    /// As [`Session::open`], with another device that must not be one of the members.
    pub(crate) fn open_beside(
        group: &Group,
        other: Option<&Path>,
        purpose: Purpose,
        report: &Report,
    ) -> Result<(Self, Option<Member>), Failure> {
        let mut world = World::new()?;
        let writes = matches!(purpose, Purpose::Change | Purpose::Serve);
        let spares = writes && group.way.spares_members(group.force);
        let access = match (writes, spares) {
            (false, _) => Access::Read,
            (true, true) => Access::Steady,
            (true, false) => Access::Write,
        };
        let named: Vec<(&Path, Naming)> = group
            .members
            .iter()
            .map(|path| (path.as_path(), Naming::Member))
            .chain(other.map(|path| (path, Naming::Literal)))
            .collect();
        let mut opened = world.open_named(&named, access, report)?;
        if spares || group.way.overlay.is_some() {
            let using = if writes { Use::Change } else { Use::Look };
            let set = group.set;
            opened = overlay::put_over(opened, &group.way, set, using, &mut world, report)?;
        }
        let beside = other.and_then(|_| opened.pop());
        let session = Self::assemble(world, opened, group, purpose, report)?;
        Ok((session, beside))
    }

    /// Assembles devices that are open already.
    pub(crate) fn assemble(
        mut world: World,
        opened: Vec<Member>,
        group: &Group,
        purpose: Purpose,
        report: &Report,
    ) -> Result<Self, Failure> {
        let (paths, mut disks): (Vec<PathBuf>, Vec<Disk>) =
            opened.into_iter().map(|member| (member.path, member.disk)).unzip();
        let probes = scan(&mut disks, &mut world.clock);
        let undo = match purpose {
            Purpose::Change if !group.way.spares_members(group.force) => {
                let regions = probes.iter().map(metadata::of_probe);
                let devices = paths.iter().zip(&mut disks).zip(regions);
                let devices =
                    devices.map(|((path, disk), regions)| (path.as_path(), disk, regions));
                Undo::begin(&group.undo, devices, &mut world.clock)?
            }
            _ => None,
        };
        let strict = purpose != Purpose::Look && !group.force;
        for (path, probe) in paths.iter().zip(&probes) {
            if let Err(error) = &probe.superblock
                && strict
                && is_damaged(error)
            {
                return Err(unfit(path, &format!("damaged: {error}")));
            }
        }
        let superblocks: Vec<Option<Superblock>> =
            probes.iter().map(|probe| probe.superblock.as_ref().ok().cloned()).collect();
        let config = group.knobs.turn(Config {
            auto_sync: purpose == Purpose::Serve,
            read_only: purpose == Purpose::Look,
            epoch_secs: members::now().seconds(),
            // In the foreground there is nobody to yield to.
            sync_speed_max: match purpose {
                Purpose::Serve => Config::default().sync_speed_max,
                _ => u64::MAX,
            },
            ..Config::default()
        });
        let options = Options { force: group.force, set: group.set };
        let troubles = troubles(&paths, &probes);
        name_odd_logs(&paths, &probes, report);
        let bitmap_pages = bitmap_pages(&probes);
        let array = assemble(probes, config, &options)
            .map_err(|error| assemble_failure(&error, &paths, &troubles, &superblocks))?;
        let array = Assembled::new(array, disks);
        let (clock, teller) = (world.clock, Teller::default());
        let session = Self { array, clock, paths, superblocks, bitmap_pages, teller, undo };
        if strict {
            session.refuse_misfits()?;
        }
        session.name_the_left_out(report);
        Ok(session)
    }

    /// The array's state.
    pub(crate) fn status(&self) -> Status {
        self.array.status()
    }

    /// The array's arithmetic.
    pub(crate) fn layout(&self) -> Option<Layout> {
        let status = self.status();
        let shape = Shape {
            level: status.level,
            layout: status.layout,
            raid_disks: status.raid_disks,
            chunk_sectors: status.chunk_sectors,
            member_sectors: status.member_sectors,
        };
        let mut sizes = vec![0; status.raid_disks as usize];
        for (member, superblock) in status.members.iter().zip(&self.superblocks) {
            if let (Some(slot), Some(superblock)) = (member.slot, superblock)
                && let Some(size) = sizes.get_mut(slot as usize)
            {
                *size = superblock.data_size;
            }
        }
        Layout::new(&shape, &sizes).ok()
    }

    /// Size of the array in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.array.geometry().sectors * SECTOR_BYTES
    }

    /// Smallest unit of a request in bytes.
    pub(crate) fn block_bytes(&self) -> u64 {
        self.array.geometry().block_bytes.into()
    }

    /// What the command line calls a device.
    pub(crate) fn path(&self, member: usize) -> &Path {
        self.paths.get(member).map_or_else(|| Path::new("?"), PathBuf::as_path)
    }

    /// What the command line calls devices and slots.
    pub(crate) fn names(&self) -> Names {
        let status = self.status();
        let serving = |slot: u32| {
            status
                .members
                .iter()
                .position(|member| member.slot == Some(slot) && serves(member.state))
        };
        let slot_name = |slot: u32| match serving(slot) {
            Some(member) => self.path(member).display().to_string(),
            None => format!("slot {slot} (missing)"),
        };
        Names {
            devices: self.paths.iter().map(|path| path.display().to_string()).collect(),
            slots: (0..status.raid_disks).map(slot_name).collect(),
        }
    }

    /// The device that is called so, if one is; one that has been let go of is nobody.
    pub(crate) fn known(&self, path: &Path) -> Option<usize> {
        let same = |index: &usize| {
            let other = &self.paths[*index];
            (other == path || same_file(other, path)) && !self.array.device(*index).is_closed()
        };
        (0..self.paths.len()).find(same)
    }

    /// The device a selector means.
    pub(crate) fn select(&self, selector: &Selector) -> Result<usize, Failure> {
        match selector {
            Selector::Path(path) => self.known(path).ok_or_else(|| {
                let path = path.display();
                Failure::usage(format!("--member {path}: not among the members given"))
                    .hint("name it as one of the MEMBERs too, or as slot:N")
            }),
            Selector::Slot(slot) => {
                let status = self.status();
                let in_slot = |member: &MemberStatus| {
                    member.slot == Some(*slot) && member.state != MemberState::Foreign
                };
                // Whoever serves the slot comes before whoever once did.
                let serving = |member: &MemberStatus| in_slot(member) && serves(member.state);
                let found = status.members.iter().position(serving);
                found.or_else(|| status.members.iter().position(in_slot)).ok_or_else(|| {
                    Failure::error(match *slot < status.raid_disks {
                        true => format!("slot {slot} is empty already"),
                        false => format!("the array has slots 0 to {}", status.raid_disks - 1),
                    })
                })
            }
        }
    }

    /// Runs what has been started until nothing is left to do, with progress.
    pub(crate) fn run(&mut self, report: &Report, event: impl FnMut(Event)) {
        let mut progress = Progress::new(report.is_watched());
        run::until_quiet(&mut self.array, &mut self.clock, &mut progress, event);
    }

    /// As [`Session::run`]; what happens is told, then shown to the caller.
    pub(crate) fn run_and_tell(&mut self, report: &Report, mut seen: impl FnMut(&Event, &Names)) {
        let names = self.names();
        let mut teller = std::mem::take(&mut self.teller);
        self.run(report, |event| {
            teller.take(&event, &names, report);
            seen(&event, &names);
        });
        self.teller = teller;
    }

    /// Tells what has happened since the last time, then shows it to the caller.
    pub(crate) fn tell(&mut self, report: &Report, mut seen: impl FnMut(&Event, &Names)) {
        let events = self.array.take_events();
        if events.is_empty() {
            return;
        }
        let names = self.names();
        for event in &events {
            self.teller.take(event, &names, report);
            seen(event, &names);
        }
    }

    /// Takes members out of service whose connection has ended while nothing was asked of them; whether
    /// there were any. What is under way is answered by the device, and the engine acts on that.
    pub(crate) fn drop_the_gone(&mut self) -> bool {
        let now = self.clock.now();
        let mut any = false;
        for member in 0..self.paths.len() {
            let idle = self.array.outstanding(member) == 0;
            if idle && self.array.device_mut(member).has_gone(now) {
                self.array.member_gone(member);
                any = true;
            }
        }
        any
    }

    /// Stops the array as md would and says what happened on the way.
    pub(crate) fn stop(&mut self, report: &Report) -> Status {
        self.stop_and_tell(report, |_, _| {})
    }

    /// As [`Session::stop`]; what happens is told, then shown to the caller.
    pub(crate) fn stop_and_tell(
        &mut self,
        report: &Report,
        mut seen: impl FnMut(&Event, &Names),
    ) -> Status {
        let names = self.names();
        for event in run::stop(&mut self.array, &mut self.clock) {
            self.teller.take(&event, &names, report);
            seen(&event, &names);
        }
        self.teller.finish(report);
        if let Some(undo) = self.undo.take() {
            undo.finish(report);
        }
        self.status()
    }

    /// Refuses devices that carry the array's uuid and yet do not fit into it: bent fields, copies.
    fn refuse_misfits(&self) -> Result<(), Failure> {
        let status = self.status();
        for (index, member) in status.members.iter().enumerate() {
            let claims = |block: &Superblock| block.set_uuid == status.uuid;
            let ours = self.superblocks[index].as_ref().is_some_and(claims);
            if ours && member.state == MemberState::Foreign {
                let why = member.why.as_deref().unwrap_or("does not fit into the array");
                return Err(unfit(self.path(index), why));
            }
        }
        Ok(())
    }

    /// Says who does not take part, and what force has taken upon itself.
    fn name_the_left_out(&self, report: &Report) {
        let status = self.status();
        if let Some(bytes) = status.at_risk_bytes {
            report.at_risk(bytes);
        }
        for (index, member) in status.members.iter().enumerate() {
            let path = self.path(index).display();
            let why = member.why.as_deref().unwrap_or("not part of this array");
            match member.state {
                MemberState::Stale | MemberState::Foreign => {
                    report.note(format_args!("{path}: left out: {why}"));
                }
                MemberState::Faulty => report.note(format_args!("{path}: faulty: {why}")),
                MemberState::InSync => {
                    if let Some(why) = &member.why {
                        report.note(format_args!(
                            "{path}: {why}; writes it missed are lost or mixed with old data"
                        ));
                    }
                }
                MemberState::Rebuilding | MemberState::Replacing | MemberState::Spare => {}
            }
        }
    }
}

/// Whether a device looks like a member that has come to harm, rather than like a stranger.
const fn is_damaged(error: &ProbeError) -> bool {
    match error {
        ProbeError::Invalid { .. }
        | ProbeError::Unreadable { .. }
        | ProbeError::TooSmall { .. } => true,
        ProbeError::NotFound => false,
    }
}

/// A verb that writes was told of a member it would have to leave out.
fn unfit(path: &Path, why: &str) -> Failure {
    Failure::error(format!("{}: {why}; nothing was written", path.display()))
        .hint("leave it out, or --force leaves it out, to go on without it")
}

/// Why there is no array, with paths in place of indices and a way out.
fn assemble_failure(
    error: &AssembleError,
    paths: &[PathBuf],
    probes: &[String],
    superblocks: &[Option<Superblock>],
) -> Failure {
    let name = |index: &usize| {
        paths.get(*index).map(|path| path.display().to_string()).unwrap_or_default()
    };
    let list = |members: &[usize]| members.iter().map(name).collect::<Vec<_>>().join(", ");
    match error {
        AssembleError::NoMembers => {
            let failure = Failure::unusable("none of the devices is a member of the array");
            if probes.is_empty() { failure } else { failure.hint(probes.join("; ")) }
        }
        AssembleError::SeveralArrays { sets } => {
            let sets: Vec<String> =
                sets.iter().map(|(uuid, members)| format!("{uuid} ({})", list(members))).collect();
            Failure::unusable(format!("members of {} arrays: {}", sets.len(), sets.join(", ")))
                .hint("name the members of one, or say which with --uuid")
        }
        AssembleError::SplitHistory { first, second, events } => {
            let (one, other) = (side(superblocks, *first), side(superblocks, *second));
            let text = "each call the other gone at event";
            let (a, b) = (name(first), name(second));
            Failure::unusable(format!(
                "split history: {a} and {b} {text} {events}; each may hold writes the other lacks"
            ))
            .hint(format!(
                "{} belongs to one side, {} belongs to the other: leave out the side whose data is \
                 not wanted; holdfast zero-superblock and add bring its members in again",
                list(&one),
                list(&other)
            ))
        }
        AssembleError::TooFewMembers { stale, .. } if !stale.is_empty() => {
            let lagging =
                |(index, behind): &(usize, u64)| format!("{} missed {behind} updates", name(index));
            let lagging: Vec<String> = stale.iter().map(lagging).collect();
            Failure::unusable(format!("{error}; {}", lagging.join(", ")))
                .hint("--force takes what lags; writes it missed are lost or mixed with old data")
        }
        AssembleError::TooFewMembers { .. } => {
            Failure::unusable(error.to_string()).hint(if probes.is_empty() {
                "name the missing members too; examine --scan DIR finds them".to_owned()
            } else {
                probes.join("; ")
            })
        }
        AssembleError::DirtyDegraded { at_risk_bytes, .. } => {
            Failure::unusable(format!("{error} ({})", Human(*at_risk_bytes)))
                .hint("name the missing member too if it still exists; --force starts without it")
        }
        AssembleError::UnsupportedBitmap { .. } | AssembleError::NoBitmap => {
            Failure::unusable(error.to_string()).hint("read and detail work; let Linux md write it")
        }
        AssembleError::OnlySpares { .. }
        | AssembleError::Unsupported { .. }
        | AssembleError::Geometry(_) => Failure::unusable(error.to_string()),
    }
}

/// The devices that a member's role table has where they say they are: with these it ran last.
fn side(superblocks: &[Option<Superblock>], of: usize) -> Vec<usize> {
    let Some(member) = superblocks.get(of).and_then(Option::as_ref) else { return vec![of] };
    let ours = |other: &Superblock| {
        other.set_uuid == member.set_uuid
            && other.role().slot().is_some()
            && member.role_of(other.dev_number) == other.role()
    };
    let known = superblocks.iter().enumerate();
    known.filter(|(_, other)| other.as_ref().is_some_and(ours)).map(|(index, _)| index).collect()
}

/// What is wrong with the devices that cannot be members, one sentence each.
fn troubles(paths: &[PathBuf], probes: &[Probe]) -> Vec<String> {
    let trouble = |(path, probe): (&PathBuf, &Probe)| {
        let why = match (&probe.superblock, &probe.bad_blocks) {
            (Err(error), _) => error.to_string(),
            (Ok(_), Some(Err(problem))) => format!("bad-block log: {problem}"),
            (Ok(_), _) => return None,
        };
        Some(format!("{}: {why}", path.display()))
    };
    paths.iter().zip(probes).filter_map(trouble).collect()
}

/// Says whose bad-block log Linux might refuse.
fn name_odd_logs(paths: &[PathBuf], probes: &[Probe], report: &Report) {
    for (path, probe) in paths.iter().zip(probes) {
        if let Some(Ok(log)) = &probe.bad_blocks
            && !log.flaws.is_sound()
        {
            report.note(format_args!("{}: {}", path.display(), log.flaws));
        }
    }
}

/// Bits of a bitmap that one page of Linux's counters covers.
pub(crate) const BITS_PER_PAGE: u64 = 2048;

/// Pages with a bit set, of the first bitmap that can be read.
fn bitmap_pages(probes: &[Probe]) -> Option<u64> {
    let readable = |probe: &Probe| match &probe.bitmap {
        Some(Ok(bitmap)) => Some(bitmap.clone()),
        _ => None,
    };
    let bitmap = probes.iter().find_map(readable)?;
    let bits = bitmap.header.bits();
    let map = bitmap.bytes.get(256..).unwrap_or_default();
    let is_set =
        |bit: &u64| map.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 != 0);
    let page_is_used = |page: &u64| {
        let first = page * BITS_PER_PAGE;
        (first..(first + BITS_PER_PAGE).min(bits)).any(|bit| is_set(&bit))
    };
    Some((0..bits.div_ceil(BITS_PER_PAGE)).filter(page_is_used).count() as u64)
}

/// Whether a device holds data of its slot.
pub(crate) const fn serves(state: MemberState) -> bool {
    matches!(state, MemberState::InSync | MemberState::Rebuilding)
}

/// Whether two names lead to one file or one export, however they are written.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    if export::is_one(one) || export::is_one(other) {
        return export::is_same(one, other);
    }
    let resolved = |path: &Path| path.canonicalize().ok();
    resolved(one).is_some() && resolved(one) == resolved(other)
}
