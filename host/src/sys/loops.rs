//! What is behind a loop device: `LOOP_GET_STATUS64` of `include/uapi/linux/loop.h`.

use std::fs::File;

use rustix::io::Result;
use rustix::ioctl::{Getter, Opcode, ioctl};

/// `LOOP_GET_STATUS64`, from before ioctls were numbered by a scheme.
const GET_STATUS: Opcode = 0x4C05;

/// `struct loop_info64`. Only the first fields matter here; the rest keeps the size right.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

const _: () = assert!(size_of::<LoopInfo>() == 5 * 8 + 4 * 4 + 64 + 64 + 32 + 2 * 8);

/// The file or device behind a loop device, and the part of it that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// `st_dev` of the backing file.
    pub(crate) device: u64,
    /// `st_ino` of the backing file.
    pub(crate) inode: u64,
    /// `st_rdev`, if a block device is behind; otherwise 0.
    pub(crate) rdevice: u64,
    /// First byte shown.
    pub(crate) offset: u64,
}

/// Asks a loop device. `ENXIO`: nothing is behind it.
pub(crate) fn behind(device: &File) -> Result<Behind> {
    // SAFETY: LOOP_GET_STATUS64 writes one loop_info64 through its pointer; LoopInfo has its
    // layout, and every bit pattern is a valid LoopInfo.
    let info = unsafe { ioctl(device, Getter::<GET_STATUS, LoopInfo>::new()) }?;
    Ok(Behind {
        device: info.device,
        inode: info.inode,
        rdevice: info.rdevice,
        offset: info.offset,
    })
}
