//! The file of a block log: made, opened, appended to.
//!
//! Appending is serial: the bytes of one frame are in the file, payload before header, before the
//! next one begins. So what a killed process leaves is whole frames and at most one that is not.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_core::block::Fault;
use holdfast_core::size::SECTOR_BYTES;

use super::format::{
    FRAME_ALIGN, FRAME_BYTES, Frame, HEADER_BYTES, Header, HeaderError, Kind, MAX_PAYLOAD,
    MemberFacts, Word,
};
use super::index::{Extent, Index, Place};
use crate::fault::classify;
use crate::lock::{self, LockError, Mode};
use crate::random;

/// How far an overlay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It takes writes.
    Open,
    /// Its blocks are being written to the members, or that was interrupted.
    Committing,
    /// They all are on the members.
    Committed,
}

/// Why a block log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// What the operating system says.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// It is there already.
    #[error("{}: exists already", .0.display())]
    Exists(PathBuf),
    /// Another process uses it.
    #[error("{}: another process uses it", .0.display())]
    Locked(PathBuf),
    /// It is not what it should be.
    #[error("{}: {why}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: HeaderError,
    },
    /// What had been durable has changed.
    #[error(
        "{}: damaged at byte {at}, and a later mark says that it had been safe there", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte that is not believed.
        at: u64,
    },
    /// A frame that is whole and cannot be true.
    #[error("{}: the frame at byte {at}: {why}", .path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// Where it begins.
        at: u64,
        /// What speaks against it.
        why: &'static str,
    },
}

/// An open block log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    header: Header,
    read_only: bool,
    /// Made by this process.
    is_new: bool,
    state: Mutex<State>,
}

/// An overlay that was made and never written to is no use to anybody: the file goes away again.
impl Drop for Log {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_empty = state.indexes.iter().all(|index| index.sectors() == 0);
        if self.is_new && self.header.kind == Kind::Overlay && is_empty {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    members: Vec<MemberFacts>,
    indexes: Vec<Index>,
    remarks: Vec<(u32, Vec<u8>)>,
    /// Where the next frame goes.
    tail: u64,
    /// The number of the last frame.
    sequence: u64,
    /// Everything before this place is durable, and a mark says so.
    marked: u64,
    committing: bool,
    committed: bool,
    /// Bytes after the tail that were no whole frame when the file was opened.
    torn: u64,
    /// A sync failed: nothing is believed to be durable any more.
    lost: Option<Fault>,
}

impl Log {
    /// Makes a new file for these members. It is durable, name and all, when this returns.
    ///
    /// # Errors
    /// [`LogError::Exists`] if there is something of that name, and what the system says.
    pub fn create(
        path: &Path,
        kind: Kind,
        created_seconds: u64,
        members: &[MemberFacts],
    ) -> Result<Self, LogError> {
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::AlreadyExists => LogError::Exists(path.to_owned()),
            _ => LogError::Io { path: path.to_owned(), source },
        };
        let file =
            File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
        let header = Header { kind, id: random::uuid_bytes(), created_seconds };
        let mut log = Self::over(path, file, header, false)?;
        log.is_new = true;
        log.file.write_all_at(&header.emit(), 0).map_err(failed)?;
        {
            let mut state = log.lock();
            state.tail = HEADER_BYTES as u64;
        }
        for facts in members {
            log.add_member(facts).map_err(|fault| failed(io::Error::other(fault)))?;
        }
        log.file.sync_all().map_err(failed)?;
        sync_parent(path).map_err(failed)?;
        Ok(log)
    }

