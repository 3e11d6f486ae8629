//! Telling the neighbours: announcements of the bond's addresses, and IGMP reports, after another
//! member became active.
//!
//! The first announcement leaves at once, or as soon as the bond has carrier; `num_grat_arp` leave
//! in all, `peer_notif_delay` apart.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use holdfast_core::time::{Duration, Instant};

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, What};
use crate::output::FrameKind;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::igmp::{self, Version};
use crate::wire::ip::{IGMP, Ipv4};
use crate::wire::ndp::Neighbour;

/// What is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// Announcements to come.
    announcements: u32,
    /// Rounds of IGMP reports to come.
    reports: u32,
    /// What the stack listens to, in its own words: the last report of each group.
    listened: BTreeMap<(Ipv4Addr, Option<u16>), Report>,
}

/// How the stack reported a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    version: Version,
    source: Ipv4Addr,
}

/// Between two rounds of IGMP reports (the kernel's HZ/5).
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
        if self.notices.listened.is_empty() {
            return;
        }
        let mac = self.mac;
        let frame = |(&(group, vlan), report): (&(Ipv4Addr, Option<u16>), &Report)| {
            igmp::report(mac, report.source, group, report.version, vlan)
        };
        let frames: Vec<_> = self.notices.listened.iter().map(frame).collect();
        let groups = frames.len();
        for frame in frames {
            self.transmit(member, FrameKind::GroupReport, frame);
        }
        self.emit(What::GroupsReported { member, groups, left });
    }

    /// Looks at a frame of the stack: does it say what groups are listened to?
    pub(crate) fn note_groups(&mut self, frame: &[u8]) {
        let Ok(outer) = Ethernet::parse(frame) else { return };
        if outer.ethertype != ethernet::IPV4 || !outer.destination.is_multicast() {
            return;
        }
        let Ok(packet) = Ipv4::parse(outer.payload) else { return };
        if packet.protocol != IGMP {
            return;
        }
        for said in igmp::read(&packet).unwrap_or_default() {
            let key = (said.group, outer.vlan);
            if said.joined {
                let report = Report { version: said.version, source: packet.source };
                self.notices.listened.insert(key, report);
            } else {
                self.notices.listened.remove(&key);
            }
        }
    }
}

fn next_report(now: Instant) -> Instant {
    now + REPORT_GAP
}
