//! Draws a script from a seed.
//!
//! Not every run should have everything in it: a campaign in which each kind of fault is now and
//! then absent and now and then dominant reaches more than one that mixes all of them evenly
//! (Groce et al., swarm testing, 2012). So every draw begins with weights, most of them wild and
//! many of them zero, for configurations, requests and faults alike.

use std::fmt;
use std::str::FromStr;

use holdfast_core::rng::Rng;
use holdfast_raid::Level;
use holdfast_raid::integrity::Scheme;
use holdfast_raid::superblock::Minor;

use crate::disk::{Latency, Silent};
use crate::ledger::Crash;
use crate::plan::{Class, Plan};
use crate::run::recipe;
use crate::script::{Act, Line, Mode, Pace, Script, Setup, Weather};

/// How large runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// At most 6 disks of 64 chunks of 4 KiB, 200 requests, 3 faults and one crash.
    Small,
    /// At most 12 disks of 4,096 chunks of 4 KiB, 2,000 requests, 8 faults and 4 crashes.
    Medium,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Medium => "medium",
        })
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "small" => Ok(Self::Small),
            "medium" => Ok(Self::Medium),
            _ => Err(format!("{name:?} is neither small nor medium")),
        }
    }
}

impl Profile {
    const fn most_disks(self) -> u64 {
        match self {
            Self::Small => 6,
            Self::Medium => 12,
        }
    }

    const fn most_chunks(self) -> u64 {
        match self {
            Self::Small => 64,
            Self::Medium => 4096,
        }
    }

    const fn most_requests(self) -> u64 {
        match self {
            Self::Small => 200,
            Self::Medium => 2000,
        }
    }

    const fn most_faults(self) -> u64 {
        match self {
            Self::Small => 3,
            Self::Medium => 8,
        }
    }

    const fn most_cuts(self) -> u64 {
        match self {
            Self::Small => 1,
            Self::Medium => 4,
        }
    }
}

/// The script of a seed, drawn from the whole swarm.
pub fn script(profile: Profile, mode: Mode, seed: u64) -> Script {
    planned(&Plan::swarm(profile, mode), seed)
}

/// The script of a seed, drawn from a plan.
///
/// # Panics
/// If the plan allows no array; see [`possible`].
pub fn planned(plan: &Plan, seed: u64) -> Script {
    let mut draw = Draw { rng: Rng::stream(seed, 0), profile: plan.profile, plan };
    let setup = draw.setup();
    let weather = draw.weather(plan.mode, seed);
    let lines = draw.lines(&setup, &weather);
    let mut script = Script { notes: Vec::new(), setup, weather, lines };
    guard(&mut script, plan, Rng::stream(seed, GUARD));
    throttle(&mut script, plan, Rng::stream(seed, PACE));
    renew(&mut script, plan, Rng::stream(seed, RENEWAL));
    log(&mut script.setup, plan);
    script
}

/// Gives members partial parity logs in place of a bitmap, if the plan asks for them and they take no
/// room from the data, where faults are to strike.
fn log(setup: &mut Setup, plan: &Plan) {
    if plan.array.ppl != Some(true) || setup.level != Level::Raid5 {
        return;
    }
    let logged = Setup { ppl: true, bitmap: 0, ..setup.clone() };
    let size = |setup: &Setup| recipe(setup).plan().map(|plan| plan.size).ok();
    if size(&logged) == size(&Setup { bitmap: 0, ..setup.clone() }) {
        *setup = logged;
    }
}

/// The stream of what has to do with the pace of passes.
const PACE: u64 = 2;

