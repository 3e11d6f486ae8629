//! Opening a set of guarded members: who they are, what was left open, what they know of each
//! other.
//!
//! The order matters, because the power may fail here too. First every torn unit of every member
//! gets a new seal and every member is flushed; only then are the maps cleared. Until they are,
//! doing it all once more does no harm.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completion, Durability, Fault, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload, is_zero};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Clock;

use super::Scheme;
use super::guarded::{Guard, Guarded, STEP_BLOCKS};
use super::header::Header;
use super::regions::{Bits, Regions};
use super::seal::{Found, MOST_MEMBERS, SEAL_BYTES, Seal};
use super::shape::{BLOCK_SECTORS, HEADER_SECTOR, MAP_SECTOR, Shape};
use super::units::{Units, places};
use super::versions::Versions;

/// Makes a device member `member` of a set: everything on it becomes zeros.
///
/// A device whose blocks are not sectors of 512 bytes is refused: a seal would not land whole.
pub fn format<D: BlockDevice, C: Clock>(
    device: &mut D,
    scheme: Scheme,
    member: u32,
    clock: &mut C,
) -> Result<(), Fault> {
    if scheme == Scheme::None {
        return Ok(());
    }
    let geometry = device.geometry();
    let room = Shape::of(scheme, geometry.sectors).blocks() > 0;
    if geometry.block_bytes != 512 || !room || member as usize >= MOST_MEMBERS {
        return Err(Fault::Refused);
    }
    let step = STEP_BLOCKS * BLOCK_SECTORS;
    for sector in (0..geometry.sectors).step_by(step as usize) {
        execute(device, clock, sector, Op::Zero(step.min(geometry.sectors - sector))).result?;
    }
    write(device, clock, HEADER_SECTOR, &Header::new(scheme, member).emit())?;
    write(device, clock, MAP_SECTOR, &Bits::default().emit())?;
    execute(device, clock, 0, Op::Flush).result
}

/// Opens the members of a set, in the order in which they were made.
///
/// A device that cannot be read, or was not made for this place by this scheme, is there but shut:
/// it answers everything with an error. One without room is read, and takes writes when it has some. Without a scheme all devices are handed through.
pub fn open<D: BlockDevice, C: Clock>(
    devices: Vec<D>,
    scheme: Scheme,
    clock: &mut C,
) -> Vec<Guarded<D>> {
    if scheme == Scheme::None {
        return devices.into_iter().map(Guarded::open).collect();
    }
    let versions = Rc::<RefCell<Versions>>::default();
    let admit = |(number, device)| admit(device, scheme, number, &versions, clock);
    let (mut members, maps): (Vec<_>, Vec<_>) = (0..).zip(devices).map(admit).unzip();
    members.iter_mut().for_each(|member| member.learn(clock));
    level(&mut members, &maps, clock);
    members
}

/// Opens one more member, as number `number`, for the set that `beside` belongs to.
pub fn join<D: BlockDevice, C: Clock>(
    device: D,
    number: u32,
    beside: &mut Guarded<D>,
    clock: &mut C,
) -> Guarded<D> {
    match beside.parts_mut() {
        (_, None) => Guarded::open(device),
        (_, Some(guard)) => admit(device, guard.scheme, number, &guard.versions, clock).0,
    }
}

/// Puts a guard before a device; which of its regions were left open.
fn admit<D: BlockDevice, C: Clock>(
    device: D,
    scheme: Scheme,
    number: u32,
    versions: &Rc<RefCell<Versions>>,
    clock: &mut C,
) -> (Guarded<D>, Bits) {
    let mut member = Guarded::with_guard(device, scheme, number, Rc::clone(versions));
    let (device, guard) = member.parts_mut();
    let guard = guard.expect("it has just been put there");
    if scheme.mirrors_versions() {
        versions.borrow_mut().add_member(guard.shape.blocks());
    }
    let entered = enter(device, guard, clock);
    guard.shut = entered.err();
    (member, entered.unwrap_or_default())
}

impl<D: BlockDevice> Guarded<D> {
    /// Makes the whole set forget what it remembers of versions. Every member has to
    /// [learn](Self::learn) anew before it is used.
    pub fn forget(&mut self) {
        if let (_, Some(guard)) = self.parts_mut() {
            guard.versions.borrow_mut().forget();
        }
    }

