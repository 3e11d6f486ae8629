//! Neighbours are told of a failover: exactly as often as asked for.

use std::time::Duration;

use super::Scenario;
use super::network::Ground;
use super::sniff::Sniffer;

pub(super) fn add(all: &mut Vec<Scenario>) {
    for count in [10, 20, 30, 50] {
        all.push(Scenario::new(format!("announcements: exactly {count}"), move || {
            announced(count)
        }));
    }
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
