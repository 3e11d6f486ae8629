//! Bytes on the wire: a checked view or a value that means something, never both.
//!
//! Parsing happens once, at the border. Whatever bytes come, it answers with a value or an error
//! and never panics.

pub mod arp;
pub(crate) mod dissect;
pub mod ethernet;
pub mod igmp;
pub mod ip;
pub mod lacpdu;
pub mod mld;
pub mod ndp;

/// Bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end too early.
    #[error("{what}: {have} bytes, {need} needed")]
    Short {
        /// What was read.
        what: &'static str,
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// A field has a value that makes it something else.
    #[error("{what}: {field} is {value:#x}")]
    Field {
        /// What was read.
        what: &'static str,
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
}

/// The first `need` bytes of `bytes`.
pub(crate) fn head<'a>(
    what: &'static str,
    bytes: &'a [u8],
    need: usize,
) -> Result<&'a [u8], WireError> {
    bytes.get(..need).ok_or(WireError::Short { what, need, have: bytes.len() })
}

/// The array at `at`; the caller has checked that it is there.
pub(crate) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The number at `at`, the high byte first.
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}
