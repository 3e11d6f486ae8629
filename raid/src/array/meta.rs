//! The metadata update: superblocks and bad-block logs, written in an order that never lies.
//!
//! Whoever needs the metadata to say something asks for a *generation* ([`Meta::request`]) and
//! waits until it is durable. One update runs at a time and covers everything asked for before it
//! began:
//!
//! 1. flush the members, so that progress and cleanness are told only of durable data;
//! 2. write the bitmap's header with the new events count (it must not be older than the
//!    superblocks', or the bitmap counts as stale) and the bad-block logs (a superblock must not
//!    announce a log that is not there);
//! 3. write the superblocks, durable on completion.
//!
//! A member that has no room for the flush stays; the update then claims nothing that depends on
//! it: the array is dirty, a rebuild has come no further, a log lists what it listed.
//!
//! What is written is fixed when the update begins. A member whose metadata cannot be written
//! fails, which asks for the next generation.

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Payload;
use holdfast_core::time::Instant;

use super::leg::Owner;
use super::{Array, Defects, State};
use crate::defects::Defect;
use crate::event::{Event, FailReason};
use crate::superblock::{Resync, Role, Timestamp};

/// The state of the array's metadata.
#[derive(Debug)]
pub(crate) struct Meta {
    wanted: u64,
    durable: u64,
    /// Not one member took an update: what it was to say is nowhere, whatever `durable` says.
    lost: bool,
    phase: Phase,
    events: u64,
    /// What the metadata shall say: nothing is in flight.
    clean: bool,
    /// The generation that says otherwise.
    dirty_generation: u64,
    /// The generation that records the last member taken out of service. A spare may have its slot
    /// by now, and a write miss nobody; all the same the member must not come back as current.
    failure_generation: u64,
    last_write: Instant,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Flushing { left: u32, update: Update },
    Header { left: u32, update: Update },
    Supers { left: u32, generation: u64, written: u32 },
}

/// What an update will write.
#[derive(Debug, Default)]
struct Update {
    generation: u64,
    logs: Vec<MetaWrite>,
    supers: Vec<MetaWrite>,
    /// How far members were rebuilt as their superblocks said before.
    rebuilt_before: Vec<(usize, Option<u64>)>,
    /// A member has no room to make durable what this was to tell.
    refused: bool,
}

/// Member, device sector, bytes.
type MetaWrite = (usize, u64, Payload);

impl Meta {
    pub(crate) const fn new(events: u64, clean: bool) -> Self {
        Self {
            wanted: 0,
            durable: 0,
            lost: false,
            phase: Phase::Idle,
            events,
            clean,
            dirty_generation: 0,
            failure_generation: 0,
            last_write: Instant::ZERO,
        }
    }

    /// Asks for an update; durable once [`Meta::durable`] reaches the number.
    pub(super) const fn request(&mut self) -> u64 {
        self.wanted += 1;
        self.wanted
    }

    /// Asks for the update that records a failed member.
    pub(super) const fn request_failure(&mut self) {
        self.failure_generation = self.request();
    }

    /// What must be on record before a write is answered, whoever took it.
    pub(super) const fn failure_generation(&self) -> u64 {
        self.failure_generation
    }

    /// The newest generation asked for.
    pub(super) const fn wanted(&self) -> u64 {
        self.wanted
    }

    /// The newest generation on disk.
    pub(super) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether a generation is on disk for certain: a write that goes ahead of it would not be known
    /// of after a crash.
    pub(super) const fn is_on_record(&self, generation: u64) -> bool {
        generation <= self.durable && !self.lost
    }

    /// Whether an update was lost on all members. The array is broken then and takes no writes.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    pub(super) const fn is_clean(&self) -> bool {
        self.clean
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.wanted == self.durable
    }

    /// Whether the bitmap's first page is being written.
    pub(super) const fn writes_header(&self) -> bool {
        matches!(self.phase, Phase::Header { .. })
    }

    /// Whether an update is wanted and none is under way.
    pub(super) const fn can_update(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.wanted != self.durable
    }

    /// A write ended now.
    pub(super) const fn touch(&mut self, now: Instant) {
        self.last_write = now;
    }
}

impl<X: Defects> Array<X> {
    /// Sees to it that the metadata calls the array dirty; the generation that does.
    pub(super) fn ensure_dirty(&mut self) -> u64 {
        if !self.layout.shape().level.is_redundant() {
            return 0;
        }
        if self.meta.clean {
            self.meta.clean = false;
            self.meta.dirty_generation = self.meta.request();
        }
        self.meta.dirty_generation
    }

