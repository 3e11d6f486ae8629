//! What the words mean.
//!
//! [`Job`] is the whole command in plain values: sizes in sectors, layouts as numbers, selectors
//! and seats told apart. Whatever can be refused without looking at a device is refused here, as
//! wrong usage.

pub(crate) mod bench;
pub(crate) mod bond;
mod inject;
mod sim;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(crate) use sim::{
    ArenaTask, Sim, SimArena, SimCoverage, SimMerge, SimMutants, SimReplay, SimRun, SimShrink,
    SimTable,
};

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::nbd::Address;
use holdfast_raid::config::LateWrite;
use holdfast_raid::layout::names;
use holdfast_raid::level::Level;
use holdfast_raid::superblock::{BitmapWish, Minor, Name, Uuid};

use crate::args::{self, LogWord, Verb};
use crate::control::protocol::Request;
use crate::exit::Failure;
use crate::export;
use crate::front::{TlsWish, Wanted};
use crate::knobs::Knobs;
use crate::overlay::Way;

/// mdadm's chunk where the level has chunks and nothing was said: 512 KiB.
const DEFAULT_CHUNK_BYTES: u64 = 512 << 10;

/// One command, understood.
#[derive(Debug)]
pub(crate) enum Job {
    Demo(Demo),
    Create(Create),
    Examine(Examine),
    Detail(Group),
    Mdstat(Group),
    Read(Read),
    Write(Write),
    Check(Check),
    Repair(Repair),
    Rebuild(Change),
    Fail(MemberChange),
    Remove(MemberChange),
    Add(Add),
    ReAdd(ReAdd),
    Replace(Replace),
    ZeroSuperblock(Zero),
    Doctor(Doctor),
    Dump(Dump),
    Restore(Restore),
    OverlayDiff(PathBuf),
    OverlayCommit(OverlayChange),
    OverlayDiscard(OverlayChange),
    Map(Map),
    Plan(Plan),
    Sim(Sim),
    Serve(Serve),
    Served(Served),
    Monitor(Served),
    Bench(bench::Bench),
    Bond(bond::Bond),
    Multipath(args::multipath::MultipathVerb),
    RecoverSearch(Search),
    Man(PathBuf),
    Completions(clap_complete::Shell),
}

/// The members of an array and how to treat them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) members: Vec<PathBuf>,
    /// Take what is dirty and degraded, or lags.
    pub(crate) force: bool,
    /// The array meant, where there are several.
    pub(crate) set: Option<Uuid>,
    /// How the engine is to run meanwhile.
    pub(crate) knobs: Knobs,
    /// Whether the members are written to.
    pub(crate) way: Way,
    /// Whether their metadata is kept before.
    pub(crate) undo: UndoWish,
}

impl Group {
    /// These members, treated as usual.
    pub(crate) fn of(members: Vec<PathBuf>) -> Self {
        let (way, undo) = (Way::default(), UndoWish::None);
        Self { members, force: false, set: None, knobs: Knobs::default(), way, undo }
    }
}

/// Whether metadata is kept before it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UndoWish {
    /// It is not: the verb changes data, or the user does not want it.
    None,
    /// It is, for this verb, in a file of the state directory or in this one.
    Keep { verb: &'static str, file: Option<PathBuf> },
}

impl UndoWish {
    fn new(verb: &'static str, undo: args::UndoArgs) -> Self {
        if undo.no_undo { Self::None } else { Self::Keep { verb, file: undo.undo } }
    }
}

impl From<args::WayArgs> for Way {
    fn from(way: args::WayArgs) -> Self {
        Self { overlay: way.overlay, in_place: way.in_place }
    }
}

#[derive(Debug)]
pub(crate) struct Doctor {
    pub(crate) members: Vec<PathBuf>,
    pub(crate) fix: bool,
    pub(crate) way: Way,
    pub(crate) undo: UndoWish,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) target: PathBuf,
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Restore {
    pub(crate) source: PathBuf,
    pub(crate) members: Vec<PathBuf>,
    pub(crate) force: bool,
    pub(crate) way: Way,
    pub(crate) undo: UndoWish,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct OverlayChange {
    pub(crate) file: PathBuf,
    pub(crate) caution: Caution,
}

/// How careful to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caution {
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
}

/// A change to an array.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) group: Group,
    pub(crate) caution: Caution,
}

