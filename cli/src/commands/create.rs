//! `holdfast create`: a new array.
//!
//! Everything is worked out and checked before the first write. Then, on every device: old
//! superblocks go, the bitmap is written, and after a flush the new superblocks, last. If one
//! cannot be written, those that were are taken off again, so that no half array is left behind.
//!
//! The verb ends with an array in sync. Members whose data area is known to read as zeros (holes
//! of a sparse file) are in sync already: zeros are the parity of zeros. Others are resynced in
//! the foreground, unless `--assume-clean` says that they agree.

use std::path::{Path, PathBuf};

use holdfast_core::block::{BlockDevice, Durability, Fault, Op};
use holdfast_core::buf::Payload;
use holdfast_core::size::{Human, SECTOR_BYTES};
use holdfast_host::member::Access;
use holdfast_host::zeros::Zeros;
use holdfast_raid::scan::scan;
use holdfast_raid::superblock::create::PlannedMember;
use holdfast_raid::superblock::{Plan, Resync};
use serde::Serialize;

use super::detail;
use crate::blueprint::{self, Blueprint, Device, Naming};
use crate::config::{Create, Group, Seat, UndoWish};
use crate::disk::Disk;
use crate::erase;
use crate::exit::{Exit, Failure, Outcome};
use crate::members::{self, Member, World};
use crate::metadata;
use crate::overlay::{self, Use, Way};
use crate::report::{Report, confirm};
use crate::session::{Purpose, Session};
use crate::stream::Stream;
use crate::undo::Undo;

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    uuid: String,
    name: String,
    state: Option<String>,
    in_sync_because: Option<&'static str>,
    #[serde(flatten)]
    blueprint: Blueprint,
}

/// Makes the array.
pub(super) fn run(config: &Create, report: &Report) -> Outcome {
    let dry_run = config.caution.dry_run;
    let mut world = World::new()?;
    let naming = Naming {
        name: config.name,
        uuid: config.uuid.unwrap_or_else(members::new_uuid),
        now: members::now(),
    };
    let spares = config.way.spares_members(config.force);
    let access = match (dry_run, spares) {
        (true, _) => Access::Read,
        (false, true) => Access::Steady,
        (false, false) => Access::Write,
    };
    let paths: Vec<PathBuf> = config.seats.iter().filter_map(Seat::path).cloned().collect();
    let mut opened = world.open(&paths, access, report)?;
    if spares && !dry_run {
        let set = Some(naming.uuid);
        opened = overlay::put_over(opened, &config.way, set, Use::Change, &mut world, report)?;
    }
    if !config.force {
        refuse_carriers(&mut opened, &mut world)?;
    }
    let seats = devices(&config.seats, &opened);
    let (plan, why) = settle(config, &seats, naming, &opened)?;
    let blueprint = Blueprint::new(&config.new, &plan, &seats);
    let mut answer = Answer {
        dry_run,
        uuid: naming.uuid.to_string(),
        name: naming.name.to_string(),
        state: None,
        in_sync_because: why,
        blueprint,
    };
    if dry_run {
        report.line(format_args!("would create {}", answer.blueprint.shape()));
        answer.blueprint.lines().into_iter().for_each(|line| report.line(line));
        report.answer(&answer);
        return Ok(Exit::Good);
    }
    if config.force {
        confirm("Overwrite whatever these devices carry?", config.caution.yes)?;
    }
    let undo = if spares { None } else { keep(config, &plan, &mut opened, &mut world)? };
    write_out(&plan, &mut opened, &mut world)?;
    let state = bring_in_sync(config, world, opened, report)?;
    if let Some(undo) = undo {
        undo.finish(report);
    }
    let size = Human(plan.array_sectors * SECTOR_BYTES);
    report.line(format_args!("created {}, {size}", answer.blueprint.shape()));
    report.line(format_args!("uuid {}; state: {state}", answer.uuid));
    if let Some(why) = why {
        report.line(format_args!("no resync: {why}"));
    }
    answer.state = Some(state);
    report.answer(&answer);
    Ok(Exit::Good)
}

impl Seat {
    const fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Device { path, .. } => Some(path),
            Self::Missing => None,
        }
    }
}

fn refuse_carriers(opened: &mut [Member], world: &mut World) -> Result<(), Failure> {
    let mut found = Vec::new();
    for member in opened {
        let marks = members::signatures(&mut member.disk, &mut world.clock, &member.path)?;
        found.push((member.path.clone(), marks));
    }
    members::refuse_carriers(&found)
}

/// Keeps what lies where metadata is and will be.
fn keep(
    config: &Create,
    plan: &Plan,
    opened: &mut [Member],
    world: &mut World,
) -> Result<Option<Undo>, Failure> {
    let mut disks: Vec<&mut Disk> = opened.iter_mut().map(|member| &mut member.disk).collect();
    let probes = scan(&mut disks, &mut world.clock);
    let regions = plan.superblocks().into_iter().zip(probes).map(|(planned, probe)| {
        let mut regions = metadata::of_probe(&probe);
        let header = plan.bitmap.as_ref().map(|bitmap| &bitmap.header);
        regions.extend(metadata::areas(&planned, header, probe.geometry.sectors));
        regions
    });
    let devices = opened.iter_mut().zip(regions.collect::<Vec<_>>());
    let devices =
        devices.map(|(member, regions)| (member.path.as_path(), &mut member.disk, regions));
    Undo::begin(&config.undo, devices, &mut world.clock)
}

