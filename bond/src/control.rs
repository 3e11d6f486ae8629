//! Members come and go, and options change.

use holdfast_core::time::Instant;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::event::{ActiveReason, What};
use crate::member::{LinkState, Member, MemberId, NewMember};
use crate::options::{Conflict, FailOverMac, Mode, OptionError, OptionName, Options};
use crate::output::Action;
use crate::stamp::Stamp;

/// A bond would not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such member.
    #[error("{0} is no member")]
    NoMember(String),
    /// It is a member already.
    #[error("{0} is a member already")]
    Twice(String),
    /// A member's address must change, and cannot.
    #[error("{0}: its hardware address cannot be changed, and fail_over_mac is not active")]
    MacFixed(String),
    /// No station has that address.
    #[error("{name}: {mac} is no station's address")]
    NoStation {
        /// The port.
        name: String,
        /// Its address.
        mac: holdfast_core::net::Mac,
    },
    /// It cannot be the active member now.
    #[error("{name} cannot be the active member: {reason}")]
    CannotBeActive {
        /// The member.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// An option cannot have this value.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// An option does not go together with others.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// An option cannot be changed now.
    #[error("{option} can be changed only {when}")]
    NotNow {
        /// The option.
        option: OptionName,
        /// When it can.
        when: &'static str,
    },
}

impl<D: Defects> Bond<D> {
    /// A port joins. Its name must be new here.
    pub fn add_member(&mut self, new: NewMember, now: Instant) -> Result<MemberId, Refusal> {
        self.advance(now);
        if self.member_named(&new.name).is_some() {
            return Err(Refusal::Twice(new.name));
        }
        if !new.mac.is_station() {
            return Err(Refusal::NoStation { name: new.name, mac: new.mac });
        }
        if !new.mac_settable
            && self.options.mode == Mode::ActiveBackup
            && self.options.fail_over_mac != FailOverMac::Active
        {
            if !self.members.is_empty() {
                return Err(Refusal::MacFixed(new.name));
            }
            self.options.fail_over_mac = FailOverMac::Active;
            let (option, value) = (OptionName::FailOverMac, FailOverMac::Active.to_string());
            self.emit(What::OptionSet { option, value });
        }
        let id = MemberId(self.next_id);
        self.next_id += 1;
        let member = Member::new(id, new, self.interval(), now);
        let name = member.name.clone();
        self.members.push(member);
        let index = self.members.len() - 1;
        if self.members[index].original_mtu != self.mtu {
            self.act(Action::SetMemberMtu { member: id, mtu: self.mtu });
        }
        self.place_mac(index);
        self.first_state(index);
        self.emit(What::Added { member: id, name, link: self.members[index].state });
        self.first_role(index);
        if self.up && !self.options.mode.has_active() {
            self.listen(id);
        }
        if self.up {
            self.listen_as_backup(id, true);
        }
        self.update_usable();
        self.update_carrier();
        if self.options.mode.has_active() {
            self.select(ActiveReason::Added);
        }
        Ok(id)
    }

    /// A new member's link: as the port says, except that `updelay` has to be waited for.
    fn first_state(&mut self, index: usize) {
        let (now, updelay) = (self.now, self.options.updelay_ticks());
        let member = &mut self.members[index];
        member.state = match member.link.carrier {
            false => LinkState::Down,
            true if updelay > 0 => LinkState::Back,
            true => LinkState::Up,
        };
        if member.state == LinkState::Back {
            member.delay = updelay;
        }
        if member.state != LinkState::Down {
            member.last_link_up = Stamp::at(now);
        }
    }

    /// A new member's part in the bond.
    fn first_role(&mut self, index: usize) {
        let id = self.members[index].id;
        if self.primary().is_some_and(|primary| primary.id == id) {
            self.force_primary = true;
        }
        match self.options.mode {
            Mode::ActiveBackup => self.set_inactive(index),
            Mode::Lacp => self.bind_port(index),
            Mode::Tlb | Mode::Alb => {
                self.members[index].backup = false;
                self.set_inactive(index);
            }
            Mode::RoundRobin | Mode::Xor | Mode::Broadcast => {
                self.set_active_flags(index);
                if self.active.is_none() && self.members[index].state == LinkState::Up {
                    self.active = Some(id);
                }
            }
        }
    }

