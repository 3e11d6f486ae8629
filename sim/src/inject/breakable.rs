//! A device that can be broken while it is in use.

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request, Tag};
use holdfast_core::rng::Rng;
use holdfast_core::time::{Duration, Instant};

use super::{Blow, Harm};
use crate::decor::{Faulty, Kind, Latency, RuleId, Slow, Tally, Volatile};

/// Blocks a breakable device's cache holds before it writes back of its own accord.
const CACHED_BLOCKS: usize = 8192;

/// The name of a fault in force, with which it can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlowId(pub u64);

/// A fault a device has, or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its name.
    pub id: BlowId,
    /// What it is.
    pub blow: Blow,
    /// Requests that come before it; none if it has struck.
    pub waits: Option<u64>,
}

/// Any block device, with a volatile cache and faults by order.
///
/// Without faults it differs from the device beneath in one thing: what was not flushed is in a cache
/// of its own, so that a [power cut](Self::power_fails) can lose it.
#[derive(Debug)]
pub struct Breakable<D> {
    device: Faulty<Slow<Volatile<D>>>,
    dice: Rng,
    faults: Vec<(InForce, Option<RuleId>)>,
    next: u64,
}

impl<D: BlockDevice> Breakable<D> {
    /// A sound device. The dice decide what torn writes and power cuts leave behind; `atom` bytes,
    /// aligned, survive a cut together or not at all.
    pub fn new(inner: D, atom: u64, mut dice: Rng) -> Self {
        let mut other = || Rng::new(dice.bits());
        let cached = Volatile::new(inner).with_capacity(CACHED_BLOCKS).with_atoms(atom);
        let slow = Slow::new(cached, Latency::fixed(Duration::ZERO), other());
        Self { device: Faulty::new(slow, other()), dice, faults: Vec::new(), next: 0 }
    }

    /// The device beneath.
    pub const fn inner(&self) -> &D {
        self.device.inner().inner().inner()
    }

    /// The device beneath.
    pub const fn inner_mut(&mut self) -> &mut D {
        self.device.inner_mut().inner_mut().inner_mut()
    }

    /// What was done to requests so far.
    pub const fn tally(&self) -> Tally {
        self.device.tally()
    }

    /// Requests that are stuck.
    pub const fn stuck(&self) -> usize {
        self.device.stuck()
    }

    /// Faults in force or to come; what counts and rewriting have used up is gone.
    pub fn faults(&self) -> impl Iterator<Item = &InForce> {
        self.faults.iter().map(|(fault, _)| fault)
    }

    /// Strikes, now or after so many requests as the blow says.
    pub fn strike(&mut self, blow: Blow) -> BlowId {
        let id = BlowId(self.next);
        self.next += 1;
        let waits = Some(blow.after_requests);
        self.faults.push((InForce { id, blow, waits }, None));
        self.strike_due();
        id
    }

    /// Ends a fault. What was stuck because of it goes on.
    pub fn mend(&mut self, id: BlowId) {
        let Some(at) = self.faults.iter().position(|(fault, _)| fault.id == id) else { return };
        let (fault, rule) = self.faults.remove(at);
        if let Some(rule) = rule {
            self.device.take_back(rule);
        }
        if fault.blow.harm == Harm::Stuck {
            self.device.release();
        }
        self.set_switches();
    }

    /// Ends every fault.
    pub fn mend_all(&mut self) {
        let all: Vec<BlowId> = self.faults().map(|fault| fault.id).collect();
        all.into_iter().for_each(|id| self.mend(id));
        // What was stuck because of a fault that had worn out.
        self.device.release();
    }

    /// The power fails; see [`Volatile::power_fails`].
    pub fn power_fails(&mut self) {
        self.device.inner_mut().inner_mut().power_fails(&mut self.dice);
    }

    /// Whether a power cut has left everything where it will stay.
    pub fn is_still(&self) -> bool {
        self.device.inner().inner().is_still()
    }

    /// Strikes with what has waited long enough.
    fn strike_due(&mut self) {
        for (fault, rule) in &mut self.faults {
            if fault.waits == Some(0) {
                fault.waits = None;
                *rule = fault.blow.rule().map(|rule| self.device.add(rule));
            }
        }
        self.set_switches();
    }

    /// Makes the device as a whole what the faults in force make of it.
    fn set_switches(&mut self) {
        let faults = self.faults.iter().map(|(fault, _)| fault);
        let struck: Vec<&Blow> =
            faults.filter(|fault| fault.waits.is_none()).map(|fault| &fault.blow).collect();
        let has = |harm| struck.iter().any(|blow| blow.harm == harm);
        match has(Harm::Vanish) {
            true => self.device.kill(),
            false => self.device.revive(),
        }
        self.device.set_full(has(Harm::Full));
        self.device.set_read_only(has(Harm::ReadOnly));
        let delay = struck.iter().map(|blow| blow.delay).max().unwrap_or_default();
        self.device.inner_mut().set_latency(Latency::fixed(delay));
    }

