//! How fast parity is: every engine, every operation, beside what the memory can do at all.
//!
//! Words used:
//!
//! - *contestant*: somebody who can carry out operations: an engine of ours, or a peer.
//! - *cell*: one operation on stripes of one shape. A contest runs all contestants of a cell in
//!   turns, round after round, on the same blocks, so that whatever disturbs the machine disturbs
//!   all of them, and the ratio of two contestants in a round means something.
//! - *hot*: the same stripe over and over, which stays in whatever cache it fits. *cold*: one stripe
//!   after the other of a pool far larger than any cache.
//! - *rate*: 1e9 bytes of source data per second (of new data, for an update).
//! - *limit*: how fast one core can read from a level of the memory, doing nothing else.
//!
//! ```text
//!  op        what can be asked, and which blocks it touches
//!  stripe    blocks to ask it of, all laid out alike
//!  contest   rounds, and what they yield
//!  ours      the engines as contestants
//!  limits    the caches of this machine and the speed of reading from them
//!  sweep     every engine, operation and shape that somebody asks for
//! ```

mod contest;
pub mod limits;
mod op;
mod ours;
mod stripe;
mod sweep;

pub use contest::{Cell, Contestant, Pace, Rates, contest};
pub use limits::{Level, Limits};
pub use op::{Op, Touched};
pub use ours::Ours;
pub use stripe::{Pool, Stripe};
pub use sweep::{Reading, Row, Sweep};
