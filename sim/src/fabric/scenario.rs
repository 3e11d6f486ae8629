//! What a seed means: a map, its fabric, what goes wrong when, and what users do.

use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::time::{Duration, Instant};
use holdfast_multipath::damping::Damping;
use holdfast_multipath::event::Kind;
use holdfast_multipath::group::Grouping;
use holdfast_multipath::path::Cache;
use holdfast_multipath::pattern::Pattern;
use holdfast_multipath::priority::Prioritizer;
use holdfast_multipath::selector::Selector;
use holdfast_multipath::settings::{Checker, Failback, Hedge, NoPath, Settings};

use super::path::Trouble;

/// How far the faults go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The last path and its controller stay well: users see no error and no long wait.
    Within,
    /// Anything may fail: no wrong byte, and what was promised for the worst.
    Beyond,
    /// Every path refuses writes from some moment on, and every check is good.
    AllGray,
}

/// Something that happens to the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A path's trouble begins or changes.
    Path(usize, Trouble),
    /// A path's connection breaks and can be made again.
    Reset(usize),
    /// A controller dies.
    Kill(usize),
    /// A controller works again.
    Revive(usize),
}

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Reads so many sectors.
    Read(u64, u64),
    /// Writes so many sectors, durable at once or not.
    Write(u64, u64, bool),
    /// Flushes.
    Flush,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How far the faults go.
    pub mode: Mode,
    /// What the map is told.
    pub settings: Settings,
    /// The controller of each path.
    pub controllers: Vec<usize>,
    /// Whose flush reaches a path's writes.
    pub cache: Cache,
    /// The disk's identity, where the transport knows one.
    pub wwid: Option<&'static str>,
    /// How long fences take, where there are any.
    pub fence_takes: Option<Duration>,
    /// What happens.
    pub mishaps: Vec<(Instant, Mishap)>,
    /// What users do.
    pub wishes: Vec<(Instant, Wish)>,
    /// When everything is mended.
    pub mended: Instant,
}

/// Sectors of the disk.
pub(super) const SECTORS: u64 = 192;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 0xFAB);
        let mode = match rng.below(8) {
            0..5 => Mode::Within,
            5..7 => Mode::Beyond,
            _ => Mode::AllGray,
        };
        let count = rng.within(2..5) as usize;
        let controllers: Vec<usize> = (0..count).map(|_| rng.below(2) as usize).collect();
        let length = 40_000 + rng.below(80_000);
        let mended = Instant::from_millis(length);
        let settings = settings(&mut rng, mode);
        let mishaps = mishaps(&mut rng, mode, &controllers, length);
        let wishes = wishes(&mut rng, length);
        Self {
            mode,
            settings,
            cache: if controllers.iter().all(|one| *one == controllers[0]) && rng.below(2) == 0 {
                Cache::Shared
            } else {
                Cache::Own
            },
            controllers,
            wwid: *rng.pick(&[None, Some("naa.shelf")]),
            fence_takes: *rng.pick(&[None, Some(ms(1)), Some(ms(700)), Some(ms(15_000))]),
            mishaps,
            wishes,
            mended,
        }
    }
}

fn settings(rng: &mut Rng, mode: Mode) -> Settings {
    let by_name = || {
        let weight = |name: &str, weight| Pattern::new(name).ok().map(|name| (name, weight));
        Prioritizer::Weighted(
            [weight("0$", 50), weight("1$", 50), weight(".", 10)].into_iter().flatten().collect(),
        )
    };
    Settings {
        polling_interval: ms(*rng.pick(&[500, 1000, 5000])),
        max_polling_interval: ms(20_000),
        checker: *rng.pick(&[Checker::Tur, Checker::Directio]),
        checker_timeout: ms(*rng.pick(&[1000, 5000])),
        reinstate_checks: 1 + rng.below(3) as u32,
        prioritizer: if rng.below(2) == 0 { Prioritizer::Const } else { by_name() },
        grouping: *rng.pick(&[Grouping::Failover, Grouping::Multibus, Grouping::ByPriority]),
        selector: *rng.pick(&Selector::ALL),
        rr_min_io: 1 + rng.below(4) as u32,
        failback: *rng.pick(&[
            Failback::Manual,
            Failback::Immediate,
            Failback::Followover,
            Failback::After(ms(3000)),
        ]),
        no_path: match (mode, rng.below(3)) {
            (Mode::AllGray, _) => NoPath::For(ms(10_000)),
            (_, 0) => NoPath::Queue,
            (Mode::Within, _) => NoPath::default(),
            (_, 1) => NoPath::Fail,
            _ => NoPath::For(ms(5000)),
        },
        deadline: Some(ms(2000)),
        flush_deadline: Some(ms(2000)),
        hedge: (rng.below(2) == 0).then(|| Hedge { min_samples: 8, ..Hedge::default() }),
        damping: if rng.below(2) == 0 { Damping::Off } else { Damping::default() },
        ..Settings::default()
    }
}

