//! A device that fails as it is told.
//!
//! A [`Rule`] says *where* (a range of sectors), *what* (kinds of operation), *how* ([`Effect`])
//! and *for how long* ([`Lasts`]). Rules can be added and taken back while requests are in flight;
//! the first rule that applies decides. Beside the rules there are three switches for the device
//! as a whole: gone, read-only, full.
//!
//! A rule looks at a request when it is submitted; a stuck request meets the device when it is
//! released, however late that is. What the device did is counted in a [`Tally`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use holdfast_core::block::{
    BlockDevice, Completion, Completions, Fault, Geometry, Op, Request, Tag,
};
use holdfast_core::rng::Rng;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Instant;

use super::{Effect, Lasts, Rule};

/// What a faulty device did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered with an error on purpose.
    pub failed: u64,
    /// Writes that landed in part.
    pub torn: u64,
    /// Requests claimed to be done that were not.
    pub lost: u64,
    /// Writes that landed somewhere else.
    pub misdirected: u64,
    /// Reads answered with flipped bits.
    pub corrupted: u64,
    /// Requests held back.
    pub stuck: u64,
    /// Sectors healed by rewriting.
    pub healed_sectors: u64,
}

/// The name of a rule, with which it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(u64);

/// A device with faults.
#[derive(Debug)]
pub struct Faulty<D> {
    inner: D,
    rng: Rng,
    rules: Vec<(RuleId, Rule)>,
    next_rule: u64,
    gone: bool,
    read_only: bool,
    full: bool,
    stuck: Vec<Request>,
    /// Requests the device beneath had no room for.
    waiting: VecDeque<Request>,
    answers: Completions,
    /// Requests beneath, by the tag they have there.
    flights: BTreeMap<Tag, Flight>,
    torn: BTreeMap<Tag, Torn>,
    next_tag: u64,
    tally: Tally,
}

/// A request the device beneath is carrying out.
#[derive(Clone, Debug)]
struct Flight {
    /// The request of ours it serves.
    tag: Tag,
    sector: u64,
    /// What is special about it.
    turn: Turn,
}

/// What becomes of a request beneath.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// Its answer is ours.
    Whole,
    /// It is one block of a torn write.
    Part,
    /// It is a write that was meant for another place.
    Astray,
    /// These sectors of what is read are spoiled.
    Spoiled(Range<u64>),
}

/// A torn write some blocks of which are under way.
#[derive(Debug)]
struct Torn {
    request: Request,
    answer: Result<(), Fault>,
    left: u32,
}

impl<D: BlockDevice> Faulty<D> {
    /// A device without faults so far. `rng` decides what torn writes leave behind.
    pub fn new(inner: D, rng: Rng) -> Self {
        Self {
            inner,
            rng,
            rules: Vec::new(),
            next_rule: 0,
            gone: false,
            read_only: false,
            full: false,
            stuck: Vec::new(),
            waiting: VecDeque::new(),
            answers: Vec::new(),
            flights: BTreeMap::new(),
            torn: BTreeMap::new(),
            next_tag: 0,
            tally: Tally::default(),
        }
    }

    /// The device.
    pub const fn inner(&self) -> &D {
        &self.inner
    }

    /// The device.
    pub const fn inner_mut(&mut self) -> &mut D {
        &mut self.inner
    }

    /// Gives the device back. What is stuck never happens.
    pub fn into_inner(self) -> D {
        self.inner
    }

    /// Adds a rule after those there are.
    pub fn add(&mut self, rule: Rule) -> RuleId {
        let id = RuleId(self.next_rule);
        self.next_rule += 1;
        self.rules.push((id, rule));
        id
    }