/// Slows passes down in one run of three; in some of these a crash is aimed at a rebuild: so much
/// time passes before it that the rebuild has come to a certain share of its way.
fn throttle(script: &mut Script, plan: &Plan, mut rng: Rng) {
    if rng.below(3) > 0 {
        return;
    }
    let busy = 64 << rng.below(8);
    script.weather.pace = Pace { busy, idle: busy << rng.below(6) };
    let acts = || script.lines.iter().map(|line| line.act);
    let cut = acts().position(|act| matches!(act, Act::Cut { .. }));
    let faults = acts().filter(|act| act.is_fault() && !matches!(act, Act::Cut { .. })).count();
    let most = plan.faults.most.unwrap_or_else(|| plan.profile.most_faults());
    let wanted = |class| plan.faults.weight(class) != Some(0);
    let Some(cut) = cut.filter(|_| {
        let room = (faults as u64) < most && script.setup.level.is_redundant();
        room && wanted(Class::FailMember) && wanted(Class::AddDisk) && rng.below(2) == 0
    }) else {
        return;
    };
    let disk = rng.below(script.setup.members as u64) as usize;
    script.lines[cut].after_us = rebuild_us(script, rng.below(112));
    for act in [Act::AddDisk, Act::FailMember { disk }] {
        script.lines.insert(cut, Line { after_us: 0, act });
    }
}

/// The stream of what operators do about members, apart from everything else.
const RENEWAL: u64 = 3;

/// Brings disks back that went out of service, in one run of two in which some do, and replaces
/// members in one of four.
fn renew(script: &mut Script, plan: &Plan, mut rng: Rng) {
    if !script.setup.level.is_redundant() {
        return;
    }
    let wanted = |class| plan.faults.weight(class) != Some(0);
    let somewhere = |script: &Script, rng: &mut Rng, from: usize| {
        from + rng.below((script.lines.len() - from) as u64 + 1) as usize
    };
    let members = script.setup.members as u64;
    if wanted(Class::Replace) && rng.below(4) == 0 {
        for _ in 0..=rng.below(2) {
            let (disk, at) = (rng.below(members) as usize, somewhere(script, &mut rng, 0));
            script.lines.insert(at, Line { after_us: rng.below(200), act: Act::Replace { disk } });
        }
    }
    if !wanted(Class::ReAdd) || rng.below(2) == 0 {
        return;
    }
    let mut from = 0;
    let taken_out = |lines: &[Line], from: usize| {
        let act = |(at, line): (usize, &Line)| takes_out(&line.act).map(|disk| (from + at, disk));
        lines[from..].iter().enumerate().find_map(act)
    };
    while let Some((at, disk)) = taken_out(&script.lines, from) {
        from = at + 1;
        let at = somewhere(script, &mut rng, from);
        // Now and then so much later that the bitmap has been at rest.
        let after_us = if rng.below(4) == 0 { 12_000_000 } else { rng.below(2000) };
        script.lines.insert(at, Line { after_us, act: Act::ReAdd { disk } });
        if matches!(script.lines[from - 1].act, Act::Vanish { .. }) {
            script
                .lines
                .insert(at, Line { after_us: rng.below(2000), act: Act::ComeBack { disk } });
        }
    }
}

/// The disk that an act may cost its membership, and leaves usable.
const fn takes_out(act: &Act) -> Option<usize> {
    match *act {
        Act::Vanish { disk } | Act::FailMember { disk } | Act::Stick { disk, .. } => Some(disk),
        _ => None,
    }
}

/// How long a rebuild takes until it has come to this share of its way, in percent.
fn rebuild_us(script: &Script, percent: u64) -> u64 {
    let Pace { busy, idle } = script.weather.pace;
    let kib = script.setup.disk_sectors * percent / 200;
    // The array counts as used for a tenth of a second after the last request.
    let at_first = kib.min(u64::from(busy) / 10);
    at_first * 1_000_000 / u64::from(busy) + (kib - at_first) * 1_000_000 / u64::from(idle)
}

/// The stream of what has to do with guards, apart from everything else: a plan without them draws
/// the same runs as before.
const GUARD: u64 = 1;

