//! The guard against what it is there for, and against the power.

use holdfast_core::block::{
    BlockDevice, Blocking, Completions, Durability, Fault, Geometry, MemDisk, Op, Request,
    conformance,
};
use holdfast_core::time::{Instant, StepClock};

use super::*;

const BLOCK: usize = 4096;

fn guarded(scheme: Scheme) -> impl Iterator<Item = Scheme> {
    Scheme::ALL.into_iter().filter(move |it| *it >= scheme)
}

/// A fresh device of so many blocks for member `member`.
fn fresh(scheme: Scheme, member: u32, blocks: usize) -> MemDisk {
    let sectors = Shape::device_sectors(scheme, blocks as u64 * 8);
    let mut disk = MemDisk::from_bytes(vec![0xee; sectors as usize * 512]);
    format(&mut disk, scheme, member, &mut StepClock::default()).unwrap();
    disk
}

fn set(scheme: Scheme, members: u32, blocks: usize) -> Vec<Guarded<MemDisk>> {
    let disks = (0..members).map(|member| fresh(scheme, member, blocks)).collect();
    open(disks, scheme, &mut StepClock::default())
}

fn write<D: BlockDevice>(member: &mut Guarded<D>, block: u64, byte: u8) -> Result<(), Fault> {
    let op = Op::Write([byte; BLOCK].as_slice().into_payload(), Durability::Cached);
    ask(member, block * 8, op).map(drop)
}

fn read<D: BlockDevice>(member: &mut Guarded<D>, block: u64) -> Result<Vec<u8>, Fault> {
    let op = Op::Read(holdfast_core::buf::Buf::zeroed(BLOCK));
    let Op::Read(buf) = ask(member, block * 8, op)? else { unreachable!() };
    Ok(buf.to_vec())
}

fn flush<D: BlockDevice>(member: &mut Guarded<D>) {
    ask(member, 0, Op::Flush).unwrap();
}

trait IntoPayload {
    fn into_payload(self) -> holdfast_core::buf::Payload;
}

impl IntoPayload for &[u8] {
    fn into_payload(self) -> holdfast_core::buf::Payload {
        holdfast_core::buf::Payload::from_slice(self)
    }
}

fn ask<D: BlockDevice>(member: &mut Guarded<D>, sector: u64, op: Op) -> Result<Op, Fault> {
    member.submit(Request::new(holdfast_core::block::Tag(7), sector, op)).unwrap();
    let mut finished = Vec::new();
    member.poll(Instant::ZERO, &mut finished);
    let done = finished.pop().expect("memory answers at once");
    done.result.map(|()| done.op)
}

#[test]
fn guarded_devices_meet_the_examiner() {
    for scheme in Scheme::ALL {
        let mut member = set(scheme, 1, 100).remove(0);
        conformance::examine(&mut member, &mut StepClock::default());
    }
}

#[test]
fn long_requests_go_in_steps() {
    for scheme in Scheme::ALL {
        let clock = StepClock::default();
        let mut member = Blocking::new(set(scheme, 1, 300).remove(0), clock);
        let data: Vec<u8> = (0..300 * BLOCK).map(|at| (at / 1000) as u8).collect();
        member.write_at(0, &data).unwrap();
        let mut back = vec![0; data.len()];
        member.read_at(0, &mut back).unwrap();
        assert!(back == data, "{scheme}");
        member.zero(BLOCK as u64, 290 * BLOCK as u64).unwrap();
        member.read_at(0, &mut back).unwrap();
        assert!(back[BLOCK..291 * BLOCK].iter().all(|&byte| byte == 0), "{scheme}");
        assert!(back[291 * BLOCK..] == data[291 * BLOCK..], "{scheme}");
    }
}

/// Any byte of a unit, flipped.
#[test]
fn corruption_is_never_handed_on() {
    for scheme in guarded(Scheme::Checksum) {
        let mut members = set(scheme, 2, 8);
        let shape = members[0].shape();
        write(&mut members[0], 3, 5).unwrap();
        let data = shape.device_range(24..32).start as usize * 512;
        let seal = shape.seal_sector(3) as usize * 512;
        for at in (data..data + BLOCK).step_by(61).chain(seal..seal + 512) {
            members[0].inner_mut().bytes_mut()[at] ^= 0x10;
            assert_eq!(read(&mut members[0], 3), Err(Fault::Corrupt), "{scheme}, byte {at}");
            members[0].inner_mut().bytes_mut()[at] ^= 0x10;
        }
        assert_eq!(read(&mut members[0], 3), Ok(vec![5; BLOCK]));
        // A block nobody has written is zeros or corrupt.
        let blank = shape.device_range(0..8).start as usize * 512;
        members[0].inner_mut().bytes_mut()[blank] = 1;
        assert_eq!(read(&mut members[0], 0), Err(Fault::Corrupt), "{scheme}");
        // Writing heals.
        write(&mut members[0], 0, 9).unwrap();
        assert_eq!(read(&mut members[0], 0), Ok(vec![9; BLOCK]));
    }
}

