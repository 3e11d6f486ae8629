//! What was typed.
//!
//! One struct per verb, as clap reads it. Words that mean something by themselves (a level, a
//! size, a uuid) are read here; words that need their neighbours (a layout, a selector, `missing`)
//! stay text until [`config`](crate::config). Flags follow mdadm wherever mdadm has them, down to
//! the short ones and to a bare `--chunk` or `--size` counting KiB.

pub(crate) mod bench;
pub(crate) mod bond;
pub(crate) mod inject;
mod knobs;
pub(crate) mod multipath;
mod sim;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use knobs::{BusyPaceArgs, DeadlineArgs, ErrorArgs, LateArgs, LateWord, PaceArgs};
pub(crate) use sim::{
    ModeWord, ProfileWord, SimArenaArgs, SimArgs, SimCoverageArgs, SimMergeArgs, SimMutantsArgs,
    SimReplayArgs, SimRunArgs, SimShrinkArgs, SimTableArgs, SimVerb,
};
pub(crate) use tls::{TlsArgs, TlsWord};

use clap::builder::Styles;
use clap::{
    ArgGroup, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use holdfast_core::size::parse_bytes;
use holdfast_host::nbd::Address;
use holdfast_raid::level::Level;
use holdfast_raid::superblock::{Minor, Uuid};

use crate::front::Wanted;

/// Linux md arrays on files and disks, without the kernel.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    styles = Styles::plain(),
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES,
)]
pub(crate) struct Cli {
    /// Answer in JSON (schema holdfast/1)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How members are read and written: auto, uring or threads
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WAY",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) io: IoWord,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Sizes are written 64K, 64KiB, 1.5T or 128s (sectors); a bare --chunk, --size or --data-offset
counts KiB, as in mdadm, any other bare number counts bytes.
--io auto, the default, uses io_uring for block devices and threads for files.
A MEMBER is a file, a block device, a partition of either (disk.img#2), or an export of an NBD
server: nbd+unix:///EXPORT?socket=PATH or nbd://ADDRESS:PORT/EXPORT.

Exit codes of verbs that report (examine, detail, mdstat, check):
  0 good   1 degraded   2 unusable   3 mismatch found
Exit codes of verbs that do:
  0 done in full   2 the array cannot be used   3 done, but something differed or is lost
Verbs of sim: 0 every promise was kept   3 one was broken
Any verb: 4 error, 64 wrong usage";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build an array, break it, mend it, and prove every byte
    Demo(DemoArgs),
    /// Make a new array of the given members
    Create(CreateArgs),
    /// Show what the members' superblocks say
    Examine(ExamineArgs),
    /// Show the state of an array and of each member
    Detail(ArrayArgs),
    /// Show an array as /proc/mdstat would
    Mdstat(ArrayArgs),
    /// Copy data out of an array; never writes to a member
    Read(ReadArgs),
    /// Copy data into an array
    Write(WriteArgs),
    /// Compare copies or parity over the whole array, changing nothing
    Check(CheckArgs),
    /// Compare copies or parity and make them agree
    Repair(RepairArgs),
    /// Recover onto spares and finish a pending resync
    Rebuild(RebuildArgs),
    /// Declare a member faulty
    Fail(MemberArgs),
    /// Take a faulty member or a spare out of the array
    Remove(MemberArgs),
    /// Add a device to the array as a spare
    Add(AddArgs),
    /// Bring a member back that was away; with a bitmap only what it missed is copied
    ReAdd(ReAddArgs),
    /// Have a spare take over from a member that goes on serving until the spare has everything
    Replace(ReplaceArgs),
    /// Erase the md superblock of each device
    ZeroSuperblock(ZeroArgs),
    /// Say what is the matter with an array, what each way out would cost, and what to do next
    Doctor(DoctorArgs),
    /// Copy all metadata of the members away, sparsely
    Dump(DumpArgs),
    /// Bring metadata back from a copy; the way back from every verb that writes metadata
    Restore(RestoreArgs),
    /// Look at, carry out or drop what an overlay file holds
    Overlay(OverlayArgs),
    /// Show where a byte of an array lives, with a picture
    Map(MapArgs),
    /// Show what an array would be, before creating it
    Plan(PlanArgs),
    /// Run arrays in a world that breaks them, and hold them to their promises
    Sim(SimArgs),
    /// Offer an array as a network block device until told to stop
    Serve(ServeArgs),
    /// Stop an array that is served, in good order
    Stop(ServedArgs),
    /// Set how fast passes of a served array go
    Speed(SpeedArgs),
    /// Let something go wrong with a member of a served array that allows it
    Inject(Box<inject::InjectArgs>),
    /// Follow what happens to a served array, an event a line
    Monitor(ServedArgs),
    /// Measure: stripe sizes, and the OSTEP homework
    Bench(bench::BenchArgs),
    /// Run network interfaces as one, with the options of the kernel's bonding driver
    Bond(bond::BondArgs),
    /// Use several paths to one disk, and never let an old write overwrite a newer one
    Multipath(multipath::MultipathArgs),
    /// Get data back from an array that no longer starts; never writes to a member
    Recover(RecoverArgs),
    /// Write man pages for all verbs
    Man(ManArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// How members are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IoWord {
    /// As suits the members
    Auto,
    /// By io_uring, past the page cache where that works
    Uring,
    /// By threads, through the page cache
    Threads,
}

/// How events are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogWord {
    Json,
    Text,
}

/// The members of an array and how to treat them.
#[derive(Debug, Args)]
pub(crate) struct ArrayArgs {
    /// Members in any order, files, devices or NBD exports; what does not belong is left out and
    /// named
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<PathBuf>,
    /// Start a dirty degraded array, or take members that lag behind; writes go to an overlay
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The array meant, where the members belong to several
    #[arg(long, value_name = "UUID")]
    pub(crate) uuid: Option<Uuid>,
    #[command(flatten)]
    pub(crate) way: WayArgs,
}

/// Where writes go.
#[derive(Debug, Args)]
pub(crate) struct WayArgs {
    /// See the members through this file, which takes all writes; they stay as they are
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Option<PathBuf>,
    /// With --force, or with faults: write to the members themselves
    #[arg(long, conflicts_with = "overlay")]
    pub(crate) in_place: bool,
}

/// The way back.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Keep the metadata as it was in this file [default: one in the state directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) undo: Option<PathBuf>,
    /// Keep nothing: there will be no way back
    #[arg(long, conflicts_with = "undo")]
    pub(crate) no_undo: bool,
}

