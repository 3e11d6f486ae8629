//! What is demanded of a bond when things have settled, and of a run when it is over.

use holdfast_bond::wire::arp::Arp;
use holdfast_bond::{Defects, LinkState, Mode};
use holdfast_core::time::{Duration, Instant};

use super::super::cable::Weather;
use super::super::oracle::{self, Oracle, Violation};
use super::super::station::{Number, Station};
use super::{FLOWS, Verdict, World};

impl<D: Defects> World<D> {
    pub(super) fn settle(&mut self) {
        self.cables.iter_mut().for_each(|cable| cable.weather = Weather::default());
        self.record();
        self.pass(oracle::patience(&self.options, &self.setup));
        let ports = self.ports_now();
        let ask = self.ask();
        let served = self.exchange();
        match oracle::expectation(&self.options, &ports, ask) {
            oracle::Expect::Service if served => self.served += 1,
            oracle::Expect::Service => {
                self.accuse(Oracle::Service, format!("there is a way, {ports:?}, and no service"));
            }
            oracle::Expect::Outage => self.predicted += 1,
            oracle::Expect::Anything => {}
        }
        if let Some(violation) =
            oracle::settled(&self.options, &ports, self.bond.carrier(), ask, self.now)
        {
            self.violation.get_or_insert(violation);
        }
    }

    fn ports_now(&self) -> Vec<oracle::PortNow> {
        let port = |port: usize| oracle::PortNow {
            carrier: self.link(port).carrier,
            path: self.path(port),
            hears: self.hears(port),
        };
        (0..self.setup.members).map(port).collect()
    }

    /// The active port.
    fn ask(&self) -> Option<usize> {
        self.bond.active().and_then(|active| self.port_of(active))
    }

    /// A frame of each flow each way: whether all of them came.
    fn exchange(&mut self) -> bool {
        self.busy_until = self.now;
        self.stack.mac = self.bond.mac();
        // Weather may have left wrong notions: a question and its answer put them right.
        if !self.setup.is_direct() {
            let (mac, sender) = (self.bond.mac(), self.stack.v4);
            let question = Arp::request(mac, sender, self.host.v4).broadcast(None);
            let now = self.now;
            self.history.iter_mut().for_each(|port| port.ask(now));
            self.leave_stack(question);
            self.pass(Duration::from_millis(5));
            if self.options.mode == Mode::Alb {
                // Neighbours are told again two seconds after a question of ours.
                self.pass(Duration::from_millis(3000));
            }
        }
        let there: Vec<_> = (0..FLOWS).map(|flow| self.stack_sends(flow)).collect();
        self.pass(Duration::from_millis(2));
        let back: Vec<_> = (0..FLOWS).map(|flow| self.host_sends(flow)).collect();
        self.pass(Duration::from_millis(2));
        let came = |at: &Station, numbers: &[Number]| {
            numbers.iter().all(|number| at.received.contains_key(number))
        };
        came(&self.host, &there) && came(&self.stack, &back)
    }

    pub(super) fn accuse(&mut self, oracle: Oracle, detail: String) {
        let at = self.now;
        self.violation.get_or_insert(Violation { oracle, at, detail });
    }

    pub(super) fn finish(mut self) -> Verdict {
        if self.violation.is_none() {
            self.judge_frames();
        }
        if self.violation.is_none() {
            let run = oracle::Run {
                options: &self.options,
                members: &self.members,
                history: &self.history,
                log: &self.log,
                rejoined: &self.rejoined,
                end: self.now,
            };
            self.violation = run.judge();
        }
        let switches = self.log.iter().filter(|event| oracle::is_switch(event)).count() as u64;
        let hash = self.log.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, event| {
            let text = format!("{event:?}");
            text.bytes()
                .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        });
        Verdict {
            violation: self.violation,
            lasted: self.now - Instant::from_millis(1000),
            switches,
            served: self.served,
            predicted: self.predicted,
            hash,
        }
    }

    /// No frame came twice, none out of order.
    fn judge_frames(&mut self) {
        let mode = self.options.mode;
        for station in [self.stack.clone(), self.host.clone()] {
            let twice = station
                .received
                .iter()
                .find(|(number, times)| **times > 1 && !self.doubled.contains(number));
            if let Some((number, times)) = twice.filter(|_| mode != Mode::Broadcast) {
                self.accuse(Oracle::Once, format!("frame {number:?} came {times} times"));
            }
            let ordered = !matches!(mode, Mode::RoundRobin | Mode::Broadcast) && !self.delayed;
            if let Some(flow) = station.disordered.first().filter(|_| ordered) {
                self.accuse(Oracle::Order, format!("flow {flow} out of order"));
            }
        }
        let up = self.bond.status().members.iter().any(|member| member.state == LinkState::Up);
        if !up {
            self.accuse(Oracle::Service, "everything works, and no member is up".to_owned());
        }
    }
}
