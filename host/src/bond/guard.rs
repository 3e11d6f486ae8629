//! The guard: keeps the kernel's own stack from hearing what a member receives.
//!
//! In the kernel's bonding driver a member's frames are handed to the bond. A bond in a process has
//! no such hook: the packet socket hears a copy, and the stack would hear the original as well,
//! answer pings twice and reset connections. So each member gets a filter at its ingress that drops
//! every frame, after the packet sockets have heard it: a program of classic BPF in a `clsact`
//! queueing discipline, which needs neither a compiler nor a module for actions.
//!
//! Frames for the bridge group addresses `01:80:c2:00:00:00` to `…0f` pass, except for the slow
//! protocols (LACP): a link discovery daemon goes on working on each member, as it does under
//! the kernel's driver.
//!
//! A guard outlives the process that put it there. It is known by its handle, so that whoever comes
//! next can take it away.
#![expect(clippy::host_endian_bytes, reason = "netlink speaks the host's byte order")]

use std::io::{self, ErrorKind};

use super::netlink::{CREATE, Netlink, Request, attributes};
use super::packet::bpf::{AND, LOAD_HALF, LOAD_WORD, RETURN, equal, op};
use crate::sys::packet::Instruction;

const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;

/// `TC_H_CLSACT`, as a parent.
const CLSACT: u32 = 0xffff_fff1;
/// The handle of the queueing discipline `clsact`.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// The ingress side of `clsact`, as a parent.
const INGRESS: u32 = 0xffff_fff2;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_BPF_OPS_LEN`, `TCA_BPF_OPS`, `TCA_BPF_FLAGS`.
const BPF_OPS_LEN: u16 = 4;
const BPF_OPS: u16 = 5;
const BPF_FLAGS: u16 = 8;
/// What the program returns is the verdict itself.
const DIRECT_ACTION: u32 = 1;
/// `TC_ACT_SHOT`.
const DROP: u32 = 2;
/// `TC_ACT_UNSPEC`: on to the next filter.
const PASS: u32 = u32::MAX;

/// Our filters' handle: "hold" in ASCII.
const HANDLE: u32 = 0x686f_6c64;
/// `ETH_P_ALL` in network order, as a filter names its protocol.
const EVERY_PROTOCOL: u32 = 0x0003_u16.to_be() as u32;
/// Filters run in the order of their preference, so ours wants to be the first.
const PREFERENCES: std::ops::RangeInclusive<u32> = 1..=16;

/// What came of [`install`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The interface had no `clsact` before, so it goes with the guard.
    pub made_clsact: bool,
}

/// Puts a guard on an interface. One that is there already is left as it is.
///
/// Needs CAP_NET_ADMIN.
pub fn install(netlink: &mut Netlink, index: u32) -> io::Result<Installed> {
    let clsact = Request::new(NEW_QDISC, CREATE, &tc_message(index, CLSACT_HANDLE, CLSACT, 0))
        .with(KIND, b"clsact\0");
    let made_clsact = match netlink.order(clsact) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    if !find(netlink, index)?.is_empty() {
        return Ok(Installed { made_clsact });
    }
    let mut refused = None;
    for preference in PREFERENCES {
        match netlink.order(filter(index, preference)) {
            Ok(()) => return Ok(Installed { made_clsact }),
            // Filters of another kind have this preference.
            Err(error) => refused = Some(error),
        }
    }
    if made_clsact {
        remove_clsact(netlink, index)?;
    }
    Err(refused.expect("at least one preference was tried"))
}

/// Takes guards off an interface, and `clsact` if asked to; how many guards there were.
///
/// An interface that is gone has none.
pub fn remove(netlink: &mut Netlink, index: u32, with_clsact: bool) -> io::Result<usize> {
    let guards = find(netlink, index)?;
    for &info in &guards {
        let message = tc_message(index, HANDLE, INGRESS, info);
        netlink.order(Request::new(DEL_FILTER, 0, &message).with(KIND, b"bpf\0"))?;
    }
    if with_clsact {
        remove_clsact(netlink, index)?;
    }
    Ok(guards.len())
}

fn remove_clsact(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let message = tc_message(index, CLSACT_HANDLE, CLSACT, 0);
    match netlink.order(Request::new(DEL_QDISC, 0, &message)) {
        Err(error) if error.kind() == ErrorKind::NotFound || is_invalid(&error) => Ok(()),
        other => other,
    }
}

/// The preferences and protocols of the guards on an interface.
pub fn find(netlink: &mut Netlink, index: u32) -> io::Result<Vec<u32>> {
    let mut guards = Vec::new();
    let request = Request::new(GET_FILTER, 0, &tc_message(index, 0, INGRESS, 0));
    let listed = netlink.dump(request, |kind, body| {
        let word = |at: usize| {
            body.get(at..at + 4).map(|word| u32::from_ne_bytes(word.try_into().expect("four")))
        };
        let is_bpf = || {
            let attributes = attributes(body.get(20..).unwrap_or_default());
            attributes.into_iter().any(|(kind, value)| kind == KIND && value.starts_with(b"bpf\0"))
        };
        if kind == NEW_FILTER && word(8) == Some(HANDLE) && is_bpf() {
            guards.extend(word(16));
        }
    });
    match listed {
        // No `clsact`, or no interface: no filters.
        Err(error) if is_invalid(&error) || error.raw_os_error() == Some(19) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(()) => Ok(guards),
    }
}

fn is_invalid(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput
}

fn filter(index: u32, preference: u32) -> Request {
    let info = preference << 16 | EVERY_PROTOCOL;
    let program = program();
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for Instruction { code, if_true, if_false, value } in program {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([if_true, if_false]);
        bytes.extend(value.to_ne_bytes());
    }
    let message = tc_message(index, HANDLE, INGRESS, info);
    Request::new(NEW_FILTER, CREATE, &message).with(KIND, b"bpf\0").nest(OPTIONS, |inside| {
        inside
            .with(BPF_OPS_LEN, &(program.len() as u16).to_ne_bytes())
            .with(BPF_OPS, &bytes)
            .with(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes())
    })
}

const fn program() -> [Instruction; 9] {
    [
        op(LOAD_WORD, 0),
        equal(0x0180_c200, 0, 5),
        op(LOAD_HALF, 4),
        op(AND, 0xfff0),
        equal(0, 0, 2),
        op(LOAD_HALF, 12),
        equal(0x8809, 0, 1),
        op(RETURN, DROP),
        op(RETURN, PASS),
    ]
}

/// `struct tcmsg`.
fn tc_message(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (at, word) in [(4, index), (8, handle), (12, parent), (16, info)] {
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}
