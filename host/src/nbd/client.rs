//! An NBD server as a block device.
//!
//! The device makes no thread and never blocks: its socket is in a [`Watch`], a set of descriptors
//! that an event loop sleeps on, and [`BlockDevice::poll`] moves what can be moved.
//!
//! # Sessions and what is left of them
//!
//! Connections are numbered. When one ends, what was under way is answered, by [`Fault::Gone`] if
//! not a byte of it had left and by [`Fault::Transport`] if nothing is known. A closed socket proves
//! nothing: the server may have read a write and carry it out later. What proves that nothing of a
//! session can land any more is
//!
//! - the death of the process that serves the socket, if it serves it itself: on a Unix socket the
//!   kernel names the peer, and a descriptor of the process tells when it is gone;
//! - the word of whoever configured it that this server drops what it has not begun when its client
//!   goes ([`Fencing::OnClose`]);
//! - a proof from outside ([`NbdDisk::prove`]).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use holdfast_core::block::{BlockDevice, Completion, Completions, Fault, Geometry, Op, Request};
use holdfast_core::time::{Clock, Duration, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::{PidfdFlags, pidfd_open};

use super::client_session::{ClientSession, Ended, Offered};
pub use super::target::{BadUri, Fencing, Place, Target};
use crate::watch::Watch;

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(bytes),
            Self::Tcp(stream) => stream.read(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write_vectored(pieces),
            Self::Tcp(stream) => stream.write_vectored(pieces),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    session: ClientSession,
    /// The connection is not made yet.
    connecting: bool,
    /// Whether the set also waits for room to write.
    wants_room: bool,
}

/// A process that may still carry out writes of a session that is over.
#[derive(Debug)]
struct Server {
    session: u64,
    /// `None` once it is dead.
    process: Option<OwnedFd>,
}

/// How a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Requests are taken.
    Up,
    /// It is being made.
    Pending,
    /// It is not there, for this reason.
    Down(String),
}

/// An export of a server as a device.
#[derive(Debug)]
pub struct NbdDisk {
    target: Target,
    watch: Watch,
    connection: Option<Connection>,
    lost: String,
    offered: Option<Offered>,
    session: u64,
    fenced: u64,
    /// The process that serves the present connection.
    peer: Option<OwnedFd>,
    servers: Vec<Server>,
    /// The last session that ended with a write of which nobody knows what became.
    unsettled: u64,
    /// Whoever has it only looks.
    read_only: bool,
    finished: Completions,
}

/// Bytes read by one call at most beyond a read's own.
const PIECES: usize = 64;

/// A server that does not answer the handshake is asked for no longer than this.
pub const PATIENCE: Duration = Duration::from_secs(10);

impl NbdDisk {
    /// A device whose connection is still to be made.
    pub const fn new(target: Target, watch: Watch) -> Self {
        Self {
            target,
            watch,
            connection: None,
            lost: String::new(),
            offered: None,
            session: 0,
            fenced: 0,
            peer: None,
            servers: Vec::new(),
            unsettled: 0,
            read_only: false,
            finished: Vec::new(),
        }
    }

    /// Makes a connection and waits for it, but not for longer than this.
    ///
    /// # Errors
    /// Why there is none, as the end of a sentence.
    pub fn open(
        target: Target,
        clock: &mut impl Clock,
        watch: &Watch,
        within: Duration,
    ) -> Result<Self, String> {
        let mut disk = Self::new(target, watch.clone());
        disk.connect();
        let until = clock.now() + within;
        loop {
            let now = clock.now();
            disk.poll(now, &mut Vec::new());
            match disk.condition() {
                Condition::Up => return Ok(disk),
                Condition::Down(why) => return Err(why),
                Condition::Pending if now >= until => {
                    return Err(format!("no answer within {} s", within.as_secs()));
                }
                Condition::Pending => clock.wait(Some(until)),
            }
        }
    }

