//! The MII monitor: every `miimon` it looks at what the ports say of their links.
//!
//! In two steps, as in the kernel: `inspect` proposes, `commit` changes.
//!
//! ```text
//!              carrier lost, downdelay > 0
//!       ┌──────────────────────────────────────► Fail ─┐
//!       │     ◄────────────────────────────────── back │ downdelay over
//!      Up ───────────────────────────────────────────► Down
//!       ▲            carrier lost, no downdelay        │ ▲
//!       │ updelay over, or nobody usable               │ │ lost again
//!       └───────────────────────────────────── Back ◄──┘ │
//!                                                └───────┘
//! ```

use holdfast_core::time::Duration;

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, LinkReason};
use crate::member::{LinkState, Member, MemberId};
use crate::options::Mode;
use crate::stamp::Stamp;

/// A change of a member's link that a look at it suggests. A link may be found gone and given up
/// at one look: then there are two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proposal {
    index: usize,
    to: LinkState,
    why: LinkReason,
    /// Looks left before the next step.
    delay: u32,
}

/// What one look at one link does, from each state, with and without carrier. `delays` are the
/// looks that `updelay` and `downdelay` last.
fn look(
    member: &Member,
    up: u32,
    down: u32,
    none_usable: bool,
) -> (u32, Option<(LinkState, LinkReason)>) {
    let kept_out = member.penalty.out && !none_usable && member.state != LinkState::Up;
    let carrier = member.link.carrier && !kept_out;
    match (member.state, carrier) {
        (LinkState::Up, true) | (LinkState::Down, false) => (member.delay, None),
        (LinkState::Up, false) => going_down(down, Some(LinkReason::CarrierLost)),
        (LinkState::Fail, false) => going_down(member.delay, None),
        (LinkState::Fail, true) => {
            (member.delay, Some((LinkState::Up, LinkReason::CarrierBackInTime)))
        }
        (LinkState::Down, true) => coming_up(up, none_usable, Some(LinkReason::CarrierBack)),
        (LinkState::Back, true) => coming_up(member.delay, none_usable, None),
        (LinkState::Back, false) => {
            (member.delay, Some((LinkState::Down, LinkReason::CarrierLostAgain)))
        }
    }
}

fn going_down(delay: u32, new: Option<LinkReason>) -> (u32, Option<(LinkState, LinkReason)>) {
    if delay == 0 {
        return (0, Some((LinkState::Down, new.unwrap_or(LinkReason::DownDelayOver))));
    }
    (delay - 1, new.map(|why| (LinkState::Fail, why)))
}

fn coming_up(
    delay: u32,
    none_usable: bool,
    new: Option<LinkReason>,
) -> (u32, Option<(LinkState, LinkReason)>) {
    if none_usable && delay > 0 {
        return (0, Some((LinkState::Up, LinkReason::NoneUsable)));
    }
    if delay == 0 {
        return (0, Some((LinkState::Up, new.unwrap_or(LinkReason::UpDelayOver))));
    }
    (delay - 1, new.map(|why| (LinkState::Back, why)))
}

impl<D: Defects> Bond<D> {
    /// One beat.
    pub(crate) fn look_at_links(&mut self) {
        self.update_damping();
        let proposals = self.inspect_links();
        let delays: Vec<_> = proposals.iter().map(|(delay, _)| *delay).collect();
        for (member, delay) in self.members.iter_mut().zip(delays) {
            member.delay = delay;
        }
        let proposals: Vec<_> =
            proposals.into_iter().filter_map(|(_, proposal)| proposal).collect();
        if !proposals.is_empty() {
            self.commit_links(&proposals);
        }
        if self.options.mode == Mode::Lacp {
            // Speed may have changed while the link stayed.
            for member in &mut self.members {
                if member.state == LinkState::Up {
                    member.update_key(true);
                }
            }
        }
    }

    /// What the links' present states suggest, for each member.
    fn inspect_links(&self) -> Vec<(u32, Option<Proposal>)> {
        let mut none_usable = match self.options.mode {
            Mode::ActiveBackup => self.active.is_none(),
            _ => self.usable.is_empty(),
        };
        none_usable &= !self.defects.has(Defect::UpDelayWithNoneUp);
        let up = self.options.updelay_ticks();
        let early = self.defects.has(Defect::DownDelayIgnored);
        let down = if early { 0 } else { self.options.downdelay_ticks() };
        let one = |(index, member): (usize, &Member)| {
            let (delay, change) = look(member, up, down, none_usable);
            if let Some((LinkState::Up, _)) = change
                && member.state != LinkState::Fail
            {
                // The first one to recover has it all; the others wait.
                none_usable = false;
            }
            (delay, change.map(|(to, why)| Proposal { index, to, why, delay }))
        };
        self.members.iter().enumerate().map(one).collect()
    }

