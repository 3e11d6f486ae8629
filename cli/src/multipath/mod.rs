//! A map of real paths.
//!
//! [`way`] is a path: a file, a block device or an NBD server's export, with what fences it.
//! [`protocol`] is what may be asked of a map through its [control socket](crate::control), [`told`]
//! says in words and in JSON what happens.

pub(crate) mod protocol;
pub(crate) mod told;
pub(crate) mod way;

use std::io;
use std::path::PathBuf;

use crate::args::multipath::MultipathWhomArgs;
use crate::control::place;

/// A map's name when none is given.
pub(crate) const USUAL_NAME: &str = "mpatha";

/// The socket of the map that is meant.
pub(crate) fn whom(args: &MultipathWhomArgs) -> io::Result<PathBuf> {
    match &args.socket.control {
        Some(path) => Ok(path.clone()),
        None => place::of_map(args.map.as_deref().unwrap_or(USUAL_NAME)),
    }
}
