//! Requests under way: from a header to asks of the device, from its answers to a reply.
//!
//! A request becomes *parts* of at most [`PART_BYTES`], so that one large request neither waits for
//! one large buffer nor keeps the device from serving others. A structured read answers part by
//! part; a simple one waits for all and goes out in order. Invariants:
//!
//! - a request is answered exactly once, after its last part has come home;
//! - after a part has failed no further part is begun;
//! - `held_bytes` counts the data of every request from its acceptance to its answer.

use std::collections::VecDeque;
use std::ops::Range;

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};

use super::buffers::Output;
use super::export::{Context, Export, Extent, MAX_BLOCK_BYTES};
use super::negotiation::Agreed;
use super::wire::{self, RequestHeader, chunk, command, command_flag, error};

/// The most bytes asked of the device at once.
pub(super) const PART_BYTES: u64 = 1 << 20;

/// Zeroing and trimming carry no data: they go in larger parts.
const EFFECT_PART_BYTES: u64 = 64 << 20;

/// Parts of one request under way at once.
const PARTS_AT_ONCE: u32 = 16;

/// Extents of one context in one answer.
pub(super) const MAX_EXTENTS: usize = 1024;

/// What the device, or whoever knows it, is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Carry this out.
    Io {
        /// Comes back with the answer.
        tag: AskTag,
        /// First sector.
        sector: u64,
        /// What to do.
        op: Op,
    },
    /// Say how a range is, in each of these contexts.
    Describe {
        /// Comes back with the answer.
        tag: AskTag,
        /// In bytes.
        bytes: Range<u64>,
        /// One extent of each is enough.
        one: bool,
        /// In this order.
        contexts: Vec<Context>,
    },
}

/// Names an ask among those of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskTag {
    request: Key,
    part: u32,
}

/// Requests of one client.
#[derive(Debug, Default)]
pub(super) struct Transmission {
    active: Slab<Active>,
    /// Requests with parts to begin, in the order they came.
    beginning: VecDeque<Key>,
    held_bytes: u64,
}

