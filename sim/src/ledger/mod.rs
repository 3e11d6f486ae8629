//! What a reader may legally see, sector by sector.
//!
//! The ledger writes down every request to the array with the moments at which it was submitted
//! and answered, and knows from that alone which contents are right. It never asks the array.
//!
//! Words. An *era* lasts from one crash to the next. A sector's *base* is what it may have held
//! when the era began: one value, or several after a crash. A write *supersedes* what had been
//! answered before the write was submitted, once the write itself is answered well. A write is
//! *durable* when it is answered and either carried FUA or was answered before a flush was
//! submitted that has been answered too.
//!
//! What follows:
//!
//! - a read may return what nothing superseded before the read was submitted;
//! - a write answered with an error, or not answered, may have happened or not;
//! - after a killed process the base is what a read could have returned; after a power cut it is
//!   what no *durable* write superseded;
//! - a killed process leaves the disks' caches as they are: until a flush, a power cut may still
//!   take back what it had been told was written;
//! - what was read stays until it is written: of several values the first reader sees chooses.

use std::collections::BTreeMap;

use crate::content::Value;
use crate::rows::{RowSet, Rows};

/// A moment in the order of requests and answers.
type Moment = u32;

/// Not answered.
const NEVER: Moment = Moment::MAX;

/// How a crash treats what is in caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; the disks do not notice.
    Kill,
    /// The power fails; what is not durable may be gone.
    PowerCut,
}

/// Why a value is not legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A write that was promised is gone.
    Lost,
    /// A value that had been read was replaced by an older or parallel one.
    Changed,
    /// Never written, and not what it was.
    Untouched,
    /// Contents nobody wrote there.
    Invented,
}

/// A write, a zeroing or a discard.
#[derive(Clone, Copy, Debug)]
struct Write {
    value: Value,
    sector: u64,
    sectors: u64,
    submitted: Moment,
    answered: Moment,
    ok: bool,
    fua: bool,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    write: u32,
    older: u32,
}

const END: u32 = u32::MAX;

/// What one sector was seen to hold.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: Value,
    at: Moment,
}

/// What is known of one sector.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// The newest write to it in this era.
    newest: u32,
    /// One value it may have held when the era began; the other possible ones are in `others`.
    base: Value,
    seen: Option<Seen>,
}

impl Cell {
    /// Zeros, as at the beginning.
    const UNTOUCHED: Self = Self { newest: END, base: Value::ZERO, seen: None };
}

/// Cells of neighbouring sectors.
const GROUP: usize = 64;

/// The ledger of an array. See the [module](self) for what it knows.
#[derive(Debug)]
pub struct Ledger {
    now: Moment,
    writes: Vec<Write>,
    links: Vec<Link>,
    /// Sectors by the [`GROUP`]; none where nothing was ever written.
    cells: Vec<Option<Box<[Cell; GROUP]>>>,
    others: BTreeMap<u64, Vec<Value>>,
    /// What a power cut may leave instead of the base, because a process was killed with writes
    /// in the caches and nothing has been flushed since.
    unsettled: BTreeMap<u64, Vec<Value>>,
    /// What a crash might have left and a reader's choice ruled out: other copies may hold it, as
    /// long as nothing has made them agree.
    ruled_out: BTreeMap<u64, Vec<Value>>,
    /// Readers who asked before this saw something that has been forgotten since.
    forgotten: Moment,
    /// Answers before this moment are durable.
    flushed: Moment,
    flushes: Vec<Moment>,
}

/// Names a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteId(u32);

/// Names a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushId(u32);

impl Ledger {
    /// An array of zeros.
    pub fn zeroed(sectors: u64) -> Self {
        Self {
            now: 1,
            writes: Vec::new(),
            links: Vec::new(),
            cells: vec![None; (sectors as usize).div_ceil(GROUP)],
            others: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            ruled_out: BTreeMap::new(),
            forgotten: 0,
            flushed: 0,
            flushes: Vec::new(),
        }
    }

    fn cell(&self, sector: u64) -> Cell {
        let group = self.cells[sector as usize / GROUP].as_deref();
        group.map_or(Cell::UNTOUCHED, |group| group[sector as usize % GROUP])
    }

