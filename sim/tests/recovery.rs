//! Every level and layout, every set of lost members.
//!
//! Each case loses members one after another, some by order and some by silence, with writes that
//! start inside chunks and cross stripes in between. As long as [`Layout::survives`] holds, every
//! byte is right and every write is taken. One loss further nothing is wrong: what can still be
//! read is right, the rest is an error, and writes are refused. Then the array is stopped,
//! assembled from what is left, given new disks, rebuilt, checked, and compared again.

use holdfast_core::block::{Fault, MemDisk};
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::array::AddMember;
use holdfast_raid::layout::Layout;
use holdfast_raid::status::Health;
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{AssembleError, Config, Event, Level, Refusal};
use holdfast_sim::decor::Faulty;
use holdfast_sim::model::Model;
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rig::{Contents, Rig};
use holdfast_sim::world::World;

use Level::{Linear, Raid0, Raid1, Raid4, Raid5, Raid6, Raid10};

type Disk = Faulty<MemDisk>;

const RAID5_LAYOUTS: [u32; 6] = [0, 1, 2, 3, 4, 5];
const RAID6_LAYOUTS: [u32; 14] = [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 19, 20];
const RAID10_LAYOUTS: [u32; 12] = [
    0x102,   // near 2
    0x103,   // near 3
    0x201,   // far 2
    0x301,   // far 3
    0x10201, // offset 2
    0x10301, // offset 3
    0x202,   // near 2, far 2
    0x10202, // near 2, offset 2
    0x20201, // far 2 in sets of n / 2
    0x40201, // far 2 in sets of 2
    0x50201, // offset 2 in sets of 2
    0x40202, // near 2, far 2 in sets of 4
];

/// The largest arrays have so many members.
const MOST: usize = 8;

#[test]
fn linear_and_raid0_lose_nothing_but_what_is_gone() {
    for n in 2..=MOST {
        lose_every_set(&Recipe::of(Linear, n));
        for layout in [1, 2] {
            let mut recipe = Recipe::of(Raid0, n).layout(layout);
            recipe.members[n - 1] = Some(192);
            lose_every_set(&recipe);
        }
    }
}

#[test]
fn raid1_lives_on_its_last_member() {
    for n in 2..=4 {
        lose_every_set(&Recipe::of(Raid1, n));
    }
}

#[test]
fn raid4_and_every_raid5_layout_survive_any_one_loss() {
    for n in 3..=MOST {
        lose_every_set(&Recipe::of(Raid4, n));
        for layout in RAID5_LAYOUTS {
            lose_every_set(&Recipe::of(Raid5, n).layout(layout));
        }
    }
}

#[test]
fn every_raid6_layout_survives_any_two_losses() {
    for n in 4..=MOST {
        for layout in RAID6_LAYOUTS {
            lose_every_set(&Recipe::of(Raid6, n).layout(layout));
        }
    }
}

#[test]
fn raid10_survives_what_leaves_a_copy_of_everything() {
    let mut made = 0;
    for n in 2..=MOST {
        for layout in RAID10_LAYOUTS {
            let recipe = Recipe::of(Raid10, n).layout(layout);
            if recipe.plan().is_err() || recipe.geometry().is_none() {
                continue;
            }
            made += 1;
            lose_every_set(&recipe);
        }
    }
    assert!(made > 55, "only {made} raid10 arrays could be made");
}

