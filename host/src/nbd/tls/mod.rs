//! TLS on the server's side: who the server is, and the bytes of one connection.
//!
//! [`Credentials`] are read once, when the serving begins; a `Channel` is one client's TLS, a core
//! without I/O: what came from the socket goes in, what the client said comes out, and the other way
//! round. A handshake needs nothing but the client's bytes, so it has its place in the server's turn
//! as everything else. A build without the feature `tls` has neither.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod channel;
#[cfg(feature = "tls")]
mod credentials;

use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
pub(super) use self::absent::Channel;
#[cfg(not(feature = "tls"))]
pub use self::absent::Credentials;
#[cfg(feature = "tls")]
pub(super) use self::channel::Channel;
#[cfg(feature = "tls")]
pub use self::credentials::Credentials;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is needed cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// What is in a file, or how files go together, is not what is needed.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The build has no TLS.
    #[error("this build has none; cargo build --release --features tls makes one that has")]
    Absent,
}
