//! `holdfast demo`: builds an array, breaks it, mends it, and proves every byte.
//!
//! The engine runs continuously here, so a spare starts by itself. Members are sparse files behind
//! a plug ([`pulled`]); the data is real ([`material`]); what comes back is proven ([`proof`]).
//! What went in is remembered as one SHA-256 over all and one per 64 KiB, so every part can be
//! proven at any time. Levels without redundancy get the honest version: what was refused, what is
//! lost, and that nothing else is wrong.

mod material;
mod place;
mod proof;
mod pulled;

use std::path::PathBuf;
use std::time::Instant;

use holdfast_core::block::{BlockDevice, Durability, Op};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::member::Access;
use holdfast_raid::event::Event;
use holdfast_raid::layout::names;
use holdfast_raid::level::Level;
use holdfast_raid::status::MemberState;
use holdfast_raid::superblock::{BitmapWish, Minor, Name};
use holdfast_raid::sync::Action;
use holdfast_raid::{AddMember, Assembled, Config, Options, assemble, scan};
use serde::Serialize;
use sha2::{Digest, Sha256};

use self::material::Material;
use self::place::Place;
use self::proof::hex;
use self::pulled::Pulled;
use super::create;
use crate::blueprint::{self, Blueprint, Device, Naming};
use crate::config::{Demo, New, Shape};
use crate::disk::Disk;
use crate::events::{Names, sentence};
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{self, World};
use crate::progress::Progress;
use crate::report::Report;
use crate::run;
use crate::stream::{PIECE_BYTES, Stream};

/// Sectors of a chunk: 64 KiB, so that a small array has many stripes.
const CHUNK_SECTORS: u32 = 128;

/// The piece of data that has a fingerprint of its own: a chunk.
const PRINT_BYTES: usize = CHUNK_SECTORS as usize * 512;

/// Which slot is pulled first: one that holds data already, also where slots fill one by one.
const fn first_loss(level: Level) -> u32 {
    match level {
        Level::Linear => 0,
        _ => 1,
    }
}

/// Which slot is pulled next.
const NEXT_LOSS: u32 = 0;

#[derive(Debug, Serialize)]
struct Answer {
    level: &'static str,
    members: u32,
    data_bytes: u64,
    sha256: String,
    refused_bytes: u64,
    lost_bytes: u64,
    mismatch_sectors: Option<u64>,
    story: Vec<String>,
    seconds: f64,
}

/// Tells the story.
pub(super) fn run(config: &Demo, report: &Report) -> Outcome {
    let began = Instant::now();
    let material = Material::gather(&config.inputs)?;
    let place = Place::make(config.keep.as_deref())?;
    let mut show = Show::build(config, &material, &place, report)?;
    show.write(material)?;
    if config.level.is_redundant() {
        show.mend_and_prove(&place)?;
    } else {
        show.count_the_lost()?;
    }
    show.end(began, &place)
}

/// Everything on stage.
struct Show<'a> {
    report: &'a Report,
    level: Level,
    array: Assembled<Pulled<Disk>>,
    world: World,
    stream: Stream,
    progress: Progress,
    paths: Vec<PathBuf>,
    member_bytes: u64,
    written: Written,
    refused_bytes: u64,
    lost_bytes: u64,
    mismatch_sectors: Option<u64>,
    story: Vec<String>,
    scene: u32,
}

/// What went in.
#[derive(Debug, Default)]
struct Written {
    bytes: u64,
    sha256: String,
    /// One per [`PRINT_BYTES`]; none where the write was refused.
    prints: Vec<Option<[u8; 32]>>,
}

