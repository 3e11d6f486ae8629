//! Carrying out the partial parity logs that an unclean stop has left, before anything else is done.
//!
//! Parity of what was in flight is made anew from what has arrived; see [`crate::ppl`]. An array that
//! must not be written keeps the new parity in memory and puts it in the place of what is read.

use std::collections::VecDeque;
use std::ops::Range;

use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Buf;
use holdfast_core::size::SECTOR_BYTES;

use super::leg::Owner;
use super::{Array, Defects, State};
use crate::event::{Event, FailReason};
use crate::parity;
use crate::ppl::Step;

/// What is left of the logs.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    todo: VecDeque<Step>,
    doing: Option<Doing>,
    /// The superblocks may call the array clean when all is done.
    settles: bool,
    /// In an array that is not written: device sectors, and what they hold in truth.
    patches: Vec<(usize, Range<u64>, Buf)>,
}

/// A step under way.
#[derive(Debug)]
struct Doing {
    step: Step,
    blocks: Vec<Buf>,
    left: u32,
    fault: Option<Fault>,
}

impl Replay {
    pub(super) fn new(steps: Vec<Step>, settles: bool) -> Self {
        Self { todo: steps.into(), settles, ..Self::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.todo.is_empty() && self.doing.is_none() && !self.settles
    }
}

impl Step {
    /// Its two halves, in whole units of so many sectors; none if it is a single one.
    fn halves(&self, unit: u64) -> Option<[Self; 2]> {
        let half = self.row.sectors / 2 / unit * unit;
        (half > 0).then(|| {
            let (mut front, mut back) = (self.clone(), self.clone());
            front.row.sectors = half;
            back.row.sector += half;
            back.row.sectors -= half;
            if let (Some(front), Some(back)) = (&mut front.partial, &mut back.partial) {
                *back = front.split_off(half as usize * 512);
            }
            [front, back]
        })
    }
}

impl<X: Defects> Array<X> {
    /// Goes on with the logs; true when there is nothing left of them.
    pub(super) fn step_replay(&mut self) -> bool {
        while !self.replay.is_over() && self.replay.doing.is_none() {
            match self.replay.todo.pop_front() {
                Some(step) => self.begin_step(step),
                None => {
                    // What has been made good is durable before the superblocks say so.
                    self.replay.settles = false;
                    self.meta.request();
                }
            }
        }
        self.replay.is_over()
    }

    fn begin_step(&mut self, step: Step) {
        let row = &step.row;
        let (first, end) = (row.sector, row.sector + row.sectors);
        let takes = self.member_on(row.parity_slot).is_some_and(|member| {
            match self.members[member].state {
                State::InSync { .. } => true,
                State::Rebuilding { done, .. } => done >= end,
                _ => false,
            }
        });
        if !takes {
            return;
        }
        let readable = |slot: &u32| {
            self.member_on(*slot).filter(|&m| self.members[m].can_read(first, row.sectors))
        };
        let Some(members) = row.read.iter().map(readable).collect::<Option<Vec<usize>>>() else {
            // What was being written to it is lost there either way, but not all of the row need be.
            return self.halve(step);
        };
        let bytes = Self::bytes_of(row.sectors);
        let left = members.len() as u32;
        self.replay.doing = Some(Doing { step, blocks: Vec::new(), left, fault: None });
        for member in members {
            let at = self.members[member].data_offset() + first;
            self.issue(member, at, Op::Read(Buf::zeroed(bytes)), Owner::Replay);
        }
    }

    /// Tries the halves of a step by themselves. A block that cannot be made good stays as it is.
    fn halve(&mut self, step: Step) {
        let unit = u64::from(self.identity.block_bytes) / SECTOR_BYTES;
        if let Some([front, back]) = step.halves(unit) {
            self.replay.todo.push_front(back);
            self.replay.todo.push_front(front);
        }
    }

    pub(super) fn replay_answered(&mut self, member: usize, op: Op, result: Result<(), Fault>) {
        let Some(doing) = &mut self.replay.doing else { unreachable!("a step asked") };
        match op {
            Op::Read(block) => {
                doing.left -= 1;
                match result {
                    Ok(()) => doing.blocks.push(block),
                    Err(fault) => {
                        doing.fault.get_or_insert(fault);
                    }
                }
                let last = doing.left == 0;
                if let Err(fault) = result
                    && !matches!(fault, Fault::Medium | Fault::Corrupt | Fault::Full)
                {
                    self.fail(member, FailReason::Read(fault));
                }
                if last {
                    self.step_is_read();
                }
            }
            _ => self.step_is_written(member, result),
        }
    }

    fn step_is_read(&mut self) {
        let doing = self.replay.doing.as_mut().expect("a step asked");
        if doing.fault.is_some() {
            let Doing { step, .. } = self.replay.doing.take().expect("just seen");
            return self.halve(step);
        }
        let row = doing.step.row.clone();
        let mut new = Buf::zeroed(Self::bytes_of(row.sectors));
        let blocks: Vec<&[u8]> = doing
            .blocks
            .iter()
            .map(|block| &**block)
            .chain(doing.step.partial.as_deref())
            .collect();
        parity::xor(&mut new, &blocks);
        let Some(member) = self.member_on(row.parity_slot) else {
            self.replay.doing = None;
            return;
        };
        let at = self.members[member].data_offset() + row.sector;
        if self.config.read_only {
            self.replay.patches.push((member, at..at + row.sectors, new));
            self.replay.doing = None;
            return;
        }
        self.issue(member, at, Op::Write(new.into(), Durability::Cached), Owner::Replay);
    }

    fn step_is_written(&mut self, member: usize, result: Result<(), Fault>) {
        let Doing { step, .. } = self.replay.doing.take().expect("a step asked");
        let (first, sectors) = (step.row.sector, step.row.sectors);
        let at = self.members[member].data_offset() + first;
        match result {
            Ok(()) => self.mended(member, at, sectors),
            Err(Fault::Medium | Fault::Corrupt) if sectors > 1 => self.halve(step),
            Err(fault) => {
                // Parity that stays as it is must not stand in for data.
                let told = match fault {
                    Fault::Medium | Fault::Corrupt => self.record_bad(member, at..at + sectors),
                    Fault::Full => {
                        self.events.push_back(Event::NoSpace { member, sector: at, sectors });
                        self.record_missed(member, at..at + sectors, fault)
                    }
                    _ => false,
                };
                if !told && (fault == Fault::Full || !self.fail(member, FailReason::Write(fault))) {
                    self.distrust_parity(first, first + sectors);
                    self.stain(first, first + sectors);
                }
            }
        }
    }

    /// What a member holds in truth, if the array may not make it so.
    pub(super) fn patched(&self, member: usize, sector: u64, mut data: Buf) -> Buf {
        let end = sector + data.len() as u64 / 512;
        for (_, range, truth) in self.replay.patches.iter().filter(|(m, ..)| *m == member) {
            let (from, until) = (range.start.max(sector), range.end.min(end));
            if from < until {
                let bytes = Self::bytes_of(from - range.start)..Self::bytes_of(until - range.start);
                data.put(Self::bytes_of(from - sector), &truth[bytes]);
            }
        }
        data
    }
}
