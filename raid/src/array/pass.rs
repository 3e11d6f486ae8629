//! A pass over the whole array: resync, recovery, check, repair. One cursor, several windows.
//!
//! A pass has a *space*: member rows for mirrors and parity levels; for raid10 array sectors,
//! except that recovery runs over the rebuilt device's own sectors, as md's does, because that is
//! what `recovery_offset` counts. The cursor hands out windows in order; `done` is how far every
//! window has finished without a gap, and is what the metadata records now and then.

use std::collections::BTreeMap;

use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::{Duration, Instant};

use super::{Array, Defects, State};
use crate::defects::Defect;
use crate::event::Event;
use crate::layout::{Layout, Mapped};
use crate::superblock::Role;
use crate::sync::Action;

/// Sectors of a window on each member (md's resync unit, and its unit of counting mismatches on
/// mirrors).
pub(super) const WINDOW_SECTORS: u64 = 128;

/// How long after the last request the array still counts as in use.
const FOREGROUND: Duration = Duration::from_millis(100);

/// The most windows in flight at once.
const MOST_WINDOWS: usize = 64;

/// Progress is recorded this many times in a pass.
const CHECKPOINTS: u64 = 16;

/// A pass under way.
#[derive(Debug)]
pub(super) struct Pass {
    action: Action,
    end: u64,
    next: u64,
    done: u64,
    /// Windows handed out beyond `done`: start → (end, windows unfinished there).
    open: BTreeMap<u64, (u64, u32)>,
    /// Sectors of these ranges.
    in_flight: u64,
    pub(super) mismatch_sectors: u64,
    allowed_at: Instant,
    /// Sectors handed out since the throttle let go.
    burst: u64,
    checkpoint: u64,
    /// Up to here the bitmap knows that a resync has been by.
    settled: u64,
    /// A window that begins here was not brought to its end: the pass has not come further.
    short_of: u64,
    /// No new windows; the pass ends when the open ones have.
    ending: bool,
    /// Devices that a recovery fills. Who comes later has not been given what it had done before.
    filled: Vec<usize>,
}

impl Pass {
    pub(super) const fn action(&self) -> Action {
        self.action
    }

    /// One more window runs in the range that starts at `start`.
    pub(super) fn more_windows(&mut self, start: u64, more: u32) {
        self.open.get_mut(&start).expect("an open range").1 += more;
    }

    /// A device is out of service. Should it come back while this pass runs, it misses what it has
    /// not been given since it left, below the cursor too.
    pub(super) fn gives_up(&mut self, member: usize) {
        self.filled.retain(|&filled| filled != member);
    }

    /// A window in the range that starts at `start` has finished.
    fn window_done(&mut self, start: u64) {
        self.open.get_mut(&start).expect("an open range").1 -= 1;
        while let Some(first) = self.open.first_entry() {
            let (end, left) = *first.get();
            if left > 0 {
                break;
            }
            self.done = self.done.max(end.min(self.short_of));
            self.in_flight -= end - first.key();
            first.remove();
        }
        if self.open.is_empty() {
            self.done = self.done.max(self.next.min(self.short_of));
        }
    }

    pub(super) fn status(&self) -> crate::status::SyncStatus {
        crate::status::SyncStatus {
            action: self.action,
            done_sectors: self.done,
            total_sectors: self.end,
            mismatch_sectors: self.mismatch_sectors,
        }
    }
}

impl<X: Defects> Array<X> {
    /// Begins a pass. Nothing else may be running.
    pub(super) fn begin_pass(&mut self, action: Action) {
        assert!(self.pass.is_none(), "one pass at a time");
        let from = match action {
            Action::Resync => self.first_in_doubt(),
            Action::Recover => self.rebuilt_so_far(),
            Action::Check { .. } | Action::Repair { .. } => 0,
        };
        let end = self.space(action);
        let from = from.min(end);
        let filled = (0..self.members.len()).filter(|&m| self.members[m].filled().is_some());
        let filled = filled.collect();
        self.events.push_back(Event::SyncStarted { action, from });
        self.pass = Some(Pass {
            action,
            end,
            next: from,
            done: from,
            open: BTreeMap::new(),
            in_flight: 0,
            mismatch_sectors: 0,
            allowed_at: self.now,
            burst: 0,
            checkpoint: from,
            settled: from,
            short_of: u64::MAX,
            ending: false,
            filled,
        });
    }

