//! The few system calls that rustix lacks: ioctls of block and loop devices.
//!
//! This is one of the crate's rooms with `unsafe`. Each function is the safe front door of one
//! ioctl; nothing else happens here.
#![allow(unsafe_code)]

pub(crate) mod block;
pub(crate) mod loops;