/// A change to one member of an array.
#[derive(Debug)]
pub(crate) struct MemberChange {
    pub(crate) member: Selector,
    pub(crate) group: Group,
    pub(crate) caution: Caution,
}

/// Which member is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// The one in this slot.
    Slot(u32),
    /// The one with this path.
    Path(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) level: Level,
    pub(crate) members: u32,
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) knobs: Knobs,
}

#[derive(Debug)]
pub(crate) struct Examine {
    pub(crate) verbose: bool,
    pub(crate) bad_blocks: bool,
    pub(crate) scan: Vec<PathBuf>,
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) group: Group,
    pub(crate) offset_bytes: u64,
    pub(crate) length_bytes: Option<u64>,
    pub(crate) output: Stream,
    pub(crate) keep_going: bool,
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) group: Group,
    pub(crate) offset_bytes: u64,
    pub(crate) input: Stream,
    pub(crate) caution: Caution,
}

/// The other end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input or output.
    Standard,
    /// A file.
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) group: Group,
    pub(crate) locate: bool,
}

#[derive(Debug)]
pub(crate) struct Repair {
    pub(crate) group: Group,
    pub(crate) locate: bool,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct Add {
    pub(crate) device: PathBuf,
    pub(crate) write_mostly: bool,
    pub(crate) group: Group,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct ReAdd {
    pub(crate) device: PathBuf,
    pub(crate) group: Group,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct Replace {
    pub(crate) member: Selector,
    pub(crate) with: PathBuf,
    pub(crate) group: Group,
    pub(crate) caution: Caution,
}

#[derive(Debug)]
pub(crate) struct Zero {
    pub(crate) members: Vec<PathBuf>,
    pub(crate) force: bool,
    pub(crate) way: Way,
    pub(crate) undo: UndoWish,
    pub(crate) caution: Caution,
}

/// An array to be offered.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) group: Group,
    pub(crate) nbd: Vec<Address>,
    pub(crate) tls: TlsWish,
    pub(crate) export: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) file: Wanted,
    pub(crate) control: Option<PathBuf>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) on_event: Option<PathBuf>,
    pub(crate) log: Option<LogWord>,
    /// What is to go wrong.
    pub(crate) fault: Option<PathBuf>,
    /// More may go wrong.
    pub(crate) inject: bool,
}

/// What is asked of a served array, and which is meant.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) request: Request,
    pub(crate) array: Option<String>,
    pub(crate) control: Option<PathBuf>,
}

/// The numbers that decide where data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) level: Level,
    pub(crate) layout: u32,
    pub(crate) raid_disks: u32,
    /// 0 where the level has none.
    pub(crate) chunk_sectors: u32,
}

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) shape: Shape,
    pub(crate) member_sectors: Option<u64>,
    pub(crate) offsets_bytes: Vec<u64>,
}

/// A new array as wished for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New {
    pub(crate) shape: Shape,
    pub(crate) minor: Minor,
    pub(crate) bitmap: BitmapWish,
    pub(crate) ppl: bool,
    pub(crate) spares: u32,
    pub(crate) size_sectors: Option<u64>,
    pub(crate) data_offset_sectors: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) new: New,
    pub(crate) name: Name,
    pub(crate) uuid: Option<Uuid>,
    pub(crate) assume_clean: bool,
    pub(crate) knobs: Knobs,
    /// Slots in order, then spares.
    pub(crate) seats: Vec<Seat>,
    pub(crate) force: bool,
    pub(crate) way: Way,
    pub(crate) undo: UndoWish,
    pub(crate) caution: Caution,
}

/// What was named for one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A device.
    Device { path: PathBuf, write_mostly: bool },
    /// Nobody, for now.
    Missing,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) new: New,
    /// Slots in order, then spares; empty if only a size was given.
    pub(crate) seats: Vec<Seat>,
}

#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) members: Vec<PathBuf>,
    pub(crate) top: usize,
    pub(crate) output: Option<Stream>,
}

impl TryFrom<Verb> for Job {
    type Error = Failure;

