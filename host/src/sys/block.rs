//! Ioctls of block devices, numbered in the kernel's `include/uapi/linux/fs.h`.

use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::ops::Range;

use rustix::io::Result;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// `BLKROGET`.
const GET_READ_ONLY: Opcode = opcode::none(0x12, 94);
/// `BLKGETSIZE64`. Declared with `size_t`, although it always writes 64 bits.
const GET_SIZE: Opcode = opcode::read::<usize>(0x12, 114);
/// `BLKDISCARD`.
const DISCARD: Opcode = opcode::none(0x12, 119);
/// `BLKIOOPT`.
const GET_OPTIMAL_IO: Opcode = opcode::none(0x12, 121);
/// `BLKZEROOUT`.
const ZERO_OUT: Opcode = opcode::none(0x12, 127);

/// Size in bytes.
pub(crate) fn size_bytes(device: &File) -> Result<u64> {
    // SAFETY: BLKGETSIZE64 writes a u64 through its pointer and does nothing else.
    unsafe { ioctl(device, Getter::<GET_SIZE, u64>::new()) }
}

/// Whether the device itself takes no writes.
pub(crate) fn is_read_only(device: &File) -> Result<bool> {
    // SAFETY: BLKROGET writes an int through its pointer and does nothing else.
    let read_only = unsafe { ioctl(device, Getter::<GET_READ_ONLY, c_int>::new()) }?;
    Ok(read_only != 0)
}

/// The request size at which the device works best, in bytes; 0 if it names none.
pub(crate) fn optimal_bytes(device: &File) -> Result<u32> {
    // SAFETY: BLKIOOPT writes an unsigned int through its pointer and does nothing else.
    unsafe { ioctl(device, Getter::<GET_OPTIMAL_IO, c_uint>::new()) }
}

/// Writes zeros to a range of bytes, by the device's own means where it has some.
pub(crate) fn zero_out(device: &File, bytes: Range<u64>) -> Result<()> {
    let start_and_len = [bytes.start, bytes.end - bytes.start];
    // SAFETY: BLKZEROOUT reads two u64 (start, length) through its pointer.
    unsafe { ioctl(device, Setter::<ZERO_OUT, [u64; 2]>::new(start_and_len)) }
}

/// Tells the device that the contents of a range of bytes are no longer needed.
pub(crate) fn discard(device: &File, bytes: Range<u64>) -> Result<()> {
    let start_and_len = [bytes.start, bytes.end - bytes.start];
    // SAFETY: BLKDISCARD reads two u64 (start, length) through its pointer.
    unsafe { ioctl(device, Setter::<DISCARD, [u64; 2]>::new(start_and_len)) }
}
