//! A history carried out against a device on trial, and judged.

use std::collections::BTreeMap;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completion, Durability, Fault, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::Rng;
use holdfast_core::time::{Clock, Duration};
use holdfast_raid::Level;
use holdfast_raid::layout::{Layout, Shape};

use super::{SharedDisk, Trial};
use crate::content::{self, SECTOR, Value};
use crate::disk::{Pulse, SimDisk};
use crate::ledger::{Crash, FlushId, Ledger, WriteId, Wrong};
use crate::rows::{RowSet, Rows};
use crate::run::Oracle;
use crate::script::{Act, Line};
use crate::world::World;

/// Polls after which nothing will happen any more.
const PATIENCE: u32 = 200_000;

/// Virtual time in which a device that nobody uses has done whatever it wants to do.
const REST: Duration = Duration::from_secs(60);

/// Sectors read at once at the end.
const STRIDE: u64 = 64;

/// Why a history is not carried on.
pub(super) enum Stop {
    /// A promise is broken.
    Broken(Oracle, String),
    /// The device could not be built any more, rightly.
    Over,
}

type Step<T = ()> = Result<T, Stop>;

/// A request nobody has answered.
enum Flight {
    Read { sector: u64, asked: u32 },
    Write { sector: u64, id: WriteId },
    Flush(FlushId),
}

/// The device, its disks, and what is known of them.
pub(super) struct Court<'t, B, D> {
    trial: &'t Trial<B>,
    seed: u64,
    world: World,
    pulse: Rc<Pulse>,
    disks: Vec<SharedDisk>,
    device: Option<D>,
    ledger: Ledger,
    rows: Rows,
    flying: BTreeMap<u64, Flight>,
    next_tag: u64,
    versions: u32,
    /// Disks that cannot be relied on any more, whatever they answer.
    lost: Vec<bool>,
    /// More was damaged than is promised to be borne.
    exceeded: bool,
    /// Something wrong without an error was done: no contents can be demanded.
    silenced: bool,
    /// After a crash copies may differ, until the device has had time to make them agree.
    torn: bool,
    cut: Option<(Crash, u64)>,
}

/// Each sector by itself: what stands in for what is not known here.
fn flat_rows(sectors: u64) -> Rows {
    let shape = Shape {
        level: Level::Linear,
        layout: 0,
        raid_disks: 1,
        chunk_sectors: 8,
        member_sectors: sectors,
    };
    Rows::new(Layout::new(&shape, &[sectors]).expect("one member in a row"))
}

