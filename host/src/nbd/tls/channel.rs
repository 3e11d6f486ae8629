//! The TLS of one connection, without I/O.
//!
//! Bounds: [`Input`] of what came and is still encrypted, a record or a handshake's message (64 KiB)
//! that is not whole, one piece of that input decrypted, and 64 KiB encrypted that wait to go.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::ServerConnection;

use crate::nbd::buffers::Input;

/// The TLS of one connection.
pub(in crate::nbd) struct Channel {
    tls: ServerConnection,
    /// What came from the socket.
    input: Input,
    /// There may be more that is decrypted.
    has_more: bool,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("handshaking", &self.is_handshaking()).finish()
    }
}

impl Channel {
    /// Of a client of which so much has come.
    ///
    /// # Panics
    /// If that is more than a session takes at once.
    pub(super) fn new(tls: ServerConnection, first: &[u8]) -> Self {
        let mut input = Input::new();
        input.space()[..first.len()].copy_from_slice(first);
        input.filled(first.len());
        Self { tls, input, has_more: false }
    }

    /// Whether the two do not know each other yet.
    pub(in crate::nbd) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether something has come that was not read yet.
    pub(in crate::nbd) fn has_input(&self) -> bool {
        self.has_more || !self.input.bytes().is_empty()
    }

    /// Whether something encrypted waits to go.
    pub(in crate::nbd) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Where bytes from the socket go.
    pub(in crate::nbd) fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// So many bytes have been put there.
    pub(in crate::nbd) fn filled(&mut self, count: usize) {
        self.input.filled(count);
    }

    /// Takes what the client said, as a non-blocking socket would: 0 is its good-bye,
    /// [`ErrorKind::WouldBlock`] that more has to come from the socket. Any other error is its fault,
    /// and an alert that says so waits to go.
    pub(in crate::nbd) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.has_more = false,
                Ok(count) => {
                    self.has_more = count == bytes.len();
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
            if self.input.bytes().is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = self.tls.read_tls(&mut self.input.bytes())?;
            self.input.consume(count);
            let taken = self.tls.process_new_packets();
            taken.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Encrypts as much as there is room for; how much.
    pub(in crate::nbd) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.writer().write_vectored(pieces)
    }

    /// Sends of what is encrypted as much as the socket takes.
    pub(in crate::nbd) fn send(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        self.tls.write_tls(socket)
    }

    /// Says good-bye, after all that was said before.
    pub(in crate::nbd) fn close(&mut self) {
        self.tls.send_close_notify();
    }
}
