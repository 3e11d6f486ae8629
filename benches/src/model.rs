//! Members that exist only in time: a disk, a SATA SSD and an NVMe drive under a virtual clock.
//!
//! A modelled member answers when the hardware it stands for would, and keeps no data: reads leave
//! their buffers as they are. Only what lies before the array's data (superblocks) is kept, so that
//! an array can be made of such members and assembled. All arithmetic is in whole nanoseconds, so
//! two runs agree to the last digit on every machine.
//!
//! # The disk
//!
//! One head over one spiral of equal tracks. A request costs the way to its track, a wait until its
//! first sector comes round, and the time its sectors take to pass. The way is
//! `settle + stroke × √(tracks ÷ all tracks)`; tracks are skewed by one settling time, so that a
//! sequential reader loses that much at each track and no more. Of what is queued, the disk serves
//! what it reaches first (as NCQ does), and what has waited for 100 ms before that. There is no
//! write cache: writing a sector just read costs a whole turn, as it does on disks told to be safe.
//!
//! # The flash drives
//!
//! Pages lie on `ways` that work side by side, one after another in address order; each page read
//! takes a fixed time, each page written a share of one by its bytes (the drive's buffer joins
//! neighbours). Data then passes one bus. Garbage collection, thermal limits and wear are left out:
//! the numbers are those of a drive with room to spare.

use std::collections::BTreeMap;

use holdfast_core::block::{BlockDevice, Completions, Fault, Geometry, Op, Request};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

/// Sectors from the start that are kept, which hold the superblock and whatever belongs to it.
const KEPT_SECTORS: u64 = 2048;
/// What has waited so long is served first.
const PATIENCE_NS: u64 = 100_000_000;

/// What a member is modelled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A 4 TB disk of 7200 turns a minute.
    Hdd,
    /// A 1 TB SSD at a SATA port.
    Ssd,
    /// A 1 TB NVMe drive.
    Nvme,
}

impl Model {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hdd => "hdd",
            Self::Ssd => "ssd",
            Self::Nvme => "nvme",
        }
    }

    /// Its figures, in a sentence.
    pub const fn figures(self) -> &'static str {
        match self {
            Self::Hdd => {
                "7200 rpm, 0.8 ms to the next track, 16 ms across the disk, 215 MB/s along a \
                 track, no write cache"
            }
            Self::Ssd => {
                "32 ways of 16 KiB pages, 60 µs a page read, 600 µs a page written, 540 MB/s"
            }
            Self::Nvme => {
                "128 ways of 16 KiB pages, 55 µs a page read, 500 µs a page written, 6.8 GB/s"
            }
        }
    }

    const fn sectors(self) -> u64 {
        match self {
            Self::Hdd => 4_000_000_000_000 / SECTOR_BYTES / 8 * 8,
            Self::Ssd | Self::Nvme => 1_000_000_000_000 / SECTOR_BYTES / 8 * 8,
        }
    }

    fn mechanism(self) -> Mechanism {
        match self {
            Self::Hdd => Mechanism::Disk(Disk {
                turn_ns: 8_333_333,
                track_sectors: 3500,
                settle_ns: 800_000,
                stroke_ns: 15_200_000,
                at: 0,
            }),
            Self::Ssd => Mechanism::Flash(Flash {
                page_read_ns: 60_000,
                page_write_ns: 600_000,
                bus_bytes_per_s: 540_000_000,
                command_ns: 15_000,
                free_at: vec![0; 32],
                bus_free_at: 0,
            }),
            Self::Nvme => Mechanism::Flash(Flash {
                page_read_ns: 55_000,
                page_write_ns: 500_000,
                bus_bytes_per_s: 6_800_000_000,
                command_ns: 6_000,
                free_at: vec![0; 128],
                bus_free_at: 0,
            }),
        }
    }
}

/// A member of which only the time is real.
#[derive(Debug)]
pub struct Modelled {
    geometry: Geometry,
    mechanism: Mechanism,
    kept: BTreeMap<u64, Vec<u8>>,
    /// Accepted, not begun, in order of arrival.
    queue: Vec<Waiting>,
    /// Begun, by the moment each ends.
    busy: BTreeMap<(u64, u64), Request>,
    /// Wrong requests, answered at once.
    refused: Vec<(Request, Fault)>,
    now_ns: u64,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    since_ns: u64,
    number: u64,
    request: Request,
}

