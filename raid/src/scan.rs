//! Reading what devices say of themselves: superblocks, bitmaps, bad-block and partial parity logs.
//!
//! [`Scan`] is a small core of its own: it asks for reads and turns the answers into one [`Probe`]
//! per device. It reads every place a superblock can be, believes nothing that does not check, and
//! bounds what it reads by what fits before the data. [`scan`] runs it over real devices.

use std::collections::VecDeque;

use holdfast_core::block::{BlockDevice, Completion, Fault, Geometry, Op, Request, Tag};
use holdfast_core::buf::Buf;
use holdfast_core::time::Clock;

use crate::ppl::{self, Found};
use crate::superblock::bitmap_header::HEADER_BYTES;
use crate::superblock::{
    BadBlocks, BadBlocksError, BitmapError, BitmapHeader, Log, Superblock, SuperblockError,
    placement,
};

/// Bytes of a superblock with the largest role table.
const SUPERBLOCK_BYTES: usize = 4096;

/// The largest bitmap holdfast reads, in bytes: 512 Mi regions.
const MAX_BITMAP_BYTES: u64 = 64 << 20;

/// What one device says of itself.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The device's shape.
    pub geometry: Geometry,
    /// Its superblock.
    pub superblock: Result<Superblock, ProbeError>,
    /// Its write-intent bitmap, if the superblock says that there is one.
    pub bitmap: Option<Result<Bitmap, BitmapProblem>>,
    /// Its bad-block log, if the superblock says that there are bad blocks.
    pub bad_blocks: Option<Result<Log, BadBlocksProblem>>,
    /// Its partial parity log, if the superblock says that there is one.
    pub ppl: Option<Result<Found, Fault>>,
}

/// A bitmap as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Its header.
    pub header: BitmapHeader,
    /// Header and bits as on disk; the header alone for kinds holdfast does not maintain.
    pub bytes: Vec<u8>,
}

impl Bitmap {
    /// Marks what another copy of the same bitmap marks. One that is laid out otherwise says nothing.
    pub(crate) fn mark_also(&mut self, other: &Self) {
        let alike = self.bytes.len() == other.bytes.len()
            && self.header.chunk_bytes == other.header.chunk_bytes
            && self.header.sync_size == other.header.sync_size;
        let bits = HEADER_BYTES as usize..;
        if let (true, Some(own), Some(others)) =
            (alike, self.bytes.get_mut(bits.clone()), other.bytes.get(bits))
        {
            own.iter_mut().zip(others).for_each(|(own, other)| *own |= other);
        }
    }
}

/// Why a device has no usable superblock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Too small to hold one.
    #[error("a member has at least 24 sectors, this device has {sectors}")]
    TooSmall {
        /// Sectors it has.
        sectors: u64,
    },
    /// No md superblock at any of its places.
    #[error("no md superblock found")]
    NotFound,
    /// There is one, but it does not hold together.
    #[error("superblock at sector {sector}: {error}")]
    Invalid {
        /// Where.
        sector: u64,
        /// What is wrong with it.
        error: SuperblockError,
    },
    /// The place could not be read.
    #[error("sector {sector} could not be read: {fault}")]
    Unreadable {
        /// Where.
        sector: u64,
        /// Why.
        fault: Fault,
    },
}

/// Why a bitmap cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitmapProblem {
    /// The bytes do not hold together.
    #[error(transparent)]
    Invalid(#[from] BitmapError),
    /// It could not be read.
    #[error("the bitmap could not be read: {0}")]
    Unreadable(Fault),
    /// Its place is outside the device, or it is larger than anybody makes them.
    #[error("the bitmap has no valid place or size")]
    Misplaced,
}

/// Why a bad-block log cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlocksProblem {
    /// The bytes do not hold together.
    #[error(transparent)]
    Invalid(#[from] BadBlocksError),
    /// It could not be read.
    #[error("the bad-block log could not be read: {0}")]
    Unreadable(Fault),
    /// Its place is outside the device.
    #[error("the bad-block log has no valid place")]
    Misplaced,
}

/// What a read is for.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Superblock { sector: u64 },
    BitmapHeader,
    BitmapBits,
    BadBlocks,
    Ppl,
}

#[derive(Debug)]
struct Subject {
    geometry: Geometry,
    found: Vec<Superblock>,
    trouble: Option<ProbeError>,
    left: u32,
    superblock: Option<Superblock>,
    bitmap: Option<Result<Bitmap, BitmapProblem>>,
    bad_blocks: Option<Result<Log, BadBlocksProblem>>,
    ppl: Option<Result<Found, Fault>>,
}

/// The core that probes devices. Feed [`Scan::poll_member_io`]'s requests to the devices and their
/// answers to [`Scan::member_done`] until [`Scan::is_done`].
#[derive(Debug)]
pub struct Scan {
    subjects: Vec<Subject>,
    goals: Vec<Goal>,
    out: VecDeque<(usize, Request)>,
    in_flight: usize,
}

