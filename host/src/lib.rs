//! The one crate of holdfast that meets the operating system.
//!
//! Everything else computes; this crate reads clocks, opens files and devices, takes locks, starts
//! threads and asks the kernel who uses what. It knows nothing of arrays: it hands out
//! [`BlockDevice`](holdfast_core::block::BlockDevice)s and answers questions.
//!
//! - Time: [`clock::HostClock`] tells it and waits; [`clock::Wakeup`] ends the wait early.
//! - Devices: [`file::FileDisk`] over a file or block device, its requests carried out by a shared
//!   [`pool::IoPool`] or by the kernel itself on a [`uring::Ring`], its errors sorted by [`fault`].
//! - Opening: [`member::open_members`] opens a set of members and refuses what would end badly: two
//!   names of one device ([`identity`]), a device that is mounted ([`claim`]) or locked ([`lock`]).
//! - Looking: [`signature`] says what a device carries, [`zeros`] where it is known to be empty,
//!   [`image::Image`] maps a whole image into memory.
//! - Parts of disks: [`partition`] reads GPT and MBR tables, [`window::Window`] makes a device of a range.
//! - Not touching: [`overlay::Overlay`] keeps writes in a file, [`blocklog`] is that file.
//! - Serving: [`nbd`] offers any device to network block clients, [`socket`] makes private sockets.
//! - Mounting: `fuse` shows any device as a file, for whatever takes files (feature `fuse`).
//! - Waiting: [`watch`] is a set of descriptors that devices wait for.
//! - Chance: [`random`] makes UUIDs and seeds.
//! - Networks: [`bond`] makes TAP interfaces and hears the members of a bond.
//! - Patience: [`interrupt`] hears Ctrl-C.
//!
//! `unsafe` has three rooms: `image.rs` (a mapping), `uring.rs` (memory lent to the kernel) and `sys/`
//! (ioctls and packet sockets, which rustix lacks).

pub mod blocklog;
pub mod bond;
pub mod claim;
pub mod clock;
pub mod fault;
pub mod file;
#[cfg(feature = "fuse")]
pub mod fuse;
pub mod identity;
pub mod image;
pub mod interrupt;
pub mod lock;
pub mod member;
pub mod nbd;
pub mod overlay;
pub mod partition;
pub mod pool;
pub mod random;
pub mod signature;
pub mod socket;
mod sys;
mod transfer;
pub mod uring;
pub mod watch;
pub mod window;
pub mod zeros;

#[cfg(test)]
mod testing;
