//! The text of `/proc/net/bonding/NAME`, which monitoring plugins parse.
//!
//! Lines, words and order are those of the kernel's `bond_procfs.c`; only the first line tells who
//! speaks.

use std::fmt;

use holdfast_core::net::Duplex;

use crate::options::{FailOverMac, Mode, Target};
use crate::status::{LacpStatus, MemberStatus, PortStatus, Status};

/// A status, to be printed as the kernel prints it.
#[derive(Clone, Copy, Debug)]
pub struct Proc<'a>(pub &'a Status);

impl fmt::Display for Proc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Ethernet Channel Bonding Driver: holdfast v{}\n", env!("CARGO_PKG_VERSION"))?;
        bond(f, self.0)?;
        self.0.members.iter().try_for_each(|one| member(f, one))
    }
}

fn bond(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let options = &status.options;
    write!(f, "Bonding Mode: {}", options.mode.title())?;
    if options.mode == Mode::ActiveBackup && options.fail_over_mac != FailOverMac::None {
        write!(f, " (fail_over_mac {})", options.fail_over_mac)?;
    }
    writeln!(f)?;
    let hashes = matches!(options.mode, Mode::Xor | Mode::Lacp | Mode::Tlb | Mode::Alb);
    if hashes {
        let policy = options.xmit_hash_policy;
        writeln!(f, "Transmit Hash Policy: {policy} ({})", policy.number())?;
    }
    if options.mode.has_active() {
        write!(f, "Primary Slave: {}", status.primary.as_deref().unwrap_or("None"))?;
        if status.primary.is_some() {
            write!(f, " (primary_reselect {})", options.primary_reselect)?;
        }
        let active = status.active.as_deref().unwrap_or("None");
        writeln!(f, "\nCurrently Active Slave: {active}")?;
    }
    writeln!(f, "MII Status: {}", if status.carrier { "up" } else { "down" })?;
    writeln!(f, "MII Polling Interval (ms): {}", options.miimon())?;
    writeln!(f, "Up Delay (ms): {}", options.updelay_ms)?;
    writeln!(f, "Down Delay (ms): {}", options.downdelay_ms)?;
    writeln!(f, "Peer Notification Delay (ms): {}", options.peer_notif_delay_ms)?;
    if options.probes() {
        writeln!(f, "ARP Polling Interval (ms): {}", options.arp_interval_ms)?;
        writeln!(f, "ARP Missed Max: {}", options.arp_missed_max)?;
        writeln!(f, "ARP IP target/s (n.n.n.n form):{}", targets(&options.arp_ip_target))?;
        writeln!(f, "NS IPv6 target/s (xx::xx form):{}", targets(&options.ns_ip6_target))?;
    }
    status.lacp.as_ref().map_or(Ok(()), |lacp| lacp_info(f, status, lacp))
}

fn lacp_info(f: &mut fmt::Formatter<'_>, status: &Status, lacp: &LacpStatus) -> fmt::Result {
    let options = &status.options;
    writeln!(f, "\n802.3ad info")?;
    writeln!(f, "LACP active: {}", if options.lacp_active { "on" } else { "off" })?;
    writeln!(f, "LACP rate: {}", options.lacp_rate)?;
    writeln!(f, "Min links: {}", options.min_links)?;
    writeln!(f, "Aggregator selection policy (ad_select): {}", options.ad_select)?;
    writeln!(f, "System priority: {}", lacp.system_priority)?;
    writeln!(f, "System MAC address: {}", lacp.system)?;
    let Some(active) = &lacp.active else {
        return writeln!(f, "bond {} has no active aggregator", status.name);
    };
    writeln!(f, "Active Aggregator Info:")?;
    writeln!(f, "\tAggregator ID: {}", active.id)?;
    writeln!(f, "\tNumber of ports: {}", active.ports)?;
    writeln!(f, "\tActor Key: {}", active.actor_key)?;
    writeln!(f, "\tPartner Key: {}", active.partner_key)?;
    writeln!(f, "\tPartner Mac Address: {}", active.partner)
}

fn targets<A: fmt::Display>(targets: &[Target<A>]) -> String {
    let each: Vec<_> = targets.iter().map(|target| format!(" {}", target.address)).collect();
    each.join(",")
}

fn member(f: &mut fmt::Formatter<'_>, member: &MemberStatus) -> fmt::Result {
    writeln!(f, "\nSlave Interface: {}", member.name)?;
    writeln!(f, "MII Status: {}", member.state)?;
    match member.speed_mbps {
        Some(speed) => writeln!(f, "Speed: {speed} Mbps")?,
        None => writeln!(f, "Speed: Unknown")?,
    }
    let duplex = match member.duplex {
        Some(Duplex::Full) => "full",
        Some(Duplex::Half) => "half",
        None => "Unknown",
    };
    writeln!(f, "Duplex: {duplex}")?;
    writeln!(f, "Link Failure Count: {}", member.failures)?;
    writeln!(f, "Permanent HW addr: {}", member.permanent_mac)?;
    writeln!(f, "Slave queue ID: {}", member.queue_id)?;
    member.port.as_ref().map_or(Ok(()), |one| port(f, one))
}

fn port(f: &mut fmt::Formatter<'_>, port: &PortStatus) -> fmt::Result {
    let Some(aggregator) = port.aggregator else {
        return writeln!(f, "Aggregator ID: N/A");
    };
    writeln!(f, "Aggregator ID: {aggregator}")?;
    writeln!(f, "Actor Churn State: {}", port.actor_churn.name())?;
    writeln!(f, "Partner Churn State: {}", port.partner_churn.name())?;
    writeln!(f, "Actor Churned Count: {}", port.actor_churned)?;
    writeln!(f, "Partner Churned Count: {}", port.partner_churned)?;
    for (who, key, party) in
        [("actor", "port key", port.actor), ("partner", "oper key", port.partner)]
    {
        writeln!(f, "details {who} lacp pdu:")?;
        writeln!(f, "    system priority: {}", party.system_priority)?;
        writeln!(f, "    system mac address: {}", party.system)?;
        writeln!(f, "    {key}: {}", party.key)?;
        writeln!(f, "    port priority: {}", party.port_priority)?;
        writeln!(f, "    port number: {}", party.port)?;
        writeln!(f, "    port state: {}", party.state)?;
    }
    Ok(())
}
