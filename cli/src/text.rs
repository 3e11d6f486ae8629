//! Files that people write or keep: scripts, plans, configurations.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::exit::Failure;

/// The text of a file. What has no end, as some devices, is no text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    const MOST_BYTES: u64 = 16 << 20;
    let wrong =
        |what: &dyn std::fmt::Display| Failure::error(format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut text = String::new();
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text);
    if read.map_err(|error| wrong(&error))? as u64 > MOST_BYTES {
        return Err(wrong(&"has more than 16 MiB, which is no text that somebody wrote"));
    }
    Ok(text)
}
