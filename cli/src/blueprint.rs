//! A new array on paper: from the words of `create` and `plan` to the library's plan, and the
//! plan told to people and machines.

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::layout::{Layout, Shape, names};
use holdfast_raid::level::Level;
use holdfast_raid::superblock::create::PlannedMember;
use holdfast_raid::superblock::{
    CreateError, Name, NewArray, NewMember, Plan, Resync, Timestamp, Uuid, plan,
};
use serde::Serialize;

use crate::config::New;
use crate::exit::Failure;
use crate::row;
use crate::survival::{Fatal, fatal_sets};
use crate::table;

/// A device as far as planning cares.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) sectors: u64,
    pub(crate) uuid: Uuid,
    pub(crate) write_mostly: bool,
}

/// What an array is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming {
    pub(crate) name: Name,
    pub(crate) uuid: Uuid,
    pub(crate) now: Timestamp,
}

/// Works the wishes out. `seats` are slots in order, then spares.
pub(crate) fn draft(
    new: &New,
    seats: &[Option<Device>],
    naming: Naming,
    assume_clean: bool,
) -> Result<Plan, Failure> {
    try_draft(new, seats, naming, assume_clean).map_err(|error| create_failure(&error, seats))
}

fn try_draft(
    new: &New,
    seats: &[Option<Device>],
    naming: Naming,
    assume_clean: bool,
) -> Result<Plan, CreateError> {
    let member = |device: &Device| NewMember {
        write_mostly: device.write_mostly,
        ..NewMember::new(device.sectors, device.uuid)
    };
    let (slots, spares) = seats.split_at(new.shape.raid_disks as usize);
    let array = NewArray {
        level: new.shape.level,
        layout: new.shape.layout,
        chunk_sectors: new.shape.chunk_sectors,
        minor: new.minor,
        bitmap: new.bitmap,
        ppl: new.ppl,
        size: new.size_sectors,
        data_offset: new.data_offset_sectors,
        name: naming.name,
        set_uuid: naming.uuid,
        now: naming.now,
        members: slots.iter().map(|seat| seat.as_ref().map(member)).collect(),
        spares: spares.iter().flatten().map(member).collect(),
        assume_clean,
    };
    plan(&array)
}

/// Why no such array can be made, with names in place of numbers.
fn create_failure(error: &CreateError, seats: &[Option<Device>]) -> Failure {
    let name = |member: usize| {
        seats.get(member).and_then(Option::as_ref).map_or("?", |device| device.name.as_str())
    };
    match error {
        CreateError::TooSmall { member, have, need } => {
            let (has, needs) = (Human(have * SECTOR_BYTES), Human(need * SECTOR_BYTES));
            Failure::error(format!("{}: has {has}, but {needs} are needed", name(*member)))
                .hint("a smaller --size, --chunk or --data-offset needs less")
        }
        CreateError::TooLarge { member, .. } => {
            Failure::error(format!("{}: is larger than md can address", name(*member)))
        }
        CreateError::NoBitmapRoom => Failure::error(error.to_string()).hint("--bitmap none"),
        other => Failure::usage(other.to_string()),
    }
}

/// The answer of `create` and `plan`.
#[derive(Debug, Serialize)]
pub(crate) struct Blueprint {
    level: &'static str,
    layout: Option<String>,
    layout_number: u32,
    chunk_bytes: u64,
    raid_devices: u32,
    spare_devices: usize,
    array_bytes: u64,
    member_data_bytes: u64,
    metadata: String,
    raw_bytes: u64,
    redundancy_bytes: u64,
    overhead_bytes: u64,
    bitmap: Option<PlannedBitmap>,
    ppl: Option<PlannedPpl>,
    resync_needed: bool,
    members: Vec<Planned>,
    losses: Vec<Losses>,
}

