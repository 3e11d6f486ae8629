//! `holdfast multipath serve`: runs a map and offers it to NBD clients and as a file until told to
//! stop.
//!
//! One thread owns the map, the sockets of its paths and those of its clients. SIGTERM or SIGINT: no
//! new clients and requests, what is under way is answered, exit 0; what still waits for a path or
//! an older write after [`PATIENCE`] fails, and so does whatever comes to wait from then on. A
//! second signal ends it at once.

mod running;
mod start;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::block::{BlockDevice, Geometry};
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_core::time::{Clock, Instant};
use holdfast_host::clock::HostClock;
use holdfast_host::nbd::session::Limits;
use holdfast_host::nbd::{Context, Export, Extent, Offer, Server};
use holdfast_host::watch::Watch;
use holdfast_multipath::Device;
use serde::Serialize;

use self::running::Running;
use crate::args::multipath::MultipathServeArgs;
use crate::commands::serve::signals::{Signals, Wish};
use crate::control::listen::{Asked, Ears};
use crate::control::place;
use crate::exit::{Exit, Failure, Outcome};
use crate::front::{self, FileFront, Fronted, Losetup, Text, TlsWish, Wanted};
use crate::multipath::protocol::Request as Order;
use crate::multipath::way::Way;
use crate::report::Report;

/// How long a stop waits for requests that are under way before it fails those that only wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// The disk as a file.
const FILE: &str = "disk";

/// Files beside it: what `show` says of these.
const TEXTS: [&str; 3] = ["topology", "paths", "stats"];

/// A map, and everybody who wants something of it.
struct Serving {
    running: Running,
    server: Server,
    signals: Signals,
    ears: Ears<Order>,
    file: FileFront,
    loop_device: Option<PathBuf>,
    /// There is nobody but the file's users: when it is unmounted, that was it.
    only_file: bool,
    /// What the map has been told has not shown yet.
    moved: bool,
}

#[derive(Debug, Serialize)]
struct Announcement {
    name: String,
    bytes: u64,
    uris: Vec<String>,
    file: Option<PathBuf>,
    loop_device: Option<PathBuf>,
    control: String,
    pid: u32,
}

/// Serves until told to stop.
pub(super) fn run(args: &MultipathServeArgs, report: &Report) -> Outcome {
    let tls = TlsWish::of(args.tls.clone())?;
    if !args.listen_anywhere {
        tls.refuse_strangers(&args.nbd, "disk")?;
    }
    let tls = tls.load()?;
    let wanted = args.file.wanted();
    wanted.refuse_occupied()?;
    let watch = Watch::new().map_err(|error| cannot("cannot wait for paths", error))?;
    let clock = HostClock::watching(watch.clone()).map_err(|error| cannot("no clock", error))?;
    let signals = Signals::listen(clock.wakeup())
        .map_err(|error| cannot("cannot listen for signals", error))?;
    let running = start::start(args, &watch, clock, report)?;
    let (ears, control) = open_control(args, &running)?;
    let export = export(&running);
    let mut server = Server::new(export.clone(), Limits::default(), running.clock.wakeup())
        .map_err(|error| cannot("cannot serve", error))?;
    server.watch(&watch).map_err(|error| cannot("cannot wait for paths", error))?;
    let uris = front::listen(&mut server, tls, &args.nbd)?;
    let mut serving = Serving {
        running,
        server,
        signals,
        ears,
        file: FileFront::default(),
        loop_device: None,
        only_file: args.nbd.is_empty(),
        moved: false,
    };
    let file = serving.mount(&wanted, &export)?;
    serving.announce(uris, file, &control, report);
    let outcome = serving.attend(args.quiet, report);
    serving.file.unmount();
    outcome
}

fn cannot(what: &str, error: std::io::Error) -> Failure {
    Failure::error(format!("{what}: {error}"))
}

/// Listens where the user says, or where verbs look for the map.
fn open_control(
    args: &MultipathServeArgs,
    running: &Running,
) -> Result<(Ears<Order>, PathBuf), Failure> {
    let mut ears = Ears::new(running.clock.wakeup());
    let path = match &args.whom.control {
        Some(path) => ears.at(path).map(|()| path.clone()),
        None => place::of_map(&running.names.alias).and_then(|path| {
            path.parent().map_or(Ok(()), place::make)?;
            ears.at(&path).map(|()| path)
        }),
    };
    let path = path.map_err(|error| {
        cannot("control socket", error).hint("--control PATH names another place for it")
    })?;
    Ok((ears, path))
}

fn export(running: &Running) -> Export {
    let geometry = running.device.geometry();
    Export {
        name: running.names.alias.clone(),
        description: format!("multipath of {} paths", running.specs.len()),
        bytes: bytes(geometry),
        block_bytes: geometry.block_bytes,
        read_only: geometry.read_only,
    }
}

