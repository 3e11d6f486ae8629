//! Makes a failing script small while it still fails for the same reason.
//!
//! The script is shrunk, not the seed: lines go (halves first, then smaller and smaller runs, then
//! single ones), then pauses, request sizes and fuses become smaller, then the array. A step is
//! kept only if the *same oracle* is violated, so a lost write does not turn into some other
//! failure on the way.

use holdfast_raid::integrity::Scheme;
use holdfast_raid::{Defects, Sound};

use crate::run::{Oracle, run_with};
use crate::script::{Act, Pace, Script};

/// Shrinks a failing script with at most `budget` runs; one that does not fail stays as it is.
pub fn shrink(script: &Script, budget: u32) -> Script {
    shrink_with(script, Sound, budget)
}

/// Shrinks a script that fails against an engine with planted defects.
pub fn shrink_with<X: Defects>(script: &Script, defects: X, budget: u32) -> Script {
    let Some(violation) = run_with(script, defects).violation else {
        return script.clone();
    };
    let best = script.clone();
    let mut shrinking = Shrinking { best, defects, oracle: violation.oracle, budget };
    // What comes after the line that failed cannot matter, unless it is a fault yet to come.
    let mut front = script.clone();
    front.lines.truncate(violation.line + 1);
    shrinking.consider(front);
    loop {
        let before = shrinking.best.clone();
        shrinking.drop_lines();
        shrinking.simplify_lines();
        shrinking.simplify_world();
        if shrinking.best == before || shrinking.budget == 0 {
            return shrinking.best;
        }
    }
}

struct Shrinking<X> {
    best: Script,
    defects: X,
    oracle: Oracle,
    budget: u32,
}

impl<X: Defects> Shrinking<X> {
    /// Takes a smaller script if it fails in the same way.
    fn consider(&mut self, script: Script) -> bool {
        if self.budget == 0 || script == self.best {
            return false;
        }
        self.budget -= 1;
        let found = run_with(&script, self.defects).violation;
        let same = found.is_some_and(|found| found.oracle == self.oracle);
        if same {
            self.best = script;
        }
        same
    }

    fn drop_lines(&mut self) {
        let mut run = self.best.lines.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            while at < self.best.lines.len() {
                let mut smaller = self.best.clone();
                let end = (at + run).min(smaller.lines.len());
                smaller.lines.drain(at..end);
                if !self.consider(smaller) {
                    at += run;
                }
            }
            run /= 2;
        }
    }

    fn simplify_lines(&mut self) {
        for at in 0..self.best.lines.len() {
            self.change_line(at, |line| line.after_us = 0);
            while self.best.lines[at].after_us > 1 && self.change_line(at, |l| l.after_us /= 2) {}
            self.change_line(at, |line| smallest(&mut line.act));
            while self.change_line(at, |line| smaller(&mut line.act)) {}
        }
    }

    fn change_line(&mut self, at: usize, change: impl Fn(&mut crate::script::Line)) -> bool {
        let mut smaller = self.best.clone();
        change(&mut smaller.lines[at]);
        self.consider(smaller)
    }

    fn simplify_world(&mut self) {
        let change: [fn(&mut Script); 11] = [
            |s| s.setup.integrity = Scheme::None,
            |s| s.setup.spares = 0,
            |s| s.setup.bitmap = 0,
            |s| s.setup.ppl = false,
            |s| s.setup.synced = true,
            |s| s.setup.members = s.setup.members.saturating_sub(1).max(2),
            |s| s.setup.disk_sectors = (s.setup.disk_sectors / 2).max(128),
            |s| s.setup.chunk_sectors = s.setup.chunk_sectors.min(8),
            |s| s.weather.deadline_ms = 0,
            |s| s.weather.pace = Pace::default(),
            |s| (s.weather.latency.least, s.weather.latency.most) = (1, 1),
        ];
        for change in change {
            let mut smaller = self.best.clone();
            change(&mut smaller);
            self.consider(smaller);
        }
    }
}

pub(crate) fn smallest(act: &mut Act) {
    match act {
        Act::Write { sectors, fua, .. } => (*sectors, *fua) = (1, false),
        Act::Read { sectors, .. }
        | Act::Zero { sectors, .. }
        | Act::Discard { sectors, .. }
        | Act::Latent { sectors, .. }
        | Act::Dead { sectors, .. }
        | Act::Corrupt { sectors, .. } => *sectors = 1,
        Act::Cut { steps, .. } => *steps = 1,
        _ => {}
    }
}

pub(crate) fn smaller(act: &mut Act) {
    match act {
        Act::Write { sectors, .. }
        | Act::Read { sectors, .. }
        | Act::Zero { sectors, .. }
        | Act::Discard { sectors, .. }
        | Act::Latent { sectors, .. }
        | Act::Dead { sectors, .. }
        | Act::Corrupt { sectors, .. } => *sectors = (*sectors / 2).max(1),
        Act::Cut { steps, .. } => *steps = (*steps / 2).max(1),
        Act::Slow { times, .. } => *times = (*times / 2).max(1),
        _ => {}
    }
}
