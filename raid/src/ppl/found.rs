//! What a member's area says as a whole, and what all of them together ask for at assembly.
//!
//! | found | says |
//! |---|---|
//! | a log | what was in flight, or what had been when it was written: carrying it out is right either way |
//! | torn | a log was being written, so what it was to cover had not begun, and what the one before it covered was durable |
//! | void | zeros: no log was kept, because redundancy was not complete anyway |
//! | unusable | of another array, or nothing that holds together |
//!
//! Source: Linux `raid5-ppl.c` (`ppl_load`, `ppl_load_distributed`, `ppl_recover`, `ppl_init_log`).

use super::header::{Area, Entry, HEADER_BYTES, Header, PplError};
use super::replay::{Row, rows};
use crate::layout::Parity;

/// What one member's area says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: zeros where a header would be.
    Void,
    /// Part of a header.
    Torn,
    /// Something else.
    Unusable(PplError),
    /// The log that counts.
    Log(Log),
}

/// A log with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its header.
    pub header: Header,
    /// The partial parity of each entry; none where it is not what was written.
    pub partial: Vec<Option<Vec<u8>>>,
}

impl Found {
    /// What an area says that carries this array's signature.
    pub fn read(area: &[u8], signature: u32) -> Self {
        let blank = area.iter().take(HEADER_BYTES).all(|byte| *byte == 0);
        match Area::find(area, true, signature) {
            Ok(found) => {
                let partial = |index: usize| {
                    let sound = found.is_sound(area, index);
                    sound.then(|| area[found.partial(index)].to_vec())
                };
                let partial = (0..found.header.entries.len()).map(partial).collect();
                Self::Log(Log { header: found.header, partial })
            }
            Err(_) if blank => Self::Void,
            Err(PplError::Checksum { .. } | PplError::Signature { stored: 0, .. }) => Self::Torn,
            Err(error) => Self::Unusable(error),
        }
    }
}

/// A stretch of parity to be made anew, with the partial parity it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to read and where to write.
    pub row: Row,
    /// To be XORed with what is read, if anything is.
    pub partial: Option<Vec<u8>>,
}

/// What the logs of all members ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// In any order: no two make the same parity.
    pub steps: Vec<Step>,
    /// The newest generation there is.
    pub generation: u64,
    /// Entries that will be carried out.
    pub entries: usize,
    /// Logs or entries that are not what they should be, however harmless.
    pub mismatches: usize,
    /// Members whose area does not say what was in flight, by slot.
    pub silent: Vec<u32>,
}

impl Outlook {
    /// Takes in what the member on a slot says, whose first `rebuilt` sectors are good.
    pub fn hear(&mut self, slot: u32, rebuilt: u64, found: Option<&Found>, layout: &Parity) {
        match found {
            Some(Found::Log(log)) => self.hear_log(slot, rebuilt, log, layout),
            Some(Found::Torn) => self.mismatches += 1,
            None | Some(Found::Void | Found::Unusable(_)) => {
                self.mismatches += 1;
                self.silent.push(slot);
            }
        }
    }

    fn hear_log(&mut self, slot: u32, rebuilt: u64, log: &Log, layout: &Parity) {
        self.generation = self.generation.max(log.header.generation);
        for (entry, partial) in log.header.entries.iter().zip(&log.partial) {
            match partial.as_ref().and_then(|partial| steps(slot, entry, partial, layout)) {
                None => self.mismatches += 1,
                Some(steps) => {
                    self.entries += 1;
                    let good = |step: &Step| step.row.sector + step.row.sectors <= rebuilt;
                    self.steps.extend(steps.into_iter().filter(good));
                }
            }
        }
    }

    /// Whether redundancy is good once the steps have been taken, as far as an unclean stop may have
    /// spoilt it.
    ///
    /// With all members there a resync is the safer way, and is left out only as md leaves it out:
    /// when every log was whole and something had been in flight. Without one of them what it holds
    /// is what the others say, and they have said it if each told what was in flight.
    pub const fn settles(&self, degraded: bool) -> bool {
        if degraded {
            return self.silent.is_empty();
        }
        self.mismatches == 0 && self.entries > 0
    }
}

/// What an entry on the member of `slot` asks for; none if it cannot be one of this array.
fn steps(slot: u32, entry: &Entry, partial: &[u8], layout: &Parity) -> Option<Vec<Step>> {
    if entry.parity_slot != slot {
        return None;
    }
    let step = |row: Row| {
        let partial = row.partial.clone().map(|bytes| partial.get(bytes).map(<[u8]>::to_vec));
        match partial {
            Some(None) => None,
            partial => Some(Step { row, partial: partial.flatten() }),
        }
    };
    rows(entry, layout).ok()?.into_iter().map(step).collect()
}