    /// The same device for somebody who only looks: it takes no writes.
    #[must_use]
    pub fn for_looking(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// From now on another set has its sockets, and whoever sleeps on that polls it.
    pub fn move_to(&mut self, watch: &Watch) -> io::Result<()> {
        if let Some(connection) = &self.connection {
            watch.add(&connection.socket, connection.wants_room)?;
        }
        for process in self.servers.iter().filter_map(|server| server.process.as_ref()) {
            watch.add(process, false)?;
        }
        self.watch = watch.clone();
        Ok(())
    }

    /// Whether every write of the sessions that are over has been answered, or cannot land any more.
    pub const fn is_settled(&self) -> bool {
        self.unsettled <= self.fenced
    }

    /// Goes on over the connection of another device of the same export, if it has none itself.
    pub fn take_over(&mut self, other: Self) -> io::Result<()> {
        let Self { target, connection, offered, peer, .. } = other;
        let Some(connection) = connection.filter(|_| self.connection.is_none()) else {
            return Ok(());
        };
        self.watch.add(&connection.socket, connection.wants_room)?;
        self.target = target;
        self.connection = Some(connection);
        self.offered = offered;
        self.peer = peer;
        self.session += 1;
        Ok(())
    }

    /// What it is a device of.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What the server offered when last connected.
    pub const fn offered(&self) -> Option<Offered> {
        self.offered
    }

    /// The number of the present connection, or of the last one.
    pub const fn session(&self) -> u64 {
        self.session
    }

    /// The last session of which nothing can land any more.
    pub const fn fenced(&self) -> u64 {
        self.fenced
    }

    /// It is proven from outside that nothing of this session and those before it can land any more.
    pub fn prove(&mut self, session: u64) {
        self.fenced = self.fenced.max(session.min(self.session));
    }

    /// How the connection is.
    pub fn condition(&self) -> Condition {
        match &self.connection {
            Some(connection) if connection.session.offered().is_some() => Condition::Up,
            Some(_) => Condition::Pending,
            None => Condition::Down(self.lost.clone()),
        }
    }

    /// Begins to make a connection, unless there is one.
    pub fn connect(&mut self) {
        if self.connection.is_some() {
            return;
        }
        match connect(&self.target.place) {
            Ok((socket, connecting)) => {
                self.session += 1;
                self.peer = peer(&socket);
                if let Err(error) = self.watch.add(&socket, connecting) {
                    self.lost = error.to_string();
                    return;
                }
                let session = ClientSession::new(&self.target.export);
                self.connection =
                    Some(Connection { socket, session, connecting, wants_room: connecting });
            }
            Err(error) => self.lost = error.to_string(),
        }
    }

    /// Ends the connection.
    pub fn disconnect(&mut self, why: Ended) {
        if let Some(connection) = &mut self.connection {
            connection.session.end(why);
            self.reap();
        }
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let before = self.finished.len();
        connection.session.finished(&mut self.finished);
        if self.finished[before..].iter().any(is_unsettled_write) {
            self.unsettled = self.session;
        }
    }

    /// Takes down a connection that is over.
    fn reap(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let Some(why) = connection.session.ended() else { return };
        self.lost = why.to_string();
        self.collect();
        self.connection = None;
        let peer = self.peer.take();
        match (self.target.fencing, peer) {
            (Fencing::OnClose, _) => self.fenced = self.session,
            (Fencing::OnExit, Some(process)) => {
                // The process' end wakes whoever sleeps on the set.
                let _ = self.watch.add(&process, false);
                self.servers.push(Server { session: self.session, process: Some(process) });
            }
            _ => {}
        }
    }

    /// Which servers have died. A session is fenced once its own server and all before it are dead.
    fn look_for_the_dead(&mut self) {
        for server in &mut self.servers {
            // A descriptor of the dead is dropped: it would wake the loop for ever.
            if server.process.as_ref().is_some_and(is_dead) {
                server.process = None;
            }
        }
        while let Some(server) = self.servers.first().filter(|server| server.process.is_none()) {
            self.fenced = self.fenced.max(server.session);
            self.servers.remove(0);
        }
    }
}

impl Connection {
    fn move_bytes(&mut self, watch: &Watch) {
        if self.connecting {
            match is_connected(&self.socket) {
                Ok(true) => self.connecting = false,
                Ok(false) => return,
                Err(error) => {
                    self.session.end(Ended::Unreachable(error.to_string()));
                    return;
                }
            }
        }
        self.receive();
        self.send();
        let wants_room = self.session.has_output();
        if wants_room != self.wants_room && watch.change(&self.socket, wants_room).is_ok() {
            self.wants_room = wants_room;
        }
    }

