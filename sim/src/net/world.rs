//! Carries a script out.

mod demand;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_bond::{
    Bond, Defects, Egress, Event, Ingress, LocalAddress, MemberId, Mode, NewMember, Options, Sound,
};
use holdfast_core::net::{Link, Mac};
use holdfast_core::rng::Rng;
use holdfast_core::time::{Duration, Instant};

use super::cable::{Cable, LATENCY, Weather};
use super::oracle::{History, Oracle, Violation};
use super::script::{Act, Script, Setup, parse};
use super::station::{EVERYBODY, Number, Station, number_of};
use super::switch::{Power, Switch};

/// Between two rounds of traffic.
const TRAFFIC: Duration = Duration::from_millis(100);
/// Flows of it.
const FLOWS: u8 = 8;
/// How long traffic goes on after something was done.
const BUSY: Duration = Duration::from_secs(3);
/// The host's address.
const HOST: Mac = Mac([0x02, 0xaa, 0x55, 0xaa, 0x55, 0xaa]);

/// The hardware address of a port: far apart from all others, so that weather does not make one of
/// another.
const fn port_mac(end: u8, port: u8) -> Mac {
    Mac([0x02, 0x11 << (end & 1), end, 0x0f, port ^ 0x3c, port])
}

/// Where a frame arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At a port of the bond.
    Member(usize),
    /// At a port of the other bond.
    Partner(usize),
    /// At a port of an access switch; 0 is the uplink.
    Access(usize, usize),
    /// At a port of the core; 2 is the host's.
    Core(usize),
    /// At the host.
    Host,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// How long it was, in virtual time.
    pub lasted: Duration,
    /// Changes of the active member or aggregator.
    pub switches: u64,
    /// Times that things had settled and service was demanded and there.
    pub served: u64,
    /// Times that a fault was there which the monitor cannot see, and service was out, as it must be.
    pub predicted: u64,
    /// A hash of all that the bond reported.
    pub hash: u64,
}

/// Carries a script out with a sound bond.
pub fn run(script: &Script) -> Verdict {
    run_with(script, Sound)
}

/// Carries a script out with mistakes planted.
pub fn run_with<D: Defects>(script: &Script, defects: D) -> Verdict {
    let mut world = World::new(&script.setup, defects);
    world.settle();
    for step in &script.steps {
        if world.violation.is_some() {
            break;
        }
        world.pass(step.after);
        world.act(step.act);
        if step.settle {
            world.settle();
        }
    }
    if world.violation.is_none() {
        world.mend();
        world.settle();
    }
    world.finish()
}

/// A network under way.
struct World<D: Defects> {
    setup: Setup,
    options: Options,
    now: Instant,
    rng: Rng,
    bond: Bond<D>,
    members: Vec<MemberId>,
    stack: Station,
    host: Station,
    partner: Option<(Bond, Vec<MemberId>)>,
    cables: Vec<Cable>,
    access: [Switch; 2],
    uplinks: [Cable; 2],
    core: Switch,
    /// The port of its access switch that each member is on.
    ports: Vec<usize>,
    coming: BTreeMap<(Instant, u64), (Place, Vec<u8>)>,
    count: u64,
    traffic: Instant,
    busy_until: Instant,
    round: u32,
    log: Vec<Event>,
    history: Vec<History>,
    rejoined: BTreeSet<usize>,
    doubled: BTreeSet<Number>,
    delayed: bool,
    violation: Option<Violation>,
    served: u64,
    predicted: u64,
}