/// A served device as a file.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Show it as a file in this directory, which must be empty
    #[cfg_attr(feature = "fuse", arg(long, value_name = "DIR", group = "front"))]
    #[cfg_attr(not(feature = "fuse"), arg(skip))]
    fuse: Option<PathBuf>,
    /// Attach a loop device to that file, so that it can be mounted (root)
    #[cfg_attr(feature = "fuse", arg(long = "loop", requires = "fuse"))]
    #[cfg_attr(not(feature = "fuse"), arg(skip))]
    attach_loop: bool,
}

impl FileArgs {
    /// Whoever asks for it later stands somewhere else: the directory is named from the root.
    pub(crate) fn wanted(&self) -> Wanted {
        let from_root = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Wanted { directory: self.fuse.as_ref().map(from_root), attach_loop: self.attach_loop }
    }
}

/// Offering an array.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("front").required(true).multiple(true))]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) deadline: DeadlineArgs,
    #[command(flatten)]
    pub(crate) late: LateArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    #[command(flatten)]
    pub(crate) busy: BusyPaceArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Where NBD clients connect: unix:PATH or tcp:ADDRESS:PORT; may be given several times
    #[arg(long, value_name = "WHERE", value_parser = address, group = "front")]
    pub(crate) nbd: Vec<Address>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Name of the export [default: the array's own]
    #[arg(long, value_name = "NAME")]
    pub(crate) export: Option<String>,
    /// Serve what is there and write to no member
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The socket through which verbs reach the array [default: one called after its uuid, where the
    /// other verbs look for it]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Answer http://ADDRESS:PORT/metrics with the array's figures, as Prometheus reads them
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Run with EVENT ARRAY MEMBER at every event, as mdadm's monitor does
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) on_event: Option<PathBuf>,
    /// Write every event to standard error as a line with the time, in place of sentences
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log: Option<LogWord>,
    /// Let go wrong what this plan says; holdfast inject may add to it
    #[arg(long, value_name = "PLAN", help_heading = "Faults")]
    pub(crate) fault: Option<PathBuf>,
    /// Allow holdfast inject to let things go wrong
    #[arg(long, help_heading = "Faults")]
    pub(crate) inject: bool,
    /// Allow TCP addresses that other machines can reach
    #[arg(long)]
    pub(crate) listen_anywhere: bool,
}

