//! Sets of rows.

use std::ops::Range;

/// A set of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    any: bool,
}

impl RowSet {
    /// No rows of `count`.
    pub fn none(count: u64) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize], any: false }
    }

    /// Adds a row.
    pub fn insert(&mut self, row: u64) {
        self.words[row as usize / 64] |= 1 << (row % 64);
        self.any = true;
    }

    /// Adds rows.
    pub fn insert_range(&mut self, rows: Range<u64>) {
        self.any |= !rows.is_empty();
        each_word(rows, |index, mask| self.words[index] |= mask);
    }

    /// Adds those of a range that are also in another set; whether there were any.
    pub fn insert_common(&mut self, rows: Range<u64>, other: &Self) -> bool {
        let mut found = 0;
        if other.any {
            each_word(rows, |index, mask| {
                self.words[index] |= other.words[index] & mask;
                found |= other.words[index] & mask;
            });
        }
        self.any |= found != 0;
        found != 0
    }

    /// Whether any row of a range is in it.
    pub fn meets(&self, rows: Range<u64>) -> bool {
        let mut found = 0;
        if self.any {
            each_word(rows, |index, mask| found |= self.words[index] & mask);
        }
        found != 0
    }

    /// Whether a row is in it.
    pub fn contains(&self, row: u64) -> bool {
        self.any && self.words[row as usize / 64] >> (row % 64) & 1 == 1
    }

    /// Takes rows below `limit` out.
    pub fn remove_below(&mut self, limit: u64) {
        if !self.any {
            return;
        }
        for (index, word) in self.words.iter_mut().enumerate() {
            let first = index as u64 * 64;
            match limit.saturating_sub(first) {
                0 => break,
                64.. => *word = 0,
                some => *word &= u64::MAX << some,
            }
        }
        self.any = self.words.iter().any(|&word| word != 0);
    }

    /// Adds all rows of another set.
    pub fn extend(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
        self.any |= other.any;
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let words = if self.any { &self.words[..] } else { &[] };
        words.iter().enumerate().flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u64 * 64 + bit)
        })
    }
}

/// Calls with each word that holds a part of the rows, and the mask of that part.
fn each_word(rows: Range<u64>, mut each: impl FnMut(usize, u64)) {
    let mut row = rows.start;
    while row < rows.end {
        let count = (64 - row % 64).min(rows.end - row);
        each(row as usize / 64, (u64::MAX >> (64 - count)) << (row % 64));
        row += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_set_are_its_rows() {
        let mut rng = holdfast_core::rng::Rng::new(6);
        for _ in 0..100 {
            let mut range = || {
                let start = rng.below(200);
                start..start + rng.below(201 - start)
            };
            let (one, other, asked) = (range(), range(), range());
            let (mut set, mut both) = (RowSet::none(200), RowSet::none(200));
            set.insert_range(one.clone());
            assert!(set.iter().eq(one.clone()));
            assert_eq!(set.meets(asked.clone()), one.clone().any(|row| asked.contains(&row)));
            let found = both.insert_common(other.clone(), &set);
            assert!(both.iter().eq(one.filter(|row| other.contains(row))));
            assert_eq!(found, !both.is_empty());
        }
    }

    #[test]
    fn sets_forget_what_lies_below_a_limit() {
        let mut set = RowSet::none(200);
        for row in [0, 63, 64, 65, 130, 199] {
            set.insert(row);
        }
        set.remove_below(65);
        assert_eq!(set.iter().collect::<Vec<_>>(), [65, 130, 199]);
        set.remove_below(200);
        assert!(set.is_empty() && set.iter().next().is_none());
    }
}
