//! Encrypted clients.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Whether NBD clients are encrypted; words as nbdkit has them. They are there in every build: one
/// without the feature `tls` says so where it is asked for TLS.
#[derive(Clone, Debug, Args)]
pub(crate) struct TlsArgs {
    /// Whether NBD clients are encrypted: off, on (those that ask for it) or require (a build with the
    /// feature tls) [default: off]
    #[arg(long, value_name = "WHEN", requires = "nbd", hide_possible_values = true)]
    pub(crate) tls: Option<TlsWord>,
    /// The directory of server-cert.pem and server-key.pem, and of ca-cert.pem to verify clients
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_certificates: Option<PathBuf>,
    /// Take only clients with a certificate that ca-cert.pem has signed
    #[arg(long)]
    pub(crate) tls_verify_peer: bool,
    /// Keys that both sides know: there are none here
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) tls_psk: Option<PathBuf>,
}

/// When there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsWord {
    /// Never
    Off,
    /// For clients that ask for it
    On,
    /// Always: others are told nothing
    Require,
}
