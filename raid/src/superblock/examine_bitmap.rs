//! The text `mdadm --examine-bitmap` prints, line by line as mdadm 4.2 does.
//!
//! Source: mdadm `bitmap.c` (`ExamineBitmap`).

use super::bitmap_header::{BITMAP_MAGIC, BitmapHeader, BitmapVersion, HEADER_BYTES};
use super::examine::{cluster_name, human_size};

/// The `--examine-bitmap` text: header and how many bits are set in `map`, the bytes that follow
/// the header. A map cut short is counted as far as it goes.
pub fn examine_bitmap_text(path: &str, header: &BitmapHeader, map: &[u8]) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn std::fmt::Display| {
        text.push_str(&format!("{label:>16} : {value}\n"));
    };
    line("Filename", &path);
    line("Magic", &format_args!("{BITMAP_MAGIC:08x}"));
    line("Version", &header.version.number());
    if header.version == BitmapVersion::Lockless {
        return text;
    }
    line("UUID", &header.uuid);
    if header.nodes == 0 {
        line("Events", &header.events);
        line("Events Cleared", &header.events_cleared);
        line("State", &bitmap_state(header.state));
    }
    line("Chunksize", &human_chunk(header.chunk_bytes));
    line("Daemon", &format_args!("{}s flush period", header.daemon_sleep_seconds));
    match header.write_behind {
        0 => line("Write Mode", &"Normal"),
        most => line("Write Mode", &format_args!("Allow write behind, max {most}")),
    }
    let human = human_size((header.sync_size * 512) as i64);
    line("Sync Size", &format_args!("{}{human}", header.sync_size / 2));
    if header.nodes == 0 {
        let (bits, dirty) = count_bits(header.bits(), map);
        let percent = 100.0 * dirty as f64 / bits.max(1) as f64;
        line("Bitmap", &format_args!("{bits} bits (chunks), {dirty} dirty ({percent:.1}%)"));
    } else {
        line("Cluster nodes", &header.nodes);
        line("Cluster name", &format_args!("{:<64}", cluster_name(header)));
    }
    text
}

/// Bits there are, and bits set, among the first `bits` of a map.
fn count_bits(bits: u64, map: &[u8]) -> (u64, u64) {
    let bits = bits.min(map.len() as u64 * 8);
    let (whole, rest) = ((bits / 8) as usize, bits % 8);
    let full: u64 = map[..whole].iter().map(|byte| u64::from(byte.count_ones())).sum();
    let last = match rest {
        0 => 0,
        rest => u64::from((map[whole] & ((1 << rest) - 1)).count_ones()),
    };
    (bits, full + last)
}

fn bitmap_state(state: u32) -> &'static str {
    match state {
        0 => "OK",
        2 => "Out of date",
        _ => "Unknown",
    }
}

/// Bytes in the largest unit that leaves a whole number, cut off.
fn human_chunk(bytes: u32) -> String {
    let units = ["B", "KB", "MB", "GB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >> 10 != 0 {
        (value, unit) = (value >> 10, unit + 1);
    }
    format!("{value} {}", units[unit])
}

/// Bytes of a map that [`examine_bitmap_text`] needs, counted from the end of the header.
pub fn map_bytes(header: &BitmapHeader) -> u64 {
    header.bytes().saturating_sub(HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_for_people() {
        for (bytes, text) in
            [(512, "512 B"), (1 << 16, "64 KB"), (1 << 26, "64 MB"), (1 << 31, "2 GB")]
        {
            assert_eq!(human_chunk(bytes), text);
        }
    }

    #[test]
    fn bits_beyond_the_last_chunk_do_not_count() {
        assert_eq!(count_bits(11, &[0xff, 0xff, 0xff]), (11, 11));
        assert_eq!(count_bits(11, &[0x0f, 0xf8]), (11, 4));
        assert_eq!(count_bits(11, &[0xff]), (8, 8), "a map cut short");
        assert_eq!(count_bits(0, &[]), (0, 0));
    }
}
