//! An NBD client.

use std::time::Duration;

use holdfast_core::block::{BlockDevice, Blocking};
use holdfast_core::time::Clock;
use holdfast_host::nbd::client::{Condition, NbdDisk, Target};
use holdfast_host::watch::{Watch, WatchClock};

/// A connection.
pub(crate) type Client = Blocking<NbdDisk, WatchClock>;

/// A connection to a server.
pub(crate) fn client(uri: &str) -> Client {
    let watch = Watch::new().expect("a set");
    let mut clock = WatchClock::new(watch.clone()).expect("a clock");
    let mut disk = NbdDisk::new(Target::parse(uri).expect("a URI"), watch);
    disk.connect();
    let mut none = Vec::new();
    let until = clock.now() + Duration::from_secs(20);
    loop {
        let now = clock.now();
        disk.poll(now, &mut none);
        match disk.condition() {
            Condition::Up => return Blocking::new(disk, clock),
            Condition::Pending if now < until => clock.wait(Some(until)),
            other => panic!("{uri}: {other:?}"),
        }
    }
}
