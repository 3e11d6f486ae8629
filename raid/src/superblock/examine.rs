//! The text `mdadm --examine` prints, line by line as mdadm 4.2 does.
//!
//! Administrators and their scripts know these lines by heart; agreeing with them is a feature and
//! the sharpest test that a superblock was understood. Where mdadm's output is odd (the version is
//! guessed from the offset, a linear member shows a used size of 0) it is odd here too. Times are
//! UTC.
//!
//! Sources: mdadm `super1.c` (`examine_super1`, `getinfo_super1`), `util.c` (`human_size`, `print_r10_layout`), `maps.c`.

use std::fmt::Write;

use super::bitmap_header::BitmapHeader;
use super::block::{Reshape, Superblock};
use super::geometry::raid10_copies;
use super::role::{Resync, Role};
use super::v1::{MAGIC, devflag, feature};

/// Sectors after the superblock that mdadm counts as taken whatever is there.
const KEPT_AFTER_SUPERBLOCK: i128 = 72;

/// One member as `--examine` shows it.
#[derive(Clone, Copy, Debug)]
pub struct Examined<'a> {
    /// The name to print first.
    pub path: &'a str,
    /// What its superblock says.
    pub superblock: &'a Superblock,
    /// The checksum found on disk, where it may be wrong; none for a superblock known good.
    pub stored_checksum: Option<u32>,
    /// Size of the device in sectors.
    pub device_sectors: u64,
    /// The bitmap header, if the member has one.
    pub bitmap: Option<&'a BitmapHeader>,
}

/// The `--examine` text of a member whose superblock is good.
pub fn examine_text(
    path: &str,
    superblock: &Superblock,
    device_sectors: u64,
    bitmap: Option<&BitmapHeader>,
) -> String {
    Examined { path, superblock, stored_checksum: None, device_sectors, bitmap }.text()
}

