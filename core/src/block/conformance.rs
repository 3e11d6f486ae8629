//! One examiner for every block device: awkward requests each must survive.
//!
//! A new device adds one line that calls [`examine`]. The examiner writes over the device's first
//! and last blocks (a read-only device is only read) and panics with a sentence on the first
//! broken promise.

use std::collections::{BTreeMap, BTreeSet};

use super::{BlockDevice, Completion, Durability, Fault, Op, Request, Tag};
use crate::buf::{Buf, Payload};
use crate::rng::Rng;
use crate::size::SECTOR_BYTES;
use crate::time::Clock;

/// Examines a device of at least 64 blocks.
///
/// # Panics
/// When the device breaks a promise of [`BlockDevice`].
pub fn examine(device: &mut dyn BlockDevice, clock: &mut dyn Clock) {
    let mut exam = Exam { device, clock, next: 0 };
    exam.bounds();
    exam.abandoned_requests_are_answered_once();
    exam.a_full_queue_hands_back_the_same_request();
    if exam.device.geometry().read_only {
        exam.read_only();
        return;
    }
    exam.written_bytes_come_back();
    exam.zero_and_discard();
    exam.histories_agree_with_a_plain_array();
}

struct Exam<'a> {
    device: &'a mut dyn BlockDevice,
    clock: &'a mut dyn Clock,
    next: u64,
}

