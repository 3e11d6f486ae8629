//! The suite's program inside the guest: writes an array and reads it back, as [`Recipe`] says.
//!
//! It is this very executable, carried over with the libraries it needs; what to write is so
//! defined once.
//!
//! ```text
//! guest write  DEVICE RECIPE ROUND     one round of writing, past the page cache
//! guest verify DEVICE RECIPE ROUNDS    the whole device against so many rounds; prints its size
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::ExitCode;

use crate::content::{Layer, Recipe};

/// From the kernel's headers; the guest is always x86-64.
const O_DIRECT: i32 = 0o40000;
/// Bytes per request: wide enough that the kernel sees whole stripes of all but the widest.
const REQUEST: usize = 512 << 10;
const PAGE: usize = 4096;

pub(crate) fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String, String> {
    let [what, path, recipe, count] = args else {
        return Err("usage: guest write|verify DEVICE RECIPE N".to_owned());
    };
    let recipe: Recipe = recipe.parse()?;
    let count: u32 = count.parse().map_err(|_| format!("not a number: {count}"))?;
    let failed = |e: std::io::Error| format!("{what} {path}: {e}");
    let mut device = OpenOptions::new()
        .read(true)
        .write(what == "write")
        .custom_flags(O_DIRECT)
        .open(path)
        .map_err(failed)?;
    let bytes = device.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut memory = vec![0; REQUEST + PAGE];
    // direct I/O wants its memory aligned
    let aligned = memory.as_ptr().align_offset(PAGE);
    let buffer = &mut memory[aligned..][..REQUEST];
    if what == "write" {
        for layer in recipe.layers(count, bytes) {
            write(&device, &layer, buffer).map_err(failed)?;
        }
        device.sync_all().map_err(failed)?;
        Ok(format!("wrote round {count} over {bytes} bytes"))
    } else {
        verify(&device, bytes, &recipe, count, buffer)?;
        Ok(format!("verified {bytes} bytes"))
    }
}

fn write(device: &File, layer: &Layer, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut at = layer.at;
    while at < layer.end() {
        let n = (layer.end() - at).min(buffer.len() as u64);
        let piece = &mut buffer[..n as usize];
        layer.render(at, piece);
        device.write_all_at(piece, at)?;
        at += n;
    }
    Ok(())
}

fn verify(
    device: &File,
    bytes: u64,
    recipe: &Recipe,
    rounds: u32,
    buffer: &mut [u8],
) -> Result<(), String> {
    let content = recipe.content(rounds, bytes);
    let mut wrong = Vec::new();
    let mut at = 0;
    while at < bytes && wrong.len() < 8 {
        let n = (bytes - at).min(buffer.len() as u64);
        let piece = &mut buffer[..n as usize];
        device.read_exact_at(piece, at).map_err(|e| format!("reading at byte {at}: {e}"))?;
        wrong.extend(content.first_difference(at, piece));
        at += n;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("wrong content in {bytes} bytes, first in each request at {wrong:?}"))
}