impl Examined<'_> {
    /// The whole text, ending with a line break.
    pub fn text(&self) -> String {
        let mut page = Page { text: format!("{}:\n", self.path) };
        self.identity(&mut page);
        self.sizes(&mut page);
        self.unused_space(&mut page);
        self.state(&mut page);
        self.logs(&mut page);
        self.geometry(&mut page);
        self.roles(&mut page);
        page.text
    }

    fn identity(&self, page: &mut Page) {
        let block = self.superblock;
        let version = match block.super_offset {
            0..=4 => "1.1",
            5..=8 => "1.2",
            _ => "1.0",
        };
        page.line("Magic", format_args!("{MAGIC:08x}"));
        page.line("Version", version);
        page.line("Feature Map", format_args!("{:#x}", block.feature_map()));
        page.line("Array UUID", block.set_uuid);
        page.line("Name", block.name);
        let clustered =
            self.bitmap.filter(|header| block.bitmap_offset.is_some() && header.nodes > 0);
        if let Some(header) = clustered {
            page.line("Cluster Name", format_args!("{:<64}", cluster_name(header)));
        }
        page.line("Creation Time", format_args!("{:.24}", block.ctime.to_string()));
        page.line("Raid Level", level_name(block.level_number));
        page.line("Raid Devices", block.raid_disks);
        page.blank();
    }

    fn sizes(&self, page: &mut Page) {
        let block = self.superblock;
        page.line("Avail Dev Size", sectors_text(block.data_size));
        // mdadm compares the level as an unsigned number, so linear (−1) counts as well.
        if block.level_number != 0 {
            if let Some(bytes) = array_bytes(block) {
                page.line("Array Size", format_args!("{} KiB{}", bytes >> 10, human_size(bytes)));
            }
            if block.size != block.data_size {
                page.line("Used Dev Size", sectors_text(block.size));
            }
        }
        if block.data_offset != 0 {
            page.line("Data Offset", format_args!("{} sectors", block.data_offset));
        }
        if let Some(moved) = self.new_offset().filter(|moved| *moved != 0) {
            let offset = block.data_offset.wrapping_add_signed(moved.into());
            page.line("New Offset", format_args!("{offset} sectors"));
        }
        page.line("Super Offset", format_args!("{} sectors", block.super_offset));
        if let Some(offset) = block.recovery_offset {
            page.line("Recovery Offset", format_args!("{offset} sectors"));
        }
    }

    fn new_offset(&self) -> Option<i32> {
        self.superblock.reshape?.new_offset
    }

    fn unused_space(&self, page: &mut Page) {
        let (before, after) = self.space();
        if after != 1 && self.new_offset().is_none() {
            let text = format_args!("before={before} sectors, after={after} sectors");
            page.line("Unused Space", text);
        }
    }

    /// Unused sectors before and after the data as mdadm reckons them; `after` is 1 where it has
    /// nothing to say. Unsigned arithmetic wraps there, so it does here.
    fn space(&self) -> (u64, u64) {
        let block = self.superblock;
        let data = i128::from(block.data_offset);
        let used = i128::from(block.used_sectors());
        let device = i128::from(self.device_sectors);
        let (before, mut after) = if block.data_offset < block.super_offset {
            (data, (self.first_at_end() - used - data).max(0))
        } else {
            ((data - self.last_at_start()).max(0), device - used - data)
        };
        if before == 0 && after == 0 {
            after = 1;
        }
        if block.role() == Role::Journal {
            after = (device - data).rem_euclid(8);
        }
        (before as u64, after as u64)
    }

    /// The first sector taken behind the data of a 1.0 member.
    fn first_at_end(&self) -> i128 {
        let block = self.superblock;
        let end = i128::from(block.super_offset);
        let log = block.bad_blocks.map_or(0, |log| log.offset);
        let bitmap = block.bitmap_offset.unwrap_or(0);
        let ppl = block.ppl.map_or(0, |ppl| ppl.offset);
        end.min(end + i128::from(log)).min(end + i128::from(bitmap) + i128::from(ppl))
    }

    /// The first sector free behind the metadata of a 1.1 or 1.2 member.
    fn last_at_start(&self) -> i128 {
        let block = self.superblock;
        let start = i128::from(block.super_offset);
        let mut end = start + KEPT_AFTER_SUPERBLOCK;
        // Bitmap and PPL are compared without the superblock's own sector, as mdadm does.
        if let Some(offset) = block.bitmap_offset.filter(|offset| *offset > 0) {
            let sectors = self.bitmap.map_or(0, |header| header.area_sectors(0));
            end = end.max(i128::from(offset) + i128::from(sectors));
        } else if let Some(ppl) = block.ppl.filter(|ppl| ppl.offset > 0) {
            end = end.max(i128::from(ppl.offset) + i128::from(ppl.sectors));
        }
        if let Some(log) = block.bad_blocks {
            end = end.max(start + i128::from(log.offset) + i128::from(log.sectors));
        }
        end
    }

    fn state(&self, page: &mut Page) {
        let block = self.superblock;
        let clean = block.resync == Resync::Clean;
        page.line("State", if clean { "clean" } else { "active" });
        page.line("Device UUID", block.device_uuid);
        page.blank();
        if let Some(offset) = block.bitmap_offset {
            page.line("Internal Bitmap", format_args!("{offset} sectors from superblock"));
        } else if let Some(ppl) = block.ppl {
            let (sectors, offset) = (ppl.sectors, ppl.offset);
            let text = format_args!("{sectors} sectors at offset {offset} sectors from superblock");
            page.line("PPL", text);
        }
        if let Some(reshape) = &block.reshape {
            self.reshape(page, reshape);
        }
        if block.devflags != 0 {
            let words =
                [(devflag::WRITE_MOSTLY, " write-mostly"), (devflag::FAILFAST, " failfast")];
            let set = words.iter().filter(|(bit, _)| block.devflags & bit != 0);
            page.raw("Flags", &set.map(|(_, word)| *word).collect::<String>());
        }
        page.line("Update Time", format_args!("{:.24}", block.utime.to_string()));
    }

    fn reshape(&self, page: &mut Page, reshape: &Reshape) {
        let block = self.superblock;
        let position = reshape.position;
        let human = human_size(position.wrapping_mul(512) as i64);
        page.line("Reshape pos'n", format_args!("{}{human}", position / 2));
        let delta = reshape.delta_disks;
        if delta != 0 {
            let before = i64::from(block.raid_disks) - i64::from(delta);
            page.line("Delta Devices", format_args!("{delta} ({before}->{})", block.raid_disks));
        }
        if reshape.new_level != block.level_number {
            page.line("New Level", level_name(reshape.new_level));
        }
        if reshape.new_layout != block.layout
            && let Some(layout) = layout_text(block.level_number, reshape.new_layout)
        {
            page.raw("New Layout", &layout);
        }
        if reshape.new_chunk_sectors != block.chunk_sectors {
            page.line("New Chunksize", format_args!("{}K", reshape.new_chunk_sectors / 2));
        }
        page.blank();
    }

    fn logs(&self, page: &mut Page) {
        let block = self.superblock;
        if let Some(log) = block.bad_blocks {
            let (entries, offset) = (u32::from(log.sectors) * 64, log.offset);
            let present = if block.bad_blocks_recorded { " - bad blocks present." } else { "" };
            let text =
                format_args!("{entries} entries available at offset {offset} sectors{present}");
            page.line("Bad Block Log", text);
        }
        let expected = block.checksum();
        match self.stored_checksum.filter(|stored| *stored != expected) {
            None => page.line("Checksum", format_args!("{expected:x} - correct")),
            Some(stored) => {
                page.line("Checksum", format_args!("{stored:x} - expected {expected:x}"));
            }
        }
        page.line("Events", block.events);
        page.blank();
    }

    fn geometry(&self, page: &mut Page) {
        let block = self.superblock;
        let level = block.level_number;
        let shown = level != 0 || block.other_features & feature::RAID0_LAYOUT != 0;
        if let Some(layout) = layout_text(level, block.layout).filter(|_| shown) {
            page.raw("Layout", &layout);
        }
        match level {
            0 | 4 | 5 | 6 | 10 => {
                page.line("Chunk Size", format_args!("{}K", block.chunk_sectors / 2))
            }
            -1 => page.line("Rounding", format_args!("{}K", block.chunk_sectors / 2)),
            _ => {}
        }
        page.blank();
    }

    fn roles(&self, page: &mut Page) {
        let block = self.superblock;
        match block.role() {
            Role::Spare | Role::Faulty => page.role("Device Role", "spare"),
            Role::Journal => page.role("Device Role", "Journal"),
            Role::Active(slot) | Role::Reserved(slot) => {
                let word = if block.replacement { "Replacement" } else { "Active" };
                page.role("Device Role", format_args!("{word} device {slot}"));
            }
        }
        let slots = self.slots();
        let holders: Vec<usize> = (0..slots).map(|slot| self.holders(slot)).collect();
        let letters: String = holders.iter().map(|count| self.letter(*count)).collect();
        let legend = "('A' == active, '.' == missing, 'R' == replacing)";
        page.role("Array State", format_args!("{letters} {legend}"));
        let beyond = |role: &Role| role.slot().is_some_and(|slot| u32::from(slot) > slots);
        if letters.contains('?') || block.roles.iter().any(beyond) {
            page.text.push_str(&self.inconsistent());
        }
    }

    fn slots(&self) -> u32 {
        let delta = self.superblock.reshape.map_or(0, |reshape| reshape.delta_disks.min(0));
        self.superblock.raid_disks.saturating_add(delta.unsigned_abs())
    }

    fn holders(&self, slot: u32) -> usize {
        let holds = |role: &&Role| role.slot().is_some_and(|other| u32::from(other) == slot);
        self.superblock.roles.iter().filter(holds).count()
    }

    fn letter(&self, holders: usize) -> char {
        match holders {
            0 => '.',
            1 => 'A',
            2 if self.superblock.level_number != 0 => 'R',
            _ => '?',
        }
    }

    fn inconsistent(&self) -> String {
        let mut text = String::from(
            "WARNING Array state is inconsistent - each number should appear only once\n",
        );
        for (number, role) in self.superblock.roles.iter().enumerate() {
            match role {
                Role::Faulty | Role::Spare => text.push_str(&format!(" {number}:-")),
                role => text.push_str(&format!(" {number}:{}", role.number())),
            }
        }
        text.push('\n');
        text
    }
}

