//! Encryption for NBD clients, whatever it is that is served: `--tls` and what belongs to it.

use std::path::PathBuf;

use holdfast_host::nbd::{Address, Credentials, Server};

use crate::args::{TlsArgs, TlsWord};
use crate::exit::Failure;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsWish(Option<Wish>);

#[derive(Clone, Debug)]
struct Wish {
    directory: PathBuf,
    required: bool,
    verify_peer: bool,
}

/// The same with everything it needs.
#[derive(Debug)]
pub(crate) struct Tls {
    credentials: Credentials,
    required: bool,
}

impl TlsWish {
    /// What the flags mean together.
    pub(crate) fn of(args: TlsArgs) -> Result<Self, Failure> {
        if args.tls_psk.is_some() {
            return Err(Failure::usage("--tls-psk: pre-shared keys are not spoken here").hint(
                "--tls-certificates DIR takes certificates, which clients may have as well",
            ));
        }
        let required = args.tls == Some(TlsWord::Require);
        if matches!(args.tls, None | Some(TlsWord::Off)) {
            if args.tls_certificates.is_some() || args.tls_verify_peer {
                return Err(Failure::usage("certificates are of no use without TLS")
                    .hint("--tls require encrypts everything, --tls on where clients ask for it"));
            }
            return Ok(Self(None));
        }
        if args.tls_verify_peer && !required {
            let text = "--tls-verify-peer: a client that does without TLS would not be verified";
            return Err(Failure::usage(text).hint("--tls require takes none of those"));
        }
        let directory = args.tls_certificates.ok_or_else(|| {
            Failure::usage("--tls needs a certificate and its key")
                .hint("--tls-certificates DIR names where server-cert.pem and server-key.pem are")
        })?;
        Ok(Self(Some(Wish { directory, required, verify_peer: args.tls_verify_peer })))
    }

    /// Refuses an address that others can reach, unless only those get in who are known.
    pub(crate) fn refuse_strangers(
        &self,
        addresses: &[Address],
        to_what: &str,
    ) -> Result<(), Failure> {
        let known = self.0.as_ref().is_some_and(|wish| wish.required && wish.verify_peer);
        let reachable = addresses.iter().find_map(|address| match address {
            Address::Tcp(address) if !known && !address.ip().is_loopback() => Some(address),
            _ => None,
        });
        let Some(reachable) = reachable else { return Ok(()) };
        let text = format!("--nbd tcp:{reachable}: other machines could write to the {to_what}");
        Err(Failure::usage(text).hint(
            "use tcp:127.0.0.1:PORT, or --tls require with --tls-verify-peer, or --listen-anywhere \
             if that is meant",
        ))
    }

    /// Reads what it needs.
    pub(crate) fn load(&self) -> Result<Option<Tls>, Failure> {
        let Some(wish) = &self.0 else { return Ok(None) };
        let credentials = Credentials::load(&wish.directory, wish.verify_peer)
            .map_err(|error| Failure::error(format!("--tls: {error}")))?;
        Ok(Some(Tls { credentials, required: wish.required }))
    }
}

/// Listens for NBD clients, with TLS where that is wanted; where they find the server.
pub(crate) fn listen(
    server: &mut Server,
    tls: Option<Tls>,
    addresses: &[Address],
) -> Result<Vec<String>, Failure> {
    let required = tls.as_ref().is_some_and(|tls| tls.required);
    if let Some(Tls { credentials, required }) = tls {
        server.encrypt(credentials, required);
    }
    let listen = |address: &Address| match server.listen(address) {
        Ok(bound) => Ok(bound.uri(required)),
        Err(error) => Err(Failure::error(format!("--nbd {address}: {error}"))),
    };
    addresses.iter().map(listen).collect()
}