impl<'t, B, D> Court<'t, B, D>
where
    B: Fn(Vec<SharedDisk>, &mut crate::world::VirtualClock) -> Result<D, String>,
    D: BlockDevice,
{
    /// New disks, and the device on them.
    pub(super) fn open(trial: &'t Trial<B>, seed: u64) -> Self {
        let world = World::new(seed);
        let pulse = Rc::<Pulse>::default();
        let promise = trial.promise;
        let disk = |id: usize| {
            let (rng, pulse) = (world.rng(16 + id as u64), Rc::clone(&pulse));
            let (id, sectors) = (id as u64, promise.disk_sectors);
            let mut disk = SimDisk::new(id, sectors, trial.latency, world.clock(), pulse, rng);
            if let Some(image) = trial.images.get(id as usize) {
                disk.put(0, image);
            }
            SharedDisk::new(disk)
        };
        let disks: Vec<SharedDisk> = (0..promise.disks).map(disk).collect();
        let device = (trial.build)(disks.clone(), &mut world.clock());
        let device = device.unwrap_or_else(|error| panic!("built on whole disks: {error}"));
        let sectors = device.geometry().sectors;
        Self {
            trial,
            seed,
            pulse,
            disks,
            device: Some(device),
            ledger: Ledger::zeroed(sectors),
            rows: flat_rows(sectors),
            flying: BTreeMap::new(),
            next_tag: 0,
            versions: 0,
            lost: vec![false; promise.disks],
            exceeded: false,
            silenced: false,
            torn: false,
            cut: None,
            world,
        }
    }

    /// Sectors of the device.
    pub(super) const fn sectors(&self) -> u64 {
        self.rows.count()
    }

    /// Carries a history out to its end; `line` is where it is.
    pub(super) fn hear(&mut self, history: &[Line], line: &mut usize) -> Step {
        for (index, Line { after_us, act }) in history.iter().enumerate() {
            *line = index;
            if *after_us > 0 {
                self.let_pass(Duration::from_micros(*after_us))?;
            }
            self.perform(act)?;
        }
        *line = history.len();
        self.end()
    }

    fn perform(&mut self, act: &Act) -> Step {
        match *act {
            Act::Write { sector, sectors, fua } => self.write(sector, sectors, Some(fua)),
            Act::Zero { sector, sectors } => self.write(sector, sectors, None),
            Act::Read { sector, sectors } => self.read(sector, sectors),
            Act::Flush => {
                let id = self.ledger.submit_flush();
                self.submit(0, Op::Flush, Flight::Flush(id))
            }
            Act::Drain => self.drain(),
            Act::Settle => self.settle(),
            Act::Restart => {
                self.drain()?;
                self.crash(Crash::Kill, 0)
            }
            Act::Cut { steps, crash, seed } => {
                self.cut = Some((crash, seed));
                self.pulse.light_fuse(steps.max(1));
                Ok(())
            }
            _ => {
                self.damage(act);
                Ok(())
            }
        }
    }

    fn clamp(&self, sector: u64, sectors: u64) -> (u64, u64) {
        let sector = sector % self.sectors();
        (sector, sectors.clamp(1, self.sectors() - sector))
    }

    fn write(&mut self, sector: u64, sectors: u64, fua: Option<bool>) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        let (value, op) = match fua {
            None => (Value::ZERO, Op::Zero(sectors)),
            Some(fua) => {
                self.versions += 1;
                let mut buf = Buf::zeroed(sectors as usize * SECTOR);
                content::fill(self.seed, sector, self.versions, &mut buf);
                let durability = if fua { Durability::Fua } else { Durability::Cached };
                (Value::written(self.versions), Op::Write(Payload::from(buf), durability))
            }
        };
        let id = self.ledger.submit_write(sector, sectors, value, fua == Some(true));
        self.submit(sector, op, Flight::Write { sector, id })
    }

    fn read(&mut self, sector: u64, sectors: u64) -> Step {
        let (sector, sectors) = self.clamp(sector, sectors);
        let asked = self.ledger.moment();
        let op = Op::Read(Buf::zeroed(sectors as usize * SECTOR));
        self.submit(sector, op, Flight::Read { sector, asked })
    }

    fn submit(&mut self, sector: u64, op: Op, flight: Flight) -> Step {
        let tag = self.next_tag;
        self.next_tag += 1;
        let mut request = Request::new(Tag(tag), sector, op);
        for _ in 0..PATIENCE {
            match self.device().submit(request) {
                Ok(()) => {
                    self.flying.insert(tag, flight);
                    return Ok(());
                }
                Err(back) => request = back,
            }
            let before = self.pulse.steps();
            self.release();
            self.poll()?;
            if self.device.is_some() && self.pulse.steps() == before && !self.jump() {
                break;
            }
        }
        broken(Oracle::Honesty, "a full queue never has room again")
    }

    fn device(&mut self) -> &mut D {
        self.device.as_mut().expect("a device runs between two crashes")
    }

    /// Jumps to when something is due; false if nothing ever is.
    fn jump(&mut self) -> bool {
        let due = self.device().poll_at();
        due.inspect(|at| self.world.clock().wait(Some(*at))).is_some()
    }

    fn poll(&mut self) -> Step {
        let now = self.world.clock().time();
        let mut answers = Vec::new();
        self.device().poll(now, &mut answers);
        for done in answers {
            self.answered(done)?;
        }
        if self.pulse.is_out() {
            let (crash, seed) = self.cut.take().expect("a fuse burns for a reason");
            self.crash(crash, seed)?;
            // What was asked of the new device starts only when it is polled.
            return self.poll();
        }
        Ok(())
    }

    fn let_pass(&mut self, span: Duration) -> Step {
        let until = self.world.clock().time() + span;
        for _ in 0..PATIENCE {
            self.poll()?;
            match self.device().poll_at().filter(|at| *at < until) {
                Some(at) => self.world.clock().wait(Some(at)),
                None => {
                    self.world.clock().wait(Some(until));
                    return Ok(());
                }
            }
        }
        broken(Oracle::Honesty, "time does not pass")
    }

    fn release(&mut self) {
        self.disks.iter().for_each(|disk| disk.touch().release());
    }

    fn drain(&mut self) -> Step {
        self.release();
        for _ in 0..PATIENCE {
            self.poll()?;
            if self.flying.is_empty() {
                return Ok(());
            }
            if !self.jump() {
                break;
            }
        }
        let left = self.flying.len();
        broken(Oracle::Honesty, format!("{left} requests are never answered"))
    }

    /// Everything is answered, and then there is time.
    fn settle(&mut self) -> Step {
        self.drain()?;
        self.let_pass(REST)?;
        self.torn &= self.damaged(None) > 0;
        Ok(())
    }

    fn answered(&mut self, done: Completion) -> Step {
        let Some(flight) = self.flying.remove(&done.tag.0) else {
            return broken(Oracle::Honesty, format!("{:?} is answered twice", done.tag));
        };
        self.exceeded |= self.damaged(None) > self.trial.promise.tolerance;
        match (flight, done.op, done.result) {
            (Flight::Read { sector, asked }, Op::Read(buf), Ok(())) => {
                self.judge_read(sector, asked, &buf)
            }
            (Flight::Read { sector, .. }, _, Err(fault)) => self.judge_error("read", sector, fault),
            (Flight::Write { sector, id }, _, result) => {
                self.ledger.answer_write(id, result.is_ok());
                result.or_else(|fault| self.judge_error("write", sector, fault))
            }
            (Flight::Flush(id), _, result) => {
                if result.is_ok() {
                    self.ledger.answer_flush(id);
                }
                result.or_else(|fault| self.judge_error("flush", 0, fault))
            }
            (Flight::Read { .. }, op, Ok(())) => {
                broken(Oracle::Honesty, format!("a read is answered with {op:?}"))
            }
        }
    }

    fn judge_error(&self, what: &str, sector: u64, fault: Fault) -> Step {
        if self.exceeded || self.silenced {
            return Ok(());
        }
        broken(Oracle::Needless, format!("a {what} at {sector} answers {fault}"))
    }

    fn judge_read(&mut self, first: u64, asked: u32, bytes: &[u8]) -> Step {
        if self.silenced {
            return Ok(());
        }
        for (sector, part) in (first..).zip(bytes.chunks_exact(SECTOR)) {
            let value = content::decode(self.seed, sector, part);
            let binding = !(self.torn && self.damaged(None) > 0);
            let Err(wrong) = self.ledger.read(sector, value, asked, binding) else { continue };
            let oracle = match wrong {
                Wrong::Lost => Oracle::Durability,
                Wrong::Changed => Oracle::Stability,
                Wrong::Untouched => Oracle::Untouched,
                Wrong::Invented => Oracle::SilentlyWrong,
            };
            let legal = self.ledger.legal(sector);
            let detail = format!("sector {sector} holds {value}, legal is {legal:?}");
            return broken(oracle, detail);
        }
        Ok(())
    }

    /// How many disks are damaged, or would be if this one were too.
    fn damaged(&self, and: Option<usize>) -> usize {
        let bad = |(number, disk): &(usize, &SharedDisk)| {
            let hurt = || disk.look().is_gone() || disk.look().has_bad_sectors();
            self.lost[*number] || Some(*number) == and || hurt()
        };
        self.disks.iter().enumerate().filter(bad).count()
    }

    /// Whether a disk may be damaged; if so, what was read may have been read from it.
    fn may_damage(&mut self, disk: usize) -> bool {
        let tolerance = self.trial.promise.tolerance;
        if self.damaged(Some(disk)) > tolerance {
            if !self.trial.beyond {
                return false;
            }
            self.exceeded = true;
        }
        self.forget_seen_if_torn();
        true
    }

    fn forget_seen_if_torn(&mut self) {
        if self.torn {
            let mut all = RowSet::none(self.rows.count());
            all.insert_range(0..self.rows.count());
            self.ledger.forget_seen(&self.rows, &all);
        }
    }

    fn damage(&mut self, act: &Act) {
        let spot = |sector: u64, sectors: u64| {
            let all = self.trial.promise.disk_sectors;
            let start = sector % all;
            start..(start + sectors.max(1)).min(all)
        };
        let at = |disk: usize| disk % self.trial.promise.disks;
        match *act {
            Act::Vanish { disk } if self.may_damage(at(disk)) => {
                self.lost[at(disk)] = true;
                self.disks[at(disk)].touch().vanish();
            }
            Act::ComeBack { disk } => {
                let mut back = self.disks[at(disk)].touch();
                back.come_back();
                self.lost[at(disk)] &= back.has_missed();
            }
            Act::Latent { disk, sector, sectors } => {
                let range = spot(sector, sectors);
                if self.may_damage(at(disk)) {
                    self.disks[at(disk)].touch().add_latent(range);
                }
            }
            Act::Dead { disk, sector, sectors } => {
                let range = spot(sector, sectors);
                if self.may_damage(at(disk)) {
                    self.disks[at(disk)].touch().add_dead(range);
                }
            }
            Act::ReadOnly { disk } if self.may_damage(at(disk)) => {
                self.lost[at(disk)] = true;
                self.disks[at(disk)].touch().set_read_only(true);
            }
            Act::Full { disk, full } if !full || self.may_damage(at(disk)) => {
                self.lost[at(disk)] |= full;
                self.disks[at(disk)].touch().set_full(full);
            }
            Act::Stick { disk, requests } => self.disks[at(disk)].touch().stick(requests),
            Act::Release { disk } => self.disks[at(disk)].touch().release(),
            Act::Slow { disk, times } => self.disks[at(disk)].touch().set_slowness(times.max(1)),
            Act::Corrupt { disk, sector, sectors } => {
                self.silenced = true;
                self.disks[at(disk)].touch().corrupt(spot(sector, sectors));
            }
            Act::Silent { disk, silent } => {
                self.silenced = true;
                self.disks[at(disk)].touch().set_silent(silent);
            }
            Act::Lie { disk } => {
                self.silenced = true;
                self.disks[at(disk)].touch().set_lying(true);
            }
            // Spared, or nothing that a device without operators knows.
            _ => {}
        }
    }

    /// Everything stops; the disks keep what they keep, and the device is built again.
    fn crash(&mut self, crash: Crash, seed: u64) -> Step {
        self.pulse.restore();
        let mut doubt = RowSet::none(self.rows.count());
        self.ledger.rows_in_doubt(&self.rows, crash, &mut doubt);
        self.torn |= !doubt.is_empty();
        if self.damaged(None) > 0 {
            self.forget_seen_if_torn();
        }
        self.device = None;
        self.flying.clear();
        let mut rng = Rng::new(seed);
        for disk in &self.disks {
            let mut disk = disk.touch();
            disk.release();
            match crash {
                Crash::Kill => disk.kill(),
                Crash::PowerCut => disk.power_cut(&mut rng),
            }
        }
        self.ledger.crash(crash);
        match (self.trial.build)(self.disks.clone(), &mut self.world.clock()) {
            Ok(device) => self.device = Some(device),
            Err(_) if self.exceeded || self.silenced => return Err(Stop::Over),
            Err(error) => return broken(Oracle::Needless, format!("not built again: {error}")),
        }
        for (sector, sectors) in self.ledger.open_choices() {
            self.read(sector, sectors)?;
        }
        Ok(())
    }

    /// Faults end, everything is read, then everything again after the power has failed.
    fn end(&mut self) -> Step {
        if let Some((crash, seed)) = self.cut.take() {
            self.crash(crash, seed)?;
        }
        self.disks.iter().for_each(|disk| disk.touch().repair());
        self.settle()?;
        self.read_everything()?;
        self.perform(&Act::Flush)?;
        self.drain()?;
        self.crash(Crash::PowerCut, self.seed)?;
        self.settle()?;
        self.read_everything()
    }

    fn read_everything(&mut self) -> Step {
        for sector in (0..self.sectors()).step_by(STRIDE as usize) {
            self.read(sector, STRIDE)?;
        }
        self.drain()
    }
}

fn broken<T>(oracle: Oracle, detail: impl Into<String>) -> Step<T> {
    Err(Stop::Broken(oracle, detail.into()))
}
