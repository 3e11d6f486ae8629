//! From probes to a running array, or the reason why not.
//!
//! Pure: reading is [`scan`](mod@crate::scan)'s job. Who is current is decided by
//! `superblock::choose`; here the verdicts become members, and what Linux refuses
//! to start is refused: too few members, parity that is both dirty and degraded, metadata nobody
//! here understands.

use std::collections::BTreeSet;

use holdfast_core::block::Fault;

use crate::array::{Array, Identity, Intent, Left, Member, Parts, State};
use crate::config::Config;
use crate::defects::{Defect, Defects, Sound};
use crate::layout::{Layout, LayoutError, Shape};
use crate::level::Level;
use crate::ppl::{Found, Outlook};
use crate::scan::{Bitmap, Probe};
use crate::superblock::{
    BadBlocks, ChooseError, Resync, Role, Superblock, Unsupported, UnsupportedBitmap, Uuid,
    Verdict, choose,
};

/// How to assemble.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Start dirty degraded arrays, and take members that lag if the array cannot start without.
    pub force: bool,
    /// Which array, when members of several are given.
    pub set: Option<Uuid>,
}

/// Why no array could be assembled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Not one device is a member of anything.
    #[error("none of the devices is an md member")]
    NoMembers,
    /// Members of several arrays were given and none was named.
    #[error("members of {} different arrays: name one by its UUID", sets.len())]
    SeveralArrays {
        /// Each array and its devices.
        sets: Vec<(Uuid, Vec<usize>)>,
    },
    /// Two members disown each other.
    #[error(
        "split history: devices {first} and {second} each call the other gone at event {events}; \
         each may hold writes the other lacks. Assemble with the one whose data is wanted"
    )]
    SplitHistory {
        /// One of them.
        first: usize,
        /// The other.
        second: usize,
        /// Events both reached.
        events: u64,
    },
    /// Only spares and faulty members.
    #[error("array {uuid}: only spares and faulty members were given")]
    OnlySpares {
        /// The array.
        uuid: Uuid,
    },
    /// In a state that cannot be read right, or must not be written.
    #[error("{reason}")]
    Unsupported {
        /// Which.
        reason: Unsupported,
    },
    /// A bitmap that must not be written.
    #[error("the array has {reason}; holdfast reads such arrays but does not write them")]
    UnsupportedBitmap {
        /// Which.
        reason: UnsupportedBitmap,
    },
    /// No member has a usable bitmap although the superblocks say that there is one.
    #[error("no member has a readable write-intent bitmap, so the array can only be read")]
    NoBitmap,
    /// The geometry makes no sense.
    #[error("impossible geometry: {0}")]
    Geometry(#[from] LayoutError),
    /// Not enough members.
    #[error("too few members: slots {} of {raid_disks} are missing", join(missing))]
    TooFewMembers {
        /// Slots.
        raid_disks: u32,
        /// Slots without a current member.
        missing: Vec<u32>,
        /// Devices that hold one of those slots but lag behind, with the events they miss.
        stale: Vec<(usize, u64)>,
    },
    /// Unclean and degraded: parity cannot be trusted where writes were in flight.
    #[error(
        "the array was not stopped cleanly and slot {} is missing: up to {at_risk_bytes} bytes \
         recovered from parity may be wrong",
        join(missing)
    )]
    DirtyDegraded {
        /// Slots without a current member.
        missing: Vec<u32>,
        /// Bytes of the array whose parity is in doubt.
        at_risk_bytes: u64,
    },
}

fn join(slots: &[u32]) -> String {
    let words: Vec<String> = slots.iter().map(u32::to_string).collect();
    words.join(", ")
}

/// Assembles the array the probed devices make up. Device indices are those of `probes`.
///
/// With [`Config::read_only`] nothing will ever be written, and more is accepted.
pub fn assemble(
    probes: Vec<Probe>,
    config: Config,
    options: &Options,
) -> Result<Array, AssembleError> {
    assemble_with(probes, config, options, Sound)
}