impl<'a> Show<'a> {
    /// Makes the files and the array.
    fn build(
        config: &Demo,
        material: &Material,
        place: &Place,
        report: &'a Report,
    ) -> Result<Self, Failure> {
        let spares = u32::from(config.level.is_redundant());
        let member_bytes = member_bytes(config, material.bytes());
        let paths: Vec<PathBuf> = (0..config.members + spares)
            .map(|number| place.member(number, member_bytes))
            .collect::<Result<_, _>>()?;
        let mut world = World::new()?;
        let mut opened = world.open(&paths, Access::Write, report)?;
        let new = New {
            shape: shape(config),
            minor: Minor::V1_2,
            bitmap: BitmapWish::None,
            ppl: false,
            spares,
            size_sectors: None,
            data_offset_sectors: None,
        };
        let device = |member: &members::Member| {
            Some(Device {
                name: member.path.display().to_string(),
                sectors: member.disk.geometry().sectors,
                uuid: members::new_uuid(),
                write_mostly: false,
            })
        };
        let seats: Vec<Option<Device>> = opened.iter().map(device).collect();
        let naming = Naming {
            name: Name::new("demo").expect("four letters fit"),
            uuid: members::new_uuid(),
            now: members::now(),
        };
        // Sparse files read as zeros, and zeros are the parity of zeros.
        let plan = blueprint::draft(&new, &seats, naming, true)?;
        create::write_out(&plan, &mut opened, &mut world)?;
        let mut disks: Vec<Pulled<Disk>> =
            opened.into_iter().map(|member| Pulled::new(member.disk)).collect();
        let probes = scan(&mut disks, &mut world.clock);
        let options = Options { force: false, set: None };
        let array = assemble(probes, config.knobs.turn(engine(report, member_bytes)), &options)
            .map_err(|error| Failure::error(format!("the new array does not start: {error}")))?;
        let mut show = Self {
            report,
            level: config.level,
            array: Assembled::new(array, disks),
            world,
            stream: Stream::default(),
            progress: Progress::new(report.is_watched()),
            paths,
            member_bytes,
            written: Written::default(),
            refused_bytes: 0,
            lost_bytes: 0,
            mismatch_sectors: None,
            story: Vec::new(),
            scene: 0,
        };
        let size = Human(member_bytes);
        let files = show.paths.len();
        show.scene(format!("{files} sparse files of {size} in {}", place.path().display()));
        let array = Human(plan.array_sectors * SECTOR_BYTES);
        show.tell(format!("{}, {array}", Blueprint::new(&new, &plan, &seats).shape()));
        Ok(show)
    }

    /// Streams the data in, and pulls a member half way.
    fn write(&mut self, mut material: Material) -> Result<(), Failure> {
        let total = material.bytes();
        let what = material.describe();
        self.scene(format!("writing {} ({what}), several requests in flight", Human(total)));
        let failed = |error| Failure::error(format!("the material cannot be read: {error}"));
        let mut hash = Sha256::new();
        let (mut next, mut pulled, mut ended) = (0, false, false);
        loop {
            while self.stream.has_room() && !ended {
                let mut buf = Buf::zeroed(PIECE_BYTES);
                let filled = material.fill(&mut buf).map_err(failed)?;
                ended = filled < PIECE_BYTES;
                if filled == 0 {
                    break;
                }
                hash.update(&buf[..filled]);
                for part in buf[..filled].chunks(PRINT_BYTES) {
                    self.written.prints.push(Some(Sha256::digest(part).into()));
                }
                let whole = filled.next_multiple_of(self.block_bytes());
                let op = Op::Write(Payload::from(buf).slice(0..whole), Durability::Cached);
                self.stream.push(&mut self.array, next / SECTOR_BYTES, op);
                next += filled as u64;
                if !pulled && next >= total / 2 {
                    pulled = true;
                    self.pull(first_loss(self.level), &format!("at {}", Human(next)));
                }
            }
            let taken = self.stream.take(&mut self.array, &mut self.world.clock);
            let Some((sector, completion)) = taken else { break };
            if completion.result.is_err() {
                self.refuse(sector * SECTOR_BYTES, completion.op.bytes());
            }
            self.listen("write", next, total);
        }
        self.written.bytes = next;
        self.written.sha256 = hex(&hash.finalize());
        if self.level.is_redundant() && self.refused_bytes > 0 {
            let refused = Human(self.refused_bytes);
            return Err(Failure::error(format!(
                "{refused} were refused; one loss must not do that"
            )));
        }
        let acknowledged = Human(next - self.refused_bytes);
        self.tell(format!("{acknowledged} acknowledged, sha256 {}", self.written.sha256));
        Ok(())
    }