/// An array that is served.
#[derive(Debug, Args)]
pub(crate) struct ServedArgs {
    /// A member, the array's uuid or its name [default: the only one that is served]
    #[arg(value_name = "ARRAY")]
    pub(crate) array: Option<String>,
    /// Its control socket
    #[arg(long, value_name = "PATH", conflicts_with = "array")]
    pub(crate) control: Option<PathBuf>,
}

/// How fast passes go.
#[derive(Debug, Args)]
pub(crate) struct SpeedArgs {
    #[command(flatten)]
    pub(crate) served: ServedArgs,
    /// At least so many bytes a second, while others use the array [default: as it is]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) min: Option<u64>,
    /// At most so many [default: as it is]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) max: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) deadline: DeadlineArgs,
    #[command(flatten)]
    pub(crate) late: LateArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

/// How careful to be.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CautionArgs {
    /// Say what would be done, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// RAID level: linear, 0, 1, 4, 5, 6 or 10
    #[arg(short, long, default_value = "5")]
    pub(crate) level: Level,
    /// Members in use, without the spares
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) members: Option<u32>,
    #[command(flatten)]
    pub(crate) busy: BusyPaceArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// A file to store in the array (instead of the repository's files)
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,
    /// Make the members in this directory and leave them there
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// What an array is to look like.
#[derive(Debug, Args)]
pub(crate) struct ShapeArgs {
    /// RAID level: linear, 0, 1, 4, 5, 6 or 10
    #[arg(short, long)]
    pub(crate) level: Level,
    /// Slots of the array
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) raid_devices: u32,
    /// Chunk size [default: 512K where the level has chunks]
    #[arg(short, long, value_name = "SIZE", value_parser = kib)]
    pub(crate) chunk: Option<u64>,
    /// mdadm's name for the layout, or a number for what has no name
    #[arg(short = 'p', long, value_name = "NAME")]
    pub(crate) layout: Option<String>,
}

