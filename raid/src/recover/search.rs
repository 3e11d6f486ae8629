//! From what is known of the members to candidates, best first.
//!
//! A [`Cast`] is a choice of devices that may form the array: all members, all but one (a stranger,
//! or a stale one), with or without a stand-in for the member that is missing. The survey says which
//! casts are worth a look, and for which levels. Every layout and chunk of those is a hypothesis;
//! the witnesses say at which offset, in which order, and how well.

use std::collections::BTreeMap;

use super::device::{Device, is_zero};
use super::geometry::{Checks, Geometry, MAX_DEVICES, WEAK};
use super::kin;
use super::read::Reader;
use super::relation::{CELL, Part, Reading};
use super::scan::{Finds, Volume, scan, volumes};
use super::survey::{FEW, Survey, blocks_at, data_start, survey};
use super::votes::{Seats, Votes};
use super::{Candidate, Evidence, Filesystem, Findings, Undecided};
use crate::layout::{Layout, Shape, names};
use crate::level::Level;

const SECTOR: u64 = 512;

/// Chunks tried, in sectors: 4 KiB to 16 MiB.
const CHUNKS: [u32; 13] = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];

/// Member sectors of a layout that is only asked for rows, not for its end.
const ENDLESS: u64 = 1 << 40;

/// Offsets followed up for one geometry and file system.
const MAX_OFFSETS: usize = 3;

/// mdadm has data begin at a multiple of 1 MiB, at most some 128 MiB into a member.
const USUAL_STEP: u64 = 1 << 20;
const USUAL_OFFSETS: u64 = 136;

/// Candidates kept.
const MAX_CANDIDATES: usize = 64;

/// Looks for the array `members` once made. See the [module](super) for how.
///
/// # Panics
///
/// If there are 64 members or more.
pub fn search(members: &[&[u8]]) -> Findings {
    assert!(members.len() < MAX_DEVICES, "{} members", members.len());
    let mut survey = survey(members);
    let finds = in_parallel(members, |member| scan(&Device::Real(member)));
    let casts = casts(members, &survey, &finds);
    let seen = casts.iter().flat_map(|cast| &cast.volumes).map(filesystem);
    survey.known.filesystems = seen.fold(Vec::new(), |mut all, found| {
        if !all.contains(&found) {
            all.push(found);
        }
        all
    });
    let known = &survey.known;
    let related = known.syndrome.as_ref().or(known.partial.as_ref()).or(known.xor.as_ref());
    let set = related.map(|(set, _)| set.clone());
    survey.known.data_start = set.and_then(|set| data_start(members, &set));
    let hypotheses: Vec<(&Cast<'_>, Hypothesis)> =
        casts.iter().flat_map(|cast| cast.hypotheses().map(move |one| (cast, one))).collect();
    let judged = in_parallel(&hypotheses, |(cast, hypothesis)| {
        Judge { cast, survey: &survey }.candidates(*hypothesis)
    });
    let mut candidates: Vec<Candidate> = judged.into_iter().flatten().collect();
    rank(&mut candidates);
    for candidate in &mut candidates {
        candidate.evidence.parity = parity_of(candidate, members, &survey);
    }
    let first = candidates.first();
    let left_out = first.map(|first| kin::left_out(first, members, &survey)).unwrap_or_default();
    let geometries = hypotheses.len() as u64;
    Findings { geometries, known: survey.known, candidates, left_out }
}

/// On all cores, where the crate was built for it.
#[cfg(feature = "parallel")]
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    f: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    use rayon::prelude::*;
    items.par_iter().map(f).collect()
}

/// On all cores, where the crate was built for it.
#[cfg(not(feature = "parallel"))]
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    items.iter().map(f).collect()
}

/// Devices that may form the array, and as what.
struct Cast<'a> {
    devices: Vec<Device<'a>>,
    /// The member behind each device; none behind a stand-in.
    members: Vec<Option<usize>>,
    volumes: Vec<Volume>,
    shapes: Vec<(Level, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Hypothesis {
    level: Level,
    layout: u32,
    chunk_sectors: u32,
    slots: u32,
}

impl Cast<'_> {
    fn hypotheses(&self) -> impl Iterator<Item = Hypothesis> + '_ {
        self.shapes.iter().flat_map(|&(level, slots)| {
            let chunks = if level == Level::Raid1 { &[0][..] } else { &CHUNKS[..] };
            layouts(level, slots).into_iter().flat_map(move |layout| {
                chunks.iter().map(move |&chunk_sectors| Hypothesis {
                    level,
                    layout,
                    chunk_sectors,
                    slots,
                })
            })
        })
    }

    fn len(&self) -> u64 {
        self.devices.iter().map(Device::len).min().unwrap_or(0)
    }
}

