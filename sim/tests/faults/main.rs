//! One fault, one behaviour, one test.
//!
//! Every disk here can be slow, break as told, and lose its cache, and remembers what it was asked.
//! Sectors of a disk count from its start; its data begin at sector [`DATA`].

mod deadline;
mod metadata;
mod rebuild;
mod resync;
mod sharing;
mod traffic;
mod unreadable;
mod unwritable;

use holdfast_core::block::{Fault, MemDisk};
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::array::AddMember;
use holdfast_raid::status::{MemberState, MemberStatus};
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{AssembleError, Config, Event, Level, Options};
use holdfast_sim::decor::{Faulty, Latency, Recorded, Slow, Volatile};
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rig::Rig;
use holdfast_sim::world::World;

/// The first data sector of every disk.
const DATA: u64 = 128;

type Disk = Recorded<Faulty<Slow<Volatile<MemDisk>>>>;

/// The smallest array of each redundant level.
fn redundant() -> Vec<Recipe> {
    use Level::{Raid1, Raid4, Raid5, Raid6, Raid10};
    [(Raid1, 2), (Raid4, 3), (Raid5, 3), (Raid6, 4), (Raid10, 4), (Raid10, 3)]
        .map(|(level, n)| Recipe::of(level, n))
        .into()
}

/// The slot that holds the first chunk of the array's data.
fn home(recipe: &Recipe) -> usize {
    // Left-symmetric RAID6 begins with Q on slot 0.
    usize::from(recipe.level == Level::Raid6)
}

fn wrap(world: &World, index: usize, disk: MemDisk) -> Disk {
    let latency = Latency::fixed(Duration::ZERO);
    let rng = |purpose: u64| world.rng(2 * index as u64 + purpose);
    let slow = Slow::new(Volatile::new(disk), latency, rng(0));
    Recorded::new(Faulty::new(slow, rng(1)))
}

fn unwrap(disk: Disk) -> Volatile<MemDisk> {
    disk.into_inner().into_inner().into_inner()
}

/// What is on the disks after the power failed.
fn power_cut(rig: Rig<Disk>, seed: u64) -> Vec<MemDisk> {
    let mut rng = Rng::stream(seed, 99);
    let disks = rig.crash().into_iter();
    disks.map(|disk| unwrap(disk).power_cut(&mut rng)).collect()
}

/// What is on the disks of an array that was stopped.
fn at_rest(rig: Rig<Disk>) -> Vec<MemDisk> {
    let disks = rig.stop().into_iter();
    disks.map(|disk| unwrap(disk).power_cut(&mut Rng::new(1))).collect()
}

fn open(disks: Vec<MemDisk>, config: Config) -> Result<Rig<Disk>, AssembleError> {
    let world = World::new(1);
    let disks = disks.into_iter().enumerate();
    let disks = disks.map(|(index, disk)| wrap(&world, index, disk)).collect();
    let mut rig = Rig::open_in(disks, config, &Options::default(), world.clock())?;
    forget(&mut rig);
    Ok(rig)
}

/// Empties the records of all disks.
fn forget(rig: &mut Rig<Disk>) {
    for index in 0..rig.array().status().members.len() {
        rig.device(index).clear();
    }
}

/// The array, full of noise that is durable, with nothing in flight and marked clean.
fn filled_with(recipe: &Recipe, config: Config) -> (Rig<Disk>, Vec<u8>) {
    let mut rig = open(recipe.disks(), config).expect("an array");
    let data = noise(7, rig.size());
    rig.write(0, &data).unwrap();
    rig.flush().unwrap();
    rig.pass(Duration::from_secs(60));
    rig.take_events();
    forget(&mut rig);
    (rig, data)
}

fn filled(recipe: &Recipe) -> (Rig<Disk>, Vec<u8>) {
    filled_with(recipe, Config::default())
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(seed).fill(&mut data);
    data
}

fn faults(rig: &mut Rig<Disk>, member: usize) -> &mut Faulty<Slow<Volatile<MemDisk>>> {
    rig.device(member).inner_mut()
}

fn set_latency(rig: &mut Rig<Disk>, member: usize, latency: Latency) {
    faults(rig, member).inner_mut().set_latency(latency);
}

fn member(rig: &Rig<Disk>, index: usize) -> MemberStatus {
    rig.array().status().members[index].clone()
}

fn state(rig: &Rig<Disk>, index: usize) -> MemberState {
    member(rig, index).state
}

fn add_spare(rig: &mut Rig<Disk>, disk: MemDisk) -> usize {
    let index = rig.array().status().members.len();
    let disk = wrap(&World::new(index as u64), index, disk);
    let new = AddMember { device_uuid: Uuid([0xe0 + index as u8; 16]), write_mostly: false };
    rig.array_mut().add_member(disk, new).expect("a disk that fits")
}

fn failed(events: &[Event], index: usize) -> bool {
    let is = |e: &Event| matches!(e, Event::MemberFailed { member, .. } if *member == index);
    events.iter().any(is)
}

/// A member's bad-block log as it is on disk: first sectors and lengths.
fn listed(rig: &mut Rig<Disk>, index: usize) -> Vec<(u64, u64)> {
    let log = rig.probe()[index].bad_blocks.clone();
    let Some(log) = log else { return Vec::new() };
    let log = log.expect("a log that holds together");
    log.bad.iter().map(|r| (r.start, r.end - r.start)).collect()
}

/// Changes a byte of a disk behind everybody's back.
fn corrupt(disks: &mut [MemDisk], member: usize, sector: u64) {
    disks[member].bytes_mut()[sector as usize * 512 + 17] ^= 0x5a;
}

const MEDIUM: Result<Vec<u8>, Fault> = Err(Fault::Medium);
