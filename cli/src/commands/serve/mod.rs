//! `holdfast serve`: runs an array and offers it until told to stop: to NBD clients, and as a file.
//!
//! One thread owns the array and the NBD sockets; signals come from a thread that only listens for
//! them, and other threads hear what the kernel wants of the file and what clients of the control
//! socket ask. SIGTERM, SIGINT or `holdfast stop`: no new clients and requests, what is under way
//! is answered, the array is flushed and marked clean, exit 0. A second signal ends it at once, as
//! a crash would. A member that does not answer is named and not waited for.

mod aside;
mod chronicle;
mod control;
mod faults;
mod health;
mod log;
mod metrics;
mod newcomer;
mod program;
mod scrape;
pub(super) mod signals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::size::Human;
use holdfast_core::time::{Clock, Instant};
use holdfast_host::nbd::session::Limits;
use holdfast_host::nbd::{Export, Server};
use holdfast_raid::status::{Health, Status};
use serde::Serialize;

use self::control::Control;
use self::faults::Faults;
use self::signals::{Signals, Wish};
use super::detail;
use crate::config::Serve;
use crate::control::listen::Ears;
use crate::control::place;
use crate::control::protocol::Request;
use crate::exit::{Exit, Failure, Outcome};
use crate::front::{self, FileFront, Fronted, Losetup, Tls};
use crate::report::Report;
use crate::session::{Purpose, Session};

/// How long a stop waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(20);

/// The array as a file.
const FILE: &str = "array";

/// How long events that may go on (neighbouring ranges, a full member) are gathered before they are
/// told; and how often a flood is counted.
const GATHERED: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct Answer {
    uuid: String,
    name: String,
    export: String,
    read_only: bool,
    array_bytes: u64,
    state: String,
    #[serde(flatten)]
    places: Places,
    pid: u32,
}

/// Where the array can be found.
#[derive(Debug, Default, Serialize)]
struct Places {
    /// Where clients connect.
    uris: Vec<String>,
    /// The array as a file.
    file: Option<PathBuf>,
    /// The loop device on top of it.
    loop_device: Option<PathBuf>,
    /// The socket through which verbs reach the array.
    control: Option<PathBuf>,
    /// Where its figures are.
    metrics: Option<String>,
}

/// An array that is served, and everybody who wants something of it.
struct Serving {
    session: Session,
    server: Server,
    signals: Signals,
    control: Control,
    file: FileFront,
    /// There is nobody but the file's users: when it is unmounted, that was it.
    only_file: bool,
    /// When what has been gathered is told.
    telling: Option<Instant>,
    /// The array has been given work since it was polled.
    moved: bool,
}

/// Serves until told to stop.
pub(super) fn run(config: &Serve, report: &Report) -> Outcome {
    refuse_impossible(config)?;
    let tls = config.tls.load()?;
    let purpose = if config.read_only { Purpose::Look } else { Purpose::Serve };
    let mut session = Session::open(&config.group, purpose, report)?;
    let export = export(config, &session);
    let faults = match Faults::of(config, &mut session) {
        Ok(faults) => faults,
        Err(failure) => {
            session.stop(report);
            return Err(failure);
        }
    };
    match open(config, tls, &export, &mut session, report) {
        Ok((server, signals, ears, places)) => {
            let (program, log) = (config.on_event.clone(), config.log);
            let mut serving = Serving {
                control: Control::new(ears, &mut session, program, log, faults),
                session,
                server,
                signals,
                file: FileFront::default(),
                only_file: config.nbd.is_empty(),
                telling: None,
                moved: false,
            };
            serving.serve(config, &export, places, report)
        }
        Err(failure) => {
            session.stop(report);
            Err(failure)
        }
    }
}

/// What would only come to light once the array is served.
fn refuse_impossible(config: &Serve) -> Result<(), Failure> {
    // A name without a slash is looked for where shells look.
    if let Some(program) = &config.on_event
        && program.components().count() > 1
        && !program.is_file()
    {
        let program = program.display();
        return Err(Failure::error(format!("--on-event {program}: there is no such program")));
    }
    config.file.refuse_occupied()
}

fn export(config: &Serve, session: &Session) -> Export {
    let status = session.status();
    let own = status.name.to_string();
    let own = own.rsplit(':').next().unwrap_or_default().to_owned();
    let name = config.export.clone().unwrap_or(own);
    Export {
        description: format!("md {} {}", status.level, status.uuid),
        name,
        bytes: session.bytes() / session.block_bytes() * session.block_bytes(),
        block_bytes: u32::try_from(session.block_bytes()).expect("blocks are a few KiB"),
        read_only: config.read_only || status.health == Health::Failed,
    }
}

