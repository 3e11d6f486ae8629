//! Any byte range of a device that knows only blocks: the read-modify-write adapter, without I/O.
//!
//! A wish becomes one or several requests. A write whose ends are not on block borders first reads
//! the blocks there, puts the new bytes into them and writes whole blocks. Writes that touch the
//! same blocks are carried out one after the other, in the order of the wishes, so that none brings
//! back what another has just replaced; everything else flows. Reads wait for nobody: one that
//! overlaps a write under way finds old or new, block by block.
//!
//! ```text
//!            ┌─ whole blocks ────────────────────────────┐
//!  write ──► wait for writes of the same blocks ──► read the ends ──► write ──► done
//!  read, flush ──────────────────────────────────────────────────────────────► done
//! ```

use std::collections::VecDeque;
use std::ops::Range;

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};

/// What somebody wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// These bytes.
    Read(Range<u64>),
    /// These bytes there.
    Write(u64, Vec<u8>),
    /// Zeros there.
    Zero(Range<u64>),
    /// What has been written is durable.
    Flush,
}

/// A request to the device.
#[derive(Debug)]
pub struct Ask {
    /// To be given back with the answer.
    pub job: Key,
    /// First sector.
    pub sector: u64,
    /// What is asked.
    pub op: Op,
}

/// A wish that has ended: bytes for a read, nothing for the others.
pub type Done<T> = (T, Result<Vec<u8>, Fault>);

/// The adapter. `T` is whatever the caller knows a wish by.
#[derive(Debug)]
pub struct Bytes<T> {
    block: u64,
    jobs: Slab<Job<T>>,
    /// Writes in the order of their wishes, from the wish to its end.
    writes: Vec<Key>,
    asks: VecDeque<Ask>,
    done: VecDeque<Done<T>>,
}

#[derive(Debug)]
struct Job<T> {
    owner: T,
    /// The blocks it covers, in bytes.
    blocks: Range<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Reads; what is wanted of the blocks.
    Read(Range<usize>),
    /// Waits for other writes. Zeros where there is no data.
    Waiting(u64, Vec<u8>),
    /// Reads blocks at its ends: so many answers are due.
    Ends { whole: Buf, at: usize, data: Vec<u8>, due: usize, fault: Option<Fault> },
    /// Writes or flushes.
    Last,
}