#[derive(Debug)]
struct Active {
    header: RequestHeader,
    kind: Kind,
    /// Parts begun.
    begun: u32,
    under_way: u32,
    failed: Option<(u32, &'static str)>,
    /// What counts against the budget.
    held_bytes: u64,
}

#[derive(Debug)]
enum Kind {
    /// Data of parts wait here where the answer has to be whole.
    Read {
        whole: Vec<Option<Buf>>,
    },
    Write(Payload),
    Zero,
    Trim,
    Flush,
    Describe {
        answer: Vec<(Context, Vec<Extent>)>,
    },
    /// Nothing is left to do but to say so.
    Nothing,
}

/// Cuts extents to what an answer may carry.
fn cut(mut extents: Vec<Extent>, mut bytes: u64, one: bool) -> Vec<Extent> {
    extents.truncate(if one { 1 } else { MAX_EXTENTS });
    extents.retain_mut(|extent| {
        extent.bytes = extent.bytes.min(bytes);
        bytes -= extent.bytes;
        extent.bytes > 0
    });
    assert!(!extents.is_empty(), "a description covers at least the first block");
    extents
}

/// Why a request is not carried out.
type Refusal = (u32, &'static str);

/// What is wrong with a request, by its header alone.
pub(super) fn check(header: &RequestHeader, export: &Export, agreed: &Agreed) -> Option<Refusal> {
    let allowed = match header.command {
        command::READ => command_flag::DF,
        command::WRITE if agreed.extended => command_flag::FUA | command_flag::PAYLOAD_LEN,
        command::WRITE | command::TRIM => command_flag::FUA,
        command::WRITE_ZEROES => command_flag::FUA | command_flag::NO_HOLE,
        command::BLOCK_STATUS => command_flag::REQ_ONE,
        command::FLUSH | command::CACHE => 0,
        _ => return Some((error::EINVAL, "no such command here")),
    };
    let writes = matches!(header.command, command::WRITE | command::WRITE_ZEROES | command::TRIM);
    let length = header.length;
    if header.flags & !allowed & !command_flag::FUA != 0 {
        return Some((error::EINVAL, "a flag this command does not take"));
    }
    if writes && export.read_only {
        return Some((error::EPERM, "the export is read-only"));
    }
    if header.command == command::FLUSH {
        return None; // offset and length mean nothing
    }
    let block = u64::from(export.block_bytes);
    if !header.offset.is_multiple_of(block) || !length.is_multiple_of(block) {
        return Some((error::EINVAL, "not aligned to the export's block size"));
    }
    if header.offset.checked_add(length).is_none_or(|end| end > export.bytes) {
        let error = if writes { error::ENOSPC } else { error::EINVAL };
        return Some((error, "beyond the end of the export"));
    }
    let carries_data = matches!(header.command, command::READ | command::WRITE);
    if carries_data && length > MAX_BLOCK_BYTES.into() {
        return Some((error::EINVAL, "larger than the largest request"));
    }
    if header.command == command::BLOCK_STATUS {
        if agreed.contexts.is_empty() {
            return Some((error::EINVAL, "no metadata context was chosen"));
        }
        if length == 0 {
            return Some((error::EINVAL, "the status of nothing"));
        }
    }
    None
}

impl Transmission {
    /// Requests that are not answered yet.
    pub(super) const fn len(&self) -> usize {
        self.active.len()
    }

    /// Bytes of data of requests that are not answered yet.
    pub(super) const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Takes a request that [`check`] has passed; `data` is what a write brought.
    pub(super) fn accept(
        &mut self,
        header: RequestHeader,
        data: Option<Buf>,
        agreed: &Agreed,
        output: &mut Output,
    ) {
        let active = Active::new(header, data, agreed);
        if active.main_parts() == 0 {
            return active.put_answer(agreed, output);
        }
        self.held_bytes += active.held_bytes;
        let request = self.active.insert(active);
        self.beginning.push_back(request);
    }

    /// The next ask. Nobody waits behind a giant that has enough under way.
    pub(super) fn poll_ask(&mut self, agreed: &Agreed) -> Option<Ask> {
        let at = self.beginning.iter().position(|&request| self.active[request].can_begin())?;
        let request = self.beginning[at];
        let active = &mut self.active[request];
        let ask = active.ask(AskTag { request, part: active.begun }, agreed);
        active.begun += 1;
        active.under_way += 1;
        if active.has_begun_all() {
            self.beginning.remove(at);
        }
        Some(ask)
    }

    /// The device has carried out an ask.
    pub(super) fn done(
        &mut self,
        tag: AskTag,
        op: Op,
        result: Result<(), Fault>,
        agreed: &Agreed,
        output: &mut Output,
    ) {
        let active = &mut self.active[tag.request];
        active.under_way -= 1;
        match (result, op, &mut active.kind) {
            (Err(fault), ..) => {
                active.failed.get_or_insert_with(|| reason(fault, active.header.command));
            }
            (Ok(()), Op::Read(buf), Kind::Read { whole }) => {
                if let Some(place) = whole.get_mut(tag.part as usize) {
                    *place = Some(buf);
                } else {
                    active.put_data(tag.part, buf, agreed, output);
                }
            }
            (Ok(()), ..) => {}
        }
        self.settle(tag.request, agreed, output);
    }

    /// A range has been described.
    pub(super) fn described(
        &mut self,
        tag: AskTag,
        extents: Vec<(Context, Vec<Extent>)>,
        agreed: &Agreed,
        output: &mut Output,
    ) {
        let active = &mut self.active[tag.request];
        active.under_way -= 1;
        let (bytes, one) = (active.header.length, active.header.flags & command_flag::REQ_ONE != 0);
        let fitting = |(context, extents)| (context, cut(extents, bytes, one));
        active.kind = Kind::Describe { answer: extents.into_iter().map(fitting).collect() };
        self.settle(tag.request, agreed, output);
    }

    fn settle(&mut self, request: Key, agreed: &Agreed, output: &mut Output) {
        let active = &self.active[request];
        if active.has_begun_all() && active.under_way == 0 {
            self.beginning.retain(|&key| key != request);
            self.finish(request, agreed, output);
        }
    }

    fn finish(&mut self, request: Key, agreed: &Agreed, output: &mut Output) {
        let active = self.active.remove(request).expect("a request is finished once");
        self.held_bytes -= active.held_bytes;
        active.put_answer(agreed, output);
    }
}

impl Active {
    fn new(header: RequestHeader, data: Option<Buf>, agreed: &Agreed) -> Self {
        let kind = match header.command {
            command::FLUSH => Kind::Flush,
            command::BLOCK_STATUS => Kind::Describe { answer: Vec::new() },
            _ if header.length == 0 => Kind::Nothing,
            command::READ if header.must_be_whole(agreed) => {
                let parts = header.parts(PART_BYTES);
                Kind::Read { whole: (0..parts).map(|_| None).collect() }
            }
            command::READ => Kind::Read { whole: Vec::new() },
            command::WRITE => Kind::Write(data.expect("a write brings data").into()),
            command::TRIM => Kind::Trim,
            command::WRITE_ZEROES if header.flags & command_flag::NO_HOLE != 0 => {
                Kind::Write(Payload::zeroed(header.length.min(PART_BYTES) as usize))
            }
            command::WRITE_ZEROES => Kind::Zero,
            _ => Kind::Nothing,
        };
        let carries_data = matches!(header.command, command::READ | command::WRITE);
        let held_bytes = if carries_data { header.length } else { 0 };
        Self { header, kind, begun: 0, under_way: 0, failed: None, held_bytes }
    }

    /// Whether another part may begin. A flush waits for what it is to cover.
    fn can_begin(&self) -> bool {
        let flush_is_next = self.begun == self.main_parts();
        !self.has_begun_all()
            && self.under_way < PARTS_AT_ONCE
            && !(flush_is_next && self.under_way > 0)
    }

    fn part_bytes(&self) -> u64 {
        match self.kind {
            Kind::Zero | Kind::Trim => EFFECT_PART_BYTES,
            _ => PART_BYTES,
        }
    }

    /// Parts that carry the request out.
    fn main_parts(&self) -> u32 {
        match self.kind {
            Kind::Read { .. } | Kind::Write(_) | Kind::Zero | Kind::Trim => {
                self.header.parts(self.part_bytes())
            }
            Kind::Flush | Kind::Describe { .. } => 1,
            Kind::Nothing => 0,
        }
    }

    /// Zeroing and trimming know no FUA of their own: a flush follows them.
    fn flushes_after(&self) -> bool {
        matches!(self.kind, Kind::Zero | Kind::Trim) && self.header.flags & command_flag::FUA != 0
    }

    fn has_begun_all(&self) -> bool {
        let all = self.main_parts() + u32::from(self.flushes_after());
        self.failed.is_some() || self.begun == all
    }

    /// Bytes of a part, from the start of the export.
    fn range(&self, part: u32) -> Range<u64> {
        let first = u64::from(part) * self.part_bytes();
        let last = (first + self.part_bytes()).min(self.header.length);
        self.header.offset + first..self.header.offset + last
    }

    fn ask(&self, tag: AskTag, agreed: &Agreed) -> Ask {
        if tag.part == self.main_parts() || matches!(self.kind, Kind::Flush) {
            return Ask::Io { tag, sector: 0, op: Op::Flush };
        }
        let bytes = self.range(tag.part);
        let sectors = (bytes.end - bytes.start) / SECTOR_BYTES;
        let sector = bytes.start / SECTOR_BYTES;
        let op = match &self.kind {
            Kind::Read { .. } => Op::Read(Buf::zeroed((bytes.end - bytes.start) as usize)),
            Kind::Write(data) => {
                let length = (bytes.end - bytes.start) as usize;
                let from = (bytes.start - self.header.offset) as usize;
                // Zeros of NO_HOLE are as long as one part; data are as long as the request.
                let from = if from + length <= data.len() { from } else { 0 };
                let fua = self.header.flags & command_flag::FUA != 0;
                let durability = if fua { Durability::Fua } else { Durability::Cached };
                Op::Write(data.slice(from..from + length), durability)
            }
            Kind::Zero => Op::Zero(sectors),
            Kind::Trim => Op::Discard(sectors),
            Kind::Describe { .. } => {
                let one = self.header.flags & command_flag::REQ_ONE != 0;
                let contexts = agreed.contexts.clone();
                let bytes = self.header.offset..self.header.offset + self.header.length;
                return Ask::Describe { tag, bytes, one, contexts };
            }
            Kind::Flush | Kind::Nothing => unreachable!("asks nothing of a range"),
        };
        Ask::Io { tag, sector, op }
    }

    /// One part of a structured read.
    fn put_data(&self, part: u32, data: Buf, agreed: &Agreed, output: &mut Output) {
        let last = self.has_begun_all() && self.under_way == 0 && self.failed.is_none();
        let flags = if last { chunk::DONE } else { 0 };
        self.put_data_header(flags, self.range(part).start, data.len() as u64, agreed, output);
        output.put_data(data);
    }

    fn put_data_header(
        &self,
        flags: u16,
        offset: u64,
        bytes: u64,
        agreed: &Agreed,
        output: &mut Output,
    ) {
        self.put_chunk(flags, chunk::OFFSET_DATA, 8 + bytes, agreed, output);
        output.put(|out| out.extend(offset.to_be_bytes()));
    }

    fn put_chunk(&self, flags: u16, kind: u16, bytes: u64, agreed: &Agreed, output: &mut Output) {
        let (cookie, offset) = (self.header.cookie, self.header.offset);
        output.put(|out| wire::put_chunk(out, agreed.extended, flags, kind, cookie, offset, bytes));
    }

    /// The answer, or what is left of it.
    fn put_answer(self, agreed: &Agreed, output: &mut Output) {
        if let Some((error, text)) = self.failed {
            return put_error(&self.header, error, text, agreed, output);
        }
        if !agreed.structured {
            output.put(|out| wire::put_simple_reply(out, self.header.cookie, 0));
        }
        match &self.kind {
            Kind::Describe { answer } => {
                for (index, (context, extents)) in answer.iter().enumerate() {
                    let last = index + 1 == answer.len();
                    self.put_status(*context, extents, last, agreed, output);
                }
                return;
            }
            Kind::Read { whole } if whole.is_empty() => return, // its parts have said it all
            Kind::Read { .. } if agreed.structured => {
                let (offset, bytes) = (self.header.offset, self.header.length);
                self.put_data_header(chunk::DONE, offset, bytes, agreed, output);
            }
            _ if agreed.structured => self.put_chunk(chunk::DONE, chunk::NONE, 0, agreed, output),
            _ => {}
        }
        if let Kind::Read { whole } = self.kind {
            whole.into_iter().flatten().for_each(|data| output.put_data(data));
        }
    }

    fn put_status(
        &self,
        context: Context,
        extents: &[Extent],
        last: bool,
        agreed: &Agreed,
        output: &mut Output,
    ) {
        let flags = if last { chunk::DONE } else { 0 };
        if agreed.extended {
            let bytes = 8 + 16 * extents.len() as u64;
            self.put_chunk(flags, chunk::BLOCK_STATUS_EXT, bytes, agreed, output);
            output.put(|out| {
                out.extend(context.id().to_be_bytes());
                out.extend((extents.len() as u32).to_be_bytes());
                for extent in extents {
                    out.extend(extent.bytes.to_be_bytes());
                    out.extend(u64::from(extent.flags).to_be_bytes());
                }
            });
            return;
        }
        let bytes = 4 + 8 * extents.len() as u64;
        self.put_chunk(flags, chunk::BLOCK_STATUS, bytes, agreed, output);
        output.put(|out| {
            out.extend(context.id().to_be_bytes());
            for extent in extents {
                let bytes = u32::try_from(extent.bytes).expect("cut to the request, 32 bits long");
                out.extend(bytes.to_be_bytes());
                out.extend(extent.flags.to_be_bytes());
            }
        });
    }
}

impl RequestHeader {
    /// Whether a read's data have to go out in one piece and in order.
    fn must_be_whole(&self, agreed: &Agreed) -> bool {
        !agreed.structured || self.flags & command_flag::DF != 0
    }

    fn parts(&self, part_bytes: u64) -> u32 {
        let parts = self.length.div_ceil(part_bytes);
        u32::try_from(parts).expect("2^32 parts of a mebibyte are more than any device has")
    }
}

/// An answer that is nothing but an error.
pub(super) fn put_error(
    header: &RequestHeader,
    error: u32,
    text: &str,
    agreed: &Agreed,
    output: &mut Output,
) {
    if !agreed.structured {
        return output.put(|out| wire::put_simple_reply(out, header.cookie, error));
    }
    output.put(|out| {
        let (cookie, offset) = (header.cookie, header.offset);
        let bytes = 6 + text.len() as u64;
        wire::put_chunk(out, agreed.extended, chunk::DONE, chunk::ERROR, cookie, offset, bytes);
        out.extend(error.to_be_bytes());
        out.extend((text.len() as u16).to_be_bytes());
        out.extend(text.as_bytes());
    });
}

/// A device's fault in the protocol's words.
const fn reason(fault: Fault, command: u16) -> Refusal {
    match fault {
        Fault::Medium => (error::EIO, "medium error"),
        Fault::Transport => (error::EIO, "transport error"),
        Fault::Timeout => (error::EIO, "no answer in time"),
        Fault::Gone => (error::EIO, "the device is gone"),
        Fault::Full => (error::ENOSPC, "no space left under the device"),
        Fault::ReadOnly => (error::EPERM, "the device takes no writes"),
        Fault::Corrupt => (error::EIO, "contents fail their check"),
        Fault::OutOfRange if command == command::WRITE => {
            (error::ENOSPC, "beyond the device's end")
        }
        Fault::OutOfRange => (error::EINVAL, "beyond the device's end"),
        Fault::Refused => (error::EINVAL, "refused by the device"),
    }
}
