//! One history being lived through: the array, its model, and what each step means.

use std::ops::Range;

use holdfast_core::block::{Fault, MemDisk, Op, Tag};
use holdfast_core::rng::Rng;
use holdfast_core::time::Duration;
use holdfast_raid::array::AddMember;
use holdfast_raid::layout::Layout;
use holdfast_raid::status::{Health, MemberState};
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{Config, Options, Probe};
use holdfast_sim::decor::{Faulty, Latency, Rule, Slow, Volatile};
use holdfast_sim::model::Model;
use holdfast_sim::rig::Rig;
use holdfast_sim::world::World;

use crate::{Change, Setting, Span, Step};

type Disk = Faulty<Slow<Volatile<MemDisk>>>;

/// A running array and what it must contain.
pub(crate) struct Run {
    setting: Setting,
    rig: Rig<Disk>,
    model: Model,
    layout: Layout,
    /// Sectors were made unreadable, and a member was missing at some time since: what is lost in
    /// one row may be more than the level bears.
    latent: bool,
    degraded: bool,
    spares: u8,
    restarts: u64,
}

impl Run {
    pub(crate) fn new(setting: &Setting) -> Self {
        let rig = open(setting, setting.recipe.disks(), 0);
        let model = Model::zeroed(rig.size());
        let (latent, degraded) = (false, false);
        let layout = setting.recipe.geometry().expect("a layout that can be made");
        let setting = setting.clone();
        Self { setting, rig, model, layout, latent, degraded, spares: 0, restarts: 0 }
    }

    fn range(&self, span: Span) -> Range<usize> {
        let sectors = self.model.len() as u64 / 512;
        let len = u64::from(span.sectors).min(sectors);
        let at = ((sectors - len + 1) * u64::from(span.at)) >> 16;
        at as usize * 512..(at + len) as usize * 512
    }

    /// Whether an error may be honest now.
    fn may_fail(&self) -> bool {
        let bare = !self.setting.recipe.level.is_redundant();
        self.latent && (self.degraded || bare)
    }

    fn note_health(&mut self) {
        let status = self.rig.array().status();
        self.degraded |= status.health != Health::Optimal;
        let logged = status.members.iter().any(|member| member.bad_sectors > 0);
        self.latent |= logged;
    }

    fn wrote(&mut self, at: usize, data: &[u8], result: Result<(), Fault>) {
        self.note_health();
        match result {
            Ok(()) => self.model.write(at, data),
            Err(fault) => {
                assert!(self.may_fail(), "a write failed: {fault}");
                assert!(matches!(fault, Fault::Medium | Fault::Gone), "{fault}");
                self.model.doubt(at, data);
            }
        }
    }

    fn read(&mut self, range: Range<usize>) {
        let result = self.rig.read(range.start, range.len());
        self.note_health();
        match result {
            Ok(bytes) => assert_eq!(self.model.observe(range.start, &bytes), Ok(())),
            Err(fault) => {
                assert!(self.may_fail(), "{range:?} cannot be read: {fault}");
                assert!(matches!(fault, Fault::Medium | Fault::Gone), "{fault}");
            }
        }
    }

    pub(crate) fn read_everything(&mut self) {
        let all = 0..self.model.len();
        if self.may_fail() {
            for at in all.step_by(512) {
                self.read(at..at + 512);
            }
        } else {
            self.read(all);
        }
    }

