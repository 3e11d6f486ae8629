//! The ARP and NS monitor of active-backup.
//!
//! Every `arp_interval`, first a judgement:
//!
//! ```text
//!   active   Up ──► Down   not heard (or nothing sent) for missed_max + ½ intervals
//!   backup   Up ──► Down   not heard for missed_max + 1½ intervals, and no search is on
//!   any   not Up ──► Up    heard within 1½ intervals
//!   tried  Back ──► Fail   was tried for an interval in vain
//! ```
//!
//! Nobody is judged down within 2½ intervals of joining or of becoming active. Then the active
//! member asks the targets; if there is none, the next member in turn is tried: it becomes a party
//! to traffic and asks for one interval.

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, LinkReason};
use crate::member::{LinkState, Member};
use crate::stamp::Stamp;

impl<D: Defects> Bond<D> {
    /// One beat.
    pub(crate) fn beat_of_backup(&mut self) {
        self.update_damping();
        let judged: Vec<_> = (0..self.members.len())
            .filter_map(|index| self.judge(&self.members[index]).map(|(to, why)| (index, to, why)))
            .collect();
        if !judged.is_empty() {
            self.commit_judgement(&judged);
        }
        self.probe_or_search();
    }

    fn judge(&self, member: &Member) -> Option<(LinkState, LinkReason)> {
        let heard = self.heard(member);
        if member.state != LinkState::Up {
            let kept_out = member.penalty.out && self.active.is_some();
            if self.lately(heard, 1) && !kept_out {
                return Some((LinkState::Up, LinkReason::Heard));
            }
            let tried = member.state == LinkState::Back;
            return tried.then_some((LinkState::Fail, LinkReason::TriedInVain));
        }
        if self.lately(member.last_link_up, 2) {
            return None;
        }
        let mut missed = u32::from(self.options.arp_missed_max);
        if self.defects.has(Defect::ThresholdOffByOne) {
            missed += 1;
        }
        if member.backup {
            let lost = self.tried.is_none() && !self.lately(heard, missed + 1);
            return lost.then_some((LinkState::Down, LinkReason::Silent));
        }
        if !self.lately(heard, missed) {
            return Some((LinkState::Down, LinkReason::Silent));
        }
        let stuck = !self.lately(member.last_tx, missed);
        stuck.then_some((LinkState::Down, LinkReason::NotSending))
    }

    fn commit_judgement(&mut self, judged: &[(usize, LinkState, LinkReason)]) {
        let mut failover = None;
        for &(index, to, why) in judged {
            match to {
                LinkState::Up => {
                    if self.heard_again(index, why) {
                        failover = Some(ActiveReason::LinkBack);
                    }
                }
                LinkState::Down => {
                    if self.fallen_silent(index, why) {
                        self.tried = None;
                        failover = Some(ActiveReason::LinkFailed);
                    }
                }
                LinkState::Fail | LinkState::Back => {
                    self.set_state(index, to, why);
                    self.set_inactive(index);
                    if self.active.is_some() {
                        self.tried = None;
                    }
                }
            }
        }
        if let Some(why) = failover {
            self.select(why);
        }
        self.update_carrier();
    }

    /// Says whether that calls for another active member.
    fn heard_again(&mut self, index: usize, why: LinkReason) -> bool {
        if self.active == Some(self.members[index].id) {
            return false;
        }
        self.set_state(index, LinkState::Up, why);
        if let Some(tried) = self.tried.take().and_then(|tried| self.index(tried)) {
            self.set_inactive(tried);
        }
        self.calls_for_selection(index)
    }

    /// Says whether it was the active member.
    fn fallen_silent(&mut self, index: usize, why: LinkReason) -> bool {
        self.members[index].failures = self.members[index].failures.saturating_add(1);
        self.penalize(index);
        self.set_state(index, LinkState::Down, why);
        self.set_inactive(index);
        self.active == Some(self.members[index].id)
    }

    fn probe_or_search(&mut self) {
        if self.options.probe_all {
            for index in 0..self.members.len() {
                let backup = self.members[index].backup && self.members[index].link.carrier;
                if backup {
                    self.probe_as_port(index);
                }
            }
        }
        match self.active.and_then(|active| self.index(active)) {
            Some(active) => self.probe_as_bond(active),
            None => self.search(),
        }
    }

    /// Nobody is active: the next member with carrier is tried, in order of joining, after the one
    /// that was tried last.
    fn search(&mut self) {
        let count = self.members.len();
        let last = self.tried.and_then(|tried| self.index(tried)).unwrap_or(0);
        for index in 0..count {
            // Everybody failed at once: one that was not taken into service is still marked up.
            let member = &self.members[index];
            if !member.link.carrier && member.state == LinkState::Up {
                self.fallen_silent(index, LinkReason::NoCarrier);
            }
        }
        let next = (1..=count)
            .map(|step| (last + step) % count)
            .find(|&index| self.members[index].link.carrier);
        let Some(next) = next else { return };
        self.set_state(next, LinkState::Back, LinkReason::Tried);
        self.set_active_flags(next);
        self.probe_as_bond(next);
        self.members[next].last_link_up = Stamp::at(self.now);
        self.tried = Some(self.members[next].id);
    }
}