/// Layouts worth trying: of those that read the same with the members renamed (parity first or
/// last, on slots of their own), one. Those of raid5 are raid4's.
fn layouts(level: Level, slots: u32) -> Vec<u32> {
    match level {
        Level::Raid5 => (0..4).collect(),
        Level::Raid6 => [0, 1, 2, 3, 5, 8, 9, 10, 16, 17, 18, 19].to_vec(),
        // As many near copies as slots would be a raid1.
        Level::Raid10 => [0x102, 0x103, 0x201, 0x301, 0x1_0201, 0x1_0301, 0x202]
            .into_iter()
            .filter(|layout| {
                layout & 0xff < slots && (layout & 0xff) * (layout >> 8 & 0xff) <= slots
            })
            .collect(),
        Level::Linear | Level::Raid0 | Level::Raid1 | Level::Raid4 => vec![0],
    }
}

/// Makes casts of members that were scanned before.
struct Casting<'a> {
    members: &'a [&'a [u8]],
    finds: &'a [Finds],
}

impl<'a> Casting<'a> {
    fn of(&self, set: &[usize], shapes: Vec<(Level, u32)>) -> Cast<'a> {
        let finds: Vec<&Finds> = set.iter().map(|member| &self.finds[*member]).collect();
        Cast {
            devices: set.iter().map(|member| Device::Real(self.members[*member])).collect(),
            members: set.iter().copied().map(Some).collect(),
            volumes: volumes(&finds),
            shapes,
        }
    }

    /// With a stand-in for a member that single parity makes up for.
    fn with_stand_in(&self, set: &[usize]) -> Cast<'a> {
        let slots = set.len() as u32 + 1;
        let mut cast = self.of(set, single_parity(slots));
        let stand_in = Device::Xor(set.iter().map(|member| self.members[*member]).collect());
        let found = scan(&stand_in);
        let mut finds: Vec<&Finds> = set.iter().map(|member| &self.finds[*member]).collect();
        finds.push(&found);
        cast.volumes = volumes(&finds);
        cast.devices.push(stand_in);
        cast.members.push(None);
        cast
    }
}

fn single_parity(slots: u32) -> Vec<(Level, u32)> {
    if slots < 3 { Vec::new() } else { vec![(Level::Raid5, slots), (Level::Raid4, slots)] }
}

/// All of a set but one, for each.
fn each_without(set: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    set.iter().map(|left_out| set.iter().copied().filter(|one| one != left_out).collect())
}

fn casts<'a>(members: &'a [&'a [u8]], survey: &Survey, finds: &'a [Finds]) -> Vec<Cast<'a>> {
    let casting = Casting { members, finds };
    let known = &survey.known;
    let all: Vec<usize> =
        (0..members.len()).filter(|member| !known.blank.contains(member)).collect();
    if all.len() < 2 {
        return Vec::new();
    }
    if let Some(cast) = raid6_cast(&casting, survey) {
        return vec![cast];
    }
    let parity: Vec<Vec<usize>> = std::iter::once(all.clone())
        .chain(each_without(&all))
        .filter(|set| set.len() > 2 && xor_share(members, survey, set) > 0.98)
        .collect();
    let mut casts: Vec<Cast<'_>> =
        parity.iter().map(|set| casting.of(set, single_parity(set.len() as u32))).collect();
    if !known.twins.is_empty() {
        casts.extend(mirrors(&casting, survey, &all));
    } else if let (true, Some((set, _))) = (parity.is_empty(), &known.xor) {
        // Related, but not everywhere: one of them is stale.
        casts.extend(each_without(set).map(|rest| casting.with_stand_in(&rest)));
        casts.push(casting.of(set, single_parity(set.len() as u32)));
    } else if parity.is_empty() {
        casts.extend(unrelated(&casting, &all));
    }
    casts
}

