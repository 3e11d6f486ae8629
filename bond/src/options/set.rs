//! One option as text.

use std::fmt;
use std::str::FromStr;

use holdfast_core::net::Mac;

use super::target::{Address, MAX_TARGETS};
use super::{OptionName, Options, Target, UnknownOption};

/// An option could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// There is none of that name.
    #[error(transparent)]
    Unknown(#[from] UnknownOption),
    /// It cannot have this value.
    #[error("{option}={value}: {reason}")]
    Value {
        /// Which.
        option: OptionName,
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
}

impl Options {
    /// Options given as pairs of names and values, unchecked: see [`checked`](Self::checked).
    ///
    /// Later pairs overrule earlier ones, except that `+10.0.0.1` adds a target to those before.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for (name, value) in pairs {
            options.set_by_name(name, value)?;
        }
        Ok(options)
    }

    /// Sets one option, by its name.
    pub fn set_by_name(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        self.set(name.parse()?, value)
    }

    /// Sets one option.
    pub fn set(&mut self, option: OptionName, value: &str) -> Result<(), OptionError> {
        let value = value.trim();
        let to = Setting { option, value };
        match option {
            OptionName::Mode => self.mode = to.parsed()?,
            OptionName::Miimon => self.miimon_ms = Some(to.number(0, MAX_MS)?),
            OptionName::UpDelay => self.updelay_ms = to.number(0, MAX_MS)?,
            OptionName::DownDelay => self.downdelay_ms = to.number(0, MAX_MS)?,
            OptionName::UseCarrier => {
                if !to.switch()? {
                    return Err(
                        to.refused("links are asked for their carrier, nothing else is left")
                    );
                }
            }
            OptionName::ArpInterval => self.arp_interval_ms = to.number(0, MAX_MS)?,
            OptionName::ArpIpTarget => to.targets(&mut self.arp_ip_target)?,
            OptionName::NsIp6Target => to.targets(&mut self.ns_ip6_target)?,
            OptionName::ArpValidate => self.arp_validate = to.parsed()?,
            OptionName::ArpAllTargets => self.arp_all_targets = to.parsed()?,
            OptionName::ArpMissedMax => self.arp_missed_max = to.number(1, 255)? as u8,
            OptionName::Primary => self.primary = (!value.is_empty()).then(|| value.to_owned()),
            OptionName::PrimaryReselect => self.primary_reselect = to.parsed()?,
            OptionName::ActiveSlave => {
                return Err(to.refused("only a running bond has an active member"));
            }
            OptionName::FailOverMac => self.fail_over_mac = to.parsed()?,
            OptionName::NumPeerNotif => self.num_peer_notif = to.number(0, 255)? as u8,
            OptionName::PeerNotifDelay => self.peer_notif_delay_ms = to.number(0, 300_000)?,
            OptionName::ResendIgmp => self.resend_igmp = to.number(0, 255)? as u8,
            OptionName::AllSlavesActive => self.all_slaves_active = to.switch()?,
            OptionName::PacketsPerSlave => self.packets_per_slave = to.number(0, 65_535)? as u16,
            OptionName::XmitHashPolicy => self.xmit_hash_policy = to.parsed()?,
            OptionName::TlbDynamicLb => self.tlb_dynamic_lb = to.switch()?,
            OptionName::LpInterval => self.lp_interval_s = to.number(1, MAX_MS)?,
            OptionName::FlapPenalty => self.flap_penalty = to.number(0, 1_000_000)?,
            OptionName::FlapHalfLife => self.flap_half_life_ms = to.number(1, MAX_MS)?,
            OptionName::ProbeAll => self.probe_all = to.switch()?,
            _ => return self.set_lacp(&to),
        }
        Ok(())
    }

    fn set_lacp(&mut self, to: &Setting<'_>) -> Result<(), OptionError> {
        match to.option {
            OptionName::LacpRate => self.lacp_rate = to.parsed()?,
            OptionName::LacpActive => self.lacp_active = to.switch()?,
            OptionName::LacpStrict => self.lacp_strict = to.switch()?,
            OptionName::MinLinks => self.min_links = to.number(0, MAX_MS)?,
            OptionName::AdSelect => self.ad_select = to.parsed()?,
            OptionName::AdActorSysPrio => self.ad_actor_sys_prio = to.number(1, 65_535)? as u16,
            OptionName::AdActorSystem => self.ad_actor_system = to.system()?,
            OptionName::AdUserPortKey => self.ad_user_port_key = to.number(0, 1023)? as u16,
            OptionName::CoupledControl => self.coupled_control = to.switch()?,
            OptionName::BroadcastNeighbor => self.broadcast_neighbor = to.switch()?,
            OptionName::LacpFallback => self.lacp_fallback_ms = to.number(0, MAX_MS)?,
            other => unreachable!("{other} is set elsewhere"),
        }
        Ok(())
    }

    /// An option's value, as text that [`set`](Self::set) takes. Members' names are not known here:
    /// `active_slave` is empty.
    pub fn get(&self, option: OptionName) -> String {
        let switch = |on: bool| u8::from(on).to_string();
        match option {
            OptionName::Mode => self.mode.to_string(),
            OptionName::Miimon => self.miimon().to_string(),
            OptionName::UpDelay => self.updelay_ms.to_string(),
            OptionName::DownDelay => self.downdelay_ms.to_string(),
            OptionName::UseCarrier => switch(true),
            OptionName::ArpInterval => self.arp_interval_ms.to_string(),
            OptionName::ArpIpTarget => joined(&self.arp_ip_target),
            OptionName::NsIp6Target => joined(&self.ns_ip6_target),
            OptionName::ArpValidate => self.arp_validate.to_string(),
            OptionName::ArpAllTargets => self.arp_all_targets.to_string(),
            OptionName::ArpMissedMax => self.arp_missed_max.to_string(),
            OptionName::Primary => self.primary.clone().unwrap_or_default(),
            OptionName::PrimaryReselect => self.primary_reselect.to_string(),
            OptionName::ActiveSlave => String::new(),
            OptionName::FailOverMac => self.fail_over_mac.to_string(),
            OptionName::NumPeerNotif => self.num_peer_notif.to_string(),
            OptionName::PeerNotifDelay => self.peer_notif_delay_ms.to_string(),
            OptionName::ResendIgmp => self.resend_igmp.to_string(),
            OptionName::AllSlavesActive => switch(self.all_slaves_active),
            OptionName::PacketsPerSlave => self.packets_per_slave.to_string(),
            OptionName::XmitHashPolicy => self.xmit_hash_policy.to_string(),
            OptionName::TlbDynamicLb => switch(self.tlb_dynamic_lb),
            OptionName::LpInterval => self.lp_interval_s.to_string(),
            OptionName::LacpRate => self.lacp_rate.to_string(),
            OptionName::LacpActive => switch(self.lacp_active),
            OptionName::LacpStrict => switch(self.lacp_strict),
            OptionName::MinLinks => self.min_links.to_string(),
            OptionName::AdSelect => self.ad_select.to_string(),
            OptionName::AdActorSysPrio => self.ad_actor_sys_prio.to_string(),
            OptionName::AdActorSystem => self.ad_actor_system.unwrap_or_default().to_string(),
            OptionName::AdUserPortKey => self.ad_user_port_key.to_string(),
            OptionName::CoupledControl => switch(self.coupled_control),
            OptionName::BroadcastNeighbor => switch(self.broadcast_neighbor),
            OptionName::ProbeAll => switch(self.probe_all),
            OptionName::LacpFallback => self.lacp_fallback_ms.to_string(),
            OptionName::FlapPenalty => self.flap_penalty.to_string(),
            OptionName::FlapHalfLife => self.flap_half_life_ms.to_string(),
        }
    }
}

