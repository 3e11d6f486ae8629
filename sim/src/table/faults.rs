//! What each level makes of each fault, seen in one scene a cell.
//!
//! A scene makes an array, fills it, breaks it in one way and reads everything back. Nothing is
//! taken from the array's own opinion but whether it could be assembled.

use std::fmt;
use std::time::Duration;

use holdfast_core::block::Op;
use holdfast_core::buf::Buf;
use holdfast_raid::integrity::Scheme;
use holdfast_raid::status::Health;
use holdfast_raid::{Action, AssembleError, Config, Level};

use super::scene::{BLOCK, Kind, Scene};
use crate::disk::{Silent, SimDisk};

/// What was seen. The order is from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// There is no such case.
    NotApplicable,
    /// Needs what does not exist yet: a journal.
    Later,
    /// Right data, no error.
    Mask,
    /// Right data, and what was wrong was written again.
    Heal,
    /// Each sector old or new, and what was untouched untouched.
    OldOrNew,
    /// Nobody answers until the disk does.
    Wait,
    /// The disk is left out of the array.
    LeftOut,
    /// The array is not assembled.
    Refused,
    /// An honest error, and never wrong data.
    Error,
    /// Wrong data without an error.
    Silent,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotApplicable => "-",
            Self::Later => "later",
            Self::Mask => "mask",
            Self::Heal => "heal",
            Self::OldOrNew => "old or new",
            Self::Wait => "wait",
            Self::LeftOut => "left out",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Silent => "silent",
        })
    }
}

/// A column: a level, perhaps guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    kind: Kind,
}

/// The columns.
pub const COLUMNS: [Column; 6] = [
    Column::of("raid0", Level::Raid0, Scheme::None),
    Column::of("raid1", Level::Raid1, Scheme::None),
    Column::of("raid5", Level::Raid5, Scheme::None),
    Column::of("raid6", Level::Raid6, Scheme::None),
    Column::of("raid10", Level::Raid10, Scheme::None),
    Column::of("raid5+version", Level::Raid5, Scheme::Version),
];

impl Column {
    const fn of(name: &'static str, level: Level, scheme: Scheme) -> Self {
        Self { name, kind: Kind { level, scheme, ppl: false } }
    }
}

/// A row: a fault, what the model says of it by column, and the scene that shows it.
struct Row {
    fault: &'static str,
    expected: [Seen; COLUMNS.len()],
    scene: fn(Kind) -> Seen,
}

/// A cell, filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The fault.
    pub fault: &'static str,
    /// The column's heading.
    pub column: &'static str,
    /// What the model says.
    pub expected: Seen,
    /// What was seen.
    pub seen: Seen,
}

/// Fills the whole table in, row by row.
pub fn fill() -> Vec<Cell> {
    let cell = |row: &Row, (column, expected): (&Column, Seen)| {
        let seen = match expected {
            Seen::NotApplicable | Seen::Later => expected,
            _ => (row.scene)(column.kind),
        };
        Cell { fault: row.fault, column: column.name, expected, seen }
    };
    ROWS.iter()
        .flat_map(|row| COLUMNS.iter().zip(row.expected).map(move |it| cell(row, it)))
        .collect()
}

