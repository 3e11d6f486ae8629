//! The integrity layer: a guard between an array and its members that turns wrong data into errors.
//!
//! Redundancy heals what it is told about. A disk that returns the wrong bytes with a success
//! tells nothing; a guard notices and answers [`Fault::Corrupt`](holdfast_core::block::Fault), and
//! the array takes the block from redundancy and writes it again. The layer is optional and ours:
//! what the array keeps on its members, md's format, lies on top of it unchanged.
//!
//! Each member is a [`Guarded`] device to the array; [`open`] opens them together, because some
//! [`Scheme`]s compare what members know of each other.
//!
//! # Words
//!
//! A *block* is 4 KiB of a member; a guarded member takes requests in whole blocks. Its *seal* is
//! a sector with the block's checksum, its *identity* (which member, which block) and its
//! *version*. A block and its seal are a *unit*.
//!
//! # States of a block
//!
//! ```text
//!   blank ──write──► open ──flush──► closed ──write──► open
//! (zeros,            data and seal    they agree, or
//!  no seal)          on their way     somebody lied
//! ```
//!
//! # What holds always
//!
//! - A block is answered only if its seal holds together and matches it, as far as the scheme
//!   looks; otherwise the answer is *corrupt*. A blank block reads as zeros.
//! - A unit is written only while its *region* is open, durably (`regions`). A power cut therefore
//!   tears only units in open regions.
//! - [`open`] seals again, as they stand, torn units in regions that were left open: each sector
//!   is then old or new, as any device promises, and never an error. What lies there is believed,
//!   so a silent fault in a region that was open when the power failed goes unnoticed.
//! - With [`Scheme::Version`] a block older than any copy of its version is *corrupt*. What members
//!   know of each other in a region left open is levelled by [`open`], so that a row half written
//!   when the power failed is not mistaken for lost writes.
//! - A version grows with every write: the upper half counts openings, the lower half writes.
//!
//! What each scheme sees, and what it costs, is in `docs/faults.md`; why it is built like this in
//! `docs/decisions/0006-integrity.md`.

mod guarded;
mod header;
mod opening;
mod regions;
mod scheme;
mod seal;
mod shape;
#[cfg(test)]
mod tests;
mod units;
mod versions;

pub use guarded::Guarded;
pub use opening::{format, join, open};
pub use scheme::{Scheme, UnknownScheme};
pub use seal::MOST_MEMBERS;
pub use shape::{BLOCK_SECTORS, Shape};