/// A write that never happened, judged from the devices alone.
#[test]
fn a_lost_write_shows_in_versions_and_in_checksums_elsewhere() {
    for scheme in guarded(Scheme::Checksum) {
        let mut members = set(scheme, 3, 8);
        write(&mut members[0], 2, 1).unwrap();
        write(&mut members[2], 2, 1).unwrap();
        let range = members[0].shape().device_range(16..24);
        let range = range.start as usize * 512..range.end as usize * 512;
        let before = members[0].inner().bytes()[range.clone()].to_vec();
        write(&mut members[0], 2, 2).unwrap();
        write(&mut members[2], 2, 2).unwrap();
        members[0].inner_mut().bytes_mut()[range].copy_from_slice(&before);
        members[0].forget();
        members.iter_mut().for_each(|member| member.learn(&mut StepClock::default()));
        let expected = match scheme {
            Scheme::Version | Scheme::Elsewhere => Err(Fault::Corrupt),
            _ => Ok(vec![1; BLOCK]),
        };
        assert_eq!(read(&mut members[0], 2), expected, "{scheme}");
        assert_eq!(read(&mut members[2], 2), Ok(vec![2; BLOCK]), "{scheme}");
    }
}

#[test]
fn a_block_of_another_place_or_member_shows_in_its_identity() {
    for scheme in guarded(Scheme::Checksum).filter(|scheme| *scheme != Scheme::Elsewhere) {
        let mut members = set(scheme, 2, 8);
        write(&mut members[0], 2, 1).unwrap();
        write(&mut members[0], 5, 2).unwrap();
        write(&mut members[1], 5, 3).unwrap();
        let place = |block: u64| {
            let range = members[0].shape().device_range(block * 8..block * 8 + 8);
            range.start as usize * 512..range.end as usize * 512
        };
        let (two, five) = (place(2), place(5));
        let seen = matches!(scheme, Scheme::Checksum | Scheme::WriteVerify);
        for stray in [
            members[0].inner().bytes()[two].to_vec(),
            members[1].inner().bytes()[five.clone()].to_vec(),
        ] {
            members[0].inner_mut().bytes_mut()[five.clone()].copy_from_slice(&stray);
            assert_eq!(read(&mut members[0], 5).is_ok(), seen, "{scheme}");
        }
    }
}

#[test]
fn a_device_of_another_set_or_place_is_shut() {
    let clock = &mut StepClock::default();
    let cases = [fresh(Scheme::Identity, 0, 8), fresh(Scheme::Checksum, 1, 8), MemDisk::new(200)];
    for disk in cases {
        let mut member = open(vec![disk], Scheme::Checksum, clock).remove(0);
        assert_eq!(read(&mut member, 0), Err(Fault::Refused));
        assert_eq!(write(&mut member, 0, 1), Err(Fault::Refused));
    }
    let geometry = Geometry { block_bytes: 4096, ..Geometry::new(800) };
    let refused = format(&mut MemDisk::with_geometry(geometry), Scheme::Checksum, 0, clock);
    assert_eq!(refused, Err(Fault::Refused));
}

/// A device that remembers which sectors are not durable.
#[derive(Debug)]
struct Crashy {
    disk: MemDisk,
    durable: Vec<u8>,
    /// Sectors written since the last flush, oldest first.
    open: Vec<(u64, Vec<u8>)>,
    /// Writes before the power goes.
    fuse: usize,
}

impl Crashy {
    fn new(disk: MemDisk) -> Self {
        let durable = disk.bytes().to_vec();
        Self { disk, durable, open: Vec::new(), fuse: usize::MAX }
    }

    /// The power fails; of the sectors that are not durable the chosen ones are there.
    fn cut(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut image = self.durable.clone();
        for (_, (sector, bytes)) in self.open.iter().enumerate().filter(|(at, _)| keep(*at)) {
            image[*sector as usize * 512..][..512].copy_from_slice(bytes);
        }
        Self::new(MemDisk::from_bytes(image))
    }
}