    /// A member leaves. It gets back the address and the MTU it came with; the last action about it
    /// is [`Action::Release`].
    pub fn remove_member(&mut self, member: MemberId, now: Instant) -> Result<(), Refusal> {
        self.advance(now);
        let Some(index) = self.index(member) else {
            return Err(Refusal::NoMember(member.to_string()));
        };
        self.set_inactive(index);
        // The search begins anew; whoever was being tried is no party to traffic any more (the
        // kernel forgets that, and has two of them then).
        if let Some(tried) = self.tried.take().and_then(|tried| self.index(tried)) {
            self.set_inactive(tried);
        }
        let was_active = self.active == Some(member);
        if self.up && (was_active || !self.options.mode.has_active()) {
            self.unlisten(member);
        } else if self.up {
            self.listen_as_backup(member, false);
        }
        if self.options.mode == Mode::Lacp {
            self.unbind_port(index);
        }
        let gone = self.members.remove(index);
        self.usable.retain(|usable| *usable != member);
        if gone.mac != gone.permanent && self.mac_policy() != FailOverMac::Active {
            self.act(Action::SetMemberMac { member, mac: gone.permanent });
        }
        if gone.original_mtu != self.mtu {
            self.act(Action::SetMemberMtu { member, mtu: gone.original_mtu });
        }
        if self.options.mode.is_adaptive() {
            self.forget_adaptive(member);
            self.reclaim_address(gone.permanent, gone.source);
        }
        self.act(Action::Release { member });
        self.emit(What::Removed { member, name: gone.name });
        if was_active {
            if self.options.mode.has_active() {
                self.change_active(None, ActiveReason::Removed);
                self.select(ActiveReason::Removed);
            } else {
                self.active = None;
                self.select(ActiveReason::Removed);
            }
        }
        if self.options.mode == Mode::Lacp {
            self.select_active_aggregator();
        }
        self.update_usable();
        self.update_carrier();
        if self.members.is_empty() && !self.mac_chosen {
            let fresh = self.random_mac();
            self.give_bond_mac(fresh);
        }
        Ok(())
    }

    /// A member's interface has another name.
    pub fn rename_member(
        &mut self,
        member: MemberId,
        name: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.advance(now);
        let index = self.index(member).ok_or_else(|| Refusal::NoMember(member.to_string()))?;
        if self.members[index].name == name {
            return Ok(());
        }
        if self.member_named(name).is_some() {
            return Err(Refusal::Twice(name.to_owned()));
        }
        let before = self.primary().map(|primary| primary.id);
        name.clone_into(&mut self.members[index].name);
        if self.primary().map(|primary| primary.id) != before {
            self.select(ActiveReason::Renamed);
        }
        Ok(())
    }

    /// Makes a member the active one.
    pub fn activate(&mut self, member: MemberId, now: Instant) -> Result<(), Refusal> {
        self.advance(now);
        let found = self.member(member).ok_or_else(|| Refusal::NoMember(member.to_string()))?;
        let refuse = |reason| Err(Refusal::CannotBeActive { name: found.name.clone(), reason });
        if !self.options.mode.has_active() {
            return refuse("this mode has no active member");
        }
        if self.active == Some(member) {
            return Ok(());
        }
        if found.state != LinkState::Up || !found.link.carrier {
            return refuse("its link is down");
        }
        if self.active.is_none() {
            return refuse("no other one is active, so nothing is known of it yet");
        }
        self.change_active(Some(member), ActiveReason::Asked);
        self.update_carrier();
        Ok(())
    }

    /// Sets a member's priority.
    pub fn set_prio(&mut self, member: MemberId, prio: i32, now: Instant) -> Result<(), Refusal> {
        self.advance(now);
        let index = self.index(member).ok_or_else(|| Refusal::NoMember(member.to_string()))?;
        self.members[index].prio = prio;
        if self.options.mode.has_active() && self.primary().is_none() {
            self.select(ActiveReason::Asked);
        }
        Ok(())
    }

