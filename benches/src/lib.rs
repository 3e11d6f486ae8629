//! What measuring shares, in benches and in `holdfast bench`: arrays to measure, a driver that keeps
//! a queue full, fair rounds; the sweep of stripe sizes over files or modelled members, with its page
//! of charts; and the OSTEP homework.
//!
//! Every figure comes from several rounds in which the variants take turns, so that a noisy
//! neighbour hits all of them; the median is what is reported. Addresses are drawn from a fixed
//! seed.

pub mod arrays;
pub mod counted;
pub mod drive;
pub mod files;
pub mod ground;
pub mod load;
pub mod memory;
pub mod model;
pub mod ostep;
pub mod page;
pub mod parity;
pub mod rounds;
pub mod stripe;