impl BlockDevice for Crashy {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.fuse > 0 {
            self.fuse -= usize::from(request.op.is_write() || request.op == Op::Flush);
            match &request.op {
                Op::Write(data, durability) => {
                    for (sector, bytes) in (request.sector..).zip(data.chunks(512)) {
                        match durability {
                            Durability::Fua => {
                                self.open.retain(|(open, _)| *open != sector);
                                let at = sector as usize * 512;
                                self.durable[at..at + 512].copy_from_slice(bytes);
                            }
                            Durability::Cached => self.open.push((sector, bytes.to_vec())),
                        }
                    }
                }
                Op::Flush => {
                    self.durable.copy_from_slice(self.disk.bytes());
                    self.open.clear();
                }
                _ => {}
            }
            return self.disk.submit(request);
        }
        // The power is out: nothing lands, and nobody will be there to hear the answer.
        match request.op {
            Op::Read(_) => self.disk.submit(request),
            _ => self.disk.submit(Request { op: Op::Flush, ..request }),
        }
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.disk.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.disk.poll_at()
    }
}

fn crashy(scheme: Scheme, members: u32) -> Vec<Guarded<Crashy>> {
    let disks = (0..members).map(|member| Crashy::new(fresh(scheme, member, 4))).collect();
    open(disks, scheme, &mut StepClock::default())
}

/// Opens what a power cut left; every sector of the block is old or new, and stays so over the
/// next power cut.
fn old_or_new(scheme: Scheme, devices: &[Crashy], block: u64, old: u8, new: u8, case: &str) {
    let clock = &mut StepClock::default();
    let copies = devices.iter().map(|device| device.cut(|_| false)).collect();
    let mut members = open(copies, scheme, clock);
    let mut first = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        let data = read(member, block).unwrap_or_else(|fault| panic!("{case}, {number}: {fault}"));
        for sector in data.chunks(512) {
            let whole = sector == [old; 512] || sector == [new; 512];
            assert!(whole, "{case}: a sector is neither old nor new");
        }
        first.push(data);
    }
    let copies = members.iter().map(|member| member.inner().cut(|_| false)).collect();
    for (member, first) in open(copies, scheme, clock).iter_mut().zip(first) {
        assert_eq!(read(member, block), Ok(first), "{case}: it changes");
    }
}

/// Every subset of the nine sectors of a unit, for a block that was there before and a new one.
#[test]
fn a_power_cut_in_a_unit_leaves_old_or_new() {
    for scheme in guarded(Scheme::Checksum) {
        for old in [0, 1] {
            let mut members = crashy(scheme, 1);
            if old > 0 {
                write(&mut members[0], 1, old).unwrap();
                flush(&mut members[0]);
            }
            write(&mut members[0], 1, 2).unwrap();
            let device = members.remove(0).into_inner();
            assert_eq!(device.open.len(), 9);
            for left in 0..1 << 9 {
                let cut = device.cut(|at| left >> at & 1 == 1);
                old_or_new(scheme, &[cut], 1, old, 2, &format!("{scheme} {old} {left:#b}"));
            }
        }
    }
}

/// The power fails again while what the first cut left is being levelled, after each write.
#[test]
fn a_power_cut_while_opening_does_no_harm() {
    for scheme in guarded(Scheme::Checksum) {
        let mut members = crashy(scheme, 2);
        for member in &mut members {
            write(member, 1, 1).unwrap();
            flush(member);
            write(member, 1, 2).unwrap();
        }
        for left in [0b1_0101_0101, 0b0_1111_0000, 0b1_0000_0000] {
            for fuse in 0..12 {
                let halves: Vec<Crashy> = members
                    .iter()
                    .map(|member| {
                        let cut = member.inner().cut(|at| left >> at & 1 == 1);
                        Crashy { fuse, ..cut }
                    })
                    .collect();
                let again = open(halves, scheme, &mut StepClock::default());
                let devices: Vec<Crashy> =
                    again.into_iter().map(|member| member.inner().cut(|_| false)).collect();
                let case = format!("{scheme} {left:#b}, cut again after {fuse} writes");
                old_or_new(scheme, &devices, 1, 1, 2, &case);
            }
        }
    }
}

/// Two members of three write a row; each of them lands, lands in part, or does not.
#[test]
fn a_row_half_written_is_not_mistaken_for_lost_writes() {
    let scheme = Scheme::Version;
    let mut members = crashy(scheme, 3);
    for member in &mut members {
        write(member, 2, 1).unwrap();
        flush(member);
    }
    write(&mut members[0], 2, 2).unwrap();
    write(&mut members[1], 2, 2).unwrap();
    let parts = [0, 0b1_1111_1111, 0b1_0000_0000, 0b0_1111_1111, 0b1_0000_1111];
    for (one, other) in parts.iter().flat_map(|one| parts.map(|other| (one, other))) {
        let devices: Vec<Crashy> = members
            .iter()
            .zip([*one, other, 0])
            .map(|(member, left)| member.inner().cut(|at| left >> at & 1 == 1))
            .collect();
        old_or_new(scheme, &devices, 2, 1, 2, &format!("{one:#b} {other:#b}"));
    }
}

