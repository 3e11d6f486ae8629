//! Which member is the active one, and what a change of it entails.

use holdfast_core::net::Duplex;

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, LinkReason, What};
use crate::member::{LinkState, Member, MemberId};
use crate::options::{Mode, Reselect};
use crate::output::Action;
use crate::stamp::Stamp;

impl<D: Defects> Bond<D> {
    /// The primary, if it is a member and the mode knows one.
    pub(crate) fn primary(&self) -> Option<&Member> {
        let name = self.options.primary.as_ref().filter(|_| self.options.mode.has_active())?;
        self.members.iter().find(|member| member.name == *name)
    }

    /// Who should be active now.
    pub(crate) fn best(&mut self) -> Option<MemberId> {
        if let Some(chosen) = self.preferred_or_current() {
            return Some(chosen);
        }
        // Nobody is up: whoever has waited longest of its updelay is the best there is.
        let mut best = None;
        let mut least = self.options.updelay_ticks();
        for member in &self.members {
            if member.state == LinkState::Up {
                return Some(member.id);
            }
            if member.state == LinkState::Back && member.link.carrier && member.delay < least {
                least = member.delay;
                best = Some(member.id);
            }
        }
        best
    }

    fn preferred_or_current(&mut self) -> Option<MemberId> {
        let up = |member: &&Member| member.state == LinkState::Up;
        let primary = self.primary().filter(up).map(|member| member.id);
        let current = self.active.and_then(|active| self.member(active)).filter(up);
        let candidate = match primary {
            Some(primary) => {
                if std::mem::take(&mut self.force_primary) {
                    return Some(primary);
                }
                self.member(primary)?
            }
            None => {
                // The first of those with the highest priority.
                let higher = |best: &'_ &Member, next: &&Member| next.prio > best.prio;
                let best = self.members.iter().filter(up).fold(None, |best, next| match best {
                    Some(best) if !higher(&best, &next) => Some(best),
                    _ => Some(next),
                });
                match (best, current) {
                    (Some(best), current) if current.is_none_or(|now| now.id != best.id) => best,
                    (_, current) => return current.map(|member| member.id),
                }
            }
        };
        let current = self.active.and_then(|active| self.member(active)).filter(up);
        let chosen = match (current, self.options.primary_reselect) {
            (None, _) | (_, Reselect::Always) => candidate,
            (Some(current), Reselect::Better) => {
                if better(candidate, current) {
                    candidate
                } else {
                    current
                }
            }
            (Some(current), Reselect::Failure) => current,
        };
        Some(chosen.id)
    }

    /// Makes `new` the active member.
    pub(crate) fn change_active(&mut self, new: Option<MemberId>, why: ActiveReason) {
        let old = self.active;
        if old == new {
            return;
        }
        let (now, mode) = (self.now, self.options.mode);
        if let Some(index) = new.and_then(|new| self.index(new)) {
            self.members[index].last_link_up = Stamp::at(now);
            if self.members[index].state == LinkState::Back {
                self.members[index].delay = 0;
                self.set_state(index, LinkState::Up, LinkReason::MadeActive);
            }
        }
        self.active = new;
        if mode.has_active() {
            self.emit(What::Active { from: old, to: new, why });
            if let Some(index) = old.and_then(|old| self.index(old))
                && !self.defects.has(Defect::BothActive)
            {
                self.set_inactive(index);
            }
            if let Some(index) = new.and_then(|new| self.index(new)) {
                self.set_active_flags(index);
            }
            self.swap_filters(old, new);
        }
        if mode.is_adaptive() {
            self.adaptive_active_changed(old, new);
        }
        if mode == Mode::ActiveBackup && new.is_some() {
            self.fail_over_mac(new, old);
            self.begin_announcing(why);
        }
        if (mode.has_active() && new.is_some()) || mode == Mode::RoundRobin {
            self.begin_reporting_groups();
        }
        self.update_usable();
    }

    /// Carrier: whether the bond can be used. A member that is up is enough, or as many as
    /// `min_links` asks for.
    pub(crate) fn update_carrier(&mut self) {
        if self.options.mode == Mode::Lacp {
            return self.update_lacp_carrier();
        }
        // A link that is lost but not yet given up is still in use, while looks decide. The kernel
        // takes the carrier away at once, against the meaning of `downdelay`.
        let watched = self.options.miimon() > 0;
        let used = |state| state == LinkState::Up || watched && state == LinkState::Fail;
        let up = self.members.iter().filter(|member| used(member.state)).count();
        self.set_carrier(up >= self.options.min_links.max(1) as usize);
    }

    pub(crate) fn set_carrier(&mut self, carrier: bool) {
        let carrier = carrier || self.carrier && self.defects.has(Defect::CarrierStays);
        if carrier != self.carrier {
            self.carrier = carrier;
            self.act(Action::SetCarrier(carrier));
            self.emit(What::Carrier { up: carrier });
            if carrier {
                self.carrier_came();
            }
        }
    }

    /// The members frames may be spread over: those that can send, in order of joining; in 802.3ad
    /// those of the active aggregator.
    pub(crate) fn update_usable(&mut self) {
        let all = self.defects.has(Defect::HashOverAll);
        let active =
            self.members.iter().find(|member| member.aggregator.active).map(|member| member.id);
        let lacp = self.options.mode == Mode::Lacp;
        let in_group =
            |member: &Member| !lacp || active.is_some() && member.port.aggregator == active;
        self.usable.clear();
        let usable =
            self.members.iter().filter(|member| all || member.can_send() && in_group(member));
        self.usable.extend(usable.map(|member| member.id));
    }
}

/// Whether `candidate` is better than `current`: faster, or as fast with better duplex. What is not
/// known is worst.
fn better(candidate: &Member, current: &Member) -> bool {
    let rank = |member: &Member| {
        let full = member.link.duplex.map_or(0, |duplex| 1 + u8::from(duplex == Duplex::Full));
        (member.link.speed_mbps, full)
    };
    rank(candidate) > rank(current)
}