#[derive(Debug, Serialize)]
struct PlannedBitmap {
    offset_sectors: i32,
    chunk_bytes: u32,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct PlannedPpl {
    offset_sectors: i16,
    size_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Planned {
    path: String,
    slot: Option<u16>,
    dev_number: u32,
    size_bytes: u64,
    super_offset_bytes: u64,
    data_offset_bytes: u64,
    data_bytes: u64,
    bad_block_log_offset_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Losses {
    members_lost: u32,
    sets: u64,
    fatal_sets: u64,
}

impl Blueprint {
    /// Tells a plan.
    pub(crate) fn new(new: &New, plan: &Plan, seats: &[Option<Device>]) -> Self {
        let shape = new.shape;
        let names: Vec<&str> = seats.iter().flatten().map(|device| device.name.as_str()).collect();
        let in_slots = || plan.members.iter().filter(|member| member.slot.is_some());
        let used = |member: &PlannedMember| match plan.size {
            0 => member.data_size,
            size => size,
        };
        let raw: u64 = in_slots().map(|member| member.device.sectors).sum();
        let data: u64 = in_slots().map(used).sum();
        // What the absent members would hold counts as redundancy given up, not as overhead.
        let redundancy = data.saturating_sub(plan.array_sectors);
        Self {
            level: shape.level.name(),
            layout: layout_name(new),
            layout_number: shape.layout,
            chunk_bytes: u64::from(shape.chunk_sectors) * SECTOR_BYTES,
            raid_devices: shape.raid_disks,
            spare_devices: plan.members.iter().filter(|member| member.slot.is_none()).count(),
            array_bytes: plan.array_sectors * SECTOR_BYTES,
            member_data_bytes: plan.size * SECTOR_BYTES,
            metadata: new.minor.to_string(),
            raw_bytes: raw * SECTOR_BYTES,
            redundancy_bytes: redundancy * SECTOR_BYTES,
            overhead_bytes: raw.saturating_sub(data) * SECTOR_BYTES,
            bitmap: plan.bitmap.as_ref().map(|bitmap| PlannedBitmap {
                offset_sectors: bitmap.offset,
                chunk_bytes: bitmap.header.chunk_bytes,
                size_bytes: bitmap.sectors * SECTOR_BYTES,
            }),
            ppl: plan.ppl.map(|ppl| PlannedPpl {
                offset_sectors: ppl.offset,
                size_bytes: u64::from(ppl.sectors) * SECTOR_BYTES,
            }),
            resync_needed: plan.resync != Resync::Clean,
            members: plan
                .members
                .iter()
                .zip(names)
                .map(|(member, name)| planned(member, name))
                .collect(),
            losses: losses(new, plan, seats),
        }
    }

    /// The lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let share = |bytes: u64| {
            let share = percent(bytes, self.raw_bytes);
            format!("{} ({share} % of {})", Human(bytes), Human(self.raw_bytes))
        };
        let mut rows = vec![
            row!["array:", format!("{} ({} bytes)", Human(self.array_bytes), self.array_bytes)],
            row!["shape:", self.shape()],
            row!["redundancy:", share(self.redundancy_bytes)],
            row!["overhead:", share(self.overhead_bytes)],
        ];
        if let Some(bitmap) = &self.bitmap {
            let (chunk, size) = (Human(bitmap.chunk_bytes.into()), Human(bitmap.size_bytes));
            rows.push(row!["bitmap:", format!("a bit per {chunk}, {size} on each member")]);
        }
        if let Some(ppl) = &self.ppl {
            let size = Human(ppl.size_bytes);
            rows.push(row!["log:", format!("partial parity, {size} on each member")]);
        }
        let mut lines = table::lay_out(&rows);
        lines.push(String::new());
        lines.extend(self.member_lines());
        lines.push(String::new());
        lines.extend(self.losses.iter().map(Losses::line));
        if let Some(hint) = self.file_system_hint() {
            lines.extend([String::new(), hint]);
        }
        lines
    }

    /// `raid5 left-symmetric, 4 slots and 1 spare, 64 KiB chunks, metadata 1.2`.
    pub(crate) fn shape(&self) -> String {
        let mut text = self.level.to_owned();
        if let Some(layout) = &self.layout {
            text.push_str(&format!(" {layout}"));
        }
        text.push_str(&format!(", {} slots", self.raid_devices));
        match self.spare_devices {
            0 => {}
            1 => text.push_str(" and 1 spare"),
            spares => text.push_str(&format!(" and {spares} spares")),
        }
        if self.chunk_bytes > 0 {
            text.push_str(&format!(", {} chunks", Human(self.chunk_bytes)));
        }
        text.push_str(&format!(", metadata {}", self.metadata));
        text
    }

    fn member_lines(&self) -> Vec<String> {
        let mut rows = vec![row!["slot", "member", "size", "superblock", "data from", "data"]];
        for member in &self.members {
            let slot = member.slot.map_or_else(|| "spare".to_owned(), |slot| slot.to_string());
            rows.push(row![
                slot,
                member.path,
                Human(member.size_bytes),
                format!("sector {}", member.super_offset_bytes / SECTOR_BYTES),
                format!("sector {}", member.data_offset_bytes / SECTOR_BYTES),
                Human(member.data_bytes),
            ]);
        }
        table::lay_out(&rows)
    }

    /// What to tell mkfs, so that it writes whole stripes.
    fn file_system_hint(&self) -> Option<String> {
        let (chunk, each) = (self.chunk_bytes, self.member_data_bytes);
        if chunk == 0 || each == 0 {
            return None;
        }
        let data_members = self.array_bytes / each;
        let stride = chunk / 4096;
        Some(format!(
            "mkfs.ext4 -E stride={stride},stripe_width={}   mkfs.xfs -d su={}k,sw={data_members}",
            stride * data_members,
            chunk / 1024
        ))
    }
}

impl Losses {
    fn line(&self) -> String {
        let members = if self.members_lost == 1 { "member" } else { "members" };
        let what = match self.fatal_sets {
            0 => "nothing is lost, whichever they are".to_owned(),
            fatal if fatal == self.sets => "data is lost, whichever they are".to_owned(),
            fatal => format!("data is lost in {fatal} of {} cases", self.sets),
        };
        format!("loss of {} {members}: {what}", self.members_lost)
    }
}

fn planned(member: &PlannedMember, name: &str) -> Planned {
    let log =
        member.bad_blocks.and_then(|log| member.super_offset.checked_add_signed(log.offset.into()));
    Planned {
        path: name.to_owned(),
        slot: member.slot,
        dev_number: member.dev_number,
        size_bytes: member.device.sectors * SECTOR_BYTES,
        super_offset_bytes: member.super_offset * SECTOR_BYTES,
        data_offset_bytes: member.data_offset * SECTOR_BYTES,
        data_bytes: member.data_size * SECTOR_BYTES,
        bad_block_log_offset_bytes: log.map(|sector| sector * SECTOR_BYTES),
    }
}

fn layout_name(new: &New) -> Option<String> {
    match new.shape.level {
        Level::Linear | Level::Raid1 | Level::Raid4 => None,
        Level::Raid0 if new.shape.layout == 0 => None,
        level => names::name(level, new.shape.layout),
    }
}

/// Fatal sets by number of losses, up to the first number that is always fatal.
fn losses(new: &New, plan: &Plan, seats: &[Option<Device>]) -> Vec<Losses> {
    let shape = new.shape;
    let shape = Shape {
        level: shape.level,
        layout: shape.layout,
        raid_disks: shape.raid_disks,
        chunk_sectors: shape.chunk_sectors,
        member_sectors: plan.size,
    };
    let mut sizes = vec![0; shape.raid_disks as usize];
    for member in &plan.members {
        if let Some(size) = member.slot.and_then(|slot| sizes.get_mut(usize::from(slot))) {
            *size = member.data_size;
        }
    }
    let Ok(layout) = Layout::new(&shape, &sizes) else { return Vec::new() };
    let slots = seats.iter().take(shape.raid_disks as usize);
    let present: Vec<bool> = slots.map(Option::is_some).collect();
    let mut losses = Vec::new();
    for lost in 1..=shape.raid_disks {
        let Some(Fatal { fatal, sets, .. }) = fatal_sets(&layout, &present, lost) else { break };
        if sets == 0 {
            break;
        }
        losses.push(Losses { members_lost: lost, sets, fatal_sets: fatal });
        if fatal == sets {
            break;
        }
    }
    losses
}

/// A share in percent with one digit after the point, or two where one would say nothing.
fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    match part {
        0 => "0.0".to_owned(),
        _ if share < 0.005 => "< 0.01".to_owned(),
        _ if share < 0.05 => format!("{share:.2}"),
        _ => format!("{share:.1}"),
    }
}

