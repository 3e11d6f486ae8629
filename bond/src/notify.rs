//! Telling the neighbours: announcements of the bond's addresses, and IGMP and MLD reports, after
//! another member became active.
//!
//! The first announcement leaves at once, or as soon as the bond has carrier; `num_grat_arp` leave
//! in all, `peer_notif_delay` apart.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use holdfast_core::time::{Duration, Instant};

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, What};
use crate::output::FrameKind;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{IGMP, Ipv4, Ipv6};
use crate::wire::ndp::Neighbour;
use crate::wire::{igmp, mld};

/// What is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// Announcements to come.
    announcements: u32,
    /// Rounds of IGMP and MLD reports to come.
    reports: u32,
    /// What the stack listens to, in its own words: the last report of each group.
    listened: Groups<Ipv4Addr, igmp::Version>,
    /// The same of IPv6.
    listened_v6: Groups<Ipv6Addr, mld::Version>,
}

/// How and by whom the groups of one family were last reported, each in its VLAN.
type Groups<A, V> = BTreeMap<(A, Option<u16>), (V, A)>;

/// Between two rounds of reports (the kernel's HZ/5).
const REPORT_GAP: Duration = Duration::from_millis(200);

impl<D: Defects> Bond<D> {
    /// Another member is active.
    pub(crate) fn begin_announcing(&mut self, why: ActiveReason) {
        if !self.up {
            return;
        }
        let failback = why == ActiveReason::LinkBack;
        if failback && self.defects.has(Defect::NoAnnouncementOnFailback) {
            return;
        }
        let short = u32::from(self.defects.has(Defect::OneAnnouncementShort));
        self.notices.announcements = u32::from(self.options.num_peer_notif).saturating_sub(short);
        self.timers.announce = None;
        if self.carrier {
            self.announce_due();
        }
    }

    /// The bond goes down: nothing more is told.
    pub(crate) fn cease_announcing(&mut self) {
        self.notices.announcements = 0;
        self.notices.reports = 0;
    }

    /// The bond has carrier: what had to wait for it goes out.
    pub(crate) fn carrier_came(&mut self) {
        if self.notices.announcements > 0 && self.timers.announce.is_none() {
            self.announce_due();
        }
    }

    /// One announcement, and the next one's time.
    pub(crate) fn announce_due(&mut self) {
        self.timers.announce = None;
        if self.notices.announcements == 0 || !self.carrier {
            return;
        }
        let Some(member) = self.active else { return };
        self.notices.announcements -= 1;
        let mac = self.mac;
        let arp = |(ip, vlan)| Arp::request(mac, ip, ip).broadcast(vlan);
        let neighbour = |(ip, vlan)| Neighbour::announce(mac, ip, vlan);
        let frames: Vec<_> =
            self.v4_addresses().map(arp).chain(self.v6_addresses().map(neighbour)).collect();
        let (count, left) = (frames.len(), self.notices.announcements);
        for frame in frames {
            self.transmit(member, FrameKind::Announcement, frame);
        }
        self.emit(What::Announced { member, frames: count, left });
        if left > 0 {
            self.timers.announce = Some(self.now + self.announcement_gap());
        }
    }

    fn announcement_gap(&self) -> Duration {
        let chosen = self.options.peer_notif_delay_ms;
        let beat = self.options.miimon().max(self.options.arp_interval_ms);
        Duration::from_millis(if chosen > 0 { chosen } else { beat }.into())
    }

    /// Another member is active: groups are reported there.
    pub(crate) fn begin_reporting_groups(&mut self) {
        if self.up && self.options.resend_igmp > 0 {
            self.notices.reports = self.options.resend_igmp.into();
            self.timers.groups = Some(self.now);
        }
    }

    /// One round of reports, and the next one's time.
    pub(crate) fn groups_due(&mut self) {
        self.timers.groups = None;
        if self.notices.reports == 0 {
            return;
        }
        self.notices.reports -= 1;
        self.report_groups(self.notices.reports);
        if self.notices.reports > 0 {
            self.timers.groups = Some(next_report(self.now));
        }
    }

    fn report_groups(&mut self, left: u32) {
        let Some(member) = self.active else { return };
        let mac = self.mac;
        let v4 = self.notices.listened.iter().map(|(&(group, vlan), &(version, source))| {
            igmp::report(mac, source, group, version, vlan)
        });
        let v6 = self.notices.listened_v6.iter().map(|(&(group, vlan), &(version, source))| {
            mld::report(mac, source, group, version, vlan)
        });
        let frames: Vec<_> = v4.chain(v6).collect();
        if frames.is_empty() {
            return;
        }
        let groups = frames.len();
        for frame in frames {
            self.transmit(member, FrameKind::GroupReport, frame);
        }
        self.emit(What::GroupsReported { member, groups, left });
    }

    /// Looks at a frame of the stack: does it say what groups are listened to?
    pub(crate) fn note_groups(&mut self, frame: &[u8]) {
        let Ok(outer) = Ethernet::parse(frame) else { return };
        if !outer.destination.is_multicast() {
            return;
        }
        match outer.ethertype {
            ethernet::IPV4 => self.note_igmp(&outer),
            ethernet::IPV6 => self.note_mld(&outer),
            _ => {}
        }
    }

    fn note_igmp(&mut self, outer: &Ethernet<'_>) {
        let Ok(packet) = Ipv4::parse(outer.payload) else { return };
        if packet.protocol != IGMP {
            return;
        }
        for said in igmp::read(&packet).unwrap_or_default() {
            let report = said.joined.then_some((said.version, packet.source));
            note(&mut self.notices.listened, (said.group, outer.vlan), report);
        }
    }

    fn note_mld(&mut self, outer: &Ethernet<'_>) {
        let Ok(packet) = Ipv6::parse(outer.payload) else { return };
        for said in mld::read(&packet).unwrap_or_default() {
            let report = said.joined.then_some((said.version, packet.source));
            note(&mut self.notices.listened_v6, (said.group, outer.vlan), report);
        }
    }
}

/// A group is listened to, or no longer.
fn note<A: Ord, V>(groups: &mut Groups<A, V>, key: (A, Option<u16>), report: Option<(V, A)>) {
    match report {
        Some(report) => groups.insert(key, report),
        None => groups.remove(&key),
    };
}

fn next_report(now: Instant) -> Instant {
    now + REPORT_GAP
}
