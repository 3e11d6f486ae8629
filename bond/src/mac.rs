//! Whose hardware address is used where, and what members listen to.

use holdfast_core::net::Mac;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::event::What;
use crate::member::MemberId;
use crate::options::{FailOverMac, Mode};
use crate::output::Action;
use crate::wire::ndp::{group_mac, solicited_node};

/// Where LACPDUs and markers go (IEEE 802.1AX, 6.2.10).
pub(crate) const SLOW_GROUP: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 2]);

impl<D: Defects> Bond<D> {
    /// The policy in force: other modes than active-backup know one alone.
    pub(crate) fn mac_policy(&self) -> FailOverMac {
        match self.options.mode {
            Mode::ActiveBackup => self.options.fail_over_mac,
            _ => FailOverMac::None,
        }
    }

    pub(crate) fn give_bond_mac(&mut self, mac: Mac) {
        if mac != self.mac {
            self.mac = mac;
            self.act(Action::SetBondMac(mac));
            self.emit(What::BondMac { mac });
        }
    }

    pub(crate) fn give_member_mac(&mut self, index: usize, mac: Mac) {
        let member = &mut self.members[index];
        if member.mac != mac && member.mac_settable {
            member.mac = mac;
            let member = member.id;
            self.act(Action::SetMemberMac { member, mac });
            self.emit(What::MemberMac { member, mac });
        }
    }

    /// A port's address as it really is: it was changed by somebody, or could not be set.
    pub fn set_member_mac(
        &mut self,
        member: MemberId,
        mac: Mac,
        now: holdfast_core::time::Instant,
    ) {
        self.advance(now);
        if let Some(index) = self.index(member)
            && self.members[index].mac != mac
        {
            self.members[index].mac = mac;
            self.emit(What::MemberMac { member, mac });
            if self.mac_policy() == FailOverMac::Active && self.active == Some(member) {
                self.give_bond_mac(mac);
            }
        }
    }

    /// An address of our own: locally administered, no group's.
    pub(crate) fn random_mac(&mut self) -> Mac {
        let mut octets = [0; 6];
        self.rng.fill(&mut octets);
        octets[0] = octets[0] & 0xfe | 0x02;
        Mac(octets)
    }

    /// A member joins: who gets whose address?
    pub(crate) fn place_mac(&mut self, index: usize) {
        let first = self.members.len() == 1;
        let own = self.members[index].mac;
        if first && !self.mac_chosen {
            self.give_bond_mac(own);
        }
        if self.options.mode.is_adaptive() {
            return self.place_adaptive(index);
        }
        match self.mac_policy() {
            FailOverMac::None => self.give_member_mac(index, self.mac),
            FailOverMac::Follow if !first && own == self.mac => {
                let other = self.random_mac();
                self.give_member_mac(index, other);
            }
            FailOverMac::Active | FailOverMac::Follow => {}
        }
    }

    /// The bond's address was changed from outside.
    pub(crate) fn follow_bond_mac(&mut self) {
        let mac = self.mac;
        if self.options.mode.is_adaptive() {
            return self.adaptive_mac_changed();
        }
        match self.mac_policy() {
            FailOverMac::None => {
                (0..self.members.len()).for_each(|index| self.give_member_mac(index, mac))
            }
            FailOverMac::Follow => {
                if let Some(index) = self.active.and_then(|active| self.index(active)) {
                    self.give_member_mac(index, mac);
                }
            }
            FailOverMac::Active => {}
        }
    }

    /// Another member is active: addresses move as the policy says.
    pub(crate) fn fail_over_mac(&mut self, new: Option<MemberId>, old: Option<MemberId>) {
        let Some(new) = new.and_then(|new| self.index(new)) else { return };
        match self.mac_policy() {
            FailOverMac::None => {}
            FailOverMac::Active => self.give_bond_mac(self.members[new].mac),
            FailOverMac::Follow => {
                let old =
                    old.and_then(|old| self.index(old)).or_else(|| self.holder_of_bond_mac(new));
                let own = self.members[new].mac;
                match old {
                    Some(old) => {
                        let bonds = self.members[old].mac;
                        self.give_member_mac(new, bonds);
                        self.give_member_mac(old, own);
                    }
                    None => self.give_member_mac(new, self.mac),
                }
            }
        }
    }