    /// When an array that has gone quiet will be marked clean.
    pub(super) fn meta_due(&self) -> Option<Instant> {
        let quiet = !self.meta.clean && !self.stopping && self.no_writes() && !self.is_clogged();
        (quiet && !self.broken).then(|| self.meta.last_write + self.config.safe_mode_delay)
    }

    /// Starts an update if one is wanted and none is under way.
    pub(super) fn step_meta(&mut self) {
        if self.meta_due().is_some_and(|at| at <= self.now) {
            self.meta.clean = true;
            self.meta.request();
        }
        if matches!(self.meta.phase, Phase::Flushing { left: 0, .. }) {
            return self.write_header();
        }
        if !self.meta.can_update() {
            return;
        }
        if self.config.read_only {
            self.meta.durable = self.meta.wanted;
            return;
        }
        // A member that missed the last update before the array was assembled catches up first:
        // two updates behind it would count as stale, and a power cut in this one could make it so.
        let behind = |m: &super::Member| m.is_current() && m.superblock().events < self.meta.events;
        let laggards: Vec<bool> = self.members.iter().map(behind).collect();
        if laggards.contains(&true) {
            let update = Update { generation: 0, ..self.compose(|member| laggards[member]) };
            return self.flush_first(update);
        }
        self.meta.events += u64::from(!self.defects.has(Defect::EventsNotBumped));
        let update = self.compose(|_| true);
        self.flush_first(update);
    }

    /// Sets the role of a device number in every superblock.
    pub(super) fn set_role(&mut self, number: u32, role: Role) {
        for member in &mut self.members {
            let ours = member.is_current() || matches!(member.state, State::Faulty { .. });
            if let Some(superblock) = member.superblock.as_mut().filter(|_| ours) {
                superblock.set_role(number, role);
            }
        }
    }

