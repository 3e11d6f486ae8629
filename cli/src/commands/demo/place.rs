//! Where the demo's members live: a directory that goes away afterwards, unless it is to be kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// A directory of member files.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    keep: bool,
}

impl Place {
    /// A directory of its own, or the one to keep.
    pub(super) fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        let directory = keep.map_or_else(
            || std::env::temp_dir().join(format!("holdfast-demo-{}", std::process::id())),
            Path::to_owned,
        );
        fs::create_dir_all(&directory)
            .map_err(|error| Failure::error(format!("{}: {error}", directory.display())))?;
        Ok(Self { directory, keep: keep.is_some() })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Whether the files stay.
    pub(super) const fn is_kept(&self) -> bool {
        self.keep
    }

    /// A new sparse file.
    pub(super) fn member(&self, number: u32, bytes: u64) -> Result<PathBuf, Failure> {
        let path = self.directory.join(format!("disk{number}.img"));
        let failed = |error| Failure::error(format!("{}: {error}", path.display()));
        let file = File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        file.set_len(bytes).map_err(failed)?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // A directory nobody else knows; if it cannot go, the system cleans its temp files.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