/// Opens all sockets.
fn open(
    config: &Serve,
    tls: Option<Tls>,
    export: &Export,
    session: &mut Session,
    report: &Report,
) -> Result<(Server, Signals, Ears<Request>, Places), Failure> {
    let bell = session.clock.wakeup();
    let signals = Signals::listen(bell.clone())
        .map_err(|error| Failure::error(format!("cannot listen for signals: {error}")))?;
    let mut server = Server::new(export.clone(), Limits::default(), bell.clone())
        .map_err(|error| Failure::error(format!("cannot serve: {error}")))?;
    if let Some(watch) = session.clock.watch() {
        server
            .watch(watch)
            .map_err(|error| Failure::error(format!("cannot wait for members: {error}")))?;
    }
    let uris = front::listen(&mut server, tls, &config.nbd)?;
    let mut ears = Ears::new(bell);
    let control = open_control(config, session, &mut ears, report)?;
    let metrics = config.metrics.map(|address| scrape::listen(address, ears.teller())).transpose();
    let metrics = metrics.map_err(|error| Failure::error(format!("--metrics: {error}")))?;
    let metrics = metrics.map(|bound| format!("http://{bound}/metrics"));
    Ok((server, signals, ears, Places { uris, control, metrics, ..Places::default() }))
}

/// Listens at the control socket: where the user says, or where verbs look for it. Without a place
/// for it an array is served all the same.
fn open_control(
    config: &Serve,
    session: &Session,
    ears: &mut Ears<Request>,
    report: &Report,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &config.control {
        let failed = |error| Failure::error(format!("--control {}: {error}", path.display()));
        ears.at(path).map_err(failed)?;
        return Ok(Some(path.clone()));
    }
    let opened = place::directory().and_then(|directory| {
        place::make(&directory)?;
        let path = directory.join(place::name_of(session.status().uuid));
        ears.at(&path).map(|()| path)
    });
    match opened {
        Ok(path) => Ok(Some(path)),
        Err(error) => {
            report.note(format_args!(
                "no control socket: {error}: verbs cannot reach the array while it is served; \
                 --control PATH names another place"
            ));
            Ok(None)
        }
    }
}

impl Serving {
    fn serve(
        &mut self,
        config: &Serve,
        export: &Export,
        places: Places,
        report: &Report,
    ) -> Outcome {
        let places = self.mount(config, export, places, report)?;
        let loop_device = places.loop_device.clone();
        self.announce(config, export, places, report);
        let outcome = self.attend(loop_device.as_deref(), report);
        self.file.unmount();
        outcome
    }

    fn announce(&self, config: &Serve, export: &Export, places: Places, report: &Report) {
        let status = self.session.status();
        let state = detail::state(&status);
        let how = if config.read_only { ", read-only" } else { "" };
        let size = Human(self.session.bytes());
        report.line(format_args!("serving {} {}: {size}, {state}{how}", status.level, status.uuid));
        let name = export.name.clone();
        for uri in &places.uris {
            let named = if name.is_empty() { String::new() } else { format!("  (export {name})") };
            report.line(format_args!("  {uri}{named}"));
        }
        for path in places.file.iter().chain(&places.loop_device) {
            report.line(format_args!("  {}", path.display()));
        }
        if let Some(metrics) = &places.metrics {
            report.line(format_args!("  {metrics}"));
        }
        report.line("SIGTERM, Ctrl-C or holdfast stop stops the array in good order");
        report.answer(&Answer {
            uuid: status.uuid.to_string(),
            name: status.name.to_string(),
            export: name,
            read_only: config.read_only,
            array_bytes: self.session.bytes(),
            state,
            places,
            pid: std::process::id(),
        });
    }

    /// One turn for everybody. True: somebody wants the array stopped.
    fn turn(&mut self, until: Option<Instant>, report: &Report) -> Result<bool, Failure> {
        let Self { session, server, control, .. } = self;
        let mut served = Fronted { device: &mut session.array, file: &mut self.file };
        let at_once = std::mem::take(&mut self.moved).then(|| session.clock.now());
        let until = until.into_iter().chain(self.telling).chain(at_once);
        let until = until.chain(control.poll_at()).min();
        let turned = server.turn(&mut served, &mut session.clock, until);
        let gone = session.drop_the_gone();
        let now = session.clock.now();
        session.tell(report, |event, names| control.see(event, names, now));
        let asked = control.turn(session, server.clients());
        self.moved = asked.moved || gone;
        if self.telling.is_some_and(|at| at <= now) {
            session.teller.finish(report);
            self.telling = None;
        } else if self.telling.is_none() && session.teller.is_holding() {
            self.telling = Some(now + GATHERED);
        }
        turned.map_err(|error| Failure::error(format!("waiting for clients: {error}")))?;
        Ok(asked.stop || self.only_file && self.file.is_unmounted())
    }

    /// Whether nothing is under way, for nobody.
    fn is_answered(&self) -> bool {
        self.server.under_way() == 0 && self.file.is_idle()
    }

