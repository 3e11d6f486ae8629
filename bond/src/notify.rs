//! Telling the neighbours: announcements of the bond's addresses, and IGMP reports, after another
//! member became active.
//!
//! The first announcement leaves at once, or as soon as the bond has carrier; `num_grat_arp` leave
//! in all, `peer_notif_delay` apart.

use holdfast_core::time::{Duration, Instant};

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::event::{ActiveReason, What};
use crate::output::FrameKind;
use crate::wire::arp::Arp;

/// What is still to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    /// Announcements to come.
    announcements: u32,
    /// Rounds of IGMP reports to come.
    reports: u32,
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
        let frames: Vec<_> = self
            .v4_addresses()
            .map(|(ip, vlan)| Arp::request(mac, ip, ip).broadcast(vlan))
            .collect();
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

    fn report_groups(&mut self, _left: u32) {}
}

fn next_report(now: Instant) -> Instant {
    now + REPORT_GAP
}