    /// Where a resync begins. A crash can leave a bit set for a write that never started, below the
    /// place the superblocks name; nothing else would ever clear it.
    fn first_in_doubt(&self) -> u64 {
        let from = self.resync_from.unwrap_or(0);
        let marked = self.intent.as_ref().and_then(|intent| intent.next_needed(0));
        marked.map_or(from, |marked| marked.min(from))
    }

    /// Sectors a pass covers.
    pub(super) fn space(&self, action: Action) -> u64 {
        let all = match &self.layout {
            Layout::Parity(parity) => parity.member_extent(),
            Layout::Mapped(mapped) if action == Action::Recover => mapped.member_extent(0),
            Layout::Mapped(mapped) => mapped.array_sectors(),
        };
        if self.defects.has(Defect::LastBlockLeftOut) { all.saturating_sub(8) } else { all }
    }

    fn rebuilt_so_far(&self) -> u64 {
        self.members.iter().filter_map(super::Member::filled).min().unwrap_or(0)
    }

    /// Starts what is due: recovery if a member is being rebuilt or replaced or a spare can take a
    /// free slot, else a pending resync.
    pub(super) fn begin_pending(&mut self) -> bool {
        self.sync_held = false;
        if self.pass.is_some() || self.stopping || self.broken || self.config.read_only {
            return false;
        }
        if !self.layout.shape().level.is_redundant() {
            return false;
        }
        self.activate_spares();
        self.begin_replacements();
        let rebuilding = |m: &super::Member| matches!(m.state, State::Rebuilding { .. });
        if self.members.iter().any(|m| rebuilding(m) && !m.lost) || self.replacement_is_due() {
            self.begin_pass(Action::Recover);
            return true;
        }
        if self.resync_from.is_some() {
            self.begin_pass(Action::Resync);
            return true;
        }
        self.finish_replacements();
        false
    }