/// Sets of `k` lost members out of 8 that lose data, as fractions of all: near 2 is pairs, far 2
/// and offset 2 are a ring.
#[test]
fn fatal_sets_are_as_many_as_the_arithmetic_says() {
    #[rustfmt::skip]
    let table = [
        (Raid10, 0x102,   [(1, 7), (3, 7), (27, 35), (1, 1)]),
        (Raid10, 0x201,   [(2, 7), (5, 7), (34, 35), (1, 1)]),
        (Raid10, 0x10201, [(2, 7), (5, 7), (34, 35), (1, 1)]),
        (Raid5,  2,       [(1, 1), (1, 1), (1, 1), (1, 1)]),
        (Raid6,  2,       [(0, 1), (1, 1), (1, 1), (1, 1)]),
    ];
    for (level, layout, fractions) in table {
        let disks = Recipe::of(level, 8).layout(layout).disks();
        for (k, (fatal_part, of)) in (2..).zip(fractions) {
            let sets = (0u32..256).filter(|set| set.count_ones() == k);
            let (mut fatal, mut all) = (0, 0);
            for set in sets {
                let left = disks.iter().enumerate().filter(|(i, _)| set >> i & 1 == 0);
                let left = left.map(|(_, disk)| disk.copy()).collect();
                all += 1;
                match Rig::open(left, Config::default(), false) {
                    Ok(_) => {}
                    Err(AssembleError::TooFewMembers { missing, .. }) => {
                        assert_eq!(missing.len(), k as usize);
                        fatal += 1;
                    }
                    Err(other) => panic!("{level} without {set:#b}: {other}"),
                }
            }
            assert_eq!(fatal * of, all * fatal_part, "{level} {layout:#x}, {k} lost");
        }
    }
}

/// The same for four members, where two are lost.
#[test]
fn a_third_or_two_thirds_of_the_pairs_of_four_are_fatal() {
    for (layout, fatal_of_six) in [(0x102, 2), (0x201, 4), (0x1_0201, 4)] {
        let disks = Recipe::of(Raid10, 4).layout(layout).disks();
        let pairs = (0u32..16).filter(|set| set.count_ones() == 2);
        let fatal = pairs.filter(|set| !runs_without(&disks, *set)).count();
        assert_eq!(fatal, fatal_of_six, "{layout:#x}");
    }
}

/// A mirror of two stripes, the other way round: a stripe is gone with its first member.
#[test]
fn a_mirror_of_stripes_loses_more_sets_than_a_stripe_of_mirrors() {
    let half = Recipe::of(Raid0, 4).disks();
    for (k, fatal_part, of) in [(2, 4, 7), (3, 6, 7)] {
        let sets: Vec<u32> = (0..256).filter(|set: &u32| set.count_ones() == k).collect();
        let lost =
            |set: &&u32| !runs_without(&half, **set & 0xf) && !runs_without(&half, **set >> 4);
        let fatal = sets.iter().filter(lost).count();
        assert_eq!(fatal * of, sets.len() * fatal_part, "{k} lost");
    }
}

/// Whether the disks not in the set still make up an array.
fn runs_without(disks: &[MemDisk], set: u32) -> bool {
    let left = disks.iter().enumerate().filter(|(index, _)| set >> index & 1 == 0);
    let left = left.map(|(_, disk)| disk.copy()).collect();
    Rig::open(left, Config::default(), false).is_ok()
}

/// Loses every set of members that is survivable or goes one loss too far.
fn lose_every_set(recipe: &Recipe) {
    let layout = recipe.geometry().expect("a layout that can be made");
    let n = recipe.members.len();
    for set in 1u32..1 << n {
        let lost: Vec<usize> = (0..n).filter(|i| set >> i & 1 == 1).collect();
        let mut rng = Rng::stream(u64::from(set), n as u64);
        let Some(order) = order_of_loss(&layout, n, lost, &mut rng) else {
            continue;
        };
        let case = format!("{recipe:?} losing {order:?}");
        Case::new(recipe, &layout, rng, case).lose(&order);
    }
}

/// A random order in which all but the last loss can be survived, if there is one.
fn order_of_loss(
    layout: &Layout,
    n: usize,
    mut lost: Vec<usize>,
    rng: &mut Rng,
) -> Option<Vec<usize>> {
    let survives = |lost: &[usize]| {
        let present: Vec<bool> = (0..n).map(|i| !lost.contains(&i)).collect();
        layout.survives(&present)
    };
    let mut last: Vec<usize> = (0..lost.len())
        .filter(|&index| {
            let mut others = lost.clone();
            others.remove(index);
            survives(&others)
        })
        .collect();
    if last.is_empty() {
        return None;
    }
    let last = lost.remove(last.swap_remove(rng.below(last.len() as u64) as usize));
    let mut order = Vec::new();
    while !lost.is_empty() {
        order.push(lost.swap_remove(rng.below(lost.len() as u64) as usize));
    }
    order.push(last);
    Some(order)
}