use Seen::{
    Error as E, Heal as H, Later as L, LeftOut as O, Mask as M, NotApplicable as N, OldOrNew as X,
    Refused as R, Silent as S, Wait as W,
};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    //                                              raid0 1  5  6  10 5+v
    row("one member gone",                         [E, M, M, M, M, M], one_gone),
    row("two gone",                                [E, E, E, M, M, E], two_gone),
    row("two gone, copies of each other",          [N, E, N, N, E, N], pair_gone),
    row("three gone",                              [N, N, E, E, E, E], three_gone),
    row("second gone during a rebuild",            [N, E, E, M, M, E], gone_during_rebuild),
    row("unreadable sector",                       [E, H, H, H, H, H], latent),
    row("unreadable sector during a rebuild",      [N, E, E, H, E, E], latent_during_rebuild),
    row("unreadable twice in a row",               [N, E, E, H, E, E], latent_twice),
    row("silent corruption, read",                 [S, S, S, S, S, H], corruption),
    row("silent corruption, repaired, read",       [N, S, S, S, S, H], corruption_repaired),
    row("silent corruption, located, read",        [N, N, N, M, N, N], corruption_located),
    row("lost write, read",                        [S, S, S, S, S, H], lost_write),
    row("lost write, located, read",               [N, N, N, M, N, N], lost_write_located),
    row("misdirected write, read",                 [S, S, S, S, S, H], misdirected_write),
    row("power cut in a write",                    [X, X, X, X, X, X], power_cut),
    row("power cut, one gone",                     [N, X, R, R, X, R], power_cut_degraded),
    row("power cut, one gone, journal",            [N, N, L, L, N, L], never),
    row("power cut, one gone, partial parity log", [N, N, X, N, N, X], power_cut_logged),
    row("stale member returns",                    [N, O, O, O, O, O], stale_returns),
    row("two halves run apart",                    [N, R, N, N, R, N], split_history),
    row("disk does not answer, deadline set",      [W, M, M, M, M, M], slow),
    row("write error",                             [E, M, M, M, M, M], write_error),
    row("flush lies",                              [S, S, S, S, S, S], lying_flush),
    row("spare dies during a rebuild",             [N, M, M, M, M, M], spare_dies),
    row("superblock corrupt",                      [R, M, M, M, M, M], superblock_corrupt),
];

const fn row(fault: &'static str, expected: [Seen; COLUMNS.len()], scene: fn(Kind) -> Seen) -> Row {
    Row { fault, expected, scene }
}

/// The scene of a row that has none yet.
const fn never(_: Kind) -> Seen {
    Seen::Later
}

fn gone(kind: Kind, slots: &[u32]) -> Seen {
    let mut scene = Scene::new(kind);
    for &slot in slots {
        scene.disk(slot).vanish();
    }
    scene.look()
}

fn one_gone(kind: Kind) -> Seen {
    gone(kind, &[0])
}

/// Not copies of each other where there is a choice.
fn two_gone(kind: Kind) -> Seen {
    gone(kind, if kind.members() == 2 { &[0, 1] } else { &[0, 2] })
}

fn pair_gone(kind: Kind) -> Seen {
    gone(kind, &[0, 1])
}

fn three_gone(kind: Kind) -> Seen {
    gone(kind, &[0, 1, 2])
}

/// A member is gone, an empty disk takes its place and is being rebuilt.
fn rebuilding(kind: Kind, lost: u32) -> Scene {
    let mut scene = Scene::new(kind);
    scene.rig.array_mut().fail_member(lost as usize).expect("it can be spared");
    scene.add_disk();
    scene
}

fn gone_during_rebuild(kind: Kind) -> Seen {
    let mut scene = rebuilding(kind, 0);
    let other = if kind.members() == 2 { 1 } else { 2 };
    scene.rig.poll();
    scene.disk(other).vanish();
    scene.look()
}

fn latent(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    let place = scene.copies(0)[0];
    scene.spoil(place, SimDisk::add_latent);
    // Mirrors choose whom they read from: everybody is read once.
    if kind.is_redundant() {
        scene.rig.run(Action::Check { locate: false });
    }
    scene.look()
}

fn latent_during_rebuild(kind: Kind) -> Seen {
    let scene = Scene::new(kind);
    let (lost, other) = (scene.beside(), scene.copies(0)[0]);
    let mut scene = rebuilding(kind, lost.slot);
    scene.spoil(other, SimDisk::add_latent);
    scene.rig.settle();
    // One block is lost; the rebuild goes on and the rest is there.
    let status = scene.rig.array().status();
    assert_eq!(status.health, Health::Optimal, "the rebuild ends");
    let rest = scene.look_at(2);
    assert!(rest <= Seen::Heal, "what does not depend on the block is there: {rest}");
    scene.look()
}

