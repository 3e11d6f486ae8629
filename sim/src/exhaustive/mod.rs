//! Where things are small: not samples, but every case there is.
//!
//! - [`images`]: every image that a power cut can leave of a few unflushed writes, each assembled
//!   and recovered by the engine;
//! - [`duel`]: every order in which the members' answers to two overlapping writes can come, with
//!   every failure at every step.
//!
//! ```
//! use holdfast_raid::Level;
//! use holdfast_sim::exhaustive::images::{CrashCase, Tally};
//! use holdfast_sim::recipe::Recipe;
//!
//! let case = CrashCase { recipe: Recipe::of(Level::Raid1, 2), writes: vec![(0, 1)] };
//! assert_eq!(case.recover_every_image(), Ok(Tally { images: 4, disagreeing: 2 }));
//! ```

pub mod duel;
pub mod images;

use std::rc::Rc;

use holdfast_raid::layout::Layout;

use crate::content;
use crate::disk::{Latency, Pulse, SimDisk};
use crate::recipe::Recipe;
use crate::rows::Rows;
use crate::world::World;

/// Contents of the array before anything interesting happens.
const BASE: u32 = 1;

const SECTOR: usize = content::SECTOR;

/// What `version` writes to these sectors.
fn contents(version: u32, sector: u64, sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; sectors as usize * SECTOR];
    content::fill(0, sector, version, &mut bytes);
    bytes
}

/// Simulated disks that hold these bytes.
fn sim_disks<'b>(images: impl Iterator<Item = &'b [u8]>, world: &World) -> Vec<SimDisk> {
    let pulse = Rc::<Pulse>::default();
    let latency = Latency { least: 1, most: 5 };
    let disk = |(id, bytes): (u64, &[u8])| {
        let sectors = (bytes.len() / SECTOR) as u64;
        let rng = world.rng(id);
        let mut disk = SimDisk::new(id, sectors, latency, world.clock(), Rc::clone(&pulse), rng);
        disk.put(0, bytes);
        disk
    };
    (0..).zip(images).map(disk).collect()
}

/// The array's layout, and the first data sector of each slot's member.
fn geometry(recipe: &Recipe) -> (Layout, Vec<u64>) {
    let plan = recipe.plan().expect("an array that can be made");
    let layout = recipe.geometry().expect("a layout the engine knows");
    (layout, plan.members.iter().map(|member| member.data_offset).collect())
}

/// What members that should agree differ in, judged from their bytes alone.
fn disagreement(recipe: &Recipe, images: &[Option<&[u8]>]) -> Option<String> {
    let (layout, offsets) = geometry(recipe);
    let there = images.iter().map(|image| image.unwrap_or(&[]));
    let disks = sim_disks(there, &World::new(0));
    let members: Vec<_> = images
        .iter()
        .zip(&disks)
        .zip(offsets)
        .map(|((image, disk), offset)| image.map(|_| (disk, offset)))
        .collect();
    Rows::new(layout).difference(&members)
}
