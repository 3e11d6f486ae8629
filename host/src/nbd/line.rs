//! One client: its socket, what is encrypted on it, and its conversation.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use holdfast_core::time::Instant;

use super::listener::Socket;
use super::session::Session;
use super::tls::{Channel, Credentials};

/// How long a client may take over its handshake, or stop in the middle of a request.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pieces written by one system call.
const PIECES: usize = 64;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Session,
    line: Line,
    credentials: Option<Credentials>,
}

/// What its bytes come and go by, with what the socket was last known to do.
#[derive(Debug)]
struct Line {
    socket: Socket,
    channel: Option<Channel>,
    readable: bool,
    writable: bool,
    /// Nothing comes any more, and nothing may go.
    broken: bool,
    /// When the client last said or took something.
    heard: Instant,
}

impl Client {
    /// One that has just connected; with `credentials` it may ask for TLS.
    pub(super) const fn new(
        socket: Socket,
        session: Session,
        credentials: Option<Credentials>,
        now: Instant,
    ) -> Self {
        let (channel, broken) = (None, false);
        let line = Line { socket, channel, readable: true, writable: true, broken, heard: now };
        Self { session, line, credentials }
    }

    /// The socket can do so.
    pub(super) const fn can(&mut self, read: bool, write: bool) {
        self.line.readable |= read;
        self.line.writable |= write;
    }

    /// When it last said or took something.
    pub(super) const fn heard(&self) -> Instant {
        self.line.heard
    }

    /// Whether a turn would read or write something.
    pub(super) fn is_ready(&self) -> bool {
        self.line.may_read() && self.session.wants_input()
            || self.line.writable && self.has_output()
    }

    fn has_output(&self) -> bool {
        match &self.line.channel {
            None => self.session.has_output(),
            Some(channel) if channel.is_handshaking() => channel.wants_write(),
            Some(channel) => channel.wants_write() || self.session.has_output(),
        }
    }

    /// Reads until there is no more, or no more is wanted; `greetings` is how many steps of TLS
    /// handshakes may still be made in this turn.
    pub(super) fn receive(&mut self, now: Instant, greetings: &mut u32) {
        while self.line.may_read() && self.session.wants_input() {
            let space = self.session.space();
            if space.is_empty() {
                return;
            }
            match self.line.read(space, now, greetings) {
                Ok(0) => {
                    self.line.broken = true;
                    self.session.ended();
                }
                Ok(count) => self.session.filled(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.session.ended(),
            }
        }
    }

    /// Writes as much as can be written, and goes over to TLS where that was agreed on.
    pub(super) fn send(&mut self, now: Instant) {
        self.flush(now);
        if self.session.has_ended()
            && let Some(channel) = &mut self.line.channel
        {
            channel.close();
            self.flush(now);
        }
        if self.session.wants_tls() {
            let behind = self.session.secured();
            let begin = |credentials: &Credentials| credentials.begin(&behind);
            self.line.channel = self.credentials.as_ref().and_then(begin);
            if self.line.channel.is_none() {
                self.session.ended(); // rather than to go on without
            }
        }
    }

    fn flush(&mut self, now: Instant) {
        while self.line.writable && self.has_output() {
            match self.line.write(&self.session.output(PIECES), now) {
                Ok(count) => self.session.sent(count),
                Err(_) => {
                    (self.line.writable, self.line.broken) = (false, true);
                    self.session.ended();
                }
            }
        }
    }

    /// Whether there is nothing left to be said or heard.
    pub(super) fn has_ended(&self) -> bool {
        let waits = self.line.channel.as_ref().is_some_and(Channel::wants_write);
        self.session.has_ended() && (self.line.broken || !waits)
    }

    /// When there is no more patience with it.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        let unfinished = !self.session.is_transmitting()
            || self.session.is_mid_request()
            || self.session.has_ended();
        unfinished.then(|| self.line.heard + PATIENCE)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.socket.as_fd()
    }
}

impl Line {
    fn may_read(&self) -> bool {
        self.readable || self.channel.as_ref().is_some_and(Channel::has_input)
    }

    /// Reads what the client said, as from a non-blocking socket.
    fn read(&mut self, space: &mut [u8], now: Instant, greetings: &mut u32) -> io::Result<usize> {
        loop {
            let Some(channel) = &mut self.channel else {
                return take(&mut self.socket, space, &mut self.readable, &mut self.heard, now);
            };
            if channel.is_handshaking() && channel.has_input() {
                // The next turn goes on: others are not to wait for signatures.
                *greetings = greetings.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
            }
            match channel.read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.readable => {}
                said => return said,
            }
            let space = channel.space();
            match take(&mut self.socket, space, &mut self.readable, &mut self.heard, now)? {
                0 => return Ok(0),
                count => channel.filled(count),
            }
        }
    }

    /// Sends some of these pieces; how many bytes of them need not be kept any more.
    fn write(&mut self, pieces: &[IoSlice<'_>], now: Instant) -> io::Result<usize> {
        let Some(channel) = &mut self.channel else {
            let wrote = self.socket.write_vectored(pieces);
            return self.wrote(wrote, now);
        };
        // What is encrypted goes first: it is bounded.
        let taken = if channel.wants_write() { 0 } else { channel.write(pieces)? };
        let wrote = channel.send(&mut self.socket);
        self.wrote(wrote, now).map(|_| taken)
    }

    fn wrote(&mut self, result: io::Result<usize>, now: Instant) -> io::Result<usize> {
        match result {
            Ok(count) => {
                self.heard = now;
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Reads from the socket, and remembers when it is empty.
fn take(
    socket: &mut Socket,
    space: &mut [u8],
    readable: &mut bool,
    heard: &mut Instant,
    now: Instant,
) -> io::Result<usize> {
    loop {
        let error = match socket.read(space) {
            Ok(count) => {
                *readable = count > 0;
                *heard = now;
                return Ok(count);
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::WouldBlock {
            *readable = false;
        }
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
