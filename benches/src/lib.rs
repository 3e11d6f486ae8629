//! What the benches share: arrays to measure, a driver that keeps a queue full, and fair rounds.
//!
//! Every figure comes from several rounds in which the variants take turns, so that a noisy
//! neighbour hits all of them; the median is what is reported. Addresses are drawn from a fixed
//! seed.

pub mod arrays;
pub mod drive;
pub mod memory;
pub mod rounds;
