//! One file that holds blocks of many devices: overlays, and copies of metadata.
//!
//! The file is a log. It only grows at its end, each frame names the device and the sectors it
//! speaks of, carries a checksum, and is believed only behind an unbroken row of frames from the
//! start; later frames shadow earlier ones. So a process that is killed, or a machine that loses
//! power, leaves a file whose last frames may be missing, and nothing else:
//!
//! - a frame that is not whole ends the row; what was flushed lies before it;
//! - unless a later frame says that the place had been durable. Then bytes have changed that were
//!   safe, and the file is refused instead of being read as if less had been written.
//!
//! [`mod@format`] is the bytes, [`index`] who holds which sector last, [`log`] the file. The page
//! `docs/formats/overlay.md` draws it.

pub mod format;
pub mod index;
pub mod log;

pub use format::{Kind, MemberFacts};
pub use index::{Extent, Place};
pub use log::{Log, LogError, Phase};
