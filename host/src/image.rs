//! A whole image or disk mapped into memory, for scans that look everywhere.
//!
//! This is one of the crate's two rooms with `unsafe`: the bytes of a mapping are borrowed as a
//! plain slice, and nothing in the language can promise that nobody changes the file meanwhile. So
//! the image holds a shared lock while it lives, which excludes every writer of holdfast and of
//! all others who lock; who writes without a lock gets what they deserve, and so do we. A file cut
//! short under a mapping ends the process (`SIGBUS`), as does a medium error.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use memmap2::{Advice, Mmap, MmapOptions};

use crate::lock::{self, LockError, Mode};
use crate::member::OpenError;
use crate::sys;

/// A regular file or block device, mapped read-only, with a shared lock.
#[derive(Debug)]
pub struct Image {
    map: Mmap,
    /// Holds the lock.
    _file: File,
}

impl Image {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let metadata = path.metadata().map_err(|error| OpenError::of_read(path, error))?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(match kind.is_dir() {
                true => OpenError::Directory(path.to_owned()),
                false => OpenError::NotStorage(path.to_owned()),
            });
        }
        let file = File::open(path).map_err(|error| OpenError::of_read(path, error))?;
        match lock::acquire(&file, Mode::Shared) {
            Ok(()) => {}
            Err(LockError::Held) => return Err(OpenError::locked(path)),
            Err(LockError::Io(source)) => return Err(failed(source)),
        }
        let opened = file.metadata().map_err(failed)?;
        if opened.file_type() != kind {
            return Err(failed(io::Error::other("it changed while being opened")));
        }
        let bytes = match kind.is_file() {
            true => opened.len(),
            false => sys::block::size_bytes(&file).map_err(|error| failed(error.into()))?,
        };
        let bytes = usize::try_from(bytes)
            .map_err(|_| failed(io::Error::other("too large for this machine's addresses")))?;
        // SAFETY: the mapping is private to this value, read-only and never handed out beyond the
        // borrow of `bytes`; the shared lock just taken keeps away the writers that lock.
        let map = unsafe { MmapOptions::new().len(bytes).map(&file) }.map_err(failed)?;
        // Only a hint: a kernel that does not take it reads ahead as it likes.
        let _ = map.advise(Advice::Sequential);
        Ok(Self { map, _file: file })
    }

    /// All bytes of the image.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn an_image_shows_the_bytes_of_its_file() {
        let dir = TempDir::new();
        let file = dir.sparse("image", 1 << 20);
        file.write_all_at(b"holdfast", 4096).unwrap();
        let image = Image::open(&dir.path("image")).unwrap();
        assert_eq!(image.bytes().len(), 1 << 20);
        assert_eq!(&image.bytes()[4096..4104], b"holdfast");
        assert!(image.bytes()[..4096].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn an_empty_file_is_an_empty_image() {
        let dir = TempDir::new();
        dir.sparse("image", 0);
        let image = Image::open(&dir.path("image")).unwrap();
        assert!(image.bytes().is_empty());
    }

    #[test]
    fn readers_share_and_a_writer_excludes_them() {
        let dir = TempDir::new();
        let file = dir.sparse("image", 4096);
        let first = Image::open(&dir.path("image")).unwrap();
        let second = Image::open(&dir.path("image")).unwrap();
        assert!(matches!(lock::acquire(&file, Mode::Exclusive), Err(LockError::Held)));
        drop((first, second));
        lock::acquire(&file, Mode::Exclusive).unwrap();
        let refused = Image::open(&dir.path("image")).unwrap_err();
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    }

    #[test]
    fn only_files_and_block_devices_are_mapped() {
        let refused = Image::open(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(refused, OpenError::NotStorage(_)), "{refused}");
        let refused = Image::open(Path::new("/")).unwrap_err();
        assert!(matches!(refused, OpenError::Directory(_)), "{refused}");
    }
}