    fn commit_links(&mut self, proposals: &[Proposal]) {
        let mut failover = None;
        for proposal in proposals {
            let (index, id) = (proposal.index, self.members[proposal.index].id);
            self.set_state(index, proposal.to, proposal.why);
            match proposal.to {
                LinkState::Up => {
                    if self.link_came(index) {
                        failover = Some(ActiveReason::LinkBack);
                    }
                }
                LinkState::Down => {
                    if self.link_went(index, id) {
                        failover = Some(ActiveReason::LinkFailed);
                    }
                }
                LinkState::Fail | LinkState::Back => {}
            }
            let decided = matches!(proposal.to, LinkState::Up | LinkState::Down);
            match self.options.mode {
                Mode::Lacp if decided => self.lacp_link_changed(index),
                Mode::Tlb | Mode::Alb if decided => self.adaptive_link_changed(index),
                _ => {}
            }
        }
        self.update_usable();
        if let Some(why) = failover.filter(|_| self.options.mode != Mode::Lacp) {
            self.select(why);
        }
        self.update_carrier();
    }

    /// A link is in use again; says whether that calls for another active member.
    fn link_came(&mut self, index: usize) -> bool {
        self.members[index].last_link_up = Stamp::at(self.now);
        match self.options.mode {
            Mode::Lacp => self.members[index].backup = true,
            Mode::ActiveBackup => {}
            _ => self.members[index].backup = false,
        }
        self.calls_for_selection(index)
    }

    /// Whether a member that came up may have to become the active one.
    pub(crate) fn calls_for_selection(&self, index: usize) -> bool {
        let member = &self.members[index];
        let primary = self.primary().is_some_and(|primary| primary.id == member.id);
        match self.active.and_then(|active| self.member(active)) {
            None => true,
            Some(_) if self.defects.has(Defect::PrimaryForgotten) => false,
            Some(active) => primary || member.prio > active.prio,
        }
    }

    /// A link is given up; says whether it was the active member's.
    fn link_went(&mut self, index: usize, id: MemberId) -> bool {
        self.members[index].failures = self.members[index].failures.saturating_add(1);
        self.penalize(index);
        if matches!(self.options.mode, Mode::ActiveBackup | Mode::Lacp) {
            self.set_inactive(index);
        }
        self.active == Some(id)
    }

    /// Time between two looks.
    pub fn miimon_interval(&self) -> Option<Duration> {
        (self.options.miimon() > 0).then(|| self.miimon())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::NewMember;
    use holdfast_core::net::{Link, Mac};
    use holdfast_core::time::Instant;

    fn member(state: LinkState, carrier: bool, delay: u32) -> Member {
        let link = if carrier { Link::up(1000) } else { Link::DOWN };
        let new = NewMember::new("eth0", Mac([2; 6]), link);
        let mut member = Member::new(MemberId(0), new, Duration::ZERO, Instant::ZERO);
        member.state = state;
        member.delay = delay;
        member
    }

    /// Each state with and without carrier, with and without anything left of the delay (of 3
    /// looks), with and without another usable member: what a look proposes, and what it leaves.
    #[test]
    fn every_look() {
        use LinkReason as Why;
        use LinkState::{Back, Down, Fail, Up};
        let table = [
            // state, carrier, left, none usable: left, change
            (Up, true, 0, false, 0, None),
            (Up, true, 0, true, 0, None),
            (Up, false, 0, false, 2, Some((Fail, Why::CarrierLost))),
            (Up, false, 0, true, 2, Some((Fail, Why::CarrierLost))),
            (Fail, false, 2, false, 1, None),
            (Fail, false, 0, false, 0, Some((Down, Why::DownDelayOver))),
            (Fail, false, 0, true, 0, Some((Down, Why::DownDelayOver))),
            (Fail, true, 2, false, 2, Some((Up, Why::CarrierBackInTime))),
            (Fail, true, 0, true, 0, Some((Up, Why::CarrierBackInTime))),
            (Down, false, 0, false, 0, None),
            (Down, false, 0, true, 0, None),
            (Down, true, 0, false, 2, Some((Back, Why::CarrierBack))),
            (Down, true, 0, true, 0, Some((Up, Why::NoneUsable))),
            (Back, true, 2, false, 1, None),
            (Back, true, 0, false, 0, Some((Up, Why::UpDelayOver))),
            (Back, true, 2, true, 0, Some((Up, Why::NoneUsable))),
            (Back, true, 0, true, 0, Some((Up, Why::UpDelayOver))),
            (Back, false, 2, false, 2, Some((Down, Why::CarrierLostAgain))),
            (Back, false, 0, true, 0, Some((Down, Why::CarrierLostAgain))),
        ];
        for (state, carrier, left, none_usable, remains, change) in table {
            let looked = look(&member(state, carrier, left), 3, 3, none_usable);
            assert_eq!(looked, (remains, change), "{state:?}, {carrier}, {left}, {none_usable}");
        }
        // Without delays there is one step.
        let down = look(&member(Up, false, 0), 0, 0, false);
        assert_eq!(down, (0, Some((Down, Why::CarrierLost))));
        let up = look(&member(Down, true, 0), 0, 0, false);
        assert_eq!(up, (0, Some((Up, Why::CarrierBack))));
    }
}
