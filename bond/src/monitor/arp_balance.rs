//! The ARP and NS monitor of balance-rr, balance-xor and broadcast.
//!
//! Every member is judged by what it sent and what it received, and every member asks: a member is
//! up when both were within 1½ intervals, and down when either is older than missed_max + ½.

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, LinkReason};
use crate::member::{LinkState, Member};

impl<D: Defects> Bond<D> {
    /// One beat.
    pub(crate) fn beat_of_balance(&mut self) {
        let before = self.active;
        let mut judged = Vec::new();
        for index in 0..self.members.len() {
            if let Some((to, why)) = self.judge_balance(&self.members[index]) {
                judged.push((index, to, why));
            }
            if self.members[index].link.carrier {
                self.probe_as_bond(index);
            }
        }
        if judged.is_empty() {
            return;
        }
        for &(index, to, why) in &judged {
            self.set_state(index, to, why);
            let member = &mut self.members[index];
            member.backup = to == LinkState::Down;
            if to == LinkState::Down {
                member.failures = member.failures.saturating_add(1);
            }
        }
        self.update_usable();
        let lost = |&(index, to, _): &(usize, LinkState, LinkReason)| {
            to == LinkState::Down && before == Some(self.members[index].id)
        };
        if judged.iter().any(lost) {
            self.select(ActiveReason::LinkFailed);
        } else if before.is_none() {
            self.select(ActiveReason::LinkBack);
        }
        self.update_carrier();
    }

    fn judge_balance(&self, member: &Member) -> Option<(LinkState, LinkReason)> {
        let (sent, received) = (member.last_tx, member.last_rx);
        if member.state != LinkState::Up {
            let both = self.lately(sent, 1) && self.lately(received, 1);
            return both.then_some((LinkState::Up, LinkReason::Heard));
        }
        let mut missed = u32::from(self.options.arp_missed_max);
        if self.defects.has(Defect::ThresholdOffByOne) {
            missed += 1;
        }
        if !self.lately(received, missed) {
            return Some((LinkState::Down, LinkReason::Silent));
        }
        let stuck = !self.lately(sent, missed);
        stuck.then_some((LinkState::Down, LinkReason::NotSending))
    }
}
