//! The fault model as tables, filled in by running the real engine.
//!
//! [`schemes`] asks what one partial fault does to a parity array under each integrity scheme, by
//! exhaustion of a small bound; [`faults`] asks what each level makes of each fault, one scene a
//! cell; [`losses`] which sets of disks take data with them; [`images`] what a power cut can leave.
//! All put what they see beside what the model says, cell by cell.

pub mod faults;
pub mod images;
pub mod losses;
mod scene;
pub mod schemes;
mod shaky;
