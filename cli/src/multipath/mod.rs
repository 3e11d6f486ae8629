//! A map of real paths, and its control socket.
//!
//! [`way`] is a path: a file, a block device or an NBD server's export, with what fences it.
//! [`control`] is the socket: one request and one answer a line, in JSON. [`told`] says in words and
//! in JSON what happens.

pub(crate) mod control;
pub(crate) mod told;
pub(crate) mod way;

use std::path::PathBuf;

use crate::args::multipath::MultipathWhomArgs;

/// A map's name when none is given.
pub(crate) const USUAL_NAME: &str = "mpatha";

/// Where a map's control socket is.
pub(crate) fn socket(name: &str, told: Option<PathBuf>) -> PathBuf {
    told.unwrap_or_else(|| {
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let directory =
            own.filter(|directory| directory.is_dir()).unwrap_or_else(std::env::temp_dir);
        directory.join(format!("multipath-{name}.sock"))
    })
}

/// The socket of the map that is meant.
pub(crate) fn whom(args: &MultipathWhomArgs) -> PathBuf {
    socket(args.map.as_deref().unwrap_or(USUAL_NAME), args.socket.control.clone())
}