/// What a new array is to look like on its members.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
    /// Metadata version: 1.0, 1.1 or 1.2
    #[arg(short = 'e', long, value_name = "VERSION", default_value = "1.2")]
    pub(crate) metadata: Minor,
    /// Write-intent bitmap [default: internal for members above 100 GiB]
    #[arg(short, long, value_enum)]
    pub(crate) bitmap: Option<BitmapWord>,
    /// Bytes a bit of the bitmap covers
    #[arg(long, value_name = "SIZE", value_parser = kib)]
    pub(crate) bitmap_chunk: Option<u64>,
    /// How redundancy stays true over an unclean stop [default: as the bitmap says]
    #[arg(short = 'k', long, value_enum, value_name = "POLICY")]
    pub(crate) consistency_policy: Option<PolicyWord>,
    /// Spares in addition to the slots
    #[arg(short = 'x', long, value_name = "N", default_value_t = 0)]
    pub(crate) spare_devices: u32,
    /// Space used on each member; 0 is all there is [default: all there is]
    #[arg(short = 'z', long, value_name = "SIZE", value_parser = kib)]
    pub(crate) size: Option<u64>,
    /// Where data starts on each member [default: as mdadm]
    #[arg(long, value_name = "SIZE", value_parser = kib)]
    pub(crate) data_offset: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) new: NewArgs,
    /// Name of the array
    #[arg(short = 'N', long)]
    pub(crate) name: Option<String>,
    /// Identity of the array [default: random]
    #[arg(short, long)]
    pub(crate) uuid: Option<Uuid>,
    /// Trust that the members agree already: no resync
    #[arg(long)]
    pub(crate) assume_clean: bool,
    /// Members named after this flag are read only if no other can answer (raid1)
    #[arg(short = 'W', long)]
    pub(crate) write_mostly: bool,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// Use devices that carry something else or are in use; writes go to an overlay
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
    /// Files, devices or NBD exports in slot order, then spares; "missing" leaves a slot empty
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<PathBuf>,
    /// How many members were named before --write-mostly.
    #[arg(skip)]
    pub(crate) before_write_mostly: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ExamineArgs {
    /// Print each superblock in mdadm's own lines
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print each member's bad-block log
    #[arg(long, conflicts_with = "verbose")]
    pub(crate) bad_blocks: bool,
    /// Look for members in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) scan: Vec<PathBuf>,
    /// See the members through this overlay file
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Option<PathBuf>,
    /// Members in any order
    #[arg(value_name = "MEMBER", required_unless_present = "scan")]
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) deadline: DeadlineArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    /// First byte to read
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "0")]
    pub(crate) offset: u64,
    /// Bytes to read [default: to the end]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) length: Option<u64>,
    /// Where to put them; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Write zeros for what cannot be read, name it, and exit with 3
    #[arg(long)]
    pub(crate) keep_going: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) deadline: DeadlineArgs,
    #[command(flatten)]
    pub(crate) late: LateArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    /// First byte to write
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "0")]
    pub(crate) offset: u64,
    /// What to write; - is standard input
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) deadline: DeadlineArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    /// raid6: name the member each difference points at
    #[arg(long)]
    pub(crate) locate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) errors: ErrorArgs,
    /// raid6: mend the member a difference points at, instead of the parity
    #[arg(long)]
    pub(crate) locate: bool,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// The member: its path as given, or slot:N
    #[arg(short, long, value_name = "M")]
    pub(crate) member: String,
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The new device
    #[arg(short, long, value_name = "NEW")]
    pub(crate) member: PathBuf,
    /// Read the new device only if no other member can answer (raid1)
    #[arg(short = 'W', long)]
    pub(crate) write_mostly: bool,
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReAddArgs {
    /// The device that was away
    #[arg(short, long, value_name = "BACK")]
    pub(crate) member: PathBuf,
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The member to replace: its path as given, or slot:N
    #[arg(short, long, value_name = "M")]
    pub(crate) member: String,
    /// What replaces it: one of the array's spares, or a new device
    #[arg(short, long, value_name = "SPARE")]
    pub(crate) with: PathBuf,
    #[command(flatten)]
    pub(crate) array: ArrayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ZeroArgs {
    /// Devices whose superblock goes
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<PathBuf>,
    /// Do not mind devices without a superblock, or with a damaged one; writes go to an overlay
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Make the changes that take away reasons why Linux refuses members, and lose nothing
    #[arg(long)]
    pub(crate) fix: bool,
    /// See the members through this file, which takes all writes; they stay as they are
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
    /// Members in any order, of one array or of several
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// Where to: one file for all members, or a directory (there already, or written DIR/) for a
    /// sparse file per member as mdadm --dump makes them
    #[arg(value_name = "DIR|FILE")]
    pub(crate) target: PathBuf,
    /// Members in any order
    #[arg(value_name = "MEMBER", required = true)]
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What dump made, the undo of a verb, or what mdadm --dump made
    #[arg(value_name = "DIR|FILE")]
    pub(crate) source: PathBuf,
    /// Members to bring back [default: all the file knows, by the names they had]
    #[arg(value_name = "MEMBER")]
    pub(crate) members: Vec<PathBuf>,
    /// Although the metadata has changed since
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) way: WayArgs,
    #[command(flatten)]
    pub(crate) undo: UndoArgs,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OverlayArgs {
    #[command(subcommand)]
    pub(crate) verb: OverlayVerb,
}

/// What to do with an overlay.
#[derive(Debug, Subcommand)]
pub(crate) enum OverlayVerb {
    /// Show what the file holds, member by member
    Diff(OverlayFileArgs),
    /// Write what the file holds to the members; what was interrupted goes on
    Commit(OverlayChangeArgs),
    /// Remove the file and what it holds
    Discard(OverlayChangeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OverlayFileArgs {
    /// The overlay
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct OverlayChangeArgs {
    /// The overlay
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) caution: CautionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
    /// Space used on each member [default: just enough]
    #[arg(short = 'z', long, value_name = "SIZE", value_parser = kib)]
    pub(crate) size: Option<u64>,
    /// Array offsets
    #[arg(value_name = "OFFSET", value_parser = bytes, required = true)]
    pub(crate) offsets: Vec<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) new: NewArgs,
    /// The members it would be made of; nothing is written
    #[arg(value_name = "MEMBER", required_unless_present = "size")]
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    #[command(subcommand)]
    pub(crate) verb: RecoverVerb,
}

/// Ways to get data back.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoverVerb {
    /// Find level, layout, chunk, data offset and order of members whose superblocks are gone
    ///
    /// Looks at parity and at file systems (ext2/3/4, XFS); tries every order without trying them
    /// one by one. All in memory: nothing is ever written to a member. Where the bytes cannot tell, it says so and puts none first.
    Search(SearchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Candidates to list
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) top: usize,
    /// Write the array's data as the best candidate reads it; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Members in any order; strangers and stale ones are told apart
    #[arg(value_name = "MEMBER", required = true, num_args = 2..=63)]
    pub(crate) members: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where they go; made if it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// mdadm's words for how redundancy stays true over an unclean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyWord {
    /// Everything is compared again.
    Resync,
    /// What a bitmap marks is compared again.
    Bitmap,
    /// A write journal; holdfast makes none.
    Journal,
    /// A partial parity log: RAID5 only, in the place of a bitmap.
    Ppl,
}

/// Whether a new array gets a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BitmapWord {
    /// Inside each member's metadata.
    Internal,
    /// Not at all.
    None,
}

