//! The array core: requests in, member I/O out, and back.
//!
//! # How a request travels
//!
//! A request is cut into *units*: a `piece` of a mirror or stripe (one contiguous range on each
//! of its copies) or a `band` of a parity stripe (rows in which every data member is written
//! whole or not at all). A unit takes its `locks`, passes the write *gate* (the array is marked
//! dirty and the region's bitmap bit is set, both durable), issues member I/O, and tells its
//! request when it is done. Passes over the whole array (`window`) are units too, so they obey
//! the same locks.
//!
//! # What holds always
//!
//! - A write is acknowledged only when the level holds it: every slot that missed it is recorded
//!   as failed, or the range is in its bad-block log, durably (*metadata before acknowledgement*).
//! - Nothing is read from a member that is not in sync, not rebuilt so far, or listed bad there.
//! - Every accepted request is answered exactly once.
//! - Memory is bounded by [`Config::cache_bytes`] and the queue depth, whatever the array's size.

mod band;
mod band_io;
mod control;
mod discard;
mod gather;
mod idle;
mod intent;
mod leg;
mod locks;
mod member;
mod meta;
mod pass;
mod piece;
mod plan;
mod ppl;
mod rejoin;
mod replace;
mod replay;
mod report;
mod rows;
mod shatter;
mod window;
mod window_io;

use std::collections::{BTreeMap, VecDeque};

use holdfast_core::block::{Completion, Durability, Fault, Geometry, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::{Key, Slab};
use holdfast_core::time::{Deadlines, Instant};

use crate::config::Config;
use crate::defects::{Defect, Defects, Sound};
use crate::event::Event;
use crate::layout::Layout;
use crate::ppl::Step;
use crate::status::WriteWays;
use crate::superblock::{BadBlocks, Name, Uuid};
use crate::sync::Action;

pub use control::{AddMember, Refusal};
pub(crate) use intent::Intent;
pub(crate) use member::{Member, State};
pub(crate) use meta::Meta;
pub use rejoin::{Return, Whole};

use band::Band;
use gather::Gathered;
use leg::{Narrow, Owner};
use locks::Locks;
use pass::Pass;
use piece::Piece;
use ppl::Logs;
use replay::Replay;
use window::Window;

/// A request to one member.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberIo {
    /// Device index, as given at assembly.
    pub member: usize,
    /// What to do there. The tag must come back with the completion.
    pub request: Request,
}

/// The units of work that take locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Piece(Key),
    Band(Key),
    Window(Key),
}

/// A request being carried out.
#[derive(Debug)]
struct UserOp {
    tag: Tag,
    sector: u64,
    kind: Kind,
    sectors: u64,
    /// Sectors for which units exist.
    issued: u64,
    /// Units (or member flushes) not done.
    left: u32,
    fault: Option<Fault>,
    /// Metadata generation that must be durable before the answer.
    gate: u64,
}

#[derive(Debug)]
enum Kind {
    Read(Buf),
    Write(Payload, Durability),
    Flush,
    Discard,
    Zero,
}

impl Kind {
    const fn is_write(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Flush)
    }
}

/// One member request in flight.
#[derive(Debug)]
struct Io {
    member: usize,
    /// First sector, from the start of the device.
    sector: u64,
    owner: Owner,
    is_read: bool,
    deadline: Option<Instant>,
}

/// Facts of the array that do not change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uuid: Uuid,
    pub(crate) name: Name,
    pub(crate) block_bytes: u32,
}

/// What is bad in parts is tried in blocks of so many sectors first, and then sector by sector.
const BLOCK_SECTORS: u64 = 8;

/// Stained ranges remembered one by one.
const MAX_STAINS: usize = 1024;

/// The core of an array. See the [module](self) for how it works and `core`'s crate documentation
/// for the rules every core keeps.
///
/// `X` says which [planted defects](crate::defects) it has. Real arrays are [`Sound`].
#[derive(Debug)]
pub struct Array<X: Defects = Sound> {
    defects: X,
    config: Config,
    identity: Identity,
    layout: Layout,
    members: Vec<Member>,
    /// The device that serves each slot.
    slots: Vec<Option<usize>>,
    /// The device that is to replace it.
    twins: Vec<Option<usize>>,
    now: Instant,

    /// Counts whatever comes from outside.
    inputs: u64,
    /// Inputs before a turn that asked nothing of any member: without another input another turn
    /// would not either.
    settled: u64,