    fn receive(&mut self) {
        while self.session.ended().is_none() {
            let space = self.session.space();
            if space.is_empty() {
                return;
            }
            match self.socket.read(space) {
                Ok(0) => self.session.end(Ended::HungUp),
                Ok(count) => self.session.filled(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.session.end(Ended::HungUp),
            }
        }
    }

    fn send(&mut self) {
        while self.session.has_output() {
            match self.socket.write_vectored(&self.session.output(PIECES)) {
                Ok(count) => self.session.sent(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.session.end(Ended::HungUp),
            }
        }
    }
}

impl BlockDevice for NbdDisk {
    fn geometry(&self) -> Geometry {
        let offered = self.offered.map_or(Geometry::new(0), Offered::geometry);
        Geometry { read_only: offered.read_only || self.read_only, ..offered }
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.read_only
            && let Err(fault) = self.geometry().check(&request)
        {
            self.finished.push(request.complete(Err(fault)));
            return Ok(());
        }
        match &mut self.connection {
            Some(connection) => connection.session.submit(request),
            None => {
                self.finished.push(request.complete(Err(Fault::Gone)));
                Ok(())
            }
        }
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        if let Some(connection) = &mut self.connection {
            connection.move_bytes(&self.watch);
            if let Some(offered) = connection.session.offered() {
                self.offered = Some(offered);
            }
        }
        self.collect();
        self.reap();
        self.look_for_the_dead();
        finished.append(&mut self.finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        // News come from the set; answers given without the server are there already.
        (!self.finished.is_empty()).then_some(Instant::ZERO)
    }
}

/// Whether this is a write that may have landed, or may land yet.
fn is_unsettled_write(done: &Completion) -> bool {
    let changes = !matches!(done.op, Op::Read(_) | Op::Flush);
    changes && done.result == Err(Fault::Transport)
}

/// A socket that is connected, or on its way to be.
fn connect(place: &Place) -> io::Result<(Socket, bool)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match place {
        Place::Unix(path) => {
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            // EAGAIN: a server that is stopped with its backlog full.
            rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
            Ok((Socket::Unix(UnixStream::from(socket)), false))
        }
        Place::Tcp(address) => {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            let pending = match rustix::net::connect(&socket, address) {
                Ok(()) => false,
                Err(Errno::INPROGRESS) => true,
                Err(errno) => return Err(errno.into()),
            };
            let stream = TcpStream::from(socket);
            stream.set_nodelay(true)?;
            // A peer that vanished without a word is noticed.
            sockopt::set_socket_keepalive(&stream, true)?;
            sockopt::set_tcp_keepidle(&stream, PATIENCE)?;
            sockopt::set_tcp_keepintvl(&stream, PATIENCE / 5)?;
            // So is one that vanished with something under way.
            sockopt::set_tcp_user_timeout(&stream, 3 * PATIENCE.as_millis() as u32)?;
            Ok((Socket::Tcp(stream), pending))
        }
    }
}

fn is_connected(socket: &Socket) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&at_once))? == 0 {
        return Ok(false);
    }
    match sockopt::socket_error(socket)? {
        Ok(()) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// A descriptor of the process at the other end of a Unix socket.
fn peer(socket: &Socket) -> Option<OwnedFd> {
    let Socket::Unix(stream) = socket else { return None };
    let credentials = sockopt::socket_peercred(stream).ok()?;
    let process = pidfd_open(credentials.pid, PidfdFlags::empty());
    // The process listened when the connection was made; a number used again would be a process
    // that is younger, and alive: it fences nothing.
    process.ok()
}

fn is_dead(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0)
}
