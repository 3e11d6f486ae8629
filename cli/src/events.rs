//! What an array reports, as sentences.
//!
//! The library's events are values; here they become text, with paths in place of indices. What a
//! verb says by itself anyway (that a pass began and ended, that a member failed because somebody
//! asked for it) has no sentence.

use std::collections::BTreeMap;
use std::ops::Range;

use holdfast_core::block::Fault;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::event::{Event, FailReason};

use crate::report::Report;

/// Entries of any list in an answer, and sentences about events; what is beyond is counted.
pub(crate) const MOST_SHOWN: usize = 1000;

/// What the command line calls devices and slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Paths, by device index.
    pub(crate) devices: Vec<String>,
    /// Path or `slot N (missing)`, by slot.
    pub(crate) slots: Vec<String>,
}

impl Names {
    /// A device's path.
    pub(crate) fn device(&self, member: usize) -> &str {
        self.devices.get(member).map_or("?", String::as_str)
    }

    /// Who is in a slot.
    pub(crate) fn slot(&self, slot: u32) -> String {
        self.slots.get(slot as usize).cloned().unwrap_or_else(|| format!("slot {slot}"))
    }
}

/// A sentence for an event worth one.
pub(crate) fn sentence(event: &Event, names: &Names) -> Option<String> {
    let name = |member: &usize| names.device(*member);
    Some(match event {
        Event::MemberFailed { reason: FailReason::Requested, .. } => return None,
        Event::MemberFailed { member, slot, reason } => {
            let place = slot.map_or_else(|| "a spare".to_owned(), |slot| format!("slot {slot}"));
            format!("{} ({place}) is faulty now: {reason}", name(member))
        }
        Event::MemberLost { member, slot, reason } => format!(
            "{} (slot {slot}) cannot be used ({reason}), and the array cannot do without it",
            name(member)
        ),
        Event::ReadCorrected { member, sector, sectors } => format!(
            "{}: {} were unreadable and have been rewritten from redundancy",
            name(member),
            sector_range(*sector, *sectors)
        ),
        Event::BadBlocks { member, sector, sectors } => listed(name(member), *sector, *sectors),
        Event::NoSpace { member, sector, sectors } => no_space(name(member), *sector, *sectors),
        Event::MemberSlow { member } => format!("{} is slow to answer", name(member)),
        Event::MemberInSync { member, slot } => {
            format!("{} holds slot {slot} now, in sync", name(member))
        }
        Event::SpareActivated { member, slot } => {
            format!("{} takes slot {slot} and is being rebuilt", name(member))
        }
        Event::MemberReturned { member, slot } => {
            format!("{} has slot {slot} again and is given what it missed", name(member))
        }
        Event::ReplacementStarted { member, with, slot } => {
            format!("{} is filled to replace {} in slot {slot}", name(with), name(member))
        }
        Event::Replaced { member, by, slot } => {
            format!(
                "{} has replaced {} in slot {slot}, which is out of service",
                name(by),
                name(member)
            )
        }
        Event::RangeFailed { sector, sectors, write, fault, .. } => {
            let sectors = *sector..sector + sectors;
            Failed { sectors, write: *write, fault: *fault }.sentence()
        }
        Event::Broken => {
            "more is lost than the array bears; it takes no writes any more".to_owned()
        }
        Event::SyncStarted { .. } | Event::SyncFinished { .. } | Event::Mismatch { .. } => {
            return None;
        }
    })
}

fn listed(name: &str, sector: u64, sectors: u64) -> String {
    format!("{name}: {} entered its bad-block log", sector_range(sector, sectors))
}

fn no_space(name: &str, sector: u64, sectors: u64) -> String {
    let range = sector_range(sector, sectors);
    format!("{name}: no space left for {range}; make room, then holdfast rebuild")
}

/// Tells events as they come, and remembers little of them however many there are: a member whose
/// file system is full gets one sentence in the end, so does what the array could not store for
/// that reason; neighbouring ranges are told as one, and nobody hears more than [`MOST_SHOWN`].
#[derive(Debug, Default)]
pub(crate) struct Teller {
    /// Somebody else tells: nothing is said here.
    silent: bool,
    told: usize,
    untold: u64,
    /// By name: the sectors for which there was no room, and those between.
    full: BTreeMap<String, Range<u64>>,
    /// The same of the array.
    refused: Option<Range<u64>>,
    /// A range that failed and may go on.
    open: Option<Failed>,
    /// Sectors that entered a member's bad-block log, by its name; they may go on.
    listed: Option<(String, Range<u64>)>,
}

/// A range of the array that could not be read or written.
#[derive(Debug)]
struct Failed {
    sectors: Range<u64>,
    write: bool,
    fault: Fault,
}

impl Failed {
    fn sentence(&self) -> String {
        let Range { start, end } = self.sectors;
        let range = byte_range(start * SECTOR_BYTES, (end - start) * SECTOR_BYTES);
        let done = if self.write { "written" } else { "read" };
        format!("array {range} could not be {done}: {}", self.fault)
    }
}

