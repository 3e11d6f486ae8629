//! What the array engine costs: requests per second for each level over memory, what a mirror adds
//! to its two writes, how long 384 members take, and how much memory a huge array needs.
//!
//! `cargo bench -p holdfast-benches --bench array`; with `-- --test` everything runs once, tiny.

use std::fs::File;
use std::time::Instant as WallTime;

use holdfast_benches::arrays::{Shape, start};
use holdfast_benches::drive::{Ask, Pair, places, run};
use holdfast_benches::memory::{forget_peak, peak_resident};
use holdfast_benches::rounds::{median, smoke};
use holdfast_core::block::{BlockDevice, Blocking, MemDisk};
use holdfast_core::time::{Clock, StepClock};
use holdfast_host::clock::HostClock;
use holdfast_host::file::FileDisk;
use holdfast_host::pool::{DEFAULT_THREADS, IoPool};
use holdfast_raid::{Action, Assembled, Level, scan};

const ROUNDS: usize = 9;
const DEPTH: usize = 32;

/// How much to do.
struct Scale {
    member_sectors: u64,
    requests: usize,
    rounds: usize,
    sparse_bytes: u64,
    read_places: usize,
    read_bytes: usize,
}

impl Scale {
    fn chosen() -> Self {
        if smoke() {
            return Self {
                member_sectors: 1 << 15,
                requests: 200,
                rounds: 1,
                sparse_bytes: 15 << 30,
                read_places: 10,
                read_bytes: 1 << 20,
            };
        }
        Self {
            member_sectors: 1 << 21,
            requests: 100_000,
            rounds: ROUNDS,
            sparse_bytes: 15 << 40,
            read_places: 1_000,
            // 8 GiB in all, in whole sectors.
            read_bytes: 16_778 * 512,
        }
    }
}

/// A disk whose every page has been written, so that no round pays for first touches.
fn touched(sectors: u64) -> MemDisk {
    MemDisk::from_bytes(vec![1; (sectors * 512) as usize])
}

fn array(level: Level, members: usize, bitmap: bool, scale: &Scale) -> Assembled<MemDisk> {
    let disks = (0..members).map(|_| touched(scale.member_sectors)).collect();
    start(Shape { level, chunk_sectors: 128, bitmap }, disks, StepClock::default())
}

fn levels(scale: &Scale) {
    println!(
        "\n4 KiB random, depth {DEPTH}, members in memory, one core, median of {}",
        scale.rounds
    );
    println!("{:<22} {:>12} {:>12}", "array", "reads/s", "writes/s");
    let shapes = [
        ("linear x4", Level::Linear, 4, false),
        ("raid0 x4", Level::Raid0, 4, false),
        ("raid1 x2", Level::Raid1, 2, false),
        ("raid1 x2 + bitmap", Level::Raid1, 2, true),
        ("raid10 near x4", Level::Raid10, 4, false),
        ("raid4 4+1", Level::Raid4, 5, false),
        ("raid5 4+1", Level::Raid5, 5, false),
        ("raid6 4+2", Level::Raid6, 6, false),
    ];
    for (name, level, members, bitmap) in shapes {
        let mut device = array(level, members, bitmap, scale);
        let sectors = device.geometry().sectors;
        let mut rates = Vec::new();
        for ask in [Ask::Read(4096), Ask::Write(4096)] {
            let mut times: Vec<u64> = (0..scale.rounds as u64)
                .map(|round| {
                    let places = places(round, sectors, 4096, scale.requests);
                    run(&mut device, ask, &places, DEPTH)
                })
                .collect();
            rates.push(scale.requests as u64 * 1_000_000_000 / median(&mut times));
        }
        println!("{name:<22} {:>12} {:>12}", rates[0], rates[1]);
    }
}

fn mirror(scale: &Scale) {
    let mut mirror = array(Level::Raid1, 2, false, scale);
    let mut pair = Pair(touched(scale.member_sectors), touched(scale.member_sectors));
    let sectors = mirror.geometry().sectors;
    let mut through = Vec::new();
    let mut direct = Vec::new();
    for round in 0..scale.rounds as u64 {
        let places = places(100 + round, sectors, 4096, scale.requests);
        direct.push(pair.run(4096, &places, DEPTH) / scale.requests as u64);
        through.push(run(&mut mirror, Ask::Write(4096), &places, DEPTH) / scale.requests as u64);
    }
    let (through, direct) = (median(&mut through), median(&mut direct));
    println!(
        "\n4 KiB mirrored write: {through} ns; its two member writes issued directly: {direct} ns"
    );
    println!("the mirror adds {} ns (at most 500 wanted)", through.saturating_sub(direct));
}