impl<T> Bytes<T> {
    /// Over a device of such blocks, in bytes.
    pub fn new(block_bytes: u64) -> Self {
        Self {
            block: block_bytes,
            jobs: Slab::new(),
            writes: Vec::new(),
            asks: VecDeque::new(),
            done: VecDeque::new(),
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.done.is_empty()
    }

    /// Takes a wish. It must lie within the device.
    pub fn wish(&mut self, owner: T, wish: Wish) {
        match wish {
            Wish::Read(range) if range.is_empty() => self.done.push_back((owner, Ok(Vec::new()))),
            Wish::Read(range) => {
                let blocks = self.blocks(&range);
                let within = (range.start - blocks.start) as usize;
                let wanted = within..within + (range.end - range.start) as usize;
                let buf = Buf::zeroed((blocks.end - blocks.start) as usize);
                let sector = blocks.start / SECTOR_BYTES;
                let job = self.jobs.insert(Job { owner, blocks, stage: Stage::Read(wanted) });
                self.asks.push_back(Ask { job, sector, op: Op::Read(buf) });
            }
            Wish::Write(_, data) if data.is_empty() => self.done.push_back((owner, Ok(data))),
            Wish::Write(start, data) => {
                let range = start..start + data.len() as u64;
                self.queue(owner, range, data);
            }
            Wish::Zero(range) if range.is_empty() => self.done.push_back((owner, Ok(Vec::new()))),
            Wish::Zero(range) => self.zero(owner, range),
            Wish::Flush => {
                let job = self.jobs.insert(Job { owner, blocks: 0..0, stage: Stage::Last });
                self.asks.push_back(Ask { job, sector: 0, op: Op::Flush });
            }
        }
    }

    fn blocks(&self, range: &Range<u64>) -> Range<u64> {
        range.start / self.block * self.block..range.end.next_multiple_of(self.block)
    }

    /// Zeros of whole blocks need no buffer; of others they are data like any other.
    fn zero(&mut self, owner: T, range: Range<u64>) {
        let whole = self.blocks(&range) == range;
        let data = if whole { Vec::new() } else { vec![0; (range.end - range.start) as usize] };
        self.queue(owner, range, data);
    }

    fn queue(&mut self, owner: T, range: Range<u64>, data: Vec<u8>) {
        let (blocks, stage) = (self.blocks(&range), Stage::Waiting(range.start, data));
        let job = self.jobs.insert(Job { owner, blocks, stage });
        self.writes.push(job);
        self.start_writes();
    }

    /// Starts each write that no earlier one stands in the way of.
    fn start_writes(&mut self) {
        for place in 0..self.writes.len() {
            let job = self.writes[place];
            let blocks = self.jobs[job].blocks.clone();
            let overlaps = |other: &Key| {
                let other = &self.jobs[*other].blocks;
                other.start < blocks.end && blocks.start < other.end
            };
            let waits = matches!(self.jobs[job].stage, Stage::Waiting(..));
            if waits && !self.writes[..place].iter().any(overlaps) {
                self.start(job);
            }
        }
    }

    fn start(&mut self, key: Key) {
        let job = &mut self.jobs[key];
        let Stage::Waiting(start, data) = std::mem::replace(&mut job.stage, Stage::Last) else {
            unreachable!("only what waits is started")
        };
        let (blocks, sector) = (job.blocks.clone(), job.blocks.start / SECTOR_BYTES);
        let length = (blocks.end - blocks.start) as usize;
        if data.is_empty() {
            let op = Op::Zero(length as u64 / SECTOR_BYTES);
            return self.asks.push_back(Ask { job: key, sector, op });
        }
        if data.len() == length {
            let op = Op::Write(Payload::from_slice(&data), Durability::Cached);
            return self.asks.push_back(Ask { job: key, sector, op });
        }
        let at = (start - blocks.start) as usize;
        let tail = at + data.len();
        let block = self.block as usize;
        let mut ends = Vec::new();
        if at > 0 || tail < length.min(block) {
            ends.push(0);
        }
        if tail < length && (ends.is_empty() || length > block) {
            ends.push(length - block);
        }
        let due = ends.len();
        let whole = Buf::zeroed(length);
        self.jobs[key].stage = Stage::Ends { whole, at, data, due, fault: None };
        for end in ends {
            let sector = (blocks.start + end as u64) / SECTOR_BYTES;
            self.asks.push_back(Ask { job: key, sector, op: Op::Read(Buf::zeroed(block)) });
        }
    }

    /// The next request for the device.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Takes the device's answer.
    ///
    /// # Panics
    ///
    /// If nothing of the kind was asked.
    pub fn answer(&mut self, key: Key, sector: u64, op: Op, result: Result<(), Fault>) {
        let job = &mut self.jobs[key];
        match &mut job.stage {
            Stage::Read(wanted) => {
                let bytes = result.map(|()| match &op {
                    Op::Read(buf) => buf[wanted.clone()].to_vec(),
                    _ => unreachable!("a read answers a read"),
                });
                self.end(key, bytes);
            }
            Stage::Ends { whole, due, fault, .. } => {
                *due -= 1;
                match (result, op) {
                    (Ok(()), Op::Read(buf)) => {
                        let at = (sector * SECTOR_BYTES - job.blocks.start) as usize;
                        whole[at..at + buf.len()].copy_from_slice(&buf);
                    }
                    (Err(new), _) => *fault = Some(new),
                    (Ok(()), _) => unreachable!("a read answers a read"),
                }
                if *due == 0 {
                    self.write_whole(key);
                }
            }
            Stage::Last => self.end(key, result.map(|()| Vec::new())),
            Stage::Waiting(..) => unreachable!("nothing was asked"),
        }
    }

    fn write_whole(&mut self, key: Key) {
        let job = &mut self.jobs[key];
        let Stage::Ends { mut whole, at, data, fault, .. } =
            std::mem::replace(&mut job.stage, Stage::Last)
        else {
            unreachable!("its ends have just been read")
        };
        if let Some(fault) = fault {
            return self.end(key, Err(fault));
        }
        whole[at..at + data.len()].copy_from_slice(&data);
        let sector = job.blocks.start / SECTOR_BYTES;
        let op = Op::Write(whole.into(), Durability::Cached);
        self.asks.push_back(Ask { job: key, sector, op });
    }

    fn end(&mut self, key: Key, result: Result<Vec<u8>, Fault>) {
        let job = self.jobs.remove(key).expect("it was under way");
        self.done.push_back((job.owner, result));
        if let Some(place) = self.writes.iter().position(|write| *write == key) {
            self.writes.remove(place);
            self.start_writes();
        }
    }

    /// The next wish that has ended.
    pub fn poll_done(&mut self) -> Option<Done<T>> {
        self.done.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::{BlockDevice, MemDisk, Request, Tag};
    use holdfast_core::time::Instant;
    use proptest::prelude::*;

    use super::*;

    const BLOCK: u64 = 1024;
    const SIZE: u64 = 16 * BLOCK;

    /// Carries wishes out against a disk in memory that answers in the order `picks` says.
    struct Bench {
        bytes: Bytes<usize>,
        disk: MemDisk,
        asked: Vec<Ask>,
    }

    impl Bench {
        fn new() -> Self {
            Self { bytes: Bytes::new(BLOCK), disk: MemDisk::new(SIZE / 512), asked: Vec::new() }
        }

        /// Answers one request, the one `pick` points at.
        fn step(&mut self, pick: usize) -> bool {
            self.asked.extend(std::iter::from_fn(|| self.bytes.poll_ask()));
            if self.asked.is_empty() {
                return false;
            }
            let Ask { job, sector, op } = self.asked.remove(pick % self.asked.len());
            let whole = op.bytes() % BLOCK == 0 && sector * 512 % BLOCK == 0;
            assert!(whole, "{op:?} at {sector} is not in whole blocks");
            self.disk.submit(Request::new(Tag(0), sector, op)).unwrap();
            let mut finished = Vec::new();
            self.disk.poll(Instant::ZERO, &mut finished);
            let done = finished.pop().unwrap();
            self.bytes.answer(job, sector, done.op, done.result);
            true
        }
    }

    fn wishes() -> impl Strategy<Value = Vec<Wish>> {
        let range =
            (0..SIZE, 0..3 * BLOCK).prop_map(|(start, length)| start..(start + length).min(SIZE));
        let write = (range.clone(), any::<u8>()).prop_map(|(range, fill)| {
            let bytes = (0..range.end - range.start).map(|at| fill.wrapping_add(at as u8));
            Wish::Write(range.start, bytes.collect())
        });
        let wish = prop_oneof![
            3 => write,
            1 => range.prop_map(Wish::Zero),
            1 => Just(Wish::Flush),
        ];
        prop::collection::vec(wish, 1..24)
    }

    proptest! {
        /// Whatever the order of the answers, the bytes are those of the wishes one after the other.
        #[test]
        fn writes_of_any_range_come_out_as_if_one_after_the_other(
            wishes in wishes(),
            picks in prop::collection::vec(any::<usize>(), 200),
        ) {
            let (mut bench, mut model) = (Bench::new(), vec![0u8; SIZE as usize]);
            let count = wishes.len();
            let mut picks = picks.into_iter().cycle();
            for (number, wish) in wishes.into_iter().enumerate() {
                match &wish {
                    Wish::Write(start, data) => {
                        model[*start as usize..][..data.len()].copy_from_slice(data);
                    }
                    Wish::Zero(range) => {
                        model[range.start as usize..range.end as usize].fill(0);
                    }
                    _ => {}
                }
                bench.bytes.wish(number, wish);
                // Some answers come before the next wish, some much later.
                if picks.next().unwrap() % 2 == 0 {
                    bench.step(picks.next().unwrap());
                }
            }
            while bench.step(picks.next().unwrap()) {}
            let mut ended: Vec<usize> = Vec::new();
            while let Some((owner, result)) = bench.bytes.poll_done() {
                prop_assert!(result.is_ok());
                ended.push(owner);
            }
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..count).collect::<Vec<_>>(), "each ends once");
            prop_assert!(bench.bytes.is_idle());
            bench.bytes.wish(0, Wish::Read(0..SIZE));
            while bench.step(0) {}
            let read = bench.bytes.poll_done().unwrap().1.unwrap();
            prop_assert!(read == model);
        }
    }