/// A raid6 says itself who belongs to it.
fn raid6_cast<'a>(casting: &Casting<'a>, survey: &Survey) -> Option<Cast<'a>> {
    let known = &survey.known;
    if known.xor.as_ref().is_some_and(|(_, cells)| {
        [&known.syndrome, &known.partial].into_iter().flatten().all(|(_, other)| cells > other)
    }) {
        return None;
    }
    match (&known.syndrome, &known.partial) {
        (Some((set, _)), Some((rest, cells)))
            if rest.len() + 1 == set.len() && cells * 50 >= known.cells =>
        {
            // One of them does not go with the others everywhere: it is stale.
            Some(casting.of(rest, vec![(Level::Raid6, set.len() as u32)]))
        }
        (Some((set, _)), _) => Some(casting.of(set, vec![(Level::Raid6, set.len() as u32)])),
        (None, Some((set, _))) => Some(casting.of(set, vec![(Level::Raid6, set.len() as u32 + 1)])),
        (None, None) => None,
    }
}

fn mirrors<'a>(casting: &Casting<'a>, survey: &Survey, all: &[usize]) -> Vec<Cast<'a>> {
    let slots = all.len() as u32;
    let mut casts = vec![casting.of(all, vec![(Level::Raid10, slots), (Level::Raid10, slots + 1)])];
    casts.extend(each_without(all).map(|set| casting.of(&set, vec![(Level::Raid10, slots - 1)])));
    // Members that mirror each other nearly everywhere.
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for twins in survey.known.twins.iter().filter(|twins| twins.equal * 2 > twins.cells) {
        let (first, second) = twins.pair;
        match sets.iter_mut().find(|set| set.contains(&first) || set.contains(&second)) {
            Some(set) => [first, second].into_iter().for_each(|one| {
                if !set.contains(&one) {
                    set.push(one);
                }
            }),
            None => sets.push(vec![first, second]),
        }
    }
    let mirror = |set: Vec<usize>| casting.of(&set, vec![(Level::Raid1, set.len() as u32)]);
    casts.extend(sets.into_iter().map(mirror));
    casts
}

/// No member depends on the others at the same place: no redundancy, copies elsewhere, or a parity
/// array that lacks a member.
fn unrelated<'a>(casting: &Casting<'a>, all: &[usize]) -> Vec<Cast<'a>> {
    let slots = all.len() as u32;
    let plain = |slots: u32| vec![(Level::Raid0, slots), (Level::Raid10, slots)];
    let mut shapes = plain(slots);
    shapes.extend([(Level::Raid10, slots + 1), (Level::Raid0, slots + 1)]);
    if slots >= 3 {
        shapes.extend([(Level::Raid6, slots + 1), (Level::Raid6, slots + 2)]);
    }
    let mut casts = vec![casting.of(all, shapes), casting.with_stand_in(all)];
    if all.len() > 2 {
        casts.extend(each_without(all).map(|set| casting.of(&set, plain(slots - 1))));
        casts.extend(each_without(all).map(|set| casting.with_stand_in(&set)));
    }
    casts
}

/// The share of cells in which a set XORs to zero, of those where it could be otherwise.
fn xor_share(members: &[&[u8]], survey: &Survey, set: &[usize]) -> f64 {
    let own: Vec<&[u8]> = set.iter().map(|member| members[*member]).collect();
    let (mut agree, mut full) = (0u64, 0u64);
    for cell in &survey.cells {
        let blocks = blocks_at(&own, cell.at);
        if blocks.iter().all(|block| is_zero(block)) {
            continue;
        }
        full += 1;
        agree += u64::from(crate::parity::xor_mismatch(blocks[0], &blocks[1..]).is_none());
    }
    if agree < FEW { 0.0 } else { agree as f64 / full as f64 }
}

/// Puts one hypothesis to the witnesses of its cast.
struct Judge<'a> {
    cast: &'a Cast<'a>,
    survey: &'a Survey,
}