impl Teller {
    /// From now on somebody else tells, or nobody.
    pub(crate) const fn be_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Says what happened, or keeps it for [`Teller::finish`].
    pub(crate) fn take(&mut self, event: &Event, names: &Names, report: &Report) {
        let wider = |known: Option<&Range<u64>>, first: u64, sectors: u64| {
            let end = first + sectors;
            known.map_or(first..end, |known| known.start.min(first)..known.end.max(end))
        };
        match event {
            Event::NoSpace { member, sector, sectors } => {
                let name = names.device(*member);
                let range = wider(self.full.get(name), *sector, *sectors);
                self.full.insert(name.to_owned(), range);
            }
            Event::RangeFailed { sector, sectors, write: true, fault: Fault::Full, .. } => {
                self.refused = Some(wider(self.refused.as_ref(), *sector, *sectors));
            }
            Event::RangeFailed { sector, sectors, write, fault, .. } => {
                if let Some(open) = &mut self.open
                    && (open.sectors.end, open.write, open.fault) == (*sector, *write, *fault)
                {
                    open.sectors.end += sectors;
                    return;
                }
                self.close(report);
                let sectors = *sector..sector + sectors;
                self.open = Some(Failed { sectors, write: *write, fault: *fault });
            }
            Event::BadBlocks { member, sector, sectors } => {
                let name = names.device(*member);
                if let Some((listed, range)) = &mut self.listed
                    && listed == name
                    && range.end == *sector
                {
                    range.end += sectors;
                    return;
                }
                self.close(report);
                self.listed = Some((name.to_owned(), *sector..sector + sectors));
            }
            _ => {
                self.close(report);
                if let Some(text) = sentence(event, names) {
                    self.say(&text, report);
                }
            }
        }
    }

    /// Says what failed and what was listed, now that it does not go on.
    fn close(&mut self, report: &Report) {
        if let Some((name, Range { start, end })) = self.listed.take() {
            self.say(&listed(&name, start, end - start), report);
        }
        if let Some(open) = self.open.take() {
            self.say(&open.sentence(), report);
        }
    }

    fn say(&mut self, text: &str, report: &Report) {
        if self.silent {
            return;
        }
        if self.told < MOST_SHOWN {
            self.told += 1;
            report.note(text);
        } else {
            self.untold += 1;
        }
    }

    /// Whether a member had no room for a write.
    pub(crate) fn lacks_space(&self) -> bool {
        !self.full.is_empty()
    }

    /// Whether [`Teller::finish`] would have something to say.
    pub(crate) fn is_holding(&self) -> bool {
        let Self { untold, full, refused, open, listed, silent: _, told: _ } = self;
        *untold > 0 || !full.is_empty() || refused.is_some() || open.is_some() || listed.is_some()
    }

    /// Says what was kept, and begins anew.
    pub(crate) fn finish(&mut self, report: &Report) {
        self.close(report);
        let silent = self.silent;
        let Self { untold, full, refused, .. } =
            std::mem::replace(self, Self { silent, ..Self::default() });
        if silent {
            return;
        }
        if untold > 0 {
            report.note(format_args!("… and {untold} more of the kind"));
        }
        if let Some(sectors) = refused {
            let failed = Failed { sectors, write: true, fault: Fault::Full };
            report.note(format_args!("{}, in parts or in full", failed.sentence()));
        }
        for (name, Range { start, end }) in full {
            report.note(no_space(&name, start, end - start));
        }
    }
}

/// `sectors 6784..6911`, both ends included, as disks are spoken of.
pub(crate) fn sector_range(sector: u64, sectors: u64) -> String {
    match sectors {
        0 | 1 => format!("sector {sector}"),
        _ => format!("sectors {sector}..{}", sector + sectors - 1),
    }
}

/// `bytes 4096..8191 (4 KiB)`, both ends included.
pub(crate) fn byte_range(offset: u64, length: u64) -> String {
    let last = offset + length.max(1) - 1;
    format!("bytes {offset}..{last} ({})", Human(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_member_range_and_reason() {
        let devices = (0..3).map(|member| format!("disk{member}.img")).collect();
        let names = Names { devices, slots: Vec::new() };
        let failed =
            Event::MemberFailed { member: 2, slot: Some(1), reason: FailReason::Read(Fault::Gone) };
        assert_eq!(
            sentence(&failed, &names).unwrap(),
            "disk2.img (slot 1) is faulty now: read failed: device is gone"
        );
        let bad = Event::BadBlocks { member: 0, sector: 8, sectors: 8 };
        assert_eq!(
            sentence(&bad, &names).unwrap(),
            "disk0.img: sectors 8..15 entered its bad-block log"
        );
    }

    #[test]
    fn a_full_member_gets_one_sentence_and_a_flood_is_counted() {
        let names = Names { devices: vec!["disk0.img".to_owned()], slots: Vec::new() };
        let report = Report::new(true);
        let mut teller = Teller::default();
        for at in 0..3 {
            let full = Event::NoSpace { member: 0, sector: 64 + at * 8, sectors: 8 };
            teller.take(&full, &names, &report);
            let (fault, slots) = (Fault::Timeout, Vec::new());
            let sector = at * 8;
            let failed = Event::RangeFailed { sector, sectors: 8, write: false, fault, slots };
            teller.take(&failed, &names, &report);
        }
        assert!(teller.lacks_space());
        let slow = Event::MemberSlow { member: 0 };
        (0..MOST_SHOWN + 4).for_each(|_| teller.take(&slow, &names, &report));
        teller.finish(&report);
        let notes = report.notes();
        assert_eq!(notes.len(), MOST_SHOWN + 2);
        assert!(
            notes[0].starts_with("array bytes 0..12287 (12 KiB) could not be read"),
            "{notes:?}"
        );
        assert_eq!(
            &notes[MOST_SHOWN..],
            [
                "… and 5 more of the kind",
                "disk0.img: no space left for sectors 64..87; make room, then holdfast rebuild"
            ]
        );
        assert!(!teller.lacks_space());
    }
}
