//! The few system calls that rustix lacks: ioctls of block, loop, TAP and network devices, and
//! packet sockets.
//!
//! This is one of the crate's rooms with `unsafe`. Each function is the safe front door of one
//! system call; nothing else happens here.
#![allow(unsafe_code)]

pub(crate) mod block;
pub(crate) mod loops;
pub(crate) mod net;
pub(crate) mod packet;