    fn begin(&mut self, writes: &[(Span, u64)]) -> Vec<(Tag, usize, Vec<u8>)> {
        let begun = writes.iter().map(|&(span, seed)| {
            let range = self.range(span);
            let data = noise(seed, range.len());
            (self.rig.begin_write(range.start, &data), range.start, data)
        });
        begun.collect()
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Change(span, change) => self.change(span, change),
            Step::Together(writes) => {
                for (tag, at, data) in self.begin(&writes) {
                    let result = self.rig.finish(tag).result;
                    self.wrote(at, &data, result);
                }
            }
            Step::Read(span) => self.read(self.range(span)),
            Step::Flush => {
                assert_eq!(self.rig.flush(), Ok(()));
                self.model.flush();
            }
            Step::Fail { member, silently } => self.fail(member, silently),
            Step::AddSpare => self.add_spare(),
            Step::Latent { member, sector, sectors } => self.spoil(member, sector, sectors),
            Step::Pass { millis } => self.rig.pass(Duration::from_millis(millis.into())),
            Step::Settle => self.rig.settle(),
            Step::Check => self.check(),
            Step::Restart => {
                self.model.flush();
                self.replace(|rig| rig.stop().into_iter().map(drained).collect());
            }
            Step::Kill => self.die(|rig| rig.crash().into_iter().map(drained).collect()),
            Step::PowerCut { writes, millis, seed } => self.power_cut(&writes, millis, seed),
        }
        self.note_health();
    }

    fn change(&mut self, span: Span, change: Change) {
        let range = self.range(span);
        let (at, sectors) = (range.start as u64 / 512, range.len() as u64 / 512);
        match change {
            Change::Write(seed) => {
                let data = noise(seed, range.len());
                let result = self.rig.write(range.start, &data);
                self.wrote(range.start, &data, result);
            }
            Change::Zero => {
                let result = self.rig.execute(at, Op::Zero(sectors)).result;
                self.wrote(range.start, &vec![0; range.len()], result);
            }
            Change::Discard => {
                let result = self.rig.execute(at, Op::Discard(sectors)).result;
                assert!(result.is_ok() || self.may_fail());
                // Zeros or what was there before, as the array likes.
                self.model.doubt(range.start, &vec![0; range.len()]);
                self.read(range);
            }
        }
    }

    fn fail(&mut self, member: u8, silently: bool) {
        let status = self.rig.array().status();
        let member = usize::from(member) % status.members.len();
        self.wait_for_resync();
        if !self.can_spare(member) {
            return;
        }
        match silently {
            true => self.rig.device(member).kill(),
            false => self.rig.array_mut().fail_member(member).expect("it can be spared"),
        }
        self.degraded = true;
        if silently {
            // Found out now, so that no second one goes silent before.
            self.touch_everything();
        }
        self.read_everything();
    }

    /// Until redundancy is in sync again it makes up for nothing: no level promises that.
    fn wait_for_resync(&mut self) {
        if self.rig.array().status().resync_from.is_some() {
            self.rig.settle();
        }
    }

    /// Writes back what is there, so that every member is asked.
    fn touch_everything(&mut self) {
        for at in (0..self.model.len()).step_by(4096) {
            if let Ok(bytes) = self.rig.read(at, 4096) {
                assert_eq!(self.model.observe(at, &bytes), Ok(()));
                let result = self.rig.write(at, &bytes);
                self.wrote(at, &bytes, result);
            }
        }
    }

    fn can_spare(&self, member: usize) -> bool {
        let status = self.rig.array().status();
        let Some(slot) = status.members[member].slot else { return false };
        if status.members[member].state != MemberState::InSync {
            return false;
        }
        let mut present = vec![false; status.raid_disks as usize];
        for other in status.members.iter().filter(|m| m.state == MemberState::InSync) {
            present[other.slot.expect("in sync") as usize] = true;
        }
        present[slot as usize] = false;
        self.layout.survives(&present)
    }

    fn add_spare(&mut self) {
        if !self.setting.recipe.level.is_redundant() || self.spares >= 8 {
            return;
        }
        self.spares += 1;
        let new = AddMember { device_uuid: Uuid([0x80 + self.spares; 16]), write_mostly: false };
        let disk = wrap(
            &self.setting,
            &World::new(self.setting.seed),
            40,
            self.setting.recipe.blank_disk(),
        );
        self.rig.array_mut().add_member(disk, new).expect("a disk that fits");
    }

    fn spoil(&mut self, member: u8, sector: u8, sectors: u8) {
        self.wait_for_resync();
        let status = self.rig.array().status();
        let member = usize::from(member) % status.members.len();
        let start = status.members[member].data_offset + u64::from(sector);
        let range = start..start + u64::from(sectors);
        self.rig.device(member).add(Rule::latent(range));
        // Two members bad in one block are more than RAID5 bears.
        self.degraded |= self.latent;
        self.latent = true;
    }

    pub(crate) fn check(&mut self) {
        if !self.setting.recipe.level.is_redundant() {
            return;
        }
        self.rig.settle();
        assert_eq!(self.rig.check(), 0, "members agree");
        self.note_health();
        let status = self.rig.array().status();
        let clean = status.members.iter().all(|member| member.bad_sectors == 0);
        if status.health == Health::Optimal && clean && !self.may_fail() {
            (self.latent, self.degraded) = (false, false);
        }
    }

    /// Takes the disks out of the array and assembles what is in service on them.
    fn replace(&mut self, take: impl FnOnce(Rig<Disk>) -> Vec<MemDisk>) {
        let status = self.rig.array().status();
        self.restarts += 1;
        let placeholder = open(&self.setting, self.setting.recipe.disks(), 0);
        let disks = take(std::mem::replace(&mut self.rig, placeholder));
        let keep_all = self.restarts.is_multiple_of(2);
        let usable = |state| {
            use MemberState::{InSync, Rebuilding, Spare};
            matches!(state, InSync | Rebuilding | Spare)
        };
        let kept = disks.into_iter().zip(&status.members);
        let kept = kept.filter(|(_, member)| keep_all || usable(member.state));
        let kept = kept.map(|(disk, _)| disk).collect();
        self.rig = open(&self.setting, kept, self.restarts);
        self.read_everything();
    }

    /// Whether dying now would leave parity that is dirty in rows where it is needed. No parity
    /// level promises anything there without a journal.
    fn must_not_die_dirty(&mut self) -> bool {
        let optimal = self.rig.array().status().health == Health::Optimal;
        // A rebuild that has just ended may not be known to have on disk.
        let rebuilding = |probe: Probe| probe.superblock.is_ok_and(|s| s.recovery_offset.is_some());
        let pending = self.rig.probe().into_iter().any(rebuilding);
        self.setting.recipe.level.has_parity() && (!optimal || pending || self.latent)
    }

    fn die(&mut self, take: impl FnOnce(Rig<Disk>) -> Vec<MemDisk>) {
        if self.must_not_die_dirty() {
            assert_eq!(self.rig.flush(), Ok(()));
            self.rig.settle();
            self.rig.pass(Duration::from_secs(1));
            self.model.flush();
            if self.rig.array().status().resync_from.is_some() {
                return;
            }
        }
        self.replace(take);
    }

    fn power_cut(&mut self, writes: &[(Span, u64)], millis: u8, seed: u64) {
        if !self.must_not_die_dirty() {
            let begun = self.begin(writes);
            self.rig.pass(Duration::from_millis(millis.into()) / 8);
            for (tag, at, data) in begun {
                match self.rig.answer(tag) {
                    Some(done) => self.wrote(at, &data, done.result),
                    None => self.model.doubt(at, &data),
                }
            }
        }
        let mut rng = Rng::new(seed);
        if !self.must_not_die_dirty() {
            self.model.power_cut();
        }
        self.die(move |rig| {
            let disks = rig.crash().into_iter();
            disks.map(|disk| disk.into_inner().into_inner().power_cut(&mut rng)).collect()
        });
    }
}

fn drained(disk: Disk) -> MemDisk {
    disk.into_inner().into_inner().drained()
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    Rng::new(seed).fill(&mut data);
    data
}

fn wrap(setting: &Setting, world: &World, index: u64, disk: MemDisk) -> Disk {
    let most = Duration::from_millis(if setting.slow { 8 } else { 0 });
    let latency = Latency::between(Duration::ZERO, most);
    let slow = Slow::new(Volatile::new(disk), latency, world.rng(2 * index));
    Faulty::new(slow, world.rng(2 * index + 1))
}

fn open(setting: &Setting, disks: Vec<MemDisk>, generation: u64) -> Rig<Disk> {
    let config = Config {
        // A rebuild takes several steps of a history.
        sync_speed_min: 256 << 10,
        sync_speed_max: 512 << 10,
        max_read_errors: 1_000_000,
        ..Config::default()
    };
    let world = World::new(setting.seed ^ generation);
    let disks = disks.into_iter().enumerate();
    let disks = disks.map(|(i, disk)| wrap(setting, &world, i as u64, disk)).collect();
    Rig::open_in(disks, config, &Options::default(), world.clock())
        .unwrap_or_else(|error| panic!("{error}"))
}