fn latent_twice(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    for place in [scene.copies(0)[0], scene.beside()] {
        scene.spoil(place, SimDisk::add_latent);
    }
    scene.look()
}

fn corrupted(kind: Kind) -> Scene {
    let mut scene = Scene::new(kind);
    for place in silently_hit(&scene) {
        scene.spoil(place, SimDisk::corrupt);
    }
    scene
}

/// A mirror reads the copy it likes: the first copy of block 0 is broken, and of another block the
/// second one, so that one of them is read.
fn silently_hit(scene: &Scene) -> Vec<holdfast_raid::layout::Place> {
    let first = scene.copies(0)[0];
    let second = scene.copies(4).get(1).copied();
    std::iter::once(first).chain(second).collect()
}

fn corruption(kind: Kind) -> Seen {
    corrupted(kind).look()
}

fn corruption_repaired(kind: Kind) -> Seen {
    let mut scene = corrupted(kind);
    scene.rig.run(Action::Repair { locate: false });
    scene.look()
}

fn corruption_located(kind: Kind) -> Seen {
    let mut scene = corrupted(kind);
    scene.rig.run(Action::Repair { locate: true });
    scene.look()
}

/// The next write of a block's first copy goes wrong, and for mirrors that of another block's
/// second.
fn written_wrongly(kind: Kind, silent: Silent) -> Scene {
    let mut scene = Scene::new(kind);
    for (block, copy) in [(0, 0), (4, 1)] {
        let Some(place) = scene.copies(block).get(copy).copied() else { continue };
        scene.aim(place.slot);
        scene.disk(place.slot).set_silent(silent);
        scene.write(block, 1).expect("nobody notices");
    }
    scene
}

fn lost_write(kind: Kind) -> Seen {
    written_wrongly(kind, Silent::Lost).look()
}

fn lost_write_located(kind: Kind) -> Seen {
    let mut scene = written_wrongly(kind, Silent::Lost);
    scene.rig.run(Action::Repair { locate: true });
    scene.look()
}

fn misdirected_write(kind: Kind) -> Seen {
    // By two blocks, with their seals if there are any.
    let by = if kind.scheme == Scheme::None { 16 } else { 18 };
    written_wrongly(kind, Silent::Misdirected(by)).look()
}

/// The power fails at every step of a write; afterwards members agree.
fn power_cut(kind: Kind) -> Seen {
    let mut worst = Seen::Mask;
    for steps in 1..12 {
        let mut scene = Scene::new(kind);
        scene.begin_write(0);
        let stopped = scene.cut(steps);
        let Ok(mut scene) = stopped.start(Config::default(), false) else { return Seen::Refused };
        worst = worst.max(scene.look());
        scene.rig.settle();
        if kind.is_redundant() && scene.rig.check() > 0 {
            return Seen::Silent;
        }
        worst = worst.max(scene.look());
    }
    worst
}

fn power_cut_degraded(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    let lost = scene.beside();
    scene.rig.array_mut().fail_member(lost.slot as usize).expect("it can be spared");
    scene.write(0, 1).expect("a degraded array takes writes");
    scene.begin_write(0);
    match scene.cut(3).start(Config::default(), false) {
        Ok(mut scene) => scene.look(),
        Err(AssembleError::DirtyDegraded { .. }) => Seen::Refused,
        Err(_) => Seen::Error,
    }
}

/// The same with a partial parity log, at every step of a write: what nobody has written to is there,
/// and nobody has to force anything.
fn power_cut_logged(kind: Kind) -> Seen {
    let mut worst = Seen::Mask;
    for steps in 1..24 {
        let mut scene = Scene::new(Kind { ppl: true, ..kind });
        let lost = scene.beside();
        scene.rig.array_mut().fail_member(lost.slot as usize).expect("it can be spared");
        scene.write(0, 1).expect("a degraded array takes writes");
        scene.rig.flush().expect("and flushes");
        scene.begin_write(0);
        match scene.cut(steps).start(Config::default(), false) {
            Ok(mut scene) => worst = worst.max(scene.look()),
            Err(_) => return Seen::Refused,
        }
    }
    worst
}

