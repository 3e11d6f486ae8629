//! Frames: from the bond's interface to its members, and back.

use holdfast_bond::{Egress, Ingress, MemberId, Transmit};
use holdfast_host::bond::frame::Header;
use holdfast_host::bond::packet::PacketSocket;

use super::driver::Driver;
use super::ports::Port;

impl Driver {
    /// Carries a batch of the stack's frames out to the members.
    pub(super) fn carry_out(&mut self) {
        if !self.tap_ready {
            return;
        }
        // An interface that is down has nothing to give.
        let count = self.tap.receive(&mut self.batch).unwrap_or(0);
        self.tap_ready = count > 0;
        if count == 0 {
            return;
        }
        let now = self.now();
        let Self { batch, bond, ports, dropped, .. } = self;
        batch.each(|number, slot| match bond.send(slot.frame_mut(), now) {
            Egress::One(member) => match port_of(ports, member) {
                Some(port) => port.outbox.push(number),
                None => *dropped += 1,
            },
            Egress::Every => {
                for member in bond.every() {
                    if let Some(port) = port_of(ports, *member) {
                        port.outbox.push(number);
                    }
                }
            }
            Egress::Drop(_) => *dropped += 1,
        });
        for port in ports.iter_mut().filter(|port| !port.outbox.is_empty()) {
            let frames = port.outbox.iter().map(|number| {
                let slot = batch.frame(*number);
                (&slot.header, slot.frame())
            });
            let sent = port.data.send(frames);
            port.outbox.clear();
            port.count_sent(sent);
        }
        self.drain();
    }

    /// A frame of the core's own making, past the queue of data.
    pub(super) fn transmit(&mut self, transmit: &Transmit) {
        if let Some(port) = port_of(&mut self.ports, transmit.member) {
            let sent = port.control.send([(&Header::PLAIN, &transmit.frame[..])]);
            port.count_sent(sent);
        }
    }

    /// Hears what waits in the control lanes, all of it.
    pub(super) fn hear_control_lanes(&mut self) {
        for index in 0..self.ports.len() {
            while self.ports.get(index).is_some_and(|port| port.control_ready) {
                self.hear(index, true);
            }
        }
    }

    /// Hears a batch from each member's data lane, and looks at the time after each.
    pub(super) fn hear_data_lanes(&mut self) {
        for index in 0..self.ports.len() {
            if self.ports.get(index).is_some_and(|port| port.data_ready) {
                self.hear(index, false);
                self.hear_control_lanes();
                self.tick();
            }
        }
    }

    /// A batch of one lane, to the stack or wherever the core says.
    fn hear(&mut self, index: usize, control: bool) {
        let port = &mut self.ports[index];
        let socket = if control { &mut port.control } else { &mut port.data };
        // ENETDOWN: it was set down, and may be set up again; ENXIO and its like: it is gone, as
        // netlink will say. Either way there is nothing to hear now.
        let count = socket.receive(&mut self.batch).unwrap_or(0);
        let more = count > 0 && PacketSocket::was_full(&self.batch);
        *if control { &mut port.control_ready } else { &mut port.data_ready } = more;
        port.counters.received += count as u64;
        let Some(member) = port.id.filter(|_| count > 0) else { return };
        let delivered = self.deliver(member);
        if let Some(port) = self.ports.get_mut(index) {
            port.counters.delivered += delivered;
        }
        self.drain();
    }

    fn deliver(&mut self, member: MemberId) -> u64 {
        let now = self.now();
        let Self { batch, bond, tap, .. } = self;
        let mut delivered = 0;
        batch.each(|_, slot| {
            if bond.receive(member, slot.frame_mut(), now) == Ingress::Deliver
                && tap.send(&slot.header, slot.frame()).is_ok()
            {
                delivered += 1;
            }
        });
        delivered
    }
}

/// The device of a member.
pub(super) fn port_of(ports: &mut [Port], member: MemberId) -> Option<&mut Port> {
    ports.iter_mut().find(|port| port.id == Some(member))
}
