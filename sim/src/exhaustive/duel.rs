//! Two overlapping writes, and everything that can happen to them.
//!
//! Both are submitted together. From then on there is a tree of possibilities: whichever member
//! request is in flight may be answered next, and before each answer a member may die or the power
//! may fail, once. The tree is walked from leaf to leaf by running the same short history again
//! with the next choices. Metadata is answered at once and in order, so that the tree branches
//! where the two writes meet.
//!
//! At every leaf: both writes are answered, and what the array holds is what was there, then the
//! first, then the second write, in the order in which they were submitted; or, after a power cut,
//! old or new where a write was not answered. And the members agree.

use std::collections::BTreeMap;
use std::ops::Range;

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Durability, Fault, MemDisk, Op, Request, Tag,
};
use holdfast_core::buf::Payload;
use holdfast_core::time::{Clock, Instant};
use holdfast_raid::{Array, Config, Defects, MemberIo, Options, Sound, assemble_with, scan};

use super::{BASE, SECTOR, contents, disagreement, geometry};
use crate::recipe::Recipe;
use crate::rig::Rig;
use crate::world::VirtualClock;

/// Answers after which a history should long have ended.
const PATIENCE: usize = 10_000;

/// An array and two writes: first sector, sectors.
#[derive(Clone, Debug)]
pub struct Duel {
    /// The array.
    pub recipe: Recipe,
    /// The write that is submitted first.
    pub first: (u64, u64),
    /// The write that is submitted second.
    pub second: (u64, u64),
    /// Whether a member may die.
    pub deaths: bool,
}

/// How many leaves of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// Nothing failed.
    pub quiet: usize,
    /// A member died.
    pub deaths: usize,
    /// The power failed.
    pub cuts: usize,
}

/// Which branch was taken at each fork, and of how many.
#[derive(Debug, Default)]
struct Path {
    forks: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    /// The branch to take now.
    fn choose(&mut self, branches: usize) -> usize {
        if self.at == self.forks.len() {
            self.forks.push((0, branches));
        }
        let (branch, of) = self.forks[self.at];
        assert_eq!(of, branches, "the same choices lead to the same fork");
        self.at += 1;
        branch
    }

    /// Turns to the next leaf; false if this was the last.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((branch, of)) = self.forks.pop() {
            if branch + 1 < of {
                self.forks.push((branch + 1, of));
                return true;
            }
        }
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Death(usize),
    Cut,
}

/// The array in the middle of a duel.
struct Arena<X: Defects> {
    array: Array<X>,
    disks: Vec<MemDisk>,
    clock: VirtualClock,
    pending: Vec<MemberIo>,
    offsets: Vec<u64>,
    failure: Option<Failure>,
    answers: BTreeMap<u64, Result<(), Fault>>,
}

impl Duel {
    /// Walks the whole tree; its leaves, or the first that goes wrong.
    pub fn fight(&self) -> Result<Leaves, String> {
        self.fight_with(Sound)
    }

    /// The same with an engine that has planted defects.
    pub fn fight_with<X: Defects>(&self, defects: X) -> Result<Leaves, String> {
        let mut path = Path::default();
        let mut leaves = Leaves::default();
        loop {
            let failure = self.history(defects, &mut path).map_err(|what| {
                let branches: Vec<usize> = path.forks.iter().map(|(branch, _)| *branch).collect();
                format!("after {branches:?}: {what}")
            })?;
            match failure {
                None => leaves.quiet += 1,
                Some(Failure::Death(_)) => leaves.deaths += 1,
                Some(Failure::Cut) => leaves.cuts += 1,
            }
            if !path.advance() {
                return Ok(leaves);
            }
        }
    }

    fn history<X: Defects>(&self, defects: X, path: &mut Path) -> Result<Option<Failure>, String> {
        let mut arena = Arena::prepare(&self.recipe, defects)?;
        arena.submit(1, self.first);
        arena.submit(2, self.second);
        for _ in 0..PATIENCE {
            arena.drain();
            if arena.answers.len() == 2 {
                break;
            }
            if arena.failure.is_none() && arena.data_in_flight() > 0 {
                arena.failure = self.may_fail(path);
            }
            if arena.failure == Some(Failure::Cut) {
                self.judge_cut(arena)?;
                return Ok(Some(Failure::Cut));
            }
            arena.answer_one(path)?;
        }
        let failure = arena.failure;
        self.judge(arena)?;
        Ok(failure)
    }

    /// Whether something fails before the next answer, and what.
    fn may_fail(&self, path: &mut Path) -> Option<Failure> {
        let members = if self.deaths { self.recipe.members.len() } else { 0 };
        match path.choose(2 + members) {
            0 => None,
            1 => Some(Failure::Cut),
            member => Some(Failure::Death(member - 2)),
        }
    }

    fn range(write: (u64, u64)) -> Range<u64> {
        write.0..write.0 + write.1
    }

    /// Both writes are done: their order is the order of submission, also without the dead one.
    fn judge<X: Defects>(&self, mut arena: Arena<X>) -> Result<(), String> {
        let answers = std::mem::take(&mut arena.answers);
        if let Some((write, answer)) = answers.iter().find(|(_, answer)| answer.is_err()) {
            return Err(format!("write {write} is answered {answer:?}"));
        }
        if answers.len() < 2 {
            return Err("a write is never answered".to_owned());
        }
        let dead = match arena.failure {
            Some(Failure::Death(member)) => Some(member),
            _ => None,
        };
        arena.stop()?;
        let images: Vec<_> = (arena.disks.iter().enumerate())
            .map(|(member, disk)| (Some(member) != dead).then_some(disk.bytes()))
            .collect();
        if let Some(what) = disagreement(&self.recipe, &images).filter(|_| dead.is_none()) {
            return Err(what);
        }
        let alive = arena.disks.into_iter().enumerate().filter(|(member, _)| Some(*member) != dead);
        let disks = alive.map(|(_, disk)| disk).collect();
        let mut rig = Rig::open(disks, Config::default(), false).map_err(|e| e.to_string())?;
        self.read(&mut rig, &[(1, true), (2, true)])
    }