struct Case<'a> {
    recipe: &'a Recipe,
    layout: &'a Layout,
    rng: Rng,
    name: String,
    rig: Rig<Disk>,
    model: Model,
    present: Vec<bool>,
}

impl<'a> Case<'a> {
    fn new(recipe: &'a Recipe, layout: &'a Layout, mut rng: Rng, name: String) -> Self {
        let world = World::new(rng.bits());
        let disks = recipe.disks().into_iter();
        let mut rig = Rig::start(disks.map(|disk| Faulty::new(disk, world.rng(1))).collect());
        let mut model = Model::zeroed(rig.size());
        let mut data = vec![0; rig.size()];
        rng.fill(&mut data);
        rig.write(0, &data).expect("a healthy array takes writes");
        model.write(0, &data);
        Self { recipe, layout, rng, name, rig, model, present: vec![true; recipe.members.len()] }
    }

    fn lose(mut self, order: &[usize]) {
        for &slot in order {
            self.present[slot] = false;
            if !self.layout.survives(&self.present) {
                return self.lose_too_much(slot);
            }
            match self.rng.below(2) {
                0 => self.rig.array_mut().fail_member(slot).expect("it can be spared"),
                _ => self.rig.device(slot).kill(),
            }
            self.write_awkwardly();
        }
        self.compare("while degraded");
        assert_eq!(self.rig.array().status().health, Health::Degraded, "{}", self.name);
        self.come_back(order);
    }

    /// Writes that start inside a sector range, cross chunks, and cross stripes.
    fn write_awkwardly(&mut self) {
        let sectors = self.rig.size() as u64 / 512;
        let chunk = u64::from(self.recipe.chunk_sectors.max(8));
        let width = chunk * self.recipe.members.len() as u64;
        for len in [1 + self.rng.below(7), chunk + 3, width + self.rng.below(2 * chunk)] {
            let len = len.min(sectors);
            let at = self.rng.below(sectors - len + 1) as usize * 512;
            let mut data = vec![0; len as usize * 512];
            self.rng.fill(&mut data);
            let result = self.rig.write(at, &data);
            assert_eq!(result, Ok(()), "{}: a survivable loss costs no write", self.name);
            self.model.write(at, &data);
        }
    }

    fn compare(&mut self, when: &str) {
        let bytes = self.rig.read_all();
        let bytes = bytes.unwrap_or_else(|fault| panic!("{}: {when}: {fault}", self.name));
        let right = self.model.check(0, &bytes);
        assert_eq!(right, Ok(()), "{}: {when}", self.name);
    }

    /// Stops, starts from the survivors, rebuilds onto new disks, and loses the old ones for good.
    fn come_back(mut self, lost: &[usize]) {
        let disks: Vec<MemDisk> = self.rig.stop().into_iter().map(Faulty::into_inner).collect();
        // With the lost disks back among them: nobody reads what they missed.
        if self.rng.below(4) == 0 {
            let all = disks.iter().map(Contents::copy).map(|disk| fresh(disk, &mut self.rng));
            self.rig = Rig::start(all.collect());
            self.compare("with the lost disks back");
        }
        let left = disks.into_iter().enumerate().filter(|(slot, _)| !lost.contains(slot));
        let left: Vec<Disk> = left.map(|(_, disk)| fresh(disk, &mut self.rng)).collect();
        self.rig = Rig::start(left);
        self.compare("assembled from the survivors");
        for number in 0..lost.len() as u8 {
            let disk = fresh(self.recipe.blank_disk(), &mut self.rng);
            let new = AddMember { device_uuid: Uuid([0x80 + number; 16]), write_mostly: false };
            self.rig.array_mut().add_member(disk, new).expect("a disk that fits");
        }
        self.rig.settle();
        assert_eq!(self.rig.array().status().health, Health::Optimal, "{}", self.name);
        self.compare("rebuilt");
        assert_eq!(self.rig.check(), 0, "{}: rebuilt members agree", self.name);
        let disks = self.rig.stop();
        self.rig = Rig::start(disks);
        self.compare("rebuilt, stopped and started");
        assert_eq!(self.rig.array().status().health, Health::Optimal, "{}", self.name);
    }