impl Judge<'_> {
    fn candidates(&self, hypothesis: Hypothesis) -> Vec<Candidate> {
        let mut found = Vec::new();
        for volume in &self.cast.volumes {
            for offset in self.offsets(hypothesis, volume) {
                found.extend(self.candidate(hypothesis, offset, Some(volume)));
            }
        }
        if hypothesis.level == Level::Raid6
            && found.is_empty()
            && let Some(offset) = self.survey.known.data_start
        {
            found.extend(self.candidate(hypothesis, offset, None));
        }
        found
    }

    fn geometry(&self, hypothesis: Hypothesis, member_sectors: u64, at: u64) -> Option<Geometry> {
        let Hypothesis { level, layout, chunk_sectors, slots } = hypothesis;
        let shape = Shape { level, layout, raid_disks: slots, chunk_sectors, member_sectors };
        Geometry::new(shape, at)
    }

    /// The data offsets most anchors of a file system agree on.
    fn offsets(&self, hypothesis: Hypothesis, volume: &Volume) -> Vec<u64> {
        let Some(endless) = self.geometry(hypothesis, ENDLESS, 0) else { return Vec::new() };
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut places = Vec::new();
        for anchor in volume.anchors() {
            endless.places(anchor.address, &mut places);
            places.dedup_by_key(|(_, row)| *row);
            let offsets = places.iter().filter_map(|(_, row)| anchor.at.checked_sub(*row));
            for offset in offsets.filter(|offset| offset.is_multiple_of(SECTOR)) {
                *counts.entry(offset).or_insert(0) += 1;
            }
        }
        let mut offsets: Vec<(u64, u64)> = counts.into_iter().collect();
        offsets.sort_by_key(|(offset, count)| (std::cmp::Reverse(*count), *offset));
        offsets.truncate(MAX_OFFSETS);
        let offsets: Vec<u64> = offsets.into_iter().map(|(offset, _)| offset).collect();
        let sections = offsets.iter().flat_map(|start| self.before_far_section(hypothesis, *start));
        let sections: Vec<u64> = sections.collect();
        offsets.into_iter().chain(sections).collect()
    }

    /// Raid10 with far copies: what looks like the start of the array may be the start of its second
    /// section, where the member that held the first is missing. How far apart the two are depends
    /// on where data begins, so usual places are tried.
    fn before_far_section(&self, hypothesis: Hypothesis, start: u64) -> Vec<u64> {
        let far = u64::from(hypothesis.layout >> 8 & 0xff);
        let in_offset_form = hypothesis.layout >> 16 & 1 == 1;
        if hypothesis.level != Level::Raid10 || far < 2 || in_offset_form {
            return Vec::new();
        }
        let chunk = u64::from(hypothesis.chunk_sectors) * SECTOR;
        let fits = |offset: &u64| {
            let room = self.cast.len().saturating_sub(*offset);
            offset + room / chunk / far * chunk == start
        };
        (0..=USUAL_OFFSETS).map(|count| count * USUAL_STEP).filter(fits).collect()
    }

    fn candidate(
        &self,
        hypothesis: Hypothesis,
        offset: u64,
        volume: Option<&Volume>,
    ) -> Option<Candidate> {
        let room = self.cast.len().checked_sub(offset)? / SECTOR;
        let chunk = u64::from(hypothesis.chunk_sectors.max(1));
        let member_sectors = room / chunk * chunk;
        let geometry = self.geometry(hypothesis, member_sectors, offset)?;
        if volume.is_some_and(|fs| fs.bytes() > geometry.layout.array_sectors() * SECTOR) {
            return None;
        }
        let mut checks = Checks::default();
        match volume {
            Some(Volume::Ext4(fs)) => fs.walk(&geometry, &self.cast.devices, &mut checks),
            Some(Volume::Xfs(fs)) => fs.walk(&geometry, &self.cast.devices, &mut checks),
            None => {}
        }
        if geometry.level() == Level::Raid6 {
            self.ask_the_cells(&geometry, &mut checks);
        }
        let votes = checks.votes(geometry.slots(), self.cast.devices.len());
        let mut seats = votes.best();
        let twins = self.settle_twins(geometry.layout.shape(), &votes, &mut seats);
        let tally = checks.tally(&seats);
        if tally.score() <= 0 || self.is_raid0_in_disguise(hypothesis, &votes, &seats) {
            return None;
        }
        let (interchangeable, undecided) = self.undecided(&votes, &seats, twins);
        Some(Candidate {
            level: hypothesis.level,
            layout: hypothesis.layout,
            chunk_sectors: hypothesis.chunk_sectors,
            data_offset: offset / SECTOR,
            member_sectors,
            seats: seats.seats.iter().map(|seat| self.member(*seat)).collect(),
            interchangeable,
            undecided,
            evidence: Evidence {
                passed: tally.passed,
                failed: tally.failed,
                parity: None,
                filesystem: volume.map(filesystem),
                margin: margin(&votes, &seats),
            },
            score: tally.score(),
        })
    }

    /// An array whose parity stays in slots that nothing speaks for reads as a raid0, and is tried as
    /// one: slots without a member or, on raid6, with one that no cell knows as P or as Q.
    fn is_raid0_in_disguise(&self, hypothesis: Hypothesis, votes: &Votes, seats: &Seats) -> bool {
        let parity = match (hypothesis.level, hypothesis.layout) {
            (Level::Raid4, _) => 1,
            (Level::Raid6, 5) => 2,
            _ => return false,
        };
        let known = |slot: usize, device| parity == 1 || votes.get(slot, device) != 0;
        let slots = seats.seats.len();
        (slots - parity..slots).all(|slot| {
            let device = seats.seats[slot].filter(|device| self.member(Some(*device)).is_some());
            !device.is_some_and(|device| known(slot, device))
        })
    }

    fn member(&self, device: Option<usize>) -> Option<usize> {
        device.and_then(|device| self.cast.members[device])
    }

    /// Raid6: each cell says which member plays which part; the geometry says in which slot.
    fn ask_the_cells(&self, geometry: &Geometry, checks: &mut Checks) {
        let Layout::Parity(parity) = &geometry.layout else { return };
        let device = |member: usize| self.cast.members.iter().position(|one| *one == Some(member));
        for cell in &self.survey.cells {
            let (Reading::Syndrome(parts) | Reading::Partial(parts)) = &cell.reading else {
                continue;
            };
            let Some(roles) = geometry.roles_at(cell.at) else { continue };
            for (member, part) in parts.iter().enumerate() {
                let (Some(part), Some(device)) = (part, device(member)) else { continue };
                let slot = match part {
                    Part::P => Some(roles.p),
                    Part::Q => roles.q,
                    Part::Data(exponent) => (0..parity.data_members())
                        .find(|d| roles.exponent(*d) == *exponent)
                        .map(|d| roles.data_slot(d)),
                };
                match slot {
                    Some(slot) => checks.add(slot as usize, 1 << device, WEAK),
                    None => checks.stray(WEAK),
                }
            }
        }
    }

    /// Mirrors that differ here and there: the witnesses say which is current, and the other is
    /// better left out. Returns the pairs of slots they cannot say it of.
    fn settle_twins(&self, shape: &Shape, votes: &Votes, seats: &mut Seats) -> Vec<(usize, usize)> {
        let mut open = Vec::new();
        for twins in self
            .survey
            .known
            .twins
            .iter()
            .filter(|twins| twins.equal < twins.cells && twins.equal * 2 > twins.cells)
        {
            let device = |member| self.cast.members.iter().position(|one| *one == Some(member));
            let (Some(one), Some(other)) = (device(twins.pair.0), device(twins.pair.1)) else {
                continue;
            };
            let slot = |device| seats.seats.iter().position(|seat| *seat == Some(device));
            let (Some(a), Some(b)) = (slot(one), slot(other)) else { continue };
            if !are_mirrors(shape, a, b) {
                continue;
            }
            match votes.get(a, one).cmp(&votes.get(a, other)) {
                std::cmp::Ordering::Less => seats.seats[a] = None,
                std::cmp::Ordering::Greater => seats.seats[b] = None,
                std::cmp::Ordering::Equal => open.push((a, b)),
            }
        }
        open
    }

    /// Slots the votes cannot tell apart: mirrors of each other, or truly open.
    fn undecided(
        &self,
        votes: &Votes,
        seats: &Seats,
        differing: Vec<(usize, usize)>,
    ) -> (Vec<Vec<u32>>, Vec<Undecided>) {
        let slots = seats.seats.len();
        let mut group: Vec<usize> = (0..slots).collect();
        for a in 0..slots {
            for b in a + 1..slots {
                if votes.price_of_exchange(&seats.seats, a, b) == 0 {
                    let (from, to) = (group[b], group[a]);
                    group.iter_mut().filter(|one| **one == from).for_each(|one| *one = to);
                }
            }
        }
        let (mut interchangeable, mut undecided) = (Vec::new(), Vec::new());
        for name in 0..slots {
            let own: Vec<usize> = (0..slots).filter(|slot| group[*slot] == name).collect();
            let mut members: Vec<usize> =
                own.iter().filter_map(|slot| self.member(seats.seats[*slot])).collect();
            let idle = (0..self.cast.devices.len())
                .filter(|device| !seats.seats.contains(&Some(*device)))
                .filter(|device| {
                    own.iter().any(|slot| {
                        seats.seats[*slot].is_some()
                            && votes.price_of_replacing(&seats.seats, *slot, *device) == 0
                    })
                });
            let before = members.len();
            members.extend(idle.filter_map(|device| self.cast.members[device]));
            let fits_elsewhere = members.len() > before;
            let numbers: Vec<u32> = own.iter().map(|slot| *slot as u32).collect();
            let open = differing.iter().any(|(a, b)| own.contains(a) && own.contains(b));
            // An empty slot is nobody's twin.
            let full = before == own.len();
            if own.len() > 1 && full && !open && !fits_elsewhere && self.are_twins(&members) {
                interchangeable.push(numbers);
            } else if own.len() > 1 || fits_elsewhere {
                members.sort_unstable();
                undecided.push(Undecided { slots: numbers, members });
            }
        }
        (interchangeable, undecided)
    }

    fn are_twins(&self, members: &[usize]) -> bool {
        let twins = &self.survey.known.twins;
        members.windows(2).all(|pair| {
            let pair = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            twins.iter().any(|twins| twins.pair == pair && twins.equal == twins.cells)
        })
    }
}

