//! Certificates for tests, made by `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Dir, has_program, skipped};

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
[client]
extendedKeyUsage = clientAuth
[ca]
default_ca = own
[own]
database = index
default_md = sha256
default_crl_days = 2
crlnumber = number
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
";

/// An authority in a directory of its own.
pub(crate) struct Authority<'a> {
    dir: &'a Dir,
    name: &'static str,
}

impl<'a> Authority<'a> {
    /// A new one, if there is `openssl`; says so where not.
    pub(crate) fn new(dir: &'a Dir, name: &'static str) -> Option<Self> {
        if !has_program("openssl") {
            skipped("no openssl");
            return None;
        }
        let own = Self { dir, name };
        fs::create_dir(own.at("")).unwrap();
        fs::write(own.at("config"), CONFIG).unwrap();
        fs::write(own.at("index"), "").unwrap();
        fs::write(own.at("number"), "01\n").unwrap();
        own.openssl(&format!(
            "req -config config -x509 {EC} -nodes -subj /CN={name} -days 2 -extensions authority \
             -keyout ca-key.pem -out ca-cert.pem"
        ));
        Some(own)
    }

    fn at(&self, file: &str) -> PathBuf {
        self.dir.path(self.name).join(file)
    }

    #[track_caller]
    fn openssl(&self, line: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(line.split_whitespace()).current_dir(self.at("")).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {line}: {said}");
    }

    /// A directory for a server or a client, with whom it believes and who it is.
    pub(crate) fn signs(&self, directory: &str, kind: &str, key: &str) -> PathBuf {
        self.openssl(&format!(
            "req -config config -new {key} -nodes -subj /CN=localhost -keyout {kind}-key.pem \
             -out request"
        ));
        self.openssl(&format!(
            "x509 -req -in request -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
             -extfile config -extensions {kind} -out {kind}-cert.pem"
        ));
        let directory = self.believes(directory);
        for file in ["cert", "key"].map(|what| format!("{kind}-{what}.pem")) {
            fs::copy(self.at(&file), directory.join(&file)).unwrap();
        }
        directory
    }

    /// A directory for somebody who believes this authority and has nothing to show.
    pub(crate) fn believes(&self, directory: &str) -> PathBuf {
        let directory = self.dir.path(directory);
        fs::create_dir_all(&directory).unwrap();
        fs::copy(self.at("ca-cert.pem"), directory.join("ca-cert.pem")).unwrap();
        directory
    }

    /// Takes back the last client's certificate; where the list that says so is.
    pub(crate) fn revokes_the_client(&self) -> PathBuf {
        let own = "ca -config config -cert ca-cert.pem -keyfile ca-key.pem";
        self.openssl(&format!("{own} -revoke client-cert.pem"));
        self.openssl(&format!("{own} -gencrl -out ca-crl.pem"));
        self.at("ca-crl.pem")
    }
}

/// A key on an elliptic curve, for `openssl req`.
pub(crate) const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
/// The other kind.
pub(crate) const RSA: &str = "-newkey rsa:2048";
