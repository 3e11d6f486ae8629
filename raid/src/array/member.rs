//! One device of an array: what it is doing, how it has behaved.

use std::ops::Range;

use holdfast_core::block::Geometry;
use holdfast_core::time::{Duration, Instant};

use crate::status::MemberState;
use crate::superblock::{BadBlocks, Superblock};

/// What a device is doing. A rebuild's progress exists only while it is being rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Holds its slot's data.
    InSync { slot: u32 },
    /// Takes its slot's writes; can be read below `done` sectors from its data start.
    Rebuilding { slot: u32, done: u64 },
    /// Is filled beside the member that holds its slot, and takes its writes as well; is never
    /// read. Has what that member has below `done`.
    Replacing { slot: u32, done: u64 },
    /// Waits for a slot.
    Spare,
    /// Taken out of service; `slot` is the one it had.
    Faulty { slot: Option<u32> },
    /// Holds older data than the others.
    Stale { slot: Option<u32> },
    /// Not one of ours, or no longer.
    Foreign,
}

/// A device of an array.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) geometry: Geometry,
    /// Its superblock as last written; none for a foreign device.
    pub(crate) superblock: Option<Superblock>,
    pub(crate) state: State,
    pub(crate) bad: BadBlocks,
    /// The bad-block log on the device is older than `bad`.
    pub(crate) bad_changed: bool,
    /// Something is answered only when the log on the device says what `bad` says.
    pub(crate) log_awaited: bool,
    /// Answers no more, but the array needs it too much to take it out.
    pub(crate) lost: bool,
    /// Requests not answered yet, given-up ones included.
    pub(crate) in_flight: u32,
    /// Took a write since its last flush.
    pub(crate) unflushed: bool,
    /// Had no room to make durable what it took.
    pub(crate) clogged: bool,
    /// Flushes not answered yet: what they cover is not durable either.
    pub(crate) flushing: u32,
    /// Where a sequential reader would go on, in sectors of the device.
    pub(crate) stream_end: u64,
    /// Requests that took longer than the deadline.
    pub(crate) slow: u32,
    /// Why it is not in service.
    pub(crate) why: Option<String>,
    /// While it is being rebuilt: it was a member before, and has missed only what the bitmap marks.
    pub(crate) marked_only: bool,
    /// While it is a spare: the slot whose member it is to replace.
    pub(crate) replaces: Option<u32>,
    /// A replacement that has everything: the update of the metadata that says so.
    pub(crate) whole_at: Option<u64>,
    read_errors: u32,
    read_errors_since: Instant,
}

impl Member {
    pub(crate) const fn new(
        geometry: Geometry,
        superblock: Option<Superblock>,
        state: State,
        bad: BadBlocks,
        why: Option<String>,
    ) -> Self {
        Self {
            geometry,
            superblock,
            state,
            bad,
            bad_changed: false,
            log_awaited: false,
            lost: false,
            in_flight: 0,
            unflushed: false,
            clogged: false,
            flushing: 0,
            stream_end: 0,
            slow: 0,
            why,
            marked_only: false,
            replaces: None,
            whole_at: None,
            read_errors: 0,
            read_errors_since: Instant::ZERO,
        }
    }

    /// The slot whose data it holds or is being given.
    pub(crate) const fn slot(&self) -> Option<u32> {
        match self.state {
            State::InSync { slot }
            | State::Rebuilding { slot, .. }
            | State::Replacing { slot, .. } => Some(slot),
            _ => None,
        }
    }

    /// How far it has been filled, while it is.
    pub(crate) const fn filled(&self) -> Option<u64> {
        match self.state {
            State::Rebuilding { done, .. } | State::Replacing { done, .. } => Some(done),
            _ => None,
        }
    }

    /// It has been filled so far.
    pub(crate) const fn fill(&mut self, until: u64) {
        if let State::Rebuilding { done, .. } | State::Replacing { done, .. } = &mut self.state
            && *done < until
        {
            *done = until;
        }
    }

    /// Whether its metadata is kept up to date.
    pub(crate) const fn is_current(&self) -> bool {
        !self.lost && (self.slot().is_some() || matches!(self.state, State::Spare))
    }

    /// Whether writes go to it.
    pub(crate) const fn is_writable(&self) -> bool {
        !self.lost && self.slot().is_some()
    }

