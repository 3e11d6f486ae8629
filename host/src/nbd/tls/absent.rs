//! A build without TLS: there are no credentials, and so no channels.

use std::io::{self, IoSlice, Write};
use std::path::Path;

use super::TlsError;

/// Who the server is: nobody, here.
#[derive(Clone, Debug)]
pub enum Credentials {}

impl Credentials {
    /// There are none to be read.
    pub fn load(_directory: &Path, _verify_peer: bool) -> Result<Self, TlsError> {
        Err(TlsError::Absent)
    }

    pub(in crate::nbd) fn begin(&self, _first: &[u8]) -> Option<Channel> {
        match *self {}
    }
}

/// The TLS of one connection: none.
#[derive(Debug)]
pub(in crate::nbd) enum Channel {}

impl Channel {
    pub(in crate::nbd) const fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(in crate::nbd) const fn has_input(&self) -> bool {
        match *self {}
    }

    pub(in crate::nbd) const fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(in crate::nbd) fn space(&mut self) -> &mut [u8] {
        match *self {}
    }

    pub(in crate::nbd) fn filled(&mut self, _count: usize) {
        match *self {}
    }

    pub(in crate::nbd) fn read(&mut self, _bytes: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::nbd) fn write(&mut self, _pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::nbd) fn send(&mut self, _socket: &mut impl Write) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::nbd) fn close(&mut self) {
        match *self {}
    }
}
