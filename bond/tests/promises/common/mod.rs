//! A bond under virtual time: links change and frames arrive at moments that a test names.

pub(crate) mod lan;
pub(crate) mod pair;

use std::collections::BTreeMap;

use holdfast_bond::{
    Action, ActiveReason, Bond, Event, FrameKind, LinkState, MemberId, NewMember, Options,
    Transmit, What,
};
use holdfast_core::net::{Link, Mac};
use holdfast_core::time::{Duration, Instant};

/// Milliseconds.
pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The moment so many milliseconds after the origin.
pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// The address of member number `n`.
pub(crate) fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n + 1])
}

/// The options of a line of text: `mode=1 miimon=100`.
pub(crate) fn options(text: &str) -> Options {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').expect("name=value"));
    Options::from_pairs(pairs).expect("options")
}

/// What is at the other end of the cables: is shown every frame that leaves, and says which frames
/// come back, when, and on which member.
pub(crate) type World = Box<dyn FnMut(Instant, &Transmit) -> Vec<(Duration, MemberId, Vec<u8>)>>;

/// A bond and its world.
pub(crate) struct Rig {
    pub(crate) bond: Bond,
    pub(crate) now: Instant,
    pub(crate) members: Vec<MemberId>,
    pub(crate) events: Vec<Event>,
    pub(crate) actions: Vec<(Instant, Action)>,
    pub(crate) sent: Vec<(Instant, Transmit)>,
    links: BTreeMap<MemberId, Link>,
    planned: BTreeMap<(Instant, usize), (MemberId, Link)>,
    coming: BTreeMap<(Instant, usize), (MemberId, Vec<u8>)>,
    world: World,
    count: usize,
}

impl Rig {
    /// A bond of `members` ports eth0, eth1, … with links up, brought up at the origin.
    pub(crate) fn new(text: &str, members: u8) -> Self {
        Self::with(options(text), (0..members).map(port).collect())
    }

    /// The same with ports of one's own.
    pub(crate) fn with(options: Options, ports: Vec<NewMember>) -> Self {
        let bond = Bond::new("bond0", options, None, 1, at(0)).expect("a bond");
        let mut rig = Self {
            bond,
            now: at(0),
            members: Vec::new(),
            events: Vec::new(),
            actions: Vec::new(),
            sent: Vec::new(),
            links: BTreeMap::new(),
            planned: BTreeMap::new(),
            coming: BTreeMap::new(),
            world: Box::new(|_, _| Vec::new()),
            count: 0,
        };
        for port in ports {
            rig.add(port);
        }
        rig.bond.set_up(true, at(0));
        rig.drain();
        rig
    }

    /// Adds a port.
    pub(crate) fn add(&mut self, port: NewMember) -> MemberId {
        let link = port.link;
        let id = self.bond.add_member(port, self.now).expect("a member");
        self.members.push(id);
        self.links.insert(id, link);
        self.drain();
        id
    }

    /// Sets what is at the other end of the cables.
    pub(crate) fn world(
        &mut self,
        world: impl FnMut(Instant, &Transmit) -> Vec<(Duration, MemberId, Vec<u8>)> + 'static,
    ) {
        self.world = Box::new(world);
    }

    /// At `when`, port number `member` has this link.
    pub(crate) fn link(&mut self, when: Instant, member: usize, link: Link) {
        self.count += 1;
        self.planned.insert((when, self.count), (self.members[member], link));
    }

    /// At `when`, the cable of port number `member` is pulled.
    pub(crate) fn pull(&mut self, when: Instant, member: usize) {
        self.link(when, member, Link::DOWN);
    }

    /// At `when`, the cable of port number `member` is plugged in.
    pub(crate) fn plug(&mut self, when: Instant, member: usize) {
        self.link(when, member, Link::up(1000));
    }

    /// A frame arrives on a member at `when`.
    pub(crate) fn arrive(&mut self, when: Instant, member: MemberId, frame: Vec<u8>) {
        self.count += 1;
        self.coming.insert((when, self.count), (member, frame));
    }

    /// Lets time pass until `end`, its last moment included.
    pub(crate) fn run(&mut self, end: Instant) {
        loop {
            let next = [
                self.planned.keys().next().map(|(when, _)| *when),
                self.coming.keys().next().map(|(when, _)| *when),
                self.bond.poll_at(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Links change first, then frames arrive, then what is due is done.
    fn step(&mut self) {
        while let Some(entry) = self.planned.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (member, link) = entry.remove();
            self.links.insert(member, link);
        }
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= self.now)
        {
            let (member, mut frame) = entry.remove();
            if self.links.get(&member).is_some_and(|link| link.carrier) {
                self.bond.receive(member, &mut frame, self.now);
            }
            self.drain();
        }
        if self.bond.poll_at().is_some_and(|due| due <= self.now) {
            if self.bond.links_due(self.now) {
                for (&member, &link) in &self.links {
                    self.bond.set_link(member, link, self.now);
                }
            }
            self.bond.handle_timeout(self.now);
        }
        self.drain();
    }

    /// Collects what the bond wants done.
    pub(crate) fn drain(&mut self) {
        while let Some(action) = self.bond.poll_action() {
            self.actions.push((self.now, action));
        }
        while let Some(transmit) = self.bond.poll_transmit() {
            let carried = self.links.get(&transmit.member).is_some_and(|link| link.carrier);
            let answers = if carried { (self.world)(self.now, &transmit) } else { Vec::new() };
            for (delay, member, frame) in answers {
                self.arrive(self.now + delay, member, frame);
            }
            self.sent.push((self.now, transmit));
        }
        while let Some(event) = self.bond.poll_event() {
            self.events.push(event);
        }
    }

    /// The number of the active port.
    pub(crate) fn active(&self) -> Option<usize> {
        let active = self.bond.active()?;
        self.members.iter().position(|member| *member == active)
    }

    /// When port number `member` first came into this state at or after `from`.
    pub(crate) fn when(&self, member: usize, state: LinkState, from: Instant) -> Option<Instant> {
        let id = self.members[member];
        let found = self.events.iter().find(|event| {
            event.at >= from
                && matches!(event.what, What::Link { member, to, .. } if member == id && to == state)
        });
        found.map(|event| event.at)
    }

    /// Changes of the active member from `from` on: when, to which port, why.
    pub(crate) fn switches(&self, from: Instant) -> Vec<(Instant, Option<usize>, ActiveReason)> {
        let number = |id: MemberId| self.members.iter().position(|member| *member == id).unwrap();
        let switch = |event: &Event| match event.what {
            What::Active { to, why, .. } => Some((event.at, to.map(number), why)),
            _ => None,
        };
        self.events.iter().filter(|event| event.at >= from).filter_map(switch).collect()
    }

    /// When frames of this kind left, and on which port, from `from` on.
    pub(crate) fn frames(&self, kind: FrameKind, from: Instant) -> Vec<(Instant, usize)> {
        let number = |id: MemberId| self.members.iter().position(|member| *member == id).unwrap();
        let of = self.sent.iter().filter(|(when, sent)| *when >= from && sent.kind == kind);
        of.map(|(when, sent)| (*when, number(sent.member))).collect()
    }
}

/// Port number `n`: eth`n`, up, 1 Gbit/s.
pub(crate) fn port(n: u8) -> NewMember {
    NewMember::new(&format!("eth{n}"), mac(n), Link::up(1000))
}