    /// Opens a file; what is not whole at its end is forgotten, and cut off when it is next
    /// written to.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(path: &Path, write: bool) -> Result<Self, LogError> {
        let failed = |source| LogError::Io { path: path.to_owned(), source };
        let file = File::options().read(true).write(write).open(path).map_err(failed)?;
        let mut first = vec![0; HEADER_BYTES];
        let length = file.metadata().map_err(failed)?.len();
        first.truncate(length.min(HEADER_BYTES as u64) as usize);
        file.read_exact_at(&mut first, 0).map_err(failed)?;
        let header =
            Header::parse(&first).map_err(|why| LogError::Header { path: path.to_owned(), why })?;
        let log = Self::over(path, file, header, !write)?;
        let state = Replay::over(&log, length).run()?;
        *log.lock() = state;
        Ok(log)
    }

    fn over(path: &Path, file: File, header: Header, read_only: bool) -> Result<Self, LogError> {
        let mode = if read_only { Mode::Shared } else { Mode::Exclusive };
        lock::acquire(&file, mode).map_err(|error| match error {
            LockError::Held => LogError::Locked(path.to_owned()),
            LockError::Io(source) => LogError::Io { path: path.to_owned(), source },
        })?;
        let (path, state) = (path.to_owned(), Mutex::default());
        Ok(Self { path, file, header, read_only, is_new: false, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves a frame that was not counted, and no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its header.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// Whether nothing can be appended: opened for looking, or past its time.
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.phase() != Phase::Open
    }

    /// The members, by number.
    pub fn members(&self) -> Vec<MemberFacts> {
        self.lock().members.clone()
    }

    /// Introduces another member; its number.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub fn add_member(&self, facts: &MemberFacts) -> Result<u32, Fault> {
        let mut state = self.lock();
        self.refuse(&state)?;
        let number = state.members.len() as u32;
        self.append(&mut state, Word::Member, number, 0..0, &facts.emit())?;
        state.members.push(facts.clone());
        state.indexes.push(Index::new());
        Ok(number)
    }

    /// The tool's remarks, in order, each with the member it is about.
    pub fn remarks(&self) -> Vec<(u32, Vec<u8>)> {
        self.lock().remarks.clone()
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        let state = self.lock();
        match (state.committed, state.committing) {
            (true, _) => Phase::Committed,
            (false, true) => Phase::Committing,
            (false, false) => Phase::Open,
        }
    }

    /// Bytes of the file that are whole frames, and those behind them that are not.
    pub fn bytes(&self) -> (u64, u64) {
        let state = self.lock();
        (state.tail, state.torn)
    }

    /// What the log holds of a range of a member, in order.
    pub fn within(&self, member: u32, sectors: Range<u64>) -> Vec<Extent> {
        self.lock().indexes.get(member as usize).map_or_else(Vec::new, |i| i.within(sectors))
    }

    /// Everything the log holds of a member, in order.
    pub fn extents(&self, member: u32) -> Vec<Extent> {
        self.lock().indexes.get(member as usize).map_or_else(Vec::new, |i| i.iter().collect())
    }

    /// Fills a buffer from a place of the log.
    ///
    /// # Errors
    /// As a disk's.
    pub fn read(&self, place: Place, into: &mut [u8]) -> Result<(), Fault> {
        match place {
            Place::Zeros => into.fill(0),
            Place::Log(offset) => {
                self.file.read_exact_at(into, offset).map_err(|error| classify(&error))?;
            }
        }
        Ok(())
    }

    /// Lets the member's sectors be these bytes.
    ///
    /// # Errors
    /// [`Fault::ReadOnly`] once a commit has begun; [`Fault::Full`] and others as a disk's. After an
    /// error some of the sectors may be as asked for.
    pub fn write(&self, member: u32, sector: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut state = self.lock();
        self.refuse(&state)?;
        for (piece, data) in (0..).zip(bytes.chunks(MAX_PAYLOAD)) {
            let start = sector + piece * (MAX_PAYLOAD as u64 / SECTOR_BYTES);
            let sectors = start..start + data.len() as u64 / SECTOR_BYTES;
            let payload = state.tail + FRAME_ALIGN;
            self.append(&mut state, Word::Data, member, sectors.clone(), data)?;
            if let Some(index) = state.indexes.get_mut(member as usize) {
                index.insert(sectors, Place::Log(payload));
            }
        }
        Ok(())
    }

    /// Lets the member's sectors be zeros.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub fn zero(&self, member: u32, sectors: Range<u64>) -> Result<(), Fault> {
        let mut state = self.lock();
        self.refuse(&state)?;
        self.append(&mut state, Word::Zeros, member, sectors.clone(), &[])?;
        if let Some(index) = state.indexes.get_mut(member as usize) {
            index.insert(sectors, Place::Zeros);
        }
        Ok(())
    }

    /// Keeps a remark about a member.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub fn remark(&self, member: u32, text: &[u8]) -> Result<(), Fault> {
        let mut state = self.lock();
        self.refuse(&state)?;
        self.append(&mut state, Word::Remark, member, 0..0, text)?;
        state.remarks.push((member, text.to_vec()));
        Ok(())
    }

    /// From now on the blocks are on their way to the members and no writes are taken. Durable when
    /// this returns.
    ///
    /// # Errors
    /// As a disk's.
    pub fn begin_commit(&self) -> Result<(), Fault> {
        self.sync()?;
        {
            let mut state = self.lock();
            if !state.committing {
                self.append(&mut state, Word::Committing, 0, 0..0, &[])?;
                state.committing = true;
            }
        }
        self.sync()
    }

    /// All blocks are on the members, durably.
    ///
    /// # Errors
    /// As a disk's.
    pub fn end_commit(&self) -> Result<(), Fault> {
        {
            let mut state = self.lock();
            self.append(&mut state, Word::Committed, 0, 0..0, &[])?;
            state.committed = true;
        }
        self.sync()
    }

    /// Makes everything appended so far durable, and leaves a mark that says so.
    ///
    /// # Errors
    /// As a disk's flush: once one has failed all do.
    pub fn sync(&self) -> Result<(), Fault> {
        let upto = {
            let state = self.lock();
            if let Some(fault) = state.lost {
                return Err(fault);
            }
            if state.marked == state.tail {
                return Ok(());
            }
            state.tail
        };
        let synced = self.file.sync_data();
        let mut state = self.lock();
        if let Err(error) = synced {
            return Err(*state.lost.get_or_insert_with(|| classify(&error)));
        }
        if let Some(fault) = state.lost {
            return Err(fault);
        }
        // The mark is written after the sync and speaks of what was before it; whether the mark
        // itself survives does not matter. Should there be no room for it, nothing is lost either.
        if state.tail == upto && self.append(&mut state, Word::Durable(upto), 0, 0..0, &[]).is_ok()
        {
            state.marked = state.tail;
        }
        Ok(())
    }

    fn refuse(&self, state: &State) -> Result<(), Fault> {
        if self.read_only || state.committing || state.committed {
            return Err(Fault::ReadOnly);
        }
        Ok(())
    }

    /// Writes a frame behind the last one. After an error the place is free again.
    fn append(
        &self,
        state: &mut State,
        word: Word,
        member: u32,
        sectors: Range<u64>,
        payload: &[u8],
    ) -> Result<(), Fault> {
        if self.read_only {
            return Err(Fault::ReadOnly);
        }
        assert!(payload.len() <= MAX_PAYLOAD, "the caller cuts");
        let frame = Frame {
            word,
            sequence: state.sequence + 1,
            member,
            sector: sectors.start,
            sectors: sectors.end - sectors.start,
            payload_bytes: payload.len() as u32,
            payload_crc: crc32fast::hash(payload),
        };
        let failed = |error: io::Error| classify(&error);
        if state.torn > 0 {
            // What follows the last whole frame is no frame; it must not follow the next one.
            self.file.set_len(state.tail).map_err(failed)?;
            state.torn = 0;
        }
        let at = state.tail;
        self.put(at, &frame, payload).map_err(|error| {
            // What got there is no frame and must not come to lie behind the next one.
            let _ = self.file.set_len(at);
            failed(error)
        })?;
        state.tail = at + frame.bytes();
        state.sequence += 1;
        Ok(())
    }

    /// The payload, then the header that makes it count.
    fn put(&self, at: u64, frame: &Frame, payload: &[u8]) -> io::Result<()> {
        let (start, end) = (at + FRAME_ALIGN, at + frame.bytes());
        self.file.write_all_at(payload, start)?;
        if start + (payload.len() as u64) < end {
            self.file.write_all_at(&[0], end - 1)?;
        }
        self.file.write_all_at(&frame.emit(&self.header.id), at)
    }
}

