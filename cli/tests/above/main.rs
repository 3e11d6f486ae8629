//! The slow suite of what lies above an array: a file system, SQLite and PostgreSQL on a served array
//! whose members fail and whose power is cut. `cargo test -p holdfast-cli --test above`.
//!
//! Each finds out by its own means whether it is whole, and a ledger kept outside says what had been
//! promised to be there.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod postgres;
mod sqlite;
mod stack;

use std::process::Command;

use common::{has_program, skipped};

/// Whether these tests can be run here; says so if not.
fn can_run(programs: &[&str]) -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let loops = std::path::Path::new("/dev/loop-control").exists();
    let missing: Vec<_> = programs.iter().filter(|name| !has_program(name)).collect();
    let can = root && loops && missing.is_empty();
    if !can {
        skipped(&format!("root: {root}, loop devices: {loops}, missing programs: {missing:?}"));
    }
    can
}