impl<D: Defects> World<D> {
    fn new(setup: &Setup, defects: D) -> Self {
        let options = setup.parsed();
        let origin = Instant::from_millis(1000);
        let bond = Bond::with_defects("bond0", options.clone(), None, setup.seed, origin, defects);
        let bond = bond.expect("the options go together");
        let mut access = [Switch::new(1), Switch::new(1)];
        let ports = setup.access.iter().map(|at| access[*at].add_port()).collect();
        let mut world = Self {
            setup: setup.clone(),
            options,
            now: origin,
            rng: Rng::stream(setup.seed, 2),
            bond,
            members: Vec::new(),
            stack: Station::new(Mac::ZERO, 1),
            host: Station::new(HOST, 99),
            partner: None,
            cables: vec![Cable::default(); setup.members],
            access,
            uplinks: Default::default(),
            core: Switch::new(3),
            ports,
            coming: BTreeMap::new(),
            count: 0,
            traffic: origin,
            busy_until: origin + BUSY,
            round: 0,
            log: Vec::new(),
            history: vec![History::new(origin); setup.members],
            rejoined: BTreeSet::new(),
            doubled: BTreeSet::new(),
            delayed: false,
            violation: None,
            served: 0,
            predicted: 0,
        };
        for port in 0..setup.members {
            world.join(port);
        }
        world.bond.set_up(true, origin);
        let v4 = LocalAddress::new(world.stack.v4.into(), 24);
        let v6 = LocalAddress::new(world.stack.v6.into(), 64);
        world.bond.set_addresses(vec![v4, v6], origin);
        world.stack.peer = HOST;
        world.restart_partner();
        world.drain();
        world
    }

    fn join(&mut self, port: usize) {
        let link = self.link(port);
        let new = NewMember::new(&format!("eth{port}"), port_mac(0, port as u8), link);
        let id = self.bond.add_member(new, self.now).expect("a member");
        match self.members.get_mut(port) {
            Some(known) => *known = id,
            None => self.members.push(id),
        }
    }

    fn restart_partner(&mut self) {
        if !self.setup.is_direct() {
            return;
        }
        let options = parse(&self.setup.partner);
        let mut partner =
            Bond::new("peer0", options, None, 7, self.now).expect("the options go together");
        let member = |port: usize| {
            NewMember::new(&format!("p{port}"), port_mac(1, port as u8), self.link(port))
        };
        let members = (0..self.setup.members)
            .map(|port| partner.add_member(member(port), self.now).expect("a member"));
        let members = members.collect();
        partner.set_up(true, self.now);
        self.host.mac = partner.mac();
        self.stack.peer = self.host.mac;
        self.partner = Some((partner, members));
    }

    fn link(&self, port: usize) -> Link {
        let dark =
            self.setup.access.get(port).is_some_and(|at| self.access[*at].power == Power::Off);
        if self.cables[port].plugged && !dark { Link::up(1000) } else { Link::DOWN }
    }

    /// Whether frames pass from a port to the host and back.
    fn path(&self, port: usize) -> bool {
        let above = self
            .setup
            .access
            .get(port)
            .is_none_or(|at| self.access[*at].power == Power::On && self.uplinks[*at].works());
        self.cables[port].works() && above
    }

    /// Whether frames come in on a port, be it from others on the same switch.
    fn hears(&self, port: usize) -> bool {
        let on = self.setup.access.get(port).is_none_or(|at| self.access[*at].power == Power::On);
        self.cables[port].plugged && !self.cables[port].silent[1] && on
    }

