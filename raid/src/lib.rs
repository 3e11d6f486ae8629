//! Linux md arrays in userspace: every level and layout, md's own format on disk, and an engine
//! that keeps the data when members do not.
//!
//! The crate does no I/O. [`Array`] is a core: requests go in, member requests come out (see
//! `holdfast_core` for the rules every core keeps); [`Assembled`] is the shell that connects it to
//! block devices and is a block device itself.
//!
//! ```text
//!   chunk 64K, RAID5 left-symmetric, 4 members         words
//!
//!   slot      0     1     2     3                      member  a device of the array
//!          ┌─────┬─────┬─────┬─────┐                   slot    its place in the array
//! stripe 0 │  0  │  1  │  2  │  P  │                   chunk   consecutive bytes on one member
//!          ├─────┼─────┼─────┼─────┤                   stripe  one chunk of every member
//! stripe 1 │  4  │  5  │  P  │  3  │                   row     one 4 KiB line of a stripe
//!          ├─────┼─────┼─────┼─────┤                   P, Q    parity: XOR, and a sum in GF(2⁸)
//! stripe 2 │  8  │  P  │  6  │  7  │
//!          └─────┴─────┴─────┴─────┘
//! ```
//!
//! From devices to data:
//!
//! 1. [`scan::scan`] reads what the devices say of themselves;
//! 2. [`assembly::assemble`] decides who is current and builds the array, or says why not;
//! 3. [`Assembled::new`] runs it.

pub mod array;
pub mod assembled;
pub mod assembly;
pub mod config;
pub mod defects;
pub mod doctor;
pub mod event;
pub mod integrity;
pub mod layout;
pub mod level;
pub mod parity;
pub mod ppl;
pub mod recover;
pub mod scan;
pub mod status;
pub mod superblock;
pub mod sync;

pub use array::{AddMember, Array, MemberIo, Refusal, Return, Whole};
pub use assembled::Assembled;
pub use assembly::{AssembleError, Options, assemble, assemble_with};
pub use config::Config;
pub use defects::{Defect, Defects, Sound};
pub use event::{Event, FailReason};
pub use level::Level;
pub use scan::{Probe, scan};
pub use sync::Action;
