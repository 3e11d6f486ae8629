//! The shell around an array: one device per member, and the pump between them and the core.
//!
//! The whole is a block device again, so arrays nest.

use std::collections::VecDeque;

use holdfast_core::block::{BlockDevice, Completions, Geometry, Request};
use holdfast_core::time::{Clock, Instant};

use crate::array::{AddMember, Array, MemberIo, Refusal, Return};
use crate::defects::{Defects, Sound};
use crate::event::Event;
use crate::scan::{Probe, scan};
use crate::status::Status;
use crate::sync::Action;

/// A running array over its devices.
#[derive(Debug)]
pub struct Assembled<D, X: Defects = Sound> {
    array: Array<X>,
    ports: Vec<Port<D>>,
    now: Instant,
    answers: Completions,
}

/// A member's device and what waits to be submitted to it.
#[derive(Debug)]
struct Port<D> {
    device: D,
    stalled: VecDeque<Request>,
    outstanding: usize,
}

impl<D> Port<D> {
    const fn new(device: D) -> Self {
        Self { device, stalled: VecDeque::new(), outstanding: 0 }
    }
}

impl<D: BlockDevice, X: Defects> Assembled<D, X> {
    /// An array over its devices, in the order in which they were probed.
    pub fn new(array: Array<X>, devices: Vec<D>) -> Self {
        let ports = devices.into_iter().map(Port::new).collect();
        Self { array, ports, now: Instant::ZERO, answers: Vec::new() }
    }

    /// The whole state of the array now.
    pub fn status(&self) -> Status {
        self.array.status()
    }

    /// The core.
    pub const fn array(&self) -> &Array<X> {
        &self.array
    }

    /// A member's device.
    pub fn device(&self, member: usize) -> &D {
        &self.ports[member].device
    }

    /// A member's device, to be broken or looked into.
    pub fn device_mut(&mut self, member: usize) -> &mut D {
        &mut self.ports[member].device
    }

    /// Requests a member's device has not answered yet.
    pub fn outstanding(&self, member: usize) -> usize {
        self.ports[member].outstanding
    }

    /// Gives the devices back, in their order. Requests that were given up may still be on their way:
    /// they must have been answered before another array is assembled from the same devices.
    pub fn into_devices(self) -> Vec<D> {
        self.ports.into_iter().map(|port| port.device).collect()
    }

