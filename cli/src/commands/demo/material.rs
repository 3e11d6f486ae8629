//! What the demo stores: real files, always in the same order.
//!
//! The program's own executable, then the files named with `--input`, or else the source files of
//! the repository if the demo runs inside it. Bytes are read as they are needed and never all held;
//! a file that shrinks meanwhile is filled up with zeros, which is as good a content as any,
//! because what counts is what was written.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// The executable may be large in a debug build; this much of it is enough.
const MOST_OF_EXECUTABLE: u64 = 48 << 20;

/// Repository files beyond this are left out.
const MOST_OF_REPOSITORY: u64 = 32 << 20;

/// Files, one after another.
#[derive(Debug)]
pub(super) struct Material {
    parts: Vec<(PathBuf, u64)>,
    next: usize,
    current: Option<(File, u64)>,
}

impl Material {
    /// Gathers the files.
    pub(super) fn gather(inputs: &[PathBuf]) -> Result<Self, Failure> {
        let mut parts = Vec::new();
        if let Ok(path) = std::env::current_exe()
            && let Ok(metadata) = path.metadata()
        {
            parts.push((path, metadata.len().min(MOST_OF_EXECUTABLE)));
        }
        if inputs.is_empty() {
            let mut room = MOST_OF_REPOSITORY;
            for path in repository_files() {
                let length = path.metadata().map_or(0, |metadata| metadata.len());
                if length > 0 && length <= room {
                    room -= length;
                    parts.push((path, length));
                }
            }
        }
        for path in inputs {
            let failed = |error| Failure::error(format!("--input {}: {error}", path.display()));
            let metadata = path.metadata().map_err(failed)?;
            if !metadata.is_file() {
                return Err(Failure::error(format!("--input {}: is no file", path.display())));
            }
            File::open(path).map_err(failed)?;
            parts.push((path.clone(), metadata.len()));
        }
        let material = Self { parts, next: 0, current: None };
        if material.bytes() == 0 {
            return Err(
                Failure::error("there is nothing to store").hint("name a file with --input")
            );
        }
        Ok(material)
    }

    /// Bytes in all.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, length)| length).sum()
    }

    /// `holdfast and 143 files`.
    pub(super) fn describe(&self) -> String {
        let first = self.parts.first().map_or_else(String::new, |(path, _)| {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        });
        match self.parts.len() {
            0 | 1 => first,
            2 => format!("{first} and one more file"),
            n => format!("{first} and {} more files", n - 1),
        }
    }

    /// Fills as much as there is; 0 at the end.
    pub(super) fn fill(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.current.is_none() {
                let Some((path, length)) = self.parts.get(self.next) else { break };
                self.current = Some((File::open(path)?, *length));
                self.next += 1;
            }
            let Some((file, left)) = &mut self.current else { break };
            let want = (*left).min((into.len() - filled) as u64) as usize;
            if want == 0 {
                self.current = None;
                continue;
            }
            match file.read(&mut into[filled..filled + want]) {
                Ok(0) => {
                    into[filled..filled + want].fill(0);
                    *left -= want as u64;
                    filled += want;
                }
                Ok(count) => {
                    *left -= count as u64;
                    filled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// The repository's own files, if the demo runs somewhere inside it.
fn repository_files() -> Vec<PathBuf> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    let is_root = |path: &&Path| {
        ["Cargo.toml", "core/src", "raid/src", "cli/src"]
            .iter()
            .all(|part| path.join(part).exists())
    };
    let Some(root) = here.ancestors().find(is_root) else { return Vec::new() };
    let mut files = Vec::new();
    collect(root, &mut files);
    files
}

/// Every plain file below, by name; not what is built or hidden.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = directory.read_dir() else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => collect(&path, files),
            Ok(metadata) if metadata.is_file() => files.push(path),
            _ => {}
        }
    }
}
