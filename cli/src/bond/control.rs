//! The control socket of a running bond: who is connected, and what they say.
//!
//! Nothing here waits: a client that does not read gets its answers queued up to a limit, and is
//! hung up on beyond it, so that nobody can hold up a bond by not listening.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::protocol::{Reply, Request};
use super::told::Told;

/// Clients at once.
const MOST_CLIENTS: usize = 64;
/// Bytes of a request.
const MOST_REQUEST: usize = 64 << 10;
/// Bytes that may wait for a client to read them.
const MOST_WAITING: usize = 4 << 20;

/// Somebody who is connected.
#[derive(Debug)]
struct Client {
    /// Never given again.
    number: u64,
    stream: UnixStream,
    heard: Vec<u8>,
    waiting: Vec<u8>,
    /// Wants to be told what happens.
    follows: bool,
    /// Has said all it will say.
    ended: bool,
}

/// The socket and its clients.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
    next: u64,
}

impl Control {
    /// Listens at `path`, mode 0600.
    pub(super) fn listen(path: &Path) -> io::Result<Self> {
        let listener = holdfast_host::socket::listen(path)?;
        Ok(Self { listener, path: path.to_owned(), clients: Vec::new(), next: 0 })
    }

    /// For an epoll set.
    pub(super) const fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Takes whoever waits; calls with the number and the stream of each for an epoll set.
    pub(super) fn accept(&mut self, mut watch: impl FnMut(u64, &UnixStream) -> bool) {
        while let Ok((stream, _)) = self.listener.accept() {
            let number = self.next;
            self.next += 1;
            let room = self.clients.len() < MOST_CLIENTS;
            if room && stream.set_nonblocking(true).is_ok() && watch(number, &stream) {
                let (heard, waiting) = (Vec::new(), Vec::new());
                let client =
                    Client { number, stream, heard, waiting, follows: false, ended: false };
                self.clients.push(client);
            }
        }
    }

    /// Reads what a client has said: its whole requests, or what is wrong with them.
    pub(super) fn hear(&mut self, number: u64) -> Vec<Result<Request, String>> {
        let Some(client) = self.clients.iter_mut().find(|client| client.number == number) else {
            return Vec::new();
        };
        client.read();
        let mut requests = Vec::new();
        while let Some(end) = client.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.heard.drain(..=end).collect();
            requests.push(serde_json::from_slice(&line).map_err(|error| error.to_string()));
        }
        if client.heard.len() > MOST_REQUEST {
            client.ended = true;
            client.heard.clear();
            requests.push(Err(format!("a request is a line of at most {MOST_REQUEST} bytes")));
        }
        requests
    }

    /// Answers a client.
    pub(super) fn answer(&mut self, number: u64, reply: &Reply) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.say(&reply.line());
        }
    }

    /// From now on the client is told what happens.
    pub(super) fn follow(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.follows = true;
        }
    }

    /// The client has all it asked for, and is hung up on.
    pub(super) fn finish(&mut self, number: u64) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
            client.ended = true;
        }
    }

    /// Tells everybody who follows.
    pub(super) fn tell(&mut self, told: &Told) {
        if self.clients.iter().any(|client| client.follows) {
            let line = Reply::event(told.clone()).line();
            self.clients.iter_mut().filter(|client| client.follows).for_each(|c| c.say(&line));
        }
    }

    /// Writes what waits, and forgets those who are gone. True if somebody still has not read all.
    pub(super) fn flush(&mut self) -> bool {
        self.clients.iter_mut().for_each(Client::write);
        self.clients.retain(|client| !client.ended || !client.waiting.is_empty());
        self.clients.iter().any(|client| !client.waiting.is_empty())
    }

    /// Removes the socket.
    pub(super) fn close(mut self) {
        self.flush();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    fn read(&mut self) {
        let mut some = [0; 4096];
        while self.heard.len() <= MOST_REQUEST {
            match self.stream.read(&mut some) {
                Ok(0) => {
                    self.ended = true;
                    return;
                }
                Ok(count) => self.heard.extend_from_slice(&some[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.ended = true;
                    self.waiting.clear();
                    return;
                }
            }
        }
    }

    fn say(&mut self, line: &str) {
        if self.waiting.len() + line.len() > MOST_WAITING {
            // It does not read. What it misses would make no sense without the rest.
            self.waiting.clear();
            (self.ended, self.follows) = (true, false);
        } else if !self.ended || !self.follows {
            self.waiting.extend_from_slice(line.as_bytes());
        }
    }

    fn write(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.ended = true;
                    self.waiting.clear();
                }
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
