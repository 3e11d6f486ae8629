//! Arrays over any devices, freshly formatted and clean.

use holdfast_core::block::{BlockDevice, Blocking, Fault};
use holdfast_core::time::Clock;
use holdfast_raid::assembly::AssembleError;
use holdfast_raid::layout::names;
use holdfast_raid::superblock::{
    BitmapWish, CreateError, Minor, Name, NewArray, NewMember, Timestamp, Uuid, plan,
};
use holdfast_raid::{Assembled, Config, Level, Options, assemble, scan};

/// What to format.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Level.
    pub level: Level,
    /// Chunk in sectors; ignored for RAID1.
    pub chunk_sectors: u32,
    /// Whether to keep a write-intent bitmap.
    pub bitmap: bool,
}

/// Why there is no array to measure.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The devices make no such array.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A member took no metadata.
    #[error("member {member} takes no superblock: {fault}")]
    Metadata {
        /// Its index.
        member: usize,
        /// Why.
        fault: Fault,
    },
    /// What was written does not assemble.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}

/// Formats the devices as members of a clean array and starts it.
///
/// # Panics
/// If the devices are too few or too small: these are benches, not users.
pub fn start<D: BlockDevice, C: Clock>(shape: Shape, devices: Vec<D>, clock: C) -> Assembled<D> {
    try_start(shape, devices, clock, Config::default()).expect("devices that make an array")
}

/// As [`start`], for those who cannot know whether it can work; with knobs.
pub fn try_start<D: BlockDevice, C: Clock>(
    shape: Shape,
    devices: Vec<D>,
    mut clock: C,
    config: Config,
) -> Result<Assembled<D>, StartError> {
    let member = |(index, device): (usize, &D)| {
        Some(NewMember::new(device.geometry().sectors, Uuid((index as u128 + 1).to_le_bytes())))
    };
    let new = NewArray {
        level: shape.level,
        layout: names::default(shape.level),
        chunk_sectors: if shape.level == Level::Raid1 { 0 } else { shape.chunk_sectors },
        minor: Minor::V1_2,
        bitmap: match shape.bitmap {
            true => BitmapWish::Internal { chunk_bytes: None },
            false => BitmapWish::None,
        },
        ppl: false,
        size: None,
        data_offset: None,
        name: Name::new("bench").expect("a short name"),
        set_uuid: Uuid([0xbe; 16]),
        now: Timestamp::new(1_700_000_000, 0),
        members: devices.iter().enumerate().map(member).collect(),
        spares: Vec::new(),
        assume_clean: true,
    };
    let plan = plan(&new)?;
    let supers = plan.superblocks();
    let bitmap = plan.bitmap();
    let mut formatted = Vec::new();
    for (member, device) in devices.into_iter().enumerate() {
        let (planned, superblock) = (&plan.members[member], &supers[member]);
        let failed = |fault| StartError::Metadata { member, fault };
        let mut device = Blocking::new(device, &mut clock);
        device.write_at(superblock.super_offset * 512, &superblock.emit()).map_err(failed)?;
        if let (Some(bytes), Some(sector)) = (&bitmap, plan.bitmap_sector(planned)) {
            device.write_at(sector * 512, bytes).map_err(failed)?;
        }
        formatted.push(device.into_inner().0);
    }
    let probes = scan(&mut formatted, &mut clock);
    let array = assemble(probes, config, &Options::default())?;
    Ok(Assembled::new(array, formatted))
}
