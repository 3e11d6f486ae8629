//! Ioctls of TAP devices (`include/uapi/linux/if_tun.h`) and of ethtool (`ethtool.h`).

use std::ffi::{c_int, c_void};
use std::os::fd::AsFd;

use rustix::io::Result;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};

/// `TUNSETIFF`: numbered with `int`, although it takes an `ifreq`.
const SET_INTERFACE: Opcode = opcode::write::<c_int>(b'T', 202);
/// `TUNSETOFFLOAD`: the argument itself is the set of flags.
const SET_OFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);
/// `TUNSETVNETHDRSZ`.
const SET_HEADER_SIZE: Opcode = opcode::write::<c_int>(b'T', 216);
/// `TUNSETCARRIER`.
const SET_CARRIER: Opcode = opcode::write::<c_int>(b'T', 226);
/// `SIOCETHTOOL`, from before ioctls were numbered by a scheme.
const ETHTOOL: Opcode = 0x8946;

const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
/// Fail if the interface is there already (`IFF_TUN_EXCL`).
const IFF_TUN_EXCL: u16 = 0x8000;

const ETHTOOL_GSET: u32 = 0x0000_0001;
const ETHTOOL_GLINK: u32 = 0x0000_000a;
const ETHTOOL_GPERMADDR: u32 = 0x0000_0020;

/// Bytes of an interface's name with its final zero.
pub(crate) const NAME_BYTES: usize = 16;

/// `struct ifreq` with a number in its union.
#[repr(C)]
#[derive(Clone, Copy)]
struct NumberRequest {
    name: [u8; NAME_BYTES],
    flags: u16,
    rest: [u8; 22],
}

/// `struct ifreq` with a pointer in its union.
#[repr(C)]
#[derive(Clone, Copy)]
struct PointerRequest {
    name: [u8; NAME_BYTES],
    data: *mut c_void,
    rest: [u8; 24 - size_of::<*mut c_void>()],
}

const _: () = assert!(size_of::<NumberRequest>() == 40 && size_of::<PointerRequest>() == 40);

/// Makes the descriptor of `/dev/net/tun` a new TAP interface of this name, with virtio-net headers
/// before its frames.
pub(crate) fn make_tap(tun: impl AsFd, name: [u8; NAME_BYTES]) -> Result<()> {
    let flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL;
    let request = NumberRequest { name, flags, rest: [0; 22] };
    // SAFETY: TUNSETIFF reads (and writes back into a copy of ours) one ifreq, 40 bytes.
    unsafe { ioctl(tun, Setter::<SET_INTERFACE, NumberRequest>::new(request)) }
}

/// What frames read from the TAP may leave undone: `TUN_F_*`.
pub(crate) fn set_tap_offload(tun: impl AsFd, flags: u32) -> Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument as a number and touches no memory of ours.
    unsafe { ioctl(tun, IntegerSetter::<SET_OFFLOAD>::new_usize(flags as usize)) }
}

/// Bytes of the header before each frame.
pub(crate) fn set_tap_header_bytes(tun: impl AsFd, bytes: c_int) -> Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int through its pointer.
    unsafe { ioctl(tun, Setter::<SET_HEADER_SIZE, c_int>::new(bytes)) }
}

/// Says whether the TAP has carrier.
pub(crate) fn set_tap_carrier(tun: impl AsFd, on: bool) -> Result<()> {
    // SAFETY: TUNSETCARRIER reads one int through its pointer.
    unsafe { ioctl(tun, Setter::<SET_CARRIER, c_int>::new(c_int::from(on))) }
}

