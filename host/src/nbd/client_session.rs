//! A client's side of one conversation, without I/O: bytes in, answers out; requests in, bytes out.
//!
//! Spoken are the fixed newstyle handshake with `GO` (or, with a server that does not know it,
//! `EXPORT_NAME`), compact headers and simple replies. What a server does not offer is made of what
//! it does: a durable write is a write and a flush, zeroing writes zeros, and what cannot be
//! discarded stays. Requests larger than the server takes are cut, and answered when every part is.
//!
//! A session ends once. What was under way then is told apart: a request of which no byte had been
//! handed to the socket was certainly not carried out; of any other nothing is known.

use std::collections::VecDeque;
use std::io::IoSlice;

use holdfast_core::block::{Completion, Durability, Fault, Geometry, Op, Request};
use holdfast_core::buf::Payload;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};

use super::buffers::Input;
use super::wire::{
    self, Fields, command, command_flag, error, handshake, info, option, reply, transmission,
};

/// Requests under way at once.
pub const DEPTH: usize = 128;

/// The largest part with data, unless the server says less.
const MAX_DATA_BYTES: u64 = 2 << 20;

/// The largest part without.
const MAX_EFFECT_BYTES: u64 = 1 << 30;

/// What the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Size in bytes.
    pub bytes: u64,
    /// Bits of [`transmission`].
    pub flags: u16,
    /// Smallest request.
    pub block_bytes: u32,
    /// Largest request with data.
    pub max_bytes: u32,
}

impl Offered {
    const fn has(self, flag: u16) -> bool {
        self.flags & transmission::HAS_FLAGS != 0 && self.flags & flag != 0
    }

    /// The device it is.
    pub fn geometry(self) -> Geometry {
        let block_bytes = self.block_bytes.max(512);
        let sectors = self.bytes / u64::from(block_bytes) * u64::from(block_bytes) / SECTOR_BYTES;
        Geometry {
            block_bytes,
            queue_depth: DEPTH as u32,
            read_only: self.has(transmission::READ_ONLY),
            ..Geometry::new(sectors)
        }
    }

    /// Whether a flush on one connection covers all connections to this server.
    pub const fn is_multi_conn(self) -> bool {
        self.has(transmission::CAN_MULTI_CONN)
    }
}

/// Why there is no conversation, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The server hung up.
    #[error("the server hung up")]
    HungUp,
    /// There is no way to the server.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The server does not have this export.
    #[error("no export {name:?}: {text}")]
    NoExport {
        /// What was asked for.
        name: String,
        /// What the server says.
        text: String,
    },
    /// The server wants what is not spoken here.
    #[error("the server speaks {0}, which is not spoken here")]
    Unspoken(&'static str),
    /// What the server says makes no sense.
    #[error("the server makes no sense: {0}")]
    Nonsense(&'static str),
    /// The export is no disk.
    #[error("the export has {0} bytes, less than a block")]
    Empty(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The server's greeting is to come.
    Greeting,
    /// Answers to `GO` are to come.
    Going { offered: Option<Offered>, block: (u32, u32) },
    /// The answer to `EXPORT_NAME` is to come.
    Naming,
    /// Requests and answers.
    Transmitting(Offered),
    /// It is over.
    Ended(Ended),
}

/// A request of the device's user.
#[derive(Debug)]
struct Whole {
    request: Request,
    parts: u32,
    fault: Option<Fault>,
    /// A flush is to follow before it is answered.
    flush: bool,
    /// A byte of it has been handed to the socket.
    begun: bool,
}

/// A part of one, on the wire.
#[derive(Clone, Copy, Debug)]
struct Part {
    whole: Key,
    /// Where its data go in the whole's buffer.
    at: usize,
    bytes: usize,
    reads: bool,
}

#[derive(Debug)]
enum Piece {
    Header { bytes: Vec<u8>, whole: Option<Key> },
    Data(Payload),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Header { bytes, .. } => bytes,
            Self::Data(data) => data,
        }
    }
}

/// One conversation.
#[derive(Debug)]
pub struct ClientSession {
    name: String,
    phase: Phase,
    /// The answer to `EXPORT_NAME` is followed by zeros.
    padded: bool,
    input: Input,
    output: VecDeque<Piece>,
    gone: usize,
    wholes: Slab<Whole>,
    parts: Slab<Part>,
    /// The read whose data are coming, and how many have.
    receiving: Option<(Key, usize)>,
    finished: Vec<Completion>,
}

