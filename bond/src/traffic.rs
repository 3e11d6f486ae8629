//! Frames: where those of the stack go, and what becomes of those received.

use holdfast_core::time::Instant;

use crate::bond::Bond;
use crate::defects::{Defect, Defects};
use crate::member::MemberId;
use crate::options::Mode;
use crate::output::{Egress, Ingress, NoEgress, NoIngress};
use crate::stamp::Stamp;
use crate::wire::ethernet;

impl<D: Defects> Bond<D> {
    /// A frame from the stack: says where it goes. The bytes may be changed on the way (the
    /// adaptive modes put the member's address in).
    pub fn send(&mut self, frame: &mut [u8], now: Instant) -> Egress {
        self.advance(now);
        if !self.up {
            return Egress::Drop(NoEgress::BondDown);
        }
        if frame.len() < ethernet::HEADER {
            return Egress::Drop(NoEgress::Runt);
        }
        let egress = self.route(frame);
        let stamp = Stamp::at(now);
        match egress {
            Egress::One(member) => {
                if let Some(member) = self.member_mut(member) {
                    member.last_tx = stamp;
                }
            }
            Egress::Every => {
                for member in &mut self.members {
                    if self.usable.contains(&member.id) {
                        member.last_tx = stamp;
                    }
                }
            }
            Egress::Drop(_) => {}
        }
        egress
    }

    fn route(&mut self, _frame: &mut [u8]) -> Egress {
        let to =
            |member: Option<MemberId>| member.map_or(Egress::Drop(NoEgress::NoMember), Egress::One);
        match self.options.mode {
            Mode::ActiveBackup => to(self.active),
            Mode::Broadcast if self.usable.is_empty() => to(None),
            Mode::Broadcast => Egress::Every,
            _ => to(self.usable.first().copied()),
        }
    }

    /// A frame received on a member: says what becomes of it. The bytes may be changed on the way
    /// (a frame to a member's own address gets the bond's, which the stack knows).
    pub fn receive(&mut self, member: MemberId, frame: &mut [u8], now: Instant) -> Ingress {
        self.advance(now);
        if !self.up {
            return Ingress::Drop(NoIngress::BondDown);
        }
        if frame.len() < ethernet::HEADER {
            return Ingress::Drop(NoIngress::Runt);
        }
        let Some(index) = self.index(member) else {
            return Ingress::Drop(NoIngress::Unknown);
        };
        let to = ethernet::destination(frame);
        let receiver = &self.members[index];
        if receiver.inactive && !self.defects.has(Defect::BackupsHandUp) {
            let exempt = self.options.mode == Mode::Alb && !to.is_multicast();
            if !exempt {
                return Ingress::Drop(NoIngress::Inactive);
            }
        }
        if to == receiver.mac && to != self.mac {
            frame[..6].copy_from_slice(&self.mac.0);
        }
        Ingress::Deliver
    }
}
