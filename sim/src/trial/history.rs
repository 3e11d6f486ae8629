//! What happens in a trial: drawn from a seed, or by proptest.

use holdfast_core::rng::Rng;

use super::Promise;
use crate::disk::Silent;
use crate::ledger::Crash;
use crate::script::{Act, Line};

/// How much happens at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests.
    pub requests: u64,
    /// Faults of disks.
    pub faults: u64,
    /// Power cuts and killed processes.
    pub crashes: u64,
    /// Whether disks also do wrong without an error: only for what can notice, or is only to end
    /// in good order.
    pub silent: bool,
    /// Whether each request waits for the one before: for what does not order those that overlap.
    pub one_by_one: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { requests: 60, faults: 3, crashes: 1, silent: false, one_by_one: false }
    }
}

impl Bounds {
    /// The history of a seed for a device of so many sectors.
    pub fn draw(&self, promise: &Promise, sectors: u64, seed: u64) -> Vec<Line> {
        let mut rng = Rng::stream(seed, STREAM);
        let requests = 1 + rng.below(self.requests.max(1));
        // Half of all histories keep to a few places, where requests meet.
        let span = if rng.below(2) == 0 { sectors } else { (sectors / 8).max(1) };
        let mut lines: Vec<Line> = (0..requests)
            .map(|_| Line { after_us: pause(&mut rng), act: request(&mut rng, span) })
            .collect();
        if self.one_by_one {
            let drain = Line { after_us: 0, act: Act::Drain };
            lines = lines.into_iter().flat_map(|line| [line, drain]).collect();
        }
        for _ in 0..rng.below(self.faults + 1) {
            for act in self.fault(&mut rng, promise) {
                insert(&mut rng, &mut lines, act);
            }
        }
        for _ in 0..rng.below(self.crashes + 1) {
            let crash = if rng.below(3) == 0 { Crash::Kill } else { Crash::PowerCut };
            let (steps, seed) = (1 + rng.below(1 << rng.clone().below(8)), rng.below(1000));
            insert(&mut rng, &mut lines, Act::Cut { steps, crash, seed });
        }
        lines
    }

    /// A fault, and perhaps its end.
    fn fault(&self, rng: &mut Rng, promise: &Promise) -> Vec<Act> {
        let disk = rng.below(promise.disks as u64) as usize;
        let (sector, sectors) = (rng.below(promise.disk_sectors), 1 + rng.below(8));
        let kinds = if self.silent { 9 } else { 6 };
        match rng.below(kinds) {
            0 => vec![Act::Vanish { disk }],
            1 => vec![Act::Vanish { disk }, Act::ComeBack { disk }],
            2 => vec![Act::Latent { disk, sector, sectors }],
            3 => vec![Act::Dead { disk, sector, sectors }],
            4 => vec![Act::Stick { disk, requests: 1 + rng.below(4) as u32 }],
            5 => vec![Act::Slow { disk, times: 1 << rng.below(6) }],
            6 => vec![Act::Corrupt { disk, sector, sectors }],
            7 => vec![Act::Silent { disk, silent: Silent::Lost }],
            _ => vec![Act::Lie { disk }],
        }
    }
}

/// The stream of a seed that decides the history.
const STREAM: u64 = 3;

fn pause(rng: &mut Rng) -> u64 {
    if rng.below(2) == 0 { 0 } else { rng.below(200) }
}

fn request(rng: &mut Rng, span: u64) -> Act {
    let (sector, sectors) = (rng.below(span), 1 + rng.below(8));
    match rng.below(10) {
        0..4 => Act::Write { sector, sectors, fua: false },
        4 => Act::Write { sector, sectors, fua: true },
        5 => Act::Zero { sector, sectors },
        6 => Act::Flush,
        7 => Act::Drain,
        _ => Act::Read { sector, sectors },
    }
}

/// Puts an act somewhere; what is inserted later comes later more often than not.
fn insert(rng: &mut Rng, lines: &mut Vec<Line>, act: Act) {
    let at = rng.below(lines.len() as u64 + 1).max(rng.below(lines.len() as u64 + 1));
    lines.insert(at as usize, Line { after_us: 0, act });
}