/// Runs an ethtool command whose structure is `command`, for the interface of this name.
///
/// # Safety
///
/// `T` must begin with the command's number, and must be as long as the structure that command
/// reads and writes; every bit pattern must be a valid `T`.
unsafe fn ethtool<T>(socket: impl AsFd, name: [u8; NAME_BYTES], command: &mut T) -> Result<()> {
    let data = std::ptr::from_mut(command).cast::<c_void>();
    let mut request = PointerRequest { name, data, rest: [0; 24 - size_of::<*mut c_void>()] };
    // SAFETY: SIOCETHTOOL reads one ifreq and reads and writes what it points at, which is a
    // structure of the command's length that outlives the call, as our caller promises.
    unsafe { ioctl(socket, Updater::<ETHTOOL, PointerRequest>::new(&mut request)) }
}

/// Whether the interface is up and its driver sees a carrier (`ETHTOOL_GLINK`).
pub(crate) fn has_link(socket: impl AsFd, name: [u8; NAME_BYTES]) -> Result<bool> {
    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    let mut value = Value { command: ETHTOOL_GLINK, data: 0 };
    // SAFETY: ETHTOOL_GLINK reads and writes one ethtool_value: two u32.
    unsafe { ethtool(socket, name, &mut value) }?;
    Ok(value.data != 0)
}

/// Speed in Mb/s and duplex as ethtool numbers them (0 half, 1 full); `None` for what is unknown.
pub(crate) fn speed_and_duplex(
    socket: impl AsFd,
    name: [u8; NAME_BYTES],
) -> Result<(Option<u32>, Option<u8>)> {
    /// `struct ethtool_cmd`.
    #[repr(C)]
    struct Settings {
        command: u32,
        supported: u32,
        advertising: u32,
        speed_low: u16,
        duplex: u8,
        port: u8,
        phy_address: u8,
        transceiver: u8,
        autoneg: u8,
        mdio_support: u8,
        max_tx_packets: u32,
        max_rx_packets: u32,
        speed_high: u16,
        tp_mdix: u8,
        tp_mdix_control: u8,
        lp_advertising: u32,
        reserved: [u32; 2],
    }
    const _: () = assert!(size_of::<Settings>() == 44);
    let mut settings = Settings {
        command: ETHTOOL_GSET,
        supported: 0,
        advertising: 0,
        speed_low: 0,
        duplex: 0,
        port: 0,
        phy_address: 0,
        transceiver: 0,
        autoneg: 0,
        mdio_support: 0,
        max_tx_packets: 0,
        max_rx_packets: 0,
        speed_high: 0,
        tp_mdix: 0,
        tp_mdix_control: 0,
        lp_advertising: 0,
        reserved: [0; 2],
    };
    // SAFETY: ETHTOOL_GSET reads and writes one ethtool_cmd: 44 bytes of numbers.
    unsafe { ethtool(socket, name, &mut settings) }?;
    let speed = u32::from(settings.speed_high) << 16 | u32::from(settings.speed_low);
    // SPEED_UNKNOWN is -1, in old drivers cut to 16 bits; DUPLEX_UNKNOWN is 0xff.
    let speed = (speed != 0 && speed != u32::MAX && speed != 0xffff).then_some(speed);
    Ok((speed, (settings.duplex <= 1).then_some(settings.duplex)))
}

/// The address burnt into the hardware, if it is one of six bytes and not zero.
pub(crate) fn permanent_mac(socket: impl AsFd, name: [u8; NAME_BYTES]) -> Result<Option<[u8; 6]>> {
    /// `struct ethtool_perm_addr` with room for `MAX_ADDR_LEN`.
    #[repr(C)]
    struct Address {
        command: u32,
        size: u32,
        data: [u8; 32],
    }
    let mut address = Address { command: ETHTOOL_GPERMADDR, size: 32, data: [0; 32] };
    // SAFETY: ETHTOOL_GPERMADDR reads the two numbers and writes at most `size` bytes after them.
    unsafe { ethtool(socket, name, &mut address) }?;
    let mac: [u8; 6] = address.data[..6].try_into().expect("six bytes");
    Ok((address.size == 6 && mac != [0; 6]).then_some(mac))
}