    /// Redundant levels: rebuild under load, the next loss, a new disk, a scrub, the proof.
    fn mend_and_prove(&mut self, place: &Place) -> Result<(), Failure> {
        self.scene("reading it all back while the spare is being rebuilt");
        self.prove("identical")?;
        self.await_rebuild()?;
        self.scene("the next loss");
        self.pull(NEXT_LOSS, "now");
        self.prove("identical without it")?;
        self.scene("a new disk");
        self.plug_in(place)?;
        self.await_rebuild()?;
        self.scene("a scrub of the whole array");
        self.scrub()?;
        self.scene("stopped, and assembled again from the files");
        self.stop();
        self.prove_from_files()
    }

    fn end(mut self, began: Instant, place: &Place) -> Outcome {
        self.progress.clear();
        let seconds = began.elapsed().as_secs_f64();
        let bytes = self.written.bytes;
        let last = if self.level.is_redundant() {
            format!("every one of {bytes} bytes is there, after two lost members ({seconds:.1} s)")
        } else {
            format!(
                "nothing was made up; for data that outlives a member, --level 5 ({seconds:.1} s)"
            )
        };
        self.report.line("");
        self.report.line(&last);
        if place.is_kept() {
            let files = place.path().join("disk*.img");
            self.report.line(format_args!("look around: holdfast detail {}", files.display()));
        }
        self.report.answer(&Answer {
            level: self.level.name(),
            members: self.array.status().raid_disks,
            data_bytes: bytes,
            sha256: std::mem::take(&mut self.written.sha256),
            refused_bytes: self.refused_bytes,
            lost_bytes: self.lost_bytes,
            mismatch_sectors: self.mismatch_sectors,
            story: std::mem::take(&mut self.story),
            seconds,
        });
        Ok(Exit::Good)
    }
}

/// The steps.
impl Show<'_> {
    /// Pulls the member that serves a slot.
    fn pull(&mut self, slot: u32, when: &str) {
        let status = self.array.status();
        let serving = |member: &holdfast_raid::status::MemberStatus| {
            member.slot == Some(slot) && member.state == MemberState::InSync
        };
        let Some(member) = status.members.iter().position(serving) else { return };
        let name = members::file_name(&self.paths[member]);
        self.tell(format!("{when}: {name} (slot {slot}) is pulled out"));
        self.array.device_mut(member).pull();
    }

    /// Waits for the spare, and says how the rebuild ended.
    fn await_rebuild(&mut self) -> Result<(), Failure> {
        let mut events = Vec::new();
        run::until_quiet(&mut self.array, &mut self.world.clock, &mut self.progress, |event| {
            events.push(event);
        });
        events.iter().for_each(|event| self.hear(event));
        let missing = super::detail::present(&self.array.status()).contains(&false);
        if missing {
            return Err(Failure::error("the rebuild did not bring the array back in sync"));
        }
        self.tell("rebuilt: the array is whole again");
        Ok(())
    }

    /// A further file becomes a spare; the engine does the rest.
    fn plug_in(&mut self, place: &Place) -> Result<(), Failure> {
        let path = place.member(self.paths.len() as u32, self.member_bytes)?;
        let opened = self.world.open(std::slice::from_ref(&path), Access::Write, self.report)?;
        for member in opened {
            let seed = AddMember { device_uuid: members::new_uuid(), write_mostly: false };
            self.array
                .add_member(Pulled::new(member.disk), seed)
                .map_err(|refusal| Failure::error(format!("{}: {refusal}", path.display())))?;
        }
        self.tell(format!("{} is plugged in", members::file_name(&path)));
        self.paths.push(path);
        Ok(())
    }

    fn scrub(&mut self) -> Result<(), Failure> {
        self.array
            .start(Action::Check { locate: false })
            .map_err(|refusal| Failure::error(format!("the scrub cannot begin: {refusal}")))?;
        let mut found = None;
        run::until_quiet(&mut self.array, &mut self.world.clock, &mut self.progress, |event| {
            if let Event::SyncFinished { mismatch_sectors, complete: true, .. } = event {
                found = Some(mismatch_sectors);
            }
        });
        self.mismatch_sectors = found;
        match found {
            Some(0) => {
                self.tell("everything agrees");
                Ok(())
            }
            Some(sectors) => Err(Failure::error(format!("{sectors} sectors disagree"))),
            None => Err(Failure::error("the scrub did not reach its end")),
        }
    }

    fn stop(&mut self) {
        for event in run::stop(&mut self.array, &mut self.world.clock) {
            self.hear(&event);
        }
    }
}

