//! Making the array and the disks that a script asks for.

use std::rc::Rc;

use holdfast_core::block::BlockDevice;
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::config::LateWrite;
use holdfast_raid::integrity::{self, Scheme};
use holdfast_raid::layout::{Layout, Shape};
use holdfast_raid::superblock::CreateError;
use holdfast_raid::{Config, Level};

use crate::content::{self, SECTOR};
use crate::disk::{Pulse, SimDisk};
use crate::recipe::Recipe;
use crate::rows::Rows;
use crate::script::{Mode, Script, Setup};
use crate::world::VirtualClock;

/// Streams of randomness: each disk has its own from here on.
const DISKS: u64 = 16;

/// The recipe of a setup.
pub fn recipe(setup: &Setup) -> Recipe {
    Recipe {
        layout: setup.layout,
        chunk_sectors: setup.chunk_sectors,
        bitmap: (setup.bitmap > 0).then_some(setup.bitmap),
        ppl: setup.ppl,
        minor: setup.minor,
        clean: setup.synced,
        ..Recipe::of(setup.level, setup.members)
    }
    .sectors(setup.disk_sectors)
    .spares(setup.spares)
}

/// How the array of a script behaves.
pub(super) fn config(script: &Script) -> Config {
    let (deadline, pace) = (script.weather.deadline_ms, script.weather.pace);
    let setup = &script.setup;
    // A pass should take many windows, two of them at a time.
    let window_sectors = (setup.disk_sectors / 128).clamp(8, 128);
    Config {
        // A member with many bad sectors may fail; within tolerance that would be one too many.
        max_read_errors: if script.weather.mode == Mode::Within { u32::MAX } else { 20 },
        sync_window_bytes: 2 * window_sectors * setup.members as u64 * SECTOR as u64,
        sync_speed_min: u64::from(pace.busy) << 10,
        sync_speed_max: u64::from(pace.idle) << 10,
        member_deadline: (deadline > 0).then(|| Duration::from_millis(deadline)),
        late_write: LateWrite::FailMember,
        ..Config::default()
    }
}

/// A disk of a script's world.
pub(super) fn disk(
    script: &Script,
    id: usize,
    sectors: u64,
    clock: &VirtualClock,
    pulse: &Rc<Pulse>,
) -> SimDisk {
    let rng = Rng::stream(script.weather.seed, DISKS + id as u64);
    let latency = script.weather.latency;
    SimDisk::new(id as u64, sectors, latency, clock.clone(), Rc::clone(pulse), rng)
}

/// A disk with what is on another, guarded as the script says, and data from `data_offset` on.
pub(super) fn sealed_disk(
    script: &Script,
    id: usize,
    plain: &SimDisk,
    data_offset: u64,
    clock: &VirtualClock,
    pulse: &Rc<Pulse>,
) -> SimDisk {
    let scheme = script.setup.integrity;
    let sectors = integrity::Shape::device_sectors(scheme, plain.geometry().sectors);
    let shape = integrity::Shape::of(scheme, sectors);
    let mut disk = disk(script, id, sectors, clock, pulse);
    let blocks = plain.pages().map(|(sector, page)| (sector / integrity::BLOCK_SECTORS, &page[..]));
    shape.seal(id as u32, blocks, |sector, bytes| disk.put(sector, bytes));
    disk.set_data_offset(shape.device_range(data_offset..data_offset + 8).start);
    disk
}

/// The disks as they are when the array has just been made, and the array's rows.
pub(super) fn make(
    script: &Script,
    clock: &VirtualClock,
    pulse: &Rc<Pulse>,
) -> Result<(Vec<SimDisk>, Rows), CreateError> {
    let setup = &script.setup;
    let plan = recipe(setup).plan()?;
    let (bitmap, ppl) = (plan.bitmap(), plan.ppl());
    let supers = plan.superblocks();
    let mut disks: Vec<SimDisk> = Vec::with_capacity(supers.len());
    for (id, (planned, superblock)) in plan.members.iter().zip(&supers).enumerate() {
        let mut disk = disk(script, id, planned.device.sectors, clock, pulse);
        disk.set_data_offset(planned.data_offset);
        disk.put(superblock.super_offset, &superblock.emit());
        if let (Some(bytes), Some(sector)) = (&bitmap, plan.bitmap_sector(planned)) {
            disk.put(sector, bytes);
        }
        if let (Some(bytes), Some(sector)) = (&ppl, plan.ppl_sector(planned)) {
            disk.put(sector, bytes);
        }
        disks.push(disk);
    }
    let slots = plan.members.iter().filter(|member| member.slot.is_some());
    let sizes: Vec<u64> = slots.map(|member| member.data_size).collect();
    let shape = Shape {
        level: setup.level,
        layout: if matches!(setup.level, Level::Raid0 | Level::Linear) { 0 } else { setup.layout },
        raid_disks: setup.members as u32,
        chunk_sectors: setup.chunk_sectors,
        member_sectors: plan.size,
    };
    let rows = Rows::new(Layout::new(&shape, &sizes).expect("a plan that was made has a layout"));
    if !setup.synced {
        spoil_parity(script, &rows, &mut disks, plan.members[0].data_offset);
    }
    if setup.integrity != Scheme::None {
        for (id, planned) in plan.members.iter().enumerate() {
            disks[id] = sealed_disk(script, id, &disks[id], planned.data_offset, clock, pulse);
        }
    }
    Ok((disks, rows))
}

/// Parity of an array that was never in sync is noise; its data are zeros.
fn spoil_parity(script: &Script, rows: &Rows, disks: &mut [SimDisk], data_offset: u64) {
    let Layout::Parity(parity) = rows.layout() else { return };
    let seed = script.weather.seed;
    let chunk = u64::from(parity.chunk_sectors());
    let mut noise = vec![0; chunk as usize * SECTOR];
    for stripe in 0..parity.stripes() {
        let roles = parity.stripe(stripe);
        for slot in [Some(roles.p), roles.q].into_iter().flatten() {
            content::noise(seed, stripe << 8 | u64::from(slot), &mut noise);
            disks[slot as usize].put(data_offset + stripe * chunk, &noise);
        }
    }
}
