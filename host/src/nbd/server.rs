//! Sockets on one side, a device on the other, one thread between them.
//!
//! A turn accepts, reads what has come, hands asks to the device, polls it, carries its answers
//! home and writes what can be written; nothing in it blocks. Between two turns the thread sleeps
//! on one epoll set: listeners, clients and the device's [`Wakeup`]. Readiness is edge-triggered
//! and remembered per client, so that a client held back by its limits costs no system call.
//!
//! Clients are bounded in number, in what each may have under way, and in patience: one that does
//! not finish its handshake, or stops in the middle of a request, is hung up on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use holdfast_core::block::{Completion, Completions, Request, Tag};
use holdfast_core::slab::{Key, Slab};
use holdfast_core::time::{Clock, Instant};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::export::{Export, Offer};
use super::line::Client;
pub use super::line::PATIENCE;
use super::listener::Listener;
use super::session::{Ask, AskTag, Encryption, Limits, Session};
use super::tls::Credentials;
use super::transmission::MAX_EXTENTS;
use crate::clock::Wakeup;
use crate::socket;
use crate::watch::Watch;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// An address and a port.
    Tcp(SocketAddr),
}

impl Address {
    /// The address as tools of the NBD world write it, for clients that are to insist on TLS or not.
    pub fn uri(&self, tls: bool) -> String {
        let scheme = if tls { "nbds" } else { "nbd" };
        match self {
            Self::Unix(path) => format!("{scheme}+unix:///?socket={}", path.display()),
            Self::Tcp(address) => format!("{scheme}://{address}"),
        }
    }
}

/// The address as tools of the NBD world write it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri(false))
    }
}

/// Clients at once. One more costs the place of whoever has been longest at the handshake; while
/// all have that behind them, it is hung up on.
pub const MAX_CLIENTS: usize = 1024;

/// Descriptors the process wants to be allowed: clients, members, and room to spare.
const DESCRIPTORS: u64 = 4 * MAX_CLIENTS as u64;

/// Steps of TLS handshakes in one turn: each may cost a signature, and others wait meanwhile.
const GREETINGS: u32 = 8;

/// Serves one export to any number of clients.
#[derive(Debug)]
pub struct Server {
    export: Rc<Export>,
    limits: Limits,
    epoll: OwnedFd,
    bell: Wakeup,
    /// What the device waits for beside its helpers.
    watch: Option<Watch>,
    listeners: Vec<Listener>,
    clients: Slab<Client>,
    encryption: Encryption,
    credentials: Option<Credentials>,
    /// Who is heard first, so that everybody is at some time.
    first: usize,
    /// Asks of clients, known to the device by their key.
    asked: Slab<Asked>,
    /// Handed back by a full device; goes first next time.
    held: Option<Request>,
    finished: Completions,
    leaving: bool,
    /// Something happened in the last turn, so that something may in the next.
    moved: bool,
}

#[derive(Debug)]
struct Asked {
    client: Key,
    tag: AskTag,
}

/// What an event of the epoll set is about, as a number it can carry: listeners count from 0,
/// clients are keys with the highest bit set.
const BELL: u64 = u64::MAX >> 1;
const WATCH: u64 = BELL - 1;
const CLIENT: u64 = 1 << 63;

