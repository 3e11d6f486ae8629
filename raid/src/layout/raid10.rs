//! raid10: every chunk in several copies, near, far or offset.
//!
//! The layout number holds the near copies (bits 0–7), the far copies (bits 8–15), the offset form
//! (bit 16) and the far set rule (bits 17–18). Rows are member chunks, columns are slots:
//!
//! ```text
//!  near 2, 3 slots      far 2, 4 slots       offset 2, 4 slots
//!    0  0  1              0  1  2  3           0  1  2  3
//!    1  2  2              4  5  6  7           3  0  1  2
//!    3  3  4              3  0  1  2           4  5  6  7
//!    4  5  5              7  4  5  6           7  4  5  6
//! ```
//!
//! How to see it: lay the chunks in a table of `raid_disks` columns, each chunk written `near`
//! times in a row; call a line of it a *row*. Then store that table `far` times, as *sections* 0,
//! 1, …; section `f` turns every row right by `f · near` columns. Sections follow each other either
//! as wholes, one *stride* apart (far), or row by row (offset). Turning wraps around inside *far
//! sets*, groups of neighbouring columns: all columns (rule 0), `⌊n / far⌋` (rule 1, whose flaw is
//! that copies may meet on one member) or `far · near` (rule 2). Columns left over widen the last
//! set.
//!
//! Reading it backwards is then plain: take the section off, turn left, read the table.
//!
//! Linux accepts two kinds of layout in which this picture breaks and two chunks claim one place;
//! we refuse them (`LayoutError::CopiesCollide`):
//!
//! - offset with `near > 1` not dividing the columns: a chunk whose copies wrap into the next row
//!   lands on the row of the next section;
//! - far sets with a widened last set, `near > 1` and more than one set: `__raid10_find_phys` takes
//!   the columns just left of the last set as part of it.
//!
//! Source: `raid10.c`, `setup_geo`, `calc_sectors`, `__raid10_find_phys`, `raid10_find_virt`.

use super::{
    LayoutError, Place, Shape, check_power_of_two_chunk, check_room, is_present, slot_number,
};

/// The table, its sections and its far sets. Everything but sizes counts chunks or slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raid10 {
    chunk: u64,
    columns: u64,
    near: u64,
    far: u64,
    offset: bool,
    /// Columns in each far set but the last.
    set_width: u64,
    /// First column of the last far set, which reaches to the last column.
    last_set: u64,
    /// Rows of the table, and so chunks per member and section.
    rows: u64,
    /// Chunks of the array. The last row may have columns to spare.
    chunks: u64,
}

impl Raid10 {
    pub(super) fn new(shape: &Shape) -> Result<Self, LayoutError> {
        check_power_of_two_chunk(shape)?;
        let Shape { layout, raid_disks, chunk_sectors, member_sectors, .. } = *shape;
        let (near, far) = checked_copies(layout, raid_disks)?;
        let chunk = u64::from(chunk_sectors);
        check_room(shape, chunk * far)?;

        let columns = u64::from(raid_disks);
        let set_width = match layout >> 17 {
            0 => columns,
            1 => columns / far,
            _ => far * near,
        };
        let last_set = (columns / set_width - 1) * set_width;
        // `calc_sectors` takes a longer way to the stride, over the chunks used per device. Since
        // near · far ≤ n its roundings cancel, and it always arrives at this number of rows.
        let rows = member_sectors / chunk / far;
        let too_large = LayoutError::TooLarge { raid_disks, member_sectors };
        let chunks = rows.checked_mul(columns).ok_or_else(|| too_large.clone())? / near;
        chunks.checked_mul(chunk).ok_or(too_large)?;

        let offset = layout & (1 << 16) != 0;
        let layout10 =
            Self { chunk, columns, near, far, offset, set_width, last_set, rows, chunks };
        if layout10.collides() {
            return Err(LayoutError::CopiesCollide { layout, raid_disks });
        }
        Ok(layout10)
    }

    /// The two geometries described above in which Linux gives one place to two chunks.
    fn collides(&self) -> bool {
        let wraps_into_next_section = self.offset && !self.columns.is_multiple_of(self.near);
        let spills_into_last_set =
            self.last_set > 0 && !self.columns.is_multiple_of(self.set_width);
        self.near > 1 && self.far > 1 && (wraps_into_next_section || spills_into_last_set)
    }

