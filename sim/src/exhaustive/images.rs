//! Every image a power cut can leave.
//!
//! Each block that was written and not flushed is old or new (or something in between, if it was
//! written more than once), independently of all others. Ten such blocks are 1,024 images. The
//! array is assembled from every one, and must make sense of it: everything is readable at once,
//! what was written is old or new sector by sector, what was not is untouched, a reader sees the
//! same before and after the resync, and then the members agree.

use holdfast_core::block::MemDisk;
use holdfast_raid::layout::Layout;
use holdfast_raid::{Config, Options};

use super::{BASE, SECTOR, contents, disagreement, sim_disks};
use crate::disk::SimDisk;
use crate::recipe::Recipe;
use crate::rig::Rig;
use crate::world::World;

/// Images that a case may have at most.
const MOST_IMAGES: usize = 1 << 16;

/// An array, and what is written to it when the power fails: everything answered, nothing flushed.
#[derive(Clone, Debug)]
pub struct CrashCase {
    /// The array.
    pub recipe: Recipe,
    /// The writes: first sector, sectors. They are in flight together.
    pub writes: Vec<(u64, u64)>,
}

/// What a case comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Images there are.
    pub images: usize,
    /// Those in which members disagreed before they were made to agree.
    pub disagreeing: usize,
}

/// Every image that a power cut now could leave of these disks, one image a disk.
pub fn every_image(disks: &[SimDisk]) -> impl Iterator<Item = Vec<Vec<u8>>> + '_ {
    let all: usize = disks
        .iter()
        .flat_map(SimDisk::crash_choices)
        .map(|(_, choices)| choices)
        .try_fold(1, |all: usize, choices| all.checked_mul(choices))
        .unwrap_or(usize::MAX);
    (0..all).map(|number| {
        let mut left = number;
        let mut choose = |_, choices| {
            let choice = left % choices;
            left /= choices;
            choice
        };
        disks.iter().map(|disk| disk.image_after_cut(&mut choose)).collect()
    })
}

impl CrashCase {
    /// Recovers from every image; what they come to, or the first that goes wrong.
    pub fn recover_every_image(&self) -> Result<Tally, String> {
        let disks = self.history();
        let mut tally = Tally { images: 0, disagreeing: 0 };
        for (number, image) in every_image(&disks).enumerate() {
            if number == MOST_IMAGES {
                return Err(format!("there are more than {MOST_IMAGES} images"));
            }
            let bytes: Vec<_> = image.iter().map(|disk| Some(&disk[..])).collect();
            tally.images += 1;
            tally.disagreeing += usize::from(disagreement(&self.recipe, &bytes).is_some());
            self.recover(image).map_err(|what| format!("image {number}: {what}"))?;
        }
        Ok(tally)
    }

    /// In how many images a sector that nobody has written to comes out wrong when the disk it
    /// lives on is lost besides, and the array is started with force.
    pub fn rebuilt_wrongly(&self, sector: u64) -> Result<usize, String> {
        let layout = self.recipe.geometry().expect("a layout the engine knows");
        let Layout::Parity(parity) = &layout else { return Ok(0) };
        let (stripe, data, _) = parity.locate(sector);
        let lost = parity.stripe(stripe).data_slot(data) as usize;
        let mut wrong = 0;
        for mut image in every_image(&self.history()) {
            image.remove(lost);
            let disks: Vec<MemDisk> = image.into_iter().map(MemDisk::from_bytes).collect();
            let config = Config { auto_sync: false, ..Config::default() };
            let mut rig = Rig::open(disks, config, true).map_err(|error| error.to_string())?;
            let seen = rig.read(sector as usize * SECTOR, SECTOR);
            let seen = seen.map_err(|fault| format!("cannot be read: {fault}"))?;
            wrong += usize::from(seen != contents(BASE, sector, 1));
        }
        Ok(wrong)
    }

    /// The disks when everything has been answered.
    fn history(&self) -> Vec<SimDisk> {
        let world = World::new(7);
        let made = self.recipe.disks();
        let disks = sim_disks(made.iter().map(MemDisk::bytes), &world);
        let opened = Rig::open_in(disks, Config::default(), &Options::default(), world.clock());
        let mut rig = opened.unwrap_or_else(|error| panic!("{error}"));
        let all = (rig.size() / SECTOR) as u64;
        rig.write(0, &contents(BASE, 0, all)).expect("nothing is broken yet");
        rig.flush().expect("nothing is broken yet");
        let begun: Vec<_> = (0..)
            .zip(&self.writes)
            .map(|(index, &(sector, sectors))| {
                let data = contents(BASE + 1 + index, sector, sectors);
                rig.begin_write(sector as usize * SECTOR, &data)
            })
            .collect();
        for tag in begun {
            rig.finish(tag).result.expect("nothing is broken yet");
        }
        rig.crash()
    }

    fn recover(&self, image: Vec<Vec<u8>>) -> Result<(), String> {
        let disks: Vec<MemDisk> = image.into_iter().map(MemDisk::from_bytes).collect();
        let mut rig = Rig::open(disks, Config::default(), false).map_err(|e| e.to_string())?;
        let seen = rig.read_all().map_err(|fault| format!("cannot be read: {fault}"))?;
        for (sector, bytes) in (0..).zip(seen.chunks_exact(SECTOR)) {
            if !self.may_hold(sector, bytes) {
                return Err(format!("sector {sector} holds neither old nor new"));
            }
        }
        rig.settle();
        if rig.read_all() != Ok(seen) {
            return Err("the resync has changed what a reader saw".to_owned());
        }
        let disks = rig.stop();
        let bytes: Vec<_> = disks.iter().map(|disk| Some(disk.bytes())).collect();
        disagreement(&self.recipe, &bytes).map_or(Ok(()), Err)
    }

    /// Whether a sector may hold this: what it held before, or what was written to it.
    fn may_hold(&self, sector: u64, bytes: &[u8]) -> bool {
        let writes = (BASE + 1..).zip(&self.writes);
        let here = writes.filter(|(_, (first, n))| (*first..first + n).contains(&sector));
        let versions = here.map(|(version, _)| version).chain([BASE]);
        versions.into_iter().any(|version| contents(version, sector, 1) == bytes)
    }
}
