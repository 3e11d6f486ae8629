//! Several members disagree: which of them are current?
//!
//! Members are written one after another, and a failed one is not written any more. So at assembly
//! copies differ, and the array is what the *freshest* one says: the highest `events` among members
//! that are not spares.
//!
//! Words. *Stale*: two or more events behind; its content may miss writes. One event behind is the
//! trace of an interrupted update and harmless, but such a member may have missed the very update
//! that expelled it, so its role comes from the freshest table. *Disowned*: another member's table
//! does not hold it in the slot it claims. *Split history*: two members disown each other; both went
//! on alone, each holds writes the other lacks, and no merging is right. *Stranger*: another array,
//! or one made again under the same uuid.
//!
//! Always true: no two verdicts put a member in sync into the same slot; a member that anyone
//! equally fresh has disowned is never in sync; without `force` nothing stale is used.
//!
//! Sources: Linux `md.c` (`super_1_load`, `super_1_validate`), mdadm `Assemble.c` (`force_array`),
//! `super1.c` (`compare_super1`).

use super::block::Superblock;
use super::geometry::enough;
use super::role::Role;
use super::uuid::Uuid;
use super::verdict::{ChooseError, Stranger, Verdict};

/// Who is current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The candidate whose superblock speaks for the array.
    pub freshest: usize,
    /// One verdict per candidate, in their order.
    pub verdicts: Vec<Verdict>,
    /// Whether the members that serve data suffice to start.
    pub enough: bool,
}

/// Candidates by array: indices that share a uuid, in order of first appearance.
pub fn group(candidates: &[Superblock]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let same = |group: &&mut Vec<usize>| candidates[group[0]].set_uuid == candidate.set_uuid;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Decides about every candidate. The first one names the array, as in mdadm: candidates of other
/// arrays are strangers; use [`group`] first when the bag is mixed.
///
/// `force` takes as many of the best out-of-date members as are needed to start, if that is enough
/// at all.
pub fn choose(candidates: &[Superblock], force: bool) -> Result<Choice, ChooseError> {
    let array = candidates.first().ok_or(ChooseError::Empty)?.set_uuid;
    let top = top_candidates(candidates, array)?;
    let freshest = freshest_of(candidates, &top)?;
    let table = Table { candidates, freshest, top };
    let mut verdicts: Vec<Verdict> =
        (0..candidates.len()).map(|index| table.judge(index)).collect();
    table.drop_duplicates(&mut verdicts);
    if force {
        table.take_stale(&mut verdicts);
    }
    let enough = table.is_enough(&verdicts);
    Ok(Choice { freshest, verdicts, enough })
}

/// Candidates that can speak for the array at its highest event count. A later `ctime` beats
/// events: the array was created anew over older members.
fn top_candidates(candidates: &[Superblock], array: Uuid) -> Result<Vec<usize>, ChooseError> {
    let speaks = |member: &Superblock| {
        member.set_uuid == array && matches!(member.role(), Role::Active(_) | Role::Journal)
    };
    let age = |member: &Superblock| (member.ctime, member.events);
    let speakers = || (0..candidates.len()).filter(|index| speaks(&candidates[*index]));
    let best = speakers()
        .map(|index| age(&candidates[index]))
        .max()
        .ok_or(ChooseError::NoMembers(array))?;
    Ok(speakers().filter(|index| age(&candidates[*index]) == best).collect())
}

/// Of equally fresh members, the first that none of the others disowns.
fn freshest_of(candidates: &[Superblock], top: &[usize]) -> Result<usize, ChooseError> {
    let split = |first: usize, second: usize| {
        let events = candidates[first].events;
        let (first, second) = (first.min(second), first.max(second));
        ChooseError::SplitHistory { first, second, events }
    };
    let disowns = |one: usize, other: usize| disowns(&candidates[one], &candidates[other]);
    let mut freshest = None;
    for one in top {
        let enemies: Vec<usize> =
            top.iter().copied().filter(|other| disowns(*other, *one)).collect();
        if let Some(other) = enemies.iter().find(|other| disowns(*one, **other)) {
            return Err(split(*one, *other));
        }
        if enemies.is_empty() {
            freshest = freshest.or(Some(*one));
        }
    }
    // Disowned all around, in a ring: nobody is beyond doubt.
    freshest.ok_or_else(|| split(top[0], *top.get(1).unwrap_or(&top[0])))
}

/// Whether `one`'s table refuses `other` the slot it claims. Copies of one device do not count.
fn disowns(one: &Superblock, other: &Superblock) -> bool {
    let claims_slot = other.role().slot().is_some();
    claims_slot
        && one.device_uuid != other.device_uuid
        && one.role_of(other.dev_number) != other.role()
}

/// Whether `one`'s table has nobody in `other`'s slot.
fn lost(one: &Superblock, other: &Superblock) -> bool {
    other.role().slot().is_some() && !one.roles.contains(&other.role())
}

impl Superblock {
    /// What a candidate's array-wide facts differ in from those of the array, if anything.
    pub fn differs_from(&self, array: &Self) -> Option<Stranger> {
        let member = self;
        let differences = [
            (member.set_uuid != array.set_uuid, Stranger::Array(member.set_uuid)),
            (member.ctime != array.ctime, Stranger::Ctime(member.ctime, array.ctime)),
            (
                member.level_number != array.level_number,
                Stranger::Level(member.level_number, array.level_number),
            ),
            (member.layout != array.layout, Stranger::Layout(member.layout, array.layout)),
            (
                member.chunk_sectors != array.chunk_sectors,
                Stranger::Chunk(member.chunk_sectors, array.chunk_sectors),
            ),
            (member.size != array.size, Stranger::Size(member.size, array.size)),
            (
                member.raid_disks != array.raid_disks,
                Stranger::RaidDisks(member.raid_disks, array.raid_disks),
            ),
        ];
        differences.into_iter().find(|(differs, _)| *differs).map(|(_, why)| why)
    }
}

/// The candidates and who leads them.
struct Table<'a> {
    candidates: &'a [Superblock],
    freshest: usize,
    top: Vec<usize>,
}