/// Talking and listening.
impl Show<'_> {
    fn scene(&mut self, text: impl Into<String>) {
        self.scene += 1;
        self.progress.clear();
        let text = text.into();
        self.report.line(format_args!("{}. {text}", self.scene));
        self.story.push(text);
    }

    fn tell(&mut self, text: impl Into<String>) {
        self.progress.clear();
        let text = text.into();
        self.report.line(format_args!("   {text}"));
        self.story.push(text);
    }

    /// What the array reports, and how far a pass is.
    fn listen(&mut self, word: &str, done: u64, total: u64) {
        for event in self.array.take_events() {
            self.hear(&event);
        }
        match self.array.status().sync {
            Some(sync) => {
                self.progress.draw(sync.action.name(), sync.done_sectors, sync.total_sectors);
            }
            None => self.progress.draw(word, done / SECTOR_BYTES, total / SECTOR_BYTES),
        }
    }

    fn hear(&mut self, event: &Event) {
        // A member that is gone fails many requests; the loss itself is told once.
        if matches!(event, Event::RangeFailed { .. }) {
            return;
        }
        let devices = self.paths.iter().map(|path| members::file_name(path)).collect();
        if let Some(text) = sentence(event, &Names { devices, slots: Vec::new() }) {
            self.tell(text);
        }
    }

    fn refuse(&mut self, at: u64, bytes: u64) {
        self.refused_bytes += bytes;
        let first = (at / PRINT_BYTES as u64) as usize;
        let count = bytes.div_ceil(PRINT_BYTES as u64) as usize;
        self.written.prints.iter_mut().skip(first).take(count).for_each(|print| *print = None);
    }

    fn block_bytes(&self) -> usize {
        self.array.geometry().block_bytes as usize
    }
}

fn shape(config: &Demo) -> Shape {
    Shape {
        level: config.level,
        layout: names::default(config.level),
        raid_disks: config.members,
        chunk_sectors: if config.level.is_striped() { CHUNK_SECTORS } else { 0 },
    }
}

/// Files just large enough for the data, and a little room.
fn member_bytes(config: &Demo, data_bytes: u64) -> u64 {
    let members = u64::from(config.members);
    // Copies of everything, and members' worth of data, as a fraction.
    let (copies, share) = match config.level {
        Level::Linear | Level::Raid0 => (1, members),
        Level::Raid1 => (1, 1),
        Level::Raid4 | Level::Raid5 => (1, members - 1),
        Level::Raid6 => (1, members - 2),
        Level::Raid10 => (2, members),
    };
    let data = (data_bytes * copies).div_ceil(share);
    (data + (4 << 20)).next_multiple_of(1 << 20)
}

/// The engine as it runs for years, except that a watched rebuild takes long enough to be seen.
fn engine(report: &Report, member_bytes: u64) -> Config {
    let unhurried = (member_bytes / 2).max(8 << 20);
    Config {
        epoch_secs: members::now().seconds(),
        sync_speed_max: if report.is_watched() { unhurried } else { u64::MAX },
        ..Config::default()
    }
}