impl ClientSession {
    /// A conversation about this export.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            phase: Phase::Greeting,
            padded: false,
            input: Input::new(),
            output: VecDeque::new(),
            gone: 0,
            wholes: Slab::new(),
            parts: Slab::new(),
            receiving: None,
            finished: Vec::new(),
        }
    }

    /// What the server offers, once it has said so.
    pub const fn offered(&self) -> Option<Offered> {
        match self.phase {
            Phase::Transmitting(offered) => Some(offered),
            _ => None,
        }
    }

    /// Why it is over, if it is.
    pub const fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Ended(why) => Some(why),
            _ => None,
        }
    }

    /// Requests not answered yet.
    pub const fn under_way(&self) -> usize {
        self.wholes.len()
    }

    /// Where the next bytes from the server go: the rest of a read's data, or the input.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some((key, got)) = self.receiving
            && self.input.bytes().is_empty()
            && let Some(part) = self.parts.get(key).copied()
            && let Some(whole) = self.wholes.get_mut(part.whole)
            && let Op::Read(buf) = &mut whole.request.op
        {
            return &mut buf[part.at + got..part.at + part.bytes];
        }
        self.input.space()
    }

    /// So many bytes have been put there.
    pub fn filled(&mut self, count: usize) {
        if self.receiving.is_some() && self.input.bytes().is_empty() {
            self.received(count);
        } else {
            self.input.filled(count);
        }
        while self.step() {}
    }

    /// What goes next to the server.
    pub fn output(&self, most: usize) -> Vec<IoSlice<'_>> {
        let skip = |index: usize| if index == 0 { self.gone } else { 0 };
        let pieces = self.output.iter().take(most).enumerate();
        pieces.map(|(index, piece)| IoSlice::new(&piece.bytes()[skip(index)..])).collect()
    }

    /// Whether there is any.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// So many bytes of it have gone.
    pub fn sent(&mut self, mut count: usize) {
        while let Some(piece) = self.output.front() {
            if count == 0 {
                return;
            }
            if let Piece::Header { whole: Some(key), .. } = piece
                && let Some(whole) = self.wholes.get_mut(*key)
            {
                whole.begun = true;
            }
            let left = piece.bytes().len() - self.gone;
            if count < left {
                self.gone += count;
                return;
            }
            count -= left;
            self.gone = 0;
            self.output.pop_front();
        }
    }

    /// The connection is over. Everything under way is answered: [`Fault::Gone`] where no byte of it
    /// had left, [`Fault::Transport`] where nothing is known.
    pub fn end(&mut self, why: Ended) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        self.phase = Phase::Ended(why);
        self.output.clear();
        self.parts = Slab::new();
        self.receiving = None;
        let keys: Vec<Key> = self.wholes.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(whole) = self.wholes.remove(key) else { continue };
            let fault = if whole.begun { Fault::Transport } else { Fault::Gone };
            self.finished.push(whole.request.complete(Err(fault)));
        }
    }

    /// Answers that have come.
    pub fn finished(&mut self, to: &mut Vec<Completion>) {
        to.append(&mut self.finished);
    }

    /// Takes a request, or hands it back while as many are under way as there may be. Without a
    /// server it is answered at once.
    pub fn submit(&mut self, request: Request) -> Result<(), Request> {
        let Phase::Transmitting(offered) = self.phase else {
            self.finished.push(request.complete(Err(Fault::Gone)));
            return Ok(());
        };
        if self.wholes.len() >= DEPTH {
            return Err(request);
        }
        if let Err(fault) = offered.geometry().check(&request) {
            self.finished.push(request.complete(Err(fault)));
            return Ok(());
        }
        let nothing = match &request.op {
            Op::Flush => !offered.has(transmission::SEND_FLUSH),
            Op::Discard(_) => !offered.has(transmission::SEND_TRIM),
            op => op.bytes() == 0,
        };
        if nothing || !matches!(request.op, Op::Flush) && request.op.bytes() == 0 {
            self.finished.push(request.complete(Ok(())));
            return Ok(());
        }
        self.begin(request, offered);
        Ok(())
    }

    fn begin(&mut self, request: Request, offered: Offered) {
        let start = request.sector.saturating_mul(SECTOR_BYTES); // a flush has no place
        let bytes = request.op.bytes();
        let data_bytes = MAX_DATA_BYTES.min(u64::from(offered.max_bytes)).max(4096);
        let fua = matches!(request.op, Op::Write(_, Durability::Fua));
        let can_fua = offered.has(transmission::SEND_FUA);
        let flag = if fua && can_fua { command_flag::FUA } else { 0 };
        let zeroes = offered.has(transmission::SEND_WRITE_ZEROES);
        let (kind, most, data) = match &request.op {
            Op::Read(_) => (command::READ, data_bytes, None),
            Op::Write(data, _) => (command::WRITE, data_bytes, Some(data.clone())),
            Op::Zero(_) if zeroes => (command::WRITE_ZEROES, MAX_EFFECT_BYTES, None),
            Op::Zero(_) => {
                (command::WRITE, data_bytes, Some(Payload::zeroed(data_bytes.min(bytes) as usize)))
            }
            Op::Discard(_) => (command::TRIM, MAX_EFFECT_BYTES, None),
            Op::Flush => (command::FLUSH, 1, None),
        };
        let reads = matches!(request.op, Op::Read(_));
        let zeros = matches!(request.op, Op::Zero(_));
        let whole = Whole { request, parts: 0, fault: None, flush: fua && !can_fua, begun: false };
        let key = self.wholes.insert(whole);
        if kind == command::FLUSH {
            self.put(key, kind, 0, 0, 0, 0, false);
            return;
        }
        let mut at = 0;
        while at < bytes {
            let count = most.min(bytes - at);
            self.put(key, kind, flag, start + at, at as usize, count as usize, reads);
            if let Some(data) = &data {
                let from = if zeros { 0 } else { at as usize };
                self.output.push_back(Piece::Data(data.slice(from..from + count as usize)));
            }
            at += count;
        }
    }

    /// Puts a part's header.
    #[expect(clippy::too_many_arguments, reason = "the fields of a header, in their order")]
    fn put(
        &mut self,
        whole: Key,
        kind: u16,
        flags: u16,
        offset: u64,
        at: usize,
        bytes: usize,
        reads: bool,
    ) {
        self.wholes[whole].parts += 1;
        let part = self.parts.insert(Part { whole, at, bytes, reads });
        let mut header = Vec::with_capacity(28);
        wire::put_request(&mut header, flags, kind, part.to_bits(), offset, bytes as u32);
        self.output.push_back(Piece::Header { bytes: header, whole: Some(whole) });
    }

    fn say(&mut self, bytes: Vec<u8>) {
        self.output.push_back(Piece::Header { bytes, whole: None });
    }

    fn nonsense(&mut self, what: &'static str) -> bool {
        self.end(Ended::Nonsense(what));
        false
    }

    /// Takes the next thing from the input; whether there was a whole one.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::Greeting => self.greeting(),
            Phase::Going { .. } => self.going(),
            Phase::Naming => self.naming(),
            Phase::Transmitting(_) if self.receiving.is_some() => self.take_data(),
            Phase::Transmitting(_) => self.reply(),
            Phase::Ended(_) => false,
        }
    }

    fn greeting(&mut self) -> bool {
        let mut fields = Fields(self.input.bytes());
        let (Some(first), Some(second)) = (fields.u64(), fields.u64()) else { return false };
        if first != wire::INIT_MAGIC {
            return self.nonsense("it is no NBD server");
        }
        if second != wire::OPTION_MAGIC {
            self.end(Ended::Unspoken("the oldstyle handshake"));
            return false;
        }
        let Some(flags) = fields.u16() else { return false };
        if flags & handshake::FIXED_NEWSTYLE == 0 {
            self.end(Ended::Unspoken("a newstyle handshake that is not fixed"));
            return false;
        }
        self.input.consume(18);
        self.padded = flags & handshake::NO_ZEROES == 0;
        let ours = handshake::FIXED_NEWSTYLE | flags & handshake::NO_ZEROES;
        let mut out = u32::from(ours).to_be_bytes().to_vec();
        let mut data = (self.name.len() as u32).to_be_bytes().to_vec();
        data.extend(self.name.as_bytes());
        data.extend(1u16.to_be_bytes());
        data.extend(info::BLOCK_SIZE.to_be_bytes());
        wire::put_option(&mut out, option::GO, &data);
        self.say(out);
        self.phase = Phase::Going { offered: None, block: (512, u32::MAX) };
        true
    }

    fn going(&mut self) -> bool {
        let mut fields = Fields(self.input.bytes());
        let (Some(magic), Some(_), Some(kind), Some(length)) =
            (fields.u64(), fields.u32(), fields.u32(), fields.u32())
        else {
            return false;
        };
        if magic != wire::OPTION_REPLY_MAGIC || length > 32 << 10 {
            return self.nonsense("an answer to an option does not begin as one");
        }
        let Some(data) = fields.bytes(length as usize) else { return false };
        let data = data.to_vec();
        self.input.consume(20 + data.len());
        self.option_reply(kind, &data)
    }

    fn option_reply(&mut self, kind: u32, data: &[u8]) -> bool {
        let Phase::Going { offered, block } = &mut self.phase else { return false };
        match kind {
            reply::ACK => match *offered {
                Some(found) => {
                    let (block_bytes, max_bytes) = *block;
                    self.transmit(Offered { block_bytes, max_bytes, ..found })
                }
                None => self.nonsense("it agrees without saying to what"),
            },
            reply::INFO => {
                let mut fields = Fields(data);
                match fields.u16() {
                    Some(info::EXPORT) => {
                        if let (Some(bytes), Some(flags)) = (fields.u64(), fields.u16()) {
                            *offered = Some(Offered {
                                bytes,
                                flags,
                                block_bytes: 512,
                                max_bytes: u32::MAX,
                            });
                        }
                    }
                    Some(info::BLOCK_SIZE) => {
                        if let (Some(least), Some(_), Some(most)) =
                            (fields.u32(), fields.u32(), fields.u32())
                        {
                            *block = (least, most);
                        }
                    }
                    _ => {}
                }
                true
            }
            reply::ERR_UNSUP => {
                // A server from before `GO`.
                let mut out = Vec::new();
                wire::put_option(&mut out, option::EXPORT_NAME, self.name.as_bytes());
                self.say(out);
                self.phase = Phase::Naming;
                true
            }
            _ => {
                let text = String::from_utf8_lossy(data).into_owned();
                self.end(Ended::NoExport { name: self.name.clone(), text });
                false
            }
        }
    }

    fn naming(&mut self) -> bool {
        let mut fields = Fields(self.input.bytes());
        let (Some(bytes), Some(flags)) = (fields.u64(), fields.u16()) else { return false };
        let padding = if self.padded { 124 } else { 0 };
        if fields.bytes(padding).is_none() {
            return false;
        }
        self.input.consume(10 + padding);
        self.transmit(Offered { bytes, flags, block_bytes: 512, max_bytes: u32::MAX })
    }

    fn transmit(&mut self, offered: Offered) -> bool {
        let sane = offered.block_bytes.is_power_of_two() && offered.block_bytes <= 64 << 10;
        if !sane {
            return self.nonsense("its smallest block is no power of two, or too large");
        }
        if offered.geometry().sectors == 0 {
            self.end(Ended::Empty(offered.bytes));
            return false;
        }
        self.phase = Phase::Transmitting(offered);
        true
    }

    fn reply(&mut self) -> bool {
        let mut fields = Fields(self.input.bytes());
        let (Some(magic), Some(error), Some(cookie)) = (fields.u32(), fields.u32(), fields.u64())
        else {
            return false;
        };
        if magic != wire::SIMPLE_REPLY_MAGIC {
            return self.nonsense("an answer does not begin as one");
        }
        let key = Key::from_bits(cookie);
        let Some(part) = self.parts.get(key).copied() else {
            return self.nonsense("an answer to what was never asked");
        };
        self.input.consume(16);
        if error == 0 && part.reads {
            self.receiving = Some((key, 0));
            return true;
        }
        self.part_done(key, fault(error));
        true
    }

    /// Moves a read's data out of the input.
    fn take_data(&mut self) -> bool {
        let Some((key, got)) = self.receiving else { return false };
        let Some(part) = self.parts.get(key).copied() else { return false };
        let Some(whole) = self.wholes.get_mut(part.whole) else { return false };
        let Op::Read(buf) = &mut whole.request.op else { return false };
        let count = self.input.take_into(&mut buf[part.at + got..part.at + part.bytes]);
        if count == 0 {
            return false;
        }
        self.received(count);
        true
    }

    fn received(&mut self, count: usize) {
        let Some((key, got)) = self.receiving else { return };
        let whole = self.parts.get(key).map_or(0, |part| part.bytes);
        if got + count < whole {
            self.receiving = Some((key, got + count));
        } else {
            self.receiving = None;
            self.part_done(key, None);
        }
    }

    fn part_done(&mut self, part: Key, fault: Option<Fault>) {
        let Some(part) = self.parts.remove(part) else { return };
        let Some(whole) = self.wholes.get_mut(part.whole) else { return };
        whole.parts -= 1;
        whole.fault = whole.fault.or(fault);
        if whole.parts > 0 {
            return;
        }
        if whole.flush && whole.fault.is_none() {
            whole.flush = false;
            self.put(part.whole, command::FLUSH, 0, 0, 0, 0, false);
            return;
        }
        let Some(whole) = self.wholes.remove(part.whole) else { return };
        let result = whole.fault.map_or(Ok(()), Err);
        self.finished.push(whole.request.complete(result));
    }
}

/// What a server's error means.
const fn fault(number: u32) -> Option<Fault> {
    Some(match number {
        0 => return None,
        error::EPERM => Fault::ReadOnly,
        error::ENOSPC => Fault::Full,
        error::EINVAL => Fault::Refused,
        error::ESHUTDOWN => Fault::Transport,
        _ => Fault::Medium,
    })
}

#[cfg(test)]
#[path = "client_session_tests.rs"]
mod tests;