    /// The member other than `new` that has the bond's address.
    fn holder_of_bond_mac(&self, new: usize) -> Option<usize> {
        (0..self.members.len()).find(|&index| index != new && self.members[index].mac == self.mac)
    }

    /// Groups the stack listens to, and whether it wants every frame. Members follow.
    pub fn set_filters(
        &mut self,
        groups: impl IntoIterator<Item = Mac>,
        promiscuous: bool,
        now: holdfast_core::time::Instant,
    ) {
        self.advance(now);
        let listening = self.listening();
        for member in &listening {
            self.unlisten(*member);
        }
        self.groups = groups
            .into_iter()
            .filter(|group| group.is_multicast() && !group.is_broadcast())
            .collect();
        self.promiscuous = promiscuous;
        for member in listening {
            self.listen(member);
        }
    }

    /// Who hears what the stack listens to: the active member, or all of them.
    fn listening(&self) -> Vec<MemberId> {
        if !self.up {
            return Vec::new();
        }
        if self.options.mode.has_active() {
            self.active.into_iter().collect()
        } else {
            self.members().collect()
        }
    }

    pub(crate) fn listen(&mut self, member: MemberId) {
        for group in self.groups.clone() {
            self.act(Action::JoinGroup { member, group });
        }
        if self.options.mode == Mode::Lacp {
            self.act(Action::JoinGroup { member, group: SLOW_GROUP });
        }
        if self.promiscuous {
            self.act(Action::SetPromiscuous { member, on: true });
        }
    }

    pub(crate) fn unlisten(&mut self, member: MemberId) {
        for group in self.groups.clone() {
            self.act(Action::LeaveGroup { member, group });
        }
        if self.options.mode == Mode::Lacp {
            self.act(Action::LeaveGroup { member, group: SLOW_GROUP });
        }
        if self.promiscuous {
            self.act(Action::SetPromiscuous { member, on: false });
        }
    }

    /// Backups whose part in the NS monitor is to hear the bond's own questions listen to where
    /// those go.
    fn question_groups(&self) -> Vec<Mac> {
        let asked = self.options.mode == Mode::ActiveBackup
            && self.options.probes()
            && self.options.arp_validate.examines(false);
        let targets = self.options.ns_ip6_target.iter().filter(|_| asked);
        targets.map(|target| group_mac(solicited_node(target.address))).collect()
    }

    /// A member is, or is no longer, a backup.
    pub(crate) fn listen_as_backup(&mut self, member: MemberId, listens: bool) {
        let own = self.index(member).filter(|_| self.options.probe_all);
        let own = own.map(|index| self.port_mac(index));
        for group in self.question_groups().into_iter().chain(own) {
            self.act(if listens {
                Action::JoinGroup { member, group }
            } else {
                Action::LeaveGroup { member, group }
            });
        }
    }

    /// The bond went up or down: members begin or cease to listen.
    pub(crate) fn sync_groups(&mut self) {
        let members: Vec<_> = match (self.options.mode.has_active(), self.active) {
            (true, active) => active.into_iter().collect(),
            (false, _) => self.members().collect(),
        };
        for member in members {
            if self.up { self.listen(member) } else { self.unlisten(member) }
        }
        let backups: Vec<_> =
            self.members().filter(|member| self.active != Some(*member)).collect();
        for member in backups {
            self.listen_as_backup(member, self.up);
        }
    }

    /// Another member is active: it listens instead of the old one.
    pub(crate) fn swap_filters(&mut self, old: Option<MemberId>, new: Option<MemberId>) {
        if self.up {
            if let Some(old) = old.filter(|old| self.member(*old).is_some()) {
                self.unlisten(old);
                self.listen_as_backup(old, true);
            }
            if let Some(new) = new {
                self.listen_as_backup(new, false);
                self.listen(new);
            }
        }
    }
}
