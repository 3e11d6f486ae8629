//! One disk image that holds the members of many arrays side by side.
//!
//! A guest that boots once for dozens of arrays needs a hundred disks and more; it gets one, and
//! finds each member as a partition of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs;

const SECTOR: u64 = 512;
/// Members begin on whole MiB; the first and the last one are the partition table's.
const SLOT: u64 = 1 << 20;
/// Bytes copied or compared at once.
const PIECE: usize = 64 << 10;
/// What Linux allows on one disk.
const MOST: usize = 255;

/// A member's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    number: usize,
    start: u64,
    bytes: u64,
}

impl Place {
    /// The member as the guest sees it.
    pub(crate) fn device(&self) -> String {
        format!("${{disks}}a{}", self.number)
    }
}

#[derive(Debug)]
pub(crate) struct Shelf {
    path: PathBuf,
    file: File,
    places: Vec<Place>,
}

impl Shelf {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, places: Vec::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn has_room_for(&self, members: usize) -> bool {
        self.places.len() + members <= MOST
    }

    /// Makes a place for a member and copies its image there, if it has one already.
    pub(crate) fn put(&mut self, image: &Path, bytes: u64) -> io::Result<Place> {
        assert!(bytes.is_multiple_of(SECTOR) && self.has_room_for(1));
        let place = Place { number: self.places.len() + 1, start: self.end(), bytes };
        self.places.push(place);
        self.file.set_len(self.end() + SLOT)?;
        if image.exists() {
            copy(&File::open(image)?, 0, &self.file, place.start, bytes)?;
        }
        Ok(place)
    }

    /// Where the next member would begin.
    fn end(&self) -> u64 {
        let last = self.places.last();
        last.map_or(SLOT, |last| (last.start + last.bytes).next_multiple_of(SLOT))
    }

    /// Writes down the places where the guest's kernel looks for them.
    pub(crate) fn write_table(&self) -> io::Result<()> {
        let mut table = format!("label: gpt\ntable-length: {MOST}\n");
        for Place { start, bytes, .. } in &self.places {
            table += &format!("start={}, size={}\n", start / SECTOR, bytes / SECTOR);
        }
        let mut sfdisk = Command::new(programs::find("sfdisk"))
            .args(["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never"])
            .args(["--wipe-partitions", "never"])
            .arg(&self.path)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        sfdisk.stdin.take().expect("stdin is a pipe").write_all(table.as_bytes())?;
        let output = sfdisk.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("sfdisk: {}: {said}", output.status)))
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
        let mut there = vec![0; PIECE];
        pieces(place.bytes, |at, here| {
            let there = &mut there[..here.len()];
            self.file.read_exact_at(here, place.start + at)?;
            image.read_exact_at(there, at)?;
            same &= here == there;
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
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(buffer.len() as u64);
        each(at, &mut buffer[..n as usize])?;
        at += n;
    }
    Ok(())
}