pub(super) fn cluster_name(header: &BitmapHeader) -> String {
    let name = header.cluster_name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The array's bytes as mdadm reckons them, for levels that have a member size.
fn array_bytes(block: &Superblock) -> Option<i64> {
    let disks = i128::from(block.raid_disks);
    let (near, far) = raid10_copies(block.layout);
    let (numerator, denominator) = match block.level_number {
        1 => (1, 1),
        4 | 5 => (disks - 1, 1),
        6 => (disks - 2, 1),
        10 if near * far != 0 => (disks, i128::from(near * far)),
        _ => return None,
    };
    let bytes = i128::from(block.size) * 512 * numerator / denominator;
    (numerator != 0).then(|| i64::try_from(bytes).ok()).flatten()
}

fn sectors_text(sectors: u64) -> String {
    format!("{sectors} sectors{}", human_size(sectors.wrapping_mul(512) as i64))
}

/// Binary and decimal size in brackets, from about 5 MB on.
pub fn human_size(bytes: i64) -> String {
    let (binary_shift, decimal, prefix) = match bytes {
        ..5_120_000 => return String::new(),
        5_120_000..0x8000_0000 => (20, 1_000_000, 'M'),
        0x8000_0000..0x200_0000_0000 => (30, 1_000_000_000, 'G'),
        _ => (40, 1_000_000_000_000, 'T'),
    };
    let bytes = i128::from(bytes);
    let binary = (bytes * 200 / (1 << binary_shift) + 1) / 2;
    let decimal = (bytes / (decimal / 200) + 1) / 2;
    let hundredths = |value: i128| format!("{}.{:02}", value / 100, value % 100);
    format!(" ({} {prefix}iB {} {prefix}B)", hundredths(binary), hundredths(decimal))
}

/// A level's name as mdadm knows it.
pub fn level_name(number: i32) -> &'static str {
    match number {
        -5 => "faulty",
        -4 => "multipath",
        -1 => "linear",
        0 => "raid0",
        1 => "raid1",
        4 => "raid4",
        5 => "raid5",
        6 => "raid6",
        10 => "raid10",
        _ => "-unknown-",
    }
}

