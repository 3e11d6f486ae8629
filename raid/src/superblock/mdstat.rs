//! The text of `/proc/mdstat`, from facts about running arrays.
//!
//! Monitoring scripts have parsed this file for decades, so its spacing is an interface: six spaces
//! before the second line, a tab before `resync=PENDING`, a line of six spaces where there is no
//! bitmap.
//!
//! Source: Linux `md.c` (`md_seq_show`, `status_resync`), `md-bitmap.c` (`md_bitmap_status`), the
//! `status` functions of `raid0.c`, `raid1.c`, `raid5.c`, `raid10.c`, `md-linear.c`.

use std::fmt::Write;

use super::geometry::raid10_copies;
use super::placement::Minor;
use crate::level::Level;

/// One running array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayFacts {
    /// `md0`.
    pub name: String,
    /// Whether writes are possible.
    pub access: Access,
    /// Level.
    pub level: Level,
    /// Arrangement within the level.
    pub layout: u32,
    /// Sectors per chunk.
    pub chunk_sectors: u32,
    /// Sectors of the array.
    pub array_sectors: u64,
    /// Where superblocks are.
    pub minor: Minor,
    /// Members in the order to list them; Linux lists the one added last first.
    pub members: Vec<MemberFacts>,
    /// One entry per slot: whether it is in sync.
    pub slots: Vec<bool>,
    /// What runs or waits in the background.
    pub progress: Option<Progress>,
    /// The write-intent bitmap.
    pub bitmap: Option<BitmapFacts>,
}

/// Whether an array takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Access {
    /// It does.
    #[default]
    ReadWrite,
    /// It does not.
    ReadOnly,
    /// It becomes writable with the first write.
    AutoReadOnly,
    /// It has not been started: only the members are known.
    Inactive,
}

/// One member of a running array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// `sda1`.
    pub name: String,
    /// Index into the role table.
    pub dev_number: u32,
    /// What it does.
    pub state: MemberState,
    /// Whether reads avoid it.
    pub write_mostly: bool,
    /// Sectors available for data; shown for inactive arrays.
    pub data_sectors: u64,
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Holds a slot, in sync or being rebuilt.
    Active,
    /// Holds a slot as a replacement.
    Replacement,
    /// Waits.
    Spare,
    /// Has failed.
    Faulty,
    /// Holds the journal.
    Journal,
}

/// Work in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Under way.
    Running {
        /// What it is.
        action: Action,
        /// Sectors done.
        done: u64,
        /// Sectors in all.
        total: u64,
        /// Estimated seconds left.
        finish_seconds: u64,
        /// KiB per second.
        kib_per_second: u64,
    },
    /// Waits for another array on the same devices.
    Delayed,
    /// Waits for the array to become writable.
    Pending,
}

/// Kinds of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Making members agree after an unclean stop.
    Resync,
    /// Rebuilding a member.
    Recovery,
    /// Comparing members.
    Check,
    /// Changing the geometry.
    Reshape,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Recovery => "recovery",
            Self::Check => "check",
            Self::Reshape => "reshape",
        }
    }
}

/// The write-intent bitmap as it is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitmapFacts {
    /// Pages of counters in use.
    pub pages_used: u64,
    /// Pages of counters in all.
    pub pages: u64,
    /// Bytes per bit.
    pub chunk_bytes: u64,
}

/// The whole file: `personalities` are the levels that can run, in the order to print them;
/// `unused` are devices with a superblock that belong to no array.
pub fn mdstat_text(personalities: &[Level], arrays: &[ArrayFacts], unused: &[String]) -> String {
    let mut text = String::from("Personalities : ");
    personalities.iter().for_each(|level| text.push_str(&format!("[{level}] ")));
    text.push('\n');
    arrays.iter().for_each(|array| text.push_str(&array.text()));
    let unused =
        if unused.is_empty() { String::from("<none>") } else { format!("{} ", unused.join(" ")) };
    text.push_str(&format!("unused devices: {unused}\n"));
    text
}

