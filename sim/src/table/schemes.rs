//! One partial fault against a parity array under each integrity scheme.
//!
//! The bound is small and everything in it is tried: two data members and parity, two stripes of
//! one block a member; every sequence of three operations out of reads, writes of a block, writes
//! of a stripe, and a scrub; one fault at every place and moment. A write's fault strikes every
//! write of data in turn; a fault of the medium strikes every block and every seal before every
//! operation and after the last.
//!
//! A cell is *silent* if in any of these runs a reader is told wrong data without an error, while
//! it runs, at the end, or after one more member is gone. It *fails* if a reader or writer is told
//! of an error before that: one fault is not too much. What members remember in memory is
//! forgotten before every operation: the devices alone decide.

use std::fmt;
use std::rc::Rc;

use holdfast_core::block::MemDisk;
use holdfast_raid::integrity::{Guarded, Scheme, Shape, open};
use holdfast_raid::{Action, Config, Level, Options};
use rayon::prelude::*;

use super::shaky::{Mischief, Shaky, Shared};
use crate::recipe::Recipe;
use crate::rig::{Contents, Rig};
use crate::world::VirtualClock;

const MEMBERS: usize = 3;
const STRIPES: u64 = 2;
const BLOCK: usize = 4096;
/// Array blocks.
const BLOCKS: usize = 4;
/// First data sector of a member: room for a superblock and nothing else.
const DATA_SECTOR: u64 = 16;
const OPERATIONS: usize = 3;

/// A partial fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partial {
    /// A sector cannot be read.
    Latent,
    /// Bits flip.
    Corruption,
    /// A write lands in part.
    Torn,
    /// A write does not land.
    Lost,
    /// A write lands elsewhere.
    Misdirected,
}

impl Partial {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Latent, Self::Corruption, Self::Torn, Self::Lost, Self::Misdirected];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latent => "LSE",
            Self::Corruption => "corruption",
            Self::Torn => "torn",
            Self::Lost => "lost",
            Self::Misdirected => "misdirected",
        }
    }

    const fn mischiefs(self) -> &'static [Mischief] {
        match self {
            Self::Latent | Self::Corruption => &[],
            Self::Torn => &[Mischief::First, Mischief::Last],
            Self::Lost => &[Mischief::Lost],
            Self::Misdirected => &[Mischief::Misdirected],
        }
    }
}

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Never wrong data, never an error.
    Ok,
    /// Wrong data, without an error.
    Silent,
    /// Never wrong data, but errors.
    Fails,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Silent => "silent",
            Self::Fails => "fails",
        })
    }
}

/// What the fault model says.
pub const fn expected(scheme: Scheme, fault: Partial) -> Verdict {
    use Partial::{Corruption, Latent, Lost, Misdirected, Torn};
    match (scheme, fault) {
        (_, Latent)
        | (Scheme::VerifyIdentity | Scheme::Version | Scheme::Elsewhere, _)
        | (Scheme::Checksum | Scheme::Identity | Scheme::WriteVerify, Corruption | Torn)
        | (Scheme::WriteVerify, Lost) => Verdict::Ok,
        (Scheme::None, _)
        | (Scheme::Checksum | Scheme::Identity, Lost)
        | (Scheme::Checksum | Scheme::Identity | Scheme::WriteVerify, Misdirected) => {
            Verdict::Silent
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Under this scheme,
    pub scheme: Scheme,
    /// with this fault,
    pub fault: Partial,
    /// so many runs in which it struck
    pub runs: u64,
    /// handed on wrong data so often
    pub silent: u64,
    /// and answered with an error so often.
    pub failed: u64,
}

impl Cell {
    /// The verdict over all runs.
    pub const fn verdict(&self) -> Verdict {
        match (self.silent, self.failed) {
            (0, 0) => Verdict::Ok,
            (0, _) => Verdict::Fails,
            _ => Verdict::Silent,
        }
    }

    /// Whether it is what the model says.
    pub fn agrees(&self) -> bool {
        self.verdict() == expected(self.scheme, self.fault) && self.runs > 0
    }
}

/// Fills the whole table in. `thin` takes one sequence of operations in so many; 1 takes all.
pub fn fill(thin: usize) -> Vec<Cell> {
    let cells = Scheme::ALL.into_iter().flat_map(|scheme| {
        let template = Template::new(scheme);
        Partial::ALL.map(|fault| template.cell(fault, thin))
    });
    cells.collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read(usize),
    WriteBlock(usize),
    WriteStripe(usize),
    Scrub,
}

fn alphabet() -> Vec<Operation> {
    let blocks = || 0..BLOCKS;
    blocks()
        .map(Operation::Read)
        .chain(blocks().map(Operation::WriteBlock))
        .chain((0..STRIPES as usize).map(Operation::WriteStripe))
        .chain([Operation::Scrub])
        .collect()
}

/// Every sequence.
fn sequences() -> Vec<[Operation; OPERATIONS]> {
    let letters = alphabet();
    let n = letters.len();
    (0..n * n * n)
        .map(|number| [letters[number / n / n], letters[number / n % n], letters[number % n]])
        .collect()
}

/// A fault of the medium: before which operation, on which member's which place.
#[derive(Clone, Copy, Debug)]
struct Spot {
    before: usize,
    member: usize,
    block: u64,
    place: usize,
}

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug)]
enum Injected {
    Medium(Partial, Spot),
    Write(u32, Mischief),
}

