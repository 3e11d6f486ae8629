//! What a power cut leaves of a write that nobody has flushed: every image there is.
//!
//! Each sector that went out is old or new on its own. For each case the engine makes the writes,
//! and all images of the disks are enumerated: how many there are, in how many the members agree,
//! and in how many a chunk that nobody wrote to comes out wrong if its own disk is lost besides.
//! The last number is the write hole.

use crate::exhaustive::images::{CrashCase, Tally};
use crate::recipe::Recipe;
use holdfast_raid::Level;

/// A row of the table, filled in; the numbers of `expected` stand for the fields before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was in flight.
    pub what: &'static str,
    /// Images there are, those in which members agree, and those with the untouched chunk wrong.
    pub seen: Counts,
    /// What the numbers should be.
    pub expected: Counts,
}

/// Images of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub images: usize,
    /// Those in which members agree.
    pub consistent: usize,
    /// Those in which the untouched chunk is rebuilt wrongly; a mirror has none to rebuild.
    pub wrong: Option<usize>,
}

const fn counts(images: usize, consistent: usize, wrong: Option<usize>) -> Counts {
    Counts { images, consistent, wrong }
}

/// Enumerates all images of every case.
pub fn fill() -> Result<Vec<Row>, String> {
    let row = |what, level, members, writes: &[(u64, u64)], untouched: Option<u64>, expected| {
        let case = CrashCase { recipe: Recipe::of(level, members), writes: writes.to_vec() };
        let Tally { images, disagreeing } = case.recover_every_image()?;
        let wrong = untouched.map(|sector| case.rebuilt_wrongly(sector)).transpose()?;
        Ok::<_, String>(Row { what, seen: counts(images, images - disagreeing, wrong), expected })
    };
    use Level::{Raid1, Raid5, Raid6};
    Ok(vec![
        row("mirror, one write", Raid1, 2, &[(0, 1)], None, counts(4, 2, None))?,
        row("raid5, one chunk and P", Raid5, 3, &[(0, 1)], Some(8), counts(4, 2, Some(2)))?,
        row(
            "raid5, two chunks and P",
            Raid5,
            4,
            &[(0, 1), (8, 1)],
            Some(16),
            counts(8, 2, Some(6)),
        )?,
        row("raid6, one chunk, P and Q", Raid6, 4, &[(0, 1)], Some(8), counts(8, 2, Some(4)))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_there_and_the_write_hole_is_as_wide_as_it_should_be() {
        for row in fill().unwrap() {
            assert_eq!(row.seen, row.expected, "{}", row.what);
        }
    }
}
