//! Flushes: every cache that holds writes completed before, whatever path leads to it.

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::slab::Key;

use super::answer::is_of_path;
use super::job::Flushing;
use super::{Attempt, Body, Choice, Contents, Job, Map, Origin, Place, Purpose, Record, Standing};
use crate::defects::{Defect, Defects};
use crate::event::{Event, Kind};
use crate::path::Why;

impl<X: Defects> Map<X> {
    fn flushing(&mut self, key: Key) -> Option<&mut Flushing> {
        match &mut self.jobs.get_mut(key)?.body {
            Body::Flush(flushing) => Some(flushing),
            _ => None,
        }
    }

    /// Does the next thing a flush needs: write again what is out of reach, flush what is not, and
    /// answer once nothing is left.
    pub(super) fn step_flush(&mut self, key: Key) {
        let Some(flushing) = self.flushing(key).cloned() else { return };
        if flushing.asked != 0 || flushing.replays != 0 {
            return;
        }
        if flushing.lost {
            self.finish(key, Err(Fault::Transport), None);
            return;
        }
        if self.replaying > 0 {
            // What another flush writes again is to be covered by this one, too.
            self.flush_waiters.push(key);
            return;
        }
        if !self.unflushed.is_empty() && self.replay(key, flushing.upto) {
            return;
        }
        let mut targets: Vec<usize> = (0..self.paths.len())
            .filter(|&number| {
                let path = &self.paths[number];
                path.is_active() && path.dirty.is_some() && flushing.done >> number & 1 == 0
            })
            .collect();
        if self.defects.has(Defect::FlushOnePathOnly) {
            targets.truncate(usize::from(flushing.done == 0));
        }
        if targets.is_empty() {
            if flushing.done != 0 {
                self.finish(key, Ok(()), None);
                return;
            }
            let avoid = self.jobs[key].refused;
            match self.choose(Kind::Flush, 0, avoid, true) {
                Choice::Path(path) => targets.push(path),
                Choice::Stuck | Choice::Wait if self.starved[1].failing => {
                    self.finish(key, Err(Fault::Transport), None);
                    return;
                }
                Choice::Stuck | Choice::Wait => {
                    self.jobs[key].place = Place::Ready;
                    self.ready.push_back(key);
                    return;
                }
            }
        }
        for path in targets {
            self.send_flush(key, path);
        }
    }

    fn send_flush(&mut self, key: Key, path: usize) {
        let upto = self.number;
        if let Some(flushing) = self.flushing(key) {
            flushing.asked |= 1 << path;
        }
        let attempt = self.send(
            Attempt {
                purpose: Purpose::Flush { job: key, upto },
                kind: Kind::Flush,
                path,
                session: self.paths[path].session,
                range: 0..0,
                bytes: 0,
                sent: self.now,
                standing: Standing::Live,
                resolved: false,
                claim: 0,
            },
            0,
            Op::Flush,
        );
        if let Some(deadline) = self.settings.flush_deadline {
            self.flush_deadlines.push_back((self.now + deadline, attempt));
        }
    }

    /// A path has answered a flush.
    pub(super) fn flush_answered(
        &mut self,
        key: Key,
        job: Key,
        upto: u64,
        result: Result<(), Fault>,
    ) {
        let Some(attempt) = self.attempts.remove(key) else { return };
        let path = attempt.path;
        if result.is_ok() && attempt.session == self.paths[path].session {
            self.unflushed.flushed(path, attempt.session, upto);
            let state = &mut self.paths[path];
            state.dirty = state.dirty.filter(|last| *last > upto);
            if state.debt.owes(Kind::Flush) {
                self.pay(path, Kind::Flush);
            }
        }
        if !attempt.is_live() {
            return;
        }
        if result.is_ok()
            && let Some(flushing) = self.flushing(job)
        {
            flushing.asked &= !(1 << path);
            flushing.done |= 1 << path;
        } else {
            self.flush_failed(job, path);
        }
        match result {
            Ok(()) => {}
            Err(fault) if is_of_path(fault) => {
                let why = Why::Fault { kind: Kind::Flush, sector: 0, fault };
                self.fail_path(path, why, Some((Kind::Flush, 0)));
            }
            Err(fault) => {
                self.finish(job, Err(fault), None);
                return;
            }
        }
        self.step_flush(job);
    }

    /// A path's part of a flush has failed. What it was to cover may have been replaced since by
    /// newer writes in other caches: those are to be flushed, too.
    pub(super) fn flush_failed(&mut self, job: Key, path: usize) {
        let number = self.number;
        if let Some(flushing) = self.flushing(job) {
            flushing.asked &= !(1 << path);
            flushing.done = 0;
            flushing.upto = number;
        }
    }