    /// Whether something it took may not be durable yet.
    pub(crate) const fn needs_flush(&self) -> bool {
        self.unflushed || self.flushing > 0
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        self.superblock.as_ref().expect("a current member has a superblock")
    }

    pub(crate) fn superblock_mut(&mut self) -> &mut Superblock {
        self.superblock.as_mut().expect("a current member has a superblock")
    }

    pub(crate) fn data_offset(&self) -> u64 {
        self.superblock().data_offset
    }

    pub(crate) fn write_mostly(&self) -> bool {
        self.superblock.as_ref().is_some_and(Superblock::write_mostly)
    }

    /// How many of `sectors` from data sector `sector` can be read: all, some (up to a bad block
    /// or the end of what is rebuilt), or none.
    pub(crate) fn readable_sectors(&self, sector: u64, sectors: u64) -> u64 {
        if self.lost {
            return 0;
        }
        let valid = match self.state {
            State::InSync { .. } => sectors,
            State::Rebuilding { done, .. } => done.saturating_sub(sector).min(sectors),
            _ => return 0,
        };
        if self.bad.is_empty() || valid == 0 {
            return valid;
        }
        let start = self.data_offset() + sector;
        self.bad
            .first_overlap(start..start + valid)
            .map_or(valid, |bad| bad.start.saturating_sub(start))
    }

    /// Whether the whole range of data sectors can be read.
    pub(crate) fn can_read(&self, sector: u64, sectors: u64) -> bool {
        self.readable_sectors(sector, sectors) == sectors
    }

    /// Records device sectors as bad; false if the log has no room or there is none.
    pub(crate) fn record_bad(&mut self, range: Range<u64>) -> bool {
        let Some(place) = self.superblock.as_ref().and_then(|sb| sb.bad_blocks) else {
            return false;
        };
        let mut grown = self.bad.clone();
        grown.add(range);
        if grown.emit(place.shift, place.sectors).is_err() {
            return false;
        }
        self.bad = grown;
        self.bad_changed = true;
        true
    }

    /// Device sectors were written well: they are bad no longer. True if any had been.
    pub(crate) fn clear_bad(&mut self, range: Range<u64>) -> bool {
        if self.bad.is_empty() || self.bad.first_overlap(range.clone()).is_none() {
            return false;
        }
        self.bad.clear(range);
        self.bad_changed = true;
        true
    }

    /// Counts a read error; true when there have been more than `limit`, halved every hour
    /// (`raid1.c check_decay_read_errors`).
    pub(crate) fn count_read_error(&mut self, now: Instant, limit: u32) -> bool {
        const HOUR: Duration = Duration::from_secs(3600);
        let hours = (now.since(self.read_errors_since).as_secs() / HOUR.as_secs()).min(31) as u32;
        if hours > 0 {
            self.read_errors >>= hours;
            self.read_errors_since = self.read_errors_since + HOUR * hours;
        }
        if self.read_errors == 0 {
            self.read_errors_since = now;
        }
        self.read_errors += 1;
        self.read_errors > limit
    }

    /// The state as told to the outside.
    pub(crate) const fn public_state(&self) -> MemberState {
        match self.state {
            State::InSync { .. } => MemberState::InSync,
            State::Rebuilding { .. } => MemberState::Rebuilding,
            State::Replacing { .. } => MemberState::Replacing,
            State::Spare => MemberState::Spare,
            State::Faulty { .. } => MemberState::Faulty,
            State::Stale { .. } => MemberState::Stale,
            State::Foreign => MemberState::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_errors_decay_by_half_every_hour() {
        let geometry = Geometry::new(64);
        let mut member = Member::new(geometry, None, State::Foreign, BadBlocks::default(), None);
        let hour = |h: u64| Instant::from_millis(h * 3_600_000);
        for _ in 0..20 {
            assert!(!member.count_read_error(hour(0), 20));
        }
        assert!(member.clone().count_read_error(hour(0), 20), "the 21st within the hour");
        for _ in 0..10 {
            assert!(!member.count_read_error(hour(1), 20), "20 became 10");
        }
        assert!(member.count_read_error(hour(1), 20));
        assert!(!member.count_read_error(hour(500), 20), "long forgotten");
    }
}
