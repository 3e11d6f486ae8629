//! Network block devices: any [`BlockDevice`](holdfast_core::block::BlockDevice) as a disk for
//! whoever speaks NBD (QEMU, nbdkit's and libnbd's tools, fio, the Linux kernel).
//!
//! - [`wire`] knows the bytes, [`export`] what is offered;
//! - [`session`] is one client's conversation, a core without I/O: bytes in, asks out, answers in,
//!   bytes out;
//! - [`server`] owns the sockets and carries asks to the device and answers home;
//! - [`client`] is the other end: a server's export as a device, [`target`] its address, and
//!   [`client_session`] its side of the conversation, without I/O;
//! - [`tls`] is who the server is, where connections may be encrypted.
//!
//! Offered are the fixed newstyle handshake with `GO`, `INFO` and `LIST`, structured replies,
//! extended headers, block sizes, flush, FUA, trim, write-zeroes, cache, block status and, with the
//! feature `tls`, TLS.

mod buffers;
pub mod client;
pub mod client_session;
pub mod export;
mod line;
mod listener;
mod negotiation;
pub mod server;
pub mod session;
pub mod target;
pub mod tls;
mod transmission;
pub mod wire;

pub use client::{NbdDisk, Target};
pub use export::{Context, Export, Extent, Offer};
pub use server::{Address, Server};
pub use session::{Ask, AskTag, Session};
pub use tls::Credentials;