    /// Turn after turn, until told to stop and everything is answered.
    fn attend(&mut self, loop_device: Option<&Path>, report: &Report) -> Outcome {
        let mut leaving: Option<Instant> = None;
        loop {
            let told_to_stop = match self.turn(leaving, report) {
                Ok(told_to_stop) => told_to_stop,
                Err(failure) => {
                    return Err(self.end_for(failure, report));
                }
            };
            if self.control.power_is_out() {
                faults::go_down(&mut self.session);
                self.control.say_the_rest();
                let text = "the power has failed, as ordered: the array is left as after a crash";
                return Err(
                    Failure::error(text).hint("the next verb resyncs what was being written")
                );
            }
            match self.signals.wish() {
                Wish::Quit => {
                    let text = "stopped at once: the array is left as after a crash";
                    return Err(
                        Failure::error(text).hint("the next verb resyncs what was being written")
                    );
                }
                wish if leaving.is_none() && (wish == Wish::Stop || told_to_stop) => {
                    self.detach(loop_device, report);
                    self.server.leave();
                    self.file.leave();
                    leaving = Some(self.session.clock.now() + PATIENCE);
                }
                _ => {}
            }
            let Some(until) = leaving else { continue };
            let given_up = self.session.clock.now() >= until;
            if self.is_answered() && (self.server.clients() == 0 || given_up) {
                return self.say_good_bye(report);
            }
            if given_up {
                let outcome = Err(stuck(&self.session));
                self.control.stopped("left as after a crash", &outcome);
                return outcome;
            }
        }
    }

    /// Stops the array; what happens on the way is told as before.
    fn stop(&mut self, report: &Report) -> Status {
        let Self { session, control, .. } = self;
        let now = session.clock.now();
        session.stop_and_tell(report, |event, names| control.see(event, names, now))
    }

    /// Serving cannot go on.
    fn end_for(&mut self, failure: Failure, report: &Report) -> Failure {
        self.stop(report);
        let outcome = Err(failure.clone());
        self.control.stopped("stopped", &outcome);
        failure
    }

    fn say_good_bye(&mut self, report: &Report) -> Outcome {
        let status = self.stop(report);
        let said = format!("stopped; state: {}", detail::state(&status));
        report.line(&said);
        self.control.stopped(&said, &Ok(Exit::Good));
        Ok(Exit::Good)
    }
}

/// The file, and the loop device on top of it.
impl Serving {
    /// Mounts what is to be mounted; the array is served meanwhile, for `losetup` reads it.
    fn mount(
        &mut self,
        config: &Serve,
        export: &Export,
        mut places: Places,
        report: &Report,
    ) -> Result<Places, Failure> {
        let Some(directory) = &config.file.directory else { return Ok(places) };
        let teller = self.control.teller();
        let texts = vec![
            ("detail", front::text(&teller, Request::Detail {})),
            ("mdstat", front::text(&teller, Request::Mdstat {})),
        ];
        let bell = self.session.clock.wakeup();
        let mounted = FileFront::mount(directory, FILE, export, texts, bell);
        self.file = mounted.map_err(|failure| self.end_for(failure, report))?;
        let file = directory.join(FILE);
        if config.file.attach_loop {
            let attached = Losetup::attach(&file, export)
                .and_then(|losetup| losetup.wait(|| self.turn_soon(report)));
            let attached = attached.map_err(|failure| self.end_for(failure, report));
            places.loop_device = Some(attached?);
        }
        places.file = Some(file);
        Ok(places)
    }

    /// Takes the loop device off. It goes when its last user has gone.
    fn detach(&mut self, loop_device: Option<&Path>, report: &Report) {
        let Some(device) = loop_device else { return };
        let detached =
            Losetup::detach(device).and_then(|losetup| losetup.wait(|| self.turn_soon(report)));
        if let Err(failure) = detached {
            report.note(failure);
        }
    }

    /// A turn that ends before a program has long ended.
    fn turn_soon(&mut self, report: &Report) -> Result<(), Failure> {
        let soon = self.session.clock.now() + front::LOOK;
        self.turn(Some(soon), report).map(drop)
    }
}

/// Whoever has not answered for so long.
fn stuck(session: &Session) -> Failure {
    let who = silent(session);
    Failure::error(format!("stuck: {who} does not answer; left as after a crash"))
        .hint("the next verb resyncs what was being written")
}

/// The members that owe answers.
fn silent(session: &Session) -> String {
    let silent = (0..session.paths.len()).filter(|&member| session.array.outstanding(member) > 0);
    let silent: Vec<String> =
        silent.map(|member| session.path(member).display().to_string()).collect();
    match silent.is_empty() {
        true => "somebody".to_owned(),
        false => format!("member {}", silent.join(", ")),
    }
}