/// Makes a new file's name durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Reads the frames of a file from the start to the first that is not whole.
struct Replay<'a> {
    log: &'a Log,
    length: u64,
    state: State,
}

impl<'a> Replay<'a> {
    fn over(log: &'a Log, length: u64) -> Self {
        let state = State { tail: HEADER_BYTES as u64, ..State::default() };
        Self { log, length, state }
    }

    fn run(mut self) -> Result<State, LogError> {
        let mut payload = Vec::new();
        while let Some(frame) = self.next(&mut payload)? {
            self.take(frame, &payload)?;
        }
        let at = self.state.tail;
        if self.length > at {
            self.state.torn = self.length - at;
            self.refuse_if_it_was_durable(at)?;
        }
        Ok(self.state)
    }

    fn io(&self, source: io::Error) -> LogError {
        LogError::Io { path: self.log.path.clone(), source }
    }

    fn wrong(&self, why: &'static str) -> LogError {
        LogError::Frame { path: self.log.path.clone(), at: self.state.tail, why }
    }

    /// The frame at the tail with its payload, if it is whole.
    fn next(&self, payload: &mut Vec<u8>) -> Result<Option<Frame>, LogError> {
        let at = self.state.tail;
        let Some(frame) = self.header_at(at)? else { return Ok(None) };
        let end = at + FRAME_ALIGN + u64::from(frame.payload_bytes);
        if frame.sequence != self.state.sequence + 1 || end > self.length {
            return Ok(None);
        }
        payload.resize(frame.payload_bytes as usize, 0);
        self.log.file.read_exact_at(payload, at + FRAME_ALIGN).map_err(|error| self.io(error))?;
        Ok((crc32fast::hash(payload) == frame.payload_crc).then_some(frame))
    }