    ops: Slab<UserOp>,
    /// Requests in `ops` that change what the array holds.
    writes: usize,
    /// Requests whose units do not all exist yet, oldest first.
    incoming: VecDeque<Key>,
    /// Writes to parity stripes that wait to be merged, by stripe.
    gathered: BTreeMap<u64, Gathered>,
    /// Write bands not finished, by stripe.
    busy: BTreeMap<u64, u32>,
    pieces: Slab<Piece>,
    bands: Slab<Band>,
    windows: Slab<Window>,
    narrows: Slab<Narrow>,
    locks: Locks<Unit>,
    /// Bytes reserved by units.
    reserved: u64,
    /// Units ready to go on.
    ready: VecDeque<Unit>,
    /// Units waiting at the write gate: bitmap ticket, metadata generation.
    gated: Vec<(Unit, u64, u64)>,
    /// Answers waiting for a metadata generation.
    held_back: Vec<Key>,

    ios: Slab<Io>,
    deadlines: Deadlines<Key>,
    out: VecDeque<MemberIo>,
    answers: VecDeque<Completion>,
    events: VecDeque<Event>,

    meta: Meta,
    intent: Option<Intent>,
    /// The partial parity logs, if there are any.
    logs: Option<Logs>,
    /// What is left to do of those an unclean stop has left.
    replay: Replay,
    /// Where redundancy stops being known good, while a resync is pending.
    resync_from: Option<u64>,
    /// Rows of a parity level whose parity is known to be wrong: a write reached only some members.
    stained: BadBlocks,
    /// Counts read errors that were healed: what could not be read before may be readable now.
    heals: u64,
    /// Like `resync_from`, noticed while a resync was already past it.
    resync_again: Option<u64>,
    pass: Option<Pass>,
    /// A pass was ended for a reason that starting it again would not mend.
    sync_held: bool,
    /// More is lost than the level bears.
    broken: bool,
    /// Bytes in doubt because the array was made to start dirty and degraded.
    at_risk_bytes: Option<u64>,
    /// How bands were written, for those who measure.
    ways: WriteWays,
    last_foreground: Option<Instant>,
    stopping: bool,
    stopped: bool,
}

/// What assembly hands over; see [`crate::assembly`].
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) layout: Layout,
    pub(crate) members: Vec<Member>,
    pub(crate) events: u64,
    pub(crate) clean: bool,
    pub(crate) intent: Option<Intent>,
    pub(crate) resync_from: Option<u64>,
    pub(crate) at_risk_bytes: Option<u64>,
    pub(crate) ppl: Option<Left>,
}

/// What was left of partial parity logs.
#[derive(Debug)]
pub(crate) struct Left {
    /// The newest generation there is.
    pub(crate) generation: u64,
    /// To be carried out.
    pub(crate) steps: Vec<Step>,
    /// Redundancy is good then.
    pub(crate) settles: bool,
}

impl<X: Defects> Array<X> {
    pub(crate) fn new(mut parts: Parts, defects: X) -> Self {
        // Whoever ran the array before may have died with writes answered and not flushed: they
        // sit in the members' caches, and nothing may be called durable or clean before they are
        // out.
        for member in &mut parts.members {
            member.unflushed =
                !parts.config.read_only && !defects.has(Defect::CachesForgottenAtStart);
        }
        let raid_disks = parts.layout.shape().raid_disks as usize;
        let mut slots = vec![None; raid_disks];
        let mut twins = vec![None; raid_disks];
        for (index, member) in parts.members.iter().enumerate() {
            match member.state {
                State::Replacing { slot, .. } => twins[slot as usize] = Some(index),
                _ => member.slot().into_iter().for_each(|slot| slots[slot as usize] = Some(index)),
            }
        }
        let (set, slot_count) = (parts.identity.uuid, slots.len());
        let members = &parts.members;
        let logs =
            parts.ppl.as_ref().map(|left| Logs::new(set, slot_count, members, left.generation));
        let replay = parts.ppl.map(|left| Replay::new(left.steps, left.settles));
        Self {
            defects,
            config: parts.config,
            identity: parts.identity,
            layout: parts.layout,
            members: parts.members,
            slots,
            twins,
            now: Instant::ZERO,
            inputs: 1,
            settled: 0,
            ops: Slab::new(),
            writes: 0,
            incoming: VecDeque::new(),
            gathered: BTreeMap::new(),
            busy: BTreeMap::new(),
            pieces: Slab::new(),
            bands: Slab::new(),
            windows: Slab::new(),
            narrows: Slab::new(),
            locks: Locks::new(),
            reserved: 0,
            ready: VecDeque::new(),
            gated: Vec::new(),
            held_back: Vec::new(),
            ios: Slab::new(),
            deadlines: Deadlines::new(),
            out: VecDeque::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            meta: Meta::new(parts.events, parts.clean),
            intent: parts.intent,
            logs,
            replay: replay.unwrap_or_default(),
            resync_from: parts.resync_from.filter(|_| !defects.has(Defect::ResyncForgotten)),
            stained: BadBlocks::default(),
            heals: 0,
            resync_again: None,
            pass: None,
            sync_held: false,
            broken: false,
            at_risk_bytes: parts.at_risk_bytes,
            ways: WriteWays::default(),
            last_foreground: None,
            stopping: false,
            stopped: false,
        }
    }

