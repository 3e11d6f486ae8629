//! Arrays over memory for the tests of this crate.

use holdfast_core::block::{Blocking, MemDisk};
use holdfast_core::time::StepClock;
use holdfast_raid::layout::names;
use holdfast_raid::superblock::{
    BitmapWish, Minor, Name, NewArray, NewMember, Timestamp, Uuid, plan,
};
use holdfast_raid::{AssembleError, Assembled, Config, Level, Options, assemble, scan};

/// An array over memory with a clock that steps.
pub(crate) type Array = Blocking<Assembled<MemDisk>, StepClock>;

/// What to make; [`New::of`] fills in the rest.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) level: Level,
    pub(crate) layout: u32,
    pub(crate) chunk_sectors: u32,
    pub(crate) members: Vec<Option<u64>>,
    pub(crate) spares: Vec<u64>,
    pub(crate) bitmap: Option<u64>,
    pub(crate) minor: Minor,
    pub(crate) clean: bool,
    pub(crate) ppl: bool,
}

impl New {
    /// `n` members of 4 MiB with 4 KiB chunks, clean.
    pub(crate) fn of(level: Level, n: usize) -> Self {
        let chunk_sectors = if level == Level::Raid1 { 0 } else { 8 };
        Self {
            level,
            layout: names::default(level),
            chunk_sectors,
            members: vec![Some(8192); n],
            spares: Vec::new(),
            bitmap: None,
            minor: Minor::V1_2,
            clean: true,
            ppl: false,
        }
    }

    /// The members as they look when just created.
    pub(crate) fn disks(&self) -> Vec<MemDisk> {
        let member = |id: usize, sectors: u64| NewMember::new(sectors, Uuid([id as u8 + 1; 16]));
        let n = self.members.len();
        let array = NewArray {
            level: self.level,
            layout: self.layout,
            chunk_sectors: self.chunk_sectors,
            minor: self.minor,
            bitmap: match self.bitmap {
                None => BitmapWish::None,
                Some(bytes) => BitmapWish::Internal { chunk_bytes: Some(bytes) },
            },
            ppl: self.ppl,
            size: None,
            data_offset: None,
            name: Name::new("test:array").unwrap(),
            set_uuid: Uuid([0xaa; 16]),
            now: Timestamp::new(1_700_000_000, 0),
            members: self
                .members
                .iter()
                .enumerate()
                .map(|(i, s)| s.map(|s| member(i, s)))
                .collect(),
            spares: self.spares.iter().enumerate().map(|(i, &s)| member(n + i, s)).collect(),
            assume_clean: self.clean,
        };
        let plan = plan(&array).unwrap();
        let supers = plan.superblocks();
        let bitmap = plan.bitmap();
        plan.members
            .iter()
            .zip(&supers)
            .map(|(planned, superblock)| {
                let mut disk = MemDisk::new(planned.device.sectors);
                let mut put = |sector: u64, bytes: &[u8]| {
                    let at = sector as usize * 512;
                    disk.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
                };
                put(superblock.super_offset, &superblock.emit());
                if let (Some(bytes), Some(sector)) = (&bitmap, plan.bitmap_sector(planned)) {
                    put(sector, bytes);
                }
                if let (Some(bytes), Some(sector)) = (&plan.ppl(), plan.ppl_sector(planned)) {
                    put(sector, bytes);
                }
                disk
            })
            .collect()
    }

    /// The array, running.
    pub(crate) fn start(&self) -> Array {
        open(self.disks()).unwrap()
    }
}

/// Assembles disks.
pub(crate) fn open(disks: Vec<MemDisk>) -> Result<Array, AssembleError> {
    open_with(disks, Config::default(), &Options::default())
}

/// Assembles disks with these knobs.
pub(crate) fn open_with(
    mut disks: Vec<MemDisk>,
    config: Config,
    options: &Options,
) -> Result<Array, AssembleError> {
    let probes = scan(&mut disks, &mut StepClock::default());
    let array = assemble(probes, config, options)?;
    Ok(Blocking::new(Assembled::new(array, disks), StepClock::default()))
}

/// Runs the array until nothing is left to do but what timers will bring.
pub(crate) fn settle(array: &mut Array) {
    use holdfast_core::block::BlockDevice;
    use holdfast_core::time::Clock;
    let mut none = Vec::new();
    for _ in 0..1_000_000 {
        let now = array.clock_mut().now();
        array.device_mut().poll(now, &mut none);
        if array.device().is_quiet() {
            return;
        }
        if let Some(at) = array.device().poll_at() {
            array.clock_mut().wait(Some(at));
        }
    }
    panic!("the array never becomes quiet: {:?}", array.device().status());
}

/// Stops the array and gives the disks back.
pub(crate) fn stop(mut array: Array) -> Vec<MemDisk> {
    use holdfast_core::block::BlockDevice;
    use holdfast_core::time::Clock;
    array.device_mut().stop();
    let mut none = Vec::new();
    for _ in 0..100_000 {
        let now = array.clock_mut().now();
        array.device_mut().poll(now, &mut none);
        if array.device().is_stopped() {
            return array.into_inner().0.into_devices();
        }
        if let Some(at) = array.device().poll_at() {
            array.clock_mut().wait(Some(at));
        }
    }
    panic!("the array never stops: {:?}", array.device().status());
}
