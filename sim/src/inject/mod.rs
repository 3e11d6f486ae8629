//! Faults for real devices, by order: what, where, when and for how long.
//!
//! An [`Order`] is what a person wants to go wrong with a member; a list of them is a plan, written as
//! TOML ([`orders`]). A [`Schedule`] says when each is due: at once, after a time, or when something
//! has happened to the array. A [`Breakable`] is the device it strikes: any block device behind a
//! volatile cache, a delay and rules of failure, the same decorators the simulator's tests use. What
//! it strikes after a number of requests it counts itself, so that counts are exact.
//!
//! ```toml
//! seed = 7                    # what is torn, and what a power cut leaves behind
//! atomic = "4KiB"             # what it leaves whole or not at all
//!
//! [[fault]]
//! fault = "latent"            # sectors that cannot be read until they are written
//! member = "slot:1"
//! from = "1MiB"               # from the start of the member's data
//! length = "64KiB"
//!
//! [[fault]]
//! fault = "vanish"
//! member = "d2.img"
//! after-requests = 1000       # or after = "30s", or when = "RebuildStarted"
//! for = "10s"
//! ```

mod breakable;
mod order;
mod plan;
mod schedule;

pub use breakable::{BlowId, Breakable, InForce};
pub use order::{Blow, Harm, Order, OrderError, Part, Touch};
pub use plan::{FaultPlan, orders};
pub use schedule::Schedule;
