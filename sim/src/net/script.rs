//! A run as data: what the network is, and what is done to it.

use std::fmt;

use holdfast_bond::{Mode, Options};
use holdfast_core::time::Duration;

use super::cable::Weather;
use super::switch::Power;

/// What the network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Decides what the script leaves open: which frames the weather hits.
    pub seed: u64,
    /// The bond's options, as `name=value` pairs.
    pub options: String,
    /// Ports.
    pub members: usize,
    /// The switch each port is on, by number; empty: cabled to another bond port by port.
    pub access: Vec<usize>,
    /// The other bond's options, if there is one.
    pub partner: String,
}

impl Setup {
    /// The bond's options.
    ///
    /// # Panics
    /// If they are none: a script is made, not typed.
    pub fn parsed(&self) -> Options {
        parse(&self.options)
    }

    /// The bond's mode.
    pub fn mode(&self) -> Mode {
        self.parsed().mode
    }

    /// Whether the ports are cabled to another bond.
    pub const fn is_direct(&self) -> bool {
        self.access.is_empty()
    }
}

/// Options from a line of pairs.
///
/// # Panics
/// If they are none.
pub fn parse(line: &str) -> Options {
    let pairs = line.split_whitespace().map(|pair| pair.split_once('=').expect("name=value"));
    Options::from_pairs(pairs)
        .map(|options| options.checked().expect("they go together"))
        .expect("options")
}

/// Something that is done to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A port's cable is pulled.
    Pull(usize),
    /// It is plugged in.
    Plug(usize),
    /// Nothing passes a port's cable from the bond (true) or to it (false), although there is
    /// carrier.
    Silence(usize, bool),
    /// It passes again, both ways.
    Heal(usize),
    /// A port's cable has weather.
    Weather(usize, Weather),
    /// An access switch works, or does not.
    Power(usize, Power),
    /// An access switch has lost its way to the core (true), or has it back.
    Uplink(usize, bool),
    /// The other bond begins anew.
    RestartPartner,
    /// A port leaves the bond and joins it again.
    Rejoin(usize),
}

/// One step: something is done after a while, and then perhaps everything is given time to settle
/// and looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long nothing is done before it.
    pub after: Duration,
    /// What is done.
    pub act: Act,
    /// Whether it is waited for until things have settled.
    pub settle: bool,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What the network is.
    pub setup: Setup,
    /// What is done to it.
    pub steps: Vec<Step>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { seed, options, members, access, partner } = &self.setup;
        writeln!(f, "seed {seed}; {members} ports; {options}")?;
        match self.setup.is_direct() {
            true => writeln!(f, "cabled to a bond with {partner}")?,
            false => writeln!(f, "on access switches {access:?}")?,
        }
        for step in &self.steps {
            let settle = if step.settle { ", then settle" } else { "" };
            writeln!(f, "after {:?}: {:?}{settle}", step.after, step.act)?;
        }
        Ok(())
    }
}
