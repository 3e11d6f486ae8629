//! A load, and what a device makes of it: how fast, how late.
//!
//! A load keeps a fixed number of requests of one size in flight. Where they go and which of them
//! write is drawn from a seed, so two runs ask the same. Time is the clock's: the operating
//! system's over files, virtual over modelled members.

use holdfast_core::block::{BlockDevice, Durability, Fault, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::{Clock, Duration, Instant};

/// Where requests go, and which of them write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// One behind the other, reading.
    SeqRead,
    /// One behind the other, writing.
    SeqWrite,
    /// Anywhere, reading.
    RandRead,
    /// Anywhere, writing.
    RandWrite,
    /// Anywhere; of ten requests seven read and three write.
    Mixed,
}

impl Pattern {
    /// All, in the order of tables.
    pub const ALL: [Self; 5] =
        [Self::SeqRead, Self::SeqWrite, Self::RandRead, Self::RandWrite, Self::Mixed];

    /// Its short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeqRead => "seq-read",
            Self::SeqWrite => "seq-write",
            Self::RandRead => "rand-read",
            Self::RandWrite => "rand-write",
            Self::Mixed => "mixed",
        }
    }

    /// Its name in a title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SeqRead => "Sequential reads",
            Self::SeqWrite => "Sequential writes",
            Self::RandRead => "Random reads",
            Self::RandWrite => "Random writes",
            Self::Mixed => "Random, 70 % reads",
        }
    }

    /// How many of a hundred requests write, on average.
    pub const fn write_percent(self) -> u32 {
        match self {
            Self::SeqRead | Self::RandRead => 0,
            Self::SeqWrite | Self::RandWrite => 100,
            Self::Mixed => 30,
        }
    }

    const fn is_sequential(self) -> bool {
        matches!(self, Self::SeqRead | Self::SeqWrite)
    }
}

/// What to ask of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Where and what.
    pub pattern: Pattern,
    /// Bytes of a request.
    pub request_bytes: u32,
    /// Requests in flight.
    pub depth: u32,
    /// Seed of places and of what writes.
    pub seed: u64,
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// After so many requests.
    pub requests: u64,
    /// Or after this time, if there is such a limit.
    pub time: Option<Duration>,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// From the first request to the last answer, in nanoseconds.
    pub elapsed_ns: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// How long each request took, in nanoseconds, ascending.
    pub latencies_ns: Vec<u64>,
}

impl Run {
    /// Requests answered.
    pub const fn requests(&self) -> u64 {
        self.latencies_ns.len() as u64
    }

    /// Bytes moved.
    pub const fn bytes(&self) -> u64 {
        self.read_bytes + self.written_bytes
    }

    /// The latency that so many thousandths of the requests did not exceed, in nanoseconds.
    pub fn percentile_ns(&self, permille: u64) -> u64 {
        let count = self.requests();
        let rank = (count * permille).div_ceil(1000).clamp(1, count.max(1));
        self.latencies_ns.get(rank as usize - 1).copied().unwrap_or(0)
    }
}

/// Why a run ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The device failed a request.
    #[error("a request at sector {sector} failed: {fault}")]
    Failed {
        /// First sector.
        sector: u64,
        /// Why.
        fault: Fault,
    },
    /// Requests are larger than the device.
    #[error("a request of {request_bytes} bytes does not fit into {sectors} sectors")]
    TooSmall {
        /// Bytes of a request.
        request_bytes: u32,
        /// Sectors of the device.
        sectors: u64,
    },
    /// Somebody said stop.
    #[error("stopped")]
    Stopped,
}

/// The requests of a load, one by one.
#[derive(Debug)]
struct Requests {
    load: Load,
    rng: Rng,
    /// Places there are.
    places: u64,
    next: u64,
    data: Payload,
}

impl Requests {
    fn new(load: Load, sectors: u64) -> Result<Self, RunError> {
        let request_bytes = load.request_bytes;
        let places = sectors * SECTOR_BYTES / u64::from(request_bytes);
        if places == 0 {
            return Err(RunError::TooSmall { request_bytes, sectors });
        }
        let mut rng = Rng::new(load.seed);
        let mut bytes = Buf::zeroed(request_bytes as usize);
        rng.fill(&mut bytes);
        Ok(Self { load, rng, places, next: 0, data: bytes.into() })
    }

    fn draw(&mut self, idle: &mut Vec<Buf>) -> (u64, Op) {
        let place = match self.load.pattern.is_sequential() {
            true => self.next % self.places,
            false => self.rng.below(self.places),
        };
        self.next += 1;
        let writes = self.rng.chance(Ratio::new(self.load.pattern.write_percent(), 100));
        let bytes = self.load.request_bytes as usize;
        let op = match writes {
            true => Op::Write(self.data.clone(), Durability::Cached),
            false => Op::Read(idle.pop().unwrap_or_else(|| Buf::zeroed(bytes))),
        };
        (place * (bytes as u64 / SECTOR_BYTES), op)
    }
}

