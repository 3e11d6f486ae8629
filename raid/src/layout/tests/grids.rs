//! Arrays drawn chunk by chunk: rows are member chunks or stripes, columns are slots.

use super::*;

/// Draws the members of a mapped array from the inverse, and checks `map` against the drawing.
fn draw_mapped(mapped: &Mapped) -> String {
    let shape = mapped.shape();
    let chunk = u64::from(shape.chunk_sectors);
    let extents = (0..shape.raid_disks).map(|slot| mapped.member_extent(slot));
    let rows = extents.max().unwrap_or(0) / chunk;
    let mut drawing = String::new();
    for row in 0..rows {
        let cells: Vec<String> = (0..shape.raid_disks)
            .map(|slot| match mapped.array_sector_of(slot, row * chunk, 1).0 {
                Some(sector) => {
                    let place = Place { slot, sector: row * chunk };
                    assert!(places(mapped, sector).contains(&place), "{place:?} of {shape:x?}");
                    (sector / chunk).to_string()
                }
                None => "-".to_owned(),
            })
            .collect();
        drawing += &(cells.join(" ") + "\n");
    }
    drawing
}

fn draw_parity(parity: &Parity) -> String {
    let mut drawing = String::new();
    for stripe in 0..parity.stripes() {
        let roles = parity.stripe(stripe);
        let cells: Vec<String> = (0..parity.members())
            .map(|slot| match roles.data_index(slot) {
                Some(d) => {
                    assert_eq!(roles.data_slot(d), slot, "{parity:?}");
                    let chunk = u64::from(parity.chunk_sectors());
                    (parity.array_sector(stripe, d, 0) / chunk).to_string()
                }
                None if slot == roles.p => "P".to_owned(),
                None => {
                    assert_eq!(roles.q, Some(slot));
                    "Q".to_owned()
                }
            })
            .collect();
        drawing += &(cells.join(" ") + "\n");
    }
    drawing
}

/// A drawing without its indentation.
fn plain(drawing: &str) -> String {
    let rows = drawing.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
    rows.filter(|row| !row.is_empty()).map(|row| row + "\n").collect()
}

#[test]
fn raid4_and_raid5_on_four_slots() {
    let last = "0 1 2 P \n 3 4 5 P \n 6 7 8 P \n 9 10 11 P";
    for (level, layout, drawing) in [
        (Level::Raid5, 0, "0 1 2 P \n 3 4 P 5 \n 6 P 7 8 \n P 9 10 11"),
        (Level::Raid5, 1, "P 0 1 2 \n 3 P 4 5 \n 6 7 P 8 \n 9 10 11 P"),
        (Level::Raid5, 2, "0 1 2 P \n 4 5 P 3 \n 8 P 6 7 \n P 9 10 11"),
        (Level::Raid5, 3, "P 0 1 2 \n 5 P 3 4 \n 7 8 P 6 \n 9 10 11 P"),
        (Level::Raid5, 4, "P 0 1 2 \n P 3 4 5 \n P 6 7 8 \n P 9 10 11"),
        (Level::Raid5, 5, last),
        (Level::Raid4, 0, last),
        (Level::Raid4, 5, last),
    ] {
        let drawn = draw_parity(&parity(&shape(level, layout, 4, 8, 4 * 8)));
        assert_eq!(drawn, plain(drawing), "{level} layout {layout}");
    }
}