/// Whether two slots hold the same, from end to end.
fn are_mirrors(shape: &Shape, a: usize, b: usize) -> bool {
    let (near, far) = ((shape.layout & 0xff) as usize, shape.layout >> 8 & 0xff);
    match shape.level {
        Level::Raid1 => true,
        Level::Raid10 => {
            far == 1 && (shape.raid_disks as usize).is_multiple_of(near) && a / near == b / near
        }
        _ => false,
    }
}

/// The least that an exchange of two members would cost, of those that cost anything.
fn margin(votes: &Votes, seats: &Seats) -> i64 {
    let slots = seats.seats.len();
    let pairs = (0..slots).flat_map(|a| (a + 1..slots).map(move |b| (a, b)));
    let prices = pairs.map(|(a, b)| votes.price_of_exchange(&seats.seats, a, b));
    // Where every exchange is one of mirrors, nothing can be lost but all.
    prices.filter(|price| *price > 0).min().unwrap_or(seats.total)
}

fn filesystem(volume: &Volume) -> Filesystem {
    Filesystem { name: volume.name(), bytes: volume.bytes() }
}

/// Best first. Of equals, what mdadm makes by default comes first, then the whole before the
/// degraded and the small chunk before the large; none of that makes them less equal.
fn rank(candidates: &mut Vec<Candidate>) {
    candidates.sort_by_key(|one| {
        let usual = one.layout == names::default(one.level);
        (std::cmp::Reverse(one.score), !usual, one.missing(), one.chunk_sectors, one.layout)
    });
    let mut kept: Vec<Candidate> = Vec::new();
    for one in candidates.drain(..) {
        let key = |one: &Candidate| {
            let shape = (one.level, one.layout, one.chunk_sectors, one.data_offset);
            (shape, one.seats.clone())
        };
        if !kept.iter().any(|other| key(other) == key(&one)) && kept.len() < MAX_CANDIDATES {
            kept.push(one);
        }
    }
    *candidates = kept;
}

/// In how many of the sampled cells the candidate's redundancy holds.
fn parity_of(candidate: &Candidate, members: &[&[u8]], survey: &Survey) -> Option<(u64, u64)> {
    let reader = Reader::new(candidate, members).ok()?;
    let (mut agree, mut known) = (0, 0);
    for answer in survey.cells.iter().filter_map(|cell| reader.agrees_at(cell.at, CELL)) {
        known += 1;
        agree += u64::from(answer);
    }
    (known > 0).then_some((agree, known))
}