    // Time.

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let partner = self.partner.as_ref().and_then(|(partner, _)| partner.poll_at());
            let coming = self.coming.keys().next().map(|(at, _)| *at);
            let traffic = Some(self.traffic).filter(|at| *at <= self.busy_until);
            let next = [self.bond.poll_at(), partner, coming, traffic].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.turn();
        }
        self.now = end;
    }

    fn turn(&mut self) {
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (place, frame) = entry.remove();
            self.arrive(place, frame);
        }
        if self.traffic <= self.now && self.now <= self.busy_until {
            self.traffic = self.now + TRAFFIC;
            self.talk();
        }
        if self.bond.poll_at().is_some_and(|due| due <= self.now) {
            if self.bond.links_due(self.now) {
                for port in 0..self.members.len() {
                    let link = self.link(port);
                    self.bond.set_link(self.members[port], link, self.now);
                }
            }
            self.bond.handle_timeout(self.now);
            self.drain();
        }
        self.partner_turn();
    }

    fn partner_turn(&mut self) {
        let links: Vec<_> = (0..self.setup.members).map(|port| self.link(port)).collect();
        let now = self.now;
        let Some((partner, members)) = &mut self.partner else { return };
        if partner.poll_at().is_some_and(|due| due <= now) {
            if partner.links_due(now) {
                for (member, link) in members.iter().zip(links) {
                    partner.set_link(*member, link, now);
                }
            }
            partner.handle_timeout(now);
            self.drain_partner();
        }
    }

    /// Some frames each way, and now and then one from the host to everybody.
    fn talk(&mut self) {
        self.round += 1;
        let flow = (self.round % u32::from(FLOWS)) as u8;
        for _ in 0..2 {
            self.stack_sends(flow);
            self.host_sends(flow);
        }
        if self.round.is_multiple_of(3) {
            self.host_sends(EVERYBODY);
        }
    }

    fn stack_sends(&mut self, flow: u8) -> Number {
        self.stack.mac = self.bond.mac();
        let (number, frame) = self.stack.next(flow, self.host.v4);
        self.leave_stack(frame);
        number
    }

    fn host_sends(&mut self, flow: u8) -> Number {
        if self.setup.is_direct() {
            self.host.peer = self.bond.mac();
        }
        let (number, frame) = self.host.next(flow, self.stack.v4);
        self.leave_host(frame);
        number
    }

    // Frames.

    fn schedule(&mut self, delay: Duration, place: Place, frame: Vec<u8>) {
        self.count += 1;
        self.coming.insert((self.now + delay, self.count), (place, frame));
    }

    fn over_cable(&mut self, port: usize, end: usize, frame: Vec<u8>, to: Place) {
        let number = number_of(&frame);
        let copies = self.cables[port].carry(end, frame, &mut self.rng);
        self.delayed |= copies.iter().any(|(delay, _)| *delay > LATENCY);
        if copies.len() > 1 {
            self.doubled.extend(number);
        }
        for (delay, frame) in copies {
            self.schedule(delay, to, frame);
        }
    }

    fn leave_member(&mut self, port: usize, frame: Vec<u8>) {
        let to = match self.setup.access.get(port) {
            Some(at) => Place::Access(*at, self.ports[port]),
            None => Place::Partner(port),
        };
        self.over_cable(port, 0, frame, to);
    }

    fn leave_stack(&mut self, mut frame: Vec<u8>) {
        let egress = self.bond.send(&mut frame, self.now);
        let single = self.options.mode == Mode::ActiveBackup;
        match egress {
            Egress::One(member) => {
                if single && self.bond.active() != Some(member) {
                    self.accuse(Oracle::OneActive, format!("a frame leaves on {member}"));
                }
                if let Some(port) = self.port_of(member) {
                    self.leave_member(port, frame);
                }
            }
            Egress::Every => {
                for member in self.bond.every().to_vec() {
                    if let Some(port) = self.port_of(member) {
                        self.leave_member(port, frame.clone());
                    }
                }
            }
            Egress::Drop(_) => {}
        }
        self.drain();
    }

    fn port_of(&self, member: MemberId) -> Option<usize> {
        self.members.iter().position(|known| *known == member)
    }

    fn leave_host(&mut self, mut frame: Vec<u8>) {
        let Some((partner, members)) = &mut self.partner else {
            return self.schedule(LATENCY, Place::Core(2), frame);
        };
        let to: Vec<_> = match partner.send(&mut frame, self.now) {
            Egress::One(member) => vec![member],
            Egress::Every => partner.every().to_vec(),
            Egress::Drop(_) => Vec::new(),
        };
        let ports: Vec<_> =
            to.iter().filter_map(|id| members.iter().position(|known| known == id)).collect();
        for port in ports {
            self.over_cable(port, 1, frame.clone(), Place::Member(port));
        }
        self.drain_partner();
    }

    fn arrive(&mut self, place: Place, mut frame: Vec<u8>) {
        match place {
            Place::Member(port) => {
                if self.link(port).carrier
                    && self.bond.receive(self.members[port], &mut frame, self.now)
                        == Ingress::Deliver
                {
                    self.stack.mac = self.bond.mac();
                    if let Some(answer) = self.stack.take(&frame) {
                        self.leave_stack(answer);
                    }
                }
                self.drain();
            }
            Place::Partner(port) => {
                let Some((partner, members)) = &mut self.partner else { return };
                if partner.receive(members[port], &mut frame, self.now) == Ingress::Deliver {
                    self.reach_host(&frame);
                }
                self.drain_partner();
            }
            Place::Access(at, port) => {
                for out in self.access[at].forward(port, &frame, self.now) {
                    match (0..self.ports.len()).find(|&member| {
                        self.setup.access[member] == at && self.ports[member] == out
                    }) {
                        Some(member) => {
                            self.over_cable(member, 1, frame.clone(), Place::Member(member))
                        }
                        None if self.uplinks[at].works() => {
                            self.schedule(LATENCY, Place::Core(at), frame.clone())
                        }
                        None => {}
                    }
                }
            }
            Place::Core(port) => {
                for out in self.core.forward(port, &frame, self.now) {
                    match out {
                        2 => self.schedule(LATENCY, Place::Host, frame.clone()),
                        at if self.uplinks[at].works() => {
                            self.schedule(LATENCY, Place::Access(at, 0), frame.clone())
                        }
                        _ => {}
                    }
                }
            }
            Place::Host => self.reach_host(&frame),
        }
    }

    fn reach_host(&mut self, frame: &[u8]) {
        if let Some(answer) = self.host.take(frame) {
            self.leave_host(answer);
        }
    }

    fn drain(&mut self) {
        while self.bond.poll_action().is_some() {}
        while let Some(sent) = self.bond.poll_transmit() {
            if let Some(port) = self.port_of(sent.member) {
                self.leave_member(port, sent.frame);
            }
        }
        while let Some(event) = self.bond.poll_event() {
            self.log.push(event);
        }
    }

    fn drain_partner(&mut self) {
        let mut sent = Vec::new();
        if let Some((partner, members)) = &mut self.partner {
            while partner.poll_action().is_some() {}
            while partner.poll_event().is_some() {}
            while let Some(one) = partner.poll_transmit() {
                let port = members.iter().position(|known| *known == one.member).expect("a member");
                sent.push((port, one.frame));
            }
        }
        for (port, frame) in sent {
            self.over_cable(port, 1, frame, Place::Member(port));
        }
    }

    // What is done to the network.

    fn act(&mut self, act: Act) {
        self.busy_until = self.now + BUSY;
        self.traffic = self.traffic.max(self.now);
        match act {
            Act::Pull(port) => self.cables[port].plugged = false,
            Act::Plug(port) => self.cables[port].plugged = true,
            Act::Silence(port, from_bond) => {
                self.cables[port].silent[usize::from(!from_bond)] = true
            }
            Act::Heal(port) => self.cables[port].silent = [false; 2],
            Act::Weather(port, weather) => self.cables[port].weather = weather,
            Act::Power(at, power) => self.access[at].set_power(power),
            Act::Uplink(at, lost) => self.uplinks[at].plugged = !lost,
            Act::RestartPartner => self.restart_partner(),
            Act::Rejoin(port) => self.rejoin(port),
        }
        if let (Act::Pull(port), false) = (act, self.setup.is_direct()) {
            self.access[self.setup.access[port]].port_down(self.ports[port]);
        }
        if let Act::Uplink(at, _) = act {
            self.core.port_down(at);
        }
        self.record();
        self.drain();
        self.drain_partner();
    }

    fn rejoin(&mut self, port: usize) {
        self.rejoined.insert(port);
        self.bond.remove_member(self.members[port], self.now).expect("a member");
        self.drain();
        self.join(port);
    }

    fn record(&mut self) {
        for port in 0..self.setup.members {
            let (carrier, path) = (self.link(port).carrier, self.path(port));
            let clear = self.cables[port].weather == Weather::default();
            self.history[port].record(self.now, carrier, path, clear);
        }
    }

    /// Everything works again.
    fn mend(&mut self) {
        for cable in self.cables.iter_mut().chain(&mut self.uplinks) {
            *cable = Cable::default();
        }
        for switch in &mut self.access {
            if switch.power != Power::On {
                switch.set_power(Power::On);
            }
        }
        self.busy_until = self.now + BUSY;
        self.traffic = self.traffic.max(self.now);
        self.record();
    }
}