/// Assembles an array that has [planted defects](crate::defects).
pub fn assemble_with<X: Defects>(
    mut probes: Vec<Probe>,
    config: Config,
    options: &Options,
    defects: X,
) -> Result<Array<X>, AssembleError> {
    let set = pick_set(&probes, options)?;
    let candidates: Vec<Superblock> =
        set.iter().filter_map(|&index| probes[index].superblock.clone().ok()).collect();
    let choice = choose(&candidates, options.force).map_err(|error| translate(error, &set))?;
    let reference = candidates[choice.freshest].clone();
    check_supported(&reference, &config)?;

    let mut verdicts: Vec<Option<Verdict>> = vec![None; probes.len()];
    for (verdict, &index) in choice.verdicts.into_iter().zip(&set) {
        verdicts[index] = Some(verdict);
    }
    let bitmap = find_bitmap(&probes, &verdicts, &reference, &config)?;
    let logs: Vec<_> = probes.iter_mut().map(|probe| probe.ppl.take()).collect();
    let mut members = make_members(probes, verdicts, defects);
    refuse_log_misfits(&mut members, &reference);
    settle_replacements(&mut members);
    settle_roles(&mut members, &reference);
    let layout = make_layout(&reference, &members)?;
    let missing = missing_slots(&members, reference.raid_disks);
    check_enough(&layout, &members, &missing)?;

    let resync_from = match reference.resync {
        Resync::Clean => None,
        Resync::From(sector) => layout.shape().level.is_redundant().then_some(sector),
    };
    let ppl = hear_logs(&members, &logs, &layout, resync_from, !missing.is_empty());
    let ppl = ppl.filter(|_| reference.ppl.is_some());
    let resync_from = resync_from.filter(|_| ppl.as_ref().is_none_or(|left| !left.settles));
    if ppl.as_ref().is_some_and(|left| left.settles) {
        begin_copies_anew(&mut members);
    }
    let intent = bitmap.map(|bitmap| make_intent(bitmap, &reference, resync_from.is_some()));
    let risk = Risk { layout: &layout, intent: intent.as_ref(), resync_from };
    let at_risk_bytes = risk.bytes(&missing);
    if let Some(at_risk_bytes) = at_risk_bytes.filter(|_| !options.force) {
        return Err(AssembleError::DirtyDegraded { missing, at_risk_bytes });
    }

    let block_bytes = members
        .iter()
        .filter(|member| member.is_current())
        .map(|member| member.geometry.block_bytes)
        .chain([reference.logical_block_size.max(512)])
        .max()
        .unwrap_or(512);
    let parts = Parts {
        config,
        identity: Identity { uuid: reference.set_uuid, name: reference.name, block_bytes },
        layout,
        members,
        events: reference.events,
        clean: true,
        intent,
        resync_from,
        at_risk_bytes,
        ppl,
    };
    Ok(Array::new(parts, defects))
}

/// A member whose partial parity log has no place in this array is left out, as md leaves it.
fn refuse_log_misfits(members: &mut [Member], reference: &Superblock) {
    for member in members.iter_mut().filter(|member| member.is_current()) {
        if let Some(why) = member.superblock().log_misfit(reference) {
            member.state = State::Foreign;
            member.why = Some(why.to_owned());
        } else if let Some(ppl) = &mut member.superblock_mut().ppl {
            // What it is used as from now on.
            ppl.multiple = ppl.is_ring();
        }
    }
}

/// What the partial parity logs of those who serve say of an unclean stop.
fn hear_logs(
    members: &[Member],
    logs: &[Option<Result<Found, Fault>>],
    layout: &Layout,
    resync_from: Option<u64>,
    degraded: bool,
) -> Option<Left> {
    let Layout::Parity(parity) = layout else { return None };
    let mut outlook = Outlook::default();
    for (member, log) in members.iter().zip(logs) {
        let found = log.as_ref().and_then(|log| log.as_ref().ok());
        match member.state {
            State::InSync { slot } => outlook.hear(slot, u64::MAX, found, parity),
            State::Rebuilding { slot, done } => outlook.hear(slot, done, found, parity),
            _ => {}
        }
    }
    // Any other place is where a resync stood when the array was stopped in good order.
    let unclean = resync_from == Some(0);
    let settles = unclean && outlook.settles(degraded);
    let steps = if unclean { outlook.steps } else { Vec::new() };
    Some(Left { generation: outlook.generation, steps, settles })
}

/// Logs make members and parity agree, and replacements with nobody: those are filled once more.
fn begin_copies_anew(members: &mut [Member]) {
    for member in members {
        if let State::Replacing { done, .. } = &mut member.state {
            *done = 0;
        }
    }
}

