//! One disk behind several paths and two controllers.
//!
//! The disk takes writes when they *arrive*, and a write that was given up, or whose connection was
//! lost, may arrive later, at the worst time. Each controller has a cache of its own: what a reader
//! sees is one disk whichever way it looks, but a power cut keeps only what was flushed at the
//! controller that took it. What a controller
//! that dies had in its cache is mirrored, and covered by any flush.
//!
//! Nothing here knows what a map should do. `ledger` says what a reader may see, from what users
//! were told alone; `run` draws a scenario from a seed and carries it out.

mod campaign;
mod disk;
mod ledger;
mod path;
mod run;
mod scenario;

pub use campaign::Maps;
pub use disk::Shelf;
pub use ledger::{Ledger, Stamp};
pub use path::{Trouble, Way};
pub use run::{Breach, Verdict, run, run_with, story};
pub use scenario::{Mishap, Mode, Scenario, Wish};