    fn try_from(verb: Verb) -> Result<Self, Failure> {
        Ok(match verb {
            Verb::Demo(demo) => Self::Demo(demo_job(demo)?),
            Verb::Create(create) => Self::Create(create_job(create)?),
            Verb::Examine(args::ExamineArgs { verbose, bad_blocks, scan, overlay, members }) => {
                Self::Examine(Examine { verbose, bad_blocks, scan, overlay, members })
            }
            Verb::Detail(array) => Self::Detail(array.into()),
            Verb::Mdstat(array) => Self::Mdstat(array.into()),
            Verb::Read(read) => Self::Read(Read {
                group: group(
                    read.array,
                    Knobs {
                        member_deadline: read.deadline.member_deadline,
                        max_read_errors: read.errors.max_read_errors,
                        ..Knobs::default()
                    },
                ),
                offset_bytes: read.offset,
                length_bytes: read.length,
                output: read.output.into(),
                keep_going: read.keep_going,
            }),
            Verb::Write(write) => Self::Write(Write {
                group: group(
                    write.array,
                    Knobs {
                        member_deadline: write.deadline.member_deadline,
                        late_write: write.late.late_write.map(LateWrite::from),
                        max_read_errors: write.errors.max_read_errors,
                        ..Knobs::default()
                    },
                ),
                offset_bytes: write.offset,
                input: write.input.into(),
                caution: write.caution.into(),
            }),
            Verb::Check(check) => Self::Check(check_job(check)),
            Verb::Repair(repair) => Self::Repair(Repair {
                group: group(repair.array, pass_knobs(repair.pace, repair.errors)),
                locate: repair.locate,
                caution: repair.caution.into(),
            }),
            Verb::Rebuild(rebuild) => Self::Rebuild(rebuild_job(rebuild)),
            Verb::Fail(member) => Self::Fail(member_job("fail", member)?),
            Verb::Remove(member) => Self::Remove(member_job("remove", member)?),
            Verb::Add(add) => Self::Add(Add {
                device: add.member,
                write_mostly: add.write_mostly,
                group: Group { undo: UndoWish::new("add", add.undo), ..add.array.into() },
                caution: add.caution.into(),
            }),
            Verb::ReAdd(back) => Self::ReAdd(ReAdd {
                device: back.member,
                group: Group { undo: UndoWish::new("re-add", back.undo), ..back.array.into() },
                caution: back.caution.into(),
            }),
            Verb::Replace(replace) => Self::Replace(Replace {
                member: Selector::parse(&replace.member)?,
                with: replace.with,
                group: Group {
                    undo: UndoWish::new("replace", replace.undo),
                    ..replace.array.into()
                },
                caution: replace.caution.into(),
            }),
            Verb::ZeroSuperblock(zero) => Self::ZeroSuperblock(Zero {
                members: zero.members,
                force: zero.force,
                way: zero.way.into(),
                undo: UndoWish::new("zero-superblock", zero.undo),
                caution: zero.caution.into(),
            }),
            Verb::Doctor(doctor) => Self::Doctor(Doctor {
                members: doctor.members,
                fix: doctor.fix,
                way: Way { overlay: doctor.overlay, in_place: true },
                undo: UndoWish::new("doctor", doctor.undo),
                caution: doctor.caution.into(),
            }),
            Verb::Dump(args::DumpArgs { target, members }) => Self::Dump(Dump { target, members }),
            Verb::Restore(restore) => Self::Restore(Restore {
                source: restore.source,
                members: restore.members,
                force: restore.force,
                way: restore.way.into(),
                undo: UndoWish::new("restore", restore.undo),
                caution: restore.caution.into(),
            }),
            Verb::Overlay(args::OverlayArgs { verb }) => overlay_job(verb),
            Verb::Map(map) => Self::Map(map_job(map)?),
            Verb::Plan(plan) => Self::Plan(plan_job(plan)?),
            Verb::Sim(sim) => Self::Sim(sim.verb.into()),
            Verb::Serve(serve) => Self::Serve(serve_job(serve)?),
            Verb::Stop(served) => Self::Served(served_job(Request::Stop {}, served)),
            Verb::Speed(speed) => {
                let (min_bytes, max_bytes) = (speed.min, speed.max);
                let request = Request::Speed { min_bytes, max_bytes };
                Self::Served(served_job(request, speed.served))
            }
            Verb::Inject(args) => Self::Served(inject::job(*args)?),
            Verb::Monitor(served) => Self::Monitor(served_job(Request::Events {}, served)),
            Verb::Bench(args) => Self::Bench(args.try_into()?),
            Verb::Multipath(args) => Self::Multipath(args.verb),
            Verb::Bond(args) => Self::Bond(args.verb.try_into()?),
            Verb::Recover(args::RecoverArgs { verb: args::RecoverVerb::Search(search) }) => {
                Self::RecoverSearch(Search {
                    members: search.members,
                    top: search.top,
                    output: search.output.map(Stream::from),
                })
            }
            Verb::Man(man) => Self::Man(man.directory),
            Verb::Completions(completions) => Self::Completions(completions.shell),
        })
    }
}

