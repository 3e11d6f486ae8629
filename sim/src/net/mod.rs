//! A network for bonds to fail in.
//!
//! Everything runs under one clock and from one seed, as for arrays: what runs is the bond that runs
//! on real ports.
//!
//! ```text
//!   switched                                   direct
//!
//!   stack ─ bond ┬─ cable ─ access 0 ─┐         stack ─ bond ┬─ cable ─┬ bond ─ host
//!                ├─ cable ─ access 1 ─┤ core ─ host           ├─ cable ─┤
//!                └─ cable ─ access 0 ─┘                       └─ cable ─┘
//! ```
//!
//! - [`cable`] loses carrier, is silent one way, drops, doubles, delays, corrupts;
//! - [`switch`] learns, knows VLANs, forgets, dies with or without the light on;
//! - [`station`] is a host that answers for its addresses, and the stack above the bond;
//! - [`script`] is a run as data, [`swarm`] draws one from a seed;
//! - [`world`] carries it out, [`oracle`] judges what happened by what was done to the network,
//!   never by what the bond says of it;
//! - [`campaign`] makes it something to run many seeds of and to hunt planted defects in.

pub mod cable;
pub mod campaign;
pub mod oracle;
pub mod script;
pub mod station;
pub mod swarm;
pub mod switch;
pub mod world;
