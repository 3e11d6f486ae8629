//! Who the server is, and whom it believes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::{Channel, TlsError};

/// Who the server is, and whom it believes: read once, shared by all connections.
#[derive(Clone)]
pub struct Credentials(Arc<ServerConfig>);

/// A key is nobody's business.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Reads a directory laid out as nbdkit's and GnuTLS's: `server-cert.pem`, `server-key.pem`,
    /// and to verify clients `ca-cert.pem`, with `ca-crl.pem` if it is there.
    pub fn load(directory: &Path, verify_peer: bool) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let at = directory.join("server-cert.pem");
        let chain = many::<CertificateDer<'_>>(&at, "certificate")?;
        let key_at = directory.join("server-key.pem");
        let key = PrivateKeyDer::from_pem_slice(&read(&key_at)?).map_err(|error| {
            let what = "private key (PKCS #8, PKCS #1 or SEC 1, not encrypted)";
            no_pem(&key_at, what, &error)
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| content(&at, error))?;
        let builder = match verify_peer {
            true => builder.with_client_cert_verifier(verifier(directory, provider)?),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| content(&at, format!("with server-key.pem: {error}")))?;
        // Every connection shows who it is; nothing is kept of those that have gone.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// TLS with a client of which so much has come already.
    pub(in crate::nbd) fn begin(&self, first: &[u8]) -> Option<Channel> {
        ServerConnection::new(Arc::clone(&self.0)).ok().map(|tls| Channel::new(tls, first))
    }
}

/// Believes clients with a certificate of this directory's authority.
fn verifier(
    directory: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let at = directory.join("ca-cert.pem");
    let mut roots = RootCertStore::empty();
    for certificate in many::<CertificateDer<'_>>(&at, "certificate")? {
        roots.add(certificate).map_err(|error| content(&at, error))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let revoked = directory.join("ca-crl.pem");
    if revoked.exists() {
        let lists = many::<CertificateRevocationListDer<'_>>(&revoked, "revocation list")?;
        builder = builder.with_crls(lists);
    }
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(_) => content(&revoked, error),
        error => content(&at, error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error })
}

/// All things of a kind in a file, of which there is at least one.
fn many<T: PemObject>(path: &Path, what: &str) -> Result<Vec<T>, TlsError> {
    let bytes = read(path)?;
    let all: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| no_pem(path, what, &error))?;
    if all.is_empty() {
        return Err(no_pem(path, what, &pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn no_pem(path: &Path, what: &str, error: &pem::Error) -> TlsError {
    match error {
        pem::Error::NoItemsFound => content(path, format!("there is no {what} in it")),
        error => content(path, format!("no {what} can be read from it: {error:?}")),
    }
}

fn content(path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::Content { path: PathBuf::from(path), reason: reason.to_string() }
}
