//! An array on simulated disks with known contents, to be broken in one way and looked at.

use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Fault};
use holdfast_core::rng::Rng;
use holdfast_core::time::Clock;
use holdfast_raid::array::AddMember;
use holdfast_raid::integrity::{Guarded, Scheme, Shape, join, open};
use holdfast_raid::layout::{Layout, Place};
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{AssembleError, Config, Event, Level, Options};

use super::faults::Seen;
use crate::disk::{Latency, Pulse, SimDisk};
use crate::recipe::Recipe;
use crate::rig::Rig;
use crate::world::World;

/// Bytes of a block.
pub(super) const BLOCK: usize = 4096;

/// First data sector of a member.
const DATA_SECTOR: u64 = 128;

/// Data sectors of a member.
const MEMBER_SECTORS: u64 = 64;

/// What kind of array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) level: Level,
    pub(super) scheme: Scheme,
    /// With a partial parity log.
    pub(super) ppl: bool,
}

impl Kind {
    fn recipe(self) -> Recipe {
        let members = match self.level {
            Level::Raid0 | Level::Raid1 => 2,
            Level::Raid5 | Level::Raid10 => 4,
            _ => 5,
        };
        let recipe = Recipe::of(self.level, members).sectors(MEMBER_SECTORS);
        if self.ppl { recipe.ppl() } else { recipe }
    }

    pub(super) fn members(self) -> usize {
        self.recipe().members.len()
    }

    pub(super) const fn is_redundant(self) -> bool {
        self.level.is_redundant()
    }
}

/// What is known of an array whether it runs or not.
pub(super) struct Facts {
    pub(super) kind: Kind,
    layout: Layout,
    world: World,
    pulse: Rc<Pulse>,
    contents: Vec<u8>,
    /// What a block may hold instead.
    doubt: Option<(usize, Vec<u8>)>,
    versions: u64,
}

/// A running array. Slot and disk have the same number until a spare takes a slot.
pub(super) struct Scene {
    pub(super) facts: Facts,
    pub(super) rig: Rig<Guarded<SimDisk>>,
}

/// An array that does not run.
pub(super) struct Stopped {
    pub(super) facts: Facts,
    pub(super) disks: Vec<SimDisk>,
}

impl Scene {
    /// An array full of data, durable, with everything in order.
    pub(super) fn new(kind: Kind) -> Self {
        let recipe = kind.recipe();
        let facts = Facts {
            kind,
            layout: recipe.geometry().expect("a usual layout"),
            world: World::new(11),
            pulse: Rc::default(),
            contents: Vec::new(),
            doubt: None,
            versions: 0,
        };
        let plain = recipe.disks();
        let disks = (0..).zip(&plain).map(|(number, plain)| facts.disk(number, plain.bytes()));
        let disks = disks.collect();
        let mut scene =
            Stopped { facts, disks }.start(Config::default(), false).expect("it is new");
        scene.facts.contents = vec![0; scene.rig.size()];
        let all = scene.blocks();
        scene.write(0, all).expect("a healthy array takes writes");
        scene.rig.flush().expect("and flushes");
        scene.rig.settle();
        scene.rig.take_events();
        scene
    }

    fn blocks(&self) -> usize {
        self.facts.contents.len() / BLOCK
    }

    /// Writes blocks; what they hold is known if that went well.
    pub(super) fn write(&mut self, block: usize, blocks: usize) -> Result<(), Fault> {
        let data = self.facts.next(block, blocks);
        let result = self.rig.write(block * BLOCK, &data);
        if result.is_ok() {
            self.facts.contents[block * BLOCK..][..data.len()].copy_from_slice(&data);
        }
        result
    }

    /// Begins a write of a block; old and new are both right from now on.
    pub(super) fn begin_write(&mut self, block: usize) {
        let data = self.facts.next(block, 1);
        self.rig.begin_write(block * BLOCK, &data);
        self.facts.doubt = Some((block, data));
    }

    /// Where array block `block` lies: each copy, or its place of data.
    pub(super) fn copies(&self, block: usize) -> Vec<Place> {
        let sector = block as u64 * 8;
        match &self.facts.layout {
            Layout::Parity(parity) => {
                let (stripe, index, within) = parity.locate(sector);
                let slot = parity.stripe(stripe).data_slot(index);
                let sector = stripe * u64::from(parity.chunk_sectors()) + within;
                vec![Place { slot, sector }]
            }
            Layout::Mapped(mapped) => {
                let mut places = Vec::new();
                mapped.map(sector, 8, &mut places);
                places
            }
        }
    }

    /// Another place of the row that block 0 is in, or of none: the other copy, or a neighbour.
    pub(super) fn beside(&self) -> Place {
        let copies = self.copies(0);
        copies.get(1).copied().unwrap_or_else(|| Place {
            slot: (copies[0].slot + 1) % self.facts.kind.members() as u32,
            ..copies[0]
        })
    }

    pub(super) fn disk(&mut self, slot: u32) -> &mut SimDisk {
        self.rig.device(slot as usize).inner_mut()
    }

    /// Does something to the sectors of a block on a disk.
    pub(super) fn spoil(
        &mut self,
        place: Place,
        how: impl FnOnce(&mut SimDisk, std::ops::Range<u64>),
    ) {
        let member = self.rig.device(place.slot as usize);
        let at = DATA_SECTOR + place.sector;
        let range = member.shape().device_range(at..at + 8);
        how(member.inner_mut(), range);
    }

