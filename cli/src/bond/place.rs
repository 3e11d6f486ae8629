//! Where running bonds keep their sockets and journals.
//!
//! A directory for each network namespace, because names of interfaces are its own:
//! `/run/holdfast/bond/net-4026531840/bond0.sock`; see [`place`] for its beginning.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_host::bond::link::Name;

use crate::control::place;
use crate::exit::Failure;

const ANOTHER_PLACE: &str = "--run-dir names another directory for sockets and journals";

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
        let base = match base {
            Some(base) => base.to_owned(),
            None => place::directory()
                .map_err(|error| Failure::error(error.to_string()).hint(ANOTHER_PLACE))?,
        };
        Ok(Self { directory: base.join("bond").join(format!("net-{namespace}")) })
    }

    /// Makes the directory, for its owner alone.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        place::make(&self.directory).map_err(|error| {
            Failure::error(format!("socket directory: {error}")).hint(ANOTHER_PLACE)
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
