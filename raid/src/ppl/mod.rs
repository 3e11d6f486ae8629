//! The partial parity log of RAID5, as bytes and as what to do with them: pure.
//!
//! The log of a stripe lives on its parity member, in the area its superblock names. Before data and
//! parity are written, the XOR of the data members that are *not* written goes there; after a crash
//! parity is that XOR together with the written members' blocks as they now are, whichever of them
//! had arrived. So a member that is missing at the same time loses nothing that was not being
//! written.
//!
//! [`header`] reads the area, [`found`] says what it means at assembly, [`replay`] which blocks to
//! read and what parity then is. Nothing here reads a member; `array::ppl` writes the log.
//!
//! Sources: Linux `md_p.h` (`struct ppl_header`), `raid5-ppl.c` (`ppl_load_distributed`,
//! `ppl_recover_entry`), `Documentation/driver-api/md/raid5-ppl.rst`.

pub mod found;
pub mod header;
pub mod replay;

pub use found::{Found, Log, Outlook, Step};
pub use header::{Area, Entry, Header, PplError, signature};
pub use replay::{Row, rows};

#[cfg(test)]
mod tests;
