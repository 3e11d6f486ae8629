//! `holdfast read`: data out of an array, without writing a byte to a member.
//!
//! Pieces of 1 MiB are read ahead, several at once, and leave in order. A piece that cannot be read
//! is read again in ever smaller parts, down to one block, so that the range that is really lost
//! is as small as it can be; its name is the array's range and the members that could not help.
//! `--keep-going` puts zeros there and goes on. A file is written sparsely: zeros become holes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use holdfast_core::block::{Completion, Fault, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::member::{Access, OpenError};
use holdfast_raid::event::Event;
use serde::Serialize;

use crate::config::{self, Stream as End};
use crate::events::{Names, byte_range};
use crate::exit::{Exit, Failure, Outcome};
use crate::json::{Range, Ranges};
use crate::members;
use crate::parts::Spec;
use crate::progress::Progress;
use crate::report::Report;
use crate::session::{Purpose, Session};
use crate::stream::{PIECE_BYTES, Stream};

/// Sizes in which a piece that cannot be read is tried again.
const FINER: [u64; 3] = [64 << 10, 4 << 10, 512];

#[derive(Debug, Serialize)]
struct Answer {
    offset_bytes: u64,
    length_bytes: u64,
    output: String,
    unreadable: Vec<Range>,
    unreadable_not_shown: u64,
}

/// Copies the range out.
pub(super) fn run(config: &config::Read, report: &Report) -> Outcome {
    if config.output == End::Standard {
        report.step_aside();
        if io::stdout().is_terminal() {
            return Err(Failure::usage("the data would go to the terminal")
                .hint("--output FILE, or pipe it somewhere"));
        }
    }
    members::refuse_locked(&config.group, "reads what is there now")?;
    refuse_member_as_output(config)?;
    let mut session = Session::open(&config.group, Purpose::Look, report)?;
    let (start, length) = range(config, session.bytes())?;
    let mut sink = Sink::open(&config.output)?;
    let mut copy = Copy {
        block_bytes: session.block_bytes(),
        keep_going: config.keep_going,
        names: session.names(),
        report,
        session: &mut session,
        stream: Stream::default(),
        unreadable: Ranges::default(),
    };
    let written = copy.run(start, length, &mut sink);
    let unreadable = copy.unreadable;
    session.teller.finish(report);
    match written {
        Ok(()) => {}
        // The reader has seen enough.
        Err(Stop::Closed) => return Ok(Exit::Good),
        Err(Stop::Failed(failure)) => return Err(failure),
    }
    sink.finish()?;
    for range in &unreadable.shown {
        report.note(format_args!("{}; zeros stand there instead", range_text(range)));
    }
    if unreadable.more > 0 {
        let more = unreadable.more;
        report.note(format_args!("… and {more} ranges more, where zeros stand too"));
    }
    let exit = if unreadable.is_empty() { Exit::Good } else { Exit::Differs };
    let output = sink.name();
    if config.output != End::Standard {
        let range = byte_range(start, length);
        report.line(format_args!("{output}: {range} of the array"));
    }
    report.answer(&Answer {
        offset_bytes: start,
        length_bytes: length,
        output,
        unreadable: unreadable.shown,
        unreadable_not_shown: unreadable.more,
    });
    Ok(exit)
}

/// A member must not be overwritten with the array's data, whatever it is called.
fn refuse_member_as_output(config: &config::Read) -> Result<(), Failure> {
    let End::File(output) = &config.output else { return Ok(()) };
    if is_twin(&config.group.members, output)? {
        let text = format!("--output {}: is a member of the array", output.display());
        return Err(Failure::usage(text).hint("name another file"));
    }
    Ok(())
}

/// Whether `other` is the same storage as one of `members`.
pub(super) fn is_twin(members: &[PathBuf], other: &Path) -> Result<bool, Failure> {
    if !other.exists() {
        return Ok(false);
    }
    let world = members::World::new()?;
    let twin = members.iter().any(|member| {
        // A partition's disk is as little to be overwritten as a member that is all of one.
        let base = Spec::of(member).base;
        let pair = [base.as_path(), other];
        matches!(world.open_raw(&pair, Access::Read), Err(OpenError::SameDevice { .. }))
    });
    Ok(twin)
}

