//! What an array reports, as sentences.
//!
//! The library's events are values; here they become text, with paths in place of indices. What a
//! verb says by itself anyway (that a pass began and ended, that a member failed because somebody
//! asked for it) has no sentence.

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::event::{Event, FailReason};

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
        Event::BadBlocks { member, sector, sectors } => format!(
            "{}: {} entered its bad-block log",
            name(member),
            sector_range(*sector, *sectors)
        ),
        Event::NoSpace { member, sector, sectors } => format!(
            "{}: no space left for {}; make room, then holdfast rebuild",
            name(member),
            sector_range(*sector, *sectors)
        ),
        Event::MemberSlow { member } => format!("{} is slow to answer", name(member)),
        Event::MemberInSync { member, slot } => {
            format!("{} holds slot {slot} now, in sync", name(member))
        }
        Event::SpareActivated { member, slot } => {
            format!("{} takes slot {slot} and is being rebuilt", name(member))
        }
        Event::RangeFailed { sector, sectors, write, fault, .. } => format!(
            "array {} could not be {}: {fault}",
            byte_range(sector * SECTOR_BYTES, sectors * SECTOR_BYTES),
            if *write { "written" } else { "read" },
        ),
        Event::Broken => {
            "more is lost than the array bears; it takes no writes any more".to_owned()
        }
        Event::SyncStarted { .. } | Event::SyncFinished { .. } | Event::Mismatch { .. } => {
            return None;
        }
    })
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
    use holdfast_core::block::Fault;

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
}