/// Puts guards before the members of one array in four, and silent faults against them.
fn guard(script: &mut Script, plan: &Plan, mut rng: Rng) {
    use Level::{Raid1, Raid4, Raid5, Raid6};
    let drawn = if rng.below(4) == 0 { *rng.pick(&Scheme::ALL[1..]) } else { Scheme::None };
    let scheme = plan.array.integrity.unwrap_or(drawn);
    let in_blocks = script.setup.chunk_sectors.is_multiple_of(8);
    if scheme == Scheme::None || !in_blocks {
        return;
    }
    // Versions need neighbours that are written together with a block.
    let lonely = !matches!(script.setup.level, Raid1 | Raid4 | Raid5 | Raid6);
    script.setup.integrity =
        if lonely && scheme == Scheme::Version { Scheme::Elsewhere } else { scheme };
    let most = plan.faults.most.unwrap_or(3).min(3);
    let wanted = |class| plan.faults.weight(class) != Some(0);
    for _ in 0..rng.below(most + 1) {
        let disk = rng.below(script.setup.members as u64) as usize;
        let (sector, sectors) = (rng.below(script.setup.disk_sectors), 1 + rng.below(12));
        let misdirected = Silent::Misdirected(1 + rng.below(40));
        let silent = *rng.pick(&[Silent::Lost, Silent::Torn, misdirected]);
        let act = match rng.below(2) {
            0 if wanted(Class::Misplace) => Act::Silent { disk, silent },
            1 if wanted(Class::Corrupt) => Act::Corrupt { disk, sector, sectors },
            _ => continue,
        };
        let at = rng.below(script.lines.len() as u64 + 1) as usize;
        script.lines.insert(at, Line { after_us: 0, act });
    }
}

/// Whether a plan allows any array at all.
pub fn possible(plan: &Plan) -> bool {
    let mut draw = Draw { rng: Rng::stream(0, 0), profile: plan.profile, plan };
    (0..ATTEMPTS).any(|_| is_array(&draw.any_setup()))
}

/// Draws after which there is no array to be found.
const ATTEMPTS: u32 = 1000;

fn is_array(setup: &Setup) -> bool {
    recipe(setup).plan().is_ok_and(|plan| plan.array_sectors > 0)
}

struct Draw<'p> {
    rng: Rng,
    profile: Profile,
    plan: &'p Plan,
}

const RAID5_LAYOUTS: [u32; 6] = [2, 2, 0, 1, 3, 5];
const RAID6_LAYOUTS: [u32; 8] = [2, 2, 0, 1, 3, 8, 10, 18];
const RAID10_LAYOUTS: [u32; 8] = [0x102, 0x102, 0x201, 0x1_0201, 0x103, 0x202, 0x301, 0x1_0301];

/// Requests, by weight.
#[derive(Debug)]
struct Mix {
    read: u64,
    write: u64,
    fua: u64,
    zero: u64,
    discard: u64,
    flush: u64,
    drain: u64,
    /// Longest request in sectors.
    longest: u64,
    /// Requests begin in the first so many sectors, mostly.
    hot: u64,
    aligned: bool,
    pause_us: u64,
}