    /// Learns versions from this member's seals. A set that has forgotten and learnt judges by
    /// what is on its devices alone, as after a restart.
    pub fn learn<C: Clock>(&mut self, clock: &mut C) {
        let (device, Some(guard)) = self.parts_mut() else { return };
        if guard.shut.is_some() || !guard.scheme.mirrors_versions() {
            return;
        }
        for start in (0..guard.shape.blocks()).step_by(STEP_BLOCKS as usize) {
            let end = (start + STEP_BLOCKS).min(guard.shape.blocks());
            let together = read_units(device, guard, clock, start..end);
            for (index, block) in (start..end).enumerate() {
                match &together {
                    Some(units) => learn(guard, block, units.seal(index)),
                    None => {
                        // Some sector among them cannot be read: one by one.
                        let seal = read(device, clock, guard.shape.seal_sector(block), 1);
                        seal.iter().for_each(|seal| learn(guard, block, seal));
                    }
                }
            }
        }
    }
}

/// Reads the header, counts the opening and reads the map.
fn enter<D: BlockDevice, C: Clock>(
    device: &mut D,
    guard: &mut Guard,
    clock: &mut C,
) -> Result<Bits, Fault> {
    if device.geometry().block_bytes != 512 || guard.member as usize >= MOST_MEMBERS {
        return Err(Fault::Refused);
    }
    let_strays_land(device, clock);
    let header = Header::parse(&read(device, clock, HEADER_SECTOR, 1)?);
    let ours = |header: &Header| header.scheme == guard.scheme && header.member == guard.member;
    let mut header = header.filter(ours).ok_or(Fault::Refused)?;
    header.epoch = header.epoch.checked_add(1).ok_or(Fault::Refused)?;
    match write(device, clock, HEADER_SECTOR, &header.emit()) {
        // What it holds may be the newest there is: it is read, and counted when there is room.
        Err(Fault::Full) => guard.uncounted = Some(header),
        written => written?,
    }
    guard.next_version = u64::from(header.epoch) << 32;
    let map = read(device, clock, MAP_SECTOR, 1)?;
    // A map that does not hold together says nothing: torn units are then errors to be healed,
    // which is safer than to believe every block.
    let map: &[u8; 512] = map[..].try_into().expect("a sector");
    Ok(Bits::parse(map).unwrap_or_default())
}

/// Members that are open.
fn present<D: BlockDevice>(
    members: &mut [Guarded<D>],
) -> impl Iterator<Item = (usize, &mut D, &mut Guard)> {
    members.iter_mut().enumerate().filter_map(|(number, member)| {
        let (device, guard) = member.parts_mut();
        let guard = guard.filter(|guard| guard.shut.is_none())?;
        Some((number, device, &mut **guard))
    })
}

fn learn(guard: &Guard, block: u64, seal: &[u8]) {
    let Found::Seal(seal) = Seal::find(seal) else { return };
    if guard.owns(block, &seal) {
        let mut versions = guard.versions.borrow_mut();
        versions.learn(guard.member, block, seal.version);
        for (member, version) in (0..).zip(seal.versions) {
            versions.learn(member, block, version);
        }
    }
}

/// Makes blocks and seals agree wherever a region was left open.
fn level<D: BlockDevice, C: Clock>(members: &mut [Guarded<D>], maps: &[Bits], clock: &mut C) {
    let open: Vec<BTreeSet<u64>> = present(members)
        .map(|(number, _, guard)| (number, guard.shape.blocks()))
        .map(|(number, blocks)| (number, Regions::open_blocks(&maps[number], blocks).collect()))
        .fold(vec![BTreeSet::new(); maps.len()], |mut sets, (number, set)| {
            sets[number] = set;
            sets
        });
    if open.iter().all(BTreeSet::is_empty) {
        return;
    }
    // Members know of each other's versions, so a row is levelled on all of them.
    let rows: BTreeSet<u64> = open.iter().flatten().copied().collect();
    for &block in &rows {
        let mut units: Vec<Option<Units>> = Vec::new();
        units.resize_with(maps.len(), || None);
        for (number, device, guard) in present(members) {
            let of_interest = guard.scheme.mirrors_versions() || open[number].contains(&block);
            if of_interest && block < guard.shape.blocks() {
                let torn = open[number].contains(&block);
                let found = read_units(device, guard, clock, block..block + 1);
                units[number] = found.filter(|units| believe(guard, block, units, torn));
            }
        }
        for (number, device, guard) in present(members) {
            if let Some(units) = &mut units[number] {
                seal_again(device, guard, clock, block, units);
            }
        }
    }
    let mut flushed = true;
    for (_, device, _) in present(members) {
        flushed &= execute(device, clock, 0, Op::Flush).result.is_ok();
    }
    for (number, device, guard) in present(members) {
        if open[number].is_empty() {
            continue;
        }
        let closed = flushed && write(device, clock, MAP_SECTOR, &Bits::default().emit()).is_ok();
        if !closed {
            guard.regions.keep_open(maps[number]);
        }
    }
}