#[test]
fn raid6_on_five_slots() {
    for (layout, drawing) in [
        (0, "Q 0 1 2 P \n 3 4 5 P Q \n 6 7 P Q 8 \n 9 P Q 10 11 \n P Q 12 13 14"),
        (1, "P Q 0 1 2 \n 3 P Q 4 5 \n 6 7 P Q 8 \n 9 10 11 P Q \n Q 12 13 14 P"),
        (2, "Q 0 1 2 P \n 3 4 5 P Q \n 7 8 P Q 6 \n 11 P Q 9 10 \n P Q 12 13 14"),
        (3, "P Q 0 1 2 \n 5 P Q 3 4 \n 7 8 P Q 6 \n 9 10 11 P Q \n Q 12 13 14 P"),
        (4, "P Q 0 1 2 \n P Q 3 4 5 \n P Q 6 7 8 \n P Q 9 10 11 \n P Q 12 13 14"),
        (5, "0 1 2 P Q \n 3 4 5 P Q \n 6 7 8 P Q \n 9 10 11 P Q \n 12 13 14 P Q"),
        (8, "P Q 0 1 2 \n 3 P Q 4 5 \n 6 7 P Q 8 \n 9 10 11 P Q \n Q 12 13 14 P"),
        (9, "0 1 2 P Q \n 3 4 P Q 5 \n 6 P Q 7 8 \n P Q 9 10 11 \n Q 12 13 14 P"),
        (10, "0 1 2 Q P \n 4 5 Q P 3 \n 8 Q P 6 7 \n Q P 9 10 11 \n P 12 13 14 Q"),
        (16, "0 1 2 P Q \n 3 4 P 5 Q \n 6 P 7 8 Q \n P 9 10 11 Q \n 12 13 14 P Q"),
        (17, "P 0 1 2 Q \n 3 P 4 5 Q \n 6 7 P 8 Q \n 9 10 11 P Q \n P 12 13 14 Q"),
        (18, "0 1 2 P Q \n 4 5 P 3 Q \n 8 P 6 7 Q \n P 9 10 11 Q \n 12 13 14 P Q"),
        (19, "P 0 1 2 Q \n 5 P 3 4 Q \n 7 8 P 6 Q \n 9 10 11 P Q \n P 12 13 14 Q"),
        (20, "P 0 1 2 Q \n P 3 4 5 Q \n P 6 7 8 Q \n P 9 10 11 Q \n P 12 13 14 Q"),
    ] {
        let drawn = draw_parity(&parity(&shape(Level::Raid6, layout, 5, 8, 5 * 8)));
        assert_eq!(drawn, plain(drawing), "layout {layout}");
    }
}

#[test]
fn raid10_with_four_chunks_a_member() {
    for (layout, n, drawing) in [
        (0x102, 4, "0 0 1 1 \n 2 2 3 3 \n 4 4 5 5 \n 6 6 7 7"),
        (0x102, 3, "0 0 1 \n 1 2 2 \n 3 3 4 \n 4 5 5"),
        (0x201, 4, "0 1 2 3 \n 4 5 6 7 \n 3 0 1 2 \n 7 4 5 6"),
        (0x201, 3, "0 1 2 \n 3 4 5 \n 2 0 1 \n 5 3 4"),
        (0x10201, 4, "0 1 2 3 \n 3 0 1 2 \n 4 5 6 7 \n 7 4 5 6"),
        (0x10201, 3, "0 1 2 \n 2 0 1 \n 3 4 5 \n 5 3 4"),
        (0x40201, 4, "0 1 2 3 \n 4 5 6 7 \n 1 0 3 2 \n 5 4 7 6"),
        (0x40201, 5, "0 1 2 3 4 \n 5 6 7 8 9 \n 1 0 4 2 3 \n 6 5 9 7 8"),
        (0x202, 6, "0 0 1 1 2 2 \n 3 3 4 4 5 5 \n 2 2 0 0 1 1 \n 5 5 3 3 4 4"),
        (0x10202, 4, "0 0 1 1 \n 1 1 0 0 \n 2 2 3 3 \n 3 3 2 2"),
        // Ten cells of five columns do not come out even for three copies.
        (0x103, 5, "0 0 0 1 1 \n 1 2 2 2 3 \n 3 3 4 4 4 \n 5 5 5 - -"),
    ] {
        let drawn = draw_mapped(&mapped(&shape(Level::Raid10, layout, n, 8, 4 * 8), &[]));
        assert_eq!(drawn, plain(drawing), "layout {layout:#x} on {n}");
    }
}

#[test]
fn raid0_in_zones() {
    let sizes = [2 * 24, 5 * 24 + 23, 3 * 24, 5 * 24];
    let zone0 = "0 1 2 3 \n 4 5 6 7 \n";
    for (layout, rest) in [
        // Zone 1 begins with chunk 8 on the member numbered 8 mod 3, zone 2 with 11 mod 2.
        (1, "- 9 10 8 \n - 12 - 11 \n - 14 - 13"),
        (2, "- 8 9 10 \n - 11 - 12 \n - 13 - 14"),
    ] {
        let array = mapped(&shape(Level::Raid0, layout, 4, 24, 0), &sizes);
        assert_eq!(draw_mapped(&array), plain(&format!("{zone0}{rest}")), "layout {layout}");
    }
}