/// The devices as planning wants them; they were opened in the order of their seats.
fn devices(seats: &[Seat], opened: &[Member]) -> Vec<Option<Device>> {
    let mut opened = opened.iter();
    let device = |seat: &Seat| match seat {
        Seat::Missing => None,
        Seat::Device { path, write_mostly } => opened.next().map(|member| Device {
            name: path.display().to_string(),
            sectors: member.disk.geometry().sectors,
            uuid: members::new_uuid(),
            write_mostly: *write_mostly,
        }),
    };
    seats.iter().map(device).collect()
}

/// The plan, and why its members agree already, if they do.
fn settle(
    config: &Create,
    seats: &[Option<Device>],
    naming: Naming,
    opened: &[Member],
) -> Result<(Plan, Option<&'static str>), Failure> {
    let draft = |clean| blueprint::draft(&config.new, seats, naming, clean);
    if config.assume_clean {
        let why = "--assume-clean: if the members do not agree, redundancy is wrong until a repair";
        return Ok((draft(true)?, Some(why)));
    }
    let plan = draft(false)?;
    if plan.resync == Resync::Clean {
        return Ok((plan, None));
    }
    if all_zero(&plan, opened) {
        return Ok((draft(true)?, Some("the members are known to read as zeros")));
    }
    Ok((plan, None))
}

/// Whether the data area of every slot is known to read as zeros.
fn all_zero(plan: &Plan, opened: &[Member]) -> bool {
    plan.members.iter().zip(opened).filter(|(planned, _)| planned.slot.is_some()).all(
        |(planned, member)| {
            let sectors = if plan.size == 0 { planned.data_size } else { plan.size };
            let data = planned.data_offset..planned.data_offset + sectors;
            member.disk.reads_as_zeros(data) == Zeros::Yes
        },
    )
}

/// Writes the metadata, superblocks last; undoes what was written if it cannot be completed.
pub(super) fn write_out(
    plan: &Plan,
    opened: &mut [Member],
    world: &mut World,
) -> Result<(), Failure> {
    for (planned, member) in plan.members.iter().zip(&mut *opened) {
        prepare(plan, planned, member, world)
            .map_err(|fault| cannot_write(&member.path, planned.super_offset, fault))?;
    }
    let superblocks = plan.superblocks();
    for (index, superblock) in superblocks.iter().enumerate() {
        let (member, sector) = (&mut opened[index], plan.members[index].super_offset);
        let bytes = superblock.emit();
        if let Err(fault) = put(member, world, sector, &bytes, Durability::Fua) {
            let failure = cannot_write(&member.path, sector, fault);
            for (undo, planned) in opened.iter_mut().zip(&plan.members).take(index + 1) {
                // The first failure is the one to tell.
                let _ = erase::erase(&mut undo.disk, &mut world.clock, planned.super_offset);
            }
            return Err(failure.hint("what had been written was taken off again"));
        }
    }
    Ok(())
}

/// Old superblocks off; bitmap or partial parity log and an empty bad-block log on.
///
/// The log is written although nobody reads it yet: on a sparse file that claims its room, so that
/// a disk that is full one day can still record what went wrong.
fn prepare(
    plan: &Plan,
    planned: &PlannedMember,
    member: &mut Member,
    world: &mut World,
) -> Result<(), Fault> {
    for (_, sector) in erase::find(&mut member.disk, &mut world.clock)? {
        erase::erase(&mut member.disk, &mut world.clock, sector)?;
    }
    if let (Some(bytes), Some(sector)) = (plan.bitmap(), plan.bitmap_sector(planned)) {
        put(member, world, sector, &bytes, Durability::Cached)?;
    }
    if let (Some(bytes), Some(sector)) = (plan.ppl(), plan.ppl_sector(planned)) {
        put(member, world, sector, &bytes, Durability::Cached)?;
    }
    if let Some(log) = planned.bad_blocks
        && let Some(sector) = planned.super_offset.checked_add_signed(log.offset.into())
    {
        let empty = vec![0xff; usize::from(log.sectors) * 512];
        put(member, world, sector, &empty, Durability::Cached)?;
    }
    Stream::default().now(&mut member.disk, &mut world.clock, 0, Op::Flush).result
}

fn put(
    member: &mut Member,
    world: &mut World,
    sector: u64,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), Fault> {
    let block = member.disk.geometry().block_bytes as usize;
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(block), 0);
    let op = Op::Write(Payload::from_slice(&padded), durability);
    Stream::default().now(&mut member.disk, &mut world.clock, sector, op).result
}

fn cannot_write(path: &Path, sector: u64, fault: Fault) -> Failure {
    Failure::error(format!("{}: sector {sector} cannot be written: {fault}", path.display()))
}

/// Resyncs what is not in sync, with progress; the state it ends in.
fn bring_in_sync(
    config: &Create,
    world: World,
    opened: Vec<Member>,
    report: &Report,
) -> Result<String, Failure> {
    let Create { force, uuid: set, knobs, .. } = *config;
    let (way, undo) = (Way { overlay: None, in_place: true }, UndoWish::None);
    let group = Group { members: Vec::new(), force, set, knobs, way, undo };
    let mut session = Session::assemble(world, opened, &group, Purpose::Change, report)?;
    while session.array.start_pending() {
        let before = detail::pending(&session.status());
        session.run_and_tell(report, |_, _| ());
        if detail::pending(&session.status()) == before {
            break;
        }
    }
    let status = session.stop(report);
    if detail::pending(&status).is_some() {
        return Err(Failure::error(
            "the array is made, but its first resync did not reach its end",
        )
        .hint("holdfast rebuild continues it"));
    }
    Ok(detail::state(&status))
}