/// Whether a unit of a row that was left open is to be sealed again as it stands; if so its
/// version is settled.
fn believe(guard: &mut Guard, block: u64, units: &Units, torn: bool) -> bool {
    let (data, seal) = (units.data(0), Seal::find(units.seal(0)));
    if seal == Found::Blank && is_zero(data) {
        settle(guard, block, 0);
        return false;
    }
    let holds = match &seal {
        Found::Seal(seal) => {
            let ours = !guard.scheme.identifies() || guard.owns(block, seal);
            ours && seal.data_check == crc32fast::hash(data)
        }
        _ => false,
    };
    if holds && !guard.scheme.mirrors_versions() || !holds && !torn {
        return false;
    }
    let version = guard.next_version;
    guard.next_version += 1;
    settle(guard, block, version);
    true
}

fn settle(guard: &Guard, block: u64, version: u64) {
    if guard.scheme.mirrors_versions() {
        guard.versions.borrow_mut().settle(guard.member, block, version);
    }
}

/// Writes a new seal for a block; the block itself stays as it is.
fn seal_again<D: BlockDevice, C: Clock>(
    device: &mut D,
    guard: &Guard,
    clock: &mut C,
    block: u64,
    units: &mut Units,
) {
    let (row, version) = match guard.scheme.mirrors_versions() {
        true => {
            let versions = guard.versions.borrow();
            (versions.row(block), versions.get(guard.member, block))
        }
        false => (Vec::new(), guard.next_version - 1),
    };
    let seal = Seal::of(units.data(0), guard.member, block, version, &row);
    let mut bytes = [0; SEAL_BYTES];
    seal.emit(&mut bytes);
    // A block that cannot be sealed stays corrupt, for the array to heal.
    let _ = write(device, clock, guard.shape.seal_sector(block), &bytes);
}

fn read_units<D: BlockDevice, C: Clock>(
    device: &mut D,
    guard: &Guard,
    clock: &mut C,
    blocks: std::ops::Range<u64>,
) -> Option<Units> {
    let places = places(guard.shape, guard.scheme.is_apart(), &blocks);
    let bufs: Result<Vec<Buf>, Fault> =
        places.into_iter().map(|(sector, sectors)| read(device, clock, sector, sectors)).collect();
    Units::from_bufs(bufs.ok()?)
}

fn read<D: BlockDevice, C: Clock>(
    device: &mut D,
    clock: &mut C,
    sector: u64,
    sectors: u64,
) -> Result<Buf, Fault> {
    let op = Op::Read(Buf::zeroed((sectors * SECTOR_BYTES) as usize));
    let done = execute(device, clock, sector, op);
    let Op::Read(buf) = done.op else { unreachable!("a read answers a read") };
    done.result.map(|()| buf)
}

fn write<D: BlockDevice, C: Clock>(
    device: &mut D,
    clock: &mut C,
    sector: u64,
    bytes: &[u8],
) -> Result<(), Fault> {
    let op = Op::Write(Payload::from_slice(bytes), Durability::Fua);
    execute(device, clock, sector, op).result
}

/// Polls after which a device that still has something to do has it of its own accord.
const MOST_STRAYS: u32 = 1000;

/// A guard that went away may have left a write of its map on the way: it must not land after what
/// the next guard writes there.
fn let_strays_land<D: BlockDevice, C: Clock>(device: &mut D, clock: &mut C) {
    let mut finished = Vec::new();
    for _ in 0..MOST_STRAYS {
        device.poll(clock.now(), &mut finished);
        match device.poll_at() {
            Some(at) => clock.wait(Some(at)),
            None => break,
        }
    }
}

/// The tag of a request carried out here: no array gives it out.
const OWN_TAG: Tag = Tag(u64::MAX);

/// Carries one request out on a device nobody else uses now. What an earlier owner gave up may still
/// be answered meanwhile; that is nobody's business any more.
fn execute<D: BlockDevice, C: Clock>(
    device: &mut D,
    clock: &mut C,
    sector: u64,
    op: Op,
) -> Completion {
    let mut request = Some(Request::new(OWN_TAG, sector, op));
    let mut finished = Vec::new();
    loop {
        if let Some(held) = request.take() {
            request = device.submit(held).err();
        }
        let now = clock.now();
        device.poll(now, &mut finished);
        if let Some(done) = finished.drain(..).find(|done| done.tag == OWN_TAG) {
            return done;
        }
        if request.is_none() && device.poll_at().is_none_or(|at| at > now) {
            clock.wait(device.poll_at());
        }
    }
}