/// Runs a load until its limit.
///
/// # Errors
/// The first request that fails, or what `stopped` says.
pub fn run<D: BlockDevice, C: Clock>(
    device: &mut D,
    clock: &mut C,
    load: Load,
    limit: Limit,
    stopped: &dyn Fn() -> bool,
) -> Result<Run, RunError> {
    let mut requests = Requests::new(load, device.geometry().sectors)?;
    let begin = clock.now();
    let mut crew = Crew { begun: vec![(begin, 0); load.depth as usize], ..Crew::default() };
    crew.free.extend((0..u64::from(load.depth)).rev());
    let over = |asked: u64, now: Instant| {
        asked >= limit.requests || limit.time.is_some_and(|time| now.since(begin) >= time)
    };
    let mut now = begin;
    loop {
        let mut moved = false;
        while (crew.held.is_some() || !over(crew.asked, now))
            && crew.submit(device, &mut requests, now)
        {
            moved = true;
        }
        now = clock.now();
        device.poll(now, &mut crew.finished);
        let answered = crew.collect(clock)?;
        if crew.is_idle() && over(crew.asked, now) {
            break;
        }
        if stopped() {
            return Err(RunError::Stopped);
        }
        if !moved && answered == 0 && device.poll_at().is_none_or(|at| at > now) {
            clock.wait(device.poll_at());
            now = clock.now();
        }
    }
    crew.run.elapsed_ns = clock.now().since(begin).as_nanos() as u64;
    crew.run.latencies_ns.sort_unstable();
    Ok(crew.run)
}

/// The requests in flight.
#[derive(Debug, Default)]
struct Crew {
    asked: u64,
    /// When each request in flight was asked, and its sector, by tag.
    begun: Vec<(Instant, u64)>,
    /// Tags not in flight.
    free: Vec<u64>,
    idle: Vec<Buf>,
    /// Handed back by a full queue.
    held: Option<Request>,
    finished: Vec<holdfast_core::block::Completion>,
    run: Run,
}

impl Crew {
    fn is_idle(&self) -> bool {
        self.free.len() == self.begun.len() && self.held.is_none()
    }

    /// Asks for one thing more, if somebody is free and the device takes it.
    fn submit<D: BlockDevice>(
        &mut self,
        device: &mut D,
        requests: &mut Requests,
        now: Instant,
    ) -> bool {
        let request = match self.held.take() {
            Some(request) => request,
            None => {
                let Some(tag) = self.free.pop() else { return false };
                self.asked += 1;
                let (sector, op) = requests.draw(&mut self.idle);
                self.begun[tag as usize] = (now, sector);
                Request::new(Tag(tag), sector, op)
            }
        };
        self.held = device.submit(request).err();
        self.held.is_none()
    }

    /// Takes the answers in; how many there were.
    fn collect<C: Clock>(&mut self, clock: &mut C) -> Result<usize, RunError> {
        let answers = self.finished.len();
        let now = if answers > 0 { clock.now() } else { Instant::ZERO };
        for done in self.finished.drain(..) {
            let (begun, sector) = self.begun[done.tag.0 as usize];
            if let Err(fault) = done.result {
                return Err(RunError::Failed { sector, fault });
            }
            self.run.latencies_ns.push(now.since(begun).as_nanos() as u64);
            self.free.push(done.tag.0);
            match done.op {
                Op::Read(buf) => {
                    self.run.read_bytes += buf.len() as u64;
                    self.idle.push(buf);
                }
                Op::Write(data, _) => self.run.written_bytes += data.len() as u64,
                Op::Flush | Op::Discard(_) | Op::Zero(_) => {}
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::MemDisk;
    use holdfast_core::time::StepClock;

    use super::*;

    fn load(pattern: Pattern) -> Load {
        Load { pattern, request_bytes: 4096, depth: 4, seed: 1 }
    }

    fn measure(load: Load, sectors: u64) -> Result<Run, RunError> {
        let limit = Limit { requests: 1000, time: None };
        run(&mut MemDisk::new(sectors), &mut StepClock::default(), load, limit, &|| false)
    }

    #[test]
    fn every_request_is_counted_once_and_a_mix_is_a_mix() {
        for pattern in Pattern::ALL {
            let run = measure(load(pattern), 1 << 12).unwrap();
            assert_eq!((run.requests(), run.bytes()), (1000, 4096 * 1000));
            let writes = run.written_bytes / 4096;
            match pattern.write_percent() {
                30 => assert!((250..350).contains(&writes), "{writes} of 1000"),
                percent => assert_eq!(writes, 10 * u64::from(percent)),
            }
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let run = Run { latencies_ns: (1..=1000).collect(), ..Run::default() };
        assert_eq!(
            [500, 990, 999, 1000].map(|rank| run.percentile_ns(rank)),
            [500, 990, 999, 1000]
        );
        let few = Run { latencies_ns: vec![5, 7], ..Run::default() };
        assert_eq!([500, 990, 999].map(|rank| few.percentile_ns(rank)), [5, 7, 7]);
        assert_eq!(Run::default().percentile_ns(500), 0);
    }

    #[test]
    fn what_cannot_be_run_says_so() {
        let large = Load { request_bytes: 1 << 20, ..load(Pattern::SeqRead) };
        assert!(matches!(measure(large, 8), Err(RunError::TooSmall { .. })));
        let limit = Limit { requests: u64::MAX, time: None };
        let stopped = run(
            &mut MemDisk::new(64),
            &mut StepClock::default(),
            load(Pattern::Mixed),
            limit,
            &|| true,
        );
        assert_eq!(stopped, Err(RunError::Stopped));
    }
}