    #[test]
    fn reads_give_the_bytes_asked_for() {
        let mut bench = Bench::new();
        let all: Vec<u8> = (0..SIZE).map(|at| (at / 7) as u8).collect();
        bench.bytes.wish(0, Wish::Write(0, all.clone()));
        while bench.step(0) {}
        bench.bytes.poll_done();
        for range in [0..1, 5..2000, 1023..1025, 1024..2048, SIZE - 1..SIZE, 7..7] {
            bench.bytes.wish(1, Wish::Read(range.clone()));
            while bench.step(0) {}
            let read = bench.bytes.poll_done().unwrap().1.unwrap();
            assert!(read == all[range.start as usize..range.end as usize], "{range:?}");
        }
    }

    #[test]
    fn a_block_that_cannot_be_read_is_not_written() {
        let mut bytes: Bytes<u32> = Bytes::new(BLOCK);
        bytes.wish(7, Wish::Write(10, vec![1; 5]));
        bytes.wish(8, Wish::Write(20, vec![2; 5]));
        let first = bytes.poll_ask().unwrap();
        assert!(bytes.poll_ask().is_none(), "the second waits for the first");
        bytes.answer(first.job, first.sector, first.op, Err(Fault::Medium));
        assert_eq!(bytes.poll_done(), Some((7, Err(Fault::Medium))));
        assert!(matches!(bytes.poll_ask().unwrap().op, Op::Read(_)), "the second goes on");
    }
}