impl Exam<'_> {
    fn block(&self) -> usize {
        self.device.geometry().block_bytes as usize
    }

    fn sectors(&self) -> u64 {
        self.device.geometry().sectors
    }

    fn tag(&mut self) -> Tag {
        self.next += 1;
        Tag(0xF00D_0000_0000 + self.next)
    }

    /// Runs requests together and returns the answers in tag order.
    fn run(&mut self, requests: Vec<(u64, Op)>) -> Vec<Completion> {
        let mut waiting = Vec::new();
        for (sector, op) in requests {
            waiting.push(Request::new(self.tag(), sector, op));
        }
        waiting.reverse();
        let expected: BTreeSet<Tag> = waiting.iter().map(|r| r.tag).collect();
        let mut finished = Vec::new();
        while finished.len() < expected.len() {
            while let Some(request) = waiting.pop() {
                if let Err(back) = self.device.submit(request) {
                    waiting.push(back);
                    break;
                }
            }
            let before = finished.len();
            self.poll(&mut finished);
            if finished.len() == before {
                self.idle(waiting.is_empty());
            }
        }
        self.poll(&mut finished);
        let tags: BTreeSet<Tag> = finished.iter().map(|c| c.tag).collect();
        assert_eq!(finished.len(), expected.len(), "each request is answered exactly once");
        assert_eq!(tags, expected, "answers carry the tags of their requests");
        finished.sort_by_key(|c| c.tag);
        finished
    }

    fn poll(&mut self, finished: &mut Vec<Completion>) {
        let now = self.clock.now();
        self.device.poll(now, finished);
    }

    fn idle(&mut self, all_submitted: bool) {
        let now = self.clock.now();
        match self.device.poll_at() {
            Some(at) if at <= now => {}
            at if all_submitted || at.is_some() => self.clock.wait(at),
            _ => {}
        }
    }

    fn one(&mut self, sector: u64, op: Op) -> Completion {
        self.run(vec![(sector, op)]).remove(0)
    }

    fn read(&mut self, sector: u64, bytes: usize) -> Vec<u8> {
        let done = self.one(sector, Op::Read(Buf::zeroed(bytes)));
        assert_eq!(done.result, Ok(()), "a read inside the device succeeds");
        let Op::Read(buf) = done.op else { panic!("a read's buffer comes home") };
        assert_eq!(buf.len(), bytes, "the buffer has the size asked for");
        buf.to_vec()
    }

    fn bounds(&mut self) {
        let (block, sectors) = (self.block(), self.sectors());
        assert!(sectors * SECTOR_BYTES >= 64 * block as u64, "the examiner needs 64 blocks");
        let per_block = block as u64 / SECTOR_BYTES;
        let last = sectors - sectors % per_block - per_block;
        for sector in [last + per_block, sectors + per_block * 8, u64::MAX - 7, u64::MAX] {
            for op in [Op::Read(Buf::zeroed(block)), Op::Zero(per_block), Op::Discard(u64::MAX)] {
                let is_read = matches!(op, Op::Read(_));
                let done = self.one(sector, op);
                assert!(done.result.is_err(), "sector {sector} lies outside and is an error");
                assert!(!is_read || done.op.bytes() == block as u64, "buffers come home");
            }
        }
        let straddling = self.one(last, Op::Read(Buf::zeroed(2 * block)));
        assert_eq!(straddling.result, Err(Fault::OutOfRange), "half outside is outside");
        self.read(last, block);
        if block > 512 {
            let op = Op::Read(Buf::zeroed(512));
            assert_eq!(self.one(0, op).result, Err(Fault::Refused), "less than a block");
            let op = Op::Read(Buf::zeroed(block));
            assert_eq!(self.one(1, op).result, Err(Fault::Refused), "not block-aligned");
        }
        let empty = self.one(0, Op::Read(Buf::zeroed(0)));
        assert_eq!(empty.result, Ok(()), "an empty read does nothing, successfully");
    }

    fn abandoned_requests_are_answered_once(&mut self) {
        let tag = self.tag();
        let op = Op::Read(Buf::zeroed(self.block()));
        assert!(self.device.submit(Request::new(tag, 0, op)).is_ok(), "an idle device accepts");
        self.device.abandon(tag);
        self.device.abandon(Tag(u64::MAX));
        let mut finished = Vec::new();
        while finished.is_empty() {
            self.poll(&mut finished);
            if finished.is_empty() {
                self.idle(true);
            }
        }
        self.poll(&mut finished);
        assert_eq!(finished.len(), 1, "an abandoned request is answered exactly once");
        assert_eq!(finished[0].tag, tag);
        assert_eq!(finished[0].op.bytes(), self.block() as u64, "and returns its buffer");
    }

    fn a_full_queue_hands_back_the_same_request(&mut self) {
        let block = self.block();
        let mut accepted = 0usize;
        let mut finished = Vec::new();
        for _ in 0..100_000 {
            let request = Request::new(self.tag(), 0, Op::Read(Buf::zeroed(block)));
            let tag = request.tag;
            match self.device.submit(request) {
                Ok(()) => accepted += 1,
                Err(back) => {
                    assert_eq!(back.tag, tag, "the request handed back is the one handed in");
                    assert_eq!(back.op.bytes(), block as u64);
                    break;
                }
            }
        }
        assert!(accepted < 100_000, "a queue has an end");
        while finished.len() < accepted {
            let before = finished.len();
            self.poll(&mut finished);
            if finished.len() == before {
                self.idle(true);
            }
        }
        self.read(0, block);
    }

    fn read_only(&mut self) {
        let block = self.block();
        let data = Payload::zeroed(block);
        for op in [Op::Write(data, Durability::Cached), Op::Zero(block as u64 / SECTOR_BYTES)] {
            assert_eq!(self.one(0, op).result, Err(Fault::ReadOnly), "no writes are taken");
        }
        assert_eq!(self.one(0, Op::Flush).result, Ok(()), "flushing nothing is fine");
    }

    fn written_bytes_come_back(&mut self) {
        let (block, sectors) = (self.block(), self.sectors());
        let per_block = block as u64 / SECTOR_BYTES;
        let last = sectors - sectors % per_block - per_block;
        for (seed, sector) in [(1, 0), (2, per_block), (3, last)] {
            for durability in [Durability::Cached, Durability::Fua] {
                let data = noise(seed, block);
                let op = Op::Write(Payload::from_slice(&data), durability);
                assert_eq!(self.one(sector, op).result, Ok(()), "a write inside succeeds");
                assert_eq!(self.read(sector, block), data, "and reads back");
            }
        }
        assert_eq!(self.one(0, Op::Flush).result, Ok(()));
        assert_eq!(self.one(u64::MAX, Op::Flush).result, Ok(()), "a flush has no place");
        let untouched = self.read(per_block, block);
        let outside = Op::Write(Payload::from_slice(&noise(4, 2 * block)), Durability::Cached);
        assert_eq!(self.one(last, outside).result, Err(Fault::OutOfRange));
        assert_eq!(self.read(last, block), noise(3, block), "a refused write touches nothing");
        assert_eq!(self.read(per_block, block), untouched);
    }

    fn zero_and_discard(&mut self) {
        let block = self.block();
        let per_block = block as u64 / SECTOR_BYTES;
        let fill = Op::Write(Payload::from_slice(&noise(5, 4 * block)), Durability::Cached);
        assert_eq!(self.one(0, fill).result, Ok(()));
        assert_eq!(self.one(per_block, Op::Zero(per_block)).result, Ok(()));
        let now = self.read(0, 4 * block);
        let before = noise(5, 4 * block);
        assert_eq!(now[..block], before[..block], "zeroing leaves the neighbours alone");
        assert!(now[block..2 * block].iter().all(|&b| b == 0), "zeroed blocks read as zeros");
        assert_eq!(now[2 * block..], before[2 * block..]);
        let promised = self.device.geometry().discard_zeroes;
        assert_eq!(self.one(2 * per_block, Op::Discard(per_block)).result, Ok(()));
        let now = self.read(0, 4 * block);
        assert!(!promised || now[2 * block..3 * block].iter().all(|&b| b == 0));
        assert_eq!(now[3 * block..], before[3 * block..], "discarding leaves the neighbours alone");
    }

    /// Waves of requests that do not overlap within a wave, against a map of blocks.
    fn histories_agree_with_a_plain_array(&mut self) {
        let block = self.block();
        let per_block = block as u64 / SECTOR_BYTES;
        let blocks = (self.sectors() / per_block).min(256);
        let mut rng = Rng::new(42);
        let mut model: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for wave in 0..40u64 {
            let mut requests = Vec::new();
            let mut checks = Vec::new();
            let mut at = rng.below(8);
            while at < blocks {
                let count = (1 + rng.below(16)).min(blocks - at);
                if rng.below(2) == 0 {
                    let data = noise(wave << 32 | at, block * count as usize);
                    for (i, piece) in data.chunks(block).enumerate() {
                        model.insert(at + i as u64, piece.to_vec());
                    }
                    let op = Op::Write(Payload::from_slice(&data), Durability::Cached);
                    requests.push((at * per_block, op));
                    checks.push(None);
                } else {
                    requests.push((at * per_block, Op::Read(Buf::zeroed(block * count as usize))));
                    checks.push(Some(at));
                }
                at += count + rng.below(8);
            }
            for (done, check) in self.run(requests).into_iter().zip(checks) {
                assert_eq!(done.result, Ok(()));
                let (Some(at), Op::Read(buf)) = (check, done.op) else {
                    continue;
                };
                for (i, piece) in buf.chunks(block).enumerate() {
                    let wanted = model.get(&(at + i as u64));
                    assert!(wanted.is_none_or(|w| w == piece), "block {} differs", at + i as u64);
                }
            }
            if wave % 8 == 0 {
                assert_eq!(self.one(0, Op::Flush).result, Ok(()));
            }
        }
        for (at, data) in model {
            assert_eq!(self.read(at * per_block, block), data, "block {at} at the end");
        }
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(seed).fill(&mut data);
    data
}
