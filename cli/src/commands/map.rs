//! `holdfast map`: where a byte of an array lives, with a picture.
//!
//! Pure arithmetic; no device is touched. Without `--size` the array is taken to be just large
//! enough for the offsets, which changes nothing but the place of far copies (they begin in the
//! middle of each member).

use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_raid::layout::{Layout, Place, Shape, names};
use holdfast_raid::level::Level;
use serde::Serialize;

use crate::config::{self, Map};
use crate::exit::{Exit, Failure, Outcome};
use crate::picture::{self, Located};
use crate::report::Report;

/// The last byte a file offset can name (`loff_t` is signed).
const MAX_OFFSET: u64 = i64::MAX as u64;

#[derive(Debug, Serialize)]
struct Answer {
    level: &'static str,
    layout: Option<String>,
    layout_number: u32,
    chunk_bytes: u64,
    raid_devices: u32,
    array_bytes: u128,
    offsets: Vec<Offset>,
}

#[derive(Debug, Serialize)]
struct Offset {
    offset_bytes: u64,
    chunk: u64,
    offset_in_chunk_bytes: u64,
    stripe: Option<u64>,
    data: Vec<Spot>,
    parity: Vec<Spot>,
}

/// A place on a member, from the start of its data.
#[derive(Debug, Serialize)]
struct Spot {
    slot: u32,
    member_offset_bytes: u64,
}

/// Answers each offset.
pub(super) fn run(config: &Map, report: &Report) -> Outcome {
    let layout = layout_for(config)?;
    let array_bytes = u128::from(layout.array_sectors()) * u128::from(SECTOR_BYTES);
    let mut offsets = Vec::new();
    for &offset in &config.offsets_bytes {
        if u128::from(offset) >= array_bytes {
            return Err(Failure::usage(format!(
                "offset {offset} is beyond the array, which has {array_bytes} bytes"
            )));
        }
        let located = picture::locate(&layout, offset / SECTOR_BYTES);
        report.line(sentence(&layout, offset, &located));
        report.line(picture::draw(&layout, &located));
        report.line("");
        offsets.push(answer(offset, &located));
    }
    if config.member_sectors.is_none() && has_far_copies(&config.shape) {
        report.note("far copies lie by the members' size: give --size for their true place");
    }
    report.answer(&Answer {
        level: config.shape.level.name(),
        layout: names::name(config.shape.level, config.shape.layout),
        layout_number: config.shape.layout,
        chunk_bytes: u64::from(config.shape.chunk_sectors) * SECTOR_BYTES,
        raid_devices: config.shape.raid_disks,
        array_bytes,
        offsets,
    });
    Ok(Exit::Good)
}

fn has_far_copies(shape: &config::Shape) -> bool {
    shape.level == Level::Raid10 && shape.layout >> 8 & 0xff > 1 && shape.layout >> 16 & 1 == 0
}

/// The layout, of members as large as said or as the largest offset needs.
fn layout_for(config: &Map) -> Result<Layout, Failure> {
    let config::Shape { level, layout, raid_disks, chunk_sectors } = config.shape;
    let largest = config.offsets_bytes.iter().max().copied().unwrap_or(0);
    if largest > MAX_OFFSET {
        return Err(Failure::usage(format!(
            "offset {largest} is beyond every array: Linux counts bytes up to {MAX_OFFSET} ({})",
            Human(MAX_OFFSET)
        )));
    }
    let largest = largest / SECTOR_BYTES;
    // A chunk more than the offset's own on every member, and room for every far copy.
    let chunk = u64::from(chunk_sectors.max(8));
    let member_sectors = config.member_sectors.unwrap_or_else(|| match level {
        Level::Raid1 => largest.saturating_add(256),
        Level::Raid10 => largest.saturating_add(chunk * 512).next_multiple_of(chunk),
        _ => {
            let data = u64::from(raid_disks - level.parity_members()).max(1);
            (largest / data).saturating_add(chunk * 4).next_multiple_of(chunk)
        }
    });
    let shape = Shape { level, layout, raid_disks, chunk_sectors, member_sectors };
    Layout::new(&shape, &vec![member_sectors; raid_disks as usize])
        .map_err(|error| Failure::usage(error.to_string()))
}

/// `array offset 1 MiB = chunk 16 -> stripe 5: data on slot 0, parity on slot 2, …`
fn sentence(layout: &Layout, offset: u64, located: &Located) -> String {
    let unit = if picture::is_chunked(layout) { "chunk" } else { "64 KiB piece" };
    let within = offset - located.unit * picture::unit_sectors(layout) * SECTOR_BYTES;
    let plus = if within == 0 { String::new() } else { format!(" + {within}") };
    let stripe = located.stripe.map_or_else(String::new, |stripe| format!(" -> stripe {stripe}"));
    let copies = if located.data.len() > 1 { "copies" } else { "data" };
    let mut text = format!(
        "array offset {offset} ({}) = {unit} {}{plus}{stripe}: {copies} on {}",
        Human(offset),
        located.unit,
        spots(&located.data)
    );
    if let [p, rest @ ..] = &located.parity[..] {
        text.push_str(&format!("; P on slot {}", p.slot));
        rest.iter().for_each(|q| text.push_str(&format!(", Q on slot {}", q.slot)));
    }
    text
}

fn spots(places: &[Place]) -> String {
    let spot = |place: &Place| format!("slot {} sector {} of its data", place.slot, place.sector);
    places.iter().map(spot).collect::<Vec<_>>().join(", ")
}

fn answer(offset: u64, located: &Located) -> Offset {
    let inside = offset % SECTOR_BYTES;
    let spot = |place: &Place| Spot {
        slot: place.slot,
        member_offset_bytes: place.sector * SECTOR_BYTES + inside,
    };
    Offset {
        offset_bytes: offset,
        chunk: located.unit,
        offset_in_chunk_bytes: located.within * SECTOR_BYTES + inside,
        stripe: located.stripe,
        data: located.data.iter().map(spot).collect(),
        parity: located.parity.iter().map(spot).collect(),
    }
}