    /// What the superblocks and logs shall say.
    fn compose(&mut self, wanted: impl Fn(usize) -> bool) -> Update {
        let events = self.meta.events;
        let resync = match (self.meta.clean, self.unsettled_from()) {
            (true, None) => Resync::Clean,
            (true, Some(from)) => Resync::From(from),
            (false, _) => Resync::From(0),
        };
        let now = Timestamp(self.config.epoch_secs + self.now.as_nanos() / 1_000_000_000);
        let marked = self.intent.is_some();
        let mut update = Update { generation: self.meta.wanted, ..Update::default() };
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if !member.is_current() || !wanted(index) {
                continue;
            }
            // A log that need not be written may list too much, never too little.
            if member.bad_changed
                && (member.log_awaited || !member.clogged)
                && let Some((sector, log)) = emit_log(member)
            {
                member.bad_changed = false;
                if !self.defects.has(Defect::BadBlockLogNotWritten) {
                    update.logs.push((index, sector, log.into()));
                }
            }
            let ahead = matches!(member.state, State::Rebuilding { .. })
                && self.defects.has(Defect::RecoveryOffsetAhead);
            let recovered = member.filled().filter(|_| !ahead && member.whole_at.is_none());
            let replacement = matches!(member.state, State::Replacing { .. });
            let by_bitmap = recovered.is_some() && member.marked_only && marked;
            let recorded = !member.bad.is_empty();
            let block = member.geometry.block_bytes as usize;
            let superblock = member.superblock_mut();
            superblock.events = events;
            superblock.utime = now;
            superblock.resync = resync;
            update.rebuilt_before.push((index, superblock.recovery_offset));
            superblock.recovery_offset = recovered;
            superblock.recovery_bitmap = by_bitmap;
            superblock.replacement = replacement;
            superblock.bad_blocks_recorded = recorded;
            let mut bytes = superblock.emit();
            bytes.resize(bytes.len().next_multiple_of(block), 0);
            update.supers.push((index, superblock.super_offset, Payload::from_slice(&bytes)));
        }
        update
    }

    fn flush_first(&mut self, update: Update) {
        let mut targets: Vec<usize> = (0..self.members.len())
            .filter(|&m| self.members[m].is_writable() && self.members[m].needs_flush())
            .collect();
        if self.defects.has(Defect::UpdateWithoutFlush) {
            targets.drain(..).for_each(|member| self.members[member].unflushed = false);
        }
        self.meta.phase = Phase::Flushing { left: targets.len() as u32, update };
        if targets.is_empty() {
            return self.write_header();
        }
        for member in targets {
            self.members[member].unflushed = false;
            self.issue(member, 0, Op::Flush, Owner::Meta);
        }
    }

    fn write_header(&mut self) {
        if self.intent.as_ref().is_some_and(super::Intent::is_writing) {
            // The header's page may be on its way with other bits: one at a time, or the older one
            // could land last.
            return;
        }
        let Phase::Flushing { mut update, .. } =
            std::mem::replace(&mut self.meta.phase, Phase::Idle)
        else {
            unreachable!("the header follows the flush")
        };
        if update.refused {
            update = self.claim_less(update);
        }
        let mut writes = self.bitmap_headers(&update);
        writes.extend(update.logs.iter().cloned());
        writes.retain(|(member, ..)| self.members[*member].is_current());
        self.meta.phase = Phase::Header { left: writes.len() as u32, update };
        if writes.is_empty() {
            return self.header_written();
        }
        for (member, sector, data) in writes {
            self.issue(member, sector, Op::Write(data, Durability::Fua), Owner::Meta);
        }
    }

    /// The same update without what a refused flush was to make true.
    fn claim_less(&mut self, update: Update) -> Update {
        if self.meta.clean {
            // Durable only when this update is: the next write waits for it.
            self.meta.clean = false;
            self.meta.dirty_generation = self.meta.wanted;
        }
        for (member, ..) in &update.logs {
            self.members[*member].bad_changed = true;
        }
        let told: Vec<usize> = update.supers.iter().map(|(member, ..)| *member).collect();
        let mut less = self.compose(|member| told.contains(&member));
        for (member, _, bytes) in &mut less.supers {
            if !self.members[*member].clogged {
                continue;
            }
            let before = update.rebuilt_before.iter().find(|(other, _)| other == member);
            let superblock = self.members[*member].superblock_mut();
            superblock.recovery_offset = before.and_then(|(_, offset)| *offset);
            let len = bytes.len();
            let mut emitted = superblock.emit();
            emitted.resize(len, 0);
            *bytes = Payload::from_slice(&emitted);
        }
        less.generation = update.generation;
        less
    }

    /// The bitmap's first page with the new events count, for every member.
    fn bitmap_headers(&mut self, update: &Update) -> Vec<MetaWrite> {
        let events = self.meta.events;
        let Some(intent) = self.intent.as_mut().filter(|_| update.generation > 0) else {
            return Vec::new();
        };
        intent.set_events(events, false);
        let page = intent.header_page();
        (0..self.members.len())
            .filter(|&m| self.members[m].is_current())
            .filter_map(|m| Some((m, self.members[m].superblock().bitmap_sector()?)))
            .map(|(m, sector)| (m, sector, self.fit_area(m, sector, page.clone())))
            .collect()
    }

    fn header_written(&mut self) {
        let Phase::Header { update, .. } = std::mem::replace(&mut self.meta.phase, Phase::Idle)
        else {
            unreachable!("a header was being written")
        };
        for (member, ..) in &update.logs {
            let member = &mut self.members[*member];
            member.log_awaited &= member.bad_changed;
        }
        self.write_supers(update);
    }

    fn write_supers(&mut self, update: Update) {
        let writes: Vec<_> = update
            .supers
            .into_iter()
            .filter(|(member, ..)| self.members[*member].is_current())
            .collect();
        let left = writes.len() as u32;
        let generation = update.generation.max(self.meta.durable);
        self.meta.phase = Phase::Supers { left, generation, written: 0 };
        if left == 0 {
            return self.supers_written();
        }
        for (member, sector, data) in writes {
            self.issue(member, sector, Op::Write(data, Durability::Fua), Owner::Meta);
        }
    }

    fn supers_written(&mut self) {
        let Phase::Supers { generation, written, .. } =
            std::mem::replace(&mut self.meta.phase, Phase::Idle)
        else {
            unreachable!("superblocks were being written")
        };
        let news = generation > self.meta.durable;
        self.meta.durable = generation;
        if news && written == 0 {
            self.meta.lost = true;
            self.metadata_is_lost();
        }
    }

    /// A member that cannot be spared did not make its writes durable, so the metadata must not
    /// say that it did.
    fn abandon_update(&mut self) {
        if let Phase::Flushing { update, .. } = &mut self.meta.phase {
            update.logs.clear();
            update.supers.clear();
        }
    }

    /// A member's bitmap header or log could not be written, so its superblock must not go ahead
    /// of them. Full is nobody's defect, and the member is then one update behind; but bad blocks
    /// that must be on record and cannot are a log without room.
    fn header_failed(&mut self, member: usize, fault: Fault) {
        let Phase::Header { update, .. } = &mut self.meta.phase else { return };
        update.supers.retain(|(other, ..)| *other != member);
        let unlogged = update.logs.iter().any(|(other, ..)| *other == member);
        if fault == Fault::Full && !(unlogged && self.members[member].log_awaited) {
            self.members[member].bad_changed |= unlogged;
            self.events.push_back(Event::NoSpace { member, sector: 0, sectors: 0 });
            return;
        }
        if !self.fail(member, FailReason::Metadata(fault)) && unlogged {
            self.members[member].bad_changed = true;
            self.metadata_is_lost();
        }
    }

    /// Takes no writes from now on.
    pub(super) fn break_array(&mut self) {
        if !self.broken {
            self.broken = true;
            self.events.push_back(Event::Broken);
        }
        self.pass_lost_member();
    }

    /// Not one member took the update: nothing that depends on it may be acknowledged.
    fn metadata_is_lost(&mut self) {
        self.break_array();
        for key in self.ops.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            let op = &mut self.ops[key];
            if op.gate > 0 || !matches!(op.kind, super::Kind::Read(_)) {
                op.fault.get_or_insert(Fault::Gone);
            }
        }
    }

    pub(super) fn meta_answered(&mut self, member: usize, result: Result<(), Fault>) {
        if let Err(fault) = result {
            if let (Phase::Flushing { update, .. }, Fault::Full) = (&mut self.meta.phase, fault) {
                update.refused = true;
                self.cannot_flush(member);
            } else if matches!(self.meta.phase, Phase::Flushing { .. }) {
                self.members[member].unflushed = true;
                if !self.fail(member, FailReason::Flush(fault)) {
                    self.abandon_update();
                }
            } else if matches!(self.meta.phase, Phase::Header { .. }) {
                self.header_failed(member, fault);
            } else if fault == Fault::Full {
                // A full file system is nobody's defect; the member is one update behind.
                self.events.push_back(Event::NoSpace { member, sector: 0, sectors: 0 });
            } else {
                self.fail(member, FailReason::Metadata(fault));
            }
        }
        match &mut self.meta.phase {
            Phase::Flushing { left, .. } => {
                *left -= 1;
                if *left == 0 {
                    self.write_header();
                }
            }
            Phase::Header { left, .. } => {
                *left -= 1;
                if *left == 0 {
                    self.header_written();
                }
            }
            Phase::Supers { left, written, .. } => {
                *left -= 1;
                *written += u32::from(result.is_ok());
                if *left == 0 {
                    self.supers_written();
                }
            }
            Phase::Idle => unreachable!("nobody asked"),
        }
    }

    /// Goes on with a stop: wait for what is in flight, clear the bitmap, mark clean, flush.
    pub(super) fn step_stop(&mut self) {
        if !self.stopping || self.stopped || !self.no_units() || !self.ops.is_empty() {
            return;
        }
        if !self.intent_settled()
            || !self.logs_are_idle()
            || !matches!(self.meta.phase, Phase::Idle)
        {
            return;
        }
        if !self.meta.clean && !self.broken && !self.config.read_only && !self.is_clogged() {
            self.meta.clean = true;
            self.meta.request();
        }
        if self.meta.wanted != self.meta.durable {
            // Nobody else turns the wheel now.
            return self.step_meta();
        }
        let unflushed = |m: &super::Member| m.is_writable() && m.needs_flush() && !m.clogged;
        let lax = self.defects.has(Defect::StopWithoutFlush);
        if self.members.iter().any(unflushed) && !self.broken && !lax {
            return self.flush_first(Update::default());
        }
        self.stopped = true;
    }
}

/// A member's bad-block log and where it goes.
fn emit_log(member: &super::Member) -> Option<(u64, holdfast_core::buf::Buf)> {
    let superblock = member.superblock();
    let place = superblock.bad_blocks?;
    let sector = superblock.bad_blocks_sector()?;
    let bytes = member.bad.emit(place.shift, place.sectors).ok()?;
    Some((sector, holdfast_core::buf::Buf::from_slice(&bytes)))
}
