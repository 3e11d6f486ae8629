//! Which options go together.

use super::{AdSelect, FailOverMac, Mode, OptionName, Options, Validate};

/// Two options that make no sense together, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}={value}: {reason}")]
pub struct Conflict {
    /// The option that is wrong.
    pub option: OptionName,
    /// What it is set to.
    pub value: String,
    /// Why that cannot be.
    pub reason: &'static str,
}

/// The default of `miimon` when nothing else watches the members.
const MIIMON_MS: u32 = 100;

impl Options {
    /// The options as they will be in force: defaults that depend on others filled in, times
    /// rounded as the kernel rounds them, or what is wrong with them.
    pub fn checked(mut self) -> Result<Self, Conflict> {
        if self.miimon_ms.is_none() {
            let other = self.probes();
            self.miimon_ms = Some(if other { 0 } else { MIIMON_MS });
        }
        self.check_idle_targets()?;
        self.checked_running()
    }

    /// The same for a bond that runs: targets may be named before probing is turned on.
    pub(crate) fn checked_running(mut self) -> Result<Self, Conflict> {
        self.check_monitors()?;
        self.check_probes()?;
        self.check_mode()?;
        self.round();
        Ok(self)
    }

    fn refuse(&self, option: OptionName, reason: &'static str) -> Result<(), Conflict> {
        Err(Conflict { option, value: self.get(option), reason })
    }

    fn check_monitors(&self) -> Result<(), Conflict> {
        let watched = self.miimon() > 0;
        if watched && self.probes() {
            return self.refuse(
                OptionName::ArpInterval,
                "links are watched by miimon already; choose one of the two",
            );
        }
        if !watched && !self.probes() {
            return self.refuse(
                OptionName::Miimon,
                "without miimon and arp_interval nobody would notice a failure",
            );
        }
        if !watched && self.updelay_ms > 0 {
            return self
                .refuse(OptionName::UpDelay, "it counts looks at the links, and miimon is off");
        }
        if !watched && self.downdelay_ms > 0 {
            return self
                .refuse(OptionName::DownDelay, "it counts looks at the links, and miimon is off");
        }
        if self.probes() && (self.mode == Mode::Lacp || self.mode.is_adaptive()) {
            return self
                .refuse(OptionName::ArpInterval, "this mode hears of links by miimon alone");
        }
        Ok(())
    }

    fn check_probes(&self) -> Result<(), Conflict> {
        let targets = !self.arp_ip_target.is_empty() || !self.ns_ip6_target.is_empty();
        if self.probes() && !targets {
            return self.refuse(
                OptionName::ArpInterval,
                "there is nobody to probe: no arp_ip_target, no ns_ip6_target",
            );
        }
        if self.arp_validate != Validate::None && !self.probes() {
            return self.refuse(
                OptionName::ArpValidate,
                "there are no answers to validate: arp_interval is off",
            );
        }
        if self.probe_all && !(self.probes() && self.mode == Mode::ActiveBackup) {
            return self.refuse(OptionName::ProbeAll, "it is for active-backup with arp_interval");
        }
        Ok(())
    }

    fn check_idle_targets(&self) -> Result<(), Conflict> {
        let option = match (self.arp_ip_target.is_empty(), self.ns_ip6_target.is_empty()) {
            _ if self.probes() => return Ok(()),
            (true, true) => return Ok(()),
            (true, false) => OptionName::NsIp6Target,
            (false, _) => OptionName::ArpIpTarget,
        };
        self.refuse(option, "targets are probed every arp_interval, and that is off")
    }