#[derive(Clone, Debug)]
enum Mechanism {
    Disk(Disk),
    Flash(Flash),
}

impl Modelled {
    /// A fresh member whose contents read as zeros.
    pub fn new(model: Model) -> Self {
        Self {
            geometry: Geometry { queue_depth: 1024, ..Geometry::new(model.sectors()) },
            mechanism: model.mechanism(),
            kept: BTreeMap::new(),
            queue: Vec::new(),
            busy: BTreeMap::new(),
            refused: Vec::new(),
            now_ns: 0,
            arrivals: 0,
        }
    }

    /// Begins what can begin.
    fn begin(&mut self) {
        match &mut self.mechanism {
            Mechanism::Flash(flash) => {
                for Waiting { since_ns, number, request } in self.queue.drain(..) {
                    let done = flash.serve(since_ns, &request);
                    self.busy.insert((done, number), request);
                }
            }
            Mechanism::Disk(disk) => {
                if !self.busy.is_empty() || self.queue.is_empty() {
                    return;
                }
                let next = disk.choose(&self.queue, self.now_ns);
                let Waiting { number, request, .. } = self.queue.remove(next);
                let done = disk.serve(self.now_ns, &request);
                self.busy.insert((done, number), request);
            }
        }
    }

    /// Bytes before the data are kept, the rest is imagined.
    fn carry_out(&mut self, request: &mut Request) {
        let sectors = request.op.sectors();
        for index in (0..sectors).take_while(|index| request.sector + index < KEPT_SECTORS) {
            let (sector, at) = (request.sector + index, (index * SECTOR_BYTES) as usize);
            let bytes = at..at + SECTOR_BYTES as usize;
            match &mut request.op {
                Op::Read(buf) => match self.kept.get(&sector) {
                    Some(kept) => buf[bytes].copy_from_slice(kept),
                    None => buf[bytes].fill(0),
                },
                Op::Write(data, _) => drop(self.kept.insert(sector, data[bytes].to_vec())),
                Op::Discard(_) | Op::Zero(_) => drop(self.kept.remove(&sector)),
                Op::Flush => {}
            }
        }
    }
}