    /// Writes of data go wrong from here on.
    pub(super) fn aim(&mut self, slot: u32) {
        let member = self.rig.device(slot as usize);
        let data = member.shape().device_range(DATA_SECTOR..DATA_SECTOR + 8).start;
        member.inner_mut().set_data_offset(data);
    }

    /// Adds an empty disk; its number.
    pub(super) fn add_disk(&mut self) -> usize {
        let number = self.rig.array().status().members.len() as u32;
        let disk = self.facts.disk(number, self.facts.kind.recipe().blank_disk().bytes());
        let mut clock = self.rig.clock();
        let disk = join(disk, number, self.rig.device(0), &mut clock);
        let new = AddMember { device_uuid: Uuid([0x40 + number as u8; 16]), write_mostly: false };
        self.rig.array_mut().add_member(disk, new).expect("a disk that fits")
    }

    /// Reads every block: the worst that was seen.
    pub(super) fn look(&mut self) -> Seen {
        let mut worst = Seen::Mask;
        for block in 0..self.blocks() {
            worst = worst.max(self.look_at(block));
        }
        let healed = |event: &Event| matches!(event, Event::ReadCorrected { .. });
        if worst == Seen::Mask && self.rig.take_events().iter().any(healed) {
            return Seen::Heal;
        }
        worst
    }

    /// Reads one block.
    pub(super) fn look_at(&mut self, block: usize) -> Seen {
        let Ok(bytes) = self.rig.read(block * BLOCK, BLOCK) else { return Seen::Error };
        let old = &self.facts.contents[block * BLOCK..][..BLOCK];
        let new =
            self.facts.doubt.as_ref().filter(|(at, _)| *at == block).map(|(_, data)| &data[..]);
        let right = |at: usize| {
            let sector = at..at + 512;
            bytes[sector.clone()] == old[sector.clone()]
                || new.is_some_and(|new| bytes[sector.clone()] == new[sector.clone()])
        };
        match (0..BLOCK).step_by(512).all(right) {
            true if new.is_some() => Seen::OldOrNew,
            true => Seen::Mask,
            false => Seen::Silent,
        }
    }

    /// The power fails after so many more answers of disks; of what is not durable some is left.
    pub(super) fn cut(mut self, steps: u64) -> Stopped {
        self.facts.pulse.light_fuse(steps);
        let mut clock = self.rig.clock();
        loop {
            self.rig.poll();
            match self.rig.array().poll_at() {
                Some(at) if !self.facts.pulse.is_out() => clock.wait(Some(at)),
                _ => break,
            }
        }
        self.facts.pulse.restore();
        let mut rng = self.facts.world.rng(5);
        let mut disks: Vec<SimDisk> =
            self.rig.crash().into_iter().map(Guarded::into_inner).collect();
        disks.iter_mut().for_each(|disk| disk.power_cut(&mut rng));
        Stopped { facts: self.facts, disks }
    }

    /// The array is stopped in good order.
    pub(super) fn stop(self) -> Stopped {
        let disks = self.rig.stop().into_iter().map(Guarded::into_inner).collect();
        Stopped { facts: self.facts, disks }
    }
}

impl Facts {
    /// The bytes of the next write to blocks.
    fn next(&mut self, block: usize, blocks: usize) -> Vec<u8> {
        self.versions += 1;
        let mut data = vec![0; blocks * BLOCK];
        Rng::stream(self.versions, block as u64).fill(&mut data);
        data
    }

    /// A disk of the set with these blocks on it.
    fn disk(&self, number: u32, plain: &[u8]) -> SimDisk {
        let scheme = self.kind.scheme;
        let sectors = Shape::device_sectors(scheme, plain.len() as u64 / 512);
        let (clock, pulse) = (self.world.clock(), Rc::clone(&self.pulse));
        let rng = self.world.rng(16 + u64::from(number));
        let latency = Latency { least: 1, most: 5 };
        let mut disk = SimDisk::new(u64::from(number), sectors, latency, clock, pulse, rng);
        disk.put(0, &Shape::of(scheme, sectors).sealed(number, plain));
        disk
    }
}

impl Stopped {
    /// Assembles the array.
    pub(super) fn start(self, config: Config, force: bool) -> Result<Scene, AssembleError> {
        let mut clock = self.facts.world.clock();
        let members = open(self.disks, self.facts.kind.scheme, &mut clock);
        let options = Options { force, set: None };
        let rig = Rig::open_in(members, config, &options, clock)?;
        Ok(Scene { facts: self.facts, rig })
    }

    /// Assembles some of the disks, writes block 0 and stops again; the other disks do not notice.
    pub(super) fn run_apart(&mut self, some: &[usize]) {
        let mut clock = self.facts.world.clock();
        let copies = some.iter().map(|&number| {
            let image = self.disks[number].image();
            let mut copy = self.facts.disk(number as u32, &vec![0; image.len()]);
            copy.put(0, &image);
            copy
        });
        let members = open(copies.collect(), self.facts.kind.scheme, &mut clock);
        let rig = Rig::open_in(members, Config::default(), &Options::default(), clock);
        let mut rig = rig.expect("half an array that runs");
        rig.write(0, &[some[0] as u8 + 1; BLOCK]).expect("it takes writes");
        for (&number, disk) in some.iter().zip(rig.stop()) {
            self.disks[number].put(0, &disk.inner().image());
        }
    }
}