impl From<args::ArrayArgs> for Group {
    fn from(array: args::ArrayArgs) -> Self {
        group(array, Knobs::default())
    }
}

fn group(array: args::ArrayArgs, knobs: Knobs) -> Group {
    Group {
        members: array.members,
        force: array.force,
        set: array.uuid,
        knobs,
        way: array.way.into(),
        undo: UndoWish::None,
    }
}

/// What every verb that goes over the whole array can be told.
fn pass_knobs(pace: args::PaceArgs, errors: args::ErrorArgs) -> Knobs {
    Knobs { speed_max: pace.speed_max, max_read_errors: errors.max_read_errors, ..Knobs::default() }
}

/// A rebuild can also do without a member that is late.
fn rebuild_job(rebuild: args::RebuildArgs) -> Change {
    let knobs = Knobs {
        member_deadline: rebuild.deadline.member_deadline,
        late_write: rebuild.late.late_write.map(LateWrite::from),
        ..pass_knobs(rebuild.pace, rebuild.errors)
    };
    let undo = UndoWish::new("rebuild", rebuild.undo);
    let group = Group { undo, ..group(rebuild.array, knobs) };
    Change { group, caution: rebuild.caution.into() }
}

/// So can a check, which writes nothing.
fn check_job(check: args::CheckArgs) -> Check {
    let knobs = Knobs {
        member_deadline: check.deadline.member_deadline,
        ..pass_knobs(check.pace, check.errors)
    };
    Check { group: group(check.array, knobs), locate: check.locate }
}

impl From<args::LateWord> for LateWrite {
    fn from(word: args::LateWord) -> Self {
        match word {
            args::LateWord::Wait => Self::Wait,
            args::LateWord::Fail => Self::FailMember,
        }
    }
}

impl From<args::CautionArgs> for Caution {
    fn from(caution: args::CautionArgs) -> Self {
        Self { dry_run: caution.dry_run, yes: caution.yes }
    }
}

impl From<PathBuf> for Stream {
    fn from(path: PathBuf) -> Self {
        if path == Path::new("-") { Self::Standard } else { Self::File(path) }
    }
}

impl Selector {
    /// `slot:N`, or a path.
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        let Some(number) = word.strip_prefix("slot:") else {
            return Ok(Self::Path(word.into()));
        };
        let wrong = |_| Failure::usage(format!("{word:?} is no slot: write slot:0, slot:1, …"));
        number.parse().map(Self::Slot).map_err(wrong)
    }
}

fn overlay_job(verb: args::OverlayVerb) -> Job {
    let change = |change: args::OverlayChangeArgs| OverlayChange {
        file: change.file,
        caution: change.caution.into(),
    };
    match verb {
        args::OverlayVerb::Diff(diff) => Job::OverlayDiff(diff.file),
        args::OverlayVerb::Commit(commit) => Job::OverlayCommit(change(commit)),
        args::OverlayVerb::Discard(discard) => Job::OverlayDiscard(change(discard)),
    }
}

fn member_job(verb: &'static str, member: args::MemberArgs) -> Result<MemberChange, Failure> {
    Ok(MemberChange {
        member: Selector::parse(&member.member)?,
        group: Group { undo: UndoWish::new(verb, member.undo), ..member.array.into() },
        caution: member.caution.into(),
    })
}

fn demo_job(demo: args::DemoArgs) -> Result<Demo, Failure> {
    let usual = match demo.level {
        Level::Raid1 => 2,
        Level::Raid6 => 5,
        _ => 4,
    };
    let members = demo.members.unwrap_or(usual);
    // One loss must be survivable where the level survives any, and a file per member is opened.
    let least = if demo.level.is_redundant() { demo.level.min_members().max(2) } else { 2 };
    if !(least..=32).contains(&members) {
        let level = demo.level;
        return Err(Failure::usage(format!("the demo of {level} takes {least} to 32 members")));
    }
    let knobs = Knobs {
        speed_min: demo.busy.speed_min,
        speed_max: demo.pace.speed_max,
        ..Knobs::default()
    };
    Ok(Demo { level: demo.level, members, inputs: demo.input, keep: demo.keep, knobs })
}