    /// The array as a device.
    pub fn geometry(&self) -> Geometry {
        // A parity level discards whole stripes only and so promises nothing.
        let mapped = matches!(self.layout, Layout::Mapped(_));
        let discard_zeroes = mapped && self.zeroes_on_discard();
        let optimal = match &self.layout {
            Layout::Parity(parity) => parity.chunk_sectors().saturating_mul(parity.data_members()),
            Layout::Mapped(mapped) => mapped.shape().chunk_sectors,
        };
        Geometry {
            sectors: self.layout.array_sectors(),
            block_bytes: self.identity.block_bytes,
            queue_depth: self.config.queue_depth,
            optimal_sectors: optimal,
            discard_zeroes,
            read_only: self.config.read_only,
        }
    }

    /// Takes a request, or hands it back when the queue is full or the array is stopping.
    pub fn submit(&mut self, now: Instant, request: Request) -> Result<(), Request> {
        self.advance(now);
        if self.ops.len() + self.answers.len() >= self.config.queue_depth as usize {
            return Err(request);
        }
        if self.stopping {
            self.answers.push_back(request.complete(Err(Fault::Refused)));
            return Ok(());
        }
        let checked = self.geometry().check(&request);
        if checked.is_err() || (request.op.bytes() == 0 && !matches!(request.op, Op::Flush)) {
            self.answers.push_back(request.complete(checked));
            return Ok(());
        }
        let sectors = request.op.sectors();
        let kind = match request.op {
            Op::Read(buf) => Kind::Read(buf),
            Op::Write(data, durability) => Kind::Write(data, durability),
            Op::Flush => Kind::Flush,
            Op::Discard(_) => Kind::Discard,
            Op::Zero(_) => Kind::Zero,
        };
        self.last_foreground = Some(self.now);
        self.writes += usize::from(kind.is_write());
        let op = UserOp {
            tag: request.tag,
            sector: request.sector,
            kind,
            sectors,
            issued: 0,
            left: 0,
            fault: None,
            gate: 0,
        };
        let key = self.ops.insert(op);
        self.incoming.push_back(key);
        Ok(())
    }

    /// The next request for a member. Draining this is what makes the array work: requests
    /// submitted before are cut and merged here.
    pub fn poll_member_io(&mut self) -> Option<MemberIo> {
        if self.out.is_empty() && self.settled < self.inputs {
            self.turn();
        }
        self.out.pop_front()
    }

    /// Takes a member's answer.
    pub fn member_done(&mut self, now: Instant, member: usize, completion: Completion) {
        self.advance(now);
        let key = Key::from_bits(completion.tag.0);
        let device = &mut self.members[member];
        device.in_flight -= 1;
        // A flush covers what had completed when it was sent, so a write counts from its answer.
        let durable = matches!(completion.op, Op::Write(_, Durability::Fua));
        if completion.op.is_write() && !durable {
            device.unflushed = true;
        }
        if matches!(completion.op, Op::Flush) {
            device.flushing -= 1;
            device.clogged &= completion.result.is_err();
        }
        // An answer nobody waits for any more comes from a request that was given up.
        let Some(io) = self.ios.remove(key) else {
            return;
        };
        assert_eq!(io.member, member, "the answer comes from the member that was asked");
        if let Some(deadline) = io.deadline {
            self.deadlines.clear(deadline, key);
        }
        self.answered(io, completion.op, completion.result);
    }

