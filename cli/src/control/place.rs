//! Where running servers keep their sockets.
//!
//! `$HOLDFAST_RUNTIME_DIR` if that is set, `/run/holdfast` for root, `$XDG_RUNTIME_DIR/holdfast` or
//! `/run/user/UID/holdfast` for everybody else (and for root in a container or namespace that cannot
//! write `/run`). Nowhere else: among temporary files anybody could put a socket of the same name first, and
//! be told what was meant for the server.
//!
//! ```text
//! UUID.sock              an array
//! multipath/NAME.sock    a map
//! bond/net-N/NAME.sock   a bond of network namespace N, and its journal beside it
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use holdfast_raid::superblock::Uuid;
use rustix::fs::{Access, access};

/// The mode bit that lets everybody write.
const EVERYBODY_WRITES: u32 = 0o002;
/// Those that let anybody else write.
const OTHERS_WRITE: u32 = 0o022;

/// The directory for sockets, which need not exist.
///
/// # Errors
///
/// There is no place that only the user can write.
pub(crate) fn directory() -> io::Result<PathBuf> {
    let directory = candidate()?;
    match directory.symlink_metadata() {
        Ok(_) if !is_private(&directory) => Err(not_private(&directory)),
        _ => Ok(directory),
    }
}

fn candidate() -> io::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("HOLDFAST_RUNTIME_DIR") {
        return Ok(directory.into());
    }
    let user = rustix::process::geteuid();
    let system = Path::new("/run/holdfast");
    let nearest = if system.exists() { system } else { Path::new("/run") };
    if user.is_root() && access(nearest, Access::WRITE_OK).is_ok() {
        return Ok(system.to_owned());
    }
    let own = PathBuf::from(format!("/run/user/{}", user.as_raw()));
    let given = set("XDG_RUNTIME_DIR").map(PathBuf::from);
    let place = given.into_iter().chain([own]).find(|directory| is_private(directory));
    place.map(|directory| directory.join("holdfast")).ok_or_else(|| {
        let why = "no directory for sockets: neither XDG_RUNTIME_DIR nor HOLDFAST_RUNTIME_DIR is set to one \
                   that only this user can write";
        io::Error::new(ErrorKind::NotFound, why)
    })
}

/// Makes the directory a socket will lie in, for its owner alone.
///
/// # Errors
///
/// It cannot be made, or what is there is no directory, is somebody else's, or others can write it.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if is_private(directory) {
        return Ok(());
    }
    Err(not_private(directory))
}

fn not_private(directory: &Path) -> io::Error {
    let why = "belongs to somebody else, or others can write it";
    io::Error::new(ErrorKind::PermissionDenied, format!("{}: {why}", directory.display()))
}

/// Whether this is a directory of the user's that nobody else can write. What others put there is not
/// believed.
fn is_private(directory: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(directory).is_ok_and(|found| {
        found.is_dir() && found.uid() == user && found.mode() & OTHERS_WRITE == 0
    })
}

/// Refuses a socket in a directory that everybody can write, `/tmp` above all: its name can be
/// guessed and taken.
pub(crate) fn refuse_public(socket: &Path) -> io::Result<()> {
    let parent = socket.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    if fs::metadata(parent)?.mode() & EVERYBODY_WRITES == 0 {
        return Ok(());
    }
    let why = format!("everybody can write {}: name a directory of your own", parent.display());
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

/// What the socket of the array with this UUID is called.
pub(crate) fn name_of(uuid: Uuid) -> String {
    format!("{uuid}.sock")
}

/// The socket of the map with this name.
///
/// # Errors
///
/// There is no place for it, or the name is none of a file.
pub(crate) fn of_map(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        let why = format!("{name:?} cannot be part of a socket's name: --control PATH names it");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    Ok(directory()?.join("multipath").join(format!("{name}.sock")))
}

/// All sockets of arrays, in order of their names; some may be of servers that have died.
pub(crate) fn arrays() -> Vec<PathBuf> {
    let entries = directory().and_then(fs::read_dir).into_iter().flatten().flatten();
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|found| found == "sock");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_socket).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn no_socket_lies_where_others_could_have_put_one() {
        let base = std::env::temp_dir().join(format!("holdfast-place-{}", std::process::id()));
        let (own, public) = (base.join("own"), base.join("public"));
        make(&own).unwrap();
        make(&own).unwrap();
        fs::create_dir(&public).unwrap();
        fs::set_permissions(&public, fs::Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(make(&public).unwrap_err().kind(), ErrorKind::PermissionDenied);
        std::os::unix::fs::symlink(&own, base.join("link")).unwrap();
        assert!(make(&base.join("link")).is_err(), "a link leads where its owner likes");
        refuse_public(&own.join("a.sock")).unwrap();
        let error = refuse_public(&public.join("a.sock")).unwrap_err().to_string();
        assert!(error.contains("everybody can write"), "{error}");
        fs::remove_dir_all(base).unwrap();
        for name in ["", "..", "a/b", ".hidden"] {
            assert!(of_map(name).is_err(), "{name:?}");
        }
    }
}