/// Whole sectors, or wrong usage.
fn sectors(flag: &str, bytes: u64) -> Result<u64, Failure> {
    if bytes.is_multiple_of(SECTOR_BYTES) {
        return Ok(bytes / SECTOR_BYTES);
    }
    Err(Failure::usage(format!("{flag}: {bytes} bytes are not whole sectors of 512 bytes")))
}

fn shape(shape: &args::ShapeArgs) -> Result<Shape, Failure> {
    let (level, raid_disks) = (shape.level, shape.raid_devices);
    let (least, most) = (level.min_members(), level.max_members());
    if !(least..=most).contains(&raid_disks) {
        return Err(Failure::usage(format!(
            "--raid-devices {raid_disks}: {level} takes {least} to {most}"
        )));
    }
    let layout = match &shape.layout {
        None => names::default(level),
        Some(word) => names::parse(level, word, raid_disks)
            .map_err(|error| Failure::usage(format!("--layout: {error}")))?,
    };
    let chunk_bytes = match shape.chunk {
        None if level.is_striped() => DEFAULT_CHUNK_BYTES,
        None => 0,
        Some(_) if level == Level::Raid1 => {
            return Err(Failure::usage("--chunk: raid1 has no chunks"));
        }
        Some(bytes) => bytes,
    };
    let chunk_sectors = u32::try_from(sectors("--chunk", chunk_bytes)?)
        .map_err(|_| Failure::usage(format!("--chunk: {} is too large", Human(chunk_bytes))))?;
    Ok(Shape { level, layout, raid_disks, chunk_sectors })
}

fn map_job(map: args::MapArgs) -> Result<Map, Failure> {
    let shape = shape(&map.shape)?;
    let size = map.size.filter(|bytes| *bytes != 0);
    let member_sectors = size.map(|bytes| sectors("--size", bytes)).transpose()?;
    if shape.level == Level::Linear && member_sectors.is_none() {
        return Err(Failure::usage(
            "--size: a linear array is one member after another; say how large they are",
        ));
    }
    Ok(Map { shape, member_sectors, offsets_bytes: map.offsets })
}

/// What keeps redundancy true over an unclean stop: a bitmap, a partial parity log, or nothing.
fn guards(new: &args::NewArgs) -> Result<(BitmapWish, bool), Failure> {
    use args::{BitmapWord, PolicyWord};
    let wish = bitmap_wish(new)?;
    let asked = new.bitmap == Some(BitmapWord::Internal) || new.bitmap_chunk.is_some();
    let word = "--consistency-policy";
    match new.consistency_policy {
        None => Ok((wish, false)),
        Some(PolicyWord::Resync | PolicyWord::Ppl) if asked => {
            Err(Failure::usage(format!("{word}: an array has that or a bitmap, not both")))
        }
        Some(PolicyWord::Resync) => Ok((BitmapWish::None, false)),
        Some(PolicyWord::Bitmap) => match wish {
            BitmapWish::None => Err(Failure::usage(format!("{word} bitmap: there is no bitmap"))),
            BitmapWish::Default => Ok((BitmapWish::Internal { chunk_bytes: None }, false)),
            wish => Ok((wish, false)),
        },
        Some(PolicyWord::Ppl) if new.shape.level != Level::Raid5 => {
            Err(Failure::usage(format!("{word} ppl: only raid5 has partial parity logs")))
        }
        Some(PolicyWord::Ppl) => Ok((BitmapWish::None, true)),
        Some(PolicyWord::Journal) => Err(Failure::usage(format!(
            "{word} journal: holdfast makes no write journals; ppl closes the write hole of raid5"
        ))),
    }
}

fn bitmap_wish(new: &args::NewArgs) -> Result<BitmapWish, Failure> {
    Ok(match (new.bitmap, new.bitmap_chunk) {
        (None, None) => BitmapWish::Default,
        (Some(args::BitmapWord::None), None) => BitmapWish::None,
        (Some(args::BitmapWord::None), Some(_)) => {
            return Err(Failure::usage("--bitmap-chunk: there is no bitmap"));
        }
        (_, chunk_bytes) => BitmapWish::Internal { chunk_bytes },
    })
}