    /// The next answer to a request.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.answers.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some(key) = self.deadlines.expire(now) {
            self.missed_deadline(key);
        }
        self.turn();
    }

    /// When [`Array::handle_timeout`] is wanted next.
    pub fn poll_at(&self) -> Option<Instant> {
        [self.deadlines.next(), self.meta_due(), self.intent_due(), self.pass_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the discarded sectors of every member there is read as zeros. A missing one is
    /// rebuilt from the others, so it takes no promise back that was given before it went.
    fn zeroes_on_discard(&self) -> bool {
        let promises = |slot: &Option<usize>| {
            slot.is_none_or(|member| self.members[member].geometry.discard_zeroes)
        };
        self.slots.iter().chain(&self.twins).all(promises)
    }

    fn advance(&mut self, now: Instant) {
        assert!(now >= self.now, "time never goes backward");
        self.now = now;
        self.inputs += 1;
    }

    /// Goes on until nothing can go on without an answer from outside.
    fn turn(&mut self) {
        if !self.step_replay() {
            return;
        }
        loop {
            self.start_incoming();
            self.step_logs();
            self.step_meta();
            self.step_intent();
            self.open_gates();
            let passing = self.pass.is_some();
            self.step_pass();
            let mut worked = false;
            while let Some(unit) = self.ready.pop_front() {
                worked = true;
                self.run(unit);
            }
            if worked || !self.incoming.is_empty() && self.has_room() {
                continue;
            }
            self.step_stop();
            // What was asked of the metadata in this round starts in this round: nobody may come
            // by again.
            if !self.meta.can_update() && self.pass.is_some() == passing {
                if self.out.is_empty() {
                    self.settled = self.inputs;
                }
                return;
            }
        }
    }

    fn run(&mut self, unit: Unit) {
        match unit {
            Unit::Piece(key) => self.run_piece(key),
            Unit::Band(key) => self.run_band(key),
            Unit::Window(key) => self.run_window(key),
        }
    }

    /// Whether another unit fits into the memory budget. One always does.
    fn has_room(&self) -> bool {
        self.reserved == 0 || self.reserved < self.config.cache_bytes
    }

    fn start_incoming(&mut self) {
        while let Some(&key) = self.incoming.front() {
            if !self.has_room() {
                break;
            }
            match self.ops[key].kind {
                Kind::Flush => self.start_flush(key),
                _ if self.broken && !matches!(self.ops[key].kind, Kind::Read(_)) => {
                    let op = &mut self.ops[key];
                    op.issued = op.sectors;
                    op.fault = Some(Fault::Gone);
                }
                // Forgotten by some members only, or read back as anything, members would differ.
                Kind::Discard if !self.zeroes_on_discard() => {
                    let op = &mut self.ops[key];
                    op.issued = op.sectors;
                }
                Kind::Discard if matches!(self.layout, Layout::Parity(_)) => {
                    self.cut_discard(key);
                }
                _ => match &self.layout {
                    Layout::Mapped(_) => self.cut_piece(key),
                    Layout::Parity(_) => self.cut_band(key),
                },
            }
            let op = &self.ops[key];
            if op.issued == op.sectors {
                self.incoming.pop_front();
                self.finish_if_done(key);
            }
        }
        self.dispatch_gathered();
    }

    /// An array's flush covers every member that took a write since its last flush. What the
    /// metadata is about to say of members that missed writes is part of what it makes durable.
    fn start_flush(&mut self, key: Key) {
        self.ops[key].gate = self.meta.wanted();
        if self.members.iter().any(|member| member.lost && member.needs_flush()) {
            self.ops[key].fault = Some(Fault::Gone);
        }
        if self.defects.has(Defect::AckBeforeFlush) {
            return;
        }
        for member in 0..self.members.len() {
            if self.members[member].needs_flush() && self.members[member].is_writable() {
                self.members[member].unflushed = false;
                self.ops[key].left += 1;
                self.issue(member, 0, Op::Flush, Owner::Flush(key));
                if self.defects.has(Defect::FlushAsksOneMember) {
                    return;
                }
            }
        }
    }

    fn flushed(&mut self, op: Key, member: usize, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.members[member].unflushed = true;
            if fault == Fault::Full {
                self.cannot_flush(member);
                self.stain_undurable();
                self.ops[op].fault.get_or_insert(fault);
            } else if !self.fail(member, crate::event::FailReason::Flush(fault)) {
                self.ops[op].fault.get_or_insert(fault);
            }
            self.ops[op].gate = self.meta.wanted();
        } else if self.defects.has(Defect::FlushCoversLateWrites) {
            self.members[member].unflushed = false;
        }
        self.unit_done(op, Ok(()));
    }

    /// A member has no room to make durable what it took. That is nobody's defect; but as long as
    /// it is so, nothing may be called clean.
    fn cannot_flush(&mut self, member: usize) {
        self.members[member].unflushed = true;
        self.members[member].clogged = true;
        self.events.push_back(Event::NoSpace { member, sector: 0, sectors: 0 });
    }

    /// Whether some member has no room to make durable what it took.
    fn is_clogged(&self) -> bool {
        self.members.iter().any(|member| member.clogged && member.is_writable())
    }

    /// What was written since the last flush may be gone from one member: it stays marked for
    /// resync. Without a bitmap nobody knows where that is.
    fn stain_undurable(&mut self) {
        if !self.layout.shape().level.is_redundant() {
            return;
        }
        let first = self.intent.as_mut().map_or(Some(0), Intent::pin_all_set);
        if let Some(first) = first {
            self.stain(first, first);
        }
        // Trying again at once would find it as full.
        self.sync_held = true;
    }

    /// Sends a request to a member. `sector` counts from the start of the device.
    fn issue(&mut self, member: usize, sector: u64, op: Op, owner: Owner) -> Key {
        let is_read = matches!(op, Op::Read(_));
        let device = &mut self.members[member];
        device.in_flight += 1;
        if is_read {
            device.stream_end = sector + op.sectors();
        } else if matches!(op, Op::Flush) {
            device.flushing += 1;
        }
        let deadline = self.config.member_deadline.map(|span| self.now + span);
        let key = self.ios.insert(Io { member, sector, owner, is_read, deadline });
        if let Some(at) = deadline {
            self.deadlines.set(at, key);
        }
        let request = Request::new(Tag(key.to_bits()), sector, op);
        self.out.push_back(MemberIo { member, request });
        key
    }

    /// One unit of a request is done.
    fn unit_done(&mut self, key: Key, result: Result<(), Fault>) {
        let op = &mut self.ops[key];
        op.left -= 1;
        if let Err(fault) = result {
            op.fault.get_or_insert(fault);
        }
        self.finish_if_done(key);
    }

    fn finish_if_done(&mut self, key: Key) {
        let op = &self.ops[key];
        if op.left > 0 || op.issued < op.sectors {
            return;
        }
        if op.gate > self.meta.durable() && !self.defects.has(Defect::AnswerBeforeMetadata) {
            self.held_back.push(key);
            return;
        }
        let op = self.ops.remove(key).expect("just seen");
        self.writes -= usize::from(op.kind.is_write());
        let result = op.fault.map_or(Ok(()), Err);
        let answer = match op.kind {
            Kind::Read(buf) => Op::Read(buf),
            Kind::Write(data, durability) => Op::Write(data, durability),
            Kind::Flush => Op::Flush,
            Kind::Discard => Op::Discard(op.sectors),
            Kind::Zero => Op::Zero(op.sectors),
        };
        self.last_foreground = Some(self.now);
        self.answers.push_back(Completion { tag: op.tag, op: answer, result });
    }

    /// Whether redundancy of a range in lock space is known to be right.
    fn trusted(&self, start: u64, end: u64) -> bool {
        let Some(from) = self.unsettled_from() else {
            return true;
        };
        if end <= from {
            return true;
        }
        self.intent.as_ref().is_some_and(|intent| !intent.needs_sync(start..end))
    }

    /// Where redundancy stops being known good.
    fn unsettled_from(&self) -> Option<u64> {
        self.resync_from.into_iter().chain(self.resync_again).min()
    }

    /// Marks a range as in need of resync: members differ there and cannot be made to agree now.
    fn stain(&mut self, start: u64, end: u64) {
        if let Some(intent) = &mut self.intent {
            intent.pin(start..end);
        }
        let target = match &self.pass {
            Some(pass) if matches!(pass.action(), Action::Resync | Action::Repair { .. }) => {
                &mut self.resync_again
            }
            _ => &mut self.resync_from,
        };
        *target = Some(target.map_or(start, |from| from.min(start)));
        self.meta.request();
    }

    /// Parity of these rows is known to be wrong until a resync has been by.
    fn distrust_parity(&mut self, start: u64, end: u64) {
        self.stained.add(start..end);
        if self.stained.iter().count() > MAX_STAINS {
            // Too many to remember one by one: everything between the first and the last.
            let first = self.stained.iter().next().map_or(start, |range| range.start);
            let last = self.stained.iter().last().map_or(end, |range| range.end);
            self.stained.add(first..last);
        }
    }

    /// Whether the member on a slot holds the slot's data in full.
    fn is_served(&self, slot: Option<usize>) -> bool {
        slot.is_some_and(|member| {
            let member = &self.members[member];
            !member.lost && matches!(member.state, State::InSync { .. })
        })
    }

    /// Slots whose member holds their data in full.
    fn present(&self) -> Vec<bool> {
        self.slots.iter().map(|slot| self.is_served(*slot)).collect()
    }

    /// Whether some slot has no member in sync.
    fn is_degraded(&self) -> bool {
        !self.slots.iter().all(|slot| self.is_served(*slot))
    }

    /// The device on a slot, unless it is lost.
    fn member_on(&self, slot: u32) -> Option<usize> {
        self.slots[slot as usize].filter(|&member| !self.members[member].lost)
    }

    fn release(&mut self, lock: Key, bytes: u64) {
        self.reserved -= bytes;
        let mut granted = Vec::new();
        self.locks.release(lock, &mut granted);
        for (lock, unit) in granted {
            self.grant(unit, lock);
        }
    }

    fn grant(&mut self, unit: Unit, lock: Key) {
        match unit {
            Unit::Piece(key) => self.pieces[key].start(lock, self.heals),
            Unit::Band(key) => self.bands[key].start(lock, self.heals),
            Unit::Window(key) => self.windows[key].lock = Some(lock),
        }
        self.ready.push_back(unit);
    }

    /// Takes a unit's lock now or queues it.
    fn lock(&mut self, start: u64, end: u64, mut mode: locks::Mode, unit: Unit) {
        if self.defects.has(Defect::WritesUnordered) {
            mode = locks::Mode::Shared;
        }
        if let Some((lock, unit)) = self.locks.acquire(start..end, mode, unit) {
            self.grant(unit, lock);
        }
    }

    /// Lets a write unit through if the array is marked dirty and the region's bit is set, both
    /// durably; otherwise sees to it and runs the unit again then.
    fn pass_gate(&mut self, unit: Unit, start: u64, end: u64) -> bool {
        let generation = self.ensure_dirty();
        let ticket = self.intent.as_mut().map_or(0, |intent| intent.begin(start..end));
        if self.gate_open(ticket, generation) {
            return true;
        }
        self.gated.push((unit, ticket, generation));
        false
    }

    fn gate_open(&self, ticket: u64, generation: u64) -> bool {
        (self.meta.is_on_record(generation) || self.defects.has(Defect::DirtyMarkNotAwaited))
            && (self.intent.as_ref().is_none_or(|intent| ticket <= intent.durable())
                || self.defects.has(Defect::BitNotAwaited))
    }

    fn open_gates(&mut self) {
        if !self.gated.is_empty() {
            let waiting = std::mem::take(&mut self.gated);
            for (unit, ticket, generation) in waiting {
                let refused = self.intent.as_ref().is_some_and(|i| i.has_refused(ticket));
                if self.gate_open(ticket, generation) {
                    self.ready.push_back(unit);
                } else if refused {
                    self.refuse(unit, Fault::Full);
                } else if self.meta.is_lost() {
                    self.refuse(unit, Fault::Gone);
                } else {
                    self.gated.push((unit, ticket, generation));
                }
            }
        }
        if !self.held_back.is_empty() {
            for key in std::mem::take(&mut self.held_back) {
                self.finish_if_done(key);
            }
        }
    }

    /// A write whose region cannot be marked, or of which no superblock would tell, is not begun.
    fn refuse(&mut self, unit: Unit, fault: Fault) {
        match unit {
            Unit::Piece(key) => self.refuse_piece(key, fault),
            Unit::Band(key) => self.refuse_band(key, fault),
            Unit::Window(_) => unreachable!("windows do not wait at the gate"),
        }
    }

    /// The write of a region is over; its bit may be cleared in time.
    fn end_write(&mut self, start: u64, end: u64) {
        if let Some(intent) = &mut self.intent {
            intent.end(start..end, self.now);
        }
        self.meta.touch(self.now);
    }

    /// Into pieces of how many sectors a range is cut that does not succeed as a whole: blocks, then
    /// the array's own blocks, mostly single sectors; `None` if it is no larger than that.
    fn finer_grain(&self, range: &std::ops::Range<u64>) -> Option<u64> {
        let unit = u64::from(self.identity.block_bytes) / SECTOR_BYTES;
        let crosses = |grain: u64| range.start / grain < (range.end - 1) / grain;
        [BLOCK_SECTORS.max(unit), unit].into_iter().find(|&grain| crosses(grain))
    }

    fn bytes_of(sectors: u64) -> usize {
        (sectors * SECTOR_BYTES) as usize
    }
}
