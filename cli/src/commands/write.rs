//! `holdfast write`: data into an array.
//!
//! Input is cut at multiples of 1 MiB of the array, so that full stripes are written whole, and
//! several pieces are under way at once. The ends need not be aligned: a block that is written in
//! part is read first. The verb ends with a flush, and the array is stopped as md would stop it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::event::Event;
use serde::Serialize;

use super::{detail, read};
use crate::config::{self, Stream as End};
use crate::events::byte_range;
use crate::exit::{Exit, Failure, Outcome};
use crate::progress::Progress;
use crate::report::Report;
use crate::session::{Purpose, Session};
use crate::stream::{PIECE_BYTES, Stream};

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    offset_bytes: u64,
    length_bytes: Option<u64>,
    state: String,
}

/// Copies the input in.
pub(super) fn run(config: &config::Write, report: &Report) -> Outcome {
    let mut input = Input::open(config)?;
    if let End::File(path) = &config.input
        && read::is_twin(&config.group.members, path)?
    {
        let text = format!("--input {}: is a member of the array", path.display());
        return Err(Failure::usage(text));
    }
    let dry_run = config.caution.dry_run;
    let purpose = if dry_run { Purpose::Look } else { Purpose::Change };
    let mut session = Session::open(&config.group, purpose, report)?;
    let room = room(config, &input, session.bytes())?;
    let written = if dry_run {
        input.length
    } else {
        let mut copy = Copy {
            session: &mut session,
            stream: Stream::default(),
            fault: None,
            culprits: BTreeSet::new(),
        };
        let result = copy.run(config.offset_bytes, room, &mut input, report);
        let culprits = copy.culprits;
        // Stop in any case: what was written must be found clean.
        session.stop(report);
        Some(result.map_err(|failure| failure.name(culprits))?)
    };
    let state = detail::state(&session.status());
    let range = written.map_or_else(
        || format!("the input, from byte {} on", config.offset_bytes),
        |length| match length {
            0 => "nothing".to_owned(),
            _ => byte_range(config.offset_bytes, length),
        },
    );
    let verb = if dry_run { "would write" } else { "wrote" };
    report.line(format_args!("{verb} {range}; state: {state}"));
    report.answer(&Answer {
        dry_run,
        offset_bytes: config.offset_bytes,
        length_bytes: written,
        state,
    });
    Ok(Exit::Good)
}

/// Bytes from the offset to the array's end; an input known to be longer is refused at once.
fn room(config: &config::Write, input: &Input, array_bytes: u64) -> Result<u64, Failure> {
    let start = config.offset_bytes;
    let room = array_bytes.checked_sub(start).ok_or_else(|| {
        Failure::usage(format!("--offset {start}: the array ends at byte {array_bytes}"))
    })?;
    match input.length {
        Some(length) if length > room => Err(Failure::error(format!(
            "the input has {length} bytes, but from byte {start} the array has room for {room} \
             ({}); nothing was written",
            Human(room)
        ))),
        _ => Ok(room),
    }
}

/// Where the data comes from.
struct Input {
    from: Box<dyn Read>,
    /// Known of files.
    length: Option<u64>,
}