impl Server {
    /// A server without an address. `bell` is rung by the device's helpers.
    pub fn new(export: Export, limits: Limits, bell: Wakeup) -> io::Result<Self> {
        allow_descriptors();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self {
            export: Rc::new(export),
            limits,
            epoll,
            bell,
            watch: None,
            listeners: Vec::new(),
            clients: Slab::new(),
            encryption: Encryption::Off,
            credentials: None,
            first: 0,
            asked: Slab::new(),
            held: None,
            finished: Vec::new(),
            leaving: false,
            moved: true,
        })
    }

    /// Wakes for whatever the device waits for, too.
    pub fn watch(&mut self, watch: &Watch) -> io::Result<()> {
        let event = epoll::EventData::new_u64(WATCH);
        epoll::add(&self.epoll, watch, event, epoll::EventFlags::IN)?;
        self.watch = Some(watch.clone());
        Ok(())
    }

    /// Offers TLS to clients that come from now on; where it is `required` they are told nothing
    /// without.
    pub fn encrypt(&mut self, credentials: Credentials, required: bool) {
        self.encryption = if required { Encryption::Required } else { Encryption::Offered };
        self.credentials = Some(credentials);
    }

    /// Listens at an address; the address, with the port the system chose if it was 0.
    ///
    /// A socket file is for its owner alone (0600); one that nobody listens on any more is
    /// replaced.
    pub fn listen(&mut self, address: &Address) -> io::Result<Address> {
        let (listener, address) = match address {
            Address::Unix(path) => {
                (Listener::Unix(socket::listen(path)?, path.clone()), address.clone())
            }
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = Address::Tcp(listener.local_addr()?);
                (Listener::Tcp(listener), address)
            }
        };
        let number = self.listeners.len() as u64;
        let event = epoll::EventData::new_u64(number);
        epoll::add(&self.epoll, listener.as_fd(), event, epoll::EventFlags::IN)?;
        self.listeners.push(listener);
        Ok(address)
    }

    /// Clients connected.
    pub const fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Requests the device has not answered yet.
    pub const fn under_way(&self) -> usize {
        self.asked.len()
    }

    /// Takes no more clients and no more requests; what is under way is answered.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.moved = true;
        self.listeners.clear();
        self.each_client(|client| client.session.leave());
    }

    /// One turn: whatever can be done now, after sleeping until there is something, but not beyond
    /// `until`.
    pub fn turn<D: Offer, C: Clock>(
        &mut self,
        device: &mut D,
        clock: &mut C,
        until: Option<Instant>,
    ) -> io::Result<()> {
        self.sleep(device, clock, until)?;
        let now = clock.now();
        self.receive(now);
        self.ask(device);
        device.poll(now, &mut self.finished);
        self.answer();
        self.ask(device);
        self.each_client(|client| client.send(now));
        self.hang_up(now);
        Ok(())
    }

    fn receive(&mut self, now: Instant) {
        let mut greetings = GREETINGS;
        let mut keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        self.first = (self.first + 1) % keys.len().max(1);
        keys.rotate_left(self.first);
        for key in keys {
            self.clients[key].receive(now, &mut greetings);
        }
    }

    fn each_client(&mut self, mut act: impl FnMut(&mut Client)) {
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            act(&mut self.clients[key]);
        }
    }

    fn sleep<D: Offer, C: Clock>(
        &mut self,
        device: &D,
        clock: &mut C,
        until: Option<Instant>,
    ) -> io::Result<()> {
        let moved = std::mem::take(&mut self.moved);
        let ready = self.clients.iter().any(|(_, client)| client.is_ready());
        let patience = self.clients.iter().filter_map(|(_, client)| client.given_up_at());
        let due = patience.chain(device.poll_at()).chain(until).min();
        let now = clock.now();
        let span = if moved || ready { Some(Duration::ZERO) } else { due.map(|at| at.since(now)) };
        let timeout = span.map(|span| Timespec {
            tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        let mut events = Vec::with_capacity(256);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events {
            self.take_event(event.data.u64(), event.flags, now);
        }
        Ok(())
    }

    fn take_event(&mut self, about: u64, flags: epoll::EventFlags, now: Instant) {
        use epoll::EventFlags;
        if about == BELL {
            self.bell.clear();
        } else if about == WATCH {
            // The device looks for itself when it is polled.
            self.watch.iter().for_each(Watch::hear);
        } else if about & CLIENT == 0 {
            self.accept(about as usize, now);
        } else if let Some(client) = self.clients.get_mut(Key::from_bits(about & !CLIENT)) {
            let ended = EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP;
            let read = flags.intersects(EventFlags::IN | ended);
            client.can(read, flags.intersects(EventFlags::OUT | ended));
        }
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        if self.clients.len() >= MAX_CLIENTS {
            self.make_room();
        }
        let socket = match self.listeners.get(listener).map(Listener::accept) {
            Some(Ok(socket)) if self.clients.len() < MAX_CLIENTS => socket,
            Some(Err(error)) if is_out_of_descriptors(&error) => return self.make_room(),
            // Too many, or one that went away while it waited.
            _ => return,
        };
        let session = Session::new(Rc::clone(&self.export), self.limits, self.encryption);
        let client = Client::new(socket, session, self.credentials.clone(), now);
        let key = self.clients.insert(client);
        let event = epoll::EventData::new_u64(key.to_bits() | CLIENT);
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        if epoll::add(&self.epoll, self.clients[key].as_fd(), event, flags).is_err() {
            self.clients.remove(key);
        }
        self.moved = true;
    }

    /// Hangs up on whoever has been longest at the handshake.
    fn make_room(&mut self) {
        let shaking = self.clients.iter().filter(|(_, client)| !client.session.is_transmitting());
        if let Some(key) = shaking.min_by_key(|(_, client)| client.heard()).map(|(key, _)| key) {
            self.clients.remove(key);
        }
    }

    /// Hands asks to the device until it is full or nobody asks.
    fn ask<D: Offer>(&mut self, device: &mut D) {
        if let Some(request) = self.held.take() {
            self.held = device.submit(request).err();
        }
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for client in keys {
            while self.held.is_none() {
                let Some(ask) = self.clients[client].session.poll_ask() else { break };
                self.moved = true;
                match ask {
                    Ask::Io { tag, sector, op } => {
                        let key = self.asked.insert(Asked { client, tag });
                        let request = Request::new(Tag(key.to_bits()), sector, op);
                        self.held = device.submit(request).err();
                    }
                    Ask::Describe { tag, bytes, one, contexts } => {
                        let most = if one { 1 } else { MAX_EXTENTS };
                        let describe =
                            |context| (context, device.describe(context, bytes.clone(), most));
                        let extents = contexts.into_iter().map(describe).collect();
                        self.clients[client].session.described(tag, extents);
                    }
                }
            }
        }
    }

    /// Carries the device's answers home; those of clients that have gone are forgotten.
    fn answer(&mut self) {
        for Completion { tag, op, result } in self.finished.drain(..) {
            let asked = self.asked.remove(Key::from_bits(tag.0)).expect("answered once");
            if let Some(client) = self.clients.get_mut(asked.client) {
                client.session.done(asked.tag, op, result);
            }
            self.moved = true;
        }
    }

    fn hang_up(&mut self, now: Instant) {
        let over = |(key, client): (Key, &Client)| {
            let given_up = client.given_up_at().is_some_and(|at| at <= now);
            (client.has_ended() || given_up).then_some(key)
        };
        let over: Vec<Key> = self.clients.iter().filter_map(over).collect();
        for key in over {
            self.clients.remove(key); // closing the socket takes it out of the epoll set
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Raises the limit of open files as far as it may be and is wanted.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Some(now) = current.filter(|now| *now < DESCRIPTORS) {
        let wanted = maximum.map_or(DESCRIPTORS, |most| DESCRIPTORS.min(most)).max(now);
        // A server with fewer clients is a server too.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
