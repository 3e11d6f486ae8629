//! The way back from verbs that write metadata.
//!
//! Before the first write, the metadata of every device concerned is copied into a file, the same
//! kind that `holdfast dump` makes. When the verb is done the file learns what became of it, so that
//! `holdfast restore` can tell whether the array has moved on since: then going back would bring old
//! claims over new data, and it refuses.
//!
//! Metadata alone goes back. What a resync or a rebuild has written to data areas stays; where data
//! may change, `--overlay` is the way to be able to return.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use holdfast_core::block::BlockDevice;
use holdfast_core::time::Clock;
use holdfast_host::blocklog::{Kind, Log, LogError};
use holdfast_host::member::Access;

use crate::config::UndoWish;
use crate::exit::Failure;
use crate::members::{World, now};
use crate::metadata;
use crate::parts::Naming;
use crate::report::Report;

/// A device whose metadata is kept.
#[derive(Debug)]
struct Kept {
    name: PathBuf,
    regions: Vec<Range<u64>>,
    before: u64,
}

/// A file with the metadata as it was.
#[derive(Debug)]
pub(crate) struct Undo {
    log: Option<Log>,
    path: PathBuf,
    kept: Vec<Kept>,
    settled: bool,
}

impl Undo {
    /// Keeps the metadata of these devices, or none if that is not wished.
    pub(crate) fn begin<'a, D: BlockDevice + 'a, C: Clock>(
        wish: &UndoWish,
        devices: impl IntoIterator<Item = (&'a Path, &'a mut D, Vec<Range<u64>>)>,
        clock: &mut C,
    ) -> Result<Option<Self>, Failure> {
        let UndoWish::Keep { verb, file } = wish else { return Ok(None) };
        let mut devices: Vec<_> = devices.into_iter().collect();
        let mut facts = Vec::new();
        for (name, disk, _) in &mut devices {
            facts.push(metadata::facts(name, *disk, clock)?);
        }
        let path = match file {
            Some(file) => file.clone(),
            None => default_path(verb)
                .map_err(|why| no_undo(format!("no place for the undo of {verb}: {why}")))?,
        };
        let log = Log::create(&path, Kind::Dump, now().seconds(), &facts).map_err(cannot_keep)?;
        let mut undo = Self { log: Some(log), path, kept: Vec::new(), settled: false };
        for (number, (name, disk, regions)) in (0..).zip(devices) {
            undo.keep(number, name, disk, clock, regions)?;
        }
        Ok(Some(undo))
    }

    /// Keeps the metadata of another device, too.
    pub(crate) fn include(
        &mut self,
        name: &Path,
        disk: &mut impl BlockDevice,
        clock: &mut impl Clock,
        regions: Vec<Range<u64>>,
    ) -> Result<(), Failure> {
        let facts = metadata::facts(name, disk, clock)?;
        let number = self
            .log()
            .add_member(&facts)
            .map_err(|fault| no_undo(format!("{}: {fault}", self.path.display())))?;
        self.keep(number, name, disk, clock, regions)
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("open until it is settled")
    }

    fn keep(
        &mut self,
        number: u32,
        name: &Path,
        disk: &mut impl BlockDevice,
        clock: &mut impl Clock,
        regions: Vec<Range<u64>>,
    ) -> Result<(), Failure> {
        let regions = metadata::tidy(regions, disk);
        let before = metadata::digest(disk, clock, &regions)
            .map_err(|fault| metadata::unreadable(name, fault))?;
        metadata::copy(self.log(), number, disk, clock, &regions)
            .and_then(|()| self.log().sync())
            .map_err(|fault| no_undo(format!("{}: {fault}", self.path.display())))?;
        self.kept.push(Kept { name: name.to_owned(), regions, before });
        Ok(())
    }

    /// The verb is done: notes what became of the metadata and says how to go back. If nothing has
    /// changed there is nothing to go back to, and the file goes away.
    pub(crate) fn finish(mut self, report: &Report) {
        match self.settle() {
            Ok(true) => {
                let path = self.path.display();
                report.note(format_args!("undo: holdfast restore {path}"));
            }
            Ok(false) => {}
            Err(failure) => {
                let path = self.path.display();
                report.note(format_args!("{failure}; {path} holds the metadata as it was before"));
            }
        }
    }

    /// Whether anything has changed. Looks at the devices by name: those of the verb may still be
    /// at work elsewhere, and looking takes no lock.
    fn settle(&mut self) -> Result<bool, Failure> {
        self.settled = true;
        let mut world = World::new()?;
        let quiet = Report::keeping();
        let mut after = Vec::new();
        for kept in &self.kept {
            let named = [(kept.name.as_path(), Naming::Literal)];
            let mut opened = world.open_named(&named, Access::Read, &quiet)?;
            let digest = metadata::digest(&mut opened[0].disk, &mut world.clock, &kept.regions);
            after.push(digest.map_err(|fault| metadata::unreadable(&kept.name, fault))?);
        }
        if self.kept.iter().zip(&after).all(|(kept, after)| kept.before == *after) {
            self.log = None;
            let _ = fs::remove_file(&self.path);
            return Ok(false);
        }
        for (number, digest) in (0..).zip(&after) {
            self.log()
                .remark(number, &digest.to_le_bytes())
                .map_err(|fault| Failure::error(format!("{}: {fault}", self.path.display())))?;
        }
        self.log()
            .sync()
            .map_err(|fault| Failure::error(format!("{}: {fault}", self.path.display())))?;
        Ok(true)
    }
}

impl Drop for Undo {
    /// A verb that stopped early has mostly changed nothing; then no file is left behind.
    fn drop(&mut self) {
        if !self.settled {
            let _ = self.settle();
        }
    }
}

/// A name in the user's state directory: when, what.
fn default_path(verb: &str) -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .ok_or("neither XDG_STATE_HOME nor HOME is set")?;
    let directory = state.join("holdfast/undo");
    fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let (seconds, pid) = (now().seconds(), std::process::id());
    Ok(directory.join(format!("{seconds}-{verb}-{pid}.undo")))
}

fn cannot_keep(error: LogError) -> Failure {
    no_undo(error.to_string())
}

fn no_undo(why: String) -> Failure {
    Failure::error(format!("{why}; nothing was written"))
        .hint("--undo FILE keeps the undo elsewhere, --no-undo goes on without one")
}