    /// The power has failed: unanswered writes may be there or not, but the members must agree.
    fn judge_cut<X: Defects>(&self, arena: Arena<X>) -> Result<(), String> {
        let answered = |write: u64| (write, arena.answers.get(&write).is_some_and(Result::is_ok));
        let answered = [answered(1), answered(2)];
        let opened = Rig::open(arena.disks, Config::default(), false);
        let mut rig = opened.map_err(|error| error.to_string())?;
        rig.settle();
        self.read(&mut rig, &answered)?;
        let disks = rig.stop();
        let images: Vec<_> = disks.iter().map(|disk| Some(disk.bytes())).collect();
        disagreement(&self.recipe, &images).map_or(Ok(()), Err)
    }

    /// Reads everything; a write that was answered must be there, unless a later one hides it.
    fn read(&self, rig: &mut Rig<MemDisk>, answered: &[(u64, bool); 2]) -> Result<(), String> {
        let seen = rig.read_all().map_err(|fault| format!("cannot be read: {fault}"))?;
        for (sector, bytes) in (0..).zip(seen.chunks_exact(SECTOR)) {
            let mut legal = vec![BASE];
            for (write, range) in [(0, Self::range(self.first)), (1, Self::range(self.second))] {
                if range.contains(&sector) {
                    let (version, sure) = answered[write];
                    if sure {
                        legal.clear();
                    }
                    legal.push(BASE + version as u32);
                }
            }
            if !legal.iter().any(|&version| contents(version, sector, 1) == bytes) {
                return Err(format!("sector {sector} holds none of the versions {legal:?}"));
            }
        }
        Ok(())
    }
}

impl<X: Defects> Arena<X> {
    /// An array full of known contents, idle and clean.
    fn prepare(recipe: &Recipe, defects: X) -> Result<Self, String> {
        let mut rig = Rig::start(recipe.disks());
        let all = (rig.size() / SECTOR) as u64;
        rig.write(0, &contents(BASE, 0, all)).map_err(|fault| fault.to_string())?;
        let mut disks = rig.stop();
        let mut clock = VirtualClock::default();
        let probes = scan(&mut disks, &mut clock);
        let array = assemble_with(probes, Config::default(), &Options::default(), defects);
        let array = array.map_err(|error| error.to_string())?;
        let (_, offsets) = geometry(recipe);
        let (pending, answers) = (Vec::new(), BTreeMap::new());
        Ok(Self { array, disks, clock, pending, offsets, failure: None, answers })
    }

    fn submit(&mut self, write: u64, (sector, sectors): (u64, u64)) {
        let data = contents(BASE + write as u32, sector, sectors);
        let op = Op::Write(Payload::from_slice(&data), Durability::Cached);
        let taken = self.array.submit(self.clock.now(), Request::new(Tag(write), sector, op));
        assert!(taken.is_ok(), "the queue has room for two");
    }

    /// Takes what the array wants and what it answers.
    fn drain(&mut self) {
        while let Some(io) = self.array.poll_member_io() {
            self.pending.push(io);
        }
        while let Some(Completion { tag, result, .. }) = self.array.poll_completion() {
            self.answers.insert(tag.0, result);
        }
    }

    fn is_data(&self, io: &MemberIo) -> bool {
        !matches!(io.request.op, Op::Flush) && io.request.sector >= self.offsets[io.member]
    }

    fn data_in_flight(&self) -> usize {
        self.pending.iter().filter(|io| self.is_data(io)).count()
    }

    /// Answers one request: the oldest of the metadata, else any.
    fn answer_one(&mut self, path: &mut Path) -> Result<(), String> {
        if self.pending.is_empty() {
            let due = self.array.poll_at().ok_or("nothing is due and nothing is answered")?;
            self.clock.wait(Some(due));
            self.array.handle_timeout(self.clock.now());
            return Ok(());
        }
        let metadata = self.pending.iter().position(|io| !self.is_data(io));
        let index = metadata.unwrap_or_else(|| path.choose(self.pending.len()));
        let MemberIo { member, request } = self.pending.remove(index);
        let done = if self.failure == Some(Failure::Death(member)) {
            request.complete(Err(Fault::Gone))
        } else {
            carry_out(&mut self.disks[member], request)
        };
        self.array.member_done(self.clock.now(), member, done);
        Ok(())
    }

    /// Stops the array in good order, everything in the order it comes.
    fn stop(&mut self) -> Result<(), String> {
        self.array.stop(self.clock.now());
        for _ in 0..PATIENCE {
            self.drain();
            if self.array.is_stopped() {
                return Ok(());
            }
            // The branches are over: whatever is first goes first.
            self.answer_one(&mut Path::default())?;
        }
        Err("never stops".to_owned())
    }
}

/// Has a disk in memory do something at once.
fn carry_out(disk: &mut MemDisk, request: Request) -> Completion {
    let mut done = Completions::new();
    assert!(disk.submit(request).is_ok(), "an idle disk takes a request");
    disk.poll(Instant::ZERO, &mut done);
    done.pop().expect("a disk in memory answers at once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_visits_every_leaf_once() {
        let mut path = Path::default();
        let mut leaves = Vec::new();
        loop {
            let first = path.choose(3);
            let second = if first == 1 { 0 } else { path.choose(2) };
            leaves.push((first, second));
            if !path.advance() {
                break;
            }
        }
        assert_eq!(leaves, [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]);
    }
}
