//! Taking a device in while the array is served.
//!
//! What the device says of itself and carries is read by a thread of its own, over a file of its own:
//! a device that does not answer holds up nobody but whoever asked for it. Then the serving thread
//! opens the device, which waits for nothing, and the array takes it in. An export's connection is
//! handed over instead: making another one would wait.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use holdfast_core::block::BlockDevice;
use holdfast_host::clock::Wakeup;
use holdfast_host::member::Access;
use holdfast_host::signature::Signature;
use holdfast_raid::scan::Probe;

use crate::commands::add::{self, Terms};
use crate::commands::arrival::Arrival;
use crate::commands::change::Changed;
use crate::commands::re_add;
use crate::commands::replace::{self, With};
use crate::config::{Caution, Selector};
use crate::control::protocol::Newcomer;
use crate::disk::Disk;
use crate::exit::Failure;
use crate::export;
use crate::members::{Member, World};
use crate::report::Report;
use crate::session::Session;

/// What a device is wanted for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Add,
    ReAdd,
    Replace(String),
}

/// A device that is being looked at.
#[derive(Debug)]
pub(super) struct Visit {
    purpose: Purpose,
    newcomer: Newcomer,
    seen: Receiver<Result<Seen, Failure>>,
}

/// What was seen of it.
#[derive(Debug)]
struct Seen {
    probe: Probe,
    marks: Vec<Signature>,
    /// The device, if it is an export.
    connected: Option<Disk>,
}

/// How far a device has come.
pub(super) enum Came {
    /// It has not answered yet.
    Waits(Visit),
    /// The array has it, or would; whether it was a dry run.
    In(Changed, bool),
}

impl Visit {
    /// Begins to look at the device; `bell` rings when that is done.
    pub(super) fn begin(
        purpose: Purpose,
        newcomer: &Newcomer,
        session: &Session,
        bell: Wakeup,
    ) -> Result<Self, Failure> {
        if session.array.device(0).is_overlaid() {
            let text =
                "the array lies on an overlay, another device would not; nothing was written";
            return Err(Failure::error(text));
        }
        if let Purpose::Replace(member) = &purpose {
            // Before anybody waits for a device that is not going to be used.
            let member = session.select(&Selector::parse(member)?)?;
            let path = session.path(member).display();
            let refused = |refusal| Failure::error(format!("{path} cannot be replaced: {refusal}"));
            session.array.check_replaced(member).map_err(refused)?;
        }
        let (tell, seen) = mpsc::channel();
        let (path, dry_run) = (newcomer.device.clone(), newcomer.dry_run);
        let look = move || {
            let _ = tell.send(look(&path, dry_run));
            bell.signal();
        };
        let thread = thread::Builder::new().name("holdfast-newcomer".to_owned()).spawn(look);
        thread.map_err(|error| Failure::error(format!("cannot look at the device: {error}")))?;
        Ok(Self { purpose, newcomer: newcomer.clone(), seen })
    }

    /// Takes the device in, once it has been looked at.
    pub(super) fn go_on(
        self,
        session: &mut Session,
        world: &mut Option<World>,
    ) -> Result<Came, Failure> {
        let seen = match self.seen.try_recv() {
            Err(TryRecvError::Empty) => return Ok(Came::Waits(self)),
            Err(TryRecvError::Disconnected) => {
                return Err(Failure::error("whoever looked at the device is gone"));
            }
            Ok(seen) => seen?,
        };
        let Newcomer { device, write_mostly, dry_run } = self.newcomer;
        let caution = Caution { dry_run, yes: true };
        let known = session.known(&device);
        let mut arrive = |seen, session: &Session| arrival(&device, seen, session, world, dry_run);
        let changed = match (self.purpose, known) {
            (Purpose::Add, None) => {
                let arrival = arrive(seen, session)?;
                add::take_in(session, arrival, Terms { write_mostly, force: false, caution })?
            }
            (Purpose::Add, Some(_)) => {
                let device = device.display();
                return Err(Failure::error(format!("{device} is one of the array's devices"))
                    .hint("holdfast re-add brings one back that was away"));
            }
            (Purpose::ReAdd, Some(member)) => {
                // It is looked at for reading only, and written through the file that is open already.
                let geometry = session.array.device(member).geometry();
                let probe = Probe { geometry, ..seen.probe };
                if let Some(connected) = seen.connected {
                    // A loss that nobody has noticed yet is one all the same.
                    session.drop_the_gone();
                    re_add::bring_back(session, member, probe.clone(), "re-add", true)?;
                    reconnect(session, member, connected, dry_run)?;
                }
                re_add::bring_back(session, member, probe, "re-add", dry_run)?
            }
            (Purpose::ReAdd, None) => {
                let arrival = arrive(seen, session)?;
                let (member, probe) = re_add::introduce(session, arrival)?;
                re_add::bring_back(session, member, probe, "re-add", dry_run)?
            }
            (Purpose::Replace(member), known) => {
                let with = match known {
                    Some(_) => With::Known(device.clone()),
                    None => With::New(Box::new(arrive(seen, session)?)),
                };
                replace::begin(session, &Selector::parse(&member)?, with, false, caution)?
            }
        };
        Ok(Came::In(changed, dry_run))
    }
}

/// Looks at a device. Waits as long as that takes.
fn look(path: &Path, dry_run: bool) -> Result<Seen, Failure> {
    let mut world = World::new()?;
    let access = if export::is_one(path) && !dry_run { Access::Write } else { Access::Read };
    let member = open(path, access, &mut world)?;
    let Arrival { probe, marks, disk, .. } = Arrival::look(member, true, &mut world.clock)?;
    let connected = disk.is_export().then_some(disk);
    Ok(Seen { probe, marks, connected })
}

/// Gives a member that was away the connection that has just been made.
fn reconnect(
    session: &mut Session,
    member: usize,
    connected: Disk,
    dry_run: bool,
) -> Result<(), Failure> {
    let path = session.path(member).display().to_string();
    session.array.device_mut(member).reconnect(connected, dry_run).map_err(|why| {
        Failure::error(format!("{path} cannot be brought back: {why}")).hint(
            "end its server and start it again; with fence=close in the address you vouch that \
             nothing of the lost connection can land any more",
        )
    })
}

/// Opens a device that has been looked at, on the serving thread.
fn arrival(
    path: &Path,
    seen: Seen,
    session: &Session,
    world: &mut Option<World>,
    dry_run: bool,
) -> Result<Arrival, Failure> {
    let world = match world {
        Some(world) => world,
        None => world.insert(World::beside(&session.clock)?),
    };
    if let Some(mut disk) = seen.connected {
        let watch = session.clock.watch().expect("a session's clock has one");
        disk.move_to(watch)
            .map_err(|error| Failure::error(format!("{}: {error}", path.display())))?;
        let path = path.to_owned();
        return Ok(Arrival { path, disk, probe: seen.probe, marks: seen.marks });
    }
    let access = if dry_run { Access::Read } else { Access::Write };
    let Member { path, disk } = open(path, access, world)?;
    let probe = Probe { geometry: disk.geometry(), ..seen.probe };
    Ok(Arrival { path, disk, probe, marks: seen.marks })
}

fn open(path: &Path, access: Access, world: &mut World) -> Result<Member, Failure> {
    if export::is_one(path) {
        return world.open_export(path, access, &Report::keeping());
    }
    let paths: [PathBuf; 1] = [path.to_owned()];
    let opened = world.open(&paths, access, &Report::keeping())?;
    Ok(opened.into_iter().next().expect("one was asked for"))
}
