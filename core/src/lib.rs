//! The words every crate of holdfast shares, and the contract between cores and shells.
//!
//! # Plans are pure, pumps do I/O
//!
//! An array, a bond or a multipath map is a *core*: a plain struct with `&mut self` methods that
//! take what happened (and `now`) and hand out what should be done next. A core opens nothing,
//! sleeps never and rolls no dice it was not given. Around each core sits a *shell* that owns the
//! devices, pumps the core's outputs into them and their results back. The same core therefore
//! runs over files, under the simulator and under a fuzzer.
//!
//! Every core keeps the same rules:
//!
//! - an input whose meaning depends on time takes `now`; `now` never goes backward (asserted);
//! - after any input the caller drains the outputs: member I/O first, then completions, then
//!   events, until all are empty;
//! - `poll_at` names the next moment at which the core wants `handle_timeout`; calling it early is
//!   harmless, calling it late only delays what depended on it;
//! - outputs are plain values, so a test compares them with `assert_eq!`;
//! - a core never logs: it emits typed events, and the program decides what to print.
//!
//! A *device* ([`block::BlockDevice`]) is the other half: a completion queue with owned buffers.
//! A shell around a core is itself a device, so arrays nest.

pub mod block;
pub mod buf;
pub mod defects;
pub mod net;
pub mod rng;
pub mod size;
pub mod slab;
pub mod time;