fn bytes(word: &str) -> Result<u64, holdfast_core::size::SizeError> {
    parse_bytes(word, 1)
}

fn kib(word: &str) -> Result<u64, holdfast_core::size::SizeError> {
    parse_bytes(word, 1024)
}

/// `unix:PATH` or `tcp:ADDRESS:PORT`.
fn address(word: &str) -> Result<Address, String> {
    match word.split_once(':') {
        Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(path.into())),
        Some(("tcp", address)) => address
            .parse()
            .map(Address::Tcp)
            .map_err(|_| format!("{address:?} is no ADDRESS:PORT, as 127.0.0.1:10809")),
        _ => Err("write unix:PATH or tcp:ADDRESS:PORT".to_owned()),
    }
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let words = bond::as_kernel_names(std::env::args_os());
    from_matches(&Cli::command().try_get_matches_from(words)?)
}

fn from_matches(matches: &ArgMatches) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    if let (Verb::Create(create), Some(("create", matches))) = (&mut cli.verb, matches.subcommand())
        && create.write_mostly
    {
        create.before_write_mostly = members_before(matches, "write_mostly");
    }
    Ok(cli)
}

/// Members named before a flag: mdadm's --write-mostly speaks of those that follow it.
fn members_before(matches: &ArgMatches, flag: &str) -> usize {
    let at = matches.index_of(flag).unwrap_or(0);
    matches.indices_of("members").map_or(0, |members| members.filter(|index| *index < at).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Cli {
        let matches = Cli::command().try_get_matches_from(line.split_whitespace()).unwrap();
        from_matches(&matches).unwrap()
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mdadm_users_may_type_what_they_are_used_to() {
        let Verb::Create(create) =
            parse_line("holdfast create -l raid5 -n 3 -c 64 -z 1G a.img b.img missing").verb
        else {
            panic!("create is create")
        };
        assert_eq!(create.new.shape.level, Level::Raid5);
        assert_eq!(create.new.shape.chunk, Some(64 << 10));
        assert_eq!(create.new.size, Some(1 << 30));
        assert_eq!(create.members.len(), 3);
    }

    #[test]
    fn write_mostly_speaks_of_the_members_after_it() {
        for (line, before) in [
            ("holdfast create -l1 -n2 a --write-mostly b", 1),
            ("holdfast create -l1 -n2 --write-mostly a b", 0),
            ("holdfast create -l1 -n2 a b --write-mostly", 2),
        ] {
            let Verb::Create(create) = parse_line(line).verb else { panic!("create is create") };
            assert_eq!(create.before_write_mostly, before, "{line}");
        }
    }
}