/// A region that was closed is not believed: the guard sees what happened while nobody looked.
#[test]
fn what_was_closed_is_still_judged_after_a_power_cut() {
    for scheme in guarded(Scheme::Checksum) {
        let mut members = crashy(scheme, 1);
        write(&mut members[0], 1, 1).unwrap();
        flush(&mut members[0]);
        write(&mut members[0], 2, 2).unwrap();
        let mut cut = members[0].inner().cut(|_| true);
        let at = members[0].shape().device_range(8..16).start as usize * 512;
        cut.disk.bytes_mut()[at] ^= 1;
        let mut members = open(vec![cut], scheme, &mut StepClock::default());
        assert_eq!(read(&mut members[0], 1), Err(Fault::Corrupt), "{scheme}");
        assert_eq!(read(&mut members[0], 2), Ok(vec![2; BLOCK]), "{scheme}");
    }
}

/// Memory that carries out the latest request first.
struct LastFirst {
    disk: MemDisk,
    waiting: Vec<Request>,
}

impl BlockDevice for LastFirst {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.waiting.push(request);
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        while let Some(request) = self.waiting.pop() {
            self.disk.submit(request).expect("memory takes everything");
        }
        self.disk.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}

/// Two writes of one block: the later stays, and is sound after a restart, whatever the device
/// does first.
#[test]
fn writes_of_one_block_land_in_their_order() {
    for scheme in Scheme::ALL.into_iter().filter(|it| *it != Scheme::None) {
        let disk = LastFirst { disk: fresh(scheme, 0, 100), waiting: Vec::new() };
        let mut member = open(vec![disk], scheme, &mut StepClock::default()).remove(0);
        for (tag, first, blocks, byte) in [(1, 0, 90, 1), (2, 2, 1, 2), (3, 80, 9, 3), (4, 2, 1, 4)]
        {
            let data = vec![byte; blocks * BLOCK];
            let op = Op::Write(data.as_slice().into_payload(), Durability::Cached);
            member.submit(Request::new(holdfast_core::block::Tag(tag), first * 8, op)).unwrap();
        }
        let mut finished = Vec::new();
        member.poll(Instant::ZERO, &mut finished);
        assert_eq!(finished.len(), 4, "{scheme}");
        let mut again = open(vec![member.into_inner()], scheme, &mut StepClock::default());
        for (block, byte) in [(0, 1), (2, 4), (79, 1), (80, 3), (89, 1)] {
            assert_eq!(read(&mut again[0], block), Ok(vec![byte; BLOCK]), "{scheme} {block}");
        }
    }
}

/// Memory that may have no room for writes.
struct Filled {
    disk: MemDisk,
    full: bool,
}

impl BlockDevice for Filled {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        // What it refuses is out of bounds: memory has no other way to say no.
        let sector = if self.full && request.op.is_write() { u64::MAX } else { request.sector };
        self.disk.submit(Request { sector, ..request })
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let before = finished.len();
        self.disk.poll(now, finished);
        for done in &mut finished[before..] {
            done.result = done.result.map_err(|_| Fault::Full);
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}

/// A device without room is read; once there is room its opening is counted before it is written,
/// so that no version is given out twice.
#[test]
fn a_full_device_is_opened_for_reading() {
    for scheme in guarded(Scheme::Checksum) {
        let clock = &mut StepClock::default();
        let mut member = open(vec![fresh(scheme, 0, 8)], scheme, clock).remove(0);
        write(&mut member, 3, 1).unwrap();
        flush(&mut member);
        let full = Filled { disk: member.into_inner(), full: true };
        let mut member = open(vec![full], scheme, clock).remove(0);
        assert_eq!(read(&mut member, 3), Ok(vec![1; BLOCK]), "{scheme}");
        assert_eq!(write(&mut member, 3, 2), Err(Fault::Full), "{scheme}");
        let epoch = |member: &Guarded<Filled>| {
            let at = shape::HEADER_SECTOR as usize * 512;
            header::Header::parse(&member.inner().disk.bytes()[at..at + 512]).unwrap().epoch
        };
        assert_eq!(epoch(&member), 1, "{scheme}");
        member.inner_mut().full = false;
        write(&mut member, 3, 2).unwrap();
        assert_eq!(epoch(&member), 2, "{scheme}");
        assert_eq!(read(&mut member, 3), Ok(vec![2; BLOCK]), "{scheme}");
    }
}
