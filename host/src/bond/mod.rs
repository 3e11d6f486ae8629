//! Network interfaces for a bond that runs in a process: what a bonding driver in the kernel finds
//! at hand, made of what Linux offers to everybody.
//!
//! The *bond* is a [`tap::Tap`]: an interface like any other for the kernel's own stack, with
//! addresses, VLANs, bridges and macvlans on top; what the stack sends comes out of it, what is put
//! into it the stack receives. A *member* is any Ethernet interface: [`packet::PacketSocket`]s hear
//! and send its frames, a [`guard`] keeps the kernel's stack from hearing them a second time, and
//! [`link`] asks whether it has carrier. [`netlink`] changes interfaces and tells when somebody else
//! does. Before anything is changed, [`journal`] writes down how it was, so that whoever comes after
//! a crash can put it back.
//!
//! # Frames are larger than they look
//!
//! Interfaces that never meet a wire (veth, TAP) hand over *super-frames*: up to 64 KiB of TCP that
//! somebody was to cut into segments later, with a checksum that somebody was to finish later. A
//! virtio-net header before each frame ([`frame::Header`]) says what is still to be done, and both
//! sides keep it: a bond that lost it would stall every TCP connection while ping went on working.
//!
//! # Monitors never wait behind data
//!
//! Each member has two sockets. The *data lane* carries everybody's frames; the *control lane*
//! carries ARP, neighbour discovery and LACP in a queue of its own, so that a flood of data neither
//! drops nor delays what a monitor waits for. Filters in the kernel sort them.
//!
//! Nothing here knows what bonding is: modes, monitors and policies are the business of whoever
//! drives these interfaces.

pub mod addresses;
pub mod frame;
pub mod guard;
pub mod journal;
pub mod link;
pub mod netlink;
pub mod packet;
pub mod privilege;
pub mod tap;

#[cfg(test)]
mod tests;