    /// One more loss than can be borne: errors, never wrong data.
    fn lose_too_much(mut self, slot: usize) {
        let refusal = self.rig.array_mut().fail_member(slot);
        let expected = Refusal::CannotSpare { slot: slot as u32 };
        assert_eq!(refusal, Err(expected), "{}", self.name);
        self.compare("after a refusal");
        self.rig.pass(Duration::from_secs(1));
        self.rig.take_events();
        self.rig.device(slot).kill();
        self.read_what_is_left();
        let status = self.rig.array().status();
        assert_eq!(status.health, Health::Failed, "{}", self.name);
        let broken = self.rig.take_events().contains(&Event::Broken);
        assert!(broken, "{}: says that it is broken", self.name);
        let len = self.rig.size();
        assert!(self.rig.write(0, &vec![9; len]).is_err(), "{}", self.name);
        assert!(self.rig.write(512, &[9; 512]).is_err(), "{}", self.name);
        self.read_what_is_left();
        let disks: Vec<MemDisk> = self.rig.stop().into_iter().map(Faulty::into_inner).collect();
        assemble_too_few(&disks, &self.present, &self.name);
        // The disk whose loss was too much comes back: its metadata was left alone, all is well.
        self.present[slot] = true;
        let back = disks.into_iter().zip(&self.present).filter(|(_, present)| **present);
        let back = back.map(|(disk, _)| fresh(disk, &mut self.rng)).collect();
        self.rig = Rig::start(back);
        self.compare("with the last loss undone");
    }

    /// Reads chunk by chunk: what has a copy or its own member must be there, nothing may be wrong.
    fn read_what_is_left(&mut self) {
        let step = self.recipe.chunk_sectors.max(8) as usize * 512;
        for at in (0..self.rig.size()).step_by(step) {
            let len = step.min(self.rig.size() - at);
            let there = self.is_there(at as u64 / 512);
            match self.rig.read(at, len) {
                Ok(bytes) => {
                    let right = self.model.check(at, &bytes);
                    assert_eq!(right, Ok(()), "{}: byte {at} beyond tolerance", self.name);
                }
                Err(fault) => {
                    assert!(!there, "{}: byte {at} is there, yet: {fault}", self.name);
                    assert_eq!(fault, Fault::Gone, "{}", self.name);
                }
            }
        }
    }

    fn is_there(&self, sector: u64) -> bool {
        let here = |slot: u32| self.present[slot as usize];
        match self.layout {
            Layout::Mapped(mapped) => {
                let mut places = Vec::new();
                mapped.map(sector, 1, &mut places);
                places.iter().any(|place| here(place.slot))
            }
            Layout::Parity(parity) => {
                let (stripe, d, _) = parity.locate(sector);
                here(parity.stripe(stripe).data_slot(d))
            }
        }
    }
}

fn assemble_too_few(disks: &[MemDisk], present: &[bool], case: &str) {
    let left = disks.iter().zip(present).filter(|(_, present)| **present);
    let left: Vec<MemDisk> = left.map(|(disk, _)| disk.copy()).collect();
    if left.is_empty() {
        return;
    }
    let error = Rig::open(left, Config::default(), false).map(drop);
    let expected = matches!(error, Err(AssembleError::TooFewMembers { .. }));
    assert!(expected, "{case}: {error:?}");
}

fn fresh(disk: MemDisk, rng: &mut Rng) -> Disk {
    Faulty::new(disk, Rng::new(rng.bits()))
}