    /// The rules in force; what a count or a rewrite has used up is gone.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|(_, rule)| rule)
    }

    /// Whether something of a rule is still in force.
    pub fn has(&self, id: RuleId) -> bool {
        self.rules.iter().any(|(other, _)| *other == id)
    }

    /// Takes a rule back; what is left of it, if a rewrite has cut it up.
    pub fn take_back(&mut self, id: RuleId) {
        self.rules.retain(|(other, _)| *other != id);
    }

    /// Takes all rules back. What is stuck stays stuck.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// From now on everything is answered with [`Fault::Gone`], what is stuck included.
    pub fn kill(&mut self) {
        self.gone = true;
        for request in std::mem::take(&mut self.stuck) {
            self.refuse(request, Fault::Gone);
        }
    }

    /// The device is back, with what it held when it went.
    pub const fn revive(&mut self) {
        self.gone = false;
    }

    /// Whether the device takes no writes.
    pub const fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
    }

    /// Whether the device has no room for writes.
    pub const fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Lets what is stuck go on: it reaches the device now, in the order in which it was asked.
    pub fn release(&mut self) {
        for request in std::mem::take(&mut self.stuck) {
            self.pass(request);
        }
    }

    /// Requests that are stuck.
    pub const fn stuck(&self) -> usize {
        self.stuck.len()
    }

    /// What was done so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    fn switch(&self, op: &Op) -> Option<Fault> {
        match () {
            () if self.gone => Some(Fault::Gone),
            () if self.read_only && op.is_write() => Some(Fault::ReadOnly),
            () if self.full && op.is_write() => Some(Fault::Full),
            () => None,
        }
    }

    /// The effect on a request, if any, and where; counted rules are used up by it.
    fn strike(&mut self, request: &Request) -> Option<(Effect, Range<u64>)> {
        let index = self.rules.iter().position(|(_, rule)| rule.applies(request))?;
        let rule = &mut self.rules[index].1;
        let struck = (rule.effect, rule.range.clone());
        if let Lasts::Times(times) = &mut rule.lasts {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.rules.remove(index);
            }
        }
        Some(struck)
    }

    fn refuse(&mut self, request: Request, fault: Fault) {
        self.tally.failed += 1;
        self.answers.push(request.complete(Err(fault)));
    }

    /// Hands a whole request to the device beneath.
    fn pass(&mut self, request: Request) {
        let (tag, sector) = (request.tag, request.sector);
        self.launch(Flight { tag, sector, turn: Turn::Whole }, request.op);
    }

    /// Sends a write so many sectors further on, around a range.
    fn lead_astray(&mut self, request: Request, by: u64, around: Range<u64>) {
        if !request.op.is_write() {
            return self.refuse(request, Fault::Medium);
        }
        self.tally.misdirected += 1;
        let block = self.geometry().block_sectors();
        let end = around.end.min(self.geometry().sectors);
        let start = around.start.min(request.sector);
        let room = end.saturating_sub(start + request.op.sectors()) / block + 1;
        let sector = start + ((request.sector - start + by) / block % room) * block;
        let (tag, turn) = (request.tag, Turn::Astray);
        self.launch(Flight { tag, sector, turn }, request.op);
    }

    /// Reads, and will flip bits in a range.
    fn spoil(&mut self, request: Request, range: Range<u64>) {
        let (tag, sector) = (request.tag, request.sector);
        let turn = match request.op {
            Op::Read(_) => Turn::Spoiled(range),
            _ => Turn::Whole,
        };
        self.launch(Flight { tag, sector, turn }, request.op);
    }

    fn launch(&mut self, flight: Flight, op: Op) {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.waiting.push_back(Request::new(tag, flight.sector, op));
        self.flights.insert(tag, flight);
        self.push_waiting();
    }

    fn push_waiting(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            if let Err(back) = self.inner.submit(request) {
                return self.waiting.push_front(back);
            }
        }
    }

    /// Lets a random subset of a write's blocks land, each by itself.
    fn tear(&mut self, request: Request, answer: Result<(), Fault>) {
        let Op::Write(data, durability) = &request.op else {
            return self.refuse(request, Fault::Medium);
        };
        self.tally.torn += 1;
        let (data, durability, tag) = (data.clone(), *durability, request.tag);
        let block = self.geometry().block_bytes as usize;
        let mut left = 0;
        for at in (0..data.len()).step_by(block) {
            if self.rng.below(2) == 0 {
                left += 1;
                let sector = request.sector + at as u64 / SECTOR_BYTES;
                let part = data.slice(at..(at + block).min(data.len()));
                let flight = Flight { tag, sector, turn: Turn::Part };
                self.launch(flight, Op::Write(part, durability));
            }
        }
        if left == 0 {
            self.answers.push(request.complete(answer));
        } else {
            let torn = Torn { request, answer, left };
            self.torn.insert(tag, torn);
        }
    }

    /// The device beneath has answered.
    fn landed(&mut self, done: Completion) -> Option<Completion> {
        let flight = self.flights.remove(&done.tag).expect("asked for");
        if done.op.is_write() && done.result.is_ok() && flight.turn != Turn::Astray {
            self.heal(flight.sector..flight.sector + done.op.sectors());
        }
        if flight.turn != Turn::Part {
            let mut answer = Completion { tag: flight.tag, ..done };
            if let (Turn::Spoiled(range), Op::Read(buf), Ok(())) =
                (&flight.turn, &mut answer.op, answer.result)
            {
                self.tally.corrupted += 1;
                flip_bits(buf, flight.sector, range);
            }
            return Some(answer);
        }
        let torn = self.torn.get_mut(&flight.tag).expect("has parts under way");
        torn.left -= 1;
        if torn.left > 0 {
            return None;
        }
        let torn = self.torn.remove(&flight.tag).expect("just seen");
        Some(torn.request.complete(torn.answer))
    }

    /// Sectors that were written can be read again.
    fn heal(&mut self, written: Range<u64>) {
        for (id, rule) in std::mem::take(&mut self.rules) {
            let from = rule.range.start.max(written.start);
            let until = rule.range.end.min(written.end);
            if rule.lasts != Lasts::UntilRewritten || from >= until {
                self.rules.push((id, rule));
                continue;
            }
            self.tally.healed_sectors += until - from;
            let rest = [rule.range.start..from, until..rule.range.end];
            let rest = rest.into_iter().filter(|range| !range.is_empty());
            self.rules.extend(rest.map(|range| (id, rule.clone().at(range))));
        }
    }
}