/// Devices for a plan without devices: the smallest that hold this much data each.
pub(crate) fn imagine(new: &New, data_sectors: u64) -> Vec<Option<Device>> {
    let seats = u64::from(new.shape.raid_disks) + u64::from(new.spares);
    let of_size = |sectors: u64| -> Vec<Option<Device>> {
        let device = |index: u64| Device {
            name: format!("(member {index})"),
            sectors,
            uuid: Uuid((u128::from(index) + 1).to_be_bytes()),
            write_mostly: false,
        };
        (0..seats).map(|index| Some(device(index))).collect()
    };
    // Overhead grows with the device, so a few steps upwards find the smallest that fits. Without
    // redundancy a size is no wish of the library's: all of every device is used.
    let mut sectors = data_sectors.saturating_add(8);
    for _ in 0..16 {
        let devices = of_size(sectors);
        let short = match try_draft(new, &devices, Naming::none(), false) {
            Ok(plan) => plan
                .members
                .iter()
                .map(|member| data_sectors.saturating_sub(member.data_size))
                .max()
                .unwrap_or(0),
            Err(CreateError::TooSmall { need, .. }) => need.saturating_sub(sectors),
            // Anything else does not depend on the size; the caller meets it again.
            Err(_) => 0,
        };
        if short == 0 {
            return devices;
        }
        sectors = sectors.saturating_add(short.next_multiple_of(8));
    }
    of_size(sectors)
}

impl Naming {
    /// For plans nobody will carry out.
    pub(crate) fn none() -> Self {
        Self { name: Name::default(), uuid: Uuid::default(), now: Timestamp::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_is_not_nothing() {
        let table = [
            (0, 100, "0.0"),
            (25, 100, "25.0"),
            (774 << 20, 6 << 40, "0.01"),
            (1, 1 << 40, "< 0.01"),
            (0, 0, "0.0"),
        ];
        for (part, whole, text) in table {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }
}