/// Strategies for [proptest](::proptest), which shrinks what fails by itself.
#[cfg(feature = "strategy")]
pub mod strategy {
    use ::proptest::collection::vec;
    use ::proptest::prelude::*;

    use super::{Act, Bounds, Crash, Line, Promise, Silent};

    /// Whole histories: requests, faults and crashes, as many as `bounds` allows, in any order.
    pub fn histories(
        bounds: Bounds,
        promise: &Promise,
        sectors: u64,
    ) -> impl Strategy<Value = Vec<Line>> + use<> {
        let most = |n: u64| 0..=n as usize;
        let requests = vec(requests(sectors), 1..=bounds.requests.max(1) as usize);
        let faults = vec(fault_at(bounds.silent, promise), most(bounds.faults));
        let crashes = vec((any::<prop::sample::Index>(), crash()), most(bounds.crashes));
        (requests, faults, crashes).prop_map(move |(mut lines, faults, crashes)| {
            if bounds.one_by_one {
                let drain = Line { after_us: 0, act: Act::Drain };
                lines = lines.into_iter().flat_map(|line| [line, drain]).collect();
            }
            for (at, act) in faults.into_iter().chain(crashes) {
                let at = at.index(lines.len() + 1);
                lines.insert(at, Line { after_us: 0, act });
            }
            lines
        })
    }

    /// Fault plans alone: what breaks, in order, for requests of one's own to be put between.
    pub fn faults(bounds: Bounds, promise: &Promise) -> impl Strategy<Value = Vec<Act>> + use<> {
        vec(fault(bounds.silent, promise), 0..=bounds.faults as usize)
    }

    fn fault_at(
        silent: bool,
        promise: &Promise,
    ) -> impl Strategy<Value = (prop::sample::Index, Act)> + use<> {
        (any::<prop::sample::Index>(), fault(silent, promise))
    }

    fn requests(all: u64) -> impl Strategy<Value = Line> {
        let act = prop_oneof![
            4 => (0..all, 1..9u64, any::<bool>())
                .prop_map(|(sector, sectors, fua)| Act::Write { sector, sectors, fua }),
            1 => (0..all, 1..9u64).prop_map(|(sector, sectors)| Act::Zero { sector, sectors }),
            2 => (0..all, 1..9u64).prop_map(|(sector, sectors)| Act::Read { sector, sectors }),
            1 => Just(Act::Flush),
            1 => Just(Act::Drain),
        ];
        (0..200u64, act).prop_map(|(after_us, act)| Line { after_us, act })
    }

    fn fault(silent: bool, promise: &Promise) -> impl Strategy<Value = Act> + use<> {
        let (disk, sector) = (0..promise.disks, 0..promise.disk_sectors);
        let spot = (disk.clone(), sector, 1..9u64);
        let noticed = prop_oneof![
            2 => disk.clone().prop_map(|disk| Act::Vanish { disk }),
            1 => disk.clone().prop_map(|disk| Act::ComeBack { disk }),
            2 => spot.clone()
                .prop_map(|(disk, sector, sectors)| Act::Latent { disk, sector, sectors }),
            1 => spot.clone()
                .prop_map(|(disk, sector, sectors)| Act::Dead { disk, sector, sectors }),
            1 => (disk.clone(), 1..5u32)
                .prop_map(|(disk, requests)| Act::Stick { disk, requests }),
            1 => (disk.clone(), 1..50u32).prop_map(|(disk, times)| Act::Slow { disk, times }),
        ];
        let unnoticed = prop_oneof![
            spot.prop_map(|(disk, sector, sectors)| Act::Corrupt { disk, sector, sectors }),
            disk.clone().prop_map(|disk| Act::Silent { disk, silent: Silent::Lost }),
            disk.prop_map(|disk| Act::Lie { disk }),
        ];
        prop_oneof![3 => noticed, u32::from(silent) => unnoticed]
    }

    fn crash() -> impl Strategy<Value = Act> {
        let kinds = prop_oneof![Just(Crash::PowerCut), Just(Crash::Kill)];
        (1..200u64, kinds, 0..1000u64).prop_map(|(steps, crash, seed)| Act::Cut {
            steps,
            crash,
            seed,
        })
    }
}
