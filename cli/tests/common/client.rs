//! An NBD client.

use std::time::Duration;

use holdfast_core::block::Blocking;
use holdfast_host::clock::HostClock;
use holdfast_host::nbd::client::{NbdDisk, Target};
use holdfast_host::watch::Watch;

/// A connection.
pub(crate) type Client = Blocking<NbdDisk, HostClock>;

/// A connection to a server, or why there is none.
pub(crate) fn connect(uri: &str) -> Result<Client, String> {
    let watch = Watch::new().expect("a set");
    let mut clock = HostClock::watching(watch.clone()).expect("a clock");
    let target = Target::parse(uri).expect("an address");
    let disk = NbdDisk::open(target, &mut clock, &watch, Duration::from_secs(20))?;
    Ok(Blocking::new(disk, clock))
}

/// A connection to a server that is there.
#[track_caller]
pub(crate) fn client(uri: &str) -> Client {
    connect(uri).unwrap_or_else(|why| panic!("{uri}: {why}"))
}