    fn cell_mut(&mut self, sector: u64) -> &mut Cell {
        let group = self.cells[sector as usize / GROUP]
            .get_or_insert_with(|| Box::new([Cell::UNTOUCHED; GROUP]));
        &mut group[sector as usize % GROUP]
    }

    /// Sectors that somebody may have written to, and others beside them.
    fn touched(&self) -> impl Iterator<Item = u64> + use<> {
        let groups = self.cells.iter().enumerate().filter(|(_, group)| group.is_some());
        let groups: Vec<usize> = groups.map(|(index, _)| index).collect();
        groups.into_iter().flat_map(|index| (index * GROUP..(index + 1) * GROUP).map(|s| s as u64))
    }

    /// Whether nothing was ever written to these sectors: they hold zeros and nothing else.
    pub fn is_untouched(&self, sector: u64, sectors: u64) -> bool {
        let groups = sector as usize / GROUP..(sector + sectors).div_ceil(GROUP as u64) as usize;
        self.cells[groups].iter().all(Option::is_none)
    }

    const fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// The present moment, for a read that is submitted now.
    pub const fn moment(&mut self) -> u32 {
        self.tick()
    }

    /// A write of `value` is submitted.
    pub fn submit_write(&mut self, sector: u64, sectors: u64, value: Value, fua: bool) -> WriteId {
        let submitted = self.tick();
        let id = self.writes.len() as u32;
        self.writes.push(Write {
            value,
            sector,
            sectors,
            submitted,
            answered: NEVER,
            ok: false,
            fua,
        });
        for sector in sector..sector + sectors {
            let link = self.links.len() as u32;
            let older = std::mem::replace(&mut self.cell_mut(sector).newest, link);
            self.links.push(Link { write: id, older });
        }
        WriteId(id)
    }

    /// A write is answered.
    pub fn answer_write(&mut self, id: WriteId, ok: bool) {
        let now = self.tick();
        let write = &mut self.writes[id.0 as usize];
        (write.answered, write.ok) = (now, ok);
    }

    /// A flush is submitted.
    pub fn submit_flush(&mut self) -> FlushId {
        let now = self.tick();
        self.flushes.push(now);
        FlushId(self.flushes.len() as u32 - 1)
    }

    /// A flush is answered well.
    pub fn answer_flush(&mut self, id: FlushId) {
        self.tick();
        self.flushed = self.flushed.max(self.flushes[id.0 as usize]);
        self.unsettled.clear();
    }

    /// Everything answered so far is durable: the array was stopped in good order.
    pub fn flushed_all(&mut self) {
        self.flushed = self.tick();
        self.unsettled.clear();
    }

    fn writes_of(&self, sector: u64) -> impl Iterator<Item = Write> {
        let mut link = self.cell(sector).newest;
        std::iter::from_fn(move || {
            let Link { write, older } = *self.links.get(link as usize)?;
            link = older;
            Some(self.writes[write as usize])
        })
    }

    const fn is_durable(&self, write: &Write) -> bool {
        write.ok && (write.fua || write.answered < self.flushed)
    }

    /// Whether `sector` may hold `value` as far as `supersedes` goes: the moment at which the
    /// youngest superseding write was submitted.
    fn allows(&self, sector: u64, value: Value, youngest: Moment) -> bool {
        let written = |write: Write| write.value == value && write.answered >= youngest;
        let base = || {
            self.cell(sector).base == value
                || self.others.get(&sector).is_some_and(|others| others.contains(&value))
        };
        (youngest == 0 && base()) || self.writes_of(sector).any(written)
    }

    /// When the youngest write that `counts` was submitted; 0 if none does.
    fn youngest(&self, sector: u64, counts: impl Fn(&Write) -> bool) -> Moment {
        self.writes_of(sector).filter(counts).map(|write| write.submitted).max().unwrap_or(0)
    }

