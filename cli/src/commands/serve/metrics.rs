//! A served array in figures, in Prometheus's text format.
//!
//! Source: Prometheus, "Exposition formats", text-based format 0.0.4.

use std::fmt::Write;

use holdfast_core::size::SECTOR_BYTES;
use holdfast_raid::status::{Health, MemberState};

use crate::commands::detail;
use crate::session::Session;

/// All figures.
pub(super) fn text(session: &Session, clients: usize) -> String {
    let status = session.status();
    let mut page = Page { text: String::new(), array: status.uuid.to_string() };
    let layout = detail::layout_name(&status).unwrap_or_default();
    let name = status.name.to_string();
    let facts = [("name", name.as_str()), ("level", status.level.name()), ("layout", &layout)];
    page.head("array_info", "gauge", "The array; always 1.");
    page.value("array_info", &facts, 1);
    let health = match status.health {
        Health::Optimal => 0,
        Health::Degraded => 1,
        Health::Failed => 2,
    };
    page.one("array_health", "0 whole, 1 degraded, 2 failed.", health);
    page.one("array_clean", "Whether the metadata call it clean.", u64::from(status.clean));
    page.one("array_bytes", "Its size.", status.array_sectors * SECTOR_BYTES);
    page.one("array_events", "Updates of its metadata.", status.events);
    page.one("array_slots", "Slots.", u64::from(status.raid_disks));
    let served = detail::present(&status).iter().filter(|present| **present).count();
    page.one("array_slots_in_sync", "Slots with a member in sync.", served as u64);
    page.one("nbd_clients", "Clients connected.", clients as u64);
    if let Some(bitmap) = status.bitmap {
        page.one("bitmap_chunks_marked", "Chunks of the bitmap that may differ.", bitmap.dirty);
        page.one("bitmap_chunks", "Chunks of the bitmap.", bitmap.total);
    }
    page.head("sync_done_bytes", "gauge", "How far the pass that runs has come.");
    if let Some(sync) = status.sync {
        let action = [("action", sync.action.name())];
        page.value("sync_done_bytes", &action, sync.done_sectors * SECTOR_BYTES);
        page.head("sync_total_bytes", "gauge", "How far it goes.");
        page.value("sync_total_bytes", &action, sync.total_sectors * SECTOR_BYTES);
    }
    members(session, &mut page);
    page.text
}

fn members(session: &Session, page: &mut Page) {
    let status = session.status();
    let named: Vec<_> = status
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.state != MemberState::Foreign)
        .map(|(index, member)| {
            let slot = member.slot.map(|slot| slot.to_string()).unwrap_or_default();
            (session.path(index).display().to_string(), slot, member)
        })
        .collect();
    page.head("member_state", "gauge", "What each member is doing; always 1.");
    for (path, slot, member) in &named {
        let state = detail::state_word(member.state);
        page.value("member_state", &[("member", path), ("slot", slot), ("state", state)], 1);
    }
    page.head("member_corrected_reads_total", "counter", "Read errors mended from redundancy.");
    for (path, _, member) in &named {
        let corrected = u64::from(member.corrected_reads);
        page.value("member_corrected_reads_total", &[("member", path)], corrected);
    }
    page.head("member_bad_bytes", "gauge", "Bytes in the bad-block log.");
    for (path, _, member) in &named {
        page.value("member_bad_bytes", &[("member", path)], member.bad_sectors * SECTOR_BYTES);
    }
}

/// Lines of figures; every name begins with `holdfast_`, every figure names the array.
struct Page {
    text: String,
    array: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP holdfast_{name} {help}");
        let _ = writeln!(self.text, "# TYPE holdfast_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let _ = write!(self.text, "holdfast_{name}{{array=\"{}\"", self.array);
        for (label, value) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, "}} {value}");
    }

    fn one(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.value(name, &[], value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page { text: String::new(), array: "a".to_owned() };
        page.value("x", &[("member", "b\"c\\d\ne")], 7);
        assert_eq!(page.text, "holdfast_x{array=\"a\",member=\"b\\\"c\\\\d\\ne\"} 7\n");
    }
}