/// Makes every current member's role table say who serves now, as md does when it starts an array:
/// a slot's absentee is marked faulty, so that the first update after this one disowns it, and a
/// member that missed the last update stops telling the old story.
fn settle_roles(members: &mut [Member], reference: &Superblock) {
    let mut roles: Vec<Role> = reference
        .roles
        .iter()
        .map(|role| if role.slot().is_some() { Role::Faulty } else { *role })
        .collect();
    let own = |member: &Member| match member.state {
        State::InSync { slot } | State::Rebuilding { slot, .. } | State::Replacing { slot, .. } => {
            Role::Active(slot as u16)
        }
        _ => Role::Spare,
    };
    for member in members.iter().filter(|member| member.is_current()) {
        let number = member.superblock().dev_number as usize;
        if number >= roles.len() {
            roles.resize(number + 1, Role::Spare);
        }
        roles[number] = own(member);
    }
    for member in members.iter_mut().filter(|member| member.is_current()) {
        member.superblock_mut().roles.clone_from(&roles);
    }
}

/// The devices of the one array that is meant.
fn pick_set(probes: &[Probe], options: &Options) -> Result<Vec<usize>, AssembleError> {
    let mut sets: Vec<(Uuid, Vec<usize>)> = Vec::new();
    for (index, probe) in probes.iter().enumerate() {
        let Ok(superblock) = &probe.superblock else {
            continue;
        };
        let uuid = superblock.set_uuid;
        match sets.iter_mut().find(|(set, _)| *set == uuid) {
            Some((_, members)) => members.push(index),
            None => sets.push((uuid, vec![index])),
        }
    }
    if let Some(wanted) = options.set {
        let found = sets.into_iter().find(|(uuid, _)| *uuid == wanted);
        return found.map(|(_, members)| members).ok_or(AssembleError::NoMembers);
    }
    match sets.len() {
        0 => Err(AssembleError::NoMembers),
        1 => Ok(sets.remove(0).1),
        _ => Err(AssembleError::SeveralArrays { sets }),
    }
}

fn translate(error: ChooseError, set: &[usize]) -> AssembleError {
    match error {
        ChooseError::Empty => AssembleError::NoMembers,
        ChooseError::NoMembers(uuid) => AssembleError::OnlySpares { uuid },
        ChooseError::SplitHistory { first, second, events } => {
            AssembleError::SplitHistory { first: set[first], second: set[second], events }
        }
    }
}

fn check_supported(reference: &Superblock, config: &Config) -> Result<(), AssembleError> {
    let Some(reason) = reference.refuses_writing() else {
        return Ok(());
    };
    let unreadable =
        matches!(reason, Unsupported::Reshape | Unsupported::Journal | Unsupported::Level(_));
    if unreadable || !config.read_only {
        return Err(AssembleError::Unsupported { reason });
    }
    Ok(())
}

/// The newest bitmap of a member in sync, with what others mark besides: a bit that somebody lacks,
/// who went before it was set and is not known to have gone, is needed as much as any.
fn find_bitmap(
    probes: &[Probe],
    verdicts: &[Option<Verdict>],
    reference: &Superblock,
    config: &Config,
) -> Result<Option<Bitmap>, AssembleError> {
    if reference.bitmap_offset.is_none() {
        return Ok(None);
    }
    let current = |index: &usize| {
        verdicts[*index].as_ref().is_some_and(|verdict| verdict.serving_slot().is_some())
    };
    let good = |index: usize| match &probes[index].bitmap {
        Some(Ok(bitmap)) => Some(bitmap),
        _ => None,
    };
    let all: Vec<&Bitmap> = (0..probes.len()).filter(current).filter_map(good).collect();
    let newest = all.iter().rev().max_by_key(|bitmap| bitmap.header.events);
    let found = newest.map(|newest| {
        let mut bitmap = Bitmap::clone(newest);
        all.iter().for_each(|other| bitmap.mark_also(other));
        bitmap
    });
    match found {
        None if config.read_only => Ok(None),
        None => Err(AssembleError::NoBitmap),
        Some(bitmap) => match bitmap.header.refuses_writing() {
            None => Ok(Some(bitmap)),
            Some(_) if config.read_only => Ok(None),
            Some(reason) => Err(AssembleError::UnsupportedBitmap { reason }),
        },
    }
}

fn make_intent(bitmap: Bitmap, reference: &Superblock, unclean: bool) -> Intent {
    let header = &bitmap.header;
    let stale = header.is_stale(reference.events);
    let mut intent = Intent::new(header, bitmap.bytes, unclean);
    if stale {
        intent.distrust(unclean);
    }
    intent
}

