//! A device that is to become a member: what it is called, says of itself and carries.

use std::path::PathBuf;
use std::slice;

use holdfast_host::clock::HostClock;
use holdfast_host::signature::Signature;
use holdfast_raid::scan::{Probe, scan};

use crate::disk::Disk;
use crate::exit::Failure;
use crate::members::{self, Member};

/// A device that takes part in nothing yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) path: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) probe: Probe,
    /// What it carries, if that was looked for.
    pub(crate) marks: Vec<Signature>,
}

impl Arrival {
    /// Looks at a device, and at what it carries if that `matters`. Waits for its answers.
    pub(crate) fn look(
        member: Member,
        matters: bool,
        clock: &mut HostClock,
    ) -> Result<Self, Failure> {
        let Member { path, mut disk } = member;
        let probe = scan(slice::from_mut(&mut disk), clock).remove(0);
        let marks = match matters {
            true => members::signatures(&mut disk, clock, &path)?,
            false => Vec::new(),
        };
        Ok(Self { path, disk, probe, marks })
    }
}
