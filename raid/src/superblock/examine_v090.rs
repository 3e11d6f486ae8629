//! The text `mdadm --examine` prints for a 0.90 member, line by line as mdadm 4.2 does.
//!
//! Times are UTC. What mdadm finds out from the running system (names of devices in `/dev`, "local
//! to host") is not here: images have no names, and this machine is seldom theirs.
//!
//! Sources: mdadm `super0.c` (`examine_super0`).

use std::fmt::Write;

use super::block::Superblock;
use super::examine::{human_size, layout_name, level_name};
use super::role::Resync;
use super::v1::MAGIC;
use super::v090::{Device, V090, device};

/// The `--examine` text of a 0.90 member; none for other versions.
pub fn examine_v090_text(path: &str, superblock: &Superblock) -> Option<String> {
    let old = superblock.v090.as_deref()?;
    let mut text = format!("{path}:\n");
    identity(&mut text, superblock, old);
    state(&mut text, superblock, old);
    geometry(&mut text, superblock);
    devices(&mut text, superblock, old);
    Some(text)
}

fn line(text: &mut String, label: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{label:>15} : {value}");
}

fn identity(text: &mut String, block: &Superblock, old: &V090) {
    line(text, "Magic", format_args!("{MAGIC:08x}"));
    line(text, "Version", format_args!("0.{}.00", old.minor_version));
    line(text, "UUID", block.set_uuid);
    line(text, "Creation Time", format_args!("{:.24}", block.ctime.to_string()));
    line(text, "Raid Level", level_name(block.level_number));
    let kib = |kib: u64| format!("{kib}{}", human_size((kib << 10) as i64));
    let used = u64::from(old.size_kib);
    if block.level_number > 0 {
        line(text, "Used Dev Size", kib(used));
        let slots = u64::from(block.raid_disks);
        let members = match block.level_number {
            1 => 1,
            4 | 5 => slots.saturating_sub(1),
            6 => slots.saturating_sub(2),
            10 => {
                let (near, far) = (block.layout & 255, block.layout >> 8 & 255);
                slots / u64::from((near * far).max(1))
            }
            _ => 0,
        };
        line(text, "Array Size", kib(used.saturating_mul(members)));
    }
    line(text, "Raid Devices", block.raid_disks);
    line(text, "Total Devices", old.total_devices);
    line(text, "Preferred Minor", old.preferred_minor);
    text.push('\n');
    if let Some(reshape) = &block.reshape {
        let position = kib(reshape.position / 2);
        line(text, "Reshape pos'n", position);
        if reshape.delta_disks != 0 {
            let before = i64::from(block.raid_disks) - i64::from(reshape.delta_disks);
            let change = format!("{} ({before}->{})", reshape.delta_disks, block.raid_disks);
            line(text, "Delta Devices", change);
        }
        if reshape.new_level != block.level_number {
            line(text, "New Level", level_name(reshape.new_level));
        }
        if reshape.new_chunk_sectors != block.chunk_sectors {
            line(text, "New Chunksize", reshape.new_chunk_sectors * 512);
        }
        text.push('\n');
    }
}

fn state(text: &mut String, block: &Superblock, old: &V090) {
    line(text, "Update Time", format_args!("{:.24}", block.utime.to_string()));
    line(text, "State", if block.resync == Resync::Clean { "clean" } else { "active" });
    if block.bitmap_offset.is_some() {
        line(text, "Internal Bitmap", "present");
    }
    let labels = ["Active Devices", "Working Devices", "Failed Devices", "Spare Devices"];
    labels.iter().zip(old.counts).for_each(|(label, count)| line(text, label, count));
    line(text, "Checksum", format_args!("{:x} - correct", old.checksum));
    line(text, "Events", block.events);
    text.push('\n');
}

fn geometry(text: &mut String, block: &Superblock) {
    match block.level_number {
        5 | 6 => line(text, "Layout", layout_name(block.level_number, block.layout)),
        10 => {
            let (near, far) = (block.layout & 255, block.layout >> 8 & 255);
            line(text, "Layout", format_args!("near={near}, far={far}"));
        }
        _ => {}
    }
    match block.level_number {
        0 | 4 | 5 | 6 | 10 => {
            line(text, "Chunk Size", format_args!("{}K", block.chunk_sectors / 2));
        }
        -1 => line(text, "Rounding", format_args!("{}K", block.chunk_sectors / 2)),
        _ => {}
    }
    text.push('\n');
}

fn devices(text: &mut String, block: &Superblock, old: &V090) {
    text.push_str("      Number   Major   Minor   RaidDevice State\n");
    let rows = (block.raid_disks as usize).max(old.total_devices as usize).min(old.devices.len());
    let rows = old.devices[..rows].iter().enumerate();
    let rows = rows.map(|(number, device)| (format!("{number:4}"), device));
    for (row, listed) in std::iter::once(("this".to_owned(), &old.this)).chain(rows) {
        device_row(text, &row, listed);
        if row == "this" {
            text.push('\n');
        }
    }
}

fn device_row(text: &mut String, row: &str, listed: &Device) {
    let has = |bit| listed.state & bit != 0;
    let slot = listed.slot.cast_signed();
    let Device { number, major, minor, .. } = listed;
    let _ = write!(text, "{row}  {number:4}    {major:4}     {minor:4}     {slot:4}     ");
    let words = [
        (has(device::FAULTY), " faulty"),
        (has(device::ACTIVE), " active"),
        (has(device::SYNC), " sync"),
        (has(device::REMOVED), " removed"),
        (has(device::WRITE_MOSTLY), " write-mostly"),
        (
            listed.state & (device::ACTIVE | device::SYNC | device::REMOVED | device::FAULTY) == 0,
            " spare",
        ),
    ];
    words.iter().filter(|(set, _)| *set).for_each(|(_, word)| text.push_str(word));
    text.push('\n');
}