/// A layout as mdadm prints it, with the space before; none for levels that have no layout.
fn layout_text(level: i32, layout: u32) -> Option<String> {
    match level {
        0 | 5 | 6 => Some(format!(" {}", layout_name(level, layout))),
        10 => Some(raid10_layout_text(layout)),
        _ => None,
    }
}

/// A layout's name at levels 0, 5 and 6.
pub fn layout_name(level: i32, layout: u32) -> &'static str {
    match (level, layout) {
        (0, 1) => "original",
        (0, 2) => "alternate",
        (0, 0) => "dangerous",
        (5 | 6, 0) => "left-asymmetric",
        (5 | 6, 1) => "right-asymmetric",
        (5 | 6, 2) => "left-symmetric",
        (5 | 6, 3) => "right-symmetric",
        (5 | 6, 4) => "parity-first",
        (5 | 6, 5) => "parity-last",
        (6, 8) => "ddf-zero-restart",
        (6, 9) => "ddf-N-restart",
        (6, 10) => "ddf-N-continue",
        (6, 16) => "left-asymmetric-6",
        (6, 17) => "right-asymmetric-6",
        (6, 18) => "left-symmetric-6",
        (6, 19) => "right-symmetric-6",
        (6, 20) => "parity-first-6",
        _ => "-unknown-",
    }
}

fn raid10_layout_text(layout: u32) -> String {
    let (near, far) = raid10_copies(layout);
    let form = if layout & 0x1_0000 != 0 { "offset" } else { "far" };
    let near_text = if near != 1 { format!(" near={near}") } else { String::new() };
    let joint = if near != 1 && far != 1 { "," } else { "" };
    let far_text = if far != 1 { format!("{joint} {form}={far}") } else { String::new() };
    let none = if near * far == 1 { "NO REDUNDANCY" } else { "" };
    format!("{near_text}{far_text}{none}")
}

/// Lines of `label : value` with the labels right-aligned to 15 columns.
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, label: &str, value: impl std::fmt::Display) {
        self.raw(label, &format!(" {value}"));
    }

    /// As [`line`](Self::line), where the value brings its own leading space.
    fn raw(&mut self, label: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{label:>15} :{value}");
    }

    /// The last two lines stand one column further left.
    fn role(&mut self, label: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{label:>14} : {value}");
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

#[cfg(test)]
#[path = "examine_tests.rs"]
mod tests;
