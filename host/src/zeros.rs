//! Where a file is known to read as zeros without reading it.
//!
//! A sparse file knows its holes. Asking costs one system call, however large the range, and the
//! answer is one of two: certainly zeros, or unknown. A range that was written with zeros is
//! *unknown*; so is everything on a block device and on a filesystem that keeps no holes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// What is known of a range without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// The whole range reads as zeros.
    Yes,
    /// Only reading can tell.
    Unknown,
}

/// Whether `range` (bytes) is known to read as zeros: it lies inside a hole of a regular file.
///
/// True for the moment of asking; a writer may fill the hole right after. Moves the file's own
/// offset, which positional reads and writes do not use.
pub fn reads_as_zeros(file: &File, range: Range<u64>) -> Zeros {
    let Ok(metadata) = file.metadata() else {
        return Zeros::Unknown;
    };
    // Beyond the end there is nothing to read, which is not the same as zeros.
    if !metadata.is_file() || range.end > metadata.len() {
        return Zeros::Unknown;
    }
    if range.is_empty() {
        return Zeros::Yes;
    }
    match seek(file, SeekFrom::Data(range.start)) {
        Ok(data) if data >= range.end => Zeros::Yes,
        // No data from here to the end of the file.
        Err(Errno::NXIO) => Zeros::Yes,
        Ok(_) | Err(_) => Zeros::Unknown,
    }
}

/// What a bounded search for a byte other than zero came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The whole range was read, and all of it is zeros.
    AllZero,
    /// The first byte that is not zero is here.
    Found(u64),
    /// The limit was reached here; everything before is zeros.
    Stopped(u64),
}

/// Bytes read at once by [`first_nonzero`].
const PIECE: u64 = 256 << 10;

/// Looks for the first byte in `range` that is not zero, reading at most `limit` bytes.
pub fn first_nonzero(file: &File, range: Range<u64>, limit: u64) -> io::Result<Search> {
    let stop = range.end.min(range.start.saturating_add(limit));
    let mut buf = vec![0; PIECE.min(stop.saturating_sub(range.start)) as usize];
    let mut at = range.start;
    while at < stop {
        let piece = &mut buf[..PIECE.min(stop - at) as usize];
        file.read_exact_at(piece, at)?;
        if let Some(index) = piece.iter().position(|&byte| byte != 0) {
            return Ok(Search::Found(at + index as u64));
        }
        at += piece.len() as u64;
    }
    Ok(if stop < range.end { Search::Stopped(stop) } else { Search::AllZero })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TempDir, skipped};

    const MIB: u64 = 1 << 20;

    #[test]
    fn holes_are_zeros_and_data_is_unknown() {
        let dir = TempDir::new();
        let file = dir.sparse("image", 4 * MIB);
        if reads_as_zeros(&file, 0..4 * MIB) == Zeros::Unknown {
            return skipped("the temporary directory's filesystem keeps no holes");
        }
        file.write_all_at(&[0; 4096], 2 * MIB).unwrap();
        for (range, answer) in [
            (0..2 * MIB, Zeros::Yes),
            (0..2 * MIB + 1, Zeros::Unknown),
            (2 * MIB..2 * MIB + 4096, Zeros::Unknown),
            (3 * MIB..4 * MIB, Zeros::Yes),
            (3 * MIB..4 * MIB + 1, Zeros::Unknown),
            (2 * MIB..2 * MIB, Zeros::Yes),
        ] {
            assert_eq!(reads_as_zeros(&file, range.clone()), answer, "{range:?}");
        }
    }

    #[test]
    fn a_device_of_characters_is_unknown() {
        let zero = File::open("/dev/zero").unwrap();
        assert_eq!(reads_as_zeros(&zero, 0..512), Zeros::Unknown);
    }

    #[test]
    fn a_search_finds_stops_or_ends() {
        let dir = TempDir::new();
        let file = dir.sparse("image", MIB);
        file.write_all_at(&[9], 700_000).unwrap();
        for (range, limit, outcome) in [
            (0..MIB, u64::MAX, Search::Found(700_000)),
            (0..MIB, 700_000, Search::Stopped(700_000)),
            (0..700_000, u64::MAX, Search::AllZero),
            (700_001..MIB, MIB, Search::AllZero),
            (0..0, 0, Search::AllZero),
        ] {
            assert_eq!(first_nonzero(&file, range, limit).unwrap(), outcome);
        }
        assert!(first_nonzero(&file, 0..2 * MIB, u64::MAX).is_ok(), "found before the end");
        assert!(first_nonzero(&file, MIB..2 * MIB, u64::MAX).is_err());
    }
}