impl ArrayFacts {
    /// The lines of this array.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let active = self.access != Access::Inactive;
        write!(out, "{} : {}", self.name, if active { "active" } else { "inactive" })?;
        match self.access {
            Access::ReadOnly => out.push_str(" (read-only)"),
            Access::AutoReadOnly => out.push_str(" (auto-read-only)"),
            Access::ReadWrite | Access::Inactive => {}
        }
        if active {
            write!(out, " {}", self.level)?;
        }
        self.members.iter().for_each(|member| out.push_str(&member.text()));
        let members = self.members.iter().filter(|member| member.state != MemberState::Faulty);
        let sectors = if active {
            self.array_sectors
        } else {
            members.fold(0, |sum, member| member.data_sectors.saturating_add(sum))
        };
        if !self.members.is_empty() {
            write!(out, "\n      {} blocks", sectors / 2)?;
        }
        // Linux says nothing of the version it once took for granted.
        if self.minor != Minor::V0_90 {
            write!(out, " super {}", self.minor)?;
        }
        if !active {
            out.push_str("\n       \n");
            return Ok(());
        }
        out.push_str(&self.geometry());
        out.push_str("\n      ");
        if let Some(progress) = self.progress {
            write!(out, "{}\n      ", progress.text())?;
        }
        if let Some(bitmap) = self.bitmap {
            writeln!(out, "{}", bitmap.text())?;
        }
        out.push('\n');
        Ok(())
    }

    /// What each level says about itself.
    fn geometry(&self) -> String {
        let (kib, slots) = (self.chunk_sectors / 2, self.slot_text());
        match self.level {
            Level::Linear => format!(" {kib}k rounding"),
            Level::Raid0 => format!(" {kib}k chunks"),
            Level::Raid1 => slots,
            Level::Raid4 | Level::Raid5 | Level::Raid6 => {
                let level = self.level.md_number();
                format!(" level {level}, {kib}k chunk, algorithm {}{slots}", self.layout)
            }
            Level::Raid10 => format!("{}{slots}", self.copies()),
        }
    }

    fn copies(&self) -> String {
        let (near, far) = raid10_copies(self.layout);
        let mut text = String::new();
        if (near as usize) < self.slots.len() {
            text.push_str(&format!(" {}K chunks", self.chunk_sectors / 2));
        }
        if near > 1 {
            text.push_str(&format!(" {near} near-copies"));
        }
        if far > 1 {
            let form = if self.layout & 0x1_0000 != 0 { "offset" } else { "far" };
            text.push_str(&format!(" {far} {form}-copies"));
        }
        let set = match self.layout >> 17 & 3 {
            1 => (self.slots.len() as u32).checked_div(far),
            2 => Some(near * far),
            _ => None,
        };
        if let Some(set) = set.filter(|set| *set as usize != self.slots.len() && far > 1) {
            text.push_str(&format!(" {set} devices per set"));
        }
        text
    }

    fn slot_text(&self) -> String {
        let good = self.slots.iter().filter(|slot| **slot).count();
        let letters: String = self.slots.iter().map(|slot| if *slot { 'U' } else { '_' }).collect();
        format!(" [{}/{good}] [{letters}]", self.slots.len())
    }
}

impl MemberFacts {
    fn text(&self) -> String {
        let marks = match self.state {
            MemberState::Active => "",
            MemberState::Replacement => "(R)",
            MemberState::Spare => "(S)",
            MemberState::Faulty => "(F)",
            MemberState::Journal => "(J)",
        };
        let write_mostly = if self.write_mostly { "(W)" } else { "" };
        format!(" {}[{}]{write_mostly}{marks}", self.name, self.dev_number)
    }
}

impl Progress {
    fn text(self) -> String {
        let (action, done, total, seconds, speed) = match self {
            Self::Delayed => return String::from("\tresync=DELAYED"),
            Self::Pending => return String::from("\tresync=PENDING"),
            Self::Running { action, done, total, finish_seconds, kib_per_second } => {
                (action, done, total, finish_seconds, kib_per_second)
            }
        };
        let per_mille = (u128::from(done) * 1000 / u128::from(total.max(1))).min(1000) as usize;
        let filled = per_mille / 50;
        let bar = format!("[{}>{}]", "=".repeat(filled), ".".repeat(20 - filled));
        let (word, whole, tenth) = (action.word(), per_mille / 10, per_mille % 10);
        let (done, total) = (done / 2, total / 2);
        let (minutes, tenths) = (seconds / 60, seconds % 60 / 6);
        format!(
            "{bar}  {word} ={whole:3}.{tenth}% ({done}/{total}) finish={minutes}.{tenths}min \
             speed={speed}K/sec"
        )
    }
}

impl BitmapFacts {
    fn text(self) -> String {
        let (used, pages) = (self.pages_used, self.pages);
        let (chunk, unit) = match self.chunk_bytes {
            bytes @ ..1024 => (bytes, "B"),
            bytes => (bytes / 1024, "KB"),
        };
        format!("bitmap: {used}/{pages} pages [{}KB], {chunk}{unit} chunk", used * 4)
    }
}

#[cfg(test)]
#[path = "mdstat_tests.rs"]
mod tests;