/// First byte and count.
fn range(config: &config::Read, array_bytes: u64) -> Result<(u64, u64), Failure> {
    let start = config.offset_bytes;
    let length = config.length_bytes.unwrap_or_else(|| array_bytes.saturating_sub(start));
    let end = start.checked_add(length).filter(|end| *end <= array_bytes && start <= array_bytes);
    if end.is_some() {
        return Ok((start, length));
    }
    let size = Human(array_bytes);
    Err(Failure::usage(format!(
        "the array ends at byte {array_bytes} ({size}), the range after it"
    )))
}

/// Why a copy ended early.
enum Stop {
    /// Nobody reads on.
    Closed,
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(Failure::error(format!("the output cannot be written: {error}"))),
        }
    }
}

/// A copy under way.
struct Copy<'a> {
    session: &'a mut Session,
    stream: Stream,
    block_bytes: u64,
    keep_going: bool,
    names: Names,
    report: &'a Report,
    unreadable: Ranges,
}

impl Copy<'_> {
    fn run(&mut self, start: u64, length: u64, sink: &mut Sink) -> Result<(), Stop> {
        let end = start + length;
        let mut next = start - start % self.block_bytes;
        let mut progress = Progress::new(self.report.is_watched() && sink.is_file());
        loop {
            while self.stream.has_room() && next < end {
                // Pieces end at multiples of their size, so that stripes are read whole.
                let stop = (next + 1).next_multiple_of(PIECE_BYTES as u64);
                let stop = stop.min(end.next_multiple_of(self.block_bytes));
                let op = Op::Read(Buf::zeroed((stop - next) as usize));
                self.stream.push(&mut self.session.array, next / SECTOR_BYTES, op);
                next = stop;
            }
            let taken = self.stream.take(&mut self.session.array, &mut self.session.clock);
            let Some((sector, completion)) = taken else { return Ok(()) };
            let at = sector * SECTOR_BYTES;
            let bytes = completion.op.bytes();
            let wanted = start.max(at)..end.min(at + bytes);
            let inside = (wanted.start - at) as usize..(wanted.end - at) as usize;
            match (completion.result, completion.op) {
                (Ok(()), Op::Read(buf)) => sink.put(&buf[inside])?,
                (Err(fault), _) => self.mend(at, bytes, inside, fault, sink)?,
                (Ok(()), _) => unreachable!("a read answers a read"),
            }
            self.listen();
            progress.draw("read", (wanted.end - start) / SECTOR_BYTES, length / SECTOR_BYTES);
        }
    }

    /// Puts what can be read of a failed piece, zeros for the rest or stops there.
    fn mend(
        &mut self,
        at: u64,
        bytes: u64,
        inside: std::ops::Range<usize>,
        fault: Fault,
        sink: &mut Sink,
    ) -> Result<(), Stop> {
        // Whatever was reported so far was about the whole piece.
        self.listen();
        let mut data = vec![0; bytes as usize];
        // At most one per block of the piece.
        let mut lost = Vec::new();
        self.narrow(at, &mut data, fault, &mut lost);
        lost.retain(|range| {
            let from = range.offset_bytes - at;
            from < inside.end as u64 && from + range.length_bytes > inside.start as u64
        });
        if let (Some(first), false) = (lost.first(), self.keep_going) {
            let good = (first.offset_bytes - at) as usize;
            sink.put(&data[inside.start..good.max(inside.start)])?;
            let failure = Failure::error(range_text(first))
                .hint("--keep-going writes zeros there and reads on");
            return Err(Stop::Failed(failure));
        }
        lost.into_iter().for_each(|range| self.unreadable.add(range));
        Ok(sink.put(&data[inside])?)
    }

    /// Reads a range in smaller parts than before, and each that fails in smaller parts still.
    fn narrow(&mut self, at: u64, data: &mut [u8], fault: Fault, lost: &mut Vec<Range>) {
        let finer = FINER.into_iter().find(|size| *size < data.len() as u64);
        let Some(finer) = finer.filter(|size| *size >= self.block_bytes) else {
            let members = self.at_fault();
            let length_bytes = data.len() as u64;
            let range = Range { offset_bytes: at, length_bytes, members, why: fault.to_string() };
            let rest = match lost.last_mut() {
                Some(last) => last.absorb(range),
                None => Some(range),
            };
            return lost.extend(rest);
        };
        let mut from = at;
        for part in data.chunks_mut(finer as usize) {
            let op = Op::Read(Buf::zeroed(part.len()));
            let (array, clock) = (&mut self.session.array, &mut self.session.clock);
            match self.stream.now(array, clock, from / SECTOR_BYTES, op) {
                Completion { result: Ok(()), op: Op::Read(buf), .. } => part.copy_from_slice(&buf),
                Completion { result, .. } => {
                    self.narrow(from, part, result.err().unwrap_or(fault), lost);
                }
            }
            from += part.len() as u64;
        }
    }

    /// The members that could not help with the read that failed last.
    fn at_fault(&mut self) -> Vec<String> {
        let slots = self.listen();
        slots.into_iter().map(|slot| self.names.slot(slot)).collect()
    }

    /// Tells what has happened; the slots that could not help where a range could not be read.
    fn listen(&mut self) -> BTreeSet<u32> {
        let mut slots = BTreeSet::new();
        for event in self.session.array.take_events() {
            match event {
                Event::RangeFailed { slots: failed, .. } => slots.extend(failed),
                other => self.session.teller.take(&other, &self.names, self.report),
            }
        }
        slots
    }
}