fn stale_returns(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    scene.disk(0).vanish();
    for block in [0, 1, 2, 3] {
        scene.write(block, 1).expect("a degraded array takes writes");
    }
    let mut stopped = scene.stop();
    stopped.disks[0].come_back();
    let Ok(mut scene) = stopped.start(Config { auto_sync: false, ..Config::default() }, false)
    else {
        return Seen::Refused;
    };
    let left_out = scene.rig.array().status().health == Health::Degraded;
    match scene.look() {
        Seen::Mask if left_out => Seen::LeftOut,
        seen => seen,
    }
}

fn split_history(kind: Kind) -> Seen {
    let mut stopped = Scene::new(kind).stop();
    let (one, other): (Vec<usize>, Vec<usize>) = (0..kind.members()).partition(|n| n % 2 == 0);
    stopped.run_apart(&one);
    stopped.run_apart(&other);
    match stopped.start(Config::default(), false) {
        Ok(mut scene) => scene.look(),
        Err(_) => Seen::Refused,
    }
}

fn slow(kind: Kind) -> Seen {
    let config = Config { member_deadline: Some(Duration::from_millis(50)), ..Config::default() };
    let Ok(mut scene) = Scene::new(kind).stop().start(config, false) else {
        return Seen::Refused;
    };
    let slot = scene.copies(0)[0].slot;
    scene.disk(slot).stick(1000);
    let tag = scene.rig.begin(0, Op::Read(Buf::zeroed(BLOCK)));
    scene.rig.pass(Duration::from_secs(5));
    match scene.rig.answer(tag) {
        None => Seen::Wait,
        Some(_) => scene.look(),
    }
}

fn write_error(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    let place = scene.copies(0)[0];
    scene.spoil(place, SimDisk::add_dead);
    if scene.write(0, 1).is_err() {
        return Seen::Error;
    }
    match scene.look() {
        // What cannot be written is in the bad-block log, and the data in the other copies.
        Seen::Heal => Seen::Mask,
        seen => seen,
    }
}

/// Writes that were flushed, as far as anybody was told.
fn lying_flush(kind: Kind) -> Seen {
    let mut scene = Scene::new(kind);
    for block in 0..8 {
        scene.write(block, 1).expect("a healthy array takes writes");
    }
    (0..kind.members() as u32).for_each(|slot| scene.disk(slot).set_lying(true));
    scene.rig.flush().expect("nobody notices");
    match scene.cut(1000).start(Config::default(), true) {
        Ok(mut scene) => scene.look(),
        Err(_) => Seen::Refused,
    }
}

fn spare_dies(kind: Kind) -> Seen {
    let mut scene = rebuilding(kind, 0);
    let spare = kind.members() as u32;
    scene.rig.poll();
    scene.disk(spare).vanish();
    scene.rig.settle();
    scene.add_disk();
    scene.rig.settle();
    match scene.rig.array().status().health {
        Health::Optimal => scene.look(),
        _ => Seen::Error,
    }
}

fn superblock_corrupt(kind: Kind) -> Seen {
    let mut stopped = Scene::new(kind).stop();
    // Sector 8 of the member, whatever lies beneath.
    let sector =
        holdfast_raid::integrity::Shape::of(kind.scheme, 1 << 20).device_range(8..16).start;
    stopped.disks[0].corrupt(sector..sector + 1);
    match stopped.start(Config { auto_sync: false, ..Config::default() }, false) {
        Ok(mut scene) => scene.look(),
        Err(_) => Seen::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_what_the_model_says() {
        let wrong: Vec<String> = fill()
            .into_iter()
            .filter(|cell| cell.seen != cell.expected)
            .map(|cell| {
                format!("{}, {}: {}, not {}", cell.fault, cell.column, cell.seen, cell.expected)
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
