//! Who is alive: by what ports say ([`mii`]), or by what is heard of targets ([`probe`] asks,
//! [`hear`] counts, [`arp_backup`] and [`arp_balance`] judge).

mod arp_backup;
mod arp_balance;
mod damping;
mod hear;
mod mii;
mod probe;

use holdfast_core::time::Duration;

pub(crate) use damping::Penalty;

use crate::bond::Bond;
use crate::defects::Defects;
use crate::member::Member;
use crate::options::{AllTargets, Mode};
use crate::stamp::Stamp;

impl<D: Defects> Bond<D> {
    /// One beat of the ARP and NS monitor.
    pub(crate) fn judge_and_probe(&mut self) {
        match self.options.mode {
            Mode::ActiveBackup => self.beat_of_backup(),
            _ => self.beat_of_balance(),
        }
    }

    /// Whether `stamp` is at most `intervals` and a half probe intervals ago. The half is for
    /// answers that come a little after the beat.
    fn lately(&self, stamp: Stamp, intervals: u32) -> bool {
        let interval = self.interval();
        stamp.within(self.now, interval * intervals + interval / 2)
    }

    /// When a member was last heard, in the sense of `arp_all_targets`.
    fn heard(&self, member: &Member) -> Stamp {
        match self.options.arp_all_targets {
            AllTargets::Any => member.last_rx,
            AllTargets::All => {
                let targets =
                    self.options.arp_ip_target.len().max(self.options.ns_ip6_target.len());
                let each = member.target_rx[..targets].iter().copied();
                each.min().unwrap_or(member.last_rx)
            }
        }
    }

    /// Time between two beats of the ARP and NS monitor.
    pub fn probe_interval(&self) -> Option<Duration> {
        self.options.probes().then(|| self.interval())
    }
}