/// The kernel keeps times in an `int`.
const MAX_MS: u32 = i32::MAX as u32;

/// An option and the text it is set to.
struct Setting<'a> {
    option: OptionName,
    value: &'a str,
}

impl Setting<'_> {
    fn refused(&self, reason: impl fmt::Display) -> OptionError {
        let (value, reason) = (self.value.to_owned(), reason.to_string());
        OptionError::Value { option: self.option, value, reason }
    }

    fn parsed<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, OptionError> {
        self.value.parse().map_err(|error| self.refused(error))
    }

    fn number(&self, least: u32, most: u32) -> Result<u32, OptionError> {
        match self.value.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refused(format_args!("a number from {least} to {most}, please"))),
        }
    }

    fn switch(&self) -> Result<bool, OptionError> {
        match self.value {
            "0" | "off" => Ok(false),
            "1" | "on" => Ok(true),
            _ => Err(self.refused("it is on (1) or off (0)")),
        }
    }

    fn system(&self) -> Result<Option<Mac>, OptionError> {
        match self.parsed()? {
            Mac::ZERO => Ok(None),
            system if system.is_station() => Ok(Some(system)),
            _ => Err(self.refused("a system is no group of stations")),
        }
    }

    /// Takes a list, or with `+` adds to and with `-` removes from what is there.
    fn targets<A: Address>(&self, targets: &mut Vec<Target<A>>) -> Result<(), OptionError>
    where
        Target<A>: FromStr<Err: fmt::Display>,
    {
        let one = |text: &str| text.parse::<Target<A>>().map_err(|error| self.refused(error));
        if let Some(gone) = self.value.strip_prefix('-') {
            let gone = one(gone)?;
            let before = targets.len();
            targets.retain(|target| target.address != gone.address);
            let found = targets.len() < before;
            return if found { Ok(()) } else { Err(self.refused("it is no target")) };
        }
        let mut list = if self.value.starts_with('+') { targets.clone() } else { Vec::new() };
        for text in self.value.trim_start_matches('+').split([',', ' ']) {
            if text.is_empty() {
                continue;
            }
            let target = one(text)?;
            if list.iter().any(|known| known.address == target.address) {
                return Err(self.refused("it is a target already"));
            }
            list.push(target);
        }
        if list.len() > MAX_TARGETS {
            return Err(self.refused(format_args!("at most {MAX_TARGETS} targets, please")));
        }
        *targets = list;
        Ok(())
    }
}

