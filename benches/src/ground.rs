//! Ground of modelled members: every array gets new ones, and time that begins at zero.

use holdfast_core::time::Duration;
use holdfast_sim::world::VirtualClock;

use crate::model::{Model, Modelled};
use crate::stripe::Ground;

/// So many members of a model.
pub struct Imagined<'a> {
    /// What they are modelled on.
    pub model: Model,
    /// How many.
    pub members: u32,
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

impl Ground for Imagined<'_> {
    type Device = Modelled;
    type Clock = VirtualClock;

    fn prepare(&mut self) -> Result<(Vec<Modelled>, VirtualClock), String> {
        let members = (0..self.members).map(|_| Modelled::new(self.model)).collect();
        Ok((members, VirtualClock::default()))
    }

    /// The processor's time is no part of the model.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }

    fn stopped(&self) -> bool {
        (self.stop)()
    }
}
