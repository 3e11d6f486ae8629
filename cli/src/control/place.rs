//! Where running servers keep their sockets: `$HOLDFAST_RUNTIME_DIR` if that is set, `/run/holdfast`
//! for root, `$XDG_RUNTIME_DIR/holdfast` for everybody else, and a directory of their own among
//! temporary files without one.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use holdfast_raid::superblock::Uuid;

/// The directory for sockets. It need not exist.
pub(crate) fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("HOLDFAST_RUNTIME_DIR") {
        return directory.into();
    }
    let user = rustix::process::geteuid();
    if user.is_root() {
        return PathBuf::from("/run/holdfast");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| Path::new(directory).is_dir()) {
        Some(directory) => Path::new(&directory).join("holdfast"),
        None => std::env::temp_dir().join(format!("holdfast-{}", user.as_raw())),
    }
}

/// Makes the directory a socket will lie in, for its owner alone.
///
/// # Errors
///
/// It cannot be made, or somebody else's directory is there.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if fs::metadata(directory)?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, "belongs to somebody else"))
}

/// Whether the directory is there and is the user's: somebody else's sockets are not believed.
pub(crate) fn is_ours() -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::metadata(directory()).is_ok_and(|found| found.uid() == user)
}

/// The socket of the array with this UUID.
pub(crate) fn of_array(uuid: Uuid) -> PathBuf {
    directory().join(format!("{uuid}.sock"))
}

/// All sockets of arrays, in order of their names; some may be of servers that have died.
pub(crate) fn all() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).into_iter().flatten().flatten();
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|found| found == "sock");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_socket).collect();
    paths.sort();
    paths
}
