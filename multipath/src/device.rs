//! The shell around a map: one device per path, and the pump between them and the core.
//!
//! The whole is a block device again: an array over maps is a constructor call.

use std::collections::VecDeque;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Request, Tag};
use holdfast_core::time::Instant;

use crate::defects::{Defects, Sound};
use crate::event::Event;
use crate::identity::Identity;
use crate::map::{Inquiry, Map, Order, Ready, Refusal, Status};
use crate::path::PathSpec;
use crate::settings::Settings;

/// A way to the disk: a block device whose transport can be asked how it is.
///
/// What a lost connection leaves behind is the transport's to know: it numbers its *sessions*, and
/// says of which it is *proven* that nothing they carried can land any more. A request of a session
/// that ended is answered with [`Fault::Transport`].
pub trait PathDevice: BlockDevice {
    /// Begins to find out how the path is; makes a new connection if there is none and `connect`
    /// says that it may.
    fn inquire(&mut self, now: Instant, connect: bool);

    /// What was found out, or news nobody asked for.
    fn inquiry(&mut self, now: Instant) -> Option<Inquiry>;

    /// The number of the present session, from 1.
    fn session(&self) -> u64;

    /// The last session of which nothing can land any more; 0 for none.
    fn fenced(&self) -> u64;

    /// Tries to make sure that nothing of this session and those before it can land any more.
    fn fence(&mut self, now: Instant, session: u64) {
        let _ = (now, session);
    }

    /// Tells the target to use this path.
    fn activate(&mut self, now: Instant) {
        let _ = now;
    }

    /// Whether the target does, once it has answered.
    fn activation(&mut self) -> Option<bool> {
        Some(true)
    }

    /// Whether the link to the target is there, if the transport can tell.
    fn link(&self) -> bool {
        true
    }
}

impl<P: PathDevice + ?Sized> PathDevice for Box<P> {
    fn inquire(&mut self, now: Instant, connect: bool) {
        (**self).inquire(now, connect);
    }

    fn inquiry(&mut self, now: Instant) -> Option<Inquiry> {
        (**self).inquiry(now)
    }

    fn session(&self) -> u64 {
        (**self).session()
    }

    fn fenced(&self) -> u64 {
        (**self).fenced()
    }

    fn fence(&mut self, now: Instant, session: u64) {
        (**self).fence(now, session);
    }

    fn activate(&mut self, now: Instant) {
        (**self).activate(now);
    }

    fn activation(&mut self) -> Option<bool> {
        (**self).activation()
    }

    fn link(&self) -> bool {
        (**self).link()
    }
}

/// Any block device as a path: it is always up, as far as it can tell without I/O.
#[derive(Debug)]
pub struct Plain<D> {
    device: D,
    identity: Identity,
    asked: bool,
}

impl<D: BlockDevice> Plain<D> {
    /// A device whose name is no proof of its identity.
    pub fn new(device: D, name: &str) -> Self {
        let identity = Identity::of(device.geometry(), name);
        Self { device, identity, asked: false }
    }

    /// A device with an identity of its own.
    pub fn with_identity(device: D, identity: Identity) -> Self {
        Self { device, identity, asked: false }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The device.
    pub const fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }
}

impl<D: BlockDevice> BlockDevice for Plain<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.device.submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.device.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.device.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.device.abandon(tag);
    }
}

impl<D: BlockDevice> PathDevice for Plain<D> {
    fn inquire(&mut self, _now: Instant, _connect: bool) {
        self.asked = true;
    }

    fn inquiry(&mut self, _now: Instant) -> Option<Inquiry> {
        std::mem::take(&mut self.asked).then(|| Inquiry {
            ready: Ready::Up,
            identity: Some(self.identity.clone()),
            alua: None,
        })
    }

    fn session(&self) -> u64 {
        1
    }

    fn fenced(&self) -> u64 {
        0
    }
}

/// A map over its paths' devices.
#[derive(Debug)]
pub struct Device<P, X: Defects = Sound> {
    map: Map<X>,
    ports: Vec<Port<P>>,
    now: Instant,
    /// What came since the last poll: only then is it known what time it is.
    incoming: VecDeque<Request>,
    answers: Completions,
    activating: Vec<usize>,
}

#[derive(Debug)]
struct Port<P> {
    device: P,
    stalled: VecDeque<Request>,
    outstanding: usize,
    told: (u64, u64),
    link: bool,
}

impl<P> Port<P> {
    const fn new(device: P) -> Self {
        Self { device, stalled: VecDeque::new(), outstanding: 0, told: (1, 0), link: true }
    }
}

impl<P: PathDevice> Device<P> {
    /// A map of these paths to a disk of this shape.
    pub fn new(
        now: Instant,
        settings: Settings,
        geometry: Geometry,
        paths: Vec<(PathSpec, P)>,
    ) -> Self {
        let (specs, devices) = paths.into_iter().unzip();
        Self::with_map(now, Map::new(now, settings, geometry, specs), devices)
    }
}

impl<P: PathDevice, X: Defects> Device<P, X> {
    /// A map and its paths' devices, in the same order.
    pub fn with_map(now: Instant, map: Map<X>, devices: Vec<P>) -> Self {
        let ports = devices.into_iter().map(Port::new).collect();
        Self {
            map,
            ports,
            now,
            incoming: VecDeque::new(),
            answers: Vec::new(),
            activating: Vec::new(),
        }
    }