    pub(super) fn array_sectors(&self) -> u64 {
        self.chunks * self.chunk
    }

    pub(super) fn copies(&self) -> u32 {
        slot_number(self.near * self.far)
    }

    pub(super) fn member_extent(&self) -> u64 {
        self.rows * self.far * self.chunk
    }

    /// Pushes every copy, near copies outermost as md orders them; says how many sectors follow in
    /// the same chunk.
    pub(super) fn map(&self, sector: u64, copies: &mut Vec<Place>) -> u64 {
        let within = sector % self.chunk;
        let first_cell = sector / self.chunk * self.near;
        for cell in first_cell..first_cell + self.near {
            let (row, column) = (cell / self.columns, cell % self.columns);
            copies.extend((0..self.far).map(|section| Place {
                slot: slot_number(self.turn_right(column, section)),
                sector: self.member_chunk(row, section) * self.chunk + within,
            }));
        }
        self.chunk - within
    }

    /// The array sector at a place inside the member, if any, and how many sectors the answer
    /// holds.
    pub(super) fn array_sector_of(&self, slot: u32, sector: u64) -> (Option<u64>, u64) {
        let within = sector % self.chunk;
        let (row, section) = self.row_and_section(sector / self.chunk);
        let column = self.turn_left(u64::from(slot), section);
        let number = (row * self.columns + column) / self.near;
        let found = (number < self.chunks).then(|| number * self.chunk + within);
        (found, self.chunk - within)
    }

    /// Whether each chunk has a copy on a member present.
    ///
    /// Which slots hold a chunk depends only on its column, and the columns repeat once the cells
    /// have filled a whole number of rows; so looking at `n` chunks is looking at all.
    ///
    /// This is the truth about the data. md's `enough` looks instead at runs of `near · far`
    /// neighbouring slots: the same thing without far sets, but with them it refuses some arrays
    /// that have lost nothing and starts some that have. It also refuses some arrays so small that
    /// not every column is used.
    pub(super) fn survives(&self, present: &[bool]) -> bool {
        (0..self.chunks.min(self.columns)).all(|number| {
            let first_cell = number * self.near;
            (first_cell..first_cell + self.near).any(|cell| {
                let column = cell % self.columns;
                (0..self.far)
                    .map(|section| slot_number(self.turn_right(column, section)))
                    .any(|slot| is_present(present, slot))
            })
        })
    }

    /// The column `section` turns away to the right, inside the same far set.
    fn turn_right(&self, column: u64, section: u64) -> u64 {
        let (start, width) = self.far_set(column);
        start + (column - start + section * self.near) % width
    }

    /// Undoes [`Self::turn_right`].
    fn turn_left(&self, column: u64, section: u64) -> u64 {
        let (start, width) = self.far_set(column);
        start + (column - start + width - section * self.near % width) % width
    }

    /// First column and width of the far set around `column`.
    fn far_set(&self, column: u64) -> (u64, u64) {
        if column >= self.last_set {
            (self.last_set, self.columns - self.last_set)
        } else {
            (column - column % self.set_width, self.set_width)
        }
    }

    fn member_chunk(&self, row: u64, section: u64) -> u64 {
        if self.offset { row * self.far + section } else { section * self.rows + row }
    }

    /// Undoes [`Self::member_chunk`].
    fn row_and_section(&self, member_chunk: u64) -> (u64, u64) {
        if self.offset {
            (member_chunk / self.far, member_chunk % self.far)
        } else {
            (member_chunk % self.rows, member_chunk / self.rows)
        }
    }
}

/// Near and far copies of a layout number without reserved bits.
fn checked_copies(layout: u32, raid_disks: u32) -> Result<(u64, u64), LayoutError> {
    if layout >> 19 != 0 {
        return Err(LayoutError::ReservedBits { layout });
    }
    if layout >> 17 == 3 {
        return Err(LayoutError::BadFarSets { layout });
    }
    let (near, far) = (layout & 0xff, (layout >> 8) & 0xff);
    if !(2..=raid_disks).contains(&(near * far)) {
        return Err(LayoutError::BadCopies { near, far, raid_disks });
    }
    Ok((u64::from(near), u64::from(far)))
}