/// Flips bits in what was read from a sector on, where a range says so.
fn flip_bits(buf: &mut [u8], sector: u64, range: &Range<u64>) {
    let sectors = buf.chunks_mut(SECTOR_BYTES as usize).zip(sector..);
    for (bytes, _) in sectors.filter(|(_, sector)| range.contains(sector)) {
        bytes.iter_mut().step_by(37).for_each(|byte| *byte ^= 0x5a);
    }
}

impl<D: BlockDevice> BlockDevice for Faulty<D> {
    fn geometry(&self) -> Geometry {
        let inner = self.inner.geometry();
        Geometry { read_only: inner.read_only || self.read_only, ..inner }
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        let whole = self.flights.values().filter(|flight| flight.turn != Turn::Part).count();
        let held = whole + self.torn.len() + self.stuck.len() + self.answers.len();
        if held >= self.geometry().queue_depth as usize {
            return Err(request);
        }
        if let Some(fault) = self.switch(&request.op) {
            self.refuse(request, fault);
            return Ok(());
        }
        match self.strike(&request) {
            None => self.pass(request),
            Some((Effect::Fail(fault), _)) => self.refuse(request, fault),
            Some((Effect::Torn(answer), _)) => self.tear(request, answer),
            Some((Effect::Misdirected(by), range)) => self.lead_astray(request, by, range),
            Some((Effect::Corrupt, range)) => self.spoil(request, range),
            Some((Effect::Lost, _)) => {
                self.tally.lost += 1;
                self.answers.push(request.complete(Ok(())));
            }
            Some((Effect::Stuck, _)) => {
                self.tally.stuck += 1;
                self.stuck.push(request);
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.push_waiting();
        finished.append(&mut self.answers);
        let mut beneath = Vec::new();
        self.inner.poll(now, &mut beneath);
        for done in beneath {
            finished.extend(self.landed(done));
        }
        self.push_waiting();
    }

    fn poll_at(&self) -> Option<Instant> {
        match self.answers.is_empty() {
            true => self.inner.poll_at(),
            false => Some(Instant::ZERO),
        }
    }

    fn abandon(&mut self, tag: Tag) {
        let beneath = self.flights.iter().filter(|(_, flight)| flight.tag == tag);
        for tag in beneath.map(|(tag, _)| *tag).collect::<Vec<_>>() {
            self.inner.abandon(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decor::{Kinds, Latency, Slow};
    use crate::world::{VirtualClock, World};
    use holdfast_core::block::{Blocking, MemDisk, conformance};
    use holdfast_core::buf::Buf;
    use holdfast_core::time::Duration;

    fn disk() -> Faulty<MemDisk> {
        Faulty::new(MemDisk::new(1 << 10), World::new(1).rng(1))
    }

    fn blocking() -> Blocking<Faulty<MemDisk>, VirtualClock> {
        Blocking::new(disk(), World::new(1).clock())
    }

    #[test]
    fn meets_the_examiner() {
        conformance::examine(&mut disk(), &mut World::new(1).clock());
        let mut read_only = disk();
        read_only.set_read_only(true);
        conformance::examine(&mut read_only, &mut World::new(1).clock());
        let world = World::new(2);
        let latency = Latency::between(Duration::ZERO, Duration::from_millis(3));
        let geometry = Geometry { queue_depth: 2, block_bytes: 4096, ..Geometry::new(1 << 12) };
        let disk = MemDisk::with_geometry(geometry);
        let slow = Slow::new(disk, latency, world.rng(2));
        conformance::examine(&mut Faulty::new(slow, world.rng(1)), &mut world.clock());
    }

    #[test]
    fn a_latent_error_lasts_until_its_sectors_are_written() {
        let mut disk = blocking();
        disk.device_mut().add(Rule::latent(8..12));
        assert_eq!(disk.read_at(0, &mut [0; 8192]), Err(Fault::Medium));
        assert_eq!(disk.read_at(0, &mut [0; 4096]), Ok(()));
        disk.write_at(9 * 512, &[1; 512]).unwrap();
        assert_eq!(disk.read_at(9 * 512, &mut [0; 512]), Ok(()));
        assert_eq!(disk.read_at(8 * 512, &mut [0; 512]), Err(Fault::Medium));
        assert_eq!(disk.read_at(10 * 512, &mut [0; 512]), Err(Fault::Medium));
        disk.write_at(4096, &[1; 2048]).unwrap();
        assert_eq!(disk.read_at(4096, &mut [0; 4096]), Ok(()));
        let tally = disk.device().tally();
        assert_eq!((tally.failed, tally.healed_sectors), (3, 4));
        assert_eq!(disk.device().rules().count(), 0);
    }

    #[test]
    fn rules_name_their_kinds_and_wear_out() {
        let mut disk = blocking();
        let fails = Effect::Fail(Fault::Transport);
        disk.device_mut().add(Rule::new(Kinds::FLUSH, fails).times(2));
        disk.write_at(0, &[1; 512]).unwrap();
        assert_eq!(disk.flush(), Err(Fault::Transport));
        assert_eq!(disk.flush(), Err(Fault::Transport));
        assert_eq!(disk.flush(), Ok(()));
    }

    #[test]
    fn switches_cover_the_whole_device() {
        let mut disk = blocking();
        disk.device_mut().set_full(true);
        assert_eq!(disk.write_at(0, &[1; 512]), Err(Fault::Full));
        assert_eq!(disk.zero(0, 512), Err(Fault::Full));
        assert_eq!(disk.read_at(0, &mut [0; 512]), Ok(()));
        disk.device_mut().set_full(false);
        disk.device_mut().kill();
        assert_eq!(disk.read_at(0, &mut [0; 512]), Err(Fault::Gone));
        assert_eq!(disk.flush(), Err(Fault::Gone));
        disk.device_mut().revive();
        assert_eq!(disk.write_at(0, &[1; 512]), Ok(()));
    }

    #[test]
    fn a_lost_write_is_claimed_and_a_torn_one_lands_in_part() {
        let mut disk = blocking();
        let lost = Rule::new(Kinds::WRITE, Effect::Lost).times(1);
        disk.device_mut().add(lost);
        disk.write_at(0, &[1; 4096]).unwrap();
        assert!(disk.device().inner().bytes().iter().all(|&b| b == 0));
        let torn = Effect::Torn(Err(Fault::Timeout));
        disk.device_mut().add(Rule::new(Kinds::WRITE, torn).times(1));
        assert_eq!(disk.write_at(0, &[1; 16384]), Err(Fault::Timeout));
        let bytes = &disk.device().inner().bytes()[..16384];
        let landed = bytes.chunks(512).filter(|block| block[0] == 1).count();
        assert!((1..32).contains(&landed), "{landed}");
        assert!(
            bytes.chunks(512).all(|block| block.iter().all(|&b| b == block[0])),
            "blocks are atomic"
        );
        assert_eq!((disk.device().tally().lost, disk.device().tally().torn), (1, 1));
    }

    #[test]
    fn flipped_bits_are_read_until_their_sectors_are_written() {
        let mut disk = blocking();
        disk.write_at(0, &[7; 8192]).unwrap();
        disk.device_mut().add(Rule::corrupt(2..4));
        let read = |disk: &mut Blocking<Faulty<MemDisk>, VirtualClock>| {
            let mut seen = vec![0; 8192];
            disk.read_at(0, &mut seen).unwrap();
            let wrong = |(_, sector): &(usize, &[u8])| sector.iter().any(|&byte| byte != 7);
            let wrong = seen.chunks(512).enumerate().filter(wrong);
            wrong.map(|(sector, _)| sector).collect::<Vec<_>>()
        };
        assert_eq!(read(&mut disk), [2, 3]);
        disk.write_at(3 * 512, &[7; 512]).unwrap();
        assert_eq!(read(&mut disk), [2]);
        disk.write_at(2 * 512, &[7; 512]).unwrap();
        assert_eq!(read(&mut disk), [0; 0]);
        assert_eq!(disk.device().tally().corrupted, 2);
    }

    #[test]
    fn a_misdirected_write_stays_in_its_range_and_heals_nothing() {
        for (sector, by, lands) in [(8, 8, 16), (16, 8, 11), (8, 3, 11), (9, 1, 10), (20, 5, 12)] {
            let mut disk = blocking();
            disk.device_mut().add(Rule::latent(8..9));
            let astray = Rule::new(Kinds::WRITE, Effect::Misdirected(by)).at(8..24).times(1);
            let id = disk.device_mut().add(astray);
            disk.write_at(sector * 512, &[1; 2048]).unwrap();
            let bytes = disk.device().inner().bytes();
            let found = bytes.chunks(512).position(|sector| sector[0] == 1);
            assert_eq!(found, Some(lands), "{sector} by {by}");
            assert_eq!(bytes.iter().filter(|&&byte| byte == 1).count(), 2048);
            assert_eq!(disk.read_at(8 * 512, &mut [0; 512]), Err(Fault::Medium));
            disk.device_mut().take_back(id);
        }
    }

    #[test]
    fn a_rule_that_was_cut_up_is_taken_back_whole() {
        let mut disk = blocking();
        let id = disk.device_mut().add(Rule::latent(8..12));
        disk.write_at(9 * 512, &[1; 512]).unwrap();
        assert_eq!(disk.device().rules().count(), 2);
        disk.device_mut().take_back(id);
        assert_eq!(disk.read_at(0, &mut [0; 8192]), Ok(()));
    }

    #[test]
    fn a_stuck_request_is_answered_when_released() {
        let mut disk = disk();
        disk.add(Rule::new(Kinds::READ, Effect::Stuck).times(1));
        let read = |tag| Request::new(Tag(tag), 0, Op::Read(Buf::zeroed(512)));
        let mut finished = Vec::new();
        assert!(disk.submit(read(7)).is_ok() && disk.submit(read(8)).is_ok());
        disk.poll(Instant::ZERO, &mut finished);
        let tags = |finished: &Completions| finished.iter().map(|c| c.tag.0).collect::<Vec<_>>();
        assert_eq!((tags(&finished), disk.stuck()), (vec![8], 1));
        disk.release();
        disk.poll(Instant::ZERO, &mut finished);
        assert_eq!((tags(&finished), disk.stuck()), (vec![8, 7], 0));
    }
}
