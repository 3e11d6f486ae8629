//! Linux md arrays in userspace.
pub mod level;
