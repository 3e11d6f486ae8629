//! Where running bonds keep their sockets and journals.
//!
//! A directory for each network namespace, because names of interfaces are its own:
//! `/run/holdfast/bond/net-4026531840/bond0.sock`. Who cannot write `/run` has one in
//! `$XDG_RUNTIME_DIR`, or in the temporary directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use holdfast_host::bond::link::Name;

use crate::exit::Failure;

/// The directory of one network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    /// The directory for this process's namespace, under `base` if that is given. It need not
    /// exist.
    pub(crate) fn find(base: Option<&Path>) -> Result<Self, Failure> {
        let namespace = fs::metadata("/proc/self/ns/net")
            .map_err(|error| Failure::error(format!("/proc/self/ns/net: {error}")))?
            .ino();
        let base = base.map_or_else(default_base, Path::to_owned);
        Ok(Self { directory: base.join("bond").join(format!("net-{namespace}")) })
    }

    /// Makes the directory, for its owner alone.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        let checked = made.and_then(|()| {
            let owner = fs::metadata(&self.directory)?.uid();
            if owner == rustix::process::geteuid().as_raw() {
                return Ok(());
            }
            Err(io::Error::new(ErrorKind::PermissionDenied, "belongs to somebody else"))
        });
        checked.map_err(|error| {
            Failure::error(format!("{}: {error}", self.directory.display()))
                .hint("--run-dir names another directory for sockets and journals")
        })
    }

    /// Removes the directory if nobody uses it any more.
    pub(crate) fn leave(&self) {
        let _ = fs::remove_dir(&self.directory);
    }

    /// The control socket of a bond.
    pub(crate) fn socket(&self, bond: &Name) -> PathBuf {
        self.directory.join(format!("{bond}.sock"))
    }

    /// The journal of a bond.
    pub(crate) fn journal(&self, bond: &Name) -> PathBuf {
        self.directory.join(format!("{bond}.journal"))
    }

    /// The bonds that have a file with this extension here, in order of their names.
    fn with(&self, extension: &str) -> Vec<Name> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut names: Vec<Name> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .filter_map(|path| Name::new(path.file_stem()?.to_str()?).ok())
            .collect();
        names.sort();
        names
    }

    /// The bonds that have a control socket here; some of them may have died.
    pub(crate) fn sockets(&self) -> Vec<Name> {
        self.with("sock")
    }

    /// The bonds that have a journal here; some of them may have died.
    pub(crate) fn journals(&self) -> Vec<Name> {
        self.with("journal")
    }
}

fn default_base() -> PathBuf {
    let system = Path::new("/run/holdfast");
    let writable = rustix::process::geteuid().is_root()
        && fs::DirBuilder::new().recursive(true).mode(0o755).create(system).is_ok()
        && rustix::fs::access(system, rustix::fs::Access::WRITE_OK).is_ok();
    if writable {
        return system.to_owned();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| Path::new(directory).is_dir()) {
        Some(directory) => Path::new(&directory).join("holdfast"),
        None => {
            let user = rustix::process::geteuid().as_raw();
            std::env::temp_dir().join(format!("holdfast-{user}"))
        }
    }
}