    /// Sets a member's LACP port priority (the kernel's `actor_port_prio`).
    pub fn set_port_priority(
        &mut self,
        member: MemberId,
        priority: u16,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.advance(now);
        let index = self.index(member).ok_or_else(|| Refusal::NoMember(member.to_string()))?;
        self.members[index].port_priority = priority;
        self.members[index].port.actor.port_priority = priority;
        self.members[index].port.must_send = true;
        if self.options.mode == Mode::Lacp {
            self.select_active_aggregator();
            self.update_usable();
        }
        Ok(())
    }

    /// Sets one option of a bond that may be running.
    pub fn set_option(&mut self, name: &str, value: &str, now: Instant) -> Result<(), Refusal> {
        self.advance(now);
        let option: OptionName = name.parse().map_err(OptionError::from)?;
        if option == OptionName::ActiveSlave {
            return self.set_active_by_name(value, now);
        }
        self.may_change(option)?;
        let mut options = self.options.clone();
        options.set(option, value)?;
        give_way(&mut options, option);
        let options = options.checked_running()?;
        let before = std::mem::replace(&mut self.options, options);
        self.emit(What::OptionSet { option, value: self.options.get(option) });
        self.take_effect(option, &before);
        Ok(())
    }

    fn set_active_by_name(&mut self, name: &str, now: Instant) -> Result<(), Refusal> {
        if name.is_empty() {
            self.change_active(None, ActiveReason::Asked);
            self.select(ActiveReason::Asked);
            return Ok(());
        }
        let member = self.member_named(name).ok_or_else(|| Refusal::NoMember(name.to_owned()))?;
        self.activate(member, now)
    }

    /// Whether this option may be changed now.
    fn may_change(&self, option: OptionName) -> Result<(), Refusal> {
        let refuse = |when| Err(Refusal::NotNow { option, when });
        match option {
            OptionName::Mode if !self.members.is_empty() => refuse("while the bond has no members"),
            OptionName::FailOverMac if !self.members.is_empty() => {
                refuse("while the bond has no members")
            }
            OptionName::Mode
            | OptionName::LacpActive
            | OptionName::TlbDynamicLb
            | OptionName::AdUserPortKey
            | OptionName::CoupledControl
                if self.up =>
            {
                refuse("while the bond is down")
            }
            _ => Ok(()),
        }
    }

    fn take_effect(&mut self, option: OptionName, before: &Options) {
        match option {
            OptionName::Miimon | OptionName::ArpInterval => {
                let same = self.options.miimon() == before.miimon()
                    && self.options.arp_interval_ms == before.arp_interval_ms;
                if self.up && !same {
                    self.start_timers();
                }
            }
            OptionName::Primary => {
                self.force_primary = self.primary().is_some();
                self.select(ActiveReason::Option(option));
            }
            OptionName::PrimaryReselect => self.select(ActiveReason::Option(option)),
            OptionName::AllSlavesActive => {
                let keep = self.options.all_slaves_active;
                for member in &mut self.members {
                    member.inactive = member.backup && !keep;
                }
            }
            OptionName::MinLinks | OptionName::LacpStrict => {
                self.use_without_partner();
                self.update_usable();
                self.update_carrier();
            }
            OptionName::LacpRate | OptionName::AdActorSystem | OptionName::AdActorSysPrio => {
                self.refresh_actor()
            }
            OptionName::AdSelect if self.options.mode == Mode::Lacp => {
                self.select_active_aggregator();
                self.update_usable();
            }
            _ => {}
        }
    }
}

/// One monitor gives way to the other, as in the kernel.
fn give_way(options: &mut Options, option: OptionName) {
    match option {
        OptionName::Miimon if options.miimon() > 0 => {
            options.arp_interval_ms = 0;
            options.arp_validate = crate::options::Validate::None;
            options.probe_all = false;
        }
        OptionName::ArpInterval if options.probes() => {
            options.miimon_ms = Some(0);
            options.updelay_ms = 0;
            options.downdelay_ms = 0;
        }
        _ => {}
    }
}