impl Scan {
    /// Probes devices of these shapes.
    pub fn new(geometries: impl IntoIterator<Item = Geometry>) -> Self {
        let mut scan =
            Self { subjects: Vec::new(), goals: Vec::new(), out: VecDeque::new(), in_flight: 0 };
        for geometry in geometries {
            let index = scan.subjects.len();
            scan.subjects.push(Subject {
                geometry,
                found: Vec::new(),
                trouble: None,
                left: 0,
                superblock: None,
                bitmap: None,
                bad_blocks: None,
                ppl: None,
            });
            for (_, sector) in placement::candidates(geometry.sectors) {
                scan.read(index, sector, SUPERBLOCK_BYTES, Goal::Superblock { sector });
            }
        }
        scan
    }

    /// The next read wanted.
    pub fn poll_member_io(&mut self) -> Option<(usize, Request)> {
        self.out.pop_front()
    }

    /// Whether every device has been probed.
    pub fn is_done(&self) -> bool {
        self.in_flight == 0
    }

    fn read(&mut self, member: usize, sector: u64, bytes: usize, goal: Goal) {
        let tag = Tag(self.goals.len() as u64);
        self.goals.push(goal);
        self.subjects[member].left += 1;
        self.in_flight += 1;
        let op = Op::Read(Buf::zeroed(bytes));
        self.out.push_back((member, Request::new(tag, sector, op)));
    }

    /// Takes a device's answer.
    pub fn member_done(&mut self, member: usize, completion: Completion) {
        let goal = self.goals[completion.tag.0 as usize];
        let Op::Read(buf) = completion.op else { unreachable!("only reads were asked for") };
        let result = completion.result.map(|()| buf);
        self.subjects[member].left -= 1;
        match goal {
            Goal::Superblock { sector } => self.superblock_read(member, sector, result),
            Goal::BitmapHeader => self.bitmap_header_read(member, result),
            Goal::BitmapBits => self.bitmap_bits_read(member, result),
            Goal::BadBlocks => self.bad_blocks_read(member, result),
            Goal::Ppl => self.ppl_read(member, result),
        }
        self.in_flight -= 1;
    }

    fn superblock_read(&mut self, member: usize, sector: u64, result: Result<Buf, Fault>) {
        let subject = &mut self.subjects[member];
        let sectors = subject.geometry.sectors;
        match result.map(|buf| Superblock::parse(&buf, sector, sectors)) {
            Ok(Ok(superblock)) => subject.found.push(superblock),
            Ok(Err(SuperblockError::NotFound { .. })) => {}
            Ok(Err(error)) => subject.trouble = Some(ProbeError::Invalid { sector, error }),
            Err(fault) => {
                subject.trouble.get_or_insert(ProbeError::Unreadable { sector, fault });
            }
        }
        if subject.left > 0 {
            return;
        }
        if let Some(best) = placement::latest(&subject.found) {
            subject.superblock = Some(subject.found.swap_remove(best));
            self.read_extras(member);
        }
    }

    fn read_extras(&mut self, member: usize) {
        let subject = &self.subjects[member];
        let superblock = subject.superblock.as_ref().expect("just found");
        let device = subject.geometry.sectors;
        let fits = |sector: u64, sectors: u64| {
            sector.checked_add(sectors).is_some_and(|end| end <= device)
        };
        let bitmap = superblock.bitmap_offset.map(|_| {
            let sector = superblock.bitmap_sector()?;
            let room = superblock.bitmap_room(device).unwrap_or(0).min(8);
            (room > 0 && fits(sector, room)).then_some((sector, room))
        });
        let log = superblock.bad_blocks.filter(|_| superblock.bad_blocks_recorded).map(|place| {
            let sector = superblock.bad_blocks_sector()?;
            fits(sector, place.sectors.into()).then_some((sector, u64::from(place.sectors)))
        });
        // Where the area lies has been checked with the superblock.
        let area = superblock.ppl.and_then(|ppl| Some((superblock.ppl_sector()?, ppl.sectors)));
        if let Some((sector, sectors)) = area {
            self.read(member, sector, usize::from(sectors) * 512, Goal::Ppl);
        }
        match bitmap {
            None => {}
            Some(None) => self.subjects[member].bitmap = Some(Err(BitmapProblem::Misplaced)),
            Some(Some((sector, room))) => {
                self.read(member, sector, (room * 512) as usize, Goal::BitmapHeader);
            }
        }
        match log {
            None => {}
            Some(None) => self.subjects[member].bad_blocks = Some(Err(BadBlocksProblem::Misplaced)),
            Some(Some((sector, sectors))) => {
                self.read(member, sector, (sectors * 512) as usize, Goal::BadBlocks);
            }
        }
    }