/// What an array over memory makes of the bytes that one disk in memory takes for the same
/// requests. Members copy what they are given, and parity is one more thing to copy.
fn in_memory(scale: &Scale) {
    println!("\nwrites over one MemDisk's, depth {DEPTH}, one core, median of {}", scale.rounds);
    let shapes = [
        ("raid5 4+1, 256 KiB full stripes", Level::Raid5, 5, 256 << 10, 0.46),
        ("raid6 4+2, 256 KiB full stripes", Level::Raid6, 6, 256 << 10, 0.38),
        ("raid5 4+1, 4 KiB random", Level::Raid5, 5, 4 << 10, 0.7 / 4.0),
    ];
    for (name, level, members, bytes, wanted) in shapes {
        let member_sectors = scale.member_sectors / 4;
        let disks = (0..members).map(|_| touched(member_sectors)).collect();
        let shape = Shape { level, chunk_sectors: 128, bitmap: false };
        let mut array = start(shape, disks, StepClock::default());
        let sectors = array.geometry().sectors;
        let mut single = touched(sectors);
        let requests = (scale.requests * 4096 / bytes).max(DEPTH);
        let (mut direct, mut through, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=scale.rounds as u64 {
            let places = places(200 + round, sectors, bytes, requests);
            let alone = run(&mut single, Ask::Write(bytes), &places, DEPTH);
            let under = run(&mut array, Ask::Write(bytes), &places, DEPTH);
            // The first round finds caches and allocators cold.
            if round > 0 || scale.rounds == 1 {
                let rate = |nanos: u64| (requests * bytes) as u64 * 1000 / nanos;
                direct.push(rate(alone));
                through.push(rate(under));
                shares.push(alone * 1000 / under);
            }
        }
        let (direct, through) = (median(&mut direct), median(&mut through));
        let share = median(&mut shares) as f64 / 1000.0;
        println!("{name:<32} {through:>6} of {direct:>6} MB/s = {share:.3} (wanted {wanted:.3})");
    }
}

/// Temporary sparse files, removed when dropped.
struct Sparse {
    dir: std::path::PathBuf,
}

impl Sparse {
    fn new() -> std::io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("holdfast-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    fn disk(&self, index: usize, bytes: u64, pool: &IoPool) -> std::io::Result<FileDisk> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.dir.join(index.to_string()))?;
        file.set_len(bytes)?;
        FileDisk::new(file, false, pool)
    }
}

impl Drop for Sparse {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn many_members() -> std::io::Result<()> {
    let files = Sparse::new()?;
    let clock = HostClock::new()?;
    let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup())?;
    let mut clock = clock;
    let disks: Result<Vec<FileDisk>, _> =
        (0..384).map(|index| files.disk(index, 4 << 20, &pool)).collect();
    let shape = Shape { level: Level::Raid10, chunk_sectors: 128, bitmap: false };
    let mut disks = start(shape, disks?, &mut clock).into_devices();
    let begin = WallTime::now();
    let probes = scan(&mut disks, &mut clock);
    let array = holdfast_raid::assemble(
        probes,
        holdfast_raid::Config::default(),
        &holdfast_raid::Options::default(),
    );
    let elapsed = begin.elapsed();
    assert!(array.is_ok());
    println!("\nscan and assemble 384 members: {} ms (under 1000 wanted)", elapsed.as_millis());
    Ok(())
}

fn huge_array(scale: &Scale) -> std::io::Result<()> {
    let files = Sparse::new()?;
    let clock = HostClock::new()?;
    let pool = IoPool::new(DEFAULT_THREADS, clock.wakeup())?;
    let mut clock = clock;
    let disks: Result<Vec<FileDisk>, _> =
        (0..8).map(|index| files.disk(index, scale.sparse_bytes, &pool)).collect();
    let disks = match disks {
        Ok(disks) => disks,
        Err(error) => {
            println!("\nhuge array: this file system has no files that large ({error})");
            return Ok(());
        }
    };
    let shape = Shape { level: Level::Raid5, chunk_sectors: 1024, bitmap: false };
    let device = start(shape, disks, &mut clock);
    let mut device = Blocking::new(device, clock);
    let size = device.size();
    println!("\nraid5 of {} TiB over sparse files", size >> 40);
    forget_peak();
    let mut bytes = vec![0; scale.read_bytes];
    for place in places(7, size / 512, 4096, scale.read_places) {
        let at = (place * 512).min(size - bytes.len() as u64);
        device.read_at(at, &mut bytes).expect("a sparse array reads as zeros");
    }
    let total = (scale.read_places * scale.read_bytes) >> 20;
    println!("read {total} MiB in {} places: {}", scale.read_places, peak());
    forget_peak();
    check_first(&mut device, total as u64 * 2048 / 7);
    println!("checked the first {total} MiB: {}", peak());
    Ok(())
}

fn check_first(device: &mut Blocking<Assembled<FileDisk>, HostClock>, rows: u64) {
    device.device_mut().start(Action::Check { locate: false }).expect("a check can start");
    let mut none = Vec::new();
    loop {
        let now = device.clock_mut().now();
        device.device_mut().poll(now, &mut none);
        match device.device().status().sync {
            None => return,
            Some(sync) if sync.done_sectors >= rows => device.device_mut().interrupt(),
            Some(_) => {
                let at = device.device().poll_at();
                device.clock_mut().wait(at);
            }
        }
    }
}

fn peak() -> String {
    match peak_resident() {
        Some(bytes) => format!("{} MiB resident at most (under 64 wanted)", bytes >> 20),
        None => "this system does not tell resident memory".to_owned(),
    }
}

fn main() -> std::io::Result<()> {
    let scale = Scale::chosen();
    // Before the large disks in memory: a peak cannot be told apart from what came before.
    huge_array(&scale)?;
    many_members()?;
    in_memory(&scale);
    mirror(&scale);
    levels(&scale);
    Ok(())
}
