//! What a reader may see, from what users were told.
//!
//! Each write has a beginning, when it was handed in, and an end, when it was answered, well or not.
//! A write *replaces* another for good if it began after the other's end and was acknowledged. A
//! reader may see any write that began before the reader was answered and that was not replaced, for
//! good and acknowledged, before the reader began. In particular: once a newer write is
//! acknowledged, an older one that was answered before it began is never seen again, whatever
//! became of it. A write that failed may or may not have happened until it is replaced.

/// Which write a sector's contents are from; 0 is nobody's.
pub type Stamp = u64;

#[derive(Clone, Copy, Debug)]
struct Write {
    stamp: Stamp,
    began: u64,
    ended: Option<u64>,
    acknowledged: bool,
    fua: bool,
}

/// All writes to all sectors; moments are counted, not measured.
#[derive(Debug)]
pub struct Ledger {
    writes: Vec<Vec<Write>>,
    /// What the last reader saw of a sector while nothing was changing, and when.
    settled: Vec<Option<(Stamp, u64)>>,
    moment: u64,
    /// The beginning of the last acknowledged flush.
    flushed: u64,
}

impl Ledger {
    /// A disk of zeros.
    pub fn new(sectors: u64) -> Self {
        let zero = Write { stamp: 0, began: 0, ended: Some(0), acknowledged: true, fua: true };
        Self {
            writes: vec![vec![zero]; sectors as usize],
            settled: vec![None; sectors as usize],
            moment: 0,
            flushed: 0,
        }
    }

    /// The next moment.
    pub const fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// A write is handed in.
    pub fn begin(&mut self, sector: u64, stamp: Stamp, fua: bool) {
        let began = self.tick();
        let write = Write { stamp, began, ended: None, acknowledged: false, fua };
        self.writes[sector as usize].push(write);
        self.settled[sector as usize] = None;
    }

    /// A write is answered.
    pub fn end(&mut self, sector: u64, stamp: Stamp, acknowledged: bool) {
        let ended = self.tick();
        let writes = &mut self.writes[sector as usize];
        if let Some(write) = writes.iter_mut().rev().find(|write| write.stamp == stamp) {
            write.ended = Some(ended);
            write.acknowledged = acknowledged;
        }
    }

    /// A flush that began at this moment is acknowledged.
    pub fn flushed(&mut self, began: u64) {
        self.flushed = self.flushed.max(began);
    }

    fn replaced(&self, sector: u64, write: &Write, before: u64, durable: bool) -> bool {
        let Some(end) = write.ended else { return false };
        self.writes[sector as usize].iter().any(|other| {
            let done = other.ended.is_some_and(|ended| ended < before);
            let safe = !durable
                || (other.fua || other.ended.is_some_and(|at| at < self.flushed))
                    && !self.failed_since(sector, other);
            other.acknowledged && done && safe && other.began > end
        })
    }

    /// Whether a write failed that began after this one: after an error nothing is known of what is
    /// durable there.
    fn failed_since(&self, sector: u64, write: &Write) -> bool {
        self.writes[sector as usize]
            .iter()
            .any(|other| other.began > write.began && other.ended.is_some() && !other.acknowledged)
    }

    /// Whether a reader that began at `began` and is answered now may have seen this.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn read(&mut self, sector: u64, stamp: Stamp, began: u64) -> Result<(), String> {
        let writes = &self.writes[sector as usize];
        let Some(write) = writes.iter().find(|write| write.stamp == stamp).copied() else {
            return Err(format!("sector {sector}: nobody wrote {stamp}"));
        };
        if self.replaced(sector, &write, began, false) {
            return Err(format!(
                "sector {sector}: write {stamp} was replaced before the read began"
            ));
        }
        if let Some((before, seen)) = self.settled[sector as usize]
            && before != stamp
            && seen < began
        {
            let what = "no write between";
            return Err(format!("sector {sector}: {before} was seen, now {stamp}: {what}"));
        }
        // With a failed write about that nothing has replaced, it may yet change.
        let open = writes.iter().any(|write| {
            write.ended.is_none()
                || !write.acknowledged && !self.replaced(sector, write, u64::MAX, false)
        });
        let quiet = writes.iter().all(|write| write.ended.is_some_and(|end| end < began));
        if quiet && !open {
            self.settled[sector as usize] = Some((stamp, self.moment));
        }
        Ok(())
    }

    /// Whether a sector may hold this after a power cut.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn after_power_cut(&self, sector: u64, stamp: Stamp) -> Result<(), String> {
        let writes = &self.writes[sector as usize];
        let Some(write) = writes.iter().find(|write| write.stamp == stamp) else {
            return Err(format!("sector {sector}: nobody wrote {stamp}"));
        };
        if self.replaced(sector, write, u64::MAX, true) {
            return Err(format!(
                "sector {sector}: write {stamp} after a power cut, but a newer one was flushed"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_writes_are_not_seen_again_and_concurrent_ones_may_come_in_any_order() {
        let mut ledger = Ledger::new(1);
        ledger.begin(0, 1, false);
        let reader = ledger.tick();
        assert!(ledger.read(0, 0, reader).is_ok() && ledger.read(0, 1, reader).is_ok());
        ledger.end(0, 1, false);
        ledger.begin(0, 2, false);
        ledger.begin(0, 3, false);
        ledger.end(0, 3, true);
        ledger.end(0, 2, true);
        let reader = ledger.tick();
        assert!(ledger.read(0, 1, reader).is_err(), "failed, and replaced since");
        assert!(ledger.read(0, 9, reader).is_err());
        assert!(ledger.read(0, 2, reader).is_ok(), "either may have been last");
        let reader = ledger.tick();
        assert!(ledger.read(0, 3, reader).is_err(), "but then it stays");
        assert!(ledger.read(0, 2, reader).is_ok());
    }

    #[test]
    fn a_power_cut_keeps_what_was_flushed_or_newer() {
        let mut ledger = Ledger::new(1);
        for stamp in [1, 2, 3] {
            ledger.begin(0, stamp, false);
            ledger.end(0, stamp, true);
            if stamp == 2 {
                let flush = ledger.tick();
                ledger.flushed(flush);
            }
        }
        assert!(ledger.after_power_cut(0, 1).is_err());
        assert!(ledger.after_power_cut(0, 2).is_ok() && ledger.after_power_cut(0, 3).is_ok());
    }
}