    /// Writes again what no flush can reach; whether there is anything to wait for.
    fn replay(&mut self, flush: Key, upto: u64) -> bool {
        let Self { paths, claims, unflushed, .. } = self;
        let mut busy = false;
        let out_of_reach = |start: u64, record: &Record| {
            let path = &paths[record.path];
            if record.number > upto || path.is_active() && path.session == record.session {
                return false;
            }
            // A write under way may be replacing it; then that is to be flushed in its place.
            // If one has failed and may still land, nothing is known of the range as it is.
            let Some(at) = claims.conflict(&(start..record.end)) else { return true };
            let Some(claim) = claims.get(at) else { return true };
            let own = at == start && claim.id == record.claim && claim.end == record.end;
            busy |= claim.job.is_some();
            own && claim.job.is_none()
        };
        let lost = unflushed.take_lost(out_of_reach);
        if self.defects.has(Defect::UnreachableCacheForgotten) {
            return false;
        }
        if lost.is_empty() {
            if busy {
                self.claim_waiters.push(flush);
            }
            return busy;
        }
        let mut jobs = Vec::new();
        for (sector, record) in lost {
            let sectors = record.end - sector;
            let body = match record.contents {
                Contents::Data(data) => Body::Write(data, Durability::Cached),
                Contents::Zeros => Body::Zero(sectors),
            };
            let bytes = sectors * holdfast_core::size::SECTOR_BYTES;
            self.events.push_back(Event::Replayed { path: record.path, bytes });
            let Record { path, session, number, claim, .. } = record;
            let origin = Origin::Replay { flush, path, session, number, claim };
            let job = Job::new(origin, sector, body, self.now);
            jobs.push((self.jobs.insert(job), claim));
        }
        self.replaying += jobs.len();
        if let Some(flushing) = self.flushing(flush) {
            flushing.replays += jobs.len() as u32;
        }
        for (job, claim) in jobs {
            self.admit_replay(job, claim);
        }
        true
    }

    /// Begins a replay. The write it repeats may still haunt the range: the same bytes may be sent
    /// again under the same claim.
    fn admit_replay(&mut self, key: Key, claim: u64) {
        let range = self.jobs[key].range();
        let own = self.claims.conflict(&range).filter(|start| {
            let found = self.claims.get(*start);
            *start == range.start
                && found.is_some_and(|c| c.id == claim && c.end == range.end && c.job.is_none())
        });
        let Some(start) = own else {
            self.admit_write(key, false);
            return;
        };
        if let Some(found) = self.claims.get_mut(start) {
            found.job = Some(key);
        }
        self.jobs[key].claim = Some(start);
        self.dispatch(key);
    }

    /// What a replay that failed was to repeat still is not durable, and is kept. Nothing newer can
    /// have been begun there: the replay was in its way.
    pub(super) fn keep(&mut self, job: &Job) {
        let Origin::Replay { path, session, number, claim, .. } = job.origin else { return };
        let contents = match &job.body {
            Body::Write(data, _) => Contents::Data(data.clone()),
            _ => Contents::Zeros,
        };
        // Its own attempts may haunt the range now; the next replay may join them.
        let own = job.claim.and_then(|start| self.claims.get(start));
        let claim = own.map_or(claim, |claim| claim.id);
        let end = job.sector + job.sectors();
        let record = Record { end, contents, path, session, number, claim };
        self.unflushed.note(job.sector, record);
    }

    /// A replay is over; its flush goes on when it was the last.
    pub(super) fn replayed(&mut self, flush: Key, result: Result<(), Fault>) {
        self.replaying -= 1;
        if let Some(flushing) = self.flushing(flush) {
            flushing.replays -= 1;
            flushing.lost |= result.is_err();
            if flushing.replays == 0 {
                self.flush_anew(flush);
            }
        }
        if self.replaying == 0 {
            for waiting in std::mem::take(&mut self.flush_waiters) {
                self.flush_anew(waiting);
            }
        }
    }

    /// Writes that flushes waited for are over.
    pub(super) fn wake_flushes(&mut self) {
        for waiting in std::mem::take(&mut self.claim_waiters) {
            self.flush_anew(waiting);
        }
    }

    /// Goes on with a flush after writes were repeated: they may be in caches it had flushed before.
    fn flush_anew(&mut self, flush: Key) {
        let number = self.number;
        if let Some(flushing) = self.flushing(flush) {
            flushing.upto = number;
            flushing.done = 0;
            self.step_flush(flush);
        }
    }

    /// Flushes because too much is kept for replays.
    pub(super) fn begin_upkeep(&mut self) {
        let job = Job::new(Origin::Upkeep, 0, Body::Flush(Flushing::default()), self.now);
        let key = self.jobs.insert(job);
        self.upkeep = Some(key);
        self.admit(key);
    }
}