impl BlockDevice for Modelled {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.queue.len() + self.busy.len() + self.refused.len()
            >= self.geometry.queue_depth as usize
        {
            return Err(request);
        }
        match self.geometry.check(&request) {
            Err(fault) => self.refused.push((request, fault)),
            Ok(()) => {
                let number = self.arrivals;
                self.arrivals += 1;
                self.queue.push(Waiting { since_ns: self.now_ns, number, request });
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.now_ns = self.now_ns.max(now.as_nanos());
        finished
            .extend(self.refused.drain(..).map(|(request, fault)| request.complete(Err(fault))));
        self.begin();
        while let Some(first) = self.busy.first_entry() {
            if first.key().0 > self.now_ns {
                break;
            }
            let mut request = first.remove();
            self.carry_out(&mut request);
            finished.push(request.complete(Ok(())));
            self.begin();
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        if !self.refused.is_empty() || (self.busy.is_empty() && !self.queue.is_empty()) {
            return Some(Instant::from_nanos(self.now_ns));
        }
        self.busy.first_key_value().map(|((done, _), _)| Instant::from_nanos(*done))
    }
}

/// A spinning disk.
#[derive(Clone, Debug)]
struct Disk {
    turn_ns: u64,
    track_sectors: u64,
    settle_ns: u64,
    stroke_ns: u64,
    /// Behind the last sector it served.
    at: u64,
}

impl Disk {
    /// The request it reaches first, or the oldest if that has waited too long.
    fn choose(&self, queue: &[Waiting], now: u64) -> usize {
        if now.saturating_sub(queue[0].since_ns) > PATIENCE_NS {
            return 0;
        }
        let reach = |index: &usize| (self.reach(now, queue[*index].request.sector), *index);
        (0..queue.len()).min_by_key(reach).expect("somebody waits")
    }

    fn serve(&mut self, now: u64, request: &Request) -> u64 {
        if matches!(request.op, Op::Flush) {
            return now + 10_000;
        }
        let begin = self.reach(now, request.sector);
        let end = request.sector + request.op.sectors();
        self.at = end;
        let switches = self.track(end.saturating_sub(1)) - self.track(request.sector);
        begin + self.pass_ns(request.op.sectors()) + switches * self.settle_ns
    }

    /// When the head can be over a sector as it comes round.
    fn reach(&self, now: u64, sector: u64) -> u64 {
        let arrival = now + self.way_ns(sector);
        let wanted = self.angle_ns(sector);
        let there = arrival % self.turn_ns;
        arrival + (wanted + self.turn_ns - there) % self.turn_ns
    }

    fn way_ns(&self, sector: u64) -> u64 {
        let tracks = self.track(sector).abs_diff(self.track(self.at));
        if tracks == 0 {
            return 0;
        }
        let all = Model::Hdd.sectors() / self.track_sectors;
        // √ in millionths.
        let root = (tracks * 1_000_000 / all * 1_000_000).isqrt();
        self.settle_ns + self.stroke_ns * root / 1_000_000
    }

    const fn track(&self, sector: u64) -> u64 {
        sector / self.track_sectors
    }

    /// Where in a turn a sector begins: its place along the spiral and the skew of its track.
    const fn angle_ns(&self, sector: u64) -> u64 {
        let along = sector % self.track_sectors * self.turn_ns / self.track_sectors;
        (along + self.track(sector) % self.turn_ns * self.settle_ns) % self.turn_ns
    }

    /// How long so many sectors take to pass.
    const fn pass_ns(&self, sectors: u64) -> u64 {
        sectors * self.turn_ns / self.track_sectors
    }
}

/// A flash drive.
#[derive(Clone, Debug)]
struct Flash {
    page_read_ns: u64,
    page_write_ns: u64,
    bus_bytes_per_s: u64,
    command_ns: u64,
    /// When each way is free.
    free_at: Vec<u64>,
    bus_free_at: u64,
}

const PAGE_BYTES: u64 = 16 << 10;

impl Flash {
    fn serve(&mut self, arrival: u64, request: &Request) -> u64 {
        let ready = arrival + self.command_ns;
        let is_read = match request.op {
            Op::Flush => return ready,
            Op::Discard(_) | Op::Zero(_) => return ready + self.command_ns,
            Op::Read(_) => true,
            Op::Write(..) => false,
        };
        let (mut at, end) = {
            let start = request.sector * SECTOR_BYTES;
            (start, start + request.op.bytes())
        };
        let mut done = ready;
        while at < end {
            let bytes = (PAGE_BYTES - at % PAGE_BYTES).min(end - at);
            let way = (at / PAGE_BYTES % self.free_at.len() as u64) as usize;
            let free = self.free_at[way];
            let pass = bytes * 1_000_000_000 / self.bus_bytes_per_s;
            // A read uses the way first and the bus then; a write the other way round.
            let finished = if is_read {
                let read = ready.max(free) + self.page_read_ns;
                self.free_at[way] = read;
                self.bus_free_at = read.max(self.bus_free_at) + pass;
                self.bus_free_at
            } else {
                self.bus_free_at = ready.max(self.bus_free_at) + pass;
                let work = self.page_write_ns * bytes / PAGE_BYTES;
                let written = self.bus_free_at.max(free) + work;
                self.free_at[way] = written;
                written
            };
            done = done.max(finished);
            at += bytes;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::{Durability, Tag};
    use holdfast_core::buf::{Buf, Payload};
    use holdfast_core::time::Clock;
    use holdfast_sim::world::VirtualClock;

    use super::*;

    /// How long requests take that are asked together, by their tags.
    fn times(model: Model, requests: Vec<(u64, Op)>) -> Vec<u64> {
        let (mut device, mut clock) = (Modelled::new(model), VirtualClock::default());
        for (tag, (sector, op)) in (0u64..).zip(requests) {
            device.submit(Request::new(Tag(tag), sector, op)).unwrap();
        }
        let mut done = Vec::new();
        let mut finished = Vec::new();
        loop {
            device.poll(clock.now(), &mut finished);
            done.extend(finished.drain(..).map(|c| (c.tag.0, clock.time().as_nanos())));
            let Some(at) = device.poll_at() else { break };
            clock.wait(Some(at));
        }
        done.sort_unstable();
        done.into_iter().map(|(_, at)| at).collect()
    }

    fn read(bytes: usize) -> Op {
        Op::Read(Buf::zeroed(bytes))
    }

    fn write(bytes: usize) -> Op {
        Op::Write(Payload::zeroed(bytes), Durability::Cached)
    }

    #[test]
    fn a_disk_passes_a_track_in_a_turn_and_reads_on_without_waiting() {
        // 3500 sectors to a track; the head begins over sector 0.
        let whole_track = read(3500 * 512);
        assert_eq!(times(Model::Hdd, vec![(0, whole_track)]), [8_333_333]);
        let halves = vec![(0, read(1750 * 512)), (1750, read(1750 * 512))];
        assert_eq!(times(Model::Hdd, halves), [4_166_666, 8_333_332]);
        // Over the edge of a track: one settling.
        assert_eq!(times(Model::Hdd, vec![(0, read(7000 * 512))]), [16_666_666 + 800_000]);
    }

    #[test]
    fn a_disk_serves_first_what_it_reaches_first() {
        // Sector 1000 comes round before sector 3000, whatever the order of asking.
        let ends = times(Model::Hdd, vec![(3000, read(4096)), (1000, read(4096))]);
        assert!(ends[1] < ends[0], "{ends:?}");
        assert!(ends[0] < 8_333_333, "both in one turn: {ends:?}");
        // Half way across: settling, √½ of the stroke, and at most a turn.
        let far = Model::Hdd.sectors() / 2;
        let far = times(Model::Hdd, vec![(far, read(512))])[0];
        let way = 800_000 + 10_748_023;
        assert!((way..way + 8_333_333 + 2_381).contains(&far), "{far}");
    }

    #[test]
    fn writing_what_was_just_read_costs_a_turn() {
        let ends = times(Model::Hdd, vec![(0, read(4096)), (0, write(4096))]);
        assert_eq!(ends, [19_047, 8_333_333 + 19_047]);
    }

    #[test]
    fn flash_works_side_by_side_until_its_bus_is_full() {
        // Command, page, bus: 15 + 60 + 7.585 µs.
        assert_eq!(times(Model::Ssd, vec![(0, read(4096))]), [82_585]);
        // Another way: only the bus is shared. The same way: one page after the other.
        assert_eq!(times(Model::Ssd, vec![(0, read(4096)), (32, read(4096))])[1], 90_170);
        assert_eq!(times(Model::Ssd, vec![(0, read(4096)), (8, read(4096))])[1], 142_585);
        // A megabyte is bus time but for the first page.
        let megabyte = times(Model::Ssd, vec![(0, read(1 << 20))])[0];
        assert_eq!(megabyte, 75_000 + 64 * 30_340);
    }

    #[test]
    fn what_comes_before_the_data_is_kept() {
        let (mut device, mut clock) = (Modelled::new(Model::Nvme), VirtualClock::default());
        let mut ask = |sector, op| {
            device.submit(Request::new(Tag(0), sector, op)).unwrap();
            let mut finished = Vec::new();
            while finished.is_empty() {
                device.poll(clock.now(), &mut finished);
                if let Some(at) = device.poll_at() {
                    clock.wait(Some(at));
                }
            }
            finished.pop().unwrap()
        };
        let bytes = Payload::from_slice(&[7; 1024]);
        assert!(ask(KEPT_SECTORS - 1, Op::Write(bytes, Durability::Fua)).result.is_ok());
        let Op::Read(back) = ask(KEPT_SECTORS - 1, read(1024)).op else { panic!("a read") };
        assert!(back[..512].iter().all(|&b| b == 7) && back[512..].iter().all(|&b| b == 0));
        assert_eq!(ask(u64::MAX, read(512)).result, Err(Fault::OutOfRange));
        assert_eq!(ask(0, Op::Flush).result, Ok(()));
    }
}
