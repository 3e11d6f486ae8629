//! What the engine costs over real files past the page cache.
//!
//! - RAID0, random 4 KiB reads, 32 in flight, beside fio's io_uring on the same files;
//! - RAID5, whole stripes one behind the other, beside the very same member writes replayed without
//!   the engine.
//!
//! The two sides take turns within one process run, and what is told is the median of the rounds'
//! ratios. `cargo bench -p holdfast-benches --bench uring`; `HOLDFAST_BENCH_DIR` says where the
//! files go (a file system that takes `O_DIRECT`), and with `-- --test` everything runs once, tiny.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant as WallTime};

use holdfast_benches::arrays::{Shape, start};
use holdfast_benches::files::{Files, Scratch};
use holdfast_benches::load::{self, Limit, Load, Pattern};
use holdfast_benches::rounds::smoke;
use holdfast_benches::stripe::Ground;
use holdfast_core::block::{BlockDevice, Completions, Durability, Geometry, Op, Request, Tag};
use holdfast_core::buf::Payload;
use holdfast_core::time::{Clock, Instant};
use holdfast_host::clock::HostClock;
use holdfast_host::file::FileDisk;
use holdfast_host::uring::Ring;
use holdfast_raid::Level;

const MEMBERS: u32 = 4;
const DEPTH: u32 = 32;
const CHUNK_BYTES: u32 = 64 << 10;

/// How much to do.
struct Scale {
    member_bytes: u64,
    round: Duration,
    rounds: usize,
    stripe_writes: u64,
}

impl Scale {
    fn chosen() -> Self {
        if smoke() {
            let round = Duration::from_millis(5);
            return Self { member_bytes: 16 << 20, round, rounds: 1, stripe_writes: 20 };
        }
        let round = Duration::from_secs(2);
        Self { member_bytes: 1 << 30, round, rounds: 9, stripe_writes: 1500 }
    }
}

/// The median and the extremes.
fn spread(mut ratios: Vec<f64>) -> (f64, f64, f64) {
    ratios.sort_by(f64::total_cmp);
    (ratios[(ratios.len() - 1) / 2], ratios[0], ratios[ratios.len() - 1])
}

fn files(scratch: &Scratch) -> Files<'static> {
    Files { paths: scratch.paths.clone(), uring: true, stop: &|| false }
}

/// Requests a second that fio reads from the same files, if there is a fio.
fn fio(scratch: &Scratch, scale: &Scale, seed: usize) -> Option<f64> {
    let names: Vec<String> =
        scratch.paths.iter().map(|path| path.display().to_string().replace(':', "\\:")).collect();
    let output = Command::new("fio")
        .args(["--name=peer", "--ioengine=io_uring", "--direct=1", "--rw=randread", "--bs=4k"])
        .args(["--registerfiles=1", "--fixedbufs=1", "--time_based", "--output-format=terse"])
        .args(["--file_service_type=random", "--norandommap=1", "--invalidate=0"])
        .arg(format!("--iodepth={DEPTH}"))
        .arg(format!("--randseed={seed}"))
        .arg(format!("--filename={}", names.join(":")))
        .arg(format!("--filesize={}", scale.member_bytes))
        .arg(format!("--size={}", scale.member_bytes * u64::from(MEMBERS)))
        .arg(format!("--runtime={}ms", scale.round.as_millis()))
        .output()
        .ok()?;
    // Terse version 3: the eighth field is the read rate in requests a second.
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find(|line| line.starts_with("3;"))?.split(';').nth(7)?.parse().ok()
}

fn random_reads(scratch: &Scratch, scale: &Scale) -> Result<(), String> {
    let (disks, mut clock) = files(scratch).prepare()?;
    let direct = disks.iter().all(FileDisk::is_direct);
    let shape = Shape { level: Level::Raid0, chunk_sectors: CHUNK_BYTES / 512, bitmap: false };
    let mut array = start(shape, disks, &mut clock);
    let limit = Limit { requests: u64::MAX, time: Some(scale.round) };
    let mut ratios = Vec::new();
    let mut rates = (0.0, 0.0);
    for round in 0..scale.rounds {
        let seed = round as u64;
        let load = Load { pattern: Pattern::RandRead, request_bytes: 4096, depth: DEPTH, seed };
        let run = load::run(&mut array, &mut clock, load, limit, &|| false)
            .map_err(|error| error.to_string())?;
        let ours = run.requests() as f64 * 1e9 / run.elapsed_ns as f64;
        let Some(theirs) = fio(scratch, scale, round) else {
            println!(
                "raid0 4 KiB random reads: {ours:.0} a second; skipped: no fio to compare with"
            );
            return Ok(());
        };
        println!("  round {round}: {ours:.0} a second, fio {theirs:.0}");
        rates = (ours, theirs);
        ratios.push(ours / theirs.max(1.0));
    }
    let (median, least, most) = spread(ratios);
    println!(
        "raid0 of {MEMBERS}, 4 KiB random reads, depth {DEPTH}, direct {direct}: {median:.3} of fio \
         ({least:.3} to {most:.3}; last round {:.0} and {:.0} a second); 0.95 wanted",
        rates.0, rates.1
    );
    Ok(())
}

/// A device that writes down the writes it is asked for.
struct Noting {
    inner: FileDisk,
    writes: Vec<(u64, u32)>,
}