impl Draw<'_> {
    fn one_in(&mut self, n: u64) -> bool {
        self.rng.below(n) == 0
    }

    /// Off in half of all runs, else anything from rare to frequent.
    fn weight(&mut self) -> u64 {
        if self.one_in(2) { 0 } else { 1 << self.rng.below(6) }
    }

    fn setup(&mut self) -> Setup {
        let mut setups = (0..ATTEMPTS).map(|_| self.any_setup());
        setups.find(is_array).expect("a plan that allows an array")
    }

    fn any_setup(&mut self) -> Setup {
        use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};
        const LEVELS: [Level; 12] =
            [Raid1, Raid1, Raid5, Raid5, Raid5, Raid6, Raid6, Raid10, Raid10, Raid4, Raid0, Linear];
        let wish = &self.plan.array;
        let levels = if wish.levels.is_empty() { &LEVELS[..] } else { &wish.levels };
        let level = *self.rng.pick(levels);
        let most = self.profile.most_disks();
        let least = match level {
            Raid6 => 4,
            Raid4 | Raid5 => 3,
            _ => 2,
        };
        let most_members = if level == Raid1 { most.min(4) } else { most };
        let members = self.rng.within(least..most_members + 1);
        let layout = match level {
            Raid5 => *self.rng.pick(&RAID5_LAYOUTS),
            Raid6 => *self.rng.pick(&RAID6_LAYOUTS),
            Raid10 => *self.rng.pick(&RAID10_LAYOUTS),
            _ => 0,
        };
        let chunk_sectors = match level {
            Raid1 => 0u32,
            _ => 8 << if self.one_in(4) { self.rng.below(4) } else { 0 },
        };
        let sectors = self.profile.most_chunks() * 8;
        let disk_sectors = (sectors >> self.rng.below(3)).max(128);
        let spares = if level.is_redundant() && members < most { self.rng.below(2) } else { 0 };
        let bitmap = level.is_redundant() && self.one_in(2);
        let bitmap = wish.bitmap.map_or(bitmap, |wanted| wanted && level.is_redundant());
        let chunk_sectors = wish.chunk_sectors.filter(|_| level != Raid1).unwrap_or(chunk_sectors);
        Setup {
            level,
            layout,
            members: wish.members.unwrap_or(members) as usize,
            spares: wish.spares.filter(|_| level.is_redundant()).unwrap_or(spares) as usize,
            chunk_sectors,
            disk_sectors: wish.disk_sectors.unwrap_or(disk_sectors),
            bitmap: if bitmap { 4096 << self.rng.below(4) } else { 0 },
            ppl: false,
            minor: *self.rng.pick(&[Minor::V1_2, Minor::V1_2, Minor::V1_1, Minor::V1_0]),
            synced: wish.synced.unwrap_or_else(|| !self.one_in(4)),
            integrity: Scheme::None,
        }
    }

    fn weather(&mut self, mode: Mode, seed: u64) -> Weather {
        let least = self.rng.below(4) as u32;
        let most = least + self.rng.below(12) as u32;
        let deadline_ms = if self.one_in(4) { 50 } else { 0 };
        let (latency, pace) = (Latency { least, most }, Pace::default());
        Weather { seed, mode, latency, deadline_ms, pace }
    }

    fn mix(&mut self, array_sectors: u64) -> Mix {
        Mix {
            read: self.weight() + 1,
            write: self.weight() + 4,
            fua: self.weight() / 4,
            zero: self.weight() / 4,
            discard: self.weight() / 8,
            flush: self.weight() / 2,
            drain: self.weight() / 4,
            longest: 1 << self.rng.below(7),
            hot: if self.one_in(2) { (array_sectors >> self.rng.below(6)).max(1) } else { 0 },
            aligned: self.one_in(2),
            pause_us: if self.one_in(3) { 0 } else { 1 << self.rng.below(12) },
        }
    }

    fn lines(&mut self, setup: &Setup, weather: &Weather) -> Vec<Line> {
        let array_sectors = recipe(setup).plan().map_or(1, |plan| plan.array_sectors);
        let mix = self.mix(array_sectors);
        let most = self.profile.most_requests();
        let requests = if self.one_in(2) { most } else { self.rng.within(most / 20..most) };
        let requests = self.plan.requests.unwrap_or(requests);
        let mut lines: Vec<Line> = (0..requests)
            .map(|_| {
                let act = self.request(&mix, array_sectors);
                let after_us = if mix.pause_us == 0 { 0 } else { self.rng.below(mix.pause_us) };
                Line { after_us, act }
            })
            .collect();
        for act in self.faults(setup, weather) {
            // Half of the faults come close together.
            let span = lines.len() as u64 + 1;
            let at = if self.one_in(2) { span / 2 + self.rng.below(span / 16 + 1) } else { span };
            let at = self.rng.below(at.max(1)).min(lines.len() as u64);
            lines.insert(at as usize, Line { after_us: 0, act });
        }
        lines
    }

    fn request(&mut self, mix: &Mix, array_sectors: u64) -> Act {
        let sectors = 1 + self.rng.below(mix.longest);
        let span = if mix.hot > 0 && !self.one_in(8) { mix.hot } else { array_sectors };
        let mut sector = self.rng.below(span.min(array_sectors));
        let mut sectors = sectors;
        if mix.aligned {
            sector = sector / 8 * 8;
            sectors = sectors.next_multiple_of(8);
        }
        let choices = [
            (mix.read, Act::Read { sector, sectors }),
            (mix.write, Act::Write { sector, sectors, fua: false }),
            (mix.fua, Act::Write { sector, sectors, fua: true }),
            (mix.zero, Act::Zero { sector, sectors }),
            (mix.discard, Act::Discard { sector, sectors }),
            (mix.flush, Act::Flush),
            (mix.drain, Act::Drain),
        ];
        self.weighted(&choices)
    }

    fn weighted(&mut self, choices: &[(u64, Act)]) -> Act {
        let all = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.rng.below(all);
        for (weight, act) in choices {
            if at < *weight {
                return *act;
            }
            at -= weight;
        }
        unreachable!("the weights sum up")
    }

    /// Faults and what operators do, in order.
    fn faults(&mut self, setup: &Setup, weather: &Weather) -> Vec<Act> {
        let mut acts = Vec::new();
        let weights: Vec<u64> = (0..16).map(|_| self.weight()).collect();
        let most = self.plan.faults.most.unwrap_or_else(|| self.profile.most_faults());
        for _ in 0..self.rng.below(most + 1) {
            acts.extend(self.fault(setup, weather, &weights));
        }
        let most = self.plan.faults.crashes.unwrap_or_else(|| self.profile.most_cuts());
        for _ in 0..self.rng.below(most + 1) {
            let crash = if self.one_in(3) { Crash::Kill } else { Crash::PowerCut };
            let steps = 1 + self.rng.below(1 << self.rng.clone().below(10));
            acts.push(Act::Cut { steps, crash, seed: self.rng.below(1000) });
        }
        if self.one_in(3) {
            acts.push(*self.rng.pick(&[Act::Restart, Act::Check, Act::Repair, Act::Settle]));
        }
        acts
    }

    fn fault(&mut self, setup: &Setup, weather: &Weather, weights: &[u64]) -> Vec<Act> {
        let disk = self.rng.below((setup.members + setup.spares) as u64) as usize;
        let sector = self.rng.below(setup.disk_sectors);
        let sectors = 1 + self.rng.below(12);
        let silent = match weather.mode {
            Mode::Within => 0,
            Mode::Beyond => 1,
        };
        let misdirected = Silent::Misdirected(8 * (1 + self.rng.below(20)));
        let lies = *self.rng.pick(&[Silent::Lost, Silent::Torn, misdirected]);
        let requests = 1 + self.rng.below(4) as u32;
        let times = 1 << self.rng.below(8);
        let drawn = [
            (weights[0] + 1, Class::Vanish, Act::Vanish { disk }),
            (weights[1], Class::ReadOnly, Act::ReadOnly { disk }),
            (weights[2], Class::FailMember, Act::FailMember { disk }),
            (weights[3] + 1, Class::Latent, Act::Latent { disk, sector, sectors }),
            (weights[4], Class::Dead, Act::Dead { disk, sector, sectors }),
            (weights[5], Class::Stick, Act::Stick { disk, requests }),
            (weights[6], Class::Slow, Act::Slow { disk, times }),
            (weights[7] / 2, Class::Full, Act::Full { disk, full: true }),
            (weights[8], Class::AddDisk, Act::AddDisk),
            (silent * weights[9] / 4, Class::Corrupt, Act::Corrupt { disk, sector, sectors }),
            (silent * weights[10] / 4, Class::Misplace, Act::Silent { disk, silent: lies }),
            (silent * weights[11] / 8, Class::Lie, Act::Lie { disk }),
        ];
        let choices = drawn
            .map(|(weight, class, act)| (self.plan.faults.weight(class).unwrap_or(weight), act));
        if choices.iter().all(|(weight, _)| *weight == 0) {
            return Vec::new();
        }
        let act = self.weighted(&choices);
        match act {
            Act::Vanish { .. } if self.one_in(3) => vec![act, Act::ComeBack { disk }],
            Act::Full { .. } if self.one_in(2) => vec![act, Act::Full { disk, full: false }],
            Act::FailMember { .. } if self.one_in(2) => vec![act, Act::AddDisk],
            _ => vec![act],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_script_and_its_text_reads_back() {
        for seed in 0..50 {
            for (profile, mode) in [(Profile::Small, Mode::Within), (Profile::Medium, Mode::Beyond)]
            {
                let one = script(profile, mode, seed);
                assert_eq!(one, script(profile, mode, seed));
                assert_eq!(one.to_string().parse(), Ok(one));
            }
        }
    }
}