    fn header_at(&self, at: u64) -> Result<Option<Frame>, LogError> {
        if at + FRAME_BYTES as u64 > self.length {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_BYTES];
        self.log.file.read_exact_at(&mut bytes, at).map_err(|error| self.io(error))?;
        Ok(Frame::parse(&bytes, &self.log.header.id))
    }

    fn take(&mut self, frame: Frame, payload: &[u8]) -> Result<(), LogError> {
        let sectors = frame.sector..frame.sector + frame.sectors;
        let place = match frame.word {
            Word::Data => Some(Place::Log(self.state.tail + FRAME_ALIGN)),
            Word::Zeros => Some(Place::Zeros),
            _ => None,
        };
        let known = self.state.members.get(frame.member as usize);
        if place.is_some() && known.is_none_or(|member| sectors.end > member.sectors) {
            return Err(self.wrong("it speaks of sectors that no member has"));
        }
        if let Some(place) = place {
            self.state.indexes[frame.member as usize].insert(sectors, place);
        }
        match frame.word {
            Word::Member => {
                let facts = MemberFacts::parse(payload)
                    .filter(|_| frame.member as usize == self.state.members.len())
                    .ok_or_else(|| self.wrong("it introduces no member"))?;
                self.state.members.push(facts);
                self.state.indexes.push(Index::new());
            }
            Word::Durable(upto) if upto > self.state.tail => {
                return Err(self.wrong("it vouches for what comes after it"));
            }
            Word::Committing => self.state.committing = true,
            Word::Committed => self.state.committed = true,
            Word::Remark => self.state.remarks.push((frame.member, payload.to_vec())),
            Word::Data | Word::Zeros | Word::Durable(_) => {}
        }
        self.state.sequence = frame.sequence;
        self.state.tail += frame.bytes();
        if matches!(frame.word, Word::Durable(_)) {
            self.state.marked = self.state.tail;
        }
        Ok(())
    }

    /// Looks for a mark behind the first byte that is not believed: it would say that this byte had
    /// been safe once.
    fn refuse_if_it_was_durable(&self, at: u64) -> Result<(), LogError> {
        const STEP: usize = 1 << 20;
        let mut buffer = vec![0; STEP];
        let mut from = at;
        while from < self.length {
            let bytes = (self.length - from).min(STEP as u64) as usize;
            let part = &mut buffer[..bytes];
            self.log.file.read_exact_at(part, from).map_err(|error| self.io(error))?;
            let vouches = |bytes: &[u8]| {
                let frame = Frame::parse(bytes, &self.log.header.id);
                matches!(frame, Some(Frame { word: Word::Durable(upto), .. }) if upto > at)
            };
            if part.chunks(FRAME_ALIGN as usize).any(vouches) {
                return Err(LogError::Damaged { path: self.log.path.clone(), at });
            }
            from += bytes as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