/// The disks of an array with something on it, to be copied for every run.
struct Template {
    scheme: Scheme,
    shape: Shape,
    disks: Vec<Vec<u8>>,
    contents: Vec<u8>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The fault met nothing it could strike.
    Missed,
    Ok,
    Silent,
    Failed,
}

impl Template {
    fn new(scheme: Scheme) -> Self {
        let recipe = Recipe { data_offset: DATA_SECTOR, ..Recipe::of(Level::Raid5, MEMBERS) };
        let mut rig = Rig::<MemDisk>::start(recipe.sectors(STRIPES * 8).disks());
        let contents: Vec<u8> = (0..BLOCKS).flat_map(|block| content(block, 0)).collect();
        assert_eq!(rig.size(), contents.len());
        rig.write(0, &contents).expect("a healthy array takes writes");
        let plain: Vec<Vec<u8>> = rig.stop().iter().map(|d| d.copy().bytes().to_vec()).collect();
        let sectors = Shape::device_sectors(scheme, plain[0].len() as u64 / 512);
        let shape = Shape::of(scheme, sectors);
        let disks = (0..).zip(&plain).map(|(number, disk)| shape.sealed(number, disk)).collect();
        Self { scheme, shape, disks, contents }
    }

    fn cell(&self, fault: Partial, thin: usize) -> Cell {
        let some: Vec<_> = sequences().into_iter().enumerate().step_by(thin.max(1)).collect();
        let (runs, silent, failed) = some
            .into_par_iter()
            .map(|(number, operations)| self.sequence(number, operations, fault))
            .reduce(|| (0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
        Cell { scheme: self.scheme, fault, runs, silent, failed }
    }

    /// A sequence with the fault at every place: runs, silent ones, failed ones.
    fn sequence(
        &self,
        number: usize,
        operations: [Operation; OPERATIONS],
        fault: Partial,
    ) -> (u64, u64, u64) {
        let mut sum = (0, 0, 0);
        let mut count = |outcome: Outcome| {
            sum.0 += u64::from(outcome != Outcome::Missed);
            sum.1 += u64::from(outcome == Outcome::Silent);
            sum.2 += u64::from(outcome == Outcome::Failed);
        };
        for spot in self.spots().filter(|_| fault.mischiefs().is_empty()) {
            count(self.run(number, operations, Injected::Medium(fault, spot)));
        }
        for mischief in fault.mischiefs() {
            let mut write = 0;
            loop {
                let (outcome, writes) =
                    self.attempt(number, operations, Injected::Write(write, *mischief));
                count(outcome);
                write += 1;
                if write >= writes {
                    break;
                }
            }
        }
        sum
    }

    fn spots(&self) -> impl Iterator<Item = Spot> {
        let places = if self.scheme == Scheme::None { 1 } else { 2 };
        let all = (OPERATIONS + 1) * MEMBERS * STRIPES as usize * places;
        (0..all).map(move |number| Spot {
            place: number % places,
            block: (number / places) as u64 % STRIPES,
            member: number / places / STRIPES as usize % MEMBERS,
            before: number / places / STRIPES as usize / MEMBERS,
        })
    }

    fn run(&self, number: usize, operations: [Operation; 3], injected: Injected) -> Outcome {
        self.attempt(number, operations, injected).0
    }

    /// One run, and how many writes of data there were in it.
    fn attempt(
        &self,
        number: usize,
        operations: [Operation; OPERATIONS],
        injected: Injected,
    ) -> (Outcome, u32) {
        let shared = Rc::<Shared>::default();
        if let Injected::Write(at, mischief) = injected {
            shared.strike.set(Some((at, mischief)));
        }
        let mut trial = Trial::new(self, &shared);
        let mut outcome = trial.operations(operations, injected);
        let writes = shared.writes.get();
        if matches!(injected, Injected::Write(..)) && !shared.struck.get() {
            outcome = Outcome::Missed;
        } else if outcome == Outcome::Ok {
            outcome = trial.ending(number % MEMBERS);
        }
        (outcome, writes)
    }
}

/// A running array and what it should hold.
struct Trial {
    rig: Rig<Guarded<Shaky>>,
    contents: Vec<u8>,
    writes: usize,
    scheme: Scheme,
}

impl Trial {
    fn new(template: &Template, shared: &Rc<Shared>) -> Self {
        let shaky = |bytes: &Vec<u8>| {
            Shaky::new(bytes.clone(), template.shape, DATA_SECTOR / 8, Rc::clone(shared))
        };
        let disks = template.disks.iter().map(shaky).collect();
        let mut clock = VirtualClock::default();
        let members = open(disks, template.scheme, &mut clock);
        let config = Config { max_read_errors: u32::MAX, ..Config::default() };
        let rig = Rig::open_in(members, config, &Options::default(), clock);
        let rig = rig.expect("the array was stopped in good order");
        Self { rig, contents: template.contents.clone(), writes: 0, scheme: template.scheme }
    }

    fn operations(&mut self, operations: [Operation; OPERATIONS], injected: Injected) -> Outcome {
        for (at, operation) in operations.into_iter().enumerate() {
            self.inject(at, injected);
            match self.operation(operation) {
                Outcome::Ok => {}
                bad => return bad,
            }
        }
        self.inject(OPERATIONS, injected);
        Outcome::Ok
    }

    fn inject(&mut self, at: usize, injected: Injected) {
        self.forget();
        let Injected::Medium(fault, spot) = injected else { return };
        if spot.before != at {
            return;
        }
        let disk = self.rig.device(spot.member).inner_mut();
        let sector = disk.places(spot.block)[spot.place];
        match fault {
            Partial::Latent => disk.make_latent(sector),
            _ => disk.corrupt(sector),
        }
    }

    fn forget(&mut self) {
        if self.scheme == Scheme::Version {
            let mut clock = self.rig.clock();
            self.rig.device(0).forget();
            (0..MEMBERS).for_each(|member| self.rig.device(member).learn(&mut clock));
        }
    }

    fn operation(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Read(block) => self.read(block),
            Operation::WriteBlock(block) => self.write(block, 1),
            Operation::WriteStripe(stripe) => self.write(stripe * 2, 2),
            Operation::Scrub => {
                self.rig.run(Action::Repair { locate: false });
                Outcome::Ok
            }
        }
    }

    fn write(&mut self, block: usize, blocks: usize) -> Outcome {
        self.writes += 1;
        let data: Vec<u8> =
            (block..block + blocks).flat_map(|block| content(block, self.writes)).collect();
        self.contents[block * BLOCK..][..data.len()].copy_from_slice(&data);
        match self.rig.write(block * BLOCK, &data) {
            Ok(()) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        }
    }

    fn read(&mut self, block: usize) -> Outcome {
        match self.rig.read(block * BLOCK, BLOCK) {
            Ok(bytes) if bytes == self.contents[block * BLOCK..][..BLOCK] => Outcome::Ok,
            Ok(_) => Outcome::Silent,
            Err(_) => Outcome::Failed,
        }
    }

    /// Everything is read, then read again without one member: what was broken and not yet healed
    /// is then too much and may be an error, but not wrong.
    fn ending(&mut self, lose: usize) -> Outcome {
        self.forget();
        for block in 0..BLOCKS {
            match self.read(block) {
                Outcome::Ok => {}
                bad => return bad,
            }
        }
        if self.rig.array_mut().fail_member(lose).is_err() {
            return Outcome::Failed;
        }
        let wrong = (0..BLOCKS).any(|block| self.read(block) == Outcome::Silent);
        if wrong { Outcome::Silent } else { Outcome::Ok }
    }
}

/// What write number `version` puts into a block.
fn content(block: usize, version: usize) -> Vec<u8> {
    let word = |at: usize| ((block + 1) << 40 | (version + 1) << 20 | at) as u64;
    (0..BLOCK / 8).flat_map(|at| crate::disk::mix(word(at)).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thin sample of the sequences still fills every cell as the whole does.
    #[test]
    fn every_cell_is_what_the_model_says() {
        let cells = fill(37);
        assert_eq!(cells.len(), Scheme::ALL.len() * Partial::ALL.len());
        for cell in cells {
            assert!(cell.agrees(), "{cell:?}, expected {}", expected(cell.scheme, cell.fault));
        }
    }

    #[test]
    fn every_sequence_is_there_once() {
        let mut all: Vec<String> = sequences().iter().map(|it| format!("{it:?}")).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 11 * 11 * 11);
    }
}