fn make_members(
    probes: Vec<Probe>,
    verdicts: Vec<Option<Verdict>>,
    defects: impl Defects,
) -> Vec<Member> {
    let mut taken: BTreeSet<u32> =
        verdicts.iter().flatten().filter_map(Verdict::serving_slot).map(u32::from).collect();
    let originals: BTreeSet<u32> = verdicts
        .iter()
        .flatten()
        .filter(|verdict| !matches!(verdict, Verdict::Replacement { .. }))
        .filter_map(Verdict::serving_slot)
        .map(u32::from)
        .collect();
    let serving: BTreeSet<u32> = taken.clone();
    let mut members = Vec::new();
    for (probe, verdict) in probes.into_iter().zip(verdicts) {
        let (mut state, mut why) = match (&probe.superblock, verdict) {
            (Err(error), _) => (State::Foreign, Some(error.to_string())),
            (Ok(_), None) => (State::Foreign, Some("belongs to another array".to_owned())),
            (
                Ok(_),
                Some(Verdict::Stale { slot: Some(slot), .. } | Verdict::DeclaredFaulty { slot }),
            ) if defects.has(Defect::StaleMemberAccepted) => {
                (State::InSync { slot: slot.into() }, None)
            }
            // Where both are there the old one serves, and the new one is filled.
            (Ok(superblock), Some(Verdict::Replacement { slot, .. }))
                if originals.contains(&slot.into()) =>
            {
                (State::Replacing { slot: slot.into(), done: superblock.recovered_sectors() }, None)
            }
            (Ok(_), Some(verdict)) => judge(verdict),
        };
        // What is being built for a slot that is served already is left alone.
        if let State::Rebuilding { slot, .. } = state
            && (serving.contains(&slot) || !taken.insert(slot))
        {
            state = State::Foreign;
            why = Some(format!("is being built for slot {slot}, which another member serves"));
        }
        let bad = match probe.bad_blocks {
            None => BadBlocks::default(),
            Some(Ok(log)) => log.bad,
            // A log that cannot be read could list anything.
            Some(Err(problem)) => {
                state = State::Foreign;
                why = Some(problem.to_string());
                BadBlocks::default()
            }
        };
        let mut member = Member::new(probe.geometry, probe.superblock.ok(), state, bad, why);
        let by_bitmap = member.superblock.as_ref().is_some_and(|sb| sb.recovery_bitmap);
        member.marked_only = by_bitmap && matches!(state, State::Rebuilding { .. });
        members.push(member);
    }
    members
}

/// A replacement whose old member turned out to be of no use is all the slot has.
fn settle_replacements(members: &mut [Member]) {
    for index in 0..members.len() {
        let State::Replacing { slot, done } = members[index].state else { continue };
        let serves = |m: &Member| m.state == State::InSync { slot };
        if !members.iter().any(serves) {
            members[index].state = State::Rebuilding { slot, done };
        }
    }
}

fn judge(verdict: Verdict) -> (State, Option<String>) {
    match verdict {
        Verdict::InSync { slot } | Verdict::Replacement { slot, recovered_sectors: None } => {
            (State::InSync { slot: slot.into() }, None)
        }
        Verdict::Forced { slot, behind, .. } => {
            let why = format!("{behind} updates behind, used because force was asked for");
            (State::InSync { slot: slot.into() }, Some(why))
        }
        Verdict::Rebuilding { slot, recovered_sectors }
        | Verdict::Replacement { slot, recovered_sectors: Some(recovered_sectors) } => {
            (State::Rebuilding { slot: slot.into(), done: recovered_sectors }, None)
        }
        Verdict::Spare => (State::Spare, None),
        Verdict::Journal => (State::Foreign, Some("is a write journal".to_owned())),
        Verdict::Faulty => (State::Faulty { slot: None }, Some("is marked faulty".to_owned())),
        Verdict::DeclaredFaulty { slot } => {
            let why = "was declared faulty by the other members".to_owned();
            (State::Stale { slot: Some(slot.into()) }, Some(why))
        }
        Verdict::Stale { slot, behind, .. } => {
            let why = format!("missed {behind} updates");
            (State::Stale { slot: slot.map(u32::from) }, Some(why))
        }
        Verdict::Diverged { slot, behind, .. } => {
            let why = format!("went on without the others, {behind} updates behind");
            (State::Stale { slot: Some(slot.into()) }, Some(why))
        }
        Verdict::Stranger(why) => (State::Foreign, Some(why.to_string())),
        Verdict::Duplicate { of } => (
            State::Foreign,
            Some(format!(
                "is a copy of device {of}, which was given too, or has its number or its place"
            )),
        ),
    }
}

