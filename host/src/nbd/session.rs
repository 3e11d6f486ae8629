//! One client's conversation: a core without I/O.
//!
//! | inputs | outputs |
//! |---|---|
//! | bytes: put them into [`Session::space`], then [`Session::filled`] | [`Session::poll_ask`] |
//! | [`Session::done`], [`Session::described`], [`Session::leave`] | bytes: [`Session::output`], then [`Session::sent`] |
//!
//! A session that [wants TLS](Session::wants_tls) is told by [`Session::secured`] when its bytes are
//! those within TLS from then on; it knows nothing of how.
//!
//! After any input drain the asks, then the output. The space is empty while the client has as much
//! under way as it may: read nothing from it until something has been answered or sent. A session
//! that [has ended](Session::has_ended) is to be dropped; asks under way are answered to nobody.

use std::io::IoSlice;
use std::rc::Rc;

use holdfast_core::block::{Fault, Op};
use holdfast_core::buf::Buf;

use super::buffers::{Input, Output};
use super::export::{Context, Export, Extent, MAX_BLOCK_BYTES};
pub use super::negotiation::Encryption;
use super::negotiation::{self, Agreed, Next};
pub use super::transmission::{Ask, AskTag};
use super::transmission::{PART_BYTES, Transmission, check, put_error};
use super::wire::{RequestHeader, command, command_flag, error};

/// What one client may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests.
    pub requests: usize,
    /// Bytes of requests and of answers that wait to be sent. One request is always taken, however
    /// large.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 256, bytes: 64 << 20 }
    }
}

/// A client's conversation.
#[derive(Debug)]
pub struct Session {
    export: Rc<Export>,
    limits: Limits,
    phase: Phase,
    agreed: Agreed,
    input: Input,
    output: Output,
    transmission: Transmission,
    leaving: bool,
}

#[derive(Debug)]
enum Phase {
    /// The client's flags come next.
    Flags,
    Options,
    /// So many bytes of an option nobody looks at come next.
    SkipOption(usize),
    /// TLS comes next, once the client has been told so.
    Securing,
    Requests,
    /// A write's data come next.
    Payload {
        header: RequestHeader,
        data: Buf,
        filled: usize,
    },
    /// The data of a refused write come next.
    SkipPayload {
        left: u64,
    },
    /// The client asks nothing more. What is under way is answered.
    Closing,
    /// The client broke the frame: nothing it says can be understood.
    Broken,
}

/// The most payload of a refused write that is read and forgotten; who sends more is hung up on.
const MAX_SKIPPED_BYTES: u64 = 2 * MAX_BLOCK_BYTES as u64;

impl Session {
    /// A conversation about `export`, begun by us.
    pub fn new(export: Rc<Export>, limits: Limits, encryption: Encryption) -> Self {
        let mut output = Output::default();
        negotiation::greet(&mut output);
        Self {
            export,
            limits,
            phase: Phase::Flags,
            agreed: Agreed::new(encryption),
            input: Input::new(),
            output,
            transmission: Transmission::default(),
            leaving: false,
        }
    }

    /// Where the client's next bytes go; empty while it may ask nothing more.
    pub fn space(&mut self) -> &mut [u8] {
        self.go_on(); // what was held back while too much was under way makes room now
        let wanted = self.wants_input();
        match &mut self.phase {
            Phase::Payload { data, filled, .. } => &mut data[*filled..],
            _ if wanted => self.input.space(),
            _ => &mut [],
        }
    }

