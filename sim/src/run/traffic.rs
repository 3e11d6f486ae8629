//! Requests: submitting them, and judging their answers against the ledger.

use holdfast_core::block::{BlockDevice, Completion, Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload, is_blank};
use holdfast_raid::Defects;

use super::{Flight, Mark, Oracle, PATIENCE, Run, Step};
use crate::content::{self, SECTOR, Value};
use crate::damage::Expect;
use crate::ledger::Wrong;

impl<X: Defects> Run<'_, X> {
    pub(super) fn submit(&mut self, sector: u64, op: Op, flight: Flight) -> Step {
        let tag = self.next_tag;
        self.next_tag += 1;
        let mut request = Request::new(Tag(tag), sector, op);
        for _ in 0..PATIENCE {
            let life = self.life;
            match self.array().submit(request) {
                Ok(()) => {
                    self.flying.insert(tag, (flight, sector));
                    return Ok(());
                }
                Err(back) => request = back,
            }
            self.release_all();
            self.pump_once()?;
            if self.life != life {
                // The machine went down with the request still in hand.
                return Ok(());
            }
        }
        self.violation(Oracle::Honesty, "a full queue never has room again".to_owned())
    }

    /// A range inside the array.
    pub(super) fn clamp(&self, sector: u64, sectors: u64) -> (u64, u64) {
        let all = self.rows.array_sectors();
        let sector = sector % all;
        self.in_blocks(sector, sectors.clamp(1, all - sector))
    }

    pub(super) fn write(&mut self, sector: u64, sectors: u64, fua: bool) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        self.versions += 1;
        let mut buf = Buf::zeroed(sectors as usize * SECTOR);
        content::fill(self.script.weather.seed, sector, self.versions, &mut buf);
        let value = Value::written(self.versions);
        let id = self.ledger.submit_write(sector, sectors, value, fua);
        let durability = if fua { Durability::Fua } else { Durability::Cached };
        self.submit(sector, Op::Write(Payload::from(buf), durability), Flight::Write(id))
    }

    pub(super) fn zero(&mut self, sector: u64, sectors: u64, discard: bool) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        // Contents after a discard mean something only where zeros are promised, or where what
        // is not forgotten stays as it was.
        if discard && !self.array().geometry().discard_zeroes && !self.rows.has_parity() {
            return Ok(());
        }
        let id = self.ledger.submit_write(sector, sectors, Value::ZERO, false);
        let op = if discard { Op::Discard(sectors) } else { Op::Zero(sectors) };
        self.submit(sector, op, Flight::Write(id))
    }

    pub(super) fn read(&mut self, sector: u64, sectors: u64) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        let asked = self.ledger.moment();
        let op = Op::Read(Buf::zeroed(sectors as usize * SECTOR));
        self.submit(sector, op, Flight::Read { asked })
    }

    pub(super) fn flush(&mut self) -> Step {
        let id = self.ledger.submit_flush();
        self.submit(0, Op::Flush, Flight::Flush(id))
    }

    pub(super) fn answered(&mut self, done: Completion) -> Step {
        let Some((flight, sector)) = self.flying.remove(&done.tag.0) else {
            return self.violation(Oracle::Honesty, format!("{:?} is answered twice", done.tag));
        };
        self.pulse.fold(done.tag.0 << 8 ^ u64::from(done.result.is_ok()));
        self.tell(|| format!("  {:?} at {sector}: {:?}", flight, done.result));
        match (flight, done.op) {
            (Flight::Read { asked }, Op::Read(buf)) => match done.result {
                Ok(()) => self.check_read(sector, &buf, asked),
                Err(fault) => {
                    let sectors = (buf.len() / SECTOR) as u64;
                    let what = || format!("read of {sectors} at {sector} answers {fault}");
                    self.check_error(sector..sector + sectors, false, what)
                }
            },
            (Flight::Write(id), op) => {
                // Parity levels forget whole stripes only: anywhere else the old data stays.
                let perhaps = matches!(op, Op::Discard(_)) && self.rows.has_parity();
                self.ledger.answer_write(id, done.result.is_ok() && !perhaps);
                let Err(fault) = done.result else { return Ok(()) };
                self.ledger.rows_of(id, &self.rows, self.damage.stained());
                self.reassess();
                let sectors = op.sectors();
                let what = || format!("write of {sectors} at {sector} answers {fault}");
                self.check_error(sector..sector + sectors, true, what)
            }
            (Flight::Flush(id), _) => match done.result {
                Ok(()) => {
                    self.ledger.answer_flush(id);
                    Ok(())
                }
                Err(_) if self.may_have_given_up() || self.room_is_short => Ok(()),
                Err(fault) => self.violation(Oracle::Needless, format!("a flush answers {fault}")),
            },
            (Flight::Read { .. }, op) => {
                self.violation(Oracle::Honesty, format!("a read is answered with {op:?}"))
            }
        }
    }

    pub(super) fn check_read(&mut self, sector: u64, bytes: &[u8], asked: u32) -> Step {
        let seed = self.script.weather.seed;
        let sectors = (bytes.len() / SECTOR) as u64;
        if is_blank(bytes) && self.damage.is_tame() && self.ledger.is_untouched(sector, sectors) {
            return Ok(());
        }
        for (index, part) in bytes.chunks_exact(SECTOR).enumerate() {
            let sector = sector + index as u64;
            if self.is_plainly_right(sector, part) {
                continue;
            }
            let row = self.rows.of(sector);
            if self.damage.expect(row) == Expect::PredictedSilent {
                self.marks.meet(Mark::PredictedSilent);
                continue;
            }
            let value = content::decode(seed, sector, part);
            let binding = !self.damage.is_torn(row);
            let Err(wrong) = self.ledger.read(sector, value, asked, binding) else { continue };
            let oracle = match wrong {
                Wrong::Lost => Oracle::Durability,
                Wrong::Changed => Oracle::Stability,
                Wrong::Untouched => Oracle::Untouched,
                Wrong::Invented => Oracle::SilentlyWrong,
            };
            let legal = self.ledger.legal(sector);
            let detail = format!(
                "sector {sector} (row {row}) holds {value} ({}), legal is {legal:?}, now {}",
                content::provenance(seed, part),
                self.clock.time(),
            );
            return self.violation(oracle, detail);
        }
        Ok(())
    }

    /// Zeros where nothing was ever written, in an array whose every row has a right answer.
    fn is_plainly_right(&self, sector: u64, part: &[u8]) -> bool {
        self.ledger.is_untouched(sector, 1) && self.damage.is_tame() && *part == content::ZEROS
    }

    /// An error is in order only where something was lost.
    pub(super) fn check_error(
        &mut self,
        range: std::ops::Range<u64>,
        write: bool,
        what: impl FnOnce() -> String,
    ) -> Step {
        let excused = |sector| self.damage.expect(self.rows.of(sector)) != Expect::MustOk;
        let broken = self.may_have_given_up();
        let lost = range.clone().any(excused);
        if lost || self.is_struck_too_hard() || write && (broken || self.room_is_short) {
            self.marks.meet(Mark::HonestError);
            return Ok(());
        }
        self.violation(Oracle::Needless, what())
    }
}