fn make_layout(reference: &Superblock, members: &[Member]) -> Result<Layout, AssembleError> {
    let level = reference
        .level()
        .ok_or(AssembleError::Unsupported { reason: Unsupported::Level(reference.level_number) })?;
    // RAID0 without the feature bit says nothing with its layout field.
    let layout = match level {
        Level::Raid0 => reference.raid0_layout().unwrap_or(0),
        Level::Linear | Level::Raid1 => 0,
        _ => reference.layout,
    };
    let shape = Shape {
        level,
        layout,
        raid_disks: reference.raid_disks,
        chunk_sectors: reference.chunk_sectors,
        member_sectors: reference.size,
    };
    if level.is_redundant() {
        return Ok(Layout::new(&shape, &[])?);
    }
    // Without redundancy every member's own size counts, so each must be there.
    let mut sizes = vec![None; reference.raid_disks.min(level.max_members()) as usize];
    for member in members {
        if let (State::InSync { slot }, Some(superblock)) = (member.state, &member.superblock)
            && let Some(size) = sizes.get_mut(slot as usize)
        {
            *size = Some(superblock.data_size);
        }
    }
    let missing: Vec<u32> =
        (0..sizes.len() as u32).filter(|&slot| sizes[slot as usize].is_none()).collect();
    if !missing.is_empty() {
        return Err(too_few(members, reference.raid_disks, missing));
    }
    let sizes: Vec<u64> = sizes.into_iter().flatten().collect();
    Ok(Layout::new(&shape, &sizes)?)
}

fn missing_slots(members: &[Member], raid_disks: u32) -> Vec<u32> {
    let served: BTreeSet<u32> = members
        .iter()
        .filter_map(|member| match member.state {
            State::InSync { slot } => Some(slot),
            _ => None,
        })
        .collect();
    (0..raid_disks).filter(|slot| !served.contains(slot)).collect()
}

fn too_few(members: &[Member], raid_disks: u32, missing: Vec<u32>) -> AssembleError {
    let newest = members.iter().filter_map(|m| m.superblock.as_ref()).map(|sb| sb.events).max();
    let newest = newest.unwrap_or(0);
    let stale = members
        .iter()
        .enumerate()
        .filter_map(|(index, member)| match (member.state, &member.superblock) {
            (State::Stale { slot: Some(slot) }, Some(superblock)) if missing.contains(&slot) => {
                Some((index, newest.saturating_sub(superblock.events)))
            }
            _ => None,
        })
        .collect();
    AssembleError::TooFewMembers { raid_disks, missing, stale }
}

fn check_enough(layout: &Layout, members: &[Member], missing: &[u32]) -> Result<(), AssembleError> {
    let raid_disks = layout.shape().raid_disks;
    let present: Vec<bool> = (0..raid_disks).map(|slot| !missing.contains(&slot)).collect();
    if layout.survives(&present) {
        return Ok(());
    }
    Err(too_few(members, raid_disks, missing.to_vec()))
}

/// What is in doubt in an array that was not stopped cleanly.
struct Risk<'a> {
    layout: &'a Layout,
    intent: Option<&'a Intent>,
    resync_from: Option<u64>,
}

impl Risk<'_> {
    /// Parity that is dirty must not be used to make up for a missing member
    /// (`raid5.c raid5_run`: "cannot start dirty degraded array"). Bytes of the array in doubt, if
    /// that is what it comes to.
    fn bytes(&self, missing: &[u32]) -> Option<u64> {
        let (Layout::Parity(parity), Some(from)) = (self.layout, self.resync_from) else {
            return None;
        };
        // RAID4 whose parity member alone is missing has all its data.
        let only_parity = parity.level() == Level::Raid4 && missing == [parity.stripe(0).p];
        if missing.is_empty() || only_parity {
            return None;
        }
        let rows = parity.member_extent().saturating_sub(from);
        let doubtful = self.intent.map_or(rows, |intent| intent.doubtful_sectors().min(rows));
        let sectors = doubtful.saturating_mul(parity.data_members().into());
        Some(sectors.min(parity.array_sectors()).saturating_mul(512))
    }
}