impl Table<'_> {
    fn array(&self) -> &Superblock {
        &self.candidates[self.freshest]
    }

    fn behind(&self, member: &Superblock) -> u64 {
        self.array().events.saturating_sub(member.events)
    }

    /// Slots in use: a shrinking array still has its old ones.
    fn slots(&self) -> u32 {
        let shrinking = self.array().reshape.map_or(0, |reshape| reshape.delta_disks.min(0));
        self.array().raid_disks.saturating_add(shrinking.unsigned_abs())
    }

    /// The verdict on one candidate as if it were alone with the freshest.
    fn judge(&self, index: usize) -> Verdict {
        let (member, array) = (&self.candidates[index], self.array());
        if let Some(why) = member.differs_from(array) {
            return Verdict::Stranger(why);
        }
        let listed = array.role_of(member.dev_number);
        match member.role() {
            Role::Faulty => Verdict::Faulty,
            Role::Reserved(_) => Verdict::Stranger(Stranger::Role(member.role(), listed)),
            Role::Journal => self.judge_journal(member, listed),
            Role::Spare => self.judge_spare(member, listed),
            Role::Active(slot) => self.judge_active(index, slot, listed),
        }
    }

    fn judge_journal(&self, member: &Superblock, listed: Role) -> Verdict {
        match (self.behind(member), listed) {
            (behind @ 2.., _) => Verdict::Stale { slot: None, events: member.events, behind },
            (_, Role::Journal) => Verdict::Journal,
            (_, Role::Faulty | Role::Spare) => Verdict::Faulty,
            (_, other) => Verdict::Stranger(Stranger::Role(member.role(), other)),
        }
    }

    /// Spares are not written with every update, so their events say nothing.
    fn judge_spare(&self, member: &Superblock, listed: Role) -> Verdict {
        match listed {
            Role::Faulty => Verdict::Faulty,
            // It missed the update that put it to work: nothing has been rebuilt yet.
            Role::Active(slot) if self.behind(member) < 2 && u32::from(slot) < self.slots() => {
                Verdict::Rebuilding { slot, recovered_sectors: 0 }
            }
            _ => Verdict::Spare,
        }
    }

    fn judge_active(&self, index: usize, claimed: u16, listed: Role) -> Verdict {
        let (member, array) = (&self.candidates[index], self.array());
        let (events, behind) = (member.events, self.behind(member));
        if behind > 0 && disowns(array, member) && lost(member, array) {
            return Verdict::Diverged { slot: claimed, events, behind };
        }
        if behind > 1 {
            return Verdict::Stale { slot: Some(claimed), events, behind };
        }
        let expelled = |top: &usize| disowns(&self.candidates[*top], member);
        let Role::Active(slot) = listed else {
            return Verdict::DeclaredFaulty { slot: claimed };
        };
        if u32::from(slot) >= self.slots() {
            return Verdict::Stranger(Stranger::Slot(slot, self.slots()));
        }
        if slot != claimed || behind == 0 && self.top.iter().any(expelled) {
            return Verdict::DeclaredFaulty { slot: claimed };
        }
        let recovered = member.recovery_offset.map(|_| member.recovered_sectors());
        match (member.replacement, recovered) {
            (true, recovered_sectors) => Verdict::Replacement { slot, recovered_sectors },
            (false, Some(recovered_sectors)) => Verdict::Rebuilding { slot, recovered_sectors },
            (false, None) => Verdict::InSync { slot },
        }
    }

    /// Keeps one candidate per device, and one per slot and kind.
    fn drop_duplicates(&self, verdicts: &mut [Verdict]) {
        let mut order: Vec<usize> = (0..verdicts.len()).collect();
        order.sort_by_key(|index| {
            let serves = verdicts[*index].serving_slot().is_some();
            (*index != self.freshest, !serves, std::cmp::Reverse(self.candidates[*index].events))
        });
        for position in 0..order.len() {
            let index = order[position];
            let earlier = &order[..position];
            let taken = earlier.iter().find(|other| self.same_place(verdicts, index, **other));
            if let Some(of) = taken {
                verdicts[index] = Verdict::Duplicate { of: *of };
            }
        }
    }

    /// Whether two candidates claim to be the same device, to have the same number, or to be the same
    /// thing in the same slot.
    fn same_place(&self, verdicts: &[Verdict], one: usize, other: usize) -> bool {
        let counts = |index: usize| {
            !matches!(verdicts[index], Verdict::Stranger(_) | Verdict::Duplicate { .. })
        };
        if !counts(one) || !counts(other) {
            return false;
        }
        let (a, b) = (&self.candidates[one], &self.candidates[other]);
        // A number is given anew when its device is gone. Were that to come back as a spare, each would
        // be told what the other is (`md.c bind_rdev_to_array` refuses the second).
        let belongs = |index: usize| {
            matches!(verdicts[index], Verdict::Spare) || place(&verdicts[index]).is_some()
        };
        a.device_uuid == b.device_uuid
            || a.dev_number == b.dev_number && belongs(one) && belongs(other)
            || matches!((place(&verdicts[one]), place(&verdicts[other])), (Some(a), Some(b)) if a == b)
    }

    fn present(&self, verdicts: &[Verdict]) -> Vec<bool> {
        let mut present = vec![false; self.slots() as usize];
        for slot in verdicts.iter().filter_map(Verdict::serving_slot) {
            present[usize::from(slot)] = true;
        }
        present
    }

    fn is_enough(&self, verdicts: &[Verdict]) -> bool {
        let array = self.array();
        array.level().is_some_and(|level| enough(level, array.layout, &self.present(verdicts)))
    }

    /// Takes the best out-of-date members until the array can start; none if it never can.
    fn take_stale(&self, verdicts: &mut Vec<Verdict>) {
        let mut forced = verdicts.clone();
        while !self.is_enough(&forced) {
            let present = self.present(&forced);
            let vacant = |slot: &u16| present.get(usize::from(*slot)) == Some(&false);
            let best = (0..forced.len())
                .filter(|index| self.forcible(*index, &forced[*index]).as_ref().is_some_and(vacant))
                .max_by_key(|index| (self.candidates[*index].events, std::cmp::Reverse(*index)));
            let Some(index) = best else { return };
            let member = &self.candidates[index];
            let (events, behind) = (member.events, self.behind(member));
            let slot = member.role().slot().unwrap_or_default();
            forced[index] = Verdict::Forced { slot, events, behind };
        }
        *verdicts = forced;
    }

    /// The slot an out-of-date member could serve: it must have been complete when it left.
    fn forcible(&self, index: usize, verdict: &Verdict) -> Option<u16> {
        let complete = self.candidates[index].recovery_offset.is_none();
        match verdict {
            Verdict::Stale { slot: Some(slot), .. } | Verdict::DeclaredFaulty { slot } => {
                complete.then_some(*slot)
            }
            _ => None,
        }
    }
}

/// Slot, and whether as a replacement: an original and its replacement may share one.
fn place(verdict: &Verdict) -> Option<(u16, bool)> {
    match verdict {
        Verdict::InSync { slot } | Verdict::Rebuilding { slot, .. } => Some((*slot, false)),
        Verdict::Replacement { slot, .. } => Some((*slot, true)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
