//! What was typed after `holdfast multipath`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use holdfast_host::nbd::Address;

use super::{FileArgs, TlsArgs};

/// What to do with several paths to one disk.
#[derive(Debug, Subcommand)]
pub(crate) enum MultipathVerb {
    /// Use several paths to one disk, and offer it as a network block device or a file until told to stop
    ///
    /// A PATH is a file, a block device, nbd+unix:///EXPORT?socket=PATH or nbd://HOST:PORT/EXPORT. Parameters
    /// of an NBD path: fence=exit|close|never says what proves that a lost connection's writes can no longer
    /// land (the death of the serving process, the default on Unix sockets; the end of the connection;
    /// nothing); cache=shared says that a flush by any path covers it; wwid=TEXT says whose disk it is.
    Serve(Box<MultipathServeArgs>),
    /// Show how a running map stands, as multipath -ll does
    Show(MultipathShowArgs),
    /// Take a path out of use until it is reinstated
    FailPath(MultipathPathArgs),
    /// Use a path again
    Reinstate(MultipathPathArgs),
    /// Use another group of paths, counted from 1
    SwitchGroup(MultipathGroupArgs),
    /// Change an attribute of a running map: deadline 500ms, no_path_retry 12, …
    Set(MultipathSetArgs),
    /// Fail what waits for a path or for an older write, now
    FailNow(MultipathWhomArgs),
    /// Tell what happens to a running map
    Events(MultipathWhomArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MultipathArgs {
    #[command(subcommand)]
    pub(crate) verb: MultipathVerb,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("front").required(true).multiple(true))]
pub(crate) struct MultipathServeArgs {
    /// A multipath.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The map's name; paths may then come from its section of the configuration [default: mpatha]
    #[arg(long, value_name = "NAME")]
    pub(crate) map: Option<String>,
    /// An attribute of multipath.conf, or one of ours; overrules the configuration
    #[arg(short, long = "option", value_name = "NAME=VALUE")]
    pub(crate) option: Vec<String>,
    /// A program whose success proves that a path's server can no longer write (as cluster fencing agents)
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) fence_program: Option<String>,
    /// Where NBD clients connect: unix:PATH or tcp:ADDRESS:PORT; may be given several times
    #[arg(long, value_name = "WHERE", value_parser = super::address, group = "front")]
    pub(crate) nbd: Vec<Address>,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Allow TCP addresses that other machines can reach
    #[arg(long)]
    pub(crate) listen_anywhere: bool,
    /// Say nothing while it runs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) whom: MultipathSocketArgs,
    /// Paths to the disk
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
}

/// The control socket of a running map.
#[derive(Clone, Debug, Args)]
pub(crate) struct MultipathSocketArgs {
    /// The map's control socket [default: one called after the map, where the other verbs look for it]
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: Option<PathBuf>,
}

/// Which map.
#[derive(Clone, Debug, Args)]
pub(crate) struct MultipathWhomArgs {
    /// The map's name [default: mpatha]
    #[arg(long, value_name = "NAME")]
    pub(crate) map: Option<String>,
    #[command(flatten)]
    pub(crate) socket: MultipathSocketArgs,
}

/// What to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowWord {
    /// Groups and paths, as multipath -ll
    #[default]
    Topology,
    /// A line a path, as multipathd show paths
    Paths,
    /// The map in a line, as multipathd show maps status
    Maps,
    /// Counters, as multipathd show maps stats
    Stats,
    /// The line of dmsetup status
    Dm,
}

#[derive(Debug, Args)]
pub(crate) struct MultipathShowArgs {
    /// What
    #[arg(value_enum, default_value_t)]
    pub(crate) what: ShowWord,
    /// Columns by multipathd's wildcards: "%d %t %T"
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// No line of headings
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) whom: MultipathWhomArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MultipathPathArgs {
    /// The path, by its name or number
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) whom: MultipathWhomArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MultipathGroupArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub(crate) group: usize,
    #[command(flatten)]
    pub(crate) whom: MultipathWhomArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MultipathSetArgs {
    /// The attribute
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its value
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) whom: MultipathWhomArgs,
}