fn new_array(new: &args::NewArgs) -> Result<New, Failure> {
    let (bitmap, ppl) = guards(new)?;
    Ok(New {
        shape: shape(&new.shape)?,
        minor: new.metadata,
        bitmap,
        ppl,
        spares: new.spare_devices,
        // 0 is mdadm's word for all there is.
        size_sectors: new
            .size
            .filter(|bytes| *bytes != 0)
            .map(|bytes| sectors("--size", bytes))
            .transpose()?,
        data_offset_sectors: new
            .data_offset
            .map(|bytes| sectors("--data-offset", bytes))
            .transpose()?,
    })
}

/// The members named, one per slot and spare.
fn seats(new: &New, members: Vec<PathBuf>, plain: usize) -> Result<Vec<Seat>, Failure> {
    let (slots, spares) = (u64::from(new.shape.raid_disks), u64::from(new.spares));
    let named = members.len() as u64;
    if named != slots + spares {
        let hint = if named < slots { "write \"missing\" for a slot to be left empty" } else { "" };
        let counted = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
        let (slots, spares) = (counted(slots, "slot"), counted(spares, "spare"));
        let text = format!("{slots} and {spares}, but {} named", counted(named, "member"));
        let failure = Failure::usage(text);
        return Err(if hint.is_empty() { failure } else { failure.hint(hint) });
    }
    let seat = |(index, path): (usize, PathBuf)| match path.to_str() {
        Some("missing") => Seat::Missing,
        _ => Seat::Device { path, write_mostly: index >= plain },
    };
    let seats: Vec<Seat> = members.into_iter().enumerate().map(seat).collect();
    if seats[slots as usize..].contains(&Seat::Missing) {
        return Err(Failure::usage("a spare cannot be missing: ask for fewer spares"));
    }
    if seats.iter().all(|seat| *seat == Seat::Missing) {
        return Err(Failure::usage("every member is missing"));
    }
    Ok(seats)
}

fn create_job(create: args::CreateArgs) -> Result<Create, Failure> {
    let new = new_array(&create.new)?;
    if create.write_mostly && new.shape.level != Level::Raid1 {
        let level = new.shape.level;
        return Err(Failure::usage(format!("--write-mostly: only raid1 can choose, not {level}")));
    }
    let plain = if create.write_mostly { create.before_write_mostly } else { usize::MAX };
    let name = Name::new(create.name.as_deref().unwrap_or_default())
        .map_err(|error| Failure::usage(format!("--name: {error}")))?;
    Ok(Create {
        name,
        uuid: create.uuid,
        assume_clean: create.assume_clean,
        knobs: Knobs { speed_max: create.pace.speed_max, ..Knobs::default() },
        seats: seats(&new, create.members, plain)?,
        force: create.force,
        way: create.way.into(),
        undo: UndoWish::new("create", create.undo),
        caution: create.caution.into(),
        new,
    })
}

/// The longest name of an export that NBD clients have to take.
const MAX_EXPORT_NAME_BYTES: usize = 4096;

fn serve_job(mut serve: args::ServeArgs) -> Result<Serve, Failure> {
    let tls = TlsWish::of(serve.tls.clone())?;
    if !serve.listen_anywhere {
        tls.refuse_strangers(&serve.nbd, "array")?;
    }
    let beyond = |address: &SocketAddr| !address.ip().is_loopback() && !serve.listen_anywhere;
    let hint = "use 127.0.0.1:PORT, or --listen-anywhere if that is meant";
    if let Some(reachable) = serve.metrics.filter(beyond) {
        let text = format!("--metrics {reachable}: other machines could read the figures");
        return Err(Failure::usage(text).hint(hint));
    }
    if serve.export.as_ref().is_some_and(|name| name.len() > MAX_EXPORT_NAME_BYTES) {
        let text = format!("--export: more than {MAX_EXPORT_NAME_BYTES} bytes");
        return Err(Failure::usage(text));
    }
    let knobs = Knobs {
        member_deadline: serve.deadline.member_deadline,
        late_write: serve.late.late_write.map(LateWrite::from),
        max_read_errors: serve.errors.max_read_errors,
        speed_min: serve.busy.speed_min,
        speed_max: serve.pace.speed_max,
    };
    inject::refuse_real_harm(&serve)?;
    let mut group = group(serve.array, knobs);
    // Who asks about the array later stands somewhere else.
    let absolute = |path: &mut PathBuf| *path = export::absolute(path);
    group.members.iter_mut().for_each(absolute);
    serve.control.iter_mut().for_each(absolute);
    Ok(Serve {
        group,
        nbd: serve.nbd,
        tls,
        export: serve.export,
        read_only: serve.read_only,
        file: serve.file.wanted(),
        control: serve.control,
        metrics: serve.metrics,
        on_event: serve.on_event,
        log: serve.log,
        fault: serve.fault,
        inject: serve.inject,
    })
}

