//! Neighbours are told of a failover: exactly as often as asked for.

use std::time::Duration;

use super::Scenario;
use super::delays::told_at;
use super::network::Ground;
use super::sniff::{Sniffer, heard_at};

pub(super) fn add(all: &mut Vec<Scenario>) {
    for count in [10, 20, 30, 50] {
        all.push(Scenario::new(format!("announcements: exactly {count}"), move || {
            announced(count)
        }));
    }
    all.push(Scenario::alone("times: announcements, peer_notif_delay 200", spaced));
}

fn announced(count: usize) -> String {
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!(
        "--mode active-backup --miimon 10 --num-grat-arp {count} --peer-notif-delay 100 eth0 eth1"
    ));
    assert!(ground.reaches("10.9.0.1"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!bond.story().iter().any(|told| told.starts_with("announced")), "nothing changed yet");
    let sniffer = Sniffer::listen(&ground.switch, "p1", "arp or icmp6");
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    bond.comes_true("the last one announced", |bond| {
        let story = bond.story();
        let mut announced = story.iter().filter(|told| told.starts_with("announced"));
        announced.any(|told| !told.contains("more to come"))
    });
    // And none after the last one.
    std::thread::sleep(Duration::from_millis(500));
    let heard = sniffer.heard();
    let arp = "Request who-has 10.9.0.1 tell 10.9.0.1,";
    let arps = heard.iter().filter(|line| line.contains(arp)).count();
    let advertisement = "neighbor advertisement, tgt is 2001:db8::1";
    let advertisements = heard.iter().filter(|line| line.contains(advertisement)).count();
    assert_eq!((arps, advertisements), (count, count), "{heard:#?}");
    format!("{arps} ARP requests, {advertisements} advertisements")
}

/// The first one at once, the others one delay after the other.
fn spaced() -> String {
    const COUNT: usize = 4;
    const DELAY_MS: u64 = 200;
    let ground = Ground::lay(2).expect("looked at before");
    let bond = ground.bond(&format!(
        "--mode active-backup --miimon 20 --num-grat-arp {COUNT} --peer-notif-delay {DELAY_MS} \
         eth0 eth1"
    ));
    bond.becomes_active("eth0");
    bond.link_becomes("eth1", "up");
    assert!(ground.reaches("10.9.0.1"));
    let sniffer = Sniffer::listen(&ground.switch, "p1", "arp");
    ground.cable_is(0, false);
    bond.becomes_active("eth1");
    std::thread::sleep(Duration::from_millis(DELAY_MS * (COUNT as u64 + 1)));
    let active = told_at(&bond, "active eth0 -> eth1");
    let heard = sniffer.heard();
    let arp = "Request who-has 10.9.0.1 tell 10.9.0.1,";
    let announced = heard.iter().filter(|line| line.contains(arp));
    let after: Vec<u64> = announced.map(|line| heard_at(line).saturating_sub(active)).collect();
    assert_eq!(after.len(), COUNT, "{heard:#?}");
    for (after_ms, due) in after.iter().zip((0..).step_by(DELAY_MS as usize)) {
        assert!(after_ms + 1 >= due && *after_ms <= due + 2 * 20 + 20, "{after:?}");
    }
    format!("{after:?} ms after the change")
}
