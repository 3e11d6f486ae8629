//! Cutting a band into parts that try by themselves: blocks of 4 KiB, and sectors where a block
//! does not succeed either.
//!
//! When some member is bad in some of its sectors only, the rows it spoils are few, and the others
//! should not suffer for them: two members unreadable in different places lose nothing.

use std::ops::Range;

use holdfast_core::block::Fault;
use holdfast_core::slab::Key;

use super::band::{Band, CellState, ReadPhase, Work};
use super::{Array, BLOCK_SECTORS, Defects, State, Unit};

impl<X: Defects> Array<X> {
    /// Whether parts of the rows may fare better than the whole: some member there is bad in some
    /// of its sectors only.
    pub(super) fn can_shatter(&self, key: Key) -> bool {
        let band = &self.bands[key];
        self.finer_grain(&band.rows).is_some()
            && (0..self.slots.len()).any(|slot| {
                let Some(member) = self.member_on(slot as u32) else {
                    return false;
                };
                let member = &self.members[member];
                let medium = matches!(
                    band.cells[slot].state,
                    CellState::Unread(Fault::Medium | Fault::Corrupt)
                );
                let partly =
                    matches!(member.state, State::InSync { .. } | State::Rebuilding { .. });
                medium || (partly && !member.can_read(band.first, band.sectors()))
            })
    }

    /// Cuts a band into smaller ones under the same lock. What was read so far is read again.
    pub(super) fn shatter_band(&mut self, key: Key) {
        let band = self.bands.remove(key).expect("a running band");
        let grain = self.finer_grain(&band.rows).expect("a band that can be cut");
        let lock = band.lock.expect("a running band has its lock");
        let mut pieces: Vec<Range<u64>> = Vec::new();
        let mut lo = band.rows.start;
        while lo < band.rows.end {
            let hi = (lo / grain * grain + grain).min(band.rows.end);
            pieces.push(lo..hi);
            lo = hi;
        }
        let more = pieces.len() as u32 - 1;
        self.locks.share(lock, more);
        let mut reserved = band.reserved;
        for rows in pieces {
            let bytes = Self::bytes_of(rows.start - band.rows.start)
                ..Self::bytes_of(rows.end - band.rows.start);
            let work = match &band.work {
                Work::Read { op, d, at, .. } => {
                    let phase = ReadPhase::Rebuild;
                    Work::Read { op: *op, d: *d, at: at + bytes.start, phase }
                }
                Work::Write { parts, data, durability, phase } => Work::Write {
                    parts: parts.clone(),
                    data: data.iter().map(|d| Some(d.as_ref()?.slice(bytes.clone()))).collect(),
                    durability: *durability,
                    phase: *phase,
                },
                Work::Discard { .. } => unreachable!("a discard is never cut"),
            };
            // A direct read of the block may work where the whole did not.
            let work = match work {
                Work::Read { op, d, at, .. } => Work::Read { op, d, at, phase: ReadPhase::Direct },
                write => write,
            };
            let mut block = Band::new(band.stripe, rows, work, reserved);
            reserved = 0;
            block.start(lock, band.heals);
            block.fragment = grain < BLOCK_SECTORS;
            if band.is_write()
                && let Some(intent) = &mut self.intent
            {
                let start = band.first - band.rows.start;
                intent.begin(start + block.rows.start..start + block.rows.end);
            }
            let block = self.bands.insert(block);
            self.ready.push_back(Unit::Band(block));
        }
        match &band.work {
            Work::Read { op, .. } => self.ops[*op].left += more,
            Work::Write { parts, .. } => {
                for part in parts {
                    self.ops[part.op].left += more;
                }
                *self.busy.get_mut(&band.stripe).expect("a write keeps its stripe busy") += more;
                // Each block has begun its own rows by now and will end them.
                if let Some(intent) = &mut self.intent {
                    intent.end(band.first..band.first + band.sectors(), self.now);
                }
            }
            Work::Discard { .. } => unreachable!("a discard is never cut"),
        }
    }
}