    /// Gives free slots to spares that are large enough.
    fn activate_spares(&mut self) {
        let extent = self.layout.shape().member_sectors;
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() {
                continue;
            }
            let spare = self.members.iter().position(|member| {
                let taken = matches!(member.state, State::Rebuilding { .. })
                    && self.defects.has(Defect::SpareUsedTwice);
                (member.state == State::Spare || taken)
                    && member.data_offset() + extent <= member.geometry.sectors
            });
            let Some(index) = spare else { return };
            let slot_number = slot as u32;
            let member = &mut self.members[index];
            member.state = State::Rebuilding { slot: slot_number, done: 0 };
            let number = member.superblock().dev_number;
            self.slots[slot] = Some(index);
            self.set_role(number, Role::Active(slot as u16));
            self.events.push_back(Event::SpareActivated { member: index, slot: slot_number });
            self.meta.request();
        }
    }

    /// A member went out of service while a pass may be running.
    pub(super) fn pass_lost_member(&mut self) {
        let spare = self.members.iter().any(|m| m.state == State::Spare);
        let targets = self.members.iter().any(|m| m.filled().is_some());
        let Some(pass) = &mut self.pass else { return };
        let pointless = pass.action == Action::Recover && !targets;
        let better = pass.action != Action::Recover && spare && self.config.auto_sync;
        if self.broken || pointless || better {
            pass.ending = true;
        }
    }

    /// Ends a pass early: open windows finish, progress is kept. It does not begin again by itself.
    pub(super) fn end_pass(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.ending = true;
            self.sync_held = true;
        }
    }

    /// The window that begins at `start` cannot be brought to its end: the pass stops before it.
    pub(super) fn end_pass_before(&mut self, start: u64) {
        self.end_pass();
        if let Some(pass) = &mut self.pass {
            pass.short_of = pass.short_of.min(start);
        }
    }

    /// When the throttle lets the next window go.
    pub(super) fn pass_due(&self) -> Option<Instant> {
        let pass = self.pass.as_ref()?;
        let waiting = !pass.ending && pass.next < pass.end && self.is_throttled(pass);
        waiting.then_some(pass.allowed_at)
    }

    /// Hands out windows, ends the pass, or starts the next one.
    pub(super) fn step_pass(&mut self) {
        if self.pass.is_none() {
            if self.config.auto_sync && !self.sync_held {
                self.begin_pending();
            }
            if self.pass.is_none() {
                if !self.stopping && !self.config.read_only {
                    self.finish_replacements();
                }
                return;
            }
        }
        if self.stopping {
            self.end_pass();
        }
        while self.may_open_window() {
            self.open_window();
        }
        let pass = self.pass.as_ref().expect("a pass runs");
        let over = pass.ending || pass.next >= pass.end;
        if over && pass.open.is_empty() {
            self.finish_pass();
        }
    }

    fn may_open_window(&self) -> bool {
        let Some(pass) = &self.pass else { return false };
        let cells = match &self.layout {
            Layout::Parity(_) => self.slots.len() as u64,
            Layout::Mapped(mapped) => u64::from(mapped.copies()),
        };
        let has_room = pass.in_flight * cells * SECTOR_BYTES < self.config.sync_window_bytes;
        !pass.ending
            && pass.next < pass.end
            && (has_room || pass.open.is_empty())
            && pass.open.len() < MOST_WINDOWS
            && (pass.action != Action::Recover || self.logs_allow_recovery())
            && !self.is_throttled(pass)
    }

    /// Whether the throttle holds the next window back. As much as the largest window has goes at
    /// once, in however many windows: where these are small, requests to members can merge.
    fn is_throttled(&self, pass: &Pass) -> bool {
        pass.allowed_at > self.now && pass.burst >= WINDOW_SECTORS * self.lanes(pass.action)
    }

    /// How many sectors of a pass's space one sector of each member makes.
    fn lanes(&self, action: Action) -> u64 {
        match &self.layout {
            Layout::Mapped(mapped) if action != Action::Recover => {
                (self.slots.len() as u64 / u64::from(mapped.copies())).max(1)
            }
            _ => 1,
        }
    }

    /// Sectors of each member in a window, so that all members' share stays small and one window can
    /// be read while another is judged.
    pub(super) fn window_sectors(&self) -> u64 {
        let share = self.config.sync_window_bytes / (2 * self.slots.len() as u64 * SECTOR_BYTES);
        (share / 8 * 8).clamp(8, WINDOW_SECTORS)
    }

    /// Hands out the next window, or skips what the bitmap says is fine.
    fn open_window(&mut self) {
        let pass = self.pass.as_mut().expect("a pass runs");
        let skips = pass.action == Action::Resync
            || pass.action == Action::Recover && self.defects.has(Defect::RebuildSkipsCleanRegions);
        let (rows, next) = (matches!(self.layout, Layout::Parity(_)), pass.next);
        let marked = pass.action == Action::Recover && self.only_marked_from(next);
        let pass = self.pass.as_mut().expect("a pass runs");
        if (skips || marked && rows)
            && let Some(intent) = &self.intent
        {
            let wanted = if skips { intent.next_needed(next) } else { intent.next_marked(next) };
            match wanted {
                Some(sector) if sector < pass.end => pass.next = sector,
                _ => pass.next = pass.end,
            }
            if pass.open.is_empty() {
                pass.done = pass.next;
            }
            if pass.next >= pass.end {
                if marked {
                    self.record_progress();
                }
                return;
            }
        }
        let (action, start, end) = (pass.action, pass.next, pass.end);
        let (len, count) = match &self.layout {
            Layout::Parity(_) => {
                let size = self.window_sectors();
                ((size - start % size).min(end - start), 1)
            }
            Layout::Mapped(_) => self.mapped_window(action, start, end),
        };
        let fine = |intent: &super::Intent| !intent.needs_sync(start..start + len);
        let skipped = action == Action::Recover
            && self.defects.has(Defect::RebuildSkipsCleanRegions)
            && self.intent.as_ref().is_some_and(fine);
        let skipped = skipped || marked && self.nothing_marked(start, len);
        let count = if skipped { 0 } else { count };
        let pass = self.pass.as_mut().expect("a pass runs");
        pass.next = start + len;
        if count == 0 {
            // A gap no data lives in.
            if pass.open.is_empty() {
                pass.done = pass.next;
            }
            return self.record_progress();
        }
        pass.open.insert(start, (start + len, count));
        pass.in_flight += len;
        self.throttle(len);
        match &self.layout {
            Layout::Parity(_) => self.open_rows(start, len),
            Layout::Mapped(_) if action == Action::Recover => self.open_targets(start, len),
            Layout::Mapped(_) => self.open_copies(start, start, len, Vec::new()),
        }
    }

    /// Length of a mirror's window at `start`, and how many windows it takes.
    fn mapped_window(&self, action: Action, start: u64, end: u64) -> (u64, u32) {
        let Layout::Mapped(mapped) = &self.layout else { unreachable!("a mirror") };
        let most = (WINDOW_SECTORS - start % WINDOW_SECTORS).min(end - start);
        if action != Action::Recover {
            let mut copies = Vec::new();
            return (mapped.map(start, most, &mut copies), 1);
        }
        let mut len = most;
        for slot in self.filling() {
            let ahead = self.rebuilt_on(slot).saturating_sub(start);
            len = match ahead {
                0 => mapped.array_sector_of(slot, start, len).1,
                // Rebuilt there already, by an earlier pass: left as readers have seen it.
                ahead => len.min(ahead),
            };
        }
        (len, self.target_windows(mapped, start, len).len() as u32)
    }

    /// The slots being rebuilt.
    pub(super) fn targets(&self) -> Vec<u32> {
        let target = |slot: &u32| {
            self.member_on(*slot)
                .is_some_and(|m| matches!(self.members[m].state, State::Rebuilding { .. }))
        };
        (0..self.slots.len() as u32).filter(target).collect()
    }

    /// The slots whose member, or its replacement, is being filled.
    fn filling(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|&slot| self.receiver(slot).is_some()).collect()
    }

    /// How far a slot's member, or its replacement, is filled.
    fn rebuilt_on(&self, slot: u32) -> u64 {
        self.receiver(slot).and_then(|member| self.members[member].filled()).unwrap_or(0)
    }

    /// Whether all who have yet to be filled from here on have missed only what the bitmap marks.
    fn only_marked_from(&self, start: u64) -> bool {
        let wanting = |member: &&super::Member| member.filled().is_some_and(|done| done <= start);
        self.intent.is_some() && self.members.iter().filter(wanting).all(|m| m.marked_only)
    }

    /// Whether the bitmap marks nothing of a range that a recovery comes to.
    fn nothing_marked(&self, start: u64, len: u64) -> bool {
        let Some(intent) = &self.intent else { return false };
        match &self.layout {
            Layout::Parity(_) => !intent.is_marked(start..start + len),
            Layout::Mapped(mapped) => self
                .target_windows(mapped, start, len)
                .iter()
                .all(|&(_, sector)| !intent.is_marked(sector..sector + len)),
        }
    }

    fn target_windows(&self, mapped: &Mapped, start: u64, len: u64) -> Vec<(u32, u64)> {
        self.filling()
            .into_iter()
            .filter(|&slot| self.rebuilt_on(slot) <= start)
            .filter_map(|slot| Some((slot, mapped.array_sector_of(slot, start, len).0?)))
            .collect()
    }

    fn open_targets(&mut self, start: u64, len: u64) {
        let Layout::Mapped(mapped) = &self.layout else { unreachable!("a mirror") };
        for (slot, sector) in self.target_windows(mapped, start, len) {
            self.open_copies(start, sector, len, vec![slot]);
        }
    }

    fn throttle(&mut self, sectors: u64) {
        let busy = self.last_foreground.is_some_and(|at| self.now.since(at) < FOREGROUND);
        let speed = match busy {
            true => self.config.sync_speed_min,
            false => self.config.sync_speed_max,
        };
        let nanos = u128::from(sectors * SECTOR_BYTES) * 1_000_000_000 / u128::from(speed.max(1));
        let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let pass = self.pass.as_mut().expect("a pass runs");
        if pass.allowed_at <= self.now {
            (pass.allowed_at, pass.burst) = (self.now, 0);
        }
        pass.allowed_at = pass.allowed_at + pause;
        pass.burst += sectors;
    }

    /// A window of the range that starts at `start` is finished.
    pub(super) fn window_finished(&mut self, start: u64) {
        let Some(pass) = &mut self.pass else { return };
        pass.window_done(start);
        self.record_progress();
    }

    /// Tells members and metadata how far the pass has come.
    fn record_progress(&mut self) {
        let pass = self.pass.as_mut().expect("a pass runs");
        let (action, done) = (pass.action, pass.done);
        let step = (pass.end / CHECKPOINTS).max(WINDOW_SECTORS);
        let due = done >= pass.checkpoint + step && done < pass.end;
        if due {
            pass.checkpoint = done;
        }
        match action {
            Action::Recover => {
                for &member in &pass.filled {
                    self.members[member].fill(done);
                }
                if self.defects.has(Defect::OldMemberDroppedEarly) {
                    self.finish_replacements();
                }
            }
            Action::Resync => {
                self.resync_from = Some(done);
                self.settle_regions(done);
            }
            Action::Check { .. } | Action::Repair { .. } => return,
        }
        if due {
            self.meta.request();
        }
    }

    /// Regions a resync has covered without a gap need it no longer.
    fn settle_regions(&mut self, done: u64) {
        let limit = self.resync_again.map_or(done, |again| again.min(done));
        let (Some(pass), Some(intent)) = (&mut self.pass, &mut self.intent) else {
            return;
        };
        if limit > pass.settled {
            intent.synced(intent.region_start(pass.settled)..limit);
            pass.settled = limit;
        }
    }

    fn finish_pass(&mut self) {
        let pass = self.pass.take().expect("a pass runs");
        let complete = pass.done >= pass.end && !pass.ending;
        match pass.action {
            Action::Recover if complete => self.recovered(),
            Action::Resync => {
                let over = complete || self.defects.has(Defect::InterruptedResyncForgotten);
                self.resync_from = if over { None } else { Some(pass.done) };
                self.meta.request();
            }
            Action::Recover => {
                self.meta.request();
            }
            Action::Repair { locate: false }
                if complete && self.resync_from.is_some() && !self.is_degraded() =>
            {
                // Every copy or parity block has been compared and mended.
                self.resync_from = None;
                if let Some(intent) = &mut self.intent {
                    intent.synced(0..self.resync_again.unwrap_or(pass.end));
                }
                self.meta.request();
            }
            Action::Check { .. } | Action::Repair { .. } => {}
        }
        // What came to differ behind the pass's back is for the next one.
        if let Some(again) = self.resync_again.take() {
            self.resync_from = Some(self.resync_from.map_or(again, |from| from.min(again)));
            self.meta.request();
        }
        if self.resync_from.is_none() {
            self.finish_replacements();
        }
        let (action, mismatch_sectors) = (pass.action, pass.mismatch_sectors);
        self.events.push_back(Event::SyncFinished { action, complete, mismatch_sectors });
    }

    fn recovered(&mut self) {
        for index in 0..self.members.len() {
            let State::Rebuilding { slot, done } = self.members[index].state else {
                continue;
            };
            if done < self.space(Action::Recover) || self.members[index].lost {
                continue;
            }
            self.members[index].state = State::InSync { slot };
            self.members[index].marked_only = false;
            self.events.push_back(Event::MemberInSync { member: index, slot });
        }
        self.meta.request();
    }
}