    /// A reader who asked at `asked` was told `value`. Whether that is right; if so, if nobody is
    /// writing there and it is `binding`, it is remembered.
    pub fn read(
        &mut self,
        sector: u64,
        value: Value,
        asked: u32,
        binding: bool,
    ) -> Result<(), Wrong> {
        let cell = self.cell(sector);
        let untouched = self.cells[sector as usize / GROUP].is_none();
        if untouched || cell.newest == END && self.others.is_empty() {
            // The usual case of a sector nobody has touched: there is nothing to choose.
            return if cell.base == value { Ok(()) } else { Err(self.verdict(sector, value)) };
        }
        let youngest = self.youngest(sector, |write| write.ok && write.answered < asked);
        if !self.allows(sector, value, youngest) {
            return Err(self.verdict(sector, value));
        }
        if let Some(seen) = cell.seen.filter(|seen| seen.at < asked) {
            let newer = |write: Write| write.value == value && write.answered > seen.at;
            if seen.value != value && !self.writes_of(sector).any(newer) {
                return Err(Wrong::Changed);
            }
        }
        // A reader among writers may have seen what was there before them.
        let alone = self.writes_of(sector).all(|write| write.answered < asked);
        if binding && alone && self.forgotten < asked {
            let at = self.tick();
            self.cell_mut(sector).seen = Some(Seen { value, at });
        }
        Ok(())
    }

    fn verdict(&self, sector: u64, value: Value) -> Wrong {
        match () {
            () if value.is_invented() => Wrong::Invented,
            () if self.cell(sector).newest == END && self.cell(sector).base == Value::ZERO => {
                Wrong::Untouched
            }
            () => Wrong::Lost,
        }
    }

    /// Everything a reader may see now, for messages.
    pub fn legal(&self, sector: u64) -> Vec<Value> {
        let youngest = self.youngest(sector, |write| write.ok);
        self.candidates(sector, youngest)
    }

