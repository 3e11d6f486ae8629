//! One disk image that holds the members of many arrays side by side.
//!
//! A guest that boots once for a dozen arrays needs some sixty disks; it gets one, and finds each
//! member as a partition of it. There is no partition table on the shelf: the guest is told the
//! places.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const SECTOR: u64 = 512;
/// Members begin on whole MiB.
const SLOT: u64 = 1 << 20;
/// What Linux allows on one disk.
const MOST: u32 = 255;

/// A member's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    number: u32,
    start: u64,
    bytes: u64,
}

impl Place {
    /// The member as the guest sees it.
    pub(crate) fn device(&self) -> String {
        format!("/dev/vda{}", self.number)
    }

    /// The guest's step that puts it there.
    pub(crate) fn step(&self) -> String {
        format!("part {} {} {}", self.number, self.start / SECTOR, self.bytes / SECTOR)
    }
}

#[derive(Debug)]
pub(crate) struct Shelf {
    file: File,
    taken: u32,
    end: u64,
}

impl Shelf {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file, taken: 0, end: SLOT })
    }

    pub(crate) fn has_room_for(&self, members: usize) -> bool {
        self.taken as usize + members <= MOST as usize
    }

    /// Makes a place for a member and copies its image there, if it has one already.
    pub(crate) fn put(&mut self, image: &Path, bytes: u64) -> io::Result<Place> {
        assert!(bytes.is_multiple_of(SECTOR) && self.taken < MOST);
        self.taken += 1;
        let place = Place { number: self.taken, start: self.end, bytes };
        self.end = (place.start + bytes).next_multiple_of(SLOT);
        self.file.set_len(self.end)?;
        if image.exists() {
            copy(&File::open(image)?, 0, &self.file, place.start, bytes)?;
        }
        Ok(place)
    }

    /// Copies a member into a file of its own.
    pub(crate) fn take(&self, place: Place, image: &Path) -> io::Result<()> {
        let to = File::create(image)?;
        to.set_len(place.bytes)?;
        copy(&self.file, place.start, &to, 0, place.bytes)
    }

    /// Whether a file still is what lies here.
    pub(crate) fn agrees(&self, place: Place, image: &Path) -> io::Result<bool> {
        let image = File::open(image)?;
        let mut same = image.metadata()?.len() == place.bytes;
        pieces(place.bytes, |at, here| {
            let mut there = vec![0; here.len()];
            self.file.read_exact_at(here, place.start + at)?;
            image.read_exact_at(&mut there, at)?;
            same &= *here == there;
            Ok(())
        })?;
        Ok(same)
    }
}

/// Copies all but zeros, into a file that has none but zeros.
fn copy(from: &File, from_at: u64, to: &File, to_at: u64, bytes: u64) -> io::Result<()> {
    pieces(bytes, |at, piece| {
        from.read_exact_at(piece, from_at + at)?;
        if piece.iter().any(|&byte| byte != 0) {
            to.write_all_at(piece, to_at + at)?;
        }
        Ok(())
    })
}

fn pieces(bytes: u64, mut each: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(buffer.len() as u64);
        each(at, &mut buffer[..n as usize])?;
        at += n;
    }
    Ok(())
}