impl BlockDevice for Noting {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let write = match &request.op {
            Op::Write(data, _) => Some((request.sector, data.len() as u32)),
            _ => None,
        };
        self.inner.submit(request)?;
        self.writes.extend(write);
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.inner.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.inner.poll_at()
    }
}

/// Each member's writes again, in their order, as many in flight as the array kept; how long.
fn replay(
    disks: &mut [FileDisk],
    writes: &[Vec<(u64, u32)>],
    depth: usize,
    clock: &mut HostClock,
) -> Duration {
    let most = writes.iter().flatten().map(|&(_, bytes)| bytes as usize).max().unwrap_or(0);
    let data = Payload::from_slice(&vec![0xa5; most]);
    let mut left: Vec<VecDeque<(u64, u32)>> =
        writes.iter().map(|writes| writes.iter().copied().collect()).collect();
    let mut flying = vec![0; disks.len()];
    let mut finished = Vec::new();
    let begin = WallTime::now();
    while left.iter().any(|left| !left.is_empty()) || flying.iter().any(|&count| count > 0) {
        for ((disk, left), flying) in disks.iter_mut().zip(&mut left).zip(&mut flying) {
            while *flying < depth
                && let Some((sector, bytes)) = left.pop_front()
            {
                let op = Op::Write(data.slice(0..bytes as usize), Durability::Cached);
                disk.submit(Request::new(Tag(0), sector, op)).expect("the queue is deep enough");
                *flying += 1;
            }
        }
        let now = clock.now();
        let mut moved = false;
        for (disk, flying) in disks.iter_mut().zip(&mut flying) {
            disk.poll(now, &mut finished);
            moved |= !finished.is_empty();
            *flying -= finished.len();
            assert!(finished.drain(..).all(|done| done.result.is_ok()));
        }
        if !moved && disks.iter().all(|disk| disk.poll_at().is_none()) {
            clock.wait(None);
        }
    }
    begin.elapsed()
}

fn stripe_writes(scratch: &Scratch, scale: &Scale) -> Result<(), String> {
    /// Requests in flight: eight whole stripes.
    const STRIPES: u32 = 8;
    let (disks, mut clock) = files(scratch).prepare()?;
    let disks: Vec<Noting> =
        disks.into_iter().map(|inner| Noting { inner, writes: Vec::new() }).collect();
    let shape = Shape { level: Level::Raid5, chunk_sectors: CHUNK_BYTES / 512, bitmap: false };
    let mut array = start(shape, disks, &mut clock);
    let request_bytes = CHUNK_BYTES * (MEMBERS - 1);
    let load = Load { pattern: Pattern::SeqWrite, request_bytes, depth: STRIPES, seed: 1 };
    let limit = Limit { requests: scale.stripe_writes, time: None };
    let mut ratios = Vec::new();
    let mut rate = 0.0;
    for _ in 0..scale.rounds {
        (0..MEMBERS as usize).for_each(|index| array.device_mut(index).writes.clear());
        let run = load::run(&mut array, &mut clock, load, limit, &|| false)
            .map_err(|error| error.to_string())?;
        let through = Duration::from_nanos(run.elapsed_ns);
        // Metadata is part of the engine's price; the replay has the data's writes alone.
        let data_from: Vec<u64> =
            array.status().members.iter().map(|member| member.data_offset).collect();
        let mut writes: Vec<Vec<(u64, u32)>> = Vec::new();
        for (index, &from) in data_from.iter().enumerate() {
            let noted = array.device(index).writes.iter().copied();
            writes.push(noted.filter(|&(sector, _)| sector >= from).collect());
        }
        let mut bare: Vec<FileDisk> = Vec::new();
        let quiet = WallTime::now();
        while !array.is_quiet() && quiet.elapsed() < Duration::from_secs(5) {
            let now = clock.now();
            array.poll(now, &mut Vec::new());
        }
        let noting = array.into_devices();
        bare.extend(noting.into_iter().map(|noting| noting.inner));
        let direct = replay(&mut bare, &writes, STRIPES as usize, &mut clock);
        ratios.push(direct.as_secs_f64() / through.as_secs_f64());
        rate = run.bytes() as f64 / 1e6 / through.as_secs_f64();
        let disks: Vec<Noting> =
            bare.into_iter().map(|inner| Noting { inner, writes: Vec::new() }).collect();
        array = start(shape, disks, &mut clock);
    }
    let (median, least, most) = spread(ratios);
    println!(
        "raid5 of {MEMBERS}, whole stripes of {} KiB one behind the other, {STRIPES} in flight: \
         {median:.3} of the same member writes without the engine ({least:.3} to {most:.3}; last round \
         {rate:.0} MB/s); 0.90 wanted",
        request_bytes >> 10
    );
    Ok(())
}

fn main() -> Result<(), String> {
    let scale = Scale::chosen();
    if let Err(error) = HostClock::new().and_then(|clock| Ring::new(clock.wakeup())) {
        println!("skipped: io_uring is refused here: {error}");
        return Ok(());
    }
    let parent =
        std::env::var_os("HOLDFAST_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = Scratch::make(&parent, MEMBERS, scale.member_bytes, &mut |_, _| true)
        .map_err(|error| format!("{}: {error}", parent.display()))?;
    random_reads(&scratch, &scale)?;
    stripe_writes(&scratch, &scale)
}