    /// Forgets faults whose rules are used up.
    fn forget_spent(&mut self) {
        let device = &self.device;
        self.faults.retain(|(_, rule)| rule.is_none_or(|rule| device.has(rule)));
    }
}

impl<D: BlockDevice> BlockDevice for Breakable<D> {
    fn geometry(&self) -> Geometry {
        // As real disks, it does not tell beforehand that it takes no writes any more.
        self.inner().geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        if self.faults.is_empty() {
            return self.device.submit(request);
        }
        if self.faults().any(|fault| fault.waits == Some(0)) {
            self.strike_due();
        }
        let kind = Kind::of(&request.op);
        self.device.submit(request)?;
        for (fault, _) in &mut self.faults {
            if let Some(waits) = &mut fault.waits
                && fault.blow.kinds.contains(kind)
            {
                *waits = waits.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.device.poll(now, finished);
        self.forget_spent();
    }

    fn poll_at(&self) -> Option<Instant> {
        self.device.poll_at()
    }

    fn abandon(&mut self, tag: Tag) {
        self.device.abandon(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Order, Touch};
    use super::*;
    use crate::world::{VirtualClock, World};
    use holdfast_core::block::{Blocking, Fault, MemDisk, conformance};

    const SECTORS: u64 = 1 << 10;

    fn device() -> Breakable<MemDisk> {
        Breakable::new(MemDisk::new(SECTORS), 512, World::new(1).rng(1))
    }

    fn blocking() -> Blocking<Breakable<MemDisk>, VirtualClock> {
        Blocking::new(device(), VirtualClock::default())
    }

    fn blow(order: Order) -> Blow {
        Order { member: Some("it".to_owned()), ..order }.blow(8..SECTORS).unwrap()
    }

    #[test]
    fn meets_the_examiner() {
        conformance::examine(&mut device(), &mut VirtualClock::default());
        let mut slow = device();
        slow.strike(blow(Order { delay_ms: Some(5), ..Order::new(Harm::Slow) }));
        conformance::examine(&mut slow, &mut VirtualClock::default());
    }

    #[test]
    fn switches_last_as_long_as_anybody_wants_them() {
        let mut disk = blocking();
        let one = disk.device_mut().strike(blow(Order::new(Harm::Vanish)));
        let two = disk.device_mut().strike(blow(Order::new(Harm::Vanish)));
        assert_eq!(disk.read_at(0, &mut [0; 512]), Err(Fault::Gone));
        disk.device_mut().mend(one);
        assert_eq!(disk.read_at(0, &mut [0; 512]), Err(Fault::Gone));
        disk.device_mut().mend(two);
        assert_eq!(disk.read_at(0, &mut [0; 512]), Ok(()));
        disk.device_mut().strike(blow(Order::new(Harm::Full)));
        assert_eq!(disk.write_at(0, &[1; 512]), Err(Fault::Full));
        disk.device_mut().strike(blow(Order::new(Harm::ReadOnly)));
        assert_eq!(disk.write_at(0, &[1; 512]), Err(Fault::ReadOnly));
        assert!(!disk.device().geometry().read_only, "it does not tell beforehand");
        disk.device_mut().mend_all();
        assert_eq!(disk.write_at(0, &[1; 512]), Ok(()));
        assert_eq!(disk.device().faults().count(), 0);
    }

    #[test]
    fn counts_are_exact() {
        let mut disk = blocking();
        disk.device_mut().strike(blow(Order {
            on: vec![Touch::Write],
            times: Some(2),
            after_requests: Some(3),
            ..Order::new(Harm::Error)
        }));
        let mut wrote = Vec::new();
        for _ in 0..8 {
            disk.read_at(0, &mut [0; 512]).unwrap();
            wrote.push(disk.write_at(0, &[1; 512]).is_ok());
        }
        assert_eq!(wrote, [true, true, true, false, false, true, true, true]);
        assert_eq!(disk.device().faults().count(), 0, "it is used up");
    }

    #[test]
    fn what_lies_about_flushes_loses_at_a_power_cut_what_an_honest_disk_keeps() {
        for lies in [false, true] {
            let mut disk = blocking();
            if lies {
                disk.device_mut().strike(blow(Order::new(Harm::Lie)));
            }
            disk.write_at(0, &[1; 1 << 18]).unwrap();
            disk.flush().unwrap();
            let mut disk = disk.into_inner().0;
            disk.power_fails();
            while !disk.is_still() {
                disk.poll(Instant::ZERO, &mut Vec::new());
            }
            let kept = disk.inner().bytes()[..1 << 18].iter().filter(|&&byte| byte == 1).count();
            assert_eq!(kept == 1 << 18, !lies, "lies: {lies}, {kept} bytes kept");
        }
    }
}