    fn check_mode(&self) -> Result<(), Conflict> {
        let lacp = self.mode == Mode::Lacp;
        if self.primary.is_some() && !self.mode.has_active() {
            return self.refuse(OptionName::Primary, "this mode has no active member to prefer");
        }
        if self.fail_over_mac != FailOverMac::None && self.mode != Mode::ActiveBackup {
            return self.refuse(OptionName::FailOverMac, "it is for active-backup");
        }
        if self.lacp_strict && !lacp {
            return self.refuse(OptionName::LacpStrict, "it is for 802.3ad");
        }
        if self.ad_select != AdSelect::Stable && !lacp {
            return self.refuse(OptionName::AdSelect, "it is for 802.3ad");
        }
        if self.lacp_fallback_ms > 0 && !lacp {
            return self.refuse(OptionName::LacpFallback, "it is for 802.3ad");
        }
        if self.lacp_fallback_ms > 0 && !self.lacp_strict {
            return self.refuse(
                OptionName::LacpFallback,
                "without lacp_strict a silent partner is done without at once",
            );
        }
        if self.broadcast_neighbor && !lacp {
            return self.refuse(OptionName::BroadcastNeighbor, "it is for 802.3ad");
        }
        if self.packets_per_slave != 1 && self.mode != Mode::RoundRobin {
            return self.refuse(OptionName::PacketsPerSlave, "it is for balance-rr");
        }
        if !self.tlb_dynamic_lb && !self.mode.is_adaptive() {
            return self.refuse(OptionName::TlbDynamicLb, "it is for balance-tlb and balance-alb");
        }
        Ok(())
    }

    fn round(&mut self) {
        let miimon = self.miimon();
        if miimon > 0 {
            for time in
                [&mut self.updelay_ms, &mut self.downdelay_ms, &mut self.peer_notif_delay_ms]
            {
                *time -= *time % miimon;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Options, Conflict> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        Options::from_pairs(pairs).unwrap().checked()
    }

    #[test]
    fn without_a_monitor_links_are_watched_every_100_ms() {
        assert_eq!(checked("mode=1").unwrap().miimon(), 100);
        assert_eq!(checked("mode=1 arp_interval=50 arp_ip_target=10.0.0.1").unwrap().miimon(), 0);
    }

    #[test]
    fn delays_are_rounded_down() {
        let options =
            checked("mode=1 miimon=100 updelay=250 downdelay=99 peer_notif_delay=1010").unwrap();
        assert_eq!((options.updelay_ms, options.updelay_ticks()), (200, 2));
        assert_eq!((options.downdelay_ms, options.downdelay_ticks()), (0, 0));
        assert_eq!(options.peer_notif_delay_ms, 1000);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = [
            ("mode=1 miimon=0", OptionName::Miimon),
            ("mode=1 miimon=100 arp_interval=100 arp_ip_target=10.0.0.1", OptionName::ArpInterval),
            ("mode=4 arp_interval=100 arp_ip_target=10.0.0.1", OptionName::ArpInterval),
            ("mode=6 arp_interval=100 arp_ip_target=10.0.0.1", OptionName::ArpInterval),
            ("mode=1 arp_interval=100", OptionName::ArpInterval),
            ("mode=1 arp_ip_target=10.0.0.1", OptionName::ArpIpTarget),
            ("mode=1 ns_ip6_target=fe80::1", OptionName::NsIp6Target),
            ("mode=1 arp_validate=all", OptionName::ArpValidate),
            ("mode=1 arp_interval=9 arp_ip_target=10.0.0.1 updelay=100", OptionName::UpDelay),
            ("mode=1 arp_interval=9 arp_ip_target=10.0.0.1 downdelay=100", OptionName::DownDelay),
            ("mode=2 primary=eth0", OptionName::Primary),
            ("mode=5 fail_over_mac=active", OptionName::FailOverMac),
            ("mode=1 lacp_strict=on", OptionName::LacpStrict),
            ("mode=1 ad_select=count", OptionName::AdSelect),
            ("mode=1 packets_per_slave=2", OptionName::PacketsPerSlave),
            ("mode=1 tlb_dynamic_lb=0", OptionName::TlbDynamicLb),
            ("mode=1 probe_all=1", OptionName::ProbeAll),
        ];
        for (text, option) in refused {
            assert_eq!(checked(text).map_err(|conflict| conflict.option), Err(option), "{text}");
        }
        let error = checked("mode=2 primary=eth0").unwrap_err();
        assert_eq!(error.to_string(), "primary=eth0: this mode has no active member to prefer");
    }
}