    /// The core.
    pub const fn map(&self) -> &Map<X> {
        &self.map
    }

    /// The core, to be told things, and the time it may be told at.
    pub const fn map_mut(&mut self) -> (Instant, &mut Map<X>) {
        (self.now, &mut self.map)
    }

    /// The whole state now.
    pub fn status(&self) -> Status {
        self.map.status()
    }

    /// A path's device.
    pub fn path(&self, number: usize) -> &P {
        &self.ports[number].device
    }

    /// A path's device.
    pub fn path_mut(&mut self, number: usize) -> &mut P {
        &mut self.ports[number].device
    }

    /// Requests a path's device has not answered yet.
    pub fn outstanding(&self, number: usize) -> usize {
        self.ports[number].outstanding + self.ports[number].stalled.len()
    }

    /// What has been reported since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.map.poll_event()).collect()
    }

    /// Adds a path.
    pub fn add_path(&mut self, spec: PathSpec, device: P) -> Result<usize, Refusal> {
        let number = self.map.add_path(self.now, spec)?;
        self.ports.push(Port::new(device));
        Ok(number)
    }

    /// Carries out the core's orders; whether there were any.
    fn obey(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(order) = self.map.poll_order() {
            moved = true;
            match order {
                Order::Inquire { path, connect } => {
                    self.ports[path].device.inquire(now, connect);
                }
                Order::Fence { path, session } => self.ports[path].device.fence(now, session),
                Order::Activate { path } => {
                    self.ports[path].device.activate(now);
                    self.activating.push(path);
                }
                Order::Abandon { path, tag } => {
                    let port = &mut self.ports[path];
                    let waiting = port.stalled.iter().position(|request| request.tag == tag);
                    match waiting.and_then(|at| port.stalled.remove(at)) {
                        // It has not gone out: its end is certain.
                        Some(request) => {
                            let unsent = request.complete(Err(Fault::Transport));
                            self.map.never_sent(now, path, unsent);
                        }
                        None => port.device.abandon(tag),
                    }
                }
            }
        }
        moved
    }

    /// Hands the core's requests to the paths; whether any went out.
    fn push(&mut self) -> bool {
        let mut moved = false;
        for port in &mut self.ports {
            while let Some(request) = port.stalled.pop_front() {
                match port.device.submit(request) {
                    Ok(()) => {
                        port.outstanding += 1;
                        moved = true;
                    }
                    Err(back) => {
                        port.stalled.push_front(back);
                        break;
                    }
                }
            }
        }
        while let Some(io) = self.map.poll_path_io() {
            let port = &mut self.ports[io.path];
            if !port.stalled.is_empty() {
                port.stalled.push_back(io.request);
                continue;
            }
            match port.device.submit(io.request) {
                Ok(()) => {
                    port.outstanding += 1;
                    moved = true;
                }
                Err(back) => port.stalled.push_back(back),
            }
        }
        moved
    }

    /// Hands what the paths say to the core; whether anything came.
    fn pull(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for (number, port) in self.ports.iter_mut().enumerate() {
            port.device.poll(now, &mut self.answers);
            let told = (port.device.session(), port.device.fenced());
            if told != port.told {
                port.told = told;
                moved = true;
                self.map.path_session(now, number, told.0, told.1);
            }
            for completion in self.answers.drain(..) {
                port.outstanding -= 1;
                moved = true;
                self.map.path_done(now, number, completion);
            }
            let link = port.device.link();
            if link != port.link {
                port.link = link;
                moved = true;
                self.map.path_link(now, number, link);
            }
            while let Some(inquiry) = port.device.inquiry(now) {
                moved = true;
                self.map.inquired(now, number, inquiry);
            }
        }
        if !self.activating.is_empty() {
            for number in std::mem::take(&mut self.activating) {
                match self.ports[number].device.activation() {
                    Some(ok) => {
                        moved = true;
                        self.map.activated(now, number, ok);
                    }
                    None => self.activating.push(number),
                }
            }
        }
        moved
    }
}

impl<P: PathDevice, X: Defects> BlockDevice for Device<P, X> {
    fn geometry(&self) -> Geometry {
        self.map.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let full = self.incoming.len() >= self.map.slots();
        if full || !self.incoming.is_empty() && !self.map.has_room(&request) {
            return Err(request);
        }
        self.incoming.push_back(request);
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.now = now;
        self.map.handle_timeout(now);
        while let Some(request) = self.incoming.pop_front() {
            if let Err(back) = self.map.submit(now, request) {
                self.incoming.push_front(back);
                break;
            }
        }
        loop {
            let obeyed = self.obey(now);
            let pushed = self.push();
            let pulled = self.pull(now);
            if !obeyed && !pushed && !pulled {
                break;
            }
        }
        while let Some(completion) = self.map.poll_completion() {
            finished.push(completion);
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        let paths = self.ports.iter().filter_map(|port| port.device.poll_at());
        let incoming =
            self.incoming.front().filter(|request| self.map.has_room(request)).map(|_| self.now);
        paths.chain(self.map.poll_at()).chain(incoming).min()
    }
}