const fn bytes(geometry: Geometry) -> u64 {
    geometry.sectors * SECTOR_BYTES
}

impl Serving {
    /// Mounts what is to be mounted; the map is served meanwhile, for `losetup` reads it.
    fn mount(&mut self, wanted: &Wanted, export: &Export) -> Result<Option<PathBuf>, Failure> {
        let Some(directory) = &wanted.directory else { return Ok(None) };
        let teller = self.ears.teller();
        let text = |name: &'static str| -> (&'static str, Text) {
            let show = Order::Show { what: name.to_owned(), format: None, raw: false };
            (name, front::text(&teller, show))
        };
        let bell = self.running.clock.wakeup();
        self.file = FileFront::mount(directory, FILE, export, TEXTS.map(text).into(), bell)?;
        let file = directory.join(FILE);
        if wanted.attach_loop {
            let losetup = Losetup::attach(&file, export)?;
            self.loop_device = Some(losetup.wait(|| self.turn_soon())?);
        }
        Ok(Some(file))
    }

    fn announce(&self, uris: Vec<String>, file: Option<PathBuf>, control: &Path, report: &Report) {
        let (name, paths) = (self.running.names.alias.clone(), self.running.specs.len());
        let bytes = bytes(self.running.device.geometry());
        report.line(format_args!("serving {name}: {}, {paths} paths", Human(bytes)));
        uris.iter().for_each(|uri| report.line(format_args!("  {uri}")));
        for path in file.iter().chain(&self.loop_device) {
            report.line(format_args!("  {}", path.display()));
        }
        let control = control.display().to_string();
        report.line(format_args!("control socket {control}"));
        let (loop_device, pid) = (self.loop_device.clone(), std::process::id());
        report.answer(&Announcement { name, bytes, uris, file, loop_device, control, pid });
    }

    /// One turn for everybody.
    fn turn(&mut self, until: Option<Instant>) -> Result<(), Failure> {
        let Running { device, clock, .. } = &mut self.running;
        let at_once = std::mem::take(&mut self.moved).then(|| clock.now());
        let until = until.into_iter().chain(at_once).min();
        let mut shown = Fronted { device, file: &mut self.file };
        let turned = self.server.turn(&mut shown, clock, until);
        turned.map_err(|error| cannot("waiting for clients", error))?;
        while let Some(Asked { request, caller }) = self.ears.next() {
            self.running.attend(request, caller);
            self.moved = true;
        }
        self.running.gather_news();
        Ok(())
    }

    /// A turn that ends before a program has long ended.
    fn turn_soon(&mut self) -> Result<(), Failure> {
        let soon = self.running.clock.now() + front::LOOK;
        self.turn(Some(soon))
    }

    /// Turn after turn, until told to stop and everything is answered.
    fn attend(&mut self, quiet: bool, report: &Report) -> Outcome {
        let mut leaving: Option<Instant> = None;
        let mut failing = false;
        loop {
            self.turn(leaving)?;
            self.running.tell_news(quiet, report);
            let unmounted = self.only_file && self.file.is_unmounted();
            match self.signals.wish() {
                Wish::Quit => return Err(Failure::error("stopped at once")),
                wish if leaving.is_none() && (wish == Wish::Stop || unmounted) => {
                    self.leave(report);
                    leaving = Some(self.running.clock.now() + PATIENCE);
                }
                Wish::GoOn | Wish::Stop => {}
            }
            let Some(until) = leaving else { continue };
            let given_up = self.running.clock.now() >= until;
            if self.is_answered() && (self.server.clients() == 0 || given_up) {
                report.line("stopped");
                return Ok(Exit::Good);
            }
            if given_up {
                failing = true;
                leaving = Some(self.running.clock.now() + PATIENCE);
            }
            if failing {
                let (now, map) = self.running.device.map_mut();
                self.moved |= map.fail_now(now);
            }
        }
    }

    /// Takes the loop device off, which goes when its last user has gone, and takes nothing more.
    fn leave(&mut self, report: &Report) {
        if let Some(device) = self.loop_device.take() {
            let detached =
                Losetup::detach(&device).and_then(|losetup| losetup.wait(|| self.turn_soon()));
            if let Err(failure) = detached {
                report.note(failure);
            }
        }
        self.server.leave();
        self.file.leave();
    }

    /// Whether nothing is under way, for nobody.
    fn is_answered(&self) -> bool {
        self.server.under_way() == 0 && self.file.is_idle()
    }
}

impl Offer for Fronted<'_, Device<Way>> {
    /// Nothing is known of holes, and a map has no redundancy of data.
    fn describe(&self, _context: Context, bytes: Range<u64>, _most: usize) -> Vec<Extent> {
        vec![Extent { bytes: bytes.end - bytes.start, flags: 0 }]
    }
}