    fn bitmap_header_read(&mut self, member: usize, result: Result<Buf, Fault>) {
        let checked = self.check_header(member, result);
        let subject = &mut self.subjects[member];
        match checked {
            Err(problem) => subject.bitmap = Some(Err(problem)),
            Ok((header, buf)) if header.refuses_writing().is_some() => {
                subject.bitmap = Some(Ok(Bitmap { header, bytes: buf[..256].to_vec() }));
            }
            Ok((header, buf)) => {
                let bytes = header.bytes();
                if bytes <= buf.len() as u64 {
                    let bytes = buf[..bytes as usize].to_vec();
                    subject.bitmap = Some(Ok(Bitmap { header, bytes }));
                    return;
                }
                let superblock = subject.superblock.as_ref().expect("probed before");
                let sector = superblock.bitmap_sector().expect("read there before");
                subject.bitmap = Some(Ok(Bitmap { header, bytes: Vec::new() }));
                let bytes = bytes.next_multiple_of(u64::from(subject.geometry.block_bytes));
                self.read(member, sector, bytes as usize, Goal::BitmapBits);
            }
        }
    }

    fn check_header(
        &self,
        member: usize,
        result: Result<Buf, Fault>,
    ) -> Result<(BitmapHeader, Buf), BitmapProblem> {
        let subject = &self.subjects[member];
        let buf = result.map_err(BitmapProblem::Unreadable)?;
        let header = BitmapHeader::parse(&buf)?;
        let superblock = subject.superblock.as_ref().expect("probed before");
        header.check_against(superblock, subject.geometry.sectors)?;
        if header.bytes() > MAX_BITMAP_BYTES {
            return Err(BitmapProblem::Misplaced);
        }
        Ok((header, buf))
    }

    fn bitmap_bits_read(&mut self, member: usize, result: Result<Buf, Fault>) {
        let subject = &mut self.subjects[member];
        let Some(Ok(bitmap)) = subject.bitmap.take() else { unreachable!("its header was good") };
        let bytes = bitmap.header.bytes() as usize;
        subject.bitmap = Some(match result {
            Ok(buf) => Ok(Bitmap { bytes: buf[..bytes].to_vec(), ..bitmap }),
            Err(fault) => Err(BitmapProblem::Unreadable(fault)),
        });
    }

    fn bad_blocks_read(&mut self, member: usize, result: Result<Buf, Fault>) {
        let subject = &mut self.subjects[member];
        let place = subject.superblock.as_ref().and_then(|sb| sb.bad_blocks);
        let shift = place.expect("read there").shift;
        subject.bad_blocks = Some(match result {
            Ok(buf) => BadBlocks::parse(&buf, shift).map_err(BadBlocksProblem::Invalid),
            Err(fault) => Err(BadBlocksProblem::Unreadable(fault)),
        });
    }

    fn ppl_read(&mut self, member: usize, result: Result<Buf, Fault>) {
        let subject = &mut self.subjects[member];
        let set = subject.superblock.as_ref().expect("probed before").set_uuid;
        subject.ppl = Some(result.map(|area| Found::read(&area, ppl::signature(set))));
    }

    /// What was found, in the order of the devices.
    ///
    /// # Panics
    /// If not all answers have come.
    pub fn finish(self) -> Vec<Probe> {
        assert!(self.is_done(), "every device has been probed");
        let probe = |subject: Subject| {
            let sectors = subject.geometry.sectors;
            let none = match subject.trouble {
                Some(trouble) => trouble,
                None if placement::candidates(sectors).is_empty() => {
                    ProbeError::TooSmall { sectors }
                }
                None => ProbeError::NotFound,
            };
            Probe {
                geometry: subject.geometry,
                superblock: subject.superblock.ok_or(none),
                bitmap: subject.bitmap,
                bad_blocks: subject.bad_blocks,
                ppl: subject.ppl,
            }
        };
        self.subjects.into_iter().map(probe).collect()
    }
}

/// Probes devices, all at once.
pub fn scan<D: BlockDevice, C: Clock>(devices: &mut [D], clock: &mut C) -> Vec<Probe> {
    let mut scan = Scan::new(devices.iter().map(BlockDevice::geometry));
    let mut stalled: VecDeque<(usize, Request)> = VecDeque::new();
    let mut finished = Vec::new();
    while !scan.is_done() {
        while let Some((member, request)) = scan.poll_member_io() {
            stalled.push_back((member, request));
        }
        for _ in 0..stalled.len() {
            let (member, request) = stalled.pop_front().expect("counted");
            if let Err(back) = devices[member].submit(request) {
                stalled.push_back((member, back));
            }
        }
        let now = clock.now();
        let mut progress = false;
        for (member, device) in devices.iter_mut().enumerate() {
            device.poll(now, &mut finished);
            for completion in finished.drain(..) {
                progress = true;
                scan.member_done(member, completion);
            }
        }
        if !progress && !scan.is_done() {
            clock.wait(devices.iter().filter_map(BlockDevice::poll_at).min());
        }
    }
    scan.finish()
}