    /// Whether there is space.
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Payload { .. } => true,
            Phase::Securing | Phase::Closing | Phase::Broken => false,
            _ => !self.is_pressed(),
        }
    }

    /// So many bytes have been put into the space.
    pub fn filled(&mut self, count: usize) {
        match &mut self.phase {
            Phase::Payload { filled, .. } => *filled += count,
            _ => self.input.filled(count),
        }
        self.go_on();
    }

    /// Nothing more will come from the client.
    pub fn ended(&mut self) {
        self.phase = Phase::Broken;
    }

    /// Whether both sides have agreed on TLS and all has gone that goes without.
    pub const fn wants_tls(&self) -> bool {
        matches!(self.phase, Phase::Securing) && !self.has_output()
    }

    /// What comes from now on was encrypted, what goes will be, and all is agreed on anew.
    ///
    /// Gives back what came behind the client's wish: it is TLS's, and not to be taken for something
    /// the client said.
    pub fn secured(&mut self) -> Vec<u8> {
        assert!(self.wants_tls(), "only what was agreed on is done");
        let behind = self.input.bytes().to_vec();
        self.input.consume(behind.len());
        self.agreed.secure();
        self.phase = Phase::Options;
        behind
    }

    /// No more requests: those under way are answered, new ones refused.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// What to ask of the device next.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.go_on();
        self.transmission.poll_ask(&self.agreed)
    }

    /// The device has carried out an ask.
    pub fn done(&mut self, tag: AskTag, op: Op, result: Result<(), Fault>) {
        self.transmission.done(tag, op, result, &self.agreed, &mut self.output);
    }

    /// A range has been described: for each context extents from its start on.
    ///
    /// They are cut to the range, and to one where one was asked for.
    pub fn described(&mut self, tag: AskTag, extents: Vec<(Context, Vec<Extent>)>) {
        self.transmission.described(tag, extents, &self.agreed, &mut self.output);
    }

    /// Bytes for the client, in at most so many pieces.
    pub fn output(&self, most: usize) -> Vec<IoSlice<'_>> {
        self.output.slices(most)
    }

    /// So many of these bytes have been sent.
    pub fn sent(&mut self, count: usize) {
        self.output.advance(count);
    }

    /// Whether bytes wait to be sent.
    pub const fn has_output(&self) -> bool {
        self.output.len() > 0
    }

    /// Requests under way.
    pub const fn under_way(&self) -> usize {
        self.transmission.len()
    }

    /// Whether the handshake is over.
    pub const fn is_transmitting(&self) -> bool {
        use Phase::{Flags, Options, Securing, SkipOption};
        !matches!(self.phase, Flags | Options | SkipOption(_) | Securing)
    }

    /// Whether a request has begun to come and is not whole.
    pub fn is_mid_request(&self) -> bool {
        match self.phase {
            Phase::Payload { .. } | Phase::SkipPayload { .. } => true,
            Phase::Requests => !self.input.bytes().is_empty() && !self.is_pressed(),
            _ => false,
        }
    }

    /// Whether all has been said.
    pub const fn has_ended(&self) -> bool {
        match self.phase {
            Phase::Broken => true,
            Phase::Closing => self.under_way() == 0 && !self.has_output(),
            _ => self.leaving && self.under_way() == 0 && !self.has_output(),
        }
    }

    /// Whether the client has as much under way as it may.
    fn is_pressed(&self) -> bool {
        let bytes = self.transmission.held_bytes() + self.output.len() as u64;
        self.transmission.len() >= self.limits.requests || bytes >= self.limits.bytes
    }

    /// Understands as much as has come.
    fn go_on(&mut self) {
        while self.step() {}
    }

    /// One thing understood; whether there may be another.
    fn step(&mut self) -> bool {
        match &mut self.phase {
            Phase::Flags => {
                let Some(flags) = self.input.bytes().first_chunk() else { return false };
                let known = self.agreed.take_flags(u32::from_be_bytes(*flags));
                self.input.consume(4);
                self.phase = if known { Phase::Options } else { Phase::Broken };
                true
            }
            Phase::Options => self.step_option(),
            Phase::SkipOption(left) => {
                let here = self.input.bytes().len().min(*left);
                self.input.consume(here);
                *left -= here;
                if *left == 0 {
                    self.phase = Phase::Options;
                }
                here > 0
            }
            Phase::Requests => !self.is_pressed() && self.step_request(),
            Phase::Payload { data, filled, .. } => {
                *filled += self.input.take_into(&mut data[*filled..]);
                if *filled < data.len() {
                    return false;
                }
                let Phase::Payload { header, data, .. } =
                    std::mem::replace(&mut self.phase, Phase::Requests)
                else {
                    unreachable!("it was a payload a moment ago")
                };
                self.transmission.accept(header, Some(data), &self.agreed, &mut self.output);
                true
            }
            Phase::SkipPayload { left } => {
                let here = (self.input.bytes().len() as u64).min(*left);
                self.input.consume(here as usize);
                *left -= here;
                if *left == 0 {
                    self.phase = Phase::Requests;
                }
                here > 0
            }
            Phase::Securing | Phase::Closing | Phase::Broken => false,
        }
    }

    fn step_option(&mut self) -> bool {
        let next = self.agreed.take_option(self.input.bytes(), &self.export, &mut self.output);
        let (bytes, phase) = match next {
            Next::More => return false,
            Next::Option { bytes } => (bytes, Phase::Options),
            Next::Skip { bytes, then: 0 } => (bytes, Phase::Options),
            Next::Skip { bytes, then } => (bytes, Phase::SkipOption(then)),
            Next::Begin { bytes } => (bytes, Phase::Requests),
            Next::Secure { bytes } => (bytes, Phase::Securing),
            Next::End => (0, Phase::Closing),
        };
        self.input.consume(bytes);
        self.phase = phase;
        true
    }

    fn step_request(&mut self) -> bool {
        let extended = self.agreed.extended;
        let size =
            if extended { RequestHeader::EXTENDED_BYTES } else { RequestHeader::COMPACT_BYTES };
        let Some(bytes) = self.input.bytes().get(..size) else { return false };
        let Some(header) = RequestHeader::read(bytes, extended) else {
            self.phase = Phase::Broken;
            return true;
        };
        self.input.consume(size);
        self.take_request(header);
        true
    }

    fn take_request(&mut self, header: RequestHeader) {
        if header.command == command::DISC {
            self.phase = Phase::Closing;
            return;
        }
        let refusal = match self.leaving {
            true => Some((error::ESHUTDOWN, "the server is going down")),
            false => check(&header, &self.export, &self.agreed),
        };
        // With extended headers any command may bring a payload, and says so.
        let brings = header.command == command::WRITE
            || self.agreed.extended && header.flags & command_flag::PAYLOAD_LEN != 0;
        let payload = if brings { header.length } else { 0 };
        match refusal {
            Some(_) if payload > MAX_SKIPPED_BYTES => self.phase = Phase::Broken,
            Some((error, text)) => {
                put_error(&header, error, text, &self.agreed, &mut self.output);
                if payload > 0 {
                    self.phase = Phase::SkipPayload { left: payload };
                }
            }
            None if payload > 0 => {
                let data = Buf::zeroed(payload as usize);
                self.phase = Phase::Payload { header, data, filled: 0 };
            }
            None => self.transmission.accept(header, None, &self.agreed, &mut self.output),
        }
    }
}

const _: () = assert!((MAX_BLOCK_BYTES as u64).is_multiple_of(PART_BYTES));

#[cfg(test)]
mod tests;