fn joined<A: fmt::Display>(targets: &[Target<A>]) -> String {
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Mode;

    #[test]
    fn every_option_takes_the_text_it_gives() {
        let given = [
            ("mode", "802.3ad"),
            ("miimon", "50"),
            ("arp_ip_target", "10.0.0.1,10.0.0.2@7"),
            ("ns-ip6-target", "fe80::1"),
            ("primary", "eth1"),
            ("ad_actor_system", "02:00:00:00:00:01"),
        ];
        let options = Options::from_pairs(given).unwrap();
        assert_eq!(options.mode, Mode::Lacp);
        let mut copy = Options::default();
        for &name in OptionName::ALL {
            if name != OptionName::ActiveSlave {
                copy.set(name, &options.get(name)).unwrap();
            }
        }
        assert_eq!(copy, options);
    }

    #[test]
    fn targets_are_added_and_removed() {
        let pairs = [("arp_ip_target", "10.0.0.1"), ("arp_ip_target", "+10.0.0.2")];
        let mut options = Options::from_pairs(pairs).unwrap();
        assert_eq!(options.get(OptionName::ArpIpTarget), "10.0.0.1,10.0.0.2");
        options.set_by_name("arp_ip_target", "-10.0.0.1").unwrap();
        assert_eq!(options.get(OptionName::ArpIpTarget), "10.0.0.2");
        assert!(options.set_by_name("arp_ip_target", "-10.0.0.1").is_err());
        assert!(options.set_by_name("arp_ip_target", "+10.0.0.2").is_err());
        let many: Vec<_> = (1..=17).map(|host| format!("10.0.0.{host}")).collect();
        assert!(options.set_by_name("arp_ip_target", &many.join(",")).is_err());
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        let refused = [
            ("arp_missed_max", "0"),
            ("arp_missed_max", "256"),
            ("peer_notif_delay", "300001"),
            ("num_grat_arp", "256"),
            ("ad_user_port_key", "1024"),
            ("ad_actor_sys_prio", "0"),
            ("ad_actor_system", "01:00:00:00:00:00"),
            ("miimon", "-1"),
            ("use_carrier", "0"),
            ("lacp_active", "perhaps"),
            ("lp_interval", "0"),
            ("active_slave", "eth0"),
            ("jumbo", "1"),
        ];
        for (name, value) in refused {
            assert!(Options::from_pairs([(name, value)]).is_err(), "{name}={value}");
        }
        let error = Options::from_pairs([("arp-missed-max", "0")]).unwrap_err();
        assert_eq!(error.to_string(), "arp_missed_max=0: a number from 1 to 255, please");
    }
}