    /// What has been reported since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.array.poll_event()).collect()
    }

    /// See [`Array::fail_member`].
    pub fn fail_member(&mut self, member: usize) -> Result<(), Refusal> {
        self.array.fail_member(self.now, member)
    }

    /// See [`Array::member_gone`].
    pub fn member_gone(&mut self, member: usize) {
        self.array.member_gone(self.now, member);
    }

    /// See [`Array::remove_member`].
    pub fn remove_member(&mut self, member: usize) -> Result<(), Refusal> {
        self.array.remove_member(self.now, member)
    }

    /// See [`Array::check_new_member`].
    pub fn check_new_member(&self, geometry: Geometry) -> Result<(), Refusal> {
        self.array.check_new_member(&geometry)
    }

    /// See [`Array::add_member`].
    pub fn add_member(&mut self, device: D, new: AddMember) -> Result<usize, Refusal> {
        let index = self.array.add_member(self.now, device.geometry(), new)?;
        self.ports.push(Port::new(device));
        debug_assert_eq!(index + 1, self.ports.len());
        Ok(index)
    }

    /// See [`Array::introduce`].
    pub fn introduce(&mut self, device: D) -> usize {
        let index = self.array.introduce(self.now, device.geometry());
        self.ports.push(Port::new(device));
        debug_assert_eq!(index + 1, self.ports.len());
        index
    }

    /// What [`Array::readd_member`] would do about a device, by what it says of itself now.
    pub fn check_return<C: Clock>(
        &mut self,
        member: usize,
        clock: &mut C,
    ) -> Result<Return, Refusal> {
        let probe = self.probe(member, clock)?;
        self.array.check_return(member, &probe)
    }

    /// What [`Array::readd_member`] would do about a device that has said this of itself.
    pub fn check_return_as(&self, member: usize, probe: &Probe) -> Result<Return, Refusal> {
        self.check_at_rest(member)?;
        self.array.check_return(member, probe)
    }

    /// As [`Assembled::readd_member`], for whoever has asked the device already and must not wait.
    pub fn readd_member_as(&mut self, member: usize, probe: Probe) -> Result<Return, Refusal> {
        self.check_at_rest(member)?;
        self.array.readd_member(self.now, member, probe)
    }

    /// Asks a device that is out of service what it says of itself, and brings it back; see
    /// [`Array::readd_member`]. Waits for the device's answers.
    pub fn readd_member<C: Clock>(
        &mut self,
        member: usize,
        clock: &mut C,
    ) -> Result<Return, Refusal> {
        let probe = self.probe(member, clock)?;
        self.array.readd_member(self.now, member, probe)
    }

    /// What a device says of itself now, if nothing asked of it is unanswered. Waits for it.
    pub fn probe<C: Clock>(&mut self, member: usize, clock: &mut C) -> Result<Probe, Refusal> {
        self.check_at_rest(member)?;
        let mut found = scan(std::slice::from_mut(&mut self.ports[member].device), clock);
        Ok(found.remove(0))
    }

    /// Refuses a device that has not answered everything yet.
    fn check_at_rest(&self, member: usize) -> Result<(), Refusal> {
        let port = self.ports.get(member).ok_or(Refusal::NoSuchMember { member })?;
        match (port.outstanding + port.stalled.len()) as u32 {
            0 => Ok(()),
            requests => Err(Refusal::Outstanding { member, requests }),
        }
    }

    /// See [`Array::check_replacement`].
    pub fn check_replacement(&self, member: usize, with: usize) -> Result<u32, Refusal> {
        self.array.check_replacement(member, with)
    }

    /// See [`Array::check_replaced`].
    pub fn check_replaced(&self, member: usize) -> Result<u32, Refusal> {
        self.array.check_replaced(member)
    }

    /// See [`Array::replace_member`].
    pub fn replace_member(&mut self, member: usize, with: usize) -> Result<(), Refusal> {
        self.array.replace_member(self.now, member, with)
    }

    /// See [`Array::start`].
    pub fn start(&mut self, action: Action) -> Result<(), Refusal> {
        self.array.start(self.now, action)
    }

    /// See [`Array::start_pending`].
    pub fn start_pending(&mut self) -> bool {
        self.array.start_pending(self.now)
    }

    /// See [`Array::set_sync_speed`].
    pub const fn set_sync_speed(&mut self, least: u64, most: u64) {
        self.array.set_sync_speed(least, most);
    }

    /// See [`Array::sync_speed`].
    pub const fn sync_speed(&self) -> (u64, u64) {
        self.array.sync_speed()
    }

    /// See [`Array::is_recorded`].
    pub const fn is_recorded(&self) -> bool {
        self.array.is_recorded()
    }

    /// See [`Array::interrupt`].
    pub fn interrupt(&mut self) {
        self.array.interrupt(self.now);
    }

    /// See [`Array::stop`].
    pub fn stop(&mut self) {
        self.array.stop(self.now);
    }

    /// See [`Array::is_stopped`].
    pub const fn is_stopped(&self) -> bool {
        self.array.is_stopped()
    }

    /// Whether nothing is in flight, no metadata is pending and no pass is running.
    pub fn is_quiet(&self) -> bool {
        self.array.is_quiet()
    }

    /// Hands the core's requests to the devices; whether any went out.
    fn push(&mut self) -> bool {
        let mut moved = false;
        for port in &mut self.ports {
            while let Some(request) = port.stalled.pop_front() {
                match port.device.submit(request) {
                    Ok(()) => {
                        port.outstanding += 1;
                        moved = true;
                    }
                    Err(back) => {
                        port.stalled.push_front(back);
                        break;
                    }
                }
            }
        }
        while let Some(MemberIo { member, request }) = self.array.poll_member_io() {
            let port = &mut self.ports[member];
            if !port.stalled.is_empty() {
                port.stalled.push_back(request);
                continue;
            }
            match port.device.submit(request) {
                Ok(()) => {
                    port.outstanding += 1;
                    moved = true;
                }
                Err(back) => port.stalled.push_back(back),
            }
        }
        moved
    }

    /// Hands the devices' answers to the core; whether any came.
    fn pull(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for (member, port) in self.ports.iter_mut().enumerate() {
            if port.outstanding == 0 {
                continue;
            }
            port.device.poll(now, &mut self.answers);
            for completion in self.answers.drain(..) {
                port.outstanding -= 1;
                moved = true;
                self.array.member_done(now, member, completion);
            }
        }
        moved
    }
}

impl<D: BlockDevice, X: Defects> BlockDevice for Assembled<D, X> {
    fn geometry(&self) -> Geometry {
        self.array.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.array.submit(self.now, request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.now = now;
        self.array.handle_timeout(now);
        loop {
            let pushed = self.push();
            let pulled = self.pull(now);
            if !pushed && !pulled {
                break;
            }
        }
        while let Some(completion) = self.array.poll_completion() {
            finished.push(completion);
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        let busy = self.ports.iter().filter(|port| port.outstanding > 0);
        busy.filter_map(|port| port.device.poll_at()).chain(self.array.poll_at()).min()
    }
}