fn trouble(rng: &mut Rng) -> Trouble {
    let kind = *rng.pick(&Kind::ALL);
    match rng.below(7) {
        0 => Trouble::Broken,
        1 | 2 => Trouble::Hangs,
        3 => Trouble::Slow(ms(rng.below(1500))),
        4 => Trouble::Gray { kind, hangs: false },
        5 => Trouble::Gray { kind, hangs: true },
        _ => Trouble::Elsewhere,
    }
}

fn mishaps(
    rng: &mut Rng,
    mode: Mode,
    controllers: &[usize],
    length: u64,
) -> Vec<(Instant, Mishap)> {
    let at = |rng: &mut Rng| rng.within(1000..length - 5000);
    if mode == Mode::AllGray {
        let gray = Trouble::Gray { kind: Kind::Write, hangs: false };
        let from = Instant::from_millis(2000);
        return (0..controllers.len()).map(|path| (from, Mishap::Path(path, gray))).collect();
    }
    let spared = controllers.len() - 1;
    let mut list: Vec<(u64, Mishap)> = Vec::new();
    for _ in 0..rng.within(1..8) {
        let path = rng.below(controllers.len() as u64) as usize;
        let start = at(rng);
        let longest = *rng.pick(&[300, 4000, 30_000]);
        let end = start + 1 + rng.below(longest);
        if mode == Mode::Within && path == spared {
            continue;
        }
        match rng.below(8) {
            0 => list.push((start, Mishap::Reset(path))),
            1 => {
                // Flapping.
                let mut moment = start;
                while moment < end {
                    let half = 50 + rng.below(1500);
                    list.push((moment, Mishap::Path(path, Trouble::Broken)));
                    list.push((moment + half, Mishap::Path(path, Trouble::None)));
                    moment += 2 * half;
                }
            }
            2 => {
                let controller = controllers[path];
                if mode == Mode::Beyond || controller != controllers[spared] {
                    list.push((start, Mishap::Kill(controller)));
                    list.push((end, Mishap::Revive(controller)));
                }
            }
            _ => {
                let trouble = trouble(rng);
                list.push((start, Mishap::Path(path, trouble)));
                // One trouble may follow another.
                let again = rng.chance(Ratio::new(1, 3));
                let more = if again { self::trouble(rng) } else { Trouble::None };
                list.push((end, Mishap::Path(path, more)));
            }
        }
    }
    list.sort_by_key(|(at, _)| *at);
    list.into_iter().map(|(at, mishap)| (Instant::from_millis(at), mishap)).collect()
}

fn wishes(rng: &mut Rng, length: u64) -> Vec<(Instant, Wish)> {
    let hot = rng.below(SECTORS - 8);
    let reads = 1 + rng.below(6);
    let mut list: Vec<(u64, Wish)> = Vec::new();
    for _ in 0..rng.within(40..160) {
        let at = rng.within(0..length) * 1_000_000 + rng.below(1_000_000);
        let start = if rng.below(3) > 0 { hot + rng.below(6) } else { rng.below(SECTORS - 8) };
        let sectors = 1 + rng.below(4);
        let wish = match rng.below(10) {
            0 => Wish::Flush,
            n if n <= reads => Wish::Read(start, sectors),
            _ => Wish::Write(start, sectors, rng.below(8) == 0),
        };
        // Often, several come close together.
        for echo in 0..1 + rng.below(3) {
            list.push((at + echo * rng.below(3_000_000), wish));
        }
    }
    list.sort_by_key(|(at, _)| *at);
    list.into_iter().map(|(at, wish)| (Instant::from_nanos(at), wish)).collect()
}
