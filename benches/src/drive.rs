//! Keeping a device's queue full of small requests at random places.

use std::time::Instant as WallTime;

use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::Rng;
use holdfast_core::time::Instant;

/// What to ask of a device, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Reads of so many bytes.
    Read(usize),
    /// Writes of so many bytes.
    Write(usize),
}

/// Sectors at which to ask: random, aligned to the request, below `sectors`.
pub fn places(seed: u64, sectors: u64, bytes: usize, count: usize) -> Vec<u64> {
    let unit = bytes as u64 / 512;
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.below(sectors / unit) * unit).collect()
}

/// Asks for each place in turn with `depth` requests in flight; nanoseconds for all.
///
/// # Panics
/// If a request fails.
pub fn run(device: &mut dyn BlockDevice, ask: Ask, places: &[u64], depth: usize) -> u64 {
    let mut idle: Vec<Op> = (0..depth)
        .map(|_| match ask {
            Ask::Read(bytes) => Op::Read(Buf::zeroed(bytes)),
            Ask::Write(bytes) => {
                Op::Write(Payload::from_slice(&vec![0xa5; bytes]), Durability::Cached)
            }
        })
        .collect();
    let mut finished = Vec::new();
    let mut next = 0;
    let mut done = 0;
    let start = WallTime::now();
    while done < places.len() {
        while next < places.len()
            && let Some(op) = idle.pop()
        {
            let request = Request::new(Tag(next as u64), places[next], op);
            match device.submit(request) {
                Ok(()) => next += 1,
                Err(back) => {
                    idle.push(back.op);
                    break;
                }
            }
        }
        device.poll(Instant::ZERO, &mut finished);
        for completion in finished.drain(..) {
            completion.result.expect("the device answers well");
            idle.push(completion.op);
            done += 1;
        }
    }
    u64::try_from(start.elapsed().as_nanos()).expect("less than 584 years")
}

/// Both members of a hand-made mirror, written directly: what a mirror's bookkeeping adds to.
#[derive(Debug)]
pub struct Pair<D>(pub D, pub D);

impl<D: BlockDevice> Pair<D> {
    /// Writes each place on both members, `depth` places at a time; nanoseconds for all.
    ///
    /// # Panics
    /// If a request fails.
    pub fn run(&mut self, bytes: usize, places: &[u64], depth: usize) -> u64 {
        let data = Payload::from_slice(&vec![0xa5; bytes]);
        let mut finished = Vec::new();
        let start = WallTime::now();
        for batch in places.chunks(depth) {
            for (index, &sector) in batch.iter().enumerate() {
                for device in [&mut self.0, &mut self.1] {
                    let op = Op::Write(data.clone(), Durability::Cached);
                    let request = Request::new(Tag(index as u64), sector, op);
                    device.submit(request).expect("the queue is deep enough");
                }
            }
            for device in [&mut self.0, &mut self.1] {
                device.poll(Instant::ZERO, &mut finished);
            }
            assert!(finished.drain(..).all(|completion| completion.result.is_ok()));
        }
        u64::try_from(start.elapsed().as_nanos()).expect("less than 584 years")
    }
}