fn range_text(range: &Range) -> String {
    let at = byte_range(range.offset_bytes, range.length_bytes);
    let who = match &range.members[..] {
        [] => String::new(),
        members => format!(" on {}", members.join(", ")),
    };
    format!("array {at} cannot be read: {}{who}", range.why)
}

/// Where the data goes.
pub(super) enum Sink {
    Standard(io::StdoutLock<'static>),
    File { file: File, path: PathBuf, sparse: bool, length: u64 },
}

/// Zeros in runs of this size become holes.
const HOLE_BYTES: usize = 4096;

impl Sink {
    pub(super) fn open(output: &End) -> Result<Self, Failure> {
        let End::File(path) = output else { return Ok(Self::Standard(io::stdout().lock())) };
        let failed = |error| Failure::error(format!("--output {}: {error}", path.display()));
        let file =
            File::options().write(true).create(true).truncate(true).open(path).map_err(failed)?;
        let sparse = file.metadata().map_err(failed)?.is_file();
        Ok(Self::File { file, path: path.clone(), sparse, length: 0 })
    }

    const fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Standard(_) => "-".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.write_all(bytes),
            Self::File { file, sparse: false, .. } => file.write_all(bytes),
            Self::File { file, length, .. } => {
                *length += bytes.len() as u64;
                for part in bytes.chunks(HOLE_BYTES) {
                    if part.iter().all(|byte| *byte == 0) {
                        file.seek(SeekFrom::Current(part.len() as i64))?;
                    } else {
                        file.write_all(part)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Everything is where it should be, or says why not.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        let done = match self {
            Self::Standard(out) => match out.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                done => done,
            },
            Self::File { sparse: false, file, .. } => file.flush(),
            Self::File { file, length, .. } => file.set_len(*length),
        };
        done.map_err(|error| Failure::error(format!("the output cannot be written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_range_names_its_members() {
        let (members, why) = (vec!["a".to_owned()], "medium error".to_owned());
        let lost = Range { offset_bytes: 0, length_bytes: 1024, members, why };
        assert_eq!(
            range_text(&lost),
            "array bytes 0..1023 (1 KiB) cannot be read: medium error on a"
        );
    }
}