fn served_job(request: Request, served: args::ServedArgs) -> Served {
    Served { request, array: served.array, control: served.control }
}

fn plan_job(plan: args::PlanArgs) -> Result<Plan, Failure> {
    let new = new_array(&plan.new)?;
    let seats =
        if plan.members.is_empty() { Vec::new() } else { seats(&new, plan.members, usize::MAX)? };
    if seats.is_empty() && new.size_sectors.is_none() {
        return Err(Failure::usage("name the members, or say with --size how large they are"));
    }
    Ok(Plan { new, seats })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn job(line: &str) -> Result<Job, Failure> {
        Job::try_from(args::Cli::try_parse_from(line.split_whitespace()).unwrap().verb)
    }

    #[test]
    fn wrong_usage_is_noticed_before_any_device_is_touched() {
        for (line, word) in [
            ("holdfast create -l5 -n3 a b", "3 slots and 0 spares, but 2 members named"),
            ("holdfast create -l5 -n3 -x1 a b c", "3 slots and 1 spare, but 3 members named"),
            ("holdfast create -l1 -n2 -x1 a b missing", "a spare cannot be missing"),
            ("holdfast create -l1 -n2 missing missing", "every member is missing"),
            ("holdfast create -l6 -n3 a b c", "raid6 takes 4 to 255"),
            ("holdfast create -l5 -n3 --layout n2 a b c", "unknown layout"),
            ("holdfast create -l1 -n2 --chunk 64 a b", "raid1 has no chunks"),
            ("holdfast create -l5 -n3 --size 100B a b c", "whole sectors"),
            ("holdfast create -l5 -n3 -W a b c", "only raid1"),
            ("holdfast map -l linear -n2 0", "say how large"),
            ("holdfast fail --member slot:x a b", "no slot"),
            ("holdfast demo --members 1", "2 to 32"),
        ] {
            let failure = job(line).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage, "{line}");
            assert!(failure.message.contains(word), "{line}: {failure}");
        }
    }

    #[test]
    fn knobs_reach_the_engine() {
        let Ok(Job::Write(write)) =
            job("holdfast write --member-deadline 250ms --late-write fail --max-read-errors 3 a b")
        else {
            panic!()
        };
        let config = write.group.knobs.turn(holdfast_raid::config::Config::default());
        assert_eq!(config.member_deadline, Some(std::time::Duration::from_millis(250)));
        assert_eq!(config.late_write, LateWrite::FailMember);
        assert_eq!(config.max_read_errors, 3);
        let Ok(Job::Rebuild(rebuild)) = job("holdfast rebuild --speed-max 4M a b") else {
            panic!()
        };
        let config = rebuild.group.knobs.turn(holdfast_raid::config::Config::default());
        assert_eq!((config.sync_speed_max, config.max_read_errors), (4 << 20, 20));
        let line =
            "holdfast serve --nbd unix:s --speed-min 1M --speed-max 2M --member-deadline 5s a";
        let Ok(Job::Serve(serve)) = job(line) else { panic!() };
        let config = serve.group.knobs.turn(holdfast_raid::config::Config::default());
        assert_eq!((config.sync_speed_min, config.sync_speed_max), (1 << 20, 2 << 20));
        assert_eq!(config.late_write, LateWrite::Wait);
    }

    #[test]
    fn defaults_are_those_of_mdadm() {
        let Ok(Job::Create(create)) = job("holdfast create -l5 -n3 a b missing") else { panic!() };
        let shape = Shape { level: Level::Raid5, layout: 2, raid_disks: 3, chunk_sectors: 1024 };
        assert_eq!(create.new.shape, shape);
        assert_eq!(create.new.minor, Minor::V1_2);
        assert_eq!(create.seats[2], Seat::Missing);
    }
}