impl Input {
    fn open(config: &config::Write) -> Result<Self, Failure> {
        let End::File(path) = &config.input else {
            return Ok(Self { from: Box::new(io::stdin()), length: None });
        };
        let failed = |error| Failure::error(format!("--input {}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Failure::error(format!("--input {}: is a directory", path.display())));
        }
        let length = metadata.is_file().then_some(metadata.len());
        Ok(Self { from: Box::new(file), length })
    }

    /// Fills as much as there is.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.from.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// A write that failed: where and why.
struct Failed {
    message: String,
    hint: Option<&'static str>,
}

impl Failed {
    /// With the members that refused it.
    fn name(self, culprits: BTreeSet<String>) -> Failure {
        let culprits: Vec<String> = culprits.into_iter().collect();
        let who = if culprits.is_empty() {
            String::new()
        } else {
            format!(" on {}", culprits.join(", "))
        };
        let failure = Failure::error(format!("{}{who}", self.message));
        match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A copy under way.
struct Copy<'a> {
    session: &'a mut Session,
    stream: Stream,
    /// The first range that could not be written, and why.
    fault: Option<(u64, u64, Fault)>,
    /// Paths of the members that refused a write.
    culprits: BTreeSet<String>,
}

impl Copy<'_> {
    /// Writes until the input ends; bytes written.
    fn run(
        &mut self,
        start: u64,
        room: u64,
        input: &mut Input,
        report: &Report,
    ) -> Result<u64, Failed> {
        let mut progress = Progress::new(report.is_watched() && input.length.is_some());
        let total = input.length.unwrap_or(0);
        let (mut next, mut ended) = (start, false);
        let mut spoiled = None;
        loop {
            while self.stream.has_room() && !ended && self.fault.is_none() {
                match self.piece(&mut next, start + room, input) {
                    Ok(more) => ended = !more,
                    Err(failed) => (spoiled, ended) = (Some(failed), true),
                }
            }
            let taken = self.stream.take(&mut self.session.array, &mut self.session.clock);
            let Some((sector, completion)) = taken else { break };
            if let Err(fault) = completion.result {
                let at = sector * SECTOR_BYTES;
                let bytes = completion.op.bytes();
                self.fault.get_or_insert((at, bytes, fault));
            }
            self.listen(&mut progress, report);
            progress.draw("write", (next - start) / SECTOR_BYTES, total / SECTOR_BYTES);
        }
        let flushed =
            self.stream.now(&mut self.session.array, &mut self.session.clock, 0, Op::Flush).result;
        self.listen(&mut progress, report);
        if let Some((at, bytes, fault)) = self.fault {
            return Err(write_failed(at, bytes, fault));
        }
        if let Err(fault) = flushed {
            return Err(write_failed(start, next - start, fault));
        }
        match spoiled {
            Some(failed) => Err(failed),
            None => Ok(next - start),
        }
    }

    /// Tells what has happened and remembers who refused a write.
    fn listen(&mut self, progress: &mut Progress, report: &Report) {
        let culprits = &mut self.culprits;
        self.session.tell(report, |event, names| {
            progress.clear();
            match event {
                Event::RangeFailed { slots, write: true, .. } => {
                    culprits.extend(slots.iter().map(|slot| names.slot(*slot)));
                }
                Event::NoSpace { member, .. } => {
                    culprits.insert(names.device(*member).to_owned());
                }
                _ => {}
            }
        });
    }

    /// Writes the next piece of the input; whether there may be more.
    fn piece(&mut self, next: &mut u64, end: u64, input: &mut Input) -> Result<bool, Failed> {
        let block = self.session.block_bytes();
        let unreadable = |error| Failed { message: format!("the input: {error}"), hint: None };
        if *next == end {
            let more = input.fill(&mut [0]).map_err(unreadable)? > 0;
            return if more { Err(full(end)) } else { Ok(false) };
        }
        let first = *next - *next % block;
        let stop = (*next + 1).next_multiple_of(PIECE_BYTES as u64).min(end);
        let mut buf = Buf::zeroed((stop - first).next_multiple_of(block) as usize);
        let skip = (*next - first) as usize;
        let wanted = (stop - *next) as usize;
        let got = input.fill(&mut buf[skip..skip + wanted]).map_err(unreadable)?;
        if got == 0 {
            return Ok(false);
        }
        let length = (skip + got).next_multiple_of(block as usize);
        self.complete_blocks(first, &mut buf, skip..skip + got, block as usize)?;
        let data = holdfast_core::buf::Payload::from(buf).slice(0..length);
        let op = Op::Write(data, Durability::Cached);
        self.stream.push(&mut self.session.array, first / SECTOR_BYTES, op);
        *next += got as u64;
        Ok(got == wanted)
    }

    /// Fills what the input leaves open of the first and the last block with what is there.
    fn complete_blocks(
        &mut self,
        first: u64,
        buf: &mut Buf,
        filled: std::ops::Range<usize>,
        block: usize,
    ) -> Result<(), Failed> {
        let last = filled.end - filled.end % block;
        let head = (filled.start > 0).then_some(0);
        let tail = (!filled.end.is_multiple_of(block)).then_some(last);
        let tail = tail.filter(|at| Some(*at) != head);
        for at in head.into_iter().chain(tail) {
            let old = self.read_block(first + at as u64, block)?;
            for (index, byte) in old.iter().enumerate() {
                if !filled.contains(&(at + index)) {
                    buf[at + index] = *byte;
                }
            }
        }
        Ok(())
    }

    /// One block as it is now. Earlier pieces are in the array's order before it.
    fn read_block(&mut self, at: u64, block: usize) -> Result<Buf, Failed> {
        let op = Op::Read(Buf::zeroed(block));
        let (array, clock) = (&mut self.session.array, &mut self.session.clock);
        let done = self.stream.now(array, clock, at / SECTOR_BYTES, op);
        match (done.result, done.op) {
            (Ok(()), Op::Read(buf)) => Ok(buf),
            (Err(fault), _) => Err(Failed {
                message: format!(
                    "array {} is written in part and cannot be read: {fault}",
                    byte_range(at, block as u64)
                ),
                hint: Some("write whole blocks, at a multiple of the block size"),
            }),
            (Ok(()), _) => unreachable!("a read answers a read"),
        }
    }
}

fn full(end: u64) -> Failed {
    let message = format!("the array is full at byte {end}, and the input goes on");
    Failed { message, hint: None }
}

fn write_failed(at: u64, bytes: u64, fault: Fault) -> Failed {
    let hint = (fault == Fault::Full)
        .then_some("make room where the members are, then write again; nothing is marked failed");
    Failed { message: format!("array {} cannot be written: {fault}", byte_range(at, bytes)), hint }
}
