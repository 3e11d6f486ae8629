//! The engine's knobs as the command turns them.
//!
//! What was not said stays as the verb has it: a verb at rest has nobody to be considerate of, so
//! its passes run as fast as they can.

use std::time::Duration;

use holdfast_raid::config::{Config, LateWrite};

/// What was said about how the engine should run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knobs {
    pub(crate) member_deadline: Option<Duration>,
    pub(crate) late_write: Option<LateWrite>,
    pub(crate) max_read_errors: Option<u32>,
    pub(crate) speed_min: Option<u64>,
    pub(crate) speed_max: Option<u64>,
}

impl Knobs {
    /// The engine's configuration with what was said in place.
    pub(crate) fn turn(self, config: Config) -> Config {
        Config {
            member_deadline: self.member_deadline.or(config.member_deadline),
            late_write: self.late_write.unwrap_or(config.late_write),
            max_read_errors: self.max_read_errors.unwrap_or(config.max_read_errors),
            sync_speed_min: self.speed_min.unwrap_or(config.sync_speed_min),
            sync_speed_max: self.speed_max.unwrap_or(config.sync_speed_max),
            ..config
        }
    }
}
