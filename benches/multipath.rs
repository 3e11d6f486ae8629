//! What a map of one path costs on top of its path, over memory.
//!
//! `cargo bench -p holdfast-benches --bench multipath`; with `-- --test` everything runs once, tiny.

use holdfast_benches::drive::{Ask, places, run};
use holdfast_benches::rounds::{median, smoke};
use holdfast_core::block::{BlockDevice, MemDisk};
use holdfast_core::time::Instant;
use holdfast_multipath::path::{Cache, PathSpec};
use holdfast_multipath::{Device, Plain, Settings};

const DEPTH: usize = 32;

/// What a request through the map may cost more than one without, in nanoseconds.
const WANTED_NS: u64 = 300;

fn map(sectors: u64) -> Device<Plain<MemDisk>> {
    let disk = MemDisk::from_bytes(vec![1; (sectors * 512) as usize]);
    let geometry = disk.geometry();
    let spec = PathSpec { cache: Cache::Shared, ..PathSpec::new("memory") };
    let paths = vec![(spec, Plain::new(disk, "memory"))];
    Device::new(Instant::ZERO, Settings::default(), geometry, paths)
}

fn main() {
    let (sectors, requests, rounds) =
        if smoke() { (1 << 12, 200, 1) } else { (1u64 << 19, 200_000, 9) };
    println!("one path over a MemDisk, 4 KiB, depth {DEPTH}, one core, median of {rounds}");
    for (name, ask) in [("read", Ask::Read(4096)), ("write", Ask::Write(4096))] {
        let mut alone = MemDisk::from_bytes(vec![1; (sectors * 512) as usize]);
        let mut mapped = map(sectors);
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let places = places(round, sectors, 4096, requests);
            let bare = run(&mut alone, ask, &places, DEPTH);
            let with = run(&mut mapped, ask, &places, DEPTH);
            // The first round finds caches and allocators cold.
            if round > 0 || rounds == 1 {
                direct.push(bare / requests as u64);
                through.push(with / requests as u64);
            }
        }
        let (direct, through) = (median(&mut direct), median(&mut through));
        let more = through.saturating_sub(direct);
        println!(
            "{name:<6} {direct:>5} ns bare, {through:>5} ns through the map: {more} ns more (under {WANTED_NS} wanted)"
        );
    }
}
