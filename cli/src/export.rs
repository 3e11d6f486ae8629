//! Members over NBD: exports of servers, by their addresses.
//!
//! A member's name is the address of an export wherever it begins with `nbd://` or `nbd+unix://`. The
//! export is the member as a whole: no partitions are looked for in it. There are no locks over NBD:
//! whoever serves the export holds the lock on what is behind it, or nobody does.

use std::path::{Path, PathBuf};

use holdfast_core::size::SECTOR_BYTES;
use holdfast_host::clock::HostClock;
use holdfast_host::member::{Access, OpenError};
use holdfast_host::nbd::client::{NbdDisk, PATIENCE, Target};
use holdfast_host::watch::Watch;

use crate::exit::Failure;
use crate::members::open_failure;
use crate::report::Report;

/// Whether a name is the address of an export.
pub(crate) fn is_one(name: &Path) -> bool {
    name.to_str().is_some_and(Target::is_meant_by)
}

/// The address a name is, if it is one that can be understood.
fn target(name: &Path) -> Option<Target> {
    name.to_str().filter(|word| Target::is_meant_by(word)).and_then(|word| Target::parse(word).ok())
}

/// Whether both names are addresses of one export.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    target(one).zip(target(other)).is_some_and(|(one, other)| one.is_same_export(&other))
}

/// A name that is good wherever the command is run. Addresses stay as they are.
pub(crate) fn absolute(name: &Path) -> PathBuf {
    if is_one(name) {
        return name.to_owned();
    }
    std::path::absolute(name).unwrap_or_else(|_| name.to_owned())
}

/// Refuses names that are addresses of one export.
pub(crate) fn refuse_twins(names: &[&Path]) -> Result<(), Failure> {
    for (index, second) in names.iter().enumerate() {
        if let Some(first) = names[..index].iter().find(|first| is_same(first, second)) {
            let (first, second) = ((*first).to_owned(), (*second).to_owned());
            return Err(open_failure(OpenError::SameDevice { first, second }));
        }
    }
    Ok(())
}

/// Refuses addresses, for what works on files and devices alone.
pub(crate) fn refuse(names: &[PathBuf], what: &str) -> Result<(), Failure> {
    match names.iter().find(|name| is_one(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(format!("{}: {what} takes no exports", name.display()))
            .hint("copy it to a file first, or run the command where the file or disk is")),
    }
}

/// Connects to an export.
pub(crate) fn open(
    name: &Path,
    access: Access,
    clock: &mut HostClock,
    watch: &Watch,
    report: &Report,
) -> Result<NbdDisk, Failure> {
    let word = name.to_str().unwrap_or_default();
    let target = Target::parse(word).map_err(|error| Failure::usage(error.to_string()))?;
    let disk = NbdDisk::open(target, clock, watch, PATIENCE).map_err(|why| {
        Failure::error(format!("{word}: no connection: {why}")).hint(
            "start its server, or leave a vanished member out of the command to go on without it",
        )
    })?;
    let offered = disk.offered();
    let trailing = offered.map_or(0, |offered| offered.bytes % SECTOR_BYTES);
    if trailing > 0 {
        report.note(format_args!(
            "{word}: the last {trailing} bytes are no whole sector and are not used"
        ));
    }
    match access {
        Access::Write if offered.is_some_and(|offered| offered.geometry().read_only) => {
            Err(open_failure(OpenError::ReadOnly(name.to_owned())))
        }
        Access::Write => Ok(disk),
        Access::Read | Access::Steady => Ok(disk.for_looking()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_export_are_told_from_names_of_others() {
        let same = |one: &str, other: &str| is_same(Path::new(one), Path::new(other));
        for (one, other, expected) in [
            ("nbd+unix:///?socket=/a", "nbd+unix:///?socket=/a", true),
            ("nbd+unix:///?socket=/a", "nbd+unix:///?socket=/a&fence=close", true),
            ("nbd+unix:///x?socket=/a", "nbd+unix:///y?socket=/a", false),
            ("nbd+unix:///?socket=/a", "nbd+unix:///?socket=/b", false),
            ("nbd://localhost/x", "nbd://127.0.0.1:10809/%78", true),
            ("nbd://127.0.0.1:1/x", "nbd://127.0.0.1:2/x", false),
            ("nbd://127.0.0.1/", "nbd+unix:///?socket=/a", false),
            ("d0", "d0", false),
            ("nbd:nonsense", "nbd:nonsense", false),
        ] {
            assert_eq!(same(one, other), expected, "{one} {other}");
        }
        let two = ["nbd://127.0.0.1/", "d0", "nbd://127.0.0.1:10809"].map(Path::new);
        let failure = refuse_twins(&two).unwrap_err();
        assert!(failure.message.contains("are the same storage"), "{failure}");
    }

    #[test]
    fn addresses_are_no_paths() {
        let name = Path::new("nbd+unix:///?socket=s");
        assert_eq!(absolute(name).as_os_str(), name.as_os_str());
        assert!(absolute(Path::new("s")).is_absolute());
        assert!(refuse(&["d0".into()], "it").is_ok());
        assert!(refuse(&["d0".into(), name.into()], "it").is_err());
    }
}