    fn candidates(&self, sector: u64, youngest: Moment) -> Vec<Value> {
        let mut values: Vec<Value> = self
            .writes_of(sector)
            .filter(|write| write.answered >= youngest)
            .map(|write| write.value)
            .collect();
        if youngest == 0 {
            values.push(self.cell(sector).base);
            values.extend(self.others.get(&sector).into_iter().flatten());
        }
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Runs of sectors that could have several values since the last crash.
    pub fn open_choices(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for &sector in self.others.keys() {
            match runs.last_mut() {
                Some((start, sectors)) if *start + *sectors == sector => *sectors += 1,
                _ => runs.push((sector, 1)),
            }
        }
        runs
    }

    /// What was seen in these rows is no longer binding: where copies may differ, the one that
    /// was read is gone.
    pub fn forget_seen(&mut self, rows: &Rows, which: &RowSet) {
        self.forgotten = self.tick();
        for sector in self.touched() {
            if self.cell(sector).seen.is_some() && which.contains(rows.of(sector)) {
                self.cell_mut(sector).seen = None;
            }
        }
        let torn = |sector: &u64| which.contains(rows.of(*sector));
        let again: Vec<u64> = self.ruled_out.keys().copied().filter(torn).collect();
        for sector in again {
            let values = self.ruled_out.remove(&sector).expect("just seen");
            self.others.entry(sector).or_default().extend(values);
        }
    }

    /// Rows whose members a crash now would leave in disagreement.
    pub fn rows_in_doubt(&self, rows: &Rows, crash: Crash, doubt: &mut RowSet) {
        for write in &self.writes {
            let settled = match crash {
                Crash::Kill => write.answered != NEVER,
                Crash::PowerCut => self.is_durable(write),
            };
            if !settled {
                rows.insert_all(write.sector, write.sectors, doubt);
            }
        }
        if crash == Crash::PowerCut {
            self.unsettled.keys().for_each(|&sector| doubt.insert(rows.of(sector)));
        }
    }

    /// Rows of a write.
    pub fn rows_of(&self, id: WriteId, rows: &Rows, set: &mut RowSet) {
        let write = &self.writes[id.0 as usize];
        rows.insert_all(write.sector, write.sectors, set);
    }

    /// The machine stops in the middle of everything; a new era begins.
    pub fn crash(&mut self, crash: Crash) {
        let (mut others, mut unsettled) = (BTreeMap::new(), BTreeMap::new());
        for sector in self.touched() {
            let settled =
                !self.others.contains_key(&sector) && !self.unsettled.contains_key(&sector);
            if self.cell(sector).newest == END && settled {
                self.cell_mut(sector).seen = None;
                continue;
            }
            if let Some(base) = self.left_without_choice(sector) {
                *self.cell_mut(sector) = Cell { base, ..Cell::UNTOUCHED };
                continue;
            }
            let mut values = match crash {
                Crash::Kill => self.candidates(sector, self.youngest(sector, |write| write.ok)),
                Crash::PowerCut => self.after_power_cut(sector),
            };
            let possible = values.clone();
            self.keep_what_was_seen(sector, crash, &mut values);
            self.rule_out(sector, possible, &values);
            if crash == Crash::Kill {
                let left = self.after_power_cut(sector);
                if left.len() > 1 || left != values {
                    unsettled.insert(sector, left);
                }
            }
            if values.len() > 1 {
                others.insert(sector, values[1..].to_vec());
            }
            *self.cell_mut(sector) = Cell { base: values[0], ..Cell::UNTOUCHED };
        }
        self.others = others;
        self.unsettled = unsettled;
        self.writes.clear();
        self.links.clear();
    }

    /// The one value that any crash now would leave of a sector, in the usual case: everything about
    /// it is written by the newest write, and that is durable.
    fn left_without_choice(&self, sector: u64) -> Option<Value> {
        let durable = |write: &Write| self.is_durable(write);
        let newest = self.writes_of(sector).next().filter(durable)?;
        let known = [&self.others, &self.unsettled, &self.ruled_out];
        if known.iter().any(|values| values.contains_key(&sector)) {
            return None;
        }
        // Who was answered before the newest was submitted is superseded by it.
        let over = |write: Write| write.answered < newest.submitted;
        let alone = self.writes_of(sector).skip(1).all(over);
        alone.then_some(newest.value)
    }

    /// Of what a crash might have left, a reader's choice has kept only some.
    fn rule_out(&mut self, sector: u64, possible: Vec<Value>, kept: &[Value]) {
        let rewritten = self.youngest(sector, |write| self.is_durable(write)) > 0;
        let before = self.ruled_out.remove(&sector).filter(|_| !rewritten);
        let mut out: Vec<Value> = before.into_iter().flatten().chain(possible).collect();
        out.retain(|value| !kept.contains(value));
        if !out.is_empty() {
            self.ruled_out.insert(sector, out);
        }
    }

    /// Everything a power cut now may leave of a sector, whatever has been seen there.
    fn after_power_cut(&self, sector: u64) -> Vec<Value> {
        let youngest = self.youngest(sector, |write| self.is_durable(write));
        let mut values = self.candidates(sector, youngest);
        if let Some(others) = self.unsettled.get(&sector).filter(|_| youngest == 0) {
            values.extend(others);
            values.sort_unstable();
            values.dedup();
        }
        values
    }

    /// A value that was read stays over a crash if it had been there since the last one and is in
    /// no cache, or has been made durable since it was read.
    fn keep_what_was_seen(&self, sector: u64, crash: Crash, values: &mut Vec<Value>) {
        let Some(seen) = self.cell(sector).seen else { return };
        let untouched = self.cell(sector).newest == END && !self.unsettled.contains_key(&sector);
        if crash == Crash::Kill || untouched || seen.at < self.flushed {
            let newer = |value: &Value| {
                let later = |write: Write| write.value == *value && write.answered > seen.at;
                self.writes_of(sector).any(later)
            };
            values.retain(|value| *value == seen.value || newer(value));
        }
    }

    /// From now on the sector holds this, whatever it may have held: it was beyond saving and has
    /// been looked at.
    pub fn settle(&mut self, sector: u64, value: Value) {
        self.others.remove(&sector);
        self.unsettled.remove(&sector);
        self.ruled_out.remove(&sector);
        *self.cell_mut(sector) = Cell { base: value, ..Cell::UNTOUCHED };
    }
}

#[cfg(test)]
mod tests;
